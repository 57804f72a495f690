use super::check;
use crate::primitive::model::{become_owner, futex};
use crate::primitive::{AtomicU64, Ordering, Wait, asymmetric};
use crate::raw::EventCount;
use crate::raw::event_count::{RAISED, Raised};
use loom::thread;
use std::sync::Arc;

/// In `given`: no more will be given.
const CLOSED: u64 = 1 << 16;

/// One thread gives tokens, others take one each, and sleep while there are none.
struct Tokens {
    event_count: EventCount,
    /// How many were given so far: the word that sleepers wait for.
    given: AtomicU64,
    taken: AtomicU64,
}

/// How a party plays its part; the mutants play one of these wrongly.
#[derive(Clone, Copy)]
struct Play {
    ring: fn(&Tokens),
    sleep: fn(&Tokens, u64) -> Wait,
    /// What a taker that has slept does when it ends; it is told whether it sees tokens left.
    leave: fn(&Tokens, bool),
}

const RIGHT: Play = Play {
    ring: |tokens| tokens.event_count.notify(),
    sleep: |tokens, seen| {
        tokens
            .event_count
            .sleep(&tokens.given, seen, &mut Raised::default(), None)
    },
    leave: |tokens, _| tokens.event_count.wake(),
};

impl Tokens {
    fn new() -> Arc<Self> {
        Arc::new(Tokens {
            event_count: EventCount::new(),
            given: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        })
    }

    fn give(&self, play: Play) {
        self.given.fetch_add(1, Ordering::Release);
        (play.ring)(self);
    }

    /// Takes one, or sees that none will come.
    fn take(&self, play: Play) {
        let mut slept = false;
        loop {
            let given = self.given.load(Ordering::Acquire);
            let taken = self.taken.load(Ordering::Acquire);
            if taken < given & !CLOSED {
                if self
                    .taken
                    .compare_exchange(taken, taken + 1, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
                {
                    if slept {
                        (play.leave)(self, taken + 1 < given);
                    }
                    return;
                }
            } else if given & CLOSED != 0 {
                return;
            } else {
                slept = true;
                (play.sleep)(self, given);
            }
        }
    }
}

/// One thread gives as many tokens as the `takers` take in total, `each` of them several.
fn give_and_take(preemptions: usize, takers: u32, each: usize, play: Play) {
    check(preemptions, move || {
        let tokens = Tokens::new();
        let takers: Vec<_> = (0..takers)
            .map(|_| {
                let tokens = tokens.clone();
                thread::spawn(move || (0..each).for_each(|_| tokens.take(play)))
            })
            .collect();
        become_owner(1);
        for _ in 0..takers.len() * each {
            tokens.give(play);
        }
        for taker in takers {
            taker.join().expect("the model thread ends");
        }
    });
}

#[test]
fn loom_event_count_wakes_one_sleeper_each_time() {
    give_and_take(4, 1, 2, RIGHT);
}

#[test]
fn loom_event_count_wakes_two_sleepers() {
    give_and_take(2, 2, 1, RIGHT);
}

#[test]
#[should_panic]
fn loom_mutant_ringing_without_a_fence_loses_the_wake_up() {
    let ring = |tokens: &Tokens| {
        if tokens.event_count.word.load(Ordering::Relaxed) & RAISED != 0 {
            tokens.event_count.wake();
        }
    };
    give_and_take(3, 1, 1, Play { ring, ..RIGHT });
}

/// Falls asleep as it should, except for what the parameters leave out.
fn sleep_without(tokens: &Tokens, seen: u64, fence: bool, raise_again: bool) -> Wait {
    let event_count = tokens.event_count.word.fetch_or(RAISED, Ordering::Relaxed) | RAISED;
    if fence {
        asymmetric::heavy();
    }
    if tokens.given.load(Ordering::Relaxed) != seen {
        return Wait::Changed;
    }
    let ending = futex::wait(&tokens.event_count.word, event_count as u32, None);
    if raise_again {
        tokens.event_count.word.fetch_or(RAISED, Ordering::Relaxed);
    }
    ending
}

#[test]
#[should_panic]
fn loom_mutant_sleeping_without_a_fence_loses_the_wake_up() {
    let sleep = |tokens: &Tokens, seen| sleep_without(tokens, seen, false, true);
    give_and_take(3, 1, 1, Play { sleep, ..RIGHT });
}

/// B2 broken.
#[test]
#[should_panic]
fn loom_mutant_not_raising_the_flag_again_strands_the_second_sleeper() {
    let sleep = |tokens: &Tokens, seen| sleep_without(tokens, seen, true, false);
    give_and_take(2, 2, 1, Play { sleep, ..RIGHT });
}

/// B3 broken.
#[test]
#[should_panic]
fn loom_mutant_passing_nothing_on_strands_the_second_sleeper() {
    let leave = |_: &Tokens, _| ();
    give_and_take(2, 2, 1, Play { leave, ..RIGHT });
}

/// B3 broken: tokens seen are not all there are, unless there is a fence between raising the flag and looking.
#[test]
#[should_panic]
fn loom_mutant_passing_on_only_what_is_seen_strands_the_second_sleeper() {
    let leave = |tokens: &Tokens, more| {
        if more {
            tokens.event_count.wake();
        }
    };
    give_and_take(2, 2, 1, Play { leave, ..RIGHT });
}

/// Sleeps on the word, and so does not notice that its flag was taken down for a change it has already seen.
#[test]
#[should_panic]
fn loom_mutant_sleeping_on_the_word_loses_the_wake_up() {
    let ring = |tokens: &Tokens| {
        asymmetric::light();
        let is_up = tokens.event_count.word.load(Ordering::Relaxed) != 0;
        if is_up && tokens.event_count.word.swap(0, Ordering::Relaxed) != 0 {
            futex::wake(&tokens.given, 1);
        }
    };
    let sleep = |tokens: &Tokens, seen: u64| {
        tokens.event_count.word.store(RAISED, Ordering::Relaxed);
        asymmetric::heavy();
        futex::wait(&tokens.given, seen as u32, None)
    };
    let leave = |_: &Tokens, _| ();
    give_and_take(3, 1, 2, Play { ring, sleep, leave });
}

/// One token, two takers: the one that goes without is told when nothing more comes.
fn give_one_and_close(wake_all: fn(&Tokens)) {
    check(2, move || {
        let tokens = Tokens::new();
        let takers = [(), ()].map(|()| {
            let tokens = tokens.clone();
            // The first to leave wakes nobody, so that the second depends on being told.
            let leave = |_: &Tokens, _| ();
            thread::spawn(move || tokens.take(Play { leave, ..RIGHT }))
        });
        become_owner(1);
        tokens.give(RIGHT);
        tokens.given.fetch_or(CLOSED, Ordering::Release);
        wake_all(&tokens);
        for taker in takers {
            taker.join().expect("the model thread ends");
        }
    });
}

#[test]
fn loom_event_count_wakes_all() {
    give_one_and_close(|tokens| tokens.event_count.wake_all());
}

#[test]
#[should_panic]
fn loom_mutant_waking_all_only_where_the_flag_is_up_strands_a_sleeper() {
    give_one_and_close(|tokens| {
        asymmetric::light();
        if tokens.event_count.word.load(Ordering::Relaxed) & RAISED != 0 {
            tokens.event_count.wake_all();
        }
    });
}
