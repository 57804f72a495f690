//! `Backoff`: how long to spin before sleeping, and how often to look meanwhile.
//!
//! A waiter whose owner is running on another core gets the lock within nanoseconds, and going to sleep would cost it
//! microseconds; one whose owner is not running burns its own time slice for nothing. Which case it is becomes clear only
//! afterwards, so each thread remembers how its last waits ended and spins longer or shorter next time.
//!
//! Each look takes the cache line from the owner, which needs it to go on. A waiter that sees others pass all the time is at a
//! lock under constant contention: there all threads get on faster if each passes many times while the rest keep away, so the
//! waiter looks later next time. Anywhere else an early look is best.

use core::cell::Cell;

/// Most pauses before sleeping.
const MOST: u32 = 1 << 12;
/// Fewest: about the cost of sleeping and being woken.
const FEWEST: u32 = 1 << 8;
/// Pauses before the first look: least and most.
const EARLIEST: u32 = 1 << 1;
const LATEST: u32 = 1 << 6;
/// A lock counts as contended if it changes hands at least once in this many pauses.
const PAUSES_A_PASS: u64 = 4;
/// Pauses between two looks, at most.
const LONGEST_STEP: u32 = 1 << 7;

thread_local! {
    static LIMIT: Cell<u32> = const { Cell::new(MOST) };
    static FIRST: Cell<u32> = const { Cell::new(EARLIEST) };
}

/// One wait's worth of spinning.
pub(crate) struct Backoff {
    left: u32,
    step: u32,
    paused: u32,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff {
            left: LIMIT.get(),
            step: FIRST.get(),
            paused: 0,
        }
    }

    /// Pauses before the next look, longer each time; returns false once sleeping is the better idea.
    pub(crate) fn spin(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let pauses = self.step.min(self.left);
        for _ in 0..pauses {
            core::hint::spin_loop();
        }
        self.left -= pauses;
        self.paused += pauses;
        self.step = (self.step * 2).min(LONGEST_STEP);
        true
    }

    /// Records that the lock came while spinning (`true`) or only after sleeping, and how often others passed meanwhile.
    pub(crate) fn learn(&self, while_spinning: bool, passes: u64) {
        let (limit, first) = (LIMIT.get(), FIRST.get());
        if !while_spinning {
            LIMIT.set((limit / 2).max(FEWEST));
            return;
        }
        LIMIT.set((limit + limit / 4).min(MOST));
        FIRST.set(
            if passes.saturating_mul(PAUSES_A_PASS) >= u64::from(self.paused).max(1) {
                (first * 2).min(LATEST)
            } else {
                (first / 2).max(EARLIEST)
            },
        );
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
        (0..20).for_each(|_| Backoff::new().learn(false, 0));
        let after_failures = pauses_until_sleep();
        (0..40).for_each(|_| Backoff::new().learn(true, 0));
        assert!(after_failures < before, "{after_failures} < {before}");
        assert_eq!(pauses_until_sleep(), before);
    }

    #[test]
    fn a_lock_fought_over_is_looked_at_later() {
        let mut backoff = Backoff::new();
        assert!(backoff.spin());
        (0..20).for_each(|_| backoff.learn(true, 100));
        assert_eq!(Backoff::new().step, LATEST);
        (0..20).for_each(|_| backoff.learn(true, 0));
        assert_eq!(Backoff::new().step, EARLIEST);
    }
}
