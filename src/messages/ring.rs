//! `ring`: a bounded ring of plain values from one producer to one consumer, without encoding and without a lock.

use super::consumer::Consumer;
use super::producer::Producer;
use super::ring_end::RingEnd;
use crate::error::Result;
use crate::layout::Shareable;
use crate::raw::End;

/// Creates a ring of `capacity` values and returns its two ends.
///
/// Pushing and popping touch no lock, and encode nothing: they cost what they cost between threads. `T` is any
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
