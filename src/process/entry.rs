//! Where a newly started child begins: `init`, or the entry of a test.

use super::errand::{self, Task};
use super::mailbox::{Mailbox, Marker};
use super::serve;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::crash_point;
use crate::sys::executable::{self, Executable};
use crate::sys::{fork, spawn};
use crate::travel::DescriptorSource;
use parking_lot::Mutex;
use std::cell::Cell;
use std::io::Write;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that tells a child which descriptor is its mailbox.
///
/// It names the parent as well. A process that finds a marker meant for a child of its own parent, but gets no mailbox, is a child
/// that could not begin, and ends; a marker meant for another process is ignored.
pub(super) const MARKER: &str = "PROCSHARE_CHILD";

/// What the variable holds once the child has begun: its own children, and programs it may `exec`, find no errand.
const BEGUN: &str = "begun";

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
        let message = "a child would run this program's main once more: write #[procshare::main] above fn main, or \
                       procshare::init() as its first line; in tests, #[procshare::test] in place of #[test]";
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
        let message = format!("where this program's code lies cannot be told: {}", executable::NEEDS);
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// Lets child processes begin here.
///
/// Call it as the first line of `main`, or write `#[procshare::main]`, which does so. In a child it runs the function
/// that was requested and ends the process; otherwise it only allows
/// [`Process::spawn`](crate::Process::spawn).
///
/// Unlike this function, the attribute also acts at the end of `main`: it ends daemons, waits for the other children, and removes
/// the names of segments that no other process uses. A program that calls this function joins its children itself, and the name of
/// a segment kept in a `static` stays until the next `create` or [`clean`](fn@crate::clean).
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

/// Whether this program waits for its children.
static MANAGED: Mutex<bool> = Mutex::new(false);

/// Lets child processes begin in a program that waits for them.
pub(super) fn init_managed() {
    *MANAGED.lock() = true;
    enter(Way::Main);
}

pub(super) fn is_managed() -> bool {
    *MANAGED.lock()
}

/// Lets child processes begin in the test of that path.
pub fn enter_test(path: &'static str) {
    enter(Way::Test(path));
}

fn enter(way: Way) {
    /// An environment is read once: a child that reaches an entry again has begun.
    static ASKED: Mutex<bool> = Mutex::new(false);
    remember(way);
    if mem::replace(&mut *ASKED.lock(), true) {
        return;
    }
    let marker = std::env::var(MARKER).ok().and_then(|text| Marker::from_str(&text).ok());
    match marker
        .filter(Marker::is_for_us)
        .map(|marker| Mailbox::inherited(&marker))
    {
        None => {}
        Some(Some(mailbox)) => run(mailbox),
        Some(None) => give_up(),
    }
}

/// Ends a child that has no errand: in its `main` it would start children in turn, and so would they.
fn give_up() -> ! {
    let text = format!(
        "procshare: this process was started as a child (its environment has {MARKER}), but what it is to do did not \
         reach it: its descriptors were closed before procshare::init(), or it has other rights than its parent\n"
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
    spawn::exit_at_once(1)
}

/// The most threads a process may have at its entry and still count as single-threaded. With a test harness that runs one test, the
/// second thread waits for that test, and holds nothing.
pub(super) fn most_threads(way: Way) -> usize {
    if way.is_noisy() { 2 } else { 1 }
}

/// Prevents other processes from taking this process's marker for theirs, while no other thread can be reading the environment.
fn use_marker_up() {
    let most = way().map_or(1, most_threads);
    if fork::thread_count().is_ok_and(|threads| threads <= most) {
        // SAFETY: the calling thread is the only one, or the only one that does not wait for it.
        unsafe { std::env::set_var(MARKER, BEGUN) };
    }
}

/// Runs what the mailbox asks for, and ends the process.
fn run(mailbox: Mailbox) -> ! {
    keep_name();
    use_marker_up();
    crash_point!("start.born");
    let taken = errand::take(&mailbox);
    if let Ok(taken) = &taken {
        if let Task::Serve { socket, parent } = &taken.errand.task {
            std::process::exit(serve::begin(mailbox, socket, parent));
        }
    }
    std::process::exit(errand::carry_out(&mailbox, taken, DescriptorSource::Inherited));
}

/// Makes tools that list processes show the program's name: a process started from `/proc/self/exe` would be listed as `exe`.
fn keep_name() {
    let path = std::env::args_os().next().map(PathBuf::from);
    if let Some(name) = path.as_deref().and_then(Path::file_name) {
        executable::show_name(name);
    }
}
