//! `SharedMap` and time: entries that expire. Time is what the test says.

#![cfg(feature = "map")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/maps.rs"]
mod maps;

use common::{verify, watchdog};
use maps::{Map, Timed, bytes};
use std::time::Duration;

#[test]
fn an_entry_is_there_until_the_very_moment() {
    let _watchdog = watchdog(60);
    let timed = Timed::new(&Map::builder().time_to_live(Duration::from_millis(100)));
    let map = &timed.map;
    map.insert(&1, &vec![1]).unwrap();
    timed.pass(99);
    assert_eq!((map.get(&1), map.len()), (Ok(Some(vec![1])), 1));
    // Storing renews; even the same value.
    map.insert(&1, &vec![1]).unwrap();
    timed.pass(99);
    assert_eq!(map.get(&1), Ok(Some(vec![1])));
    timed.pass(1);
    assert_eq!(
        (map.get(&1), map.len(), map.insert(&1, &vec![2])),
        (Ok(None), 0, Ok(None))
    );
    // For long, or for no time at all.
    map.insert_with_ttl(&2, &vec![2], Duration::from_millis(1 << 50))
        .unwrap();
    map.insert_with_ttl(&3, &vec![3], Duration::ZERO).unwrap();
    timed.pass((1 << 50) - 1);
    assert_eq!((map.get(&2), map.get(&3), map.len()), (Ok(Some(vec![2])), Ok(None), 1));
    verify(map);
}

#[test]
fn an_entry_may_live_for_ever() {
    let _watchdog = watchdog(60);
    let timed = Timed::new(&Map::builder().shards(1).time_to_live(Duration::MAX));
    let map = &timed.map;
    map.insert(&1, &vec![1]).unwrap();
    map.insert_with_ttl(&2, &vec![2], Duration::MAX).unwrap();
    map.insert_with_ttl(&3, &vec![3], Duration::ZERO).unwrap();
    assert_eq!(map.len(), 2);
    timed.pass(1 << 60);
    assert_eq!(
        (map.get(&1), map.get(&2), map.len()),
        (Ok(Some(vec![1])), Ok(Some(vec![2])), 2)
    );
    verify(map);
}

#[test]
fn what_has_expired_makes_room_before_a_map_is_full() {
    let _watchdog = watchdog(60);
    for shards in [1, 4, 16] {
        let timed = Timed::new(&Map::builder().capacity(1 << 18).shards(shards));
        let fill = |keys: std::ops::Range<u32>| {
            let ttl = Duration::from_millis(100);
            keys.filter(|key| timed.map.insert_with_ttl(key, &bytes(*key, 50), ttl).is_ok())
                .count()
        };
        let stored = fill(0..5000);
        assert!((2000..5000).contains(&stored), "{stored}");
        timed.pass(100);
        // As many again, though nobody has asked for the length.
        assert_eq!(
            fill(10_000..10_000 + stored as u32 * 9 / 10),
            stored * 9 / 10,
            "in {shards} shards"
        );
        timed.pass(100);
        let large = bytes(1, 200_000);
        assert_eq!(timed.map.insert(&1, &large), Ok(None), "in {shards} shards");
        assert_eq!(timed.map.stats().evictions, 0);
        verify(&timed.map);
    }
}

#[test]
fn what_has_expired_goes_before_what_is_old() {
    let _watchdog = watchdog(60);
    let timed = Timed::new(&Map::builder().capacity(1 << 14).shards(1).evict_lru());
    let map = &timed.map;
    map.insert(&0, &bytes(0, 50)).unwrap();
    for key in 1.. {
        map.insert_with_ttl(&key, &bytes(key, 50), Duration::from_millis(100))
            .unwrap();
        if map.stats().bytes_free < 200 {
            break;
        }
    }
    timed.pass(100);
    (1000..1050).for_each(|key| drop(map.insert(&key, &bytes(key, 50)).unwrap()));
    assert_eq!((map.stats().evictions, map.len()), (0, 51));
    assert_eq!(map.get(&0), Ok(Some(bytes(0, 50))));
    verify(map);
}

/// The usual clock: entries of no time are gone at once, those of much time stay.
#[test]
fn the_usual_clock_goes_on() {
    let _watchdog = watchdog(60);
    let map = Map::builder()
        .time_to_live(Duration::from_millis(1))
        .anonymous()
        .unwrap();
    map.insert(&1, &vec![1]).unwrap();
    common::wait_until(|| map.is_empty());
    map.insert_with_ttl(&1, &vec![1], Duration::from_secs(1000)).unwrap();
    assert_eq!((map.get(&1), map.clone().len()), (Ok(Some(vec![1])), 1));
}
