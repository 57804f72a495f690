//! Kill storms over queues, pipes and rings: no item is doubled or out of order, and only the dead take items with them.
//!
//! One second for queues, three where tests are thorough, and one for pipes and rings each, or as many as
//! `PROCSHARE_STORM_SECONDS` says.

#![cfg(all(feature = "derive", feature = "messages"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/storm.rs"]
mod storm;

use common::unique;
use forked::{Child, End, Others, frame_for, now, until};
use procshare::{
    Capacity, Connection, Consumer, Producer, RecvError, Segment, SendError, SharedAtomicArray, SharedQueue,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use storm::{Random, length, limit};

/// Nobody may wait longer for a call to end, whoever is killed.
const LONGEST: Duration = Duration::from_secs(1);
/// Fewest kills a second that deserve the name, on a machine that does nothing else.
const RATE: f64 = 25.0;
/// Words of what has been seen of each producer, 64 numbers in each.
const WORDS: usize = 1 << 20;

/// Producer, number, and as many bytes as the number says.
type Item = (u32, u64, Vec<u8>);

fn item(producer: usize, number: u64) -> Item {
    (producer as u32, number, vec![number as u8; number as usize * 7 % 300])
}

/// What all processes of a storm write down. Each word has one writer at a time, or is only ever raised.
///
/// Relaxed throughout: each word stands for itself, and who is killed has stored it or not.
struct Ledger {
    producers: usize,
    /// How far the storm has come, and the longest wait.
    words: SharedAtomicArray<AtomicU64>,
    /// The highest number a producer may have put: its successor goes on above it.
    begun: SharedAtomicArray<AtomicU64>,
    /// One bit for each number whose put has returned.
    acknowledged: SharedAtomicArray<AtomicU64>,
    /// The last number a consumer has had of a producer.
    last: SharedAtomicArray<AtomicU64>,
    /// One bit for each number that was received.
    seen: SharedAtomicArray<AtomicU64>,
}

/// The storm rages; all who are left put no more; all who are left get what is left.
const RAGES: u64 = 0;
const ABATES: u64 = 1;
const OVER: u64 = 2;

impl Ledger {
    fn new(producers: usize, consumers: usize) -> Self {
        Ledger {
            producers,
            words: SharedAtomicArray::new(2).unwrap(),
            begun: SharedAtomicArray::new(producers).unwrap(),
            acknowledged: SharedAtomicArray::new(producers * WORDS).unwrap(),
            last: SharedAtomicArray::new(producers * consumers).unwrap(),
            seen: SharedAtomicArray::new(producers * WORDS).unwrap(),
        }
    }

    fn phase(&self) -> u64 {
        self.words[0].load(Relaxed)
    }

    fn enter(&self, phase: u64) {
        self.words[0].store(phase, Relaxed);
    }

    /// Measures one call.
    fn timed<R>(&self, call: impl FnOnce() -> R) -> R {
        let before = now();
        let outcome = call();
        self.words[1].fetch_max(now() - before, Relaxed);
        outcome
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.words[1].load(Relaxed))
    }

    /// The next `count` numbers of a producer, which nobody will use again.
    fn begin(&self, producer: usize, count: u64) -> std::ops::RangeInclusive<u64> {
        let begun = self.begun[producer].load(Relaxed);
        assert!(begun + count < WORDS as u64 * 64, "so long a storm needs more words");
        self.begun[producer].store(begun + count, Relaxed);
        begun + 1..=begun + count
    }

    fn acknowledge(&self, producer: usize, number: u64) {
        let word = &self.acknowledged[producer * WORDS + number as usize / 64];
        word.fetch_or(1 << (number % 64), Relaxed);
    }

    /// Notes what a consumer has received: in order, and for the first time.
    fn receive(&self, consumer: usize, producer: usize, number: u64) {
        let last = self.last[consumer * self.producers + producer].swap(number, Relaxed);
        assert!(last < number, "{number} of producer {producer} after {last}");
        let bit = 1 << (number % 64);
        let word = self.seen[producer * WORDS + number as usize / 64].fetch_or(bit, Relaxed);
        assert!(word & bit == 0, "{number} of producer {producer} twice");
    }

    /// Every acknowledged item was received, or taken by a consumer that was killed: one by each at most.
    fn assert_complete(&self, what: &str, kills: &Kills) {
        let (mut lost, mut total) = (0, 0);
        for (acknowledged, seen) in self.acknowledged.iter().zip(self.seen.iter()) {
            let (acknowledged, seen) = (acknowledged.load(Relaxed), seen.load(Relaxed));
            total += acknowledged.count_ones() as usize;
            lost += (acknowledged & !seen).count_ones() as usize;
        }
        let Kills { all, consumers, rate } = kills;
        println!(
            "{what}: {total} items, {all} kills, {rate:.0} a second; {lost} items died with {consumers} consumers; the \
             longest wait took {:.1?}",
            self.longest()
        );
        assert!(total > 1000, "{total} items are no storm");
        assert!(
            lost <= *consumers,
            "{lost} items are lost, and {consumers} consumers were killed"
        );
    }
}

struct Kills {
    all: usize,
    consumers: usize,
    rate: f64,
}

/// Kills workers at random and replaces them; those left at the end finish, producers first.
fn rage(length: Duration, ledger: &Ledger, workers: usize, work: impl Fn(usize)) -> Kills {
    let (mut random, others) = (Random(now() | 1), Others::watch());
    let start = |number| Child::fork(|| work(number));
    let mut living: Vec<Child> = (0..workers).map(start).collect();
    let (began, mut kills) = (Instant::now(), vec![0; workers]);
    while began.elapsed() < length {
        // Nothing is awaited here: the next blow falls at a random moment.
        thread::park_timeout(Duration::from_micros(random.below(6_000)));
        let doomed = random.below(1 << workers) & random.below(1 << workers);
        let is_doomed = |number: &usize| doomed >> number & 1 != 0;
        (0..workers).filter(is_doomed).for_each(|number| living[number].kill());
        for number in (0..workers).filter(is_doomed) {
            assert_eq!(living[number].end(), End::Killed(libc::SIGKILL), "it ended by itself");
            living[number] = start(number);
            kills[number] += 1;
        }
    }
    let all = kills.iter().sum();
    let rate = all as f64 / began.elapsed().as_secs_f64();
    ledger.enter(ABATES);
    let consumers = living.split_off(ledger.producers);
    living.into_iter().for_each(Child::finish);
    ledger.enter(OVER);
    consumers.into_iter().for_each(Child::finish);
    let allowed = others.allow(LONGEST);
    assert!(ledger.longest() < allowed, "somebody waited for {:?}", ledger.longest());
    let slower = allowed.as_secs_f64() / LONGEST.as_secs_f64();
    assert!(rate * slower > RATE, "{rate:.0} kills a second are no storm");
    Kills {
        all,
        consumers: kills[ledger.producers..].iter().sum(),
        rate,
    }
}

/// The files in shared memory that have to do with a name.
fn litter(name: &str) -> Vec<String> {
    let files = std::fs::read_dir("/dev/shm").unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|file| file.contains(name)).collect()
}

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 3;
/// Items after which a worker gives its handle back and opens another.
const STAY: u64 = 200;

fn open(name: &str) -> SharedQueue<Item> {
    Segment::open(name).unwrap().open_queue("queue").unwrap()
}

/// Puts one item or several at once, until the storm abates.
fn put_on_and_on(name: &str, ledger: &Ledger, producer: usize) {
    let mut queue = open(name);
    while ledger.phase() == RAGES {
        let numbers = ledger.begin(producer, 1 + ledger.begun[producer].load(Relaxed) % 3);
        let mut items: Vec<Item> = numbers.clone().map(|number| item(producer, number)).collect();
        while !items.is_empty() && ledger.phase() == RAGES {
            let refusal = match items.len() {
                1 => ledger.timed(|| queue.put(items.remove(0))).err().map(in_a_row),
                _ => ledger.timed(|| queue.put_all(std::mem::take(&mut items))).err(),
            };
            match refusal {
                None => numbers.clone().for_each(|number| ledger.acknowledge(producer, number)),
                // All consumers were dead at once; what comes back was not put.
                Some(SendError::Disconnected(back)) => {
                    items = back;
                    thread::yield_now();
                }
                Some(refusal) => panic!("{refusal}"),
            }
        }
        if numbers.end() % STAY < 3 {
            queue = open(name);
        }
    }
}

fn in_a_row(refusal: SendError<Item>) -> SendError<Vec<Item>> {
    match refusal {
        SendError::Disconnected(back) => SendError::Disconnected(vec![back]),
        refusal => panic!("{refusal}"),
    }
}

/// Gets until nobody is left to put, when the storm is over.
fn get_on_and_on(name: &str, ledger: &Ledger, consumer: usize) {
    let (mut queue, mut count) = (open(name), 0);
    loop {
        let phase = ledger.phase();
        match ledger.timed(|| queue.get()) {
            Ok(found) => {
                let (producer, number) = (found.0 as usize, found.1);
                assert_eq!(found, item(producer, number), "torn");
                ledger.receive(consumer, producer, number);
            }
            Err(RecvError::Disconnected) if phase == OVER => return,
            // All producers were dead at once.
            Err(RecvError::Disconnected) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        count += 1;
        if count % STAY == 0 {
            queue = open(name);
        }
    }
}

/// How many small and how many large items fit, put by the one and got by the other handle.
fn brim(taker: &SharedQueue<Item>, putter: &SharedQueue<Item>) -> [u64; 2] {
    assert_eq!(taker.len(), 0);
    assert!(taker.try_get().is_err());
    [0, 1500].map(|length| {
        let full = |number: &u64| matches!(putter.try_put((0, *number, vec![0; length])), Err(SendError::Full(_)));
        let count = (0..).find(full).unwrap();
        for number in 0..count {
            assert_eq!(taker.get().unwrap().1, number);
        }
        count
    })
}

#[test]
fn a_queue_loses_and_doubles_nothing() {
    let _frame = frame_for(limit());
    let (name, capacity) = (unique("storm-queue"), Capacity::items(32).bytes(8192));
    let segment = Segment::create(&name, 64 << 10).unwrap();
    drop(segment.queue::<Item>("queue", capacity).unwrap());
    let ledger = Ledger::new(PRODUCERS, CONSUMERS);
    let work = |number| match number {
        0..PRODUCERS => put_on_and_on(&name, &ledger, number),
        _ => get_on_and_on(&name, &ledger, number - PRODUCERS),
    };
    let kills = rage(length(3), &ledger, PRODUCERS + CONSUMERS, work);
    ledger.assert_complete("queue", &kills);
    // No seat is left to a ghost, and no room is lost.
    let queue = open(&name);
    let asked = Instant::now();
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
    assert!(asked.elapsed() < LONGEST);
    let fresh = SharedQueue::new(capacity).unwrap();
    assert_eq!(brim(&queue, &queue.clone()), brim(&fresh, &fresh.clone()));
    drop((queue, segment));
    assert_eq!(litter(&name), [""; 0]);
}

/// Pushes values, some of them in place, until the storm abates.
fn push_on_and_on(name: &str, ledger: &Ledger) {
    let mut producer = Producer::<u64>::open(name).unwrap();
    while ledger.phase() == RAGES {
        let number = *ledger.begin(0, 1).end();
        while ledger.phase() == RAGES {
            let outcome = if number % 4 == 0 {
                let chunk = ledger.timed(|| producer.write_chunk(1));
                chunk
                    .map(|mut chunk| chunk[0] = number)
                    .map_err(|refusal| refusal.to_string())
            } else {
                ledger
                    .timed(|| producer.push(number))
                    .map_err(|refusal| refusal.to_string())
            };
            match outcome {
                Ok(()) => {
                    ledger.acknowledge(0, number);
                    break;
                }
                // The consumer was dead; the number was not pushed.
                Err(refusal) if refusal == SendError::Disconnected(()).to_string() => thread::yield_now(),
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }
}

fn pop_on_and_on(name: &str, ledger: &Ledger) {
    let mut consumer = Consumer::<u64>::open(name).unwrap();
    loop {
        let phase = ledger.phase();
        match ledger.timed(|| consumer.pop()) {
            Ok(number) => ledger.receive(0, 0, number),
            Err(RecvError::Disconnected) if phase == OVER => return,
            Err(RecvError::Disconnected) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_ring_loses_and_doubles_nothing() {
    let _frame = frame_for(limit());
    let name = unique("storm-ring");
    drop_all_but_the_name(&name, |name| {
        let ledger = Ledger::new(1, 1);
        let work = |number| match number {
            0 => push_on_and_on(name, &ledger),
            _ => pop_on_and_on(name, &ledger),
        };
        let kills = rage(length(1), &ledger, 2, work);
        ledger.assert_complete("ring", &kills);
        let (mut producer, mut consumer) = (Producer::open(name).unwrap(), Consumer::<u64>::open(name).unwrap());
        let full = |number: &u64| producer.try_push(*number).is_err();
        assert_eq!((0..).find(full), Some(64), "room is lost");
        assert_eq!(*consumer.read_chunk(1).unwrap(), [0]);
    });
    assert_eq!(litter(&name), [""; 0]);
}

/// Runs `body` while the segment of a ring is there and nobody has its ends.
fn drop_all_but_the_name(name: &str, body: impl FnOnce(&str)) {
    let producer = Producer::<u64>::create(name, 64).unwrap();
    let _segment = Segment::open(name).unwrap();
    drop(producer);
    body(name);
}

/// Sends on and on, and receives what comes back, at an end of the pipe that nobody kills.
fn stand(connection: Connection<u64>, ledger: &Ledger) {
    let (sender, receiver) = connection.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut number = 1;
            while ledger.phase() == RAGES {
                match ledger.timed(|| sender.send(number)) {
                    Ok(()) => {
                        ledger.acknowledge(0, number);
                        number += 1;
                    }
                    Err(SendError::Disconnected(back)) => {
                        assert_eq!(back, number);
                        thread::yield_now();
                    }
                    Err(refusal) => panic!("{refusal}"),
                }
            }
        });
        loop {
            let phase = ledger.phase();
            match ledger.timed(|| receiver.recv()) {
                Ok(number) => ledger.receive(0, 0, number),
                Err(RecvError::Disconnected) if phase != RAGES => return,
                Err(RecvError::Disconnected) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn a_pipe_loses_and_doubles_nothing() {
    let _frame = frame_for(limit());
    let name = unique("storm-pipe");
    let (ledger, others) = (Ledger::new(1, 1), Others::watch());
    // Who opened the other end last, and whether there is a pipe at all.
    let opened = SharedAtomicArray::<AtomicU64>::new(2).unwrap();
    let survivor = Child::fork(|| {
        let connection = Connection::create(&name, 16).unwrap();
        opened[1].store(1, Relaxed);
        stand(connection, &ledger);
    });
    until("the pipe is there", || opened[1].load(Relaxed) == 1);
    let start = |number: usize| {
        let opened = &opened[0];
        Child::fork(|| {
            let connection = Connection::<u64>::open(&name).unwrap();
            opened.store(number as u64, Relaxed);
            while let Ok(number) = connection.recv() {
                connection.send(number).unwrap();
            }
        })
    };
    let (mut echo, mut random, began, mut all) = (start(1), Random(now() | 1), Instant::now(), 0);
    while began.elapsed() < length(1) {
        thread::park_timeout(Duration::from_micros(random.below(8_000)));
        echo.kill();
        assert_eq!(echo.end(), End::Killed(libc::SIGKILL), "it ended by itself");
        all += 1;
        echo = start(all + 1);
    }
    let rate = all as f64 / began.elapsed().as_secs_f64();
    until("the last one has come", || opened[0].load(Relaxed) == all as u64 + 1);
    ledger.enter(ABATES);
    echo.finish();
    survivor.finish();
    assert!(
        ledger.longest() < others.allow(LONGEST),
        "somebody waited for {:?}",
        ledger.longest()
    );
    ledger.assert_complete(
        "pipe",
        &Kills {
            all,
            consumers: all,
            rate,
        },
    );
    assert_eq!(litter(&name), [""; 0]);
}
