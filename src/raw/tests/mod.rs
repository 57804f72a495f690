//! Models of the raw types: every interleaving of two or three threads, some of which die.
//!
//! A model that cannot fail proves nothing, so each protocol also stands here broken on purpose, `#[should_panic]`.

mod doorbell;
mod latch;
mod mutex;
mod queue;

use crate::primitive::{Deadline, Peers};
use crate::raw::{Held, RawMutex};

/// Runs `model` under every schedule with at most `preemptions` forced switches.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn lock(mutex: &RawMutex) -> Held {
    mutex
        .lock(|| Peers, Deadline::Never)
        .expect("no limit, not held by the caller")
}
