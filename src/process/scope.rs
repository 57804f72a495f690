//! `scope`: children that have all ended by the time it returns.

use super::argument::{Argument, Returned};
use super::builder::Builder;
use super::call::{self, Entry};
use super::child::Core;
use super::handle::{Process, result_of};
use super::options::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::Deadline;
use parking_lot::Mutex;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Runs a closure, and waits for all children it starts.
///
/// When the closure returns, children that it has not joined are waited for. The same happens when it panics: the panic goes on
/// once all have ended. No child is killed; one that never ends is waited for indefinitely.
///
/// # Errors
///
/// What the closure returns; otherwise [`ChildFailed`](ErrorKind::ChildFailed) if a child that was not joined ended without a
/// result. It names the first such child in order of start.
///
/// # Panics
///
/// If the closure does.
///
/// # Examples
///
/// ```
/// use procshare::{SharedCounter, process};
///
/// fn add(counter: SharedCounter, times: u32) {
///     for _ in 0..times {
///         counter.increment().unwrap();
///     }
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let counter = SharedCounter::new(0)?;
///     process::scope(|scope| {
///         for _ in 0..3 {
///             scope.spawn(add, (counter.clone(), 100))?;
///         }
///         Ok(())
///     })?;
///     assert_eq!(counter.get(), 300);
///     Ok(())
/// }
/// ```
pub fn scope<T>(body: impl FnOnce(&Scope) -> Result<T>) -> Result<T> {
    let scope = Scope {
        state: Mutex::default(),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    let failure = scope.wait();
    match outcome {
        Err(payload) => resume_unwind(payload),
        Ok(outcome) => outcome.and_then(|value| failure.map_or(Ok(value), Err)),
    }
}

/// Starts children that [`scope`] waits for.
///
/// # Examples
///
/// ```
/// use procshare::process::{self, Scope};
///
/// fn start_two(scope: &Scope) -> procshare::Result<u32> {
///     let (a, b) = (scope.spawn(|| 40, ())?, scope.spawn(|| 2, ())?);
///     Ok(a.join()? + b.join()?)
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     assert_eq!(process::scope(start_two)?, 42);
///     Ok(())
/// }
/// ```
pub struct Scope {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In order of start.
    children: Vec<Arc<Core>>,
    /// How the first child failed, among those no longer in the list.
    failure: Option<Error>,
}

impl Scope {
    /// Starts a child, as [`Process::spawn`] does.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let sum = procshare::process::scope(|scope| Ok(scope.spawn(|a: u32| a + 1, (41,))?.join()?))?;
    ///     assert_eq!(sum, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn<F, Args, R>(&self, function: F, arguments: Args) -> Result<Process<R>>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        Process::begin(Options::default(), function, arguments, |child| self.enter(child))
    }

    /// Starts a child with the builder's options.
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Process, process};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     process::scope(|scope| {
    ///         let builder = Process::builder().name("adder").daemon(true);
    ///         assert_eq!(scope.start(builder, |a: u32| a + 1, (41,))?.join()?, 42);
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn start<F, Args, R>(&self, builder: Builder, function: F, arguments: Args) -> Result<Process<R>>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        Process::begin(builder.0, function, arguments, |child| self.enter(child))
    }

    /// Copies this process, as [`Process::fork`] does.
    ///
    /// # Errors
    ///
    /// As [`Process::fork`].
    ///
    /// # Examples
    ///
    /// ```
    /// fn main() -> procshare::Result<()> {
    ///     let words = vec!["shared", "memory"];
    ///     let text = procshare::process::scope(|scope| Ok(scope.fork(move || words.join(" "))?.join()?))?;
    ///     assert_eq!(text, "shared memory");
    ///     Ok(())
    /// }
    /// ```
    pub fn fork<F, R>(&self, closure: F) -> Result<Process<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Returned,
    {
        Process::copy(Options::default(), closure, |child| self.enter(child))
    }

    fn enter<R>(&self, child: &Process<R>) {
        let mut state = self.state.lock();
        state.settle();
        state.children.push(child.core().clone());
    }

    /// Waits for all children. Returns how the first one failed, among those that failed and were not joined.
    fn wait(&self) -> Option<Error> {
        let state = std::mem::take(&mut *self.state.lock());
        for child in state.children.iter().filter(|child| child.is_ours()) {
            child.wait(Deadline::Never);
        }
        let failures = state.children.iter().find_map(|child| failure_of(child));
        state.failure.or(failures)
    }
}

impl State {
    /// Releases children that have ended and can no longer be joined, together with their descriptors, as long as no earlier child
    /// may still fail: otherwise it would be unknown which failed first.
    fn settle(&mut self) {
        let is_settled = |child: &Arc<Core>| Arc::strong_count(child) == 1 && child.look().is_some();
        let failure = &mut self.failure;
        let mut others_before = false;
        self.children.retain(|child| {
            let settled = is_settled(child);
            let failed = if settled && failure.is_none() {
                failure_of(child)
            } else {
                None
            };
            match failed {
                // The first failure counts, and an earlier child may still fail.
                Some(_) if others_before => true,
                Some(error) => {
                    *failure = Some(error);
                    false
                }
                None => {
                    others_before |= !settled;
                    !settled
                }
            }
        });
    }
}

/// Why a child that has ended without being joined gave no result.
fn failure_of(child: &Core) -> Option<Error> {
    let end = child.look().filter(|_| child.is_ours())?;
    let error = child.verdict().and_then(|answer| result_of(end, answer).err())?;
    let message = format!("{} (process {}): {error}", child.name(), child.pid());
    Some(Error::new(ErrorKind::ChildFailed, message))
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let names: Vec<_> = state.children.iter().map(|child| child.name().to_owned()).collect();
        f.debug_struct("Scope").field("children", &names).finish()
    }
}
