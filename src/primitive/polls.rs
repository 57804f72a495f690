//! `Polls`: adaptive spinning: how often to look for a message before sleeping.
//!
//! Looking is free: the line stays in the looker's cache until the other side writes it. So the looker looks after every pause,
//! unlike a waiter for a lock. For how long depends on how the thread's last waits ended.
//!
//! But each look that finds news takes the line from the other side, which must fetch it back to go on. Where one side waits for
//! the other all the time, both get on faster if it lets some more news gather before it takes them; where each message is an
//! answer, there is only ever one. Whether more came meanwhile, and how much, shows which case it is.

use core::cell::Cell;
use core::time::Duration;
use std::sync::OnceLock;

/// Most looks before sleeping: some tens of microseconds, the cost of being woken on an idle core.
const MOST: u32 = 1 << 11;
/// Fewest, where spinning has not paid lately.
const FEWEST: u32 = 1 << 6;
/// A sleep this short was not worth its cost: being put to sleep and woken takes about that long.
const SOON: Duration = Duration::from_micros(100);

/// Most pauses between seeing news and taking them.
const LONGEST_GATHERING: u32 = 1 << 6;

/// After gathering in vain, this many waits do without.
const WAITS_BETWEEN_TRIALS: u32 = 1 << 4;

thread_local! {
    static LIMIT: Cell<u32> = const { Cell::new(MOST) };
    static GATHERING: Cell<u32> = const { Cell::new(0) };
    static NEXT_TRIAL: Cell<u32> = const { Cell::new(0) };
}

/// The looks of one wait.
pub(crate) struct Polls {
    left: u32,
    /// Whether more came while it let news gather.
    gathered: bool,
}

impl Polls {
    pub(crate) fn new() -> Self {
        let left = if runs_alone() { 0 } else { LIMIT.get() };
        Polls { left, gathered: false }
    }

    /// For a call that was woken before there is news, which will come soon.
    pub(crate) fn before_news() -> Self {
        let left = if runs_alone() { 0 } else { MOST };
        Polls { left, gathered: false }
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

    /// Lets more news gather, if that has paid lately. `news` reads the word that shows them.
    #[inline]
    pub(crate) fn gather(&mut self, news: impl Fn() -> u64) {
        let gathering = GATHERING.get();
        if gathering > 0 {
            let before = news();
            (0..gathering).for_each(|_| core::hint::spin_loop());
            self.gathered = news() != before;
        }
    }

    /// Records how long the wait slept after looking, and how much it found in the end, out of how much there can be.
    pub(crate) fn learn(&self, asleep: Duration, found: u64, capacity: u64) {
        let limit = LIMIT.get();
        // News that came soon after all would have been worth some more looks: otherwise two processes that stream would take
        // turns at sleeping.
        LIMIT.set(if asleep <= SOON {
            (limit * 2).min(MOST)
        } else {
            (limit / 2).max(FEWEST)
        });
        if !asleep.is_zero() {
            return;
        }
        let gathering = GATHERING.get();
        if gathering == 0 && NEXT_TRIAL.get() > 0 {
            NEXT_TRIAL.set(NEXT_TRIAL.get() - 1);
            return;
        }
        // One for every other pause, or there was no stream; but not so much that the other side may soon have to wait.
        let is_stream = found >= u64::from(gathering / 2 + 2) && (self.gathered || gathering == 0);
        GATHERING.set(if is_stream && found <= capacity / 4 {
            (gathering * 2 + 2).min(LONGEST_GATHERING)
        } else {
            NEXT_TRIAL.set(WAITS_BETWEEN_TRIALS);
            gathering / 2
        });
    }
}

/// Whether this process may use only one processor: the process waited for cannot run while we look.
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

    fn learn(times: u32, gathered: bool, asleep: Duration, found: u64, capacity: u64) {
        let polls = Polls { left: 0, gathered };
        (0..times).for_each(|_| polls.learn(asleep, found, capacity));
    }

    #[test]
    fn long_sleeps_shorten_the_next_wait_and_short_ones_lengthen_it() {
        learn(20, false, Duration::from_millis(1), 1, 1024);
        let after_long_sleeps = looks_until_sleep();
        learn(20, false, Duration::from_micros(30), 1, 1024);
        let after_short_ones = looks_until_sleep();
        assert!(after_long_sleeps < after_short_ones || runs_alone());
        learn(20, false, Duration::from_millis(1), 1, 1024);
        learn(20, false, Duration::ZERO, 1, 1024);
        assert_eq!(looks_until_sleep(), after_short_ones);
    }

    #[test]
    fn streams_are_let_gather_and_answers_are_not() {
        learn(40, true, Duration::ZERO, 200, 1024);
        assert_eq!(GATHERING.get(), LONGEST_GATHERING);
        // Many at once, but never more of them.
        learn(20, false, Duration::ZERO, 200, 1024);
        assert_eq!(GATHERING.get(), 0);
        learn(100, true, Duration::ZERO, 1, 1024);
        assert_eq!(GATHERING.get(), 0);
        // Gathering would fill all the room there is.
        learn(100, true, Duration::ZERO, 8, 8);
        assert_eq!(GATHERING.get(), 0);
    }

    #[test]
    fn news_that_come_meanwhile_are_noticed() {
        GATHERING.set(4);
        let word = Cell::new(0);
        let mut polls = Polls::new();
        polls.gather(|| word.replace(word.get() + 1));
        assert!(polls.gathered);
        polls.gather(|| word.get());
        assert!(!polls.gathered);
    }
}
