//! `Keeper`: what a queue asks of the one that knows where its items lie.

use super::End;
use crate::primitive::Peers;

/// What a queue asks of whoever knows where it lies.
pub(crate) trait Keeper {
    /// Where to look when a lock's owner is to be judged.
    fn peers(&self) -> Peers;

    /// Puts in order what a holder of that end's lock left behind who died. The caller holds it.
    fn inherit(&self, _end: End) {}

    /// Records were taken, which is published. The caller holds the consumers' lock.
    #[inline]
    fn taken(&self) {}
}

/// A queue all of whose items lie in its ring.
impl<F: Fn() -> Peers> Keeper for F {
    #[inline]
    fn peers(&self) -> Peers {
        self()
    }
}
