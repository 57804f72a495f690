//! `Pool`: jobs in, results out.

use super::engine::Engine;
use super::group::{Group, Part};
use super::job;
use super::job_error::JobError;
use super::pending::{Assemble, Pending, one};
use super::progress::Progress;
use super::timeline::Timeline;
use super::worker::{Chunk, run_chunk};
use crate::error::{ErrorKind, Result};
use crate::process::call::{self, Entry};
use crate::process::pause::{self, Pause};
use crate::process::{Argument, Returned};
use crate::segment::os_error_or;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// Chunks of a map for each worker, unless a size is set: as in Python.
const CHUNKS_PER_WORKER: usize = 4;

/// How a handle of a pool sends its jobs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    chunk_size: Option<usize>,
    pub(super) retries: u32,
}

impl Options {
    #[track_caller]
    pub(super) fn chunk_size(self, items: usize) -> Self {
        assert!(items > 0, "the chunk size must be at least 1, found 0");
        Options {
            chunk_size: Some(items),
            ..self
        }
    }
}

/// Runs jobs in worker processes.
///
/// A clone is another handle of the same pool. When the last handle is dropped, the workers are killed, and unfinished jobs fail
/// with [`Terminated`](JobError::Terminated); [`join`](Self::join) lets them finish instead.
///
/// # What happens on death
///
/// The item a killed worker held fails with [`WorkerDied`](JobError::WorkerDied), or is run again if
/// [`retries`](Self::with_retries) allow; the rest of its work runs elsewhere, and another worker takes its place. If this process
/// dies, the workers end as well.
///
/// # Examples
///
/// ```
/// use procshare::Pool;
///
/// fn square(a: u64) -> u64 {
///     a * a
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::new(2)?;
///     let squares = pool.map(square, 0..1_000);
///     let total: u64 = squares.into_iter().sum::<Result<_, _>>()?;
///     assert_eq!(total, 332_833_500);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
    options: Options,
}

/// Ends the pool when its last handle is dropped.
struct Owner {
    engine: Arc<Engine>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A forked child leaves its parent's workers alone.
        if self.engine.check_home().is_ok() {
            self.engine.terminate(JobError::Terminated);
            self.engine.join_thread();
        } else {
            self.engine.forget_thread();
        }
    }
}

impl Pool {
    /// Starts the workers and the pool's thread.
    pub(super) fn start(engine: Arc<Engine>, options: Options) -> Result<Self> {
        if let Err(error) = engine.start_workers() {
            engine.terminate(JobError::Terminated);
            return Err(error);
        }
        if let Err(error) = engine.start_thread() {
            engine.terminate(JobError::Terminated);
            return Err(os_error_or(ErrorKind::Spawn, "starting the pool's thread", error));
        }
        let threads: Arc<dyn Pause> = engine.clone();
        pause::enter(&threads);
        Ok(Pool {
            owner: Arc::new(Owner { engine }),
            options,
        })
    }

    /// Returns a handle whose maps have chunks of this many items.
    ///
    /// A chunk travels as one and is run by one worker, which saves time if items are small. It is not a unit of failure: items
    /// succeed or fail one by one, also when the worker dies. Without this setting, [`map`](Self::map) makes four chunks for each
    /// worker, and [`imap`](Self::imap) makes chunks of one item.
    ///
    /// # Panics
    ///
    /// If it is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     assert_eq!(pool.with_chunk_size(3).map(|a: u32| a, 0..10).len(), 10);
    ///     Ok(())
    /// }
    /// ```
    #[must_use = "this returns a new handle; the original is unchanged"]
    pub fn with_chunk_size(&self, items: usize) -> Self {
        Pool {
            owner: self.owner.clone(),
            options: self.options.chunk_size(items),
        }
    }

    /// Returns a handle whose jobs are run again if their worker dies.
    ///
    /// Each item may be run up to this many more times. This is for functions that may run twice: the first run may have done all
    /// its work before its worker died. If an end of a pipe or ring is among the arguments, it goes with the worker that dies, and
    /// the next run takes it up again: meanwhile, a process waiting at the other end may be told that its peer is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Pool, SharedCounter};
    ///
    /// fn dies_once(runs: SharedCounter) -> i64 {
    ///     if runs.increment().is_ok_and(|run| run == 1) {
    ///         std::process::abort();
    ///     }
    ///     runs.get()
    /// }
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = Pool::new(1)?.with_retries(1);
    ///     assert_eq!(pool.apply(dies_once, (SharedCounter::new(0)?,)), Ok(2));
    ///     Ok(())
    /// }
    /// ```
    #[must_use = "this returns a new handle; the original is unchanged"]
    pub fn with_retries(&self, retries: u32) -> Self {
        Pool {
            owner: self.owner.clone(),
            options: Options {
                retries,
                ..self.options
            },
        }
    }

    /// Calls a function in a worker, and waits for its result.
    ///
    /// # Errors
    ///
    /// See [`JobError`].
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     assert_ne!(pool.apply(std::process::id, ())?, std::process::id());
    ///     Ok(())
    /// }
    /// ```
    pub fn apply<F, Args, R>(&self, function: F, arguments: Args) -> Result<R, JobError>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        self.submit(function, arguments).get()
    }

    /// Calls a function in a worker, without waiting: Python's name for [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     assert_eq!(pool.apply_async(|a: u32| a + 1, (41,)).get(), Ok(42));
    ///     Ok(())
    /// }
    /// ```
    pub fn apply_async<F, Args, R>(&self, function: F, arguments: Args) -> Pending<R>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        self.submit(function, arguments)
    }

    /// Calls a function in a worker, without waiting.
    ///
    /// # Errors
    ///
    /// The result reports them: see [`JobError`].
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let (one, two) = (pool.submit(|| 1, ()), pool.submit(|| 2, ()));
    ///     assert_eq!(one.get()? + two.get()?, 3);
    ///     Ok(())
    /// }
    /// ```
    pub fn submit<F, Args, R>(&self, function: F, arguments: Args) -> Pending<R>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        let group = Arc::new(Group::new(true));
        self.send(chunk_of::<F, Args, R>(function), [arguments], &group, 0);
        self.pending(group, one::<R>)
    }

    pub(super) fn pending<R>(&self, group: Arc<Group>, assemble: Assemble<R>) -> Pending<R> {
        Pending::new(self.owner.engine.clone(), group, assemble)
    }

    /// Sends all items, in chunks of a size that suits about `about` items.
    pub(super) fn send_all<Args: Serialize + DeserializeOwned>(
        &self,
        chunk: Chunk,
        mut items: impl Iterator<Item = Args>,
        about: usize,
        group: &Arc<Group>,
    ) {
        let chunk_size = self.chunk_size_of(Some(about));
        let mut sent = 0;
        loop {
            let more = self.send(chunk, items.by_ref().take(chunk_size), group, sent);
            sent += more;
            if more < chunk_size {
                return;
            }
        }
    }

    /// Sends items as one chunk, and returns how many there were.
    pub(super) fn send<Args: Serialize + DeserializeOwned>(
        &self,
        chunk: Chunk,
        items: impl IntoIterator<Item = Args>,
        group: &Arc<Group>,
        first: usize,
    ) -> usize {
        let engine = &self.owner.engine;
        if let Err(error) = engine.check_home() {
            // Touches nothing of the parent's state: its locks may be held by threads that do not exist here.
            let count = items.into_iter().count();
            group.expect(count);
            group.deliver(Part::Failure { first, count, error }, count, count);
            return count;
        }
        let packed = job::pack(chunk, items, group, first, self.options.retries, engine.extents());
        let count = packed.items();
        if count > 0 {
            group.expect(count);
            engine.submit(group, packed);
        }
        count
    }

    /// The chunk size for a map of this many items.
    pub(super) fn chunk_size_of(&self, items: Option<usize>) -> usize {
        let usual = items.map_or(1, |items| items.div_ceil(CHUNKS_PER_WORKER * self.workers()).max(1));
        self.options.chunk_size.unwrap_or(usual)
    }

    pub(super) fn cancel(&self, group: &Arc<Group>) {
        if self.owner.engine.check_home().is_ok() {
            self.owner.engine.cancel(group);
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.owner.engine.shape().slots as usize
    }

    /// Returns how many workers the pool has.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     assert_eq!(procshare::Pool::new(2)?.workers(), 2);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn workers(&self) -> usize {
        self.owner.engine.shape().workers as usize
    }

    /// Returns the process ids of the current workers.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     assert!(pool.worker_ids().contains(&pool.apply(std::process::id, ())?));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn worker_ids(&self) -> Vec<u32> {
        self.owner.engine.workers()
    }

    /// Returns how many jobs were submitted, ended, failed and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     assert!(pool.map(|a: u32| a, 0..5).iter().all(Result::is_ok));
    ///     assert_eq!(pool.progress().finished, 5);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.owner.engine.progress()
    }

    /// Sets a function that is called whenever jobs have ended.
    ///
    /// The pool's own thread calls it, once for several jobs if they end in quick succession; it replaces a function given before.
    /// Jobs go on while it runs, but their ends are not reported: so it must not wait for a job.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static SEEN: AtomicU64 = AtomicU64::new(0);
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     pool.on_progress(|progress| SEEN.store(progress.finished, Ordering::Relaxed));
    ///     assert!(pool.map(|a: u32| a, 0..5).iter().all(Result::is_ok));
    ///     pool.close();
    ///     pool.join();
    ///     assert_eq!(SEEN.load(Ordering::Relaxed), 5);
    ///     Ok(())
    /// }
    /// ```
    pub fn on_progress(&self, hook: impl FnMut(&Progress) + Send + 'static) {
        self.owner.engine.set_hook(Box::new(hook));
    }

    /// Returns when each job began and ended, and where.
    ///
    /// It is empty unless the pool was built with [`timeline(true)`](crate::pool::PoolBuilder::timeline).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(1).timeline(true).build()?;
    ///     assert!(pool.map(|a: u32| a, 0..3).iter().all(Result::is_ok));
    ///     let timeline = pool.timeline();
    ///     assert!(timeline.bars().iter().all(|bar| bar.start <= bar.end));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.owner.engine.timeline()
    }

    /// Accepts no more jobs; those already submitted are still completed.
    ///
    /// Then the workers end. Jobs submitted later fail with [`Closed`](JobError::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JobError, Pool};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = Pool::new(1)?;
    ///     let answer = pool.submit(|| 42, ());
    ///     pool.close();
    ///     assert_eq!(pool.apply(|| 43, ()), Err(JobError::Closed));
    ///     assert_eq!(answer.get(), Ok(42));
    ///     Ok(())
    /// }
    /// ```
    pub fn close(&self) {
        if self.owner.engine.check_home().is_ok() {
            self.owner.engine.close();
        }
    }

    /// Closes the pool and waits for all jobs and workers to end.
    ///
    /// Results that were not fetched remain available: nothing waits for that. If a [hook](Self::on_progress) calls it, it does not
    /// wait.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     let answers = pool.map_async(|a: u32| a + 1, 0..100);
    ///     pool.join();
    ///     assert!(answers.ready());
    ///     Ok(())
    /// }
    /// ```
    pub fn join(self) {
        self.close();
        if self.owner.engine.check_home().is_ok() && !self.owner.engine.is_own_thread() {
            self.owner.engine.wait_until_empty();
        }
    }

    /// Kills the workers; unfinished jobs fail with [`Terminated`](JobError::Terminated).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JobError, Pool};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = Pool::new(1)?;
    ///     let never = pool.submit(|| loop { std::thread::park() }, ());
    ///     pool.terminate();
    ///     let outcome: Result<(), JobError> = never.get();
    ///     assert_eq!(outcome, Err(JobError::Terminated));
    ///     Ok(())
    /// }
    /// ```
    pub fn terminate(&self) {
        if self.owner.engine.check_home().is_ok() {
            event!(debug, workers = self.workers(), "pool terminated");
            self.owner.engine.terminate(JobError::Terminated);
        }
    }
}

/// The function that workers run for `F`.
pub(super) fn chunk_of<F, Args, R>(_function: F) -> Chunk
where
    F: Entry<Args, Output = R>,
    Args: DeserializeOwned,
    R: Serialize,
{
    run_chunk::<F, Args, R>
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers())
            .field("progress", &self.progress())
            .finish()
    }
}
