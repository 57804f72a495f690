//! Attacks on pools: each test is named for what should hold.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{alone, children_of, descriptors, for_ever, has_ended, limit, state_of, wait_until, watchdog};
use procshare::process::StartMethod;
use procshare::{ErrorKind, JobError, Pool, Process, SharedAtomic, SharedAtomicArray, SharedQueue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

fn same(a: u64) -> u64 {
    a
}

/// A number that processes count up and watch.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Flag(SharedAtomic<AtomicU32>);

impl Flag {
    fn new() -> Self {
        Flag(SharedAtomic::new(0).unwrap())
    }

    fn raise(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn is_at(&self, count: u32) -> bool {
        self.0.load(Ordering::SeqCst) == count
    }

    fn wait_for(&self, count: u32) {
        wait_until(|| self.0.load(Ordering::SeqCst) >= count);
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: two numbers.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

fn stop(pid: u32) {
    signal(pid, libc::SIGSTOP);
    wait_until(|| state_of(pid) == Some('T') || has_ended(pid));
}

fn cpu_time() -> Duration {
    // SAFETY: zeroes are a value of it.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: room for one time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// An object has 64 seats, and each job that is not done yet takes one.
#[procshare::test]
fn any_number_of_jobs_may_hold_a_queue() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<u64>::new(1000).unwrap();
    let pool = Pool::new(2).unwrap();
    let put = |queue: SharedQueue<u64>, a: u64| queue.put(a).is_ok();
    let results = pool.starmap(put, (0..200).map(|a| (queue.clone(), a)));
    let failed: Vec<_> = results.iter().filter(|result| **result != Ok(true)).collect();
    assert!(failed.is_empty(), "{} of 200 failed: {:?}", failed.len(), failed[0]);
}

/// Offsets in the file of long jobs are far beyond any limit.
#[procshare::test]
fn a_limit_of_file_sizes_kills_nobody() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(1).unwrap();
        limit(libc::RLIMIT_FSIZE, 1 << 30);
        let all: Vec<_> = (0..2)
            .map(|_| pool.submit(|a: Vec<u8>| a.len(), (vec![1; 4000],)))
            .collect();
        for outcome in all.into_iter().map(procshare::pool::Pending::get) {
            assert!(
                matches!(outcome, Ok(4000) | Err(JobError::OutOfMemory(_))),
                "{outcome:?}"
            );
        }
    });
}

/// The same for a worker that inherits the limit: it is killed by its own result.
#[procshare::test]
fn a_limit_of_file_sizes_kills_no_worker() {
    let _watchdog = watchdog(60);
    alone(|| {
        limit(libc::RLIMIT_FSIZE, 1 << 30);
        let pool = Pool::new(1).unwrap();
        let outcome = pool.apply(|| vec![1_u8; 40_000], ());
        let is_told = matches!(outcome, Err(JobError::OutOfMemory(_)));
        assert!(
            is_told || outcome.as_ref().is_ok_and(|bytes| bytes.len() == 40_000),
            "{outcome:?}"
        );
    });
}

/// Three failures in one instant are no three attempts.
#[procshare::test]
fn a_moment_without_descriptors_is_survived() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(4).unwrap();
        // All have come, and the pool's thread hears of four deaths at once.
        wait_until(|| (0..100).all(|_| pool.map(same, 0..100).len() == 100));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let finished = pool.progress().finished;
        pool.on_progress(move |progress| {
            // It may still be told of the maps.
            if progress.finished > finished {
                let _ = tell.send(());
                let _ = wait.recv();
            }
        });
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        told.recv().unwrap();
        let before = limit(libc::RLIMIT_NOFILE, 6); // One for each worker and the bell: `poll` wants so many.
        for id in pool.worker_ids() {
            signal(id, libc::SIGKILL);
            wait_until(|| has_ended(id));
        }
        drop(go);
        std::thread::sleep(Duration::from_millis(15)); // Longer than the first pause.
        limit(libc::RLIMIT_NOFILE, before);
        let mut pending = pool.submit(same, (7,));
        assert_eq!(pending.get_timeout(PATIENCE), Ok(7));
    });
}

/// One sweep over workers that are about to begin ends the pool, whose function and initializer are sound.
#[procshare::test]
fn one_kill_of_each_new_worker_is_survived() {
    let _watchdog = watchdog(60);
    alone(|| {
        fn slow() {
            std::thread::sleep(Duration::from_millis(300));
        }
        let pool = Pool::builder().workers(4).initializer(slow, ()).build().unwrap();
        for id in pool.worker_ids() {
            signal(id, libc::SIGKILL);
        }
        let mut pending = pool.submit(same, (7,));
        assert_eq!(pending.get_timeout(PATIENCE), Ok(7));
    });
}

/// `poll` refuses more descriptors than a process may have: programs in a sandbox have no right to any more.
#[procshare::test]
fn a_death_is_noticed_without_a_right_to_descriptors() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        limit(libc::RLIMIT_NOFILE, 2);
        let mut pending = pool.submit(|| -> u64 { for_ever() }, ());
        let worker = pool.worker_ids();
        for id in worker {
            signal(id, libc::SIGKILL);
        }
        let outcome = pending.get_timeout(Duration::from_secs(5));
        assert!(
            matches!(outcome, Err(JobError::WorkerDied { .. } | JobError::NoWorkers(_))),
            "{outcome:?}"
        );
    });
}

#[procshare::test]
fn an_idle_pool_without_a_right_to_descriptors_is_idle() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        limit(libc::RLIMIT_NOFILE, 2);
        let before = cpu_time();
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        std::thread::sleep(Duration::from_secs(2));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(500), "{used:?} of 2 s");
    });
}

/// A worker is started by the thread that hears of results.
#[procshare::test]
fn a_stopped_fork_server_holds_no_results_up() {
    let _watchdog = watchdog(60);
    alone(|| {
        let own = std::process::id();
        let pool = Pool::builder()
            .workers(2)
            .start_method(StartMethod::ForkServer)
            .build()
            .unwrap();
        assert_eq!(pool.apply(same, (1,)), Ok(1));
        let workers = pool.worker_ids();
        let server = children_of(own).into_iter().find(|id| !workers.contains(id)).unwrap();
        stop(server);
        signal(workers[0], libc::SIGKILL);
        wait_until(|| pool.progress().workers == 1);
        let results: Vec<_> = (0..5).map(|a| pool.submit(same, (a,))).collect();
        let outcomes: Vec<_> = results
            .into_iter()
            .map(|mut r| r.get_timeout(Duration::from_secs(3)))
            .collect();
        signal(server, libc::SIGCONT);
        let lost = outcomes.iter().filter(|o| matches!(o, Err(JobError::TimedOut))).count();
        assert_eq!(lost, 0, "{outcomes:?}");
    });
}

/// Jobs' tickets are taken back by the pool's thread, under the lock of a queue's seats, without a limit.
#[procshare::test]
fn the_dispatcher_waits_for_no_lock_that_a_stopped_worker_holds() {
    let _watchdog = watchdog(120);
    fn turn_round(queue: SharedQueue<u64>, come: Flag) {
        come.raise();
        loop {
            drop(queue.clone());
        }
    }
    fn leave_behind(queue: SharedQueue<u64>, come: Flag, go: Flag) {
        come.raise();
        go.wait_for(1);
        std::mem::forget(queue);
    }
    alone(|| {
        for attempt in 0..12 {
            let pool = Pool::new(3).unwrap();
            let queue = SharedQueue::<u64>::new(10).unwrap();
            let (come, go) = (Flag::new(), Flag::new());
            let second = pool.submit(leave_behind, (queue.clone(), come.clone(), go.clone()));
            come.wait_for(1);
            let before = pool.worker_ids();
            let first = pool.submit(turn_round, (queue.clone(), come.clone()));
            come.wait_for(2);
            // Whoever uses the processor turns round.
            std::thread::sleep(Duration::from_millis(30));
            let busy = before.iter().copied().max_by_key(|id| ticks(*id)).unwrap();
            stop(busy);
            go.raise();
            let mut others: Vec<_> = (0..4).map(|a| pool.submit(same, (a,))).collect();
            std::thread::sleep(Duration::from_millis(100));
            let outcomes: Vec<_> = others
                .iter_mut()
                .map(|o| o.get_timeout(Duration::from_secs(4)))
                .collect();
            let hung = outcomes.iter().any(|o| matches!(o, Err(JobError::TimedOut)));
            signal(busy, libc::SIGCONT);
            drop((second, first));
            std::mem::drop(pool);
            std::mem::forget(queue);
            assert!(!hung, "attempt {attempt}: {outcomes:?}");
        }
    });
}

fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return 0;
    };
    let fields: Vec<_> = rest.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A cancelled job costs a look at all that wait, and the lock is held meanwhile.
#[procshare::test]
fn cancelling_takes_time_in_proportion() {
    let _watchdog = watchdog(300);
    let pool = Pool::new(1).unwrap();
    let hold = pool.submit(|| -> u64 { for_ever() }, ());
    let time_of = |count: u64| {
        let pending: Vec<_> = (0..count).map(|a| pool.submit(same, (a,))).collect();
        let begun = Instant::now();
        for one in &pending {
            assert!(one.cancel());
        }
        begun.elapsed()
    };
    let (few, many) = (time_of(2_000), time_of(20_000));
    pool.terminate();
    drop(hold);
    assert!(many < few * 30, "2,000 take {few:?}, 20,000 {many:?}");
}

fn start_and_tell(ids: SharedAtomicArray<AtomicU32>) {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(same, (1,)), Ok(1));
    for (at, id) in pool.worker_ids().into_iter().enumerate() {
        ids[at].store(id, Ordering::SeqCst);
    }
    for_ever()
}

/// A stopped worker watches nobody; it ends when it is continued.
#[procshare::test]
fn a_stopped_worker_ends_when_it_is_continued_without_a_parent() {
    let _watchdog = watchdog(60);
    let ids = SharedAtomicArray::<AtomicU32>::new(2).unwrap();
    let parent = Process::builder()
        .daemon(true)
        .spawn(start_and_tell, (ids.clone(),))
        .unwrap();
    let worker = |at: usize| ids[at].load(Ordering::SeqCst);
    wait_until(|| worker(1) != 0);
    stop(worker(0));
    parent.kill().unwrap();
    assert!(parent.join().is_err());
    assert!(!has_ended(worker(0)));
    signal(worker(0), libc::SIGCONT);
    wait_until(|| has_ended(worker(0)));
}

/// Between two jobs a worker flushes the standard output, which a thread of the first may have locked.
#[procshare::test]
fn a_thread_left_by_a_job_holds_no_later_job_up() {
    let _watchdog = watchdog(60);
    alone(|| {
        fn leave_a_thread() {
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let _out = std::io::stdout().lock();
                tell.send(()).unwrap();
                for_ever()
            });
            told.recv().unwrap();
        }
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(leave_a_thread, ()), Ok(()));
        std::thread::sleep(Duration::from_millis(100));
        let mut pending = pool.submit(same, (7,));
        assert_eq!(pending.get_timeout(Duration::from_secs(5)), Ok(7));
    });
}

/// It is called by the thread that `join` waits for.
#[procshare::test]
fn a_hook_may_join_its_pool() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(1).unwrap();
        let (other, done) = (pool.clone(), Arc::new(AtomicBool::new(false)));
        let seen = done.clone();
        pool.on_progress(move |_| {
            other.clone().join();
            seen.store(true, Ordering::SeqCst);
        });
        assert_eq!(pool.map(same, 0..10).len(), 10);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !done.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let has_ended = done.load(Ordering::SeqCst);
        std::mem::forget(pool);
        assert!(has_ended, "the pool's thread waits for itself");
    });
}

/// Its last clone may be the one that a group keeps.
#[procshare::test]
fn a_waker_may_do_anything_when_dropped() {
    let _watchdog = watchdog(60);
    alone(|| {
        struct Last(Pool);
        impl Wake for Last {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.terminate();
            }
        }
        let (told, tell) = (Arc::new(AtomicBool::new(false)), ());
        let seen = told.clone();
        std::thread::spawn(move || {
            let pool = Pool::new(1).unwrap();
            let mut pending = Box::pin(pool.submit(|| -> u64 { for_ever() }, ()));
            let last = Waker::from(Arc::new(Last(pool)));
            let _ = pending.as_mut().poll(&mut Context::from_waker(&last));
            drop(last);
            let _ = pending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            seen.store(true, Ordering::SeqCst);
        });
        let () = tell;
        let deadline = Instant::now() + Duration::from_secs(5);
        while !told.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(told.load(Ordering::SeqCst), "dropping a waker under the group's lock");
    });
}

use std::future::Future;

/// What fits no memory is an error of the job, says `JobError::OutOfMemory`.
#[procshare::test]
fn a_result_beyond_the_parents_memory_ends_no_parent() {
    let _watchdog = watchdog(60);
    let child = Process::builder().daemon(true).spawn(
        || {
            let pool = Pool::new(1).unwrap();
            assert_eq!(pool.apply(same, (1,)), Ok(1));
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
            limit(libc::RLIMIT_AS, pages * 4096 + (64 << 20));
            let pending = pool.submit(|| vec![1_u8; 200 << 20], ());
            pending.wait();
            drop(pending); // Nobody decodes it.
            pool.apply(same, (7,)).unwrap()
        },
        (),
    );
    assert_eq!(child.unwrap().join(), Ok(7));
}

/// `Cancelled` says that no worker had begun it.
#[procshare::test]
fn a_cancelled_job_that_had_begun_does_not_say_that_it_had_not() {
    let _watchdog = watchdog(60);
    alone(|| {
        fn die_first(runs: Flag) -> u64 {
            runs.raise();
            for_ever()
        }
        let pool = Pool::builder().workers(1).retries(5).build().unwrap();
        let (runs, blocked) = (Flag::new(), Flag::new());
        let pending = pool.submit(die_first, (runs.clone(),));
        runs.wait_for(1);
        // The new worker is held up before it takes anything.
        let worker = pool.worker_ids()[0];
        signal(worker, libc::SIGKILL);
        wait_until(|| pool.progress().retried == 1);
        let is_untouched = pending.cancel();
        drop(blocked);
        assert!(!is_untouched, "it had begun once");
    });
}

/// What was counted of an item that died as it told its failure is counted again when it has been begun anew.
#[cfg(feature = "crash-points")]
#[procshare::test]
fn what_succeeds_in_the_end_is_successful() {
    let _watchdog = watchdog(60);
    fn fail_once(a: u64, runs: Flag) -> u64 {
        if a == 2 {
            runs.raise();
            let first = runs.is_at(1);
            assert!(!first, "the first run fails");
        }
        a
    }
    let body = || {
        let pool = Pool::builder().workers(1).chunk_size(3).retries(3).build().unwrap();
        let runs = Flag::new();
        let pending = pool.starmap_async(fail_once, (0..3).map(|a| (a, runs.clone())).collect::<Vec<_>>());
        pending.wait();
        let is_successful = pending.successful();
        let results: Vec<_> = pending.get().unwrap();
        assert_eq!(results, [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(pool.progress().failed, 0);
        assert!(is_successful);
    };
    let builder = Process::builder()
        .daemon(true)
        .env("PROCSHARE_CRASH_AT", "pool.answering:3");
    builder.spawn(body, ()).unwrap().join().unwrap();
}

/// The copy that makes workers belongs to the pool, which is kept by every result.
#[procshare::test]
fn a_joined_pool_leaves_no_template_behind() {
    let _watchdog = watchdog(60);
    let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
    let body = || {
        let pool = Pool::builder()
            .workers(1)
            .start_method(StartMethod::Fork)
            .build()
            .unwrap();
        let pending = pool.submit(same, (1,));
        pool.join();
        let own = std::process::id();
        let deadline = Instant::now() + Duration::from_secs(3);
        while !children_of(own).is_empty() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let left = children_of(own);
        assert_eq!(pending.get(), Ok(1));
        assert!(left.is_empty(), "{left:?}");
    };
    builder.spawn(body, ()).unwrap().join().unwrap();
}

/// Writes another process's id over this worker's in the pool's memory; returns how often it stood there.
fn forge_own_id() -> usize {
    let own = u64::from(std::process::id());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps
        .lines()
        .filter(|line| line.contains("rw-s") && line.contains("/memfd:procshare (deleted)"));
    let mut forged = 0;
    for line in shared {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        for address in (start..end).step_by(8) {
            // SAFETY: the bytes are mapped for as long as the worker runs, and any are an atomic integer.
            let word = unsafe { AtomicU64::from_ptr(address as *mut u64) };
            forged += usize::from(
                word.compare_exchange(own, 1, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok(),
            );
        }
    }
    forged
}

/// The parent has started its workers, and knows who they are.
#[procshare::test]
fn a_worker_that_forges_its_process_id_is_told_by_the_true_one() {
    let _watchdog = watchdog(60);
    let pool = Pool::builder().workers(1).timeline(true).build().unwrap();
    let worker = pool.apply(std::process::id, ()).unwrap();
    assert_eq!(pool.worker_ids(), [worker]);
    assert!(pool.apply(forge_own_id, ()).unwrap() > 0);
    let outcome = pool.apply(|| -> u64 { panic!("a job that fails") }, ());
    assert!(
        matches!(outcome, Err(JobError::Panicked { worker: told, .. }) if told == worker),
        "{outcome:?}"
    );
    let begun = Flag::new();
    let pending = pool.submit(
        |begun: Flag| -> u64 {
            begun.raise();
            for_ever()
        },
        (begun.clone(),),
    );
    begun.wait_for(1);
    signal(worker, libc::SIGKILL);
    let (signal, code) = (Some(libc::SIGKILL), None);
    assert_eq!(pending.get(), Err(JobError::WorkerDied { signal, code, worker }));
    let timeline = pool.timeline();
    let processes: Vec<_> = timeline.bars().iter().map(|bar| bar.process).collect();
    assert_eq!(processes, [worker; 4]);
}

/// Has all descriptors of the file of a pool's long data lead to an empty file that may only be read.
fn lose_long_data() {
    use std::os::fd::AsRawFd;
    let empty = std::fs::File::open("/dev/null").unwrap();
    for (number, target) in descriptors() {
        if target.contains("procshare-pool") {
            // SAFETY: two numbers.
            unsafe { libc::dup2(empty.as_raw_fd(), number as i32) };
        }
    }
}

fn of_len(len: usize) -> Vec<u8> {
    vec![1; len]
}

fn len_of(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Memory has nothing to do with it.
#[procshare::test]
fn a_lost_descriptor_is_not_taken_for_a_lack_of_memory() {
    let _watchdog = watchdog(60);
    fn check<R: std::fmt::Debug>(step: &str, outcome: Result<R, JobError>) {
        let Err(JobError::Refused { kind, message }) = outcome else {
            panic!("{step}: {outcome:?}");
        };
        assert!(
            kind == ErrorKind::Io && message.starts_with(step),
            "{step}: {kind:?}: {message}"
        );
    }
    alone(|| {
        // Longer than what lies in the slots, and so long that it has an extent of its own.
        let (long, longer) = (100_000, 3 << 20);
        let pool = Pool::new(1).unwrap();
        pool.apply(lose_long_data, ()).unwrap();
        check("reading the arguments failed", pool.apply(len_of, (of_len(long),)));
        check("reading the arguments failed", pool.apply(len_of, (of_len(longer),)));
        check("storing a result of 100", pool.apply(of_len, (long,)));
        check("storing a result of 3", pool.apply(of_len, (longer,)));
        let pool = Pool::new(1).unwrap();
        lose_long_data();
        check("reading results of 100", pool.apply(of_len, (long,)));
        check("reading a result of 3", pool.apply(of_len, (longer,)));
        check("storing arguments of 100", pool.apply(len_of, (of_len(long),)));
        check("storing arguments of 3", pool.apply(len_of, (of_len(longer),)));
        assert_eq!(pool.apply(same, (1,)), Ok(1));
    });
}

/// A work queue has 512 slots.
#[procshare::test]
fn all_workers_of_a_large_pool_can_be_busy() {
    let _watchdog = watchdog(100);
    alone(|| {
        limit(libc::RLIMIT_NOFILE, 4096);
        let many = 530;
        let pool = Pool::builder()
            .workers(many)
            .start_method(StartMethod::ForkServer)
            .build()
            .unwrap();
        let (come, go) = (SharedAtomicArray::<AtomicU32>::new(1).unwrap(), Flag::new());
        fn meet(come: SharedAtomicArray<AtomicU32>, go: Flag) {
            come[0].fetch_add(1, Ordering::SeqCst);
            while !go.is_at(1) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let all: Vec<_> = (0..many)
            .map(|_| pool.submit(meet, (come.clone(), go.clone())))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(40);
        while come[0].load(Ordering::SeqCst) < many as u32 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let met = come[0].load(Ordering::SeqCst);
        go.raise();
        drop(all);
        assert_eq!(met, many as u32);
    });
}
