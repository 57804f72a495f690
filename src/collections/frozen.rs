//! `FrozenArray<T>`: elements that can no longer change, read without a lock.

use super::array::{SharedArray, assert_element};
use crate::error::Result;
use crate::layout::{Kind, Shareable, Spec};
use crate::segment::{Handle, Object, SegmentBuilder};
use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::Deref;

/// Holds elements in sealed memory; dereferences to `[T]` without a lock.
///
/// The kernel seals the memory against writing, growing and shrinking, for every process, for ever: that is why it can be
/// handed out as a plain slice. A `FrozenArray` is made by [`SharedArray::freeze`](crate::SharedArray::freeze) or from a slice,
/// and travels to children as an argument.
///
/// # What happens on death
///
/// Nothing: there is no lock and nothing changes.
///
/// # Examples
///
/// ```
/// let primes = procshare::FrozenArray::from_slice(&[2u32, 3, 5, 7])?;
/// assert_eq!(primes.binary_search(&5), Ok(2));
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct FrozenArray<T: Shareable> {
    handle: Handle,
    element: PhantomData<fn() -> T>,
}

impl<T: Shareable> Object for FrozenArray<T> {
    fn spec(len: u64) -> Spec<'static> {
        const { assert_element::<T>() };
        Spec {
            kind: Kind::FrozenArray,
            fingerprint: T::SCHEMA.fingerprint(),
            schema: T::SCHEMA,
            len,
            bytes: len.saturating_mul(size_of::<T>() as u64),
        }
    }

    fn from_handle(handle: Handle) -> Self {
        FrozenArray {
            handle,
            element: PhantomData,
        }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<T: Shareable> FrozenArray<T> {
    /// Creates a frozen array with the elements of a slice.
    ///
    /// # Errors
    ///
    /// As [`SharedArray::new`](crate::SharedArray::new).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(*procshare::FrozenArray::from_slice(&[1u8, 2])?, [1, 2]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        const { assert_element::<T>() };
        let spec = Self::spec(elements.len() as u64);
        let init = |address: *mut u8, _| {
            // SAFETY: the object has room for all elements (`spec`), aligned to a cache line, and nobody else has its
            // address yet.
            unsafe {
                address
                    .cast::<T>()
                    .copy_from_nonoverlapping(elements.as_ptr(), elements.len())
            };
        };
        let segment =
            SegmentBuilder::for_object(&spec)?.frozen_with(&|segment| segment.place("", &spec, &init).map(drop))?;
        Self::open_in(&segment, "", Some(spec.len))
    }
}

impl<T: Shareable> SharedArray<T> {
    /// Copies the elements into a sealed array that cannot change.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](crate::ErrorKind::OwnerDied), and as [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// As [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let table = procshare::SharedArray::from_slice(&[1.5, 2.5])?.freeze()?;
    /// assert_eq!(table.iter().sum::<f64>(), 4.0);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn freeze(&self) -> Result<FrozenArray<T>> {
        FrozenArray::from_slice(&self.whole()?)
    }
}

impl<T: Shareable> Deref for FrozenArray<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `check_object` compared the bytes with `len` and found the segment sealed against writing; it is mapped
        // while the handle lives, aligned to a cache line, and any bytes are a T (`assert_element`).
        unsafe { core::slice::from_raw_parts(self.handle.address().cast::<T>(), self.handle.len() as usize) }
    }
}

impl<T: Shareable> Clone for FrozenArray<T> {
    fn clone(&self) -> Self {
        Self::from_handle(self.handle.clone())
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for FrozenArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
