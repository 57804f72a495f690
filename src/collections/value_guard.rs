//! `ValueGuard<T>`: the lock of a value, and a private copy of it.

use super::value::{SharedValue, bytes_of};
use crate::layout::Shareable;
use crate::primitive::OwnerId;
use crate::raw::RawMutex;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Holds the lock of a [`SharedValue`] and a copy of its value.
///
/// Reading and changing go to the copy; see [`SharedValue::get_lock`] for when it is published.
///
/// # Examples
///
/// ```
/// let value = procshare::SharedValue::new(1)?;
/// let mut guard = value.get_lock();
/// *guard = 2;
/// assert_eq!((*guard, value.get()), (2, 1)); // not published yet
/// drop(guard);
/// assert_eq!(value.get(), 2);
/// # Ok::<(), procshare::Error>(())
/// ```
#[must_use = "the lock is released when the guard drops"]
pub struct ValueGuard<'a, T: Shareable> {
    value: &'a SharedValue<T>,
    copy: T,
    changed: bool,
    owner: OwnerId,
    /// Whether the thread was already panicking when it took the lock: a panic at the drop then means nothing new.
    panicking: bool,
    /// The lock belongs to the thread that took it.
    not_send: PhantomData<*const ()>,
}

impl<'a, T: Shareable> ValueGuard<'a, T> {
    #[inline]
    pub(super) fn new(value: &'a SharedValue<T>, copy: T, owner: OwnerId) -> Self {
        ValueGuard {
            value,
            copy,
            changed: false,
            owner,
            panicking: std::thread::panicking(),
            not_send: PhantomData,
        }
    }
}

impl<T: Shareable> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Shareable> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.copy
    }
}

impl<T: Shareable> Drop for ValueGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !RawMutex::is_caller(self.owner) {
            return; // A fork child inherited the guard; the lock is its parent's.
        }
        let latch = self.value.latch();
        if self.changed && (self.panicking || !std::thread::panicking()) {
            latch.publish(self.value.slots(), bytes_of(&self.copy));
        }
        latch.mutex.unlock(self.owner);
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
