//! The work queue's protocol broken on purpose, one step in each model.

use super::*;

/// Waits until the worker is woken.
fn sleep_on(queue: RawWorkQueue<'_>, worker: usize) {
    let sleeper = &queue.sleepers[worker];
    while sleeper.load(Ordering::Relaxed) == ASLEEP {
        if futex::wait(sleeper, ASLEEP as u32, None) == Wait::Changed {
            break;
        }
    }
}

fn sleep_by_hand(queue: RawWorkQueue<'_>, worker: usize, fenced: bool, is_idle: fn(RawWorkQueue<'_>) -> bool) {
    let sleeper = &queue.sleepers[worker];
    sleeper.store(ASLEEP, Ordering::Relaxed);
    if fenced {
        fence(Ordering::SeqCst);
    }
    if !is_idle(queue) || queue.is_closing() {
        sleeper.store(AWAKE, Ordering::Relaxed);
        return;
    }
    sleep_on(queue, worker);
}

fn sleep_without_a_fence(queue: RawWorkQueue<'_>, worker: usize) {
    sleep_by_hand(queue, worker, false, |queue| queue.unclaimed() == 0);
}

fn sleep_as_it_should_be(queue: RawWorkQueue<'_>, worker: usize) {
    sleep_by_hand(queue, worker, true, |queue| queue.unclaimed() == 0);
}

#[test]
fn loom_work_queue_sleep_by_hand_as_it_should_be() {
    one_job(Play {
        sleep: sleep_as_it_should_be,
        ..RIGHT
    });
}

/// C3 broken.
#[test]
#[should_panic]
fn loom_mutant_sleeping_without_a_fence_loses_a_job() {
    one_job(Play {
        sleep: sleep_without_a_fence,
        ..RIGHT
    });
}

/// C3 broken: the last look comes before it says so.
#[test]
#[should_panic]
fn loom_mutant_looking_before_saying_so_loses_a_job() {
    let sleep = |queue: RawWorkQueue<'_>, worker: usize| {
        if queue.has_ready() {
            return;
        }
        queue.sleepers[worker].store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        sleep_on(queue, worker);
    };
    one_job(Play { sleep, ..RIGHT });
}

/// C3 broken.
#[test]
#[should_panic]
fn loom_mutant_waking_without_a_fence_loses_a_job() {
    let wake_one = |queue: RawWorkQueue<'_>| queue.sleepers.iter().any(|sleeper| queue.wake(sleeper));
    one_job(Play { wake_one, ..RIGHT });
}

/// The last look moves `head` on, and whether results are overdue is not asked.
#[test]
#[should_panic]
fn loom_mutant_passing_positions_before_sleep_hides_results() {
    let sleep = |queue: RawWorkQueue<'_>, worker: usize| sleep_by_hand(queue, worker, true, |queue| !queue.has_ready());
    cancelled_ahead(3, Play { sleep, ..RIGHT }, true);
}

/// Posts as `post` does, but publishes with `ordering`, and asks for room if told so.
fn post_by_hand(queue: RawWorkQueue<'_>, at: usize, ordering: Ordering, asks: bool) -> Result<(), Full> {
    let position = queue.words.front.tail.load(Ordering::Relaxed);
    if asks && position - queue.pass() >= queue.ring.len() as u64 {
        return Err(Full);
    }
    queue.place(position).store(at as u64, Ordering::Relaxed);
    queue.slots[at]
        .state
        .store(state(position, 0, READY), Ordering::Relaxed);
    queue.words.front.tail.store(position + 1, ordering);
    Ok(())
}

#[test]
fn loom_work_queue_post_by_hand_as_it_should_be() {
    let post = |queue: RawWorkQueue<'_>, at| post_by_hand(queue, at, Ordering::Release, true);
    cancel_and_post(Play { post, ..RIGHT });
}

/// C1 broken: a worker may find that position not ready yet, and pass it.
#[test]
#[should_panic]
fn loom_mutant_posting_without_release_loses_a_job() {
    one_job(Play {
        post: |queue, at| post_by_hand(queue, at, Ordering::Relaxed, true),
        ..RIGHT
    });
}

/// C2 broken.
#[test]
#[should_panic]
fn loom_mutant_posting_without_a_look_at_the_head_loses_a_job() {
    cancel_and_post(Play {
        post: |queue, at| post_by_hand(queue, at, Ordering::Release, false),
        ..RIGHT
    });
}

/// Claims as `claim` does, except for the parameters.
fn claim_by_hand(queue: RawWorkQueue<'_>, worker: usize, ordering: Ordering, exchange: bool) -> Option<usize> {
    loop {
        let head = queue.words.head.load(ordering);
        if head == queue.words.front.tail.load(ordering) {
            return None;
        }
        let (ready, taken) = (state(head, 0, READY), state(head, worker, TAKEN));
        let found = queue.ready_at(head);
        let claimed = found.is_some_and(|at| {
            let slot = &queue.slots[at].state;
            if !exchange {
                slot.store(taken, Ordering::Relaxed);
            }
            !exchange
                || slot
                    .compare_exchange(ready, taken, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
        });
        // Whatever it found there, that position is not ready any more.
        let next = head + 1;
        let head = &queue.words.head;
        let _ = head.compare_exchange(next - 1, next, Ordering::Release, Ordering::Relaxed);
        if claimed {
            return found;
        }
    }
}

#[test]
fn loom_work_queue_claim_by_hand_as_it_should_be() {
    let claim = |queue: RawWorkQueue<'_>, worker| claim_by_hand(queue, worker, Ordering::Acquire, true);
    two_claim(Play { claim, ..RIGHT });
}

#[test]
#[should_panic]
fn loom_mutant_claiming_without_a_compare_exchange_does_a_job_twice() {
    two_claim(Play {
        claim: |queue, worker| claim_by_hand(queue, worker, Ordering::Acquire, false),
        ..RIGHT
    });
}

/// C1 broken.
#[test]
#[should_panic]
fn loom_mutant_claiming_without_acquire_tears() {
    one_job(Play {
        claim: |queue, worker| claim_by_hand(queue, worker, Ordering::Relaxed, true),
        ..RIGHT
    });
}

fn store_done(queue: RawWorkQueue<'_>, at: usize, ordering: Ordering) {
    let slot = &queue.slots[at].state;
    slot.store(slot.load(Ordering::Relaxed) - TAKEN + DONE, ordering);
}

fn set_bit(queue: RawWorkQueue<'_>, at: usize) {
    queue.words.done[0].fetch_or(1 << at, Ordering::Release);
}

#[test]
#[should_panic]
fn loom_mutant_finishing_without_a_fence_leaves_the_poster_asleep() {
    let finish = |queue: RawWorkQueue<'_>, at| {
        store_done(queue, at, Ordering::Release);
        set_bit(queue, at);
        queue.must_wake()
    };
    poster_sleeps(Play {
        finish,
        is_overdue: |_| false,
        ..RIGHT
    });
}

#[test]
#[should_panic]
fn loom_mutant_telling_before_it_is_so_leaves_the_poster_asleep() {
    let finish = |queue: RawWorkQueue<'_>, at| {
        set_bit(queue, at);
        store_done(queue, at, Ordering::Release);
        fence(Ordering::SeqCst);
        queue.must_wake()
    };
    poster_sleeps(Play { finish, ..RIGHT });
}

/// C1 broken.
#[test]
#[should_panic]
fn loom_mutant_finishing_without_release_tears() {
    let finish = |queue: RawWorkQueue<'_>, at| {
        store_done(queue, at, Ordering::Relaxed);
        set_bit(queue, at);
        fence(Ordering::SeqCst);
        queue.must_wake()
    };
    look_without_a_bit(Play { finish, ..RIGHT });
}

/// What the mutants must do without, so that nothing compensates for them.
#[test]
fn loom_work_queue_one_worker_that_never_looks_again_wakes_the_poster() {
    poster_sleeps(Play {
        is_overdue: |_| false,
        ..RIGHT
    });
}

/// C3 broken.
#[test]
#[should_panic]
fn loom_mutant_sleeping_poster_without_a_fence_leaves_the_poster_asleep() {
    let begin_sleep = |queue: RawWorkQueue<'_>, few: u64| {
        queue.words.wake_below.store(few.saturating_add(1), Ordering::Relaxed);
        queue.words.done[0].load(Ordering::Relaxed) == 0
    };
    poster_sleeps(Play {
        begin_sleep,
        is_overdue: |_| false,
        ..RIGHT
    });
}

#[test]
#[should_panic]
fn loom_mutant_nobody_overdue_leaves_the_poster_asleep() {
    cancelled_ahead(
        3,
        Play {
            is_overdue: |_| false,
            ..RIGHT
        },
        true,
    );
}

/// What is ahead has just been passed: without a fence it and `wake_below` may miss each other.
#[test]
#[should_panic]
fn loom_mutant_overdue_without_a_fence_leaves_the_poster_asleep() {
    let is_overdue = |queue: RawWorkQueue<'_>| queue.words.done[0].load(Ordering::Relaxed) != 0 && queue.must_wake();
    cancelled_ahead(
        3,
        Play {
            is_overdue,
            sleep: sleep_as_it_should_be,
            ..RIGHT
        },
        false,
    );
}

#[test]
#[should_panic]
fn loom_mutant_asking_last_whether_it_is_closed_leaves_a_job_behind() {
    post_and_close(|site, me, play| {
        while site.work_once(me, play) || !site.queue().is_closing() {
            (play.sleep)(site.queue(), me);
        }
    });
}

#[test]
#[should_panic]
fn loom_mutant_asking_without_acquire_whether_it_is_closed_leaves_a_job_behind() {
    post_and_close(|site, me, play| {
        loop {
            let closing = site.queue().words.front.closing.load(Ordering::Relaxed) != 0;
            if !site.work_once(me, play) {
                if closing {
                    return;
                }
                (play.sleep)(site.queue(), me);
            }
        }
    });
}
