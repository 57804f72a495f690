//! The dictionary of byte strings against a `HashMap`, and every word of it accounted for after each step.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use super::{Key, Payload, RawMap, Refusal, Shape, World};
use crate::primitive::{AtomicU64, Deadline, Peers};
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

#[derive(Debug)]
enum Step {
    Insert(u8, u8, usize),
    Remove(u8),
    Get(u8),
}

/// Numbers without order, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed >> 32) as usize % end
    }

    fn size(&mut self) -> usize {
        match self.below(7) {
            0..4 => self.below(40),
            4..6 => 100 + self.below(300),
            _ => 900 + self.below(3100),
        }
    }

    fn step(&mut self) -> Step {
        let key = self.below(40) as u8;
        match self.below(7) {
            0..4 => Step::Insert(key, self.below(256) as u8, self.size()),
            4..6 => Step::Remove(key),
            _ => Step::Get(key),
        }
    }
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

/// Plays two hundred sequences of steps, each in a new map; the output of a failed test ends with that which failed.
fn play_many(bench: impl Fn() -> Bench, bits: u64) {
    for seed in 0..200 {
        let mut random = Random(seed);
        let steps: Vec<Step> = (0..1 + random.below(149)).map(|_| random.step()).collect();
        println!("{seed}: {steps:?}");
        play(&bench(), &steps, bits);
    }
}

#[test]
fn it_behaves_like_a_hash_map() {
    play_many(|| Bench::new(32 << 10, 64, 4, false), u64::MAX);
}

#[test]
fn it_does_when_it_is_full() {
    play_many(|| Bench::new(4 << 10, 64, 2, false), u64::MAX);
}

#[test]
fn it_does_when_keys_collide() {
    play_many(|| Bench::new(32 << 10, 64, 1, false), 0);
}

#[test]
fn it_does_when_it_keeps_an_order() {
    play_many(|| Bench::new(512 << 10, 64, 4, true), u64::MAX);
}
