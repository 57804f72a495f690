//! `Builder`: everything that can be set for a child before it is started.

use super::argument::{Argument, Returned};
use super::call::{self, Entry, EntryPoint};
use super::handle::Process;
use super::method::StartMethod;
use super::options::{Options, Route};
use super::server::Server;
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
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
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until `spawn` is called"]
pub struct Builder(pub(super) Options);

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
        self.0.name = Some(name.into());
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
        self.0.daemon = daemon;
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
        self.0.detached = detached;
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
        self.0.environment.set(key.as_ref(), value.as_ref());
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
            self.0.environment.set(key.as_ref(), value.as_ref());
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
        self.0.environment.remove(key.as_ref());
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
        self.0.environment.clear();
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
        self.0.folder = Some(folder.as_ref().to_owned());
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
        self.0.route = Route::Method(method);
        self
    }

    /// Has the given server make the child.
    pub(crate) fn served_by(mut self, server: Arc<Server>) -> Self {
        self.0.route = Route::Served(server);
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
        Process::begin(self.0, function, arguments, |_| ())
    }

    /// Starts a child that runs an entry point with arguments that it decodes as a `D`.
    pub(crate) fn start<D: DeserializeOwned, R>(
        self,
        function: EntryPoint,
        arguments: &impl Serialize,
    ) -> Result<Process<R>> {
        self.0.start::<D>(function, arguments).map(Process::new)
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
        Process::copy(self.0, closure, |_| ())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method: &dyn fmt::Debug = match &self.0.route {
            Route::Method(method) => method,
            Route::Served(server) => server,
        };
        f.debug_struct("Builder")
            .field("name", &self.0.name)
            .field("daemon", &self.0.daemon)
            .field("detached", &self.0.detached)
            .field("env", &self.0.environment)
            .field("current_dir", &self.0.folder)
            .field("start_method", method)
            .finish()
    }
}

impl Process<()> {
    /// Returns a builder with options that [`spawn`](Process::spawn) does not offer.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = procshare::Process::builder().name("idler").spawn(|| (), ())?;
    ///     assert_eq!(child.name(), "idler");
    ///     child.join()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }
}
