//! Queues and pipes that are bounded by the number of their items take items of any size; and what is bounded refuses in time.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/blob.rs"]
mod blob;
mod common;
#[path = "common/queues.rs"]
mod queues;
#[path = "common/role.rs"]
mod role;

use blob::Blob;
use common::{Flag, alone, child, for_ever, kill, limit, unique, watchdog, while_waiting};
use procshare::{
    Capacity, Connection, Error, ErrorKind, MapError, Pool, Process, RecvError, Segment, SendError, SharedMap,
    SharedQueue, pipe,
};
use queues::Stage;
use role::{Folder, file_of, is_root};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// A ring that holds some thousand bytes of items beside the references reserved for them.
const RING: usize = 32 << 10;
/// Where the ring of a queue with 1024 seats begins: behind its words, and its seats.
const RING_AT: u64 = 384 + 64 + 1024 * 16;
/// The words of its extents, and how many bytes these are: eight times a lock, a mark, and nothing.
const EXTENTS_AT: u64 = RING_AT + RING as u64;
const EXTENTS: u64 = 8 * 32;

/// Bytes of memory that this process's anonymous segments take.
fn taken_anonymously() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("memfd:procshare")))
        .map(|path| std::fs::metadata(path).unwrap().blocks() as usize * 512)
        .sum()
}

// As many items as the capacity says, whatever their size.

#[procshare::test]
fn a_queue_of_n_items_holds_n_items_of_any_size() {
    let _watchdog = watchdog(120);
    alone(|| {
        let queue = SharedQueue::<Blob>::new(100).unwrap();
        let empty = taken_anonymously();
        for number in 0..100 {
            queue.put(Blob::new(number, MIB)).unwrap();
        }
        assert_eq!((queue.len(), queue.is_full()), (100, true));
        assert!(taken_anonymously() > 100 * MIB);
        assert!(matches!(queue.try_put(Blob::new(0, 1)), Err(SendError::Full(_))));
        for number in 0..100 {
            assert_eq!(queue.get().unwrap(), Blob::new(number, MIB), "{number}");
        }
        assert_eq!((taken_anonymously(), queue.len()), (empty, 0));
    });
}

#[procshare::test]
fn a_text_of_any_length_passes() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<String>::new(100).unwrap();
    for len in [0, 1, 100, 5_000, RING - 16, RING, RING + 1, 100_000, 3 * MIB] {
        let text = "x".repeat(len);
        queue.put(text.clone()).unwrap();
        assert_eq!(queue.get().unwrap(), text);
        queue.put_all([text.clone(), String::new(), text.clone()]).unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            got.extend(queue.get_up_to(3).unwrap().map(Result::unwrap));
        }
        assert_eq!(got, [text.clone(), String::new(), text]);
    }
}

fn echo(connection: Connection<Blob>) {
    while let Ok(blob) = connection.recv() {
        connection.send(blob).unwrap();
    }
}

#[procshare::test]
fn sixteen_mebibytes_pass_through_a_default_pipe_both_ways() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = pipe().unwrap();
    let child = child(echo, (theirs,));
    for number in 0..3 {
        ours.send(Blob::new(number, 16 * MIB)).unwrap();
        assert!(ours.poll(Duration::from_secs(50)).unwrap());
        assert_eq!(ours.recv().unwrap(), Blob::new(number, 16 * MIB));
    }
    ours.close();
    child.join().unwrap();
    let (left, right) = pipe().unwrap();
    let ((sender, _), (_, receiver)) = (left.split(), right.split());
    sender.send(Blob::new(7, MIB)).unwrap();
    assert_eq!(receiver.recv().unwrap(), Blob::new(7, MIB));
}

#[procshare::test]
fn a_worker_puts_items_of_any_size_into_a_queue_among_its_arguments() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<Blob>::new(4).unwrap();
    let pool = Pool::new(2).unwrap();
    let jobs = (0..4).map(|number| {
        let put = |(queue, number): (SharedQueue<Blob>, usize)| queue.put(Blob::new(number, MIB)).is_ok();
        pool.submit(put, ((queue.clone(), number),))
    });
    assert!(jobs.collect::<Vec<_>>().into_iter().all(|job| job.get().unwrap()));
    let mut sizes = (0..4).map(|_| queue.get().unwrap().0.len());
    assert!(sizes.all(|size| size == MIB));
}

/// One after the other at first, then as many as the queue holds, of sizes that end anywhere.
#[procshare::test]
fn memory_is_taken_as_items_come_and_given_back_when_they_leave() {
    let _watchdog = watchdog(60);
    alone(|| {
        let stage = Stage::new();
        let queue = stage.segment.queue::<Blob>("queue", 16).unwrap();
        let empty = stage.taken();
        for number in 0..200 {
            queue.put(Blob::new(number, 40_000 + number * 777)).unwrap();
            assert!(stage.taken() > empty);
            assert_eq!(queue.get().unwrap(), Blob::new(number, 40_000 + number * 777));
            assert_eq!(stage.taken(), empty, "after item {number}");
        }
        for number in 0..16 {
            queue.put(Blob::new(number, 50_000)).unwrap();
            assert!(stage.taken() >= empty + (number + 1) * 50_000);
        }
        for left in (0..16).rev() {
            queue.get().unwrap();
            assert!(stage.taken() <= empty + left * 53_248, "{left} left");
        }
        // Small ones that share pages, since the ring is full of them.
        for _ in 0..3 {
            (0..16).for_each(|number| queue.put(Blob::new(number, 3900)).unwrap());
            assert!(stage.taken() > empty);
            (0..16).for_each(|number| assert_eq!(queue.get().unwrap(), Blob::new(number, 3900)));
            assert!(stage.taken() <= empty + 4096);
        }
    });
}

#[procshare::test]
fn an_empty_default_queue_takes_64_kib_at_most() {
    let _watchdog = watchdog(60);
    alone(|| {
        let before = taken_anonymously();
        let queue = SharedQueue::<u64>::new(1024).unwrap();
        let builder = SharedQueue::<u64>::builder().anonymous().unwrap();
        let each = (taken_anonymously() - before) / 2;
        assert!(each <= 64 << 10, "{each} bytes");
        let small = taken_anonymously();
        // Small items need nothing more, as many as there may be.
        for queue in [&queue, &builder] {
            queue.put_all(0..1024).unwrap();
            assert!(queue.is_full());
        }
        assert_eq!(taken_anonymously(), small);
    });
}

#[procshare::test]
fn bytes_that_are_named_are_a_bound() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<String>::new(Capacity::items(8).bytes(MIB)).unwrap();
    assert_eq!(queue.capacity_bytes(), MIB);
    let too_large = queue.put("x".repeat(MIB)).unwrap_err();
    assert!(matches!(too_large, SendError::TooLarge { bytes, capacity: MIB, .. } if bytes > MIB));
    let half = "x".repeat(MIB / 2 - 100);
    (0..2).for_each(|_| queue.put(half.clone()).unwrap());
    assert!(matches!(queue.try_put(half.clone()), Err(SendError::Full(_))));
    let taker = queue.clone();
    let (put, got) = while_waiting(|| queue.put(half.clone()), || taker.get());
    assert_eq!((put, got), (Ok(()), Ok(half)));
}

// Where there is no memory.

fn mount_small(folder: &Folder) {
    let [what, target] = ["tmpfs", folder.path()].map(|text| CString::new(text).unwrap());
    let options = CString::new("size=1m").unwrap();
    // SAFETY: the texts end in NUL and outlive the call.
    let outcome = unsafe {
        libc::mount(
            what.as_ptr(),
            target.as_ptr(),
            what.as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

fn unmount(folder: &Folder) {
    let target = CString::new(folder.path()).unwrap();
    // SAFETY: the text ends in NUL and outlives the call.
    unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
}

#[procshare::test]
fn an_item_there_is_no_memory_for_comes_back_and_the_queue_goes_on() {
    let _watchdog = watchdog(60);
    if !is_root("mount a file system of 1 MiB") {
        return;
    }
    alone(|| {
        let folder = Folder::new();
        mount_small(&folder);
        let segment = folder.builder().capacity(1 << 18).create("shared").unwrap();
        let queue = segment.queue::<Blob>("queue", 100).unwrap();
        let taken = || std::fs::metadata(file_of(&folder.0, "shared")).unwrap().blocks();
        let empty = taken();
        for round in 0..3 {
            queue.put(Blob::new(1, 300_000)).unwrap();
            queue.put(Blob::new(2, 300_000)).unwrap();
            let held = taken();
            for size in [300_000, 2 * MIB] {
                let error = queue.put(Blob::new(3, size)).unwrap_err();
                assert!(
                    matches!(&error, SendError::OutOfMemory(item) if *item == Blob::new(3, size)),
                    "{error:?}"
                );
                assert_eq!(Error::from(error).kind(), ErrorKind::OutOfMemory);
                assert_eq!(taken(), held, "what was written of it is given back");
            }
            let all = queue.put_all([Blob::new(4, 5), Blob::new(5, MIB), Blob::new(6, 5)]);
            assert_eq!(all.unwrap_err().into_item(), [Blob::new(5, MIB), Blob::new(6, 5)]);
            queue.put(Blob::new(7, 9)).unwrap();
            for (number, size) in [(1, 300_000), (2, 300_000), (4, 5), (7, 9)] {
                assert_eq!(queue.get().unwrap(), Blob::new(number, size), "round {round}");
            }
            assert_eq!(taken(), empty);
        }
        drop((queue, segment));
        unmount(&folder);
    });
}

#[procshare::test]
fn a_limit_of_file_sizes_is_an_error_and_no_signal() {
    let _watchdog = watchdog(60);
    alone(|| {
        let queue = SharedQueue::<Blob>::new(100).unwrap();
        let before = limit(libc::RLIMIT_FSIZE, 64 << 10);
        let error = queue.put(Blob::new(1, 100_000)).unwrap_err();
        assert!(matches!(error, SendError::OutOfMemory(_)), "{error:?}");
        // One that is made now is bounded by bytes.
        let bounded = SharedQueue::<Blob>::new(100).unwrap();
        assert_eq!(bounded.capacity_bytes(), RING);
        let error = bounded.put(Blob::new(1, 100_000)).unwrap_err();
        assert!(matches!(error, SendError::TooLarge { .. }), "{error:?}");
        for queue in [&queue, &bounded] {
            queue.put(Blob::new(2, 5000)).unwrap();
            assert_eq!(queue.get().unwrap(), Blob::new(2, 5000));
        }
        limit(libc::RLIMIT_FSIZE, before);
        queue.put(Blob::new(1, 100_000)).unwrap();
        assert_eq!(queue.get().unwrap(), Blob::new(1, 100_000));
        // What it is it stays.
        assert!(matches!(
            bounded.put(Blob::new(1, 100_000)),
            Err(SendError::TooLarge { .. })
        ));
    });
}

#[procshare::test]
fn a_queue_on_a_disk_is_bounded_by_the_bytes_it_was_made_with() {
    let _watchdog = watchdog(60);
    let path = std::env::temp_dir().join(unique("any-size"));
    let segment = Segment::create_file(&path, 1 << 18).unwrap();
    let queue = segment.queue::<Blob>("queue", 10).unwrap();
    let outcome = queue.put(Blob::new(1, 100_000));
    match queue.capacity_bytes() {
        RING => {
            assert!(matches!(outcome, Err(SendError::TooLarge { .. })));
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 18);
        }
        // The folder is in memory.
        _ => assert_eq!(queue.get(), Ok(Blob::new(1, 100_000))),
    }
    drop(queue);
    // Whatever its length is now, it can be opened.
    drop(segment);
    Segment::open_file(&path).unwrap().unlink().unwrap();
}

/// An item of 2^40 elements, which counts how many of them were asked for.
struct Endless<'a>(&'a AtomicU64);

impl Serialize for Endless<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(1 << 40))?;
        for _ in 0..1u64 << 40 {
            self.0.fetch_add(1, Ordering::Relaxed); // Relaxed: one thread's count.
            sequence.serialize_element(&7u8)?;
        }
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for Endless<'_> {
    fn deserialize<D: serde::Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        unreachable!("nothing of it is ever encoded as a whole")
    }
}

/// What is kept of an earlier item may be filled up: so many elements more.
const KEPT: u64 = 1 << 17;

#[test]
fn an_item_beyond_the_bound_is_refused_when_the_bound_is_passed() {
    let _watchdog = watchdog(60);
    let count = AtomicU64::new(0);
    let endless = || Endless(&count);
    let asked = |what: &str| {
        let asked = count.swap(0, Ordering::Relaxed);
        assert!(asked < KEPT, "{what}: {asked} elements were encoded");
    };
    let bounded = Capacity::items(8).bytes(4096);
    let queue = SharedQueue::<Endless>::new(bounded).unwrap();
    for (what, outcome) in [
        ("put", queue.put(endless())),
        ("try_put", queue.try_put(endless())),
        ("put_timeout", queue.put_timeout(endless(), Duration::from_secs(1))),
    ] {
        asked(what);
        let Err(SendError::TooLarge { bytes, capacity, .. }) = outcome else {
            panic!("{what}: {outcome:?}");
        };
        assert!(bytes > capacity && capacity == 4096, "{what}: {bytes} of {capacity}");
    }
    let outcome = queue.put_all([endless()]);
    assert!(matches!(outcome, Err(SendError::TooLarge { capacity: 4096, .. })));
    asked("put_all");
    let (left, _right) = Connection::<Endless>::pair(bounded).unwrap();
    assert!(matches!(left.send(endless()), Err(SendError::TooLarge { .. })));
    asked("send");
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// As [`Endless`] for maps, whose keys and values are of types without references.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Long(u64);

impl<'de> Deserialize<'de> for Long {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|elements| Long(elements.len() as u64))
    }
}

impl Serialize for Long {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0 as usize))?;
        for _ in 0..self.0 {
            COUNT.set(COUNT.get() + 1);
            sequence.serialize_element(&7u8)?;
        }
        sequence.end()
    }
}

#[test]
fn a_key_or_value_larger_than_the_map_is_refused_when_the_bound_is_passed() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<Long, Long>::with_capacity(4096).unwrap();
    let (good, endless) = (Long(3), Long(1 << 40));
    let full = |outcome: Result<(), MapError>| match outcome {
        Err(MapError::Full { needed, free }) => assert!(needed > free, "{needed} in {free}"),
        outcome => panic!("{outcome:?}"),
    };
    full(map.insert(&good, &endless).map(drop));
    full(map.compare_exchange(&good, None, Some(&endless)).map(drop));
    full(map.update(&good, |_| Some(endless.clone())).map(drop));
    full(map.get_or_insert_with(&good, || endless.clone()).map(drop));
    full(map.extend([(good.clone(), endless.clone())]));
    let refused = map.insert(&endless, &good);
    assert!(matches!(refused, Err(MapError::KeyTooLong { .. })), "{refused:?}");
    // Nobody can have put it there.
    assert_eq!(map.get(&endless), Ok(None));
    assert_eq!(map.remove(&endless), Ok(None));
    assert_eq!(map.contains_key(&endless), Ok(false));
    assert!(map.is_empty());
    assert!(COUNT.get() < 20 * KEPT, "{} elements were encoded", COUNT.get());
}

/// Whoever has room for any item asks for memory before it is taken.
#[procshare::test]
fn an_item_larger_than_memory_comes_back() {
    let _watchdog = watchdog(120);
    if std::env::var_os("PROCSHARE_LARGE").is_none() {
        return; // It takes as much memory as there is, which other tests want as well.
    }
    let count = AtomicU64::new(0);
    let queue = SharedQueue::<Endless>::new(8).unwrap();
    let error = queue.put(Endless(&count)).unwrap_err();
    assert!(matches!(error, SendError::OutOfMemory(_)), "{error:?}");
}

// Deaths.

fn fill_and_wait(queue: SharedQueue<Blob>, came: Flag) {
    (0..10).for_each(|number| queue.put(Blob::new(number, 100_000)).unwrap());
    came.raise();
    for_ever();
}

#[procshare::test]
fn large_items_outlive_all_users_of_a_named_queue() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("any-size");
        let queue = SharedQueue::<Blob>::create(&name, 20).unwrap();
        let came = Flag::new();
        let child = child(fill_and_wait, (queue.clone(), came.clone()));
        came.wait_for(1);
        // Only the child is left, and dies.
        drop(queue);
        kill(child);
        let queue = SharedQueue::<Blob>::open(&name).unwrap();
        assert_eq!(queue.len(), 10);
        (0..10).for_each(|number| assert_eq!(queue.get().unwrap(), Blob::new(number, 100_000)));
    });
}

fn put_for_ever(queue: SharedQueue<Blob>, number: usize) {
    for size in (0..).map(|round: usize| (round * 7919 + number * 104_729) % 90_000) {
        queue.put(Blob::new(size, size)).unwrap();
    }
}

fn get_for_ever(queue: SharedQueue<Blob>) {
    loop {
        let blob = queue.get().unwrap();
        assert_eq!(blob, Blob::new(blob.0.len(), blob.0.len()), "torn");
    }
}

/// Producers and consumers are killed in turn, amid large and small items.
#[procshare::test]
fn a_storm_of_items_of_all_sizes_leaves_nothing_torn_and_nothing_behind() {
    let _watchdog = watchdog(120);
    alone(|| {
        let stage = Stage::new();
        let queue = stage.segment.queue::<Blob>("queue", 20).unwrap();
        let empty = stage.taken();
        let producer = |number| child(put_for_ever, (queue.clone(), number));
        let consumer = || child(get_for_ever, (queue.clone(),));
        let mut producers: VecDeque<Process<()>> = (0..2).map(producer).collect();
        let mut consumers: VecDeque<Process<()>> = (0..2).map(|_| consumer()).collect();
        for round in 0..30 {
            thread::sleep(Duration::from_micros(round * 997 % 20_000)); // A kill at any moment.
            kill(producers.pop_front().unwrap());
            kill(consumers.pop_front().unwrap());
            producers.push_back(producer(round as usize));
            consumers.push_back(consumer());
            if let Ok(blob) = queue.try_get() {
                assert_eq!(blob, Blob::new(blob.0.len(), blob.0.len()), "torn");
            }
        }
        // Consumers first: without producers they would end by themselves. Producers have this process.
        for child in consumers.into_iter().chain(producers) {
            kill(child);
        }
        queue
            .try_put(Blob::new(5, 5))
            .map_or_else(|error| drop(error.into_item()), drop);
        while let Ok(blob) = queue.try_get() {
            assert_eq!(blob, Blob::new(blob.0.len(), blob.0.len()), "torn");
        }
        assert!(
            stage.taken() <= empty + 4096,
            "{} bytes are left",
            stage.taken() - empty
        );
    });
}

/// Words that say where items outside the ring are, and those of a reference, changed behind everybody's back.
#[procshare::test]
fn forged_places_of_items_are_an_error_at_most() {
    let _watchdog = watchdog(60);
    // The words of either side behind its lock and what it saw, and the first references.
    let words = (3..6).flat_map(|word| [64 + 8 * word, 192 + 8 * word]);
    for at in words.chain((0..4).map(|word| RING_AT + 8 * word)) {
        for forged in [0, 1, 4096, 1 << 20, 1 << 47, u64::MAX] {
            let stage = Stage::new();
            let queue = stage.segment.queue::<Blob>("queue", 100).unwrap();
            (0..2).for_each(|number| queue.put(Blob::new(number, 100_000)).unwrap());
            let object = &stage.segment.objects().unwrap()[0];
            assert_eq!(object.bytes, EXTENTS_AT + EXTENTS);
            role::write_at(&stage.file(), object.offset + at, &u64::to_ne_bytes(forged));
            for _ in 0..3 {
                let _ = queue.try_put(Blob::new(2, 100_000));
                let got = queue.try_get();
                assert!(
                    got.is_ok() || got == Err(RecvError::Corrupt) || got == Err(RecvError::Empty) || {
                        matches!(got, Err(RecvError::Invalid(_)))
                    }
                );
            }
        }
    }
}

/// The same of items that lie in extents, and of what their words say.
#[procshare::test]
fn forged_extents_are_an_error_at_most() {
    let _watchdog = watchdog(120);
    let item = |number: u8| (number, vec![number; MIB + 4096]);
    for at in [0, 8, 16, 24, 40, 48]
        .map(|word| EXTENTS_AT + word)
        .into_iter()
        .chain([RING_AT, RING_AT + 8])
    {
        for forged in [0, 1, 3, 7, 8, 1 << 32 | 5, 1 << 47, u64::MAX] {
            let stage = Stage::new();
            let queue = stage.segment.queue::<(u8, Vec<u8>)>("queue", 100).unwrap();
            (0..2).for_each(|number| queue.put(item(number)).unwrap());
            let object = &stage.segment.objects().unwrap()[0];
            role::write_at(&stage.file(), object.offset + at, &u64::to_ne_bytes(forged));
            for _ in 0..3 {
                let _ = queue.try_put(item(2));
                match queue.try_get() {
                    Ok((number, bytes)) => assert!(bytes.len() == MIB + 4096 && bytes[0] == number),
                    Err(RecvError::Corrupt | RecvError::Empty | RecvError::Invalid(_)) => {}
                    Err(error) => panic!("{at}, {forged}: {error}"),
                }
            }
        }
    }
}

// Ends of threads.

/// Puts large items when its thread ends.
struct Last(SharedQueue<String>, SharedMap<Vec<String>, Vec<String>>);

impl Drop for Last {
    fn drop(&mut self) {
        let text = || "x".repeat(4000);
        self.0.put(text()).unwrap();
        self.0.put_all([text(), text()]).unwrap();
        let texts = vec!["key".to_owned()];
        self.1.insert(&texts, &texts).unwrap();
        assert_eq!(self.1.get(&texts).unwrap(), Some(texts));
        assert_eq!(self.0.get().unwrap(), text());
        assert_eq!(self.0.get_up_to(1).unwrap().count(), 1);
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// What a thread keeps for its items is destroyed before the thread's own values, or after: whichever was used first.
#[test]
fn queues_and_maps_work_in_destructors_of_a_thread() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<String>::new(100).unwrap();
    let map = SharedMap::with_capacity(1 << 16).unwrap();
    let texts = vec!["before".to_owned()];
    for (round, used_before) in [true, false].into_iter().enumerate() {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let use_both = || {
                    queue.put("x".repeat(4000)).unwrap();
                    queue.get().unwrap();
                    map.insert(&texts, &texts).unwrap();
                };
                if used_before {
                    use_both();
                }
                LAST.set(Some(Last(queue.clone(), map.clone())));
                if !used_before {
                    use_both();
                }
            });
            thread.join().unwrap();
        });
        // The destructors may still be running when a scoped thread's result is there, but not after `join`.
        assert_eq!(queue.len(), round + 1);
    }
    assert_eq!(queue.try_get().unwrap().len(), 4000);
    assert_eq!(
        (queue.try_get().unwrap().len(), queue.try_get()),
        (4000, Err(RecvError::Disconnected))
    );
}
