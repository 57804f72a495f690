//! The worker of the storm: it may be killed at any instruction.

use crate::start::Start;
use procshare::{Process, Result, Shareable, SharedAtomic, SharedValue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The most workers that can be told apart.
pub(crate) const SLOTS: usize = 64;

/// What each increment changes in two places, as one.
#[repr(C)]
#[derive(Clone, Copy, Shareable)]
pub(crate) struct Count {
    pub(crate) total: u64,
    pub(crate) per_worker: [u64; SLOTS],
}

// The atomics are accessed Relaxed: a flag and a figure, which say nothing about other memory.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) count: SharedValue<Count>,
    pub(crate) start: Start,
    pub(crate) stop: SharedAtomic<AtomicU64>,
    /// The longest that anybody waited for the lock, in nanoseconds.
    pub(crate) stall: SharedAtomic<AtomicU64>,
}

impl Shared {
    pub(crate) fn new(workers: usize) -> Result<Self> {
        let nothing = Count {
            total: 0,
            per_worker: [0; SLOTS],
        };
        Ok(Shared {
            count: SharedValue::new(nothing)?,
            start: Start::new(workers)?,
            stop: SharedAtomic::new(0)?,
            stall: SharedAtomic::new(0)?,
        })
    }

    /// Starts a worker, which dies with this process if not before.
    pub(crate) fn spawn_worker(&self, slot: usize) -> Result<Process<()>> {
        let arguments = (slot, self.clone());
        Process::builder().daemon(true).spawn(work, arguments)
    }
}

fn work(slot: usize, shared: Shared) {
    let mut longest = 0;
    shared.start.wait();
    while shared.stop.load(Relaxed) == 0 {
        let began = Instant::now();
        let mut count = shared.count.get_lock();
        let waited = began.elapsed().as_nanos() as u64;
        count.total += 1;
        count.per_worker[slot] += 1;
        drop(count); // both numbers are published here, by one store
        if waited > longest {
            longest = waited;
            shared.stall.fetch_max(waited, Relaxed);
        }
    }
}
