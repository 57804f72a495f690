//! `SharedArray<T>` and `FrozenArray<T>`: elements in place, the news of a death, and what is frozen.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::unique;
use forked::{Child, Pipe, frame, until};
use procshare::{ArrayGuard, ErrorKind, FrozenArray, LockError, Segment, SharedArray};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// The words of a panic.
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(call)) else {
        panic!("it does not panic");
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

/// The error of a call that gives no guard.
fn refusal<R>(outcome: Result<R, LockError>) -> LockError {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

/// The guard that comes with the news of a death.
fn died<'a>(outcome: Result<ArrayGuard<'a, u64>, LockError<ArrayGuard<'a, u64>>>) -> ArrayGuard<'a, u64> {
    match outcome {
        Err(LockError::OwnerDied(guard)) => guard,
        other => panic!("{other:?}"),
    }
}

/// Panics inside a guard, after a change.
fn spoil(array: &SharedArray<u64>) {
    panic_of(|| {
        array.get_lock().unwrap()[0] = 77;
        let mut guard = array.get_lock().unwrap();
        guard[1] = 88;
        panic!("inside");
    });
}

// Doors.

#[test]
fn arrays_come_from_lengths_slices_iterators_and_functions() {
    assert_eq!(SharedArray::<u16>::new(4).unwrap().to_vec().unwrap(), [0; 4]);
    assert_eq!(
        SharedArray::from_slice(&[1.5, -0.5]).unwrap().to_vec().unwrap(),
        [1.5, -0.5]
    );
    let odd = SharedArray::from_iter((0..9u8).filter(|number| number % 2 == 1)).unwrap();
    assert_eq!(odd.to_vec().unwrap(), [1, 3, 5, 7]);
    let squares = SharedArray::from_fn(4, |index| [index as u32, (index * index) as u32]).unwrap();
    assert_eq!(squares.get(3).unwrap(), [3, 9]);
    let empty = SharedArray::<u64>::from_slice(&[]).unwrap();
    assert!(empty.is_empty() && empty.to_vec().unwrap().is_empty() && empty.get_lock().unwrap().is_empty());
    assert_eq!(squares.len(), 4);
    assert_eq!(format!("{squares:?}"), "SharedArray { len: 4, .. }");
    assert_eq!(format!("{:?}", odd.get_lock().unwrap()), "[1, 3, 5, 7]");
}

#[test]
fn absurd_lengths_are_refused_before_memory_is_taken() {
    for len in [usize::MAX, usize::MAX / 8, 1 << 60, 1 << 45] {
        let error = SharedArray::<u64>::new(len).unwrap_err();
        let refused = [ErrorKind::InvalidCapacity, ErrorKind::OutOfMemory];
        assert!(refused.contains(&error.kind()), "{len}: {error:?}");
    }
}

#[test]
fn all_doors_lead_to_the_same_array() {
    let _frame = frame();
    let name = unique("array");
    let open = || SharedArray::<u64>::open(&name);
    assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
    let created = SharedArray::<u64>::create(&name, 3).unwrap();
    let again = SharedArray::<u64>::create(&name, 3).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    open().unwrap().set(1, 5).unwrap();
    let either = SharedArray::<u64>::open_or_create(&name, 3).unwrap();
    assert_eq!(either.to_vec().unwrap(), [0, 5, 0]);
    let longer = SharedArray::<u64>::open_or_create(&name, 4).unwrap_err();
    assert_eq!(
        (longer.kind(), longer.segment()),
        (ErrorKind::LengthMismatch, Some(name.as_str()))
    );
    let other = SharedArray::<i64>::open(&name).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::TypeMismatch);
    drop(created);
    assert_eq!(open().unwrap().len(), 3);
    drop(either);
    assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn arrays_in_a_segment_have_names() {
    let segment = Segment::new(16 * 1024).unwrap();
    let kind = |outcome: procshare::Result<SharedArray<u64>>| outcome.unwrap_err().kind();
    assert_eq!(kind(segment.open_array("a")), ErrorKind::NotFound);
    segment.array::<u64>("a", 3).unwrap().fill(4).unwrap();
    assert_eq!(segment.open_array::<u64>("a").unwrap().to_vec().unwrap(), [4, 4, 4]);
    assert_eq!(segment.array::<u64>("a", 3).unwrap().get(2).unwrap(), 4);
    assert_eq!(kind(segment.array("a", 4)), ErrorKind::LengthMismatch);
    assert_eq!(kind(segment.array("", 4)), ErrorKind::InvalidName);
    assert_eq!(kind(segment.array("b", 9_999)), ErrorKind::Full);
    assert_eq!(kind(segment.array("b", usize::MAX)), ErrorKind::Full);
    segment.value("v", 1u64).unwrap();
    assert_eq!(kind(segment.open_array("v")), ErrorKind::TypeMismatch);
}

// Elements.

/// Such a panic is the caller's mistake, found before anything was changed: nobody has to recover.
#[test]
fn a_wrong_index_or_length_panics_and_spoils_nothing() {
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    for text in [
        panic_of(|| array.get(3)),
        panic_of(|| array.set(3, 0)),
        panic_of(|| array.swap(0, 3)),
        panic_of(|| array.swap(usize::MAX, 0)),
    ] {
        assert!(text.contains("out of bounds: the array has 3 elements"), "{text}");
    }
    for wrong in [&[1u64, 2][..], &[1, 2, 3, 4]] {
        let text = panic_of(|| array.copy_from_slice(wrong));
        assert!(text.contains("expected 3 elements, found "), "{text}");
    }
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
    assert!(array.try_get_lock().is_ok());
}

// Who is refused.

#[test]
fn a_thread_that_holds_the_lock_is_told_so() {
    let _frame = frame();
    let name = unique("deadlock");
    let array = SharedArray::<u64>::create(&name, 3).unwrap();
    let guard = array.get_lock().unwrap();
    let long = Duration::from_secs(9);
    assert!(matches!(array.try_get_lock(), Err(LockError::WouldDeadlock)));
    assert!(matches!(array.get_lock_timeout(long), Err(LockError::WouldDeadlock)));
    let deadline = Instant::now() + long;
    assert!(matches!(
        array.get_lock_deadline(deadline),
        Err(LockError::WouldDeadlock)
    ));
    for text in [
        panic_of(|| drop(array.get_lock())),
        panic_of(|| array.get(0)),
        panic_of(|| array.set(0, 1)),
        panic_of(|| array.swap(0, 1)),
        panic_of(|| array.fill(0)),
        panic_of(|| array.to_vec()),
        panic_of(|| array.copy_from_slice(&[1, 2, 3])),
        panic_of(|| drop(array.freeze())),
    ] {
        assert!(text.contains("this thread already holds the lock"), "{text}");
        assert!(text.contains(&name), "{text}");
    }
    drop(guard);
    assert_eq!(
        array.to_vec().unwrap(),
        [0, 0, 0],
        "and the panics outside the guard spoiled nothing"
    );
}

#[test]
fn other_threads_are_told_that_it_is_held() {
    let _frame = frame();
    let array = SharedArray::<u64>::new(3).unwrap();
    let mut guard = array.get_lock().unwrap();
    let limit = Duration::from_millis(60);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(array.try_get_lock(), Err(LockError::WouldBlock)));
            let asked = Instant::now();
            assert!(matches!(array.get_lock_timeout(limit), Err(LockError::TimedOut)));
            assert!(asked.elapsed() >= limit);
            let deadline = Instant::now() + limit;
            assert!(matches!(array.get_lock_deadline(deadline), Err(LockError::TimedOut)));
            assert!(Instant::now() >= deadline);
        });
    });
    guard[0] = 1;
    drop(guard);
    assert_eq!(array.get_lock_timeout(Duration::ZERO).unwrap()[0], 1);
    assert_eq!(array.get_lock_deadline(Instant::now()).unwrap()[0], 1);
}

// The news of a death.

#[test]
fn after_a_panic_inside_everybody_is_told_until_somebody_recovers() {
    let _frame = frame();
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    spoil(&array);
    let news = LockError::OwnerDied(());
    for _ in 0..2 {
        assert_eq!(refusal(array.get(0)), news);
        assert_eq!(refusal(array.set(0, 1)), news);
        assert_eq!(refusal(array.swap(0, 1)), news);
        assert_eq!(refusal(array.fill(1)), news);
        assert_eq!(refusal(array.to_vec()), news);
        assert_eq!(refusal(array.copy_from_slice(&[1, 2, 3])), news);
        assert_eq!(array.freeze().unwrap_err().kind(), ErrorKind::OwnerDied);
        assert_eq!(*died(array.get_lock()), [77, 88, 3]);
        assert_eq!(*died(array.try_get_lock()), [77, 88, 3]);
        drop(died(array.get_lock_timeout(Duration::ZERO)));
        drop(died(array.get_lock_deadline(Instant::now())));
        // Other processes are told as well, and looking is not recovering.
        Child::fork(|| drop(died(array.get_lock()))).finish();
    }
    let mut guard = died(array.get_lock());
    guard.copy_from_slice(&[1, 2, 3]);
    guard.recover();
    drop(guard);
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
    Child::fork(|| assert_eq!(array.get(2).unwrap(), 3)).finish();
}

#[test]
fn a_panic_after_recovering_is_news_again() {
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    spoil(&array);
    panic_of(|| {
        let mut guard = died(array.get_lock());
        guard.recover();
        guard[0] = 5;
        panic!("once more");
    });
    assert_eq!(refusal(array.get(0)), LockError::OwnerDied(()));
    died(array.get_lock()).recover();
    assert_eq!(array.get(0).unwrap(), 5);
}

/// Its guard is made and dropped in the middle of a panic that is none of its business.
struct FillsWhenDropped<'a>(&'a SharedArray<u64>);

impl Drop for FillsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.get_lock().unwrap().fill(9);
    }
}

#[test]
fn a_guard_made_while_panicking_spoils_nothing() {
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    panic_of(|| {
        let _fills = FillsWhenDropped(&array);
        panic!("outside");
    });
    assert_eq!(array.to_vec().unwrap(), [9, 9, 9]);
}

#[test]
fn a_death_inside_is_told_to_all_processes_until_one_recovers() {
    let _frame = frame();
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    let held = Pipe::new();
    let child = Child::fork(|| {
        let mut guard = array.get_lock().unwrap();
        guard[0] = 9;
        held.say();
        forked::pause();
    });
    held.hear();
    child.kill();
    assert_eq!(*died(array.get_lock()), [9, 2, 3]);
    Child::fork(|| assert_eq!(refusal(array.get(0)), LockError::OwnerDied(()))).finish();
    // One process recovers, all are relieved.
    Child::fork(|| {
        let mut guard = died(array.get_lock());
        guard[0] = 1;
        guard.recover();
    })
    .finish();
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
}

#[test]
fn whoever_dies_while_recovering_leaves_the_news() {
    let _frame = frame();
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    spoil(&array);
    for recovered in [false, true] {
        let held = Pipe::new();
        let child = Child::fork(|| {
            let mut guard = died(array.get_lock());
            if recovered {
                guard.recover();
            }
            held.say();
            forked::pause();
        });
        held.hear();
        child.kill();
        drop(died(array.get_lock()));
    }
}

#[test]
fn a_forgotten_guard_locks_until_the_process_ends() {
    let _frame = frame();
    let array = SharedArray::<u64>::new(3).unwrap();
    let (forgot, go) = (Pipe::new(), Pipe::new());
    let child = Child::fork(|| {
        std::mem::forget(array.get_lock().unwrap());
        assert!(matches!(array.try_get_lock(), Err(LockError::WouldDeadlock)));
        forgot.say();
        go.hear();
    });
    forgot.hear();
    let limit = Duration::from_millis(60);
    assert!(matches!(array.try_get_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(array.get_lock_timeout(limit), Err(LockError::TimedOut)));
    go.say();
    child.become_zombie();
    drop(died(array.get_lock()));
    child.finish();
}

#[test]
fn a_guard_dropped_in_a_fork_child_does_not_unlock() {
    let _frame = frame();
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    let mut guard = Some(array.get_lock().unwrap());
    let refused = || assert!(matches!(array.try_get_lock(), Err(LockError::WouldBlock)));
    Child::fork(|| {
        guard = None;
        refused();
        // Nor when the child panics on its way out.
        Child::raw_clone(refused).finish();
    })
    .finish();
    Child::fork(|| {
        let inherited = guard.take();
        panic_of(|| {
            let _inherited = inherited;
            panic!("inside, but not ours");
        });
        refused();
    })
    .finish();
    assert!(matches!(array.try_get_lock(), Err(LockError::WouldDeadlock)));
    drop(guard);
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3], "the child's panic spoiled nothing");
}

// Frozen arrays.

/// The sealed memory files among this process's descriptors.
fn sealed_files() -> Vec<PathBuf> {
    let all = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    let descriptors = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_sealed = |path: &PathBuf| {
        let Ok(file) = File::open(path) else {
            return false;
        };
        // SAFETY: the descriptor is open, and the request takes no argument.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        seals >= 0 && seals & all == all
    };
    let is_ours = |path: &PathBuf| {
        let link = std::fs::read_link(path).unwrap_or_default();
        link.to_string_lossy().starts_with("/memfd:procshare")
    };
    descriptors.filter(is_ours).filter(is_sealed).collect()
}

#[test]
fn a_frozen_array_is_independent_of_its_source() {
    let _frame = frame();
    let array = SharedArray::from_slice(&[1u64, 2, 3]).unwrap();
    let frozen = array.freeze().unwrap();
    array.fill(0).unwrap();
    assert_eq!(*frozen, [1, 2, 3]);
    assert_eq!(array.to_vec().unwrap(), [0, 0, 0]);
    let again = array.freeze().unwrap();
    drop(array);
    assert_eq!((frozen.clone().iter().sum::<u64>(), again.len()), (6, 3));
    assert_eq!(format!("{frozen:?}"), "[1, 2, 3]");
    assert!(FrozenArray::<u64>::from_slice(&[]).unwrap().is_empty());
    let large: Vec<u32> = (0..100_000).collect();
    assert_eq!(*FrozenArray::from_slice(&large).unwrap(), large);
}

#[test]
fn the_kernel_lets_nobody_write_to_a_frozen_array() {
    let _frame = frame();
    let frozen = FrozenArray::from_slice(&[1u64, 2, 3]).unwrap();
    let files = sealed_files();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = File::options().read(true).write(true).open(&files[0]).unwrap();
    let refused = |error: io::Error| error.raw_os_error();
    assert_eq!(refused(file.write_at(&[0; 8], 0).unwrap_err()), Some(libc::EPERM));
    assert_eq!(refused(file.set_len(0).unwrap_err()), Some(libc::EPERM));
    assert_eq!(refused(file.set_len(1 << 20).unwrap_err()), Some(libc::EPERM));
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let (length, fd) = (4096, file.as_raw_fd());
    // SAFETY: the kernel would choose a free address, so no memory in use is touched.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
    assert_eq!(
        (mapped, io::Error::last_os_error().raw_os_error()),
        (libc::MAP_FAILED, Some(libc::EPERM))
    );
    // Nor may the mapping the slice lies in become writable.
    let page = frozen.as_ptr().map_addr(|address| address & !4095).cast_mut();
    // SAFETY: the page is mapped; were it made writable, nobody would write to it.
    let changed = unsafe { libc::mprotect(page.cast(), 4096, protection) };
    assert_eq!(
        (changed, io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EACCES))
    );
    assert_eq!(*frozen, [1, 2, 3]);
}

// Several processes.

#[test]
fn processes_work_in_place_under_one_lock() {
    let _frame = frame();
    let array = SharedArray::<u64>::new(4096).unwrap();
    let children: Vec<Child> = (0..3)
        .map(|_| {
            Child::fork(|| {
                for _ in 0..300 {
                    let mut guard = array.get_lock().unwrap();
                    let first = guard[0];
                    assert!(guard.iter().all(|element| *element == first), "two were inside");
                    guard.iter_mut().for_each(|element| *element += 1);
                }
            })
        })
        .collect();
    until("they are done", || {
        let seen = array.to_vec().unwrap();
        assert!(seen.iter().all(|element| *element == seen[0]), "half a change was seen");
        seen[0] == 900 || children.iter().all(Child::is_zombie)
    });
    children.into_iter().for_each(Child::finish);
    assert_eq!(array.to_vec().unwrap(), vec![900; 4096]);
}

#[cfg(feature = "process")]
mod processes {
    use super::*;
    use procshare::{JoinError, Process};

    #[procshare::test]
    fn an_array_travels_to_a_child() {
        let _frame = frame();
        fn double(array: SharedArray<f64>) -> usize {
            array.get_lock().unwrap().iter_mut().for_each(|element| *element *= 2.0);
            array.len()
        }
        let array = SharedArray::from_slice(&[1.5, 2.5]).unwrap();
        assert_eq!(Process::spawn(double, (array.clone(),)).unwrap().join(), Ok(2));
        assert_eq!(array.to_vec().unwrap(), [3.0, 5.0]);
    }

    #[procshare::test]
    fn a_frozen_array_travels_to_a_child_and_outlives_its_maker() {
        let _frame = frame();
        fn sum(frozen: FrozenArray<u64>) -> (u64, usize) {
            (frozen.iter().sum(), sealed_files().len())
        }
        let frozen = FrozenArray::from_slice(&[1u64, 2, 39]).unwrap();
        let child = Process::spawn(sum, (frozen.clone(),)).unwrap();
        drop(frozen);
        assert_eq!(child.join(), Ok((42, 1)));
    }

    #[procshare::test]
    fn a_child_that_panics_inside_tells_its_parent() {
        let _frame = frame();
        fn fail(array: SharedArray<u64>) {
            array.get_lock().unwrap()[0] = 9;
            let mut guard = array.get_lock().unwrap();
            guard[1] = 9;
            panic!("inside the guard");
        }
        let array = SharedArray::<u64>::new(2).unwrap();
        let ended = Process::spawn(fail, (array.clone(),)).unwrap().join();
        assert_eq!(ended, Err(JoinError::Panicked("inside the guard".into())));
        assert_eq!(*died(array.try_get_lock()), [9, 9]);
    }
}
