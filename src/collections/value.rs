//! `SharedValue<T>`: one value, read without a lock and changed as a whole.

use super::lock_error::LockError;
use super::value_guard::ValueGuard;
use crate::error::Result;
use crate::layout::{Kind, Shareable, Spec};
use crate::primitive::{AtomicU64, Deadline, OwnerId};
use crate::raw::{RawLatch, Refused, words_for};
use crate::segment::{Handle, Object};
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::time::{Duration, Instant};

/// The largest `T`; larger data belongs in arrays.
const LARGEST: usize = 64 * 1024;
/// How often a read is tried without the lock before it takes the lock.
const READ_ATTEMPTS: u32 = 32;

/// Holds one value that several processes read and change as a whole.
///
/// Reading takes no lock. Changing goes through a guard that holds a private copy, published by one store when the guard drops:
/// no reader ever sees half a change. A `SharedValue` is a handle; cloning it is cheap, and it travels to child processes as an
/// argument.
///
/// `T` is any [`Shareable`](trait@Shareable) type up to 64 KiB.
///
/// # What happens on death
///
/// A process killed while it holds the lock has published its whole change or none of it, never half; the next locker
/// proceeds within 100 ms. A panic inside a guard publishes nothing.
///
/// # Examples
///
/// ```
/// let counter = procshare::SharedValue::new(0u64)?;
/// *counter.get_lock() += 1;
/// assert_eq!(counter.get(), 1);
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct SharedValue<T: Shareable> {
    handle: Handle,
    value: PhantomData<fn() -> T>,
}

/// The bytes of a value, for writing them to a slot.
#[inline]
pub(super) fn bytes_of<T: Shareable>(value: &T) -> &[u8] {
    // SAFETY: a Shareable T has no padding (its contract), so all its bytes are initialised.
    unsafe { core::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }
}

/// Room for the bytes of a `T` that is not yet known to be one.
struct Unchecked<T>(MaybeUninit<T>);

impl<T: Shareable> Unchecked<T> {
    #[inline]
    fn zeroed() -> Self {
        Unchecked(MaybeUninit::zeroed())
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: size_of::<T>() bytes, all initialised: they began as zeros, only bytes are written to them, and moves
        // preserve them, since a T has no padding.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<u8>(), size_of::<T>()) }
    }

    #[inline]
    fn check(mut self) -> Result<T, LockError> {
        if T::ANY_BITS || T::is_valid(self.bytes_mut()) {
            // SAFETY: the bytes are initialised and are a T, says T itself.
            Ok(unsafe { self.0.assume_init() })
        } else {
            Err(LockError::Invalid)
        }
    }
}

impl<T: Shareable> Object for SharedValue<T> {
    fn spec(_len: u64) -> Spec<'static> {
        value_spec::<T>(Kind::Value)
    }

    fn from_handle(handle: Handle) -> Self {
        SharedValue {
            handle,
            value: PhantomData,
        }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Refuses types that are too large. Code that makes a value for a caller evaluates this in a constant of its own, so that the
/// compiler names the caller's line.
pub(super) const fn assert_size<T: Shareable>() {
    assert!(
        size_of::<T>() <= LARGEST,
        "a SharedValue holds at most 64 KiB: use a SharedArray for larger data"
    );
}

/// The spec of an object laid out as lock, version and two slots of `T`.
pub(super) fn value_spec<T: Shareable>(kind: Kind) -> Spec<'static> {
    const { assert_size::<T>() };
    Spec {
        kind,
        fingerprint: T::SCHEMA.fingerprint(),
        schema: T::SCHEMA,
        len: 1,
        bytes: (size_of::<RawLatch>() + 2 * 8 * words_for(size_of::<T>())) as u64,
    }
}

/// Writes a value object whole: lock free, version 0, the value in slot 0.
pub(super) fn write_new<T: Shareable>(value: T) -> impl Fn(*mut u8, bool) {
    move |address, _| {
        let len = size_of::<RawLatch>() + 2 * 8 * words_for(size_of::<T>());
        // SAFETY: the object is that long (`value_spec`), and nobody else has its address yet.
        unsafe { address.write_bytes(0, len) };
        let slot = address.wrapping_add(size_of::<RawLatch>());
        // SAFETY: slot 0 follows the latch, has room for all bytes of a T, and lies in the segment, where `value` is not;
        // nobody else has its address yet.
        unsafe { slot.copy_from_nonoverlapping(bytes_of(&value).as_ptr(), size_of::<T>()) };
    }
}

impl<T: Shareable> SharedValue<T> {
    /// Creates a value in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
    ///
    /// # Examples
    ///
    /// ```
    /// let temperature = procshare::SharedValue::new(21.5f64)?;
    /// assert_eq!(temperature.get(), 21.5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        const { assert_size::<T>() };
        Self::new_alone(1, &write_new(value))
    }

    /// Creates a value in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-value-create-{}", std::process::id());
    /// let value = procshare::SharedValue::create(&name, 7u32)?;
    /// assert_eq!(procshare::SharedValue::<u32>::open(&name)?.get(), 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, value: T) -> Result<Self> {
        const { assert_size::<T>() };
        Self::create_alone(name, 1, &write_new(value))
    }

    /// Opens the value by name.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`](crate::Segment::open), and [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{ErrorKind, SharedValue};
    ///
    /// let name = format!("doc-value-open-{}", std::process::id());
    /// let value = SharedValue::create(&name, 7u32)?;
    /// assert_eq!(SharedValue::<f64>::open(&name).unwrap_err().kind(), ErrorKind::TypeMismatch);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        const { assert_size::<T>() };
        Self::open_alone(name)
    }

    /// Opens the value by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-value-either-{}", std::process::id());
    /// let first = procshare::SharedValue::open_or_create(&name, 1u8)?;
    /// let second = procshare::SharedValue::open_or_create(&name, 2u8)?;
    /// assert_eq!(second.get(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, value: T) -> Result<Self> {
        const { assert_size::<T>() };
        Self::open_or_create_alone(name, 1, &write_new(value))
    }

    /// Returns a copy of the value, without a lock.
    ///
    /// A read that keeps meeting writers takes the lock in the end, so every read completes.
    ///
    /// # Panics
    ///
    /// If the bytes are no valid `T`, which only a broken peer can cause; or if writers forced the read to lock, and the
    /// process was moved to another namespace. [`try_get`](Self::try_get) returns these as errors.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new([1u16, 2, 3])?;
    /// assert_eq!(value.get(), [1, 2, 3]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn get(&self) -> T {
        let copy = match self.read_once() {
            Some(copy) => copy,
            None => match self.read_on(Deadline::Never) {
                Ok(copy) => copy,
                Err(refused) => self.handle.refuse(refused),
            },
        };
        match copy.check() {
            Ok(value) => value,
            Err(_) => self.handle.invalid(),
        }
    }

    /// Returns a copy of the value without ever waiting or panicking.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](LockError::WouldBlock) if writers were in the way again and again,
    /// [`ForeignNamespace`](LockError::ForeignNamespace) if they were and this process was moved to another namespace,
    /// [`Invalid`](LockError::Invalid) if the bytes are no valid `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedValue::new('x')?.try_get()?, 'x');
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T, LockError> {
        let copy = match self.read_once() {
            Some(copy) => copy,
            None => self.read_on(Deadline::Now)?,
        };
        copy.check()
    }

    /// Replaces the value.
    ///
    /// Waits for the lock as [`get_lock`](Self::get_lock) does; to bound the wait, lock with a timeout or deadline instead.
    ///
    /// # Panics
    ///
    /// As [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new(1)?;
    /// value.set(5);
    /// assert_eq!(value.get(), 5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&self, value: T) {
        match self.lock(Deadline::Never) {
            Ok(held) => {
                self.latch().publish(self.slots(), bytes_of(&value));
                self.latch().mutex.unlock(held);
            }
            Err(refused) => self.handle.refuse(refused),
        }
    }

    /// Locks the value and returns a guard with a private copy.
    ///
    /// Changes to the copy are published together when the guard drops. A guard that was not changed publishes nothing, nor
    /// does one that drops during a panic, or in a fork child that inherited it. (Only a panic that began after the lock was
    /// taken counts: destructors that run during a panic may lock and publish. As with `std`'s mutexes, a further panic that
    /// such a destructor catches itself goes unnoticed.)
    ///
    /// # Panics
    ///
    /// If the calling thread holds the lock already; if the process was moved to another PID or time namespace; if the bytes
    /// are no valid `T`. [`try_get_lock`](Self::try_get_lock) and the forms with a time limit return these as errors.
    ///
    /// # Examples
    ///
    /// ```
    /// let pair = procshare::SharedValue::new([0u64, 0])?;
    /// {
    ///     let mut pair = pair.get_lock();
    ///     pair[0] += 1;
    ///     pair[1] += 1;
    /// }
    /// assert_eq!(pair.get(), [1, 1]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_lock(&self) -> ValueGuard<'_, T> {
        match self.lock(Deadline::Never) {
            Ok(held) => match self.guard(held) {
                Ok(guard) => guard,
                Err(_) => self.handle.invalid(),
            },
            Err(refused) => self.handle.refuse(refused),
        }
    }

    /// Locks the value if nobody else holds it.
    ///
    /// A holder that died is noticed and does not count as holding it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](LockError::WouldBlock), [`WouldDeadlock`](LockError::WouldDeadlock),
    /// [`ForeignNamespace`](LockError::ForeignNamespace), [`Invalid`](LockError::Invalid).
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new(1)?;
    /// *value.try_get_lock()? += 1;
    /// assert_eq!(value.get(), 2);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_get_lock(&self) -> Result<ValueGuard<'_, T>, LockError> {
        self.guard(self.lock(Deadline::Now)?)
    }

    /// Locks the value, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`try_get_lock`](Self::try_get_lock), with [`TimedOut`](LockError::TimedOut) for `WouldBlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new(1)?;
    /// let guard = value.get_lock_timeout(std::time::Duration::from_millis(50))?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, LockError> {
        self.guard(self.lock(Deadline::after(timeout))?)
    }

    /// Locks the value, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`get_lock_timeout`](Self::get_lock_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new(1)?;
    /// let guard = value.get_lock_deadline(std::time::Instant::now())?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_lock_deadline(&self, deadline: Instant) -> Result<ValueGuard<'_, T>, LockError> {
        self.guard(self.lock(Deadline::At(deadline))?)
    }

    /// Changes the value under the lock and returns what the closure returns.
    ///
    /// # Panics
    ///
    /// As [`get_lock`](Self::get_lock). If the closure panics, the value stays as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new(20u32)?;
    /// let before = value.update(|value| std::mem::replace(value, 21));
    /// assert_eq!((before, value.get()), (20, 21));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.get_lock())
    }

    /// Replaces the value if it equals `current`.
    ///
    /// # Errors
    ///
    /// The value found, if it differs.
    ///
    /// # Panics
    ///
    /// As [`get_lock`](Self::get_lock).
    ///
    /// # Examples
    ///
    /// ```
    /// let value = procshare::SharedValue::new(1)?;
    /// assert_eq!(value.compare_exchange(1, 2), Ok(1));
    /// assert_eq!(value.compare_exchange(1, 3), Err(2));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[track_caller]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T>
    where
        T: PartialEq,
    {
        let mut guard = self.get_lock();
        let found = *guard;
        if found == current {
            *guard = new;
            Ok(found)
        } else {
            Err(found)
        }
    }

    #[inline]
    pub(super) fn latch(&self) -> &RawLatch {
        // SAFETY: the handle was made for a value or counter, which begins with a RawLatch (`value_spec`), is
        // aligned to a cache line and stays mapped while the handle lives; a RawLatch is made of atomics alone.
        unsafe { &*self.handle.address().cast::<RawLatch>() }
    }

    #[inline]
    pub(super) fn slots(&self) -> &[AtomicU64] {
        let first = self
            .handle
            .address()
            .wrapping_add(size_of::<RawLatch>())
            .cast::<AtomicU64>();
        // SAFETY: two slots of that many atomics each follow the latch (`value_spec`); see `latch`.
        unsafe { core::slice::from_raw_parts(first, 2 * words_for(size_of::<T>())) }
    }

    #[inline]
    fn lock(&self, deadline: Deadline) -> Result<OwnerId, Refused> {
        let latch = self.latch();
        let held = latch.lock(|| self.handle.segment().peers(), deadline)?;
        if held.inconsistent {
            // A holder that died here had published its change or not: there is no half.
            latch.mutex.mark_consistent();
        }
        Ok(held.owner)
    }

    #[inline]
    fn guard(&self, owner: OwnerId) -> Result<ValueGuard<'_, T>, LockError> {
        let mut copy = Unchecked::zeroed();
        self.latch().read_locked(self.slots(), copy.bytes_mut());
        let copy = copy.check().inspect_err(|_| self.latch().mutex.unlock(owner))?;
        Ok(ValueGuard::new(self, copy, owner))
    }

    /// One attempt to read without the lock; `None` if it met a writer.
    #[inline]
    fn read_once(&self) -> Option<Unchecked<T>> {
        let mut copy = Unchecked::zeroed();
        self.latch().try_read(self.slots(), copy.bytes_mut()).then_some(copy)
    }

    /// Continues a read whose first attempt met a writer: some more attempts without the lock, then with it.
    #[cold]
    fn read_on(&self, deadline: Deadline) -> Result<Unchecked<T>, Refused> {
        if let Some(copy) = (1..READ_ATTEMPTS).find_map(|_| self.read_once()) {
            return Ok(copy);
        }
        let owner = self.lock(deadline)?;
        let mut copy = Unchecked::zeroed();
        self.latch().read_locked(self.slots(), copy.bytes_mut());
        self.latch().mutex.unlock(owner);
        Ok(copy)
    }
}

/// Locks and unlocks a value without touching it: the robust lock alone, for benches.
#[inline]
pub fn lock_and_unlock<T: Shareable>(value: &SharedValue<T>) {
    if let Ok(owner) = value.lock(Deadline::Never) {
        value.latch().mutex.unlock(owner);
    }
}

impl<T: Shareable> Clone for SharedValue<T> {
    fn clone(&self) -> Self {
        Self::from_handle(self.handle.clone())
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_get() {
            Ok(value) => f.debug_tuple("SharedValue").field(&value).finish(),
            Err(error) => f.debug_tuple("SharedValue").field(&error).finish(),
        }
    }
}
