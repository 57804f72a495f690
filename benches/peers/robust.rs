//! The peer from the C library: a robust mutex that processes share.

use crate::measure::{Effort, Measured, each, interleave};
use crate::race::{Lap, count};
use procshare::__private::lock_and_unlock;
use procshare::SharedValue;
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicU32;

/// A mutex, a number under it and what the race needs, in memory that fork children share.
#[repr(C)]
struct Arena {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    count: UnsafeCell<u64>,
    gate: AtomicU32,
    laps: [UnsafeCell<Lap>; 2],
}

/// An arena that stays mapped while this lives.
struct Mapped(*mut Arena);

impl Mapped {
    fn new() -> Self {
        // SAFETY: the kernel chooses a free address.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Arena>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(address, libc::MAP_FAILED);
        let mapped = Mapped(address.cast());
        mapped.init_mutex();
        mapped
    }

    fn arena(&self) -> &Arena {
        // SAFETY: the mapping is as long as an Arena, began as zeros, which is a value of every field, and lives as
        // long as `self`; everything that changes in it is an atomic or in a cell.
        unsafe { &*self.0 }
    }

    fn init_mutex(&self) {
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: there is room for the attributes.
        let initialised = unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: the attributes were initialised above.
        let shared = unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: as above.
        let robust = unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: nobody else knows the mutex yet, and the attributes are initialised.
        let made = unsafe { libc::pthread_mutex_init(self.arena().mutex.get(), attributes) };
        assert_eq!([initialised, shared, robust, made], [0; 4]);
    }

    #[inline]
    fn locked<R>(&self, section: impl FnOnce(*mut u64) -> R) -> R {
        let mutex = self.arena().mutex.get();
        // SAFETY: the mutex was initialised by `new`, and does not move.
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
        let result = section(self.arena().count.get());
        // SAFETY: this thread has just locked it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex) }, 0);
        result
    }

    fn increment(&self) -> u64 {
        self.locked(|count| {
            // SAFETY: the mutex is held, which all who touch the number hold.
            let count = unsafe { &mut *count };
            *count += 1;
            *count
        })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nobody borrows it any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<Arena>()) };
    }
}

/// Uncontended lock and unlock of both.
pub(crate) fn lock(effort: Effort) -> Option<Measured> {
    let ours = SharedValue::new(0u64).unwrap();
    let peer = Mapped::new();
    let operations = effort.operations(100_000);
    Some(interleave(
        effort.rounds(201),
        || each(operations, || lock_and_unlock(black_box(&ours))),
        || each(operations, || black_box(&peer).locked(|_| ())),
    ))
}

/// Has two fork children increment; the laps of both.
pub(crate) fn in_two_processes(increments: u64) -> Vec<Lap> {
    let mapped = Mapped::new();
    let children = [0, 1].map(|index| {
        // SAFETY: this process has one thread, so the child may do what it likes.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let lap = count(&mapped.arena().gate, 2, increments, || mapped.increment());
            // SAFETY: each child has a cell of its own, and the parent waits for its end before it looks.
            unsafe { *mapped.arena().laps[index].get() = lap };
            // SAFETY: the call ends this process and nothing else.
            unsafe { libc::_exit(0) };
        }
        child
    });
    for child in children {
        let mut status = -1;
        // SAFETY: the pointer is to an int that lives through the call.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!((waited, status), (child, 0));
    }
    // SAFETY: the children, who alone wrote there, have ended.
    let laps = mapped.arena().laps.each_ref().map(|lap| unsafe { *lap.get() });
    assert_eq!(
        mapped.locked(|count| {
            // SAFETY: the mutex is held.
            unsafe { *count }
        }),
        2 * increments
    );
    laps.to_vec()
}
