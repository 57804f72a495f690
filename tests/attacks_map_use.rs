//! What a full house, long closures, deaths elsewhere and odd keys did to maps. Each test says what went wrong once.

#![cfg(all(feature = "crash-points", feature = "map"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::watchdog;
use procshare::__private::{map_with_clock, map_with_hasher, verify_map};
use procshare::{MapBuilder, MapError, SharedMap};
use std::borrow::Borrow;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

type Map = SharedMap<String, Vec<u8>>;

/// The first byte tells the shard.
fn hash(bytes: &[u8], _seed: u64) -> u64 {
    let low = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    u64::from(bytes.first().map_or(0, |first| first & 15)) << 32 | u64::from(low.rotate_left(15))
}

fn sharded<V: 'static>(shards: u32, bytes: usize) -> MapBuilder<String, V> {
    map_with_hasher(SharedMap::builder().capacity(bytes).shards(shards), "first", hash)
}

/// Holds a shard by an update that lasts until the sender is dropped.
fn hold(map: &Map, key: &str) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (end, ended) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel::<()>();
    let (map, key) = (map.clone(), key.to_owned());
    let thread = thread::spawn(move || {
        let _ = map.update(&key, |old| {
            begin.send(()).unwrap();
            let _ = ended.recv();
            old
        });
    });
    begun.recv().unwrap();
    (end, thread)
}

// --- killed children ---------------------------------------------------------------------------------------

fn name(what: &str) -> String {
    format!("attack2-{what}-{}", std::process::id())
}

/// Plays the victim, when started by [`kill`].
#[test]
fn victim() {
    let Ok(name) = std::env::var("PROCSHARE_ATTACK_NAME") else {
        return;
    };
    let builder = |shards| sharded::<Vec<u8>>(shards, 1 << 16);
    let map = match std::env::var("PROCSHARE_ATTACK_DOES").unwrap().as_str() {
        "insert" => builder(2).open(&name).unwrap(),
        other => unreachable!("{other}"),
    };
    let length = std::env::var("PROCSHARE_ATTACK_LENGTH").unwrap().parse().unwrap();
    let _ = map.insert("0 victim", &vec![1; length]);
}

fn kill(name: &str, does: &str, length: usize, at: &str) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = Command::new("/proc/self/exe")
        .args(["--exact", "victim", "--nocapture"])
        .env("PROCSHARE_ATTACK_NAME", name)
        .env("PROCSHARE_ATTACK_DOES", does)
        .env("PROCSHARE_ATTACK_LENGTH", length.to_string())
        .env("PROCSHARE_CRASH_AT", at)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    status.signal() == Some(9)
}

/// What a dead holder of shard 0 had taken is nobody's until somebody happens to lock shard 0.
#[test]
fn a_death_in_one_shard_does_not_fill_the_map_for_others() {
    let _watchdog = watchdog(120);
    let name = name("garbage");
    let map = sharded::<Vec<u8>>(2, 1 << 16).create(&name).unwrap();
    // 64 KiB in 16 regions or more: the last part is taken, the entry not yet made.
    let mut passage = 1;
    while kill(&name, "insert", 64_000, &format!("map.part:{passage}")) {
        let used = map.stats().bytes_used;
        if used > 60_000 {
            break;
        }
        map.get("0 victim").unwrap();
        let _ = map.remove("0 victim").unwrap();
        passage += 1;
    }
    let outcome = map.insert("1 other", &vec![1; 6000]);
    let _ = map.remove("0 victim").unwrap();
    assert_eq!(outcome, Ok(None));
}

/// `len` and `stats` read words of a change that a dead process left open, for as long as nobody locks the shard.
#[test]
fn len_and_stats_are_right_after_a_death() {
    let _watchdog = watchdog(120);
    let mut wrong = vec![];
    for passage in 1..40 {
        let name = format!("{}-{passage}", name("len"));
        let map = sharded::<Vec<u8>>(2, 1 << 16).create(&name).unwrap();
        if !kill(&name, "insert", 100, &format!("map.changed:{passage}")) {
            break;
        }
        let (len, used) = (map.len(), map.stats().bytes_used);
        let there = map.contains_key("0 victim").unwrap();
        assert_eq!(map.iter().count(), usize::from(there));
        map.remove("0 none").unwrap();
        if (len, used) != (map.len(), map.stats().bytes_used) {
            wrong.push((passage, len, used, map.len(), map.stats().bytes_used));
        }
        verify_map(&map).unwrap();
    }
    assert_eq!(wrong, []);
}

// --- room --------------------------------------------------------------------------------------------------

/// Keys must lie in one block, and a map of one shard never moves its entries together.
#[test]
fn small_entries_removed_leave_room_for_one_with_a_longer_key() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(1, 1 << 16).anonymous().unwrap();
    let mut count = 0;
    while map.insert(&format!("{count:08}"), &vec![7; 8]).is_ok() {
        count += 1;
    }
    for number in (0..count).step_by(2) {
        map.remove(&format!("{number:08}")).unwrap();
    }
    let free = map.stats().bytes_free;
    let outcome = map.insert("a key of 24 bytes, ......", &vec![1; 100]);
    assert_eq!(outcome, Ok(None), "{free} of 65536 bytes are free");
}

/// In a map of several shards others' regions are gathered.
#[test]
fn at_eighty_per_cent_full_a_longer_key_fits() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<String, ()>::with_capacity(1 << 20).unwrap();
    let mut count = 0;
    while map.insert(&format!("{count:08}"), &()).is_ok() {
        count += 1;
    }
    for number in (0..count).step_by(5) {
        map.remove(&format!("{number:08}")).unwrap();
    }
    let stats = map.stats();
    let refused = (0..100)
        .filter(|number| map.insert(&format!("{number:032}"), &()).is_err())
        .count();
    assert_eq!(refused, 0, "{stats:?}");
}

/// A value in parts pins every region it has a part in; other shards starve in a map that is mostly free.
#[test]
fn parts_of_a_value_do_not_starve_other_shards() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).anonymous().unwrap();
    let mut count = 0;
    while map.insert(&format!("0{count:07}"), &vec![7; 32]).is_ok() {
        count += 1;
    }
    for number in (0..count).step_by(5) {
        map.remove(&format!("0{number:07}")).unwrap();
    }
    let free = map.stats().bytes_free;
    // As large as goes.
    let mut length = free;
    while map.insert("0 large", &vec![1; length]).is_err() {
        length -= 64;
    }
    for number in 0..count {
        map.remove(&format!("0{number:07}")).unwrap();
    }
    let stats = map.stats();
    let outcome = map.insert("1", &vec![1; 8]);
    assert_eq!(outcome, Ok(None), "{length} bytes were stored, {stats:?}");
}

/// "A value may be as large as what is free".
#[test]
fn a_value_of_half_of_what_is_free_fits() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<u64, Vec<u8>>::with_capacity(4 << 20).unwrap();
    let mut count = 0;
    while map.insert(&count, &vec![7; 64]).is_ok() {
        count += 1;
    }
    for number in (0..count).step_by(12) {
        map.remove(&number).unwrap();
    }
    let free = map.stats().bytes_free;
    let outcome = map.insert(&u64::MAX, &vec![1; free / 2]);
    assert_eq!(outcome, Ok(None), "{free} bytes are free");
}

/// Full says that what is needed is free.
#[test]
fn full_never_says_that_there_is_enough() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(1, 8192).anonymous().unwrap();
    let mut odd = vec![];
    for length in 7800..8192 {
        match map.insert("key", &vec![1; length]) {
            Ok(_) => drop(map.remove("key").unwrap()),
            Err(MapError::Full { needed, free }) if needed <= free => odd.push((length, needed, free)),
            Err(_) => {}
        }
    }
    assert_eq!(odd, []);
}

// --- eviction ----------------------------------------------------------------------------------------------

/// One peer inside an update makes a map that evicts refuse eight bytes, whatever the patience.
#[test]
fn a_map_that_evicts_refuses_nothing_small() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).evict_lru().anonymous().unwrap();
    for number in 0..2000 {
        map.insert(&format!("0{number:07}"), &vec![7; 8]).unwrap();
    }
    let (end, thread) = hold(&map, "0");
    let began = Instant::now();
    let outcome = map.with_timeout(Duration::from_secs(5)).insert("1", &vec![1; 8]);
    let took = began.elapsed();
    drop(end);
    thread.join().unwrap();
    assert_eq!(outcome, Ok(None), "after {took:?}");
}

/// An update that is refused has thrown the entry away.
#[test]
fn a_refused_update_changes_nothing() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).evict_lru().anonymous().unwrap();
    map.insert("1 mine", &vec![1; 100]).unwrap();
    for number in 0..2000 {
        map.insert(&format!("0{number:07}"), &vec![7; 8]).unwrap();
    }
    map.insert("1 mine", &vec![1; 100]).unwrap();
    let (end, thread) = hold(&map, "0");
    let outcome = map.update("1 mine", |_| Some(vec![2; 10_000]));
    drop(end);
    thread.join().unwrap();
    assert!(
        outcome.is_ok() || map.get("1 mine") == Ok(Some(vec![1; 100])),
        "{outcome:?}, and {:?}",
        map.get("1 mine")
    );
}

/// To give 40 bytes to another shard, nearly all entries of the first are evicted.
#[test]
fn one_small_entry_evicts_few() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 20).evict_lru().anonymous().unwrap();
    let mut count = 0;
    while map.stats().evictions == 0 {
        map.insert(&format!("0{count:07}"), &vec![7; 16]).unwrap();
        count += 1;
    }
    // Used in some other order than stored.
    for step in 0..count {
        let _ = map.get(&format!("0{:07}", step * 7919 % count)).unwrap();
    }
    let before = map.stats();
    map.insert("1", &vec![1; 8]).unwrap();
    let after = map.stats();
    let evicted = after.evictions - before.evictions;
    assert!(
        evicted < before.entries as u64 / 4,
        "{evicted} of {} entries were evicted",
        before.entries
    );
}

/// "Whoever reads sees the value before, without waiting" - not in a map that evicts.
#[test]
fn readers_do_not_wait_for_an_update() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).evict_lru().anonymous().unwrap();
    map.insert("0 a", &vec![1]).unwrap();
    map.insert("0 b", &vec![2]).unwrap();
    let (end, thread) = hold(&map, "0 a");
    let outcome = map.with_timeout(Duration::from_millis(200)).get("0 b");
    drop(end);
    thread.join().unwrap();
    assert_eq!(outcome, Ok(Some(vec![2])));
}

/// "Returns a handle whose calls do not wait for a lock".
#[test]
fn without_waiting_does_not_wait() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(16, 1 << 18).anonymous().unwrap();
    let all: Vec<_> = (1..16u8).map(|shard| format!("{}", char::from(b'0' + shard))).collect();
    for round in 0..200 {
        for key in &all {
            let _ = map.insert(&format!("{key}{round:05}"), &vec![1; 900]);
        }
    }
    for round in (0..200).step_by(2) {
        for key in &all {
            let _ = map.remove(&format!("{key}{round:05}"));
        }
    }
    let held: Vec<_> = all.iter().map(|key| hold(&map, key)).collect();
    let handle = map.without_waiting();
    let began = Instant::now();
    let mut outcome = Ok(None);
    for number in 0..100 {
        outcome = handle.insert(&format!("0{number}"), &vec![1; 900]);
        if outcome.is_err() {
            break;
        }
    }
    let took = began.elapsed();
    for (end, thread) in held {
        drop(end);
        thread.join().unwrap();
    }
    assert!(took < Duration::from_millis(3), "{took:?}, {outcome:?}");
}

// --- keys and values ---------------------------------------------------------------------------------------

/// A slice can be borrowed from an array, and is encoded alike.
#[test]
fn an_array_is_looked_up_by_its_slice() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<[u8; 4], u32>::with_capacity(4096).unwrap();
    map.insert(&[1, 2, 3, 4], &7).unwrap();
    assert_eq!(map.get::<[u8]>(&[1, 2, 3, 4]), Ok(Some(7)));
}

/// And what is stored under a slice cannot be listed.
#[test]
fn what_is_stored_by_a_slice_can_be_listed() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<[u8; 4], u32>::with_capacity(4096).unwrap();
    let stored = map.insert::<[u8]>(&[1, 2, 3, 4], &7);
    assert!(stored.is_err() || map.to_map().is_ok(), "{:?}", map.to_map());
}

/// Lengths are cut to 32 bits where a value is overwritten in its place.
#[test]
fn a_value_of_34_gigabytes_is_refused() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<u64, Vec<u8>>::with_capacity(4096).unwrap();
    map.insert(&1, &vec![1; 8]).unwrap();
    let length = (1usize << 35) + 8;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: asks for fresh pages, wherever there is room.
    let pages = unsafe { libc::mmap(std::ptr::null_mut(), length, rights, flags, -1, 0) };
    assert_ne!(pages, libc::MAP_FAILED);
    // SAFETY: so many bytes were just mapped; they are zeros, and the vector is never dropped.
    let huge = std::mem::ManuallyDrop::new(unsafe { Vec::from_raw_parts(pages.cast::<u8>(), length, length) });
    let outcome = map.insert(&1, &huge);
    assert!(outcome.is_err(), "{outcome:?}, and then it is {:?}", map.get(&1));
}

// --- time --------------------------------------------------------------------------------------------------

/// A time to live that ends while the lock is waited for has ended before the entry is stored.
#[test]
fn an_entry_lives_as_long_as_was_said_from_when_it_is_stored() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).anonymous().unwrap();
    let now = Arc::new(AtomicU64::new(1000));
    let clock = Arc::clone(&now);
    let map = map_with_clock(map, Arc::new(move || clock.load(Relaxed)));
    let (end, thread) = hold(&map, "0");
    let (other, asked) = (map.clone(), Arc::clone(&now));
    let waiter = thread::spawn(move || other.insert_with_ttl("0 x", &vec![1], Duration::from_millis(50)));
    // Perhaps it waits for the lock by now; the entry must live in any case.
    thread::yield_now();
    asked.store(1100, Relaxed);
    drop(end);
    thread.join().unwrap();
    assert_eq!(waiter.join().unwrap(), Ok(None));
    assert_eq!(map.get("0 x"), Ok(Some(vec![1])));
}

// --- doors -------------------------------------------------------------------------------------------------

/// Who asks for a cache is given a map that is none, and is not told.
#[test]
fn open_or_create_does_not_ignore_what_was_asked_for() {
    let _watchdog = watchdog(120);
    let name = name("settings");
    let _plain = SharedMap::<u64, u64>::open_or_create(&name, 4096).unwrap();
    let cache = SharedMap::<u64, u64>::builder()
        .capacity(4096)
        .evict_lru()
        .time_to_live(Duration::from_millis(1))
        .open_or_create(&name);
    let Ok(cache) = cache else { return };
    cache.extend((0..1000).map(|number| (number, number))).unwrap();
}

/// Handles may be used after a panic.
#[test]
fn handles_are_unwind_safe() {
    let _watchdog = watchdog(120);
    fn unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    unwind_safe::<procshare::SharedCounter>();
    unwind_safe::<SharedMap<u64, u64>>();
}

/// Hints wait for as long as a stranger's closure takes.
#[test]
fn len_does_not_wait_for_an_update() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).anonymous().unwrap();
    let map = map_with_clock(map, Arc::new(|| 1000));
    map.insert_with_ttl("0 x", &vec![1], Duration::ZERO).unwrap();
    let (end, thread) = hold(&map, "0");
    let (done, told) = mpsc::channel();
    let other = map.clone();
    thread::spawn(move || done.send(other.len()));
    let len = told.recv_timeout(Duration::from_millis(500));
    drop(end);
    thread.join().unwrap();
    assert!(len.is_ok(), "len() has not returned after half a second");
}

/// A key that `String` lends.
#[derive(serde::Serialize)]
#[repr(transparent)]
struct Lent(str);

impl Borrow<Lent> for String {
    fn borrow(&self) -> &Lent {
        // SAFETY: transparent.
        unsafe { &*(std::ptr::from_ref(self.as_str()) as *const Lent) }
    }
}

// --- second batch ------------------------------------------------------------------------------------------

/// A reader waits for the removal of all entries of its shard, not for one copy.
#[test]
fn a_reader_waits_for_one_entry_only() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<u64, u64>::builder()
        .capacity(6 << 20)
        .shards(1)
        .anonymous()
        .unwrap();
    for number in 0..150_000 {
        map.insert(&number, &number).unwrap();
    }
    let other = map.clone();
    let (begin, begun) = mpsc::channel::<()>();
    let clearing = thread::spawn(move || {
        begin.send(()).unwrap();
        let began = Instant::now();
        other.clear().unwrap();
        began.elapsed()
    });
    begun.recv().unwrap();
    let mut longest = Duration::ZERO;
    while !clearing.is_finished() {
        let began = Instant::now();
        let _ = map.get(&149_999).unwrap();
        longest = longest.max(began.elapsed());
    }
    let took = clearing.join().unwrap();
    assert!(
        longest < Duration::from_millis(100),
        "clear took {took:?}, a get {longest:?}"
    );
}

/// What is to be freed after a death has no bound: the next access takes longer than 100 ms.
#[test]
fn recovery_is_short_even_of_a_fragmented_value() {
    let _watchdog = watchdog(120);
    let name = name("parts");
    let map = SharedMap::<String, Vec<u8>>::builder()
        .capacity(24 << 20)
        .shards(1)
        .entries(3 << 17);
    let map = map.create(&name).unwrap();
    let mut count = 0;
    while map.insert(&format!("{count:08}"), &vec![7; 8]).is_ok() {
        count += 1;
    }
    for number in (0..count).step_by(2) {
        map.remove(&format!("{number:08}")).unwrap();
    }
    assert!(kill_in_parts(&name, 250_000));
    let began = Instant::now();
    assert_eq!(map.get("00000001"), Ok(Some(vec![7; 8])));
    let took = began.elapsed();
    let began = Instant::now();
    let _ = map.insert("00000001", &vec![8; 8]).unwrap();
    let took_too = began.elapsed();
    assert!(took.max(took_too) < Duration::from_millis(100), "{took:?} {took_too:?}");
}

/// Plays the victim of [`kill_in_parts`].
#[test]
fn victim_in_parts() {
    let Ok(name) = std::env::var("PROCSHARE_ATTACK_PARTS") else {
        return;
    };
    let map = SharedMap::<String, Vec<u8>>::open(&name).unwrap();
    let _ = map.insert("x", &vec![1; 5 << 20]);
}

fn kill_in_parts(name: &str, passage: usize) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = Command::new("/proc/self/exe")
        .args(["--exact", "victim_in_parts", "--nocapture"])
        .env("PROCSHARE_ATTACK_PARTS", name)
        .env("PROCSHARE_CRASH_AT", format!("map.part:{passage}"))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    status.signal() == Some(9)
}

/// A chain that leads back has `iter` take the memory of thousands of maps.
#[test]
fn a_chain_that_leads_back_takes_no_more_memory_than_the_map() {
    let _watchdog = watchdog(120);
    use std::os::unix::fs::FileExt;
    let path = std::env::temp_dir().join(name("cycle"));
    let segment = procshare::Segment::create_file(&path, 4 << 20).unwrap();
    let map: Map = sharded(1, 2 << 20).place_in(&segment, "map").unwrap();
    for number in 0..2000 {
        map.insert(&format!("0{number:07}"), &vec![1; 8]).unwrap();
    }
    map.insert("0 cycle!", &vec![1; 1 << 20]).unwrap();
    let object = segment.objects().unwrap().remove(0);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut bytes = vec![0; object.bytes as usize];
    file.read_exact_at(&mut bytes, object.offset).unwrap();
    let wanted = (0..bytes.len() / 8)
        .find(|at| &bytes[8 * at..8 * at + 8] == b"0 cycle!")
        .unwrap();
    let block = wanted as u32 - 3;
    file.write_all_at(&block.to_ne_bytes(), object.offset + 8 * u64::from(block) + 4)
        .unwrap();
    let outcome = map.iter().find_map(Result::err);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    segment.unlink().unwrap();
    assert!(
        kib < 300_000,
        "{outcome:?}, and the process took {kib} KiB for a map of 2 MiB"
    );
}

/// Inserts into a full map take about as long whether entries expire or not.
#[test]
fn a_full_cache_whose_entries_expire_is_about_as_fast() {
    let _watchdog = watchdog(120);
    let time = |ttl: Option<u64>| {
        let builder = SharedMap::<u64, u64>::builder().capacity(1 << 20).evict_lru();
        let builder = match ttl {
            Some(ttl) => builder.time_to_live(Duration::from_millis(ttl)),
            None => builder,
        };
        let now = Arc::new(AtomicU64::new(1000));
        let clock = Arc::clone(&now);
        let map = map_with_clock(builder.anonymous().unwrap(), Arc::new(move || clock.load(Relaxed)));
        let mut began = Instant::now();
        for number in 0..40_000u64 {
            if number == 34_000 {
                began = Instant::now();
            }
            // Ten entries per millisecond.
            now.store(1000 + number / 10, Relaxed);
            map.insert(&number, &number).unwrap();
        }
        began.elapsed() / 6_000
    };
    // It has room for some 21 000 entries: they expire shortly before they would be evicted.
    let (without, with) = (time(None), time(Some(1_750)));
    assert!(with < 10 * without, "{without:?}, {with:?}");
}

/// Keys and values of no bytes.
#[test]
fn keys_and_values_of_no_bytes() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<(), ()>::with_capacity(512).unwrap();
    assert_eq!(map.insert(&(), &()), Ok(None));
    assert_eq!(map.insert(&(), &()), Ok(Some(())));
    assert_eq!((map.len(), map.get(&())), (1, Ok(Some(()))));
    verify_map(&map).unwrap();
    assert_eq!(map.remove(&()), Ok(Some(())));
    verify_map(&map).unwrap();
    let wide = SharedMap::<u128, i128>::with_capacity(4096).unwrap();
    wide.insert(&u128::MAX, &i128::MIN).unwrap();
    assert_eq!(wide.get(&u128::MAX), Ok(Some(i128::MIN)));
}

/// Writers of a map that evicts are in each other's way for a moment only.
#[test]
fn writers_of_a_map_that_evicts_do_not_refuse_each_other() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<u64, Vec<u8>>::builder()
        .capacity(1 << 18)
        .shards(2)
        .evict_lru()
        .anonymous()
        .unwrap();
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let map = map.clone();
            thread::spawn(move || {
                let (mut full, mut longest) = (0, Duration::ZERO);
                for number in 0..600u64 {
                    let began = Instant::now();
                    let length = if number % 4 == thread { 120_000 } else { 100 };
                    match map.insert(&(number * 4 + thread), &vec![1; length]) {
                        Err(MapError::Full { .. }) => full += 1,
                        outcome => drop(outcome.unwrap()),
                    }
                    longest = longest.max(began.elapsed());
                }
                (full, longest)
            })
        })
        .collect();
    let outcomes: Vec<(i32, Duration)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(outcomes.iter().all(|(full, _)| *full == 0), "{outcomes:?}");
}

/// Regions go from shard to shard while others read.
#[test]
fn nobody_reads_what_another_shard_makes_of_a_region() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 4096).anonymous().unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    let writers = ["0", "1"].map(|shard| {
        let map = map.clone();
        thread::spawn(move || {
            let (mut number, mut full) = (0usize, 0u64);
            while Instant::now() < end {
                number += 1;
                let (key, length) = (number % 7, 8 + (number * 131) % 900);
                let name = format!("{shard}{key}");
                match map.insert(&name, &vec![key as u8 + 16 * (shard == "1") as u8; length]) {
                    Err(MapError::Full { .. }) => full += 1,
                    outcome => drop(outcome.unwrap()),
                }
                if number % 3 != 0 {
                    map.remove(&format!("{shard}{}", (number * 5) % 7)).unwrap();
                }
            }
            (number, full)
        })
    });
    let readers = ["0", "1"].map(|shard| {
        let map = map.clone();
        thread::spawn(move || {
            let mut seen = 0u64;
            while Instant::now() < end {
                for key in 0..7u8 {
                    if let Some(value) = map.get(&format!("{shard}{key}")).unwrap() {
                        let fill = key + 16 * (shard == "1") as u8;
                        assert!(value.iter().all(|byte| *byte == fill), "{shard}{key}: {value:?}");
                        seen += 1;
                    }
                }
                for entry in &map {
                    let (key, value) = entry.unwrap();
                    let fill = key.as_bytes()[1] - b'0' + 16 * (key.as_bytes()[0] == b'1') as u8;
                    assert!(value.iter().all(|byte| *byte == fill), "{key}: {value:?}");
                }
            }
            seen
        })
    });
    let written = writers.map(|writer| writer.join().unwrap().0);
    assert!(written.iter().all(|written| *written > 0), "{written:?}");
    let seen = readers.map(|reader| reader.join().unwrap());
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    verify_map(&map).unwrap();
    map.clear().unwrap();
    assert_eq!(map.stats().bytes_used, 0);
}

/// What is compared at open is the hash's name, which the programmer may forget to change.
#[test]
fn a_hash_that_differs_is_found_out_at_open() {
    let _watchdog = watchdog(120);
    fn other(bytes: &[u8], seed: u64) -> u64 {
        hash(bytes, seed).rotate_left(7) ^ 1
    }
    let name = name("hash");
    let map = sharded::<u64>(2, 1 << 16).create(&name).unwrap();
    map.insert("0 a", &1).unwrap();
    let opened = map_with_hasher(SharedMap::<String, u64>::builder(), "first", other).open(&name);
    assert!(
        opened.is_err(),
        "and what is there is not found: {:?}",
        opened.unwrap().get("0 a")
    );
}

/// `Borrow` can be implemented for `String` by anybody.
#[test]
fn what_is_no_str_is_not_looked_up_among_strings() {
    let _watchdog = watchdog(120);
    let map = SharedMap::<String, u64>::with_capacity(4096).unwrap();
    map.insert("a", &1).unwrap();
    let key = "a".to_owned();
    let lent: &Lent = key.borrow();
    assert!(matches!(map.get(lent), Err(MapError::NotEncodable(_))));
}

/// `len` and `stats` cannot say `WouldDeadlock`: inside an update they count what has expired, which they do not remove there.
#[test]
fn inside_an_update_what_has_expired_is_counted() {
    let _watchdog = watchdog(120);
    let map = sharded::<Vec<u8>>(2, 1 << 16).anonymous().unwrap();
    let map = map_with_clock(map, Arc::new(|| 1000));
    map.insert_with_ttl("0 x", &vec![1], Duration::ZERO).unwrap();
    let mut len = None;
    map.update("1", |old| {
        len = Some((map.len(), map.stats().entries));
        old
    })
    .unwrap();
    assert_eq!(len, Some((1, 1)));
    assert!(map.is_empty());
}
