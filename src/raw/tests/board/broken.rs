//! The board's protocol broken on purpose, one step in each model.

use super::*;

/// Waits for a bell that is rung.
fn sleep_on(board: RawBoard<'_>, worker: usize) {
    let bell = &board.bells[worker];
    while bell.load(Ordering::Relaxed) == ASLEEP {
        if futex::wait(bell, ASLEEP as u32, None) == Wait::Changed {
            break;
        }
    }
}

fn sleep_by_hand(board: RawBoard<'_>, worker: usize, fenced: bool, is_idle: fn(RawBoard<'_>) -> bool) {
    let bell = &board.bells[worker];
    bell.store(ASLEEP, Ordering::Relaxed);
    if fenced {
        fence(Ordering::SeqCst);
    }
    if !is_idle(board) || board.is_closing() {
        bell.store(AWAKE, Ordering::Relaxed);
        return;
    }
    sleep_on(board, worker);
}

fn sleep_without_a_fence(board: RawBoard<'_>, worker: usize) {
    sleep_by_hand(board, worker, false, |board| board.unclaimed() == 0);
}

fn sleep_as_it_should_be(board: RawBoard<'_>, worker: usize) {
    sleep_by_hand(board, worker, true, |board| board.unclaimed() == 0);
}

#[test]
fn loom_board_sleep_by_hand_as_it_should_be() {
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
    let sleep = |board: RawBoard<'_>, worker: usize| {
        if board.has_ready() {
            return;
        }
        board.bells[worker].store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        sleep_on(board, worker);
    };
    one_job(Play { sleep, ..RIGHT });
}

/// C3 broken.
#[test]
#[should_panic]
fn loom_mutant_ringing_without_a_fence_loses_a_job() {
    let wake_one = |board: RawBoard<'_>| board.bells.iter().any(|bell| board.wake(bell));
    one_job(Play { wake_one, ..RIGHT });
}

/// The last look moves `head` on, and whether results are overdue is not asked.
#[test]
#[should_panic]
fn loom_mutant_passing_positions_before_sleep_hides_results() {
    let sleep = |board: RawBoard<'_>, worker: usize| sleep_by_hand(board, worker, true, |board| !board.has_ready());
    cancelled_ahead(3, Play { sleep, ..RIGHT }, true);
}

/// Posts as `post` does, but publishes with `ordering`, and asks for room if told so.
fn post_by_hand(board: RawBoard<'_>, at: usize, ordering: Ordering, asks: bool) -> Result<(), Full> {
    let position = board.words.front.tail.load(Ordering::Relaxed);
    if asks && position - board.pass() >= board.ring.len() as u64 {
        return Err(Full);
    }
    board.place(position).store(at as u64, Ordering::Relaxed);
    board.slots[at]
        .state
        .store(state(position, 0, READY), Ordering::Relaxed);
    board.words.front.tail.store(position + 1, ordering);
    Ok(())
}

#[test]
fn loom_board_post_by_hand_as_it_should_be() {
    let post = |board: RawBoard<'_>, at| post_by_hand(board, at, Ordering::Release, true);
    cancel_and_post(Play { post, ..RIGHT });
}

/// C1 broken: a worker may find that position not ready yet, and pass it.
#[test]
#[should_panic]
fn loom_mutant_posting_without_release_loses_a_job() {
    one_job(Play {
        post: |board, at| post_by_hand(board, at, Ordering::Relaxed, true),
        ..RIGHT
    });
}

/// C2 broken.
#[test]
#[should_panic]
fn loom_mutant_posting_without_a_look_at_the_head_loses_a_job() {
    cancel_and_post(Play {
        post: |board, at| post_by_hand(board, at, Ordering::Release, false),
        ..RIGHT
    });
}

/// Claims as `claim` does, except for the parameters.
fn claim_by_hand(board: RawBoard<'_>, worker: usize, ordering: Ordering, exchange: bool) -> Option<usize> {
    loop {
        let head = board.words.head.load(ordering);
        if head == board.words.front.tail.load(ordering) {
            return None;
        }
        let (ready, taken) = (state(head, 0, READY), state(head, worker, TAKEN));
        let found = board.ready_at(head);
        let claimed = found.is_some_and(|at| {
            let slot = &board.slots[at].state;
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
        let head = &board.words.head;
        let _ = head.compare_exchange(next - 1, next, Ordering::Release, Ordering::Relaxed);
        if claimed {
            return found;
        }
    }
}

#[test]
fn loom_board_claim_by_hand_as_it_should_be() {
    let claim = |board: RawBoard<'_>, worker| claim_by_hand(board, worker, Ordering::Acquire, true);
    two_claim(Play { claim, ..RIGHT });
}

#[test]
#[should_panic]
fn loom_mutant_claiming_without_a_compare_exchange_does_a_job_twice() {
    two_claim(Play {
        claim: |board, worker| claim_by_hand(board, worker, Ordering::Acquire, false),
        ..RIGHT
    });
}

/// C1 broken.
#[test]
#[should_panic]
fn loom_mutant_claiming_without_acquire_tears() {
    one_job(Play {
        claim: |board, worker| claim_by_hand(board, worker, Ordering::Relaxed, true),
        ..RIGHT
    });
}

fn store_done(board: RawBoard<'_>, at: usize, ordering: Ordering) {
    let slot = &board.slots[at].state;
    slot.store(slot.load(Ordering::Relaxed) - TAKEN + DONE, ordering);
}

fn set_bit(board: RawBoard<'_>, at: usize) {
    board.words.done[0].fetch_or(1 << at, Ordering::Release);
}

#[test]
#[should_panic]
fn loom_mutant_finishing_without_a_fence_leaves_the_poster_asleep() {
    let finish = |board: RawBoard<'_>, at| {
        store_done(board, at, Ordering::Release);
        set_bit(board, at);
        board.must_wake()
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
    let finish = |board: RawBoard<'_>, at| {
        set_bit(board, at);
        store_done(board, at, Ordering::Release);
        fence(Ordering::SeqCst);
        board.must_wake()
    };
    poster_sleeps(Play { finish, ..RIGHT });
}

/// C1 broken.
#[test]
#[should_panic]
fn loom_mutant_finishing_without_release_tears() {
    let finish = |board: RawBoard<'_>, at| {
        store_done(board, at, Ordering::Relaxed);
        set_bit(board, at);
        fence(Ordering::SeqCst);
        board.must_wake()
    };
    look_without_a_bit(Play { finish, ..RIGHT });
}

/// What the mutants must do without, so that nothing compensates for them.
#[test]
fn loom_board_one_worker_that_never_looks_again_wakes_the_poster() {
    poster_sleeps(Play {
        is_overdue: |_| false,
        ..RIGHT
    });
}

/// C3 broken.
#[test]
#[should_panic]
fn loom_mutant_dozing_without_a_fence_leaves_the_poster_asleep() {
    let doze = |board: RawBoard<'_>, few: u64| {
        board.words.alarm.store(few.saturating_add(1), Ordering::Relaxed);
        board.words.done[0].load(Ordering::Relaxed) == 0
    };
    poster_sleeps(Play {
        doze,
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

/// What is ahead has just been passed: without a fence it and the alarm may miss each other.
#[test]
#[should_panic]
fn loom_mutant_overdue_without_a_fence_leaves_the_poster_asleep() {
    let is_overdue = |board: RawBoard<'_>| board.words.done[0].load(Ordering::Relaxed) != 0 && board.must_wake();
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
        while site.work_once(me, play) || !site.board().is_closing() {
            (play.sleep)(site.board(), me);
        }
    });
}

#[test]
#[should_panic]
fn loom_mutant_asking_without_acquire_whether_it_is_closed_leaves_a_job_behind() {
    post_and_close(|site, me, play| {
        loop {
            let closing = site.board().words.front.closing.load(Ordering::Relaxed) != 0;
            if !site.work_once(me, play) {
                if closing {
                    return;
                }
                (play.sleep)(site.board(), me);
            }
        }
    });
}
