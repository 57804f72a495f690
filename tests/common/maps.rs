//! Maps whose time is what a test says, and caches.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use procshare::__private::map_with_clock;
use procshare::{MapBuilder, SharedMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) type Map = SharedMap<u32, Vec<u8>>;

pub(crate) fn bytes(fill: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (fill as u8).wrapping_add(at as u8)).collect()
}

pub(crate) fn cache(capacity: usize, shards: u32) -> Map {
    let builder = Map::builder().capacity(capacity).shards(shards).evict_lru();
    builder.anonymous().unwrap()
}

/// A map whose time is what the test says, and the time.
pub(crate) struct Timed {
    pub(crate) map: Map,
    time: Arc<AtomicU64>,
}

impl Timed {
    pub(crate) fn new(builder: &MapBuilder<u32, Vec<u8>>) -> Self {
        let time = Arc::new(AtomicU64::new(1_000_000));
        let clock = time.clone();
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let map = map_with_clock(builder.anonymous().unwrap(), clock);
        Timed { map, time }
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
    }
}
