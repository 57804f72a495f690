//! `Pending<R>`: a result that is still to come.

use super::engine::Engine;
use super::group::{Group, Part};
use super::job_error::JobError;
use super::records::no_record;
use crate::primitive::Deadline;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Turns the parts of a group into what its `get` returns.
pub(super) type Assemble<R> = fn(Vec<Part>) -> Result<R, JobError>;

/// Stands for the result of a job that may still run.
///
/// [`submit`](crate::Pool::submit) returns one for a job, [`map_async`](crate::Pool::map_async) one for many. It is also a future,
/// for any executor. If it is dropped, the job goes on, and its result is dropped when it arrives.
///
/// # What happens on death
///
/// If a worker dies, the one job it held fails: see [`JobError`].
///
/// # Examples
///
/// ```
/// use procshare::Pool;
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::new(2)?;
///     let mut squares = pool.map_async(|a: u64| a * a, 0..100);
///     squares.wait();
///     assert!(squares.ready() && squares.successful());
///     let squares = squares.get()?.into_iter().collect::<Result<Vec<_>, _>>()?;
///     assert_eq!(squares[99], 9801);
///     Ok(())
/// }
/// ```
#[must_use = "the result is lost unless it is fetched: call `get` or `wait`"]
pub struct Pending<R> {
    engine: Arc<Engine>,
    group: Arc<Group>,
    assemble: Assemble<R>,
    taken: bool,
}

impl<R> Pending<R> {
    pub(super) fn new(engine: Arc<Engine>, group: Arc<Group>, assemble: Assemble<R>) -> Self {
        Pending {
            engine,
            group,
            assemble,
            taken: false,
        }
    }

    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// Why the job gave no result; of many jobs, each has its own error in the vector.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     assert_eq!(pool.submit(|a: u32, b: u32| a + b, (40, 2)).get()?, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn get(mut self) -> Result<R, JobError> {
        self.get_until(Deadline::Never)
    }

    /// Waits at most `timeout` for the result.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`TimedOut`](JobError::TimedOut) if it is not there yet, and
    /// [`AlreadyTaken`](JobError::AlreadyTaken) after any other outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JobError, Pool};
    /// use std::time::Duration;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = Pool::new(1)?;
    ///     let mut never = pool.submit(|| loop { std::thread::park() }, ());
    ///     let outcome: Result<(), JobError> = never.get_timeout(Duration::from_millis(1));
    ///     assert_eq!(outcome, Err(JobError::TimedOut));
    ///     Ok(())
    /// }
    /// ```
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, JobError> {
        self.get_until(Deadline::after(timeout))
    }

    /// Waits until `deadline` for the result.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     let mut answer = pool.submit(|| 42, ());
    ///     assert_eq!(answer.get_deadline(Instant::now() + Duration::from_secs(60)), Ok(42));
    ///     Ok(())
    /// }
    /// ```
    pub fn get_deadline(&mut self, deadline: Instant) -> Result<R, JobError> {
        self.get_until(Deadline::At(deadline))
    }

    /// Returns the result, if it is available.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     let mut answer = pool.submit(|| 42, ());
    ///     answer.wait();
    ///     assert_eq!(answer.try_get(), Ok(42));
    ///     Ok(())
    /// }
    /// ```
    pub fn try_get(&mut self) -> Result<R, JobError> {
        self.get_until(Deadline::Now)
    }

    fn get_until(&mut self, deadline: Deadline) -> Result<R, JobError> {
        if self.taken {
            return Err(JobError::AlreadyTaken);
        }
        self.group.check_home()?;
        if !self.group.wait(deadline) {
            return Err(JobError::TimedOut);
        }
        self.take()
    }

    fn take(&mut self) -> Result<R, JobError> {
        self.taken = true;
        (self.assemble)(self.group.take())
    }

    /// Waits until the result is available.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     let answer = pool.submit(|| 42, ());
    ///     answer.wait();
    ///     assert!(answer.ready());
    ///     Ok(())
    /// }
    /// ```
    pub fn wait(&self) {
        self.wait_until(Deadline::Never);
    }

    /// Waits at most `timeout`, and returns whether the result is available.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     let never = pool.submit(|| loop { std::thread::park() }, ());
    ///     assert!(!never.wait_timeout(std::time::Duration::from_millis(1)));
    ///     # let _: Option<procshare::pool::Pending<()>> = Some(never);
    ///     Ok(())
    /// }
    /// ```
    #[must_use = "this returns whether the result is available"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        // In a forked child it would never be delivered.
        self.group.check_home().is_err() || self.group.wait(deadline)
    }

    /// Returns whether the result is available without waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     let answer = pool.submit(|| 42, ());
    ///     while !answer.ready() {
    ///         std::thread::yield_now();
    ///     }
    ///     assert_eq!(answer.get(), Ok(42));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn ready(&self) -> bool {
        self.group.check_home().is_err() || self.group.is_ready()
    }

    /// Returns whether all its jobs are done, and gave results.
    ///
    /// A worker's result may still fail to be decoded; `get` reports that.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::new(1)?;
    ///     let (good, bad) = (pool.submit(|| 1, ()), pool.submit(|| panic!("no"), ()));
    ///     # let bad: procshare::pool::Pending<()> = bad;
    ///     good.wait();
    ///     bad.wait();
    ///     assert!(good.successful() && !bad.successful());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn successful(&self) -> bool {
        self.group.check_home().is_ok() && self.group.is_successful()
    }

    /// Cancels what no worker has begun; returns whether that was everything.
    ///
    /// What was cancelled fails with [`Cancelled`](JobError::Cancelled). A job that has begun goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JobError, Pool};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = Pool::new(1)?;
    ///     let first = pool.submit(|| loop { std::thread::park() }, ());
    ///     # let first: procshare::pool::Pending<()> = first;
    ///     let second = pool.submit(|| 2, ());
    ///     # while pool.progress().running == 0 { std::thread::yield_now(); }
    ///     assert!(second.cancel());
    ///     assert_eq!(second.get(), Err(JobError::Cancelled));
    ///     assert!(!first.cancel());
    ///     Ok(())
    /// }
    /// ```
    pub fn cancel(&self) -> bool {
        self.engine.check_home().is_ok() && self.engine.cancel(&self.group)
    }
}

impl<R> Future for Pending<R> {
    type Output = Result<R, JobError>;

    /// If polled again after it was ready, it gives [`AlreadyTaken`](JobError::AlreadyTaken).
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.taken {
            return Poll::Ready(Err(JobError::AlreadyTaken));
        }
        if let Err(error) = self.group.check_home() {
            return Poll::Ready(Err(error));
        }
        if self.group.poll(context.waker()) {
            Poll::Ready(self.take())
        } else {
            Poll::Pending
        }
    }
}

impl<R> fmt::Debug for Pending<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("ready", &self.ready()).finish()
    }
}

/// The result of a single job.
pub(super) fn one<R: DeserializeOwned>(parts: Vec<Part>) -> Result<R, JobError> {
    let mut found = None;
    for part in &parts {
        part.read(|result| found = Some(result));
    }
    found.unwrap_or_else(|| Err(no_record()))
}

/// The results of many.
pub(super) fn many<R: DeserializeOwned>(parts: Vec<Part>) -> Result<Vec<Result<R, JobError>>, JobError> {
    let mut results = Vec::with_capacity(parts.iter().map(Part::items).sum());
    for part in parts {
        part.read(|result| results.push(result));
    }
    Ok(results)
}
