//! `PoolBuilder`: a pool with options that `Pool::new` does not offer.

use super::engine::Engine;
use super::handle::{Options, Pool};
use super::memory::{Memory, Shape};
use super::worker::{Setup, work};
use super::workers::{Launcher, Start};
use crate::error::Result;
use crate::process::call::{self, Entry};
use crate::process::handle::Process;
use crate::process::{Argument, Builder, Server, StartMethod};
use std::fmt;
use std::sync::Arc;

/// Starts a worker with a builder.
type Begin = Box<dyn Fn(Builder, Setup) -> Result<Process<Result<()>>> + Send + Sync>;

/// Makes a [`Pool`] with options that [`Pool::new`] does not offer.
///
/// # Examples
///
/// ```
/// use procshare::Pool;
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::builder().workers(2).chunk_size(10).max_tasks_per_child(100).build()?;
///     assert_eq!(pool.map(|a: u32| a % 7, 0..1_000).len(), 1_000);
///     Ok(())
/// }
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolBuilder {
    workers: Option<usize>,
    options: Options,
    budget: Option<u64>,
    method: StartMethod,
    timeline: bool,
    begin: Begin,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        PoolBuilder {
            workers: None,
            options: Options::default(),
            budget: None,
            method: StartMethod::default(),
            timeline: false,
            begin: Box::new(|builder, setup| builder.spawn(work, (setup,))),
        }
    }
}

/// What a worker with an initializer runs.
fn begin<F, Args>(setup: Setup, arguments: Args) -> Result<()>
where
    F: Entry<Args>,
{
    // SAFETY: `initializer` was given a value of F.
    let initializer = unsafe { call::summon::<F>() };
    initializer.call(arguments);
    work(setup)
}

impl Pool {
    /// Makes a pool with this number of workers.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(2)?;
    ///     assert_eq!(pool.apply(|a: u32, b: u32| a + b, (40, 2))?, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Returns a builder with options that [`new`](Self::new) does not offer.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().build()?; // as many workers as there are processors
    ///     assert!(pool.workers() >= 1);
    ///     Ok(())
    /// }
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }
}

impl PoolBuilder {
    /// Sets the number of workers; by default one per available processor.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     assert_eq!(procshare::Pool::builder().workers(3).build()?.workers(), 3);
    ///     Ok(())
    /// }
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Has every worker call a function before its first job.
    ///
    /// A worker that replaces another calls it too. If it panics or ends the worker six times in a row (workers that end together
    /// count once), and no other worker is there, the pool gives up: all jobs fail with [`NoWorkers`](crate::JobError::NoWorkers).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Pool, SharedCounter};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let came = SharedCounter::new(0)?;
    ///     let count = |came: SharedCounter| came.increment();
    ///     let pool = Pool::builder().workers(2).initializer(count, (came.clone(),)).build()?;
    ///     pool.close();
    ///     pool.join();
    ///     assert_eq!(came.get(), 2);
    ///     Ok(())
    /// }
    /// ```
    pub fn initializer<F, Args>(mut self, function: F, arguments: Args) -> Self
    where
        F: Entry<Args>,
        Args: Argument + Send + Sync + 'static,
    {
        let _ = function;
        const { call::refuse_captures::<F>() };
        let entry_point = call::entry_point::<_, (Setup, Args), Result<()>>(begin::<F, Args>);
        self.begin =
            Box::new(move |builder, setup| builder.start::<(Setup, Args), _>(entry_point, &(setup, &arguments)));
        self
    }

    /// Replaces every worker after it has run this many jobs.
    ///
    /// This limits the damage of a function that leaks. Every item of a map counts.
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
    ///     let pool = procshare::Pool::builder().workers(1).max_tasks_per_child(1).build()?;
    ///     let (first, second) = (pool.apply(std::process::id, ())?, pool.apply(std::process::id, ())?);
    ///     assert_ne!(first, second);
    ///     Ok(())
    /// }
    /// ```
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        assert!(tasks > 0, "max_tasks_per_child must be at least 1, found 0");
        self.budget = Some(tasks);
        self
    }

    /// Sets how workers are started; the default is [`StartMethod::Spawn`].
    ///
    /// With [`StartMethod::Fork`] this process is forked once, when the pool is made, and that copy is forked for each worker:
    /// workers have what was in memory then.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Pool, process::StartMethod};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = Pool::builder().workers(2).start_method(StartMethod::ForkServer).build()?;
    ///     assert_eq!(pool.apply(|a: u32| a + 1, (1,)), Ok(2));
    ///     Ok(())
    /// }
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets how many items of a map travel together; see [`Pool::with_chunk_size`].
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
    ///     let pool = procshare::Pool::builder().workers(2).chunk_size(100).build()?;
    ///     assert_eq!(pool.map(|a: u32| a, 0..1_000).len(), 1_000);
    ///     Ok(())
    /// }
    /// ```
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.options = self.options.chunk_size(items);
        self
    }

    /// Sets how often to retry after a worker's death; see [`Pool::with_retries`].
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(2).retries(2).build()?;
    ///     assert_eq!(pool.apply(|a: u32| a, (7,)), Ok(7));
    ///     Ok(())
    /// }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Records when each job began and ended; see [`Pool::timeline`].
    ///
    /// It costs two readings of the clock for each job, and the memory of its bar.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(2).timeline(true).build()?;
    ///     assert!(pool.map(|a: u32| a, 0..6).iter().all(Result::is_ok));
    ///     assert_eq!(pool.timeline().bars().len(), 6);
    ///     Ok(())
    /// }
    /// ```
    pub fn timeline(mut self, kept: bool) -> Self {
        self.timeline = kept;
        self
    }

    /// Makes the pool and starts its workers.
    ///
    /// # Errors
    ///
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity) for zero workers or more than 2,048,
    /// [`NotInitialized`](crate::ErrorKind::NotInitialized) if the program never called [`init`](crate::init), and any error of
    /// making a segment or starting processes.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().build()?;
    ///     assert_eq!(pool.apply(|| 42, ()), Ok(42));
    ///     Ok(())
    /// }
    /// ```
    pub fn build(self) -> Result<Pool> {
        let workers = match self.workers {
            Some(workers) => workers,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let memory = Memory::new(Shape::of_workers(workers)?)?;
        let (begin, method) = (self.begin, self.method);
        // Forked now: when a worker has to be replaced, this process has more than one thread.
        let template = (method == StartMethod::Fork).then(Server::forked).transpose()?;
        let start: Start = Box::new(move |setup| {
            let builder = Process::builder().daemon(true).detached(true);
            let builder = match &template {
                Some(template) => builder.served_by(template.clone()),
                None => builder.start_method(method),
            };
            let builder = builder.name(format!("PoolWorker-{}", setup.worker + 1));
            begin(builder, setup)
        });
        let engine = Arc::new(Engine::new(
            memory,
            Launcher::new(start, self.budget, self.timeline),
            self.timeline,
        )?);
        Pool::start(engine, self.options)
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("options", &self.options)
            .field("max_tasks_per_child", &self.budget)
            .field("start_method", &self.method)
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}
