//! `Backoff`: how long to spin before sleeping.
//!
//! A waiter whose owner is running on another core gets the lock within nanoseconds, and going to sleep would cost it
//! microseconds; one whose owner is not running burns its own time slice for nothing. Which of the two it is shows
//! only afterwards, so each thread remembers how its last waits ended and spins longer or shorter next time.

use core::cell::Cell;

/// Most pauses before sleeping.
const MOST: u32 = 1 << 12;
/// Fewest: even the unlucky try a little, or they would never learn that times have changed.
const FEWEST: u32 = 1 << 5;
/// Pauses between two looks at the word, at most: each look takes the cache line from the owner.
const LONGEST_STEP: u32 = 1 << 7;

thread_local! {
    static LIMIT: Cell<u32> = const { Cell::new(MOST) };
}

/// One wait's worth of spinning.
pub(crate) struct Backoff {
    left: u32,
    step: u32,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff {
            left: LIMIT.get(),
            step: 4,
        }
    }

    /// Pauses, longer each time; returns false once sleeping is the better idea.
    pub(crate) fn spin(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let pauses = self.step.min(self.left);
        for _ in 0..pauses {
            core::hint::spin_loop();
        }
        self.left -= pauses;
        self.step = (self.step * 2).min(LONGEST_STEP);
        true
    }

    /// Records that the lock came while spinning (`true`) or only after sleeping.
    pub(crate) fn learn(&self, while_spinning: bool) {
        let limit = LIMIT.get();
        LIMIT.set(if while_spinning {
            (limit + limit / 4).min(MOST)
        } else {
            (limit / 2).max(FEWEST)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses_until_sleep() -> u32 {
        let mut backoff = Backoff::new();
        (0..).take_while(|_| backoff.spin()).count() as u32
    }

    #[test]
    fn failures_shorten_and_successes_lengthen_the_wait() {
        let before = pauses_until_sleep();
        (0..20).for_each(|_| Backoff::new().learn(false));
        let after_failures = pauses_until_sleep();
        (0..40).for_each(|_| Backoff::new().learn(true));
        assert!(after_failures < before, "{after_failures} < {before}");
        assert_eq!(pauses_until_sleep(), before);
    }
}
