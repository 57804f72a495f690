//! `SharedQueue` with as many processes as there are places for, and one more.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::{Flag, unique};
use forked::{Child, frame};
use procshare::{ErrorKind, Pool, QueueBuilder, RecvError, SendError, SharedQueue};
use std::time::Instant;

/// How many take part where nobody says a number.
const USUAL: usize = 1024;

/// Copies of this process that each take part in the queue, by one item, and stay.
fn take_part(queue: &SharedQueue<u32>, count: usize) -> Vec<Child> {
    let began = Instant::now();
    let take_part = |_| {
        Child::fork(|| {
            queue.put(1).unwrap();
            forked::pause();
        })
    };
    let children: Vec<Child> = (0..count).map(take_part).collect();
    for _ in 0..count {
        assert_eq!(queue.get(), Ok(1));
    }
    println!("{count} came within {:?}", began.elapsed());
    children
}

/// The words say how many there can be, and what is to be done.
fn assert_names_the_cure(words: &str) {
    for expected in ["1024", "max_processes"] {
        assert!(words.contains(expected), "{words}");
    }
}

#[procshare::test]
fn a_thousand_processes_take_part_and_the_next_is_told_the_cure() {
    let _frame = frame();
    let name = unique("many");
    let queue = SharedQueue::<u32>::create(&name, 2 * USUAL).unwrap();
    let mut children = take_part(&queue, USUAL - 1);
    let next = Child::fork(|| {
        let error = SharedQueue::<u32>::open(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        assert_names_the_cure(&error.to_string());
        // What it has inherited it has no place for either.
        let error = queue.try_put(1).unwrap_err();
        assert!(matches!(error, SendError::TooManyProcesses(1)));
        assert_names_the_cure(&error.to_string());
        let error = queue.try_get().unwrap_err();
        assert_eq!(error, RecvError::TooManyProcesses);
        assert_names_the_cure(&error.to_string());
        assert_names_the_cure(&procshare::Error::from(error).to_string());
    });
    next.finish();
    // A place that becomes free is had by the next.
    drop(children.pop());
    Child::fork(|| queue.put(2).unwrap()).finish();
    assert_eq!(queue.get(), Ok(2));
    let began = Instant::now();
    drop(children);
    println!("they went within {:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
    println!("which was noticed within {:?}", began.elapsed());
}

#[procshare::test]
fn more_take_part_where_more_were_asked_for() {
    let _frame = frame();
    let builder: QueueBuilder<u32> = SharedQueue::builder().capacity(2 * USUAL).max_processes(USUAL + 100);
    let queue = builder.anonymous().unwrap();
    let _children = take_part(&queue, USUAL + 50);
    let few = SharedQueue::<u32>::builder().max_processes(1).anonymous().unwrap();
    let next = Child::fork(|| assert_eq!(few.try_put(1), Err(SendError::TooManyProcesses(1))));
    next.finish();
    for refused in [0, 65_536, usize::MAX] {
        let error = SharedQueue::<u32>::builder()
            .max_processes(refused)
            .anonymous()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCapacity);
        assert!(error.to_string().contains("65535"), "{error}");
    }
    drop(SharedQueue::<u32>::builder().max_processes(65_535).anonymous().unwrap());
}

/// Each worker has the queue while all the others have it.
#[procshare::test]
fn a_pool_of_eighty_whose_jobs_bring_one_queue_loses_none() {
    const WORKERS: u32 = 80;
    let _frame = frame();
    let (queue, came) = (SharedQueue::new(100).unwrap(), Flag::new());
    let pool = Pool::new(WORKERS as usize).unwrap();
    let put = |queue: SharedQueue<u32>, came: Flag, number: u32| {
        came.raise();
        came.wait_for(WORKERS);
        queue.put(number).unwrap();
    };
    let jobs: Vec<_> = (0..WORKERS)
        .map(|number| pool.submit(put, (queue.clone(), came.clone(), number)))
        .collect();
    jobs.into_iter().for_each(|job| job.get().unwrap());
    let mut numbers: Vec<u32> = queue.get_up_to(100).unwrap().map(Result::unwrap).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..WORKERS));
}
