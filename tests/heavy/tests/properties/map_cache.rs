//! `SharedMap` as a cache: the order in which entries make room.

use crate::common::verify;
use crate::maps::{Map as Cache, bytes, cache};
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Debug, Clone)]
enum Step {
    Insert(u32, usize),
    Get(u32),
    Look(u32),
    Update(u32, usize),
    Exchange(u32, usize),
    GetOrInsert(u32, usize),
    Remove(u32),
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..60u32;
    let len = move || prop_oneof![5 => 0..most / 20, 1 => 0..most];
    let step = prop_oneof![
        10 => (key(), len()).prop_map(|(key, len)| Step::Insert(key, len)),
        5 => key().prop_map(Step::Get),
        2 => key().prop_map(Step::Look),
        2 => (key(), len()).prop_map(|(key, len)| Step::Update(key, len)),
        2 => (key(), len()).prop_map(|(key, len)| Step::Exchange(key, len)),
        2 => (key(), len()).prop_map(|(key, len)| Step::GetOrInsert(key, len)),
        1 => key().prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 1..150)
}

/// Entries in the order of their use, the oldest first, and what became of look-ups.
#[derive(Default)]
struct Model {
    entries: Vec<(u32, Vec<u8>)>,
    hits: u64,
    misses: u64,
    evictions: u64,
}

impl Model {
    fn find(&self, key: u32) -> Option<&Vec<u8>> {
        let (_, value) = self.entries.iter().find(|(other, _)| *other == key)?;
        Some(value)
    }

    /// As a look-up that is a use.
    fn get(&mut self, key: u32) -> Option<Vec<u8>> {
        let value = self.remove(key);
        match &value {
            Some(value) => {
                self.entries.push((key, value.clone()));
                self.hits += 1;
            }
            None => self.misses += 1,
        }
        value
    }

    fn remove(&mut self, key: u32) -> Option<Vec<u8>> {
        let at = self.entries.iter().position(|(other, _)| *other == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Stores, after which the map may have removed the oldest, but none that is newer than one it has kept.
    fn insert(&mut self, cache: &Cache, key: u32, value: Vec<u8>) -> Option<Vec<u8>> {
        let before = self.remove(key);
        self.entries.push((key, value));
        let kept = |(key, _): &(u32, Vec<u8>)| cache.contains_key(key).unwrap();
        let lost = self.entries.iter().take_while(|entry| !kept(entry)).count();
        assert!(lost < self.entries.len(), "what was stored last is gone");
        self.evictions += lost as u64;
        self.entries.drain(..lost);
        assert!(self.entries.iter().all(kept), "not the oldest went");
        before
    }
}

fn play(cache: &Cache, steps: &[Step]) {
    let mut model = Model::default();
    for (fill, step) in (0..).zip(steps) {
        match *step {
            Step::Insert(key, len) => {
                let before = cache.insert(&key, &bytes(fill, len)).unwrap();
                assert_eq!(before, model.insert(cache, key, bytes(fill, len)));
            }
            Step::Get(key) => assert_eq!(cache.get(&key).unwrap(), model.get(key)),
            // These are no uses.
            Step::Look(key) => {
                assert_eq!(cache.contains_key(&key), Ok(model.find(key).is_some()));
                assert_eq!(cache.iter().count(), model.entries.len());
                let differs = cache.compare_exchange(&key, Some(&vec![0; 3000]), None).unwrap();
                assert_eq!(differs, Err(model.find(key).cloned()));
            }
            Step::Update(key, len) => {
                cache.update(&key, |_| Some(bytes(fill, len))).unwrap();
                model.insert(cache, key, bytes(fill, len));
            }
            Step::Exchange(key, len) => {
                let exchanged = cache.compare_exchange(&key, model.find(key), Some(&bytes(fill, len)));
                assert_eq!(exchanged, Ok(Ok(())));
                model.insert(cache, key, bytes(fill, len));
            }
            Step::GetOrInsert(key, len) => {
                let got = cache.get_or_insert_with(&key, || bytes(fill, len)).unwrap();
                if let Some(value) = model.get(key) {
                    assert_eq!(got, value);
                } else {
                    model.insert(cache, key, bytes(fill, len));
                }
            }
            Step::Remove(key) => assert_eq!(cache.remove(&key).unwrap(), model.remove(key)),
        }
        let stats = cache.stats();
        assert_eq!((stats.entries, cache.len()), (model.entries.len(), model.entries.len()));
        assert_eq!((stats.hits, stats.misses), (model.hits, model.misses));
    }
    verify(cache);
    assert_eq!(
        cache.to_map().unwrap(),
        model.entries.into_iter().collect::<HashMap<_, _>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_shard_evicts_strictly_by_use(steps in steps(3000)) {
        play(&cache(4096, 1), &steps);
    }

    #[test]
    fn one_shard_with_large_regions_does_too(steps in steps(20_000)) {
        play(&cache(32 << 10, 1), &steps);
    }
}
