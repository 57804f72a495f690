//! `Polls`: how often to look for a message before sleeping.
//!
//! Looking costs nobody anything: the line stays in the looker's cache until the other side writes it. So it looks
//! after every pause, unlike a waiter for a lock. How long depends on how the thread's last waits ended.

use core::cell::Cell;
use std::sync::OnceLock;

/// Most looks before sleeping: some tens of microseconds, what it costs to be woken on a core that idles.
const MOST: u32 = 1 << 11;
/// Fewest, where spinning has not paid lately.
const FEWEST: u32 = 1 << 6;

thread_local! {
    static LIMIT: Cell<u32> = const { Cell::new(MOST) };
}

/// The looks of one wait.
pub(crate) struct Polls {
    left: u32,
}

impl Polls {
    pub(crate) fn new() -> Self {
        let left = if runs_alone() { 0 } else { LIMIT.get() };
        Polls { left }
    }

    /// Pauses before the next look; returns false once sleeping is the better idea.
    #[inline]
    pub(crate) fn spin(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        core::hint::spin_loop();
        true
    }

    /// Records whether what was waited for came while looking, or only after sleeping.
    pub(crate) fn learn(while_looking: bool) {
        let limit = LIMIT.get();
        LIMIT.set(if while_looking {
            (limit * 2).min(MOST)
        } else {
            (limit / 2).max(FEWEST)
        });
    }
}

/// Whether this process may use one processor only: whoever is waited for cannot run while we look.
fn runs_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_until_sleep() -> usize {
        let mut polls = Polls::new();
        (0..).take_while(|_| polls.spin()).count()
    }

    #[test]
    fn waits_that_end_asleep_shorten_the_next() {
        (0..20).for_each(|_| Polls::learn(false));
        let after_sleeping = looks_until_sleep();
        (0..20).for_each(|_| Polls::learn(true));
        assert!(after_sleeping < looks_until_sleep() || runs_alone());
    }
}
