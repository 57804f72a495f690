//! Items taken at once, and items as they come.

use super::codec;
use super::error::RecvError;
use super::port::Port;
use crate::primitive::Deadline;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// Holds items that were taken out of a queue at once.
///
/// Iterate to have them, oldest first. They are decoded one by one; one that is no `T` is
/// [`Invalid`](RecvError::Invalid), and the next step gives the next.
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
        Some(codec::decode(item).ok_or(RecvError::Invalid))
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
    /// An error that will not go away has been given.
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
        match self.port.recv(Deadline::Never) {
            Err(error) if error.is_end() => None,
            Err(error) => {
                self.ended = error != RecvError::Invalid;
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
