//! Queues between processes, beside channels between threads.

use crate::contended::pace;
use crate::measure::{Effort, Measured, interleave};
use crate::race::{Lap, Outcome};
use crate::stream::{Gate, Taken, Tally, arrived, consume, in_threads, numbers, produce};
use procshare::{Process, SharedQueue};
use std::ops::Range;

const ROUNDS: usize = 15;
const ITEMS: u64 = 1 << 20;
const CAPACITY: usize = 1024;
const BATCH: usize = 64;

fn put_in(queue: SharedQueue<u64>, gate: Gate, parties: u32, numbers: Range<u64>, batch: usize) -> Lap {
    let mut numbers = numbers;
    produce(&gate, parties, || {
        if batch == 1 {
            numbers.for_each(|number| queue.put(number).unwrap());
        } else {
            while !numbers.is_empty() {
                queue.put_all(numbers.by_ref().take(batch)).unwrap();
            }
        }
    })
}

fn take_out(queue: SharedQueue<u64>, gate: Gate, parties: u32, items: u64, batch: usize) -> Taken {
    consume(&gate, parties, items, |tally| {
        if batch == 1 {
            tally.add(queue.get().unwrap());
        } else {
            let numbers = queue.get_up_to(batch).unwrap();
            numbers.for_each(|number| tally.add(number.unwrap()));
        }
    })
}

/// Has as many processes put numbers into one queue as take them out.
pub(crate) fn through_queue(pairs: u32, items: u64, batch: usize) -> Outcome {
    let queue = SharedQueue::new(CAPACITY).unwrap();
    let gate = Gate::new(0).unwrap();
    let consumer = |_| Process::spawn(take_out, (queue.clone(), gate.clone(), 2 * pairs, items, batch)).unwrap();
    let producer = |index: u32| {
        let numbers = numbers(u64::from(index), items);
        Process::spawn(put_in, (queue.clone(), gate.clone(), 2 * pairs, numbers, batch)).unwrap()
    };
    let consumers: Vec<_> = (0..pairs).map(consumer).collect();
    let producers: Vec<_> = (0..pairs).map(producer).collect();
    let consumers: Vec<_> = consumers.into_iter().map(|child| child.join().unwrap()).collect();
    let producers: Vec<_> = producers.into_iter().map(|child| child.join().unwrap()).collect();
    arrived(items, &producers, &consumers)
}

/// Has as many threads send numbers through one channel as receive them.
fn through_channel(pairs: usize, items: u64) -> Outcome {
    let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
    let send = |mut numbers: Range<u64>| numbers.try_for_each(|number| sender.send(number)).unwrap();
    let receive = |tally: &mut Tally| tally.add(receiver.recv().unwrap());
    in_threads(items, vec![send; pairs], vec![receive; pairs])
}

fn beside_channel(effort: Effort, batch: usize) -> Option<Measured> {
    let items = effort.operations(ITEMS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || pace(|| Some(through_queue(1, items, batch))),
        || pace(|| Some(through_channel(1, items))),
    ))
}

pub(crate) fn queue_1x1(effort: Effort) -> Option<Measured> {
    beside_channel(effort, 1)
}

pub(crate) fn queue_batch(effort: Effort) -> Option<Measured> {
    beside_channel(effort, BATCH)
}

/// Four that share two processors are in each other's way, whatever other programs do.
pub(crate) fn queue_2x2(effort: Effort) -> Option<Measured> {
    let items = effort.operations(ITEMS / 2);
    Some(interleave(
        effort.rounds(ROUNDS),
        || through_queue(2, items, 1).pace,
        || through_channel(2, items).pace,
    ))
}
