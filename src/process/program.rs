//! This program as its children run it: its executable, where in it a function lies, and how a child reaches its entry.

use super::marker::MARKER;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::executable::{self, Executable};
use parking_lot::Mutex;
use std::cell::Cell;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// How a child of this program reaches its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `main` calls `init`.
    Main,
    /// The test harness runs this test.
    Test(&'static str),
}

impl Way {
    /// What a child's command line holds in addition to the program's name.
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

    /// The most threads a process may have at its entry and still count as single-threaded. With a test harness that runs one
    /// test, the second thread waits for that test, and holds nothing.
    pub(super) fn most_threads(self) -> usize {
        if self.is_noisy() { 2 } else { 1 }
    }

    /// Whether anything writes to standard output before the child reaches its entry.
    pub(super) fn is_noisy(self) -> bool {
        matches!(self, Way::Test(_))
    }
}

static WAY: Mutex<Option<Way>> = Mutex::new(None);

thread_local! {
    /// The way of a test that runs on this thread: its children start as that test.
    static OWN_WAY: Cell<Option<Way>> = const { Cell::new(None) };
}

/// How children of this process reach their entry, if they can.
pub(super) fn way() -> Result<Way> {
    OWN_WAY.get().or_else(common_way).ok_or_else(|| {
        let message = "a child would run main again: put #[procshare::main] on fn main, or call procshare::init() in \
            its first line; in tests, use #[procshare::test] instead of #[test]";
        Error::new(ErrorKind::NotInitialized, message)
    })
}

/// The way of threads that have none of their own. A test must have its own: without it a start fails here, as it would if no other
/// test were run.
fn common_way() -> Option<Way> {
    let way = (*WAY.lock())?;
    (way == Way::Main || !is_thread_of_a_test()).then_some(way)
}

/// Whether the harness runs a test on this thread: it gives the thread the test's name.
fn is_thread_of_a_test() -> bool {
    static TESTS: OnceLock<Vec<String>> = OnceLock::new();
    let thread = std::thread::current();
    thread
        .name()
        .is_some_and(|name| TESTS.get_or_init(tests).iter().any(|test| test == name))
}

/// The names of all tests of this program, as listed by the program itself; none if it lists none.
fn tests() -> Vec<String> {
    let mut list = Command::new(executable::PATH);
    let list = list
        .args(["--list", "--format=terse"])
        .env_remove(MARKER)
        .stdin(Stdio::null())
        .output();
    let listed = list
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

/// A test's own way has precedence: the main of a test harness leads to no entry.
pub(super) fn remember(way: Way) {
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
        let message = format!("where this program's code lies cannot be told: {}", executable::NEEDS);
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// The offset of a function in the program, which means the same in another process of the same program.
pub(crate) fn offset_of(address: *const ()) -> Result<u64> {
    executable()?.offset_of(address.addr()).ok_or_else(|| {
        let message = "the function is in a shared library: a child can run only functions of the program's own \
            executable";
        Error::new(ErrorKind::Spawn, message)
    })
}

/// The address of the function at that offset.
pub(crate) fn address_at(offset: u64) -> Result<*const ()> {
    executable()?.address_at(offset).ok_or_else(|| {
        Error::new(
            ErrorKind::Spawn,
            "the requested function is not in this program's code: parent and child must run the same executable",
        )
    })
}
