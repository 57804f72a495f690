//! Beside a peer stopped in a map: who wants its shard can wait with a limit, and nobody else waits.

use crate::Scene;
use crate::peer::{Calls, Peer, SHORT, die_with_parent};
use crate::role::{Role, say};
use crate::stage::{Map, SHARDS, Stage, content, key, open_as_victim, scenario, value};
use procshare::__private::verify_map;
use procshare::{MapError, Segment};
use std::fmt::Debug;
use std::time::Instant;

/// The scenario a peer is stopped in, and where.
macro_rules! scenes {
    ($($scenario:literal: $($at:literal)*),* $(,)?) => {
        &[$(Scene {
            name: concat!("map: ", $scenario),
            points: &[$($at),*],
            play: |at| beside(at, $scenario, None),
        },)*
        Scene {
            name: "heir of a shard",
            points: &["lock.taken_over", "map.undone", "map.recovered"],
            play: |at| beside(at, "insert one more", Some("map.changed:8")),
        },
        Scene {
            name: "heir of garbage",
            points: &["map.recovered"],
            play: |at| beside(at, "insert in many small parts", Some("map.part:3")),
        }]
    };
}

pub(crate) const SCENES: &[Scene] = scenes! {
    "insert one more": "lock.acquired" "map.noted" "map.changed" "map.changed:8" "map.published" "unlock.begin" "unlock.released",
    "insert and claim a region": "map.claimed" "map.changed:12",
    "replace a value of one word": "map.replaced",
    "remove and give a region back": "map.published" "map.freed",
    "give back the only free region": "map.freed",
    "give back the only free region where others evict": "map.published" "map.freed",
    "insert in many small parts": "map.part:3" "map.changed:20",
    "update": "map.noted:3",
    "evict from another shard": "map.changed:25" "lock.acquired:2",
    "have another shard move together": "map.noted:9",
    "clear": "map.changed:30",
    "sweep": "map.changed:3",
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("act", |arguments| {
        die_with_parent();
        let scenario = scenario(&arguments[1]);
        (scenario.act)(&open_as_victim(scenario, &arguments[0]));
        say("acted");
    }),
    ("take over", |arguments| {
        die_with_parent();
        let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
        for shard in 0..SHARDS {
            assert_eq!(map.update(&key(shard, 99), |found| found), Ok(None));
        }
        say("acted");
    }),
];

/// A peer is stopped in a scenario, or as it makes good what one left who died there.
fn beside(at: &str, name: &str, death: Option<&str>) {
    let (stage, calls) = (Stage::new(scenario(name)), Calls(at));
    if let Some(death) = death {
        assert!(stage.kills("act", death));
    }
    let role = if death.is_some() { "take over" } else { "act" };
    let peer = Peer::start(role, at, &stage.arguments()).stopped();
    for shard in 0..SHARDS {
        limited(calls, &stage.map, shard);
    }
    unlimited(calls, &stage);
    peer.ends_well();
    verify_map(&stage.map).unwrap();
    content(&stage.map);
    stage.map.clear().unwrap();
    verify_map(&stage.map).unwrap();
}

/// A map that may not wait, and one that may for a while, agree on what becomes of a call.
fn both<R: Debug>(calls: Calls<'_>, what: &str, map: &Map, call: impl Fn(&Map) -> Result<R, MapError>) {
    let maps = [
        map.without_waiting(),
        map.with_timeout(SHORT),
        map.with_deadline(Instant::now() + SHORT),
    ];
    for map in maps {
        match calls.at_once(what, || call(&map)) {
            Ok(_) | Err(MapError::WouldBlock | MapError::TimedOut | MapError::Full { .. }) => {}
            Err(error) => panic!("{}: {what}: {error}", calls.0),
        }
    }
}

/// Calls on a shard, some of which need its lock.
fn limited(calls: Calls<'_>, map: &Map, shard: u32) {
    let (old, new) = (key(shard, 5), key(shard, 77));
    both(calls, "SharedMap::get", map, |map| map.get(&old));
    both(calls, "SharedMap::contains_key", map, |map| map.contains_key(&old));
    both(calls, "SharedMap::insert", map, |map| map.insert(&new, &value(1, 8)));
    both(calls, "SharedMap::insert_with_ttl", map, |map| {
        map.insert_with_ttl(&new, &value(1, 8), SHORT)
    });
    both(calls, "SharedMap::get_or_insert_with", map, |map| {
        map.get_or_insert_with(&new, || value(1, 8))
    });
    both(calls, "SharedMap::update", map, |map| map.update(&new, |found| found));
    both(calls, "SharedMap::compare_exchange", map, |map| {
        map.compare_exchange(&new, None, None)
    });
    both(calls, "SharedMap::remove", map, |map| map.remove(&new));
}

/// Calls on the whole map.
fn unlimited(calls: Calls<'_>, stage: &Stage) {
    let map = &stage.map;
    both(calls, "SharedMap::extend", map, |map| {
        map.extend([(key(0, 77), value(1, 8))])
    });
    both(calls, "SharedMap::iter", map, |map| {
        map.iter().collect::<Result<Vec<_>, _>>()
    });
    both(calls, "SharedMap::keys", map, |map| {
        map.keys().collect::<Result<Vec<_>, _>>()
    });
    both(calls, "SharedMap::values", map, |map| {
        map.values().collect::<Result<Vec<_>, _>>()
    });
    both(calls, "SharedMap::to_map", map, Map::to_map);
    both(calls, "SharedMap::retain", map, |map| map.retain(|_, _| true));
    both(calls, "SharedMap::clear", map, Map::clear);
    calls.at_once("SharedMap::len", || (map.len(), map.is_empty(), map.capacity()));
    calls.at_once("SharedMap::stats", || map.stats());
    calls.at_once("SharedMap::fmt", || format!("{map:?}"));
    let clone = calls.at_once("SharedMap::clone", || map.clone());
    calls.at_once("SharedMap::drop", || drop(clone));
    let [folder, name] = stage.arguments();
    let builder = (scenario(name).build)(crate::stage::builder());
    let segment = Segment::builder().folder(folder);
    let opened = calls.at_once("Segment::open", || segment.open("shared").unwrap());
    let again = calls.at_once("MapBuilder::open_in", || builder.open_in(&opened, "map").unwrap());
    let same = calls.at_once("MapBuilder::place_in", || builder.place_in(&opened, "map").unwrap());
    calls.at_once("Segment::drop", || drop((again, same, opened)));
}
