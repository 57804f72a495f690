//! `SharedMap` as a cache: what makes room for what. `map_time.rs` has what time does to entries.

#![cfg(feature = "map")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/maps.rs"]
mod maps;

use common::{verify, watchdog};
use maps::{Map as Cache, bytes, cache};
use procshare::{MapError, SharedMap};
use std::thread;

/// Entries of one size: as many as fit, and no room left unused.
#[test]
fn a_cache_holds_as_many_as_fit() {
    let _watchdog = watchdog(60);
    let cache = SharedMap::<u64, u64>::builder()
        .capacity(4096)
        .shards(1)
        .evict_lru()
        .anonymous()
        .unwrap();
    // Five words: two of its own, one of the order, key and value. Twelve to a region of 64 words.
    let fit = 8 * 12;
    for number in 0..10_000u64 {
        assert_eq!(cache.insert(&number, &number), Ok(None));
        let stats = cache.stats();
        assert_eq!(stats.entries as u64, fit.min(number + 1));
        assert_eq!(stats.evictions, (number + 1).saturating_sub(fit));
        // The first is used all the time.
        assert_eq!(cache.contains_key(&number), Ok(true));
    }
    let mut left: Vec<_> = cache.keys().map(Result::unwrap).collect();
    left.sort_unstable();
    assert!(left.into_iter().eq(10_000 - fit..10_000));
    verify(&cache);
}

#[test]
fn what_is_used_stays() {
    let _watchdog = watchdog(60);
    for shards in [1, 16] {
        let cache = cache(1 << 16, shards);
        cache.insert(&0, &bytes(0, 50)).unwrap();
        for key in 1..10_000 {
            assert_eq!(cache.get(&0), Ok(Some(bytes(0, 50))), "before {key}");
            cache.insert(&key, &bytes(key, 50)).unwrap();
        }
        assert!(cache.stats().evictions > 5000);
        verify(&cache);
    }
}

// Several shards.

#[test]
fn several_shards_refuse_nothing_and_keep_the_newest() {
    let _watchdog = watchdog(60);
    for shards in [2, 8, 64] {
        let cache = cache(1 << 18, shards);
        let mut seed = u64::from(shards);
        for key in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let len = (seed >> 33) as usize % 300;
            cache.insert(&key, &bytes(key, len)).unwrap();
            // By one shard's order it is the newest, and so of the last that go.
            assert_eq!(cache.contains_key(&key), Ok(true));
        }
        let stats = cache.stats();
        assert_eq!(stats.entries as u64 + stats.evictions, 20_000);
        let kept: Vec<_> = cache.keys().map(Result::unwrap).collect();
        // About as many entries fit as this: the newest half of them is there, whatever their shards.
        assert!(stats.entries > 900, "{} entries", stats.entries);
        let newest = kept
            .iter()
            .filter(|key| **key >= 20_000 - stats.entries as u32 / 2)
            .count();
        assert!(
            newest >= stats.entries * 45 / 100,
            "{newest} of {} in {shards} shards",
            stats.entries
        );
        verify(&cache);
    }
}

#[test]
fn a_large_value_evicts_as_many_as_it_needs() {
    let _watchdog = watchdog(60);
    const CAPACITY: usize = 1 << 16;
    for percent in [1, 10, 30, 60, 90] {
        let cache = cache(CAPACITY, 1);
        (0..2000).for_each(|key| drop(cache.insert(&key, &bytes(key, 104)).unwrap()));
        let before = cache.stats();
        // Three words of its own, and one of the key.
        let each = before.bytes_used / before.entries;
        assert_eq!(each, 104 + 32);
        let large = bytes(7, CAPACITY * percent / 100);
        cache.insert(&u32::MAX, &large).unwrap();
        assert!(cache.get(&u32::MAX).unwrap() == Some(large));
        let lost = (before.entries + 1 - cache.len()) * each;
        // In parts it takes two words for each; the oldest lie side by side, but for where others begin.
        let most = before.bytes_free + lost;
        assert!(
            lost <= CAPACITY * percent / 100 * 21 / 20 + 2 * each,
            "{lost} of {most} bytes for {percent} %"
        );
        assert_eq!(
            cache.contains_key(&1999),
            Ok(percent < 90 || cache.len() > 1),
            "the newest goes last"
        );
        verify(&cache);
    }
}

#[test]
fn a_value_larger_than_a_shards_share_takes_from_other_shards() {
    let _watchdog = watchdog(60);
    for (shards, percents) in [(4, [30, 60, 90]), (16, [10, 50, 90])] {
        let cache = cache(1 << 20, shards);
        for key in 0..30_000 {
            cache.insert(&key, &bytes(key, 40)).unwrap();
        }
        for (key, percent) in (100_000..).zip(percents) {
            let large = bytes(key, (1 << 20) * percent / 100);
            cache.insert(&key, &large).unwrap();
            assert!(
                cache.get(&key).unwrap() == Some(large),
                "{percent} % in {shards} shards"
            );
            verify(&cache);
        }
        // The small ones come back.
        for key in 0..30_000 {
            cache.insert(&key, &bytes(key, 40)).unwrap();
        }
        let stats = cache.stats();
        assert!(stats.entries > 9000, "{} entries in {shards} shards", stats.entries);
        verify(&cache);
    }
}

/// When it begins, some regions are nobody's: fewer than the value needs.
#[test]
fn a_value_takes_what_is_free_and_some_of_other_shards() {
    let _watchdog = watchdog(60);
    let cache = cache(1 << 20, 16);
    let mut key = 0;
    while cache.stats().bytes_free > 200_000 {
        cache.insert(&key, &bytes(key, 40)).unwrap();
        key += 1;
    }
    assert_eq!(cache.stats().evictions, 0);
    let large = bytes(1, 400_000);
    cache.insert(&u32::MAX, &large).unwrap();
    assert!(cache.get(&u32::MAX).unwrap() == Some(large));
    verify(&cache);
}

#[test]
fn what_can_never_fit_evicts_nothing() {
    let _watchdog = watchdog(60);
    for shards in [1, 4] {
        let cache = cache(1 << 16, shards);
        for key in 0..5000 {
            cache.insert(&key, &bytes(key, 40)).unwrap();
        }
        let before = (cache.to_map().unwrap(), cache.stats());
        // Nearly the whole capacity, of which the parts' headers take some; and more than that.
        for len in [(1 << 16) - 64, 1 << 16, 1 << 20] {
            match cache.insert(&1, &vec![0; len]) {
                Err(MapError::Full { needed, .. }) => assert!(needed > len),
                outcome => panic!("{len} bytes: {outcome:?}"),
            }
            assert_eq!(
                cache.stats().entries,
                before.1.entries,
                "{len} bytes in {shards} shards"
            );
            assert!(cache.to_map().unwrap() == before.0);
        }
        verify(&cache);
    }
}

/// Each shard has about one region, and the others' locks are often held.
#[test]
fn threads_that_store_at_once_are_refused_nothing() {
    let _watchdog = watchdog(60);
    let cache = cache(8 * 512, 8);
    thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..5000 {
                    let key = thread * 100_000 + number;
                    cache.insert(&key, &bytes(key, key as usize % 300)).unwrap();
                }
            });
        }
    });
    let stats = cache.stats();
    assert_eq!(stats.entries as u64 + stats.evictions, 20_000);
    verify(&cache);
}

#[test]
fn look_ups_are_counted() {
    let _watchdog = watchdog(60);
    for evicts in [false, true] {
        let builder = Cache::builder().capacity(4096);
        let builder = if evicts { builder.evict_lru() } else { builder };
        let map = builder.anonymous().unwrap();
        let counts = || (map.stats().hits, map.stats().misses);
        map.insert(&1, &vec![]).unwrap();
        assert_eq!(
            (map.get(&1), map.get(&2), counts()),
            (Ok(Some(vec![])), Ok(None), (1, 1))
        );
        map.get_or_insert_with(&1, Vec::new).unwrap();
        map.get_or_insert_with(&3, Vec::new).unwrap();
        assert_eq!(counts(), (2, 2));
        // Nothing else is a look-up.
        map.contains_key(&1).unwrap();
        map.update(&1, |value| value).unwrap();
        map.compare_exchange(&9, None, None).unwrap().unwrap();
        map.remove(&1).unwrap();
        assert_eq!((map.iter().count(), counts()), (1, (2, 2)));
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|key| drop(map.clone().get(&(key % 4)).unwrap())));
            }
        });
        assert_eq!(counts(), (2 + 20 * 25, 2 + 20 * 75));
    }
}
