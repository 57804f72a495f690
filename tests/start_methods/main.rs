//! Children by every start method: one suite that all must pass, and what is each one's own.
//!
//! The harness of a test has a thread besides the test's, so nothing there can be forked. The bodies run in a child made
//! by a fork server, which has one thread.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/effort.rs"]
mod effort;

mod conformance;
mod endings;
mod fork;
mod handles;
mod inherited;
mod server;

use common::children;
use procshare::Process;
use procshare::process::{Builder, Entry, StartMethod};

const METHODS: [StartMethod; 3] = [StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer];

/// Runs the body in a process with one thread.
fn alone<F: Entry<(), Output = ()>>(body: F) {
    let _watchdog = common::watchdog(120);
    let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
    builder.spawn(body, ()).unwrap().join().unwrap();
}

/// Runs the body once for each start method, in processes with one thread.
fn with_each<F: Entry<(String,), Output = ()>>(body: F) {
    let _watchdog = common::watchdog(120);
    for method in METHODS {
        let name = method.to_string();
        let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
        let outcome = builder.spawn(body, (name,)).unwrap().join();
        outcome.unwrap_or_else(|error| panic!("{method}: {error}"));
    }
}

/// A daemon by that method: a test that fails leaves nobody behind.
fn by(method: &str) -> Builder {
    Process::builder().daemon(true).start_method(method.parse().unwrap())
}

/// The parent of a process that has not been reaped.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Waits to be ended.
fn stay() {
    common::for_ever()
}
