//! What tests of processes share: names, a watchdog, and looks at the system from outside.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Ends the process if the test has not ended in time: a hang is a failure, not a wait.
pub(crate) struct Watchdog(#[allow(dead_code, reason = "its end is the signal")] Sender<()>);

/// Watches until the value is dropped.
pub(crate) fn watchdog(seconds: u64) -> Watchdog {
    let (alive, over) = channel::<()>();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            // Not by a macro: what those print is shown when the test ends, which it does not.
            let _ = writeln!(std::io::stderr(), "{name} takes longer than {seconds} s");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// Every word of the map is accounted for.
#[cfg(feature = "map")]
pub(crate) fn verify<K, V>(map: &procshare::SharedMap<K, V>) {
    #[cfg(feature = "crash-points")]
    procshare::__private::verify_map(map).unwrap();
    #[cfg(not(feature = "crash-points"))]
    let _ = map;
}

/// A name no other test, process or thread uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: numbers need only differ.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{what}-{}-{number}", std::process::id())
}

/// What stands in the shared-memory folder under names that hold `part`.
pub(crate) fn shared_memory_names(part: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(part)).collect()
}

/// Yields until `done`; the watchdog ends what never comes.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

/// The open descriptors of this process and what they lead to, ordered.
pub(crate) fn descriptors() -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            // The listing's own descriptor is gone by the time it is looked at, or leads to this folder.
            let target = std::fs::read_link(path).ok()?.to_string_lossy().into_owned();
            (!target.starts_with("/proc/")).then_some((number, target))
        })
        .collect();
    found.sort();
    found
}

/// How many descriptors of this process lead to that inode.
pub(crate) fn descriptors_of(inode: u64) -> usize {
    let leads_there = |(number, _): &&(u32, String)| {
        std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|file| file.ino() == inode)
    };
    descriptors().iter().filter(leads_there).count()
}

/// How many mappings of this process are of that inode.
pub(crate) fn mappings_of(inode: u64) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let inode = inode.to_string();
    maps.lines()
        .filter(|line| line.split_whitespace().nth(4) == Some(&inode))
        .count()
}

/// The state letter of a process, or `None` if there is none of that number.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The children of a process, those of all its threads, zombies too.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let mut found = vec![];
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten() {
        let path = task.unwrap().path().join("children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        found.extend(text.split_whitespace().map(|id| id.parse::<u32>().unwrap()));
    }
    found
}

/// This process's children.
pub(crate) fn children() -> Vec<u32> {
    children_of(std::process::id())
}

/// Sets this process's soft limit of a resource, and returns what it was.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: room for one limit.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limit) }, 0);
    let before = limit.rlim_cur;
    limit.rlim_cur = soft;
    // SAFETY: one limit.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
    before
}

/// Whether a process has ended, reaped or not.
pub(crate) fn has_ended(pid: u32) -> bool {
    matches!(state_of(pid), None | Some('Z' | 'X'))
}

/// A command that runs one test of this program as another program, told so by the variable.
pub(crate) fn other_program(test: &str, variable: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command.env(variable, "1");
    command
}

/// The standard output of a command that must succeed.
pub(crate) fn output_of(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Whether a thread of this process waits for something.
fn is_asleep(tid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}

/// Runs `wait` in a thread and, once that sleeps, `then`; returns what both returned.
pub(crate) fn while_waiting<A: Send, B>(wait: impl FnOnce() -> A + Send, then: impl FnOnce() -> B) -> (A, B) {
    let tid = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            // SAFETY: the call only returns a number.
            let own = unsafe { libc::gettid() };
            tid.store(own.unsigned_abs(), Ordering::Relaxed); // Relaxed, twice: a number that says nothing of others.
            wait()
        });
        wait_until(|| is_asleep(tid.load(Ordering::Relaxed)) || waiter.is_finished());
        assert!(!waiter.is_finished(), "it does not wait");
        let then = then();
        (waiter.join().unwrap(), then)
    })
}

#[cfg(feature = "process")]
#[allow(unused_imports, reason = "as above")]
pub(crate) use children::{Flag, Lent, Slow, Stubborn, alone, child, for_ever, hold, kill};

/// Children of a test, and what they tell one another.
#[cfg(feature = "process")]
mod children {
    use super::wait_until;
    use procshare::process::Entry;
    use procshare::{JoinError, Process, SharedAtomic};
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    /// Starts a child that does not outlive this process: a test that fails leaves nobody behind.
    pub(crate) fn child<F, Args, R>(function: F, arguments: Args) -> Process<R>
    where
        F: Entry<Args, Output = R>,
        Args: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let builder = Process::builder().daemon(true);
        builder.spawn(function, arguments).unwrap()
    }

    /// Runs the body in a process of its own: while another thread starts a child, that child has all descriptors for a
    /// moment, and with them the lock that keeps a segment's name.
    pub(crate) fn alone<F: Entry<(), Output = ()>>(body: F) {
        child(body, ()).join().unwrap();
    }

    pub(crate) fn for_ever() -> ! {
        loop {
            std::thread::park();
        }
    }

    /// Kills a child that runs, and returns when that was.
    pub(crate) fn kill<R: DeserializeOwned>(child: Process<R>) -> Instant {
        let killed = Instant::now();
        child.kill().unwrap();
        let end = child.join().map(drop);
        assert!(
            matches!(end, Err(JoinError::Signaled(libc::SIGKILL))),
            "it ended before: {end:?}"
        );
        killed
    }

    /// Raises the first flag, and waits for the second.
    pub(crate) fn hold(came: Flag, go: Flag) {
        came.raise();
        go.wait_for(1);
    }

    /// A number that processes count up and watch.
    #[derive(Clone, Serialize, Deserialize)]
    pub(crate) struct Flag(SharedAtomic<AtomicU32>);

    impl Flag {
        pub(crate) fn new() -> Self {
            Flag(SharedAtomic::new(0).unwrap())
        }

        pub(crate) fn raise(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        pub(crate) fn wait_for(&self, count: u32) {
            wait_until(|| self.0.load(Ordering::SeqCst) >= count);
        }
    }

    /// A handle that is passed to a child and looked at here afterwards.
    pub(crate) struct Lent<H>(pub(crate) Arc<H>);

    impl<H> Lent<H> {
        pub(crate) fn new(handle: H) -> Self {
            Lent(Arc::new(handle))
        }

        /// Another of the same handle.
        pub(crate) fn again(&self) -> Self {
            Lent(self.0.clone())
        }

        /// The handle, if this is the only one left.
        pub(crate) fn into_inner(self) -> H {
            Arc::into_inner(self.0).unwrap()
        }
    }

    impl<H: Serialize> Serialize for Lent<H> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }

    impl<'de, H: Deserialize<'de>> Deserialize<'de> for Lent<H> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            H::deserialize(deserializer).map(Lent::new)
        }
    }

    /// An argument that arrives only when `go` is raised, and those behind it after it.
    pub(crate) struct Slow {
        pub(crate) arriving: Flag,
        pub(crate) go: Flag,
    }

    impl Slow {
        pub(crate) fn new() -> Self {
            let (arriving, go) = (Flag::new(), Flag::new());
            Slow { arriving, go }
        }

        /// Another with the same flags.
        pub(crate) fn again(&self) -> Self {
            let (arriving, go) = (self.arriving.clone(), self.go.clone());
            Slow { arriving, go }
        }
    }

    impl Serialize for Slow {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.arriving, &self.go).serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Slow {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let (arriving, go) = <(Flag, Flag)>::deserialize(deserializer)?;
            arriving.raise();
            go.wait_for(1);
            Ok(Slow { arriving, go })
        }
    }

    /// An argument that cannot be encoded if it holds true, and be decoded by its own process only.
    pub(crate) struct Stubborn(pub(crate) bool);

    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                true => Err(serde::ser::Error::custom("stubborn")),
                false => serializer.serialize_u32(std::process::id()),
            }
        }
    }

    impl<'de> Deserialize<'de> for Stubborn {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u32::deserialize(deserializer)? == std::process::id() {
                true => Ok(Stubborn(false)),
                false => Err(serde::de::Error::custom("stubborn")),
            }
        }
    }
}
