//! Attacks on maps: words that contradict each other, restarts of the machine, readers beside writers, values that fit hardly.

#![cfg(all(feature = "crash-points", feature = "map"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/role.rs"]
mod role;

use effort::thorough;
use forked::{Child, End, Frame};
use procshare::__private::{map_with_clock, map_with_hasher, verify_map};
use procshare::{MapBuilder, MapError, Segment, SharedAtomicArray, SharedMap};
use role::{Folder, file_of, word_at, write_at};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

type Map = SharedMap<Vec<u8>, Vec<u8>>;
type Builder = MapBuilder<Vec<u8>, Vec<u8>>;

/// No call takes as long, whatever it finds.
const SOON: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(1);
const CAPACITY: u64 = 8192;
/// Words of a region of so small a map.
const REGION: u64 = 64;

// Where things stand in a map, in words, and in its shards.
const EPOCH: u64 = 4;
const SHARDS_AT: u64 = 136;
const SHARD_WORDS: u64 = 176;
const LOCK: u64 = 0;
const LEN: u64 = 3;
const ROOM: u64 = 4;
const AGES: u64 = 5;
const SOONEST: u64 = 6;
const JOURNAL: u64 = 8;
const CLASSES: u64 = 9;
const GARBAGE: u64 = 10;
const HEADS: std::ops::Range<u64> = 16..48;
const NOTES: u64 = 48;
const OWNERS: std::ops::Range<u64> = SHARDS_AT + 2 * SHARD_WORDS..SHARDS_AT + 2 * SHARD_WORDS + 16;

fn frame() -> Frame {
    forked::frame_for(Duration::from_secs(100))
}

// Words that contradict each other.

/// All keys of a shard are in one chain; the first byte tells the shard.
fn hash(bytes: &[u8], _seed: u64) -> u64 {
    u64::from(bytes.first().map_or(0, |first| first & 1)) << 32
}

fn usual(builder: Builder) -> Builder {
    builder
}

/// A map in a file, whose words can be changed by anybody.
struct Forge {
    map: Map,
    file: File,
    /// Where the map begins in the file, in bytes.
    at: u64,
    words: u64,
    before: Vec<u8>,
    _segment: Segment,
    _folder: Folder,
}

/// Stands in a block of the first shard, and in no other word.
const NEEDLE: &[u8] = b"0 needle";
const IN_PARTS: &[u8] = b"0 parts!";
const ABSENT: &[u8] = b"0 absent";

impl Forge {
    fn new(kind: fn(Builder) -> Builder) -> Self {
        let folder = Folder::new();
        let segment = folder.builder().capacity(64 << 10).create("shared").unwrap();
        let builder = map_with_hasher(kind(SharedMap::builder()), "by the first byte", hash);
        let map = builder
            .capacity(CAPACITY as usize)
            .shards(2)
            .place_in(&segment, "map")
            .unwrap();
        let map = map_with_clock(map, Arc::new(|| 1000));
        fill(&map);
        let object = segment.objects().unwrap().remove(0);
        let path = file_of(&folder.0, "shared");
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut before = vec![0; object.bytes as usize];
        file.read_exact_at(&mut before, object.offset).unwrap();
        let forge = Forge {
            map: map.with_timeout(SHORT),
            file,
            at: object.offset,
            words: object.bytes / 8,
            before,
            _segment: segment,
            _folder: folder,
        };
        forge.check_places();
        forge
    }

    /// Things still stand where this file believes them to.
    fn check_places(&self) {
        let own = |word| self.word(SHARDS_AT + word);
        let lens = own(LEN) + self.word(SHARDS_AT + SHARD_WORDS + LEN);
        assert_eq!(lens, self.map.iter().count() as u64);
        assert!(
            own(JOURNAL) >> 16 > 20 && own(JOURNAL) as u16 == 0,
            "many changes were made"
        );
        assert_eq!((own(LOCK), own(GARBAGE)), (0, 0));
        assert!(own(ROOM) >> 32 > 1 && own(CLASSES) != 0);
        assert!(
            OWNERS
                .map(|owner| self.word(owner))
                .all(|owner| matches!(owner >> 32, 0..=2))
        );
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, self.at + 8 * at).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, at: u64, word: u64) {
        self.file.write_all_at(&word.to_ne_bytes(), self.at + 8 * at).unwrap();
    }

    fn put_high(&self, at: u64, half: u64) {
        self.put(at, half << 32 | self.word(at) & u64::from(u32::MAX));
    }

    /// A word of the first shard.
    fn put_own(&self, word: u64, value: u64) {
        self.put(SHARDS_AT + word, value);
    }

    fn restore(&self) {
        self.file.write_all_at(&self.before, self.at).unwrap();
    }

    /// The block of an entry that neither expires nor has an age; its key is a word that stands nowhere else.
    fn block_of(&self, key: &[u8]) -> u64 {
        let word = u64::from_ne_bytes(key.try_into().unwrap());
        let regions_at = self.words - CAPACITY / 8;
        let at = (regions_at..self.words).find(|at| self.word(*at) == word).unwrap();
        let (has_age, in_parts) = (self.word(SHARDS_AT + AGES) != 0, key == IN_PARTS);
        at - 2 - u64::from(has_age) - u64::from(in_parts)
    }

    fn first_rest(&self) -> u64 {
        self.word(self.block_of(IN_PARTS) + 2)
    }
}

fn fill(map: &Map) {
    let put = |key: &[u8], length: usize| drop(map.insert(key, &vec![9; length]).unwrap());
    for shard in ["0", "1"] {
        for number in 0..20 {
            put(format!("{shard} key {number}").as_bytes(), number * 37 % 150);
            map.remove(format!("{shard} key {}", number / 2).as_bytes()).unwrap();
        }
    }
    put(NEEDLE, 100);
    put(IN_PARTS, 1500);
    map.insert_with_ttl(b"0 short".as_slice(), &vec![9; 30], Duration::from_millis(1))
        .unwrap();
}

/// Uses a map in every way there is, and tells whether anything was found out.
fn use_all(map: &Map) -> bool {
    let mut corrupt = false;
    let mut told = |error: Option<MapError>| corrupt |= error == Some(MapError::Corrupt);
    let _ = (map.len(), map.stats());
    for key in [
        NEEDLE,
        IN_PARTS,
        ABSENT,
        b"0 key 3",
        b"0 key 15",
        b"0 short",
        b"1 key 15",
    ] {
        told(map.get(key).err());
        told(map.contains_key(key).err());
    }
    told(map.iter().find_map(Result::err));
    for (key, length) in [
        (NEEDLE, 100),
        (NEEDLE, 30),
        (ABSENT, 200),
        (b"0 key 15", 70),
        (IN_PARTS, 1400),
    ] {
        told(map.insert(key, &vec![3; length]).err());
    }
    told(
        map.update(NEEDLE, |found| found.map(|found| [found, vec![1; 9]].concat()))
            .err(),
    );
    told(map.compare_exchange(ABSENT, Some(&vec![3; 200]), None).err());
    told(map.get_or_insert_with(b"0 more".as_slice(), || vec![5; 70]).err());
    told(map.remove(b"0 key 13".as_slice()).err());
    told(map.remove(IN_PARTS).err());
    told(map.retain(|key, _| key.len() > 7).err());
    told(map.clear().err());
    told(map.insert(NEEDLE, &vec![3; 700]).err());
    corrupt
}

/// Has a child do something that ends soon and panics nowhere, and that takes no memory to speak of.
fn ends(what: &str, step: impl FnOnce()) {
    let mut child = Child::fork(|| {
        limit_memory();
        step();
    });
    let began = Instant::now();
    while !child.is_zombie() && began.elapsed() < SOON {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(child.is_zombie(), "{what}: it does not end");
    assert_eq!(child.end(), End::Exited(0), "{what}");
}

/// What a call asks for beyond that is refused, and then the process ends.
fn limit_memory() {
    let limit = 2 << 30;
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: the structure is readable.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

/// What was forged is found out, and said to whoever comes; whoever wants the other shard gets what it wants.
fn is_found_out(what: &str, kind: fn(Builder) -> Builder, forge: impl Fn(&Forge)) {
    let forged = Forge::new(kind);
    forge(&forged);
    let map = &forged.map;
    ends(what, || {
        assert!(use_all(map), "{what}: nobody said so");
        assert_eq!(map.insert(b"1 more".as_slice(), &vec![1; 50]), Ok(None));
        assert_eq!(map.get(b"1 more".as_slice()), Ok(Some(vec![1; 50])));
    });
}

/// What was forged is not always found out, but does no harm beyond the shard.
fn does_no_harm(what: &str, kind: fn(Builder) -> Builder, forge: impl Fn(&Forge)) {
    let forged = Forge::new(kind);
    forge(&forged);
    ends(what, || {
        use_all(&forged.map);
        use_all(&forged.map);
    });
}

#[test]
fn chains_that_lead_back_or_outside_are_found_out() {
    let _frame = frame();
    is_found_out("a chain that leads back", usual, |forge| {
        let block = forge.block_of(NEEDLE);
        forge.put_high(block, block);
    });
    for target in [3, u64::from(u32::MAX), u64::from(u32::MAX) - 1] {
        is_found_out("a chain that leads outside", usual, |forge| {
            forge.put_high(forge.block_of(NEEDLE), target);
        });
    }
    is_found_out("a chain that leads to the last word", usual, |forge| {
        forge.put_high(forge.block_of(NEEDLE), forge.words - 1);
    });
}

/// What bounds a chain is itself a word of the map.
#[test]
fn a_chain_that_leads_back_beside_a_forged_count_is_found_out() {
    let _frame = frame();
    is_found_out("a chain that leads back", usual, |forge| {
        let block = forge.block_of(NEEDLE);
        forge.put_high(block, block);
        forge.put_own(LEN, u64::MAX);
    });
}

#[test]
fn rests_and_garbage_that_lead_back_are_found_out() {
    let _frame = frame();
    is_found_out("rests that lead back", usual, |forge| {
        let rest = forge.first_rest();
        forge.put(rest, rest);
    });
    is_found_out("rests that lead outside", usual, |forge| {
        forge.put(forge.first_rest(), u64::from(u32::MAX));
    });
    is_found_out("garbage that leads back", usual, |forge| {
        let rest = forge.first_rest();
        forge.put(rest, rest);
        forge.put_own(GARBAGE, rest);
    });
    is_found_out("garbage outside", usual, |forge| {
        forge.put_own(GARBAGE, u64::from(u32::MAX))
    });
    is_found_out("garbage that is in use", usual, |forge| {
        forge.put_own(GARBAGE, forge.block_of(NEEDLE))
    });
}

#[test]
fn forged_sizes_are_found_out() {
    let _frame = frame();
    for size in [0, 1, 2, 3, REGION + 1, 1 << 31, u64::from(u32::MAX)] {
        is_found_out(&format!("an entry of {size} words"), usual, |forge| {
            forge.put_high(forge.block_of(NEEDLE) + 1, size);
        });
        is_found_out(&format!("a rest of {size} words"), usual, |forge| {
            forge.put_high(forge.first_rest() + 1, size);
        });
    }
    is_found_out("a key longer than its block", usual, |forge| {
        let tag = forge.block_of(NEEDLE) + 1;
        forge.put(tag, forge.word(tag) | 0xffff_0000);
    });
    does_no_harm("a block at the start of a region, after a free one", usual, |forge| {
        let regions_at = forge.words - CAPACITY / 8;
        for region in (regions_at..forge.words).step_by(REGION as usize) {
            forge.put(region + 1, forge.word(region + 1) | 2);
        }
    });
}

/// All regions are the second shard's, with an entry in four left: the first wants one.
fn scattered(forge: &Forge) {
    forge.map.clear().unwrap();
    for number in 0..100 {
        let _ = forge.map.insert(format!("1 fill {number}").as_bytes(), &vec![1; 90]);
    }
    for number in (0..100).filter(|number| number % 4 != 0) {
        forge.map.remove(format!("1 fill {number}").as_bytes()).unwrap();
    }
}

/// Such regions are given back; whoever looks for some to empty must not take one for success.
#[test]
fn a_region_that_is_all_free_does_no_harm() {
    let _frame = frame();
    let evicting: fn(Builder) -> Builder = |builder| builder.evict_lru();
    for kind in [usual, evicting] {
        does_no_harm("a free region that has an owner", kind, |forge| {
            scattered(forge);
            let first = forge.words - REGION;
            forge.put(first, 0);
            forge.put(first + 1, REGION << 32 | 1);
            forge.put(first + REGION - 1, REGION << 32);
        });
    }
}

/// Entries can be moved out of such a region, which is then all free and nobody notices.
#[test]
fn free_blocks_that_do_not_join_do_no_harm() {
    let _frame = frame();
    let evicting: fn(Builder) -> Builder = |builder| builder.evict_lru();
    for kind in [usual, evicting] {
        for every in 1..6 {
            does_no_harm("what stands behind a free block does not say so", kind, |forge| {
                scattered(forge);
                let mut at = forge.words - CAPACITY / 8;
                while at < forge.words {
                    let tag = forge.word(at + 1);
                    if tag & 1 == 0 && at / REGION % every == 0 {
                        forge.put(at + 1, tag & !2);
                    }
                    at += (tag >> 32).clamp(2, REGION);
                }
            });
        }
    }
}

#[test]
fn forged_lists_of_free_blocks_are_found_out() {
    let _frame = frame();
    for half in [0, 1, 3, u64::from(u32::MAX), u64::from(u32::MAX) - 1, 1 << 31] {
        is_found_out(&format!("all lists begin at {half}"), usual, |forge| {
            HEADS.for_each(|head| forge.put_own(head, half << 32 | half));
            forge.put_own(CLASSES, u64::MAX);
        });
    }
    is_found_out("all lists begin at an entry", usual, |forge| {
        let block = forge.block_of(NEEDLE);
        HEADS.for_each(|head| forge.put_own(head, block << 32 | block));
        forge.put_own(CLASSES, u64::MAX);
    });
}

#[test]
fn forged_journals_are_found_out() {
    let _frame = frame();
    for count in [65, 100, 65535] {
        is_found_out(&format!("{count} notes"), usual, |forge| {
            forge.put_own(JOURNAL, 1 << 16 | count)
        });
    }
    for target in [u64::MAX, u64::from(u32::MAX)] {
        is_found_out("a note of a word outside", usual, |forge| {
            forge.put_own(NOTES, target);
            forge.put_own(JOURNAL, 1 << 16 | 1);
        });
    }
    does_no_harm("notes of everything", usual, |forge| {
        (0..64).for_each(|note| forge.put_own(NOTES + 2 * note, 7 * note));
        forge.put_own(JOURNAL, 1 << 16 | 64);
    });
}

#[test]
fn forged_numbers_do_no_harm() {
    let _frame = frame();
    is_found_out("no entries", usual, |forge| forge.put_own(LEN, 0));
    is_found_out("no room", usual, |forge| forge.put_own(ROOM, 0));
    let evicting: fn(Builder) -> Builder = |builder| builder.evict_lru();
    for kind in [usual, evicting] {
        for value in [0, 1, u64::from(u32::MAX), u64::MAX] {
            let what = |name: &str| format!("{name} {value:x}");
            does_no_harm(&what("entries"), kind, |forge| forge.put_own(LEN, value));
            does_no_harm(&what("room"), kind, |forge| forge.put_own(ROOM, value));
            does_no_harm(&what("soonest"), kind, |forge| forge.put_own(SOONEST, value));
            does_no_harm(&what("hint"), kind, |forge| forge.put(5, value));
            does_no_harm(&what("epoch"), kind, |forge| forge.put(EPOCH, value));
            does_no_harm(&what("owners"), kind, |forge| {
                OWNERS.for_each(|owner| forge.put(owner, value))
            });
            does_no_harm(&what("ages"), kind, |forge| forge.put_own(AGES, value));
        }
        for owner in [1u64 << 32, 2 << 32, 1 << 32 | 1, 2 << 32 | 1] {
            does_no_harm(&format!("owners {owner:x}"), kind, |forge| {
                OWNERS.for_each(|at| forge.put(at, owner))
            });
        }
    }
    for (newer, older) in [(0, 0), (1, 1), (u64::from(u32::MAX), u64::from(u32::MAX))] {
        does_no_harm("ages that lead outside", evicting, |forge| {
            forge.put(forge.block_of(NEEDLE) + 2, newer << 32 | older);
        });
    }
    is_found_out(
        "ages that lead before the first word, which looks like an entry",
        evicting,
        |forge| {
            forge.put(forge.block_of(NEEDLE) + 2, u64::MAX);
            forge.put(0, 10 << 32);
        },
    );
    does_no_harm("ages that lead back", evicting, |forge| {
        let block = forge.block_of(NEEDLE);
        forge.put(block + 2, block << 32 | block);
        forge.put_own(AGES, block << 32 | block);
    });
}

/// What is said to hold a lock, and lives, is waited for as long as the handle may.
#[test]
fn a_forged_owner_is_waited_for_or_found_dead() {
    let _frame = frame();
    let forge = Forge::new(usual);
    let stranger = Child::fork(|| forked::pause());
    let owner = |pid: u32| u64::from(pid) << 32 | 1 << 22 | u64::from(pid);
    forge.put_own(LOCK, owner(stranger.id()));
    let refusal = forge.map.insert(NEEDLE, &vec![1; 8]);
    assert!(matches!(refusal, Ok(_) | Err(MapError::TimedOut)), "{refusal:?}");
    drop(stranger);
    forge.restore();
    for word in [u64::MAX, 1, u64::from(u32::MAX), 1 << 32, owner(u32::MAX >> 10)] {
        forge.put_own(LOCK, word);
        ends(&format!("locked by {word:x}"), || {
            use_all(&forge.map);
        });
        forge.restore();
    }
}

/// Every word of a map in turn holds this and that. A child uses the map each time; nothing panics, and all of it ends.
#[test]
fn any_word_of_a_map_may_be_anything() {
    let _frame = frame();
    let kinds: [fn(Builder) -> Builder; 3] = [
        usual,
        |builder| builder.evict_lru(),
        |builder| builder.evict_lru().time_to_live(Duration::from_millis(500)),
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let forge = Forge::new(kind);
        // How far the child has come.
        let progress = SharedAtomicArray::<AtomicU64>::new(1).unwrap();
        let mut child = Child::fork(|| {
            limit_memory();
            let panics = (0..2 * forge.words).step_by(thorough(1, 3)).filter(|case| {
                progress[0].store(*case, Relaxed);
                let panicked = catch_unwind(AssertUnwindSafe(|| use_forged(&forge, *case))).is_err();
                if panicked {
                    eprintln!("kind {number}, case {case}: word {}", case / 2);
                }
                panicked
            });
            assert_eq!(panics.count(), 0, "calls panicked");
        });
        let (mut last, mut since) = (0, Instant::now());
        while !child.is_zombie() {
            thread::sleep(Duration::from_millis(1));
            let case = progress[0].load(Relaxed);
            if case != last {
                (last, since) = (case, Instant::now());
            }
            assert!(
                since.elapsed() < SOON,
                "kind {number}, case {case}: word {} has no end",
                case / 2
            );
        }
        assert_eq!(child.end(), End::Exited(0), "kind {number}");
    }
}

fn use_forged(forge: &Forge, case: u64) {
    let (at, before) = (case / 2, forge.word(case / 2));
    // Another of these from word to word, and never twice the same of a word.
    let others = [
        u64::MAX,
        0,
        before | u64::from(u32::MAX),
        before | u64::from(u32::MAX) << 32,
        before.wrapping_add(1),
        before.wrapping_sub(1 << 32),
        (forge.words - 1) * ((1 << 32) + 1),
    ];
    forge.put(at, others[(3 * case + case / 7) as usize % others.len()]);
    use_all(&forge.map);
    forge.restore();
}

// A restart of the machine.

/// Byte offset of the boot id in the header.
const BOOT_ID: u64 = 6 * 8;

/// A map in a file whose every lock is held by this thread, which lives on: only a reset frees them. A change of the first
/// shard is under way. All of it as long ago as `hours`.
fn left_behind(folder: &Folder, hours: u64) -> std::path::PathBuf {
    let path = folder.0.join("file");
    let segment = Segment::create_file(&path, 64 << 10).unwrap();
    let map: Map = map_with_hasher(SharedMap::builder(), "by the first byte", hash)
        .capacity(CAPACITY as usize)
        .shards(2)
        .place_in(&segment, "map")
        .unwrap();
    map.insert(NEEDLE, &vec![7; 20]).unwrap();
    map.insert(IN_PARTS, &vec![8; 1500]).unwrap();
    map.insert_with_ttl(b"1 short".as_slice(), &vec![9; 30], Duration::from_millis(1))
        .unwrap();
    map.insert_with_ttl(
        b"1 long".as_slice(),
        &vec![9; 30],
        Duration::from_secs(3600 * (hours + 1)),
    )
    .unwrap();
    // The start of the machine is told to a millisecond or so.
    let stored = Instant::now();
    while stored.elapsed() < Duration::from_millis(20) {
        thread::yield_now();
    }
    assert_eq!(map.get(b"1 short".as_slice()), Ok(None));
    let value = segment.value("value", 7u64).unwrap();
    let guard = value.get_lock();
    let objects = segment.objects().unwrap();
    let offset = |name: &str| objects.iter().find(|object| object.name == name).unwrap().offset;
    let (me, at) = (word_at(&path, offset("value")), offset("map"));
    drop(guard);
    drop((map, value, segment));
    let put = |word: u64, value: u64| write_at(&path, at + 8 * word, &value.to_ne_bytes());
    let get = |word: u64| word_at(&path, at + 8 * word);
    for shard in 0..2 {
        put(SHARDS_AT + shard * SHARD_WORDS + LOCK, me);
    }
    let len = get(SHARDS_AT + LEN);
    put(SHARDS_AT + NOTES, SHARDS_AT + LEN);
    put(SHARDS_AT + NOTES + 1, len);
    put(SHARDS_AT + JOURNAL, get(SHARDS_AT + JOURNAL) | 1);
    put(SHARDS_AT + LEN, len + 55);
    let epoch = get(EPOCH);
    assert!(
        epoch > 1_500_000_000_000,
        "milliseconds since 1970, as somebody has asked"
    );
    put(EPOCH, epoch - hours * 3_600_000);
    write_at(&path, BOOT_ID, &[0x5a; 16]);
    path
}

#[test]
fn after_a_restart_of_the_machine_a_map_has_its_entries_and_no_users() {
    let _frame = frame();
    let folder = Folder::new();
    let path = left_behind(&folder, 10);
    let segment = Segment::open_file(path).unwrap();
    let map: Map = map_with_hasher(SharedMap::builder(), "by the first byte", hash)
        .open_in(&segment, "map")
        .unwrap();
    let map = map.without_waiting();
    assert_eq!(map.get(NEEDLE), Ok(Some(vec![7; 20])));
    assert_eq!(map.get(IN_PARTS), Ok(Some(vec![8; 1500])));
    // By the clock of the former start it would live for ten more hours.
    assert_eq!(map.get(b"1 short".as_slice()), Ok(None));
    assert_eq!(map.get(b"1 long".as_slice()), Ok(Some(vec![9; 30])));
    assert_eq!((map.len(), map.stats().entries), (3, 3));
    assert_eq!(map.insert(b"0 more".as_slice(), &vec![1]), Ok(None));
    assert_eq!(map.remove(b"1 long".as_slice()), Ok(Some(vec![9; 30])));
    verify_map(&map).unwrap();
    map.clear().unwrap();
    assert_eq!(map.stats().bytes_free, map.capacity());
    segment.unlink().unwrap();
}

// Readers beside writers.

/// Writes a value whose first and last word count up in turn, and reads it meanwhile: the last is never ahead.
fn never_torn(kind: &str, value_len: usize, read: impl Fn(&SharedMap<u8, Vec<u8>>) -> Vec<u8> + Sync) {
    let map = SharedMap::<u8, Vec<u8>>::with_capacity(1 << 20).unwrap();
    let mut value = vec![0; value_len];
    map.insert(&1, &value).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let torn = thread::scope(|scope| {
        scope.spawn(|| {
            for count in 1u64.. {
                value[..8].copy_from_slice(&count.to_ne_bytes());
                map.insert(&1, &value).unwrap();
                value[value_len - 8..].copy_from_slice(&count.to_ne_bytes());
                map.insert(&1, &value).unwrap();
                if over.load(Relaxed) {
                    return;
                }
            }
        });
        let word = |value: &[u8]| u64::from_ne_bytes(value.try_into().unwrap());
        let began = Instant::now();
        let mut torn = None;
        while torn.is_none() && began.elapsed() < SOON / thorough(10, 40) {
            let found = read(&map);
            let (first, last) = (word(&found[..8]), word(&found[value_len - 8..]));
            if first != last && first != last + 1 {
                torn = Some((first, last));
            }
        }
        over.store(true, Relaxed);
        torn
    });
    assert_eq!(torn, None, "{kind}: a value that nobody has stored");
}

#[test]
fn a_value_is_not_read_half_before_and_half_after() {
    let _frame = frame();
    for value_len in [16, 24, 400, 16 << 10] {
        never_torn("get", value_len, |map| map.get(&1).unwrap().unwrap());
        never_torn("iter", value_len, |map| map.iter().next().unwrap().unwrap().1);
        never_torn("update", value_len, |map| {
            let mut seen = None;
            map.update(&1, |found| {
                seen.clone_from(&found);
                found
            })
            .unwrap();
            seen.unwrap()
        });
    }
}

// Values that fit hardly.

/// While a region is free, but not as many as it takes.
#[test]
fn a_value_of_several_regions_finds_room_in_a_map_that_evicts() {
    let _frame = frame();
    for shards in [1, 2, 4] {
        let builder = SharedMap::<u32, Vec<u8>>::builder()
            .capacity(CAPACITY as usize)
            .shards(shards);
        let map = builder.evict_lru().anonymous().unwrap();
        ends(&format!("{shards} shards"), || {
            for round in 0..50 {
                for number in 0..10 {
                    map.insert(&(1000 * round + number), &vec![1; 50]).unwrap();
                }
                let large = vec![2; 600 + 37 * round as usize];
                map.insert(&(1000 * round + 500), &large).unwrap();
                assert_eq!(map.get(&(1000 * round + 500)), Ok(Some(large)));
                verify_map(&map).unwrap();
            }
        });
    }
}
