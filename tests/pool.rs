//! `Pool`: its methods, pending results, panics, timelines and initializers.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/blob.rs"]
mod blob;
mod common;
#[path = "common/effort.rs"]
mod effort;

use blob::Blob;
use common::{Flag, alone, for_ever, other_program, output_of, wait_until, watchdog};
use effort::thorough;
use procshare::pool::{Ending, Pending};
use procshare::{ErrorKind, JobError, Pool, SharedAtomicArray, SharedCounter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

fn same(a: u64) -> u64 {
    a
}

fn odd(a: u64) -> Result<u64, String> {
    if a % 2 == 1 { Ok(a) } else { Err(format!("{a} is even")) }
}

fn wait_and_give(go: Flag, a: u64) -> u64 {
    go.wait_for(1);
    a
}

fn values<R: std::fmt::Debug>(results: Vec<Result<R, JobError>>) -> Vec<R> {
    results.into_iter().map(Result::unwrap).collect()
}

#[procshare::test]
fn no_items_give_no_results() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(same, []), []);
    assert_eq!(pool.starmap(same, std::iter::empty()), []);
    assert_eq!(pool.imap(same, []).next(), None);
    assert_eq!(pool.imap_unordered(same, []).next(), None);
    let nothing = pool.map_async(same, []);
    assert!(nothing.ready() && nothing.successful() && !nothing.cancel());
    nothing.wait();
    assert!(nothing.wait_timeout(Duration::ZERO));
    assert_eq!(nothing.get(), Ok(vec![]));
    assert_eq!(pool.progress().submitted, 0);
}

#[procshare::test]
fn items_and_results_may_have_no_bytes() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    for chunk in [1, 7, 1000] {
        let pool = pool.with_chunk_size(chunk);
        assert_eq!(pool.map(|(): ()| (), vec![(); 1000]), vec![Ok(()); 1000]);
        assert_eq!(pool.starmap(|| (), vec![(); 100]), vec![Ok(()); 100]);
        assert_eq!(
            pool.imap(|(): ()| (), vec![(); 100]).collect::<Vec<_>>(),
            vec![Ok(()); 100]
        );
    }
}

#[procshare::test]
fn results_with_errors_of_their_own_are_results() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let expected: Vec<_> = (0..50).map(|a| Ok(odd(a))).collect();
    assert_eq!(pool.map(odd, 0..50), expected);
    let answers = pool.map_async(odd, 0..50);
    answers.wait();
    assert!(answers.successful());
    assert_eq!(pool.progress().failed, 0);
}

/// Items of unlike kinds of iterators: those that know their number, those that do not, and those that know too little.
#[procshare::test]
fn items_come_from_any_iterator() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let expected: Vec<u64> = (0..100).collect();
    assert_eq!(values(pool.map(same, 0..100)), expected);
    assert_eq!(values(pool.map(same, (0..200).filter(|a| *a < 100))), expected);
    let mut next = 0..100;
    assert_eq!(values(pool.map(same, std::iter::from_fn(|| next.next()))), expected);
    assert_eq!(values(pool.map(same, expected.clone())), expected);
    let set: std::collections::BTreeSet<u64> = (0..100).collect();
    assert_eq!(values(pool.map(same, set)), expected);
}

/// Says that it has so many items, and has others.
struct Liar(std::ops::Range<u64>, usize);

impl Iterator for Liar {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}

#[procshare::test]
fn an_iterator_that_miscounts_hangs_nobody() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    for said in [0, 3, 5, 50] {
        let mut results = pool.map_async(same, Liar(0..5, said));
        let results = results.get_timeout(Duration::from_secs(5));
        assert_eq!(results, Ok((0..5).map(Ok).collect()), "it says {said}, and has 5");
    }
}

#[procshare::test]
fn an_iterator_that_panics_leaves_the_pool_usable() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let panics = |a: u64| {
        assert_ne!(a, 30, "on purpose");
        a
    };
    for chunk in [1, 7, 100] {
        let pool = pool.with_chunk_size(chunk);
        let call = std::panic::AssertUnwindSafe(|| pool.map(same, (0..100).map(panics)));
        assert!(std::panic::catch_unwind(call).is_err());
        let call = std::panic::AssertUnwindSafe(|| pool.imap(same, (0..100).map(panics)).count());
        assert!(std::panic::catch_unwind(call).is_err());
        assert_eq!(values(pool.map(same, 0..50)), (0..50).collect::<Vec<_>>());
    }
    pool.join();
}

#[procshare::test]
fn panics_are_told_and_cost_one_item() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let throw = |a: u8| match a {
        1 => panic!("no words to format"),
        2 => panic!("a is {a}"),
        3 => std::panic::panic_any(7_u8),
        4 => std::panic::panic_any(Explosive),
        _ => a,
    };
    let worker = pool.worker_ids()[0];
    let words = [
        "no words to format",
        "a is 2",
        "(no panic message)",
        "(no panic message)",
    ];
    for chunk in [1, 2, 6] {
        let results = pool.with_chunk_size(chunk).map(throw, 0..6);
        let said: Vec<_> = results[1..5].iter().map(|result| words_of(result, worker)).collect();
        assert_eq!(said, words);
        assert_eq!((&results[0], &results[5]), (&Ok(0), &Ok(5)));
    }
    assert_eq!(pool.worker_ids(), [worker]);
    assert_eq!(pool.progress().failed, 12);
}

/// What a job said that panicked, in this file.
fn words_of<T>(result: &Result<T, JobError>, in_worker: u32) -> &str {
    match result {
        Err(JobError::Panicked {
            message,
            location: Some(location),
            worker,
        }) if location.file == file!() && *worker == in_worker => message,
        _ => "no panic of this file",
    }
}

/// A payload that panics once more when it is dropped.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[procshare::test]
fn pending_results_can_be_asked_for_in_every_way() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let go = Flag::new();
    let mut held = pool.submit(wait_and_give, (go.clone(), 3));
    let short = Duration::from_millis(5);
    assert!(!held.ready() && !held.successful() && !held.wait_timeout(short));
    assert_eq!(held.try_get(), Err(JobError::TimedOut));
    let began = Instant::now();
    assert_eq!(held.get_timeout(short), Err(JobError::TimedOut));
    assert_eq!(held.get_deadline(began + 2 * short), Err(JobError::TimedOut));
    assert!(began.elapsed() >= 2 * short);
    assert_eq!(held.get_deadline(began), Err(JobError::TimedOut));
    assert_eq!(held.get_timeout(Duration::ZERO), Err(JobError::TimedOut));
    go.raise();
    assert!(held.wait_timeout(Duration::MAX));
    held.wait();
    assert!(held.ready() && held.successful());
    assert_eq!(held.get_timeout(Duration::MAX), Ok(3));
    assert_eq!(held.try_get(), Err(JobError::AlreadyTaken));
    assert_eq!(held.get_timeout(short), Err(JobError::AlreadyTaken));
    assert_eq!(held.get_deadline(began), Err(JobError::AlreadyTaken));
    assert!(held.ready() && format!("{held:?}").contains("true"));
    assert_eq!(held.get(), Err(JobError::AlreadyTaken));
    let mut failed = pool.submit(|a: u64| -> u64 { panic!("{a}") }, (1,));
    failed.wait();
    assert!(failed.ready() && !failed.successful());
    assert!(matches!(failed.try_get(), Err(JobError::Panicked { .. })));
    assert_eq!(failed.try_get(), Err(JobError::AlreadyTaken));
}

struct Unpark(std::thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn unpark() -> Arc<Unpark> {
    Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0)))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(unpark());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[procshare::test]
fn pending_results_are_futures() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    assert_eq!(block_on(pool.submit(same, (5,))), Ok(5));
    assert_eq!(
        values(block_on(pool.map_async(same, 0..100)).unwrap()),
        (0..100).collect::<Vec<_>>()
    );
    let both = async {
        let (one, two) = (pool.submit(same, (1,)), pool.submit(same, (2,)));
        two.await.unwrap() + one.await.unwrap()
    };
    assert_eq!(block_on(both), 3);
    let mut held = pool.submit(same, (6,));
    assert_eq!(block_on(&mut held), Ok(6));
    assert_eq!(block_on(held), Err(JobError::AlreadyTaken));
    assert!(matches!(
        block_on(pool.submit(|| -> u8 { panic!() }, ())),
        Err(JobError::Panicked { .. })
    ));
}

/// Polls once, with a waker that counts.
fn poll(pending: &mut Pending<u64>, count: &Arc<Unpark>) -> Poll<Result<u64, JobError>> {
    let waker = Waker::from(count.clone());
    std::pin::Pin::new(pending).poll(&mut Context::from_waker(&waker))
}

#[procshare::test]
fn the_last_waker_is_woken_once() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let go = Flag::new();
    let mut held = pool.submit(wait_and_give, (go.clone(), 4));
    let (first, second) = (unpark(), unpark());
    assert!(poll(&mut held, &first).is_pending());
    assert!(poll(&mut held, &second).is_pending());
    go.raise();
    wait_until(|| second.1.load(Ordering::SeqCst) > 0);
    assert_eq!(poll(&mut held, &second), Poll::Ready(Ok(4)));
    assert_eq!(first.1.load(Ordering::SeqCst), 0);
    assert_eq!(second.1.load(Ordering::SeqCst), 1);
}

#[procshare::test]
fn a_future_may_be_dropped_half_way() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let (go, counter, count) = (Flag::new(), SharedCounter::new(0).unwrap(), unpark());
    let work = |go: Flag, counter: SharedCounter| {
        go.wait_for(1);
        counter.increment().unwrap() as u64
    };
    for _ in 0..3 {
        let mut held = pool.submit(work, (go.clone(), counter.clone()));
        assert!(poll(&mut held, &count).is_pending());
    }
    drop(pool.map_async(same, 0..1000));
    go.raise();
    assert_eq!(pool.apply(same, (1,)), Ok(1));
    wait_until(|| pool.progress().left() == 0);
    assert_eq!(counter.get(), 3);
}

#[procshare::test]
fn what_has_not_begun_can_be_cancelled() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let (go, runs) = (Flag::new(), SharedCounter::new(0).unwrap());
    let first = pool.submit(wait_and_give, (go.clone(), 1));
    wait_until(|| pool.progress().running == 1);
    let count = |runs: SharedCounter, a: u64| {
        runs.increment().unwrap();
        a
    };
    // Some of them have a slot, the others wait for one.
    let many = pool
        .with_chunk_size(1)
        .starmap_async(count, (0..500).map(|a| (runs.clone(), a)));
    let kept = pool.submit(count, (runs.clone(), 7));
    let one = pool.submit(count, (runs.clone(), 8));
    assert!(one.cancel() && many.cancel());
    assert!(!one.cancel() && !many.cancel() && !first.cancel());
    assert!(one.ready() && !one.successful());
    assert_eq!(one.get(), Err(JobError::Cancelled));
    assert_eq!(many.get().unwrap(), vec![Err(JobError::Cancelled); 500]);
    go.raise();
    assert_eq!((first.get(), kept.get()), (Ok(1), Ok(7)));
    assert_eq!(runs.get(), 1);
    let progress = pool.progress();
    assert_eq!(
        (progress.submitted, progress.finished, progress.failed),
        (503, 503, 501)
    );
}

#[procshare::test]
fn what_has_begun_goes_on_when_the_rest_is_cancelled() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let go = Flag::new();
    let held = pool
        .with_chunk_size(2)
        .starmap_async(wait_and_give, (0..20).map(|a| (go.clone(), a)));
    wait_until(|| pool.progress().running == 2);
    assert!(!held.cancel());
    go.raise();
    let results = held.get().unwrap();
    assert!(results[..4].iter().cloned().map(Result::unwrap).eq(0..4), "{results:?}");
    assert_eq!(results[4..], vec![Err(JobError::Cancelled); 16]);
}

#[procshare::test]
fn imap_is_lazy_on_both_sides() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let taken = AtomicU64::new(0);
    let endless = || (0..).inspect(|_| _ = taken.fetch_add(1, Ordering::SeqCst));
    for chunk in [1_u64, 5] {
        let pool = pool.with_chunk_size(chunk as usize);
        taken.store(0, Ordering::SeqCst);
        let mut results = pool.imap(same, endless());
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        let ahead = 16 * 2 * chunk;
        for a in 0..200 {
            assert_eq!(results.next(), Some(Ok(a)));
            let taken = taken.load(Ordering::SeqCst);
            assert!(taken <= a + ahead + chunk, "{taken} items taken for {a} results");
        }
        drop(results);
        taken.store(0, Ordering::SeqCst);
        let mut results = pool.imap_unordered(same, endless());
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        for a in 0..200 {
            assert!(matches!(results.next(), Some(Ok(_))));
            let taken = taken.load(Ordering::SeqCst);
            assert!(taken <= a + 1 + ahead + chunk, "{taken} items taken for {a} results");
        }
    }
    wait_until(|| pool.progress().left() == 0);
    assert_eq!(pool.apply(same, (1,)), Ok(1));
}

#[procshare::test]
fn a_dropped_imap_begins_nothing_more() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let go = Flag::new();
    let mut results = pool.imap(
        |(go, a): (Flag, u64)| wait_and_give(go, a),
        (0..).map(|a| (go.clone(), a)),
    );
    go.raise();
    assert_eq!(results.next(), Some(Ok(0)));
    drop(results);
    wait_until(|| pool.progress().left() == 0);
    assert!(pool.progress().submitted <= 33);
    assert_eq!(format!("{:?}", pool.imap(same, 0..3)), "Imap { ahead: 0 }");
}

#[procshare::test]
fn imap_unordered_waits_for_nobody() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let go = Flag::new();
    let wait_for_first = |(go, a): (Flag, u64)| if a == 0 { wait_and_give(go, a) } else { a };
    let mut results = pool.imap_unordered(wait_for_first, (0..10).map(|a| (go.clone(), a)));
    let mut got: Vec<_> = results.by_ref().take(9).map(Result::unwrap).collect();
    got.sort_unstable();
    assert_eq!(got, (1..10).collect::<Vec<_>>());
    go.raise();
    assert_eq!(
        (results.next(), results.next(), results.next()),
        (Some(Ok(0)), None, None)
    );
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[procshare::test]
fn a_million_jobs_take_constant_memory() {
    let _watchdog = watchdog(300);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        for chunk in [200, 1] {
            let (pool, count) = (
                pool.with_chunk_size(chunk),
                thorough(1_000_000, 100_000) / if chunk == 1 { 10 } else { 1 },
            );
            assert_eq!(pool.imap(same, 0..10_000).count(), 10_000);
            let before = resident();
            let total: u64 = pool.imap(same, 0..count).map(Result::unwrap).sum();
            assert_eq!(total, count * (count - 1) / 2);
            let total: u64 = pool.imap_unordered(same, 0..count).map(Result::unwrap).sum();
            assert_eq!(total, count * (count - 1) / 2);
            let grown = resident().saturating_sub(before);
            println!("chunks of {chunk}: {grown} bytes more");
            assert!(grown < 8 << 20, "chunks of {chunk}: {grown} bytes more");
        }
    });
}

#[procshare::test]
fn threads_may_submit_at_once() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let pool = pool.clone();
            scope.spawn(move || {
                for round in 0..200 {
                    let number = thread << 32 | round;
                    assert_eq!(pool.apply(same, (number,)), Ok(number));
                    if round % 20 == 0 {
                        let range = number..number + 100;
                        assert_eq!(values(pool.map(same, range.clone())), range.clone().collect::<Vec<_>>());
                        assert_eq!(
                            values(pool.imap(same, range.clone()).collect()),
                            range.collect::<Vec<_>>()
                        );
                    }
                }
            });
        }
    });
    assert_eq!(pool.progress().finished, 4 * (200 + 10 * 200));
}

#[procshare::test]
fn a_job_may_have_a_pool_of_its_own() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let nested = |counter: SharedCounter, a: u64| {
        let pool = Pool::new(2).unwrap();
        let count = |counter: SharedCounter, a: u64| {
            counter.increment().unwrap();
            a
        };
        let results = pool.starmap(count, (0..a).map(|b| (counter.clone(), b)));
        results.into_iter().map(Result::unwrap).sum::<u64>()
    };
    let counter = SharedCounter::new(0).unwrap();
    let results = pool.starmap(nested, (0..6).map(|a| (counter.clone(), a * 10)));
    assert_eq!(values(results), [0, 45, 190, 435, 780, 1225]);
    assert_eq!(counter.get(), 150);
}

const AS_OTHER_PROGRAM: &str = "PROCSHARE_TEST_AS_OTHER_PROGRAM";

fn is_other_program() -> bool {
    std::env::var_os(AS_OTHER_PROGRAM).is_some()
}

#[procshare::test]
fn other_program_prints_and_reads_in_jobs() {
    if is_other_program() {
        let pool = Pool::new(2).unwrap();
        let print = |a: u32| print!("<item {a}>");
        assert!(pool.map(print, 0..20).iter().all(Result::is_ok));
        let read = || {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())
        };
        // There is nothing to read, and nobody waits for it.
        assert_eq!(pool.apply(read, ()), Ok(Ok(0)));
        pool.join();
    }
}

#[procshare::test]
fn what_jobs_print_comes_once() {
    let _watchdog = watchdog(60);
    let mut command = other_program("other_program_prints_and_reads_in_jobs", AS_OTHER_PROGRAM);
    let output = output_of(command.stdin(std::process::Stdio::null()));
    for a in 0..20 {
        assert_eq!(output.matches(&format!("<item {a}>")).count(), 1, "{output}");
    }
}

/// Without an entry there is no pool. Marked `#[test]` on purpose, and alone in its process.
#[test]
fn other_program_makes_a_pool_without_an_entry() {
    if is_other_program() {
        assert_eq!(Pool::new(2).unwrap_err().kind(), ErrorKind::NotInitialized);
        println!("refused");
    }
}

#[procshare::test]
fn a_pool_without_an_entry_is_an_error() {
    let _watchdog = watchdog(60);
    let output = output_of(&mut other_program(
        "other_program_makes_a_pool_without_an_entry",
        AS_OTHER_PROGRAM,
    ));
    assert!(output.contains("refused"), "{output}");
}

#[procshare::test]
fn none_or_too_many_workers_are_an_error() {
    let _watchdog = watchdog(60);
    for workers in [0, 65_537, 70_000, usize::MAX] {
        assert_eq!(Pool::new(workers).unwrap_err().kind(), ErrorKind::InvalidCapacity);
    }
    for call in [
        || drop(Pool::builder().chunk_size(0)),
        || drop(Pool::builder().max_tasks_per_child(0)),
    ] {
        assert!(std::panic::catch_unwind(call).is_err());
    }
    let pool = Pool::builder().build().unwrap();
    assert_eq!(pool.workers(), std::thread::available_parallelism().unwrap().get());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.with_chunk_size(0))).is_err());
    assert!(!format!("{:?} {pool:?}", Pool::builder()).is_empty());
}

#[procshare::test]
fn the_timeline_has_a_bar_for_each_run() {
    let _watchdog = watchdog(60);
    let pool = Pool::builder().workers(2).timeline(true).build().unwrap();
    let act = |a: u64| match a {
        3 => panic!("on purpose"),
        5 => std::process::exit(1),
        _ => std::thread::park_timeout(Duration::from_millis(1)),
    };
    let began = Instant::now();
    let results = pool.with_chunk_size(4).map(act, 0..20);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 18);
    let took = began.elapsed();
    let timeline = pool.timeline();
    assert_eq!(timeline.workers(), 2);
    let mut jobs: Vec<_> = timeline.bars().iter().map(|bar| bar.job).collect();
    jobs.sort_unstable();
    assert!(jobs.into_iter().eq(0..20));
    for bar in timeline.bars() {
        let expected = match bar.job {
            3 => Ending::Failed,
            5 => Ending::Died,
            _ => Ending::Done,
        };
        assert_eq!(bar.ending, expected, "{bar:?}");
        assert!(bar.worker < 2 && bar.process != 0 && bar.start <= bar.end, "{bar:?}");
        assert!(bar.end - bar.start <= took, "{bar:?}");
        assert!(
            bar.ending != Ending::Done || bar.end - bar.start >= Duration::from_millis(1),
            "{bar:?}"
        );
    }
    // One worker runs one item at a time.
    for worker in 0..2 {
        let mut bars: Vec<_> = timeline.bars().iter().filter(|bar| bar.worker == worker).collect();
        bars.sort_by_key(|bar| bar.start);
        assert!(bars.windows(2).all(|pair| pair[0].end <= pair[1].start), "{bars:?}");
    }
    assert!(Pool::new(1).unwrap().timeline().bars().is_empty());
}

#[procshare::test]
fn a_worker_runs_as_many_items_as_it_may() {
    let _watchdog = watchdog(120);
    for (budget, chunk) in [(1, 1), (1, 5), (3, 1), (3, 10), (7, 7), (10, 3), (100, 100)] {
        let pool = Pool::builder()
            .workers(2)
            .max_tasks_per_child(budget)
            .chunk_size(chunk)
            .build()
            .unwrap();
        let panics_at_times = |a: u64| {
            assert_ne!(a % 5, 4, "on purpose");
            (a, std::process::id())
        };
        // Ten workers or so.
        let results = pool.map(panics_at_times, 0..(10 * budget).min(40));
        let mut runs = BTreeMap::new();
        for (a, result) in results.into_iter().enumerate() {
            let worker = match result {
                Ok((b, worker)) => {
                    assert_eq!(a as u64, b);
                    worker
                }
                Err(JobError::Panicked { worker, .. }) => worker,
                Err(error) => panic!("{error}"),
            };
            *runs.entry(worker).or_insert(0_u64) += 1;
        }
        assert!(
            runs.values().all(|runs| *runs <= budget),
            "{runs:?} of at most {budget}"
        );
        let short = runs.values().filter(|runs| **runs < budget).count();
        assert!(short <= 2, "{runs:?}: more than two left before their time");
        pool.join();
    }
}

#[procshare::test]
fn an_initializer_runs_once_in_each_worker() {
    let _watchdog = watchdog(60);
    let ids = SharedAtomicArray::<AtomicU64>::new(64).unwrap();
    let next = SharedCounter::new(0).unwrap();
    let init = |ids: SharedAtomicArray<AtomicU64>, next: SharedCounter| {
        let at = next.increment().unwrap() as usize - 1;
        ids[at].store(std::process::id().into(), Ordering::SeqCst);
        // SAFETY: this process has no other thread that reads the environment now.
        unsafe { std::env::set_var("PROCSHARE_TEST_INITIALIZED", "1") };
    };
    let builder = Pool::builder()
        .workers(3)
        .max_tasks_per_child(5)
        .initializer(init, (ids.clone(), next.clone()));
    let pool = builder.build().unwrap();
    let look = || (std::process::id(), std::env::var("PROCSHARE_TEST_INITIALIZED").is_ok());
    let mut seen: Vec<_> = pool
        .starmap(look, vec![(); 60])
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(seen.iter().all(|(_, is_initialized)| *is_initialized));
    let _ = pool.apply(|| -> u8 { std::process::abort() }, ());
    seen.push(pool.apply(look, ()).unwrap());
    pool.join();
    let mut initialized: Vec<_> = ids
        .iter()
        .map(|id| id.load(Ordering::SeqCst))
        .filter(|id| *id != 0)
        .collect();
    assert_eq!(initialized.len() as i64, next.get());
    initialized.sort_unstable();
    initialized.dedup();
    assert_eq!(initialized.len() as i64, next.get(), "one twice");
    assert!(seen.iter().all(|(id, _)| initialized.contains(&u64::from(*id))));
}

#[procshare::test]
fn an_initializer_that_fails_is_no_loop() {
    let _watchdog = watchdog(60);
    let endings: [fn(SharedCounter) -> Pool; 3] = [
        |tries| {
            let panics = |tries: SharedCounter| {
                tries.increment().unwrap();
                panic!("no start today");
            };
            Pool::builder()
                .workers(2)
                .initializer(panics, (tries,))
                .build()
                .unwrap()
        },
        |tries| {
            let exits = |tries: SharedCounter| {
                tries.increment().unwrap();
                std::process::exit(7);
            };
            Pool::builder().workers(2).initializer(exits, (tries,)).build().unwrap()
        },
        |tries| {
            let aborts = |tries: SharedCounter| {
                tries.increment().unwrap();
                std::process::abort();
            };
            Pool::builder()
                .workers(2)
                .initializer(aborts, (tries,))
                .build()
                .unwrap()
        },
    ];
    let words = ["no start today", "7", "6"];
    for (make, words) in endings.into_iter().zip(words) {
        let tries = SharedCounter::new(0).unwrap();
        let began = Instant::now();
        let pool = make(tries.clone());
        let mut many = pool.map_async(same, 0..10);
        let outcome = pool.submit(same, (1,)).get_timeout(PATIENCE);
        assert!(
            matches!(&outcome, Err(JobError::NoWorkers(text)) if text.contains(words)),
            "{outcome:?}"
        );
        let results = many.get_timeout(PATIENCE).unwrap();
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Err(JobError::NoWorkers(_))))
        );
        assert!(matches!(pool.apply(same, (1,)), Err(JobError::NoWorkers(_))));
        pool.join();
        println!("given up after {:?} and {} tries", began.elapsed(), tries.get());
        assert!(tries.get() <= 12 && began.elapsed() < Duration::from_secs(20));
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle { radius: f64 },
    Named(String, Vec<Option<Shape>>),
}

#[procshare::test]
fn values_of_each_kind_travel() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let shape = Shape::Named(
        "all".into(),
        vec![None, Some(Shape::Empty), Some(Shape::Circle { radius: 1.5 })],
    );
    assert_eq!(pool.apply(|shape: Shape| shape, (shape.clone(),)), Ok(shape));
    assert_eq!(pool.apply(u64::pow, (3, 4)), Ok(81));
    type Many = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, char);
    #[expect(clippy::too_many_arguments, reason = "as many as there may be")]
    fn all(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: char) -> Many {
        (a, b, c, d, e, f, g, h, i, j, k, l)
    }
    let many: Many = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 'l');
    assert_eq!(pool.starmap(all, vec![many; 3]), vec![Ok(many); 3]);
}

/// Results that end just before, at and after the edge of what a slot's page holds, at every place in it.
#[procshare::test]
fn results_of_every_length_come_whole() {
    let _watchdog = watchdog(120);
    let make = |number: usize, len: usize| Blob::new(number, len);
    let lengths = [
        0, 1, 60, 1022, 1024, 3066, 3067, 3068, 3069, 3070, 3071, 3072, 3073, 4095, 4096, 6144, 9217, 20_000,
    ];
    for timeline in [false, true] {
        let pool = Pool::builder().workers(2).timeline(timeline).build().unwrap();
        for before in (0..40).chain(3020..3080) {
            let sizes: Vec<_> = [before].into_iter().chain(lengths).enumerate().collect();
            let pool = pool.with_chunk_size(if before % 2 == 0 { 19 } else { 4 });
            for ((number, len), result) in sizes.iter().zip(pool.starmap(make, sizes.iter().copied())) {
                assert!(
                    result == Ok(Blob::new(*number, *len)),
                    "{len} bytes after {before} are wrong"
                );
            }
        }
    }
}

/// As above, for arguments.
#[procshare::test]
fn arguments_of_every_length_come_whole() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(2).unwrap();
    let check = |number: usize, blob: Blob| (blob == Blob::new(number, blob.0.len()), blob.0.len());
    for len in (0..30).chain(1000..1030).chain([3071, 3072, 4096, 65_536]) {
        let items = (0..5).map(|number| (number, Blob::new(number, len)));
        for chunk in [1, 2, 5] {
            let results = pool.with_chunk_size(chunk).starmap(check, items.clone());
            assert_eq!(results, vec![Ok((true, len)); 5], "{len} bytes");
        }
    }
}

#[procshare::test]
fn large_arguments_and_results_travel() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(2).unwrap();
    let large = Blob::new(1, thorough(100, 10) << 20);
    let result = pool.apply(|blob: Blob| blob, (large.clone(),));
    assert!(result == Ok(large));
    let items = (0..6).map(|number| (Blob::new(number, 5 << 20), 5 << 20));
    let grow = |blob: Blob, len: usize| {
        assert_eq!(blob.0.len(), len);
        Blob([blob.0, vec![1; 100]].concat())
    };
    for (number, result) in pool.with_chunk_size(3).starmap(grow, items).into_iter().enumerate() {
        let expected = [Blob::new(number, 5 << 20).0, vec![1; 100]].concat();
        assert!(result == Ok(Blob(expected)), "item {number}");
    }
}

#[procshare::test]
fn a_job_that_never_ends_holds_up_nobody_else() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let _never: Pending<u8> = pool.submit(|| for_ever(), ());
    assert_eq!(values(pool.map(same, 0..200)), (0..200).collect::<Vec<_>>());
}
