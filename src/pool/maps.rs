//! The maps of a [`Pool`]: one function, many items.
//!
//! Unused results cause a warning:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! # fn run(pool: procshare::Pool) {
//! pool.map(|a: u8| a, 0..3);
//! # }
//! ```
//! ```compile_fail
//! #![deny(unused_must_use)]
//! # fn run(pool: procshare::Pool) {
//! pool.starmap(|a: u8, b: u8| a + b, [(1, 2)]);
//! # }
//! ```

use super::group::Group;
use super::handle::{Pool, chunk_of};
use super::imap::{Imap, ImapUnordered};
use super::job_error::JobError;
use super::pending::{Pending, many};
use crate::process::{Argument, Entry, Returned, call};
use std::sync::Arc;

impl Pool {
    /// Calls a function with each item, and returns the results in order.
    ///
    /// Waits for all. All items are taken and encoded at once; for endless iterators there is [`imap`](Self::imap).
    ///
    /// # Errors
    ///
    /// Each item has its own: see [`JobError`]. Collect them into a `Result<Vec<_>, _>` to stop at the first error.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let lengths = pool.map(|word: String| word.len(), ["kill", "any", "process"].map(String::from));
    ///     assert_eq!(lengths, [Ok(4), Ok(3), Ok(7)]);
    ///     Ok(())
    /// }
    /// ```
    #[must_use = "an item that failed is an error among the results"]
    pub fn map<F, T, R>(&self, function: F, items: impl IntoIterator<Item = T>) -> Vec<Result<R, JobError>>
    where
        F: Entry<(T,), Output = R>,
        T: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        self.starmap(function, items.into_iter().map(|item| (item,)))
    }

    /// As [`map`](Self::map), for items that are tuples of arguments.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let powers = pool.starmap(|a: u32, b: u32| a.pow(b), [(2, 5), (3, 2), (10, 3)]);
    ///     assert_eq!(powers, [Ok(32), Ok(9), Ok(1000)]);
    ///     Ok(())
    /// }
    /// ```
    #[must_use = "an item that failed is an error among the results"]
    pub fn starmap<F, Args, R>(&self, function: F, items: impl IntoIterator<Item = Args>) -> Vec<Result<R, JobError>>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        let pending = self.starmap_async(function, items);
        // In a forked child all items have failed already.
        pending.get().unwrap_or_default()
    }

    /// As [`map`](Self::map), without waiting.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), separately for each item.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let squares = pool.map_async(|a: u32| a * a, 0..3);
    ///     squares.wait();
    ///     assert_eq!(squares.get()?, [Ok(0), Ok(1), Ok(4)]);
    ///     Ok(())
    /// }
    /// ```
    pub fn map_async<F, T, R>(
        &self,
        function: F,
        items: impl IntoIterator<Item = T>,
    ) -> Pending<Vec<Result<R, JobError>>>
    where
        F: Entry<(T,), Output = R>,
        T: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        self.starmap_async(function, items.into_iter().map(|item| (item,)))
    }

    /// As [`starmap`](Self::starmap), without waiting.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), separately for each item.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let sums = pool.starmap_async(|a: u32, b: u32| a + b, [(1, 2), (3, 4)]);
    ///     assert_eq!(sums.get()?, [Ok(3), Ok(7)]);
    ///     Ok(())
    /// }
    /// ```
    pub fn starmap_async<F, Args, R>(
        &self,
        function: F,
        items: impl IntoIterator<Item = Args>,
    ) -> Pending<Vec<Result<R, JobError>>>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        let chunk = chunk_of::<F, Args, R>(function);
        let group = Arc::new(Group::new(false));
        let items = items.into_iter();
        match items.size_hint() {
            (least, Some(most)) if least == most => self.send_all(chunk, items, least, &group),
            _ => {
                let items: Vec<_> = items.collect();
                let count = items.len();
                self.send_all(chunk, items.into_iter(), count, &group);
            }
        }
        self.pending(group, many::<R>)
    }

    /// Returns an iterator over the results of the items, in order.
    ///
    /// It is lazy on both sides: items are taken as results are fetched, up to sixteen chunks ahead for each worker, so an endless
    /// iterator takes constant memory.
    ///
    /// # Errors
    ///
    /// Each item has its own: see [`JobError`].
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let first = pool.imap(|a: u64| a * a, 0..).find(|square| matches!(square, Ok(1_000..)));
    ///     assert_eq!(first, Some(Ok(1024)));
    ///     Ok(())
    /// }
    /// ```
    pub fn imap<F, I, R>(&self, function: F, items: I) -> Imap<I::IntoIter, R>
    where
        I: IntoIterator,
        F: Entry<(I::Item,), Output = R>,
        I::Item: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        Imap::new(self, chunk_of::<F, (I::Item,), R>(function), items.into_iter())
    }

    /// As [`imap`](Self::imap), yielding results as they come.
    ///
    /// # Errors
    ///
    /// As [`imap`](Self::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let total: u64 = pool.imap_unordered(|a: u64| a * a, 0..100).sum::<Result<_, _>>()?;
    ///     assert_eq!(total, 328_350);
    ///     Ok(())
    /// }
    /// ```
    pub fn imap_unordered<F, I, R>(&self, function: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        I: IntoIterator,
        F: Entry<(I::Item,), Output = R>,
        I::Item: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        ImapUnordered::new(self, chunk_of::<F, (I::Item,), R>(function), items.into_iter())
    }
}
