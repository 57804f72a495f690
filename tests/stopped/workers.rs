//! Beside workers of a pool that are stopped, a pool whose process is, and a server that should make workers.

use crate::Scene;
use crate::forked::Child;
use crate::peer::{Calls, SHORT, is_stopped, signal, stop_at, stop_nowhere, until_stopped};
use procshare::pool::{Pending, PoolBuilder};
use procshare::process::StartMethod;
use procshare::{JobError, Pool, SharedCounter, SharedQueue};
use std::time::{Duration, Instant};

const WORKERS: usize = 2;
/// More than there are slots.
const MANY: u64 = 2000;
/// Long enough for everybody.
const LATE: Duration = Duration::from_secs(20);

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "workers",
        points: &[
            "pool.asking",
            "pool.received",
            "pool.asleep",
            "pool.awake",
            "pool.claimed",
            "pool.begun",
            "pool.answering",
            "pool.spilled",
            "pool.stored",
            "pool.answered",
            "pool.finishing",
            "pool.finished",
            "pool.told",
            "start.born",
            "start.begun",
        ],
        play: |at| {
            beside_workers(at, goes_on);
            beside_workers(at, is_terminated);
            beside_workers(at, is_dropped);
        },
    },
    Scene {
        name: "a pool's own process",
        points: &["pool.ready", "pool.ready:5", "pool.handed"],
        play: beside_the_parent,
    },
    Scene {
        name: "server of a pool",
        points: &["start.serving", "start.heard", "start.cloned", "start.told"],
        play: beside_a_server,
    },
];

type Result = (u64, Vec<u8>);

/// A job that brings a handle along.
fn count(counter: SharedCounter) -> i64 {
    counter.increment().unwrap()
}

/// Some results are longer than what a slot has room for, and some so long that they lie elsewhere.
fn work(number: u64) -> Result {
    let len = match number % 4 {
        0 => 20_000,
        2 => 1_200_000,
        _ => 10,
    };
    (number, vec![number as u8; len])
}

fn is_right((number, bytes): &Result) -> bool {
    work(*number).1 == *bytes
}

/// A pool whose first workers are stopped, those that take their places are not, and what it was asked to do.
fn stopped_workers(at: &str) -> (Pool, Vec<Pending<Result>>) {
    stop_at(at);
    let calls = Calls(at);
    let pool = calls.at_once("PoolBuilder::build", || {
        Pool::builder().workers(WORKERS).timeline(true).build().unwrap()
    });
    stop_nowhere();
    let (ids, mut jobs) = (pool.worker_ids(), vec![]);
    while !ids.iter().all(|id| is_stopped(*id)) {
        // Few enough for the other worker to fall asleep now and then.
        if pool.progress().left() < 8 {
            // Of a chunk the second result that is long is the first that fills the window to its end.
            drop(pool.with_chunk_size(6).map_async(work, 0..6));
            drop(pool.submit(count, (SharedCounter::new(0).unwrap(),)));
            jobs.push(calls.at_once("Pool::submit", || pool.submit(work, (jobs.len() as u64,))));
        }
        std::thread::yield_now();
    }
    (pool, jobs)
}

fn beside_workers(at: &str, end: fn(Calls<'_>, Pool, Vec<Pending<Result>>)) {
    let (calls, (pool, mut jobs)) = (Calls(at), stopped_workers(at));
    looks(calls, &pool);
    jobs.extend(asks(calls, &pool));
    waits(calls, &pool);
    end(calls, pool, jobs);
    // SAFETY: the pointer may be null.
    let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!(child, -1, "{at}: a child is left");
}

fn looks(calls: Calls<'_>, pool: &Pool) {
    let clone = calls.at_once("Pool::clone", || pool.clone());
    calls.at_once("Pool::fmt", || format!("{clone:?}"));
    calls.at_once("Pool::progress", || clone.progress());
    calls.at_once("Pool::worker_ids", || (clone.worker_ids(), clone.workers()));
    calls.at_once("Pool::timeline", || clone.timeline());
    calls.at_once("Pool::on_progress", || clone.on_progress(|_| ()));
    calls.at_once("Pool::drop of a clone", || drop(clone));
}

/// Jobs of all kinds, more than there is room for, that bring handles or not.
fn asks(calls: Calls<'_>, pool: &Pool) -> Vec<Pending<Result>> {
    let jobs = calls.at_once("Pool::submit of many", || {
        (0..MANY).map(|number| pool.submit(work, (2 * number + 1,))).collect()
    });
    let counter = SharedCounter::new(0).unwrap();
    let queue = SharedQueue::<u64>::new(4).unwrap();
    for _ in 0..50 {
        let count = |counter: SharedCounter| drop(counter.increment());
        calls.at_once("Pool::submit with a handle", || {
            drop(pool.submit(count, (counter.clone(),)))
        });
        let put = |queue: SharedQueue<u64>| queue.len();
        calls.at_once("Pool::submit with a queue", || drop(pool.submit(put, (queue.clone(),))));
    }
    calls.at_once("SharedQueue::drop", || drop(queue));
    let chunks = calls.at_once("Pool::with_chunk_size", || pool.with_chunk_size(3).with_retries(1));
    calls.at_once("Pool::map_async", || drop(chunks.map_async(work, 0..10)));
    calls.at_once("Pool::starmap_async", || {
        drop(chunks.starmap_async(work, (0..10).map(|number| (number,))))
    });
    calls.at_once("Pool::imap", || drop(chunks.imap(work, 0..10)));
    calls.at_once("Pool::imap_unordered", || drop(chunks.imap_unordered(work, 0..10)));
    jobs
}

fn waits(calls: Calls<'_>, pool: &Pool) {
    let mut job = calls.at_once("Pool::apply_async", || pool.apply_async(work, (1,)));
    let late = |outcome: std::result::Result<Result, JobError>| assert_eq!(outcome, Err(JobError::TimedOut));
    late(calls.at_once("Pending::try_get", || job.try_get()));
    late(calls.at_once("Pending::get_timeout", || job.get_timeout(SHORT)));
    late(calls.at_once("Pending::get_deadline", || job.get_deadline(Instant::now() + SHORT)));
    assert!(!calls.at_once("Pending::wait_timeout", || job.wait_timeout(SHORT)));
    assert!(!calls.at_once("Pending::ready", || job.ready()));
    calls.at_once("Pending::fmt", || format!("{job:?}"));
    assert!(calls.at_once("Pending::cancel", || job.cancel()));
    assert!(calls.at_once("Pending::ready", || job.ready()));
    calls.at_once("Pending::drop", || drop(job));
}

/// One worker does all that the other has not in hand, and then that does the rest.
fn goes_on(calls: Calls<'_>, pool: Pool, mut jobs: Vec<Pending<Result>>) {
    let ids = pool.worker_ids();
    signal(ids[0], libc::SIGCONT);
    let began = Instant::now();
    while jobs.iter().filter(|job| !job.ready()).count() > 1 {
        assert!(
            began.elapsed() < LATE,
            "{}: one worker does not do the work: {:?}",
            calls.0,
            pool.progress()
        );
        std::thread::yield_now();
    }
    calls.at_once("Pool::close", || pool.close());
    signal(ids[1], libc::SIGCONT);
    for job in &mut jobs {
        assert!(is_right(&job.get_timeout(LATE).unwrap()), "{}", calls.0);
    }
    calls.in_the_end("Pool::join", || pool.join());
}

fn is_terminated(calls: Calls<'_>, pool: Pool, jobs: Vec<Pending<Result>>) {
    calls.at_once("Pool::close", || pool.close());
    calls.at_once("Pool::terminate", || pool.terminate());
    are_given_up(calls, jobs);
    calls.in_the_end("Pool::join", || pool.join());
}

fn is_dropped(calls: Calls<'_>, pool: Pool, jobs: Vec<Pending<Result>>) {
    calls.at_once("Pool::drop", || drop(pool));
    are_given_up(calls, jobs);
}

fn are_given_up(calls: Calls<'_>, jobs: Vec<Pending<Result>>) {
    for job in jobs {
        match calls.at_once("Pending::get of a pool that is over", || job.get()) {
            Ok(result) => assert!(is_right(&result)),
            Err(error) => assert_eq!(error, JobError::Terminated, "{}", calls.0),
        }
    }
}

/// Its workers wait for it, and go on with it.
fn beside_the_parent(at: &str) {
    stop_at(at);
    let mut parent = Child::fork(|| {
        let pool = Pool::new(WORKERS).unwrap();
        let results = pool.with_chunk_size(1).map(work, 0..10);
        assert!(results.iter().all(|result| is_right(result.as_ref().unwrap())));
        assert_eq!(pool.apply(count, (SharedCounter::new(0).unwrap(),)), Ok(1));
        pool.join();
    });
    assert!(until_stopped(parent.id()), "{at}: the parent has ended");
    signal(parent.id(), libc::SIGCONT);
    assert_eq!(parent.end(), crate::forked::End::Exited(0));
}

/// A pool is built, or refused in words; in either case it is soon over.
fn beside_a_server(at: &str) {
    stop_at(at);
    let calls = Calls(at);
    let builder = || -> PoolBuilder { Pool::builder().workers(WORKERS).start_method(StartMethod::ForkServer) };
    let built = calls.in_the_end("PoolBuilder::build beside a stopped server", || builder().build());
    stop_nowhere();
    if let Ok(pool) = built {
        calls.at_once("Pool::submit", || drop(pool.submit(work, (1,))));
        calls.at_once("Pool::drop", || drop(pool));
    }
    let pool = calls.in_the_end("PoolBuilder::build after a stopped server", || {
        builder().build().unwrap()
    });
    assert!(is_right(
        &calls.in_the_end("Pool::apply", || pool.apply(work, (1,)).unwrap())
    ));
    calls.at_once("Pool::drop", || drop(pool));
}
