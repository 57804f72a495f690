//! Kill storms over maps: no update is lost or doubled, every entry is one that was stored, and no bytes are lost.
//!
//! One second for a map of counters and entries, three where tests are thorough, and one for a map that evicts, or as many
//! as `PROCSHARE_STORM_SECONDS` says.

#![cfg(all(feature = "crash-points", feature = "map"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/storm.rs"]
mod storm;

use common::unique;
use forked::{Child, End, Others, frame_for, now};
use procshare::__private::verify_map;
use procshare::{MapError, Segment, SharedAtomicArray, SharedMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use storm::{Random, length, limit};

/// Nobody may wait longer for a call to end, whoever is killed.
const LONGEST: Duration = Duration::from_secs(1);
/// Fewest kills a second that deserve the name, on a machine that does nothing else.
const RATE: f64 = 25.0;
const WORKERS: usize = 4;
/// Counters that all workers count up.
const COUNTERS: usize = 6;
/// Entries that a worker has for itself.
const OWN: usize = 24;
/// Calls after which a worker gives its handle back and opens another.
const STAY: u64 = 200;

/// What all processes of a storm write down. Each word has one writer at a time, or is only ever raised.
///
/// Relaxed throughout: each word stands for itself, and who is killed has stored it or not.
struct Ledger {
    /// Whether the storm is over, the longest wait, calls that returned, and how many of them found no room.
    words: SharedAtomicArray<AtomicU64>,
    /// For each worker and counter, how often it has begun to count, and how often that has returned.
    begun: SharedAtomicArray<AtomicU64>,
    returned: SharedAtomicArray<AtomicU64>,
    /// For each worker and entry, the version it was to have, and the one it had when that returned; 0 is none.
    wanted: SharedAtomicArray<AtomicU64>,
    stored: SharedAtomicArray<AtomicU64>,
}

impl Ledger {
    fn new() -> Self {
        let words = |count| SharedAtomicArray::new(count).unwrap();
        Ledger {
            words: words(4),
            begun: words(WORKERS * COUNTERS),
            returned: words(WORKERS * COUNTERS),
            wanted: words(WORKERS * OWN),
            stored: words(WORKERS * OWN),
        }
    }

    fn rages(&self) -> bool {
        self.words[0].load(Relaxed) == 0
    }

    /// Measures one call.
    fn timed<R>(&self, call: impl FnOnce() -> R) -> R {
        let before = now();
        let outcome = call();
        self.words[1].fetch_max(now() - before, Relaxed);
        self.words[2].fetch_add(1, Relaxed);
        outcome
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.words[1].load(Relaxed))
    }

    fn calls(&self) -> u64 {
        self.words[2].load(Relaxed)
    }
}

/// Kills workers at random and replaces them; those left at the end finish. Tells how many were killed.
fn rage(length: Duration, ledger: &Ledger, work: impl Fn(usize)) -> usize {
    let (mut random, others) = (Random(now() | 1), Others::watch());
    let start = |number| Child::fork(|| work(number));
    let mut living: Vec<Child> = (0..WORKERS).map(start).collect();
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < length {
        // Nothing is awaited here: the next blow falls at a random moment.
        thread::park_timeout(Duration::from_micros(random.below(6_000)));
        let doomed = random.below(1 << WORKERS) & random.below(1 << WORKERS);
        let is_doomed = |number: &usize| doomed >> number & 1 != 0;
        (0..WORKERS).filter(is_doomed).for_each(|number| living[number].kill());
        for number in (0..WORKERS).filter(is_doomed) {
            assert_eq!(living[number].end(), End::Killed(libc::SIGKILL), "it ended by itself");
            living[number] = start(number);
            kills += 1;
        }
    }
    let rate = kills as f64 / began.elapsed().as_secs_f64();
    ledger.words[0].store(1, Relaxed);
    living.into_iter().for_each(Child::finish);
    let allowed = others.allow(LONGEST);
    assert!(ledger.longest() < allowed, "somebody waited for {:?}", ledger.longest());
    let slower = allowed.as_secs_f64() / LONGEST.as_secs_f64();
    assert!(rate * slower > RATE, "{rate:.0} kills a second are no storm");
    println!(
        "{} calls, {kills} kills, {rate:.0} a second; the longest wait took {:.1?}",
        ledger.calls(),
        ledger.longest()
    );
    assert!(ledger.calls() > 1000, "{} calls are no storm", ledger.calls());
    kills
}

/// Worker, number of the entry, version, and as many words as the version says, all the same.
type Item = (u32, u32, u64, Vec<u64>);
/// A counter is an item of no worker's, whose version is the count.
const NOBODY: u32 = u32::MAX;

type Map = SharedMap<(u32, u32), Item>;

fn item(worker: u32, number: u32, version: u64) -> Item {
    // Most fit into one block; the longest take more than a region.
    let words = if version % 13 == 0 { 300 } else { version * 7 % 40 };
    (worker, number, version, vec![version * 0x0101_0101; words as usize])
}

/// The version of an entry that is whole, and where it belongs.
fn version_of(key: (u32, u32), found: Option<Item>) -> u64 {
    let Some(found) = found else { return 0 };
    assert_eq!(found, item(key.0, key.1, found.2), "torn");
    found.2
}

fn open(name: &str) -> Map {
    Segment::open(name).unwrap().open_map("map").unwrap()
}

/// What a worker of the storm has at hand.
struct Worker<'a> {
    number: usize,
    map: Map,
    ledger: &'a Ledger,
    random: Random,
}

impl Worker<'_> {
    /// Counts up, and notes that before and after.
    fn count(&mut self) {
        let counter = self.random.below(COUNTERS as u64) as usize;
        let (key, place) = ((NOBODY, counter as u32), self.number * COUNTERS + counter);
        self.ledger.begun[place].fetch_add(1, Relaxed);
        let outcome = self.ledger.timed(|| {
            self.map
                .update(&key, |found| Some(item(key.0, key.1, version_of(key, found) + 1)))
        });
        match outcome {
            Ok(_) => self.ledger.returned[place].fetch_add(1, Relaxed),
            Err(MapError::Full { .. }) => self.ledger.begun[place].fetch_sub(1, Relaxed),
            Err(error) => panic!("{error}"),
        };
    }

    /// Stores or removes an entry of its own, and notes that before and after.
    fn store(&mut self) {
        let number = self.random.below(OWN as u64) as usize;
        let (key, place) = ((self.number as u32, number as u32), self.number * OWN + number);
        let (wanted, stored) = (&self.ledger.wanted[place], &self.ledger.stored[place]);
        let before = stored.load(Relaxed);
        let version = if self.random.below(4) == 0 {
            0
        } else {
            self.random.below(1 << 32) + 1
        };
        wanted.store(version, Relaxed);
        let outcome = self.ledger.timed(|| match version {
            0 => self.map.remove(&key),
            _ => self.map.insert(&key, &item(key.0, key.1, version)),
        });
        match outcome {
            Ok(found) => {
                assert_eq!(version_of(key, found), before, "what was there before");
                stored.store(version, Relaxed);
            }
            Err(MapError::Full { .. }) => wanted.store(before, Relaxed),
            Err(error) => panic!("{error}"),
        }
    }

    /// Finds each of its entries as its predecessor left it, or wanted to leave it.
    fn inherit(&mut self) {
        for number in 0..OWN {
            let place = self.number * OWN + number;
            let version = check_entry(&self.map, self.ledger, self.number, number);
            self.ledger.wanted[place].store(version, Relaxed);
            self.ledger.stored[place].store(version, Relaxed);
        }
    }

    /// Reads what another stores.
    fn read(&mut self) {
        let key = (
            self.random.below(WORKERS as u64) as u32,
            self.random.below(OWN as u64) as u32,
        );
        version_of(key, self.ledger.timed(|| self.map.get(&key)).unwrap());
        if self.random.below(100) == 0 {
            for entry in self.map.iter() {
                let (key, found) = entry.unwrap();
                version_of(key, Some(found));
            }
        }
    }
}

fn check_entry(map: &Map, ledger: &Ledger, worker: usize, number: usize) -> u64 {
    let (key, place) = ((worker as u32, number as u32), worker * OWN + number);
    let version = version_of(key, ledger.timed(|| map.get(&key)).unwrap());
    let may_be = [ledger.stored[place].load(Relaxed), ledger.wanted[place].load(Relaxed)];
    assert!(may_be.contains(&version), "{key:?} is {version}, of {may_be:?}");
    version
}

fn work_on_and_on(name: &str, ledger: &Ledger, number: usize) {
    let seed = now() ^ u64::from(std::process::id()) << 32 | 1;
    let mut worker = Worker {
        number,
        map: open(name),
        ledger,
        random: Random(seed),
    };
    worker.inherit();
    for call in 1u64.. {
        if !ledger.rages() {
            return;
        }
        match worker.random.below(8) {
            0..3 => worker.count(),
            3..6 => worker.store(),
            _ => worker.read(),
        }
        if call % STAY == 0 {
            worker.map = open(name);
        }
    }
}

/// Takes the locks of all shards: as many keys as that hit each of them.
fn take_over(map: &Map, ledger: &Ledger) {
    for number in 0..500 {
        assert_eq!(
            ledger.timed(|| map.update(&(NOBODY - 1, number), |found| found)),
            Ok(None)
        );
    }
}

#[test]
fn a_map_loses_and_doubles_nothing() {
    let _frame = frame_for(limit());
    let name = unique("storm-map");
    let segment = Segment::create(&name, 1 << 20).unwrap();
    let builder = Map::builder().capacity(128 << 10).shards(4);
    let map = builder.place_in(&segment, "map").unwrap();
    let ledger = Ledger::new();
    let kills = rage(length(3), &ledger, |number| work_on_and_on(&name, &ledger, number));
    take_over(&map, &ledger);
    verify_map(&map).unwrap();
    let mut lost = 0;
    for counter in 0..COUNTERS {
        let key = (NOBODY, counter as u32);
        let found = version_of(key, map.get(&key).unwrap());
        let sum = |words: &SharedAtomicArray<AtomicU64>| -> u64 {
            (0..WORKERS)
                .map(|worker| words[worker * COUNTERS + counter].load(Relaxed))
                .sum()
        };
        let (returned, begun) = (sum(&ledger.returned), sum(&ledger.begun));
        assert!(
            (returned..=begun).contains(&found),
            "counter {counter}: {returned} <= {found} <= {begun}"
        );
        lost += begun - returned;
    }
    assert!(
        lost <= kills as u64,
        "{lost} calls never returned, and {kills} workers were killed"
    );
    let mut entries = 0;
    for (worker, number) in (0..WORKERS).flat_map(|worker| (0..OWN).map(move |number| (worker, number))) {
        entries += usize::from(check_entry(&map, &ledger, worker, number) != 0);
    }
    assert_eq!(
        (map.len(), map.iter().count()),
        (entries + COUNTERS, entries + COUNTERS)
    );
    loses_no_bytes(&map);
}

/// Once all entries are removed all bytes are free, in one piece.
fn loses_no_bytes(map: &Map) {
    map.clear().unwrap();
    verify_map(map).unwrap();
    let stats = map.stats();
    assert_eq!(
        (stats.entries, stats.bytes_used, stats.bytes_free),
        (0, 0, map.capacity())
    );
}

/// Stores and reads entries that make room for one another.
fn cache_on_and_on(name: &str, ledger: &Ledger) {
    let (mut map, mut random) = (open(name), Random(now() ^ u64::from(std::process::id()) << 32 | 1));
    for call in 1u64.. {
        if !ledger.rages() {
            return;
        }
        let (key, version) = (
            (random.below(8) as u32, random.below(100) as u32),
            random.below(1 << 32) + 1,
        );
        let found = ledger.timed(|| match random.below(8) {
            0..4 => map.insert(&key, &item(key.0, key.1, version)),
            4 => map.remove(&key),
            5 => map.update(&key, |found| found.map(|found| item(key.0, key.1, found.2 + 1))),
            _ => map.get(&key),
        });
        match found {
            Ok(found) => {
                version_of(key, found);
            }
            // Whoever has nothing to evict, and meets others in the shards that have.
            Err(MapError::Full { .. }) => {
                ledger.words[3].fetch_add(1, Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
        if call % STAY == 0 {
            map = open(name);
        }
    }
}

#[test]
fn a_map_that_evicts_loses_no_bytes() {
    let _frame = frame_for(limit());
    let name = unique("storm-cache");
    let segment = Segment::create(&name, 1 << 20).unwrap();
    let builder = Map::builder().capacity(64 << 10).shards(4).evict_lru();
    let map = builder.place_in(&segment, "map").unwrap();
    let ledger = Ledger::new();
    rage(length(1), &ledger, |_| cache_on_and_on(&name, &ledger));
    take_over(&map, &ledger);
    verify_map(&map).unwrap();
    let entries: Vec<_> = map.iter().map(Result::unwrap).collect();
    assert_eq!(map.len(), entries.len());
    for (key, found) in entries {
        version_of(key, Some(found));
    }
    let refused = ledger.words[3].load(Relaxed);
    println!("{} evictions; {refused} calls found no room", map.stats().evictions);
    assert!(map.stats().evictions > 0, "nothing had to make room");
    assert!(
        refused * 100 < ledger.calls(),
        "{refused} of {} calls found no room",
        ledger.calls()
    );
    loses_no_bytes(&map);
}
