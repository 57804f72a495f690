//! `current`: what this process is called, and its place among the processes of the program.

use crate::primitive::Home;
use parking_lot::Mutex;
use std::thread::ThreadId;

/// The name of a process that this crate did not start.
const MAIN: &str = "MainProcess";

/// What a process was told when it was started.
struct Told {
    /// Known by process id alone: a stricter check would cost every child a look at its namespaces.
    home: Home,
    name: String,
    /// The thread that runs its function.
    thread: ThreadId,
}

static OWN: Mutex<Option<Told>> = Mutex::new(None);

/// Records that the calling process is a child of that name.
pub(super) fn begin(name: String) {
    *OWN.lock() = Some(Told {
        home: Home::by_pid(),
        name,
        thread: std::thread::current().id(),
    });
}

/// Whether that thread runs this child's function.
pub(super) fn is_first(thread: ThreadId) -> bool {
    OWN.lock().as_ref().is_some_and(|own| own.thread == thread)
}

/// Returns a description of the calling process.
///
/// # Examples
///
/// ```
/// use procshare::{Process, process};
///
/// fn say() -> String {
///     process::current().name().to_owned()
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     assert_eq!(say(), "MainProcess");
///     assert_eq!(Process::builder().name("adder").spawn(say, ())?.join()?, "adder");
///     Ok(())
/// }
/// ```
#[must_use]
pub fn current() -> Current {
    let own = OWN.lock();
    // A copy of a child that was not made by this crate is not a child of it.
    let name = own
        .as_ref()
        .filter(|own| own.home.is_here())
        .map(|own| own.name.clone());
    Current { name }
}

/// Describes the calling process.
///
/// # Examples
///
/// ```
/// let current = procshare::process::current();
/// assert_eq!(current.id(), std::process::id());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    name: Option<String>,
}

impl Current {
    /// Returns the process's name: `MainProcess` unless this crate started it.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::process::current().name(), "MainProcess");
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(MAIN)
    }

    /// Returns the process's id.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::process::current().id(), std::process::id());
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        std::process::id()
    }

    /// Returns the process's id, as [`id`](Self::id) does.
    ///
    /// # Examples
    ///
    /// ```
    /// let current = procshare::process::current();
    /// println!("{} is process {}", current.name(), current.pid());
    /// assert_eq!(current.pid(), std::process::id());
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.id()
    }

    /// Returns the id of the parent; once it has ended, its successor's.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Process, process};
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let child = Process::spawn(|| process::current().parent_id(), ())?;
    ///     assert_eq!(child.join()?, std::process::id());
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn parent_id(&self) -> u32 {
        #[cfg(unix)]
        return std::os::unix::process::parent_id();
        #[cfg(not(unix))]
        return 0;
    }

    /// Returns whether this crate started the process.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!procshare::process::current().is_child());
    /// ```
    #[must_use]
    pub fn is_child(&self) -> bool {
        self.name.is_some()
    }
}
