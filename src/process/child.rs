//! What all handles of a child share, and `Child`, the handle without access to the result.

use super::mailbox::{Answer, Mailbox};
use crate::error::Result;
use crate::primitive::{Deadline, Home, per_process::PerProcess};
use crate::segment::os_error;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::spawn::{self, End, Signal};
use parking_lot::Mutex;
use std::fmt;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often to ask, where waiting fails.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(1);

/// A child of the process that started it, shared by all its handles.
pub(super) struct Core {
    name: String,
    pid: u32,
    state: Mutex<State>,
    /// Taken by the handle that joins.
    mailbox: Mutex<Option<Mailbox>>,
    at_end: Mutex<AtEnd>,
    home: Home,
}

/// What happens to a child when its parent has nothing more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// It is waited for.
    Wait,
    /// It is ended.
    End,
    /// It is left alone.
    Leave,
}

/// What is known of a child.
enum State {
    /// Nobody has learned yet how it ended.
    Running(Arc<OwnedFd>),
    /// The kernel reports the end once; it is recorded here for all handles.
    Ended(End),
}

impl Core {
    /// `pidfd` is `None` if the end was reported elsewhere before we could ask for a descriptor.
    pub(super) fn new(name: String, pid: u32, pidfd: Option<OwnedFd>, mailbox: Mailbox, at_end: AtEnd) -> Arc<Self> {
        let running = pidfd.map(|pidfd| State::Running(Arc::new(pidfd)));
        Arc::new(Core {
            name,
            pid,
            state: Mutex::new(running.unwrap_or(State::Ended(End::Unknown))),
            mailbox: Mutex::new(Some(mailbox)),
            at_end: Mutex::new(at_end),
            home: Home::here(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The descriptor that names it, until it is known to have ended.
    pub(super) fn pidfd(&self) -> Option<Arc<OwnedFd>> {
        match &*self.state.lock() {
            State::Running(pidfd) => Some(pidfd.clone()),
            State::Ended(_) => None,
        }
    }

    /// Whether it is a child of the calling process: false in a copy of its parent.
    pub(super) fn is_ours(&self) -> bool {
        self.home.is_here()
    }

    /// How it ended, if it has. The first call after that reaps it.
    pub(super) fn look(&self) -> Option<End> {
        let mut state = self.state.lock();
        let end = match &*state {
            State::Running(pidfd) => spawn::reap(pidfd.as_fd())?,
            State::Ended(end) => *end,
        };
        *state = State::Ended(end);
        Some(end)
    }

    /// Waits for its end; `None` on timeout.
    pub(super) fn wait(&self, deadline: Deadline) -> Option<End> {
        loop {
            if let Some(end) = self.look() {
                return Some(end);
            }
            let left = deadline.left();
            if left == Some(Duration::ZERO) {
                return None;
            }
            let waited = self.pidfd().map(|pidfd| spawn::wait(pidfd.as_fd(), left));
            if !matches!(waited, Some(Ok(false))) && self.look().is_none() {
                // For example in a process that may open no descriptors, or for a child whose tracer has not been told of its end
                // yet: the question is asked again soon.
                std::thread::sleep(left.map_or(ASK_AGAIN, |left| left.min(ASK_AGAIN)));
            }
        }
    }

    /// Its end as a type of the standard library; `None` if it runs, or if that cannot be told.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        spawn::exit_status(self.look()?)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.look().is_none()
    }

    /// Makes it independent of the end of its parent.
    pub(super) fn let_go(&self) {
        *self.at_end.lock() = AtEnd::Leave;
    }

    /// Ends it at once.
    pub(super) fn end(&self) -> Result<()> {
        self.send(Signal::Kill)
    }

    pub(super) fn send(&self, signal: Signal) -> Result<()> {
        let Some(pidfd) = self.pidfd() else {
            return Ok(());
        };
        spawn::send(pidfd.as_fd(), signal)
            .map_err(|error| os_error(&format!("sending a signal to {}", self.name), error))
    }

    /// Takes the mailbox, once: the handle that gets it has joined the child.
    pub(super) fn take_mailbox(&self) -> Option<Mailbox> {
        self.mailbox.lock().take()
    }

    /// What a child that has ended left, without the bytes of a result; `None` if it was joined.
    pub(super) fn verdict(&self) -> Option<Answer> {
        let mailbox = self.mailbox.lock();
        let unreadable = |error| Mailbox::explain("reading", error);
        Some(mailbox.as_ref()?.read_verdict().unwrap_or_else(unreadable))
    }
}

/// The children of this process that may still be asked for.
static CHILDREN: PerProcess<Vec<Weak<Core>>> = PerProcess::new();

/// Registers a child that was just started.
pub(super) fn enter(child: &Arc<Core>) {
    let mut children = CHILDREN.lock();
    let children = children.get_or_default();
    if children.len() == children.capacity() {
        children.retain(|child| child.strong_count() > 0);
    }
    children.push(Arc::downgrade(child));
}

/// The children of this process that still run.
fn running() -> impl Iterator<Item = Arc<Core>> {
    let mut children = CHILDREN.lock();
    let known: Vec<_> = children
        .get()
        .into_iter()
        .flatten()
        .filter_map(|child| child.upgrade())
        .collect();
    known.into_iter().filter(|core| core.is_alive())
}

/// The running children whose fate at the end is `at_end`.
pub(super) fn those(at_end: AtEnd) -> Vec<Arc<Core>> {
    running().filter(|core| *core.at_end.lock() == at_end).collect()
}

/// Returns the children of this process that still run.
///
/// These are the children this crate started, by any start method, whether their [`Process`](crate::Process) was dropped
/// or not. In a copy of this process, made by `fork`, the list is empty.
///
/// # Examples
///
/// ```
/// use procshare::{Process, process};
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let forever = || loop {
///         std::thread::park();
///     };
///     Process::builder().name("sleeper").daemon(true).spawn::<_, _, ()>(forever, ())?;
///     for child in process::active_children() {
///         assert_eq!(child.name(), "sleeper");
///         child.kill()?;
///         child.wait();
///     }
///     assert!(process::active_children().is_empty());
///     Ok(())
/// }
/// ```
#[must_use]
pub fn active_children() -> Vec<Child> {
    running().map(Child).collect()
}

/// Handles a child process without access to its result.
///
/// [`active_children`] and [`Process::child`](crate::Process::child) return it. All handles of a child may be used at the same
/// time: each is told how the child ended.
///
/// # Examples
///
/// ```
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let process = procshare::Process::spawn(|| 42, ())?;
///     let child = process.child();
///     assert!(child.wait().is_some_and(|status| status.success()));
///     assert_eq!(process.join()?, 42);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Child(pub(super) Arc<Core>);

impl Child {
    /// Returns the child's process id.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let process = procshare::Process::spawn(|| (), ())?;
    ///     assert_eq!(process.child().id(), process.id());
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.pid()
    }

    /// Returns the child's process id, as [`id`](Self::id) does.
    ///
    /// # Examples
    ///
    /// ```
    /// for child in procshare::process::active_children() {
    ///     println!("{} is process {}", child.name(), child.pid());
    /// }
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.id()
    }

    /// Returns the child's name.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let process = procshare::Process::builder().name("idler").spawn(|| (), ())?;
    ///     assert_eq!(process.child().name(), "idler");
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns whether the child still runs.
    ///
    /// # Examples
    ///
    /// ```
    /// let active = procshare::process::active_children();
    /// assert!(active.iter().all(|child| child.is_alive()));
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// Returns how the child ended.
    ///
    /// `None` while it runs, and where that cannot be told: when other code in this process has waited for it.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let process = procshare::Process::spawn(|| std::process::exit(3), ())?;
    ///     let child = process.child();
    ///     assert!(process.join().map(|()| ()).is_err());
    ///     assert_eq!(child.exit_status().and_then(|status| status.code()), Some(3));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.exit_status()
    }

    /// Waits for the child to end, and returns how it did.
    ///
    /// `None` where that cannot be told: see [`exit_status`](Self::exit_status).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let process = procshare::Process::spawn(|| (), ())?;
    ///     assert_eq!(process.child().wait().and_then(|status| status.code()), Some(0));
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn wait(&self) -> Option<ExitStatus> {
        self.0.wait(Deadline::Never);
        self.exit_status()
    }

    /// Waits for the child's end, at most for `timeout`; returns how it ended.
    ///
    /// Also `None` if it still runs; [`is_alive`](Self::is_alive) tells the two cases apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let process = procshare::Process::spawn(|| loop { std::thread::park() }, ())?;
    ///     let child = process.child();
    ///     assert_eq!(child.wait_timeout(Duration::from_millis(1)), None);
    ///     child.kill()?;
    ///     assert!(child.wait_timeout(Duration::MAX).is_some());
    ///     assert!(process.join().map(|()| ()).is_err());
    ///     Ok(())
    /// }
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitStatus> {
        self.0.wait(Deadline::after(timeout));
        self.exit_status()
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
    /// for child in procshare::process::active_children() {
    ///     child.terminate()?;
    /// }
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn terminate(&self) -> Result<()> {
        self.0.send(Signal::Terminate)
    }

    /// Ends the child at once, by SIGKILL.
    ///
    /// A child that has already ended is left alone.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the child now acts for another user,
    /// [`Io`](crate::ErrorKind::Io).
    ///
    /// # Examples
    ///
    /// ```
    /// for child in procshare::process::active_children() {
    ///     child.kill()?;
    /// }
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.0.end()
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("alive", &self.is_alive())
            .finish()
    }
}
