//! Several processes at one lock, beside two threads at a lock of theirs.

use crate::measure::{Effort, Line, Measured, interleave, median};
use crate::race::{Lap, Outcome, in_processes, in_two_threads, longest, outcome};
use crate::robust;
use std::sync::atomic::{AtomicU32, Ordering};

const ROUNDS: usize = 15;
const INCREMENTS: u64 = 1_000_000;
/// How often a race is run again because other programs had got in its way.
const ATTEMPTS: u32 = 5;
/// The share of a worker's time off its processor from which a race counts as disturbed.
const DISTURBED: f64 = 0.10;
/// The longest that anybody may wait while four processes share the machine.
const LONGEST_WAIT: f64 = 50e6;

static RACES: AtomicU32 = AtomicU32::new(0);
static DISTURBED_RACES: AtomicU32 = AtomicU32::new(0);

/// How many races there were, and how many of them were disturbed to the last attempt.
pub(crate) fn disturbed_races() -> (u32, u32) {
    // Relaxed: read by the thread that counts.
    (RACES.load(Ordering::Relaxed), DISTURBED_RACES.load(Ordering::Relaxed))
}

/// The pace of a race that nobody disturbed, or of the one disturbed least.
///
/// Workers that take turns on one processor are never in each other's way, and would seem fast.
pub(crate) fn pace(mut race: impl FnMut() -> Option<Outcome>) -> f64 {
    let mut best: Option<Outcome> = None;
    let mut attempts = 0;
    loop {
        attempts += 1;
        if let Some(now) = race() {
            let least = best.map_or(now, |best| if now.disturbed < best.disturbed { now } else { best });
            if least.disturbed < DISTURBED || attempts >= ATTEMPTS {
                RACES.fetch_add(1, Ordering::Relaxed);
                DISTURBED_RACES.fetch_add(u32::from(least.disturbed >= DISTURBED), Ordering::Relaxed);
                return least.pace;
            }
            best = Some(least);
        }
    }
}

fn beside(effort: Effort, peer: impl Fn(u64) -> Vec<Lap>) -> Option<Measured> {
    let increments = effort.operations(INCREMENTS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || pace(|| outcome(&in_processes(2, increments, false))),
        || pace(|| outcome(&peer(increments))),
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
    let increments = effort.operations(INCREMENTS);
    let waits = (0..effort.rounds(5)).map(|_| longest(&in_processes(4, increments, true)) as f64);
    Some(Measured::within(median(waits.collect()), LONGEST_WAIT))
}
