//! `Timeline`: when and where each job of a pool, or anything else a program adds, began and ended.

use super::records::Times;
use crate::sys::clock;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Holds a moment that all processes of a machine agree on.
///
/// It is read from the monotonic clock, and travels like any value: through queues and pipes, as an argument or a result. It is
/// meaningless after a restart of the machine, and in another time namespace.
///
/// # Examples
///
/// ```
/// use procshare::{Process, pool::Timestamp};
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let before = Timestamp::now();
///     let there = Process::spawn(Timestamp::now, ())?.join()?;
///     assert!(before < there && there < Timestamp::now());
///     println!("the child got there after {:?}", there - before);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp {
    /// As read from the monotonic clock.
    nanos: u64,
}

impl Timestamp {
    /// Returns the present moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::pool::Timestamp;
    ///
    /// let before = Timestamp::now();
    /// assert!(before <= Timestamp::now());
    /// ```
    #[must_use]
    pub fn now() -> Self {
        Timestamp {
            nanos: clock::monotonic_nanos(),
        }
    }

    /// Its time on the monotonic clock.
    #[cfg(feature = "timeline-svg")]
    pub(super) fn time(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Returns how long ago it was; zero if in the future.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::pool::Timestamp::now().elapsed().as_secs() < 60);
    /// ```
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Timestamp::now() - self
    }
}

/// Returns the time between the two; zero if the second is later.
impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, time: Duration) -> Timestamp {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Timestamp {
            nanos: self.nanos.saturating_add(nanos),
        }
    }
}

/// Holds what a program has added to a [`Timeline`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// The row it appears in.
    pub row: String,
    /// The text on its bar.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
}

/// How a job ended, as shown by its bar in a [`Timeline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Done,
    /// With an error of its own: a panic, or arguments or a result that could not be encoded, decoded or attached to.
    Failed,
    /// By the death of its worker.
    Died,
}

/// One job's run in a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bar {
    /// The job's number, from 0, in the order of submission.
    pub job: u64,
    /// The worker's place in the pool, from 0; a replacement has the place of the worker it replaces.
    pub worker: usize,
    /// The worker's process id.
    pub process: u32,
    /// When the job began, counted from the making of the pool.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl Bar {
    /// A bar from times of the monotonic clock, for a pool that was made at `zero`.
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
/// Jobs are entered when they end. [`add`](Self::add) adds anything else that took time, in any process, with or without a pool.
///
/// # Examples
///
/// ```
/// use procshare::Pool;
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::builder().workers(2).timeline(true).build()?;
///     assert!(pool.map(|a: u64| a * a, 0..6).iter().all(Result::is_ok));
///     for bar in pool.timeline().bars() {
///         println!("job {} ran in worker {} for {:?}", bar.job, bar.worker, bar.end - bar.start);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeline {
    bars: Vec<Bar>,
    workers: usize,
    /// When the pool was made, in nanoseconds of the monotonic clock.
    #[cfg_attr(not(feature = "timeline-svg"), allow(dead_code, reason = "for the picture alone"))]
    zero: u64,
    spans: Vec<Span>,
}

impl Timeline {
    /// Creates a timeline without any jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::pool::{Timeline, Timestamp};
    /// use procshare::{Process, SharedQueue};
    ///
    /// /// Works in two steps, and tells when.
    /// fn work(name: String, times: SharedQueue<(String, Timestamp, Timestamp)>) {
    ///     for _ in 0..2 {
    ///         let start = Timestamp::now();
    ///         std::thread::sleep(std::time::Duration::from_millis(2));
    ///         times.put((name.clone(), start, Timestamp::now())).expect("the parent is there");
    ///     }
    /// }
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let times = SharedQueue::new(100)?;
    ///     let children = ["reader", "writer"].map(|name| Process::spawn(work, (name.to_owned(), times.clone())));
    ///     let mut timeline = Timeline::new();
    ///     for _ in 0..4 {
    ///         let (name, start, end) = times.get()?;
    ///         timeline.add(name, "", start, end);
    ///     }
    ///     assert_eq!(timeline.spans().len(), 4);
    ///     # for child in children { child?.join()?; }
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn of_pool(bars: Vec<Bar>, workers: usize, zero: u64) -> Self {
        Timeline {
            bars,
            workers,
            zero,
            spans: Vec::new(),
        }
    }

    /// Adds a bar from `start` to `end` to the named row.
    ///
    /// Such rows stand below the workers' rows, in the order in which they were first named. A bar whose `end` precedes its `start`
    /// ends at its `start`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::pool::{Timeline, Timestamp};
    ///
    /// let mut timeline = Timeline::new();
    /// let start = Timestamp::now();
    /// timeline.add("parent", "reading", start, Timestamp::now());
    /// assert_eq!(timeline.spans()[0].name, "reading");
    /// ```
    pub fn add(
        &mut self,
        row: impl Into<String>,
        name: impl Into<String>,
        start: Timestamp,
        end: Timestamp,
    ) -> &mut Self {
        self.spans.push(Span {
            row: row.into(),
            name: name.into(),
            start,
            end: end.max(start),
        });
        self
    }

    /// Returns what was added, in the order of addition.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::pool::Timeline::new().spans().is_empty());
    /// ```
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// When the pool was made, on the monotonic clock.
    #[cfg(feature = "timeline-svg")]
    pub(super) fn zero(&self) -> Duration {
        Duration::from_nanos(self.zero)
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
