//! Models of the raw types: every interleaving of two or three threads, some of which die.
//!
//! A model that cannot fail proves nothing, so each protocol also stands here broken on purpose, `#[should_panic]`.

mod doorbell;
mod latch;
mod mutex;
mod queue;
mod ring;
mod seats;

use crate::primitive::{AtomicU64, Deadline, Ordering, Peers};
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

loom::lazy_static! {
    static ref CLOCK: AtomicU64 = AtomicU64::new(0);
}

/// Has loom try this moment before and after other threads' ticks. By itself it fails to try a load after another thread's
/// store, if that thread has itself loaded the word in between.
fn tick() {
    // Relaxed: it must not order what the model is about.
    CLOCK.fetch_add(1, Ordering::Relaxed);
}
