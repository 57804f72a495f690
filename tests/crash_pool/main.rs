//! A worker of a pool is killed at every passage of every named point it meets, and so is the pool's own process.
//!
//! Each run is a pool whose first workers have `PROCSHARE_CRASH_AT` in their environment, and those that take their places
//! have not. They are killed at the first, second … passage of each point, until nobody dies any more.

#![cfg(all(feature = "crash-points", feature = "process"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../common/blob.rs"]
mod blob;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/effort.rs"]
mod effort;
#[path = "../common/forked.rs"]
mod forked;

mod parent;
mod stage;

use common::{alone, children, descriptors, watchdog};
use effort::thorough;
use forked::Others;
use procshare::__private::CRASH_POINTS;
use stage::{ITEMS, JOBS, Run, Variant};
use std::time::Duration;

/// From a death to the last result of the map under way, on a machine that does nothing else.
const LONGEST: Duration = Duration::from_secs(1);
/// What the crash table says of the item in hand: it has not run, or it has, or there is none to lose.
const BEFORE_IT_RUNS: [&str; 3] = ["pool.begun", "pool.asking", "pool.received"];
const AFTER_IT_RAN: [&str; 3] = ["pool.answering", "pool.spilled", "pool.stored"];
const WITHOUT_LOSS: [&str; 7] = [
    "pool.claimed",
    "pool.answered",
    "pool.finishing",
    "pool.finished",
    "pool.told",
    "pool.asleep",
    "pool.awake",
];
const OF_THE_PARENT: [&str; 2] = ["pool.ready", "pool.handed"];

#[test]
fn every_point_is_known_here() {
    let known = [&BEFORE_IT_RUNS[..], &AFTER_IT_RAN, &WITHOUT_LOSS, &OF_THE_PARENT].concat();
    for point in CRASH_POINTS.iter().filter(|point| point.starts_with("pool.")) {
        assert!(known.contains(point), "{point} has no scenario here");
    }
}

/// Kills the first workers at each passage of a point; tells how many passages there are.
fn sweep(variant: Variant, point: &str, longest: &mut Duration) -> usize {
    for passage in 1.. {
        assert!(passage < 200, "{point}: without end");
        let run = stage::run(variant, Some((point, passage)));
        let at = format!("{variant:?}, {point}:{passage}");
        check(&run, variant, point, passage, &at);
        if run.died == 0 {
            return passage - 1;
        }
        *longest = (*longest).max(run.pause);
    }
    unreachable!("a loop without end")
}

/// What became of the items is what the crash table says.
fn check(run: &Run, variant: Variant, point: &str, passage: usize, at: &str) {
    assert!(run.died <= variant.workers, "{at}: {} died", run.died);
    let of_items = !WITHOUT_LOSS.contains(&point);
    let in_hand = if of_items { run.died } else { 0 };
    let (lost, again) = match variant.retries {
        0 => (in_hand, 0),
        _ => (0, in_hand),
    };
    assert_eq!(run.lost.len(), lost, "{at}: lost are {:?}", run.lost);
    assert_eq!(run.progress.retried, again as u64, "{at}");
    let ran_before = usize::from(AFTER_IT_RAN.contains(&point));
    // With one worker all items run in their order, so that the passage tells the item in hand.
    let tells = !["pool.spilled", "pool.stored", "pool.asking", "pool.received"].contains(&point);
    let known = variant.workers == 1 && of_items && run.died == 1 && tells;
    if known && variant.retries == 0 {
        assert_eq!(run.lost, [passage - 1], "{at}");
    }
    let mut twice = vec![];
    for (item, ran) in run.ran.iter().enumerate() {
        match run.lost.contains(&item) {
            true => assert_eq!(*ran, ran_before, "{at}: item {item}, which was lost"),
            false if *ran == 2 => twice.push(item),
            false => assert_eq!(*ran, 1, "{at}: item {item}"),
        }
    }
    assert_eq!(twice.len(), again * ran_before, "{at}: {twice:?} ran twice");
    if known && !twice.is_empty() {
        assert_eq!(twice, [passage - 1], "{at}");
    }
}

/// Sweeps every point, or every third beginning at `first`: the three variants together sweep them all.
fn sweep_all(variant: Variant, first: usize) {
    let (others, mut longest, mut met) = (Others::watch(), Duration::ZERO, vec![]);
    let points = [&BEFORE_IT_RUNS[..], &AFTER_IT_RAN, &WITHOUT_LOSS].concat();
    for point in points.into_iter().skip(thorough(0, first)).step_by(thorough(1, 3)) {
        met.push((point, sweep(variant, point, &mut longest)));
    }
    let kills: usize = met.iter().map(|(_, passages)| passages).sum();
    println!("{variant:?}: {kills} passages; the last result came {longest:?} after a death at most; {met:?}");
    for (point, passages) in met {
        let expected = match point {
            "pool.begun" | "pool.answering" | "pool.answered" => ITEMS..=ITEMS,
            "pool.claimed" | "pool.finishing" | "pool.finished" | "pool.told" => JOBS..=JOBS,
            // A worker asks again only if it has let go of what the job before brought, and how often it falls asleep is the
            // scheduler's affair.
            "pool.asking" | "pool.received" | "pool.asleep" | "pool.awake" => 1..=ITEMS,
            _ => 2..=ITEMS,
        };
        // Of two workers, nobody knows who meets how many.
        let is_right = expected.contains(&passages) || variant.workers > 1 && passages > 0;
        assert!(is_right, "{point} was met {passages} times, expected {expected:?}");
    }
    assert!(longest < others.allow(LONGEST), "{longest:?}");
}

/// Runs the body in a process of its own after one run in which nobody dies; nothing is left of all its pools.
fn sweep_alone(variant: Variant, first: usize) {
    let run = stage::run(variant, None);
    assert_eq!((run.died, run.lost.len()), (0, 0));
    let before = descriptors();
    sweep_all(variant, first);
    assert_eq!(descriptors(), before);
    assert_eq!(children(), [0; 0], "children are left");
}

#[procshare::test]
fn the_only_worker_may_die_at_every_passage() {
    let _watchdog = watchdog(120);
    alone(|| sweep_alone(Variant::new(1, 0, false), 0));
}

#[procshare::test]
fn the_only_worker_may_die_at_every_passage_and_its_item_is_begun_anew() {
    let _watchdog = watchdog(120);
    alone(|| sweep_alone(Variant::new(1, 1, true), 1));
}

#[procshare::test]
fn both_of_two_workers_may_die_at_every_passage() {
    let _watchdog = watchdog(120);
    alone(|| sweep_alone(Variant::new(2, 0, true), 2));
}
