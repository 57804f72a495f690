//! Rings between processes, beside rings between threads and copies of one thread.

use crate::contended::pace;
use crate::measure::{Effort, Measured, each, interleave};
use crate::race::{Lap, Outcome};
use crate::stream::{Gate, Taken, Tally, arrived, consume, in_threads, numbers, produce};
use procshare::process::Entry;
use procshare::{Consumer, Process, Producer, Shareable, ring};
use std::hint::{black_box, spin_loop};
use std::ops::Range;

const ROUNDS: usize = 15;
const ITEMS: u64 = 4 << 20;
const CAPACITY: usize = 1024;
const CHUNK: usize = 64;

const MIB: usize = 1 << 20;
/// Chunks of 1 MiB that the ring of bytes holds.
const PLACES: usize = 4;
const MIBS: u64 = 1024;

fn push(mut ring: Producer<u64>, gate: Gate, numbers: Range<u64>) -> Lap {
    produce(&gate, 2, || {
        for number in numbers {
            ring.push(number).unwrap();
        }
    })
}

fn pop(mut ring: Consumer<u64>, gate: Gate, items: u64) -> Taken {
    consume(&gate, 2, items, |tally| tally.add(ring.pop().unwrap()))
}

fn write_chunks(mut ring: Producer<u64>, gate: Gate, mut numbers: Range<u64>) -> Lap {
    produce(&gate, 2, || {
        while !numbers.is_empty() {
            let mut chunk = ring.write_chunk(CHUNK).unwrap();
            for (place, number) in chunk.iter_mut().zip(&mut numbers) {
                *place = number;
            }
        }
    })
}

fn read_chunks(mut ring: Consumer<u64>, gate: Gate, items: u64) -> Taken {
    consume(&gate, 2, items, |tally| {
        for number in ring.read_chunk(CHUNK).unwrap().iter() {
            tally.add(*number);
        }
    })
}

/// A MiB that bears a number at both ends.
struct Numbered(Vec<u8>);

impl Numbered {
    fn new() -> Self {
        Numbered((0..MIB).map(|byte| (byte % 251) as u8).collect())
    }

    fn write_to(&mut self, place: &mut [u8], number: u64) {
        let number = number.to_ne_bytes();
        self.0[..8].copy_from_slice(&number);
        self.0[MIB - 8..].copy_from_slice(&number);
        place.copy_from_slice(&self.0);
    }

    fn read_from(&mut self, place: &[u8]) -> u64 {
        self.0.copy_from_slice(place);
        let [number, other] =
            [0, MIB - 8].map(|at| u64::from_ne_bytes(*black_box(&self.0)[at..].first_chunk().unwrap()));
        assert_eq!(number, other);
        number
    }
}

fn write_mibs(mut ring: Producer<u8>, gate: Gate, numbers: Range<u64>) -> Lap {
    let mut source = Numbered::new();
    produce(&gate, 2, || {
        for number in numbers {
            source.write_to(&mut ring.write_chunk(MIB).unwrap(), number);
        }
    })
}

fn read_mibs(mut ring: Consumer<u8>, gate: Gate, items: u64) -> Taken {
    let mut target = Numbered(vec![0; MIB]);
    let taken = consume(&gate, 2, items, |tally| {
        tally.add(target.read_from(&ring.read_chunk(MIB).unwrap()));
    });
    assert_eq!(target.0[8..MIB - 8], Numbered::new().0[8..MIB - 8]);
    taken
}

/// Starts a process at each end of a new ring.
fn in_processes<T, P, C>(items: u64, capacity: usize, produce: P, consume: C) -> Outcome
where
    T: Shareable,
    P: Entry<(Producer<T>, Gate, Range<u64>), Output = Lap>,
    C: Entry<(Consumer<T>, Gate, u64), Output = Taken>,
{
    let (producer, consumer) = ring(capacity).unwrap();
    let gate = Gate::new(0).unwrap();
    let consumer = Process::spawn(consume, (consumer, gate.clone(), items)).unwrap();
    let producer = Process::spawn(produce, (producer, gate, numbers(0, items))).unwrap();
    let taken = consumer.join().unwrap();
    arrived(items, &[producer.join().unwrap()], &[taken])
}

/// Tries until it succeeds.
fn spin<R, E>(mut attempt: impl FnMut() -> Result<R, E>) -> R {
    loop {
        match attempt() {
            Ok(result) => return result,
            Err(_) => spin_loop(),
        }
    }
}

fn one_by_one(items: u64) -> Outcome {
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
    let push = move |numbers: Range<u64>| numbers.for_each(|number| spin(|| producer.push(number)));
    let pop = move |tally: &mut Tally| tally.add(spin(|| consumer.pop()));
    in_threads(items, vec![push], vec![pop])
}

fn in_chunks(items: u64) -> Outcome {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(CAPACITY);
    let write = move |mut numbers: Range<u64>| {
        while !numbers.is_empty() {
            spin(|| {
                producer
                    .write_chunk_uninit(CHUNK)
                    .map(|chunk| chunk.fill_from_iter(&mut numbers))
            });
        }
    };
    let read = move |tally: &mut Tally| {
        spin(|| {
            consumer.read_chunk(CHUNK).map(|chunk| {
                let (first, rest) = chunk.as_slices();
                first.iter().chain(rest).for_each(|number| tally.add(*number));
                chunk.commit_all();
            })
        });
    };
    in_threads(items, vec![write], vec![read])
}

pub(crate) fn ring_1x1(effort: Effort) -> Option<Measured> {
    let items = effort.operations(ITEMS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || pace(|| Some(in_processes(items, CAPACITY, push, pop))),
        || pace(|| Some(one_by_one(items))),
    ))
}

pub(crate) fn ring_chunk(effort: Effort) -> Option<Measured> {
    let items = effort.operations(4 * ITEMS).next_multiple_of(CHUNK as u64);
    Some(interleave(
        effort.rounds(ROUNDS),
        || pace(|| Some(in_processes(items, CAPACITY, write_chunks, read_chunks))),
        || pace(|| Some(in_chunks(items))),
    ))
}

/// A MiB through the ring, beside the two copies it takes, made by one thread.
pub(crate) fn ring_bandwidth(effort: Effort) -> Option<Measured> {
    let mibs = effort.operations(MIBS);
    let (mut source, mut target) = (Numbered::new(), Numbered::new());
    let mut places = vec![0; PLACES * MIB];
    let mut number = 0;
    let mut copy_twice = || {
        let place = number as usize % PLACES * MIB..;
        let place = &mut places[place][..MIB];
        source.write_to(place, number);
        assert_eq!(target.read_from(black_box(place)), number);
        number += 1;
    };
    Some(interleave(
        effort.rounds(ROUNDS),
        || pace(|| Some(in_processes(mibs, PLACES * MIB, write_mibs, read_mibs))),
        || each(mibs, &mut copy_twice),
    ))
}
