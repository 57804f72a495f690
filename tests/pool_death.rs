//! A pool when workers are killed or stopped, and when its own process is: what becomes of each job, and what is left.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/blob.rs"]
mod blob;
mod common;

use blob::Blob;
use common::{Flag, alone, children_of, descriptors, for_ever, has_ended, hold, state_of, wait_until, watchdog};
use procshare::{JobError, JoinError, Pool, Process, SharedAtomic, SharedAtomicArray, SharedCounter};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

type Runs = SharedAtomicArray<AtomicU64>;

fn same(a: u64) -> u64 {
    a
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: two numbers; a worker that has ended meanwhile is a zombie or gone, and its number is not used anew so soon.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

fn stop(pid: u32) {
    signal(pid, libc::SIGSTOP);
    wait_until(|| state_of(pid) == Some('T'));
}

fn die() -> ! {
    signal(std::process::id(), libc::SIGKILL);
    for_ever()
}

/// A number that differs in every process.
fn xorshift(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

fn is_killed<R>(result: &Result<R, JobError>) -> bool {
    matches!(result, Err(JobError::WorkerDied { signal: Some(9), .. }))
}

fn die_at(a: u64, at: u64) -> u64 {
    if a == at { die() } else { a * 2 }
}

#[procshare::test]
fn one_death_costs_one_item() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    for chunk in [1, 3, 25, 100] {
        for at in [0, 1, 2, 50, 98, 99] {
            let results = pool.with_chunk_size(chunk).starmap(die_at, (0..100).map(|a| (a, at)));
            assert_eq!(results.len(), 100);
            for (a, result) in results.iter().enumerate() {
                if a as u64 == at {
                    assert!(is_killed(result), "chunks of {chunk}, item {a}: {result:?}");
                } else {
                    assert_eq!(*result, Ok(a as u64 * 2), "chunks of {chunk}, death at {at}");
                }
            }
        }
    }
    let progress = pool.progress();
    assert_eq!((progress.failed, progress.finished, progress.retried), (24, 2400, 0));
    wait_until(|| pool.progress().workers == 2);
    assert_eq!(pool.progress().started, 26);
}

#[procshare::test]
fn every_item_may_die() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let results = pool.with_chunk_size(7).map(|_: u32| -> u32 { die() }, 0..30);
    assert!(results.len() == 30 && results.iter().all(is_killed), "{results:?}");
    assert_eq!(pool.apply(same, (1,)), Ok(1));
}

#[procshare::test]
fn how_a_worker_ended_is_told() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    for code in [0, 1, 3, 101, 255] {
        let worker = pool.apply(std::process::id, ()).unwrap();
        let outcome = pool.apply(|code: i32| -> u8 { std::process::exit(code) }, (code,));
        let (signal, code) = (None, Some(code));
        assert_eq!(outcome, Err(JobError::WorkerDied { signal, code, worker }));
    }
    for number in [libc::SIGKILL, libc::SIGTERM, libc::SIGABRT, libc::SIGINT, libc::SIGUSR1] {
        let worker = pool.apply(std::process::id, ()).unwrap();
        let hit = |number: i32| -> u8 {
            // SAFETY: two numbers. Who starts tests in the background has them ignore SIGINT.
            unsafe { libc::signal(number, libc::SIG_DFL) };
            signal(std::process::id(), number);
            for_ever()
        };
        let (signal, code) = (Some(number), None);
        let outcome = pool.apply(hit, (number,));
        assert_eq!(outcome, Err(JobError::WorkerDied { signal, code, worker }));
    }
    let abort = pool.apply(|| -> u8 { std::process::abort() }, ());
    assert!(matches!(
        abort,
        Err(JobError::WorkerDied {
            signal: Some(libc::SIGABRT),
            ..
        })
    ));
    let overflow = pool.apply(deep, (0,));
    assert!(
        matches!(overflow, Err(JobError::WorkerDied { signal: Some(_), .. })),
        "{overflow:?}"
    );
}

#[expect(unconditional_recursion, reason = "its end is the end of the stack")]
fn deep(a: u64) -> u64 {
    std::hint::black_box(deep(std::hint::black_box(a) + 1) + 1)
}

/// What is left of a chunk still has its arguments, however long, and whatever its results took.
#[procshare::test]
fn what_follows_a_death_finds_its_arguments() {
    let _watchdog = watchdog(60);
    let give = |bytes: Blob, dies: bool| if dies { die() } else { bytes };
    let pool = Pool::new(1).unwrap();
    for (items, len) in [(8_u8, 2_000), (4, 5_000), (4, 700_000), (40, 300)] {
        for dies in 0..items {
            let item = |number: u8| (Blob::new(number.into(), len), number == dies);
            let results = pool.with_chunk_size(items.into()).starmap(give, (0..items).map(item));
            for (number, result) in results.into_iter().enumerate() {
                let expected = Blob::new(number, len);
                let ended_well = if number as u8 == dies {
                    is_killed(&result)
                } else {
                    result.as_ref() == Ok(&expected)
                };
                assert!(
                    ended_well,
                    "{items} items of {len} bytes, death at {dies}: item {number} is wrong"
                );
            }
        }
    }
}

/// As above, but the worker ends by itself after some items.
#[procshare::test]
fn what_follows_a_worker_that_leaves_finds_its_arguments() {
    let _watchdog = watchdog(60);
    for budget in [1, 3] {
        let pool = Pool::builder().workers(1).max_tasks_per_child(budget).build().unwrap();
        let item = |number: u8| vec![number + 1; 5_000];
        let results = pool.with_chunk_size(10).map(|bytes: Vec<u8>| bytes, (0..10).map(item));
        for (number, result) in results.into_iter().enumerate() {
            assert!(
                result == Ok(item(number as u8)),
                "{budget} a worker: item {number} is wrong"
            );
        }
    }
}

/// An item that is begun anew has the arguments it had.
#[procshare::test]
fn a_retried_item_finds_its_arguments() {
    let _watchdog = watchdog(60);
    let give = |bytes: Blob, number: usize, runs: Runs| {
        if runs[number].fetch_add(1, Ordering::SeqCst) == 0 && number % 2 == 1 {
            die()
        }
        bytes
    };
    let pool = Pool::new(1).unwrap().with_retries(3);
    let runs = Runs::new(10).unwrap();
    let item = |number| (Blob::new(number, 4_000), number, runs.clone());
    let results = pool.with_chunk_size(10).starmap(give, (0..10).map(item));
    for (number, result) in results.into_iter().enumerate() {
        assert!(result == Ok(Blob::new(number, 4_000)), "item {number} is wrong");
    }
}

#[procshare::test]
fn retries_are_for_each_item_and_end() {
    let _watchdog = watchdog(60);
    let runs = Runs::new(10).unwrap();
    // Item k dies k times.
    let often = |runs: Runs, a: u64| {
        if runs[a as usize].fetch_add(1, Ordering::SeqCst) < a {
            die()
        } else {
            a
        }
    };
    let pool = Pool::builder().workers(2).retries(4).build().unwrap();
    let results = pool
        .with_chunk_size(5)
        .starmap(often, (0..10).map(|a| (runs.clone(), a)));
    for (a, result) in results.iter().enumerate() {
        let expected = a.min(4) + 1;
        assert_eq!(runs[a].load(Ordering::SeqCst), expected as u64, "runs of item {a}");
        assert!(
            if a <= 4 {
                *result == Ok(a as u64)
            } else {
                is_killed(result)
            },
            "{a}: {result:?}"
        );
    }
    assert_eq!(pool.progress().retried, 4 * 5 + 3 + 2 + 1 + 4);
}

fn count_and_give(runs: Runs, a: u64) -> u64 {
    runs[a as usize].fetch_add(1, Ordering::SeqCst);
    if a % 64 == 0 {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    a
}

/// Kills workers at random until `done`; tells how many.
fn rage(pool: &Pool, done: &AtomicBool, pause: Duration) -> u64 {
    let (mut random, mut kills) = (xorshift(0x9e37_79b9 | u64::from(std::process::id())), 0);
    while !done.load(Ordering::Relaxed) {
        std::thread::park_timeout(pause.mul_f64(random(200) as f64 / 100.0));
        let workers = pool.worker_ids();
        if !workers.is_empty() {
            signal(workers[random(workers.len() as u64) as usize], libc::SIGKILL);
            kills += 1;
        }
    }
    kills
}

fn ten_thousand_jobs(chunk: usize, retries: u32) {
    let pool = Pool::new(3).unwrap();
    let runs = Runs::new(10_000).unwrap();
    let done = AtomicBool::new(false);
    let (results, kills) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| rage(&pool, &done, Duration::from_millis(50)));
        let jobs = pool.with_chunk_size(chunk).with_retries(retries);
        let results = jobs.starmap(count_and_give, (0..10_000).map(|a| (runs.clone(), a)));
        done.store(true, Ordering::Relaxed);
        (results, killer.join().unwrap())
    });
    let mut lost = 0;
    for (a, result) in results.iter().enumerate() {
        let ran = runs[a].load(Ordering::SeqCst);
        match result {
            Ok(given) => assert!(
                *given == a as u64 && (ran == 1 || retries > 0 && ran > 1),
                "{a} ran {ran} times"
            ),
            _ if is_killed(result) => {
                lost += 1;
                assert!(ran <= 1 || retries > 0, "{a} ran {ran} times");
            }
            Err(error) => panic!("{a}: {error}"),
        }
    }
    println!(
        "chunks of {chunk}: {kills} kills, {lost} of 10000 lost, {:?}",
        pool.progress()
    );
    assert_eq!(results.len(), 10_000);
    assert!(
        lost <= kills && (retries == 0 || lost == 0),
        "{lost} lost by {kills} kills"
    );
    let progress = pool.progress();
    assert_eq!(
        (progress.submitted, progress.finished, progress.failed),
        (10_000, 10_000, lost)
    );
    assert!(pool.map(same, 0..100).into_iter().map(Result::unwrap).eq(0..100));
    wait_until(|| pool.progress().workers == 3);
}

#[procshare::test]
fn ten_thousand_jobs_end_once_whoever_is_killed() {
    let _watchdog = watchdog(120);
    ten_thousand_jobs(1, 0);
    ten_thousand_jobs(40, 0);
}

#[procshare::test]
fn with_retries_no_job_is_lost() {
    let _watchdog = watchdog(120);
    ten_thousand_jobs(20, 1_000);
}

/// Who is killed before it is ready says nothing of those who are.
#[procshare::test]
fn a_worker_at_work_is_no_reason_to_give_up() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let (who, go) = (SharedAtomic::<AtomicU32>::new(0).unwrap(), Flag::new());
    let hold = |who: SharedAtomic<AtomicU32>, go: Flag| {
        who.store(std::process::id(), Ordering::SeqCst);
        go.wait_for(1);
        7
    };
    let mut busy = pool.submit(hold, (who.clone(), go.clone()));
    wait_until(|| who.load(Ordering::SeqCst) != 0);
    let who = who.load(Ordering::SeqCst);
    let mut killed = 0;
    while killed < 8 && !busy.ready() {
        // The other one, as soon as there is another.
        if let Some(id) = pool.worker_ids().into_iter().find(|id| *id != who && !has_ended(*id)) {
            signal(id, libc::SIGKILL);
            killed += 1;
            wait_until(|| has_ended(id));
        }
    }
    go.raise();
    assert_eq!(busy.get_timeout(PATIENCE), Ok(7), "after {killed} kills");
    assert_eq!(pool.submit(same, (1,)).get_timeout(PATIENCE), Ok(1));
}

#[procshare::test]
fn a_stopped_idle_worker_holds_nobody_up() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(same, 0..10).len(), 10);
    for worker in pool.worker_ids() {
        stop(worker);
        for _ in 0..20 {
            assert_eq!(pool.submit(same, (1,)).get_timeout(PATIENCE), Ok(1));
            assert!(
                pool.with_chunk_size(1)
                    .map(same, 0..20)
                    .into_iter()
                    .map(Result::unwrap)
                    .eq(0..20)
            );
        }
        signal(worker, libc::SIGCONT);
    }
    assert!(pool.map(same, 0..100).into_iter().map(Result::unwrap).eq(0..100));
}

#[procshare::test]
fn all_but_one_may_be_stopped_with_jobs_in_hand() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(4).unwrap();
    let go = Flag::new();
    let pid_when = |go: Flag| {
        go.wait_for(1);
        std::process::id()
    };
    let held: Vec<_> = (0..3).map(|_| pool.submit(pid_when, (go.clone(),))).collect();
    wait_until(|| pool.progress().running == 3);
    let free = pool.apply(std::process::id, ()).unwrap();
    let others: Vec<_> = pool.worker_ids().into_iter().filter(|id| *id != free).collect();
    others.iter().for_each(|id| stop(*id));
    go.raise();
    for _ in 0..3 {
        assert!(
            pool.with_chunk_size(3)
                .map(same, 0..300)
                .into_iter()
                .map(Result::unwrap)
                .eq(0..300)
        );
        // Long enough for the pool's thread to stop looking.
        std::thread::park_timeout(Duration::from_millis(1200));
    }
    assert!(held.iter().all(|held| !held.ready()));
    others.iter().for_each(|id| signal(*id, libc::SIGCONT));
    let mut ended: Vec<_> = held
        .into_iter()
        .map(|mut held| held.get_timeout(PATIENCE).unwrap())
        .collect();
    ended.sort_unstable();
    let mut others = others;
    others.sort_unstable();
    assert_eq!(ended, others);
}

#[procshare::test]
fn a_pool_of_stopped_workers_can_be_ended() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let held = pool.map_async(|_: u32| -> u8 { for_ever() }, 0..10);
    wait_until(|| pool.progress().running == 2);
    let ids = pool.worker_ids();
    ids.iter().for_each(|id| stop(*id));
    let began = Instant::now();
    drop(pool);
    println!("dropped in {:?}", began.elapsed());
    assert_eq!(held.get().unwrap(), vec![Err(JobError::Terminated); 10]);
    assert!(ids.iter().all(|id| has_ended(*id)));
}

/// Blocks of memory that a pool's second file has.
fn spilled() -> u64 {
    let pools = descriptors()
        .into_iter()
        .filter(|(_, target)| target.contains("procshare-pool"));
    pools
        .map(|(number, _)| std::fs::metadata(format!("/proc/self/fd/{number}")).unwrap().blocks() * 512)
        .sum()
}

#[procshare::test]
fn memory_of_large_jobs_is_given_back() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(spilled(), 0);
        let large = || Blob(vec![7; 1 << 20]);
        assert!(
            pool.with_chunk_size(1)
                .map(|bytes: Blob| bytes, (0..20).map(|_| large()))
                .iter()
                .all(Result::is_ok)
        );
        wait_until(|| pool.progress().left() == 0);
        assert_eq!(spilled(), 0, "after results");
        let killed = pool.map(|_: Blob| -> u8 { die() }, (0..5).map(|_| large()));
        assert!(killed.iter().all(is_killed));
        assert_eq!(spilled(), 0, "after deaths");
        let (came, go) = (Flag::new(), Flag::new());
        let held = pool.submit(hold, (came.clone(), go.clone()));
        came.wait_for(1);
        let waiting = pool
            .with_chunk_size(1)
            .map_async(|bytes: Blob| bytes.0.len(), (0..20).map(|_| large()));
        assert!(waiting.cancel());
        go.raise();
        held.get().unwrap();
        assert!(pool.with_chunk_size(1).map(same, 0..500).iter().all(Result::is_ok));
        assert_eq!(spilled(), 0, "after cancelling");
    });
}

/// The worker dies while it writes a large result.
#[procshare::test]
fn memory_of_half_a_result_is_given_back() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(1).unwrap();
        for pause in 0..30 {
            let held = pool.submit(|| Blob(vec![7; 64 << 20]), ());
            // A new worker may answer before the pool's own process has taken note of it.
            wait_until(|| !pool.worker_ids().is_empty());
            let worker = pool.worker_ids()[0];
            wait_until(|| pool.progress().running == 1 || held.ready());
            wait_until(|| spilled() > 0 || held.ready());
            std::thread::park_timeout(Duration::from_micros(500 * pause));
            signal(worker, libc::SIGKILL);
            let _ = held.get();
            wait_until(|| pool.apply(std::process::id, ()).is_ok_and(|id| id != worker));
            assert_eq!(spilled(), 0, "after a death in writing, pause {pause}");
        }
    });
}

/// A pool in a process of its own, which tells the ids of the workers and works on and on.
fn work_until_killed(ids: SharedAtomicArray<AtomicU32>, calls: SharedAtomic<AtomicU32>) {
    let pool = Pool::new(3).unwrap();
    let counter = SharedCounter::new(0).unwrap();
    for (at, id) in pool.worker_ids().into_iter().enumerate() {
        ids[at].store(id, Ordering::SeqCst);
    }
    loop {
        let results = pool.with_chunk_size(2).starmap(
            |counter: SharedCounter, bytes: Vec<u8>| {
                counter.increment().unwrap();
                bytes
            },
            (0..40).map(|a| (counter.clone(), vec![1; a * 1000])),
        );
        assert!(results.iter().all(Result::is_ok));
        calls.fetch_add(1, Ordering::SeqCst);
    }
}

fn all_of_shared_memory() -> Vec<String> {
    let mut names = common::shared_memory_names("");
    names.retain(|name| !name.contains("test-"));
    names.sort();
    names
}

fn ends_with_its_parent(end: impl Fn(&Process<()>)) {
    let before = all_of_shared_memory();
    let mut random = xorshift(u64::from(std::process::id()) | 1);
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        let (ids, calls) = (
            SharedAtomicArray::new(3).unwrap(),
            SharedAtomic::<AtomicU32>::new(0).unwrap(),
        );
        let parent = Process::builder()
            .daemon(true)
            .spawn(work_until_killed, (ids.clone(), calls.clone()))
            .unwrap();
        wait_until(|| ids[2].load(Ordering::SeqCst) != 0);
        std::thread::park_timeout(Duration::from_micros(random(30_000)));
        let killed = Instant::now();
        end(&parent);
        assert!(matches!(parent.join(), Err(JoinError::Signaled(_))));
        let workers: Vec<u32> = ids.iter().map(|id| id.load(Ordering::SeqCst)).collect();
        wait_until(|| workers.iter().all(|id| has_ended(*id)));
        longest = longest.max(killed.elapsed());
    }
    println!("the last worker had ended after {longest:?} at most");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert_eq!(all_of_shared_memory(), before);
}

#[procshare::test]
fn workers_end_with_a_killed_parent() {
    let _watchdog = watchdog(60);
    alone(|| ends_with_its_parent(|parent| parent.kill().unwrap()));
}

/// As the terminal does on Ctrl-C.
#[procshare::test]
fn workers_end_with_an_interrupted_group() {
    let _watchdog = watchdog(60);
    alone(|| {
        // SAFETY: two numbers. Who starts tests in the background has them, and their children, ignore it.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        ends_with_its_parent(|parent| {
            // SAFETY: two numbers; the group is made of that child and its children.
            unsafe { libc::setpgid(parent.id() as libc::pid_t, 0) };
            for id in children_of(parent.id()) {
                // SAFETY: as above.
                unsafe { libc::setpgid(id as libc::pid_t, parent.id() as libc::pid_t) };
                signal(id, libc::SIGINT);
            }
            signal(parent.id(), libc::SIGINT);
        });
    });
}

#[procshare::test]
fn fifty_pools_leave_nothing_behind() {
    let _watchdog = watchdog(120);
    alone(|| {
        drop(Pool::new(1).unwrap());
        let (files, threads) = (descriptors(), std::fs::read_dir("/proc/self/task").unwrap().count());
        for round in 0..50_u64 {
            let pool = Pool::new(2).unwrap();
            assert_eq!(pool.apply(same, (round,)), Ok(round));
            match round % 4 {
                0 => drop(pool),
                1 => pool.join(),
                2 => pool.terminate(),
                _ => {
                    pool.worker_ids().into_iter().for_each(|id| signal(id, libc::SIGKILL));
                    assert!(pool.apply(|| -> u8 { die() }, ()).is_err());
                    drop(pool);
                }
            }
        }
        assert_eq!(children_of(std::process::id()), [0; 0], "children are left");
        assert_eq!(descriptors(), files);
        assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), threads);
    });
}

#[procshare::test]
fn killed_workers_leave_no_zombie() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        for _ in 0..20 {
            let victim = pool.apply(std::process::id, ()).unwrap();
            signal(victim, libc::SIGKILL);
            wait_until(|| state_of(victim).is_none());
        }
        let sorted = |mut ids: Vec<u32>| {
            ids.sort_unstable();
            ids
        };
        // A child goes from the list of the thread that started it to another's as that ends: one look may miss it.
        wait_until(|| {
            let children = sorted(children_of(std::process::id()));
            children.len() == 2 && children == sorted(pool.worker_ids())
        });
    });
}
