//! `SharedMap` between processes: nothing is lost, nothing is torn, everything is of one moment.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;

use common::{Flag, child, kill, state_of, verify, wait_until, watchdog};
use effort::thorough;
use procshare::{MapError, Process, SharedAtomic, SharedMap};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PEERS: u64 = 4;

/// Numbers that look random, the same for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn join_all<R: DeserializeOwned>(children: Vec<Process<R>>) -> Vec<R> {
    children.into_iter().map(|child| child.join().unwrap()).collect()
}

/// Tells others to stop, once it is not zero.
type Stop = SharedAtomic<AtomicU32>;

fn is_up(stop: &Stop) -> bool {
    stop.load(Ordering::Relaxed) != 0
}

fn raise(stop: &Stop) {
    stop.store(1, Ordering::Relaxed);
}

// Counting.

const KEYS: u64 = 10_000;

/// Changes counters in every way there is, and tells by how much in all.
fn count(map: SharedMap<u64, u64>, peer: u64, operations: u64) -> u64 {
    let mut random = Random(peer);
    let mut sum = 0;
    for _ in 0..operations {
        let (key, more) = (random.below(KEYS), 1 + random.below(9));
        match random.below(8) {
            0 => {
                // What is taken out is carried over to another.
                let taken = map.remove(&key).unwrap().unwrap_or(0);
                map.update(&(KEYS - 1 - key), |count| Some(count.unwrap_or(0) + taken))
                    .unwrap();
            }
            1 => {
                let mut before = map.get(&key).unwrap();
                while let Err(now) = map
                    .compare_exchange(&key, before.as_ref(), Some(&(before.unwrap_or(0) + more)))
                    .unwrap()
                {
                    before = now;
                }
                sum += more;
            }
            2 => {
                map.get(&key).unwrap();
            }
            3 => {
                // Replaces whatever is there, and adds that elsewhere.
                sum += more;
                let before = map.insert(&key, &more).unwrap().unwrap_or(0);
                map.update(&(KEYS - 1 - key), |count| Some(count.unwrap_or(0) + before))
                    .unwrap();
            }
            _ => {
                map.update(&key, |count| Some(count.unwrap_or(0) + more)).unwrap();
                sum += more;
            }
        }
    }
    sum
}

#[procshare::test]
fn a_million_changes_of_four_processes_add_up() {
    let _watchdog = watchdog(100);
    let map = SharedMap::<u64, u64>::with_capacity(1 << 20).unwrap();
    let began = Instant::now();
    let each = thorough(1_000_000, 100_000) / PEERS;
    let peers = (0..PEERS).map(|peer| child(count, (map.clone(), peer, each))).collect();
    let sum: u64 = join_all(peers).iter().sum();
    println!("{each} changes by each of {PEERS} processes: {:?}", began.elapsed());
    assert_eq!(map.values().map(Result::unwrap).sum::<u64>(), sum, "a change was lost");
    assert!(map.len() as u64 <= KEYS);
    verify(&map);
    map.clear().unwrap();
    assert_eq!(map.stats().bytes_free, map.capacity());
}

#[procshare::test]
fn changes_of_one_entry_add_up() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<String, (u64, Vec<u64>)>::with_capacity(1 << 16).unwrap();
    let push = |map: SharedMap<String, (u64, Vec<u64>)>, peer: u64| {
        for number in 0..5000 {
            let change = |found: Option<(u64, Vec<u64>)>| {
                let (count, mut last) = found.unwrap_or((0, vec![]));
                last.push(peer << 32 | number);
                // The list grows and shrinks, so that its block moves.
                let kept = last.split_off(last.len().saturating_sub(count as usize % 100));
                Some((count + 1, kept))
            };
            map.update("one", change).unwrap();
        }
    };
    let peers = (0..PEERS).map(|peer| child(push, (map.clone(), peer))).collect();
    join_all(peers);
    let (count, last) = map.get("one").unwrap().unwrap();
    assert_eq!(count, 5000 * PEERS);
    // Of each peer in order.
    for peer in 0..PEERS {
        let numbers: Vec<_> = last.iter().filter(|item| **item >> 32 == peer).collect();
        assert!(numbers.is_sorted());
    }
    verify(&map);
}

// Reading meanwhile.

/// A value by which one sees whether it is whole: its length, what it repeats, and a sum at its end.
fn pattern(fill: u64, words: usize) -> Vec<u8> {
    let head = [words as u64, fill];
    let body = (0..words as u64).map(|at| fill.wrapping_mul(at + 1));
    let all: Vec<u64> = head.into_iter().chain(body).collect();
    let sum = all.iter().fold(0u64, |sum, word| sum.rotate_left(1) ^ word);
    all.into_iter().chain([sum]).flat_map(u64::to_ne_bytes).collect()
}

fn assert_whole(value: &[u8]) {
    let words: Vec<u64> = value
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect();
    assert!(words.len() >= 3 && value.len() % 8 == 0, "{} bytes", value.len());
    assert!(value == pattern(words[1], words[0] as usize), "{words:?}");
}

/// Replaces, removes and stores values of every size until told to stop.
fn replace(map: SharedMap<u64, Vec<u8>>, peer: u64, keys: u64, stop: Stop) {
    let mut random = Random(peer);
    while !is_up(&stop) {
        for _ in 0..100 {
            let key = random.below(keys);
            // Some are stored in parts.
            let words = match random.below(10) {
                0 => random.below(1500),
                1..4 => random.below(200),
                _ => random.below(8),
            };
            if random.below(10) == 0 {
                map.remove(&key).unwrap().iter().for_each(|value| assert_whole(value));
            } else {
                let value = pattern(random.below(1 << 30), words as usize);
                let before = map.insert(&key, &value).unwrap();
                before.iter().for_each(|value| assert_whole(value));
            }
        }
    }
}

/// Reads until it has found so many, and tells how many it has looked for.
fn read(map: SharedMap<u64, Vec<u8>>, peer: u64, keys: u64, wanted: u64) -> u64 {
    let mut random = Random(!peer);
    let (mut found, mut looked) = (0, 0);
    while found < wanted {
        looked += 1;
        if looked % 500 == 0 {
            let mut seen = HashSet::new();
            for entry in &map {
                let (key, value) = entry.unwrap();
                assert_whole(&value);
                assert!(seen.insert(key), "{key} is shown twice");
            }
        }
        if let Some(value) = map.get(&random.below(keys)).unwrap() {
            assert_whole(&value);
            found += 1;
        }
    }
    looked
}

fn read_while_replacing(map: &SharedMap<u64, Vec<u8>>, keys: u64, wanted: u64) {
    let stop = Stop::new(0).unwrap();
    let writers = (0..2)
        .map(|peer| child(replace, (map.clone(), peer, keys, stop.clone())))
        .collect();
    let readers = (2..4)
        .map(|peer| child(read, (map.clone(), peer, keys, wanted)))
        .collect();
    let began = Instant::now();
    let looked: u64 = join_all(readers).iter().sum();
    println!(
        "{looked} values looked for in {:?} while two others replaced them",
        began.elapsed()
    );
    raise(&stop);
    join_all::<()>(writers);
    map.values().for_each(|value| assert_whole(&value.unwrap()));
    verify(map);
}

#[procshare::test]
fn values_are_never_torn() {
    let _watchdog = watchdog(100);
    // Few keys in small regions, so that blocks are used again at once, and large values lie in parts.
    let map = SharedMap::builder().capacity(1 << 18).shards(2).anonymous().unwrap();
    read_while_replacing(&map, 16, thorough(10_000, 2_000));
}

#[procshare::test]
fn values_of_a_cache_are_never_torn() {
    let _watchdog = watchdog(100);
    let map = SharedMap::builder()
        .capacity(1 << 16)
        .shards(1)
        .evict_lru()
        .anonymous()
        .unwrap();
    read_while_replacing(&map, 64, 8_000);
}

const LONG: usize = 2000;

/// Changes the first word of a long value, then its last, and so on: one word at a time.
fn change_words_in_turn(map: SharedMap<u64, Vec<u8>>, stop: Stop) {
    let mut value = vec![0; 8 * LONG];
    for number in 1u64.. {
        value[..8].copy_from_slice(&number.to_ne_bytes());
        map.insert(&1, &value).unwrap();
        value[8 * LONG - 8..].copy_from_slice(&number.to_ne_bytes());
        map.insert(&1, &value).unwrap();
        if is_up(&stop) {
            return;
        }
    }
}

/// A value of which one word differs may be overwritten in place, by one store; two such changes still are two.
#[procshare::test]
fn changes_of_single_words_are_seen_in_their_order() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u64, Vec<u8>>::builder().shards(1).anonymous().unwrap();
    map.insert(&1, &vec![0; 8 * LONG]).unwrap();
    let stop = Stop::new(0).unwrap();
    let writer = child(change_words_in_turn, (map.clone(), stop.clone()));
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
    let (mut torn, began) = (0, Instant::now());
    for round in 0..thorough(10_000, 2_000) {
        if round >= 1_000 && began.elapsed() > Duration::from_secs(20) {
            break; // Where the writer is always in the way, each look takes a while.
        }
        let value = map.get(&1).unwrap().unwrap();
        let (first, last) = (word(&value[..8]), word(&value[8 * LONG - 8..]));
        if first != last && first != last + 1 {
            torn += 1;
        }
    }
    raise(&stop);
    writer.join().unwrap();
    assert_eq!(torn, 0, "of the values read there never were so many");
}

/// Changes entry after entry of one shard.
fn change_entries_in_turn(map: SharedMap<u64, u64>, keys: u64, stop: Stop) {
    for number in 1u64.. {
        map.extend((0..keys).map(|key| (key, number))).unwrap();
        if is_up(&stop) {
            return;
        }
    }
}

#[procshare::test]
fn a_shard_is_shown_as_at_one_moment() {
    let _watchdog = watchdog(60);
    const KEYS: u64 = 200;
    let map = SharedMap::<u64, u64>::builder().shards(1).anonymous().unwrap();
    map.extend((0..KEYS).map(|key| (key, 0))).unwrap();
    let stop = Stop::new(0).unwrap();
    let writer = child(change_entries_in_turn, (map.clone(), KEYS, stop.clone()));
    let mut wrong = 0;
    for _ in 0..thorough(500, 100) {
        let entries = map.to_map().unwrap();
        // Those that come first are one ahead, or none.
        let numbers: Vec<_> = (0..KEYS).map(|key| entries[&key]).collect();
        let one_moment =
            numbers.windows(2).all(|pair| pair[0] >= pair[1]) && numbers[0] - numbers[KEYS as usize - 1] <= 1;
        wrong += u32::from(!one_moment);
    }
    raise(&stop);
    writer.join().unwrap();
    assert_eq!(wrong, 0, "of 500 copies never were so");
}

/// Gives all words of a value of some words another number, in its place.
fn change_all_words(map: SharedMap<u64, Vec<u8>>) {
    for number in 1u64.. {
        map.insert(&1, &number.to_ne_bytes().repeat(16)).unwrap();
    }
}

#[procshare::test]
fn a_stopped_writer_shows_no_half_of_a_change() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u64, Vec<u8>>::with_capacity(4096).unwrap();
    map.insert(&1, &vec![0; 8 * 16]).unwrap();
    let writer = child(change_all_words, (map.clone(),));
    let signal = |signal| {
        // SAFETY: two numbers; the child is not reaped, so its number is still its own.
        assert_eq!(unsafe { libc::kill(writer.id() as i32, signal) }, 0);
    };
    let reader = map.without_waiting();
    let (mut whole, mut blocked) = (0, 0);
    while whole < 100 || blocked < 20 {
        signal(libc::SIGSTOP);
        wait_until(|| state_of(writer.id()) == Some('T'));
        match reader.get(&1) {
            Ok(value) => {
                let value = value.unwrap();
                assert_eq!(value, value[..8].repeat(16));
                assert_eq!(reader.to_map(), Ok(HashMap::from([(1, value)])));
                whole += 1;
            }
            // The value is half-way.
            Err(MapError::WouldBlock) => blocked += 1,
            Err(other) => panic!("{other}"),
        }
        signal(libc::SIGCONT);
        let before = reader.get(&1);
        wait_until(|| reader.get(&1) != before);
    }
    kill(writer);
    assert!(map.get(&1).unwrap().is_some());
    verify(&map);
}

#[procshare::test]
fn entries_that_stay_are_shown_once_while_others_come_and_go() {
    let _watchdog = watchdog(60);
    const STAY: u64 = 500;
    let map = SharedMap::<u64, Vec<u8>>::with_capacity(1 << 20).unwrap();
    map.extend((0..STAY).map(|key| (key, pattern(key, 3)))).unwrap();
    let stop = Stop::new(0).unwrap();
    let come_and_go = |map: SharedMap<u64, Vec<u8>>, peer: u64, stop: Stop| {
        let mut random = Random(peer);
        while !is_up(&stop) {
            for _ in 0..100 {
                let key = STAY + random.below(500);
                match random.below(3) {
                    0 => drop(map.remove(&key).unwrap()),
                    // Those that stay are replaced too.
                    1 => drop(
                        map.insert(&random.below(STAY), &pattern(key, random.below(30) as usize))
                            .unwrap(),
                    ),
                    _ => drop(map.insert(&key, &pattern(key, random.below(100) as usize)).unwrap()),
                }
            }
        }
    };
    let peers = (0..2)
        .map(|peer| child(come_and_go, (map.clone(), peer, stop.clone())))
        .collect();
    let mut most = 0;
    for _ in 0..thorough(100, 20) {
        let mut shown = HashMap::new();
        for entry in &map {
            let (key, value) = entry.unwrap();
            assert_whole(&value);
            *shown.entry(key).or_insert(0) += 1;
        }
        assert!(shown.values().all(|times| *times == 1), "{shown:?}");
        assert_eq!(shown.keys().filter(|key| **key < STAY).count() as u64, STAY);
        most = most.max(shown.len());
    }
    raise(&stop);
    join_all::<()>(peers);
    assert!(most as u64 > STAY, "nothing came");
    verify(&map);
}

// Meeting.

#[procshare::test]
fn all_get_what_one_has_made() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u64, u64>::with_capacity(1 << 18).unwrap();
    let (ready, go) = (Flag::new(), Flag::new());
    let get = |map: SharedMap<u64, u64>, peer: u64, ready: Flag, go: Flag| {
        ready.raise();
        go.wait_for(1);
        let get = |key| map.get_or_insert_with(&key, || key * PEERS + peer).unwrap();
        (0..2000).map(get).collect::<Vec<_>>()
    };
    let peers = (0..PEERS)
        .map(|peer| child(get, (map.clone(), peer, ready.clone(), go.clone())))
        .collect();
    ready.wait_for(PEERS as u32);
    go.raise();
    let got = join_all(peers);
    assert!(got.iter().all(|values| *values == got[0]), "somebody got another value");
    assert!((0..2000).all(|key| map.get(&key).unwrap() == Some(got[0][key as usize])));
    assert!((0..2000).all(|key| got[0][key as usize] / PEERS == key));
    verify(&map);
}

#[procshare::test]
fn one_of_many_wins_an_exchange() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<String, u64>::with_capacity(4096).unwrap();
    let compete = |map: SharedMap<String, u64>, peer: u64| {
        let mut won = Vec::new();
        for round in 0..2000u64 {
            let before = (round > 0).then(|| (round - 1) << 8);
            // Each round begins where the last has ended.
            match map
                .compare_exchange("one", before.as_ref(), Some(&(round << 8)))
                .unwrap()
            {
                Ok(()) => won.push(round),
                Err(now) => assert!(
                    now.unwrap() >> 8 >= round || before.is_none(),
                    "{peer}: {now:?} in round {round}"
                ),
            }
        }
        won
    };
    let peers = (0..PEERS).map(|peer| child(compete, (map.clone(), peer))).collect();
    let mut won: Vec<u64> = join_all(peers).into_iter().flatten().collect();
    won.sort_unstable();
    assert!(won.into_iter().eq(0..2000), "each round has one winner");
    assert_eq!(map.remove("one"), Ok(Some(1999 << 8)));
}

/// Time limits hold where many want the same.
#[procshare::test]
fn whoever_waits_for_many_gives_up_in_time_or_is_served() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u64, u64>::builder().shards(1).anonymous().unwrap();
    let stop = Stop::new(0).unwrap();
    let busy = |map: SharedMap<u64, u64>, stop: Stop| {
        while !is_up(&stop) {
            map.update(&1, |count| Some(count.unwrap_or(0) + 1)).unwrap();
        }
    };
    let peers = (0..2).map(|_| child(busy, (map.clone(), stop.clone()))).collect();
    let hasty = map.with_timeout(Duration::from_millis(1));
    let served = (0..2000).filter(|number| hasty.insert(number, number).is_ok()).count();
    println!("{served} of 2000 calls were served within a millisecond");
    assert!(served > 0);
    raise(&stop);
    join_all::<()>(peers);
    verify(&map);
}
