//! `Timeline`: when each job of a pool began and ended, and where.

use super::records::Times;
use std::time::Duration;

/// How a job has ended, for its bar in a [`Timeline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Done,
    /// With an error of its own: a panic, or what could not be encoded.
    Failed,
    /// With its worker.
    Died,
}

/// One job's run in a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bar {
    /// The job's number, from 0, in the order of submission.
    pub job: u64,
    /// The worker's place in the pool, from 0; a worker that takes another's place has the same.
    pub worker: usize,
    /// The worker's process id.
    pub process: u32,
    /// When the job began, since the pool was made.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl Bar {
    /// A bar of times by the monotonic clock, for a pool that was made at `zero`.
    pub(super) fn new(job: u64, worker: usize, process: u32, times: Times, zero: u64, ending: Ending) -> Self {
        let since = |time: u64| Duration::from_nanos(time.saturating_sub(zero));
        Bar {
            job,
            worker,
            process,
            start: since(times.begun),
            end: since(times.done.max(times.begun)),
            ending,
        }
    }
}

/// Holds when each job of a [`Pool`](crate::Pool) began and ended, and where.
///
/// Jobs that have ended are in it, in the order in which the pool heard of their ends.
///
/// # Examples
///
/// ```
/// use procshare::Pool;
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::builder().workers(2).timeline(true).build()?;
///     pool.map(|a: u64| a * a, 0..6);
///     for bar in pool.timeline().bars() {
///         println!("job {} ran in worker {} for {:?}", bar.job, bar.worker, bar.end - bar.start);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    bars: Vec<Bar>,
    workers: usize,
}

impl Timeline {
    pub(super) fn new(bars: Vec<Bar>, workers: usize) -> Self {
        Timeline { bars, workers }
    }

    /// Returns the bars, one for each run of a job.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(1).timeline(true).build()?;
    ///     pool.apply(|| (), ())?;
    ///     assert_eq!(pool.timeline().bars()[0].job, 0);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// Returns how many workers the pool has.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(3).timeline(true).build()?;
    ///     assert_eq!(pool.timeline().workers(), 3);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }
}
