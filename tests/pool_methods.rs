//! Pools whose workers are begun anew, made by a fork server, or copies of their parent.
//!
//! The harness of a test has a thread besides the test's, so nothing there can be copied. The bodies run in a child made by
//! a fork server, which has one thread.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, descriptors, for_ever, has_ended, wait_until, watchdog};
use procshare::pool::PoolBuilder;
use procshare::process::{Entry, StartMethod};
use procshare::{ErrorKind, JobError, Pool, Process, SharedCounter};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const METHODS: [StartMethod; 3] = [StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer];

/// Runs the body in a process with one thread.
fn alone<Args, F>(body: F, arguments: Args)
where
    Args: serde::Serialize + serde::de::DeserializeOwned,
    F: Entry<Args, Output = ()>,
{
    let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
    builder.spawn(body, arguments).unwrap().join().unwrap();
}

/// Runs the body once for each start method, in processes with one thread.
fn with_each<F: Entry<(String,), Output = ()>>(body: F) {
    let _watchdog = watchdog(120);
    for method in METHODS {
        let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
        let outcome = builder.spawn(body, (method.to_string(),)).unwrap().join();
        outcome.unwrap_or_else(|error| panic!("{method}: {error}"));
    }
}

/// A pool of two workers by that method.
fn by(method: &str) -> PoolBuilder {
    Pool::builder().workers(2).start_method(method.parse().unwrap())
}

fn same(a: u64) -> u64 {
    a
}

fn die() -> u64 {
    // SAFETY: two numbers, of this process and of a signal.
    unsafe { libc::kill(std::process::id() as libc::pid_t, libc::SIGKILL) };
    for_ever()
}

fn is_killed<R>(result: &Result<R, JobError>) -> bool {
    matches!(result, Err(JobError::WorkerDied { signal: Some(9), .. }))
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// What a process does once in its life, and what takes long with more than one thread, is done before others start:
/// registering for the kernel's barrier takes ten milliseconds then.
#[procshare::test]
fn the_first_job_of_a_fresh_pool_takes_no_longer_than_a_child() {
    with_each(|method: String| {
        let (counter, [mut plain, mut daemon, mut first]) = (SharedCounter::new(0).unwrap(), [Duration::MAX; 3]);
        let increment = |counter: SharedCounter| counter.increment().unwrap();
        // By the least of some rounds, as many as it takes on a machine with other work.
        for round in 0..100 {
            let child = || Process::builder().start_method(StartMethod::Spawn);
            plain = plain.min(time(|| assert_eq!(child().spawn(same, (1,)).unwrap().join(), Ok(1))));
            daemon = daemon.min(time(|| {
                let child = child().daemon(true).spawn(increment, (counter.clone(),));
                assert!(child.unwrap().join().is_ok());
            }));
            let mut pool = None; // Its end is no part of it.
            first = first.min(time(|| {
                let pool = pool.insert(by(&method).workers(1).build().unwrap());
                assert!(pool.apply(increment, (counter.clone(),)).is_ok());
            }));
            let bound = plain + Duration::from_millis(3);
            if round >= 5 && first < bound && daemon < bound {
                return;
            }
        }
        panic!("{method}: a child {plain:?}, a daemon {daemon:?}, a pool's first job {first:?}");
    });
}

/// Without a clock: before anything of this crate was called there.
#[procshare::test]
fn a_child_is_registered_for_the_kernels_barrier_before_it_has_threads() {
    const ASK: libc::c_int = 1 << 9;
    let ask = || {
        // SAFETY: three numbers.
        unsafe { libc::syscall(libc::SYS_membarrier, ASK, 0, 0) }
    };
    if ask() < 0 {
        println!("skipped: this kernel does not tell");
        return;
    }
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let child = Process::builder()
            .daemon(true)
            .start_method(method)
            .spawn(ask, ())
            .unwrap();
        let registered = child.join().unwrap();
        assert!(
            registered & i64::from(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0,
            "{method}"
        );
    }
}

#[procshare::test]
fn jobs_run_and_handles_arrive() {
    with_each(|method: String| {
        let pool = by(&method).build().unwrap();
        assert!(pool.map(same, 0..1000).into_iter().map(Result::unwrap).eq(0..1000));
        let counter = SharedCounter::new(0).unwrap();
        let count = |counter: SharedCounter, bytes: Vec<u8>| {
            counter.increment().unwrap();
            bytes.len()
        };
        let items = (0..20).map(|number| (counter.clone(), vec![1; number * 1000]));
        let results = pool.with_chunk_size(3).starmap(count, items);
        assert!(
            results
                .into_iter()
                .map(Result::unwrap)
                .eq((0..20).map(|number| number * 1000))
        );
        assert_eq!(counter.get(), 20);
        let panicked = pool.apply(|| -> u8 { panic!("on purpose") }, ());
        assert!(matches!(panicked, Err(JobError::Panicked { message, .. }) if message == "on purpose"));
        let (place, error) = (
            line!() + 1,
            pool.apply(|| -> u8 { [0][usize::from(unknown())] }, ()).unwrap_err(),
        );
        assert!(
            error.to_string().contains(&format!(" at {}:{place}: ", file!())),
            "{error}"
        );
        let JobError::Panicked { location, .. } = error else {
            unreachable!("{error}")
        };
        assert_eq!(
            location.map(|location| (location.file, location.line)),
            Some((file!().to_owned(), place))
        );
        let resumed = || -> u8 {
            let _ = std::panic::catch_unwind(|| panic!("of no matter"));
            std::panic::resume_unwind(Box::new("of another thread"))
        };
        let error = pool.apply(resumed, ()).unwrap_err();
        let JobError::Panicked { location, .. } = error else {
            unreachable!("{error}")
        };
        assert_eq!(location, None, "the place of a panic that was caught before");
        let name = || procshare::process::current().name().to_owned();
        assert!(pool.apply(name, ()).unwrap().starts_with("PoolWorker-"));
    });
}

/// What the compiler does not know.
fn unknown() -> u8 {
    std::hint::black_box(1)
}

#[procshare::test]
fn dead_workers_are_replaced() {
    with_each(|method: String| {
        let pool = by(&method).build().unwrap();
        for round in 0..10 {
            let killed = pool
                .with_chunk_size(3)
                .map(|a: u64| if a == 4 { die() } else { a }, 0..10);
            for (a, result) in killed.iter().enumerate() {
                assert!(
                    if a == 4 {
                        is_killed(result)
                    } else {
                        *result == Ok(a as u64)
                    },
                    "{round}: {result:?}"
                );
            }
        }
        let runs = SharedCounter::new(0).unwrap();
        let die_twice = |runs: SharedCounter| if runs.increment().unwrap() < 3 { die() } else { 7 };
        assert_eq!(pool.with_retries(2).apply(die_twice, (runs,)), Ok(7));
        wait_until(|| pool.progress().workers == 2);
        assert_eq!((pool.progress().started, pool.progress().retried), (14, 2));
        let ids = pool.worker_ids();
        pool.join();
        assert!(ids.iter().all(|id| has_ended(*id)));
    });
}

#[procshare::test]
fn each_worker_is_initialised() {
    static SET: AtomicU64 = AtomicU64::new(0);
    with_each(|method: String| {
        let came = SharedCounter::new(0).unwrap();
        let begin = |came: SharedCounter, number: u64| {
            assert_eq!(SET.swap(number, Ordering::SeqCst), 0, "initialised twice");
            came.increment().unwrap();
        };
        let builder = by(&method).initializer(begin, (came.clone(), 42));
        let pool = builder.max_tasks_per_child(10).chunk_size(5).build().unwrap();
        let read = |_: u64| SET.load(Ordering::SeqCst);
        assert_eq!(pool.map(read, 0..40), vec![Ok(42); 40]);
        pool.clone().join();
        assert_eq!(came.get() as u64, pool.progress().started);
        assert!(came.get() >= 4, "{}", came.get());
        assert_eq!(SET.load(Ordering::SeqCst), 0, "the parent is no worker");
    });
}

/// What descriptors lead to; events apart, since the thread that waits for templates has one while there are any.
fn open_files() -> (Vec<String>, usize) {
    let mut files: Vec<_> = descriptors().into_iter().map(|(_, target)| target).collect();
    files.sort();
    let all = files.len();
    files.retain(|target| target != "anon_inode:[eventfd]");
    let events = all - files.len();
    (files, events)
}

#[procshare::test]
fn pools_end_and_leave_nothing() {
    with_each(|method: String| {
        let children = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let of = |path: std::path::PathBuf| std::fs::read_to_string(path.join("children")).unwrap_or_default();
            tasks
                .map(|task| of(task.unwrap().path()).split_whitespace().count())
                .sum::<usize>()
        };
        // What is the process's own: its fork server, perhaps.
        by(&method).build().unwrap().join();
        let own = usize::from(method == "fork-server");
        wait_until(|| children() == own);
        let before = open_files();
        for round in 0..9_u64 {
            let pool = by(&method).build().unwrap();
            assert_eq!(pool.apply(same, (round,)), Ok(round));
            let held = pool.submit(|| -> u8 { for_ever() }, ());
            let ids = pool.worker_ids();
            match round % 3 {
                0 => drop(pool),
                1 => {
                    pool.terminate();
                    pool.join();
                }
                _ => {
                    let closed = pool.with_chunk_size(1).map_async(same, 0..50);
                    pool.close();
                    assert!(closed.get().unwrap().into_iter().map(Result::unwrap).eq(0..50));
                    drop(pool);
                }
            }
            assert_eq!(held.get(), Err(JobError::Terminated), "round {round}");
            assert!(ids.iter().all(|id| has_ended(*id)), "round {round}");
        }
        // A template goes when its pool does, and is waited for a moment later.
        wait_until(|| children() == own);
        let (after, events) = open_files();
        assert_eq!(after, before.0);
        assert!(events <= before.1 + 1, "{events} events, and {} before", before.1);
    });
}

/// A pool in a process that is killed.
fn work_until_killed(method: String, ids: procshare::SharedAtomicArray<AtomicU64>, ready: Flag) {
    let pool = by(&method).build().unwrap();
    assert_eq!(pool.apply(same, (1,)), Ok(1));
    for (word, id) in ids.iter().zip(pool.worker_ids()) {
        word.store(id.into(), Ordering::SeqCst);
    }
    ready.raise();
    loop {
        assert!(pool.map(same, 0..100).iter().all(Result::is_ok));
    }
}

#[procshare::test]
fn workers_end_with_their_parent() {
    let _watchdog = watchdog(60);
    for method in METHODS {
        let (ids, ready) = (procshare::SharedAtomicArray::new(2).unwrap(), Flag::new());
        let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
        let arguments = (method.to_string(), ids.clone(), ready.clone());
        let parent: Process<()> = builder.spawn(work_until_killed, arguments).unwrap();
        ready.wait_for(1);
        let killed = common::kill(parent);
        wait_until(|| ids.iter().all(|id| has_ended(id.load(Ordering::SeqCst) as u32)));
        println!("{method}: the last worker had ended after {:?}", killed.elapsed());
        assert!(killed.elapsed().as_secs() < 1);
    }
}

/// Copies have what was computed before, those that take the place of others too; nobody else has.
#[procshare::test]
fn a_copied_worker_has_what_was_in_memory() {
    static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    static LATER: AtomicU64 = AtomicU64::new(0);
    with_each(|method: String| {
        TABLE.set((0..1000).map(|a| a * a).collect()).unwrap();
        let pool = by(&method).build().unwrap();
        LATER.store(1, Ordering::SeqCst);
        let look = |at: usize| (TABLE.get().map(|table| table[at]), LATER.load(Ordering::SeqCst));
        let is_copy = method == "fork";
        for _ in 0..3 {
            let results = pool.map(look, 0..1000);
            for (at, result) in results.into_iter().enumerate() {
                let expected = is_copy.then_some((at * at) as u64);
                assert_eq!(result, Ok((expected, 0)));
            }
            assert!(is_killed(&pool.apply(die, ())));
        }
    });
}

/// This crate's own threads end for the moment of the copy, whichever pool they are of, and go on.
#[procshare::test]
fn a_pool_of_copies_stands_beside_any_other_in_any_order() {
    let fork = "fork".to_owned();
    with_each(|method: String| {
        for [first, second] in [[&method, &"fork".to_owned()], [&"fork".to_owned(), &method]] {
            let first = by(first).build().unwrap();
            let (came, go) = (Flag::new(), Flag::new());
            let held = first.submit(common::hold, (came.clone(), go.clone()));
            came.wait_for(1);
            let waiting = first.with_chunk_size(1).map_async(same, 0..500);
            let second = by(second).build().unwrap();
            let counter = SharedCounter::new(0).unwrap();
            let add = |counter: SharedCounter, number: u64| {
                counter.increment().unwrap();
                number
            };
            for round in 0..5 {
                // Copies of this process, and pools that end again, beside both.
                let numbers = move || (0..round).sum::<u64>();
                assert_eq!(Process::fork(numbers).unwrap().join(), Ok((0..round).sum()));
                let third = by("fork").build().unwrap();
                for pool in [&first, &second, &third] {
                    let items = (0..20).map(|number| (counter.clone(), number));
                    assert!(pool.starmap(add, items).into_iter().map(Result::unwrap).eq(0..20));
                }
            }
            assert_eq!(counter.get(), 5 * 3 * 20);
            // Those who die are replaced, in all of them.
            for pool in [&first, &second] {
                assert!(is_killed(&pool.apply(die, ())));
                assert_eq!(pool.apply(same, (3,)), Ok(3));
            }
            go.raise();
            assert_eq!(held.get(), Ok(()));
            assert!(waiting.get().unwrap().into_iter().map(Result::unwrap).eq(0..500));
            second.join();
            first.join();
        }
    });
    // In a test there is a second thread from the start, which is nobody's to end.
    let error = by(&fork).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotForkable);
    assert!(error.to_string().contains("threads"), "{error}");
}

#[procshare::test]
fn a_copy_made_beside_a_pool_has_no_part_in_it() {
    let _watchdog = watchdog(60);
    let body = || {
        let pool = by("spawn").build().unwrap();
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        let theirs = pool.clone();
        let child = Process::fork(move || {
            let refused = theirs.apply(same, (1,)) == Err(JobError::ForeignProcess);
            drop(theirs);
            let own = by("spawn").build().and_then(|pool| Ok(pool.apply(same, (2,))?));
            (refused, own.map_err(|error| error.kind()))
        });
        let (refused, own) = child.unwrap().join().unwrap();
        assert!(refused);
        assert_eq!(own, Ok(2));
        assert_eq!(pool.apply(same, (3,)), Ok(3));
    };
    alone(body, ());
}

/// What a pool's thread calls may copy the process as little as anything else on a thread of its own, and is told so.
#[procshare::test]
fn a_copy_asked_for_on_a_pools_thread_is_refused() {
    let _watchdog = watchdog(60);
    let body = || {
        let pool = by("spawn").build().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        pool.on_progress(move |_| {
            let _ = send.send(by("fork").build().map(drop).map_err(|error| error.kind()));
        });
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        assert_eq!(receive.recv().unwrap(), Err(ErrorKind::NotForkable));
        pool.on_progress(|_| {});
        assert!(by("fork").build().is_ok());
    };
    alone(body, ());
}

/// The process that copies is killed: nobody can take a worker's place, and no job waits for ever.
#[procshare::test]
fn a_pool_whose_template_is_killed_gives_up_in_the_end() {
    let _watchdog = watchdog(60);
    let body = || {
        let pool = by("fork").build().unwrap();
        let workers = pool.worker_ids();
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let of = |path: std::path::PathBuf| std::fs::read_to_string(path.join("children")).unwrap_or_default();
        let texts: String = tasks.map(|task| of(task.unwrap().path())).collect();
        let children = texts.split_whitespace().map(|id| id.parse::<u32>().unwrap());
        let template: Vec<_> = children.filter(|id| !workers.contains(id)).collect();
        assert_eq!(template.len(), 1, "{template:?}");
        // SAFETY: two numbers; the process is a child of this one.
        assert_eq!(unsafe { libc::kill(template[0] as libc::pid_t, libc::SIGKILL) }, 0);
        // Those that are there go on.
        assert!(pool.map(same, 0..100).into_iter().map(Result::unwrap).eq(0..100));
        assert!(is_killed(&pool.apply(die, ())));
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        assert!(is_killed(&pool.apply(die, ())));
        let error = pool.apply(same, (1,)).unwrap_err();
        assert!(matches!(error, JobError::NoWorkers(_)), "{error:?}");
        println!("{error}");
    };
    alone(body, ());
}
