use super::check;
use crate::primitive::model::{become_owner, declare_dead};
use crate::primitive::{Deadline, Ordering, Peers};
use crate::raw::queue::{CLOSED, Mark};
use crate::raw::{Bounds, Moved, RawQueue, Stop, Stretch, Waiting};
use loom::cell::UnsafeCell;
use loom::thread;
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

    /// Puts for as long as there is company.
    fn put_before(&self, number: u32, has_company: &dyn Fn() -> bool) -> Result<(), Stop> {
        let company = |_| has_company();
        let waiting = Waiting::new(Deadline::Never, &company);
        self.raw
            .put(self.bounds, 1, || Peers, waiting, |room| self.write(room, number))
            .map(|moved| assert_eq!(moved, ONE))
    }

    fn take(&self) -> Result<u32, Stop> {
        self.take_before(&|| true)
    }

    /// Takes for as long as there is company.
    fn take_before(&self, has_company: &dyn Fn() -> bool) -> Result<u32, Stop> {
        let company = |_| has_company();
        let waiting = Waiting::new(Deadline::Never, &company);
        let mut number = 0;
        let read = |queued| {
            number = self.read(queued);
            Some(ONE)
        };
        self.raw.take(self.bounds, || Peers, waiting, read)?;
        Ok(number)
    }

    fn close(&self) {
        let waiting = Waiting::new(Deadline::Never, &|_| true);
        self.raw
            .close(|| Peers, &waiting)
            .expect("the locks are free, or will be");
    }
}

const ONE: Moved = Moved { items: 1, units: 1 };

/// Runs `play` in a thread of its own as process `pid`.
fn process<T: 'static>(
    numbers: &Arc<Numbers>,
    pid: u32,
    play: impl FnOnce(&Numbers) -> T + 'static,
) -> thread::JoinHandle<T> {
    let numbers = numbers.clone();
    thread::spawn(move || {
        become_owner(pid);
        play(&numbers)
    })
}

fn put_all(numbers: &Numbers, mine: &[u32]) {
    for &number in mine {
        numbers.put(number).expect("nobody closes it");
    }
}

fn take_some(numbers: &Numbers, count: usize) -> Vec<u32> {
    (0..count).map(|_| numbers.take().expect("nobody closes it")).collect()
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
