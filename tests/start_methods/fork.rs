//! What is the start method `Fork`'s own.

use super::{alone, by, children};
use crate::common::{Flag, for_ever, other_program, output_of, shared_memory_names, unique};
use procshare::process::{self, StartMethod};
use procshare::{
    ErrorKind, JoinError, Process, Segment, SharedArray, SharedCounter, SharedMap, SharedQueue, SharedValue,
};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[procshare::test]
fn what_a_closure_captures_arrives() {
    alone(|| {
        let (text, mut numbers) = ("captured".to_owned(), vec![1, 2, 3]);
        let value = SharedValue::new(1).unwrap();
        let theirs = value.clone();
        let child = Process::fork(move || {
            numbers.push(4);
            theirs.set(2);
            (text, numbers, process::current().name().to_owned())
        });
        let child = child.unwrap();
        let name = child.name().to_owned();
        assert_eq!(child.join(), Ok(("captured".to_owned(), vec![1, 2, 3, 4], name)));
        assert_eq!(value.get(), 2);
        let builder = Process::builder()
            .name("copy")
            .env("ADDED", "1")
            .current_dir("/")
            .daemon(true);
        let child = builder.fork(|| {
            let folder = std::env::current_dir().unwrap();
            (
                process::current().name().to_owned(),
                std::env::var("ADDED").unwrap(),
                folder,
            )
        });
        assert_eq!(
            child.unwrap().join(),
            Ok(("copy".to_owned(), "1".to_owned(), "/".into()))
        );
        assert!(std::env::var("ADDED").is_err());
        let words = Process::fork(|| -> u8 { panic!("in the copy") }).unwrap().join();
        assert_eq!(words, Err(JoinError::Panicked("in the copy".into())));
        let (a, b) = process::scope(|scope| Ok((scope.fork(|| 40)?.join()?, scope.fork(|| 2)?.join()?))).unwrap();
        assert_eq!(a + b, 42);
    });
}

#[procshare::test]
fn objects_that_a_closure_captures_can_be_used() {
    alone(|| {
        let queue = SharedQueue::<u32>::new(4).unwrap();
        let map = SharedMap::<u32, String>::with_capacity(1 << 16).unwrap();
        let array = SharedArray::<u32>::new(2).unwrap();
        let counter = SharedCounter::new(0).unwrap();
        map.insert(&1, &"parent".to_owned()).unwrap();
        queue.put(1).unwrap();
        let theirs = (queue.clone(), map.clone(), array.clone(), counter.clone());
        let child = Process::fork(move || {
            let (queue, map, array, counter) = theirs;
            assert_eq!(queue.get().unwrap(), 1);
            queue.put(2).unwrap();
            assert_eq!(map.get(&1).unwrap().as_deref(), Some("parent"));
            map.insert(&2, &"child".to_owned()).unwrap();
            array.get_lock().unwrap()[1] = 7;
            counter.increment().unwrap();
        });
        child.unwrap().join().unwrap();
        assert_eq!(queue.get().unwrap(), 2);
        assert_eq!(map.get(&2).unwrap().as_deref(), Some("child"));
        assert_eq!((array.get(1).unwrap(), counter.get()), (7, 1));
    });
}

#[procshare::test]
fn copies_have_copies() {
    fn descend(depth: u32) -> u32 {
        match depth {
            0 => 1,
            _ => 1 + Process::fork(move || descend(depth - 1)).unwrap().join().unwrap(),
        }
    }
    alone(|| assert_eq!(descend(5), 6));
}

#[procshare::test]
fn a_process_with_two_threads_is_refused() {
    alone(|| {
        let go = Flag::new();
        let waits = go.clone();
        let thread = std::thread::spawn(move || waits.wait_for(1));
        for error in [
            Process::fork(|| ()).unwrap_err(),
            by("fork").spawn(|| (), ()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotForkable);
            assert!(error.to_string().contains("2 threads"), "{error}");
        }
        go.raise();
        thread.join().unwrap();
        // A thread that was joined is none, although the kernel counts it a moment longer.
        assert_eq!(Process::fork(|| 1).unwrap().join(), Ok(1));
    });
}

#[procshare::test]
fn the_harness_of_a_test_is_a_thread_too() {
    let error = Process::builder()
        .start_method(StartMethod::Fork)
        .spawn(|| (), ())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotForkable);
}

#[procshare::test]
fn the_crates_own_threads_are_no_hindrance() {
    alone(|| {
        // A watcher of the parent, and a reaper.
        let go = Flag::new();
        let orphan = by("spawn")
            .spawn(|go: Flag| go.wait_for(1), (go.clone(),))
            .unwrap()
            .id();
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        assert_eq!(threads(), 3);
        assert_eq!(by("fork").spawn(threads, ()).unwrap().join(), Ok(2));
        assert_eq!(Process::fork(threads).unwrap().join(), Ok(1));
        assert_eq!(threads(), 3);
        assert!(children().contains(&orphan));
        go.raise();
        crate::common::wait_until(|| !children().contains(&orphan));
    });
}

#[procshare::test]
fn an_array_guard_is_refused_and_a_value_guard_is_not() {
    alone(|| {
        let array = SharedArray::<u32>::new(4).unwrap();
        let value = SharedValue::new(0).unwrap();
        let mut of_value = value.get_lock();
        *of_value = 1;
        assert_eq!(Process::fork(|| 1).unwrap().join(), Ok(1));
        drop(of_value);
        let guard = array.get_lock().unwrap();
        for error in [
            Process::fork(|| ()).unwrap_err(),
            by("fork").spawn(|| (), ()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotForkable);
            assert!(error.to_string().contains("array guard"), "{error}");
        }
        drop(guard);
        assert_eq!(Process::fork(|| 2).unwrap().join(), Ok(2));
        std::mem::forget(array.get_lock().unwrap());
        assert!(Process::fork(|| ()).is_err());
    });
}

#[procshare::test]
fn a_copy_does_not_take_its_parents_name_away() {
    alone(|| {
        let name = unique("copied");
        let segment = Segment::create(&name, 4096).unwrap();
        let theirs = segment.clone();
        let child = Process::fork(move || {
            let begun = Instant::now();
            drop(theirs);
            begun.elapsed()
        });
        assert!(
            child.unwrap().join().unwrap() < Duration::from_millis(200),
            "it has waited"
        );
        assert_eq!(shared_memory_names(&name).len(), 1);
        assert!(Segment::open(&name).is_ok());
        // Not even the last handle of a mapping goes in the copy, where it is dropped last of all.
        let child = by("fork")
            .spawn(|segment: Segment| drop(segment), (segment.clone(),))
            .unwrap();
        child.join().unwrap();
        assert_eq!(shared_memory_names(&name).len(), 1);
        drop(segment);
        assert_eq!(shared_memory_names(&name).len(), 0);
    });
}

#[procshare::test]
fn a_name_goes_with_the_copy_that_was_its_last_user() {
    alone(|| {
        let name = unique("copied");
        let segment = Segment::create(&name, 4096).unwrap();
        let go = Flag::new();
        let theirs = go.clone();
        // It has a copy of the segment, and drops none.
        let child = Process::fork(move || theirs.wait_for(1)).unwrap();
        drop(segment);
        assert_eq!(shared_memory_names(&name).len(), 1);
        go.raise();
        child.join().unwrap();
        assert_eq!(shared_memory_names(&name).len(), 0);
    });
}

struct Tells(&'static str);

impl Drop for Tells {
    fn drop(&mut self) {
        println!("{} in {}", self.0, process::current().name());
    }
}

/// What panics when it is dropped by that process.
#[derive(Serialize, Deserialize)]
struct PanicsIn(u32);

impl Drop for PanicsIn {
    fn drop(&mut self) {
        assert_ne!(self.0, std::process::id(), "dropped");
    }
}

/// A start whose caller gets no handle, as what it passes panics.
fn panics(start: impl FnOnce() -> procshare::Result<Process<()>>) {
    assert!(catch_unwind(AssertUnwindSafe(start)).is_err());
    assert_eq!(process::active_children().len(), 1);
}

#[procshare::test]
fn a_destructor_that_panics_loses_no_child() {
    alone(|| {
        let (go, here) = (Flag::new(), std::process::id());
        let ended = |go: &Flag| {
            go.raise();
            crate::common::wait_until(|| children().is_empty()); // No zombie either.
        };
        let (theirs, captured) = (go.clone(), PanicsIn(here));
        panics(move || {
            Process::fork(move || {
                let _captured = &captured;
                theirs.wait_for(1);
            })
        });
        ended(&go);
        // A server would be another child.
        for method in [StartMethod::Spawn, StartMethod::Fork] {
            let go = Flag::new();
            let stay = |go: Flag, _: PanicsIn| go.wait_for(1);
            let builder = Process::builder().start_method(method);
            panics(|| builder.spawn(stay, (go.clone(), PanicsIn(here))));
            ended(&go);
        }
        assert_eq!(Process::fork(|| 1).unwrap().join(), Ok(1));
    });
}

#[procshare::test]
fn a_scope_waits_for_children_whose_start_panicked() {
    alone(|| {
        let (ended, here) = (Flag::new(), std::process::id());
        let slow = |ended: Flag, _: PanicsIn| {
            std::thread::sleep(Duration::from_millis(100)); // Work.
            ended.raise();
        };
        for count in [1, 2] {
            let theirs = ended.clone();
            let in_scope = |scope: &process::Scope| match count {
                1 => scope.spawn(slow, (theirs, PanicsIn(here))),
                _ => {
                    let captured = PanicsIn(here);
                    scope.fork(move || slow(theirs, captured))
                }
            };
            let scope = || process::scope(|scope| in_scope(scope).map(drop));
            assert!(catch_unwind(AssertUnwindSafe(scope)).is_err());
            assert!(children().is_empty());
            ended.wait_for(count);
        }
    });
}

/// Run as another program, for its standard output.
#[procshare::test]
#[ignore = "started by other tests"]
fn other_program_is_copied() {
    if std::env::var("PROCSHARE_TEST_COPIED").is_err() {
        return;
    }
    let body = || {
        let _of_the_parent = Tells("value of the parent");
        print!("written before\nand kept back, ");
        let captured = Tells("captured");
        let child = Process::builder().name("copy").fork(move || {
            let _captured = &captured;
            print!("written by the child, without an end\n...");
        });
        child.unwrap().join().unwrap();
        println!("end");
    };
    // Not a daemon: nobody kills this program, and the parent of the copy is the one whose output is looked at.
    let builder = Process::builder().name("parent").start_method(StartMethod::ForkServer);
    builder.spawn(body, ()).unwrap().join().unwrap();
}

#[test]
fn the_copy_runs_no_destructor_of_its_parent_and_doubles_no_output() {
    let _watchdog = crate::common::watchdog(60);
    let output = output_of(&mut other_program(
        "fork::other_program_is_copied",
        "PROCSHARE_TEST_COPIED",
    ));
    let count = |part: &str| output.matches(part).count();
    assert_eq!(count("written before"), 1, "{output}");
    assert_eq!(count("kept back"), 1, "{output}");
    assert_eq!(count("written by the child"), 1, "{output}");
    assert_eq!(count("value of the parent in parent"), 1, "{output}");
    assert_eq!(count("value of the parent in copy"), 0, "{output}");
    // Both have a copy of what was captured.
    assert_eq!(
        (count("captured in copy"), count("captured in parent")),
        (1, 1),
        "{output}"
    );
}

#[procshare::test]
fn a_blocked_signal_reaches_a_copy() {
    alone(|| {
        // SAFETY: a set of signals is made of numbers, for which zero is a value.
        let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a set.
        unsafe { libc::sigaddset(&mut signals, libc::SIGTERM) };
        // SAFETY: the pointers are to a set and null.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut()) };
        let child = Process::fork(|| -> u8 { for_ever() }).unwrap();
        child.terminate().unwrap();
        assert_eq!(child.join(), Err(JoinError::Signaled(libc::SIGTERM)));
    });
}

#[procshare::test]
fn a_handle_inherited_by_a_copy_is_nobodys_zombie() {
    alone(|| {
        let go = Flag::new();
        let sibling = by("spawn").spawn(|go: Flag| go.wait_for(1), (go.clone(),)).unwrap();
        let seen = sibling.child();
        let child = Process::fork(move || {
            // It is no child of this process, so nobody here can tell how it ends.
            let runs = (seen.is_alive(), seen.exit_status().is_none());
            drop(sibling);
            (
                runs,
                std::fs::read_dir("/proc/self/task").unwrap().count(),
                process::active_children().len(),
            )
        });
        assert_eq!(child.unwrap().join(), Ok(((true, true), 1, 0)));
        go.raise();
    });
}
