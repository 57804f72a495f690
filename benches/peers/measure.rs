//! Rounds, medians and units.

use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    /// Rounds of a measurement; an odd number.
    pub(crate) fn rounds(self, rounds: usize) -> usize {
        if self.quick { 3 } else { rounds | 1 }
    }

    /// Operations in a round.
    pub(crate) fn operations(self, operations: u64) -> u64 {
        if self.quick {
            operations.div_ceil(20)
        } else {
            operations
        }
    }
}

/// What a figure counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
}

impl Unit {
    pub(crate) fn show(self, figure: f64) -> String {
        match self {
            Unit::Nanoseconds if figure >= 1e6 => format!("{:.2} ms", figure / 1e6),
            Unit::Nanoseconds if figure >= 1e3 => format!("{:.2} µs", figure / 1e3),
            Unit::Nanoseconds => format!("{figure:.2} ns"),
            Unit::Bytes if figure >= 1024.0 => format!("{:.0} KiB", figure / 1024.0),
            Unit::Bytes => format!("{figure:.0} bytes"),
        }
    }
}

/// Our figure beside the peer's, or beside a limit.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) ours: f64,
    pub(crate) peer: f64,
    pub(crate) unit: Unit,
}

impl Measured {
    pub(crate) fn ratio(self) -> f64 {
        self.ours / self.peer
    }

    /// Nanoseconds of ours beside a limit.
    pub(crate) fn within(ours: f64, limit: f64) -> Self {
        Measured {
            ours,
            peer: limit,
            unit: Unit::Nanoseconds,
        }
    }
}

/// Gives a peer's lock a cache line of its own, as ours have.
#[repr(align(64))]
pub(crate) struct Line<T>(pub(crate) T);

/// Measures the two in turn, so that what disturbs one disturbs the other; each call returns nanoseconds.
pub(crate) fn interleave(rounds: usize, mut ours: impl FnMut() -> f64, mut peer: impl FnMut() -> f64) -> Measured {
    ours();
    peer();
    let (ours, peer) = (0..rounds).map(|_| (ours(), peer())).unzip();
    Measured {
        ours: median(ours),
        peer: median(peer),
        unit: Unit::Nanoseconds,
    }
}

/// Measures an operation by itself, and lets go of what it made outside the time taken.
pub(crate) fn once<R>(operation: impl FnOnce() -> R) -> f64 {
    let started = Instant::now();
    let made = operation();
    let elapsed = started.elapsed();
    drop(made);
    elapsed.as_nanos() as f64
}

/// Repeats an operation and returns nanoseconds for one.
#[inline]
pub(crate) fn each(operations: u64, mut operation: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..operations {
        operation();
    }
    started.elapsed().as_nanos() as f64 / operations as f64
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
