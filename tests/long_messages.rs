//! Long items of queues and pipes: encoded into shared memory and decoded from there, under nobody's lock.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/frame.rs"]
mod frame;

use common::{Flag, alone, limit, wait_until, watchdog};
use counting::most_taken;
use frame::{Frame, MIB};
use procshare::{Pool, Process, RecvError, Segment, SendError, SharedQueue, pipe};
use serde::{Deserialize, Serialize, Serializer};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// The memory that the anonymous segments of this process take beside what they are made of.
fn memory() -> u64 {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = entries.filter_map(|entry| {
        let path = entry.unwrap().path();
        let target = std::fs::read_link(&path).ok()?;
        let is_segment = target.to_string_lossy().contains("memfd:procshare");
        is_segment.then(|| std::fs::metadata(path).map_or(0, |file| file.blocks() * 512))
    });
    files.sum()
}

#[procshare::test]
fn long_items_come_back_in_their_order() {
    let _watchdog = watchdog(120);
    alone(|| {
        let queue = SharedQueue::new(40).unwrap();
        let before = memory();
        // More than have an extent of their own, and some that are short.
        for round in 0..3 {
            let sizes = [5 * MIB, 100, 3 * MIB, 4000];
            let frames = (0..24_u32).map(|at| Frame::new(at, sizes[(at + round) as usize % 4]));
            frames.clone().for_each(|frame| queue.put(frame).unwrap());
            for frame in frames {
                assert!(queue.get().unwrap() == frame, "{} came otherwise", frame.number);
            }
            assert!(memory() < before + MIB as u64, "{} bytes are left", memory() - before);
        }
    });
}

#[procshare::test]
fn batches_may_hold_long_items() {
    let _watchdog = watchdog(120);
    alone(|| {
        let queue = SharedQueue::new(40).unwrap();
        let before = memory();
        let frames = |numbers: std::ops::Range<u32>| numbers.map(|at| Frame::new(at, 100 + at as usize % 3 * 3 * MIB));
        frames(0..6).for_each(|frame| queue.put(frame).unwrap());
        queue.put_all(frames(6..14)).unwrap();
        let mut found = vec![];
        while found.len() < 14 {
            found.extend(queue.get_up_to(5).unwrap().map(Result::unwrap));
        }
        assert!(found.into_iter().eq(frames(0..14)));
        assert!(memory() < before + MIB as u64, "{} bytes are left", memory() - before);
    });
}

#[procshare::test]
fn processes_stream_long_items_to_each_other() {
    let _watchdog = watchdog(240);
    let (queue, back) = (
        SharedQueue::<Frame>::new(20).unwrap(),
        SharedQueue::<u32>::new(200).unwrap(),
    );
    let put = |queue: SharedQueue<Frame>, first: u32| {
        (first..first + 40).for_each(|at| queue.put(Frame::new(at, 100 + at as usize % 4 * MIB)).unwrap());
    };
    let get = |queue: SharedQueue<Frame>, back: SharedQueue<u32>| {
        for frame in &queue {
            let frame = frame.unwrap();
            assert!(frame == Frame::new(frame.number, 100 + frame.number as usize % 4 * MIB));
            back.put(frame.number).unwrap();
        }
    };
    let producers = [0, 1000].map(|first| Process::spawn(put, (queue.clone(), first)).unwrap());
    let consumers = [(), ()].map(|()| Process::spawn(get, (queue.clone(), back.clone())).unwrap());
    drop(queue);
    producers.into_iter().for_each(|process| process.join().unwrap());
    consumers.into_iter().for_each(|process| process.join().unwrap());
    let mut numbers: Vec<_> = std::iter::from_fn(|| back.try_get().ok()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..40).chain(1000..1040)));
}

#[procshare::test]
fn pipes_and_named_queues_take_long_items() {
    let _watchdog = watchdog(120);
    let (ours, theirs) = pipe::<Frame>().unwrap();
    let echo = |theirs: procshare::Connection<Frame>| theirs.send(theirs.recv().unwrap()).unwrap();
    let child = Process::spawn(echo, (theirs,)).unwrap();
    ours.send(Frame::new(3, 7 * MIB)).unwrap();
    assert!(ours.recv().unwrap() == Frame::new(3, 7 * MIB));
    child.join().unwrap();
    let name = common::unique("long");
    let segment = Segment::builder().capacity(1 << 20).create(&name).unwrap();
    let queue = segment.queue("frames", 4).unwrap();
    queue.put(Frame::new(8, 7 * MIB)).unwrap();
    let get = |name: String| {
        let queue: SharedQueue<Frame> = Segment::open(&name).unwrap().open_queue("frames").unwrap();
        queue.get().unwrap()
    };
    assert!(Process::spawn(get, (name,)).unwrap().join().unwrap() == Frame::new(8, 7 * MIB));
}

#[procshare::test]
fn no_second_copy_is_made() {
    let _watchdog = watchdog(120);
    const LONG: usize = 64 * MIB;
    const SOME: usize = 4 * MIB;
    alone(|| {
        let queue = SharedQueue::new(4).unwrap();
        let item = |len: usize| (1_u8, vec![Some(vec![7_u8; len])]);
        for _ in 0..20 {
            // The first of a handle are decoded once by whoever sends them.
            queue.put(item(2 * MIB)).unwrap();
            queue.get().unwrap();
        }
        let long = item(LONG);
        let (_, putting) = most_taken(|| queue.put(long.clone()).unwrap());
        let (found, getting) = most_taken(|| queue.get().unwrap());
        assert!(found == long);
        println!("{putting} to put, {getting} to get");
        assert!((LONG..LONG + SOME).contains(&putting), "{putting}");
        assert!((LONG..LONG + SOME).contains(&getting), "{getting}");
    });
}

#[procshare::test]
fn what_is_not_put_leaves_no_memory() {
    let _watchdog = watchdog(120);
    alone(|| {
        let queue = SharedQueue::new(1).unwrap();
        queue.put(Frame::new(0, 100)).unwrap();
        let before = memory();
        let frame = Frame::new(1, 6 * MIB);
        let full = queue.try_put(frame.clone()).unwrap_err();
        assert!(matches!(full, SendError::Full(back) if back == frame));
        let late = queue.put_timeout(frame.clone(), Duration::from_millis(1)).unwrap_err();
        assert!(matches!(late, SendError::TimedOut(back) if back == frame));
        queue.close();
        assert!(matches!(queue.put(frame), Err(SendError::Closed(_))));
        assert!(memory() < before + MIB as u64, "{} bytes are left", memory() - before);
        assert!(queue.get().is_ok() && queue.get() == Err(RecvError::Closed));
    });
}

/// Puts another one into the same queue while it is encoded.
struct Nested(SharedQueue<Vec<Vec<u8>>>, u32);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.1 > 0 {
            let inner = vec![vec![self.1 as u8; 2 * MIB]];
            self.0.put(inner).unwrap();
        }
        (vec![1_u8; 2 * MIB], 1_u8).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(Vec<u8>, u8)>::deserialize(deserializer)?;
        Err(serde::de::Error::custom("it cannot be made here"))
    }
}

#[procshare::test]
fn an_item_may_use_queues_while_it_is_encoded() {
    let _watchdog = watchdog(120);
    let inner = SharedQueue::new(10).unwrap();
    let outer = SharedQueue::new(10).unwrap();
    let refused = outer.put(Nested(inner.clone(), 7)).unwrap_err();
    assert!(refused.to_string().contains("it cannot be made here"), "{refused}");
    while let Ok(found) = inner.try_get() {
        assert!(found == [vec![7; 2 * MIB]]);
    }
}

/// Waits while it is encoded, for as long as it is told.
#[derive(Deserialize)]
struct Slow(Vec<Vec<u8>>);

static GO: std::sync::OnceLock<(Flag, Flag)> = std::sync::OnceLock::new();

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some((came, go)) = GO.get() {
            came.raise();
            go.wait_for(1);
        }
        self.0.serialize(serializer)
    }
}

#[procshare::test]
fn nobody_waits_for_one_who_encodes() {
    let _watchdog = watchdog(120);
    let queue = SharedQueue::new(20).unwrap();
    let (came, go) = (Flag::new(), Flag::new());
    let slow = |queue: SharedQueue<Slow>, came: Flag, go: Flag| {
        GO.set((came, go)).ok().unwrap();
        queue.put(Slow(vec![vec![1; 2 * MIB]])).unwrap();
    };
    // As many as there are extents, and more.
    let children: Vec<_> = (0..10)
        .map(|_| Process::spawn(slow, (queue.clone(), came.clone(), go.clone())).unwrap())
        .collect();
    came.wait_for(10);
    for _ in 0..5 {
        queue.put(Slow(vec![vec![2; 2 * MIB]])).unwrap();
        assert!(queue.get().unwrap().0 == [vec![2; 2 * MIB]]);
    }
    go.raise();
    children.into_iter().for_each(|child| child.join().unwrap());
    for _ in 0..10 {
        assert!(queue.get().unwrap().0 == [vec![1; 2 * MIB]]);
    }
}

#[procshare::test]
fn the_dead_leave_no_memory_to_those_who_wait() {
    let _watchdog = watchdog(120);
    alone(|| {
        let pool = Pool::new(1).unwrap();
        pool.submit(|| (), ()).get().unwrap();
        let before = memory();
        // It dies while it decodes: the second element is none.
        let die = |queue: SharedQueue<Vec<Bomb>>| drop(queue.get());
        let bombs = SharedQueue::<Vec<Bomb>>::new(4).unwrap();
        bombs.put(vec![Bomb(vec![1; 2 * MIB]), Bomb(vec![0; 2 * MIB])]).unwrap();
        assert!(pool.submit(die, (bombs.clone(),)).get().is_err());
        wait_until(|| {
            assert!(bombs.get_timeout(Duration::from_millis(5)).is_err());
            memory() < before + MIB as u64
        });
    });
}

/// Ends the process that decodes it, unless that made it.
#[derive(Serialize)]
struct Bomb(Vec<u8>);

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Bytes(Vec<u8>);
        let Bytes(bytes) = Bytes::deserialize(deserializer)?;
        if bytes[0] == 0 && procshare::process::current().name().starts_with("PoolWorker") {
            std::process::abort();
        }
        Ok(Bomb(bytes))
    }
}

#[procshare::test]
fn where_files_may_not_be_long_items_are_refused_in_words() {
    let _watchdog = watchdog(120);
    alone(|| {
        let queue = SharedQueue::new(4).unwrap();
        limit(libc::RLIMIT_FSIZE, 1 << 24);
        let refused = queue.put(Frame::new(5, 3 * MIB)).map_err(|error| error.to_string());
        if let Err(text) = refused {
            assert!(text.contains("memory") || text.contains("ulimit"), "{text}");
        }
        queue.put(Frame::new(6, 100)).unwrap();
    });
}
