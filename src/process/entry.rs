//! Where a child begins: `init`, the entry of a test, and the errand found there.

use super::call::{Trampoline, trampoline_at};
use super::mailbox::{Answer, Mailbox};
use super::transfer::{Arrivals, Passed, PassedSegment};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::executable::Executable;
use crate::sys::map::{AsFd, OwnedFd};
use crate::sys::spawn;
use parking_lot::Mutex;
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The environment variable that tells a child which descriptor is its mailbox.
///
/// It stays in the environment, which may be read by other threads while it is changed: whoever finds it without having
/// inherited the descriptor itself begins in its own `main`.
pub(super) const MARKER: &str = "PROCSHARE_CHILD";

/// The daemon's watcher needs next to no stack.
const WATCHER_STACK: usize = 64 * 1024;

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
    OWN.get_or_init(Executable::own)
        .as_ref()
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "where this program's code lies cannot be told"))
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
        run(&mailbox);
    }
}

/// What a child is to do, but for the arguments.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Errand {
    /// The executable that the parent runs.
    pub(super) executable: u64,
    /// Where in it the trampoline begins.
    pub(super) function: u64,
    pub(super) segments: Vec<PassedSegment>,
    pub(super) files: Vec<Passed>,
    /// What the standard output will be.
    pub(super) stdout: Option<Passed>,
    /// Names the parent, if the child ends with it.
    pub(super) parent: Option<Passed>,
}

/// Runs what the mailbox asks for, and ends the process.
fn run(mailbox: &Mailbox) -> ! {
    keep_name();
    let answer = match prepare(mailbox) {
        Ok(work) => (work.function)(&work.arguments, work.arrivals),
        Err(error) => Answer::NotStarted(error.to_string()),
    };
    let code = answer.exit_code();
    if let Err(error) = mailbox.answer(&answer) {
        drop(answer);
        // Perhaps there is memory for this at least; if not, the parent sees the exit status.
        let text = format!("the result could not be handed over: {error}");
        let _ = mailbox.answer(&Answer::Encoding(text));
    }
    let _ = std::io::stdout().flush();
    std::process::exit(code);
}

/// Has tools that list processes call this one after its program: started from `/proc/self/exe`, it would be an `exe`.
fn keep_name() {
    let path = std::env::args_os().next().map(PathBuf::from);
    if let Some(name) = path.as_deref().and_then(Path::file_name) {
        // For people only; where it cannot be done, nothing is lost.
        let _ = std::fs::write("/proc/self/comm", name.as_encoded_bytes());
    }
}

struct Work {
    function: Trampoline,
    arguments: Vec<u8>,
    arrivals: Arrivals,
}

fn prepare(mailbox: &Mailbox) -> Result<Work> {
    let unreadable = |error| Error::new(ErrorKind::Spawn, "reading the arguments").with_source(error);
    let (errand, arguments) = mailbox.take().map_err(unreadable)?;
    let errand: Errand = postcard::from_bytes(&errand)
        .map_err(|error| Error::new(ErrorKind::Spawn, format!("reading the errand: {error}")))?;
    // All descriptors are taken over before anything of the program can start another process.
    let stdout = errand.stdout.as_ref().map(Passed::take).transpose()?;
    let parent = errand.parent.as_ref().map(Passed::take).transpose()?;
    let taken: Vec<_> = errand.segments.into_iter().map(PassedSegment::take).collect();
    let files = errand
        .files
        .iter()
        .map(|file| file.take().map(Some))
        .collect::<Result<_>>()?;
    let function = find_function(errand.executable, errand.function)?;
    if let Some(parent) = parent {
        end_with(parent)?;
    }
    if let Some(stdout) = stdout {
        restore_stdout(&stdout)?;
    }
    let segments = taken.into_iter().map(|taken| taken?.attach()).collect::<Result<_>>()?;
    Ok(Work {
        function,
        arguments,
        arrivals: Arrivals { segments, files },
    })
}

fn find_function(executable_id: u64, offset: u64) -> Result<Trampoline> {
    let own = executable()?;
    if own.id != executable_id {
        let message = "the parent runs another build of this program";
        return Err(Error::new(ErrorKind::Spawn, message));
    }
    let address = own.address_at(offset).ok_or_else(|| {
        Error::new(
            ErrorKind::Spawn,
            "the function asked for lies outside this program's code",
        )
    })?;
    // SAFETY: the mailbox is a file of our own user, passed by whoever started this process, and names the build we run
    // (compared above). `launch`, which makes such files, writes the offset of what `trampoline` returned; a parent that
    // forges one could as well run any program in our place, and a privileged program takes no mailbox at all.
    Ok(unsafe { trampoline_at(address) })
}

/// Ends this process when the one behind `parent` has ended, or if it already has.
fn end_with(parent: OwnedFd) -> Result<()> {
    let watch = move || {
        // What cannot be watched counts as ended: a daemon without a parent is what nobody wants.
        let _ = spawn::wait(parent.as_fd(), None);
        spawn::exit_at_once();
    };
    let watcher = std::thread::Builder::new()
        .name("procshare-daemon".to_owned())
        .stack_size(WATCHER_STACK)
        .spawn(watch);
    watcher
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Spawn, "starting the watcher of the parent").with_source(error))
}

fn restore_stdout(stdout: &OwnedFd) -> Result<()> {
    // What was written so far was meant for /dev/null.
    let _ = std::io::stdout().flush();
    spawn::become_stdout(stdout)
        .map_err(|error| Error::new(ErrorKind::Spawn, "restoring the standard output").with_source(error))
}
