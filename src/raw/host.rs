//! `QueueHost`: callbacks from a queue to its owner, which knows where the items lie.

use super::End;
use crate::primitive::Peers;

/// What a queue asks of its owner, which knows where it lies.
pub(crate) trait QueueHost {
    /// Where to look when a lock's owner is judged.
    fn peers(&self) -> Peers;

    /// Puts in order what a dead holder of that end's lock left behind. The caller holds the lock.
    fn inherit(&self, _end: End) {}

    /// Records were taken, and that is published. The caller holds the consumers' lock.
    #[inline]
    fn taken(&self) {}
}

/// A queue all of whose items lie in its ring.
impl<F: Fn() -> Peers> QueueHost for F {
    #[inline]
    fn peers(&self) -> Peers {
        self()
    }
}
