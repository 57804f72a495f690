//! Inside the closure of `SharedMap::update`: what is refused there, and what a panic, a fork and an end of its process leave.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::{Flag, child, verify, watchdog, while_waiting};
use forked::{Child, Pipe};
use procshare::__private::map_with_clock;
use procshare::{MapError, SharedMap};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

/// Everything that can be refused is.
fn assert_refused(map: &SharedMap<u32, String>) {
    const REFUSED: MapError = MapError::WouldDeadlock;
    let value = "value".to_owned();
    assert_eq!(map.get(&1), Err(REFUSED));
    assert_eq!(map.contains_key(&1), Err(REFUSED));
    assert_eq!(map.insert(&1, &value), Err(REFUSED));
    assert_eq!(map.insert_with_ttl(&1, &value, Duration::from_secs(1)), Err(REFUSED));
    assert_eq!(
        map.get_or_insert_with(&1, || unreachable!("it is refused before")),
        Err(REFUSED)
    );
    assert_eq!(map.remove(&1), Err(REFUSED));
    assert_eq!(map.update(&1, |_| unreachable!("it is refused before")), Err(REFUSED));
    assert_eq!(map.compare_exchange(&1, None, Some(&value)), Err(REFUSED));
    assert_eq!(map.extend([(1, value)]), Err(REFUSED));
    assert_eq!(map.retain(|_, _| unreachable!("it is refused before")), Err(REFUSED));
    assert_eq!(map.clear(), Err(REFUSED));
    assert_eq!(map.iter().next(), Some(Err(REFUSED)));
    assert_eq!(map.to_map(), Err(REFUSED));
    assert!(format!("{map:?}").contains("WouldDeadlock"));
    // These answer without a lock.
    assert_eq!((map.len(), map.stats().entries), (1, 1));
}

#[test]
fn inside_an_update_every_call_of_any_map_is_refused() {
    let _frame = forked::frame();
    let [map, other] = [(); 2].map(|()| SharedMap::<u32, String>::with_capacity(1 << 18).unwrap());
    let patient = other.with_timeout(Duration::MAX);
    for map in [&map, &other] {
        map.insert(&1, &"one".to_owned()).unwrap();
    }
    let updated = map.update(&1, |one| {
        [&map, &other, &patient].into_iter().for_each(assert_refused);
        // Another thread is not inside.
        thread::scope(|scope| scope.spawn(|| other.insert(&1, &"two".to_owned())).join().unwrap()).unwrap();
        one.map(|one| one + " more")
    });
    assert_eq!(updated, Ok(Some("one more".to_owned())));
    assert_eq!(
        (map.get(&1), other.get(&1)),
        (Ok(Some("one more".to_owned())), Ok(Some("two".to_owned())))
    );
    assert_eq!(map.insert(&1, &"three".to_owned()), Ok(Some("one more".to_owned())));
    verify(&map);
    verify(&other);
}

#[test]
fn a_panic_inside_an_update_changes_nothing_and_frees_the_lock() {
    let _frame = forked::frame();
    let map = SharedMap::<u32, String>::builder().shards(1).anonymous().unwrap();
    map.insert(&1, &"one".to_owned()).unwrap();
    for key in [1, 2] {
        let update = || map.update(&key, |_| -> Option<String> { panic!("expected in this test") });
        assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
        let now = map.without_waiting();
        assert_eq!((now.get(&1), now.get(&2)), (Ok(Some("one".to_owned())), Ok(None)));
        assert_eq!(now.update(&3, |_| None), Ok(None));
    }
    assert_eq!((map.insert(&2, &"two".to_owned()), map.len()), (Ok(None), 2));
    verify(&map);
}

#[test]
fn an_update_keeps_the_time_at_which_an_entry_expires() {
    let _frame = forked::frame();
    let time = Arc::new(AtomicU64::new(1000));
    let clock = time.clone();
    let builder = SharedMap::<u32, String>::builder().time_to_live(Duration::from_millis(100));
    let map = map_with_clock(
        builder.anonymous().unwrap(),
        Arc::new(move || clock.load(Ordering::Relaxed)),
    );
    map.insert(&1, &"x".to_owned()).unwrap();
    map.insert_with_ttl(&2, &"x".to_owned(), Duration::from_millis(500))
        .unwrap();
    time.store(1099, Ordering::Relaxed);
    for key in [1, 2, 3] {
        map.update(&key, |text| Some(text.unwrap_or_default() + &"y".repeat(100)))
            .unwrap();
    }
    let there = |now| {
        time.store(now, Ordering::Relaxed);
        [1, 2, 3].map(|key| map.contains_key(&key).unwrap())
    };
    assert_eq!(there(1099), [true, true, true]);
    assert_eq!(there(1100), [false, true, true]);
    assert_eq!(there(1198), [false, true, true]);
    // The third was made by its update.
    assert_eq!(there(1199), [false, true, false]);
    assert_eq!((there(1499), there(1500)), ([false, true, false], [false; 3]));
    verify(&map);
}

// Forked children.

/// Forks inside an update of entry 1. The child goes on where the parent is, and ends after the update, with 0 if that was
/// refused; the parent awaits its end inside.
fn fork_inside(map: &SharedMap<u32, String>, child_panics: bool) {
    let mut in_child = false;
    let update = || {
        map.update(&1, |one| {
            // SAFETY: the child ends below, before anything of the test; this process has one thread.
            let pid = unsafe { libc::fork() };
            in_child = pid == 0;
            if in_child {
                assert_eq!(map.get(&1), Err(MapError::WouldDeadlock));
                assert!(!child_panics, "expected in this test");
                return Some("the child's".to_owned());
            }
            let mut status = -1;
            // SAFETY: `status` is writable.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert_eq!(status, 0, "the child's update did not end as it should");
            let other = || map.without_waiting().remove(&1);
            let refused = thread::scope(|scope| scope.spawn(other).join().unwrap());
            assert_eq!(refused, Err(MapError::WouldBlock), "the child has unlocked");
            one.map(|one| one + " changed")
        })
    };
    let updated = catch_unwind(AssertUnwindSafe(update));
    if in_child {
        let refused = match updated {
            Ok(updated) => !child_panics && updated == Err(MapError::ForeignNamespace),
            Err(_) => child_panics,
        };
        let still_locked = map.without_waiting().remove(&1) == Err(MapError::WouldBlock);
        // SAFETY: ends the process, and does not return.
        unsafe { libc::_exit(if refused && still_locked { 0 } else { 1 }) };
    }
    assert_eq!(updated.unwrap(), Ok(Some("one changed".to_owned())));
}

fn assert_fork_inside_is_harmless(child_panics: bool) {
    let _frame = forked::frame();
    let map = SharedMap::<u32, String>::with_capacity(4096).unwrap();
    map.insert(&1, &"one".to_owned()).unwrap();
    // A process of one thread.
    Child::fork(|| {
        forked::QUIET.store(child_panics, Ordering::Relaxed);
        fork_inside(&map, child_panics);
    })
    .finish();
    assert_eq!(map.get(&1), Ok(Some("one changed".to_owned())));
    assert_eq!(map.without_waiting().remove(&1), Ok(Some("one changed".to_owned())));
    verify(&map);
}

#[test]
fn a_child_forked_inside_an_update_does_not_end_it() {
    assert_fork_inside_is_harmless(false);
}

#[test]
fn a_panic_of_a_child_forked_inside_an_update_does_not_end_it() {
    assert_fork_inside_is_harmless(true);
}

#[test]
fn a_forked_child_uses_the_map_as_its_own() {
    let _frame = forked::frame();
    let map = SharedMap::<u32, u32>::with_capacity(4096).unwrap();
    let (done, go) = (Pipe::new(), Pipe::new());
    let child = Child::fork(|| {
        map.insert(&1, &10).unwrap();
        map.update(&1, |number| {
            done.say();
            go.hear();
            number.map(|number| number + 1)
        })
        .unwrap();
    });
    done.hear();
    assert_eq!(
        (map.get(&1), map.without_waiting().remove(&1)),
        (Ok(Some(10)), Err(MapError::WouldBlock))
    );
    go.say();
    child.finish();
    assert_eq!(map.remove(&1), Ok(Some(11)));
}

// Other processes meanwhile.

/// Updates entry 1 and stays inside until told to go.
fn stay_inside(map: SharedMap<u32, String>, inside: Flag, go: Flag) {
    let update = |one: Option<String>| {
        inside.raise();
        go.wait_for(1);
        one.map(|one| one + " changed")
    };
    map.update(&1, update).unwrap();
}

/// The outcome of a call that lasts as long as it was given, no less.
fn lasting<R>(least: Duration, call: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let outcome = call();
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    outcome
}

/// Calls that need the lock are refused.
fn assert_locked(map: &SharedMap<u32, String>, error: MapError) {
    let value = "value".to_owned();
    assert_eq!(map.insert(&1, &value), Err(error.clone()));
    assert_eq!(map.insert(&2, &value), Err(error.clone()));
    assert_eq!(map.get_or_insert_with(&3, || value.clone()), Err(error.clone()));
    assert_eq!(map.remove(&1), Err(error.clone()));
    assert_eq!(
        map.update(&1, |_| unreachable!("it is refused before")),
        Err(error.clone())
    );
    assert_eq!(map.compare_exchange(&1, None, None), Err(error.clone()));
    assert_eq!(map.extend([(1, value)]), Err(error.clone()));
    assert_eq!(map.retain(|_, _| false), Err(error.clone()));
    assert_eq!(map.clear(), Err(error.clone()));
}

#[procshare::test]
fn while_another_process_is_inside_an_update_readers_go_on_and_writers_give_up_in_time() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u32, String>::builder()
        .capacity(1 << 14)
        .shards(1)
        .anonymous()
        .unwrap();
    map.extend([(1, "one".to_owned()), (2, "two".to_owned())]).unwrap();
    let (inside, go) = (Flag::new(), Flag::new());
    let peer = child(stay_inside, (map.clone(), inside.clone(), go.clone()));
    inside.wait_for(1);
    assert_locked(&map.without_waiting(), MapError::WouldBlock);
    assert_locked(&map.with_timeout(Duration::from_millis(1)), MapError::TimedOut);
    lasting(SHORT, || {
        assert_eq!(map.with_timeout(SHORT).remove(&1), Err(MapError::TimedOut))
    });
    let deadline = Instant::now() + SHORT;
    assert_eq!(map.with_deadline(deadline).remove(&1), Err(MapError::TimedOut));
    assert!(Instant::now() >= deadline);
    // Readers see what was, and wait for nobody.
    let now = map.without_waiting();
    let before = HashMap::from([(1, "one".to_owned()), (2, "two".to_owned())]);
    assert_eq!(
        (now.get(&1), now.get(&3), now.contains_key(&2)),
        (Ok(Some("one".to_owned())), Ok(None), Ok(true))
    );
    assert_eq!((now.to_map(), now.iter().count(), map.len()), (Ok(before), 2, 2));
    assert_eq!(
        now.get_or_insert_with(&2, || unreachable!("there is one")),
        Ok("two".to_owned())
    );
    // Who waits comes next.
    let (inserted, ()) = while_waiting(|| map.insert(&1, &"new".to_owned()), || go.raise());
    assert_eq!(inserted, Ok(Some("one changed".to_owned())));
    peer.join().unwrap();
    verify(&map);
}

#[procshare::test]
fn other_shards_are_not_locked() {
    let _watchdog = watchdog(60);
    let map = SharedMap::<u32, String>::builder()
        .capacity(1 << 16)
        .shards(16)
        .anonymous()
        .unwrap();
    map.insert(&1, &"one".to_owned()).unwrap();
    let (inside, go) = (Flag::new(), Flag::new());
    let peer = child(stay_inside, (map.clone(), inside.clone(), go.clone()));
    inside.wait_for(1);
    let now = map.without_waiting();
    let stored = (2..1000).map(|number| now.insert(&number, &"x".to_owned()));
    let refused = stored.filter(|outcome| *outcome == Err(MapError::WouldBlock)).count();
    assert!((1..200).contains(&refused), "{refused} of 998 in one of 16 shards");
    assert_eq!(map.len(), 999 - refused);
    go.raise();
    peer.join().unwrap();
    verify(&map);
}

#[procshare::test]
fn a_map_that_evicts_has_readers_wait_for_nobody_either() {
    let _watchdog = watchdog(60);
    let builder = SharedMap::<u32, String>::builder()
        .capacity(1 << 14)
        .shards(1)
        .evict_lru();
    let map = builder.anonymous().unwrap();
    map.insert(&1, &"one".to_owned()).unwrap();
    let (inside, go) = (Flag::new(), Flag::new());
    let peer = child(stay_inside, (map.clone(), inside.clone(), go.clone()));
    inside.wait_for(1);
    assert_eq!(map.without_waiting().get(&1), Ok(Some("one".to_owned())));
    assert_eq!(map.get(&1), Ok(Some("one".to_owned())));
    assert_eq!((map.contains_key(&1), map.iter().count(), map.len()), (Ok(true), 1, 1));
    go.raise();
    peer.join().unwrap();
    assert_eq!(map.get(&1), Ok(Some("one changed".to_owned())));
}
