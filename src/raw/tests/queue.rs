use super::{check, lives, lock, process};
use crate::primitive::model::{become_owner, declare_dead, pass_time};
use crate::primitive::{Deadline, Ordering, Peers};
use crate::raw::event_count::Raised;
use crate::raw::mark::{CLOSED, Mark};
use crate::raw::queue::RawQueue;
use crate::raw::{Bounds, Moved, Stop, Stretch, Waiting};
use loom::cell::UnsafeCell;
use std::sync::Arc;

const CONSUMER: u32 = 9;

/// A queue of numbers, one unit each. Loom reports any two accesses to a slot that the queue does not order.
struct Numbers {
    raw: RawQueue,
    bounds: Bounds,
    slots: Vec<UnsafeCell<u32>>,
}

// SAFETY: the slots are touched as the queue allows, which loom checks.
unsafe impl Sync for Numbers {}
// SAFETY: as above.
unsafe impl Send for Numbers {}

impl Numbers {
    fn new(capacity: u32) -> Arc<Self> {
        let bounds = Bounds {
            items: capacity,
            units: capacity,
            reserve: 0,
        };
        Arc::new(Numbers {
            raw: RawQueue::new(),
            bounds,
            slots: (0..capacity).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    fn slot(&self, stretch: Stretch) -> &UnsafeCell<u32> {
        &self.slots[stretch.start as usize % self.slots.len()]
    }

    fn write(&self, stretch: Stretch, number: u32) -> Moved {
        // SAFETY: loom's cell checks that nobody else has access meanwhile.
        self.slot(stretch).with_mut(|slot| unsafe { *slot = number });
        ONE
    }

    fn read(&self, stretch: Stretch) -> u32 {
        // SAFETY: loom's cell checks that nobody writes meanwhile.
        self.slot(stretch).with(|slot| unsafe { *slot })
    }

    fn put(&self, number: u32) -> Result<(), Stop> {
        self.put_before(number, &|| true)
    }

    /// Puts for as long as there are peers.
    fn put_before(&self, number: u32, has_peer: &dyn Fn() -> bool) -> Result<(), Stop> {
        let peer_check = || has_peer();
        let waiting = Waiting::new(Deadline::Never, &peer_check);
        self.raw
            .put(self.bounds, 1, &|| Peers, waiting, |room| Ok(self.write(room, number)))
            .map(|moved| assert_eq!(moved, ONE))
    }

    fn get(&self) -> Result<u32, Stop> {
        self.take_before(&|| true)
    }

    /// Takes for as long as there are peers.
    fn take_before(&self, has_peer: &dyn Fn() -> bool) -> Result<u32, Stop> {
        let peer_check = || has_peer();
        let waiting = Waiting::new(Deadline::Never, &peer_check);
        let mut number = 0;
        let read = |queued| {
            number = self.read(queued);
            Ok(ONE)
        };
        self.raw.get(self.bounds, 1, &|| Peers, waiting, read)?;
        Ok(number)
    }

    fn close(&self) {
        self.raw.close(&|| Peers);
    }
}

const ONE: Moved = Moved { items: 1, units: 1 };

fn put_all(numbers: &Numbers, mine: &[u32]) {
    mine.iter().for_each(|&number| put(numbers, number));
}

fn take_some(numbers: &Numbers, count: usize) -> Vec<u32> {
    (0..count).map(|_| numbers.get().expect("nobody closes it")).collect()
}

#[test]
fn loom_queue_one_to_one_in_order() {
    check(3, || {
        let numbers = Numbers::new(1);
        let producer = process(&numbers, 1, |numbers| put_all(numbers, &[11, 12]));
        become_owner(CONSUMER);
        assert_eq!(take_some(&numbers, 2), [11, 12]);
        producer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_one_to_one_room_for_two() {
    check(2, || {
        let numbers = Numbers::new(2);
        let producer = process(&numbers, 1, |numbers| put_all(numbers, &[11, 12, 13]));
        become_owner(CONSUMER);
        assert_eq!(take_some(&numbers, 3), [11, 12, 13]);
        producer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_two_producers_share_room_for_one() {
    check(2, || {
        let numbers = Numbers::new(1);
        let first = process(&numbers, 1, |numbers| put_all(numbers, &[11]));
        let second = process(&numbers, 2, |numbers| put_all(numbers, &[21, 22]));
        become_owner(CONSUMER);
        let taken = take_some(&numbers, 3);
        let at = |number| taken.iter().position(|&taken| taken == number);
        assert!(at(11).is_some() && at(21) < at(22), "{taken:?}");
        first.join().expect("the model thread ends");
        second.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_two_consumers_share_what_comes() {
    check(2, || {
        let numbers = Numbers::new(2);
        let consumers = [8, 9].map(|pid| process(&numbers, pid, |numbers| take_some(numbers, 1)));
        become_owner(1);
        put_all(&numbers, &[11, 12]);
        let taken = consumers.map(|consumer| consumer.join().expect("the model thread ends")[0]);
        assert!(taken == [11, 12] || taken == [12, 11], "{taken:?}");
    });
}

/// How far a process comes before it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Locked,
    Copied,
    Published,
    Unlocked,
}

impl Numbers {
    /// Does what `put` does where there is room, up to `step`.
    fn die_putting(&self, pid: u32, number: u32, step: Step) {
        let held = lock(&self.raw.producers.lock);
        let tail = Mark(self.raw.tail.mark.load(Ordering::Relaxed));
        if step >= Step::Copied {
            self.write(at(tail), number);
        }
        if step >= Step::Published {
            self.raw.tail.mark.store(tail.after(ONE).0, Ordering::Release);
        }
        if step >= Step::Unlocked {
            self.raw.producers.lock.unlock(held.owner);
        }
        declare_dead(pid);
    }

    /// Does what `take` does, up to `step`, or nothing if there is nothing to take. Tells what was lost with it.
    fn die_taking(&self, pid: u32, step: Step) -> Option<u32> {
        let held = lock(&self.raw.consumers.lock);
        let head = Mark(self.raw.head.load(Ordering::Relaxed));
        let tail = Mark(self.raw.tail.mark.load(Ordering::Acquire));
        let mut taken = None;
        if tail.units() != head.units() {
            let number = self.read(at(head));
            if step >= Step::Published {
                self.raw.head.store(head.after(ONE).0, Ordering::Release);
                taken = Some(number);
            }
        }
        if step >= Step::Unlocked {
            self.raw.consumers.lock.unlock(held.owner);
        }
        declare_dead(pid);
        taken
    }

    /// Takes until nobody is left of `producers`.
    fn drain(&self, producers: &[u32]) -> Vec<u32> {
        let mut taken = Vec::new();
        loop {
            match self.take_before(&|| producers.iter().any(|&pid| lives(pid))) {
                Ok(number) => taken.push(number),
                Err(stop) => {
                    assert_eq!(stop, Stop::Gone);
                    return taken;
                }
            }
        }
    }
}

fn at(mark: Mark) -> Stretch {
    Stretch {
        start: mark.units(),
        items: 1,
        units: 1,
    }
}

/// One producer dies at `step`, the other when it is done: its record arrives, the first one's may or may not.
fn producer_dies(step: Step) {
    check(2, move || {
        let numbers = Numbers::new(2);
        let dying = process(&numbers, 1, move |numbers| numbers.die_putting(1, 11, step));
        let other = process(&numbers, 2, |numbers| {
            put_all(numbers, &[21]);
            declare_dead(2);
        });
        become_owner(CONSUMER);
        let mut taken = numbers.drain(&[1, 2]);
        taken.sort_unstable();
        let all: &[u32] = if step >= Step::Published { &[11, 21] } else { &[21] };
        assert_eq!(taken, all);
        dying.join().expect("the model thread ends");
        other.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_producer_dies_before_it_copies() {
    producer_dies(Step::Locked);
}

#[test]
fn loom_queue_producer_dies_before_it_publishes() {
    producer_dies(Step::Copied);
}

#[test]
fn loom_queue_producer_dies_before_it_unlocks() {
    producer_dies(Step::Published);
}

#[test]
fn loom_queue_producer_dies_before_it_rings() {
    producer_dies(Step::Unlocked);
}

/// The queue is full; one consumer dies at `step`, the other takes what is left, and what the producer puts then.
fn consumer_dies(step: Step) {
    check(2, move || {
        let numbers = Numbers::new(1);
        become_owner(1);
        put_all(&numbers, &[11]);
        let dying = process(&numbers, 8, move |numbers| numbers.die_taking(8, step));
        let other = process(&numbers, CONSUMER, |numbers| numbers.drain(&[1]));
        put_all(&numbers, &[12]);
        declare_dead(1);
        let mut taken = other.join().expect("the model thread ends");
        taken.extend(dying.join().expect("the model thread ends"));
        taken.sort_unstable();
        assert_eq!(taken, [11, 12]);
    });
}

#[test]
fn loom_queue_consumer_dies_before_it_takes() {
    consumer_dies(Step::Copied);
}

#[test]
fn loom_queue_consumer_dies_before_it_unlocks() {
    consumer_dies(Step::Published);
}

#[test]
fn loom_queue_consumer_dies_before_it_rings() {
    consumer_dies(Step::Unlocked);
}

/// Nobody is left to make room: a producer waiting for it is told.
#[test]
fn loom_queue_producer_outlives_all_consumers() {
    check(3, || {
        let numbers = Numbers::new(1);
        let consumer = process(&numbers, CONSUMER, |numbers| {
            numbers.die_taking(CONSUMER, Step::Unlocked)
        });
        become_owner(1);
        let mut put = 0;
        let stop = loop {
            match numbers.put_before(put, &|| lives(CONSUMER)) {
                Ok(()) => put += 1,
                Err(stop) => break stop,
            }
        };
        let taken = consumer.join().expect("the model thread ends");
        assert_eq!(stop, Stop::Gone);
        assert_eq!(put, if taken.is_some() { 2 } else { 1 });
    });
}

#[test]
fn loom_queue_what_was_put_before_it_closed_is_taken() {
    check(3, || {
        let numbers = Numbers::new(2);
        let producer = process(&numbers, 1, |numbers| {
            put_all(numbers, &[11]);
            numbers.close();
            assert_eq!(numbers.put(12), Err(Stop::Closed));
        });
        become_owner(CONSUMER);
        assert_eq!(numbers.get(), Ok(11));
        assert_eq!(numbers.get(), Err(Stop::Closed));
        assert_eq!(numbers.get(), Err(Stop::Closed));
        producer.join().expect("the model thread ends");
    });
}

/// What got in before the close gets out, and the rest is refused, whichever comes first.
#[test]
fn loom_queue_closes_while_it_is_full_and_a_producer_waits() {
    check(2, || {
        let numbers = Numbers::new(1);
        become_owner(3);
        put_all(&numbers, &[11]);
        let producer = process(&numbers, 1, |numbers| numbers.put(12));
        let consumer = process(&numbers, CONSUMER, |numbers| {
            let taken = core::iter::from_fn(|| numbers.get().ok());
            taken.collect::<Vec<_>>()
        });
        numbers.close();
        let put = producer.join().expect("the model thread ends");
        let taken = consumer.join().expect("the model thread ends");
        match put {
            Ok(()) => assert_eq!(taken, [11, 12]),
            Err(stop) => assert_eq!((stop, &*taken), (Stop::Closed, &[11][..])),
        }
    });
}

#[test]
fn loom_queue_closes_and_wakes_all_who_wait() {
    check(2, || {
        let numbers = Numbers::new(1);
        let consumers = [8, 9].map(|pid| process(&numbers, pid, Numbers::get));
        become_owner(1);
        numbers.close();
        for consumer in consumers {
            assert_eq!(consumer.join().expect("the model thread ends"), Err(Stop::Closed));
        }
    });
}

/// The closer dies when only the intention to close is stored, or one word has been marked: either is enough for both sides.
fn closer_dies(has_marked: bool) {
    check(2, move || {
        let numbers = Numbers::new(1);
        become_owner(3);
        put_all(&numbers, &[11]);
        let producer = process(&numbers, 1, |numbers| numbers.put(12));
        let closer = process(&numbers, 2, move |numbers| {
            numbers.raw.tail.closing.store(1, Ordering::Release);
            if has_marked {
                let _held = lock(&numbers.raw.producers.lock);
                numbers.raw.tail.mark.fetch_or(CLOSED, Ordering::Release);
            }
            declare_dead(2);
        });
        assert_eq!(producer.join().expect("the model thread ends"), Err(Stop::Closed));
        assert_eq!(numbers.get(), Ok(11));
        assert_eq!(numbers.get(), Err(Stop::Closed));
        closer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_closer_dies_at_once() {
    closer_dies(false);
}

#[test]
fn loom_queue_closer_dies_half_way() {
    closer_dies(true);
}

/// Closed during a put: what was put is taken, and nothing follows the last word.
fn close_beside_a_put(take_all: fn(&Numbers) -> Vec<u32>) {
    check(3, move || {
        let numbers = Numbers::new(1);
        let producer = process(&numbers, 1, |numbers| numbers.put(11));
        let closer = process(&numbers, 2, |numbers| {
            numbers.raw.tail.closing.store(1, Ordering::Release);
            numbers.raw.wake_all();
            pass_time();
        });
        become_owner(CONSUMER);
        let taken = take_all(&numbers);
        let put = producer.join().expect("the model thread ends");
        assert_eq!(put.is_ok(), taken == [11], "{put:?}");
        closer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_closing_loses_no_item_that_was_put() {
    close_beside_a_put(|numbers| core::iter::from_fn(|| numbers.get().ok()).collect());
}

/// Takes a closing queue for empty for good: a producer may be about to put (Q3 broken).
#[test]
#[should_panic]
fn loom_mutant_taking_closing_for_closed_loses_an_item() {
    close_beside_a_put(|numbers| {
        let raw = &numbers.raw;
        loop {
            let tail = raw.tail.mark.load(Ordering::Acquire);
            if tail != raw.head.load(Ordering::Relaxed) {
                return vec![numbers.get().expect("it is there")];
            }
            if raw.is_closed() {
                return Vec::new();
            }
            raw.event_counts
                .items
                .sleep(&raw.tail.mark, tail, &mut Raised::default(), None);
        }
    });
}

/// A consumer that only looks takes no wake-up away from one that takes.
#[test]
fn loom_queue_looking_leaves_the_item_to_others() {
    check(2, || {
        let numbers = Numbers::new(1);
        let looking = process(&numbers, 8, |numbers| {
            let waiting = Waiting::new(Deadline::Never, &|| lives(1));
            numbers.raw.await_item(numbers.bounds, &|| Peers, waiting)
        });
        let taking = process(&numbers, CONSUMER, Numbers::get);
        become_owner(1);
        put_all(&numbers, &[11]);
        assert_eq!(taking.join().expect("the model thread ends"), Ok(11));
        declare_dead(1); // The other may have looked too late.
        let looked = looking.join().expect("the model thread ends");
        assert!(matches!(looked, Ok(()) | Err(Stop::Gone)), "{looked:?}");
    });
}

/// One unit becomes free: the producer that wants two leaves it to the one that wants one.
#[test]
fn loom_queue_room_too_small_for_one_is_left_to_another() {
    check(2, || {
        let numbers = Numbers::new(2);
        become_owner(CONSUMER);
        put_all(&numbers, &[11, 12]);
        let wants_two = process(&numbers, 1, |numbers| {
            let waiting = Waiting::new(Deadline::Never, &|| true);
            let write = |room| Ok(numbers.write(room, 21));
            numbers.raw.put(numbers.bounds, 2, &|| Peers, waiting, write)
        });
        let wants_one = process(&numbers, 2, |numbers| numbers.put(31));
        assert_eq!(numbers.get(), Ok(11));
        assert_eq!(wants_one.join().expect("the model thread ends"), Ok(()));
        assert_eq!(numbers.get(), Ok(12));
        assert_eq!(numbers.get(), Ok(31));
        assert_eq!(wants_two.join().expect("the model thread ends"), Ok(ONE));
    });
}

/// Two records through a queue with room for one, put and taken in this test's own ways.
fn one_to_one(put: fn(&Numbers, u32), take: fn(&Numbers) -> u32) {
    check(3, move || {
        let numbers = Numbers::new(1);
        let producer = process(&numbers, 1, move |numbers| [11, 12].map(|number| put(numbers, number)));
        become_owner(CONSUMER);
        assert_eq!([(), ()].map(|()| take(&numbers)), [11, 12]);
        producer.join().expect("the model thread ends");
    });
}

fn put(numbers: &Numbers, number: u32) {
    numbers.put(number).expect("nobody closes it");
}

fn take(numbers: &Numbers) -> u32 {
    numbers.get().expect("nobody closes it")
}

/// Puts as `put` does, but publishes with `ordering`, and before copying if told so.
fn put_wrongly(numbers: &Numbers, number: u32, ordering: Ordering, copy_first: bool) {
    let raw = &numbers.raw;
    loop {
        let held = lock(&raw.producers.lock);
        let tail = Mark(raw.tail.mark.load(Ordering::Relaxed));
        let head = raw.head.load(Ordering::Acquire);
        let is_empty = tail.0 == head;
        if is_empty && copy_first {
            numbers.write(at(tail), number);
        }
        if is_empty {
            raw.tail.mark.store(tail.after(ONE).0, ordering);
        }
        if is_empty && !copy_first {
            numbers.write(at(tail), number);
        }
        raw.producers.lock.unlock(held.owner);
        if is_empty {
            raw.event_counts.items.notify();
            return;
        }
        raw.event_counts
            .room
            .sleep(&raw.head, head, &mut Raised::default(), None);
    }
}

#[test]
fn loom_queue_put_by_hand_as_it_should_be() {
    one_to_one(
        |numbers, number| put_wrongly(numbers, number, Ordering::Release, true),
        take,
    );
}

#[test]
#[should_panic]
fn loom_mutant_publishing_before_copying_tears() {
    one_to_one(
        |numbers, number| put_wrongly(numbers, number, Ordering::Release, false),
        take,
    );
}

#[test]
#[should_panic]
fn loom_mutant_publishing_without_release_tears() {
    one_to_one(
        |numbers, number| put_wrongly(numbers, number, Ordering::Relaxed, true),
        take,
    );
}

#[test]
#[should_panic]
fn loom_mutant_freeing_before_copying_tears() {
    let take = |numbers: &Numbers| {
        let raw = &numbers.raw;
        loop {
            let held = lock(&raw.consumers.lock);
            let head = Mark(raw.head.load(Ordering::Relaxed));
            let tail = raw.tail.mark.load(Ordering::Acquire);
            let mut number = None;
            if tail != head.0 {
                raw.head.store(head.after(ONE).0, Ordering::Release);
                number = Some(numbers.read(at(head)));
            }
            raw.consumers.lock.unlock(held.owner);
            if let Some(number) = number {
                raw.event_counts.room.notify();
                return number;
            }
            raw.event_counts
                .items
                .sleep(&raw.tail.mark, tail, &mut Raised::default(), None);
        }
    };
    one_to_one(put, take);
}

/// Sleeps for room with the lock held (Q5 broken): nobody can close the queue, and nobody takes from it.
#[test]
#[should_panic]
fn loom_mutant_waiting_with_the_lock_held_hangs_the_closer() {
    check(2, || {
        let numbers = Numbers::new(1);
        become_owner(2);
        put_all(&numbers, &[11]);
        let producer = process(&numbers, 1, |numbers| {
            let held = lock(&numbers.raw.producers.lock);
            let head = numbers.raw.head.load(Ordering::Acquire);
            numbers
                .raw
                .event_counts
                .room
                .sleep(&numbers.raw.head, head, &mut Raised::default(), None);
            numbers.raw.producers.lock.unlock(held.owner);
        });
        numbers.close();
        producer.join().expect("the model thread ends");
    });
}

/// A producer woken for room it cannot use that keeps that to itself (Q6 broken).
#[test]
#[should_panic]
fn loom_mutant_keeping_a_wake_up_one_cannot_use_strands_another() {
    check(2, || {
        let numbers = Numbers::new(2);
        become_owner(CONSUMER);
        put_all(&numbers, &[11, 12]);
        let wants_two = process(&numbers, 1, |numbers| {
            let raw = &numbers.raw;
            loop {
                let head = Mark(raw.head.load(Ordering::Acquire));
                if head.units() == 2 {
                    return;
                }
                raw.event_counts
                    .room
                    .sleep(&raw.head, head.0, &mut Raised::default(), None);
            }
        });
        let wants_one = process(&numbers, 2, |numbers| numbers.put(31));
        assert_eq!(numbers.get(), Ok(11));
        assert_eq!(wants_one.join().expect("the model thread ends"), Ok(()));
        assert_eq!(numbers.get(), Ok(12));
        wants_two.join().expect("the model thread ends");
    });
}

/// Puts one and is gone: the consumer still finds it.
fn put_and_go(take_all: fn(&Numbers) -> Vec<u32>) {
    check(3, move || {
        let numbers = Numbers::new(1);
        let producer = process(&numbers, 1, |numbers| {
            put_all(numbers, &[11]);
            declare_dead(1);
        });
        become_owner(CONSUMER);
        assert_eq!(take_all(&numbers), [11]);
        producer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_queue_what_the_last_producer_put_is_taken() {
    put_and_go(|numbers| numbers.drain(&[1]));
}

/// W4 broken: believes that nobody is left without another look for what they left.
#[test]
#[should_panic]
fn loom_mutant_verdict_without_another_look_loses_an_item() {
    put_and_go(|numbers| {
        let raw = &numbers.raw;
        loop {
            let tail = raw.tail.mark.load(Ordering::Acquire);
            if tail != raw.head.load(Ordering::Relaxed) {
                return numbers.drain(&[1]);
            }
            if !lives(1) {
                return Vec::new();
            }
            raw.event_counts
                .items
                .sleep(&raw.tail.mark, tail, &mut Raised::default(), None);
        }
    });
}
