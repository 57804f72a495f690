//! The dictionary of byte strings against a `HashMap`, and every word of it accounted for after each step.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use super::{Key, Payload, RawMap, Refusal, Shape, World};
use crate::primitive::{AtomicU64, Deadline, Peers};
use proptest::prelude::*;
use std::collections::HashMap;

/// A map in memory of this process.
struct Bench {
    words: Vec<AtomicU64>,
    shape: Shape,
}

fn no_peers() -> Peers {
    unreachable!("nobody else has the lock")
}

impl Bench {
    fn new(bytes: u64, entry: u64, shards: u32, evicts: bool) -> Self {
        let shape = Shape::for_capacity(bytes, entry, Some(shards), evicts).unwrap();
        let words = (0..shape.bytes() / 8).map(|_| AtomicU64::new(0)).collect();
        Bench { words, shape }
    }

    fn map(&self) -> RawMap<'_> {
        RawMap::new(&self.words, &self.shape)
    }

    fn insert(&self, key: Key<'_>, value: &[u8]) -> Result<(), Refusal> {
        let map = self.map();
        let locked = map.lock(self.shape.shard_of(key.hash), no_peers, Deadline::Now)?;
        let found = locked.find(key)?;
        let world = || World {
            now: &|| 0,
            peers: &no_peers,
            waits: false,
        };
        locked.store(key, Payload { value, expires: None }, found.as_ref(), world)
    }

    fn get(&self, key: Key<'_>) -> Option<Vec<u8>> {
        let mut out = vec![];
        let found = self
            .map()
            .read(key, || 0, &mut out, no_peers, || Deadline::Now)
            .unwrap();
        found.then_some(out)
    }

    fn remove(&self, key: Key<'_>) -> bool {
        let map = self.map();
        let locked = map
            .lock(self.shape.shard_of(key.hash), no_peers, Deadline::Now)
            .unwrap();
        let found = locked.find(key).unwrap();
        found.inspect(|found| locked.remove(found).unwrap()).is_some()
    }
}

fn key_of(bytes: &[u8], bits: u64) -> Key<'_> {
    let hash = bytes.iter().fold(7u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    Key {
        bytes,
        hash: hash & bits,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u8, usize),
    Remove(u8),
    Get(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![4 => 0..40usize, 2 => 100..400usize, 1 => 900..4000usize];
    let step = prop_oneof![
        4 => (any::<u8>(), any::<u8>(), size).prop_map(|(key, fill, size)| Step::Insert(key % 40, fill, size)),
        2 => any::<u8>().prop_map(|key| Step::Remove(key % 40)),
        1 => any::<u8>().prop_map(|key| Step::Get(key % 40)),
    ];
    proptest::collection::vec(step, 1..150)
}

fn play(bench: &Bench, steps: &[Step], bits: u64) {
    let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for step in steps {
        let (Step::Insert(key, ..) | Step::Remove(key) | Step::Get(key)) = step;
        let bytes = format!("key {key}").into_bytes();
        let key = key_of(&bytes, bits);
        match step {
            Step::Insert(_, fill, size) => {
                let value: Vec<u8> = (0..*size).map(|at| fill.wrapping_add(at as u8)).collect();
                match bench.insert(key, &value) {
                    Ok(()) => drop(model.insert(bytes.clone(), value)),
                    Err(Refusal::Full { needed, .. }) => assert!(needed as usize >= *size),
                    Err(other) => panic!("{other:?}"),
                }
            }
            Step::Remove(_) => assert_eq!(bench.remove(key), model.remove(&bytes).is_some()),
            Step::Get(_) => {}
        }
        assert_eq!(bench.get(key), model.get(&bytes).cloned());
        bench.map().verify().unwrap();
        assert_eq!(bench.map().len(no_peers), model.len() as u64);
    }
    for (bytes, value) in &model {
        assert_eq!(bench.get(key_of(bytes, bits)).as_ref(), Some(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_behaves_like_a_hash_map(steps in steps()) {
        play(&Bench::new(32 << 10, 64, 4, false), &steps, u64::MAX);
    }

    #[test]
    fn it_does_when_it_is_full(steps in steps()) {
        play(&Bench::new(4 << 10, 64, 2, false), &steps, u64::MAX);
    }

    #[test]
    fn it_does_when_keys_collide(steps in steps()) {
        play(&Bench::new(32 << 10, 64, 1, false), &steps, 0);
    }

    #[test]
    fn it_does_when_it_keeps_an_order(steps in steps()) {
        play(&Bench::new(512 << 10, 64, 4, true), &steps, u64::MAX);
    }
}
