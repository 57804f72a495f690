//! `SharedArray<T>`: a lot of data, changed in place under a lock.

use super::array_guard::ArrayGuard;
use super::lock_error::LockError;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, OBJECT_ALIGN, Shareable, Spec};
use crate::primitive::{Deadline, crash_point};
use crate::raw::{Held, RawMutex, Refused};
use crate::segment::{Handle, Object};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;
use std::time::{Duration, Instant};

/// Where the elements begin: on the cache line after the lock.
const ELEMENTS: u64 = OBJECT_ALIGN;

/// Holds a fixed number of elements that several processes change in place.
///
/// All access goes through one lock: [`get_lock`](Self::get_lock) gives a guard that dereferences to `[T]`, and the short forms
/// ([`get`](Self::get), [`set`](Self::set) …) take the lock for one step. `T` is any [`Shareable`](trait@Shareable) type for
/// which every bit pattern is a valid value: integers, floats, and structs and arrays of them, but no `bool`, `char` or enum.
///
/// # What happens on death
///
/// A process that is killed (or panics) while it holds a guard may leave the array half-changed. No other process is kept
/// waiting, and none is left unaware: from then on every access returns [`OwnerDied`](LockError::OwnerDied), until
/// [`recover`](ArrayGuard::recover) is called on the guard it contains.
///
/// # Examples
///
/// ```
/// let array = procshare::SharedArray::from_slice(&[3.0, 1.0, 2.0])?;
/// array.get_lock()?.sort_by(f64::total_cmp);
/// assert_eq!(array.to_vec()?, [1.0, 2.0, 3.0]);
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct SharedArray<T: Shareable> {
    handle: Handle,
    element: PhantomData<fn() -> T>,
}

impl<T: Shareable> Object for SharedArray<T> {
    fn spec(len: u64) -> Spec<'static> {
        const { assert_element::<T>() };
        Spec {
            kind: Kind::Array,
            fingerprint: T::SCHEMA.fingerprint(),
            schema: T::SCHEMA,
            len,
            bytes: len.saturating_mul(size_of::<T>() as u64).saturating_add(ELEMENTS),
        }
    }

    fn from_handle(handle: Handle) -> Self {
        SharedArray {
            handle,
            element: PhantomData,
        }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Refuses element types for which a reference to a peer's bytes could be unsound. Code that makes an array for a caller
/// evaluates this in a constant of its own, so that the compiler names the caller's line.
pub(super) const fn assert_element<T: Shareable>() {
    assert!(
        T::ANY_BITS,
        "an array's element must be valid for every bit pattern: use u8 for bool, u32 for char, an integer for an enum"
    );
    assert!(
        align_of::<T>() as u64 <= OBJECT_ALIGN,
        "an array's element is aligned to 64 bytes at most"
    );
}

/// Writes the lock and elements of a new array; `elements` writes the latter, or leaves zeros.
pub(super) fn write_new<T: Shareable>(len: usize, elements: Option<&[T]>) -> impl Fn(*mut u8, bool) {
    move |address, zeroed| {
        let first = address.wrapping_add(ELEMENTS as usize);
        if !zeroed {
            // SAFETY: the object is that long (`spec`), and nobody else has its address yet.
            unsafe { address.write_bytes(0, ELEMENTS as usize + len * size_of::<T>()) };
        }
        if let Some(elements) = elements {
            // SAFETY: the object has room for `len` elements (`spec`), at least as many as the slice has, aligned to a
            // cache line; the slice lies elsewhere, and nobody else has the object's address yet.
            unsafe {
                first
                    .cast::<T>()
                    .copy_from_nonoverlapping(elements.as_ptr(), elements.len().min(len))
            };
        }
    }
}

impl<T: Shareable> SharedArray<T> {
    /// Creates an array of `len` zeros in its own anonymous segment.
    ///
    /// # Errors
    ///
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity) or [`OutOfMemory`](crate::ErrorKind::OutOfMemory) if it
    /// is too large, [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::<u32>::new(1000)?;
    /// assert_eq!((array.len(), array.get(999)?), (1000, 0));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self> {
        const { assert_element::<T>() };
        Self::new_alone(len as u64, &write_new::<T>(len, None))
    }

    /// Creates an array with the elements of a slice.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::from_slice(&[1u8, 2, 3])?;
    /// assert_eq!(array.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn from_slice(elements: &[T]) -> Result<Self> {
        const { assert_element::<T>() };
        Self::new_alone(elements.len() as u64, &write_new(elements.len(), Some(elements)))
    }

    /// Creates an array with the elements an iterator yields.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// let squares = procshare::SharedArray::from_iter((0..4u64).map(|number| number * number))?;
    /// assert_eq!(squares.to_vec()?, [0, 1, 4, 9]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[expect(
        clippy::should_implement_trait,
        reason = "the trait's method cannot fail, this one can"
    )]
    pub fn from_iter(elements: impl IntoIterator<Item = T>) -> Result<Self> {
        const { assert_element::<T>() };
        let elements = elements.into_iter();
        let mut collected = Vec::new();
        let refuse = |error| {
            Error::new(
                ErrorKind::OutOfMemory,
                format!("collecting the elements failed: {error}"),
            )
        };
        collected.try_reserve(elements.size_hint().0).map_err(refuse)?;
        for element in elements {
            collected.try_reserve(1).map_err(refuse)?;
            collected.push(element);
        }
        Self::from_slice(&collected)
    }

    /// Creates an array whose elements a function computes from their indices.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::from_fn(3, |index| index as f64 / 2.0)?;
    /// assert_eq!(array.to_vec()?, [0.0, 0.5, 1.0]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Result<Self> {
        const { assert_element::<T>() };
        let element = RefCell::new(element);
        let init = |address: *mut u8, zeroed| {
            write_new::<T>(len, None)(address, zeroed);
            let first = address.wrapping_add(ELEMENTS as usize).cast::<T>();
            let element = &mut *element.borrow_mut();
            for index in 0..len {
                // SAFETY: the object has room for `len` elements (`spec`), aligned to a cache line, and nobody else has
                // its address yet.
                unsafe { first.wrapping_add(index).write(element(index)) };
            }
        };
        Self::new_alone(len as u64, &init)
    }

    /// Creates an array of `len` zeros in its own named segment.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new) and [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::SharedArray;
    ///
    /// let name = format!("doc-array-{}", std::process::id());
    /// let array = SharedArray::<i16>::create(&name, 10)?;
    /// assert_eq!(SharedArray::<i16>::open(&name)?.len(), 10);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, len: usize) -> Result<Self> {
        const { assert_element::<T>() };
        Self::create_alone(name, len as u64, &write_new::<T>(len, None))
    }

    /// Opens the array by name, whatever its length.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`](crate::Segment::open), and [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::SharedArray::<u8>::open("no-such-array").is_err());
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        const { assert_element::<T>() };
        Self::open_alone(name)
    }

    /// Opens the array by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open), and
    /// [`LengthMismatch`](crate::ErrorKind::LengthMismatch) if it has another length.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{ErrorKind, SharedArray};
    ///
    /// let name = format!("doc-array-either-{}", std::process::id());
    /// let array = SharedArray::<i16>::open_or_create(&name, 10)?;
    /// let error = SharedArray::<i16>::open_or_create(&name, 11).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::LengthMismatch);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, len: usize) -> Result<Self> {
        const { assert_element::<T>() };
        Self::open_or_create_alone(name, len as u64, &write_new::<T>(len, None))
    }

    /// Returns the number of elements.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedArray::<u8>::new(5)?.len(), 5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.handle.len() as usize
    }

    /// Returns whether the array has no elements.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::SharedArray::<u8>::new(0)?.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Locks the array and returns a guard that dereferences to its elements.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied), with the guard in it, if the last holder died or panicked inside.
    ///
    /// # Panics
    ///
    /// If the calling thread holds the lock already, or the process was moved to another PID or time namespace. The `try_`,
    /// `_timeout` and `_deadline` forms return these as errors.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::<u64>::new(3)?;
    /// for element in array.get_lock()?.iter_mut() {
    ///     *element += 1;
    /// }
    /// assert_eq!(array.to_vec()?, [1, 1, 1]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        match self.lock(Deadline::Never) {
            Ok(held) => self.guard(held),
            Err(refused) => self.handle.refuse(refused),
        }
    }

    /// Locks the array if nobody else holds it.
    ///
    /// A holder that died is noticed: the array is then locked, and the guard is returned inside
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](LockError::WouldBlock), [`WouldDeadlock`](LockError::WouldDeadlock),
    /// [`OwnerDied`](LockError::OwnerDied), [`ForeignNamespace`](LockError::ForeignNamespace).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{LockError, SharedArray};
    ///
    /// let array = SharedArray::<u64>::new(3)?;
    /// let guard = array.get_lock()?;
    /// assert!(matches!(array.try_get_lock(), Err(LockError::WouldDeadlock)));
    /// # drop(guard);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_get_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        self.guard(self.lock(Deadline::Now)?)
    }

    /// Locks the array, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`try_get_lock`](Self::try_get_lock), with [`TimedOut`](LockError::TimedOut) for `WouldBlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::<u64>::new(3)?;
    /// array.get_lock_timeout(std::time::Duration::from_millis(50))?[0] = 1;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        self.guard(self.lock(Deadline::after(timeout))?)
    }

    /// Locks the array, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`get_lock_timeout`](Self::get_lock_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::<u64>::new(3)?;
    /// array.get_lock_deadline(std::time::Instant::now())?[0] = 1;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_lock_deadline(&self, deadline: Instant) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        self.guard(self.lock(Deadline::At(deadline))?)
    }

    /// Returns the element at `index`.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Panics
    ///
    /// If `index` is out of bounds, and as [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedArray::from_slice(&[7, 8])?.get(1)?, 8);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn get(&self, index: usize) -> Result<T, LockError> {
        self.check_index(index);
        Ok(self.whole()?[index])
    }

    /// Replaces the element at `index`.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Panics
    ///
    /// If `index` is out of bounds, and as [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::from_slice(&[7, 8])?;
    /// array.set(0, 5)?;
    /// assert_eq!(array.to_vec()?, [5, 8]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, index: usize, element: T) -> Result<(), LockError> {
        self.check_index(index);
        self.whole()?[index] = element;
        Ok(())
    }

    /// Exchanges two elements.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Panics
    ///
    /// If an index is out of bounds, and as [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::from_slice(&[7, 8])?;
    /// array.swap(0, 1)?;
    /// assert_eq!(array.to_vec()?, [8, 7]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn swap(&self, first: usize, second: usize) -> Result<(), LockError> {
        self.check_index(first);
        self.check_index(second);
        self.whole()?.swap(first, second);
        Ok(())
    }

    /// Sets every element to `element`.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Panics
    ///
    /// As [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::<u8>::new(3)?;
    /// array.fill(9)?;
    /// assert_eq!(array.to_vec()?, [9, 9, 9]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn fill(&self, element: T) -> Result<(), LockError> {
        self.whole()?.fill(element);
        Ok(())
    }

    /// Returns a copy of all elements, as they were at one moment.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Panics
    ///
    /// As [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedArray::from_slice(&[1, 2])?.to_vec()?, [1, 2]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<T>, LockError> {
        Ok(self.whole()?.to_vec())
    }

    /// Replaces all elements with those of a slice.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`](LockError::OwnerDied).
    ///
    /// # Panics
    ///
    /// If the slice has another length, and as [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let array = procshare::SharedArray::<u8>::new(2)?;
    /// array.copy_from_slice(&[4, 5])?;
    /// assert_eq!(array.to_vec()?, [4, 5]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn copy_from_slice(&self, elements: &[T]) -> Result<(), LockError> {
        let (expected, found) = (self.len(), elements.len());
        assert!(
            expected == found,
            "{}: expected {expected} elements, found {found}",
            self.handle.label()
        );
        self.whole()?.copy_from_slice(elements);
        Ok(())
    }

    #[inline]
    pub(super) fn mutex(&self) -> &RawMutex {
        // SAFETY: the handle was made for an object of this kind, which begins with a RawMutex, is aligned to a cache
        // line and stays mapped while the handle lives; a RawMutex is made of atomics alone.
        unsafe { &*self.handle.address().cast::<RawMutex>() }
    }

    /// The first element; the others follow it.
    #[inline]
    pub(super) fn elements(&self) -> *mut T {
        self.handle.address().wrapping_add(ELEMENTS as usize).cast()
    }

    #[inline]
    fn lock(&self, deadline: Deadline) -> Result<Held, Refused> {
        self.mutex().lock(|| self.handle.segment().peers(), deadline)
    }

    #[inline]
    fn guard(&self, held: Held) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'static, T>>> {
        crash_point!("array.guarded");
        if held.inconsistent {
            Err(LockError::OwnerDied(ArrayGuard::owning(self, held)))
        } else {
            Ok(ArrayGuard::new(self, held))
        }
    }

    /// Locks for calls that return no guard: the guard is dropped if the array may be half-changed.
    #[inline]
    #[track_caller]
    pub(super) fn whole(&self) -> Result<ArrayGuard<'_, T>, LockError> {
        self.get_lock().map_err(|error| error.map(drop))
    }

    /// Panics before the lock is taken: a panic while holding it would count as a half-change.
    #[inline]
    #[track_caller]
    fn check_index(&self, index: usize) {
        let len = self.len();
        assert!(
            index < len,
            "index {index} is out of bounds: the array has {len} elements"
        );
    }
}

impl<T: Shareable> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self::from_handle(self.handle.clone())
    }
}

impl<T: Shareable> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedArray")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
