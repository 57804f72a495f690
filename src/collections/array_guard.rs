//! `ArrayGuard<T>`: the lock of an array, and its elements in place.

use super::array::SharedArray;
use crate::layout::Shareable;
#[cfg(feature = "process")]
use crate::primitive::loans::Loan;
use crate::raw::{Held, RawMutex};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Holds the lock of a [`SharedArray`]; dereferences to its elements in place.
///
/// Other processes see changes when they lock after the guard has dropped. A guard leaked with [`std::mem::forget`] keeps the
/// array locked until the process ends, which then counts as a death while holding the lock.
///
/// A guard may move to another thread, even inside an error that is passed on. Until it drops, the lock still counts as held by
/// the thread that took it: only that thread is refused with [`WouldDeadlock`](crate::LockError::WouldDeadlock). Any other
/// thread waits, even the one that has the guard now.
///
/// # Examples
///
/// ```
/// let array = procshare::SharedArray::<u32>::new(4)?;
/// let mut guard = array.get_lock()?;
/// guard[1..3].copy_from_slice(&[5, 6]);
/// assert_eq!(*guard, [0, 5, 6, 0]);
/// # Ok::<(), procshare::Error>(())
/// ```
#[must_use = "the lock is released when the guard drops"]
pub struct ArrayGuard<'a, T: Shareable> {
    array: &'a SharedArray<T>,
    held: Held,
    /// Whether the thread was already panicking when it took the lock: a panic at the drop then means nothing new.
    panicking: bool,
    #[cfg(feature = "process")]
    _loan: Loan,
    /// The handle that `array` refers to, in a guard that outlives its caller's handle.
    own: Option<Arc<SharedArray<T>>>,
}

impl<'a, T: Shareable> ArrayGuard<'a, T> {
    pub(super) fn new(array: &'a SharedArray<T>, held: Held) -> Self {
        ArrayGuard {
            array,
            held,
            panicking: std::thread::panicking(),
            #[cfg(feature = "process")]
            _loan: Loan::new(),
            own: None,
        }
    }

    /// The same with a handle of its own, so that `?` can pass on an error with a guard in it to any caller.
    #[cold]
    pub(super) fn owning(array: &SharedArray<T>, held: Held) -> ArrayGuard<'static, T> {
        let own = Arc::new(array.clone());
        // SAFETY: the handle lies on the heap, where nobody changes it, and the guard, which alone uses this reference, keeps
        // it there until it has been dropped.
        let array: &'static SharedArray<T> = unsafe { &*Arc::as_ptr(&own) };
        let mut guard = ArrayGuard::new(array, held);
        guard.own = Some(own);
        guard
    }

    /// Declares the array whole again after an earlier holder's death or panic.
    ///
    /// Call it after checking or rewriting the elements.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{LockError, SharedArray};
    ///
    /// let array = SharedArray::<u32>::new(4)?;
    /// let mut guard = match array.get_lock() {
    ///     Ok(guard) => guard,
    ///     Err(LockError::OwnerDied(mut guard)) => {
    ///         guard.fill(0);
    ///         guard.recover();
    ///         guard
    ///     }
    ///     Err(error) => panic!("{error}"),
    /// };
    /// guard[0] = 1;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn recover(&mut self) {
        if !RawMutex::is_caller(self.held.owner) {
            return; // A fork child inherited the guard; the lock is its parent's.
        }
        self.held.inconsistent = false;
        self.array.mutex().mark_consistent();
    }
}

impl<T: Shareable> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the elements lie in the mapping, `len` of them (`check_object` compared the bytes), aligned to a cache line;
        // any bytes are a T (`assert_element`). The lock this guard holds keeps every cooperating peer out; a child that
        // was forked (an unsafe call) with the guard is bound not to use it, as `design` says.
        unsafe { core::slice::from_raw_parts(self.array.elements(), self.array.len()) }
    }
}

impl<T: Shareable> DerefMut for ArrayGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the one guard there is of this lock is borrowed uniquely.
        unsafe { core::slice::from_raw_parts_mut(self.array.elements(), self.array.len()) }
    }
}

impl<T: Shareable> Drop for ArrayGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let owner = self.held.owner;
        if !RawMutex::is_caller(owner) {
            return; // A fork child inherited the guard; the lock is its parent's.
        }
        if !self.panicking && std::thread::panicking() {
            self.array.mutex().mark_inconsistent();
        }
        self.array.mutex().unlock(owner);
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
