//! `SharedValue<T>`: what its calls return, what its guards publish, and what other processes see of both.

#![cfg(feature = "derive")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/forked.rs"]
mod forked;

use common::unique;
use effort::thorough;
use forked::{Child, Pipe, frame, until};
use procshare::{Error, ErrorKind, LockError, Segment, Shareable, SharedAtomicArray, SharedValue};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(C)]
struct Totals {
    total: u64,
    per_worker: [u64; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Shareable)]
#[repr(u8)]
enum State {
    Idle = 1,
    Busy = 2,
}

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

/// One value in a named segment of its own, and its bytes as anybody can read and write them.
struct Exposed<T: Shareable> {
    value: SharedValue<T>,
    name: String,
    file: File,
    offset: u64,
}

impl<T: Shareable> Exposed<T> {
    fn new(value: T) -> Self {
        let name = unique("value");
        let segment = Segment::builder().capacity(1 << 20).create(&name).unwrap();
        let value = segment.value("v", value).unwrap();
        let offset = segment.objects().unwrap()[0].offset;
        let path = format!("/dev/shm/procshare.{name}");
        let file = File::options().read(true).write(true).open(path).unwrap();
        Exposed {
            value,
            name,
            file,
            offset,
        }
    }

    fn word(&self, number: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, self.offset + number * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn version(&self) -> u64 {
        self.word(2)
    }

    fn is_free(&self) -> bool {
        self.word(0) == 0
    }

    /// Writes bytes over both slots.
    fn forge(&self, bytes: &[u8]) {
        let slot = bytes.len().next_multiple_of(8) as u64;
        for at in [24, 24 + slot] {
            self.file.write_all_at(bytes, self.offset + at).unwrap();
        }
    }
}

// Doors.

#[test]
fn all_doors_lead_to_the_same_value() {
    let _frame = frame();
    let name = unique("doors");
    assert_eq!(SharedValue::<u32>::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    let created = SharedValue::create(&name, 7u32).unwrap();
    assert_eq!(
        SharedValue::create(&name, 8u32).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let opened = SharedValue::<u32>::open(&name).unwrap();
    let either = SharedValue::open_or_create(&name, 9u32).unwrap();
    created.set(1);
    *opened.get_lock() += 1;
    *either.clone().get_lock() += 1;
    assert_eq!((created.get(), opened.get(), either.get()), (3, 3, 3));
    drop((created, opened));
    assert_eq!(SharedValue::<u32>::open(&name).unwrap().get(), 3);
    drop(either);
    assert_eq!(SharedValue::open_or_create(&name, 9u32).unwrap().get(), 9);
}

#[test]
fn another_type_is_refused_and_named() {
    let _frame = frame();
    let name = unique("types");
    let _value = SharedValue::create(&name, 7u32).unwrap();
    let error = SharedValue::<Totals>::open(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    assert_eq!(error.segment(), Some(name.as_str()));
    let text = error.to_string();
    assert!(
        text.contains("u32") && text.contains("{total:u64,per_worker:[u64;4]}"),
        "{text}"
    );
    let either = SharedValue::open_or_create(&name, 1i32).unwrap_err();
    assert_eq!(either.kind(), ErrorKind::TypeMismatch);
}

#[test]
fn values_in_a_segment_have_names() {
    let segment = Segment::new(16 * 1024).unwrap();
    let open = |name| segment.open_value::<u64>(name).map(|value| value.get());
    assert_eq!(open("a").unwrap_err().kind(), ErrorKind::NotFound);
    let first = segment.value("a", 1u64).unwrap();
    segment.value("b", 2u64).unwrap();
    assert_eq!((open("a").unwrap(), open("b").unwrap()), (1, 2));
    assert_eq!(segment.value("a", 5u64).unwrap().get(), 1, "it was there already");
    first.set(4);
    assert_eq!(open("a").unwrap(), 4);
    assert_eq!(segment.value("", 5u64).unwrap_err().kind(), ErrorKind::InvalidName);
    assert_eq!(segment.value("a", 5i8).unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert_eq!(segment.open_counter("a").unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert_eq!(segment.value("c", [0u64; 8192]).unwrap_err().kind(), ErrorKind::Full);
}

// Values.

#[test]
fn values_are_read_and_replaced() {
    let value = SharedValue::new(Totals {
        total: 0,
        per_worker: [0; 4],
    })
    .unwrap();
    let next = Totals {
        total: 3,
        per_worker: [1, 2, 0, 0],
    };
    value.set(next);
    assert_eq!(value.get(), next);
    assert_eq!(value.try_get(), Ok(next));
    assert_eq!(value.update(|value| std::mem::replace(&mut value.total, 9)), 3);
    assert_eq!(value.get().total, 9);
    assert_eq!(
        format!("{:?}", SharedValue::new(State::Busy).unwrap()),
        "SharedValue(Busy)"
    );
    assert_eq!(format!("{:?}", SharedValue::new('x').unwrap().get_lock()), "'x'");
}

#[test]
fn compare_exchange_returns_what_it_found() {
    let _frame = frame();
    let exposed = Exposed::new(1.5f64);
    let value = &exposed.value;
    assert_eq!(value.compare_exchange(1.5, 2.5), Ok(1.5));
    assert_eq!(value.compare_exchange(1.5, 3.5), Err(2.5));
    assert_eq!(value.get(), 2.5);
    let version = exposed.version();
    assert!(value.compare_exchange(7.0, 3.5).is_err());
    assert_eq!(exposed.version(), version, "what found another value published nothing");
    value.set(f64::NAN);
    let found = value.compare_exchange(f64::NAN, 1.0).unwrap_err();
    assert!(found.is_nan(), "NaN equals nothing");
    assert!(exposed.is_free());
}

// What a guard publishes.

#[test]
fn a_guard_works_on_a_copy() {
    let value = SharedValue::new([0u64; 2]).unwrap();
    let mut guard = value.get_lock();
    guard[0] = 1;
    assert_eq!(value.get(), [0, 0], "not published yet, and readable meanwhile");
    guard[1] = 1;
    drop(guard);
    assert_eq!(value.get(), [1, 1]);
}

#[test]
fn an_unmodified_guard_publishes_nothing() {
    let _frame = frame();
    let exposed = Exposed::new(5u64);
    let before = exposed.version();
    assert_eq!(*exposed.value.get_lock(), 5);
    drop(exposed.value.try_get_lock().unwrap());
    assert_eq!(exposed.version(), before);
    *exposed.value.get_lock() = 5;
    assert_eq!(exposed.version(), before + 1, "a change to the same is a change");
}

#[test]
fn a_panic_in_a_guard_rolls_back() {
    let _frame = frame();
    let exposed = Exposed::new(5u64);
    let value = &exposed.value;
    let before = exposed.version();
    panic_of(|| {
        let mut guard = value.get_lock();
        *guard = 6;
        panic!("inside");
    });
    panic_of(|| {
        value.update(|value| {
            *value = 7;
            panic!("inside");
        })
    });
    assert_eq!((value.get(), exposed.version()), (5, before));
    assert_eq!(*value.try_get_lock().unwrap(), 5, "nor is it locked");
}

/// Its guard is made and dropped in the middle of a panic that is none of its business.
struct CountsWhenDropped<'a>(&'a SharedValue<u64>);

impl Drop for CountsWhenDropped<'_> {
    fn drop(&mut self) {
        *self.0.get_lock() += 1;
    }
}

#[test]
fn a_guard_made_while_panicking_publishes() {
    let value = SharedValue::new(5u64).unwrap();
    panic_of(|| {
        let _counts = CountsWhenDropped(&value);
        panic!("outside");
    });
    assert_eq!(value.get(), 6);
}

// Who is refused.

#[test]
fn a_thread_that_holds_the_lock_is_told_so() {
    let _frame = frame();
    let exposed = Exposed::new(0u64);
    let value = &exposed.value;
    let other = SharedValue::clone(value);
    let mut guard = value.get_lock();
    let soon = Instant::now() + Duration::from_secs(9);
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldDeadlock);
    assert_eq!(
        other.get_lock_timeout(Duration::MAX).unwrap_err(),
        LockError::WouldDeadlock
    );
    assert_eq!(other.get_lock_deadline(soon).unwrap_err(), LockError::WouldDeadlock);
    for text in [
        panic_of(|| drop(value.get_lock())),
        panic_of(|| other.set(1)),
        panic_of(|| other.update(|value| *value = 1)),
        panic_of(|| other.compare_exchange(0, 1)),
    ] {
        assert!(text.contains("this thread already holds the lock"), "{text}");
        assert!(text.contains(&exposed.name) && text.contains("\"v\""), "{text}");
    }
    *guard = 1;
    drop(guard);
    assert_eq!((value.get(), exposed.is_free()), (1, true));
}

#[test]
fn other_threads_are_told_that_it_is_held() {
    let _frame = frame();
    let value = SharedValue::new(0u64).unwrap();
    let guard = value.get_lock();
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldBlock);
            let limit = Duration::from_millis(60);
            let asked = Instant::now();
            assert_eq!(value.get_lock_timeout(limit).unwrap_err(), LockError::TimedOut);
            assert!(asked.elapsed() >= limit);
            let deadline = Instant::now() + limit;
            assert_eq!(value.get_lock_deadline(deadline).unwrap_err(), LockError::TimedOut);
            assert!(Instant::now() >= deadline);
            for past in [deadline, Instant::now()] {
                assert_eq!(value.get_lock_deadline(past).unwrap_err(), LockError::TimedOut);
            }
            assert_eq!(value.get_lock_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
        });
    });
    drop(guard);
    assert!(
        value.get_lock_timeout(Duration::ZERO).is_ok(),
        "free locks need no time"
    );
    assert!(value.get_lock_deadline(Instant::now()).is_ok());
}

#[test]
fn a_waiter_gets_the_lock_before_its_limit() {
    let _frame = frame();
    let value = SharedValue::new(0u64).unwrap();
    let (say, hear) = mpsc::channel();
    let mut guard = value.get_lock();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            say.send(()).unwrap();
            *value.get_lock_timeout(forked::PATIENCE).unwrap() += 1;
        });
        hear.recv().unwrap();
        *guard = 1;
        drop(guard);
        waiter.join().unwrap();
    });
    assert_eq!(value.get(), 2);
}

#[test]
fn lock_errors_say_what_they_mean() {
    let value = SharedValue::new(0u64).unwrap();
    let _guard = value.get_lock();
    let error = value.try_get_lock().unwrap_err();
    assert_eq!(error.to_string(), "the calling thread already holds the lock");
    assert_eq!(format!("{error:?}"), "WouldDeadlock");
    let kinds = [
        (LockError::<()>::WouldBlock, ErrorKind::WouldBlock),
        (LockError::TimedOut, ErrorKind::TimedOut),
        (LockError::WouldDeadlock, ErrorKind::WouldDeadlock),
        (LockError::OwnerDied(()), ErrorKind::OwnerDied),
        (LockError::ForeignNamespace, ErrorKind::ForeignNamespace),
        (LockError::Invalid, ErrorKind::Corrupt),
    ];
    for (error, kind) in kinds {
        let text = error.to_string();
        let error = Error::from(error);
        assert_eq!((error.kind(), error.to_string()), (kind, text));
    }
}

// Forked children.

#[test]
fn a_guard_dropped_in_a_fork_child_does_nothing() {
    let _frame = frame();
    let exposed = Exposed::new(0u64);
    let value = &exposed.value;
    let before = exposed.version();
    let mut guard = value.get_lock();
    *guard = 1;
    let mut guard = Some(guard);
    Child::fork(|| {
        *guard.as_deref_mut().unwrap() = 2;
        guard = None;
        assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldBlock);
    })
    .finish();
    assert_eq!((value.get(), exposed.version()), (0, before), "it published");
    assert!(!exposed.is_free(), "it unlocked");
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldDeadlock);
    drop(guard);
    assert_eq!((value.get(), exposed.is_free()), (1, true));
}

/// A raw `clone` runs no fork handlers: nothing but the kernel tells the child that it is another.
#[test]
fn a_raw_clone_child_is_not_taken_for_its_parent() {
    let _frame = frame();
    let exposed = Exposed::new(0u64);
    let (value, held) = (&exposed.value, SharedValue::new(0u64).unwrap());
    // One process of a single thread between, from which a bare clone is sound.
    Child::fork(|| {
        let mut guard = held.get_lock();
        *guard = 1;
        let mut guard = Some(guard);
        drop(value.get_lock());
        let parent = std::process::id();
        Child::raw_clone(|| {
            assert_eq!(held.try_get_lock().unwrap_err(), LockError::WouldBlock);
            *guard.as_deref_mut().unwrap() = 2;
            guard = None;
            assert_eq!(held.try_get_lock().unwrap_err(), LockError::WouldBlock, "it unlocked");
            let own = value.get_lock();
            let holder = (exposed.word(0) >> 32) as u32 & 0x3f_ffff;
            assert_eq!(holder, std::process::id());
            assert_ne!(holder, parent);
            drop(own);
            *value.get_lock() += 1;
        })
        .finish();
        assert_eq!(held.get(), 0, "it published");
        assert_eq!(held.try_get_lock().unwrap_err(), LockError::WouldDeadlock);
        drop(guard);
        assert_eq!(held.get(), 1);
    })
    .finish();
    assert_eq!(value.get(), 1);
}

#[test]
fn a_forgotten_guard_locks_until_the_process_ends() {
    let _frame = frame();
    let value = SharedValue::new(0u64).unwrap();
    let (forgot, go) = (Pipe::new(), Pipe::new());
    let child = Child::fork(|| {
        let mut guard = value.get_lock();
        *guard = 1;
        std::mem::forget(guard);
        assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldDeadlock);
        forgot.say();
        go.hear();
    });
    forgot.hear();
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::WouldBlock);
    assert_eq!(
        value.get_lock_timeout(Duration::from_millis(80)).unwrap_err(),
        LockError::TimedOut
    );
    go.say();
    child.become_zombie();
    until("the end is noticed", || value.try_get_lock().is_ok());
    assert_eq!(value.get(), 0, "what was forgotten is not published");
    child.finish();
}

// Bytes that are no value.

#[test]
fn bytes_that_are_no_value_are_an_error_or_a_panic_that_says_so() {
    let _frame = frame();
    let state = Exposed::new(State::Idle);
    let flag = Exposed::new(false);
    let letter = Exposed::new('x');
    state.forge(&[0]);
    flag.forge(&[2]);
    letter.forge(&0xd800u32.to_ne_bytes());
    refuses(&state, State::Busy);
    refuses(&flag, true);
    refuses(&letter, 'y');
}

fn refuses<T: Shareable + std::fmt::Debug + PartialEq>(exposed: &Exposed<T>, good: T) {
    let value = &exposed.value;
    assert_eq!(value.try_get().unwrap_err(), LockError::Invalid);
    assert_eq!(value.try_get_lock().unwrap_err(), LockError::Invalid);
    assert_eq!(value.get_lock_timeout(Duration::ZERO).unwrap_err(), LockError::Invalid);
    assert_eq!(value.get_lock_deadline(Instant::now()).unwrap_err(), LockError::Invalid);
    for text in [
        panic_of(|| value.get()),
        panic_of(|| drop(value.get_lock())),
        panic_of(|| value.update(|_| ())),
        panic_of(|| value.compare_exchange(good, good)),
    ] {
        assert!(text.contains("its bytes are not a valid value of its type"), "{text}");
        assert!(text.contains(&exposed.name), "{text}");
    }
    assert!(exposed.is_free(), "whoever was refused holds the lock");
    assert_eq!(format!("{value:?}"), "SharedValue(Invalid)");
    value.set(good);
    assert_eq!(value.get(), good, "a good value mends it");
}

// Several processes.

/// Large enough that a copy without the lock has next to no chance between two writers.
type Large = [u64; 4096];

#[test]
fn readers_of_a_large_value_get_through_between_writers() {
    let _frame = frame();
    let value = SharedValue::new([0u64; 4096]).unwrap();
    let written = SharedAtomicArray::<AtomicU64>::new(2).unwrap();
    let writers: Vec<Child> = (0..2)
        .map(|number| {
            Child::fork(|| {
                let news = [[number as u64; 4096], [number as u64 + 2; 4096]];
                for round in 0.. {
                    value.set(news[round % 2]);
                    written[number].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("both write", || {
        written.iter().all(|count| count.load(Ordering::Relaxed) > 2)
    });
    let mut longest = Duration::ZERO;
    for _ in 0..thorough(150, 50) {
        let before = Instant::now();
        let copy: Large = value.get();
        longest = longest.max(before.elapsed());
        assert!(copy.iter().all(|word| *word == copy[0]), "torn");
        let guard = value.get_lock();
        assert!(guard.iter().all(|word| *word == guard[0]), "torn");
    }
    let written: u64 = written.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    println!("reads of 32 KiB during {written} writes, the longest took {longest:.1?}");
    drop(writers);
    let copy = value.get();
    assert!(copy.iter().all(|word| *word == copy[0]), "killed writers tore it");
}

/// Moves the version of a value on and on, as writers would who never rest, but leaves the value as it is.
fn never_rest(exposed: &Exposed<[u64; 256]>, go_on: &AtomicBool) {
    let length = exposed.file.metadata().unwrap().len() as usize;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let (kind, fd) = (libc::MAP_SHARED, exposed.file.as_raw_fd());
    // SAFETY: the kernel chooses a free address, so no memory in use is touched.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, kind, fd, 0) };
    assert_ne!(base, libc::MAP_FAILED);
    let version = base.wrapping_byte_add(exposed.offset as usize + 16).cast::<u64>();
    // SAFETY: the word is mapped until the end of this function, aligned, and everybody uses it as an atomic.
    let version = unsafe { AtomicU64::from_ptr(version) };
    while go_on.load(Ordering::Relaxed) {
        // By two, which is the same slot again.
        version.fetch_add(2, Ordering::Relaxed);
    }
    // SAFETY: it was mapped above, and nothing refers to it any more.
    unsafe { libc::munmap(base, length) };
}

#[test]
fn a_read_that_gets_nowhere_takes_the_lock() {
    let _frame = frame();
    let exposed = Exposed::new([7u64; 256]);
    let (value, go_on) = (&exposed.value, AtomicBool::new(true));
    thread::scope(|scope| {
        scope.spawn(|| never_rest(&exposed, &go_on));
        assert!(value.get().iter().all(|word| *word == 7));
        let (held, go) = (Pipe::new(), Pipe::new());
        let holder = Child::fork(|| {
            let _guard = value.get_lock();
            held.say();
            go.hear();
        });
        held.hear();
        // The lock it would take is held, and it may not wait.
        let refused = catch_unwind(AssertUnwindSafe(|| {
            until("a read without the lock gives up", || {
                value.try_get() == Err(LockError::WouldBlock)
            });
        }));
        go.say();
        holder.finish();
        assert!(value.get().iter().all(|word| *word == 7));
        go_on.store(false, Ordering::Relaxed);
        assert!(refused.is_ok());
    });
}

#[cfg(feature = "process")]
mod processes {
    use super::*;
    use procshare::Process;

    #[procshare::test]
    fn four_processes_lose_no_increment() {
        let _frame = frame();
        fn increment(value: SharedValue<u64>, times: u32) {
            for _ in 0..times {
                *value.get_lock() += 1;
            }
        }
        let value = SharedValue::new(0u64).unwrap();
        let children: Vec<Process<()>> = (0..4)
            .map(|_| Process::spawn(increment, (value.clone(), 10_000)).unwrap())
            .collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(value.get(), 40_000);
    }

    #[procshare::test]
    fn every_way_to_change_is_exact_between_processes() {
        let _frame = frame();
        fn change(value: SharedValue<Totals>, number: usize, times: u32) {
            for round in 0..times {
                let change = |totals: &mut Totals| {
                    totals.total += 1;
                    totals.per_worker[number] += 1;
                };
                match round % 4 {
                    0 => change(&mut value.get_lock()),
                    1 => value.update(change),
                    2 => change(&mut value.get_lock_timeout(forked::PATIENCE).unwrap()),
                    _ => loop {
                        let found = value.get();
                        let mut next = found;
                        change(&mut next);
                        if value.compare_exchange(found, next).is_ok() {
                            break;
                        }
                    },
                }
            }
        }
        let value = SharedValue::new(Totals {
            total: 0,
            per_worker: [0; 4],
        })
        .unwrap();
        let children: Vec<Process<()>> = (0..3)
            .map(|number| Process::spawn(change, (value.clone(), number, 4_000)).unwrap())
            .collect();
        while value.get().total < 12_000 {
            let seen = value.get();
            assert_eq!(
                seen.total,
                seen.per_worker.iter().sum::<u64>(),
                "half a change was seen"
            );
            if children.iter().all(|child| !child.is_alive()) {
                break;
            }
        }
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(value.get().total, 12_000);
        assert_eq!(value.get().per_worker, [4_000, 4_000, 4_000, 0]);
    }

    /// The largest value there may be.
    #[procshare::test]
    fn two_processes_exchange_64_kib() {
        let _frame = frame();
        fn answer(value: SharedValue<[u8; 65_536]>) -> u64 {
            let mut sum = 0;
            value.update(|bytes| {
                for (at, byte) in bytes.iter_mut().enumerate() {
                    sum += u64::from(*byte);
                    *byte = (at % 251) as u8;
                }
            });
            sum
        }
        let value = SharedValue::new([3u8; 65_536]).unwrap();
        let child = Process::spawn(answer, (value.clone(),)).unwrap();
        assert_eq!(child.join(), Ok(3 * 65_536));
        let bytes = value.get();
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    }

    #[procshare::test]
    fn a_child_sees_the_lock_its_parent_holds() {
        let _frame = frame();
        let value = SharedValue::new(1u64).unwrap();
        let mut guard = value.get_lock();
        *guard = 2;
        let ask = |value: SharedValue<u64>| {
            let blocked = matches!(value.try_get_lock(), Err(LockError::WouldBlock));
            (blocked, value.get())
        };
        assert_eq!(Process::spawn(ask, (value.clone(),)).unwrap().join(), Ok((true, 1)));
        drop(guard);
        assert_eq!(Process::spawn(ask, (value.clone(),)).unwrap().join(), Ok((false, 2)));
    }

    #[procshare::test]
    fn a_child_killed_in_its_guard_has_changed_nothing() {
        let _frame = frame();
        fn hold(value: SharedValue<u64>, held: SharedValue<bool>) {
            let mut guard = value.get_lock();
            *guard = 9;
            held.set(true);
            forked::pause();
        }
        let (value, held) = (SharedValue::new(1u64).unwrap(), SharedValue::new(false).unwrap());
        let child = Process::spawn(hold, (value.clone(), held.clone())).unwrap();
        until("it holds the lock", || held.get());
        child.kill().unwrap();
        assert_eq!(*value.get_lock(), 1);
        assert_eq!(child.join(), Err(procshare::JoinError::Signaled(libc::SIGKILL)));
    }

    #[procshare::test]
    fn a_child_that_panics_in_its_guard_has_changed_nothing() {
        let _frame = frame();
        fn fail(value: SharedValue<u64>) {
            let mut guard = value.get_lock();
            *guard = 9;
            panic!("inside the guard");
        }
        let value = SharedValue::new(1u64).unwrap();
        let ended = Process::spawn(fail, (value.clone(),)).unwrap().join();
        assert_eq!(ended, Err(procshare::JoinError::Panicked("inside the guard".into())));
        assert_eq!(*value.try_get_lock().unwrap(), 1);
    }
}
