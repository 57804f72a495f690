//! Liveness of real processes: each is forked, brought into one state, and asked about.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::file;
use super::identity::{identity, thread_id};
use super::liveness::{Life, lacks_mapping, life, open_pidfd};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(20);

/// A forked child; killed and reaped when dropped.
struct Child {
    pid: libc::pid_t,
    reaped: bool,
}

impl Child {
    /// Forks a child that runs `body` and then exits.
    ///
    /// `body` may only make system calls. The child keeps the descriptors of `pipes` and no others: those of concurrent tests may
    /// carry locks, which the child would keep held.
    fn fork(pipes: &[&Pipe], body: impl FnOnce()) -> Child {
        // SAFETY: the child makes system calls only until it exits, so it needs no lock that a
        // thread it does not have may hold.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: the call takes a number. It ends a child whose test was itself killed.
            unsafe { libc::alarm(60) };
            close_all_but(pipes);
            body();
            // SAFETY: the call takes a number and does not return.
            unsafe { libc::_exit(0) };
        }
        Child { pid, reaped: false }
    }

    fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the call takes two numbers; the child is not reaped, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    /// Waits for a change of state without reaping; false if there is none.
    fn wait(&self, events: libc::c_int) -> bool {
        // SAFETY: every field of a siginfo is a number or a pointer, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        let events = events | libc::WNOWAIT;
        // SAFETY: `info` is writable for one siginfo.
        let result = unsafe { libc::waitid(libc::P_PID, self.id(), &mut info, events) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        // SAFETY: waitid filled it, or left the zeros in it.
        unsafe { info.si_pid() != 0 }
    }

    fn reap(&mut self) {
        if !self.reaped {
            // SAFETY: the status is not asked for, so nothing is written.
            unsafe { libc::waitpid(self.pid, ptr::null_mut(), 0) };
            self.reaped = true;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(libc::SIGKILL);
            self.reap();
        }
    }
}

/// Closes every descriptor except the standard ones and those of `pipes`.
fn close_all_but(pipes: &[&Pipe]) {
    let kept = |fd: libc::c_uint| {
        let ends = pipes.iter().flat_map(|pipe| [&pipe.reader, &pipe.writer]);
        ends.map(|end| end.as_raw_fd())
            .filter(|end| end.unsigned_abs() >= fd)
            .min()
    };
    let mut first = 3;
    loop {
        let next = kept(first).map(i32::unsigned_abs);
        let last = next.map_or(libc::c_uint::MAX, |next| next.wrapping_sub(1));
        if first <= last {
            // SAFETY: this process was just forked for one test, which uses none of these.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        match next {
            Some(next) => first = next + 1,
            None => return,
        }
    }
}

/// Carries the message "I am ready" from a child.
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    fn new() -> Pipe {
        let mut ends = [0; 2];
        // SAFETY: the array is writable for two descriptors.
        let result = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
        assert_eq!(result, 0);
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: as above.
        let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        Pipe { reader, writer }
    }

    fn say(&self) {
        // SAFETY: one byte is readable behind the pointer.
        unsafe { libc::write(self.writer.as_raw_fd(), b"x".as_ptr().cast(), 1) };
    }

    fn hear(&self) {
        let limit = DEADLINE.as_millis().try_into().unwrap();
        let mut entry = libc::pollfd {
            fd: self.reader.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the pointer is to one writable entry, and the count says one.
        let ready = unsafe { libc::poll(&mut entry, 1, limit) };
        assert_eq!(ready, 1, "no message in time");
        let mut byte = 0u8;
        let target = ptr::from_mut(&mut byte).cast();
        // SAFETY: the target is writable for one byte.
        assert_eq!(unsafe { libc::read(self.reader.as_raw_fd(), target, 1) }, 1);
    }
}

/// Waits for a signal, for ever.
fn pause() {
    loop {
        // SAFETY: the call takes nothing.
        unsafe { libc::pause() };
    }
}

/// Maps private memory and touches all of it.
fn hold(bytes: usize) -> *mut c_void {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses a free address, so no memory in use is touched.
    unsafe { libc::mmap(ptr::null_mut(), bytes, protection, kind, -1, 0) }
}

/// A memfd of one page and where it is mapped.
struct Shared {
    base: *mut c_void,
    _fd: OwnedFd,
}

impl Shared {
    fn new() -> Shared {
        let fd = file::memfd(c"procshare-test").unwrap();
        file::allocate(fd.as_fd(), 4096).unwrap();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (kind, raw) = (libc::MAP_SHARED, fd.as_raw_fd());
        // SAFETY: the kernel chooses a free address, so no memory in use is touched.
        let base = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, kind, raw, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        Shared { base, _fd: fd }
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is zeroed, aligned, only written through atomics, and mapped for as
        // long as `self` lives.
        unsafe { AtomicU32::from_ptr(self.base.cast()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the page is mapped here, and `self` lent all references to it.
        unsafe { libc::munmap(self.base, 4096) };
    }
}

/// Calls `done` repeatedly until it returns true.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn state(pid: u32) -> char {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit(") ").next().unwrap().chars().next().unwrap()
}

#[test]
fn a_running_child_is_alive_and_started_after_us() {
    let child = Child::fork(&[], pause);
    let Life::Alive { start } = life(child.id()) else {
        panic!("declared dead")
    };
    assert!(start >= identity().unwrap().start);
}

#[test]
fn a_child_computes_its_own_identity() {
    let pipe = Pipe::new();
    let child = Child::fork(&[&pipe], || {
        let me = identity().unwrap();
        if life(me.pid) == (Life::Alive { start: me.start }) && me.start != 0 {
            pipe.say();
        }
        pause();
    });
    pipe.hear();
    assert!(matches!(life(child.id()), Life::Alive { start } if start >= identity().unwrap().start));
}

#[test]
fn a_killed_child_is_dead_before_and_after_it_is_reaped() {
    let mut child = Child::fork(&[], pause);
    child.signal(libc::SIGKILL);
    assert!(child.wait(libc::WEXITED));
    assert_eq!(state(child.id()), 'Z');
    assert_eq!(life(child.id()), Life::Dead);
    child.reap();
    assert_eq!(life(child.id()), Life::Dead);
}

#[test]
fn a_stopped_child_is_alive() {
    let child = Child::fork(&[], pause);
    child.signal(libc::SIGSTOP);
    assert!(child.wait(libc::WSTOPPED));
    assert_eq!(state(child.id()), 'T');
    assert!(matches!(life(child.id()), Life::Alive { start } if start > 0));
}

#[test]
fn without_descriptors_only_a_free_number_is_proof() {
    let mut child = Child::fork(&[], pause);
    let pid = child.id();
    let pipe = Pipe::new();
    // A child runs out of descriptors, not the process that all tests share.
    let asker = Child::fork(&[&pipe], || {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the limit is readable for the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        let full = open_pidfd(pid).is_err_and(|e| e.raw_os_error() == Some(libc::EMFILE));
        if full && life(pid) == (Life::Alive { start: 0 }) {
            pipe.say();
        }
        until("the child was reaped", || life(pid) == Life::Dead);
        pipe.say();
    });
    pipe.hear();
    child.signal(libc::SIGKILL);
    child.reap();
    pipe.hear();
    assert!(asker.wait(libc::WEXITED));
}

/// The second thread of a child whose leader ends.
///
/// Waits until the kernel has cleared the leader's thread id, then says so.
extern "C" fn outlive(argument: *mut c_void) -> libc::c_int {
    // SAFETY: the argument points to a page shared with the test, mapped for as long as we live.
    let word = unsafe { AtomicU32::from_ptr(argument.cast()) };
    // Relaxed: only the value matters.
    while word.load(Ordering::Relaxed) != 0 {
        // SAFETY: the call takes nothing.
        unsafe { libc::sched_yield() };
    }
    pause();
    0
}

/// Ends this thread and leaves another one running.
fn end_the_leader(word: &AtomicU32) {
    const STACK: usize = 64 * 1024;
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_SYSVSEM
        | libc::CLONE_THREAD;
    let top = hold(STACK).wrapping_byte_add(STACK);
    let argument = word.as_ptr().cast();
    word.store(1, Ordering::Relaxed); // Relaxed: the thread does not exist yet.
    // SAFETY: the stack is fresh memory of its own, and the argument outlives the thread.
    unsafe { libc::clone(outlive, top, flags, argument) };
    // SAFETY: the kernel clears the word when this thread ends; it stays mapped.
    unsafe { libc::syscall(libc::SYS_set_tid_address, word.as_ptr()) };
    // SAFETY: ends this thread only; its stack stays mapped.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

#[test]
fn a_zombie_leader_with_a_live_thread_is_alive() {
    let shared = Shared::new();
    let mut child = Child::fork(&[], || end_the_leader(shared.word()));
    let later = Shared::new();
    until("the leader ended", || state(child.id()) == 'Z');
    assert!(matches!(life(child.id()), Life::Alive { start } if start > 0));
    // The question is about the memory of the thread that lives.
    assert!(!lacks_mapping(child.id(), shared.base.cast()));
    assert!(lacks_mapping(child.id(), later.base.cast()));
    child.signal(libc::SIGKILL);
    assert!(child.wait(libc::WEXITED));
    assert_eq!(life(child.id()), Life::Dead);
    child.reap();
}

#[test]
fn the_number_of_a_mere_thread_is_no_process() {
    let (say, hear) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        say.send(thread_id()).unwrap();
        assert!(stopped.recv().is_err());
    });
    let tid = hear.recv().unwrap();
    let error = open_pidfd(tid).unwrap_err().raw_os_error();
    assert!(matches!(error, Some(libc::EINVAL | libc::ENOENT)), "{error:?}");
    // SAFETY: signal 0 only asks. It is also answered for threads, so it proves less.
    assert_eq!(unsafe { libc::kill(tid as libc::pid_t, 0) }, 0);
    assert_eq!(life(tid), Life::Dead);
    drop(stop);
    thread.join().unwrap();
    assert_eq!(life(tid), Life::Dead);
}

/// Asks about a killed child until it is dead; returns how long that took and whether it had exited.
fn time_to_verdict(child: &Child) -> (Duration, bool) {
    let killed = Instant::now();
    child.signal(libc::SIGKILL);
    until("the child was declared dead", || life(child.id()) == Life::Dead);
    let took = killed.elapsed();
    (took, child.wait(libc::WEXITED | libc::WNOHANG))
}

#[test]
fn a_huge_killed_child_is_dead_before_its_memory_is_gone() {
    // This process may not be scheduled until the memory is gone, so several children get a chance.
    let early = (0..5).any(|_| {
        let pipe = Pipe::new();
        let child = Child::fork(&[&pipe], || {
            hold(512 << 20);
            pipe.say();
            pause();
        });
        pipe.hear();
        let (took, over) = time_to_verdict(&child);
        println!("dead after {took:?}, memory gone: {over}");
        !over && took < Duration::from_millis(20)
    });
    assert!(early, "declared dead only after the memory was gone");
}

#[test]
fn a_huge_killed_child_with_many_threads_is_dead_before_its_memory_is_gone() {
    let early = (0..5).any(|_| {
        let pipe = Pipe::new();
        let child = Child::fork(&[&pipe], || {
            hold(512 << 20);
            crowd(64);
            pipe.say();
            pause();
        });
        pipe.hear();
        let (took, over) = time_to_verdict(&child);
        println!("dead after {took:?}, memory gone: {over}");
        !over && took < Duration::from_millis(50)
    });
    assert!(early, "declared dead only after the memory was gone");
}

extern "C" fn idle(_argument: *mut c_void) -> libc::c_int {
    pause();
    0
}

/// Starts `count` threads that do nothing.
fn crowd(count: usize) {
    const STACK: usize = 16 * 1024;
    let flags = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    for _ in 0..count {
        let top = hold(STACK).wrapping_byte_add(STACK);
        // SAFETY: the stack is fresh memory of its own, and the thread takes no argument.
        unsafe { libc::clone(idle, top, flags, ptr::null_mut()) };
    }
}

/// A process whose threads keep changing: each starts the next one and ends.
struct Relay {
    stacks: *mut c_void,
    /// Whether a stack is in use; the kernel clears it when the thread on it has ended.
    busy: [AtomicU32; 8],
    next: AtomicUsize,
}

impl Relay {
    const STACK: usize = 16 * 1024;

    fn new() -> Relay {
        let busy = [const { AtomicU32::new(0) }; 8];
        let stacks = hold(busy.len() * Relay::STACK);
        Relay {
            stacks,
            busy,
            next: AtomicUsize::new(0),
        }
    }

    /// Starts the next thread, on a stack that is free.
    fn hand_over(&self) {
        // Relaxed: only one thread at a time gets here, and starting it orders its memory.
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % self.busy.len();
        let word = &self.busy[slot];
        // Acquire: pairs with the kernel's clearing of the word, after which the stack is free.
        while word.load(Ordering::Acquire) != 0 {
            // SAFETY: the call takes nothing.
            unsafe { libc::sched_yield() };
        }
        word.store(1, Ordering::Relaxed); // Relaxed: the thread does not exist yet.
        let flags = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_CHILD_CLEARTID;
        let top = self.stacks.wrapping_byte_add((slot + 1) * Relay::STACK);
        let argument = ptr::from_ref(self).cast_mut().cast();
        let (none, word) = (ptr::null_mut::<c_void>(), word.as_ptr());
        // SAFETY: no thread uses this stack; the argument and the word outlive the thread.
        while unsafe { libc::clone(run_leg, top, flags, argument, none, none, word) } < 0 {}
    }
}

extern "C" fn run_leg(argument: *mut c_void) -> libc::c_int {
    // SAFETY: the argument is the relay on the stack of the leader, which stays mapped.
    let relay = unsafe { &*argument.cast::<Relay>() };
    relay.hand_over();
    0
}

#[test]
fn a_process_whose_threads_come_and_go_is_alive() {
    let pipe = Pipe::new();
    let child = Child::fork(&[&pipe], || {
        let relay = Relay::new();
        relay.hand_over();
        pipe.say();
        // SAFETY: ends this thread only; its stack stays mapped.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    pipe.hear();
    for _ in 0..2_000 {
        let verdict = life(child.id());
        let over = child.wait(libc::WEXITED | libc::WNOHANG);
        assert!(!over, "the relay ended by itself");
        assert!(matches!(verdict, Life::Alive { .. }));
    }
}

/// Forks a child that writes a huge core file into `folder`.
fn dump_core(folder: &Path) -> Child {
    let path = CString::new(folder.to_str().unwrap()).unwrap();
    Child::fork(&[], || {
        let limit = libc::rlimit {
            rlim_cur: 1 << 30,
            rlim_max: 1 << 30,
        };
        // SAFETY: the limit is readable for the call.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
        // SAFETY: the path is a string that ends in NUL.
        let moved = unsafe { libc::chdir(path.as_ptr()) };
        hold(CORE);
        if moved == 0 {
            // SAFETY: the call takes nothing and does not return.
            unsafe { libc::abort() };
        }
    })
}

const CORE: usize = 512 << 20;

#[test]
fn a_child_that_dumps_core_is_dead_before_the_core_is_written() {
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.contains(&b'|') || pattern.contains(&b'/') {
        println!("skipped: core files go elsewhere on this machine");
        return;
    }
    let folder = std::env::temp_dir().join(format!("procshare-core-{}", std::process::id()));
    // This process may not be scheduled until the file is written, so several children get a chance.
    let early = (0..5).any(|_| {
        std::fs::create_dir(&folder).unwrap();
        let child = dump_core(&folder);
        until("the child was declared dead", || life(child.id()) == Life::Dead);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(Result::unwrap).collect();
        let written = files.iter().map(|file| file.metadata().unwrap().len()).max();
        drop(child);
        std::fs::remove_dir_all(&folder).unwrap();
        println!("dead with {written:?} bytes written");
        written.is_none_or(|bytes| bytes < CORE as u64)
    });
    assert!(early, "declared dead only after the core file was written");
}

#[test]
fn an_exec_loses_the_mapping() {
    let shared = Shared::new();
    let (out, hold_open) = (Pipe::new(), Pipe::new());
    let go = Pipe::new();
    let script = [c"sh".as_ptr(), c"-c".as_ptr(), c"echo; read x".as_ptr(), ptr::null()];
    let child = Child::fork(&[&go, &out, &hold_open], || {
        go.hear();
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(out.writer.as_raw_fd(), 1) };
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(hold_open.reader.as_raw_fd(), 0) };
        // SAFETY: the path and all arguments are strings that end in NUL, the list in null.
        unsafe { libc::execv(c"/bin/sh".as_ptr(), script.as_ptr()) };
    });
    assert!(!lacks_mapping(child.id(), shared.base.cast()));
    go.say();
    out.hear();
    assert!(lacks_mapping(child.id(), shared.base.cast()));
    assert!(matches!(life(child.id()), Life::Alive { start } if start > 0));
    // An address that maps no file proves nothing.
    let local = 0u8;
    assert!(!lacks_mapping(child.id(), &local));
    let (id, base) = (child.id(), shared.base.cast());
    drop(child);
    assert!(!lacks_mapping(id, base));
}

#[cfg(feature = "process")]
mod events {
    use super::super::{event, spawn};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_signalled_event_can_be_told_from_one_that_is_not_until_it_is_drained() {
        let (quiet, loud) = (event::new().unwrap(), event::new().unwrap());
        let both = [quiet.as_fd(), loud.as_fd()];
        assert_eq!(spawn::wait_any(&both, Some(Duration::ZERO)).unwrap(), [false, false]);
        event::signal(loud.as_fd()).unwrap();
        event::signal(loud.as_fd()).unwrap();
        assert_eq!(spawn::wait_any(&both, None).unwrap(), [false, true]);
        event::drain(loud.as_fd()).unwrap();
        event::drain(loud.as_fd()).unwrap();
        assert_eq!(spawn::wait_any(&both, Some(Duration::ZERO)).unwrap(), [false, false]);
    }
}
