use super::{check, lock};
use crate::primitive::model::{become_owner, declare_dead, futex};
use crate::primitive::owner::INCONSISTENT;
use crate::primitive::{Deadline, Ordering, OwnerId, Peers, Wait, asymmetric, current_owner};
use crate::raw::event_count::{RAISED, Raised};
use crate::raw::{Held, RawMutex, Refused};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

/// A lock and a number only its owner may touch; loom reports any two accesses not ordered by the lock.
struct Guarded {
    mutex: RawMutex,
    number: UnsafeCell<u32>,
}

// SAFETY: the number is touched by the lock's owner only, which loom checks.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Guarded {
            mutex: RawMutex::new(),
            number: UnsafeCell::new(0),
        })
    }

    fn add_one(&self) {
        // SAFETY: loom's cell checks that nobody else has access meanwhile.
        self.number.with_mut(|number| unsafe { *number += 1 });
    }

    fn number(&self) -> u32 {
        // SAFETY: loom's cell checks that nobody writes meanwhile.
        self.number.with(|number| unsafe { *number })
    }
}

fn increments(threads: u32, preemptions: usize, unlock: fn(&RawMutex, Held), lock: fn(&RawMutex) -> Held) {
    check(preemptions, move || {
        let guarded = Guarded::new();
        let others: Vec<_> = (1..threads)
            .map(|pid| {
                let guarded = guarded.clone();
                thread::spawn(move || {
                    become_owner(pid);
                    let held = lock(&guarded.mutex);
                    guarded.add_one();
                    unlock(&guarded.mutex, held);
                })
            })
            .collect();
        become_owner(threads);
        let held = lock(&guarded.mutex);
        guarded.add_one();
        unlock(&guarded.mutex, held);
        for other in others {
            other.join().expect("the model thread ends");
        }
        let held = lock(&guarded.mutex);
        assert!(!held.inconsistent);
        assert_eq!(guarded.number(), threads);
        unlock(&guarded.mutex, held);
    });
}

fn unlock(mutex: &RawMutex, held: Held) {
    mutex.unlock(held.owner);
}

#[test]
fn loom_mutex_two_threads_exclude_each_other() {
    increments(2, 4, unlock, lock);
}

#[test]
fn loom_mutex_three_threads_exclude_each_other_and_all_get_in() {
    increments(3, 2, unlock, lock);
}

#[test]
#[should_panic]
fn loom_mutant_unlock_that_wakes_nobody_strands_a_sleeper() {
    increments(2, 4, |mutex, _| mutex.word.store(0, Ordering::Release), lock);
}

#[test]
#[should_panic]
fn loom_mutant_unlock_without_release_loses_the_data() {
    let relaxed = |mutex: &RawMutex, _| {
        mutex.word.store(0, Ordering::Relaxed);
        mutex.event_count.notify();
    };
    increments(2, 4, relaxed, lock);
}

#[test]
#[should_panic]
fn loom_mutant_unlock_that_looks_for_sleepers_first_strands_one() {
    let hasty = |mutex: &RawMutex, held: Held| {
        let is_raised = mutex.event_count.word.load(Ordering::Relaxed) & RAISED != 0;
        if is_raised {
            mutex.unlock(held.owner);
        } else {
            mutex.word.store(0, Ordering::Release);
        }
    };
    increments(2, 4, hasty, lock);
}

/// M3 broken: does not raise the event count again after being woken.
fn lock_forgetting_sleepers(mutex: &RawMutex) -> Held {
    let owner = current_owner().expect("said who it is");
    let mut has_raised = false;
    loop {
        match mutex
            .word
            .compare_exchange(0, owner.word(), Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => {
                return Held {
                    owner,
                    inconsistent: false,
                };
            }
            Err(word) => {
                let event_count = if has_raised {
                    mutex.event_count.word.load(Ordering::Relaxed)
                } else {
                    mutex.event_count.word.fetch_or(RAISED, Ordering::Relaxed) | RAISED
                };
                asymmetric::heavy();
                if mutex.word.load(Ordering::Relaxed) == word {
                    let ending = futex::wait(&mutex.event_count.word, event_count as u32, None);
                    has_raised = ending == Wait::Woken;
                }
                thread::yield_now();
            }
        }
    }
}

#[test]
#[should_panic]
fn loom_mutant_waking_up_without_marking_strands_the_third() {
    increments(3, 3, unlock, lock_forgetting_sleepers);
}

/// Thread 1 dies holding the lock; thread 2 gets it all the same, and is told.
fn owner_dies(announce: bool) {
    check(3, move || {
        let guarded = Guarded::new();
        let dying = {
            let guarded = guarded.clone();
            thread::spawn(move || {
                become_owner(1);
                let _held = lock(&guarded.mutex);
                guarded.add_one();
                if announce {
                    declare_dead(1);
                }
            })
        };
        become_owner(2);
        let held = lock(&guarded.mutex);
        let told = held.inconsistent;
        assert_eq!(
            told,
            guarded.number() == 1,
            "told of a death exactly when it died inside"
        );
        guarded.mutex.mark_consistent();
        unlock(&guarded.mutex, held);
        dying.join().expect("the model thread ends");
    });
}

#[test]
fn loom_mutex_owner_dies_and_the_waiter_takes_over() {
    // The dying thread may come second: then it dies holding a lock nobody waits for any more.
    owner_dies(true);
}

#[test]
#[should_panic]
fn loom_mutant_death_never_noticed_hangs() {
    owner_dies(false);
}

/// Two survivors race for the lock of a dead owner; only one may take it over, and both get in.
#[test]
fn loom_mutex_two_survivors_of_a_dead_owner_exclude_each_other() {
    check(2, || {
        let guarded = Guarded::new();
        become_owner(1);
        let _held = lock(&guarded.mutex);
        declare_dead(1);
        let other = {
            let guarded = guarded.clone();
            thread::spawn(move || {
                become_owner(2);
                let held = lock(&guarded.mutex);
                guarded.add_one();
                guarded.mutex.mark_consistent();
                unlock(&guarded.mutex, held);
            })
        };
        become_owner(3);
        let held = lock(&guarded.mutex);
        guarded.add_one();
        guarded.mutex.mark_consistent();
        unlock(&guarded.mutex, held);
        other.join().expect("the model thread ends");
        let held = lock(&guarded.mutex);
        assert_eq!((guarded.number(), held.inconsistent), (2, false));
    });
}

/// M4 broken: takes over without comparing the word it judged.
#[test]
#[should_panic]
fn loom_mutant_take_over_by_plain_store_lets_two_in() {
    check(2, || {
        let guarded = Guarded::new();
        become_owner(1);
        let _held = lock(&guarded.mutex);
        declare_dead(1);
        let take = |guarded: &Guarded| {
            let me = current_owner().expect("said who it is");
            let word = guarded.mutex.word.load(Ordering::Relaxed);
            if OwnerId::in_word(word).is_some_and(|owner| Peers.is_dead(owner, false)) {
                guarded.mutex.word.store(me.word() | INCONSISTENT, Ordering::Release);
                guarded.add_one();
            }
        };
        let other = {
            let guarded = guarded.clone();
            thread::spawn(move || {
                become_owner(2);
                take(&guarded);
            })
        };
        become_owner(3);
        take(&guarded);
        other.join().expect("the model thread ends");
    });
}

/// Thread 2 dies as soon as it is woken, before it takes the lock: thread 3, asleep too, must still get in.
#[test]
fn loom_mutex_waiter_dies_after_its_wake_up() {
    check(3, || {
        let guarded = Guarded::new();
        become_owner(1);
        let held = lock(&guarded.mutex);
        let dying = {
            let guarded = guarded.clone();
            thread::spawn(move || {
                become_owner(2);
                let word = guarded.mutex.word.load(Ordering::Relaxed);
                if OwnerId::in_word(word).is_some() {
                    guarded
                        .mutex
                        .event_count
                        .sleep(&guarded.mutex.word, word, &mut Raised::default(), None);
                }
                declare_dead(2);
            })
        };
        let waiting = {
            let guarded = guarded.clone();
            thread::spawn(move || {
                become_owner(3);
                let held = lock(&guarded.mutex);
                guarded.add_one();
                unlock(&guarded.mutex, held);
            })
        };
        unlock(&guarded.mutex, held);
        dying.join().expect("the model thread ends");
        waiting.join().expect("the model thread ends");
        become_owner(1);
        let held = lock(&guarded.mutex);
        assert_eq!(guarded.number(), 1);
        assert!(!held.inconsistent, "a waiter's death touches no data");
    });
}

/// What was marked inconsistent stays so through an unlock, until an owner declares it whole.
#[test]
fn loom_mutex_inconsistency_outlives_unlocks() {
    check(3, || {
        let guarded = Guarded::new();
        let other = {
            let guarded = guarded.clone();
            thread::spawn(move || {
                become_owner(1);
                let held = lock(&guarded.mutex);
                guarded.mutex.mark_inconsistent();
                unlock(&guarded.mutex, held);
            })
        };
        become_owner(2);
        let first = lock(&guarded.mutex);
        unlock(&guarded.mutex, first);
        other.join().expect("the model thread ends");
        let second = lock(&guarded.mutex);
        assert!(second.inconsistent);
        guarded.mutex.mark_consistent();
        unlock(&guarded.mutex, second);
        assert!(!lock(&guarded.mutex).inconsistent);
    });
}

#[test]
fn loom_mutex_locking_twice_is_refused_not_hung() {
    check(2, || {
        let guarded = Guarded::new();
        become_owner(1);
        let held = lock(&guarded.mutex);
        assert_eq!(
            guarded.mutex.lock(|| Peers, Deadline::Never),
            Err(Refused::WouldDeadlock)
        );
        unlock(&guarded.mutex, held);
    });
}
