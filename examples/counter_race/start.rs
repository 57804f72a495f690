//! The start flag: lets all workers go at the same moment.

use crate::company::Company;
use procshare::SharedAtomic;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

// All accesses are Relaxed: the flag carries no data, and what it guards was written before the workers were started.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    expected: u64,
    arrived: SharedAtomic<AtomicU64>,
    company: Company,
    open: SharedAtomic<AtomicU64>,
}

impl Start {
    /// Makes a start flag that opens when so many have arrived.
    pub(crate) fn new(expected: usize) -> procshare::Result<Self> {
        Ok(Start {
            expected: expected as u64,
            arrived: SharedAtomic::new(0)?,
            company: Company::new()?,
            open: SharedAtomic::new(0)?,
        })
    }

    /// Waits until all have arrived; the last one opens. Whoever comes later does not wait.
    pub(crate) fn wait(&self) {
        let arrived = self.arrived.fetch_add(1, Relaxed) + 1;
        if arrived == self.expected && arrived > 1 {
            // Ten thousand increments may be over before a sleeper is woken, and would then have met nobody.
            self.company.find();
        }
        if arrived >= self.expected {
            self.open.store(1, Relaxed);
        }
        self.company.wait_until(|| self.is_open());
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed) != 0
    }
}
