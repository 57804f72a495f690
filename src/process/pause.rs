//! Threads of higher floors that can end for a while, so that this process can be copied.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// Has threads that hold nothing while they have ended, and can go on where they were.
pub(crate) trait Pause: Send + Sync {
    /// Has them end soon, without waiting for that; tells how many there are.
    fn pause(&self) -> usize;

    /// Has those go on that have ended, or are about to.
    fn resume(self: Arc<Self>);
}

static KNOWN: Mutex<Vec<Weak<dyn Pause>>> = Mutex::new(Vec::new());

/// Enters one that is asked whenever this process is to be copied, as long as it lives.
pub(crate) fn enter(threads: &Arc<dyn Pause>) {
    let mut known = KNOWN.lock();
    known.retain(|other| other.strong_count() > 0);
    known.push(Arc::downgrade(threads));
}

/// Those that are to be paused and resumed.
pub(super) fn all() -> Vec<Arc<dyn Pause>> {
    KNOWN.lock().iter().filter_map(Weak::upgrade).collect()
}

/// This process is a copy: its parent's threads are not here.
pub(super) fn forget() {
    KNOWN.lock().clear();
}
