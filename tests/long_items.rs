//! Arguments and results that are long: encoded into shared memory and decoded from there, without a buffer between.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/frame.rs"]
mod frame;

use common::{alone, descriptors, kill, limit, wait_until, watchdog};
use counting::{MOST, most_taken};
use effort::thorough;
use frame::{Frame, MIB};
use procshare::process::StartMethod;
use procshare::{
    Connection, ErrorKind, JobError, JoinError, Pool, Process, RecvError, SendError, SharedCounter, SharedQueue, pipe,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

/// Copies come first, for which there may be one thread only.
const METHODS: [StartMethod; 3] = [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer];

fn invert(mut frame: Frame) -> Frame {
    frame.planes.0.iter_mut().flatten().for_each(|byte| *byte = !*byte);
    frame
}

/// The memory that the files of this process take of which no name is left.
fn memory_of_files() -> u64 {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = entries.filter_map(|entry| {
        let path = entry.unwrap().path();
        let target = std::fs::read_link(&path).ok()?;
        let is_memory = target.to_string_lossy().contains("memfd:procshare-pool");
        is_memory.then(|| std::fs::metadata(path).map_or(0, |file| file.blocks() * 512))
    });
    files.sum()
}

#[procshare::test]
fn children_get_and_return_long_values() {
    let _watchdog = watchdog(120);
    let body = || {
        let copy = Process::fork(|| Frame::new(7, 9 * MIB)).unwrap();
        assert!(copy.join().unwrap() == Frame::new(7, 9 * MIB));
        for method in METHODS {
            for bytes in [100, MIB, 20 * MIB] {
                let frame = Frame::new(3, bytes);
                let process = Process::builder().start_method(method).spawn(invert, (frame.clone(),));
                assert!(
                    process.unwrap().join().unwrap() == invert(frame),
                    "{method:?}, {bytes} bytes"
                );
            }
        }
    };
    // In a process of one thread, which may be copied.
    let process = Process::builder().start_method(StartMethod::ForkServer).spawn(body, ());
    process.unwrap().join().unwrap();
}

#[procshare::test]
fn long_and_short_items_may_share_a_job() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(2).unwrap();
    let sizes = [100, 5 * MIB, 3000, MIB, 40, 9 * MIB];
    for chunk in [1, 4, 100] {
        for _ in 0..thorough(3, 1) {
            let frames = (0..24_u32).map(|at| Frame::new(at, sizes[at as usize % sizes.len()] / 2));
            let results = pool.with_chunk_size(chunk).map(invert, frames.clone());
            for (result, frame) in results.into_iter().zip(frames) {
                assert!(result.unwrap() == invert(frame), "chunks of {chunk}");
            }
        }
    }
    wait_until(|| memory_of_files() < MIB as u64);
}

/// What cannot be encoded comes behind what is long.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Late(Vec<u8>, bool);

impl Serialize for Late {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.1 {
            return (&self.0, &self.1).serialize(serializer);
        }
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("it is late"))
            }
        }
        (&self.0, Fails).serialize(serializer)
    }
}

#[procshare::test]
fn what_fails_after_much_was_written_leaves_nothing() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    let item = |at: usize| Late(vec![at as u8; 3 * MIB], at % 2 == 0);
    // As an argument, and as a result.
    let results = pool.with_chunk_size(6).map(|item: Late| item.0.len(), (0..6).map(item));
    let back = pool
        .with_chunk_size(6)
        .map(|at: usize| Late(vec![at as u8; 3 * MIB], at % 2 == 0), 0..6);
    for at in 0..6 {
        match (&results[at], &back[at]) {
            (Ok(len), Ok(late)) => assert!(at % 2 == 0 && *len == 3 * MIB && *late == item(at)),
            (Err(JobError::Encoding(sent)), Err(JobError::Encoding(returned))) => {
                assert!(at % 2 == 1 && sent.contains("it is late") && returned.contains("it is late"));
            }
            other => panic!("item {at}: {other:?}"),
        }
    }
    drop(back);
    wait_until(|| memory_of_files() < MIB as u64);
    let refused = Process::spawn(|item: Late| item.0.len(), (item(1),)).unwrap_err();
    assert!(refused.to_string().contains("it is late"), "{refused}");
    let refused = Process::spawn(|| Late(vec![0; 3 * MIB], false), ())
        .unwrap()
        .join()
        .unwrap_err();
    assert!(
        matches!(&refused, JoinError::Encoding(text) if text.contains("it is late")),
        "{refused}"
    );
}

/// Loses the file that its bytes go to, when it has written much.
#[derive(Debug, Deserialize)]
struct Losing(Vec<u8>);

impl Serialize for Losing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Loss;
        impl Serialize for Loss {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let empty = std::fs::File::open("/dev/null").unwrap();
                for (number, target) in descriptors() {
                    let is_long =
                        std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|file| file.blocks() > 4096);
                    if is_long && target.contains("/memfd:procshare") {
                        // SAFETY: two numbers.
                        unsafe { libc::dup2(empty.as_raw_fd(), number as i32) };
                    }
                }
                serializer.serialize_unit()
            }
        }
        (&self.0, Loss, &self.0).serialize(serializer)
    }
}

/// Memory has nothing to do with it, nor has the encoding.
#[procshare::test]
fn what_cannot_be_read_back_is_an_error_of_the_system() {
    let _watchdog = watchdog(120);
    fn item() -> Losing {
        Losing(vec![7; 3 * MIB])
    }
    alone(|| {
        let error = Process::spawn(|item: Losing| item.0.len(), (item(),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("reading its bytes back failed"), "{error}");
    });
    alone(|| {
        let outcome = Pool::new(1).unwrap().apply(|item: Losing| item.0.len(), (item(),));
        assert!(
            matches!(
                outcome,
                Err(JobError::Refused {
                    kind: ErrorKind::Io,
                    ..
                })
            ),
            "{outcome:?}"
        );
    });
    alone(|| {
        let error = SharedQueue::new(4).unwrap().put(item()).unwrap_err();
        assert!(matches!(error, SendError::Io(_)), "{error:?}");
    });
}

/// Dies the first time it is called.
fn die_once(calls: SharedCounter, frame: Frame) -> Frame {
    if calls.increment().unwrap() == 1 {
        std::process::abort();
    }
    invert(frame)
}

#[procshare::test]
fn a_long_item_outlives_the_worker_that_held_it() {
    let _watchdog = watchdog(120);
    let pool = Pool::builder().workers(1).retries(1).build().unwrap();
    let calls = SharedCounter::new(0).unwrap();
    let frames = (0..4).map(|at| Frame::new(at, 6 * MIB));
    let items = frames.clone().map(|frame| (calls.clone(), frame));
    let results = pool.with_chunk_size(4).starmap(die_once, items);
    for (result, frame) in results.into_iter().zip(frames) {
        assert!(result.unwrap() == invert(frame));
    }
    assert_eq!(calls.get(), 5);
    wait_until(|| memory_of_files() < MIB as u64);
}

#[procshare::test]
fn results_nobody_takes_and_jobs_nobody_runs_are_given_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    let ignored = pool.submit(|| vec![1_u8; 8 * MIB], ());
    ignored.wait();
    assert!(memory_of_files() > 7 * MIB as u64);
    drop(ignored);
    wait_until(|| memory_of_files() < MIB as u64);
    let first: procshare::pool::Pending<()> = pool.submit(
        || loop {
            std::thread::park()
        },
        (),
    );
    let waits = pool.submit(|bytes: Vec<u8>| bytes.len(), (vec![1_u8; 8 * MIB],));
    assert!(memory_of_files() > 7 * MIB as u64);
    assert!(waits.cancel());
    drop(waits);
    wait_until(|| memory_of_files() < MIB as u64);
    pool.terminate();
    drop(first);
}

#[procshare::test]
fn a_child_that_is_killed_with_long_arguments_leaves_no_memory() {
    let _watchdog = watchdog(120);
    alone(|| {
        let forever = |_bytes: Vec<u8>| loop {
            std::thread::park();
        };
        let child: Process<()> = Process::spawn(forever, (vec![1_u8; 8 * MIB],)).unwrap();
        kill(child);
    });
}

#[procshare::test]
fn no_second_copy_is_made_on_either_side() {
    let _watchdog = watchdog(120);
    const LONG: usize = 64 * MIB;
    const SOME: usize = 4 * MIB;
    alone(|| {
        let pool = Pool::new(1).unwrap();
        let item = |len: usize| (1_u8, vec![Some(vec![7_u8; len])]);
        type Item = (u8, Vec<Option<Vec<u8>>>);
        /// How much memory the worker has taken at most: the argument, which is returned.
        fn echo(item: Item) -> (Item, usize) {
            let most = MOST.swap(0, Ordering::Relaxed);
            (item, most)
        }
        for _ in 0..20 {
            // The first of a type are decoded once by whoever sends them.
            pool.submit(echo, (item(2 * MIB),)).get().unwrap();
        }
        let long = item(LONG);
        let (pending, submitting) = most_taken(|| {
            let pending = pool.submit(echo, (long.clone(),));
            pending.wait();
            pending
        });
        let ((result, before), getting) = most_taken(|| pending.get().unwrap());
        assert!(result == long);
        let (after, _) = most_taken(|| pool.submit(|| MOST.load(Ordering::Relaxed), ()).get().unwrap());
        println!("taken: {submitting} to submit, {before} by the worker to get, {after} to return, {getting} to get");
        // The clone is dropped when it is encoded.
        assert!((LONG..LONG + SOME).contains(&submitting), "{submitting}");
        assert!((LONG..LONG + SOME).contains(&getting), "{getting}");
        assert!((LONG..LONG + SOME).contains(&before), "{before}");
        assert!(after < LONG + SOME, "{after}");
    });
}

#[procshare::test]
fn where_files_may_not_be_long_items_take_the_usual_way() {
    let _watchdog = watchdog(120);
    alone(|| {
        limit(libc::RLIMIT_FSIZE, 1 << 30);
        let pool = Pool::new(1).unwrap();
        let hold = |bytes: Vec<u8>| bytes.iter().all(|byte| *byte == bytes[0]) && bytes[0] > 0;
        // Those that wait lie in the same file.
        let waiting: Vec<_> = (1..9_u8).map(|at| pool.submit(hold, (vec![at; 3 * MIB],))).collect();
        assert!(waiting.into_iter().all(|pending| pending.get().unwrap()));
        let frame = Frame::new(5, 3 * MIB);
        assert!(pool.submit(invert, (frame.clone(),)).get().unwrap() == invert(frame.clone()));
        assert!(Process::spawn(invert, (frame.clone(),)).unwrap().join().unwrap() == invert(frame));
    });
}

/// More entries than a header of one byte can tell, which is known once they are encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    texts: BTreeMap<String, String>,
}

fn flat() -> Flat {
    Flat {
        texts: (0..20).map(|at| (at.to_string(), "x".repeat(MIB / 5))).collect(),
    }
}

#[procshare::test]
fn a_handle_beside_what_comes_back_from_the_store_is_sent_once() {
    let _watchdog = watchdog(120);
    let answer = |theirs: Connection<usize>, flat: Flat| theirs.send(flat.texts.len()).unwrap();
    let (ours, theirs) = pipe().unwrap();
    Process::spawn(answer, (theirs, flat())).unwrap().join().unwrap();
    assert_eq!((ours.recv(), ours.recv()), (Ok(20), Err(RecvError::Disconnected)));
    let pool = Pool::new(1).unwrap();
    let (ours, theirs) = pipe().unwrap();
    pool.submit(answer, (theirs, flat())).get().unwrap();
    assert_eq!((ours.recv(), ours.recv()), (Ok(20), Err(RecvError::Disconnected)));
    let queue = SharedQueue::<usize>::new(4).unwrap();
    let put = |queue: SharedQueue<usize>, flat: Flat| queue.put(flat.texts.len()).unwrap();
    Process::spawn(put, (queue.clone(), flat())).unwrap().join().unwrap();
    assert_eq!((queue.get(), queue.try_get()), (Ok(20), Err(RecvError::Disconnected)));
}

#[procshare::test]
fn results_that_fail_or_go_the_short_way_leave_no_memory() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    for at in 0..40 {
        let fails = pool.submit(|at: usize| Late(vec![at as u8; 4 * MIB], false), (at,));
        assert!(matches!(fails.get(), Err(JobError::Encoding(_))));
        assert!(pool.submit(flat, ()).get().unwrap() == flat());
    }
    wait_until(|| memory_of_files() < 2 * MIB as u64);
}

#[procshare::test]
fn many_small_pieces_take_no_more_memory_than_one_large() {
    let _watchdog = watchdog(120);
    alone(|| {
        let pool = Pool::new(1).unwrap();
        let count = thorough(2_000_000, 500_000);
        let texts = || vec!["some letters".to_owned(); count];
        let own = most_taken(texts).1;
        for _ in 0..17 {
            pool.submit(|texts: Vec<String>| texts.len(), (texts()[..count / 10].to_vec(),))
                .get()
                .unwrap();
        }
        let (pending, taken) = most_taken(|| pool.submit(|texts: Vec<String>| texts.len(), (texts(),)));
        assert_eq!(pending.get(), Ok(count));
        assert!(taken < own + 4 * MIB, "{taken} beside {own}");
    });
}
