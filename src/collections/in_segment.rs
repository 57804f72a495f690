//! The typed objects of a [`Segment`]: opening them by name, and placing what is absent.

use super::{AtomicInteger, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter, SharedValue};
use super::{array, atomic, value};
use crate::error::Result;
use crate::layout::Shareable;
use crate::segment::{Object, Segment};

impl Segment {
    /// Returns the value `name` of this segment, creating it if absent.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if `name` is something else,
    /// [`Full`](crate::ErrorKind::Full), [`InvalidName`](crate::ErrorKind::InvalidName),
    /// [`Busy`](crate::ErrorKind::Busy) if a stopped process holds the directory.
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// let hits = segment.value("hits", 0u64)?;
    /// hits.set(3);
    /// assert_eq!(segment.value("hits", 0u64)?.get(), 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn value<T: Shareable>(&self, name: &str, value: T) -> Result<SharedValue<T>> {
        const { value::assert_size::<T>() };
        self.check_object_name(name)?;
        SharedValue::place_in(self, name, 1, &value::write_new(value))
    }

    /// Opens the value `name` of this segment.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// assert!(segment.open_value::<u64>("hits").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_value<T: Shareable>(&self, name: &str) -> Result<SharedValue<T>> {
        const { value::assert_size::<T>() };
        SharedValue::open_in(self, name, Some(1))
    }

    /// Returns the counter `name` of this segment, creating it if absent.
    ///
    /// # Errors
    ///
    /// As [`value`](Segment::value).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// segment.counter("hits", 0)?.increment()?;
    /// assert_eq!(segment.counter("hits", 0)?.get(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn counter(&self, name: &str, start: i64) -> Result<SharedCounter> {
        self.check_object_name(name)?;
        SharedCounter::place_in(self, name, 1, &value::write_new(start))
    }

    /// Opens the counter `name` of this segment.
    ///
    /// # Errors
    ///
    /// As [`open_value`](Segment::open_value).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// assert!(segment.open_counter("hits").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_counter(&self, name: &str) -> Result<SharedCounter> {
        SharedCounter::open_in(self, name, Some(1))
    }

    /// Returns the array `name`, creating it with zeros if absent.
    ///
    /// # Errors
    ///
    /// As [`value`](Segment::value), and [`LengthMismatch`](crate::ErrorKind::LengthMismatch).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// segment.array::<f64>("samples", 100)?.set(3, 0.5)?;
    /// assert_eq!(segment.array::<f64>("samples", 100)?.get(3)?, 0.5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn array<T: Shareable>(&self, name: &str, len: usize) -> Result<SharedArray<T>> {
        const { array::assert_element::<T>() };
        self.check_object_name(name)?;
        SharedArray::place_in(self, name, len as u64, &array::write_new::<T>(len, None))
    }

    /// Opens the array `name` of this segment, whatever its length.
    ///
    /// # Errors
    ///
    /// As [`open_value`](Segment::open_value).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// segment.array::<u8>("bytes", 12)?;
    /// assert_eq!(segment.open_array::<u8>("bytes")?.len(), 12);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_array<T: Shareable>(&self, name: &str) -> Result<SharedArray<T>> {
        const { array::assert_element::<T>() };
        SharedArray::open_in(self, name, None)
    }

    /// Returns the atomic `name` of this segment, creating it if absent.
    ///
    /// # Errors
    ///
    /// As [`value`](Segment::value).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// let segment = procshare::Segment::new(4096)?;
    /// segment.atomic::<AtomicU64>("bytes", 0)?.fetch_add(512, Ordering::Relaxed);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn atomic<A: AtomicInteger>(&self, name: &str, value: A::Integer) -> Result<SharedAtomic<A>> {
        self.check_object_name(name)?;
        SharedAtomic::place_in(self, name, 1, &atomic::write_all(1, value))
    }

    /// Opens the atomic `name` of this segment.
    ///
    /// # Errors
    ///
    /// As [`open_value`](Segment::open_value).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU64;
    ///
    /// let segment = procshare::Segment::new(4096)?;
    /// assert!(segment.open_atomic::<AtomicU64>("bytes").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_atomic<A: AtomicInteger>(&self, name: &str) -> Result<SharedAtomic<A>> {
        SharedAtomic::open_in(self, name, Some(1))
    }

    /// Returns the `len` atomics `name` of this segment, creating them if absent.
    ///
    /// # Errors
    ///
    /// As [`array`](Segment::array).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU64;
    ///
    /// let segment = procshare::Segment::new(4096)?;
    /// assert_eq!(segment.atomic_array::<AtomicU64>("per worker", 4)?.len(), 4);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn atomic_array<A: AtomicInteger>(&self, name: &str, len: usize) -> Result<SharedAtomicArray<A>> {
        self.check_object_name(name)?;
        SharedAtomicArray::place_in(self, name, len as u64, &atomic::write_zeros::<A>(len as u64))
    }

    /// Opens the atomics `name` of this segment.
    ///
    /// # Errors
    ///
    /// As [`open_array`](Segment::open_array).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU64;
    ///
    /// let segment = procshare::Segment::new(4096)?;
    /// assert!(segment.open_atomic_array::<AtomicU64>("per worker").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_atomic_array<A: AtomicInteger>(&self, name: &str) -> Result<SharedAtomicArray<A>> {
        SharedAtomicArray::open_in(self, name, None)
    }
}
