//! `Progress`: how many jobs of a pool have ended.

/// Called by the pool's thread whenever jobs have ended.
pub(super) type Hook = Box<dyn FnMut(&Progress) + Send>;

/// Counts the jobs and workers of a [`Pool`](crate::Pool). Every item of a map is a job.
///
/// # Examples
///
/// ```
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = procshare::Pool::new(2)?;
///     assert!(pool.map(|a: u32| a + 1, 0..10).iter().all(Result::is_ok));
///     let progress = pool.progress();
///     assert_eq!((progress.submitted, progress.finished, progress.failed), (10, 10, 0));
///     assert_eq!(progress.workers, 2);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Jobs submitted so far.
    pub submitted: u64,
    /// Those of them that have ended, with a result or an error.
    pub finished: u64,
    /// Those of them that have ended with an error.
    pub failed: u64,
    /// How often a job was run again because its worker had died.
    pub retried: u64,
    /// Workers that currently hold a job, or a chunk of a map.
    pub running: u64,
    /// Workers that currently exist.
    pub workers: u64,
    /// Workers started so far.
    pub started: u64,
}

impl Progress {
    /// Returns how many jobs have not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::pool::Progress::default().left(), 0);
    /// ```
    #[must_use]
    pub fn left(&self) -> u64 {
        self.submitted - self.finished
    }
}
