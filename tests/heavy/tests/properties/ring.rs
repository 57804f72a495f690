//! A ring against a naive one.

use procshare::{Consumer, Producer, RecvError, SendError, ring};
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
enum Step {
    Push,
    Pop,
    /// Opens a chunk of so many places, and commits so many of a hundred parts of it; drops it if that is over a hundred.
    Write(usize, usize),
    Read(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Push),
        2 => Just(Step::Pop),
        2 => (0..12usize, 0..140usize).prop_map(|(most, part)| Step::Write(most, part)),
        2 => (0..12usize, 0..140usize).prop_map(|(most, part)| Step::Read(most, part)),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a ring ought to do, with slots to a power of two.
struct Naive {
    capacity: usize,
    queued: VecDeque<u64>,
    pushed: usize,
    popped: usize,
}

impl Naive {
    fn next(&mut self) -> u64 {
        self.pushed += 1;
        self.queued.push_back(self.pushed as u64);
        self.pushed as u64
    }

    /// From a place to where the slots end.
    fn side_by_side(&self, place: usize) -> usize {
        let slots = self.capacity.next_power_of_two();
        slots - place % slots
    }

    fn places(&self, most: usize) -> usize {
        most.min(self.capacity - self.queued.len())
            .min(self.side_by_side(self.pushed))
    }

    fn values(&self, most: usize) -> usize {
        most.min(self.queued.len()).min(self.side_by_side(self.popped))
    }

    fn drain(&mut self, values: usize) -> Vec<u64> {
        self.popped += values;
        self.queued.drain(..values).collect()
    }
}

fn step(producer: &mut Producer<u64>, consumer: &mut Consumer<u64>, naive: &mut Naive, step: &Step) {
    match *step {
        Step::Push if naive.queued.len() == naive.capacity => {
            assert_eq!(producer.try_push(0), Err(SendError::Full(0)));
        }
        Step::Push => producer.push(naive.next()).unwrap(),
        Step::Pop if naive.queued.is_empty() => assert_eq!(consumer.try_pop(), Err(RecvError::Empty)),
        Step::Pop => assert_eq!(consumer.pop(), Ok(naive.drain(1)[0])),
        Step::Write(most, _) if naive.places(most) == 0 && most > 0 => {
            assert_eq!(producer.try_write_chunk(most).unwrap_err(), SendError::Full(()));
        }
        Step::Write(most, part) => {
            let mut chunk = producer.write_chunk(most).unwrap();
            assert_eq!(chunk.len(), naive.places(most));
            let commit = chunk.len() * part.min(100) / 100;
            chunk.iter_mut().take(commit).for_each(|place| *place = naive.next());
            match part {
                0..=100 => chunk.commit(commit),
                _ => drop(chunk),
            }
        }
        Step::Read(most, _) if naive.values(most) == 0 && most > 0 => {
            assert_eq!(consumer.try_read_chunk(most).unwrap_err(), RecvError::Empty);
        }
        Step::Read(most, part) => {
            let chunk = consumer.read_chunk(most).unwrap();
            let values: Vec<u64> = naive.queued.iter().copied().take(naive.values(most)).collect();
            assert_eq!(*chunk, values);
            let commit = chunk.len() * part.min(100) / 100;
            naive.drain(commit);
            match part {
                0..=100 => chunk.commit(commit),
                _ => drop(chunk),
            }
        }
    }
    assert_eq!(
        (producer.len(), consumer.len()),
        (naive.queued.len(), naive.queued.len())
    );
    assert_eq!(consumer.is_full(), naive.queued.len() == naive.capacity);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_naive_ring_does(capacity in 1..10usize, steps in steps()) {
        let (mut producer, mut consumer) = ring(capacity).unwrap();
        let mut naive = Naive { capacity, queued: VecDeque::new(), pushed: 0, popped: 0 };
        for what in &steps {
            step(&mut producer, &mut consumer, &mut naive, what);
        }
    }
}
