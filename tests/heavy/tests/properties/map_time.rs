//! `SharedMap` and time, against a `HashMap` whose entries expire.

use crate::common::verify;
use crate::maps::{Map, Timed, bytes};
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Timely {
    Insert(u32, usize),
    InsertFor(u32, usize, u64),
    Get(u32),
    Whole,
    Update(u32, Option<usize>),
    Exchange(u32, Option<usize>),
    GetOrInsert(u32),
    Remove(u32),
    Pass(u64),
}

fn timely() -> impl Strategy<Value = Vec<Timely>> {
    let key = || 0..12u32;
    let len = || prop_oneof![0..40usize, Just(8usize), Just(1000usize)];
    let step = prop_oneof![
        4 => (key(), len()).prop_map(|(key, len)| Timely::Insert(key, len)),
        3 => (key(), len(), 0..300u64).prop_map(|(key, len, ttl)| Timely::InsertFor(key, len, ttl)),
        3 => key().prop_map(Timely::Get),
        2 => Just(Timely::Whole),
        3 => (key(), prop::option::of(len())).prop_map(|(key, len)| Timely::Update(key, len)),
        3 => (key(), prop::option::of(len())).prop_map(|(key, len)| Timely::Exchange(key, len)),
        2 => key().prop_map(Timely::GetOrInsert),
        1 => key().prop_map(Timely::Remove),
        4 => prop_oneof![Just(1u64), 0..150u64].prop_map(Timely::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

/// Values, and when they expire.
struct Times<'a> {
    timed: &'a Timed,
    ttl: Option<u64>,
    entries: HashMap<u32, (Vec<u8>, Option<u64>)>,
}

impl Times<'_> {
    /// Forgets what has expired.
    fn settle(&mut self) {
        let now = self.timed.now();
        self.entries
            .retain(|_, (_, expires)| expires.is_none_or(|expires| expires > now));
    }

    fn value(&self, key: u32) -> Option<Vec<u8>> {
        self.entries.get(&key).map(|(value, _)| value.clone())
    }

    fn anew(&self) -> Option<u64> {
        self.ttl.map(|ttl| self.timed.now() + ttl)
    }

    fn put(&mut self, key: u32, value: Vec<u8>, expires: Option<u64>) -> Option<Vec<u8>> {
        self.entries.insert(key, (value, expires)).map(|(value, _)| value)
    }

    /// Replaces a value, which goes on to expire when it did.
    fn replace(&mut self, key: u32, value: Option<Vec<u8>>) {
        let expires = self.entries.get(&key).map_or(self.anew(), |(_, expires)| *expires);
        match value {
            Some(value) => drop(self.put(key, value, expires)),
            None => drop(self.entries.remove(&key)),
        }
    }

    fn step(&mut self, fill: u32, step: &Timely) {
        self.settle();
        let map = &self.timed.map;
        match *step {
            Timely::Insert(key, len) => {
                let expires = self.anew();
                assert_eq!(
                    map.insert(&key, &bytes(fill, len)).unwrap(),
                    self.put(key, bytes(fill, len), expires)
                );
            }
            Timely::InsertFor(key, len, ttl) => {
                let (value, expires) = (bytes(fill, len), self.timed.now() + ttl);
                let before = map.insert_with_ttl(&key, &value, Duration::from_millis(ttl)).unwrap();
                assert_eq!(before, self.put(key, value, Some(expires)));
            }
            Timely::Get(key) => {
                assert_eq!(map.get(&key).unwrap(), self.value(key));
                assert_eq!(map.contains_key(&key), Ok(self.value(key).is_some()));
            }
            Timely::Whole => self.compare(),
            Timely::Update(key, len) => {
                let (before, after) = (self.value(key), len.map(|len| bytes(fill, len)));
                let update = |found| {
                    assert_eq!(found, before);
                    after.clone()
                };
                assert_eq!(map.update(&key, update).unwrap(), after);
                self.replace(key, after);
            }
            Timely::Exchange(key, len) => {
                let (before, after) = (self.value(key), len.map(|len| bytes(fill, len)));
                let wrong = map.compare_exchange(&key, Some(&vec![0; 77]), None).unwrap();
                assert_eq!(wrong, Err(before.clone()));
                assert_eq!(map.compare_exchange(&key, before.as_ref(), after.as_ref()), Ok(Ok(())));
                self.replace(key, after);
            }
            Timely::GetOrInsert(key) => {
                let got = map.get_or_insert_with(&key, || bytes(fill, 8)).unwrap();
                let expires = self.anew();
                let (expected, _) = self.entries.entry(key).or_insert_with(|| (bytes(fill, 8), expires));
                assert_eq!(got, *expected);
            }
            Timely::Remove(key) => {
                assert_eq!(
                    map.remove(&key).unwrap(),
                    self.entries.remove(&key).map(|(value, _)| value)
                );
            }
            Timely::Pass(millis) => self.timed.pass(millis),
        }
    }

    fn compare(&self) {
        let map = &self.timed.map;
        let expected: HashMap<_, _> = self
            .entries
            .iter()
            .map(|(key, (value, _))| (*key, value.clone()))
            .collect();
        assert_eq!(map.to_map().unwrap(), expected);
        let mut retained = 0;
        let count = |_: &u32, _: &Vec<u8>| {
            retained += 1;
            true
        };
        map.retain(count).unwrap();
        let stats = map.stats();
        let len = expected.len();
        assert_eq!(
            (retained, map.len(), stats.entries, map.is_empty()),
            (len, len, len, len == 0)
        );
        assert!(len > 0 || stats.bytes_used == 0, "what has expired takes no room");
        verify(map);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_live_as_long_as_they_should(
        ttl in prop::option::of(1..200u64),
        shards in 0..3u32,
        evicts in any::<bool>(),
        steps in timely(),
    ) {
        let builder = Map::builder().capacity(32 << 10).shards(1 << shards);
        let builder = if evicts { builder.evict_lru() } else { builder };
        let builder = match ttl {
            Some(ttl) => builder.time_to_live(Duration::from_millis(ttl)),
            None => builder,
        };
        let timed = Timed::new(&builder);
        let mut times = Times { timed: &timed, ttl, entries: HashMap::new() };
        for (fill, step) in (0..).zip(&steps) {
            times.step(fill, step);
        }
        times.settle();
        times.compare();
    }
}
