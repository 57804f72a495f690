//! One thread, nobody in its way. As in any loop, where a lock stands is found out once, before it.

use crate::measure::{Effort, Line, Measured, each, interleave, once};
use procshare::__private::lock_and_unlock;
use procshare::{SharedArray, SharedAtomic, SharedValue};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

const ROUNDS: usize = 201;
const OPERATIONS: u64 = 100_000;

pub(crate) fn lock(effort: Effort) -> Option<Measured> {
    let ours = SharedValue::new(0u64).unwrap();
    let peer = Line(parking_lot::Mutex::new(()));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let operations = effort.operations(OPERATIONS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || each(operations, || lock_and_unlock(ours)),
        || each(operations, || drop(peer.0.lock())),
    ))
}

pub(crate) fn lock_beside_std(effort: Effort) -> Option<Measured> {
    let ours = SharedValue::new(0u64).unwrap();
    let peer = Line(std::sync::Mutex::new(()));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let operations = effort.operations(OPERATIONS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || each(operations, || lock_and_unlock(ours)),
        || each(operations, || drop(peer.0.lock().unwrap())),
    ))
}

pub(crate) fn value_increment(effort: Effort) -> Option<Measured> {
    let ours = SharedValue::new(0u64).unwrap();
    let peer = Line(parking_lot::Mutex::new(0u64));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let operations = effort.operations(OPERATIONS);
    let measured = interleave(
        effort.rounds(ROUNDS),
        || each(operations, || *ours.get_lock() += 1),
        || each(operations, || *peer.0.lock() += 1),
    );
    assert_eq!(ours.get(), *peer.0.lock());
    Some(measured)
}

pub(crate) fn value_get(effort: Effort) -> Option<Measured> {
    let ours = SharedValue::new(7u64).unwrap();
    let peer = Line(AtomicU64::new(7));
    assert_eq!(ours.get(), peer.0.load(Ordering::Acquire));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let operations = effort.operations(10 * OPERATIONS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || {
            each(operations, || {
                black_box(ours.get());
            })
        },
        || {
            each(operations, || {
                // Acquire: as a reader of published data would.
                black_box(peer.0.load(Ordering::Acquire));
            })
        },
    ))
}

pub(crate) fn atomic_add(effort: Effort) -> Option<Measured> {
    let ours = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let peer = Line(AtomicU64::new(0));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let operations = effort.operations(OPERATIONS);
    // Relaxed: only the number counts.
    let add = |atomic: &AtomicU64| {
        atomic.fetch_add(1, Ordering::Relaxed);
    };
    let measured = interleave(
        effort.rounds(ROUNDS),
        || each(operations, || add(ours)),
        || each(operations, || add(&peer.0)),
    );
    assert_eq!(ours.load(Ordering::Relaxed), peer.0.load(Ordering::Relaxed));
    Some(measured)
}

pub(crate) fn array_sum(effort: Effort) -> Option<Measured> {
    let elements: Vec<f64> = (0..1 << 20).map(f64::from).collect();
    let ours = SharedArray::from_slice(&elements).unwrap();
    let sum_ours = || ours.get_lock().unwrap().iter().sum::<f64>();
    let sum_peer = || black_box(&elements).iter().sum::<f64>();
    assert_eq!(sum_ours(), sum_peer());
    Some(interleave(
        effort.rounds(ROUNDS / 2),
        || once(|| black_box(sum_ours())),
        || once(|| black_box(sum_peer())),
    ))
}
