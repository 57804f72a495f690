//! What a subscriber of `tracing` hears of children and pools.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{unique, watchdog};
use procshare::{JobError, Pool, Process, SharedCounter};
use std::fmt::{Debug, Write};
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes each event down: level, fields, message.
struct Listener;

/// The fields of one event.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "procshare"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        HEARD.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// How many events hold all the parts.
fn heard(parts: &[&str]) -> usize {
    let heard = HEARD.lock().unwrap();
    heard
        .iter()
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .count()
}

fn dies_twice(runs: SharedCounter) -> i64 {
    if runs.increment().unwrap() <= 2 {
        std::process::exit(7);
    }
    runs.get()
}

#[procshare::test]
fn children_and_pools_are_heard_of() {
    let _watchdog = watchdog(60);
    tracing::subscriber::set_global_default(Listener).unwrap();

    let name = unique("child");
    let child = Process::builder().name(&name).spawn(|| 3, ()).unwrap();
    assert_eq!(child.join(), Ok(3));
    assert_eq!(heard(&["TRACE", &name, "child started"]), 1);
    assert_eq!(heard(&["TRACE", &name, "end=Exited(0)", "child joined"]), 1);

    let pool = Pool::new(1).unwrap();
    let runs = SharedCounter::new(0).unwrap();
    assert!(matches!(
        pool.with_retries(1).apply(dies_twice, (runs.clone(),)),
        Err(JobError::WorkerDied { code: Some(7), .. })
    ));
    let panicked: Result<(), JobError> = pool.apply(|| panic!("no"), ());
    assert!(panicked.is_err());
    pool.close();
    pool.join();
    assert_eq!(heard(&["DEBUG", "worker started"]), 3);
    assert_eq!(heard(&["DEBUG", "worker ended", "status 7"]), 2);
    assert_eq!(heard(&["DEBUG", "job=0", "job retried"]), 1);
    assert_eq!(heard(&["WARN", "job=0", "job lost"]), 1);
    assert_eq!(heard(&["DEBUG", "failed=1", "of=1", "jobs failed"]), 1);
    assert_eq!(heard(&["DEBUG", "pool closed"]), 1);

    Pool::new(1).unwrap().terminate();
    assert_eq!(heard(&["DEBUG", "pool terminated"]), 1);
}
