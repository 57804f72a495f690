//! Company: tells whether another worker runs at this very moment, on another core.

use procshare::SharedAtomic;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{available_parallelism, yield_now};
use std::time::{Duration, Instant};

/// How long one looks for company; the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long anybody spins before others may have the core.
const TURN: Duration = Duration::from_millis(1);
/// How soon one sees what somebody does who runs now.
const PROMPT: Duration = Duration::from_micros(10);

/// Counts as long as somebody waits; Relaxed, for it says nothing about other memory.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Company(SharedAtomic<AtomicU64>);

impl Company {
    pub(crate) fn new() -> procshare::Result<Self> {
        Ok(Company(SharedAtomic::new(0)?))
    }

    /// Waits until something is so, and is company for others meanwhile.
    pub(crate) fn wait_until(&self, done: impl Fn() -> bool) {
        let look = || {
            self.0.fetch_add(1, Relaxed);
            done()
        };
        while !spin_until(TURN, look) {
            yield_now();
        }
    }

    /// Waits until another worker waits on another core, unless there is but one.
    pub(crate) fn find(&self) {
        let began = Instant::now();
        let one_core = available_parallelism().is_ok_and(|cores| cores.get() == 1);
        while !one_core && began.elapsed() < PATIENCE {
            // A first move may be old news, if we have been off our core; another one just after it is not.
            if self.moves_within(TURN) && self.moves_within(PROMPT) {
                return;
            }
            yield_now();
        }
    }

    fn moves_within(&self, limit: Duration) -> bool {
        let before = self.0.load(Relaxed);
        spin_until(limit, || self.0.load(Relaxed) != before)
    }
}

/// Looks again and again, for so long; tells whether it saw what it looks for.
fn spin_until(limit: Duration, look: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        if (0..100).any(|_| look()) {
            return true;
        }
    }
    false
}
