//! What surrounds a process: its threads and copies, its first call, limits, filters and mounts.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../common/forked.rs"]
mod forked;

#[path = "../common/mod.rs"]
mod common;

mod first_call;
mod identity;
mod limits;
mod loans;

use procshare::Process;
use procshare::process::{Builder, Entry, StartMethod};

/// Runs the body in a process with one thread.
fn alone<F: Entry<(), Output = ()>>(body: F) {
    let _watchdog = common::watchdog(120);
    by("fork-server").spawn(body, ()).unwrap().join().unwrap();
}

/// A daemon by that method: a test that fails leaves nobody behind.
fn by(method: &str) -> Builder {
    Process::builder()
        .daemon(true)
        .start_method(method.parse::<StartMethod>().unwrap())
}
