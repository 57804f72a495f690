//! `Process<R>`: a child, and how it ends.

use super::argument::{Argument, Returned};
use super::call::{self, Entry, entry_point};
use super::child::{Child, Core};
use super::join_error::JoinError;
use super::mailbox::{Answer, Mailbox};
use super::options::Options;
use super::{encoded, orphans};
use crate::error::Result;
use crate::primitive::Deadline;
use crate::segment::os_error;
use crate::sys::file::OwnedFd;
use crate::sys::spawn::{End, Signal};
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Handles a child process that runs one function and returns an `R`.
///
/// Dropping the handle does not end the child. A thread of this crate then waits for its end, so that it does not remain a zombie.
///
/// With `#[procshare::main]`, a program ends its daemons at the end of `main` and waits for all other children, whether or not
/// their handles were dropped, except those it [detached](Self::detach). A program that calls [`init`](crate::init) instead waits
/// for none.
///
/// # What happens on death
///
/// If a child is killed, exits or panics, [`join`](Self::join) returns that as a [`JoinError`]. What it held of shared objects is
/// free for others within 100 ms. If the parent ends first, the child runs on, unless it is a
/// [`daemon`](crate::process::Builder::daemon).
///
/// # Examples
///
/// ```
/// use procshare::{Process, SharedValue};
///
/// fn increment(counter: SharedValue<i32>, times: u32) {
///     for _ in 0..times {
///         *counter.get_lock() += 1;
///     }
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let counter = SharedValue::new(0)?;
///     let children = (0..4)
///         .map(|_| Process::spawn(increment, (counter.clone(), 1_000)))
///         .collect::<procshare::Result<Vec<_>>>()?;
///     for child in children {
///         child.join()?;
///     }
///     assert_eq!(counter.get(), 4_000);
///     Ok(())
/// }
/// ```
///
/// In a test, `#[procshare::test]` replaces `#[test]`:
///
/// ```
/// # #[allow(unused)]
/// #[procshare::test]
/// fn a_child_adds() {
///     let child = procshare::Process::spawn(|a: u32, b: u32| a + b, (40, 2)).unwrap();
///     assert_eq!(child.join(), Ok(42));
/// }
/// ```
pub struct Process<R> {
    core: Arc<Core>,
    joined: bool,
    result: PhantomData<fn() -> R>,
}

impl<R: Returned> Process<R> {
    /// Starts a child process that calls `function` with `arguments`, a tuple.
    ///
    /// The program's own executable is started again, and reaches the function through [`init`](crate::init). Arguments and result
    /// travel encoded; handles of shared objects, also inside structs and collections, arrive attached. Descriptors that close
    /// on `exec` reach the child only as part of such a handle.
    ///
    /// The function is a plain function, or a closure that captures nothing. A closure that captures only zero-sized values counts
    /// as one that captures nothing: the child creates such values itself, even if they prove something in this process only.
    ///
    /// # Errors
    ///
    /// [`NotInitialized`](crate::ErrorKind::NotInitialized) if the program never called [`init`](crate::init),
    /// [`Encoding`](crate::ErrorKind::Encoding) or [`NotTransferable`](crate::ErrorKind::NotTransferable) if the arguments cannot
    /// travel, [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the child would have more rights than this process
    /// (set-user-id, file capabilities), [`Unsupported`](crate::ErrorKind::Unsupported) if the program was started through the
    /// dynamic loader, or the system is not supported, [`Spawn`](crate::ErrorKind::Spawn),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`OutOfMemory`](crate::ErrorKind::OutOfMemory).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Process;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let words = vec!["shared".to_string(), "memory".to_string()];
    ///     let child = Process::spawn(|words: Vec<String>| words.join(" "), (words,))?;
    ///     assert_eq!(child.join()?, "shared memory");
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn<F, Args>(function: F, arguments: Args) -> Result<Self>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
    {
        const { call::refuse_captures::<F>() };
        Self::begin(Options::default(), function, arguments, |_| ())
    }

    /// Copies this process; the copy calls the closure, with everything it captured.
    ///
    /// This needs no [`init`](crate::init). The child has this process's memory as of now, and its descriptors. Both processes have
    /// the closure, and each drops its own: whatever the destructor of a captured value does outside memory happens twice. The
    /// child drops none of this process's other values; when the closure has returned or panicked, the child writes what [`print!`]
    /// has buffered and exits at once.
    ///
    /// Handles of shared objects may be captured, but not the ends of a pipe or ring: those go to a child as arguments, by
    /// [`StartMethod::Fork`](crate::process::StartMethod::Fork). If the closure captures handles of a queue, peers count the child
    /// as a participant at once; handles it reaches in another way count from their first use (see
    /// [`SharedQueue`](crate::SharedQueue)). A named segment that the child has from its parent keeps its name while either uses
    /// it; if the child outlives all others, the name goes with the next `create` or [`clean`](fn@crate::clean).
    ///
    /// # Errors
    ///
    /// [`NotForkable`](crate::ErrorKind::NotForkable) if this process has more than one thread, or holds or has leaked a guard of a
    /// [`SharedArray`](crate::SharedArray) or a chunk of a ring; [`Spawn`](crate::ErrorKind::Spawn),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors), [`OutOfMemory`](crate::ErrorKind::OutOfMemory),
    /// [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// ```
    /// fn main() -> procshare::Result<()> {
    ///     let table: Vec<u64> = (0..1_000).map(|n| n * n).collect();
    ///     let child = procshare::Process::fork(move || table.iter().sum::<u64>())?;
    ///     assert_eq!(child.join()?, 332_833_500);
    ///     Ok(())
    /// }
    /// ```
    pub fn fork<F>(closure: F) -> Result<Self>
    where
        F: FnOnce() -> R + Send + 'static,
    {
        Self::copy(Options::default(), closure, |_| ())
    }
    /// As [`spawn`](Self::spawn), for callers that have refused captures, and that record the child before any destructor of the
    /// program runs here.
    pub(super) fn begin<F, Args>(options: Options, function: F, arguments: Args, note: impl Fn(&Self)) -> Result<Self>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
    {
        let process = Process::new(options.start::<Args>(entry_point::<F, Args, R>(function), &arguments)?);
        note(&process);
        drop(arguments); // Here: if a destructor panics, the handle is dropped as well.
        Ok(process)
    }

    /// As [`fork`](Self::fork), for callers that record the child before the closure is dropped here.
    pub(super) fn copy(options: Options, closure: impl FnOnce() -> R, note: impl Fn(&Self)) -> Result<Self> {
        options.copy(closure, |core| {
            let process = Process::new(core);
            note(&process);
            process
        })
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits for the child to end and returns what the function returned.
    ///
    /// # Errors
    ///
    /// How the child ended, if without a result: see [`JoinError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JoinError, Process};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     assert_eq!(Process::spawn(|a: u8| a * 2, (21,))?.join(), Ok(42));
    ///     let child = Process::spawn(|a: u8| panic!("no {a}"), (7,))?;
    ///     assert_eq!(child.join().map(|()| ()), Err(JoinError::Panicked("no 7".into())));
    ///     Ok(())
    /// }
    /// ```
    pub fn join(mut self) -> Result<R, JoinError> {
        self.join_until(Deadline::Never)
    }

    /// Returns what the function returned, if the child has ended.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join); [`TimedOut`](JoinError::TimedOut) if it still runs, and
    /// [`AlreadyJoined`](JoinError::AlreadyJoined) after any other outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JoinError, Process};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let mut child = Process::spawn(|| 42, ())?;
    ///     let result = loop {
    ///         match child.try_join() {
    ///             Err(JoinError::TimedOut) => std::thread::yield_now(),
    ///             outcome => break outcome?,
    ///         }
    ///     };
    ///     assert_eq!(result, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn try_join(&mut self) -> Result<R, JoinError> {
        self.join_until(Deadline::Now)
    }

    /// Waits at most `timeout` for the child to end.
    ///
    /// # Errors
    ///
    /// As [`try_join`](Self::try_join).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JoinError, Process};
    /// use std::time::Duration;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let mut child = Process::spawn(|| loop { std::thread::park() }, ())?;
    ///     let outcome: Result<(), JoinError> = child.join_timeout(Duration::from_millis(1));
    ///     assert_eq!(outcome, Err(JoinError::TimedOut));
    ///     child.kill()?;
    ///     assert_eq!(child.join(), Err(JoinError::Signaled(9)));
    ///     Ok(())
    /// }
    /// ```
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<R, JoinError> {
        self.join_until(Deadline::after(timeout))
    }

    /// Waits until `deadline` for the child to end.
    ///
    /// # Errors
    ///
    /// As [`try_join`](Self::try_join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let mut child = procshare::Process::spawn(|| 42, ())?;
    ///     assert_eq!(child.join_deadline(Instant::now() + Duration::from_secs(60))?, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn join_deadline(&mut self, deadline: Instant) -> Result<R, JoinError> {
        self.join_until(Deadline::At(deadline))
    }

    fn join_until(&mut self, deadline: Deadline) -> Result<R, JoinError> {
        if self.joined {
            return Err(JoinError::AlreadyJoined);
        }
        let end = self.core.wait(deadline).ok_or(JoinError::TimedOut)?;
        self.joined = true;
        event!(
            trace,
            child = self.core.pid(),
            name = self.core.name(),
            ?end,
            "child joined"
        );
        // Only this handle can join the child.
        let mailbox = self.core.take_mailbox().ok_or(JoinError::AlreadyJoined)?;
        let unreadable = |error| Mailbox::explain("reading", error);
        let answer = mailbox.read_answer().unwrap_or_else(unreadable);
        orphans::reap();
        let result = match result_of(end, answer)? {
            Value::Short(bytes) => encoded::unpack_result(&bytes),
            Value::Long(len) => match mailbox.long(len) {
                Ok(bytes) => encoded::unpack_result(&bytes),
                Err(error) => Err(os_error("reading the result", error)),
            },
        };
        result.map_err(|error| JoinError::refusal(error.kind(), error.to_string()))
    }
}

/// An encoded result.
pub(super) enum Value {
    Short(Vec<u8>),
    /// It lies in the mailbox, and takes this many bytes.
    Long(u64),
}

/// The encoded result, if that is how the child ended.
pub(super) fn result_of(end: End, answer: Answer) -> Result<Value, JoinError> {
    match end {
        End::Signaled(signal) => return Err(JoinError::Signaled(signal)),
        End::Exited(code) if answer == Answer::Unread => {
            let text = format!("it exited with status {code} before it reached procshare::init()");
            return Err(JoinError::NotStarted(text));
        }
        End::Exited(code) if answer == Answer::Begun || answer.exit_code() != code => {
            return Err(JoinError::Exited(code));
        }
        End::Exited(_) | End::Unknown => {}
    }
    match answer {
        Answer::Value(bytes) => Ok(Value::Short(bytes)),
        Answer::LongValue(len) => Ok(Value::Long(len)),
        Answer::Panicked(panic) => Err(JoinError::Panicked(panic.words)),
        Answer::Refused(kind, text) => Err(JoinError::refusal(kind, text)),
        Answer::Unread | Answer::Begun => Err(JoinError::Unknown),
    }
}

impl<R> Process<R> {
    pub(super) fn new(core: Arc<Core>) -> Self {
        event!(trace, child = core.pid(), name = core.name(), "child started");
        Process {
            core,
            joined: false,
            result: PhantomData,
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Returns whether the child still runs.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let mut child = procshare::Process::spawn(|| loop { std::thread::park() }, ())?;
    ///     assert!(child.is_alive());
    ///     child.kill()?;
    ///     let _: Result<(), _> = child.join_timeout(std::time::Duration::MAX);
    ///     assert!(!child.is_alive());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.joined && self.core.is_alive()
    }

    /// Returns the child's process id.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = procshare::Process::spawn(std::process::id, ())?;
    ///     let id = child.id();
    ///     assert_eq!(child.join()?, id);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.core.pid()
    }

    /// Returns the child's process id, as [`id`](Self::id) does.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = procshare::Process::spawn(|| (), ())?;
    ///     assert_eq!(child.pid(), child.id());
    ///     child.join()?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.id()
    }

    /// Returns a handle of the same child without access to the result.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let process = procshare::Process::spawn(|| loop { std::thread::park() }, ())?;
    ///     let child = process.child();
    ///     std::thread::spawn(move || child.kill());
    ///     assert!(process.join().map(|()| ()).is_err());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn child(&self) -> Child {
        Child(self.core.clone())
    }

    /// Returns how the child ended.
    ///
    /// `None` while it runs, and where that cannot be told: when other code in this process has waited for it. It may be called
    /// before and after a join.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let mut child = procshare::Process::spawn(|| std::process::exit(3), ())?;
    ///     let outcome: Result<(), _> = child.join_timeout(Duration::MAX);
    ///     assert!(outcome.is_err());
    ///     assert_eq!(child.exit_status().and_then(|status| status.code()), Some(3));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.core.exit_status()
    }

    /// Returns the child's name.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = procshare::Process::spawn(|| (), ())?;
    ///     assert!(child.name().starts_with("Process-"));
    ///     child.join()?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.name()
    }

    /// Ends the child at once, by SIGKILL.
    ///
    /// A child that has already ended is left alone.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the child now acts for another user, [`Io`](crate::ErrorKind::Io).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JoinError, Process};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = Process::spawn(|| loop { std::thread::park() }, ())?;
    ///     child.kill()?;
    ///     let outcome: Result<(), JoinError> = child.join();
    ///     assert_eq!(outcome, Err(JoinError::Signaled(9)));
    ///     Ok(())
    /// }
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.core.end()
    }

    /// Asks the child to end, by SIGTERM.
    ///
    /// A child that has already ended is left alone.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{JoinError, Process};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = Process::spawn(|| loop { std::thread::park() }, ())?;
    ///     child.terminate()?;
    ///     let outcome: Result<(), JoinError> = child.join();
    ///     assert_eq!(outcome, Err(JoinError::Signaled(15)));
    ///     Ok(())
    /// }
    /// ```
    pub fn terminate(&self) -> Result<()> {
        self.core.send(Signal::Terminate)
    }
}

impl<R> Process<R> {
    /// Lets the child run on after the end of `main`.
    ///
    /// A [`child`](Self::child) taken beforehand can still wait for it. A [`daemon`](crate::process::Builder::daemon) is then ended
    /// not at the end of `main`, but when this process ends.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = procshare::Process::spawn(|| (), ())?;
    ///     child.detach();
    ///     Ok(()) // at once, whatever the child does
    /// }
    /// ```
    pub fn detach(self) {
        self.core.let_go();
    }

    /// The descriptor that names it, until it is known to have ended.
    pub(crate) fn pidfd(&self) -> Option<Arc<OwnedFd>> {
        self.core.pidfd()
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        if !self.joined {
            orphans::adopt(self.core.clone());
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("alive", &self.is_alive())
            .finish()
    }
}
