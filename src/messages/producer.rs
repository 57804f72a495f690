//! `Producer<T>`: the end of a ring that values are pushed into.

use super::error::SendError;
use super::ring_end::{RingEnd, assert_alignment};
use crate::error::Result;
use crate::layout::Shareable;
use crate::primitive::Deadline;
use crate::raw::{End, Stop};
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// The end of a [`ring`](fn@crate::ring) that values are pushed into.
///
/// One process at a time has it: another can have it once this one has closed it, dropped it, or died. It travels to a
/// child process as an argument, and from then on is closed here.
///
/// # What happens on death
///
/// A process killed while it pushes has delivered the value or not, never half; a chunk it was writing was not delivered. The
/// consumer gets what was delivered, and then [`Disconnected`](crate::RecvError::Disconnected), unless a successor has come.
///
/// # Examples
///
/// ```
/// let (mut producer, mut consumer) = procshare::ring(8)?;
/// producer.push(1.5)?;
/// assert_eq!(consumer.pop()?, 1.5);
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct Producer<T: Shareable> {
    pub(super) end: RingEnd<T>,
}

impl<T: Shareable> Producer<T> {
    /// Creates a named ring of `capacity` values and returns its producer.
    ///
    /// It waits for a consumer to arrive, and once one has, notices when it goes away.
    ///
    /// # Errors
    ///
    /// As [`ring`](fn@crate::ring) and [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Consumer, Producer};
    ///
    /// let name = format!("doc-ring-producer-{}", std::process::id());
    /// let mut producer = Producer::create(&name, 8)?;
    /// let mut consumer = Consumer::<u32>::open(&name)?;
    /// producer.push(7u32)?;
    /// assert_eq!(consumer.pop()?, 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, capacity: usize) -> Result<Self> {
        const { assert_alignment::<T>() };
        let handle = RingEnd::<T>::create_alone(name, capacity)?;
        let end = RingEnd::claim(&handle, End::Producer)?;
        Ok(Producer { end })
    }

    /// Opens the producer's end of a named ring.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`](crate::Segment::open), [`TypeMismatch`](crate::ErrorKind::TypeMismatch),
    /// [`Claimed`](crate::ErrorKind::Claimed) if a living process has that end.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{ErrorKind, Producer};
    ///
    /// let name = format!("doc-ring-open-{}", std::process::id());
    /// let producer = Producer::<u32>::create(&name, 8)?;
    /// assert_eq!(Producer::<u32>::open(&name).unwrap_err().kind(), ErrorKind::Claimed);
    /// drop(producer);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        const { assert_alignment::<T>() };
        let handle = RingEnd::<T>::open_alone(name)?;
        let end = RingEnd::claim(&handle, End::Producer)?;
        Ok(Producer { end })
    }

    /// Pushes a value, waiting for room.
    ///
    /// # Errors
    ///
    /// A [`SendError`] with the value: [`Disconnected`](SendError::Disconnected),
    /// [`Closed`](SendError::Closed) if this end was passed to a child.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, consumer) = procshare::ring(8)?;
    /// producer.push(1)?;
    /// assert_eq!(consumer.len(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline(always)]
    pub fn push(&mut self, value: T) -> Result<(), SendError<T>> {
        self.push_by(value, Deadline::Never)
    }

    /// Pushes a value if there is room.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`Full`](SendError::Full).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = procshare::ring(1)?;
    /// assert!(producer.try_push(1).is_ok());
    /// assert!(producer.try_push(2).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), SendError<T>> {
        self.push_by(value, Deadline::Now)
    }

    /// Pushes a value, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`TimedOut`](SendError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = procshare::ring(1)?;
    /// producer.push_timeout(1, std::time::Duration::from_millis(5))?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn push_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.push_by(value, Deadline::after(timeout))
    }

    /// Pushes a value, waiting for room until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = procshare::ring(1)?;
    /// producer.push_deadline(1, std::time::Instant::now())?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn push_deadline(&mut self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.push_by(value, Deadline::At(deadline))
    }

    #[inline(always)]
    fn push_by(&mut self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        if !self.end.is_ready() {
            if let Err(stop) = self.await_slot(deadline) {
                return Err(SendError::of(stop, value));
            }
        }
        self.end.write(value);
        Ok(())
    }

    #[cold]
    fn await_slot(&mut self, deadline: Deadline) -> Result<(), Stop> {
        self.end.usable(1, deadline).map(drop)
    }
}
