//! `SharedCounter`: counting, its limits, its lock, several processes.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::unique;
use forked::{Child, Pipe, frame};
use procshare::{ErrorKind, LockError, Segment, SharedCounter, SharedValue};
use std::time::Duration;

#[test]
fn it_counts_up_and_down() {
    let counter = SharedCounter::new(5).unwrap();
    assert_eq!(counter.increment().unwrap(), 6);
    assert_eq!(counter.add(10).unwrap(), 16);
    assert_eq!(counter.add(-20).unwrap(), -4);
    assert_eq!(counter.add(0).unwrap(), -4);
    assert_eq!(counter.wrapping_add(4), 0);
    assert_eq!((counter.get(), counter.clone().get()), (0, 0));
    *counter.get_lock() -= 3;
    assert_eq!(counter.as_value().get(), -3);
    assert_eq!(format!("{counter:?}"), "SharedCounter(-3)");
}

#[test]
fn an_overflow_is_an_error_and_changes_nothing() {
    let _frame = frame();
    let name = unique("overflow");
    let counter = SharedCounter::create(&name, i64::MAX - 1).unwrap();
    assert_eq!(counter.increment().unwrap(), i64::MAX);
    let errors = [
        counter.increment().unwrap_err(),
        counter.add(1).unwrap_err(),
        counter.add(i64::MAX).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::Overflow, Some(name.as_str()))
        );
        assert!(error.to_string().contains("9223372036854775807 + "), "{error}");
    }
    assert_eq!(counter.get(), i64::MAX);
    assert!(counter.as_value().try_get_lock().is_ok(), "nor does it stay locked");
    assert_eq!(counter.add(i64::MIN).unwrap(), -1);
    assert_eq!(counter.add(i64::MIN).unwrap_err().kind(), ErrorKind::Overflow);
    assert_eq!(counter.get(), -1);
}

#[test]
fn wrapping_is_asked_for_by_name() {
    let counter = SharedCounter::new(i64::MAX).unwrap();
    assert_eq!(counter.wrapping_add(1), i64::MIN);
    assert_eq!(counter.wrapping_add(-1), i64::MAX);
    assert_eq!(counter.get(), i64::MAX);
}

#[test]
fn all_doors_lead_to_the_same_counter() {
    let _frame = frame();
    let name = unique("counter");
    assert_eq!(SharedCounter::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    let created = SharedCounter::create(&name, 1).unwrap();
    assert_eq!(
        SharedCounter::create(&name, 1).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    SharedCounter::open(&name).unwrap().increment().unwrap();
    SharedCounter::open_or_create(&name, 9).unwrap().increment().unwrap();
    assert_eq!(created.get(), 3);
    let error = SharedValue::<i64>::open(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeMismatch, "a counter is no mere value");
    drop(created);
    assert_eq!(SharedCounter::open_or_create(&name, 9).unwrap().get(), 9);
}

#[test]
fn counters_in_a_segment_have_names() {
    let segment = Segment::new(4096).unwrap();
    assert_eq!(segment.open_counter("hits").unwrap_err().kind(), ErrorKind::NotFound);
    segment.counter("hits", 2).unwrap().increment().unwrap();
    assert_eq!(segment.counter("hits", 7).unwrap().get(), 3);
    assert_eq!(segment.open_counter("hits").unwrap().get(), 3);
    assert_eq!(segment.counter("", 0).unwrap_err().kind(), ErrorKind::InvalidName);
    assert_eq!(segment.value("hits", 0i64).unwrap_err().kind(), ErrorKind::TypeMismatch);
    segment.value("value", 0i64).unwrap();
    assert_eq!(
        segment.open_counter("value").unwrap_err().kind(),
        ErrorKind::TypeMismatch
    );
}

#[test]
fn several_steps_are_one_under_the_lock() {
    let _frame = frame();
    let counter = SharedCounter::new(20).unwrap();
    let mut count = counter.get_lock();
    *count *= 2;
    assert_eq!(counter.get(), 20);
    assert_eq!(counter.as_value().try_get_lock().unwrap_err(), LockError::WouldDeadlock);
    Child::fork(|| {
        let limit = Duration::from_millis(1);
        assert_eq!(counter.as_value().try_get_lock().unwrap_err(), LockError::WouldBlock);
        assert_eq!(
            counter.as_value().get_lock_timeout(limit).unwrap_err(),
            LockError::TimedOut
        );
    })
    .finish();
    *count += 2;
    drop(count);
    assert_eq!(counter.get(), 42);
    let held = counter.get_lock();
    let panic = std::panic::catch_unwind(|| counter.increment()).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("this thread already holds the lock"), "{text}");
    drop(held);
}

#[test]
fn a_counter_locked_by_a_dead_process_counts_on() {
    let _frame = frame();
    let counter = SharedCounter::new(1).unwrap();
    let held = Pipe::new();
    let child = Child::fork(|| {
        let mut count = counter.get_lock();
        *count = 99;
        held.say();
        forked::pause();
    });
    held.hear();
    child.kill();
    assert_eq!(counter.increment().unwrap(), 2);
}

#[cfg(feature = "process")]
#[procshare::test]
fn four_processes_lose_no_increment() {
    use procshare::Process;
    let _frame = frame();
    fn count(counter: SharedCounter, times: u32) -> i64 {
        (0..times).map(|_| counter.increment().unwrap()).max().unwrap()
    }
    let counter = SharedCounter::new(0).unwrap();
    let children: Vec<Process<i64>> = (0..4)
        .map(|_| Process::spawn(count, (counter.clone(), 5_000)).unwrap())
        .collect();
    let last: Vec<i64> = children.into_iter().map(|child| child.join().unwrap()).collect();
    assert_eq!(counter.get(), 20_000);
    assert_eq!(last.iter().max(), Some(&20_000), "whoever came last saw the total");
}
