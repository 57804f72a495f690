use super::{check, lives, process};
use crate::primitive::model::{become_owner, declare_dead, futex};
use crate::primitive::{AtomicU64, Deadline, Ordering, Policy, Wait, asymmetric};
use crate::raw::EventCount;
use crate::raw::event_count::{RAISED, Raised};
use crate::raw::wait::{Awaited, Late, Turn, Waiter};
use core::time::Duration;
use loom::cell::UnsafeCell;
use std::sync::Arc;

const OPENER: u32 = 1;

/// The simplest thing to wait for: one process writes a number and opens, others wait until it is open and read the number.
struct Gate {
    event_count: EventCount,
    open: AtomicU64,
    number: UnsafeCell<u32>,
}

// SAFETY: the number is written before the gate opens and read afterwards, which loom checks.
unsafe impl Sync for Gate {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Gate {}

/// How a call waits; the mutants do one of these wrongly.
#[derive(Clone, Copy)]
struct Play {
    look: Ordering,
    sleep: fn(&Gate, u64, &mut Raised) -> Wait,
    asks: bool,
    looks_again: bool,
    wakes_the_next: bool,
}

const RIGHT: Play = Play {
    look: Ordering::Acquire,
    sleep: |gate, seen, raised| gate.event_count.sleep(&gate.open, seen, raised, None),
    asks: true,
    looks_again: true,
    wakes_the_next: true,
};

/// A gate, and how the call waits at it.
struct AtGate<'a>(&'a Gate, Play);

impl Awaited for AtGate<'_> {
    const POLICY: Policy = Policy::Messages;

    fn place(&self) -> (&AtomicU64, &EventCount) {
        (&self.0.open, &self.0.event_count)
    }

    fn sleep(&self, seen: u64, raised: &mut Raised, _slice: Duration) -> Wait {
        (self.1.sleep)(self.0, seen, raised)
    }

    fn next_slice(slice: Duration, _ending: Wait) -> Duration {
        slice
    }

    fn is_forsaken(&self, _seen: u64, _still: Duration) -> bool {
        self.1.asks && !lives(OPENER)
    }
}

/// Why a call did not get through.
#[derive(Debug, PartialEq, Eq)]
enum Shut {
    Gone,
    WouldBlock,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Gate {
            event_count: EventCount::new(),
            open: AtomicU64::new(0),
            number: UnsafeCell::new(0),
        })
    }

    fn open_silently(&self) {
        // SAFETY: loom's cell checks that nobody else has access meanwhile.
        self.number.with_mut(|number| unsafe { *number = 11 });
        self.open.store(1, Ordering::Release);
    }

    fn open(&self) {
        self.open_silently();
        self.event_count.notify();
    }

    fn pass(&self, play: Play, deadline: Deadline) -> Result<u32, Shut> {
        let mut waiter = Waiter::new(deadline);
        let outcome = self.pass_awake(play, &mut waiter);
        if waiter.slept && play.wakes_the_next {
            self.event_count.wake();
        }
        outcome
    }

    fn pass_awake(&self, play: Play, waiter: &mut Waiter) -> Result<u32, Shut> {
        let mut forsaken = false;
        loop {
            let seen = self.open.load(play.look);
            if seen != 0 {
                // SAFETY: loom's cell checks that nobody writes meanwhile.
                return Ok(self.number.with(|number| unsafe { *number }));
            }
            if forsaken {
                return Err(Shut::Gone);
            }
            forsaken = match waiter.until_moved(&AtGate(self, play), seen) {
                Ok(turn) => turn == Turn::Forsaken,
                Err(Late::WouldBlock) => return Err(Shut::WouldBlock),
                Err(Late::TimedOut) => unreachable!("a model has no clock"),
            };
            if forsaken && !play.looks_again {
                return Err(Shut::Gone);
            }
        }
    }
}

/// One opens, and so many pass.
fn all_pass(waiters: u32, preemptions: usize, play: Play) {
    check(preemptions, move || {
        let gate = Gate::new();
        let others: Vec<_> = (2..=waiters)
            .map(|pid| process(&gate, pid, move |gate| gate.pass(play, Deadline::Never)))
            .collect();
        let opener = process(&gate, OPENER, Gate::open);
        become_owner(9);
        assert_eq!(gate.pass(play, Deadline::Never), Ok(11));
        opener.join().expect("the model thread ends");
        for other in others {
            assert_eq!(other.join().expect("the model thread ends"), Ok(11));
        }
    });
}

#[test]
fn loom_wait_sees_what_was_done_before_the_word_moved() {
    all_pass(1, 4, RIGHT);
}

#[test]
fn loom_wait_of_two_is_ended_by_one_notification() {
    all_pass(2, 3, RIGHT);
}

#[test]
#[should_panic]
fn loom_mutant_wait_with_a_relaxed_look_reads_too_early() {
    let look = Ordering::Relaxed;
    all_pass(1, 4, Play { look, ..RIGHT });
}

/// W5 broken.
#[test]
#[should_panic]
fn loom_mutant_wait_that_wakes_nobody_strands_the_second() {
    let wakes_the_next = false;
    all_pass(
        2,
        3,
        Play {
            wakes_the_next,
            ..RIGHT
        },
    );
}

/// W1 broken: nobody knows of the sleeper.
#[test]
#[should_panic]
fn loom_mutant_wait_without_the_flag_sleeps_for_ever() {
    let sleep = |gate: &Gate, _: u64, _: &mut Raised| {
        let event_count = gate.event_count.word.load(Ordering::Relaxed);
        futex::wait(&gate.event_count.word, event_count as u32, None)
    };
    all_pass(1, 4, Play { sleep, ..RIGHT });
}

/// W1 broken: looks at the word first, and raises the flag then.
#[test]
#[should_panic]
fn loom_mutant_wait_that_looks_before_the_flag_sleeps_through_the_change() {
    let sleep = |gate: &Gate, seen: u64, _: &mut Raised| {
        if gate.open.load(Ordering::Relaxed) != seen {
            return Wait::Changed;
        }
        let event_count = gate.event_count.word.fetch_or(RAISED, Ordering::Relaxed) | RAISED;
        asymmetric::heavy();
        futex::wait(&gate.event_count.word, event_count as u32, None)
    };
    all_pass(1, 4, Play { sleep, ..RIGHT });
}

/// The opener dies without opening.
fn opener_dies(play: Play) {
    check(3, move || {
        let gate = Gate::new();
        let opener = process(&gate, OPENER, |_| declare_dead(OPENER));
        become_owner(9);
        assert_eq!(gate.pass(play, Deadline::Never), Err(Shut::Gone));
        opener.join().expect("the model thread ends");
    });
}

#[test]
fn loom_wait_ends_when_nobody_is_left() {
    opener_dies(RIGHT);
}

/// W3 broken.
#[test]
#[should_panic]
fn loom_mutant_wait_that_asks_about_nobody_hangs() {
    let asks = false;
    opener_dies(Play { asks, ..RIGHT });
}

/// The opener wakes the others too early, opens, and dies before it rings.
fn opener_dies_after_opening(play: Play) {
    check(3, move || {
        let gate = Gate::new();
        let opener = process(&gate, OPENER, |gate| {
            gate.event_count.notify();
            gate.open_silently();
            declare_dead(OPENER);
        });
        become_owner(9);
        assert_eq!(gate.pass(play, Deadline::Never), Ok(11));
        opener.join().expect("the model thread ends");
    });
}

#[test]
fn loom_wait_gets_what_the_dead_have_left() {
    opener_dies_after_opening(RIGHT);
}

/// W4 broken.
#[test]
#[should_panic]
fn loom_mutant_wait_that_believes_at_once_misses_what_the_dead_have_left() {
    let looks_again = false;
    opener_dies_after_opening(Play { looks_again, ..RIGHT });
}

/// One of two is woken, and dies: the other gets through all the same.
#[test]
fn loom_wait_outlasts_a_wake_up_lost_with_its_receiver() {
    check(3, || {
        let gate = Gate::new();
        let dying = process(&gate, 2, |gate| {
            if gate.open.load(Ordering::Acquire) == 0 {
                gate.event_count.sleep(&gate.open, 0, &mut Raised::default(), None);
            }
            declare_dead(2);
        });
        let opener = process(&gate, OPENER, Gate::open);
        become_owner(9);
        assert_eq!(gate.pass(RIGHT, Deadline::Never), Ok(11));
        opener.join().expect("the model thread ends");
        dying.join().expect("the model thread ends");
    });
}

/// A call that may not wait asks before it gives up.
#[test]
fn loom_wait_of_no_time_tells_a_dead_peer_from_a_slow_one() {
    check(3, || {
        let gate = Gate::new();
        let opener = process(&gate, OPENER, |_| declare_dead(OPENER));
        become_owner(9);
        let outcome = gate.pass(RIGHT, Deadline::Now);
        assert!(matches!(outcome, Err(Shut::WouldBlock | Shut::Gone)), "{outcome:?}");
        opener.join().expect("the model thread ends");
        assert_eq!(gate.pass(RIGHT, Deadline::Now), Err(Shut::Gone));
    });
}
