//! A pool's end: closing, joining, terminating, dropping, hooks and wakers, and the copy of a pool in a forked child.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::{Flag, alone, for_ever, has_ended, hold, shared_memory_names, unique, wait_until, watchdog};
use forked::{Child, End};
use procshare::pool::Pending;
use procshare::{JobError, Pool, Segment, SharedCounter};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(10);

fn same(a: u64) -> u64 {
    a
}

fn never() -> u64 {
    for_ever()
}

fn wait_and_give(go: Flag, a: u64) -> u64 {
    go.wait_for(1);
    a
}

#[procshare::test]
fn a_closed_pool_finishes_what_it_has() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let go = Flag::new();
    let held = pool
        .with_chunk_size(1)
        .starmap_async(wait_and_give, (0..300).map(|a| (go.clone(), a)));
    let workers = pool.worker_ids();
    pool.close();
    pool.close();
    assert_eq!(pool.apply(same, (1,)), Err(JobError::Closed));
    assert_eq!(pool.map(same, 0..3), vec![Err(JobError::Closed); 3]);
    assert_eq!(
        pool.imap(same, 0..2).collect::<Vec<_>>(),
        vec![Err(JobError::Closed); 2]
    );
    assert_eq!(
        pool.imap_unordered(same, 0..2).collect::<Vec<_>>(),
        vec![Err(JobError::Closed); 2]
    );
    assert!(!held.ready());
    go.raise();
    pool.join();
    assert!(held.ready() && held.successful());
    assert!(held.get().unwrap().into_iter().map(Result::unwrap).eq(0..300));
    assert!(workers.iter().all(|pid| has_ended(*pid)));
}

#[procshare::test]
fn joining_an_idle_pool_ends_it() {
    let _watchdog = watchdog(60);
    for workers in [1, 3] {
        let pool = Pool::new(workers).unwrap();
        let ids = pool.worker_ids();
        pool.join();
        assert!(ids.iter().all(|pid| has_ended(*pid)));
    }
}

/// Every handle may be joined, by several threads at once; the last of them is an empty shell.
#[procshare::test]
fn a_pool_may_be_joined_by_all() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let answers = pool.map_async(same, 0..100);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let pool = pool.clone();
            scope.spawn(move || pool.join());
        }
    });
    assert!(answers.ready());
    assert_eq!(pool.progress().workers, 0);
    assert!(pool.worker_ids().is_empty());
    assert_eq!(pool.apply(same, (1,)), Err(JobError::Closed));
    pool.join();
}

#[procshare::test]
fn a_terminated_pool_gives_everything_up() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let done = pool.submit(same, (7,));
    done.wait();
    let held = pool.with_chunk_size(1).starmap_async(never, (0..500).map(|_| ()));
    wait_until(|| pool.progress().running == 2);
    let ids = pool.worker_ids();
    pool.terminate();
    assert_eq!(held.get().unwrap(), vec![Err(JobError::Terminated); 500]);
    assert_eq!(done.get(), Ok(7));
    assert_eq!(pool.apply(same, (1,)), Err(JobError::Terminated));
    pool.terminate();
    pool.join();
    assert!(ids.iter().all(|pid| has_ended(*pid)));
}

static BEGUN: OnceLock<SharedCounter> = OnceLock::new();

fn count_here(begun: SharedCounter) {
    BEGUN.set(begun).unwrap();
}

fn count_and_take_long() {
    BEGUN.get().unwrap().increment().unwrap();
    std::thread::sleep(Duration::from_millis(5));
}

/// However many jobs there are to give up, workers begin none of those whose callers are told so: they are killed first.
#[procshare::test]
fn a_terminated_pool_runs_no_job_that_it_gives_up() {
    let _watchdog = watchdog(60);
    let begun = SharedCounter::new(0).unwrap();
    let builder = Pool::builder().workers(1).chunk_size(1);
    let pool = builder.initializer(count_here, (begun.clone(),)).build().unwrap();
    let jobs = pool.starmap_async(count_and_take_long, (0..300_000).map(|_| ()));
    wait_until(|| begun.get() > 2);
    pool.terminate();
    pool.join();
    let done = jobs.get().unwrap().iter().filter(|result| result.is_ok()).count();
    // The one in hand, and those begun while the call was kept from the processor.
    assert!(begun.get() <= done as i64 + 12, "{} begun, {done} done", begun.get());
}

#[procshare::test]
fn the_last_handle_takes_the_pool_with_it() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let other = pool.with_chunk_size(3).with_retries(2);
    let held = pool.submit(never, ());
    let ids = pool.worker_ids();
    drop(pool);
    assert_eq!(other.apply(same, (3,)), Ok(3));
    let imap = other.imap(same, 0..2);
    drop(other);
    assert_eq!(imap.collect::<Vec<_>>(), [Ok(0), Ok(1)]);
    assert_eq!(held.get(), Err(JobError::Terminated));
    assert!(ids.iter().all(|pid| has_ended(*pid)));
}

/// What is dropped is not done; but what was done can still be fetched.
#[procshare::test]
fn results_outlive_their_pool() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let answers = pool.map_async(same, 0..1000);
    answers.wait();
    drop(pool);
    assert!(answers.get().unwrap().into_iter().map(Result::unwrap).eq(0..1000));
}

fn stop(pid: u32, signal: i32) {
    // SAFETY: two numbers; the process is a child that nobody has reaped.
    assert_eq!(unsafe { libc::kill(pid as libc::pid_t, signal) }, 0);
}

/// Nobody tells the pool's thread but the call that takes the last job away.
#[procshare::test]
fn a_closed_pool_ends_with_what_is_cancelled() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    pool.apply(same, (0,)).unwrap();
    let worker = pool.worker_ids()[0];
    stop(worker, libc::SIGSTOP);
    wait_until(|| common::state_of(worker) == Some('T'));
    let answers = pool.map_async(same, 0..10);
    let joined = Arc::new(AtomicUsize::new(0));
    let (flag, other) = (joined.clone(), pool.clone());
    std::thread::spawn(move || {
        other.join();
        flag.store(1, Ordering::SeqCst);
    });
    // Long enough for the pool's thread to stop looking by itself.
    std::thread::park_timeout(Duration::from_millis(1500));
    assert!(answers.cancel());
    stop(worker, libc::SIGCONT);
    wait_with_patience("the pool to be empty", || joined.load(Ordering::SeqCst) == 1);
}

fn wait_with_patience(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn get(mut pending: Pending<u64>) -> Result<u64, JobError> {
    pending.get_timeout(PATIENCE)
}

#[procshare::test]
fn a_hook_hears_of_all_jobs() {
    let _watchdog = watchdog(60);
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let pool = Pool::new(2).unwrap();
    let last = Arc::new(Mutex::new(None));
    let seen = last.clone();
    pool.on_progress(move |progress| {
        let before = seen.lock().unwrap().replace(*progress);
        CALLS.fetch_add(1, Ordering::Relaxed);
        assert!(before.is_none_or(|before: procshare::pool::Progress| before.finished <= progress.finished));
        assert!(progress.finished <= progress.submitted && progress.failed <= progress.finished);
    });
    let results = pool.map(|a: u32| assert_ne!(a % 10, 3), 0..1000);
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 100);
    pool.join();
    let last = last.lock().unwrap().unwrap();
    assert_eq!(
        (last.submitted, last.finished, last.failed, last.left()),
        (1000, 1000, 100, 0)
    );
    assert!((1..=1000).contains(&CALLS.load(Ordering::Relaxed)));
}

#[procshare::test]
fn a_hook_may_submit_to_its_pool() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (other, into) = (pool.clone(), answers.clone());
    pool.on_progress(move |_| {
        let mut into = into.lock().unwrap();
        if into.len() < 50 {
            into.push(other.submit(same, (1,)));
        }
    });
    pool.apply(same, (0,)).unwrap();
    wait_with_patience("fifty rounds", || answers.lock().unwrap().len() == 50);
    for answer in std::mem::take(&mut *answers.lock().unwrap()) {
        assert_eq!(get(answer), Ok(1));
    }
    pool.on_progress(|_| ());
}

#[procshare::test]
fn a_hook_may_drop_the_last_handle() {
    let _watchdog = watchdog(60);
    let pool = Arc::new(Mutex::new(Some(Pool::new(2).unwrap())));
    let ids = pool.lock().unwrap().as_ref().unwrap().worker_ids();
    let within = pool.clone();
    let (first, held) = {
        let pool = pool.lock().unwrap();
        let pool = pool.as_ref().unwrap();
        pool.on_progress(move |_| drop(within.lock().unwrap().take()));
        (pool.submit(same, (0,)), pool.submit(never, ()))
    };
    let _ = get(first);
    assert_eq!(get(held), Err(JobError::Terminated));
    wait_with_patience("the workers' end", || ids.iter().all(|pid| has_ended(*pid)));
}

#[procshare::test]
fn a_hook_may_set_another() {
    let _watchdog = watchdog(60);
    static SECOND: AtomicUsize = AtomicUsize::new(0);
    let pool = Pool::new(1).unwrap();
    let other = pool.clone();
    pool.on_progress(move |_| {
        other.on_progress(|_| {
            SECOND.fetch_add(1, Ordering::Relaxed);
        });
    });
    for _ in 0..3 {
        assert_eq!(get(pool.submit(same, (1,))), Ok(1));
    }
    wait_with_patience("the second hook", || SECOND.load(Ordering::Relaxed) > 0);
}

#[procshare::test]
fn a_hook_that_panics_stops_nobody() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    pool.on_progress(|_| panic!("a hook panics"));
    assert_eq!(get(pool.submit(same, (1,))), Ok(1));
    for _ in 0..3 {
        assert_eq!(get(pool.submit(same, (2,))), Ok(2));
    }
}

/// The pool and its hook must not keep each other.
#[procshare::test]
fn a_hook_with_a_handle_goes_with_a_joined_pool() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let kept = Arc::new(());
    let (other, inner) = (pool.clone(), kept.clone());
    pool.on_progress(move |_| {
        let _ = (&other, &inner);
    });
    pool.apply(same, (1,)).unwrap();
    pool.join();
    wait_with_patience("the hook to go", || Arc::strong_count(&kept) == 1);
}

struct Resubmit {
    pool: Pool,
    answer: Mutex<Option<Pending<u64>>>,
    woken: AtomicUsize,
}

impl std::task::Wake for Resubmit {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        *self.answer.lock().unwrap() = Some(self.pool.submit(same, (5,)));
    }
}

#[procshare::test]
fn a_waker_may_submit_to_the_pool() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let go = Flag::new();
    let wake = Arc::new(Resubmit {
        pool: pool.clone(),
        answer: Mutex::new(None),
        woken: AtomicUsize::new(0),
    });
    let waker = wake.clone().into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut first = pool.submit(wait_and_give, (go.clone(), 4));
    let polled = Future::poll(std::pin::Pin::new(&mut first), &mut context);
    assert!(polled.is_pending());
    go.raise();
    wait_with_patience("the waker", || wake.woken.load(Ordering::SeqCst) == 1);
    assert_eq!(first.try_get(), Ok(4));
    wait_with_patience("its answer", || wake.answer.lock().unwrap().is_some());
    assert_eq!(get(wake.answer.lock().unwrap().take().unwrap()), Ok(5));
}

/// Calls everything a forked child may call on its parent's pool.
fn call_all(pool: &Pool, mut pending: Pending<u64>, mut others: Vec<Pending<u64>>) {
    let foreign = || Err::<u64, _>(JobError::ForeignProcess);
    assert_eq!(pool.map(same, 0..3), [foreign(), foreign(), foreign()]);
    assert_eq!(pool.starmap(same, [(1,)]), [foreign()]);
    assert_eq!(pool.apply(same, (1,)), foreign());
    assert_eq!(pool.submit(same, (1,)).get(), foreign());
    assert_eq!(pool.imap(same, 0..2).collect::<Vec<_>>(), [foreign(), foreign()]);
    assert_eq!(
        pool.imap_unordered(same, 0..2).collect::<Vec<_>>(),
        [foreign(), foreign()]
    );
    assert_eq!(pending.try_get(), foreign());
    assert_eq!(pending.get_timeout(Duration::from_secs(60)), foreign());
    pending.wait();
    let _ = (
        pending.ready(),
        pending.successful(),
        pending.wait_timeout(Duration::from_secs(60)),
    );
    assert!(!pending.cancel());
    assert_eq!(pending.get(), foreign());
    let _ = (pool.progress(), pool.worker_ids(), pool.timeline(), pool.workers());
    let _ = format!("{pool:?} {:?}", others.pop());
    pool.on_progress(|_| ());
    pool.close();
    pool.terminate();
    pool.clone().join();
}

/// Runs that in a forked child, which then drops its copies.
fn in_a_fork(pool: Pool, busy: bool) {
    let rounds = if busy { 100 } else { 3 };
    let ids = pool.worker_ids();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        if busy {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(
                        pool.with_chunk_size(1)
                            .map(same, 0..50)
                            .into_iter()
                            .all(|result| result.is_ok())
                    );
                }
            });
        }
        let mut ends = vec![];
        for _ in 0..rounds {
            let pending = pool.submit(same, (9,));
            let others = vec![pool.submit(same, (10,))];
            let mut child = Child::fork(|| {
                // SAFETY: a number.
                unsafe { libc::alarm(5) };
                let copy = pool.clone();
                // SAFETY: reads the bits of a handle that the parent's side of this process image owns; the child forgets
                // nothing of its own, and never returns to where it would be dropped again.
                let pending = unsafe { std::ptr::read(&pending) };
                // SAFETY: as above.
                let others = unsafe { std::ptr::read(&others) };
                call_all(&copy, pending, others);
                // SAFETY: as above.
                drop(unsafe { std::ptr::read(&pool) });
                drop(copy);
            });
            ends.push(child.end());
            if ends.last() != Some(&End::Exited(0)) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(ends.last(), Some(&End::Exited(0)), "in round {}", ends.len());
    });
    assert_eq!(pool.apply(same, (8,)), Ok(8));
    assert_eq!(pool.worker_ids(), ids);
}

#[procshare::test]
fn a_forked_child_is_refused_and_leaves_the_workers_alone() {
    let _watchdog = watchdog(60);
    alone(|| in_a_fork(Pool::new(2).unwrap(), false));
}

#[procshare::test]
fn a_child_forked_from_a_busy_pool_does_not_hang() {
    let _watchdog = watchdog(120);
    alone(|| in_a_fork(Pool::new(2).unwrap(), true));
}

fn read_name(segment: Segment) -> i64 {
    segment.open_counter("counter").unwrap().increment().unwrap()
}

/// Whatever of segment and pool goes first.
#[procshare::test]
fn a_named_segment_goes_with_its_last_user() {
    let _watchdog = watchdog(120);
    alone(|| {
        let mut left = vec![];
        for round in 0..60 {
            let name = unique("pool-named");
            let segment = Segment::create(&name, 1 << 16).unwrap();
            segment.counter("counter", 0).unwrap();
            let pool = Pool::new(1).unwrap();
            let results = pool.with_chunk_size(3).map(read_name, vec![segment.clone(); 10]);
            assert!(results.into_iter().map(Result::unwrap).eq(1..=10));
            match round % 3 {
                0 => drop((pool, segment)),
                1 => drop((segment, pool)),
                _ => {
                    drop(segment);
                    pool.join();
                }
            }
            if !shared_memory_names(&name).is_empty() {
                left.push(round % 3);
            }
        }
        assert!(left.is_empty(), "names stay: {left:?}");
    });
}

/// A worker that is busy with other things does not keep what an earlier job brought along.
#[procshare::test]
fn a_busy_worker_keeps_no_segment_of_an_earlier_job() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("pool-kept");
        let segment = Segment::create(&name, 1 << 16).unwrap();
        segment.counter("counter", 0).unwrap();
        let pool = Pool::new(1).unwrap();
        let (came, go) = (Flag::new(), Flag::new());
        let first = pool.submit(read_name, (segment.clone(),));
        let second = pool.submit(hold, (came.clone(), go.clone()));
        assert_eq!(first.get(), Ok(1));
        came.wait_for(1);
        drop(segment);
        // While the other job runs.
        wait_until(|| shared_memory_names(&name).is_empty());
        go.raise();
        second.get().unwrap();
    });
}

/// Thread-locals end one after the other, and those of this crate may be gone when a program's are dropped.
#[procshare::test]
fn a_pool_used_while_a_thread_ends_works_or_says_why_not() {
    struct Last(Pool, std::sync::mpsc::Sender<(Result<u32, JobError>, bool)>);
    impl Drop for Last {
        fn drop(&mut self) {
            let plain = self.0.apply(|a: u32| a + 1, (1,));
            let counter = procshare::SharedCounter::new(0);
            let with_handle =
                counter.map(|counter| self.0.apply(|one: procshare::SharedCounter| one.get(), (counter,)));
            let is_told = matches!(with_handle, Ok(Ok(0)) | Ok(Err(_)) | Err(_));
            let _ = self.1.send((plain, is_told));
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        // Before the pool is used for the first time on this thread: what came first ends last.
        LAST.with_borrow_mut(|last| *last = Some(Last(pool.clone(), send)));
        assert_eq!(pool.apply(|a: u32| a, (7,)), Ok(7));
    });
    thread.join().unwrap();
    let (plain, is_told) = receive.recv().unwrap();
    assert_eq!(plain, Ok(2));
    assert!(is_told);
}
