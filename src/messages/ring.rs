//! `ring`: a bounded ring of plain values from one producer to one consumer, without encoding and without a lock.

use super::consumer::Consumer;
use super::passed::{Pass, PassedHandle, Reservation};
use super::producer::Producer;
use super::ring_end::{RingEnd, assert_alignment};
use crate::error::Result;
use crate::layout::Shareable;
use crate::raw::End;
use crate::segment::Segment;
use std::fmt;

/// Creates a ring of `capacity` values and returns its two ends.
///
/// Pushing and popping take no lock and encode nothing: they cost what they cost between threads. `T` is any
/// [`Shareable`](trait@Shareable) type.
///
/// # Errors
///
/// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity), [`OutOfMemory`](crate::ErrorKind::OutOfMemory),
/// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
///
/// # Examples
///
/// ```
/// use procshare::{Producer, Process};
///
/// fn sample(mut samples: Producer<f64>) -> procshare::Result<()> {
///     for number in 0..1000 {
///         samples.push(f64::from(number) / 2.0)?;
///     }
///     Ok(())
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let (producer, mut consumer) = procshare::ring(64)?;
///     let child = Process::spawn(sample, (producer,))?;
///     let mut sum = 0.0;
///     while let Ok(sample) = consumer.pop() {
///         sum += sample;
///     }
///     assert_eq!(sum, 249_750.0);
///     child.join()?
/// }
/// ```
pub fn ring<T: Shareable>(capacity: usize) -> Result<(Producer<T>, Consumer<T>)> {
    const { assert_alignment::<T>() };
    let handle = RingEnd::<T>::new_alone(capacity)?;
    Ok((
        Producer {
            end: RingEnd::claim(&handle, End::Producer)?,
        },
        Consumer {
            end: RingEnd::claim(&handle, End::Consumer)?,
        },
    ))
}

/// What both ends have.
macro_rules! both_ends {
    ($($end:ident),*) => {$(
        impl<T: Shareable> $end<T> {
            /// Closes this end; the other notices at once.
            ///
            /// Dropping does the same.
            ///
            /// # Examples
            ///
            /// ```
            /// let (producer, consumer) = procshare::ring::<u8>(8)?;
            /// producer.close();
            /// consumer.close();
            /// # Ok::<(), procshare::Error>(())
            /// ```
            pub fn close(self) {}

            /// Makes this end wait for the other one to arrive.
            ///
            /// Without it, a ring whose other end has come and gone is disconnected. Once a successor has arrived, its
            /// departure counts again.
            ///
            /// # Examples
            ///
            /// ```
            /// let (producer, consumer) = procshare::ring::<u8>(8)?;
            /// let (producer, consumer) = (producer.wait_for_peers(), consumer.wait_for_peers());
            /// # Ok::<(), procshare::Error>(())
            /// ```
            #[must_use]
            pub fn wait_for_peers(self) -> Self {
                self.end.wait_for_peers();
                self
            }

            /// Returns how many values are in the ring, as a hint.
            ///
            /// # Examples
            ///
            /// ```
            /// let (producer, consumer) = procshare::ring::<u8>(8)?;
            /// assert_eq!((producer.len(), consumer.len()), (0, 0));
            /// # Ok::<(), procshare::Error>(())
            /// ```
            #[must_use]
            pub fn len(&self) -> usize {
                self.end.len()
            }

            /// Tells whether no value is in the ring, as a hint.
            ///
            /// # Examples
            ///
            /// ```
            /// let (producer, consumer) = procshare::ring::<u8>(8)?;
            /// assert!(producer.is_empty() && consumer.is_empty());
            /// # Ok::<(), procshare::Error>(())
            /// ```
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Tells whether no further value fits, as a hint.
            ///
            /// # Examples
            ///
            /// ```
            /// let (producer, consumer) = procshare::ring::<u8>(8)?;
            /// assert!(!producer.is_full() && !consumer.is_full());
            /// # Ok::<(), procshare::Error>(())
            /// ```
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.len() == self.capacity()
            }

            /// Returns how many values the ring can hold.
            ///
            /// # Examples
            ///
            /// ```
            /// let (producer, consumer) = procshare::ring::<u8>(8)?;
            /// assert_eq!((producer.capacity(), consumer.capacity()), (8, 8));
            /// # Ok::<(), procshare::Error>(())
            /// ```
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.end.capacity()
            }
        }

        impl<T: Shareable> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .finish()
            }
        }

        impl<T: Shareable> Pass for $end<T> {
            fn segment(&self) -> &Segment {
                self.end.segment()
            }

            fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
                self.end.pack()
            }

            fn unpack(segment: &Segment, passed: &PassedHandle) -> Result<Self> {
                let end = RingEnd::unpack(segment, passed, End::$end)?;
                Ok($end { end })
            }
        }
    )*};
}

both_ends!(Producer, Consumer);
