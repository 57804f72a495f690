//! What both numbers can do, and what children do with either.

use crate::{INCREMENTS, LIMIT};
use procshare::SharedAtomic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::park;
use std::time::Duration;

/// A number in shared memory, under a lock.
pub(crate) trait Counter: Sized + 'static {
    /// What another process needs to find it.
    type Address: Serialize + DeserializeOwned + 'static;

    fn create() -> Result<Self, Box<dyn Error>>;
    fn address(&self) -> Self::Address;
    fn open(address: Self::Address) -> Result<Self, Box<dyn Error>>;
    /// Adds one, and returns the sum; an error if the lock cannot be had in time.
    fn increment(&self, limit: Duration) -> Result<u64, Box<dyn Error>>;
    /// Calls that while it holds the lock.
    fn hold(&self, then: impl FnOnce());
}

/// What a child does that increments.
pub(crate) fn increment<C: Counter>(address: C::Address) {
    let counter = C::open(address).expect("it exists");
    for _ in 0..INCREMENTS {
        counter.increment(LIMIT).expect("nobody keeps the lock");
    }
}

/// What a child does that is killed: it holds the lock, and says so.
pub(crate) fn hold<C: Counter>(address: C::Address, held: SharedAtomic<AtomicU32>) {
    let counter = C::open(address).expect("it exists");
    counter.hold(|| {
        held.store(1, SeqCst);
        loop {
            park();
        }
    });
}
