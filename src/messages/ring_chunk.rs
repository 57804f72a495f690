//! Several places of a ring at once, in place.

use super::consumer::Consumer;
use super::error::{RecvError, SendError};
use super::producer::Producer;
use crate::layout::Shareable;
use crate::primitive::Deadline;
#[cfg(feature = "process")]
use crate::primitive::loans::Loan;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// Elements are used in place, so every bit pattern must be valid. Evaluated at the caller, so that its line is named.
pub(super) const fn assert_element<T: Shareable>() {
    assert!(
        T::ANY_BITS,
        "values in a chunk must be valid for every bit pattern: push and pop bool, char and enums one by one"
    );
}

/// Free places of a ring, written in place and delivered as one.
///
/// Dropping it delivers all of it, unless the thread panics; [`commit`](Self::commit) delivers a part. If its process dies,
/// nothing is delivered.
///
/// # Examples
///
/// ```
/// let (mut producer, consumer) = procshare::ring(16)?;
/// let mut chunk = producer.write_chunk(4)?;
/// for (place, value) in chunk.iter_mut().zip([10, 20]) {
///     *place = value;
/// }
/// chunk.commit(2);
/// assert_eq!(consumer.len(), 2);
/// # Ok::<(), procshare::Error>(())
/// ```
#[must_use = "dropping a chunk delivers its values"]
pub struct WriteChunk<'a, T: Shareable> {
    producer: &'a mut Producer<T>,
    places: usize,
    /// Whether the thread was already panicking when it opened the chunk: a panic at the drop then means nothing new.
    panicking: bool,
    #[cfg(feature = "process")]
    _loan: Loan,
}

/// Values of a ring, read in place and taken out as one.
///
/// Dropping it takes all of it out; [`commit`](Self::commit) takes a part. If its process dies, nothing is taken out.
///
/// # Examples
///
/// ```
/// let (mut producer, mut consumer) = procshare::ring(16)?;
/// (1..=4).try_for_each(|value| producer.push(value))?;
/// let chunk = consumer.read_chunk(16)?;
/// assert_eq!(chunk[..2], [1, 2]);
/// chunk.commit(2);
/// assert_eq!(consumer.pop()?, 3);
/// # Ok::<(), procshare::Error>(())
/// ```
#[must_use = "dropping a chunk removes its values from the ring"]
pub struct ReadChunk<'a, T: Shareable> {
    consumer: &'a mut Consumer<T>,
    values: usize,
    #[cfg(feature = "process")]
    _loan: Loan,
}

impl<T: Shareable> Producer<T> {
    /// Opens a chunk of up to `most` free places, to write in place.
    ///
    /// The call waits for the first place. The places lie side by side, so there are fewer at the end of the ring; they hold
    /// old values. Dropping the chunk delivers all of it, [`commit`](WriteChunk::commit) a part.
    ///
    /// # Errors
    ///
    /// [`Disconnected`](SendError::Disconnected), [`Closed`](SendError::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = procshare::ring(8)?;
    /// let mut chunk = producer.write_chunk(3)?;
    /// chunk.copy_from_slice(&[1, 2, 3]);
    /// drop(chunk);
    /// assert_eq!(*consumer.read_chunk(8)?, [1, 2, 3]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn write_chunk(&mut self, most: usize) -> Result<WriteChunk<'_, T>, SendError<()>> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::Never)
    }

    /// Opens a chunk if there is room.
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk), and [`Full`](SendError::Full).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = procshare::ring::<u64>(4)?;
    /// producer.try_write_chunk(4)?.fill(9);
    /// assert!(producer.try_write_chunk(1).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn try_write_chunk(&mut self, most: usize) -> Result<WriteChunk<'_, T>, SendError<()>> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::Now)
    }

    /// Opens a chunk, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk), and [`TimedOut`](SendError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = procshare::ring::<u64>(4)?;
    /// producer.write_chunk_timeout(4, std::time::Duration::from_millis(5))?.fill(9);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn write_chunk_timeout(&mut self, most: usize, timeout: Duration) -> Result<WriteChunk<'_, T>, SendError<()>> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::after(timeout))
    }

    /// Opens a chunk, waiting for room until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`write_chunk_timeout`](Self::write_chunk_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = procshare::ring::<u64>(4)?;
    /// producer.write_chunk_deadline(4, std::time::Instant::now())?.fill(9);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn write_chunk_deadline(&mut self, most: usize, deadline: Instant) -> Result<WriteChunk<'_, T>, SendError<()>> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::At(deadline))
    }

    #[inline]
    fn chunk_by(&mut self, most: usize, deadline: Deadline) -> Result<WriteChunk<'_, T>, SendError<()>> {
        let usable = self.end.usable(most as u64, deadline);
        let usable = usable.map_err(|stop| SendError::of(stop, ()))?;
        let places = usable.min(self.end.until_wrap()) as usize;
        Ok(WriteChunk::new(self, places))
    }
}

impl<T: Shareable> Consumer<T> {
    /// Opens a chunk of up to `most` values, to read in place.
    ///
    /// The call waits for the first value. The values lie side by side, so there are fewer at the end of the ring. Dropping the
    /// chunk takes all of it out, [`commit`](ReadChunk::commit) a part.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = procshare::ring(8)?;
    /// producer.push(1.5)?;
    /// producer.push(2.5)?;
    /// assert_eq!(consumer.read_chunk(8)?.iter().sum::<f64>(), 4.0);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn read_chunk(&mut self, most: usize) -> Result<ReadChunk<'_, T>, RecvError> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::Never)
    }

    /// Opens a chunk if there is a value.
    ///
    /// # Errors
    ///
    /// As [`try_pop`](Self::try_pop).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = procshare::ring::<u8>(8)?;
    /// assert!(consumer.try_read_chunk(8).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn try_read_chunk(&mut self, most: usize) -> Result<ReadChunk<'_, T>, RecvError> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::Now)
    }

    /// Opens a chunk, waiting for a value for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`pop_timeout`](Self::pop_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = procshare::ring::<u8>(8)?;
    /// assert!(consumer.read_chunk_timeout(8, std::time::Duration::from_millis(5)).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn read_chunk_timeout(&mut self, most: usize, timeout: Duration) -> Result<ReadChunk<'_, T>, RecvError> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::after(timeout))
    }

    /// Opens a chunk, waiting for a value until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`read_chunk_timeout`](Self::read_chunk_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = procshare::ring::<u8>(8)?;
    /// assert!(consumer.read_chunk_deadline(8, std::time::Instant::now()).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn read_chunk_deadline(&mut self, most: usize, deadline: Instant) -> Result<ReadChunk<'_, T>, RecvError> {
        const { assert_element::<T>() };
        self.chunk_by(most, Deadline::At(deadline))
    }

    #[inline]
    fn chunk_by(&mut self, most: usize, deadline: Deadline) -> Result<ReadChunk<'_, T>, RecvError> {
        let usable = self.end.usable(most as u64, deadline)?;
        let values = usable.min(self.end.until_wrap()) as usize;
        Ok(ReadChunk::new(self, values))
    }
}

impl<'a, T: Shareable> WriteChunk<'a, T> {
    #[inline]
    pub(super) fn new(producer: &'a mut Producer<T>, places: usize) -> Self {
        const { assert_element::<T>() }
        WriteChunk {
            producer,
            places,
            panicking: std::thread::panicking(),
            #[cfg(feature = "process")]
            _loan: Loan::new(),
        }
    }

    /// Delivers the first `values` places and leaves the others free.
    ///
    /// # Panics
    ///
    /// If there are fewer places; then nothing is delivered.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, consumer) = procshare::ring::<u8>(16)?;
    /// producer.write_chunk(8)?.commit(0);
    /// assert!(consumer.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn commit(mut self, values: usize) {
        let places = std::mem::replace(&mut self.places, 0);
        assert!(
            values <= places,
            "a chunk of {places} slots cannot commit {values} values"
        );
        self.places = values;
    }
}

impl<'a, T: Shareable> ReadChunk<'a, T> {
    #[inline]
    pub(super) fn new(consumer: &'a mut Consumer<T>, values: usize) -> Self {
        const { assert_element::<T>() }
        ReadChunk {
            consumer,
            values,
            #[cfg(feature = "process")]
            _loan: Loan::new(),
        }
    }

    /// Takes the first `values` values out and leaves the others in.
    ///
    /// # Panics
    ///
    /// If there are fewer; then nothing is taken out.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = procshare::ring::<u8>(16)?;
    /// producer.push(1)?;
    /// consumer.read_chunk(8)?.commit(0);
    /// assert_eq!(consumer.len(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn commit(mut self, values: usize) {
        let found = std::mem::replace(&mut self.values, 0);
        assert!(values <= found, "a chunk of {found} values cannot commit {values}");
        self.values = values;
    }
}

impl<T: Shareable> Deref for WriteChunk<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the places lie side by side in the object, aligned as T is, and any bytes are a T (`assert_element`). They are
        // free, so they are the producer's alone until they are delivered (N1, N2), which borrows it mutably.
        unsafe { core::slice::from_raw_parts(self.producer.end.slot(), self.places) }
    }
}

impl<T: Shareable> DerefMut for WriteChunk<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; this chunk, borrowed mutably, is the only way to them.
        unsafe { core::slice::from_raw_parts_mut(self.producer.end.slot(), self.places) }
    }
}

impl<T: Shareable> Deref for ReadChunk<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the values lie side by side in the object, aligned as T is, and any bytes are a T (`assert_element`). They are
        // full, so nobody writes them until they are taken out (N1, N2), which borrows the consumer mutably.
        unsafe { core::slice::from_raw_parts(self.consumer.end.slot(), self.values) }
    }
}

impl<T: Shareable> Drop for WriteChunk<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.places > 0 && self.producer.end.is_here() && (self.panicking || !std::thread::panicking()) {
            self.producer.end.advance(self.places as u64);
        }
    }
}

impl<T: Shareable> Drop for ReadChunk<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.values > 0 && self.consumer.end.is_here() {
            self.consumer.end.advance(self.values as u64);
        }
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for WriteChunk<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ReadChunk<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
