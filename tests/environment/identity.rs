//! Who a process is, and who of its peers is dead, where it is hard to tell.

use crate::forked::{Child, Pipe};
use crate::{common, forked};
use procshare::{LockError, Segment, SharedArray, SharedCounter, SharedMap, SharedQueue, SharedValue};
use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const INNER: &str = "PROCSHARE_TEST_INNER";

/// Runs an ignored test of this program in a process of its own.
fn run(test: &str) {
    let _watchdog = common::watchdog(60);
    print!("{}", common::output_of(&mut common::other_program(test, INNER)));
}

fn is_outer() -> bool {
    std::env::var_os(INNER).is_none()
}

/// Has the kernel refuse `madvise(MADV_WIPEONFORK)` from now on, as a filter of system calls may.
fn refuse_wipe_on_fork() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let advice = 16 + 2 * 8 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, libc::SYS_madvise as u32, 0, 3),
        step(LOAD, advice, 0, 0),
        step(EQUAL, libc::MADV_WIPEONFORK as u32, 0, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the filter lives until the call has returned, and the kernel checks it.
    let set = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &filter,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn without_descriptors<T>(body: impl FnOnce() -> T) -> T {
    let before = common::limit(libc::RLIMIT_NOFILE, 0);
    let outcome = body();
    common::limit(libc::RLIMIT_NOFILE, before);
    outcome
}

#[test]
fn a_refused_page_costs_a_lock_nanoseconds() {
    run("identity::inner_speed");
}

#[test]
#[ignore = "run by another"]
fn inner_speed() {
    if is_outer() {
        return;
    }
    refuse_wipe_on_fork();
    let counter = SharedCounter::new(0).unwrap();
    let array = SharedArray::<u64>::new(4).unwrap();
    // The best of some rounds, as others use the machine as well.
    let round = |step: &dyn Fn()| {
        let begun = Instant::now();
        (0..1000).for_each(|_| step());
        begun.elapsed() / 1000
    };
    let best = |step: &dyn Fn()| (0..20).map(|_| round(step)).min().unwrap();
    let steps: [&dyn Fn(); 2] = [&|| assert!(counter.increment().is_ok()), &|| {
        drop(array.get_lock().unwrap())
    }];
    for step in steps {
        let best = best(step);
        println!("{best:?} a lock");
        assert!(best < Duration::from_micros(5), "{best:?} a lock");
    }
}

#[test]
fn what_cannot_be_asked_is_not_read_as_not_mine() {
    run("identity::inner_with_page");
    run("identity::inner_without_page");
}

#[test]
#[ignore = "run by another"]
fn inner_with_page() {
    if !is_outer() {
        guards_know_whose_they_are();
    }
}

#[test]
#[ignore = "run by another"]
fn inner_without_page() {
    if !is_outer() {
        refuse_wipe_on_fork();
        guards_know_whose_they_are();
    }
}

fn guards_know_whose_they_are() {
    let _frame = forked::frame();
    let counter = SharedCounter::new(0).unwrap();
    let array = SharedArray::<u64>::new(4).unwrap();
    let value = SharedValue::new(0_u64).unwrap();
    let map = SharedMap::<u64, u64>::with_capacity(1 << 16).unwrap();
    let queue = SharedQueue::<u64>::new(4).unwrap();
    let lock = || {
        let (mut of_array, mut of_value) = (array.get_lock().unwrap(), value.get_lock());
        (of_array[0], *of_value) = (of_array[0] + 1, *of_value + 1);
        RefCell::new(Some((of_array, of_value)))
    };
    let is_free = || array.try_get_lock().is_ok() && value.try_get_lock().is_ok();
    let seen = || (array.get(0).unwrap(), value.get());

    // In its own process a guard publishes and frees, whatever cannot be had.
    let guards = lock();
    without_descriptors(|| drop(guards.take()));
    assert_eq!((seen(), is_free()), ((1, 1), true));
    without_descriptors(|| {
        map.insert(&1, &1).unwrap();
        queue.put(1).unwrap();
        assert_eq!((map.get(&1).unwrap(), queue.get().unwrap()), (Some(1), 1));
    });

    // In a copy it does neither, by whichever call that was made; and the copy is somebody of its own.
    let guards = lock();
    let in_copy = || {
        without_descriptors(|| {
            drop(guards.take());
            assert!(!is_free());
            counter.increment().unwrap();
            map.insert(&2, &2).unwrap();
            queue.put(2).unwrap();
        });
    };
    Child::fork(in_copy).finish();
    assert!(!is_free());
    // A copy by `fork` has one thread, so it can be copied by the bare call.
    Child::fork(|| Child::raw_clone(in_copy).finish()).finish();
    assert!(!is_free());
    drop(guards.take());
    assert_eq!((seen(), is_free(), counter.get()), ((2, 2), true, 2));
    assert_eq!((map.get(&2).unwrap(), queue.len()), (Some(2), 2));
}

/// The holder stays a zombie, of which a free number is no proof.
#[test]
fn a_copy_that_can_open_nothing_notices_a_death() {
    let _frame = forked::frame();
    let array = SharedArray::<u64>::new(4).unwrap();
    let (held, tried) = (Pipe::new(), Pipe::new());
    let holder = Child::fork(|| {
        std::mem::forget(array.get_lock().unwrap());
        held.say();
        forked::pause();
    });
    held.hear();
    let waiter = Child::fork(|| {
        without_descriptors(|| {
            assert!(matches!(array.try_get_lock(), Err(LockError::WouldBlock)));
            tried.say();
            assert!(matches!(array.get_lock(), Err(LockError::OwnerDied(_))));
        });
    });
    tried.hear();
    holder.kill();
    holder.become_zombie();
    waiter.finish();
}

/// A process that was forked has no line in the table of those attached. There may be one of a dead process that had its
/// PID and started at its tick.
#[test]
fn absence_of_a_line_proves_nothing() {
    let _frame = forked::frame();
    let name = crate::common::unique("line");
    let segment = Segment::create(&name, 1 << 16).unwrap();
    let array = segment.array::<u64>("array", 4).unwrap();
    let held = Pipe::new();
    let child = Child::fork(|| {
        std::mem::forget(array.get_lock().unwrap());
        held.say();
        forked::pause();
    });
    held.hear();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/dev/shm/procshare.{name}"))
        .unwrap();
    let line = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, (16 + at) * 8).unwrap();
        u64::from_ne_bytes(bytes)
    };
    // `[ start:32 | image:8 | PID:22 ]`
    let image = line(0) >> 22 & 0xff;
    let start = forked::start_of(child.id()) & 0xffff_ffff;
    let left_behind = start << 30 | (image ^ 1) << 22 | u64::from(child.id());
    file.write_all_at(&left_behind.to_ne_bytes(), (16 + 1) * 8).unwrap();
    let outcome = array.get_lock_timeout(Duration::from_millis(300));
    assert!(matches!(outcome, Err(LockError::TimedOut)), "{outcome:?}");
    assert_eq!(line(1), left_behind);
    child.kill();
    assert!(matches!(array.get_lock(), Err(LockError::OwnerDied(_))));
}
