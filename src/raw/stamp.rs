//! `Stamp`: when somebody last asked the kernel, so that a crowd of waiters asks once.

use crate::primitive::AtomicU64;
#[cfg(not(procshare_loom))]
use crate::primitive::{Ordering, monotonic_millis};

/// Least time between two questions about the same thing, whoever asks.
const EVERY_MS: u64 = 10;

/// Milliseconds of the monotonic clock; 0 is never.
#[repr(transparent)]
pub(super) struct Stamp(AtomicU64);

impl Stamp {
    #[cfg(procshare_loom)]
    pub(super) fn new() -> Self {
        Stamp(AtomicU64::new(0))
    }

    /// A model asks whenever it may: the rate is a matter of cost.
    #[cfg(procshare_loom)]
    pub(super) fn is_due(&self) -> bool {
        true
    }

    /// Whether this caller is the one to ask now. A stamp from the future (forged) counts as old.
    #[cfg(not(procshare_loom))]
    pub(super) fn is_due(&self) -> bool {
        let now = monotonic_millis();
        let last = self.0.load(Ordering::Relaxed);
        let recent = last != 0 && now.wrapping_sub(last) < EVERY_MS;
        // Relaxed: the stamp limits a rate and orders nothing.
        !recent
            && self
                .0
                .compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    #[cfg(not(procshare_loom))]
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
