//! Who is declared dead, how soon, and who is not: with real processes that die, stop, `exec` or hide.
//!
//! The figures are printed. A measured pause counts from the moment the holder's death could not be undone any more;
//! as other work on the machine may lengthen any pause, several holders die and the best must keep the promise.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::unique;
use forked::{Child, End, Others, Pipe, QUIET, frame, now, pause, since, start_of, state_of, until};
use procshare::{LockError, Segment, SharedArray, SharedAtomic, SharedAtomicArray, SharedValue};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What is promised between a death and the next locker.
const PROMISE: Duration = Duration::from_millis(100);
/// How many holders may die until one pause must have kept the promise.
const ATTEMPTS: usize = 5;

/// Forks a child that takes the lock, never gives it back, and goes on with `then`.
fn holder(value: &SharedValue<u64>, then: impl FnOnce()) -> Child {
    let held = Pipe::new();
    let child = Child::fork(|| {
        std::mem::forget(value.get_lock());
        held.say();
        then();
    });
    held.hear();
    child
}

/// Lets the calling thread wait for the lock while `kill` runs in another; the time it had the lock.
///
/// `kill` begins when the waiter is asleep.
fn acquired_at(value: &SharedValue<u64>, kill: impl FnOnce()) -> u64 {
    let tid = AtomicU32::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            // SAFETY: the call takes nothing.
            tid.store(unsafe { libc::gettid() }.unsigned_abs(), Ordering::Release);
            drop(value.get_lock());
            now()
        });
        until("the waiter sleeps", || {
            let tid = tid.load(Ordering::Acquire);
            tid != 0 && state_of(std::process::id(), tid) == 'S'
        });
        kill();
        waiter.join().unwrap()
    })
}

/// Measures pauses until one keeps the promise, and prints them.
fn promised(what: &str, mut pause: impl FnMut() -> Duration) {
    let kept = (0..ATTEMPTS).any(|_| {
        let others = Others::watch();
        let pause = pause();
        println!("{what}: {pause:.1?}");
        pause < PROMISE || pause < others.allow(PROMISE)
    });
    assert!(kept, "{what}: no pause was under {PROMISE:?}");
}

/// Asserts that nobody takes the lock from its holder, at once or in some time.
fn assert_held(value: &SharedValue<u64>, time: Duration) {
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldBlock);
    let asked = Instant::now();
    assert_eq!(value.get_lock_timeout(time).unwrap_err(), LockError::TimedOut);
    assert!(asked.elapsed() >= time);
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldBlock);
}

fn page_file(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/procshare.{name}"))
}

fn is_root() -> bool {
    // SAFETY: the call takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Maps private memory and touches all of it.
fn hold_memory(bytes: usize) {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses a free address, so no memory in use is touched.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, kind, -1, 0) };
    assert_ne!(address, libc::MAP_FAILED);
}

// Declared dead.

#[test]
fn a_killed_holder_is_followed_within_the_promise() {
    let _frame = frame();
    let (value, others) = (SharedValue::new(0).unwrap(), Others::watch());
    let mut pauses: Vec<Duration> = (0..21)
        .map(|_| {
            let child = holder(&value, || pause());
            let mut killed = 0;
            let acquired = acquired_at(&value, || {
                killed = now();
                child.kill();
            });
            Duration::from_nanos(acquired - killed)
        })
        .collect();
    pauses.sort();
    println!("killed: median {:.1?}, longest {:.1?}", pauses[10], pauses[20]);
    assert!(pauses[10] < others.allow(Duration::from_millis(20)), "{pauses:?}");
    assert!(pauses[18] < others.allow(PROMISE), "{pauses:?}");
}

#[test]
fn trying_alone_notices_a_death_whether_reaped_or_not() {
    let _frame = frame();
    for reap in [false, true] {
        let value = SharedValue::new(0).unwrap();
        let mut child = holder(&value, || pause());
        child.kill();
        if reap {
            assert_eq!(child.end(), End::Killed(libc::SIGKILL));
        } else {
            child.become_zombie();
            assert_eq!(child.state(), 'Z');
        }
        assert!(value.try_get_lock().is_ok(), "reaped: {reap}");
    }
}

#[test]
fn the_shortest_limits_notice_a_death() {
    let _frame = frame();
    for expired in [false, true] {
        let value = SharedValue::new(0).unwrap();
        let child = holder(&value, || pause());
        child.kill();
        child.become_zombie();
        let locked = if expired {
            value.get_lock_deadline(Instant::now())
        } else {
            value.get_lock_timeout(Duration::from_micros(1))
        };
        assert!(locked.is_ok());
    }
}

#[test]
fn a_holder_that_exits_is_dead() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let child = holder(&value, || ());
    child.become_zombie();
    assert!(value.try_get_lock().is_ok());
    child.finish();
}

/// Whoever waits for the zombie waits until a gigabyte has been given back.
#[test]
fn a_huge_killed_holder_is_followed_before_its_memory_is_gone() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let (mut early, mut shortest_end) = (false, Duration::MAX);
    promised("killed with 1 GiB", || {
        let held = Pipe::new();
        let child = Child::fork(|| {
            hold_memory(1 << 30);
            std::mem::forget(value.get_lock());
            held.say();
            pause();
        });
        held.hear();
        let mut killed = 0;
        let acquired = acquired_at(&value, || {
            killed = now();
            child.kill();
        });
        let over = child.is_zombie();
        child.become_zombie();
        shortest_end = shortest_end.min(since(killed));
        early |= !over;
        println!(
            "memory gone when the lock was taken: {over}; gone after {:.1?}",
            since(killed)
        );
        if early || shortest_end < Duration::from_millis(40) {
            Duration::from_nanos(acquired - killed)
        } else {
            Duration::MAX
        }
    });
}

/// The kernel writes a core file while the process is neither gone nor a zombie.
#[test]
fn a_holder_that_dumps_core_is_followed_before_the_core_is_written() {
    let _frame = frame();
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.contains(&b'|') || pattern.contains(&b'/') {
        println!("skipped: core files go elsewhere on this machine");
        return;
    }
    let folder = std::env::temp_dir().join(unique("core"));
    let value = SharedValue::new(0).unwrap();
    let doomed = SharedAtomic::<AtomicU64>::new(0).unwrap();
    promised("dumping core", || {
        std::fs::create_dir(&folder).unwrap();
        let go = Pipe::new();
        let child = holder(&value, || {
            let limit = libc::rlimit {
                rlim_cur: 1 << 30,
                rlim_max: 1 << 30,
            };
            // SAFETY: the limit is readable for the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) }, 0);
            std::env::set_current_dir(&folder).unwrap();
            hold_memory(512 << 20);
            go.hear();
            doomed.store(now(), Ordering::Relaxed);
            // SAFETY: the call takes nothing and does not return.
            unsafe { libc::abort() };
        });
        let acquired = acquired_at(&value, || go.say());
        let over = child.is_zombie();
        child.become_zombie();
        let pause = Duration::from_nanos(acquired - doomed.load(Ordering::Relaxed));
        println!("core written when the lock was taken: {over}");
        let cores = std::fs::read_dir(&folder).unwrap().count();
        drop(child);
        std::fs::remove_dir_all(&folder).unwrap();
        if cores == 0 {
            println!("no core file came about: this proves little");
        } else if over {
            return Duration::MAX;
        }
        pause
    });
}

// Another image.

/// What a replaced process waits for and says; see `a_new_image`.
const ERRAND: &str = "PROCSHARE_TEST_ERRAND";

/// Forks a child that holds the lock and, at the word `go`, `exec`s this program for an errand.
fn exec_holder(value: &SharedValue<u64>, errand: &str, doomed: &AtomicU64, go: &Pipe, said: &Pipe) -> Child {
    holder(value, || {
        for (from, to) in [(&go.reader, 0), (&said.writer, 1)] {
            // SAFETY: both descriptors are this process's own.
            assert_eq!(unsafe { libc::dup2(from.as_raw_fd(), to) }, to);
        }
        go.hear();
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["a_new_image", "--exact", "--nocapture", "--test-threads=1"])
            .env(ERRAND, errand);
        doomed.store(now(), Ordering::Relaxed);
        panic!("exec failed: {}", command.exec());
    })
}

/// Not a test: what a process does after `exec`. Says `@` and a letter when it has done its errand.
#[test]
fn a_new_image() {
    let Ok(errand) = std::env::var(ERRAND) else {
        return;
    };
    let (what, name) = errand.split_once(':').unwrap();
    let segment = (!name.is_empty()).then(|| Segment::open(name).unwrap());
    let answer = match (what, &segment) {
        ("lock", Some(segment)) => {
            let value = segment.open_value::<u64>("value").unwrap();
            match value.get_lock_timeout(Duration::from_secs(5)) {
                Ok(_) => "locked",
                Err(LockError::WouldDeadlock) => "deadlock",
                Err(_) => "no",
            }
        }
        _ => "idle",
    };
    let mut out = io::stdout();
    out.write_all(format!("@{answer}").as_bytes()).unwrap();
    out.flush().unwrap();
    pause();
}

#[test]
fn a_holder_that_execs_is_followed_within_the_promise() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let doomed = SharedAtomic::<AtomicU64>::new(0).unwrap();
    promised("exec, with a waiter from before", || {
        let (go, said) = (Pipe::new(), Pipe::new());
        let child = exec_holder(&value, "idle:", &doomed, &go, &said);
        let acquired = acquired_at(&value, || go.say());
        said.hear_byte(b'@');
        assert_ne!(child.state(), 'Z');
        Duration::from_nanos(acquired - doomed.load(Ordering::Relaxed))
    });
    promised("exec, with a waiter from after", || {
        let (go, said) = (Pipe::new(), Pipe::new());
        let child = exec_holder(&value, "idle:", &doomed, &go, &said);
        go.say();
        said.hear_byte(b'@');
        let began = now();
        drop(value.get_lock());
        assert_ne!(child.state(), 'Z');
        since(began)
    });
}

#[test]
fn trying_alone_notices_an_exec() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let doomed = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let (go, said) = (Pipe::new(), Pipe::new());
    let child = exec_holder(&value, "idle:", &doomed, &go, &said);
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldBlock);
    go.say();
    said.hear_byte(b'@');
    // The question before may be too recent for another one.
    until("the exec was noticed", || value.try_get_lock().is_ok());
    assert_ne!(child.state(), 'Z');
}

/// The new image maps the same segment, has the same PID, TID and start time: only the image differs.
#[test]
fn a_holder_that_execs_and_attaches_again_is_dead() {
    let _frame = frame();
    let name = unique("again");
    let segment = Segment::create(&name, 4096).unwrap();
    let value = segment.value("value", 0u64).unwrap();
    let doomed = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let (go, said) = (Pipe::new(), Pipe::new());
    let child = exec_holder(&value, &format!("attach:{name}"), &doomed, &go, &said);
    go.say();
    said.hear_byte(b'@');
    assert!(value.try_get_lock().is_ok());
    assert_ne!(child.state(), 'Z');
}

#[test]
fn a_new_image_that_asks_for_its_own_former_lock_gets_it() {
    let _frame = frame();
    let name = unique("own-again");
    let segment = Segment::create(&name, 4096).unwrap();
    let value = segment.value("value", 0u64).unwrap();
    let doomed = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let (go, said) = (Pipe::new(), Pipe::new());
    let child = exec_holder(&value, &format!("lock:{name}"), &doomed, &go, &said);
    go.say();
    said.hear_byte(b'@');
    let answer = said.hear();
    assert_eq!(char::from(answer), 'l', "'d' is WouldDeadlock, 'n' any other error");
    println!("exec and own lock again: {:.1?}", since(doomed.load(Ordering::Relaxed)));
    drop(child);
}

// Forged words.

/// A value in a named segment, and the bytes of its lock as anybody can write them.
struct Forge {
    value: SharedValue<u64>,
    file: File,
    lock: u64,
    _segment: Segment,
}

impl Forge {
    fn new() -> Forge {
        let name = unique("forge");
        let segment = Segment::create(&name, 4096).unwrap();
        let value = segment.value("value", 0u64).unwrap();
        let lock = segment.objects().unwrap()[0].offset;
        let file = File::options().read(true).write(true).open(page_file(&name)).unwrap();
        Forge {
            value,
            file,
            lock,
            _segment: segment,
        }
    }

    /// Makes somebody the holder, as if nobody had asked after him yet.
    fn write(&self, tid: u32, image: u8, pid: u32, start_bits: u16) {
        let low = u64::from(tid) | u64::from(image) << 22;
        let high = u64::from(pid) | u64::from(start_bits) << 22;
        let words = [high << 32 | low, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.file.write_all_at(&bytes, self.lock).unwrap();
    }

    /// The lock's parts as they stand: TID, image, PID, start bits.
    fn read(&self) -> (u32, u8, u32, u16) {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, self.lock).unwrap();
        let word = u64::from_ne_bytes(bytes);
        let number = |at: u32| (word >> at) as u32 & 0x3f_ffff;
        (number(0), (word >> 22) as u8, number(32), (word >> 54) as u16)
    }
}

/// A start time as a lock word holds it.
fn start_bits(ticks: u64) -> u16 {
    (ticks % 1022) as u16 + 1
}

#[test]
fn the_word_is_what_the_design_says() {
    let _frame = frame();
    let forge = Forge::new();
    let guard = forge.value.get_lock();
    let (tid, image, pid, start) = forge.read();
    // SAFETY: the call takes nothing.
    assert_eq!(tid, unsafe { libc::gettid() }.unsigned_abs());
    assert_eq!(
        (pid, start),
        (std::process::id(), start_bits(start_of(std::process::id())))
    );
    assert_ne!(image, 0);
    drop(guard);
    assert_eq!(forge.read(), (0, 0, 0, 0));
}

#[test]
fn a_word_whose_numbers_were_given_to_others_is_dead() {
    let _frame = frame();
    let forge = Forge::new();
    // A process that lives and maps the segment, so that nothing but its start time speaks against it.
    let child = Child::fork(|| pause());
    let (pid, start) = (child.id(), start_bits(start_of(child.id())));
    let image = {
        let _guard = forge.value.get_lock();
        forge.read().1
    };
    let other = if start == 500 { 501 } else { 500 };
    forge.write(pid, image, pid, other);
    assert!(forge.value.try_get_lock().is_ok(), "its start time is another");
    forge.write(pid, image, pid, start);
    assert_held(&forge.value, Duration::from_millis(30));
    forge.write(pid, image, pid, 0);
    assert_held(&forge.value, Duration::from_millis(30));
    // A thread that is gone proves nothing while its process lives.
    forge.write(4_194_303, image, pid, start);
    assert_held(&forge.value, Duration::from_millis(30));
    drop(child);
    forge.write(pid, image, pid, start);
    assert!(forge.value.try_get_lock().is_ok(), "the process is gone");
}

#[test]
fn a_word_that_names_a_mere_thread_or_nobody_is_dead() {
    let _frame = frame();
    let forge = Forge::new();
    let (say, hear) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let idle = thread::spawn(move || {
        // SAFETY: the call takes nothing.
        say.send(unsafe { libc::gettid() }.unsigned_abs()).unwrap();
        assert!(stopped.recv().is_err());
    });
    let tid = hear.recv().unwrap();
    for start in [0, 77] {
        forge.write(tid, 1, tid, start);
        assert!(forge.value.try_get_lock().is_ok(), "the PID is a thread's number");
    }
    drop(stop);
    idle.join().unwrap();
    for (tid, pid, what) in [(5, 0, "PID 0"), (1, 4_194_303, "a PID beyond all")] {
        forge.write(tid, 1, pid, 0);
        assert!(forge.value.try_get_lock().is_ok(), "{what}");
    }
}

#[test]
fn a_word_of_an_earlier_image_of_this_process_is_dead_and_one_of_a_lost_thread_is_not() {
    let _frame = frame();
    let forge = Forge::new();
    let guard = forge.value.get_lock();
    let (tid, image, pid, start) = forge.read();
    drop(guard);
    forge.write(tid, image ^ 1, pid, start);
    assert!(forge.value.try_get_lock().is_ok());
    forge.write(4_194_303, image, pid, start);
    assert_held(&forge.value, Duration::from_millis(30));
    forge.write(tid, image, pid, start);
    assert_eq!(forge.value.try_get_lock().unwrap_err(), LockError::WouldDeadlock);
    forge.write(0, 0, 0, 0);
}

// Not declared dead.

#[test]
fn a_stopped_holder_keeps_its_lock() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let (held, go) = (Pipe::new(), Pipe::new());
    let child = Child::fork(|| {
        let mut guard = value.get_lock();
        held.say();
        go.hear();
        *guard = 7;
    });
    held.hear();
    child.stop();
    assert_eq!(child.state(), 'T');
    assert_held(&value, Duration::from_millis(300));
    assert_eq!(value.get(), 0);
    child.signal(libc::SIGCONT);
    go.say();
    assert_eq!(*value.get_lock(), 7);
    child.finish();
}

#[test]
fn a_traced_holder_keeps_its_lock() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let child = holder(&value, || {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the request concerns this process alone and uses neither address nor data.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) };
        pause();
    });
    // Whether traced by then or not, it stops; `stop` waits for that.
    until("it is traced", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        !status.contains("TracerPid:\t0")
    });
    child.stop();
    assert_eq!(child.state(), 't');
    assert_held(&value, Duration::from_millis(150));
}

#[test]
fn the_end_of_the_locking_thread_frees_nothing() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let held = Pipe::new();
    let child = Child::fork(|| {
        thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(value.get_lock()));
        });
        // Nor for the process's own other threads, to whom it is somebody else's.
        assert_held(&value, Duration::from_millis(30));
        held.say();
        pause();
    });
    held.hear();
    assert_held(&value, Duration::from_millis(150));
    child.kill();
    child.become_zombie();
    until("its end does", || value.try_get_lock().is_ok());
}

/// The kernel calls such a process a zombie, though a thread of it lives.
#[test]
fn the_end_of_a_leader_frees_nothing() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    let stay = Pipe::new();
    let child = holder(&value, || {
        thread::spawn(move || {
            stay.hear_byte(b'!');
        });
        // SAFETY: ends this thread alone; its stack stays mapped.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    until("the leader has ended", || child.state() == 'Z');
    assert!(!child.is_zombie());
    assert_held(&value, Duration::from_millis(150));
    child.kill();
    child.become_zombie();
    until("the end of all does", || value.try_get_lock().is_ok());
}

/// Hides `/proc` from the calling process.
fn lose_proc() {
    // SAFETY: a number; the process gets mounts of its own.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let none = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: strings that end in NUL, and null where the call uses nothing.
    let separated = unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) };
    assert_eq!(separated, 0, "{}", io::Error::last_os_error());
    let (kind, place) = (c"tmpfs".as_ptr(), c"/proc".as_ptr());
    // SAFETY: as above.
    let hidden = unsafe { libc::mount(kind, place, kind, 0, none.cast()) };
    assert_eq!(hidden, 0, "{}", io::Error::last_os_error());
    assert!(std::fs::read_link("/proc/self").is_err());
}

#[test]
fn a_holder_that_cannot_read_proc_keeps_its_lock() {
    let _frame = frame();
    if !is_root() {
        println!("skipped: only root may hide /proc");
        return;
    }
    let forge = Forge::new();
    let held = Pipe::new();
    let child = Child::fork(|| {
        lose_proc();
        match forge.value.try_get_lock() {
            Ok(guard) => std::mem::forget(guard),
            // Where the kernel tells namespaces through /proc alone, such a process is refused.
            Err(LockError::ForeignNamespace) => return held.say_byte(b'n'),
            Err(error) => panic!("{error}"),
        }
        held.say();
        pause();
    });
    if held.hear() == b'n' {
        println!("skipped: this kernel tells namespaces through /proc alone");
        return;
    }
    let (_, _, pid, start) = forge.read();
    assert_eq!((pid, start), (child.id(), 0), "it cannot know when it started");
    assert_held(&forge.value, Duration::from_millis(150));
    child.kill();
    child.become_zombie();
    until("its end is noticed", || forge.value.try_get_lock().is_ok());
}

#[test]
fn a_waiter_that_cannot_read_proc_tells_the_living_from_the_dead() {
    let _frame = frame();
    if !is_root() {
        println!("skipped: only root may hide /proc");
        return;
    }
    let value = SharedValue::new(0).unwrap();
    let owner = holder(&value, || pause());
    owner.stop();
    let (checked, go) = (Pipe::new(), Pipe::new());
    let waiter = Child::fork(|| {
        lose_proc();
        match value.get_lock_timeout(Duration::from_millis(150)) {
            Err(LockError::ForeignNamespace) => {
                eprintln!("skipped: this kernel tells namespaces through /proc alone");
                return checked.say();
            }
            other => assert_eq!(other.map(|guard| *guard), Err(LockError::TimedOut)),
        }
        checked.say();
        go.hear();
        drop(value.get_lock());
    });
    checked.hear();
    owner.kill();
    owner.become_zombie();
    go.say();
    waiter.finish();
}

// Refused.

/// Forks a child whose own children live in another namespace; asks one of them what locks tell it.
fn refused_in(namespace: libc::c_int, what: &str) {
    if !is_root() {
        println!("skipped: only root may make a {what} namespace");
        return;
    }
    let value = SharedValue::new(5).unwrap();
    let array = SharedArray::<u64>::new(3).unwrap();
    // Whoever computed an id before it is cached; the child must not live on that.
    drop((value.get_lock(), array.get_lock().unwrap()));
    Child::fork(|| {
        // SAFETY: a number; it concerns this process's future children.
        let unshared = unsafe { libc::unshare(namespace) };
        if unshared != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
            eprintln!("skipped: this kernel has no {what} namespaces");
            return;
        }
        assert_eq!(unshared, 0, "{}", io::Error::last_os_error());
        // It has not moved itself.
        assert!(value.try_get_lock().is_ok());
        Child::fork(|| {
            in_foreign_namespace(&value, &array);
            Child::raw_clone(|| in_foreign_namespace(&value, &array)).finish();
        })
        .finish();
    })
    .finish();
    assert!(value.try_get_lock().is_ok());
}

fn in_foreign_namespace(value: &SharedValue<u64>, array: &SharedArray<u64>) {
    let refused = LockError::ForeignNamespace;
    assert_eq!(value.try_get_lock().unwrap_err(), refused);
    assert_eq!(value.get_lock_timeout(Duration::from_millis(1)).unwrap_err(), refused);
    assert!(matches!(array.try_get_lock(), Err(LockError::ForeignNamespace)));
    assert_eq!(value.get(), 5, "reading needs no lock");
    QUIET.store(true, Ordering::Relaxed);
    let panic = std::panic::catch_unwind(|| drop(value.get_lock())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("was moved to another PID or time namespace"), "{text}");
}

#[test]
fn a_child_in_another_pid_namespace_is_refused() {
    let _frame = frame();
    refused_in(libc::CLONE_NEWPID, "PID");
}

#[test]
fn a_child_in_another_time_namespace_is_refused() {
    let _frame = frame();
    refused_in(libc::CLONE_NEWTIME, "time");
}

// Waiters.

const SLEEPERS: usize = 500;
const CROWDS: usize = 5;

/// Processor time a process has used.
fn cpu_time(pid: u32) -> Duration {
    let mut clock = 0;
    // SAFETY: `clock` is writable.
    assert_eq!(unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) }, 0);
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processes full of threads that all run `sleep` once.
struct Crowds(Vec<Child>);

impl Crowds {
    fn gather(sleep: impl Fn() + Sync) -> Crowds {
        let arrived = SharedAtomic::<AtomicU32>::new(0).unwrap();
        let crowd = || {
            thread::scope(|scope| {
                for _ in 0..SLEEPERS / CROWDS {
                    let sleeper = || {
                        arrived.fetch_add(1, Ordering::Relaxed);
                        sleep();
                    };
                    let small = thread::Builder::new().stack_size(64 * 1024);
                    small.spawn_scoped(scope, sleeper).unwrap();
                }
            });
        };
        let crowds: Vec<Child> = (0..CROWDS).map(|_| Child::fork(crowd)).collect();
        until("all have come", || arrived.load(Ordering::Relaxed) == SLEEPERS as u32);
        // All asleep at once is a sign that they have settled down; sleepers that never rest show in what follows.
        let soon = Instant::now() + Duration::from_secs(1);
        while Instant::now() < soon && !crowds.iter().all(|crowd| all_sleep(crowd.id())) {
            thread::yield_now();
        }
        Crowds(crowds)
    }

    /// The part of one processor they use, over some time.
    fn share(&self, time: Duration) -> f64 {
        let cpu = || self.0.iter().map(|crowd| cpu_time(crowd.id())).sum::<Duration>();
        let (began, before) = (Instant::now(), cpu());
        // Nothing is awaited here: this is the time measured.
        thread::park_timeout(time);
        (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64()
    }

    fn finish(self) {
        self.0.into_iter().for_each(Child::finish);
    }
}

/// Sleeps in slices as long as the longest of a waiter, until the word is no longer zero.
fn sleep_in_slices(word: &AtomicU32) {
    let slice = libc::timespec {
        tv_sec: 0,
        tv_nsec: 32_000_000,
    };
    while word.load(Ordering::Relaxed) == 0 {
        let operation = libc::FUTEX_WAIT;
        // SAFETY: the word is mapped and aligned, and the time is readable.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 0, &slice) };
    }
}

/// Whether all threads of a process sleep.
fn all_sleep(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|task| {
        let tid = task.unwrap().file_name().to_string_lossy().parse().unwrap();
        state_of(pid, tid) == 'S'
    })
}

/// What timers and switches cost depends on the machine, so the same crowd in bare slices is measured beside.
#[test]
fn five_hundred_sleepers_cost_little_more_than_their_timers() {
    let _frame = frame();
    let kept = (0..3).any(|_| {
        let floor = share_of_bare_sleepers();
        let share = share_of_waiters();
        let (percent, least) = (share * 100.0, floor * 100.0);
        println!("{SLEEPERS} sleepers use {percent:.1} % of a core, their timers alone {least:.1} %");
        share < 2.0 * floor + 0.1
    });
    assert!(kept);
}

fn share_of_bare_sleepers() -> f64 {
    let over = SharedAtomic::<AtomicU32>::new(0).unwrap();
    let bare = Crowds::gather(|| sleep_in_slices(&over));
    let share = bare.share(Duration::from_secs(1));
    over.store(1, Ordering::Relaxed);
    bare.finish();
    share
}

fn share_of_waiters() -> f64 {
    let value = SharedValue::new(0).unwrap();
    let guard = value.get_lock();
    let waiters = Crowds::gather(|| *value.get_lock() += 1);
    let share = waiters.share(Duration::from_secs(2));
    drop(guard);
    let released = Instant::now();
    waiters.finish();
    println!("all served after {:.1?}", released.elapsed());
    assert_eq!(value.get(), SLEEPERS as u64);
    share
}

#[test]
fn waiters_killed_in_their_sleep_strand_nobody() {
    let _frame = frame();
    let value = SharedValue::new(0).unwrap();
    promised("after killed waiters", || {
        let before = value.get();
        let guard = value.get_lock();
        let waiters: Vec<Child> = (0..6).map(|_| Child::fork(|| *value.get_lock() += 1)).collect();
        until("all sleep", || waiters.iter().all(|waiter| waiter.state() == 'S'));
        let (killed, others): (Vec<_>, Vec<_>) =
            waiters.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
        killed.iter().for_each(|(_, waiter)| waiter.kill());
        let released = now();
        drop(guard);
        others.into_iter().for_each(|(_, waiter)| waiter.finish());
        assert_eq!(value.get(), before + 3);
        since(released)
    });
}

/// A role of `a_waiter_woken_and_killed_delays_others_by_a_slice`: takes the lock again and again.
#[cfg(feature = "crash-points")]
const WAITER: &str = "PROCSHARE_TEST_WAITER";

#[cfg(feature = "crash-points")]
#[test]
fn a_waiter_of_another_test() {
    let Ok(name) = std::env::var(WAITER) else {
        return;
    };
    // SAFETY: two numbers; it must not outlive a test that fails.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: a number; to the same end, should the test be gone already.
    unsafe { libc::alarm(60) };
    let segment = Segment::open(name).unwrap();
    let value = segment.open_value::<u64>("value").unwrap();
    let ready = segment.open_atomic::<AtomicU32>("ready").unwrap();
    // SAFETY: the call takes nothing.
    ready.store(unsafe { libc::gettid() }.unsigned_abs(), Ordering::Relaxed);
    // Ends when a wake-up kills this process, or the test does.
    loop {
        *value.get_lock() += 1;
    }
}

/// This program in that role; killed and reaped with this value.
#[cfg(feature = "crash-points")]
struct Doomed(std::process::Child);

#[cfg(feature = "crash-points")]
impl Doomed {
    fn start(name: &str) -> Doomed {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["a_waiter_of_another_test", "--exact", "--test-threads=1"])
            .env(WAITER, name)
            .env("PROCSHARE_CRASH_AT", "lock.woken")
            .stdout(std::process::Stdio::null());
        Doomed(command.spawn().unwrap())
    }

    fn sleeps(&self, tid: u32) -> bool {
        tid != 0 && state_of(self.0.id(), tid) == 'S'
    }

    fn is_dead(&self) -> bool {
        state_of(self.0.id(), self.0.id()) == 'Z'
    }
}

#[cfg(feature = "crash-points")]
impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The one woken dies with its wake-up, and nobody else is woken in its place.
#[cfg(feature = "crash-points")]
#[test]
fn a_waiter_woken_and_killed_delays_others_by_a_slice() {
    let _frame = frame();
    let name = unique("woken");
    let segment = Segment::create(&name, 4096).unwrap();
    let value = segment.value("value", 0u64).unwrap();
    let ready = segment.atomic::<AtomicU32>("ready", 0).unwrap();
    let mut rounds = Vec::new();
    // The wake-up goes to the one who waits longest, most times. No other round counts.
    until("a wake-up dies with its receiver", || {
        let guard = value.get_lock();
        ready.store(0, Ordering::Relaxed);
        let doomed = Doomed::start(&name);
        until("the waiter sleeps", || doomed.sleeps(ready.load(Ordering::Relaxed)));
        let mut released = 0;
        let acquired = acquired_at(&value, || {
            released = now();
            drop(guard);
        });
        if doomed.is_dead() {
            rounds.push(Duration::from_nanos(acquired - released));
        }
        rounds.len() == ATTEMPTS || rounds.last().is_some_and(|pause| *pause < PROMISE)
    });
    println!("lock free, wake-up lost: {rounds:.1?}");
    assert!(rounds.iter().min().unwrap() < &PROMISE);
}

// Arrays and counters of many: the same lock, another message.

#[test]
fn trying_an_array_alone_locks_it_and_tells_of_the_death() {
    let _frame = frame();
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    let held = Pipe::new();
    let child = Child::fork(|| {
        let mut guard = array.get_lock().unwrap();
        guard[0] = 9;
        held.say();
        pause();
    });
    held.hear();
    assert!(matches!(array.try_get_lock(), Err(LockError::WouldBlock)));
    child.kill();
    child.become_zombie();
    let mut died = None;
    until("the death is noticed", || match array.try_get_lock() {
        Err(LockError::OwnerDied(guard)) => {
            died = Some(guard);
            true
        }
        Err(LockError::WouldBlock) => false,
        other => panic!("{other:?}"),
    });
    let mut guard = died.unwrap();
    assert_eq!(*guard, [9, 2, 3]);
    guard[0] = 1;
    guard.recover();
    drop(guard);
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
}

/// Many locks, many holders, all dead at once: each lock is judged for itself.
#[test]
fn many_locks_of_many_dead_are_all_taken_over() {
    let _frame = frame();
    let segment = Segment::new(64 * 1024).unwrap();
    let values: Vec<SharedValue<u64>> = (0..20)
        .map(|number| segment.value(&format!("value {number}"), 0).unwrap())
        .collect();
    let held = SharedAtomicArray::<AtomicU32>::new(1).unwrap();
    let children: Vec<Child> = values
        .chunks(5)
        .map(|mine| {
            Child::fork(|| {
                mine.iter().for_each(|value| std::mem::forget(value.get_lock()));
                held[0].fetch_add(1, Ordering::Relaxed);
                pause();
            })
        })
        .collect();
    until("all are held", || held[0].load(Ordering::Relaxed) == 4);
    drop(children);
    assert!(values.iter().all(|value| value.try_get_lock().is_ok()));
}
