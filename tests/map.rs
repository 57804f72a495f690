//! `SharedMap`: keys of every kind, values of every size, and the doors to it.
//!
//! `map_errors.rs` has what is refused, `map_cache.rs` what makes room, `map_update.rs` what is done inside an
//! update, `map_peers.rs` the processes.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{child, unique, verify, watchdog};
use procshare::__private::map_with_hasher;
use procshare::{ErrorKind, MapBuilder, MapEntries, MapError, Segment, SharedMap};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Debug;
use std::thread;

/// Bytes of which each differs from its neighbours.
fn bytes(fill: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| fill.wrapping_add(at as u8)).collect()
}

// Keys.

#[test]
fn another_hash_is_refused_and_named() {
    let _watchdog = watchdog(60);
    let name = unique("map-hash");
    let constant = || map_with_hasher(SharedMap::<u32, u32>::builder(), "constant", |_, _| 7);
    let map = constant().create(&name).unwrap();
    map.insert(&1, &10).unwrap();
    let error = SharedMap::<u32, u32>::open(&name).unwrap_err();
    assert_eq!(
        (error.kind(), error.segment()),
        (ErrorKind::TypeMismatch, Some(name.as_str()))
    );
    let words = error.to_string();
    assert!(
        words.contains("u32 -> u32, constant") && words.contains("u32 -> u32, rapidhash"),
        "{words}"
    );
    assert_eq!(constant().open(&name).unwrap().get(&1), Ok(Some(10)));
    let usual = unique("map-hash");
    let _map = SharedMap::<u32, u32>::create(&usual, 4096).unwrap();
    assert_eq!(constant().open(&usual).unwrap_err().kind(), ErrorKind::TypeMismatch);
}

#[test]
fn keys_are_found_by_what_can_be_borrowed_from_them() {
    let _watchdog = watchdog(60);
    let strings = SharedMap::<String, u8>::with_capacity(4096).unwrap();
    strings.insert("one", &1).unwrap();
    assert_eq!(strings.get(&"one".to_owned()), Ok(Some(1)));
    assert_eq!(strings.insert(&"one".to_owned(), &2), Ok(Some(1)));
    assert_eq!(
        strings.update("one", |number| number.map(|number| number + 1)),
        Ok(Some(3))
    );
    assert_eq!(strings.compare_exchange("one", Some(&3), Some(&4)), Ok(Ok(())));
    assert_eq!(strings.get_or_insert_with("one", || 9), Ok(4));
    assert_eq!(strings.contains_key("one"), Ok(true));
    assert_eq!((strings.remove("one"), strings.len()), (Ok(Some(4)), 0));
    let blobs = SharedMap::<Vec<u8>, u8>::with_capacity(4096).unwrap();
    blobs.insert(&[1, 2, 3][..], &1).unwrap();
    assert_eq!(
        (blobs.get(&vec![1, 2, 3]), blobs.get(&[1, 2][..])),
        (Ok(Some(1)), Ok(None))
    );
    assert_eq!(blobs.remove(&[1, 2, 3][..]), Ok(Some(1)));
    let boxed = SharedMap::<Box<str>, u8>::with_capacity(4096).unwrap();
    boxed.insert("one", &1).unwrap();
    assert_eq!(boxed.get(&Box::<str>::from("one")), Ok(Some(1)));
    assert_eq!(boxed.to_map().unwrap(), HashMap::from([("one".into(), 1)]));
}

#[test]
fn keys_that_begin_alike_differ() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<Vec<u8>, u32>::with_capacity(1 << 16).unwrap();
    // Zeros at the end: the last word of a key is filled up with zeros.
    let keys: Vec<Vec<u8>> = (0..40).flat_map(|len| [vec![0; len], vec![255; len]]).skip(1).collect();
    for (number, key) in (0..).zip(&keys) {
        assert_eq!(map.insert(key, &number), Ok(None), "{key:?}");
    }
    for (number, key) in (0..).zip(&keys) {
        assert_eq!(map.get(key), Ok(Some(number)), "{key:?}");
    }
    verify(&map);
}

// Values.

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle { radius: f64 },
    Group(Vec<Shape>, Option<String>),
    Named(HashMap<String, Box<Shape>>),
}

#[test]
fn values_may_be_anything_that_can_be_encoded() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<String, Shape>::with_capacity(1 << 16).unwrap();
    let group = Shape::Group(
        vec![Shape::Nothing, Shape::Circle { radius: 0.5 }],
        Some("two".to_owned()),
    );
    let named = Shape::Named(HashMap::from([("a group".to_owned(), Box::new(group.clone()))]));
    for (name, shape) in [("nothing", &Shape::Nothing), ("group", &group), ("named", &named)] {
        assert_eq!(map.insert(name, shape), Ok(None));
        assert_eq!(map.get(name).unwrap().as_ref(), Some(shape));
    }
    assert_eq!(map.insert("group", &named).unwrap(), Some(group));
    let units = SharedMap::<(), ()>::with_capacity(512).unwrap();
    assert_eq!((units.get(&()), units.insert(&(), &())), (Ok(None), Ok(None)));
    assert_eq!((units.get(&()), units.len()), (Ok(Some(())), 1));
}

#[test]
fn contents_are_printed() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<String, Vec<u8>>::with_capacity(4096).unwrap();
    assert_eq!(format!("{map:?}"), "{}");
    map.insert("one", &vec![1]).unwrap();
    assert_eq!(format!("{map:?}"), "{\"one\": [1]}");
    map.insert("two", &vec![2]).unwrap();
    let both = format!("{map:?}");
    assert!(both.contains("\"one\": [1]") && both.contains("\"two\": [2]"), "{both}");
    assert!(format!("{:?}", map.iter()).starts_with("MapEntries"));
}

#[test]
fn a_value_of_nearly_the_whole_capacity_comes_back() {
    let _watchdog = watchdog(60);
    for capacity in [512, 4096, 1 << 16, 1 << 20, 5 << 20] {
        let map = SharedMap::<u8, Vec<u8>>::with_capacity(capacity).unwrap();
        for percent in [0, 1, 50, 94] {
            let value = bytes(percent, capacity * usize::from(percent) / 100);
            assert_eq!(map.insert(&1, &value), Ok(None), "{percent} % of {capacity} bytes");
            assert!(map.get(&1).unwrap().unwrap() == value);
            assert!(map.stats().bytes_used > value.len());
            verify(&map);
            assert!(map.remove(&1).unwrap().unwrap() == value);
            assert_eq!(map.stats().bytes_free, capacity);
        }
        let larger = map.insert(&1, &vec![0; capacity]);
        assert!(matches!(larger, Err(MapError::Full { needed, free }) if needed > capacity && free == capacity));
        assert_eq!((map.len(), map.stats().bytes_free), (0, capacity));
    }
}

#[test]
fn a_value_goes_into_the_gaps_that_others_leave() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u32, Vec<u8>>::builder()
        .capacity(1 << 20)
        .shards(1)
        .anonymous()
        .unwrap();
    let small = |key: u32| bytes(key as u8, 400);
    let stored = (0..).take_while(|key| map.insert(key, &small(*key)).is_ok()).count() as u32;
    assert!(stored > 2300, "{stored}");
    (0..stored).step_by(2).for_each(|key| drop(map.remove(&key).unwrap()));
    let free = map.stats().bytes_free;
    assert!(free > 500_000, "{free}");
    let large = bytes(7, free * 9 / 10);
    assert_eq!(map.insert(&stored, &large), Ok(None));
    assert!(map.get(&stored).unwrap().unwrap() == large);
    (1..stored)
        .step_by(2)
        .for_each(|key| assert_eq!(map.get(&key), Ok(Some(small(key)))));
    verify(&map);
    assert_eq!(map.iter().count(), 1 + stored as usize / 2);
    map.clear().unwrap();
    assert_eq!(map.stats().bytes_free, 1 << 20);
    verify(&map);
}

// Doors.

#[test]
fn all_doors_lead_to_the_same_map() {
    let _watchdog = watchdog(60);
    let name = unique("map-doors");
    let kind = |map: procshare::Result<SharedMap<String, u32>>| map.unwrap_err().kind();
    assert_eq!(kind(SharedMap::open(&name)), ErrorKind::NotFound);
    let created = SharedMap::<String, u32>::create(&name, 8192).unwrap();
    assert_eq!(kind(SharedMap::create(&name, 8192)), ErrorKind::AlreadyExists);
    let opened = SharedMap::<String, u32>::open(&name).unwrap();
    let either = SharedMap::<String, u32>::open_or_create(&name, 8192).unwrap();
    created.insert("one", &1).unwrap();
    opened.insert("two", &2).unwrap();
    assert_eq!(
        (either.get("one"), created.clone().get("two")),
        (Ok(Some(1)), Ok(Some(2)))
    );
    drop((created, either));
    let again = SharedMap::<String, u32>::builder()
        .capacity(1 << 20)
        .open(&name)
        .unwrap();
    drop(opened);
    assert_eq!(
        (again.capacity(), again.len(), again.remove("one")),
        (8192, 2, Ok(Some(1)))
    );
}

#[test]
fn a_map_outlives_its_handles_in_a_segment_that_stays() {
    let _watchdog = watchdog(60);
    let name = unique("map-persistent");
    let segment = Segment::builder()
        .capacity(1 << 20)
        .persistent(true)
        .create(&name)
        .unwrap();
    let map = segment.map::<String, Vec<u8>>("map", 1 << 16).unwrap();
    map.extend((0..50).map(|number| (format!("{number}"), bytes(number, 500))))
        .unwrap();
    drop((map, segment));
    let segment = Segment::open(&name).unwrap();
    let map = segment.open_map::<String, Vec<u8>>("map").unwrap();
    assert_eq!(map.len(), 50);
    (0..50).for_each(|number| assert_eq!(map.get(&format!("{number}")), Ok(Some(bytes(number, 500)))));
    verify(&map);
    segment.unlink().unwrap();
}

#[test]
fn a_segment_holds_maps_among_others() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(1 << 20).unwrap();
    let value = segment.value("value", 1u32).unwrap();
    let ages = segment.map::<String, u32>("ages", 1 << 16).unwrap();
    let names = segment.map::<u32, String>("names", 4096).unwrap();
    let jobs = segment.queue::<u32>("jobs", 8).unwrap();
    for number in 0..100 {
        ages.insert(&format!("{number}"), &number).unwrap();
    }
    names.insert(&1, &"one".to_owned()).unwrap();
    jobs.put(7).unwrap();
    assert_eq!(segment.map::<String, u32>("ages", 1 << 16).unwrap().len(), 100);
    assert_eq!(
        segment.open_map::<u32, String>("names").unwrap().get(&1),
        Ok(Some("one".to_owned()))
    );
    assert_eq!((value.get(), jobs.get()), (1, Ok(7)));
    let open = |name| segment.open_map::<u32, u32>(name).unwrap_err().kind();
    assert_eq!(open("absent"), ErrorKind::NotFound);
    assert_eq!(
        [open("names"), open("value"), open("jobs")],
        [ErrorKind::TypeMismatch; 3]
    );
    assert_eq!(
        segment.open_value::<u32>("names").unwrap_err().kind(),
        ErrorKind::TypeMismatch
    );
    let kinds: Vec<_> = segment.objects().unwrap().iter().map(|object| object.kind).collect();
    assert_eq!(kinds, ["value", "map", "map", "queue"]);
    assert_eq!(
        segment.map::<u8, u8>("large", 1 << 20).unwrap_err().kind(),
        ErrorKind::Full
    );
}

// Processes and threads.

#[procshare::test]
fn handles_are_passed_to_children() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<String, Vec<u32>>::with_capacity(1 << 16).unwrap();
    map.insert("there", &vec![1, 2]).unwrap();
    let reverse = |map: SharedMap<String, Vec<u32>>, all: Vec<SharedMap<String, Vec<u32>>>| {
        map.update("there", |numbers| {
            numbers.map(|numbers| numbers.into_iter().rev().collect())
        })
        .unwrap();
        all[0].insert("back", &vec![3]).unwrap();
    };
    child(reverse, (map.clone(), vec![map.clone()])).join().unwrap();
    assert_eq!(
        (map.get("there"), map.get("back")),
        (Ok(Some(vec![2, 1])), Ok(Some(vec![3])))
    );
    // In a segment with others, and limits of time stay at home.
    let segment = Segment::new(1 << 16).unwrap();
    let (first, second) = (
        segment.map::<u8, u8>("a", 4096).unwrap(),
        segment.map::<u8, u8>("b", 4096).unwrap(),
    );
    let copy = |from: SharedMap<u8, u8>, to: SharedMap<u8, u8>| to.extend(from.to_map().unwrap()).unwrap();
    first.insert(&1, &2).unwrap();
    child(copy, (first.without_waiting(), second.clone())).join().unwrap();
    assert_eq!(second.get(&1), Ok(Some(2)));
}

#[test]
fn threads_share_handles() {
    let _watchdog = watchdog(60);
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<SharedMap<String, Vec<u8>>>();
    is_shared::<MapBuilder<std::rc::Rc<u8>, std::cell::Cell<u8>>>();
    is_shared::<SharedMap<std::rc::Rc<u8>, std::cell::Cell<u8>>>();
    is_shared::<MapEntries<'static, String, u8>>();
    is_shared::<MapError>();
    let map = SharedMap::<u32, u64>::with_capacity(1 << 16).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let work = || {
                let own = map.clone();
                for number in 0..1000 {
                    let target = if number % 2 == 0 { &map } else { &own };
                    target
                        .update(&(number % 50), |count| Some(count.unwrap_or(0) + 1))
                        .unwrap();
                }
            };
            scope.spawn(work);
        }
    });
    assert!(map.values().map(Result::unwrap).all(|count| count == 80));
    assert_eq!(map.len(), 50);
}
