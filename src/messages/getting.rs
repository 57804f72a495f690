//! Taking items out of a queue: one, several at once, and as they come.

use super::codec;
use super::error::RecvError;
use super::port::Port;
use super::queue::SharedQueue;
use crate::primitive::Deadline;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

impl<T: DeserializeOwned> SharedQueue<T> {
    /// Takes the oldest item out, waiting for one.
    ///
    /// # Errors
    ///
    /// [`Closed`](RecvError::Closed) or [`Disconnected`](RecvError::Disconnected) when nothing is left and nothing will
    /// come; [`Invalid`](RecvError::Invalid) if the item is no valid `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put(1.5)?;
    /// assert_eq!(queue.get()?, 1.5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn get(&self) -> Result<T, RecvError> {
        self.port.get(Deadline::Never)
    }

    /// Takes the oldest item out if there is one.
    ///
    /// It does not wait for an item, but it does wait for a peer that is copying one, 20 ms at most.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Empty`](RecvError::Empty).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{RecvError, SharedQueue};
    ///
    /// assert_eq!(SharedQueue::<u8>::new(8)?.try_get(), Err(RecvError::Empty));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<T, RecvError> {
        self.port.get(Deadline::Now)
    }

    /// Takes the oldest item out, waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`TimedOut`](RecvError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{RecvError, SharedQueue};
    ///
    /// let queue = SharedQueue::<u8>::new(8)?;
    /// let nothing = queue.get_timeout(std::time::Duration::from_millis(5));
    /// assert_eq!(nothing, Err(RecvError::TimedOut));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.port.get(Deadline::after(timeout))
    }

    /// Takes the oldest item out, waiting for one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<u8>::new(8)?;
    /// assert!(queue.get_deadline(std::time::Instant::now()).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, RecvError> {
        self.port.get(Deadline::At(deadline))
    }

    /// Takes up to `most` items out at once, waiting for the first.
    ///
    /// All of them are taken by the time the call returns: those the batch still holds when it is dropped are lost.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); an item that is no valid `T` is an error of the batch's iteration.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put_all(1..=5)?;
    /// let batch: Result<Vec<i32>, _> = queue.get_up_to(3)?.collect();
    /// assert_eq!(batch?, [1, 2, 3]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_up_to(&self, most: usize) -> Result<Batch<T>, RecvError> {
        let mut records = Vec::new();
        if most > 0 {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            self.port.get_records(&mut records, most)?;
        }
        Ok(Batch::new(records))
    }

    /// Returns an iterator over the items that come, until closed or disconnected.
    ///
    /// Each step waits. An item that is no valid `T` is an error, and the next step gives the next item.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put_all([1, 2])?;
    /// queue.close();
    /// assert_eq!(queue.iter().count(), 2);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn iter(&self) -> Items<'_, T> {
        Items::new(&self.port)
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a SharedQueue<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

/// Holds items that were taken out of a queue at once.
///
/// Iterate to get them, oldest first. They are decoded one by one; one that is no valid `T` is [`Invalid`](RecvError::Invalid),
/// and the next step gives the next.
///
/// # Examples
///
/// ```
/// let queue = procshare::SharedQueue::new(8)?;
/// queue.put_all([1, 2])?;
/// for item in queue.get_up_to(64)? {
///     println!("{}", item?);
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct Batch<T> {
    records: Vec<u8>,
    at: usize,
    item: PhantomData<fn() -> T>,
}

impl<T> Batch<T> {
    pub(super) fn new(records: Vec<u8>) -> Self {
        Batch {
            records,
            at: 0,
            item: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Iterator for Batch<T> {
    type Item = Result<T, RecvError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (item, rest) = codec::split_first(&self.records[self.at..])?;
        self.at = self.records.len() - rest.len();
        Some(codec::decode(item).map_err(RecvError::Invalid))
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

/// Iterates over items as they come, until closed or disconnected.
///
/// Each step waits. An error is followed by the next item, unless nothing more can come.
///
/// # Examples
///
/// ```
/// let queue = procshare::SharedQueue::new(8)?;
/// queue.put("last".to_owned())?;
/// queue.close();
/// for item in &queue {
///     assert_eq!(item?, "last");
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct Items<'a, T> {
    port: &'a Port,
    /// An error that will not go away has been returned.
    ended: bool,
    item: PhantomData<fn() -> T>,
}

impl<'a, T> Items<'a, T> {
    pub(super) fn new(port: &'a Port) -> Self {
        Items {
            port,
            ended: false,
            item: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Iterator for Items<'_, T> {
    type Item = Result<T, RecvError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.port.get(Deadline::Never) {
            Err(error) if error.is_end() => None,
            Err(error) => {
                self.ended = !error.is_of_item();
                Some(Err(error))
            }
            item => Some(item),
        }
    }
}

impl<T> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}
