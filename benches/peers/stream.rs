//! Numbers that go from producers to consumers, and the time from the first that came to the last.

use crate::race::{Lap, Mark, Outcome, lap};
use procshare::SharedAtomic;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::atomic::AtomicU32;

/// Where those wait for each other who start together.
pub(crate) type Gate = SharedAtomic<AtomicU32>;

/// Bits below the producer's number.
const PRODUCER: u32 = 32;
/// Most producers there can be.
const PRODUCERS: usize = 2;

/// What a producer puts in: its own numbers, rising.
pub(crate) fn numbers(producer: u64, items: u64) -> Range<u64> {
    let first = producer << PRODUCER;
    first..first + items
}

/// What has come: it must rise from each producer.
#[derive(Default)]
pub(crate) struct Tally {
    taken: u64,
    sum: u64,
    next: [u64; PRODUCERS],
}

impl Tally {
    #[inline]
    pub(crate) fn add(&mut self, number: u64) {
        let next = &mut self.next[(number >> PRODUCER) as usize];
        assert!(number >= *next, "{number} came late");
        *next = number + 1;
        self.taken += 1;
        self.sum += number;
    }
}

/// What one consumer took, and when.
#[derive(Serialize, Deserialize)]
pub(crate) struct Taken {
    lap: Lap,
    sum: u64,
}

/// Runs one producer: from when all are there until it has put in what it had.
pub(crate) fn produce(gate: &AtomicU32, parties: u32, put: impl FnOnce()) -> Lap {
    lap(gate, parties, || {
        let first = Mark::now(0);
        put();
        (first, Mark::now(0))
    })
}

/// Runs one consumer, which takes so many numbers; `take` adds one or several to the tally.
pub(crate) fn consume(gate: &AtomicU32, parties: u32, items: u64, mut take: impl FnMut(&mut Tally)) -> Taken {
    let mut tally = Tally::default();
    let lap = lap(gate, parties, || {
        take(&mut tally);
        let first = Mark::now(tally.taken);
        while tally.taken < items {
            take(&mut tally);
        }
        (first, Mark::now(tally.taken))
    });
    Taken { lap, sum: tally.sum }
}

/// Proves that each producer's `items` came, each once, and tells how long one took on the way.
pub(crate) fn arrived(items: u64, producers: &[Lap], consumers: &[Taken]) -> Outcome {
    let all = || consumers.iter().map(|taken| &taken.lap);
    let sent: u64 = (0..producers.len() as u64)
        .flat_map(|producer| numbers(producer, items))
        .sum();
    assert_eq!(consumers.iter().map(|taken| taken.sum).sum::<u64>(), sent);
    assert_eq!(
        all().map(|lap| lap.last.count).sum::<u64>(),
        producers.len() as u64 * items
    );
    let begin = all().map(|lap| lap.first.at).min().unwrap();
    let end = all().map(|lap| lap.last.at).max().unwrap();
    let taken: u64 = all().map(|lap| lap.last.count - lap.first.count).sum();
    Outcome {
        pace: (end - begin) as f64 / taken as f64,
        disturbed: all().chain(producers).map(Lap::disturbed).fold(0.0, f64::max),
    }
}

/// Has as many threads put numbers in as take them out.
pub(crate) fn in_threads<P, C>(items: u64, producers: Vec<P>, consumers: Vec<C>) -> Outcome
where
    P: FnOnce(Range<u64>) + Send,
    C: FnMut(&mut Tally) + Send,
{
    let parties = (producers.len() + consumers.len()) as u32;
    let gate = &AtomicU32::new(0);
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..)
            .zip(producers)
            .map(|(index, put)| scope.spawn(move || produce(gate, parties, || put(numbers(index, items)))))
            .collect();
        let consumers: Vec<_> = consumers
            .into_iter()
            .map(|take| scope.spawn(move || consume(gate, parties, items, take)))
            .collect();
        let consumers: Vec<_> = consumers.into_iter().map(|taker| taker.join().unwrap()).collect();
        let producers: Vec<_> = producers.into_iter().map(|giver| giver.join().unwrap()).collect();
        arrived(items, &producers, &consumers)
    })
}
