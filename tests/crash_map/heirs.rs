//! Deaths of those who make good what a dead process left, and of those who hold a lock without changing anything.

use crate::common::watchdog;
use crate::effort::thorough;
use crate::forked::{Child, Others};
use crate::points_of_the_map;
use crate::role::Role;
use crate::stage::{SHARDS, Stage, Tally, alone, content, key, open_as_victim, scenario};
use procshare::MapError;
use std::time::{Duration, Instant};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("take over", |arguments| {
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        for shard in 0..SHARDS {
            assert_eq!(map.update(&key(shard, 99), |found| found), Ok(None));
        }
    }),
    ("read", |arguments| {
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        for number in 0..64 {
            map.get(&key(0, number)).expect("it is whole");
        }
    }),
    // Calls that do not come back from their closures.
    ("die in update", |arguments| {
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        let _ = map.update(&key(0, 3), |_| die());
    }),
    ("die in the update of nothing", |arguments| {
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        let _ = map.update(&key(0, 50), |_| die());
    }),
    ("die in get_or_insert_with", |arguments| {
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        let _ = map.get_or_insert_with(&key(0, 50), die);
    }),
    ("die in retain", |arguments| {
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        let _ = map.retain(|_, _| die());
    }),
];

/// Where the first dies: each leaves something else to do.
const FIRST: &[(&str, &str)] = &[
    ("insert one more", "lock.acquired:1"),
    ("insert one more", "map.changed:8"),
    ("insert the first", "map.claimed:1"),
    ("insert the first", "map.changed:3"),
    ("insert in many small parts", "map.part:3"),
    ("insert in many small parts", "map.changed:20"),
    ("replace parts by one block", "map.published:1"),
    ("replace by longer", "map.changed:12"),
    ("remove and give a region back", "map.published:1"),
    ("remove and give a region back", "map.freed:1"),
    ("evict from another shard", "map.changed:25"),
    ("clear", "map.changed:30"),
];

/// Has one child die in a call, and another where `point` is passed by those who lock after it; then a third at the same
/// passage. Tells how many passages there may be.
fn sweep(first: (&str, &str), role: &str, point: &str, tally: &mut Tally) -> usize {
    for passage in (1..).step_by(thorough(1, 3)) {
        assert!(passage < 200, "{point}: without end");
        let (name, died_at) = first;
        let at = format!("{name}, {died_at}, then {role}, {point}:{passage}");
        let stage = Stage::new(scenario(name));
        assert!(stage.kills("act", died_at), "{name} has no {died_at}");
        let killed = stage.kills(role, &format!("{point}:{passage}"));
        tally.kills += 1 + usize::from(killed);
        if killed {
            tally.kills += usize::from(stage.kills(role, &format!("{point}:{passage}")));
        }
        stage.is_taken_over(&at, tally);
        stage.is_whole(&at);
        stage.goes_on(&at);
        if !killed {
            return passage - 1;
        }
    }
    unreachable!("a loop without end")
}

#[test]
fn heirs_may_die_as_well() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let mut tally = Tally::default();
    let mut met = Vec::new();
    for first in FIRST {
        for point in points_of_the_map().chain(["lock.taken_over", "lock.acquired"]) {
            let passages = sweep(*first, "take over", point, &mut tally);
            if passages > 0 {
                met.push(point);
            }
        }
    }
    for point in crate::OF_HEIRS {
        assert!(met.contains(&point), "{point} is met by no heir");
    }
    tally.report(&others);
}

#[test]
fn a_reader_who_takes_over_may_die_as_well() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let mut tally = Tally::default();
    for point in ["lock.taken_over", "map.undone", "map.recovered"] {
        let passages = sweep(("insert one more", "map.changed:8"), "read", point, &mut tally);
        assert!(passages > 0, "{point} is met by no reader");
    }
    tally.report(&others);
}

fn die<R>() -> R {
    // SAFETY: two numbers.
    unsafe { libc::kill(std::process::id() as i32, libc::SIGKILL) };
    unreachable!("nobody survives SIGKILL")
}

#[test]
fn a_process_may_die_inside_a_closure() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let mut tally = Tally::default();
    for role in [
        "die in update",
        "die in the update of nothing",
        "die in get_or_insert_with",
        "die in retain",
    ] {
        let stage = Stage::new(scenario("update"));
        let before = content(&stage.map);
        assert!(stage.kills(role, ""), "{role}");
        tally.kills += 1;
        stage.is_taken_over(role, &mut tally);
        assert_eq!(content(&stage.map), before, "{role}: nothing has happened");
        stage.is_whole(role);
        stage.goes_on(role);
    }
    tally.report(&others);
}

/// Has a process die as it gives a region back that others want, and tells what comes of an insert that takes one.
fn insert_beside_the_dead(name: &str, point: &str, check: impl FnOnce(Result<(), MapError>)) {
    let stage = Stage::new(scenario(name));
    assert!(stage.kills("act", point), "{point}");
    let child = Child::fork(|| check(stage.map.insert(&key(1, 1), &vec![1; 40]).map(drop)));
    let began = Instant::now();
    while !child.is_zombie() && began.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    assert!(child.is_zombie(), "{name}, {point}: the insert does not end");
    child.finish();
}

/// Until somebody asks for the shard of the dead the region may be that shard's; then others evict another.
#[test]
fn who_evicts_does_not_wait_for_a_region_the_dead_has_freed() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    for point in ["map.published:1", "map.freed:1"] {
        let name = "give back the only free region where others evict";
        insert_beside_the_dead(name, point, |stored| assert_eq!(stored, Ok(()), "{name}, {point}"));
    }
}

/// As for `Full`: it is not said while what is said to be free would do.
#[test]
fn a_region_that_the_dead_has_freed_serves_others() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    insert_beside_the_dead("give back the only free region", "map.freed:1", |stored| {
        assert_eq!(stored, Ok(()), "a region is free");
    });
}
