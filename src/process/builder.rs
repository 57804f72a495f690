//! `Builder`: everything that can be set for a child before it is started.

use super::argument::{Argument, Returned};
use super::call::{self, Entry, Trampoline, trampoline};
use super::child::{self, AtEnd, Core};
use super::encoded::{self, Encoded};
use super::environment::Environment;
use super::handle::Process;
use super::mailbox::Mailbox;
use super::method::StartMethod;
use super::server::Server;
use super::spawn::{self as launch, failure};
use super::{entry, fork, server};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering, crash_point};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{spawn, surroundings};
use crate::travel::Attachments;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Starts a child with options that [`Process::spawn`] does not offer.
///
/// # Examples
///
/// ```
/// use procshare::Process;
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let child = Process::builder().name("adder").daemon(true).spawn(|a: i32| a + 1, (41,))?;
///     assert_eq!(child.name(), "adder");
///     assert_eq!(child.join()?, 42);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder starts nothing before `spawn`"]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
    detached: bool,
    environment: Environment,
    folder: Option<PathBuf>,
    route: Route,
}

/// What makes the child.
#[derive(Debug, Clone)]
enum Route {
    Method(StartMethod),
    Served(Arc<Server>),
}

impl Default for Route {
    fn default() -> Self {
        Route::Method(StartMethod::default())
    }
}

impl Builder {
    /// Names the child, for messages; by default `Process-1`, `Process-2` and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = procshare::Process::builder().name("decoder");
    /// assert!(format!("{builder:?}").contains("decoder"));
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says whether the child ends when this process ends.
    ///
    /// However this process ends, the child is then killed: none of its code runs any more. By default it runs on.
    /// `#[procshare::main]` ends daemons when `main` has returned, before it waits for other children. Names of segments that only
    /// the child has used stay until [`clean`](crate::clean) is called, as after any kill.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let forever = || loop {
    ///         std::thread::park();
    ///     };
    ///     procshare::Process::builder().daemon(true).spawn::<_, _, ()>(forever, ())?;
    ///     Ok(()) // and the child is gone too
    /// }
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Says whether the child may outlive `main`.
    ///
    /// `main` then neither waits for the child nor ends it, as after [`Process::detach`]. A daemon still ends when this process
    /// does.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let _child = procshare::Process::builder().detached(true).spawn(|| (), ())?;
    ///     Ok(()) // at once, whatever the child does
    /// }
    /// ```
    pub fn detached(mut self, detached: bool) -> Self {
        self.detached = detached;
        self
    }

    /// Sets a variable of the child's environment.
    ///
    /// A child starts with this process's environment at that moment, with the requested changes.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let builder = procshare::Process::builder().env("GREETING", "hello");
    ///     let child = builder.spawn(|| std::env::var("GREETING").ok(), ())?;
    ///     assert_eq!(child.join()?.as_deref(), Some("hello"));
    ///     Ok(())
    /// }
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.set(key.as_ref(), value.as_ref());
        self
    }

    /// Sets several variables of the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// let builder = procshare::Process::builder().envs([("LANG", "C"), ("TZ", "UTC")]);
    /// assert!(format!("{builder:?}").contains("UTC"));
    /// ```
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self {
        for (key, value) in variables {
            self.environment.set(key.as_ref(), value.as_ref());
        }
        self
    }

    /// Leaves a variable out of the child's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let builder = procshare::Process::builder().env_remove("PATH");
    ///     assert!(builder.spawn(|| std::env::var("PATH").is_err(), ())?.join()?);
    ///     Ok(())
    /// }
    /// ```
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.remove(key.as_ref());
        self
    }

    /// Clears the child's environment, and forgets changes requested before.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let builder = procshare::Process::builder().env_clear().env("ONLY", "this");
    ///     assert!(builder.spawn(|| std::env::var("PATH").is_err(), ())?.join()?);
    ///     Ok(())
    /// }
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.environment.clear();
        self
    }

    /// Sets the child's working folder; the default is this process's.
    ///
    /// A folder that does not exist makes the start fail.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::PathBuf;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let builder = procshare::Process::builder().current_dir("/");
    ///     let folder = builder.spawn(|| std::env::current_dir().unwrap_or_default(), ())?.join()?;
    ///     assert_eq!(folder, PathBuf::from("/"));
    ///     Ok(())
    /// }
    /// ```
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Sets how the child is created.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::process::StartMethod;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let builder = procshare::Process::builder().start_method(StartMethod::ForkServer);
    ///     assert_eq!(builder.spawn(|a: u32| a + 1, (41,))?.join()?, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.route = Route::Method(method);
        self
    }

    /// Has the given server make the child.
    pub(crate) fn served_by(mut self, server: Arc<Server>) -> Self {
        self.route = Route::Served(server);
        self
    }

    /// Starts the child; see [`Process::spawn`].
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
    ///     let child = procshare::Process::builder().spawn(|a: u32| a.pow(2), (12,))?;
    ///     assert_eq!(child.join()?, 144);
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn<F, Args, R>(self, function: F, arguments: Args) -> Result<Process<R>>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        const { call::refuse_captures::<F>() };
        self.begin(function, arguments, |_| ())
    }

    /// As [`spawn`](Self::spawn), for callers that have refused captures, and that record the child before any destructor of the
    /// program runs here.
    pub(super) fn begin<F, Args, R>(
        self,
        function: F,
        arguments: Args,
        note: impl Fn(&Process<R>),
    ) -> Result<Process<R>>
    where
        F: Entry<Args, Output = R>,
        Args: Argument,
        R: Returned,
    {
        let process = self.start::<Args, R>(trampoline::<F, Args, R>(function), &arguments);
        process.iter().for_each(note);
        drop(arguments); // Here: if a destructor panics, the handle is dropped as well.
        process
    }

    /// Starts a child that runs a trampoline with arguments that it decodes as a `D`.
    pub(crate) fn start<D: DeserializeOwned, R>(
        self,
        function: Trampoline,
        arguments: &impl Serialize,
    ) -> Result<Process<R>> {
        let route = self.route.clone();
        match route {
            Route::Method(StartMethod::Fork) => fork::check_loans()?,
            Route::Method(_) => drop(entry::way()?),
            Route::Served(_) => {}
        }
        let plan = self.plan()?;
        let (arguments, attachments) = encoded::pack::<D>(arguments)?;
        let cargo = Cargo {
            function,
            arguments,
            attachments,
        };
        let started = match route {
            Route::Method(StartMethod::Spawn) => launch::start(plan, cargo),
            Route::Method(StartMethod::Fork) => fork::start(plan, cargo),
            Route::Method(StartMethod::ForkServer) => server::start(plan, cargo),
            Route::Served(own) => own.start(&plan, cargo),
        };
        Ok(Process::new(started?))
    }

    /// Copies this process; the copy calls the closure. See [`Process::fork`].
    ///
    /// # Errors
    ///
    /// As [`Process::fork`].
    ///
    /// # Examples
    ///
    /// ```
    /// fn main() -> procshare::Result<()> {
    ///     let table: Vec<u64> = (0..1_000).map(|n| n * n).collect();
    ///     let child = procshare::Process::builder().name("summer").fork(move || table.iter().sum::<u64>())?;
    ///     assert_eq!(child.join()?, 332_833_500);
    ///     Ok(())
    /// }
    /// ```
    pub fn fork<F, R>(self, closure: F) -> Result<Process<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Returned,
    {
        self.copy(closure, |_| ())
    }

    /// As [`fork`](Self::fork), for callers that record the child before the closure is dropped here.
    pub(super) fn copy<R: Returned>(
        self,
        closure: impl FnOnce() -> R,
        note: impl Fn(&Process<R>),
    ) -> Result<Process<R>> {
        fork::check_loans()?;
        let plan = self.plan()?;
        fork::run(plan, closure, note)
    }

    /// Checks what was requested, and opens in advance what can be opened.
    fn plan(self) -> Result<Plan> {
        self.environment.check()?;
        let open = |path: PathBuf| {
            surroundings::open_folder(&path)
                .map_err(|error| failure(&format!("opening the working folder {}", path.display()), error))
        };
        let at_end = match (self.detached, self.daemon) {
            (true, _) => AtEnd::Leave,
            (false, true) => AtEnd::End,
            (false, false) => AtEnd::Wait,
        };
        Ok(Plan {
            name: self.name.unwrap_or_else(next_name),
            daemon: self.daemon,
            at_end,
            environment: self.environment,
            folder: self.folder.map(open).transpose()?,
        })
    }
}

/// What a start needs to know, whatever the method.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) at_end: AtEnd,
    pub(super) environment: Environment,
    pub(super) folder: Option<OwnedFd>,
}

/// What the child calls, and with what.
pub(super) struct Cargo {
    pub(super) function: super::call::Trampoline,
    pub(super) arguments: Encoded,
    pub(super) attachments: Attachments,
}

impl Plan {
    /// A descriptor that names this process, for a child that ends with it.
    pub(super) fn parent(&self) -> Result<Option<OwnedFd>> {
        let parent = self.daemon.then(spawn::open_self).transpose();
        parent.map_err(|error| failure("naming this process", error))
    }

    /// The child has been started: gives it what it owns, and registers it here.
    pub(super) fn started(&self, pid: u32, mailbox: Mailbox, attachments: &mut Attachments) -> Result<Arc<Core>> {
        crash_point!("start.made");
        attachments.hand_over(pid);
        let pidfd = spawn::open_child(pid).map_err(|error| {
            spawn::abandon(pid);
            failure("naming the child", error)
        })?;
        if pidfd.as_ref().is_some_and(|pidfd| !spawn::is_child(pidfd.as_fd())) {
            // Reported by a server in another PID namespace: in this one the number belongs to another process.
            return Err(Error::new(
                ErrorKind::ForeignNamespace,
                format!("process {pid} is no child of this one"),
            ));
        }
        let core = Core::new(self.name.clone(), pid, pidfd, mailbox, self.at_end);
        child::enter(&core);
        crash_point!("start.named");
        Ok(core)
    }
}

fn next_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: numbers only need to differ.
    format!("Process-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
