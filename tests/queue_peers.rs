//! `SharedQueue` between processes: items of many to many, of every size, and who is held to take part.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, Slow, Stubborn, alone, child, kill, shared_memory_names, state_of, unique, wait_until, watchdog};
use procshare::process::Entry;
use procshare::{Capacity, ErrorKind, JoinError, Process, RecvError, SendError, SharedQueue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
/// Longer than it takes to notice that nobody is left.
const LONG: Duration = Duration::from_millis(200);

fn queue<T>(items: usize) -> SharedQueue<T> {
    SharedQueue::new(items).unwrap()
}

// Items of many to many.

const PRODUCERS: u64 = 4;
const CONSUMERS: usize = 4;

/// The items a consumer has got, one bit each.
type Seen = Vec<u64>;

/// Takes notes of the items of one consumer: from each producer in order, none twice.
struct Notes {
    each: u64,
    next: [u64; PRODUCERS as usize],
    seen: Seen,
}

impl Notes {
    fn new(each: u64) -> Self {
        Notes {
            each,
            next: [0; PRODUCERS as usize],
            seen: vec![0; (PRODUCERS * each).div_ceil(64) as usize],
        }
    }

    fn take(&mut self, item: u64) {
        let (producer, number) = (item / self.each, item % self.each);
        let next = &mut self.next[producer as usize];
        assert!(number >= *next, "{number} of producer {producer} came after {next}");
        *next = number + 1;
        self.seen[(item / 64) as usize] |= 1 << (item % 64);
    }
}

fn put_singly(queue: SharedQueue<u64>, first: u64, each: u64) {
    (first..first + each).try_for_each(|item| queue.put(item)).unwrap();
}

fn put_in_batches(queue: SharedQueue<u64>, first: u64, each: u64) {
    let mut batch = 1;
    let mut at = first;
    while at < first + each {
        let end = (at + batch).min(first + each);
        queue.put_all(at..end).unwrap();
        at = end;
        batch = batch % 100 + 1;
    }
}

fn get_singly(queue: SharedQueue<u64>, each: u64) -> Seen {
    let mut notes = Notes::new(each);
    queue.iter().for_each(|item| notes.take(item.unwrap()));
    notes.seen
}

fn get_in_batches(queue: SharedQueue<u64>, each: u64) -> Seen {
    let mut notes = Notes::new(each);
    while let Ok(batch) = queue.get_up_to(64) {
        batch.for_each(|item| notes.take(item.unwrap()));
    }
    notes.seen
}

/// Starts producers and consumers of so many items each; the queue ends for the consumers when the producers do.
fn exchange<P, G>(put: P, get: G, items: u64, capacity: usize)
where
    P: Entry<(SharedQueue<u64>, u64, u64), Output = ()> + Copy,
    G: Entry<(SharedQueue<u64>, u64), Output = Seen> + Copy,
{
    let each = items / PRODUCERS;
    let queue = queue(capacity);
    let consumers: Vec<_> = (0..CONSUMERS).map(|_| child(get, (queue.clone(), each))).collect();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|number| child(put, (queue.clone(), number * each, each)))
        .collect();
    drop(queue);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    let mut all = vec![0u64; items.div_ceil(64) as usize];
    for consumer in consumers {
        let seen = consumer.join().unwrap();
        for (all, seen) in all.iter_mut().zip(seen) {
            assert_eq!(*all & seen, 0, "an item was got twice");
            *all |= seen;
        }
    }
    let count: u32 = all.iter().map(|word| word.count_ones()).sum();
    assert_eq!(u64::from(count), items, "items were lost");
}

#[procshare::test]
fn a_million_items_arrive_once_and_in_order() {
    let _watchdog = watchdog(100);
    let began = Instant::now();
    exchange(put_singly, get_singly, 1_000_000, 256);
    println!("one by one: {:?}", began.elapsed());
    let began = Instant::now();
    exchange(put_in_batches, get_in_batches, 1_000_000, 256);
    println!("in batches: {:?}", began.elapsed());
}

fn echo<T: Serialize + DeserializeOwned>(there: SharedQueue<T>, back: SharedQueue<T>) {
    there.iter().for_each(|item| back.put(item.unwrap()).unwrap());
}

/// Sends each item to another process and gets it back.
fn round_trip<T>(capacity: Capacity, items: &[T])
where
    T: Serialize + DeserializeOwned + PartialEq + Clone + 'static,
{
    let (there, back) = (SharedQueue::new(capacity).unwrap(), SharedQueue::new(capacity).unwrap());
    let child = child(echo::<T>, (there.clone(), back.clone()));
    for item in items {
        there.put(item.clone()).unwrap();
        assert!(back.get().unwrap() == *item);
    }
    there.close();
    child.join().unwrap();
    assert!(matches!(back.get(), Err(RecvError::Disconnected)));
}

#[procshare::test]
fn messages_of_every_size_arrive_whole() {
    let _watchdog = watchdog(60);
    round_trip(Capacity::items(1), &[(), ()]);
    round_trip(Capacity::items(1), &[0u8, 255]);
    let text = |len: usize| "0123456789abcdefghi".chars().cycle().take(len).collect::<String>();
    round_trip(
        Capacity::items(2).bytes(1 << 17),
        &[text(0), text(1), text(1 << 16), text((1 << 16) - 1)],
    );
    round_trip(
        Capacity::items(2).bytes(1 << 25),
        &[text(1 << 24), text(1), text(1 << 24)],
    );
}

#[procshare::test]
fn a_queue_of_one_item_passes_all() {
    let _watchdog = watchdog(60);
    let (there, back) = (queue(1), queue(1));
    let child = child(echo::<u32>, (there.clone(), back.clone()));
    for item in 0..2000 {
        there.put(item).unwrap();
        assert_eq!(back.get(), Ok(item));
    }
    // As many as are under way at once: one in each queue and one in the child's hands.
    (0..3).for_each(|item| there.put(item).unwrap());
    there.close();
    assert_eq!(back.iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    child.join().unwrap();
}

#[procshare::test]
fn a_child_can_be_joined_before_its_items_are_got() {
    let _watchdog = watchdog(60);
    let queue = queue(2000);
    let put = |queue: SharedQueue<u32>| queue.put_all(0..1000).unwrap();
    child(put, (queue.clone(),)).join().unwrap();
    assert_eq!(queue.len(), 1000);
    assert!(queue.iter().map(Result::unwrap).eq(0..1000));
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_child_that_waits_for_room_ends_when_there_is_some() {
    let _watchdog = watchdog(60);
    let queue = queue(10);
    let put = |queue: SharedQueue<u32>| queue.put_all(0..25).unwrap();
    let mut child = child(put, (queue.clone(),));
    wait_until(|| queue.is_full());
    assert_eq!(child.join_timeout(SHORT), Err(JoinError::TimedOut));
    for item in 0..15 {
        assert_eq!(queue.get(), Ok(item));
    }
    child.join().unwrap();
    assert!(queue.iter().map(Result::unwrap).eq(15..25));
}

#[procshare::test]
fn closing_ends_the_waits_of_other_processes() {
    let _watchdog = watchdog(60);
    let (empty, full, ready) = (queue(4), queue(1), Flag::new());
    full.clone().put(1).unwrap();
    fn get(queue: SharedQueue<u32>, ready: Flag) -> u32 {
        ready.raise();
        queue.iter().map(Result::unwrap).sum()
    }
    let put = |queue: SharedQueue<u32>, ready: Flag| {
        ready.raise();
        assert_eq!(queue.put(2), Err(SendError::Closed(2)));
    };
    let getters: Vec<_> = (0..2).map(|_| child(get, (empty.clone(), ready.clone()))).collect();
    let putter = child(put, (full.clone(), ready.clone()));
    ready.wait_for(3);
    wait_until(|| state_of(putter.id()) == Some('S'));
    wait_until(|| getters.iter().all(|getter| state_of(getter.id()) == Some('S')));
    empty.put(7).unwrap();
    empty.close();
    full.close();
    assert_eq!(getters.into_iter().map(|getter| getter.join().unwrap()).sum::<u32>(), 7);
    putter.join().unwrap();
    assert_eq!((full.get(), full.get()), (Ok(1), Err(RecvError::Closed)));
}

// Who takes part.

#[procshare::test]
fn an_unused_handle_keeps_the_consumers_waiting() {
    let _watchdog = watchdog(60);
    let (jobs, mine) = (queue(8), Flag::new());
    let work = |jobs: SharedQueue<u32>, mine: Flag| {
        assert_eq!(jobs.get(), Ok(1));
        mine.raise();
        assert_eq!(jobs.get(), Err(RecvError::Disconnected));
    };
    let mut worker = child(work, (jobs.clone(), mine.clone()));
    let other = |jobs: SharedQueue<u32>| jobs.put(1).unwrap();
    child(other, (jobs.clone(),)).join().unwrap();
    mine.wait_for(1);
    assert_eq!(
        worker.join_timeout(Duration::from_millis(100)),
        Err(JoinError::TimedOut)
    );
    drop(jobs);
    worker.join().unwrap();
}

#[procshare::test]
fn a_child_that_is_slow_to_come_is_waited_for() {
    let _watchdog = watchdog(60);
    let (queue, slow) = (queue(8), Slow::new());
    let put = |_: Slow, queue: SharedQueue<u32>| queue.put(7).unwrap();
    let child = child(put, (slow.again(), queue.clone()));
    slow.arriving.wait_for(1);
    assert_eq!(queue.get_timeout(LONG), Err(RecvError::TimedOut));
    slow.go.raise();
    assert_eq!((queue.get(), queue.get()), (Ok(7), Err(RecvError::Disconnected)));
    child.join().unwrap();
}

#[procshare::test]
fn a_child_that_never_comes_is_not_waited_for() {
    let _watchdog = watchdog(60);
    let (queue, slow) = (queue::<u32>(8), Slow::new());
    let child = child(|_: Slow, _: SharedQueue<u32>| (), (slow.again(), queue.clone()));
    slow.arriving.wait_for(1);
    kill(child);
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_child_that_cannot_be_started_is_not_waited_for() {
    let _watchdog = watchdog(60);
    let queue = queue::<u32>(8);
    let arguments = (queue.clone(), Stubborn(true));
    let error = Process::spawn(|_: SharedQueue<u32>, _: Stubborn| (), arguments).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encoding);
    assert_eq!(queue.try_get(), Err(RecvError::Disconnected));
    // Nor one that cannot understand its arguments.
    let child = child(|_: Stubborn, _: SharedQueue<u32>| (), (Stubborn(false), queue.clone()));
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
    assert!(matches!(child.join(), Err(JoinError::Encoding(_))));
}

#[procshare::test]
fn no_more_take_part_than_were_provided_for() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<u32>::builder().max_processes(64).anonymous().unwrap();
    // Each handle that travels has a place set aside, and this process has one.
    let count = |handles: Vec<SharedQueue<u32>>| handles.len();
    let handles = |count| -> Vec<_> { (0..count).map(|_| queue.clone()).collect() };
    for _ in 0..2 {
        let error = Process::spawn(count, (handles(64),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    }
    assert_eq!(child(count, (handles(63),)).join(), Ok(63));
    assert_eq!(child(count, (handles(63),)).join(), Ok(63));
}

#[procshare::test]
fn handles_are_passed_on() {
    let _watchdog = watchdog(60);
    let (queue, go) = (queue(8), queue(1));
    fn wait_and_put(queue: SharedQueue<u32>, go: SharedQueue<u32>) {
        queue.put(go.get().unwrap()).unwrap();
    }
    // It outlives the one that starts it.
    let pass_on = |queue: SharedQueue<u32>, go: SharedQueue<u32>| {
        Process::spawn(wait_and_put, (queue, go)).map(drop).unwrap();
    };
    child(pass_on, (queue.clone(), go.clone())).join().unwrap();
    assert_eq!(queue.get_timeout(LONG), Err(RecvError::TimedOut));
    go.put(7).unwrap();
    assert_eq!((queue.get(), queue.get()), (Ok(7), Err(RecvError::Disconnected)));
}

#[procshare::test]
fn a_server_waits_for_its_clients() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("queue-server");
        let server = SharedQueue::<u32>::create(&name, 8).unwrap();
        let client = |name: String, number: u32| SharedQueue::open(name).unwrap().put(number).unwrap();
        assert_eq!(server.get_timeout(SHORT), Err(RecvError::TimedOut));
        child(client, (name.clone(), 1)).join().unwrap();
        assert_eq!((server.get(), server.get()), (Ok(1), Err(RecvError::Disconnected)));
        let server = server.wait_for_peers();
        assert_eq!(server.get_timeout(LONG), Err(RecvError::TimedOut));
        child(client, (name.clone(), 2)).join().unwrap();
        assert_eq!((server.get(), server.get()), (Ok(2), Err(RecvError::Disconnected)));
        drop(server);
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}

/// The time this process has had processors for.
fn time_used() -> Duration {
    // SAFETY: zero is a value of every field: all are numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// How long somebody waits who is to use no processor meanwhile.
const WAIT: Duration = Duration::from_secs(1);

/// Whether a consumer and a producer wait in vain without using a hundredth of a processor.
fn idle() -> bool {
    let (empty, full) = (queue(1), queue(1));
    full.clone().put(1).unwrap();
    let get = |queue: SharedQueue<u32>| {
        let before = time_used();
        assert_eq!(queue.get_timeout(WAIT), Err(RecvError::TimedOut));
        time_used() - before
    };
    let put = |queue: SharedQueue<u32>| {
        let before = time_used();
        assert_eq!(queue.put_timeout(2, WAIT), Err(SendError::TimedOut(2)));
        time_used() - before
    };
    let (getter, putter) = (child(get, (empty.clone(),)), child(put, (full.clone(),)));
    let used = [getter, putter].map(|child| child.join().unwrap());
    println!(
        "an idle consumer uses {:?} of {WAIT:?}, a producer {:?}",
        used[0], used[1]
    );
    used.iter().all(|used| *used < WAIT / 100)
}

#[procshare::test]
fn whoever_waits_uses_no_processor() {
    let _watchdog = watchdog(60);
    // Where other programs fight over the caches everything takes longer: one of three must be as promised.
    assert!((0..3).any(|_| idle()), "see the figures");
}
