//! Processes made by `fork` for tests of death, and the frame such a test stands in.
//!
//! A forked child shares what its parent has mapped, and begins where the test is: it can be made to hold a lock, to
//! stop, to `exec` or to die at a moment the test knows. Parent and child talk over pipes.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use crate::common::{Watchdog, watchdog};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a step may take before the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a whole test may take.
const LIMIT: Duration = Duration::from_secs(50);

/// What a test holds from its first line to its last: it is alone, and watched.
///
/// Tests that measure pauses, or fork, would disturb one another. They take turns by a lock on the test program's own
/// file, so that it makes no difference whether tests are threads of one process or processes.
pub(crate) struct Frame {
    _watchdog: Watchdog,
    alone: File,
}

pub(crate) fn frame() -> Frame {
    frame_for(LIMIT)
}

/// A frame for a test that may take longer than others.
pub(crate) fn frame_for(limit: Duration) -> Frame {
    print_panics_of_children();
    let alone = File::open("/proc/self/exe").unwrap();
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::flock(alone.as_raw_fd(), libc::LOCK_EX) }, 0);
    Frame {
        _watchdog: watchdog(limit.as_secs()),
        alone,
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // Said aloud, as a child may have inherited the descriptor.
        // SAFETY: the descriptor is open.
        unsafe { libc::flock(self.alone.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Whether this process was forked by a test.
static IN_CHILD: AtomicBool = AtomicBool::new(false);
/// Whether panics are expected, and not to be printed.
pub(crate) static QUIET: AtomicBool = AtomicBool::new(false);

/// Lets forked children print their panics to the descriptor: what macros print there is lost with the child.
///
/// It is done here once, as a child must not touch the hook: another thread may have held its lock.
fn print_panics_of_children() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Relaxed: set in this process, by the child's one thread.
            if !IN_CHILD.load(Ordering::Relaxed) {
                usual(panic);
            } else if !QUIET.load(Ordering::Relaxed) {
                let text = format!("child {}: {panic}\n", std::process::id());
                let _ = io::stderr().write_all(text.as_bytes());
            }
        }));
    });
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

/// A child of this process; killed and reaped with this value.
pub(crate) struct Child {
    pid: libc::pid_t,
    reaped: bool,
}

impl Child {
    /// Forks a child that runs `body` and exits; a panic in it is printed and makes it exit with 101.
    pub(crate) fn fork(body: impl FnOnce()) -> Child {
        let parent = std::process::id();
        // SAFETY: the child goes on in `begin`, which never returns to the test; the C library keeps its own locks
        // (memory, output) usable in a fork child, and the test's other threads hold none of ours.
        let pid = unsafe { libc::fork() };
        Child::begin(pid.into(), parent, body)
    }

    /// As `fork`, by the bare system call: no handler of the C library or of anybody else runs.
    ///
    /// Only for processes with a single thread, such as a forked child.
    pub(crate) fn raw_clone(body: impl FnOnce()) -> Child {
        assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), 1);
        let parent = std::process::id();
        // SAFETY: with SIGCHLD alone and no stack this is a fork; the caller has one thread, so no lock is held by
        // another.
        let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        Child::begin(pid, parent, body)
    }

    fn begin(pid: libc::c_long, parent: u32, body: impl FnOnce()) -> Child {
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            let code = run(parent, body);
            // SAFETY: ends the process, and does not return.
            unsafe { libc::_exit(code) };
        }
        Child {
            pid: pid as libc::pid_t,
            reaped: false,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: two numbers; the child is not reaped, so its number is still its own.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    pub(crate) fn stop(&self) {
        self.signal(libc::SIGSTOP);
        assert!(self.changed(libc::WSTOPPED));
    }

    /// Waits until the child is a zombie, and leaves it one.
    pub(crate) fn become_zombie(&self) {
        assert!(self.changed(libc::WEXITED));
    }

    /// Whether the child is a zombie by now.
    pub(crate) fn is_zombie(&self) -> bool {
        self.changed(libc::WEXITED | libc::WNOHANG)
    }

    fn changed(&self, events: libc::c_int) -> bool {
        // SAFETY: zero is a value of every field: numbers and pointers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let events = events | libc::WNOWAIT;
        // SAFETY: `info` is writable for one siginfo.
        let result = unsafe { libc::waitid(libc::P_PID, self.id(), &mut info, events) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        // SAFETY: waitid has filled it, or left the zeros in it.
        unsafe { info.si_pid() != 0 }
    }

    /// Waits for the end and takes the zombie away.
    pub(crate) fn end(&mut self) -> End {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(self.pid, &mut status, 0) };
        assert_eq!(pid, self.pid, "{}", io::Error::last_os_error());
        self.reaped = true;
        if libc::WIFSIGNALED(status) {
            End::Killed(libc::WTERMSIG(status))
        } else {
            End::Exited(libc::WEXITSTATUS(status))
        }
    }

    /// Waits for the end, which must be a good one.
    pub(crate) fn finish(mut self) {
        assert_eq!(self.end(), End::Exited(0), "see the child's words above");
    }

    /// The state letter of the kernel's list.
    pub(crate) fn state(&self) -> char {
        state_of(self.id(), self.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.end();
        }
    }
}

/// What a child does from its first instruction to its exit code.
fn run(parent: u32, body: impl FnOnce()) -> i32 {
    IN_CHILD.store(true, Ordering::Relaxed);
    // SAFETY: a number; no child outlives its test's limit.
    unsafe { libc::alarm(LIMIT.as_secs() as libc::c_uint) };
    // SAFETY: two numbers; nor does it outlive the test's thread.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // A parent in another PID namespace has no number here.
    if ![parent, 0].contains(&std::os::unix::process::parent_id()) {
        return 102;
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => 0,
        Err(_) => 101,
    }
}

/// The state letter of a thread.
pub(crate) fn state_of(pid: u32, tid: u32) -> char {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
    text.rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next())
        .unwrap_or('-')
}

/// When a process started, in ticks, as the kernel tells.
pub(crate) fn start_of(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = text.rsplit(") ").next().unwrap();
    rest.split_ascii_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Waits for a signal, for ever.
pub(crate) fn pause() -> ! {
    loop {
        // SAFETY: the call takes nothing.
        unsafe { libc::pause() };
    }
}

/// Asks again and again until the answer is yes.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for long: {what}");
        std::thread::yield_now();
    }
}

/// Nanoseconds of the clock all processes share.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time since `then`.
pub(crate) fn since(then: u64) -> Duration {
    Duration::from_nanos(now().saturating_sub(then))
}

/// How much of the machine others use while this value lives.
///
/// What is promised of pauses holds for a machine that has a processor to give. Where others take it, a test that failed
/// would tell of them.
pub(crate) struct Others {
    began: Instant,
    busy: Duration,
    own: Duration,
}

impl Others {
    pub(crate) fn watch() -> Others {
        Others {
            began: Instant::now(),
            busy: machine_time(),
            own: own_time(),
        }
    }

    /// The bound to keep: `strict`, or five times as much if others used half a processor meanwhile.
    pub(crate) fn allow(&self, strict: Duration) -> Duration {
        let busy = machine_time().saturating_sub(self.busy);
        let others = busy.saturating_sub(own_time().saturating_sub(self.own));
        let share = others.as_secs_f64() / self.began.elapsed().as_secs_f64();
        // Too short a time is told too coarsely to count.
        if share < 0.5 || others < Duration::from_millis(50) {
            return strict;
        }
        println!("others use {share:.1} processors: five times the time is allowed");
        5 * strict
    }
}

/// Time all processors together were busy.
fn machine_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap()
        .split_ascii_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap())
        .collect();
    // User, nice, system; interrupts of two kinds and what other machines stole. Not idle, nor waiting for a disk.
    let ticks: u64 = fields[..3].iter().chain(&fields[5..8]).sum();
    // SAFETY: the call only reads a constant of the system.
    let rate = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / rate as f64)
}

/// Time this process and the children it has reaped were running.
fn own_time() -> Duration {
    let used = |who| {
        // SAFETY: zero is a value of every field: all are numbers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is writable.
        unsafe { libc::getrusage(who, &mut usage) };
        let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    used(libc::RUSAGE_SELF) + used(libc::RUSAGE_CHILDREN)
}

/// Carries bytes from one process to another: each means "I have come this far".
pub(crate) struct Pipe {
    pub(crate) reader: File,
    pub(crate) writer: File,
}

impl Pipe {
    pub(crate) fn new() -> Pipe {
        let mut ends = [0; 2];
        // SAFETY: the array is writable for two descriptors.
        let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
        assert_eq!(made, 0, "{}", io::Error::last_os_error());
        let own = |fd| {
            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
            File::from(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        Pipe {
            reader: own(ends[0]),
            writer: own(ends[1]),
        }
    }

    pub(crate) fn say(&self) {
        self.say_byte(b'.');
    }

    pub(crate) fn say_byte(&self, byte: u8) {
        (&self.writer).write_all(&[byte]).unwrap();
    }

    /// Waits for one byte.
    pub(crate) fn hear(&self) -> u8 {
        let mut entry = libc::pollfd {
            fd: self.reader.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the pointer is to one writable entry, and the count says one.
        let ready = unsafe { libc::poll(&mut entry, 1, PATIENCE.as_millis() as libc::c_int) };
        assert_eq!(ready, 1, "nobody said anything");
        let mut byte = [0];
        (&self.reader).read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// Waits until that byte comes.
    pub(crate) fn hear_byte(&self, wanted: u8) {
        while self.hear() != wanted {}
    }
}
