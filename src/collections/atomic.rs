//! `SharedAtomic<A>` and `SharedAtomicArray<A>`: the standard library's atomics, in a segment.

use crate::error::Result;
use crate::layout::{Kind, Shareable, Spec};
use crate::segment::{Handle, Object};
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::Deref;
use std::sync::atomic::{AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64};

mod sealed {
    pub trait Sealed {}
}

/// Marks the standard library's integer atomics of fixed width.
///
/// `AtomicBool` is not among them (a corrupted byte behind one would be undefined behaviour), nor are `AtomicUsize` and
/// `AtomicIsize`, whose width differs between builds.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::AtomicU32;
///
/// fn zero<A: procshare::AtomicInteger<Integer = u32>>() -> procshare::Result<procshare::SharedAtomic<A>> {
///     procshare::SharedAtomic::new(0)
/// }
/// zero::<AtomicU32>()?;
/// # Ok::<(), procshare::Error>(())
/// ```
pub trait AtomicInteger: sealed::Sealed + fmt::Debug + Send + Sync + 'static {
    /// The integer it holds.
    type Integer: Shareable;
}

macro_rules! atomic_integers {
    ($($atomic:ty: $integer:ty),*) => {$(
        impl sealed::Sealed for $atomic {}
        impl AtomicInteger for $atomic {
            type Integer = $integer;
        }
    )*};
}

atomic_integers!(AtomicI8: i8, AtomicI16: i16, AtomicI32: i32, AtomicI64: i64);
atomic_integers!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

fn spec<A: AtomicInteger>(kind: Kind, len: u64) -> Spec<'static> {
    Spec {
        kind,
        fingerprint: A::Integer::SCHEMA.fingerprint(),
        schema: A::Integer::SCHEMA,
        len,
        bytes: len.saturating_mul(size_of::<A>() as u64),
    }
}

/// Writes `len` integers `value` one after the other.
pub(super) fn write_all<I: Shareable>(len: u64, value: I) -> impl Fn(*mut u8, bool) {
    move |address, _| {
        for at in 0..len as usize {
            // SAFETY: the object has room for `len` integers (`spec`), is aligned to a cache line, and nobody else has
            // its address yet.
            unsafe { address.cast::<I>().wrapping_add(at).write(value) };
        }
    }
}

/// Holds one atomic integer that several processes use without a lock.
///
/// Dereferences to the standard library's atomic type, with its whole interface and its orderings, which hold between processes
/// just as between threads.
///
/// # What happens on death
///
/// Nothing: each operation is one instruction.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let hits = procshare::SharedAtomic::<AtomicU64>::new(0)?;
/// hits.fetch_add(1, Ordering::Relaxed);
/// assert_eq!(hits.load(Ordering::Relaxed), 1);
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct SharedAtomic<A: AtomicInteger> {
    handle: Handle,
    atomic: PhantomData<A>,
}

impl<A: AtomicInteger> Object for SharedAtomic<A> {
    fn spec(_len: u64) -> Spec<'static> {
        spec::<A>(Kind::Atomic, 1)
    }

    fn from_handle(handle: Handle) -> Self {
        SharedAtomic {
            handle,
            atomic: PhantomData,
        }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<A: AtomicInteger> SharedAtomic<A> {
    /// Creates an atomic in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// As [`SharedValue::new`](crate::SharedValue::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicI32, Ordering};
    ///
    /// let atomic = procshare::SharedAtomic::<AtomicI32>::new(-1)?;
    /// assert_eq!(atomic.load(Ordering::Relaxed), -1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(value: A::Integer) -> Result<Self> {
        Self::new_alone(1, &write_all(1, value))
    }

    /// Creates an atomic in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::SharedAtomic;
    /// use std::sync::atomic::{AtomicU8, Ordering};
    ///
    /// let name = format!("doc-atomic-{}", std::process::id());
    /// let atomic = SharedAtomic::<AtomicU8>::create(&name, 3)?;
    /// assert_eq!(SharedAtomic::<AtomicU8>::open(&name)?.load(Ordering::Relaxed), 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, value: A::Integer) -> Result<Self> {
        Self::create_alone(name, 1, &write_all(1, value))
    }

    /// Opens the atomic by name.
    ///
    /// # Errors
    ///
    /// As [`SharedValue::open`](crate::SharedValue::open).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU8;
    ///
    /// assert!(procshare::SharedAtomic::<AtomicU8>::open("no-such-atomic").is_err());
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::open_alone(name)
    }

    /// Opens the atomic by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU16;
    ///
    /// let name = format!("doc-atomic-either-{}", std::process::id());
    /// let atomic = procshare::SharedAtomic::<AtomicU16>::open_or_create(&name, 0)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, value: A::Integer) -> Result<Self> {
        Self::open_or_create_alone(name, 1, &write_all(1, value))
    }
}

impl<A: AtomicInteger> Deref for SharedAtomic<A> {
    type Target = A;

    #[inline]
    fn deref(&self) -> &A {
        // SAFETY: the handle was made for an object of this kind and integer, aligned to a cache line, which stays
        // mapped while the handle lives; any bytes are an integer, and peers too use it as an atomic only.
        unsafe { &*self.handle.address().cast::<A>() }
    }
}

impl<A: AtomicInteger> Clone for SharedAtomic<A> {
    fn clone(&self) -> Self {
        Self::from_handle(self.handle.clone())
    }
}

impl<A: AtomicInteger> fmt::Debug for SharedAtomic<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedAtomic").field(&**self).finish()
    }
}

/// Holds a fixed number of atomic integers that several processes use.
///
/// Dereferences to a slice of the standard library's atomics.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let per_worker = procshare::SharedAtomicArray::<AtomicU64>::new(4)?;
/// per_worker[2].fetch_add(5, Ordering::Relaxed);
/// assert_eq!(per_worker.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>(), 5);
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct SharedAtomicArray<A: AtomicInteger> {
    handle: Handle,
    atomic: PhantomData<A>,
}

impl<A: AtomicInteger> Object for SharedAtomicArray<A> {
    fn spec(len: u64) -> Spec<'static> {
        spec::<A>(Kind::AtomicArray, len)
    }

    fn from_handle(handle: Handle) -> Self {
        SharedAtomicArray {
            handle,
            atomic: PhantomData,
        }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Leaves new atomics at zero.
pub(super) fn write_zeros<A: AtomicInteger>(len: u64) -> impl Fn(*mut u8, bool) {
    move |address, zeroed| {
        if !zeroed {
            // SAFETY: the object has room for `len` integers (`spec`), and nobody else has its address yet.
            unsafe { address.write_bytes(0, len as usize * size_of::<A>()) };
        }
    }
}

impl<A: AtomicInteger> SharedAtomicArray<A> {
    /// Creates `len` atomics, all zero, in an anonymous segment of their own.
    ///
    /// # Errors
    ///
    /// As [`SharedArray::new`](crate::SharedArray::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU32;
    ///
    /// assert_eq!(procshare::SharedAtomicArray::<AtomicU32>::new(8)?.len(), 8);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(len: usize) -> Result<Self> {
        Self::new_alone(len as u64, &write_zeros::<A>(len as u64))
    }

    /// Creates `len` atomics, all zero, in a named segment of their own.
    ///
    /// # Errors
    ///
    /// As [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::SharedAtomicArray;
    /// use std::sync::atomic::AtomicU32;
    ///
    /// let name = format!("doc-atomics-{}", std::process::id());
    /// let atomics = SharedAtomicArray::<AtomicU32>::create(&name, 8)?;
    /// assert_eq!(SharedAtomicArray::<AtomicU32>::open(&name)?.len(), 8);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, len: usize) -> Result<Self> {
        Self::create_alone(name, len as u64, &write_zeros::<A>(len as u64))
    }

    /// Opens the atomics by name.
    ///
    /// # Errors
    ///
    /// As [`SharedArray::open`](crate::SharedArray::open).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU32;
    ///
    /// assert!(procshare::SharedAtomicArray::<AtomicU32>::open("no-such-atomics").is_err());
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::open_alone(name)
    }

    /// Opens the atomics by name, or creates them.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open), and
    /// [`LengthMismatch`](crate::ErrorKind::LengthMismatch).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::AtomicU32;
    ///
    /// let name = format!("doc-atomics-either-{}", std::process::id());
    /// let atomics = procshare::SharedAtomicArray::<AtomicU32>::open_or_create(&name, 8)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, len: usize) -> Result<Self> {
        Self::open_or_create_alone(name, len as u64, &write_zeros::<A>(len as u64))
    }
}

impl<A: AtomicInteger> Deref for SharedAtomicArray<A> {
    type Target = [A];

    #[inline]
    fn deref(&self) -> &[A] {
        // SAFETY: as for SharedAtomic, and the object holds `len` of them (`spec`, compared when it was opened).
        unsafe { core::slice::from_raw_parts(self.handle.address().cast::<A>(), self.handle.len() as usize) }
    }
}

impl<A: AtomicInteger> Clone for SharedAtomicArray<A> {
    fn clone(&self) -> Self {
        Self::from_handle(self.handle.clone())
    }
}

impl<A: AtomicInteger> fmt::Debug for SharedAtomicArray<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
