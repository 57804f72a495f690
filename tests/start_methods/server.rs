//! What is the start method `ForkServer`'s own.

use super::{alone, by, children, parent_of, stay};
use crate::common::{for_ever, has_ended, other_program, output_of, state_of, wait_until, watchdog};
use procshare::process::{self, StartMethod};
use procshare::{ErrorKind, Process, SharedArray, SharedCounter};
use std::time::{Duration, Instant};

/// The server of this process, which has no other child.
fn server() -> u32 {
    by("fork-server").spawn(|| (), ()).unwrap().join().unwrap();
    let children = children();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn threads_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn send(pid: u32, signal: i32) {
    // SAFETY: the number is that of a child that nobody has reaped.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

#[procshare::test]
fn children_are_the_callers_own_and_one_server_makes_them_all() {
    alone(|| {
        let server = server();
        let child = by("fork-server").spawn(std::os::unix::process::parent_id, ()).unwrap();
        assert_eq!(parent_of(child.id()).unwrap_or(std::process::id()), std::process::id());
        assert_eq!(child.join(), Ok(std::process::id()));
        assert_eq!(super::children(), [server]);
        assert!(process::active_children().is_empty());
    });
}

#[procshare::test]
fn a_child_has_one_thread_and_its_library_knows_which() {
    alone(|| {
        let child = by("fork-server").daemon(false).spawn(
            || {
                // By the C library's own record: a signal to this thread must arrive.
                // SAFETY: the call takes numbers and ends the process.
                unsafe { libc::raise(libc::SIGUSR1) };
            },
            (),
        );
        let outcome = child.unwrap().join();
        assert_eq!(outcome, Err(procshare::JoinError::Signaled(libc::SIGUSR1)));
        let threads = by("fork-server")
            .daemon(false)
            .spawn(|| threads_of(std::process::id()), ());
        assert_eq!(threads.unwrap().join(), Ok(1));
        let ids = by("fork-server").spawn(|| std::thread::spawn(|| 42).join().unwrap(), ());
        assert_eq!(ids.unwrap().join(), Ok(42));
    });
}

#[procshare::test]
fn a_server_killed_between_starts_is_followed_by_another() {
    alone(|| {
        let first = server();
        let running = by("fork-server").spawn(stay, ()).unwrap();
        send(first, libc::SIGKILL);
        // At once: it may still be there, or not.
        assert_eq!(by("fork-server").spawn(|| 1, ()).unwrap().join(), Ok(1));
        assert!(running.is_alive());
        running.kill().unwrap();
        assert!(running.join().is_err());
        let second = server();
        assert_ne!(first, second);
        send(second, libc::SIGKILL);
        wait_until(|| has_ended(second));
        assert_eq!(by("fork-server").spawn(|| 2, ()).unwrap().join(), Ok(2));
        assert_ne!(server(), second);
    });
}

#[procshare::test]
fn a_server_killed_during_starts_costs_at_most_an_error() {
    alone(|| {
        let before = server();
        let killing = std::thread::spawn(|| {
            let mut killed = 0;
            while killed < 50 {
                for pid in children() {
                    let is_server = std::fs::read(format!("/proc/{pid}/task/{pid}/children")).is_ok()
                        && std::fs::read_to_string(format!("/proc/{pid}/environ"))
                            .is_ok_and(|_| state_of(pid) == Some('S'));
                    if is_server {
                        // SAFETY: a child that nobody has reaped, or a number that is nobody's yet.
                        killed += i32::from(unsafe { libc::kill(pid as i32, libc::SIGKILL) } == 0);
                    }
                }
            }
        });
        let (mut made, mut refused) = (0, 0);
        while !killing.is_finished() {
            match by("fork-server").spawn(|a: u32| a + 1, (41,)) {
                // A child may be taken for the server, and killed.
                Ok(child) => made += i32::from(child.join().is_ok_and(|sum| sum == 42)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
                    refused += 1;
                }
            }
        }
        killing.join().unwrap();
        assert_eq!(by("fork-server").spawn(|| 1, ()).unwrap().join(), Ok(1));
        println!("{made} made, {refused} refused");
        // No child was made that nobody knows of.
        wait_until(|| children().len() == 1);
        assert_ne!(children(), [before]);
    });
}

#[procshare::test]
fn threads_may_start_children_at_once() {
    alone(|| {
        let counter = SharedCounter::new(0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let count = |counter: SharedCounter| counter.increment().map(drop).is_ok();
                        let child = by("fork-server").spawn(count, (counter.clone(),)).unwrap();
                        assert_eq!(child.join(), Ok(true));
                    }
                });
            }
        });
        assert_eq!(counter.get(), 100);
        assert_eq!(children().len(), 1);
    });
}

/// Starts children by a server, tells who they all are, and waits to be killed.
fn start_some(ids: SharedArray<u32>) {
    ids.set(0, server()).unwrap();
    for at in 1..4 {
        let child = by("fork-server").spawn(stay, ()).unwrap();
        ids.set(at, child.id()).unwrap();
        std::mem::forget(child);
    }
    for_ever();
}

#[procshare::test]
fn server_and_daemons_end_with_the_caller() {
    let _watchdog = watchdog(60);
    let ids = SharedArray::<u32>::new(4).unwrap();
    let parent = by("fork-server").spawn(start_some, (ids.clone(),)).unwrap();
    wait_until(|| ids.get(3).unwrap() != 0);
    let all = ids.to_vec().unwrap();
    assert!(all.iter().all(|pid| !has_ended(*pid)));
    parent.kill().unwrap();
    let killed = Instant::now();
    wait_until(|| all.iter().all(|pid| has_ended(*pid)));
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
}

#[procshare::test]
fn a_copy_of_the_caller_has_a_server_of_its_own() {
    alone(|| {
        let first = server();
        let child = Process::fork(|| {
            let parent = by("fork-server").spawn(std::os::unix::process::parent_id, ());
            (parent.unwrap().join().unwrap(), server())
        });
        let child = child.unwrap();
        let id = child.id();
        let (parent, second) = child.join().unwrap();
        assert_eq!(parent, id);
        assert_ne!(second, first);
        assert_eq!(server(), first);
        wait_until(|| has_ended(second));
    });
}

#[procshare::test]
fn more_descriptors_than_a_message_takes_are_an_error() {
    alone(|| {
        let counters = |count| (0..count).map(|_| SharedCounter::new(1).unwrap()).collect::<Vec<_>>();
        let sum = |counters: Vec<SharedCounter>| counters.iter().map(SharedCounter::get).sum::<i64>();
        assert_eq!(by("fork-server").spawn(sum, (counters(200),)).unwrap().join(), Ok(200));
        let error = by("fork-server").spawn(sum, (counters(300),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyDescriptors);
        assert!(error.to_string().contains("253"), "{error}");
        assert_eq!(by("spawn").spawn(sum, (counters(300),)).unwrap().join(), Ok(300));
    });
}

#[procshare::test]
fn a_server_without_room_for_descriptors_says_so_and_lives_on() {
    alone(|| {
        let server = server();
        let limit = |most| {
            let limit = libc::rlimit {
                rlim_cur: most,
                rlim_max: 1024,
            };
            // SAFETY: the pointers are to a limit and null; the number is that of a child nobody has reaped.
            let set = unsafe { libc::prlimit(server as i32, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
            assert_eq!(set, 0);
        };
        limit(8);
        let error = by("fork-server").spawn(|| (), ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyDescriptors, "{error}");
        limit(1024);
        assert_eq!(by("fork-server").spawn(|| 1, ()).unwrap().join(), Ok(1));
        assert_eq!(children(), [server]);
    });
}

/// Begun anew, the program would not trust its caller, come to its own main, and start children there.
#[procshare::test]
fn a_process_that_acts_for_another_user_starts_no_program() {
    alone(|| {
        // SAFETY: the call only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        // SAFETY: the call changes a number of this process.
        assert_eq!(unsafe { libc::seteuid(65534) }, 0);
        let outcomes = ["spawn", "fork-server"].map(|method| by(method).spawn(|| (), ()).map(drop));
        // SAFETY: as above.
        assert_eq!(unsafe { libc::seteuid(0) }, 0);
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
        assert!(children().is_empty());
    });
}

#[test]
#[ignore = "started by other tests"]
fn other_program_starts_without_an_entry() {
    if std::env::var("PROCSHARE_TEST_NO_ENTRY").is_ok() {
        for method in [StartMethod::Spawn, StartMethod::ForkServer] {
            let error = Process::builder().start_method(method).spawn(|| (), ()).unwrap_err();
            println!("{method}: {:?}", error.kind());
        }
    }
}

#[test]
fn without_an_entry_there_is_no_server() {
    let _watchdog = watchdog(60);
    let mut program = other_program(
        "server::other_program_starts_without_an_entry",
        "PROCSHARE_TEST_NO_ENTRY",
    );
    let output = output_of(&mut program);
    for method in ["spawn", "fork-server"] {
        assert!(output.contains(&format!("{method}: NotInitialized")), "{output}");
    }
}
