//! Threads of higher floors that can end for a while, so that this process can be copied.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// Threads that hold nothing while they are paused, and can resume where they were.
pub(crate) trait Pause: Send + Sync {
    /// Asks them to end soon, without waiting for that; returns how many there are.
    fn pause(&self) -> usize;

    /// Resumes those that have ended, or are about to.
    fn resume(self: Arc<Self>);
}

static KNOWN: Mutex<Vec<Weak<dyn Pause>>> = Mutex::new(Vec::new());

/// Registers threads to be paused whenever this process is copied, as long as the value lives.
pub(crate) fn enter(threads: &Arc<dyn Pause>) {
    let mut known = KNOWN.lock();
    known.retain(|other| other.strong_count() > 0);
    known.push(Arc::downgrade(threads));
}

/// All threads to pause and resume.
pub(super) fn all() -> Vec<Arc<dyn Pause>> {
    KNOWN.lock().iter().filter_map(Weak::upgrade).collect()
}

/// Called in a copy of this process: its parent's threads do not exist in it.
pub(super) fn forget() {
    KNOWN.lock().clear();
}
