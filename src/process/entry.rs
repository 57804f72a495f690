//! Where a child that was started anew begins: `init`, or the entry of a test.

use super::errand::{self, Task};
use super::mailbox::Mailbox;
use super::passage::Passage;
use super::serve;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::crash_point;
use crate::sys::executable::Executable;
use parking_lot::Mutex;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The environment variable that tells a child which descriptor is its mailbox.
///
/// It stays in the environment, which may be read by other threads while it is changed: whoever finds it without having
/// inherited the descriptor itself begins in its own `main`.
pub(super) const MARKER: &str = "PROCSHARE_CHILD";

/// How a child of this program comes to its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `main` calls `init`.
    Main,
    /// The test harness runs this test.
    Test(&'static str),
}

impl Way {
    /// What a child's command line holds besides the program's name.
    pub(super) fn arguments(self) -> Vec<String> {
        match self {
            Way::Main => Vec::new(),
            Way::Test(path) => {
                // The harness leaves the crate's name out.
                let name = path.split_once("::").map_or(path, |(_, name)| name);
                let options = ["--exact", "--nocapture", "--test-threads=1", "--include-ignored"];
                [name].into_iter().chain(options).map(str::to_owned).collect()
            }
        }
    }

    /// Whether something writes to the standard output before the child comes to its entry.
    pub(super) fn is_noisy(self) -> bool {
        matches!(self, Way::Test(_))
    }
}

static WAY: Mutex<Option<Way>> = Mutex::new(None);

thread_local! {
    /// A test that runs on this thread lends its children its name.
    static OWN_WAY: Cell<Option<Way>> = const { Cell::new(None) };
}

/// How children of this process come to their entry, if they can.
pub(super) fn way() -> Result<Way> {
    OWN_WAY.get().or(*WAY.lock()).ok_or_else(|| {
        let message = "a child would run this program's main once more: write #[procshare::main] above fn main, or \
                       procshare::init() as its first line; in tests, #[procshare::test] in place of #[test]";
        Error::new(ErrorKind::NotInitialized, message)
    })
}

/// A test's own way is the better one: the main of a test harness is nobody's entry.
fn remember(way: Way) {
    if let Way::Test(_) = way {
        OWN_WAY.set(Some(way));
    }
    let mut known = WAY.lock();
    if !matches!(*known, Some(Way::Test(_))) {
        *known = Some(way);
    }
}

/// This process's own executable.
pub(super) fn executable() -> Result<&'static Executable> {
    static OWN: OnceLock<Option<Executable>> = OnceLock::new();
    OWN.get_or_init(Executable::own).as_ref().ok_or_else(|| {
        let message = "where this program's code lies cannot be told: procshare works on Linux only so far, with /proc";
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// Lets child processes begin here.
///
/// Call it as the first line of `main`, or write `#[procshare::main]`, which does so. In a child it runs the function
/// that was asked for and ends the process; otherwise it does nothing but allow
/// [`Process::spawn`](crate::Process::spawn).
///
/// # Examples
///
/// ```
/// fn main() -> procshare::Result<()> {
///     procshare::init();
///     let child = procshare::Process::spawn(|| 42, ())?;
///     assert_eq!(child.join()?, 42);
///     Ok(())
/// }
/// ```
pub fn init() {
    enter(Way::Main);
}

/// Lets child processes begin in the test of that path.
pub fn enter_test(path: &'static str) {
    enter(Way::Test(path));
}

fn enter(way: Way) {
    remember(way);
    let marker = std::env::var(MARKER).ok();
    if let Some(mailbox) = marker.and_then(|marker| Mailbox::inherited(&marker)) {
        run(mailbox);
    }
}

/// Runs what the mailbox asks for, and ends the process.
fn run(mailbox: Mailbox) -> ! {
    keep_name();
    crash_point!("start.born");
    let taken = errand::take(&mailbox);
    if let Ok(taken) = &taken {
        if let Task::Serve { socket, parent } = &taken.errand.task {
            std::process::exit(serve::begin(mailbox, socket, parent));
        }
    }
    std::process::exit(errand::carry_out(&mailbox, taken, Passage::Inherited));
}

/// Has tools that list processes call this one after its program: started from `/proc/self/exe`, it would be an `exe`.
fn keep_name() {
    let path = std::env::args_os().next().map(PathBuf::from);
    if let Some(name) = path.as_deref().and_then(Path::file_name) {
        // For people only; where it cannot be done, nothing is lost.
        let _ = std::fs::write("/proc/self/comm", name.as_encoded_bytes());
    }
}
