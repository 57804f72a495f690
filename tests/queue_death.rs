//! `SharedQueue` when processes are killed, stopped, or become other programs: what the others get, and how soon.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, alone, child, for_ever, kill, shared_memory_names, state_of, unique, wait_until};
use common::{watchdog, while_waiting};
use procshare::{Process, RecvError, SendError, SharedQueue};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// How soon the end of all peers is noticed at the latest; where nobody else uses the machine it takes 100 ms at most.
const SOON: Duration = Duration::from_secs(1);
/// Longer than it takes to notice that nobody is left.
const LONG: Duration = Duration::from_millis(200);

fn queue<T>(items: usize) -> SharedQueue<T> {
    SharedQueue::new(items).unwrap()
}

fn put_and_stay(queue: SharedQueue<u32>, items: Vec<u32>, ready: Flag) {
    queue.put_all(items).unwrap();
    ready.raise();
    for_ever()
}

fn get_and_stay(queue: SharedQueue<u32>, items: usize, ready: Flag) {
    for _ in 0..items {
        queue.get().unwrap();
    }
    ready.raise();
    for_ever()
}

/// Asserts that a wait ended soon after the last of them was killed.
fn assert_soon(what: &str, ended: Instant, killed: Instant) {
    let took = ended.saturating_duration_since(killed);
    println!("{what} after {took:?}");
    assert!(took < SOON, "{what} after {took:?}");
}

#[procshare::test]
fn consumers_notice_that_all_producers_were_killed() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (queue(16), Flag::new());
    let producers: Vec<_> = (0..3)
        .map(|first| child(put_and_stay, (queue.clone(), vec![first, first + 10], ready.clone())))
        .collect();
    ready.wait_for(3);
    let mut got: Vec<_> = (0..6).map(|_| queue.get().unwrap()).collect();
    for first in 0..3 {
        let mine: Vec<_> = got.iter().copied().filter(|item| item % 10 == first).collect();
        assert_eq!(mine, [first, first + 10]);
    }
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 10, 11, 12]);
    let wait = || (queue.get(), Instant::now());
    let mut producers = producers.into_iter();
    // One that is left is enough.
    kill(producers.next().unwrap());
    assert_eq!(queue.get_timeout(LONG), Err(RecvError::TimedOut));
    let ((got, ended), killed) = while_waiting(wait, || producers.map(kill).reduce(|_, later| later).unwrap());
    assert_eq!(got, Err(RecvError::Disconnected));
    assert_soon("consumers know that producers were killed", ended, killed);
}

#[procshare::test]
fn what_the_killed_had_put_is_there() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (queue(16), Flag::new());
    let producer = child(put_and_stay, (queue.clone(), (0..10).collect(), ready.clone()));
    ready.wait_for(1);
    let killed = kill(producer);
    assert_eq!(queue.len(), 10);
    let batch: Vec<_> = queue.get_up_to(4).unwrap().map(Result::unwrap).collect();
    assert!(batch.iter().copied().eq(0..batch.len() as u32));
    let mut rest = queue.iter();
    for item in batch.len() as u32..10 {
        assert_eq!(rest.next(), Some(Ok(item)));
    }
    assert_eq!(rest.next(), None);
    assert_soon("the last item's end is known", Instant::now(), killed);
}

#[procshare::test]
fn producers_notice_that_all_consumers_were_killed() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (queue(2), Flag::new());
    let consumers: Vec<_> = (0..2)
        .map(|_| child(get_and_stay, (queue.clone(), 1, ready.clone())))
        .collect();
    queue.put_all(0..2).unwrap();
    ready.wait_for(2);
    queue.put_all(2..4).unwrap();
    let mut consumers = consumers.into_iter();
    kill(consumers.next().unwrap());
    assert_eq!(queue.put_timeout(4, LONG), Err(SendError::TimedOut(4)));
    let wait = || (queue.put_all([4, 5]), Instant::now());
    let ((put, ended), killed) = while_waiting(wait, || kill(consumers.next().unwrap()));
    assert_eq!(put, Err(SendError::Disconnected(vec![4, 5])));
    assert_soon("producers know that consumers were killed", ended, killed);
    // Once known, it is known to calls that need not wait as well.
    assert_eq!(queue.try_put(6), Err(SendError::Disconnected(6)));
    let late = queue.clone();
    assert_eq!(
        (late.get(), late.get(), late.try_get()),
        (Ok(2), Ok(3), Err(RecvError::Empty))
    );
    queue.put(7).unwrap();
    assert_eq!(late.get(), Ok(7));
}

#[procshare::test]
fn an_item_goes_with_whoever_took_it() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (queue(8), Flag::new());
    queue.put_all(0..5).unwrap();
    let consumer = child(get_and_stay, (queue.clone(), 2, ready.clone()));
    ready.wait_for(1);
    kill(consumer);
    assert_eq!(queue.len(), 3);
    queue.close();
    assert!(queue.iter().map(Result::unwrap).eq(2..5));
}

/// Waiters that are killed take no wake-up with them: those left get all that comes.
#[procshare::test]
fn killed_waiters_strand_nobody() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (queue::<u32>(8), Flag::new());
    let doomed: Vec<_> = (0..3)
        .map(|_| child(get_and_stay, (queue.clone(), 1, ready.clone())))
        .collect();
    wait_until(|| doomed.iter().all(|child| state_of(child.id()) == Some('S')));
    let putter = queue.clone();
    let take = || {
        let mut got = Vec::new();
        while got.last() != Some(&9) {
            got.push(queue.get().unwrap());
        }
        got
    };
    let (got, gone) = while_waiting(take, || {
        let gone = doomed.into_iter().map(kill).count();
        (0..10).for_each(|item| putter.put(item).unwrap());
        gone
    });
    assert_eq!((got, gone), ((0..10).collect(), 3));
}

#[procshare::test]
fn a_stopped_process_is_not_gone() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (queue(8), Flag::new());
    let producer = child(put_and_stay, (queue.clone(), vec![1], ready.clone()));
    ready.wait_for(1);
    assert_eq!(queue.get(), Ok(1));
    // SAFETY: two numbers; the child is not reaped, so its number is still its own.
    assert_eq!(unsafe { libc::kill(producer.id() as i32, libc::SIGSTOP) }, 0);
    wait_until(|| state_of(producer.id()) == Some('T'));
    assert_eq!(queue.get_timeout(LONG), Err(RecvError::TimedOut));
    kill(producer);
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_process_that_became_another_program_is_gone() {
    let _watchdog = watchdog(60);
    let queue = queue(8);
    let change = |queue: SharedQueue<u32>| -> u32 {
        queue.put(1).unwrap();
        panic!("{}", std::process::Command::new("sleep").arg("30").exec())
    };
    let producer = child(change, (queue.clone(),));
    assert_eq!(queue.get(), Ok(1));
    let comm = format!("/proc/{}/comm", producer.id());
    wait_until(|| std::fs::read_to_string(&comm).unwrap() == "sleep\n");
    let changed = Instant::now();
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
    let took = changed.elapsed();
    println!("an exec is noticed after {took:?}");
    assert!(took < 10 * SOON, "{took:?}");
    kill(producer);
}

#[procshare::test]
fn a_named_queue_outlives_killed_users() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("queue-killed");
        let (queue, ready) = (SharedQueue::<u32>::create(&name, 8).unwrap(), Flag::new());
        let visit = |name: String, item: u32, ready: Flag| {
            put_and_stay(SharedQueue::open(name).unwrap(), vec![item], ready);
        };
        for item in 1..4 {
            let visitor: Process<()> = child(visit, (name.clone(), item, ready.clone()));
            ready.wait_for(item);
            kill(visitor);
            assert_eq!((queue.get(), queue.get()), (Ok(item), Err(RecvError::Disconnected)));
        }
        // All but one were killed; that one takes the name away.
        let visitor: Process<()> = child(visit, (name.clone(), 4, ready.clone()));
        ready.wait_for(4);
        drop(queue);
        kill(visitor);
        assert_eq!(shared_memory_names(&name).len(), 1);
        let again = SharedQueue::<u32>::create(&name, 8).unwrap();
        assert_eq!(again.get_timeout(Duration::from_millis(5)), Err(RecvError::TimedOut));
        drop(again);
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}
