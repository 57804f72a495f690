//! Errors are passed on by `?`, also in functions that return any error.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use procshare::{ArrayGuard, LockError, RecvError, SendError, SharedArray, SharedValue};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

type Died = LockError<ArrayGuard<'static, u64>>;

/// An array whose last holder panicked inside.
fn half_changed() -> SharedArray<u64> {
    let array = SharedArray::from_slice(&[1, 2, 3]).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = array.get_lock().unwrap();
        guard[0] = 7;
        panic!("inside");
    }));
    assert!(panicked.is_err());
    array
}

fn first(array: &SharedArray<u64>) -> anyhow::Result<u64> {
    Ok(array.get_lock()?[0])
}

fn first_tried(array: &SharedArray<u64>) -> Result<u64, Box<dyn Error + Send + Sync>> {
    Ok(array.try_get_lock()?[0])
}

fn first_in_time(array: &SharedArray<u64>) -> Result<u64, Box<dyn Error>> {
    let first = array.get_lock_timeout(SECOND)?[0];
    Ok(first + array.get_lock_deadline(Instant::now() + SECOND)?[0])
}

#[test]
fn every_error_can_be_passed_on() {
    fn can<E: Error + Send + Sync + 'static>() {}
    can::<procshare::Error>();
    can::<LockError>();
    can::<Died>();
    can::<LockError<ArrayGuard<'static, f32>>>();
    can::<SendError<Vec<u8>>>();
    can::<SendError<()>>();
    can::<RecvError>();
    #[cfg(feature = "map")]
    can::<procshare::MapError>();
    #[cfg(feature = "process")]
    can::<procshare::JoinError>();
    #[cfg(feature = "process")]
    can::<procshare::JobError>();
}

#[test]
fn the_lock_of_an_array_is_passed_on_as_any_error() {
    let array = half_changed();
    let error = first(&array).unwrap_err();
    assert!(error.to_string().contains("recover()"), "{error}");
    assert!(matches!(error.downcast_ref::<Died>(), Some(LockError::OwnerDied(_))));
    // The lock is in the error.
    assert!(matches!(array.try_get_lock(), Err(LockError::WouldDeadlock)));
    drop(error);
    assert!(first_tried(&array).is_err());
    assert!(first_in_time(&array).is_err());
    match first(&array).unwrap_err().downcast::<Died>() {
        Ok(LockError::OwnerDied(mut guard)) => guard.recover(),
        other => panic!("{other:?}"),
    }
    assert_eq!(first(&array).unwrap(), 7);
    assert_eq!(first_tried(&array).unwrap(), 7);
    assert_eq!(first_in_time(&array).unwrap(), 14);
}

#[test]
fn a_guard_from_an_error_outlives_the_handle_it_came_from() {
    let array = half_changed();
    let other = array.clone();
    let Err(LockError::OwnerDied(mut guard)) = array.get_lock() else {
        panic!("no holder died")
    };
    drop(array);
    guard[1] = 8;
    guard.recover();
    drop(guard);
    assert_eq!(other.to_vec().unwrap(), [7, 8, 3]);
}

#[test]
fn the_guard_of_the_error_is_the_guard_of_the_call() {
    let array = half_changed();
    let locked = |recovered: bool| match array.get_lock() {
        Ok(guard) if recovered => guard,
        Err(LockError::OwnerDied(guard)) if !recovered => guard,
        other => panic!("{other:?}"),
    };
    locked(false).recover();
    assert_eq!(locked(true)[0], 7);
}

#[test]
fn an_error_dropped_by_another_thread_lets_the_lock_go() {
    let array = half_changed();
    let error = first(&array).unwrap_err();
    std::thread::spawn(move || drop(error)).join().unwrap();
    assert!(matches!(array.try_get_lock(), Err(LockError::OwnerDied(_))));
}

#[test]
fn the_lock_of_a_value_is_passed_on_as_any_error() {
    fn add(value: &SharedValue<u64>) -> anyhow::Result<()> {
        *value.try_get_lock()? += 1;
        *value.get_lock_timeout(SECOND)? += 1;
        Ok(())
    }
    let value = SharedValue::new(40).unwrap();
    add(&value).unwrap();
    assert_eq!(value.get(), 42);
    let guard = value.get_lock();
    assert!(add(&value).is_err());
    drop(guard);
}
