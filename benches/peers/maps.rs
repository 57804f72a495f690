//! Dictionaries between processes, beside one between threads.

use crate::contended::pace;
use crate::measure::{Effort, Measured, Unit, interleave};
use crate::race::{Lap, Mark, Outcome, lap, whole_pace};
use crate::stream::Gate;
use dashmap::DashMap;
use procshare::{Process, Segment, SharedMap};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::hint::black_box;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

const KEYS: u64 = 10_000;
/// How often all keys are visited in a round.
const LAPS: u64 = 20;
const ROUNDS: usize = 51;
/// Three times what the numbers take, and twice what longer values take.
const CAPACITY: usize = 1 << 20;
const LARGE: usize = 4 << 20;
/// How much of a map is filled where its memory is measured.
const FILLED: f64 = 0.8;

/// All keys in an order that looks random, and is the same for both sides.
fn shuffled(seed: u64) -> Vec<u64> {
    let mut keys: Vec<u64> = (0..KEYS).collect();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for left in (2..=keys.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        keys.swap(left - 1, (random % left as u64) as usize);
    }
    keys
}

/// The key and value a row with strings has for a number.
fn texts(number: u64) -> (String, Vec<u8>) {
    (format!("key {number:06}"), vec![number as u8; 100])
}

/// The same entries in a map of ours and in one of the peer's.
fn filled<K, V>(ours: SharedMap<K, V>, entries: impl Iterator<Item = (K, V)>) -> (SharedMap<K, V>, DashMap<K, V>)
where
    K: Serialize + DeserializeOwned + Clone + Eq + std::hash::Hash + 'static,
    V: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + 'static,
{
    let peer: DashMap<K, V> = entries.collect();
    let copies = peer.iter().map(|entry| (entry.key().clone(), entry.value().clone()));
    ours.extend(copies).unwrap();
    assert_equal(&ours, &peer);
    (ours, peer)
}

fn assert_equal<K, V>(ours: &SharedMap<K, V>, peer: &DashMap<K, V>)
where
    K: Serialize + DeserializeOwned + Eq + std::hash::Hash + 'static,
    V: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
{
    assert_eq!(ours.len(), peer.len());
    for entry in peer {
        assert_eq!(ours.get(entry.key()).unwrap().as_ref(), Some(entry.value()));
    }
}

fn numbers() -> SharedMap<u64, u64> {
    SharedMap::with_capacity(CAPACITY).unwrap()
}

/// Visits all keys so many times, and returns nanoseconds for one.
#[inline]
fn visit<K>(laps: u64, keys: &[K], mut operation: impl FnMut(&K)) -> f64 {
    let started = Instant::now();
    for _ in 0..laps {
        keys.iter().for_each(&mut operation);
    }
    started.elapsed().as_nanos() as f64 / (laps * keys.len() as u64) as f64
}

fn beside<K>(effort: Effort, keys: &[K], mut ours: impl FnMut(&K), mut peer: impl FnMut(&K)) -> Option<Measured> {
    let laps = effort.operations(LAPS);
    Some(interleave(
        effort.rounds(ROUNDS),
        || visit(laps, keys, &mut ours),
        || visit(laps, keys, &mut peer),
    ))
}

fn get_from(effort: Effort, map: SharedMap<u64, u64>) -> Option<Measured> {
    let (ours, peer) = filled(map, (0..KEYS).map(|key| (key, !key)));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let get_ours = |key: &u64| {
        black_box(ours.get(key).unwrap());
    };
    let get_peer = |key: &u64| {
        black_box(peer.get(key).map(|value| *value));
    };
    beside(effort, &shuffled(0), get_ours, get_peer)
}

pub(crate) fn get_u64(effort: Effort) -> Option<Measured> {
    get_from(effort, numbers())
}

/// The peer keeps no order of use.
pub(crate) fn get_lru(effort: Effort) -> Option<Measured> {
    let map = SharedMap::builder().capacity(CAPACITY).evict_lru().anonymous();
    get_from(effort, map.unwrap())
}

pub(crate) fn get_string(effort: Effort) -> Option<Measured> {
    let map = SharedMap::with_capacity(LARGE).unwrap();
    let (ours, peer) = filled(map, (0..KEYS).map(texts));
    let (ours, peer) = (black_box(&ours), black_box(&peer));
    let keys: Vec<String> = shuffled(0).into_iter().map(|number| texts(number).0).collect();
    let get_ours = |key: &String| {
        black_box(ours.get(key.as_str()).unwrap());
    };
    let get_peer = |key: &String| {
        black_box(peer.get(key.as_str()).map(|value| value.clone()));
    };
    beside(effort, &keys, get_ours, get_peer)
}

pub(crate) fn insert_u64(effort: Effort) -> Option<Measured> {
    let (ours, peer) = filled(numbers(), (0..KEYS).map(|key| (key, 0)));
    let (mut next_ours, mut next_peer) = (0, 0);
    let insert_ours = |key: &u64| {
        next_ours += 1;
        black_box(ours.insert(key, &next_ours).unwrap());
    };
    let insert_peer = |key: &u64| {
        next_peer += 1;
        black_box(peer.insert(*key, next_peer));
    };
    let measured = beside(effort, &shuffled(0), insert_ours, insert_peer);
    assert_equal(&ours, &peer);
    measured
}

/// Inserts a key and removes the one that has been there longest, of half of all.
pub(crate) fn insert_and_remove(effort: Effort) -> Option<Measured> {
    let keys = shuffled(0);
    let later = keys.iter().cycle().skip(keys.len() / 2);
    let pairs: Vec<(u64, u64)> = keys.iter().copied().zip(later.copied()).collect();
    let (ours, peer) = filled(numbers(), pairs[..keys.len() / 2].iter().map(|pair| (pair.1, !pair.1)));
    let step_ours = |(new, old): &(u64, u64)| {
        assert_eq!(ours.insert(new, &!new), Ok(None));
        assert_eq!(ours.remove(old), Ok(Some(!old)));
    };
    let step_peer = |(new, old): &(u64, u64)| {
        assert_eq!(peer.insert(*new, !new), None);
        assert_eq!(peer.remove(old), Some((*old, !old)));
    };
    let measured = beside(effort, &pairs, step_ours, step_peer);
    assert_equal(&ours, &peer);
    measured
}

/// Replaces values by others that are longer or shorter: 100 to 300 bytes.
pub(crate) fn insert_varying(effort: Effort) -> Option<Measured> {
    let keys = shuffled(0);
    // One value less than there are keys, so that a key meets another one in each lap.
    let values: Vec<Vec<u8>> = keys[1..]
        .iter()
        .map(|number| vec![*number as u8; 100 + (number % 201) as usize])
        .collect();
    let map = SharedMap::with_capacity(LARGE).unwrap();
    let (ours, peer) = filled(map, (0..KEYS).map(|key| (key, Vec::new())));
    let (mut next_ours, mut next_peer) = (values.iter().cycle(), values.iter().cycle());
    let insert_ours = |key: &u64| {
        black_box(ours.insert(key, next_ours.next().unwrap()).unwrap());
    };
    let insert_peer = |key: &u64| {
        black_box(peer.insert(*key, next_peer.next().unwrap().clone()));
    };
    let measured = beside(effort, &keys, insert_ours, insert_peer);
    assert_equal(&ours, &peer);
    measured
}

/// One worker visits all keys so many times: it looks nine of ten up, and counts the tenth up.
fn mix(gate: &AtomicU32, worker: u64, laps: u64, get: impl Fn(&u64) -> Option<u64>, count_up: impl Fn(&u64)) -> Lap {
    let keys = shuffled(worker + 1);
    assert!(keys.iter().all(|key| get(key).is_some()));
    lap(gate, 2, || {
        let first = Mark::now(0);
        for lap in 0..laps {
            for (index, key) in (lap..).zip(&keys) {
                if index % 10 == 0 {
                    count_up(key);
                } else {
                    black_box(get(key));
                }
            }
        }
        (first, Mark::now(laps * KEYS))
    })
}

fn mix_ours(map: SharedMap<u64, u64>, gate: Gate, worker: u64, laps: u64) -> Lap {
    let get = |key: &u64| map.get(key).unwrap();
    let count_up = |key: &u64| {
        map.update(key, |count| count.map(|count| count + 1)).unwrap();
    };
    mix(&gate, worker, laps, get, count_up)
}

/// How long an operation took, and that none was lost.
fn mixed(laps: u64, workers: &[Lap], counts: impl Iterator<Item = u64>) -> Option<Outcome> {
    assert_eq!(counts.sum::<u64>(), 2 * laps * KEYS / 10);
    whole(workers, laps * KEYS)
}

fn whole(workers: &[Lap], operations: u64) -> Option<Outcome> {
    Some(Outcome {
        pace: whole_pace(workers, operations),
        disturbed: workers.iter().map(Lap::disturbed).fold(0.0, f64::max),
    })
}

fn mix_in_processes(laps: u64) -> Option<Outcome> {
    let map = numbers();
    map.extend((0..KEYS).map(|key| (key, 0))).unwrap();
    let gate = Gate::new(0).unwrap();
    let workers = [0, 1].map(|worker| Process::spawn(mix_ours, (map.clone(), gate.clone(), worker, laps)).unwrap());
    let workers = workers.map(|worker| worker.join().unwrap());
    mixed(laps, &workers, map.values().map(Result::unwrap))
}

fn mix_in_threads(laps: u64) -> Option<Outcome> {
    let map: DashMap<u64, u64> = (0..KEYS).map(|key| (key, 0)).collect();
    let gate = &AtomicU32::new(0);
    let get = |key: &u64| map.get(key).map(|count| *count);
    let count_up = |key: &u64| {
        map.entry(*key).and_modify(|count| *count += 1);
    };
    let workers = std::thread::scope(|scope| {
        let workers = [0, 1].map(|worker| scope.spawn(move || mix(gate, worker, laps, get, count_up)));
        workers.map(|worker| worker.join().unwrap())
    });
    mixed(laps, &workers, map.iter().map(|entry| *entry.value()))
}

pub(crate) fn mixed_2p(effort: Effort) -> Option<Measured> {
    let laps = effort.operations(5 * LAPS);
    Some(interleave(
        effort.rounds(15),
        || pace(|| mix_in_processes(laps)),
        || pace(|| mix_in_threads(laps)),
    ))
}

/// How many keys are set by the processes that are compared with Python's.
const SET_KEYS: u32 = 1000;

fn set(map: SharedMap<u32, u32>, gate: Gate, parties: u32, sets: u32) -> Lap {
    lap(&gate, parties, || {
        let first = Mark::now(0);
        for number in 0..sets {
            map.insert(&(number % SET_KEYS), &number).unwrap();
        }
        (first, Mark::now(u64::from(sets)))
    })
}

/// Has processes set the same keys to ints, each so often.
pub(crate) fn set_in_processes(parties: u32, sets: u64) -> Option<Outcome> {
    let map = SharedMap::with_capacity(CAPACITY).unwrap();
    let gate = Gate::new(0).unwrap();
    let worker = |_| Process::spawn(set, (map.clone(), gate.clone(), parties, sets as u32)).unwrap();
    let workers: Vec<_> = (0..parties).map(worker).collect();
    let workers: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let last = |key: u32| sets as u32 - 1 - (sets as u32 - 1 - key) % SET_KEYS;
    assert_eq!(map.len(), SET_KEYS as usize);
    assert!((0..SET_KEYS).all(|key| map.get(&key) == Ok(Some(last(key)))));
    whole(&workers, sets)
}

/// Bytes an entry takes in a map that is as full as many are, with its part of what the map takes for itself.
fn bytes_of_an_entry<K, V>(entry: impl Fn(u64) -> (K, V), payload: usize) -> Option<Measured>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    let segment = Segment::new(2 * CAPACITY).unwrap();
    let map = segment.map("map", CAPACITY).unwrap();
    let mut entries = 0;
    while (map.stats().bytes_used as f64) < FILLED * CAPACITY as f64 {
        map.extend([entry(entries)]).unwrap();
        entries += 1;
    }
    let object = segment.objects().unwrap()[0].bytes as usize;
    let bytes = map.stats().bytes_used as f64 + (object - CAPACITY) as f64 * FILLED;
    Some(Measured {
        ours: bytes / entries as f64,
        peer: payload as f64,
        unit: Unit::Bytes,
    })
}

pub(crate) fn bytes_of_numbers(_effort: Effort) -> Option<Measured> {
    bytes_of_an_entry(|number| (number, number), 2 * size_of::<u64>())
}

pub(crate) fn bytes_of_texts(_effort: Effort) -> Option<Measured> {
    bytes_of_an_entry(texts, texts(0).0.len() + texts(0).1.len())
}
