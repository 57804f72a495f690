//! `Builder`, and how a child is started: mailbox, descriptors, environment.

use super::call::{Entry, Trampoline, trampoline};
use super::entry::{self, Errand, MARKER, Way};
use super::handle::Process;
use super::mailbox::Mailbox;
use super::orphans;
use super::transfer::{self, Luggage, Passed};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering};
use crate::sys::map::{AsFd, OwnedFd};
use crate::sys::{Errno, errno_is, spawn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::CString;
use std::io;

/// Starts a child with what [`Process::spawn`] does not offer.
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
}

impl Builder {
    /// Names the child, for messages; `Process-1`, `Process-2` … otherwise.
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
    /// However this process ends, the child then ends as if killed: nothing more of it runs. Without this it runs on.
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
        Args: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.start(trampoline::<F, Args, R>(function), &arguments)
    }

    pub(crate) fn start_method(self, _method: super::StartMethod) -> Self {
        self
    }

    /// Starts a child that runs a trampoline with arguments of its type.
    pub(crate) fn start<R>(self, function: Trampoline, arguments: &impl Serialize) -> Result<Process<R>> {
        let way = entry::way()?;
        let (bytes, mut luggage) = transfer::pack(arguments)?;
        let (mailbox, pid) = launch(way, function, &bytes, &luggage, self.daemon)?;
        luggage.hand_over(pid);
        let pidfd = spawn::open_child(pid).map_err(|error| {
            spawn::abandon(pid);
            failure("naming the child", error)
        })?;
        Ok(Process::new(self.name.unwrap_or_else(next_name), pid, pidfd, mailbox))
    }
}

fn next_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: numbers need only differ.
    format!("Process-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Starts a child that finds its errand in the mailbox.
fn launch(way: Way, function: Trampoline, arguments: &[u8], luggage: &Luggage, daemon: bool) -> Result<(Mailbox, u32)> {
    orphans::reap();
    let executable = entry::executable()?;
    let function = executable.offset_of((function as *const ()).addr()).ok_or_else(|| {
        let message = "the function lies in a shared library; a child can be sure of the program's own code only";
        Error::new(ErrorKind::Spawn, message)
    })?;
    // Without a standard output there is none to hand on.
    let stdout = if way.is_noisy() {
        spawn::copy_stdout().ok()
    } else {
        None
    };
    let parent = daemon.then(spawn::open_self).transpose();
    let parent = parent.map_err(|error| failure("naming this process", error))?;
    let describe = |fd: &OwnedFd| Passed::describe(fd).map_err(|error| failure("fstat", error));
    let errand = Errand {
        executable: executable.id,
        function,
        segments: luggage.table(),
        files: luggage.files().map_err(|error| failure("fstat", error))?,
        stdout: stdout.as_ref().map(describe).transpose()?,
        parent: parent.as_ref().map(describe).transpose()?,
    };
    let errand = postcard::to_stdvec(&errand)
        .map_err(|error| Error::new(ErrorKind::Encoding, format!("the errand: {error}")))?;
    let mailbox = Mailbox::post(&errand, arguments).map_err(|error| failure("handing the arguments over", error))?;
    let own = [Some(mailbox.fd()), stdout.as_ref(), parent.as_ref()];
    let keep: Vec<_> = own
        .into_iter()
        .flatten()
        .map(AsFd::as_fd)
        .chain(luggage.descriptors())
        .collect();
    let environment = environment(&mailbox).map_err(|error| failure("fstat", error))?;
    let pid = spawn::spawn_self(&command_line(way), &environment, &keep, way.is_noisy())
        .map_err(|error| failure("starting /proc/self/exe", error))?;
    Ok((mailbox, pid))
}

/// The program's name as its caller gave it, and what leads a child to its entry.
fn command_line(way: Way) -> Vec<CString> {
    let own_name = std::env::args_os().next().unwrap_or_default().into_encoded_bytes();
    let rest = way.arguments().into_iter().map(String::into_bytes);
    // No string from a command line holds a NUL.
    [own_name]
        .into_iter()
        .chain(rest)
        .filter_map(|text| CString::new(text).ok())
        .collect()
}

/// This process's environment, with the marker of this mailbox and no other.
fn environment(mailbox: &Mailbox) -> io::Result<Vec<CString>> {
    let inherited = std::env::vars_os().filter(|(key, _)| key != MARKER);
    let lines = inherited.map(|(key, value)| {
        let mut line = key.into_encoded_bytes();
        line.push(b'=');
        line.extend(value.as_encoded_bytes());
        line
    });
    let marker = format!("{MARKER}={}", mailbox.marker()?).into_bytes();
    Ok(lines
        .chain([marker])
        .filter_map(|line| CString::new(line).ok())
        .collect())
}

fn failure(what: &str, error: io::Error) -> Error {
    let kinds = [
        (Errno::Emfile, ErrorKind::TooManyDescriptors),
        (Errno::Enfile, ErrorKind::TooManyDescriptors),
        (Errno::Enospc, ErrorKind::OutOfMemory),
    ];
    let known = kinds.into_iter().find(|(errno, _)| errno_is(&error, *errno));
    let kind = match (known, error.kind()) {
        (Some((_, kind)), _) => kind,
        (None, io::ErrorKind::OutOfMemory) => ErrorKind::OutOfMemory,
        (None, io::ErrorKind::Unsupported) => ErrorKind::Unsupported,
        (None, _) => ErrorKind::Spawn,
    };
    Error::new(kind, what).with_source(error)
}
