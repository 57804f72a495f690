//! Sleepers whose waker dies, and sleepers that die beside others.

use crate::stage::{
    BELL_OF_ITEMS, BELL_OF_ROOM, ITEMS, Item, LATE, Stage, dies, drain, item, number_of, timed, waited,
};
use procshare::{RecvError, SendError, SharedQueue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

type Got = Result<Item, RecvError>;
type Put = Result<(), SendError<Item>>;

/// Starts a thread that waits for an item, and tells when it had an outcome.
fn getter(stage: &Stage) -> JoinHandle<(Got, Instant)> {
    let queue = stage.queue();
    spawn(move || (queue.get_timeout(LATE), Instant::now()))
}

fn putter(stage: &Stage, number: u64) -> JoinHandle<(Put, Instant)> {
    let queue = stage.queue();
    spawn(move || (queue.put_timeout(item(number), LATE), Instant::now()))
}

/// What the sleepers were told after the death; none of them slept for long.
fn told<T>(point: &'static str, death: Instant, sleepers: Vec<JoinHandle<(T, Instant)>>) -> Vec<T> {
    let outcome = |sleeper: JoinHandle<(T, Instant)>| {
        let (outcome, at) = sleeper.join().expect("it does not panic");
        waited(point, at.saturating_duration_since(death));
        outcome
    };
    sleepers.into_iter().map(outcome).collect()
}

/// From the child's coming on, it is the only one the sleepers may hope for. Tells when it has died.
fn comes_and_dies(stage: &Stage, point: &'static str, role: &str, hope: SharedQueue<Item>) -> Instant {
    let mut child = stage.victim(point, role);
    assert_eq!(child.hear(), "here");
    drop(hope);
    child.tell("go");
    dies(point, child);
    Instant::now()
}

/// A producer dies while two sleep for items: the item it delivered wakes one, its death the other.
pub(crate) fn hear_of_a_put(point: &'static str, delivered: bool) {
    let stage = Stage::new(0);
    // Whom they wait for: a handle that may come to put.
    let hope = stage.queue();
    let sleepers = vec![getter(&stage), getter(&stage)];
    stage.await_sleeper(BELL_OF_ITEMS, || false);
    let death = comes_and_dies(&stage, point, "come, then put", hope);
    let mut outcomes = told(point, death, sleepers);
    outcomes.sort_by_key(Result::is_err);
    let first = if delivered {
        Ok(item(11))
    } else {
        Err(RecvError::Disconnected)
    };
    assert_eq!(outcomes, [first, Err(RecvError::Disconnected)], "{point}");
    assert_eq!(stage.left(point), [0; 0], "{point}");
    stage.ends_as_new(point);
}

/// A consumer dies while two sleep for room: the room it made serves one, its death wakes the other.
pub(crate) fn hear_of_a_get(point: &'static str, taken: bool) {
    let stage = Stage::new(ITEMS);
    let hope = stage.queue();
    let sleepers = vec![putter(&stage, 21), putter(&stage, 22)];
    stage.await_sleeper(BELL_OF_ROOM, || false);
    let death = comes_and_dies(&stage, point, "come, then get", hope);
    let outcomes = told(point, death, sleepers);
    let mut refused = Vec::new();
    for refusal in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(refusal, SendError::Disconnected(_)), "{point}: {refusal:?}");
        refused.push(number_of(refusal.into_item()));
    }
    let mut left = stage.left(point);
    assert_eq!(
        left.split_off(ITEMS as usize - usize::from(taken)).len(),
        usize::from(taken),
        "{point}"
    );
    assert_eq!(left, (1 + u64::from(taken)..=ITEMS).collect::<Vec<_>>(), "{point}");
    assert_eq!(refused.len(), 2 - usize::from(taken), "{point}: {refused:?}");
    stage.ends_as_new(point);
}

/// A process dies while it closes a queue where others sleep for items, and for room.
pub(crate) fn hear_of_a_close(passage: &str, point: &'static str) {
    let stage = Stage::new(0);
    let _hope = stage.queue();
    let sleepers = vec![getter(&stage), getter(&stage)];
    stage.await_sleeper(BELL_OF_ITEMS, || false);
    dies(passage, stage.victim(passage, "close"));
    let outcomes = told(point, Instant::now(), sleepers);
    assert_eq!(outcomes, [Err(RecvError::Closed), Err(RecvError::Closed)], "{passage}");

    let stage = Stage::new(ITEMS);
    let hope = stage.queue();
    let sleepers = vec![putter(&stage, 21), putter(&stage, 22)];
    stage.await_sleeper(BELL_OF_ROOM, || false);
    dies(passage, stage.victim(passage, "close"));
    for outcome in told(point, Instant::now(), sleepers) {
        assert!(matches!(outcome, Err(SendError::Closed(_))), "{passage}: {outcome:?}");
    }
    let left = drain(point, &hope);
    assert_eq!(left, ((1..=ITEMS).collect(), RecvError::Closed), "{passage}");
}

/// The numbers that come one after the other, until nothing more will.
fn all_of(queue: SharedQueue<Item>) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        match queue.get_timeout(LATE) {
            Ok(found) => seen.push(number_of(found)),
            Err(end) => {
                assert_eq!(end, RecvError::Disconnected);
                return seen;
            }
        }
    }
}

/// A consumer dies as it falls asleep, or as it is woken, beside another that sleeps.
pub(crate) fn of_gets_carry_on(point: &'static str) {
    let stage = Stage::new(0);
    let (putter, taker) = (stage.queue(), stage.queue());
    let mut child = stage.victim(point, "get on and on");
    assert_eq!(child.hear(), "begins");
    let beside = spawn(move || all_of(taker));
    let mut number = 0;
    // Which of the two is woken is the kernel's choice.
    while !child.is_over() {
        stage.await_sleeper(BELL_OF_ITEMS, || child.is_over());
        number += 1;
        putter.put(item(number)).expect("there is room or will be");
        until_empty(&putter, || child.is_over());
    }
    dies(point, child);
    // What is put now, and what the dead was woken for, is the other's.
    timed(point, || {
        putter.put(item(number + 1)).expect("there is room");
        until_empty(&putter, || false);
    });
    drop(putter);
    let seen = timed(point, || beside.join().expect("it does not panic"));
    assert!(seen.is_sorted_by(|one, next| one < next), "{point}: {seen:?}");
    assert_eq!(seen.last(), Some(&(number + 1)), "{point}");
    if point == "bell.woken" {
        assert!(
            seen.contains(&number),
            "{point}: taken by nobody, as the dead had only been woken"
        );
    }
    assert_eq!(stage.left(point), [0; 0], "{point}");
    stage.ends_as_new(point);
}

fn until_empty(queue: &SharedQueue<Item>, mut over: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !queue.is_empty() && !over() {
        assert!(begin.elapsed() < LATE, "nobody takes it");
        std::thread::yield_now();
    }
}

/// A producer dies as it falls asleep, or as it is woken, beside another that sleeps.
pub(crate) fn of_puts_carry_on(point: &'static str) {
    const MANY: usize = 50;
    let stage = Stage::new(ITEMS);
    let (putter, taker) = (stage.queue(), stage.queue());
    let mut child = stage.victim(point, "put on and on");
    assert_eq!(child.hear(), "begins");
    let enough = Arc::new(AtomicBool::new(false));
    let beside = {
        let enough = enough.clone();
        // Relaxed, twice: the flag says nothing of other memory.
        let until_enough = (ITEMS + 1..1000).take_while(move |_| !enough.load(Relaxed));
        spawn(move || {
            until_enough
                .map(|number| putter.put(item(number)))
                .filter(Result::is_ok)
                .count() as u64
        })
    };
    let mut seen = Vec::new();
    while !child.is_over() {
        stage.await_sleeper(BELL_OF_ROOM, || child.is_over());
        seen.push(number_of(taker.get().expect("it is full, or will be")));
    }
    dies(point, child);
    for _ in 0..MANY {
        let found = timed(point, || taker.get_timeout(LATE)).expect("the other goes on");
        seen.push(number_of(found));
    }
    enough.store(true, Relaxed);
    while !beside.is_finished() {
        seen.extend(taker.try_get().map(number_of));
    }
    let count = beside.join().expect("it does not panic");
    seen.extend(drain(point, &taker).0);
    drop(taker);
    let (others, dead): (Vec<u64>, Vec<u64>) = seen.into_iter().partition(|number| *number < 1000);
    assert_eq!(others, (1..=ITEMS + count).collect::<Vec<_>>(), "{point}");
    assert_eq!(dead, (1001..).take(dead.len()).collect::<Vec<_>>(), "{point}");
    assert_eq!(stage.left(point), [0; 0], "{point}");
    stage.ends_as_new(point);
}
