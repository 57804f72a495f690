//! What a child says when it panics: its own name, where the standard library would say `main`.

use super::current::{self, Current};
use parking_lot::Mutex;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::mem;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::ptr;

/// Has panics of this process, and of its copies, told with the name it then has; unless the program tells them itself.
pub(super) fn name() {
    static NAMED: Mutex<bool> = Mutex::new(false);
    // Nobody may change the hook while a panic is under way.
    if std::thread::panicking() || mem::replace(&mut *NAMED.lock(), true) {
        return;
    }
    let before = take_hook();
    // What is left after one was taken is the standard library's.
    if ptr::eq(&raw const *before, &raw const *take_hook()) {
        set_hook(Box::new(tell));
    } else {
        set_hook(before);
    }
}

fn tell(info: &PanicHookInfo<'_>) {
    let text = text(info, &current::current());
    // Where nobody can hear it, it is told to the parent all the same.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// In one piece, so that no other process speaks in between.
fn text(info: &PanicHookInfo<'_>, process: &Current) -> String {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let words = info.payload();
    let words = words
        .downcast_ref::<&str>()
        .copied()
        .or(words.downcast_ref::<String>().map(String::as_str));
    let words = words.unwrap_or("a panic without words");
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

/// Which thread it is, if not the one that runs the child's function.
fn thread() -> String {
    let thread = std::thread::current();
    if current::is_first(thread.id()) {
        return String::new();
    }
    format!("thread '{}' of ", thread.name().unwrap_or("<unnamed>"))
}
