//! How a child ends, who is told, and what is left.

use super::{by, children, parent_of, stay, with_each};
use crate::common::{Flag, for_ever, has_ended, state_of, wait_until};
use procshare::process::{self, Child};
use procshare::{ErrorKind, JoinError};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

#[procshare::test]
fn every_end_is_told() {
    with_each(|method: String| {
        let words = by(&method)
            .spawn(|a: u8| -> u8 { panic!("no {a}") }, (7,))
            .unwrap()
            .join();
        assert_eq!(words, Err(JoinError::Panicked("no 7".to_owned())));
        let code = by(&method)
            .spawn(|| -> () { std::process::exit(3) }, ())
            .unwrap()
            .join();
        assert_eq!(code, Err(JoinError::Exited(3)));
        let code = by(&method)
            .spawn(|| -> () { std::process::exit(0) }, ())
            .unwrap()
            .join();
        assert_eq!(code, Err(JoinError::Exited(0)));
        let aborted = by(&method)
            .spawn(|| -> () { std::process::abort() }, ())
            .unwrap()
            .join();
        assert_eq!(aborted, Err(JoinError::Signaled(libc::SIGABRT)));
        for signal in [libc::SIGKILL, libc::SIGTERM] {
            let child = by(&method).spawn(stay, ()).unwrap();
            let asked = if signal == libc::SIGKILL {
                child.kill()
            } else {
                child.terminate()
            };
            asked.unwrap();
            assert_eq!(child.join(), Err(JoinError::Signaled(signal)));
        }
    });
}

#[procshare::test]
fn the_exit_status_can_be_asked_before_and_after_a_join() {
    with_each(|method: String| {
        let mut child = by(&method).spawn(stay, ()).unwrap();
        assert_eq!((child.exit_status(), child.is_alive()), (None, true));
        let outcome: Result<(), _> = child.join_timeout(Duration::from_millis(1));
        assert_eq!(outcome, Err(JoinError::TimedOut));
        child.kill().unwrap();
        let status = child.child().wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGKILL)
        );
        assert_eq!(child.exit_status(), Some(status));
        assert_eq!(child.try_join(), Err(JoinError::Signaled(libc::SIGKILL)));
        assert_eq!(child.try_join(), Err(JoinError::AlreadyJoined));
        assert_eq!(child.exit_status(), Some(status));
        let mut child = by(&method).spawn(|| -> () { std::process::exit(300) }, ()).unwrap();
        let outcome: Result<(), _> = child.join_timeout(Duration::MAX);
        assert_eq!(outcome, Err(JoinError::Exited(300 & 0xff)));
        assert_eq!(child.exit_status().and_then(|status| status.code()), Some(300 & 0xff));
    });
}

#[procshare::test]
fn active_children_are_those_that_run() {
    with_each(|method: String| {
        assert!(process::active_children().is_empty());
        let first = by(&method).name("first").spawn(stay, ()).unwrap();
        // A handle that was dropped makes no difference.
        drop(by(&method).name("second").spawn(stay, ()).unwrap());
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        let active = process::active_children();
        assert_eq!(active.iter().map(Child::name).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(active[0].id(), first.id());
        assert!(active.iter().all(Child::is_alive));
        assert_eq!(active[1].wait_timeout(Duration::from_millis(1)), None);
        // A child has none of its parent's.
        let none = || process::active_children().len();
        assert_eq!(by(&method).spawn(none, ()).unwrap().join(), Ok(0));
        for child in &active {
            child.terminate().unwrap();
            let status = child.clone().wait_timeout(Duration::MAX).unwrap();
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status),
                Some(libc::SIGTERM)
            );
            assert_eq!((child.is_alive(), child.exit_status()), (false, Some(status)));
            child.kill().unwrap();
        }
        assert!(process::active_children().is_empty());
        assert_eq!(first.join(), Err(JoinError::Signaled(libc::SIGTERM)));
    });
}

#[procshare::test]
fn a_child_whose_handle_was_dropped_leaves_no_zombie() {
    with_each(|method: String| {
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        let before = children();
        let go = Flag::new();
        let pids: Vec<_> = (0..5)
            .map(|_| {
                by(&method)
                    .spawn(|go: Flag| go.wait_for(1), (go.clone(),))
                    .unwrap()
                    .id()
            })
            .collect();
        assert!(pids.iter().all(|pid| state_of(*pid).is_some()));
        go.raise();
        // Nothing of this crate is called meanwhile.
        wait_until(|| children() == before);
        // And again, after the thread that waited has ended.
        let pid = by(&method).spawn(|| (), ()).unwrap().id();
        wait_until(|| parent_of(pid) != Some(std::process::id()));
    });
}

/// Starts a daemon and another child, tells who they are, and waits to be killed.
fn start_both(method: String, ids: procshare::SharedArray<u32>) {
    let daemon = by(&method).spawn(stay, ()).unwrap();
    let other = by(&method).daemon(false).spawn(stay, ()).unwrap();
    ids.set(0, daemon.id()).unwrap();
    ids.set(1, other.id()).unwrap();
    for_ever();
}

#[procshare::test]
fn a_daemon_ends_with_its_parent_and_others_do_not() {
    with_each(|method: String| {
        let ids = procshare::SharedArray::<u32>::new(2).unwrap();
        // By the server: a parent with one thread.
        let parent = by("fork-server").spawn(start_both, (method, ids.clone())).unwrap();
        wait_until(|| ids.get(1).unwrap() != 0);
        let (daemon, other) = (ids.get(0).unwrap(), ids.get(1).unwrap());
        parent.kill().unwrap();
        let killed = Instant::now();
        wait_until(|| has_ended(daemon));
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        assert!(!has_ended(other));
        // SAFETY: the number is that of a process this test has started, which nobody has ended yet.
        assert_eq!(unsafe { libc::kill(other as i32, libc::SIGKILL) }, 0);
    });
}

#[procshare::test]
fn a_scope_waits_for_all_and_tells_of_the_first_failure() {
    with_each(|method: String| {
        let done = Flag::new();
        let value = process::scope(|scope| {
            for _ in 0..3 {
                scope.start(by(&method), |done: Flag| done.raise(), (done.clone(),))?;
            }
            Ok(scope.start(by(&method), || 42, ())?.join()?)
        });
        assert_eq!(value.unwrap(), 42);
        done.wait_for(3);
        let error = process::scope(|scope| {
            scope.start(by(&method), || 1, ())?;
            let joined = scope.start(by(&method), || -> u8 { panic!("by hand") }, ())?.join();
            assert!(joined.is_err());
            scope.start(by(&method).name("culprit"), || -> u8 { panic!("of their own") }, ())?;
            scope.start(by(&method), || -> () { std::process::exit(2) }, ())?;
            Ok(())
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChildFailed);
        let words = error.to_string();
        assert!(words.contains("culprit") && words.contains("of their own"), "{words}");
        // A handle taken out of the scope can still be joined.
        let late = process::scope(|scope| scope.start(by(&method), || vec![1, 2], ())).unwrap();
        assert_eq!(late.join(), Ok(vec![1, 2]));
    });
}

#[procshare::test]
fn a_panic_in_a_scope_goes_on_when_all_have_ended() {
    with_each(|method: String| {
        let (go, done) = (Flag::new(), Flag::new());
        let panicked = std::panic::catch_unwind(|| {
            process::scope(|scope| -> procshare::Result<()> {
                let work = |go: Flag, done: Flag| {
                    go.wait_for(1);
                    done.raise();
                };
                scope.start(by(&method), work, (go.clone(), done.clone()))?;
                go.raise();
                panic!("in the middle")
            })
        });
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"in the middle"));
        done.wait_for(1);
        assert!(process::active_children().is_empty());
    });
}

/// Attaches to a process as a debugger does, and waits until it has stopped.
fn trace(pid: u32) {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the request takes a number, and touches no memory.
    let attached = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid as libc::pid_t, nothing, nothing) };
    assert_eq!(attached, 0, "{}", std::io::Error::last_os_error());
    wait_until(|| state_of(pid) == Some('t'));
}

/// The kernel tells whoever traces a child of its stops, asked or not.
#[procshare::test]
fn a_stop_of_a_traced_child_is_no_end() {
    with_each(|method: String| {
        let mut child = by(&method).spawn(stay, ()).unwrap();
        let other = child.child();
        trace(child.id());
        for _ in 0..3 {
            assert!(child.is_alive() && other.is_alive());
            assert_eq!(child.exit_status(), None);
            assert_eq!(child.try_join(), Err(JoinError::TimedOut));
            assert_eq!(other.wait_timeout(Duration::from_millis(5)), None);
        }
        assert_eq!(procshare::process::active_children().len(), 1);
        let mut status = 0;
        // SAFETY: the pointer is to room for a status.
        let told = unsafe { libc::waitpid(child.id() as i32, &mut status, libc::WNOHANG) };
        assert_eq!(told, child.id() as i32, "the stop was kept from whoever traces");
        assert!(libc::WIFSTOPPED(status));
        child.kill().unwrap();
        assert_eq!(child.join(), Err(JoinError::Signaled(libc::SIGKILL)));
        // One whose handle is dropped is waited for until its end.
        let orphan = by(&method).spawn(stay, ()).unwrap();
        let handle = orphan.child();
        trace(orphan.id());
        drop(orphan);
        assert!(handle.is_alive());
        handle.kill().unwrap();
        wait_until(|| state_of(handle.id()).is_none());
        assert_eq!(handle.wait().and_then(|status| status.signal()), Some(libc::SIGKILL));
    });
}
