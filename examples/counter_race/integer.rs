//! The shared integer, and one increment of it in each mode.

use crate::mode::Mode;
use procshare::{SharedAtomic, SharedCounter, SharedValue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// A handle of the integer: it travels to the workers as an argument.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Integer {
    Unguarded(SharedAtomic<AtomicU64>),
    PerAccess(SharedValue<u64>),
    GetLock(SharedValue<u64>),
    Counter(SharedCounter),
    Atomic(SharedAtomic<AtomicU64>),
}

impl Integer {
    pub(crate) fn new(mode: Mode) -> procshare::Result<Self> {
        Ok(match mode {
            Mode::Unguarded => Integer::Unguarded(SharedAtomic::new(0)?),
            Mode::PerAccess => Integer::PerAccess(SharedValue::new(0)?),
            Mode::GetLock | Mode::Kill => Integer::GetLock(SharedValue::new(0)?),
            Mode::Counter => Integer::Counter(SharedCounter::new(0)?),
            Mode::Atomic => Integer::Atomic(SharedAtomic::new(0)?),
        })
    }

    pub(crate) fn get(&self) -> u64 {
        match self {
            // Relaxed: the workers have been joined, nobody writes any more.
            Integer::Unguarded(integer) | Integer::Atomic(integer) => integer.load(Relaxed),
            Integer::PerAccess(integer) | Integer::GetLock(integer) => integer.get(),
            Integer::Counter(counter) => counter.get().unsigned_abs(),
        }
    }

    /// Meets what costs time at first use: pages not mapped yet, and how this process signs a lock.
    pub(crate) fn touch(&self) {
        match self {
            Integer::Unguarded(integer) | Integer::Atomic(integer) => drop(integer.fetch_add(0, Relaxed)),
            Integer::PerAccess(integer) | Integer::GetLock(integer) => drop(integer.get_lock()),
            Integer::Counter(counter) => drop(counter.get_lock()),
        }
    }

    /// Increments so many times.
    pub(crate) fn increment(&self, times: u64) -> procshare::Result<()> {
        match self {
            Integer::Unguarded(integer) => (0..times).for_each(|_| {
                // SeqCst, to show that the strongest order helps nothing: what others store in between is overwritten.
                let seen = integer.load(SeqCst);
                integer.store(seen + 1, SeqCst);
            }),
            Integer::PerAccess(integer) => (0..times).for_each(|_| {
                let seen = *integer.get_lock();
                *integer.get_lock() = seen + 1; // another lock: what others did in between is overwritten
            }),
            Integer::GetLock(integer) => (0..times).for_each(|_| *integer.get_lock() += 1),
            Integer::Counter(counter) => {
                return (0..times).try_for_each(|_| counter.increment().map(drop));
            }
            Integer::Atomic(integer) => (0..times).for_each(|_| {
                integer.fetch_add(1, Relaxed); // Relaxed: the number says nothing about other memory
            }),
        }
        Ok(())
    }
}
