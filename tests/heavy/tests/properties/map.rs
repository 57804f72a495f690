//! `SharedMap` against `HashMap`.

use crate::common::verify;
use procshare::__private::map_with_hasher;
use procshare::{MapBuilder, MapError, SharedMap};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

type Nested = Option<BTreeMap<String, Vec<u32>>>;

fn text(fill: u8, len: usize) -> String {
    char::from(b'a' + fill % 26).to_string().repeat(len)
}

/// Bytes of which each differs from its neighbours.
fn bytes(fill: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| fill.wrapping_add(at as u8)).collect()
}

/// What is stored: an item's fill and its size.
type What = (u8, usize);

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, What),
    Get(u8),
    Remove(u8),
    Update(u8, Option<What>),
    Exchange(u8, bool, Option<What>),
    GetOrInsert(u8, What),
    Retain(u8),
    Clear,
    Extend(Vec<(u8, What)>),
    Whole,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![6 => 0..60usize, 3 => 60..500usize, 1 => 500..6000usize];
    let key = || 0..40u8;
    let what = move || (any::<u8>(), size());
    let step = prop_oneof![
        20 => (key(), what()).prop_map(|(key, what)| Step::Insert(key, what)),
        10 => key().prop_map(Step::Get),
        10 => key().prop_map(Step::Remove),
        10 => (key(), prop::option::of(what())).prop_map(|(key, what)| Step::Update(key, what)),
        10 => (key(), any::<bool>(), prop::option::of(what())).prop_map(|(key, right, what)| Step::Exchange(key, right, what)),
        5 => (key(), what()).prop_map(|(key, what)| Step::GetOrInsert(key, what)),
        1 => (2..5u8).prop_map(Step::Retain),
        1 => Just(Step::Clear),
        3 => prop::collection::vec((key(), what()), 0..8).prop_map(Step::Extend),
        2 => Just(Step::Whole),
    ];
    prop::collection::vec(step, 1..120)
}

/// A map, what it ought to hold, and how its keys and values are made.
struct Oracle<K, V> {
    map: SharedMap<K, V>,
    model: HashMap<K, V>,
    key: fn(u8) -> K,
    value: fn(u8, usize) -> V,
}

impl<K, V> Oracle<K, V>
where
    K: Serialize + DeserializeOwned + Eq + Hash + Clone + Debug + 'static,
    V: Serialize + DeserializeOwned + Eq + Clone + Debug + 'static,
{
    fn play(builder: MapBuilder<K, V>, key: fn(u8) -> K, value: fn(u8, usize) -> V, steps: &[Step]) {
        let (map, model) = (builder.anonymous().unwrap(), HashMap::new());
        let mut oracle = Oracle { map, model, key, value };
        for step in steps {
            oracle.step(step);
            assert_eq!(oracle.map.len(), oracle.model.len());
        }
        oracle.compare();
    }

    fn compare(&self) {
        assert_eq!(self.map.to_map().unwrap(), self.model);
        for number in 0..40 {
            let key = (self.key)(number);
            assert_eq!(self.map.get(&key).unwrap().as_ref(), self.model.get(&key));
        }
        verify(&self.map);
    }

    fn make(&self, what: What) -> V {
        (self.value)(what.0, what.1)
    }

    /// What a call returned; `None` if there was too little room, and that is believable.
    fn unless_full<R>(result: Result<R, MapError>) -> Option<R> {
        match result {
            Ok(result) => Some(result),
            Err(MapError::Full { needed, free }) => {
                assert!(free < 2 * needed + 512, "{needed} bytes do not fit into {free}");
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Insert(key, what) => self.insert((self.key)(*key), self.make(*what)),
            Step::Get(key) => {
                let key = (self.key)(*key);
                assert_eq!(self.map.get(&key).unwrap().as_ref(), self.model.get(&key));
                assert_eq!(self.map.contains_key(&key), Ok(self.model.contains_key(&key)));
            }
            Step::Remove(key) => {
                let key = (self.key)(*key);
                assert_eq!(self.map.remove(&key).unwrap(), self.model.remove(&key));
            }
            Step::Update(key, what) => self.update((self.key)(*key), what.map(|what| self.make(what))),
            Step::Exchange(key, right, what) => {
                let key = (self.key)(*key);
                let other = Some((self.value)(key_fill(*right), 77));
                let current = if *right { self.model.get(&key).cloned() } else { other };
                self.exchange(key, current, what.map(|what| self.make(what)));
            }
            Step::GetOrInsert(key, what) => {
                let (key, value) = ((self.key)(*key), self.make(*what));
                if let Some(got) = Self::unless_full(self.map.get_or_insert_with(&key, || value.clone())) {
                    assert_eq!(got, *self.model.entry(key).or_insert(value));
                }
            }
            Step::Retain(number) => self.retain(usize::from(*number)),
            Step::Clear => {
                self.map.clear().unwrap();
                self.model.clear();
            }
            Step::Extend(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, what)| ((self.key)(*key), self.make(*what)))
                    .collect();
                self.extend(entries);
            }
            Step::Whole => self.look_at_all(),
        }
    }

    fn insert(&mut self, key: K, value: V) {
        match Self::unless_full(self.map.insert(&key, &value)) {
            Some(before) => assert_eq!(before, self.model.insert(key, value)),
            None => assert_eq!(self.map.get(&key).unwrap().as_ref(), self.model.get(&key)),
        }
    }

    fn update(&mut self, key: K, after: Option<V>) {
        let before = self.model.get(&key).cloned();
        let updated = self.map.update(&key, |found| {
            assert_eq!(found, before);
            after.clone()
        });
        if let Some(got) = Self::unless_full(updated) {
            assert_eq!(got, after);
            self.replace(key, after);
        }
    }

    fn exchange(&mut self, key: K, current: Option<V>, new: Option<V>) {
        let exchanged = self.map.compare_exchange(&key, current.as_ref(), new.as_ref());
        let found = self.model.get(&key).cloned();
        match Self::unless_full(exchanged) {
            Some(Ok(())) => {
                assert_eq!(found, current);
                self.replace(key, new);
            }
            Some(Err(other)) => {
                assert_ne!(other, current);
                assert_eq!(other, found);
            }
            None => assert_eq!(found, current),
        }
    }

    fn replace(&mut self, key: K, value: Option<V>) {
        match value {
            Some(value) => self.model.insert(key, value),
            None => self.model.remove(&key),
        };
    }

    /// Keeps the entries whose keys print as so many letters.
    fn retain(&mut self, number: usize) {
        let wanted = |key: &K| format!("{key:?}").len() % number != 0;
        let mut shown = HashMap::new();
        let keep = |key: &K, value: &V| {
            assert_eq!(shown.insert(key.clone(), value.clone()), None, "shown twice");
            wanted(key)
        };
        self.map.retain(keep).unwrap();
        assert_eq!(shown, self.model);
        self.model.retain(|key, _| wanted(key));
    }

    /// What does not fit ends it; what came before is stored.
    fn extend(&mut self, entries: Vec<(K, V)>) {
        let extended = Self::unless_full(self.map.extend(entries.clone())).is_some();
        let now = self.map.to_map().unwrap();
        let mut stored = 0;
        while self.model != now || (extended && stored < entries.len()) {
            let (key, value) = entries
                .get(stored)
                .expect("it holds what was stored up to some entry")
                .clone();
            self.model.insert(key, value);
            stored += 1;
        }
    }

    fn look_at_all(&self) {
        assert_eq!(self.map.to_map().unwrap(), self.model);
        let entries: Vec<_> = self.map.iter().map(Result::unwrap).collect();
        assert_eq!(entries.len(), self.model.len());
        assert!(entries.iter().all(|(key, value)| self.model.get(key) == Some(value)));
        let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        assert!(self.map.keys().map(Result::unwrap).eq(keys));
        assert!(self.map.values().map(Result::unwrap).eq(values));
        assert_eq!(self.map.is_empty(), self.model.is_empty());
        let stats = self.map.stats();
        assert_eq!(stats.entries, self.model.len());
        assert_eq!(stats.bytes_used + stats.bytes_free, self.map.capacity());
        verify(&self.map);
    }
}

fn key_fill(right: bool) -> u8 {
    if right { 1 } else { 2 }
}

fn nested_key(number: u8) -> (u8, String) {
    (number, text(number, usize::from(number) % 17))
}

fn nested(fill: u8, size: usize) -> Nested {
    let entry = |at: usize| (format!("{at}"), vec![u32::from(fill); at % 20]);
    (size % 7 != 0).then(|| (0..size / 32).map(entry).collect())
}

fn names(number: u8) -> String {
    // Some are as long as others, and differ at one end only.
    let same = "key ".repeat(usize::from(number) % 5);
    match number % 2 {
        0 => format!("{number:02}{same}"),
        _ => format!("{same}{number:02}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_hash_map_does_with_numbers(shards in 0..3u32, steps in steps()) {
        let builder = SharedMap::builder().capacity(2048 << shards).shards(1 << shards);
        Oracle::play(builder, |key| u64::from(key) << 20, |fill, size| u64::from(fill) << 32 | size as u64, &steps);
    }

    #[test]
    fn it_does_what_a_hash_map_does_with_bytes(shards in 0..3u32, steps in steps()) {
        Oracle::play(SharedMap::builder().capacity(16 << 10).shards(1 << shards), names, bytes, &steps);
    }

    #[test]
    fn it_does_what_a_hash_map_does_with_nested_values(shards in 0..3u32, steps in steps()) {
        Oracle::play(SharedMap::builder().capacity(12 << 10).shards(1 << shards), nested_key, nested, &steps);
    }

    #[test]
    fn keys_that_collide_stay_apart(whole in any::<bool>(), steps in steps()) {
        let builder = SharedMap::builder().capacity(24 << 10).shards(4);
        let builder = if whole {
            map_with_hasher(builder, "constant", |_, _| 0x0007_0000_0007)
        } else {
            map_with_hasher(builder, "length", |key, _| key.len() as u64 / 8)
        };
        Oracle::play(builder, names, bytes, &steps);
    }
}
