//! Children nobody will join: remembered until they have ended, so that none stays a zombie.

use crate::sys::map::{AsFd, OwnedFd};
use crate::sys::spawn;
use parking_lot::Mutex;

/// Descriptors of children whose handle was dropped while they ran.
static ORPHANS: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Takes a child over, unless it has ended already.
pub(super) fn adopt(pidfd: OwnedFd) {
    let mut orphans = ORPHANS.lock();
    orphans.push(pidfd);
    orphans.retain(|orphan| spawn::reap(orphan.as_fd()).is_none());
}

/// Lets go of those that have ended meanwhile.
pub(super) fn reap() {
    ORPHANS.lock().retain(|orphan| spawn::reap(orphan.as_fd()).is_none());
}
