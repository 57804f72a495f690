//! Models of the raw types: every interleaving of two or three threads, some of which die.
//!
//! A model that cannot fail proves nothing, so each protocol also stands here broken on purpose, `#[should_panic]`.

mod doorbell;
mod latch;
mod mutex;
mod queue;
mod ring;
mod seats;

use crate::primitive::model::become_owner;
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers};
use crate::raw::{Held, RawMutex};
use loom::thread;
use std::sync::Arc;

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

/// Runs `play` in a thread of its own as process `pid`.
fn process<S: Send + Sync + 'static, T: 'static>(
    shared: &Arc<S>,
    pid: u32,
    play: impl FnOnce(&S) -> T + 'static,
) -> thread::JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || {
        become_owner(pid);
        play(&shared)
    })
}

/// Whether nobody has declared process `pid` dead.
fn lives(pid: u32) -> bool {
    !Peers.has_left(OwnerId::pack(pid, 1, pid, 1), false)
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
