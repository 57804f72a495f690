//! What the scenarios share: a map in a folder of its own, victims, and a look at what they left.

use crate::forked::Others;
use crate::nursery::is_killed;
use crate::role::{self, Actor, Folder, file_of, word_at};
use crate::scenarios::SCENARIOS;
use procshare::__private::{map_with_clock, map_with_hasher, verify_map};
use procshare::{MapBuilder, Segment, SharedMap};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the first access after a death may take, on a machine that does nothing else.
const LONGEST: Duration = Duration::from_millis(100);

pub(crate) type Map = SharedMap<String, Vec<u8>>;
pub(crate) type Builder = MapBuilder<String, Vec<u8>>;
pub(crate) type Model = BTreeMap<String, Vec<u8>>;

pub(crate) const SHARDS: u32 = 2;
/// Sixteen regions of 512 bytes.
pub(crate) const BYTES: usize = 8192;
pub(crate) const REGION: usize = 512;
/// What the survivor's clock says, and did when the map was filled.
const EARLY: u64 = 1000;
/// Where the journal of the first shard stands in a map, in words, and how many words a shard takes.
const JOURNAL: u64 = 136 + 8;
const SHARD_WORDS: u64 = 176;

/// A call on a map during which a child dies.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What kind of map it is.
    pub(crate) build: fn(Builder) -> Builder,
    pub(crate) prepare: fn(&Map),
    pub(crate) act: fn(&Map),
    /// What the child's clock says.
    pub(crate) clock: u64,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The call happens as a whole or not at all.
    OneStep,
    /// The call removes entries one after the other.
    Removals,
    /// The call evicts entries one after the other, and then stores one.
    Evictions,
}

/// Tests take turns: a child that another thread starts has our descriptors for a moment, and with them the lock that
/// keeps a segment's name.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key of a shard: [`hash`] sees to that.
pub(crate) fn key(shard: u32, number: usize) -> String {
    format!("{shard} {number:02}")
}

pub(crate) fn value(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// The first character tells the shard, so that every run takes the same steps.
fn hash(bytes: &[u8], _seed: u64) -> u64 {
    let shard = bytes.first().map_or(0, |first| u64::from(first & 15));
    let low = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    shard << 32 | u64::from(low.rotate_left(15))
}

pub(crate) fn builder() -> Builder {
    let builder = SharedMap::builder().capacity(BYTES).shards(SHARDS);
    map_with_hasher(builder, "by the first character", hash)
}

fn open_in(segment: &Segment, clock: u64) -> Map {
    let map = builder().open_in(segment, "map").expect("the test made it");
    map_with_clock(map, Arc::new(move || clock))
}

pub(crate) fn scenario(name: &str) -> &'static Scenario {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.expect("the scenario exists")
}

/// The map as a child sees it.
pub(crate) fn open_as_victim(scenario: &Scenario, folder: &str) -> Map {
    let segment = Segment::builder()
        .folder(folder)
        .open("shared")
        .expect("the test made it");
    open_in(&segment, scenario.clock)
}

/// What was counted and measured.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    longest: (Duration, String),
}

impl Tally {
    pub(crate) fn timed<R>(&mut self, at: &str, step: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let outcome = step();
        let pause = began.elapsed();
        if pause > self.longest.0 {
            self.longest = (pause, at.to_owned());
        }
        outcome
    }

    pub(crate) fn report(&self, others: &Others) {
        let (pause, at) = &self.longest;
        eprintln!("{} kills; longest pause after a death: {pause:?}, at {at}", self.kills);
        assert!(*pause < others.allow(LONGEST), "{at}: {pause:?}");
    }
}

/// A map as a scenario wants it, and what it holds before and after.
pub(crate) struct Stage {
    scenario: &'static Scenario,
    folder: Folder,
    segment: Segment,
    pub(crate) map: Map,
    before: Model,
    after: Model,
}

pub(crate) fn content(map: &Map) -> Model {
    map.iter().collect::<Result<_, _>>().expect("it is whole")
}

impl Stage {
    pub(crate) fn new(scenario: &'static Scenario) -> Self {
        let folder = Folder::new();
        let segment = folder
            .builder()
            .capacity(64 << 10)
            .create("shared")
            .expect("the folder is ours");
        let build = |name| {
            let map = (scenario.build)(builder())
                .place_in(&segment, name)
                .expect("there is room");
            let map = map_with_clock(map, Arc::new(|| EARLY));
            (scenario.prepare)(&map);
            map
        };
        let (map, twin) = (build("map"), build("twin"));
        let before = content(&map);
        (scenario.act)(&map_with_clock(twin.clone(), Arc::new(move || scenario.clock)));
        let after = content(&twin);
        let evicts = before.keys().any(|key| !after.contains_key(key));
        assert!(
            evicts || scenario.kind == Kind::OneStep,
            "{}: nothing goes",
            scenario.name
        );
        Stage {
            scenario,
            map,
            before,
            after,
            folder,
            segment,
        }
    }

    /// Has a child play a role, to die at a passage. Whether it was killed; else it has done all it had to.
    pub(crate) fn kills(&self, role: &str, passage: &str) -> bool {
        is_killed(role, passage, &self.arguments())
    }

    /// Starts a child that may live.
    pub(crate) fn actor(&self, role: &str) -> Actor {
        role::start(role, &self.arguments())
    }

    /// What a child must be told.
    pub(crate) fn arguments(&self) -> [&str; 2] {
        [self.folder.path(), self.scenario.name]
    }

    /// Whether a change of that shard is under way.
    pub(crate) fn is_changing(&self, shard: u32) -> bool {
        let objects = self.segment.objects().expect("it is whole");
        let map = objects.iter().find(|object| object.name == "map").expect("it is there");
        let at = map.offset + 8 * (JOURNAL + u64::from(shard) * SHARD_WORDS);
        let journal = word_at(&file_of(&self.folder.0, "shared"), at);
        assert!(
            journal >> 16 > 5,
            "it does not stand there: no map was ever filled by so few changes"
        );
        journal as u16 != 0
    }

    /// The child has outlived its scenario, which did as much as it does in the twin.
    pub(crate) fn has_happened(&self, at: &str) {
        verify_map(&self.map).unwrap_or_else(|fault| panic!("{at}: {fault}"));
        assert_eq!(content(&self.map), self.after, "{at}");
    }

    /// Whoever reads finds each value as it was or is to be, and is not held up.
    pub(crate) fn can_be_read(&self, at: &str, tally: &mut Tally) {
        let keys: Vec<&String> = self.before.keys().chain(self.after.keys()).collect();
        for key in keys {
            let found = tally
                .timed(at, || self.map.get(key))
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            let known = [self.before.get(key), self.after.get(key)];
            assert!(known.contains(&found.as_ref()), "{at}: {key} is {found:?}");
        }
    }

    /// The next to lock each shard makes it good, soon.
    pub(crate) fn is_taken_over(&self, at: &str, tally: &mut Tally) {
        for shard in 0..SHARDS {
            let locked = tally.timed(at, || self.map.update(&key(shard, 99), |found| found));
            assert_eq!(locked, Ok(None), "{at}");
        }
    }

    /// What is left is what was before, or after; every word of it, and its numbers.
    pub(crate) fn is_whole(&self, at: &str) {
        verify_map(&self.map).unwrap_or_else(|fault| panic!("{at}: {fault}"));
        let found = content(&self.map);
        assert!(
            self.may_be(&found),
            "{at}: found {found:?}, before {:?}, after {:?}",
            self.before,
            self.after
        );
        let stats = self.map.stats();
        assert_eq!((self.map.len(), stats.entries), (found.len(), found.len()), "{at}");
        assert_eq!(stats.bytes_used + stats.bytes_free, self.map.capacity(), "{at}");
        if self.scenario.kind == Kind::Evictions {
            let gone = self.before.keys().filter(|key| !found.contains_key(*key)).count();
            assert_eq!(stats.evictions, gone as u64, "{at}");
        }
    }

    fn may_be(&self, found: &Model) -> bool {
        if *found == self.before || *found == self.after {
            return true;
        }
        let is_old = |(key, value): (&String, &Vec<u8>)| self.before.get(key) == Some(value);
        let is_kept =
            |(key, value): (&String, &Vec<u8>)| self.after.get(key) != Some(value) || found.get(key) == Some(value);
        self.scenario.kind != Kind::OneStep && found.iter().all(is_old) && self.before.iter().all(is_kept)
    }

    /// The survivor does what the dead wanted to do, and then removes all: no bytes are lost.
    pub(crate) fn goes_on(self, at: &str) {
        let clock = self.scenario.clock;
        (self.scenario.act)(&map_with_clock(self.map.clone(), Arc::new(move || clock)));
        verify_map(&self.map).unwrap_or_else(|fault| panic!("{at}, then again: {fault}"));
        let found = content(&self.map);
        if self.scenario.kind == Kind::Evictions {
            let stored = |key: &&String| !self.before.contains_key(*key);
            assert!(
                self.after.keys().filter(stored).all(|key| found.contains_key(key)),
                "{at}"
            );
        } else {
            assert_eq!(found, self.after, "{at}, then again");
        }
        self.map.clear().unwrap_or_else(|error| panic!("{at}: {error}"));
        verify_map(&self.map).unwrap_or_else(|fault| panic!("{at}, then cleared: {fault}"));
        let stats = self.map.stats();
        assert_eq!((stats.entries, stats.bytes_free), (0, self.map.capacity()), "{at}");
    }
}
