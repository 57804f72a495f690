use super::{AtOnce, check, lives, process, seats};
use crate::primitive::model::{become_owner, declare_dead};
use crate::primitive::{Deadline, Ordering, Peers};
use crate::raw::{End, NoSeat, Place, RawRing, RawSeats, Role, Stop, Waiting};
use loom::cell::UnsafeCell;
use std::sync::Arc;

const CONSUMER: u32 = 9;

/// A ring of numbers. Loom reports any two accesses to a slot that the ring does not order.
struct Numbers {
    raw: RawRing,
    seats: Arc<RawSeats>,
    slots: Vec<UnsafeCell<u32>>,
}

// SAFETY: the slots are touched as the ring allows, which loom checks.
unsafe impl Sync for Numbers {}
// SAFETY: as above.
unsafe impl Send for Numbers {}

impl Numbers {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Numbers {
            raw: RawRing::new(),
            seats: seats(),
            slots: (0..capacity).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, place: &Place) -> &UnsafeCell<u32> {
        &self.slots[place.own as usize % self.slots.len()]
    }

    fn write(&self, place: &Place, number: u32) {
        // SAFETY: loom's cell checks that nobody else has access meanwhile.
        self.slot(place).with_mut(|slot| unsafe { *slot = number });
    }

    fn read(&self, place: &Place) -> u32 {
        // SAFETY: loom's cell checks that nobody writes meanwhile.
        self.slot(place).with(|slot| unsafe { *slot })
    }

    /// Waits for a slot while process `other` lives.
    fn await_slot(&self, end: End, place: &mut Place, other: u32) -> Result<(), Stop> {
        let capacity = self.capacity();
        if self.raw.usable(end, place, capacity, 1)? == 0 {
            let peer_check = || lives(other);
            let waiting = Waiting::new(Deadline::Never, &peer_check);
            self.raw.await_usable(end, place, capacity, waiting)?;
        }
        Ok(())
    }

    fn put(&self, place: &mut Place, number: u32) -> Result<(), Stop> {
        self.await_slot(End::Producer, place, CONSUMER)?;
        self.write(place, number);
        self.raw.advance(End::Producer, place, 1);
        Ok(())
    }

    fn take(&self, place: &mut Place, producer: u32) -> Result<u32, Stop> {
        self.await_slot(End::Consumer, place, producer)?;
        let number = self.read(place);
        self.raw.advance(End::Consumer, place, 1);
        Ok(number)
    }

    fn put_all(&self, mine: &[u32]) {
        let mut place = self.raw.place(End::Producer, self.capacity());
        for &number in mine {
            self.put(&mut place, number).expect("the consumer lives");
        }
    }

    /// Takes until `producer` is gone.
    fn drain(&self, producer: u32) -> Vec<u32> {
        let mut place = self.raw.place(End::Consumer, self.capacity());
        let mut taken = Vec::new();
        loop {
            match self.take(&mut place, producer) {
                Ok(number) => taken.push(number),
                Err(stop) => {
                    assert_eq!(stop, Stop::Gone);
                    return taken;
                }
            }
        }
    }
}

/// Puts `count` numbers and dies; the consumer has them all, in order, and is told.
fn one_to_one(preemptions: usize, capacity: usize, count: u32, put_all: fn(&Numbers, &[u32])) {
    check(preemptions, move || {
        let numbers = Numbers::new(capacity);
        let all: Vec<u32> = (11..11 + count).collect();
        let producer = {
            let all = all.clone();
            process(&numbers, 1, move |numbers| {
                put_all(numbers, &all);
                declare_dead(1);
            })
        };
        become_owner(CONSUMER);
        assert_eq!(numbers.drain(1), all);
        producer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_ring_one_slot_in_order() {
    one_to_one(3, 1, 3, Numbers::put_all);
}

#[test]
fn loom_ring_two_slots_in_order() {
    one_to_one(3, 2, 4, Numbers::put_all);
}

/// Puts as `put` does, but publishes with `ordering`, and before writing if told so.
fn put_wrongly(numbers: &Numbers, mine: &[u32], ordering: Ordering, write_first: bool) {
    let mut place = numbers.raw.place(End::Producer, numbers.capacity());
    for &number in mine {
        numbers
            .await_slot(End::Producer, &mut place, CONSUMER)
            .expect("the consumer lives");
        if write_first {
            numbers.write(&place, number);
        }
        numbers.raw.tail.store(place.own + 1, ordering);
        if !write_first {
            numbers.write(&place, number);
        }
        numbers.raw.advance(End::Producer, &mut place, 1);
    }
}

#[test]
fn loom_ring_put_by_hand_as_it_should_be() {
    one_to_one(3, 1, 2, |numbers, mine| {
        put_wrongly(numbers, mine, Ordering::Release, true)
    });
}

#[test]
#[should_panic]
fn loom_mutant_publishing_before_writing_tears() {
    one_to_one(3, 1, 2, |numbers, mine| {
        put_wrongly(numbers, mine, Ordering::Release, false)
    });
}

#[test]
#[should_panic]
fn loom_mutant_publishing_without_release_tears() {
    one_to_one(3, 1, 2, |numbers, mine| {
        put_wrongly(numbers, mine, Ordering::Relaxed, true)
    });
}

/// N3 taken too far: a producer that never looks again overtakes the consumer.
#[test]
#[should_panic]
fn loom_mutant_trusting_a_place_of_the_future_overwrites() {
    one_to_one(3, 1, 2, |numbers, mine| {
        let mut place = numbers.raw.place(End::Producer, numbers.capacity());
        for &number in mine {
            numbers.write(&place, number);
            numbers.raw.advance(End::Producer, &mut place, 1);
        }
    });
}

/// The consumer goes; the producer that waits for a slot is told.
#[test]
fn loom_ring_producer_outlives_the_consumer() {
    check(3, || {
        let numbers = Numbers::new(1);
        let producer = process(&numbers, 1, |numbers| {
            let mut place = numbers.raw.place(End::Producer, numbers.capacity());
            let mut put = 0;
            loop {
                match numbers.put(&mut place, put) {
                    Ok(()) => put += 1,
                    Err(stop) => return (put, stop),
                }
            }
        });
        become_owner(CONSUMER);
        let mut place = numbers.raw.place(End::Consumer, numbers.capacity());
        assert_eq!(numbers.take(&mut place, 1), Ok(0));
        declare_dead(CONSUMER);
        assert_eq!(producer.join().expect("the model thread ends"), (2, Stop::Gone));
    });
}

/// How far the first producer gets with its second number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Written,
    Published,
}

/// The producer dies at `step`; its successor claims the end as soon as it may, and continues where the first stopped.
fn producer_dies(step: Step) {
    check(2, move || {
        let numbers = Numbers::new(2);
        let dying = process(&numbers, 1, move |numbers| {
            numbers.seats.claim(Role::Producer, &|| Peers).expect("it is the first");
            let mut place = numbers.raw.place(End::Producer, numbers.capacity());
            numbers.put(&mut place, 11).expect("there is room");
            numbers.write(&place, 12);
            if step >= Step::Published {
                numbers.raw.tail.store(place.own + 1, Ordering::Release);
            }
            declare_dead(1);
        });
        let consumer = process(&numbers, CONSUMER, |numbers| numbers.drain(2));
        become_owner(2);
        dying.join().expect("the model thread ends");
        numbers
            .seats
            .claim(Role::Producer, &|| Peers)
            .expect("its holder is dead");
        numbers.put_all(&[21]);
        declare_dead(2);
        let all: &[u32] = if step >= Step::Published {
            &[11, 12, 21]
        } else {
            &[11, 21]
        };
        assert_eq!(consumer.join().expect("the model thread ends"), all);
    });
}

#[test]
fn loom_ring_producer_dies_before_it_publishes() {
    producer_dies(Step::Written);
}

#[test]
fn loom_ring_producer_dies_before_it_rings() {
    producer_dies(Step::Published);
}

/// The consumer dies before or after it has passed a slot: its successor takes that one or the next.
#[test]
fn loom_ring_consumer_dies_and_another_goes_on() {
    check(2, || {
        let numbers = Numbers::new(1);
        let producer = process(&numbers, 1, |numbers| {
            numbers.put_all(&[11, 12]);
            declare_dead(1);
        });
        let dying = process(&numbers, 8, |numbers| {
            numbers.seats.claim(Role::Consumer, &|| Peers).expect("it is the first");
            let mut place = numbers.raw.place(End::Consumer, numbers.capacity());
            let usable = numbers.raw.look(End::Consumer, &mut place, 1).expect("the words agree");
            let taken = (usable > 0).then(|| numbers.read(&place));
            if taken.is_some() {
                numbers.raw.head.store(place.own + 1, Ordering::Release);
            }
            declare_dead(8);
            taken
        });
        let mut all: Vec<u32> = dying.join().expect("the model thread ends").into_iter().collect();
        become_owner(CONSUMER);
        let claimed = numbers.seats.claim(Role::Consumer, &|| Peers);
        assert!(claimed.is_ok(), "{claimed:?}");
        all.extend(numbers.drain(1));
        assert_eq!(all, [11, 12]);
        producer.join().expect("the model thread ends");
    });
}

/// While the holder of an end lives, no other process may claim it.
#[test]
fn loom_ring_end_is_for_one() {
    check(3, || {
        let numbers = Numbers::new(1);
        let claim = |numbers: &Numbers| numbers.seats.claim(Role::Producer, &|| Peers);
        let other = process(&numbers, 1, claim);
        become_owner(2);
        let mine = claim(&numbers);
        let others = other.join().expect("the model thread ends");
        match (mine, others) {
            (Ok(_), Err(refused)) => assert_eq!(refused, NoSeat::Taken(2)),
            (Err(refused), Ok(_)) => assert_eq!(refused, NoSeat::Taken(1)),
            both => panic!("{both:?}"),
        }
    });
}
