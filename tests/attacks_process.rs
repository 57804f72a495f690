//! Attacks on child processes: each test is named for what should hold.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;

use common::{for_ever, has_ended, limit, wait_until, watchdog};
use effort::thorough;
use procshare::process::{self, Entry, StartMethod};
use procshare::{Process, SharedAtomic};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Runs the body in a process with one thread.
fn alone<F: Entry<(), Output = ()>>(body: F) {
    let builder = Process::builder().start_method(StartMethod::ForkServer);
    builder.spawn(body, ()).unwrap().join().unwrap();
}

fn next_descriptor() -> u64 {
    use std::os::fd::AsRawFd;
    std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64
}

fn fork_in_need(told: SharedAtomic<AtomicU32>) {
    let before = limit(libc::RLIMIT_NOFILE, next_descriptor());
    let error = Process::fork(|| ()).map(drop).unwrap_err();
    let kinds = [
        procshare::ErrorKind::TooManyDescriptors,
        procshare::ErrorKind::NotForkable,
    ];
    assert!(kinds.contains(&error.kind()), "{error}");
    limit(libc::RLIMIT_NOFILE, before);
    told.store(std::process::id(), Ordering::SeqCst);
    for_ever()
}

/// Each thread is one too many for the other.
fn fork_in_two_threads(told: SharedAtomic<AtomicU32>) {
    for _ in 0..5 {
        let both = Barrier::new(2);
        let fork = || {
            both.wait();
            let error = Process::fork(|| ()).map(drop).unwrap_err();
            assert_eq!(error.kind(), procshare::ErrorKind::NotForkable, "{error}");
        };
        std::thread::scope(|scope| {
            scope.spawn(fork);
            scope.spawn(fork);
        });
    }
    told.store(std::process::id(), Ordering::SeqCst);
    for_ever()
}

fn keep_a_daemon(told: SharedAtomic<AtomicU32>, in_threads: bool) {
    let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
    let daemon = if in_threads {
        builder.spawn(fork_in_two_threads, (told,))
    } else {
        builder.spawn(fork_in_need, (told,))
    };
    let _daemon = daemon.unwrap();
    for_ever()
}

/// The watch ends for the moment of a fork, and needs a descriptor to begin again.
#[procshare::test]
fn a_daemon_that_could_not_fork_still_ends_with_its_parent() {
    still_ends_with_its_parent(false);
}

#[procshare::test]
fn a_daemon_whose_threads_fork_at_a_time_still_ends_with_its_parent() {
    still_ends_with_its_parent(true);
}

fn still_ends_with_its_parent(in_threads: bool) {
    let _watchdog = watchdog(60);
    let told = SharedAtomic::<AtomicU32>::new(0).unwrap();
    let parent = Process::builder()
        .daemon(true)
        .spawn(keep_a_daemon, (told.clone(), in_threads))
        .unwrap();
    wait_until(|| told.load(Ordering::SeqCst) != 0);
    let daemon = told.load(Ordering::SeqCst);
    parent.kill().unwrap();
    assert!(parent.join().is_err());
    let deadline = Instant::now() + Duration::from_secs(3);
    while !has_ended(daemon) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let stays = !has_ended(daemon);
    // SAFETY: two numbers.
    unsafe { libc::kill(daemon as i32, libc::SIGKILL) };
    assert!(!stays);
}

/// A server in another namespace tells numbers that mean somebody else here.
#[procshare::test]
fn a_child_in_another_pid_namespace_is_no_other_process() {
    let _watchdog = watchdog(60);
    alone(|| {
        // SAFETY: the call takes a number.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            return;
        }
        let first = Process::builder()
            .daemon(true)
            .spawn(|| -> () { for_ever() }, ())
            .unwrap();
        let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
        let outcome = builder.spawn(|| -> u64 { for_ever() }, ());
        if let Ok(child) = outcome {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            let parent: Option<u32> = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            let alive = child.is_alive();
            std::mem::forget(child);
            assert_eq!(parent, Some(std::process::id()), "alive: {alive}, {stat}");
        }
        drop(first);
    });
}

/// Each child of a scope has a descriptor until the scope ends, though it has ended long ago.
#[procshare::test]
fn a_scope_of_many_children_needs_no_more_descriptors_than_those_that_run() {
    let _watchdog = watchdog(60);
    alone(|| {
        limit(libc::RLIMIT_NOFILE, 64);
        process::scope(|scope| {
            for _ in 0..200 {
                let child = scope.start(Process::builder().start_method(StartMethod::ForkServer), || (), ())?;
                child.child().wait();
            }
            Ok(())
        })
        .unwrap();
    });
}

/// Of a process that may have no more descriptors, `poll` takes no question.
#[procshare::test]
fn a_child_that_runs_is_alive_whatever_the_limits() {
    let _watchdog = watchdog(60);
    alone(|| {
        let child = Process::builder()
            .daemon(true)
            .spawn(|| -> () { for_ever() }, ())
            .unwrap();
        assert!(child.is_alive());
        limit(libc::RLIMIT_NOFILE, 0);
        let alive = child.is_alive();
        child.kill().unwrap();
        assert!(alive);
    });
}

/// A copy is refused if this crate's own thread has not gone after 20 ms.
#[procshare::test]
fn the_crates_own_threads_are_no_hindrance_on_a_busy_machine() {
    let _watchdog = watchdog(100);
    alone(|| {
        let busy: Vec<_> = (0..24)
            .map(|_| {
                Process::builder()
                    .daemon(true)
                    .start_method(StartMethod::ForkServer)
                    .spawn(
                        || -> () {
                            loop {
                                std::hint::spin_loop()
                            }
                        },
                        (),
                    )
                    .unwrap()
            })
            .collect();
        let begun = Instant::now();
        let mut refused = 0;
        let mut all = 0;
        while begun.elapsed() < Duration::from_secs(thorough(10, 3)) {
            drop(
                Process::builder()
                    .daemon(true)
                    .start_method(StartMethod::ForkServer)
                    .spawn(|| std::thread::sleep(Duration::from_millis(300)), ())
                    .unwrap(),
            );
            all += 1;
            match Process::fork(|| 1) {
                Ok(child) => assert_eq!(child.join(), Ok(1)),
                Err(_) => refused += 1,
            }
        }
        for child in &busy {
            child.kill().unwrap();
        }
        assert_eq!(refused, 0, "of {all}");
    });
}
