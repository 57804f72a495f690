//! The words of a new object of each kind. What changes them needs a new version of the layout.

#![cfg(all(feature = "process", target_endian = "little"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/role.rs"]
mod role;

use common::{unique, watchdog};
use procshare::{Connection, Producer, Segment, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter};
use procshare::{SharedMap, SharedQueue, SharedValue};
use std::any::Any;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64};

/// Makes an object of one kind under a name, and puts something into it.
type Make = fn(&str) -> Box<dyn Any>;

/// A kind, and an object of it. A pool and a frozen array are missing: the one has no name, so no other version attaches to it, and
/// the words of the other are its elements.
const OBJECTS: [(&str, Make); 9] = [
    ("value", |name| {
        Box::new(SharedValue::create(name, [7_u32, 8, 9]).unwrap())
    }),
    ("array", |name| {
        let array = SharedArray::create(name, 3).unwrap();
        array.fill(5_u16).unwrap();
        Box::new(array)
    }),
    ("counter", |name| Box::new(SharedCounter::create(name, -3).unwrap())),
    ("atomic", |name| {
        Box::new(SharedAtomic::<AtomicU64>::create(name, 77).unwrap())
    }),
    ("atomic array", |name| {
        Box::new(SharedAtomicArray::<AtomicI32>::create(name, 3).unwrap())
    }),
    ("queue", |name| {
        let queue = SharedQueue::<u16>::create(name, 3).unwrap();
        queue.put(5).unwrap();
        Box::new(queue)
    }),
    ("pipe", |name| {
        let end = Connection::<u16>::create(name, 3).unwrap();
        end.send(6).unwrap();
        Box::new(end)
    }),
    ("ring", |name| {
        let mut producer = Producer::<u32>::create(name, 4).unwrap();
        producer.push(9).unwrap();
        Box::new(producer)
    }),
    ("map", |name| {
        let map = SharedMap::<u64, u64>::create(name, 1 << 14).unwrap();
        map.insert(&1, &2).unwrap();
        Box::new(map)
    }),
];

/// Words that differ from one object to the next, by kind and bytes: owners of seats, a map's hash seeds, and what depends on them.
const VARIES: [(&str, Range<u64>); 9] = [
    ("queue", 448..456),
    ("pipe", 448..456),
    ("pipe", 34944..34952),
    ("ring", 256..264),
    ("map", 24..32),
    ("map", 56..64),
    ("map", 1728..1736),
    ("map", 2504..4680),
    ("map", 5664..5672),
];

fn is_fixed(kind: &str, at: u64) -> bool {
    VARIES.iter().all(|(of, bytes)| *of != kind || !bytes.contains(&at))
}

/// The object's line in the list of objects, and its words that are not zero: byte offset and hexadecimal value.
fn words_of(kind: &str, make: Make) -> String {
    let name = unique("golden");
    let _object = make(&name);
    let segment = Segment::open(&name).unwrap();
    let objects = segment.objects().unwrap();
    let [info] = &objects[..] else {
        panic!("one object, not {objects:?}")
    };
    assert_eq!(info.kind, kind);
    let file = role::file_of(Path::new("/dev/shm"), &name);
    let mut text = format!("{kind}: {}, {} bytes, {} elements", info.schema, info.bytes, info.len);
    for at in (0..info.bytes).step_by(8).filter(|at| is_fixed(kind, *at)) {
        match role::word_at(&file, info.offset + at) {
            0 => {}
            word => write!(text, "; {at} {word:x}").unwrap(),
        }
    }
    text
}

#[test]
fn a_new_object_of_each_kind_has_the_words_it_always_had() {
    let _watchdog = watchdog(60);
    for ((kind, make), expected) in OBJECTS.into_iter().zip(WORDS) {
        assert_eq!(words_of(kind, make), expected);
    }
}

const WORDS: [&str; OBJECTS.len()] = [
    "value: [u32;3], 56 bytes, 1 elements; 24 800000007; 32 9",
    "array: u16, 70 bytes, 3 elements; 64 500050005",
    "counter: i64, 40 bytes, 1 elements; 24 fffffffffffffffd",
    "atomic: u64, 8 bytes, 1 elements; 0 4d",
    "atomic array: i32, 12 bytes, 3 elements",
    "queue: u16, 49856 bytes, 3 elements; 0 1000; 8 400; 16 1; 128 100000004; 400 1; 424 200010004; 432 1; 456 \
     10000; 16832 7265633000000001; 16840 5",
    "pipe: u16, 68992 bytes, 3 elements; 0 1000; 8 40; 16 1; 128 100000004; 400 1; 424 200010004; 432 1; 456 \
     10000; 1472 7265633000000001; 1480 6; 34496 1000; 34504 40; 34512 1; 34896 1; 34920 200010002; 34936 1; \
     34952 100000000",
    "ring: u32, 1296 bytes, 4 elements; 0 1; 208 1; 232 200010004; 240 1; 264 10000; 1280 9",
    "map: u64 -> u64, rapidhash v3, 21056 bytes, 1 elements; 0 100000000; 8 8000000010; 16 200; 40 1; 1112 1; \
     1120 10000007c; 1152 10000; 1160 2000000; 1312 24800000000; 1472 138; 1480 100000000; 1488 8c; 1504 248; \
     1520 249; 1536 2c7; 1552 91; 1568 a5; 1584 2c7; 1592 8000000000; 1600 a5; 1608 248; 1616 91; 1624 \
     4000000; 1632 248; 1648 249; 1656 8000000001; 1664 2c3; 1680 91; 1696 a4; 1712 8c; 1720 100000080; 1744 \
     8b; 2496 100000001; 4680 7c00000001; 5656 7c00000000; 5672 400080002; 5680 1; 5688 2",
];
