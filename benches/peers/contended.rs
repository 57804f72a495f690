//! Several processes at one lock, beside two threads at a lock of theirs.

use crate::measure::{Effort, Line, Measured, interleave, median};
use crate::race::{Lap, in_processes, in_two_threads, longest, shared_pace};
use crate::robust;

const ROUNDS: usize = 11;
const INCREMENTS: u64 = 2_000_000;
/// The longest that anybody may wait while four processes share the machine.
const LONGEST_WAIT: f64 = 50e6;

/// Runs races until one was a race: a worker may come so late that the other has finished.
pub(crate) fn pace(race: impl Fn() -> Vec<Lap>) -> f64 {
    loop {
        if let Some(pace) = shared_pace(&race()) {
            return pace;
        }
    }
}

fn beside(effort: Effort, peer: impl Fn(u64) -> Vec<Lap>) -> Option<Measured> {
    let increments = effort.operations(INCREMENTS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || pace(|| in_processes(2, increments, false)),
        || pace(|| peer(increments)),
    ))
}

pub(crate) fn beside_std(effort: Effort) -> Option<Measured> {
    beside(effort, |increments| {
        let mutex = Line(std::sync::Mutex::new(0u64));
        let laps = in_two_threads(increments, || {
            let mut guard = mutex.0.lock().unwrap();
            *guard += 1;
            *guard
        });
        assert_eq!(mutex.0.into_inner().unwrap(), 2 * increments);
        laps
    })
}

pub(crate) fn beside_parking_lot(effort: Effort) -> Option<Measured> {
    beside(effort, |increments| {
        let mutex = Line(parking_lot::Mutex::new(0u64));
        let laps = in_two_threads(increments, || {
            let mut guard = mutex.0.lock();
            *guard += 1;
            *guard
        });
        assert_eq!(mutex.0.into_inner(), 2 * increments);
        laps
    })
}

pub(crate) fn beside_robust(effort: Effort) -> Option<Measured> {
    beside(effort, robust::in_two_processes)
}

/// The longest increment of four processes, beside what is allowed; the median of some runs.
pub(crate) fn longest_wait(effort: Effort) -> Option<Measured> {
    let increments = effort.operations(INCREMENTS / 2);
    let waits = (0..effort.rounds(5)).map(|_| longest(&in_processes(4, increments, true)) as f64);
    Some(Measured::within(median(waits.collect()), LONGEST_WAIT))
}
