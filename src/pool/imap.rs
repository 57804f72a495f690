//! `Imap` and `ImapUnordered`: results of an iterator's items, with as many under way as the workers need.

use super::group::{Group, Part};
use super::handle::Pool;
use super::job_error::JobError;
use super::worker::Chunk;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fmt;
use std::iter::Fuse;
use std::sync::Arc;

/// Chunks under way for each worker: one in hand, and enough ahead that it never waits.
const AHEAD: usize = 16;

/// What both have in common: the items, and how to send them.
struct Source<I: Iterator> {
    pool: Pool,
    chunk: Chunk,
    items: Fuse<I>,
    chunk_size: usize,
    /// How many chunks may be under way.
    window: usize,
}

impl<I: Iterator<Item: Serialize + DeserializeOwned>> Source<I> {
    fn new(pool: &Pool, chunk: Chunk, items: I) -> Self {
        Source {
            pool: pool.clone(),
            chunk,
            items: items.fuse(),
            chunk_size: pool.chunk_size_of(None),
            window: (AHEAD * pool.workers()).min(pool.slots()),
        }
    }

    /// Takes the next items, if there are any.
    fn take(&mut self) -> Option<Vec<(I::Item,)>> {
        let items: Vec<_> = self.items.by_ref().take(self.chunk_size).map(|item| (item,)).collect();
        (!items.is_empty()).then_some(items)
    }
}

/// Yields the results of [`Pool::imap`], in the order of the items.
///
/// Dropping it cancels what no worker has begun.
///
/// # Examples
///
/// ```
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = procshare::Pool::new(2)?;
///     let squares = pool.imap(|a: u64| a * a, 0..).take(4).collect::<Result<Vec<_>, _>>()?;
///     assert_eq!(squares, [0, 1, 4, 9]);
///     Ok(())
/// }
/// ```
#[must_use = "iterators are lazy: nothing runs before `next`"]
pub struct Imap<I: Iterator, R> {
    source: Source<I>,
    ahead: VecDeque<Arc<Group>>,
    results: VecDeque<Result<R, JobError>>,
}

impl<I: Iterator<Item: Serialize + DeserializeOwned>, R> Imap<I, R> {
    pub(super) fn new(pool: &Pool, chunk: Chunk, items: I) -> Self {
        Imap {
            source: Source::new(pool, chunk, items),
            ahead: VecDeque::new(),
            results: VecDeque::new(),
        }
    }

    fn send_ahead(&mut self) {
        while self.ahead.len() < self.source.window {
            let Some(items) = self.source.take() else { break };
            let group = Arc::new(Group::new(true));
            self.source.pool.send(self.source.chunk, items, &group, 0);
            self.ahead.push_back(group);
        }
    }
}

impl<I: Iterator<Item: Serialize + DeserializeOwned>, R: DeserializeOwned> Iterator for Imap<I, R> {
    type Item = Result<R, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(result) = self.results.pop_front() {
            return Some(result);
        }
        self.send_ahead();
        let group = self.ahead.pop_front()?;
        if let Err(error) = group.check_home() {
            self.ahead.clear();
            return Some(Err(error));
        }
        group.wait(crate::primitive::Deadline::Never);
        for part in group.take() {
            part.read(|result| self.results.push_back(result));
        }
        self.results.pop_front()
    }
}

impl<I: Iterator, R> Drop for Imap<I, R> {
    fn drop(&mut self) {
        for group in &self.ahead {
            self.source.pool.cancel(group);
        }
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("ahead", &self.ahead.len()).finish()
    }
}

/// Yields the results of [`Pool::imap_unordered`], in order of completion.
///
/// Dropping it cancels what no worker has begun.
///
/// # Examples
///
/// ```
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = procshare::Pool::new(2)?;
///     let mut squares = pool.imap_unordered(|a: u64| a * a, 0..4).collect::<Result<Vec<_>, _>>()?;
///     squares.sort_unstable();
///     assert_eq!(squares, [0, 1, 4, 9]);
///     Ok(())
/// }
/// ```
#[must_use = "iterators are lazy: nothing runs before `next`"]
pub struct ImapUnordered<I: Iterator, R> {
    source: Source<I>,
    group: Arc<Group>,
    /// Items sent, and results they gave.
    sent: usize,
    came: usize,
    results: VecDeque<Result<R, JobError>>,
}

impl<I: Iterator<Item: Serialize + DeserializeOwned>, R> ImapUnordered<I, R> {
    pub(super) fn new(pool: &Pool, chunk: Chunk, items: I) -> Self {
        ImapUnordered {
            source: Source::new(pool, chunk, items),
            group: Arc::new(Group::new(true)),
            sent: 0,
            came: 0,
            results: VecDeque::new(),
        }
    }

    fn send_ahead(&mut self) {
        while self.sent - self.came < self.source.window * self.source.chunk_size {
            let Some(items) = self.source.take() else { break };
            let first = self.sent;
            self.sent += items.len();
            self.source.pool.send(self.source.chunk, items, &self.group, first);
        }
    }
}

impl<I: Iterator<Item: Serialize + DeserializeOwned>, R: DeserializeOwned> Iterator for ImapUnordered<I, R> {
    type Item = Result<R, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.results.is_empty() {
            if self.group.check_home().is_err() {
                let lost = std::mem::replace(&mut self.came, self.sent) < self.sent;
                return lost.then_some(Err(JobError::ForeignProcess));
            }
            self.send_ahead();
            let part: Part = self.group.next()?;
            part.read(|result| self.results.push_back(result));
            self.came += self.results.len();
        }
        self.results.pop_front()
    }
}

impl<I: Iterator, R> Drop for ImapUnordered<I, R> {
    fn drop(&mut self) {
        self.source.pool.cancel(&self.group);
    }
}

impl<I: Iterator, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("ahead", &(self.sent - self.came))
            .finish()
    }
}
