//! `SharedMap`: what is refused, in words that say why, and that nothing has changed then.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/bomb.rs"]
mod bomb;
mod common;
#[path = "common/forked.rs"]
mod forked;

use bomb::Bomb;
use common::{unique, verify, watchdog};
use forked::Child;
use procshare::{Error, ErrorKind, MapError, Process, Segment, SharedMap};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Blobs = SharedMap<String, Vec<u8>>;

// Room.

/// An entry's bytes: two words, the key, the value.
fn bytes_of(key: &str, value: &[u8]) -> usize {
    16 + key.len().next_multiple_of(8) + value.len().next_multiple_of(8)
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let _watchdog = watchdog(60);
    for shards in [1, 4] {
        let map = Blobs::builder().capacity(4096).shards(shards).anonymous().unwrap();
        map.insert("old", &vec![1; 700]).unwrap();
        map.insert("other", &vec![2; 100]).unwrap();
        let (before, stats) = (map.to_map().unwrap(), map.stats());
        let value = vec![3; 5000];
        let full = |outcome: MapError| match outcome {
            MapError::Full { needed, free } => {
                assert_eq!(needed, bytes_of("old", &value));
                // As many are free for one key as its shard has, and those of no shard.
                assert!(
                    free <= stats.bytes_free && free + 1024 >= stats.bytes_free / 2,
                    "{free}"
                );
                assert!(shards > 1 || free == stats.bytes_free, "{free}");
            }
            other => panic!("{other}"),
        };
        full(map.insert("old", &value).unwrap_err());
        full(map.insert("new", &value).unwrap_err());
        full(map.get_or_insert_with("new", || value.clone()).unwrap_err());
        full(map.update("old", |_| Some(value.clone())).unwrap_err());
        full(map.update("new", |_| Some(value.clone())).unwrap_err());
        full(
            map.compare_exchange("old", Some(&before["old"]), Some(&value))
                .unwrap_err(),
        );
        full(map.compare_exchange("new", None, Some(&value)).unwrap_err());
        full(map.extend([("old".to_owned(), value.clone())]).unwrap_err());
        assert_eq!(
            (map.to_map().unwrap(), map.stats().bytes_used),
            (before, stats.bytes_used)
        );
        verify(&map);
    }
}

#[test]
fn a_map_that_is_full_says_how_much_is_free() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u64, u64>::builder()
        .capacity(4096)
        .shards(1)
        .anonymous()
        .unwrap();
    for number in 0..128 {
        assert_eq!(map.insert(&number, &number), Ok(None));
    }
    let full = MapError::Full { needed: 32, free: 0 };
    assert_eq!(map.insert(&128, &128), Err(full.clone()));
    assert_eq!(
        full.to_string(),
        "an entry of 32 bytes does not fit: 0 bytes are free for it"
    );
    // What takes no more room than before does fit.
    assert_eq!(map.insert(&1, &2), Ok(Some(1)));
    assert_eq!(map.update(&1, |number| number.map(|number| number + 1)), Ok(Some(3)));
    assert_eq!((map.remove(&5), map.insert(&128, &128)), (Ok(Some(5)), Ok(None)));
    assert_eq!((map.len(), map.stats().bytes_free), (128, 0));
    verify(&map);
}

#[test]
fn a_key_longer_than_a_region_is_refused() {
    let _watchdog = watchdog(60);
    let map = Blobs::with_capacity(4096).unwrap();
    let refused = map.insert(&"k".repeat(600), &vec![]).unwrap_err();
    let MapError::KeyTooLong { most } = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        refused.to_string(),
        format!("a key takes at most {most} bytes in this map")
    );
    let longest = "k".repeat(most);
    for value in [vec![], vec![7; 2000]] {
        map.insert(&longest, &value).unwrap();
        assert_eq!(map.get(&longest), Ok(Some(value)));
    }
    let long = longest + "k";
    let refused = |outcome: Result<(), MapError>| assert_eq!(outcome, Err(MapError::KeyTooLong { most }));
    refused(map.insert(&long, &vec![]).map(drop));
    refused(map.update(&long, |_| Some(vec![])).map(drop));
    refused(map.get_or_insert_with(&long, Vec::new).map(drop));
    refused(map.compare_exchange(&long, None, Some(&vec![])).map(drop));
    refused(map.extend([(long.clone(), vec![])]));
    // To look for it is no error.
    assert_eq!(
        (map.get(&long), map.remove(&long), map.contains_key(&long)),
        (Ok(None), Ok(None), Ok(false))
    );
    assert_eq!(map.len(), 1);
    verify(&map);
    let large = Blobs::builder().capacity(16 << 20).shards(1).anonymous().unwrap();
    large.insert(&"k".repeat(65_535), &vec![]).unwrap();
    let refused = large.insert(&"k".repeat(65_536), &vec![]);
    assert_eq!(refused, Err(MapError::KeyTooLong { most: 65_535 }));
}

// Doors.

#[test]
fn absurd_capacities_are_refused() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(1 << 16).unwrap();
    let builder = || SharedMap::<u8, u8>::builder().capacity(4096);
    let absurd = [
        builder().capacity(0),
        builder().capacity(511),
        builder().capacity(32 << 30),
        builder().capacity(usize::MAX),
        builder().shards(0),
        builder().shards(3),
        builder().shards(128),
        builder().shards(u32::MAX),
    ];
    for builder in absurd {
        let kinds = [
            builder.anonymous().unwrap_err().kind(),
            builder.create(unique("map-absurd")).unwrap_err().kind(),
            builder.open_or_create(unique("map-absurd")).unwrap_err().kind(),
            builder.place_in(&segment, "absurd").unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::InvalidCapacity; 4], "{builder:?}");
    }
    let words = builder().capacity(511).shards(2).anonymous().unwrap_err().to_string();
    assert!(
        words.contains("512 bytes") && words.contains("found 511 bytes in 2 shards"),
        "{words}"
    );
    for entries in [0, usize::MAX] {
        let map = builder().entries(entries).anonymous().unwrap();
        map.extend((0..50).map(|number| (number, number))).unwrap();
        assert_eq!(map.len(), 50);
    }
    assert_eq!(
        builder().capacity(512).shards(64).anonymous().unwrap().capacity(),
        64 * 512
    );
    assert_eq!(builder().capacity(512).anonymous().unwrap().capacity(), 512);
}

#[test]
fn another_type_or_capacity_is_refused_and_named() {
    let _watchdog = watchdog(60);
    let name = unique("map-types");
    let _map = SharedMap::<String, u32>::create(&name, 8192).unwrap();
    let error = SharedMap::<u64, u32>::open(&name).unwrap_err();
    assert_eq!(
        (error.kind(), error.segment()),
        (ErrorKind::TypeMismatch, Some(name.as_str()))
    );
    let words = error.to_string();
    assert!(
        words.contains("alloc::string::String -> u32") && words.contains("u64 -> u32"),
        "{words}"
    );
    let error = SharedMap::<String, u32>::open_or_create(&name, 4096).unwrap_err();
    assert_eq!(
        (error.kind(), error.segment()),
        (ErrorKind::LengthMismatch, Some(name.as_str()))
    );
    let words = error.to_string();
    assert!(words.contains("8192") && words.contains("4096"), "{words}");
    let segment = Segment::new(1 << 16).unwrap();
    segment.map::<u8, u8>("map", 4096).unwrap();
    assert_eq!(
        segment.map::<u8, u8>("map", 8192).unwrap_err().kind(),
        ErrorKind::LengthMismatch
    );
    assert_eq!(
        segment.open_map::<u8, u16>("map").unwrap_err().kind(),
        ErrorKind::TypeMismatch
    );
    assert_eq!(
        segment.open_map::<u8, u8>("other").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        segment.map::<u8, u8>("", 4096).unwrap_err().kind(),
        ErrorKind::InvalidName
    );
    assert_eq!(
        SharedMap::<u8, u8>::open(unique("map-absent")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    // As many shards, or what it does when full, is the map's own affair.
    let shards = |shards| SharedMap::<u8, u8>::builder().capacity(4096).shards(shards);
    assert_eq!(
        shards(4).place_in(&segment, "map").unwrap_err().kind(),
        ErrorKind::LengthMismatch
    );
}

#[test]
fn a_schema_stands_for_the_types() {
    let _watchdog = watchdog(60);
    let name = unique("map-schema");
    let map = SharedMap::<String, u8>::builder()
        .schema("ages", 1)
        .create(&name)
        .unwrap();
    map.insert("Ada", &36).unwrap();
    let error = SharedMap::<String, u8>::builder()
        .schema("ages", 2)
        .open(&name)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    let words = error.to_string();
    assert!(words.contains("ages v1") && words.contains("ages v2"), "{words}");
    assert_eq!(
        SharedMap::<String, u8>::open(&name).unwrap_err().kind(),
        ErrorKind::TypeMismatch
    );
    let same = SharedMap::<String, i8>::builder()
        .schema("ages", 1)
        .open(&name)
        .unwrap();
    assert_eq!(same.get("Ada"), Ok(Some(36)));
}

/// Byte offset of a segment's flags, and the one that says it is sealed.
const FLAGS: usize = 12;
const FROZEN: u8 = 2;

/// Makes a sealed file of a segment's bytes, and lets this process find it as passed under `key`.
fn pass_sealed(image: &[u8], key: &str) {
    // SAFETY: the name is a string with its end; the kernel makes a descriptor for us.
    let fd = unsafe { libc::memfd_create(c"sealed".as_ptr(), libc::MFD_ALLOW_SEALING) };
    // SAFETY: the descriptor was just made; nobody else owns it.
    let file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    file.write_all_at(image, 0).unwrap();
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: two numbers; the descriptor is open.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }, 0);
    let file = file.metadata().unwrap();
    let passed = format!("{fd}:{}:{}:", file.dev(), file.ino());
    // SAFETY: this process was forked, and has one thread.
    unsafe { std::env::set_var(format!("PROCSHARE_SEGMENT_{key}"), passed) };
}

#[test]
fn a_map_in_a_sealed_segment_is_refused() {
    let _frame = forked::frame();
    let path = format!("/dev/shm/{}", unique("map-sealed"));
    let segment = Segment::create_file(&path, 1 << 16).unwrap();
    segment.map::<u32, u32>("map", 4096).unwrap().insert(&1, &2).unwrap();
    let mut image = std::fs::read(&path).unwrap();
    segment.unlink().unwrap();
    image[FLAGS] = FROZEN;
    Child::fork(|| {
        pass_sealed(&image, "sealed");
        let sealed = Segment::inherited("sealed").unwrap();
        let error = sealed.open_map::<u32, u32>("map").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Seals);
        assert!(error.to_string().contains("found a map in a sealed segment"), "{error}");
        assert_eq!(
            sealed.map::<u32, u32>("map", 4096).unwrap_err().kind(),
            ErrorKind::Seals
        );
        assert_eq!(
            sealed.map::<u32, u32>("new", 4096).unwrap_err().kind(),
            ErrorKind::Seals
        );
    })
    .finish();
}

#[procshare::test]
fn a_handle_travels_to_children_only() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u32, u32>::with_capacity(4096).unwrap();
    let error = serde_json::to_string(&map).unwrap_err();
    assert!(error.to_string().contains("Process::spawn"), "{error}");
    let error = serde_json::from_str::<SharedMap<u32, u32>>("[0,\"\"]").unwrap_err();
    assert!(error.to_string().contains("Process::spawn"), "{error}");
    let back = Process::spawn(|map: SharedMap<u32, u32>| map, (map.clone(),)).unwrap();
    assert_eq!(Error::from(back.join().unwrap_err()).kind(), ErrorKind::NotTransferable);
    // Nor in another map.
    let maps = SharedMap::<u32, SharedMap<u32, u32>>::with_capacity(4096).unwrap();
    let error = maps.insert(&1, &map).unwrap_err();
    assert!(matches!(error, MapError::NotEncodable(_)), "{error:?}");
    assert!(error.to_string().contains("Process::spawn"), "{error}");
    assert_eq!(maps.len(), 0);
}

// Encodings.

/// Cannot be encoded if it holds true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
struct Moody(bool);

impl Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("not today"));
        }
        serializer.serialize_bool(false)
    }
}

#[test]
fn what_cannot_be_encoded_is_not_stored() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<Moody, Moody>::with_capacity(4096).unwrap();
    let (good, bad) = (Moody(false), Moody(true));
    assert_eq!(map.insert(&good, &good), Ok(None));
    let refused = map.insert(&good, &bad).unwrap_err();
    assert!(matches!(refused, MapError::NotEncodable(_)), "{refused:?}");
    let words = refused.to_string();
    assert!(words.starts_with("the key or value cannot be encoded: "), "{words}");
    assert_eq!(map.insert(&good, &bad), Err(refused.clone()));
    assert_eq!(map.insert(&bad, &good), Err(refused.clone()));
    assert_eq!(
        (map.get(&bad), map.remove(&bad), map.contains_key(&bad)),
        (Err(refused.clone()), Err(refused.clone()), Err(refused.clone()))
    );
    assert_eq!(map.update(&good, |_| Some(bad)), Err(refused.clone()));
    assert_eq!(
        map.update(&bad, |_| unreachable!("it is refused before")),
        Err(refused.clone())
    );
    assert_eq!(
        map.compare_exchange(&good, Some(&good), Some(&bad)),
        Err(refused.clone())
    );
    assert_eq!(map.compare_exchange(&good, Some(&bad), None), Err(refused.clone()));
    assert_eq!(map.get_or_insert_with(&bad, || good), Err(refused.clone()));
    assert_eq!(
        map.extend([(good, good), (good, bad), (bad, good)]),
        Err(refused.clone())
    );
    assert_eq!(map.to_map(), Ok(HashMap::from([(good, good)])));
    assert_eq!(
        (map.remove(&good), map.get_or_insert_with(&good, || bad)),
        (Ok(Some(good)), Err(refused.clone()))
    );
    assert!(map.is_empty());
    verify(&map);
}

/// A map of numbers, and a way to put texts into it.
fn confused() -> (SharedMap<u32, u32>, SharedMap<u32, String>) {
    let name = unique("map-confused");
    let numbers = SharedMap::builder()
        .capacity(1 << 18)
        .schema("x", 1)
        .create(&name)
        .unwrap();
    let texts = SharedMap::builder().schema("x", 1).open(&name).unwrap();
    (numbers, texts)
}

#[test]
fn a_value_of_another_type_is_its_own_error() {
    let _watchdog = watchdog(60);
    let (numbers, texts) = confused();
    let store = || {
        numbers.extend([(1, 10), (3, 30)]).unwrap();
        texts.insert(&2, &"not a whole number".to_owned()).unwrap();
    };
    store();
    assert_eq!((numbers.get(&1), numbers.get(&3)), (Ok(Some(10)), Ok(Some(30))));
    let refused = numbers.get(&2).unwrap_err();
    assert!(matches!(refused, MapError::NotDecodable(_)), "{refused:?}");
    assert!(
        refused
            .to_string()
            .ends_with("the bytes are not a valid value of the type (in `u32`)"),
        "{refused}"
    );
    assert_eq!(numbers.contains_key(&2), Ok(true));
    let mut entries: Vec<_> = numbers.iter().collect();
    entries.sort_by_key(|entry| entry.clone().unwrap_or_default());
    assert_eq!(entries, [Err(refused.clone()), Ok((1, 10)), Ok((3, 30))]);
    let mut values: Vec<_> = numbers.values().map(Result::unwrap_or_default).collect();
    values.sort_unstable();
    assert_eq!(
        (values, numbers.keys().filter(Result::is_ok).count()),
        (vec![0, 10, 30], 3)
    );
    assert_eq!(numbers.to_map(), Err(refused.clone()));
    assert!(format!("{numbers:?}").contains("1: 10") && format!("{numbers:?}").contains("NotDecodable"));
    assert_eq!(
        numbers.update(&2, |_| unreachable!("there is no value to show")),
        Err(refused.clone())
    );
    assert_eq!(numbers.compare_exchange(&2, Some(&1), None), Err(refused.clone()));
    assert_eq!(
        numbers.get_or_insert_with(&2, || unreachable!("there is one")),
        Err(refused.clone())
    );
    assert_eq!(
        texts.get(&2),
        Ok(Some("not a whole number".to_owned())),
        "nothing has changed"
    );
    // The new value is in place; the old one is gone.
    assert_eq!(
        (numbers.insert(&2, &20), numbers.get(&2)),
        (Err(refused.clone()), Ok(Some(20)))
    );
    store();
    assert_eq!((numbers.remove(&2), numbers.get(&2)), (Err(refused.clone()), Ok(None)));
    store();
    assert_eq!(numbers.retain(|_, _| true), Err(refused.clone()));
    numbers.clear().unwrap();
    assert!(texts.is_empty());
    verify(&numbers);
}

#[test]
fn a_key_of_another_type_is_not_found() {
    let _watchdog = watchdog(60);
    let name = unique("map-keys");
    let numbers = SharedMap::<u32, u8>::builder().schema("x", 1).create(&name).unwrap();
    let texts = SharedMap::<String, u8>::builder().schema("x", 1).open(&name).unwrap();
    numbers.insert(&u32::MAX, &1).unwrap();
    texts.insert("text", &2).unwrap();
    assert_eq!(
        texts
            .keys()
            .filter(|key| matches!(key, Err(MapError::NotDecodable(_))))
            .count(),
        1
    );
    assert_eq!(
        texts
            .iter()
            .filter(|entry| *entry == Ok(("text".to_owned(), 2)))
            .count(),
        1
    );
    // Four letters are a number too.
    assert_eq!(numbers.get(&u32::from_ne_bytes(*b"text")), Ok(Some(2)));
}

fn panics<R>(call: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

#[test]
fn a_panic_in_a_values_code_leaves_the_map_whole() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u8, Bomb>::builder()
        .capacity(4096)
        .shards(1)
        .anonymous()
        .unwrap();
    map.extend([(0, Bomb(0)), (2, Bomb(2)), (3, Bomb(3))]).unwrap();
    assert!(panics(|| map.insert(&0, &Bomb(1))));
    assert!(panics(|| map.update(&0, |_| Some(Bomb(1)))));
    assert!(panics(|| map.update(&2, |_| unreachable!("there is no value to show"))));
    assert!(panics(|| map.get(&2)));
    assert!(panics(|| map.to_map().is_ok_and(|map| map.is_empty())));
    let now = map.without_waiting();
    assert_eq!(
        (now.get(&0), now.insert(&3, &Bomb(4)), now.len()),
        (Ok(Some(Bomb(0))), Ok(Some(Bomb(3))), 3)
    );
    verify(&map);
}

#[test]
fn errors_become_the_crates_own() {
    let _watchdog = watchdog(60);
    let kinds = [
        (MapError::Full { needed: 1, free: 0 }, ErrorKind::Full),
        (MapError::KeyTooLong { most: 1 }, ErrorKind::TooLarge),
        (MapError::WouldBlock, ErrorKind::WouldBlock),
        (MapError::TimedOut, ErrorKind::TimedOut),
        (MapError::WouldDeadlock, ErrorKind::WouldDeadlock),
        (MapError::ForeignNamespace, ErrorKind::ForeignNamespace),
        (MapError::Corrupt, ErrorKind::Corrupt),
    ];
    for (error, kind) in kinds {
        let (words, error) = (error.to_string(), Error::from(error));
        assert!(error.to_string().contains(&words), "{error}: {words}");
        assert_eq!(error.kind(), kind);
    }
}
