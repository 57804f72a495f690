//! The calls in which a process is killed.

use crate::stage::{BYTES, Builder, Kind, Map, REGION, Scenario, key, value};
use procshare::MapError;
use std::time::Duration;

/// Longer than an entry in one block can be.
const IN_PARTS: usize = 3 * REGION;
/// Regions of a map.
const REGIONS: usize = BYTES / REGION;
const TTL: Duration = Duration::from_millis(10_000);
/// When what was stored at the beginning lives, and when it does not any more.
const SOON: u64 = 5_000;
const LATE: u64 = 20_000;

fn usual(builder: Builder) -> Builder {
    builder
}

fn evicting(builder: Builder) -> Builder {
    builder.evict_lru()
}

fn expiring(builder: Builder) -> Builder {
    builder.time_to_live(TTL)
}

fn nothing(_: &Map) {}

/// Stores under the numbered key of a shard.
fn put(map: &Map, shard: u32, number: usize, value: &[u8]) {
    map.insert(&key(shard, number), &value.to_vec()).expect("there is room");
}

/// Some entries of different sizes in either shard, with a free block between them.
fn some(map: &Map) {
    for shard in 0..2 {
        for number in 0..6 {
            put(map, shard, number, &value(number, 16 + 8 * number));
        }
        map.remove(&key(shard, 2)).expect("it is whole");
        put(map, shard, 20, &value(20, 8));
    }
}

/// So many regions full of entries in a shard, each of a fourth of a region or less.
fn fill(map: &Map, shard: u32, regions: usize) {
    for number in 0..4 * regions {
        put(map, shard, number, &value(number, REGION / 4 - 32));
    }
    assert_eq!(map.stats().evictions, 0);
}

/// Half of the regions are full of each shard's entries.
fn full(map: &Map) {
    (0..2).for_each(|shard| fill(map, shard, REGIONS / 2));
}

/// One region is the first shard's, all others are the second's.
fn nearly_all_the_second_s(map: &Map) {
    fill(map, 0, 1);
    fill(map, 1, REGIONS - 1);
}

fn parts_among_some(map: &Map) {
    some(map);
    put(map, 0, 7, &value(7, IN_PARTS));
}

/// A value with a byte changed here and there.
fn changed(number: usize, length: usize, at: &[usize]) -> Vec<u8> {
    let mut changed = value(number, length);
    for at in at {
        changed[*at] ^= 0x55;
    }
    changed
}

const fn one_step(name: &'static str, prepare: fn(&Map), act: fn(&Map)) -> Scenario {
    Scenario {
        name,
        build: usual,
        prepare,
        act,
        clock: SOON,
        kind: Kind::OneStep,
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    one_step("insert the first", nothing, |map| put(map, 0, 1, &value(1, 40))),
    one_step("insert one more", some, |map| put(map, 0, 10, &value(10, 30))),
    one_step("insert into a free block as large", some, |map| {
        put(map, 0, 10, &value(10, 32))
    }),
    one_step("insert and claim a region", some, |map| {
        put(map, 0, 10, &value(10, 400))
    }),
    one_step("replace a value of one word", some, |map| {
        put(map, 0, 20, &value(21, 8))
    }),
    one_step("replace one word", some, |map| put(map, 0, 5, &changed(5, 56, &[9]))),
    one_step("replace several words", some, |map| {
        put(map, 0, 5, &changed(5, 56, &[0, 9, 55]))
    }),
    one_step("replace by nearly as long", some, |map| put(map, 0, 5, &value(5, 51))),
    one_step("replace by longer", some, |map| put(map, 0, 3, &value(30, 200))),
    one_step("replace by shorter", some, |map| put(map, 0, 5, &value(50, 3))),
    one_step("insert in parts", some, |map| put(map, 0, 10, &value(10, IN_PARTS))),
    one_step("insert in many small parts", scattered, |map| {
        put(map, 0, 50, &value(50, 400))
    }),
    one_step("insert in parts that are too few", scattered, |map| {
        // Nearly as long as all that is free, which leaves too little for what each part takes for itself.
        let refusal = map.insert(&key(0, 50), &value(50, 1184));
        assert!(matches!(refusal, Err(MapError::Full { .. })), "{refusal:?}");
    }),
    one_step("replace parts by parts", parts_among_some, |map| {
        put(map, 0, 7, &value(70, IN_PARTS + 300))
    }),
    one_step("replace parts by one block", parts_among_some, |map| {
        put(map, 0, 7, &value(70, 10))
    }),
    one_step("remove", some, |map| drop(map.remove(&key(0, 4)).expect("it is whole"))),
    one_step("remove parts", parts_among_some, |map| {
        drop(map.remove(&key(0, 7)).expect("it is whole"))
    }),
    one_step(
        "remove and give a region back",
        |map| put(map, 0, 1, &value(1, 40)),
        |map| {
            map.remove(&key(0, 1)).expect("it is whole");
        },
    ),
    Scenario {
        build: |builder| builder.shards(4),
        ..one_step("give back the only free region", first_alone, |map| {
            map.remove(&key(0, 1)).expect("it is whole");
        })
    },
    Scenario {
        build: |builder| builder.shards(4).evict_lru(),
        ..one_step(
            "give back the only free region where others evict",
            first_alone,
            |map| {
                map.remove(&key(0, 1)).expect("it is whole");
            },
        )
    },
    one_step("update", some, |map| {
        map.update(&key(0, 3), |_| Some(value(33, 40))).expect("it is whole");
    }),
    one_step("update to nothing", some, |map| {
        map.update(&key(0, 3), |_| None).expect("it is whole");
    }),
    one_step("compare and exchange", some, |map| {
        let _ = map
            .compare_exchange(&key(0, 3), Some(&value(3, 40)), Some(&value(33, 60)))
            .expect("it is whole");
    }),
    one_step("get or insert", some, |map| {
        map.get_or_insert_with(&key(0, 10), || value(10, 20))
            .expect("there is room");
    }),
    Scenario {
        build: evicting,
        ..one_step("get where the order counts", some, |map| {
            drop(map.get(&key(0, 3)).expect("it is whole"))
        })
    },
    Scenario {
        build: evicting,
        ..one_step("replace where the order counts", some, |map| {
            put(map, 0, 1, &value(11, 24))
        })
    },
    Scenario {
        build: expiring,
        ..one_step("replace by what expires later", some, |map| {
            put(map, 0, 1, &value(11, 24))
        })
    },
    Scenario {
        build: evicting,
        kind: Kind::Evictions,
        ..one_step("evict", full, |map| put(map, 0, 90, &value(90, 200)))
    },
    Scenario {
        build: evicting,
        kind: Kind::Evictions,
        ..one_step("evict from another shard", nearly_all_the_second_s, |map| {
            put(map, 0, 90, &value(90, 300))
        })
    },
    one_step("have another shard move parts together", thinned_beside_parts, |map| {
        put(map, 0, 90, &value(90, 200))
    }),
    one_step("have another shard move together", thinned, |map| {
        put(map, 0, 90, &value(90, 200))
    }),
    Scenario {
        kind: Kind::Removals,
        ..one_step("clear", parts_among_some, |map| map.clear().expect("it is whole"))
    },
    Scenario {
        kind: Kind::Removals,
        ..one_step("retain", some, |map| {
            map.retain(|_, value| value.len() > 40).expect("it is whole")
        })
    },
    Scenario {
        build: expiring,
        clock: LATE,
        kind: Kind::Removals,
        ..one_step("sweep", some, |map| assert_eq!(map.len(), 0))
    },
];

/// A full map of which every other entry of a shard was removed: no free block is large.
fn scattered(map: &Map) {
    full(map);
    for number in (0..16).step_by(2) {
        map.remove(&key(0, number)).expect("it is whole");
    }
}

/// An entry in the first shard, and all other regions the third's, which has asked for one more.
fn first_alone(map: &Map) {
    put(map, 0, 1, &value(1, 40));
    for number in 0..70 {
        let _ = map.insert(&key(2, number), &value(number, 96));
    }
}

/// All regions are the second shard's, with an entry or two in each.
fn thinned(map: &Map) {
    fill(map, 1, REGIONS);
    for number in (0..64).filter(|number| number % 4 != 1 && number % 12 != 0) {
        map.remove(&key(1, number)).expect("it is whole");
    }
}

/// As before, but the region with the fewest words in use has the end of a long value in it, and nothing else.
fn thinned_beside_parts(map: &Map) {
    fill(map, 1, REGIONS - 4);
    put(map, 1, 95, &value(95, IN_PARTS));
    for number in (0..4 * (REGIONS - 4)).filter(|number| number % 4 >= 2) {
        map.remove(&key(1, number)).expect("it is whole");
    }
}
