//! A map in whose words, or in whose directory entry, words were changed: calls end, and touch nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procshare::__private::{map_with_clock, map_with_hasher};
use procshare::{MapBuilder, MapError, Segment, SharedMap};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Nobody waits long for a lock that a living process is said to hold.
const SHORT: Duration = Duration::from_micros(100);
const FOREIGN: u8 = 0xee;
const CAPACITY: usize = 8192;
/// Words of a region of so small a map, and of a shard before its notes.
const REGION: usize = 64;
const SHARD: Range<usize> = 136..136 + 48;
const SHARD_WORDS: usize = 176;
const SHARDS: usize = 2;

type Map = SharedMap<Vec<u8>, Vec<u8>>;
type Builder = MapBuilder<Vec<u8>, Vec<u8>>;

/// A map before an array, and the whole segment as it was.
struct Real {
    file: File,
    whole: Vec<u8>,
    segment: Segment,
    map: Map,
    /// The map and its entry.
    place: Range<usize>,
    /// Where its blocks begin, in words of the map.
    blocks: Vec<usize>,
}

fuzz_target!(|bytes: &[u8]| {
    static REALS: OnceLock<[Real; 3]> = OnceLock::new();
    let reals = REALS.get_or_init(|| {
        let kinds: [fn(Builder) -> Builder; 3] = [
            |builder| builder,
            |builder| builder.evict_lru(),
            |builder| builder.evict_lru().time_to_live(Duration::from_millis(1000)),
        ];
        kinds.map(|kind| Real::new(kind).expect("a file can be made"))
    });
    let Some((kind, changes)) = bytes.split_first() else {
        return;
    };
    let real = &reals[usize::from(kind % 3)];
    // What is found behind the map shall not come from here.
    let changes: Vec<u8> = changes
        .iter()
        .map(|byte| if *byte == FOREIGN { 0 } else { *byte })
        .collect();
    if kind & 0x80 == 0 {
        real.change(&changes);
    } else {
        real.overwrite(&changes);
    }
    // When some entries have expired, where they do.
    let clock = u64::from(kind & 0x7f) * 50;
    let at_that_time = |map: Map| map_with_clock(map, Arc::new(move || clock));
    use_all(&at_that_time(real.map.clone()));
    if let Ok(map) = builder().open_in(&real.segment, "map") {
        use_all(&at_that_time(map));
    }
    let mut now = vec![0; real.whole.len()];
    real.file.read_exact_at(&mut now, 0).expect("it is that long");
    real.file.write_all_at(&real.whole, 0).expect("it is that long");
    assert!(
        now[real.place.end..] == real.whole[real.place.end..],
        "written behind the map"
    );
});

/// The same in every process, so that an input does the same again.
fn hash(bytes: &[u8], _seed: u64) -> u64 {
    bytes.iter().fold(7, |hash, byte| {
        (hash ^ u64::from(*byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23)
    })
}

fn builder() -> Builder {
    map_with_hasher(SharedMap::builder(), "the same everywhere", hash)
}

fn key(number: u8) -> Vec<u8> {
    vec![number; 1 + usize::from(number) % 20]
}

/// Fills a map with entries of all kinds, and free blocks between them.
fn fill(map: &Map) -> Result<(), MapError> {
    for number in 0..40 {
        map.insert(&key(number), &vec![number; usize::from(number) * 37 % 150])?;
        map.insert_with_ttl(
            &key(number + 40),
            &vec![number; 24],
            Duration::from_millis(u64::from(number) * 100),
        )?;
        map.remove(&key(number / 2))?;
    }
    map.insert(&key(100), &vec![7; 1500])?;
    map.insert(&key(101), &vec![7; 900])?;
    Ok(())
}

impl Real {
    fn new(kind: fn(Builder) -> Builder) -> procshare::Result<Real> {
        let path = std::env::temp_dir().join(format!("procshare-fuzz-map-{}", std::process::id()));
        let segment = Segment::create_file(&path, 64 << 10)?;
        let builder = kind(builder()).capacity(CAPACITY).shards(SHARDS as u32);
        let map = map_with_clock(builder.place_in(&segment, "map")?, Arc::new(|| 1000));
        segment.array::<u8>("after", 8192)?.fill(FOREIGN).expect("it is whole");
        fill(&map)?;
        let objects = segment.objects()?;
        let find = |name| {
            objects
                .iter()
                .find(|object| object.name == name)
                .expect("it was placed")
        };
        let place = find("map").offset as usize..find("after").offset as usize;
        let words = find("map").bytes as usize / 8;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it was just made");
        let whole = std::fs::read(&path).expect("it was just made");
        segment.unlink()?;
        let mut real = Real {
            file,
            whole,
            segment,
            map: map.with_timeout(SHORT),
            place,
            blocks: Vec::new(),
        };
        real.find_blocks(words);
        Ok(real)
    }

    /// A word of the map as it was.
    fn word(&self, at: usize) -> u64 {
        let at = self.place.start + 8 * at;
        u64::from_ne_bytes(std::array::from_fn(|byte| self.whole[at + byte]))
    }

    fn words(&self) -> usize {
        self.place.len() / 8
    }

    /// The regions are the last of the map's words.
    fn find_blocks(&mut self, words: usize) {
        for region in (words - CAPACITY / 8..words).step_by(REGION) {
            let mut at = region;
            while at < region + REGION {
                self.blocks.push(at);
                at += ((self.word(at + 1) >> 32) as usize).clamp(2, REGION);
            }
        }
        assert!(self.blocks.len() > 40, "found {:?}", self.blocks);
    }

    fn put(&self, at: usize, word: u64) {
        let at = (self.place.start + at * 8) as u64;
        self.file
            .write_all_at(&word.to_ne_bytes(), at)
            .expect("it is that long");
    }

    /// Every eleven bytes put a word somewhere.
    fn change(&self, bytes: &[u8]) {
        for change in bytes.chunks_exact(11) {
            let place = usize::from(u16::from_ne_bytes([change[0], change[1]]));
            let number = u64::from_ne_bytes(std::array::from_fn(|byte| change[3 + byte]));
            let block = |of: u64| self.blocks[of as usize % self.blocks.len()] as u64;
            let at = match change[2] >> 6 {
                0 => place % self.words(),
                1 => SHARD.start + place % SHARDS * SHARD_WORDS + place / SHARDS % SHARD.len(),
                _ => (block(place as u64) as usize + place / 256 % 3).min(self.words() - 1),
            };
            let before = self.word(at);
            let word = match change[2] % 10 {
                0 => number,
                1 => number % 0x2000,
                2 => before.wrapping_add(number % 64),
                3 => before.wrapping_add(number % 64 << 32),
                4 => before ^ 1 << (number % 64),
                // Numbers of blocks, in either half.
                5 => block(number) << 32 | block(number >> 32),
                6 => before & u64::from(u32::MAX) | block(number) << 32,
                7 => before >> 32 << 32 | block(number),
                // The second word of a block.
                8 => (number % 80) << 32 | number >> 40,
                _ => before | u64::from(u32::MAX) << (number % 2 * 32),
            };
            self.put(at, word);
        }
    }

    /// All bytes as they are, somewhere.
    fn overwrite(&self, bytes: &[u8]) {
        let Some((place, bytes)) = bytes.split_at_checked(2) else {
            return;
        };
        let at = usize::from(u16::from_ne_bytes([place[0], place[1]])) % self.words() * 8;
        let bytes = &bytes[..bytes.len().min(self.place.len() - at)];
        let at = (self.place.start + at) as u64;
        self.file.write_all_at(bytes, at).expect("it is that long");
    }
}

/// What a call has found is no part of what lies behind the map.
fn is_of_the_map(bytes: &[u8]) {
    let is_foreign = |bytes: &[u8]| bytes.iter().all(|byte| *byte == FOREIGN);
    assert!(!bytes.windows(16).any(is_foreign), "read behind the map");
}

fn use_all(map: &Map) {
    let map = map.with_timeout(SHORT);
    let _ = (map.len(), map.stats(), map.is_empty());
    for number in (0..80).step_by(7).chain([100, 101, 200]) {
        if let Ok(Some(found)) = map.get(&key(number)) {
            is_of_the_map(&found);
        }
    }
    for found in map.iter().take(1000).flatten() {
        is_of_the_map(&found.0);
        is_of_the_map(&found.1);
    }
    change_some(&map);
    let mut visits = 0;
    let _ = map.retain(|key, _| {
        visits += 1;
        visits > 1000 || key.len() > 6
    });
    let _ = map.insert(&key(101), &vec![3; 2000]);
    let _ = map.clear();
    let _ = map.insert(&key(1), &vec![3; 300]);
    let _ = map.without_waiting().get(&key(1));
}

fn change_some(map: &Map) {
    for number in [1, 25, 36, 39, 60, 79, 100] {
        let _ = map.contains_key(&key(number));
        let _ = map.insert(&key(number), &vec![number; usize::from(number) * 37 % 150]);
        let _ = map.insert(&key(number), &vec![8; usize::from(number) * 3]);
        let _ = map.update(&key(number + 1), |found| {
            found.map(|mut found| {
                found.push(1);
                found
            })
        });
        let _ = map.remove(&key(number + 2));
        let _ = map.compare_exchange(&key(number), Some(&vec![8; usize::from(number) * 3]), None);
        let _ = map.get_or_insert_with(&key(number + 3), || vec![5; 70]);
    }
}
