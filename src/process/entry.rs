//! Where a newly started child begins: `init`, or the entry of a test.

use super::mailbox::Mailbox;
use super::marker::{BEGUN, MARKER, Marker};
use super::program::{Way, remember, way};
use super::start_request::{self, Task};
use super::{end, serve};
use crate::primitive::crash_point;
use crate::sys::{executable, fork, spawn};
use crate::travel::DescriptorSource;
use parking_lot::Mutex;
use std::io::Write;
use std::mem;
use std::path::{Path, PathBuf};

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

/// Lasts as long as `main`, and does what is due at its end, also after a panic.
#[derive(Debug)]
#[must_use = "the guard must live until the end of `main`"]
pub struct Main(());

/// Lets child processes begin here; dropping the returned value waits for those of this process.
pub fn enter_main() -> Main {
    end::wait_for_children();
    enter(Way::Main);
    Main(())
}

impl Drop for Main {
    fn drop(&mut self) {
        end::finish_process();
    }
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
    match Marker::ours().map(|marker| Mailbox::inherited(&marker)) {
        None => {}
        Some(Some(mailbox)) => run(mailbox),
        Some(None) => give_up(),
    }
}

/// Ends a child that has no start request: in its `main` it would start children in turn, and so would they.
fn give_up() -> ! {
    let text = format!(
        "procshare: this process was started as a child ({MARKER} is set), but received no start request: its \
            descriptors were closed before procshare::init(), or its privileges differ from its parent's\n"
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
    spawn::exit_at_once(1)
}

/// Prevents other processes from taking this process's marker for theirs, while no other thread can be reading the environment.
fn use_marker_up() {
    let most = way().map_or(1, Way::most_threads);
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
    let taken = start_request::take(&mailbox);
    if let Ok(taken) = &taken {
        if let Task::Serve { socket, parent } = &taken.start_request.task {
            std::process::exit(serve::begin(mailbox, socket, parent));
        }
    }
    std::process::exit(start_request::carry_out(&mailbox, taken, DescriptorSource::Inherited));
}

/// Makes tools that list processes show the program's name: a process started from `/proc/self/exe` would be listed as `exe`.
fn keep_name() {
    let path = std::env::args_os().next().map(PathBuf::from);
    if let Some(name) = path.as_deref().and_then(Path::file_name) {
        executable::show_name(name);
    }
}
