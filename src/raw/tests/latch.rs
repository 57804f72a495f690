use super::{check, lock};
use crate::primitive::model::{become_owner, declare_dead};
use crate::primitive::{AtomicU64, Ordering, fence};
use crate::raw::RawLatch;
use loom::thread;
use std::sync::Arc;

/// A value of two words that are always equal, unless a read is torn.
struct Pair {
    latch: RawLatch,
    /// Two words each, slot 0 first.
    slots: [AtomicU64; 4],
}

impl Pair {
    fn new() -> Arc<Self> {
        Arc::new(Pair {
            latch: RawLatch::new(),
            slots: core::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// The slot that is current at `version`.
    fn slot(&self, version: u64) -> &[AtomicU64] {
        &self.slots[(version & 1) as usize * 2..][..2]
    }

    fn try_read(&self) -> Option<[u64; 2]> {
        let mut out = [0; 16];
        self.latch.try_read(&self.slots, &mut out).then(|| words(out))
    }

    fn add_one(&self) {
        let held = lock(&self.latch.mutex);
        self.latch.mutex.mark_consistent();
        let value = self.read_locked();
        assert_eq!(value[0], value[1]);
        self.publish([value[0] + 1; 2]);
        self.latch.mutex.unlock(held.owner);
    }

    fn read_locked(&self) -> [u64; 2] {
        let mut out = [0; 16];
        self.latch.read_locked(&self.slots, &mut out);
        words(out)
    }

    fn publish(&self, value: [u64; 2]) {
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.latch.publish(&self.slots, &bytes);
    }
}

fn words(bytes: [u8; 16]) -> [u64; 2] {
    core::array::from_fn(|at| u64::from_ne_bytes(core::array::from_fn(|byte| bytes[at * 8 + byte])))
}

/// Two writers and a reader: no torn read, no value from the past after a later one, no lost increment.
fn writers_and_reader() {
    check(3, move || {
        let pair = Pair::new();
        let writers: Vec<_> = (1..=2)
            .map(|pid| {
                let pair = pair.clone();
                thread::spawn(move || {
                    become_owner(pid);
                    pair.add_one();
                })
            })
            .collect();
        let mut last = 0;
        for _ in 0..2 {
            if let Some([first, second]) = pair.try_read() {
                assert_eq!(first, second, "torn");
                assert!(first >= last, "went back");
                last = first;
            }
        }
        for writer in writers {
            writer.join().expect("the model thread ends");
        }
        assert_eq!(pair.try_read(), Some([2, 2]));
    });
}

#[test]
fn loom_latch_two_writers_and_a_reader() {
    writers_and_reader();
}

/// Writers that do not hold the lock lose each other's increments.
#[test]
#[should_panic]
fn loom_mutant_writers_without_the_lock_lose_updates() {
    check(3, || {
        let pair = Pair::new();
        let add_one = |pair: &Pair| {
            let value = pair.read_locked();
            pair.publish([value[0] + 1; 2]);
        };
        let writer = {
            let pair = pair.clone();
            thread::spawn(move || add_one(&pair))
        };
        add_one(&pair);
        writer.join().expect("the model thread ends");
        assert_eq!(pair.try_read(), Some([2, 2]));
    });
}

/// Without the release fence a slot's new words may be seen with its old version. It takes two writes by one thread
/// after the reader's first look, so this model has one writer that publishes twice.
fn one_writer_twice(publish: fn(&Pair, [u64; 2])) {
    check(4, move || {
        let pair = Pair::new();
        let writer = {
            let pair = pair.clone();
            thread::spawn(move || {
                become_owner(1);
                publish(&pair, [1; 2]);
                publish(&pair, [2; 2]);
            })
        };
        if let Some([first, second]) = pair.try_read() {
            assert_eq!(first, second, "torn");
        }
        writer.join().expect("the model thread ends");
    });
}

#[test]
fn loom_latch_reader_against_a_slot_in_reuse() {
    one_writer_twice(Pair::publish);
}

#[test]
#[should_panic]
fn loom_mutant_publish_without_fence_tears() {
    one_writer_twice(|pair, value| {
        let next = pair.latch.version.load(Ordering::Relaxed) + 1;
        pair.slot(next)[0].store(value[0], Ordering::Relaxed);
        pair.slot(next)[1].store(value[1], Ordering::Relaxed);
        pair.latch.version.store(next, Ordering::Release);
    });
}

#[test]
#[should_panic]
fn loom_mutant_writing_the_current_slot_tears() {
    one_writer_twice(|pair, value| {
        let version = pair.latch.version.load(Ordering::Relaxed);
        fence(Ordering::Release);
        pair.slot(version)[0].store(value[0], Ordering::Relaxed);
        pair.slot(version)[1].store(value[1], Ordering::Relaxed);
        pair.latch.version.store(version + 2, Ordering::Release);
    });
}

#[test]
#[should_panic]
fn loom_mutant_version_before_slot_tears() {
    one_writer_twice(|pair, value| {
        let next = pair.latch.version.load(Ordering::Relaxed) + 1;
        fence(Ordering::Release);
        pair.latch.version.store(next, Ordering::Release);
        pair.slot(next)[0].store(value[0], Ordering::Relaxed);
        pair.slot(next)[1].store(value[1], Ordering::Relaxed);
    });
}

#[test]
#[should_panic]
fn loom_mutant_version_without_release_tears() {
    one_writer_twice(|pair, value| {
        let next = pair.latch.version.load(Ordering::Relaxed) + 1;
        pair.slot(next)[0].store(value[0], Ordering::Relaxed);
        pair.slot(next)[1].store(value[1], Ordering::Relaxed);
        pair.latch.version.store(next, Ordering::Relaxed);
    });
}

/// A writer dies between slot and version: its half is never seen, and the next writer starts from the old value.
#[test]
fn loom_latch_writer_dies_between_slot_and_version() {
    check(3, || {
        let pair = Pair::new();
        let dying = {
            let pair = pair.clone();
            thread::spawn(move || {
                become_owner(1);
                let _held = lock(&pair.latch.mutex);
                let next = pair.latch.version.load(Ordering::Relaxed) + 1;
                fence(Ordering::Release);
                pair.slot(next)[0].store(77, Ordering::Relaxed);
                declare_dead(1);
            })
        };
        become_owner(2);
        pair.add_one();
        if let Some(value) = pair.try_read() {
            assert_eq!(value, [1, 1]);
        }
        dying.join().expect("the model thread ends");
        assert_eq!(pair.try_read(), Some([1, 1]));
    });
}

#[test]
#[should_panic]
fn loom_mutant_dying_writer_of_the_current_slot_is_seen() {
    check(3, || {
        let pair = Pair::new();
        let dying = {
            let pair = pair.clone();
            thread::spawn(move || {
                become_owner(1);
                let _held = lock(&pair.latch.mutex);
                pair.slots[0].store(77, Ordering::Relaxed);
                declare_dead(1);
            })
        };
        dying.join().expect("the model thread ends");
        become_owner(2);
        pair.add_one();
    });
}
