//! When the kernel was last asked, so that a crowd of waiters asks once.
//!
//! A stamp is one half of a word, in milliseconds of the monotonic clock, and 0 for never. The other half is free for other use.
//!
//! | state | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | due | never stamped, or long ago | a caller that then asks, by compare-exchange | recent | nobody has asked; the next one asks when it is due again |
//! | recent | | time | due | – |

use crate::primitive::AtomicU64;
#[cfg(not(procshare_loom))]
use crate::primitive::{Ordering, monotonic_millis};

/// Least time between two questions about the same thing, across all callers.
pub(super) const CHECK_EVERY_MS: u32 = 10;

/// Which half of its word a stamp is.
#[derive(Clone, Copy)]
pub(super) enum Half {
    Lower = 0,
    Upper = 32,
}

/// Whether this caller is the one to ask now. A stamp from the future (forged) counts as old.
#[cfg(not(procshare_loom))]
pub(super) fn claim_check(word: &AtomicU64, half: Half, every_ms: u32) -> bool {
    let now = monotonic_millis() as u32;
    let found = word.load(Ordering::Relaxed);
    let last = (found >> half as u32) as u32;
    let recent = last != 0 && now.wrapping_sub(last) < every_ms;
    let rest = found & !(u64::from(u32::MAX) << half as u32);
    let stamped = u64::from(now.max(1)) << half as u32 | rest;
    // Relaxed: the stamp limits a rate and orders nothing.
    !recent
        && word
            .compare_exchange(found, stamped, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

/// A model asks whenever it may: the rate is a matter of cost.
#[cfg(procshare_loom)]
pub(super) fn claim_check(_word: &AtomicU64, _half: Half, _every_ms: u32) -> bool {
    true
}
