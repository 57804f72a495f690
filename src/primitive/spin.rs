//! `Spin`: how long to look again and again before sleeping, and how often.
//!
//! A waiter whose peer is running on another core gets what it waits for within nanoseconds, and going to sleep would cost it
//! microseconds; one whose peer is not running burns its own time slice for nothing. Which case it is becomes clear only
//! afterwards, so each thread remembers how its last waits ended and spins longer or shorter next time.
//!
//! | policy | each look | so the waiter looks |
//! |---|---|---|
//! | `Lock` | takes the cache line from the owner, which needs it to go on | after more pauses each time |
//! | `Messages` | is free: the line stays in the looker's cache until the other side writes it | after every pause |
//!
//! A waiter that sees others pass all the time is at a lock under constant contention: there all threads get on faster if each
//! passes many times while the rest keep away, so the waiter looks later next time. Anywhere else an early look is best.
//!
//! A look that finds messages does take the line from the other side, which must fetch it back to go on. Where one side waits
//! for the other all the time, both get on faster if it lets some more news accumulate before it takes them; where each message is
//! an answer, there is only ever one. Whether more came meanwhile, and how much, shows which case it is.

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;

/// What a call spins for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Lock,
    Messages,
}

impl Policy {
    /// Most nanoseconds before sleeping: some tens of microseconds, the cost of being woken on an idle core.
    const fn most(self) -> u32 {
        match self {
            Policy::Lock => 40_960,
            Policy::Messages => 25_600,
        }
    }

    /// Fewest, where spinning has not paid lately.
    const fn fewest(self) -> u32 {
        match self {
            Policy::Lock => 2560, // About the cost of sleeping and being woken.
            Policy::Messages => 800,
        }
    }

    /// How many pauses that is, at 10 ns for a pause and 12.5 for one with a look: what they take on common processors. Not
    /// measured here: one measure, taken on a core that is slow at that moment, would be wrong for the life of the process.
    const fn pauses_in(self, nanoseconds: u32) -> u32 {
        match self {
            Policy::Lock => nanoseconds / 10,
            Policy::Messages => nanoseconds * 2 / 25,
        }
    }
}

/// Pauses before the first look at a lock: least and most.
const EARLIEST: u32 = 1 << 1;
const LATEST: u32 = 1 << 6;
/// Pauses between two looks at a lock, at most.
const LONGEST_STEP: u32 = 1 << 7;
/// A lock counts as contended if it changes hands at least once in this many pauses.
const PAUSES_A_PASS: u64 = 4;

/// A sleep this short was not worth its cost: being put to sleep and woken takes about that long.
const SOON: Duration = Duration::from_micros(100);
/// Most pauses between seeing news and taking them.
const LONGEST_GATHERING: u32 = 1 << 6;
/// After gathering in vain, this many waits do without.
const WAITS_BETWEEN_TRIALS: u32 = 1 << 4;

thread_local! {
    /// Nanoseconds before sleeping, for each policy.
    static LIMIT: [Cell<u32>; 2] = const { [Cell::new(Policy::Lock.most()), Cell::new(Policy::Messages.most())] };
    static FIRST: Cell<u32> = const { Cell::new(EARLIEST) };
    static GATHERING: Cell<u32> = const { Cell::new(0) };
    static NEXT_TRIAL: Cell<u32> = const { Cell::new(0) };
}

/// One wait's worth of spinning.
pub(crate) struct Spin {
    policy: Policy,
    /// Pauses before sleeping.
    left: u32,
    /// Pauses before the next look at a lock.
    step: u32,
    paused: u32,
    /// Whether more came while it let news accumulate.
    gathered: bool,
}

impl Spin {
    pub(crate) fn new(policy: Policy) -> Self {
        Self::lasting(policy, LIMIT.with(|limits| limits[policy as usize].get()))
    }

    fn lasting(policy: Policy, nanoseconds: u32) -> Self {
        let in_vain = policy == Policy::Messages && runs_alone();
        Spin {
            policy,
            left: if in_vain { 0 } else { policy.pauses_in(nanoseconds) },
            step: FIRST.get(),
            paused: 0,
            gathered: false,
        }
    }

    /// The call was woken before there was news, which will come soon.
    pub(crate) fn woken_in_vain(&mut self) {
        if self.policy == Policy::Messages {
            *self = Self::lasting(self.policy, self.policy.most());
        }
    }

    /// Spins until it is time to look again, as `word`, when it is no longer `seen`, may show; returns false once sleeping is
    /// the better idea.
    #[inline]
    pub(crate) fn turn(&mut self, seen: u64, word: impl Fn() -> u64) -> bool {
        match self.policy {
            Policy::Lock => self.pause(),
            Policy::Messages => self.poll(seen, word),
        }
    }

    /// Pauses before the next look, longer each time; returns false once sleeping is the better idea.
    pub(crate) fn pause(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let pauses = self.step.min(self.left);
        pause(pauses);
        self.left -= pauses;
        self.paused += pauses;
        self.step = (self.step * 2).min(LONGEST_STEP);
        true
    }

    #[inline]
    fn poll(&mut self, seen: u64, word: impl Fn() -> u64) -> bool {
        for left in (0..self.left).rev() {
            pause(1);
            if word() != seen {
                self.left = left;
                self.let_accumulate(word);
                return true;
            }
        }
        self.left = 0;
        false
    }

    /// Lets more news accumulate, if that has paid lately.
    #[inline]
    fn let_accumulate(&mut self, word: impl Fn() -> u64) {
        let gathering = GATHERING.get();
        if gathering > 0 {
            let before = word();
            pause(gathering);
            self.gathered = word() != before;
        }
    }

    /// Records whether a lock came only after sleeping, and how often others passed meanwhile.
    pub(crate) fn learn_of_lock(&self, slept: bool, passes: u64) {
        if slept {
            remember(Policy::Lock, |limit| limit / 2);
            return;
        }
        remember(Policy::Lock, |limit| limit + limit / 4);
        let first = FIRST.get();
        FIRST.set(
            if passes.saturating_mul(PAUSES_A_PASS) >= u64::from(self.paused).max(1) {
                (first * 2).min(LATEST)
            } else {
                (first / 2).max(EARLIEST)
            },
        );
    }

    /// Records how long the wait slept after looking, and how much it found in the end, out of how much there can be.
    pub(crate) fn learn_of_messages(&self, asleep: Duration, found: u64, capacity: u64) {
        // News that came soon after all would have been worth some more looks: otherwise two processes that stream would take
        // turns at sleeping.
        remember(
            Policy::Messages,
            |limit| if asleep <= SOON { limit * 2 } else { limit / 2 },
        );
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

/// Changes how long this thread spins.
fn remember(policy: Policy, change: impl Fn(u32) -> u32) {
    LIMIT.with(|limits| {
        let limit = &limits[policy as usize];
        limit.set(change(limit.get()).clamp(policy.fewest(), policy.most()));
    });
}

#[inline]
fn pause(times: u32) {
    (0..times).for_each(|_| core::hint::spin_loop());
}

/// Whether this process may use only one processor: the process waited for cannot run while we look.
fn runs_alone() -> bool {
    /// How many processors, 2 for more; 0 until it is known. No `OnceLock`: a fork while another thread asks would leave the copy
    /// waiting for that thread.
    static PROCESSORS: AtomicU8 = AtomicU8::new(0);

    // Relaxed, twice: any thread's answer will do.
    let mut processors = PROCESSORS.load(Ordering::Relaxed);
    if processors == 0 {
        processors = std::thread::available_parallelism().map_or(2, |processors| processors.get().min(2) as u8);
        PROCESSORS.store(processors, Ordering::Relaxed);
    }
    processors == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses_until_sleep(policy: Policy) -> u32 {
        Spin::new(policy).left
    }

    fn learn(times: u32, gathered: bool, asleep: Duration, found: u64, capacity: u64) {
        let mut spin = Spin::new(Policy::Messages);
        spin.gathered = gathered;
        (0..times).for_each(|_| spin.learn_of_messages(asleep, found, capacity));
    }

    #[test]
    fn it_ends_after_as_many_pauses_as_it_has() {
        let mut spin = Spin::new(Policy::Lock);
        let expected = spin.left;
        assert!((0..).take_while(|_| spin.turn(0, || 0)).count() > 1);
        assert_eq!((spin.paused, spin.left), (expected, 0));
        assert!(!Spin::new(Policy::Messages).turn(0, || 0));
        assert!(Spin::new(Policy::Messages).turn(0, || 1) || runs_alone());
    }

    #[test]
    fn failures_shorten_and_successes_lengthen_the_wait_for_a_lock() {
        let before = pauses_until_sleep(Policy::Lock);
        (0..20).for_each(|_| Spin::new(Policy::Lock).learn_of_lock(true, 0));
        let after_failures = pauses_until_sleep(Policy::Lock);
        (0..40).for_each(|_| Spin::new(Policy::Lock).learn_of_lock(false, 0));
        assert!(after_failures < before, "{after_failures} < {before}");
        assert_eq!(pauses_until_sleep(Policy::Lock), before);
    }

    #[test]
    fn a_lock_fought_over_is_looked_at_later() {
        let mut spin = Spin::new(Policy::Lock);
        assert!(spin.pause());
        (0..20).for_each(|_| spin.learn_of_lock(false, 100));
        assert_eq!(Spin::new(Policy::Lock).step, LATEST);
        (0..20).for_each(|_| spin.learn_of_lock(false, 0));
        assert_eq!(Spin::new(Policy::Lock).step, EARLIEST);
    }

    #[test]
    fn long_sleeps_shorten_the_next_wait_and_short_ones_lengthen_it() {
        learn(20, false, Duration::from_millis(1), 1, 1024);
        let after_long_sleeps = pauses_until_sleep(Policy::Messages);
        learn(20, false, Duration::from_micros(30), 1, 1024);
        let after_short_ones = pauses_until_sleep(Policy::Messages);
        assert!(after_long_sleeps < after_short_ones || runs_alone());
        learn(20, false, Duration::from_millis(1), 1, 1024);
        learn(20, false, Duration::ZERO, 1, 1024);
        assert_eq!(pauses_until_sleep(Policy::Messages), after_short_ones);
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
        let mut spin = Spin::new(Policy::Messages);
        spin.let_accumulate(|| word.replace(word.get() + 1));
        assert!(spin.gathered);
        spin.let_accumulate(|| word.get());
        assert!(!spin.gathered);
    }
}
