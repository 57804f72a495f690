//! How a panic is reported: on standard error with the child's own name, where the standard library would print `main`, and with
//! its location to the process that waits for the function.
//!
//! The payload of a panic holds the message only. The location is known only to the panic hook, so a child installs a hook that
//! notes the location and then calls the previous hook.

use super::current::{self, Current};
use crate::encoding::{decode, encode};
use parking_lot::Mutex;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::mem;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::ptr;

/// The message of a panic in another process, and its location, which is unknown for panics that ran no panic hook
/// (`resume_unwind`), or only one that the function itself has set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Panic {
    pub(crate) words: String,
    pub(crate) location: Option<Box<PanicLocation>>,
}

/// Tells where in the sources a job panicked.
///
/// [`JobError::Panicked`](crate::JobError::Panicked) holds it; it is displayed as `file:line`.
///
/// # Examples
///
/// ```
/// use procshare::{JobError, Pool};
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::new(1)?;
///     let error = pool.apply(|a: u8| 100 / a, (0,)).unwrap_err();
///     let JobError::Panicked { location: Some(location), .. } = error else { panic!("{error}") };
///     assert_eq!(location.file, file!());
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct PanicLocation {
    /// The source file, as the compiler was given it.
    pub file: String,
    /// The line in that file, counted from 1.
    pub line: u32,
}

impl fmt::Display for PanicLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

thread_local! {
    /// The last panic of this thread, and its location.
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Records the panics of this process and its copies, and reports them under the process's current name, unless the program reports
/// them itself.
pub(super) fn put_hook() {
    static IS_PUT: Mutex<bool> = Mutex::new(false);
    // The hook cannot be changed while a panic is under way.
    if std::thread::panicking() || mem::replace(&mut *IS_PUT.lock(), true) {
        return;
    }
    let before = take_hook();
    // After one hook was taken, the remaining one is the standard library's.
    let is_default = ptr::eq(&raw const *before, &raw const *take_hook());
    set_hook(Box::new(move |info| {
        note(info);
        if is_default { tell(info) } else { before(info) }
    }));
}

fn note(info: &PanicHookInfo<'_>) {
    let location = info.location().map(|location| {
        Box::new(PanicLocation {
            file: location.file().to_owned(),
            line: location.line(),
        })
    });
    let words = words(info.payload()).to_owned();
    // A thread that is ending may no longer have one.
    let _ = LAST.try_with(|last| last.replace(Some(Panic { words, location })));
}

fn tell(info: &PanicHookInfo<'_>) {
    let text = text(info, &current::current());
    // Even if this cannot be written, the parent is told.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// In one write, so that no other process's output comes in between.
fn text(info: &PanicHookInfo<'_>, process: &Current) -> String {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let words = words(info.payload());
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| format!("stack backtrace:\n{trace}"));
    format!(
        "\n{}process '{}' ({}) panicked at {place}:\n{words}\n{}",
        thread(),
        process.name(),
        process.id(),
        trace.unwrap_or_default()
    )
}

/// The thread's name, if it is not the one that runs the child's function.
fn thread() -> String {
    let thread = std::thread::current();
    if current::is_first(thread.id()) {
        return String::new();
    }
    format!("thread '{}' of ", thread.name().unwrap_or("<unnamed>"))
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or(payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no panic message)")
}

impl Panic {
    /// The panic this thread has just caught.
    pub(crate) fn caught(payload: Box<dyn Any + Send>) -> Self {
        let last = LAST.try_with(RefCell::take).ok().flatten();
        let words = words(&*payload).to_owned();
        if !payload.is::<String>() && !payload.is::<&str>() {
            mem::forget(payload); // Dropping the program's payload may panic again.
        }
        // A panic that was caught earlier is not this one.
        let location = last.filter(|last| last.words == words).and_then(|last| last.location);
        Panic { words, location }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = encode(self, &mut bytes); // Text and numbers only: encoding cannot fail.
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        decode(bytes).unwrap_or_else(|_| Panic {
            words: String::from_utf8_lossy(bytes).into_owned(),
            location: None,
        })
    }
}
