//! A real process is killed at every passage of every named point of a map; survivors find all or nothing of what it did.
//!
//! As in `tests/crash.rs`, the child gets `PROCSHARE_CRASH_AT` and must die of SIGKILL. Each scenario is one call on a map,
//! and the child is killed in it at the first, second … passage of each point, until it outlives them all; at the first,
//! seventh … where tests are not thorough.

#![cfg(all(feature = "crash-points", feature = "process"))]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/effort.rs"]
mod effort;
#[path = "../common/forked.rs"]
mod forked;
#[path = "../common/role.rs"]
mod role;

mod heirs;
mod nursery;
mod scenarios;
mod stage;
mod stopped;

use common::watchdog;
use effort::thorough;
use forked::Others;
use procshare::__private::CRASH_POINTS;
use role::Role;
use scenarios::SCENARIOS;
use stage::{Scenario, Stage, Tally, alone};
use std::collections::BTreeSet;

/// Where a child is killed, beside the points of the map itself.
const OF_THE_LOCK: [&str; 3] = ["lock.acquired", "unlock.begin", "unlock.released"];
/// Passed only by those who find a dead holder: see `heirs`.
const OF_HEIRS: [&str; 2] = ["map.undone", "map.recovered"];

const OWN_ROLES: [(&str, Role); 1] = [("act", |arguments| {
    let scenario = stage::scenario(&arguments[1]);
    (scenario.act)(&stage::open_as_victim(scenario, &arguments[0]));
})];

fn roles() -> Vec<(&'static str, Role)> {
    [&OWN_ROLES[..], heirs::ROLES, stopped::ROLES, nursery::ROLES].concat()
}

#[test]
fn plays_a_role() {
    role::play(&roles());
}

fn points_of_the_map() -> impl Iterator<Item = &'static str> {
    CRASH_POINTS.iter().copied().filter(|point| point.starts_with("map."))
}

/// Kills a child at each passage of a point, or at every third, and tells how many there may be.
fn sweep(scenario: &'static Scenario, point: &'static str, tally: &mut Tally) -> usize {
    for passage in (1..).step_by(thorough(1, 6)) {
        assert!(passage < 1000, "{point}: without end");
        let at = format!("{}, {point}:{passage}", scenario.name);
        let stage = Stage::new(scenario);
        if !stage.kills("act", &format!("{point}:{passage}")) {
            stage.has_happened(&at);
            return passage - 1;
        }
        tally.kills += 1;
        // Half of them are met by readers first.
        if passage % 2 == 0 {
            stage.can_be_read(&at, tally);
        }
        stage.is_taken_over(&at, tally);
        stage.is_whole(&at);
        stage.goes_on(&at);
    }
    unreachable!("a loop without end")
}

#[test]
fn a_process_may_die_at_every_passage_of_every_point() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let (mut tally, mut met) = (Tally::default(), BTreeSet::new());
    for scenario in SCENARIOS {
        for point in points_of_the_map().chain(OF_THE_LOCK) {
            if sweep(scenario, point, &mut tally) > 0 {
                met.insert(point);
            }
        }
    }
    let unmet: Vec<_> = points_of_the_map().filter(|point| !met.contains(point)).collect();
    assert_eq!(unmet.len(), OF_HEIRS.len(), "no scenario meets them: {unmet:?}");
    tally.report(&others);
}

/// The points that no scenario meets are those of `heirs`.
#[test]
fn every_point_is_known_here() {
    const KNOWN: [&str; 7] = [
        "map.noted",
        "map.changed",
        "map.published",
        "map.replaced",
        "map.claimed",
        "map.freed",
        "map.part",
    ];
    for point in points_of_the_map() {
        assert!(
            KNOWN.contains(&point) || OF_HEIRS.contains(&point),
            "{point} has no scenario here"
        );
    }
}
