//! Handles reach workers by descriptors that are passed to them: no right to look into the pool's process is needed, and
//! nobody waits for a worker that does not take them.
//!
//! The bodies run in a child made by a fork server, which has one thread, so that it may change what all of it may do.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, children, descriptors, for_ever, has_ended, limit, unique, wait_until, watchdog};
use procshare::process::{Entry, StartMethod};
use procshare::{ErrorKind, JobError, Pool, Process, Segment, SharedAtomic, SharedCounter, SharedQueue};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const METHODS: [StartMethod; 3] = [StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer];

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user without rights.
const NOBODY: libc::uid_t = 65_534;

/// Runs the body once for each start method, in processes with one thread.
fn with_each<F: Entry<(String,), Output = ()>>(body: F) {
    for method in METHODS {
        let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
        let outcome = builder.spawn(body, (method.to_string(),)).unwrap().join();
        outcome.unwrap_or_else(|error| panic!("{method}: {error}"));
    }
}

/// As [`with_each`], for what only root may do.
fn with_each_as_root<F: Entry<(String,), Output = ()>>(body: F) {
    // SAFETY: the call only returns a number.
    if unsafe { libc::geteuid() } == 0 {
        with_each(body);
    } else {
        println!("skipped: this user is not root");
    }
}

/// Hides this process from all but root.
fn hide() {
    // SAFETY: two numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }, 0);
}

/// Gives up all rights, as a daemon does that root has started.
fn become_nobody() {
    // SAFETY: no group, and a null pointer for none.
    assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) }, 0);
    // SAFETY: a number, here and below; the process has one thread.
    assert_eq!(unsafe { libc::setgid(NOBODY) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
    let status = std::fs::metadata("/proc/self/status").unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), 0, "it may be looked into");
}

/// Has `/proc` show nobody but oneself, or nothing at all, in this process and its children.
fn mount_proc(options: Option<&std::ffi::CStr>) -> bool {
    // SAFETY: a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let mount = |source: &std::ffi::CStr, target: &std::ffi::CStr, kind: &std::ffi::CStr, flags, data| {
        // SAFETY: strings that outlive the call.
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) == 0 }
    };
    let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    let is_private = mount(c"none", c"/", c"none", private, none);
    is_private
        && match options {
            Some(options) => mount(c"proc", c"/proc", c"proc", 0, options.as_ptr().cast()),
            None => mount(c"none", c"/proc", c"tmpfs", 0, none),
        }
}

/// Jobs whose handles have to arrive, of all kinds and numbers.
fn use_handles(method: &str) {
    let builder = Pool::builder().workers(2).start_method(method.parse().unwrap());
    let came = SharedCounter::new(0).unwrap();
    let count = |came: SharedCounter| assert!(came.increment().is_ok());
    let pool = builder
        .initializer(count, (came.clone(),))
        .max_tasks_per_child(40)
        .build()
        .unwrap();
    let queue = SharedQueue::new(100).unwrap();
    let put = |queue: SharedQueue<u64>, item: u64| queue.put(item).is_ok();
    for result in pool.starmap(put, (0..50).map(|item| (queue.clone(), item))) {
        assert_eq!(result, Ok(true));
    }
    let mut items: Vec<_> = (0..50).map(|_| queue.get_timeout(PATIENCE).unwrap()).collect();
    items.sort_unstable();
    assert!(items.into_iter().eq(0..50));

    let segment = Segment::create(unique("handover"), 4096).unwrap();
    let named = segment.counter("named", 0).unwrap();
    assert_eq!(
        pool.apply(|named: SharedCounter| named.increment().unwrap(), (named,)),
        Ok(1)
    );

    // More than one message holds.
    let many: Vec<_> = (0..300).map(|_| SharedCounter::new(0).unwrap()).collect();
    let all = |many: Vec<SharedCounter>| many.iter().map(|one| one.increment().unwrap()).sum::<i64>();
    assert_eq!(pool.apply(all, (many.clone(),)), Ok(300));
    let half = many.iter().step_by(2).cloned().collect();
    assert_eq!(pool.apply(all, (half,)), Ok(300));

    let die_once = |runs: SharedCounter| match runs.increment().unwrap() {
        1 => std::process::abort(),
        runs => runs,
    };
    assert_eq!(
        pool.with_retries(1).apply(die_once, (SharedCounter::new(0).unwrap(),)),
        Ok(2)
    );
    wait_until(|| came.get() >= 3);
}

#[procshare::test]
fn handles_reach_workers_of_a_process_nobody_may_look_into() {
    let _watchdog = watchdog(120);
    with_each(|method: String| {
        hide();
        use_handles(&method);
    });
}

#[procshare::test]
fn handles_reach_workers_of_a_process_that_gave_up_its_rights() {
    let _watchdog = watchdog(120);
    with_each_as_root(|method: String| {
        let pool_of_root = SharedCounter::new(0).unwrap();
        let name = unique("of-root");
        let of_root = Segment::create(&name, 4096).unwrap().counter("here", 0).unwrap();
        become_nobody();
        use_handles(&method);
        // What was made with more rights goes on to be used, as everything opened before.
        let pool = Pool::builder()
            .workers(1)
            .start_method(method.parse().unwrap())
            .build()
            .unwrap();
        let increment = |one: SharedCounter, two: SharedCounter| one.increment().unwrap() + two.increment().unwrap();
        assert_eq!(pool.apply(increment, (pool_of_root.clone(), of_root.clone())), Ok(2));
        let child = Process::builder().start_method(method.parse().unwrap());
        if method != "fork" {
            assert_eq!(child.spawn(increment, (pool_of_root, of_root)).unwrap().join(), Ok(4));
        }
    });
    // Its last user could not remove it.
    procshare::clean().unwrap();
}

#[procshare::test]
fn handles_whose_name_is_gone_reach_those_without_rights() {
    let _watchdog = watchdog(120);
    with_each_as_root(|method: String| {
        let segment = Segment::create(unique("of-root"), 4096).unwrap();
        let counter = segment.counter("here", 0).unwrap();
        segment.unlink().unwrap();
        become_nobody();
        let increment = |counter: SharedCounter| counter.increment().unwrap();
        let child = Process::builder().start_method(method.parse().unwrap());
        assert_eq!(child.spawn(increment, (counter.clone(),)).unwrap().join(), Ok(1));
        let pool = Pool::builder().workers(1).start_method(method.parse().unwrap());
        assert_eq!(pool.build().unwrap().apply(increment, (counter,)), Ok(2));
    });
}

#[procshare::test]
fn handles_reach_workers_where_proc_hides_processes() {
    let _watchdog = watchdog(120);
    with_each_as_root(|method: String| {
        if mount_proc(Some(c"hidepid=2")) {
            become_nobody();
            use_handles(&method);
        } else {
            println!("skipped: this root may not mount");
        }
    });
}

/// A job that holds its worker, which is then stopped.
fn stop_a_worker(pool: &Pool) -> u32 {
    let id = SharedAtomic::<AtomicU32>::new(0).unwrap();
    let tell = |id: SharedAtomic<AtomicU32>| -> u8 {
        id.store(std::process::id(), Ordering::SeqCst);
        for_ever()
    };
    drop(pool.submit(tell, (id.clone(),)));
    wait_until(|| id.load(Ordering::SeqCst) != 0);
    let busy = id.load(Ordering::SeqCst);
    // SAFETY: two numbers; the process is a child of this one.
    assert_eq!(unsafe { libc::kill(busy as libc::pid_t, libc::SIGSTOP) }, 0);
    busy
}

#[procshare::test]
fn a_stopped_worker_keeps_no_other_from_its_handles() {
    let _watchdog = watchdog(120);
    with_each(|method: String| {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method.parse().unwrap())
            .build()
            .unwrap();
        stop_a_worker(&pool);
        let counters: Vec<_> = (0..40).map(|_| SharedCounter::new(0).unwrap()).collect();
        let jobs = counters.iter().map(|counter| (counter.clone(),));
        let outcome = pool
            .with_chunk_size(1)
            .starmap_async(|one: SharedCounter| one.increment().unwrap(), jobs);
        // One of them may be the stopped worker's; all others end.
        wait_until(|| pool.progress().finished >= 39);
        drop(outcome);
    });
}

#[procshare::test]
fn a_worker_killed_before_its_handles_came_costs_its_item_only() {
    let _watchdog = watchdog(120);
    with_each(|method: String| {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method.parse().unwrap())
            .build()
            .unwrap();
        for _ in 0..10 {
            let stopped = stop_a_worker(&pool);
            // SAFETY: two numbers; the process is a child of this one.
            assert_eq!(unsafe { libc::kill(stopped as libc::pid_t, libc::SIGKILL) }, 0);
            let counter = SharedCounter::new(0).unwrap();
            let increment = |counter: SharedCounter| counter.increment().unwrap();
            assert_eq!(pool.apply(increment, (counter,)), Ok(1));
            wait_until(|| has_ended(stopped));
        }
    });
}

#[procshare::test]
fn a_worker_without_room_for_descriptors_refuses_the_job_in_words() {
    let _watchdog = watchdog(120);
    with_each(|method: String| {
        let lower = || assert!(limit(libc::RLIMIT_NOFILE, 24) > 24);
        let builder = Pool::builder().workers(1).start_method(method.parse().unwrap());
        let pool = builder.initializer(lower, ()).build().unwrap();
        let sum = |many: Vec<SharedCounter>| many.iter().map(|one| one.increment().unwrap()).sum::<i64>();
        let counters = |count| (0..count).map(|_| SharedCounter::new(0).unwrap()).collect::<Vec<_>>();
        for count in [60, 300] {
            let error = pool.apply(sum, (counters(count),)).unwrap_err();
            assert_eq!(
                procshare::Error::from(error.clone()).kind(),
                ErrorKind::TooManyDescriptors,
                "{error}"
            );
            assert_eq!(pool.apply(sum, (counters(2),)), Ok(2), "after {count}");
        }
    });
}

/// Has the system refuse this user any descriptor on its way, until the sockets are dropped.
fn fill_what_is_on_its_way() -> (UnixDatagram, UnixDatagram) {
    const COUNT: usize = 200;
    let (one, other) = UnixDatagram::pair().unwrap();
    // A header of length, level and kind; then the numbers, two to a word.
    let [level, kind] = [libc::SOL_SOCKET, libc::SCM_RIGHTS].map(i32::to_ne_bytes);
    let mut control = vec![
        (16 + 4 * COUNT) as u64,
        u64::from_ne_bytes([level, kind].concat().try_into().unwrap()),
    ];
    let number = one.as_raw_fd().to_ne_bytes();
    control.extend([u64::from_ne_bytes([number, number].concat().try_into().unwrap()); COUNT / 2]);
    let mut byte = [1_u8];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: numbers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), (8 * control.len()) as _);
    // SAFETY: the header leads to one byte and one control message.
    assert_eq!(unsafe { libc::sendmsg(one.as_raw_fd(), &header, 0) }, 1);
    (one, other)
}

#[procshare::test]
fn descriptors_at_the_systems_limit_are_waited_for_and_then_refused_in_words() {
    let _watchdog = watchdog(120);
    with_each_as_root(|method: String| {
        become_nobody();
        limit(libc::RLIMIT_NOFILE, 150);
        let pool = Pool::builder()
            .workers(1)
            .start_method(method.parse().unwrap())
            .build()
            .unwrap();
        let increment = |counter: SharedCounter| counter.increment().unwrap();
        let counter = || SharedCounter::new(0).unwrap();
        let filled = fill_what_is_on_its_way();
        let pending = pool.submit(increment, (counter(),));
        assert!(!pending.wait_timeout(Duration::from_millis(300)), "it was not refused");
        drop(filled);
        assert_eq!(pending.get(), Ok(1), "nothing is lost");
        let filled = fill_what_is_on_its_way();
        let begun = Instant::now();
        let error = pool.apply(increment, (counter(),)).unwrap_err();
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(
            procshare::Error::from(error.clone()).kind(),
            ErrorKind::TooManyDescriptors,
            "{error}"
        );
        drop(filled);
        assert_eq!(pool.apply(increment, (counter(),)), Ok(1));
    });
}

#[procshare::test]
fn jobs_that_bring_what_the_one_before_brought_ask_for_nothing() {
    let _watchdog = watchdog(120);
    with_each(|method: String| {
        let pool = Pool::builder()
            .workers(1)
            .start_method(method.parse().unwrap())
            .build()
            .unwrap();
        let (queue, go) = (SharedQueue::new(10).unwrap(), Flag::new());
        let released = Flag::new();
        let put = |queue: SharedQueue<u32>, go: Flag, item: u32| {
            go.wait_for(1);
            queue.put(item).is_ok()
        };
        // While the pool's thread is in here it answers nobody.
        pool.on_progress({
            let released = released.clone();
            move |_| released.wait_for(1)
        });
        let jobs = (0..3).map(|item| (queue.clone(), go.clone(), item));
        let results = pool.with_chunk_size(1).starmap_async(put, jobs);
        wait_until(|| pool.progress().running == 1);
        go.raise();
        for item in 0..3 {
            assert_eq!(queue.get_timeout(PATIENCE), Ok(item));
        }
        released.raise();
        assert_eq!(results.get().unwrap(), vec![Ok(true); 3]);
    });
}

#[procshare::test]
fn nothing_of_the_handover_is_left() {
    let _watchdog = watchdog(120);
    with_each(|method: String| {
        let use_once = |method: &str| {
            let pool = Pool::builder()
                .workers(2)
                .start_method(method.parse().unwrap())
                .build()
                .unwrap();
            let counters: Vec<_> = (0..20).map(|_| SharedCounter::new(0).unwrap()).collect();
            let add = |one: SharedCounter| one.increment().unwrap();
            let results = pool
                .with_chunk_size(1)
                .starmap(add, counters.iter().map(|one| (one.clone(),)));
            assert_eq!(results, vec![Ok(1); 20]);
            let open = |counter: SharedCounter| (counter.increment().unwrap(), descriptors().len());
            let few = pool.apply(open, (counters[0].clone(),)).unwrap().1;
            for _ in 0..20 {
                let (_, now) = pool.apply(open, (SharedCounter::new(0).unwrap(),)).unwrap();
                assert!(now <= few + 1, "{now} descriptors, before {few}");
            }
            let dies = pool.submit(|_: SharedCounter| -> u8 { for_ever() }, (counters[0].clone(),));
            wait_until(|| pool.progress().running == 1);
            pool.terminate();
            assert_eq!(dies.get(), Err(JobError::Terminated));
        };
        // A server is started, and stays; a template ends when its pool has, and so does the thread that waits for it.
        use_once(&method);
        let own = usize::from(method == "fork-server");
        let files = || {
            let targets = descriptors().into_iter().map(|(_, target)| target);
            targets.filter(|target| target != "anon_inode:[eventfd]").count()
        };
        wait_until(|| children().len() == own);
        let before = files();
        use_once(&method);
        wait_until(|| children().len() == own && files() <= before);
    });
}
