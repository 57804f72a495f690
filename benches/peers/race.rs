//! Several workers that count at once, and the time it took while all of them did.

use procshare::{Process, SharedAtomic, SharedValue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

/// A moment, and what the counter said then.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Nanoseconds of the clock that all processes share.
    pub(crate) at: u64,
    pub(crate) count: u64,
}

impl Mark {
    pub(crate) fn now(count: u64) -> Self {
        Mark { at: now(), count }
    }
}

/// A worker's first and last increment.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Lap {
    pub(crate) first: Mark,
    pub(crate) last: Mark,
    /// The longest single increment, where it was asked for.
    longest: u64,
    /// Nanoseconds this worker could have run, but others had its processor.
    displaced: u64,
}

impl Lap {
    /// The share of its time that this worker was off its processor, because others wanted it.
    pub(crate) fn disturbed(&self) -> f64 {
        self.displaced as f64 / (self.last.at - self.first.at).max(1) as f64
    }
}

/// Nanoseconds of the monotonic clock, which is the same one in every process.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds this thread has waited for a processor so far; 0 where that cannot be told.
fn displaced() -> u64 {
    displaced_of("thread-self")
}

/// The same of the first thread of a process, which is named as in `/proc`.
pub(crate) fn displaced_of(process: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    let waited = text.split(' ').nth(1).and_then(|field| field.parse().ok());
    waited.unwrap_or(0)
}

/// Waits until all have come.
fn pass(gate: &AtomicU32, parties: u32) {
    // Relaxed: the gate says when to begin and hands over nothing.
    gate.fetch_add(1, Ordering::Relaxed);
    while gate.load(Ordering::Relaxed) < parties {
        std::thread::yield_now();
    }
}

/// Marks begin and end of what one worker does once all have come.
pub(crate) fn lap(gate: &AtomicU32, parties: u32, work: impl FnOnce() -> (Mark, Mark)) -> Lap {
    pass(gate, parties);
    let before = displaced();
    let (first, last) = work();
    Lap {
        first,
        last,
        longest: 0,
        displaced: displaced() - before,
    }
}

/// Runs one worker: all start together, each increments as often as the others.
pub(crate) fn count(gate: &AtomicU32, parties: u32, increments: u64, mut increment: impl FnMut() -> u64) -> Lap {
    lap(gate, parties, || {
        let first = Mark::now(increment());
        for _ in 2..increments {
            increment();
        }
        (first, Mark::now(increment()))
    })
}

/// As [`count`], with the time of each increment taken.
fn count_and_watch(gate: &AtomicU32, parties: u32, increments: u64, mut increment: impl FnMut() -> u64) -> Lap {
    let mut longest = 0;
    let watched = || {
        let before = now();
        let count = increment();
        longest = longest.max(now() - before);
        count
    };
    let lap = count(gate, parties, increments, watched);
    Lap { longest, ..lap }
}

/// What a race came to.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Nanoseconds an increment took while all workers were at it.
    pub(crate) pace: f64,
    /// The share of their time that some worker at least was off its processor, because others wanted it.
    pub(crate) disturbed: f64,
}

/// Takes from the laps the time all workers had in common; none if they never met.
pub(crate) fn outcome(laps: &[Lap]) -> Option<Outcome> {
    let begin = laps.iter().map(|lap| lap.first).max_by_key(|mark| mark.at)?;
    let end = laps.iter().map(|lap| lap.last).min_by_key(|mark| mark.at)?;
    let counted = end.count.checked_sub(begin.count).filter(|&counted| counted > 0)?;
    Some(Outcome {
        pace: (end.at - begin.at) as f64 / counted as f64,
        disturbed: laps.iter().map(Lap::disturbed).fold(0.0, f64::max),
    })
}

/// Nanoseconds an increment took from the first worker's start to the last one's end.
pub(crate) fn whole_pace(laps: &[Lap], increments: u64) -> f64 {
    let begin = laps.iter().map(|lap| lap.first.at).min().unwrap_or(0);
    let end = laps.iter().map(|lap| lap.last.at).max().unwrap_or(0);
    (end - begin) as f64 / (laps.len() as u64 * increments) as f64
}

pub(crate) fn longest(laps: &[Lap]) -> u64 {
    laps.iter().map(|lap| lap.longest).max().unwrap_or(0)
}

/// One of our workers, in a process of its own.
fn worker(value: SharedValue<u64>, gate: SharedAtomic<AtomicU32>, parties: u32, increments: u64, watch: bool) -> Lap {
    let increment = || {
        let mut guard = value.get_lock();
        *guard += 1;
        *guard
    };
    if watch {
        count_and_watch(&gate, parties, increments, increment)
    } else {
        count(&gate, parties, increments, increment)
    }
}

/// Increments one `SharedValue` in so many processes; the laps of all.
pub(crate) fn in_processes(parties: u32, increments: u64, watch: bool) -> Vec<Lap> {
    let value = SharedValue::new(0u64).unwrap();
    let gate = SharedAtomic::<AtomicU32>::new(0).unwrap();
    let children: Vec<_> = (0..parties)
        .map(|_| {
            let arguments = (value.clone(), gate.clone(), parties, increments, watch);
            Process::spawn(worker, arguments).unwrap()
        })
        .collect();
    let laps = children.into_iter().map(|child| child.join().unwrap()).collect();
    assert_eq!(value.get(), u64::from(parties) * increments);
    laps
}

/// Has two threads increment; the laps of both.
pub(crate) fn in_two_threads(increments: u64, increment: impl Fn() -> u64 + Sync) -> Vec<Lap> {
    let gate = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(|| count(&gate, 2, increments, &increment)));
        workers.map(|worker| worker.join().unwrap()).to_vec()
    })
}
