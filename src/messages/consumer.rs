//! `Consumer<T>`: the end of a ring that values are popped from.

use super::error::RecvError;
use super::ring_end::{RingEnd, assert_alignment};
use crate::encoding::EncodingReason;
use crate::error::Result;
use crate::layout::Shareable;
use crate::primitive::Deadline;
use crate::raw::{End, Stop};
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// The end of a [`ring`](fn@crate::ring) that values are popped from.
///
/// One process at a time has it: another can have it once this one has closed it, dropped it, or died. It travels to a
/// child process as an argument, and from then on is closed here.
///
/// # What happens on death
///
/// A process killed while it pops has taken the value or not; a value it has taken is lost with it, but a chunk it was reading
/// remains for its successor. The producer gets values back with [`Disconnected`](crate::SendError::Disconnected).
///
/// # Examples
///
/// ```
/// let (mut producer, mut consumer) = procshare::ring(8)?;
/// producer.push(7u64)?;
/// drop(producer);
/// assert_eq!(consumer.pop()?, 7);
/// assert!(consumer.pop().is_err()); // disconnected
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct Consumer<T: Shareable> {
    pub(super) end: RingEnd<T>,
}

impl<T: Shareable> Consumer<T> {
    /// Creates a named ring of `capacity` values and returns its consumer.
    ///
    /// It waits for a producer to arrive, and once one has, notices when it goes away.
    ///
    /// # Errors
    ///
    /// As [`Producer::create`](crate::Producer::create).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Consumer, Producer};
    ///
    /// let name = format!("doc-ring-consumer-{}", std::process::id());
    /// let mut consumer = Consumer::<u32>::create(&name, 8)?;
    /// Producer::<u32>::open(&name)?.push(7)?;
    /// assert_eq!(consumer.pop()?, 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, capacity: usize) -> Result<Self> {
        const { assert_alignment::<T>() };
        let handle = RingEnd::<T>::create_alone(name, capacity)?;
        let end = RingEnd::claim(&handle, End::Consumer)?;
        Ok(Consumer { end })
    }

    /// Opens the consumer's end of a named ring.
    ///
    /// # Errors
    ///
    /// As [`Producer::open`](crate::Producer::open).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-ring-open-consumer-{}", std::process::id());
    /// let producer = procshare::Producer::<u32>::create(&name, 8)?;
    /// let consumer = procshare::Consumer::<u32>::open(&name)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        const { assert_alignment::<T>() };
        let handle = RingEnd::<T>::open_alone(name)?;
        let end = RingEnd::claim(&handle, End::Consumer)?;
        Ok(Consumer { end })
    }

    /// Pops the oldest value, waiting for one.
    ///
    /// # Errors
    ///
    /// [`Disconnected`](RecvError::Disconnected) when nothing is left and the producer is gone, [`Invalid`](RecvError::Invalid)
    /// if the bytes are no valid `T`,
    /// [`Closed`](RecvError::Closed) if this end was passed to a child.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = procshare::ring(8)?;
    /// producer.push('x')?;
    /// assert_eq!(consumer.pop()?, 'x');
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline(always)]
    pub fn pop(&mut self) -> Result<T, RecvError> {
        self.pop_by(Deadline::Never)
    }

    /// Pops the oldest value if there is one.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop), and [`Empty`](RecvError::Empty).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = procshare::ring::<u8>(8)?;
    /// assert_eq!(consumer.try_pop(), Err(procshare::RecvError::Empty));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, RecvError> {
        self.pop_by(Deadline::Now)
    }

    /// Pops the oldest value, waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop), and [`TimedOut`](RecvError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = procshare::ring::<u8>(8)?;
    /// assert!(consumer.pop_timeout(std::time::Duration::from_millis(5)).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn pop_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.pop_by(Deadline::after(timeout))
    }

    /// Pops the oldest value, waiting for one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`pop_timeout`](Self::pop_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = procshare::ring::<u8>(8)?;
    /// assert!(consumer.pop_deadline(std::time::Instant::now()).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn pop_deadline(&mut self, deadline: Instant) -> Result<T, RecvError> {
        self.pop_by(Deadline::At(deadline))
    }

    #[inline(always)]
    fn pop_by(&mut self, deadline: Deadline) -> Result<T, RecvError> {
        if !self.end.is_ready() {
            self.await_slot(deadline)?;
        }
        self.end
            .read()
            .ok_or(RecvError::Invalid(EncodingReason::no_value::<T>()))
    }

    #[cold]
    fn await_slot(&mut self, deadline: Deadline) -> Result<(), Stop> {
        self.end.usable(1, deadline).map(drop)
    }
}
