//! `SharedMap` and its memory: how full it gets, what an entry takes, and that nothing is lost in the long run.
//!
//! `PROCSHARE_MAP_CHANGES=10000000` makes the run at 80 % as long.

#![cfg(feature = "map")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;

use common::{verify, watchdog};
use effort::thorough;
use procshare::{MapBuilder, MapError, Segment, SharedMap};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;

type Blobs = SharedMap<u32, Vec<u8>>;

/// Numbers that look random, the same for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    /// The length of a value: mostly short, some of several KiB.
    fn len(&mut self) -> usize {
        match self.below(100) {
            0..50 => self.below(64),
            50..85 => 64 + self.below(448),
            85..99 => 512 + self.below(3584),
            _ => 4096 + self.below(8192),
        }
    }
}

/// Bytes an entry of a `u32` takes: two words, the key, the value.
fn bytes_of(len: usize) -> usize {
    24 + len.next_multiple_of(8)
}

/// A map, its entries, and what they take at least.
struct Filled {
    map: Blobs,
    lens: Vec<usize>,
    live: usize,
    random: Random,
}

impl Filled {
    fn new(builder: &MapBuilder<u32, Vec<u8>>) -> Self {
        Filled {
            map: builder.anonymous().unwrap(),
            lens: Vec::new(),
            live: 0,
            random: Random(7),
        }
    }

    fn share(&self, bytes: usize) -> f64 {
        bytes as f64 / self.map.capacity() as f64
    }

    /// Stores new entries until the next would take more than this of the capacity.
    fn fill_to(&mut self, percent: usize) -> Result<(), MapError> {
        loop {
            let len = self.random.len();
            if self.live + bytes_of(len) > self.map.capacity() * percent / 100 {
                return Ok(());
            }
            self.map.insert(&(self.lens.len() as u32), &vec![len as u8; len])?;
            self.lens.push(len);
            self.live += bytes_of(len);
        }
    }

    /// Replaces an entry's value by one of another size, if that leaves the map as full or less.
    fn replace(&mut self, percent: usize) -> Result<(), MapError> {
        let (at, len) = (self.random.below(self.lens.len()), self.random.len());
        let live = self.live - bytes_of(self.lens[at]) + bytes_of(len);
        if live > self.map.capacity() * percent / 100 {
            return Ok(());
        }
        let before = self.map.insert(&(at as u32), &vec![len as u8; len])?.unwrap();
        assert_eq!(before.len(), self.lens[at]);
        self.lens[at] = len;
        self.live = live;
        Ok(())
    }

    /// All entries are there; what is beside their bytes are the headers of parts.
    fn check(&self) -> usize {
        verify(&self.map);
        for (at, len) in self.lens.iter().enumerate() {
            assert!(
                self.map.get(&(at as u32)).unwrap() == Some(vec![*len as u8; *len]),
                "entry {at}"
            );
        }
        let stats = self.map.stats();
        assert_eq!(stats.entries, self.lens.len());
        assert!(stats.bytes_used >= self.live);
        stats.bytes_used - self.live
    }
}

fn builders() -> [(&'static str, MapBuilder<u32, Vec<u8>>); 3] {
    [
        ("1 MiB, one shard", Blobs::builder().capacity(1 << 20).shards(1)),
        ("1 MiB, 16 shards", Blobs::builder().capacity(1 << 20)),
        ("8 MiB, 64 shards", Blobs::builder().capacity(8 << 20)),
    ]
}

/// How often the run at 80 % changes an entry.
fn changes() -> usize {
    let changes = std::env::var("PROCSHARE_MAP_CHANGES");
    changes.map_or(thorough(50_000, 10_000), |changes| changes.parse().unwrap())
}

/// Replaces entries of a map that is four fifths full, and tells how often it was refused.
fn refused_at_four_fifths(name: &str, builder: &MapBuilder<u32, Vec<u8>>) -> usize {
    let mut filled = Filled::new(builder);
    filled.fill_to(80).unwrap();
    let (mut most, mut refused) = (0, 0);
    for change in 0..changes() {
        match filled.replace(80) {
            Ok(()) => {}
            Err(MapError::Full { needed, free }) => {
                if refused < 3 {
                    println!("{name}: change {change} is refused: {needed} of {free} bytes");
                }
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        if change % 100 == 0 {
            most = most.max(filled.map.stats().bytes_used - filled.live);
        }
    }
    let beside = filled.check();
    println!(
        "{name}: {} entries, {:.1} % full; beside them at most {:.2} %, at the end {:.2} %",
        filled.lens.len(),
        100.0 * filled.share(filled.live),
        100.0 * filled.share(most),
        100.0 * filled.share(beside),
    );
    assert!(filled.share(most) < 0.05, "{name}");
    refused
}

#[test]
fn a_map_that_is_four_fifths_full_never_refuses() {
    let _watchdog = watchdog(600);
    let [(name, builder), ..] = builders();
    assert_eq!(refused_at_four_fifths(name, &builder), 0);
}

#[test]
fn a_map_of_many_shards_that_is_four_fifths_full_never_refuses() {
    let _watchdog = watchdog(600);
    let [_, builders @ ..] = builders();
    let refused = builders.map(|(name, builder)| refused_at_four_fifths(name, &builder));
    assert_eq!(refused, [0, 0]);
}

#[test]
fn a_map_can_be_filled_nearly_up() {
    let _watchdog = watchdog(60);
    for (name, builder) in builders() {
        let mut filled = Filled::new(&builder);
        let MapError::Full { needed, free } = filled.fill_to(100).unwrap_err() else {
            panic!("it is full some time");
        };
        let share = filled.share(filled.live);
        println!(
            "{name}: {:.1} % full when {needed} bytes do not fit; {free} are free for it",
            100.0 * share
        );
        assert!(share > 0.9, "{name}");
        filled.check();
    }
}

/// With a part of the entries replaced again and again, and more and more stored.
#[test]
fn a_map_whose_entries_change_can_be_filled_too() {
    let _watchdog = watchdog(60);
    let [(name, builder), ..] = builders();
    let mut filled = Filled::new(&builder);
    let mut percent = 80;
    while percent < 100 {
        if filled.fill_to(percent).is_err() || (0..4000).any(|_| filled.replace(percent).is_err()) {
            break;
        }
        percent += 1;
    }
    println!(
        "{name}: with entries replaced all the time it can be {} % full",
        percent - 1
    );
    assert!(percent > 90, "{name}");
    filled.check();
}

/// Bytes of the map's memory for each entry, at 80 % of what fits: those it uses, and its share of what a map takes beside.
fn bytes_per_entry<K, V>(insert: impl Fn(&SharedMap<K, V>, u32)) -> f64
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    const CAPACITY: usize = 4 << 20;
    let segment = Segment::new(2 * CAPACITY).unwrap();
    let map = segment.map::<K, V>("map", CAPACITY).unwrap();
    let object = segment.objects().unwrap().remove(0);
    assert_eq!((object.kind, object.name.as_str()), ("map", "map"));
    let mut number = 0;
    while map.stats().bytes_used < CAPACITY * 8 / 10 {
        (0..100).for_each(|_| {
            insert(&map, number);
            number += 1;
        });
    }
    let stats = map.stats();
    assert_eq!(stats.entries, number as usize);
    let beside = object.bytes as f64 - CAPACITY as f64;
    let fill = stats.bytes_used as f64 / CAPACITY as f64;
    let entries = stats.entries as f64;
    println!(
        "{}: {} entries of {:.1} bytes, {:.1} with their part of what is beside, {:.1} with all of it",
        std::any::type_name::<SharedMap<K, V>>(),
        stats.entries,
        stats.bytes_used as f64 / entries,
        (stats.bytes_used as f64 + fill * beside) / entries,
        (stats.bytes_used as f64 + beside) / entries,
    );
    (stats.bytes_used as f64 + fill * beside) / entries
}

#[test]
fn entries_take_little_beside_what_they_hold() {
    let _watchdog = watchdog(60);
    let numbers = bytes_per_entry::<u64, u64>(|map, number| {
        map.insert(&u64::from(number), &1).unwrap();
    });
    assert!(numbers <= 2.5 * 16.0, "{numbers}");
    let value = vec![7; 100];
    let texts = bytes_per_entry::<String, Vec<u8>>(|map, number| {
        map.insert(&format!("key-{number:06}"), &value).unwrap();
    });
    assert!(texts <= 1.5 * 110.0, "{texts}");
}

#[test]
fn an_emptied_map_has_all_its_bytes_again() {
    let _watchdog = watchdog(60);
    for (name, builder) in builders() {
        let map = builder.anonymous().unwrap();
        let mut random = Random(1);
        for cycle in 0..12 {
            // So many as fit, each time of other sizes: the oldest go, so that all do in the end.
            let mut keys = VecDeque::new();
            let mut key = 0;
            while let Ok(None) = map.insert(&key, &vec![1; random.len() * (1 + cycle % 3)]) {
                keys.push_back(key);
                key += 1;
            }
            assert!(map.stats().bytes_free < map.capacity() / 5, "{name}");
            match cycle % 3 {
                0 => keys.iter().for_each(|key| drop(map.remove(key).unwrap())),
                1 => keys.iter().rev().for_each(|key| drop(map.remove(key).unwrap())),
                _ => map.clear().unwrap(),
            }
            let stats = map.stats();
            assert_eq!(
                (stats.entries, stats.bytes_used, stats.bytes_free),
                (0, 0, map.capacity()),
                "{name}"
            );
            verify(&map);
        }
    }
}

/// Keys and values of lengths around those where a word, a list of blocks, a region begins.
#[test]
fn lengths_of_all_kinds_leave_nothing_behind() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<Vec<u8>, Vec<u8>>::builder()
        .capacity(1 << 16)
        .shards(1)
        .anonymous()
        .unwrap();
    let edges = [
        0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 255, 256, 257, 440, 480, 500, 512, 4000, 4060, 4096, 10_000, 40_000,
    ];
    for key_len in [0, 1, 7, 8, 9, 100, 3000] {
        for (first, second) in edges.iter().flat_map(|first| edges.map(|second| (*first, second))) {
            if first + second > 60_000 {
                continue;
            }
            let key = vec![1; key_len];
            assert_eq!(map.insert(&key, &vec![2; first]), Ok(None));
            assert_eq!(map.insert(&key, &vec![3; second]), Ok(Some(vec![2; first])));
            assert_eq!(map.insert(&vec![9; key_len + 1], &vec![4; first.min(1000)]), Ok(None));
            assert_eq!(map.remove(&key), Ok(Some(vec![3; second])));
            verify(&map);
            assert_eq!(map.remove(&vec![9; key_len + 1]), Ok(Some(vec![4; first.min(1000)])));
            assert_eq!(map.stats().bytes_used, 0);
        }
    }
    verify(&map);
}
