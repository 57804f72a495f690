//! Threads of higher floors that can end for a while, so that this process can be copied.

use crate::primitive::per_process::PerProcess;
use std::sync::{Arc, Weak};

/// Threads that hold nothing while they are paused, and can resume where they were.
pub(crate) trait Pause: Send + Sync {
    /// Asks them to end soon, without waiting for that; returns how many there are.
    fn pause(&self) -> usize;

    /// Resumes those that have ended, or are about to.
    fn resume(self: Arc<Self>);
}

static KNOWN: PerProcess<Vec<Weak<dyn Pause>>> = PerProcess::new();

/// Registers threads to be paused whenever this process is copied, as long as the value lives.
pub(crate) fn enter(threads: &Arc<dyn Pause>) {
    let mut known = KNOWN.lock();
    let known = known.get_or_default();
    known.retain(|other| other.strong_count() > 0);
    known.push(Arc::downgrade(threads));
}

/// All threads to pause and resume.
pub(super) fn all() -> Vec<Arc<dyn Pause>> {
    let mut known = KNOWN.lock();
    known
        .get()
        .into_iter()
        .flatten()
        .filter_map(|one| one.upgrade())
        .collect()
}
