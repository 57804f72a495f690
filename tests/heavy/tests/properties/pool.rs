//! What each method of a pool gives, against what one process would compute alone.

use crate::common::watchdog;
use procshare::{JobError, Pool};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

fn mix(a: u64, text: String) -> (u64, String) {
    (a.wrapping_mul(0x9e37_79b9_7f4a_7c15), text + "!")
}

fn values<R: std::fmt::Debug>(results: Vec<Result<R, JobError>>) -> Vec<R> {
    results.into_iter().map(Result::unwrap).collect()
}

/// One of the ways to have items worked on, and its results.
fn by_method(pool: &Pool, method: u8, items: &[(u64, String)]) -> Vec<(u64, String)> {
    let pair = |(a, text): (u64, String)| mix(a, text);
    let items = items.iter().cloned();
    match method {
        0 => values(pool.map(pair, items)),
        1 => values(pool.starmap(mix, items)),
        2 => values(pool.map_async(pair, items).get().unwrap()),
        3 => values(pool.starmap_async(mix, items).get().unwrap()),
        4 => values(pool.imap(pair, items).collect()),
        5 => {
            let mut results = values(pool.imap_unordered(pair, items.clone()).collect());
            // Each as often as it is due; the order is anybody's.
            let mut order: Vec<_> = items.map(|(a, text)| mix(a, text)).collect();
            let place: BTreeMap<_, _> = order.iter().cloned().enumerate().map(|(at, item)| (item, at)).collect();
            results.sort_by_key(|result| place.get(result).copied());
            order.sort_by_key(|result| place.get(result).copied());
            results
        }
        6 => items.map(|(a, text)| pool.apply(mix, (a, text)).unwrap()).collect(),
        _ => {
            let pending: Vec<_> = items.map(|item| pool.apply_async(mix, item)).collect();
            pending.into_iter().map(|pending| pending.get().unwrap()).collect()
        }
    }
}

#[procshare::test]
fn every_method_gives_what_one_process_would() {
    let _watchdog = watchdog(120);
    let pools: Vec<_> = (1..=4).map(|workers| Pool::new(workers).unwrap()).collect();
    let items = prop::collection::vec((any::<u64>(), "[a-z]{0,20}"), 0..300);
    let strategy = (items, 0..4_usize, prop::option::of(1..400_usize), 0..8_u8);
    let mut runner = TestRunner::new(Config::with_cases(64));
    let outcome = runner.run(&strategy, |(mut items, pool, chunk, method)| {
        if method == 5 {
            // So that each has its place.
            items.sort();
            items.dedup_by_key(|(a, _)| *a);
        }
        let pool = chunk.map_or_else(|| pools[pool].clone(), |chunk| pools[pool].with_chunk_size(chunk));
        let expected: Vec<_> = items.iter().map(|(a, text)| mix(*a, text.clone())).collect();
        prop_assert_eq!(by_method(&pool, method, &items), expected);
        Ok(())
    });
    outcome.unwrap();
}
