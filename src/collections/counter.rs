//! `SharedCounter`: an integer that counts, with no silent overflow.

use super::value::{SharedValue, value_spec, write_new};
use super::value_guard::ValueGuard;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, Spec};
use crate::segment::{Handle, Object};
use std::ffi::OsStr;
use std::fmt;

/// Counts in an `i64` that several processes increment under a lock.
///
/// Increments that do not fit are errors; wrapping must be asked for by name. Reading takes no lock.
///
/// # What happens on death
///
/// A process killed while incrementing has either counted or not; see [`SharedValue`].
///
/// # Examples
///
/// ```
/// let counter = procshare::SharedCounter::new(0)?;
/// counter.increment()?;
/// assert_eq!(counter.add(41)?, 42);
/// assert_eq!(counter.get(), 42);
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedCounter(SharedValue<i64>);

impl Object for SharedCounter {
    fn spec(_len: u64) -> Spec<'static> {
        value_spec::<i64>(Kind::Counter)
    }

    fn from_handle(handle: Handle) -> Self {
        SharedCounter(SharedValue::from_handle(handle))
    }

    fn handle(&self) -> &Handle {
        self.0.handle()
    }
}

impl SharedCounter {
    /// Creates a counter in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// As [`SharedValue::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedCounter::new(5)?.get(), 5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(start: i64) -> Result<Self> {
        Self::new_alone(1, &write_new(start))
    }

    /// Creates a counter in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-counter-{}", std::process::id());
    /// let counter = procshare::SharedCounter::create(&name, 1)?;
    /// assert_eq!(procshare::SharedCounter::open(&name)?.get(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, start: i64) -> Result<Self> {
        Self::create_alone(name, 1, &write_new(start))
    }

    /// Opens the counter by name.
    ///
    /// # Errors
    ///
    /// As [`SharedValue::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::SharedCounter::open("no-such-counter").is_err());
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::open_alone(name)
    }

    /// Opens the counter by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-counter-either-{}", std::process::id());
    /// procshare::SharedCounter::open_or_create(&name, 0)?.increment()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, start: i64) -> Result<Self> {
        Self::open_or_create_alone(name, 1, &write_new(start))
    }

    /// Adds one and returns the new count.
    ///
    /// # Errors
    ///
    /// [`Overflow`](ErrorKind::Overflow); the count stays as it was.
    ///
    /// # Panics
    ///
    /// As [`SharedValue::get_lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedCounter::new(0)?.increment()?, 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn increment(&self) -> Result<i64> {
        self.add(1)
    }

    /// Adds `amount`, which may be negative, and returns the new count.
    ///
    /// # Errors
    ///
    /// [`Overflow`](ErrorKind::Overflow); the count stays as it was.
    ///
    /// # Panics
    ///
    /// As [`SharedValue::get_lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{ErrorKind, SharedCounter};
    ///
    /// let counter = SharedCounter::new(i64::MAX - 1)?;
    /// assert_eq!(counter.add(1)?, i64::MAX);
    /// assert_eq!(counter.add(1).unwrap_err().kind(), ErrorKind::Overflow);
    /// assert_eq!(counter.get(), i64::MAX);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn add(&self, amount: i64) -> Result<i64> {
        let mut count = self.0.get_lock();
        match count.checked_add(amount) {
            Some(sum) => {
                *count = sum;
                Ok(sum)
            }
            None => Err(self.overflow(*count, amount)),
        }
    }

    /// Adds `amount`, wrapping around at the limits, and returns the new count.
    ///
    /// # Panics
    ///
    /// As [`SharedValue::get_lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedCounter::new(i64::MAX)?.wrapping_add(1), i64::MIN);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn wrapping_add(&self, amount: i64) -> i64 {
        let mut count = self.0.get_lock();
        *count = count.wrapping_add(amount);
        *count
    }

    /// Returns the count, without a lock.
    ///
    /// # Panics
    ///
    /// As [`SharedValue::get`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedCounter::new(3)?.get(), 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn get(&self) -> i64 {
        self.0.get()
    }

    /// Locks the counter, for several increments in one step.
    ///
    /// # Panics
    ///
    /// As [`SharedValue::get_lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// let counter = procshare::SharedCounter::new(20)?;
    /// {
    ///     let mut count = counter.get_lock();
    ///     *count = *count * 2 + 2;
    /// }
    /// assert_eq!(counter.get(), 42);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn get_lock(&self) -> ValueGuard<'_, i64> {
        self.0.get_lock()
    }

    /// Returns the counter as a value, with all its ways to lock.
    ///
    /// # Examples
    ///
    /// ```
    /// let counter = procshare::SharedCounter::new(1)?;
    /// *counter.as_value().try_get_lock()? += 1;
    /// assert_eq!(counter.get(), 2);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn as_value(&self) -> &SharedValue<i64> {
        &self.0
    }

    #[cold]
    fn overflow(&self, count: i64, amount: i64) -> Error {
        let message = format!("{count} + {amount} does not fit in an i64");
        Error::new(ErrorKind::Overflow, message).in_segment(self.handle().segment().label())
    }
}

impl fmt::Debug for SharedCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_get() {
            Ok(count) => f.debug_tuple("SharedCounter").field(&count).finish(),
            Err(error) => f.debug_tuple("SharedCounter").field(&error).finish(),
        }
    }
}
