//! A process that is stopped, or dead and not yet found out, holds up nobody but those who want what it holds.

use crate::common::watchdog;
use crate::forked::{Child, Others};
use crate::role::{Actor, Role, say};
use crate::stage::{Map, Stage, Tally, alone, content, key, open_as_victim, scenario, value};
use procshare::__private::{map_with_clock, verify_map};
use procshare::MapError;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(50);
/// When a call gives up that should have ended long ago.
const LATE: Duration = Duration::from_secs(5);

pub(crate) const ROLES: &[(&str, Role)] = &[("change on and on", |arguments| {
    // Whoever is stopped does not hear an alarm. SAFETY: two numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let map = open_as_victim(scenario(&arguments[1]), &arguments[0]);
    say("begins");
    for number in 0.. {
        map.insert(&key(0, 5), &wide(number)).expect("there is room");
    }
})];

/// A value whose words all change from number to number, and which is as long as its predecessors.
fn wide(number: usize) -> Vec<u8> {
    vec![number as u8; 150]
}

fn signal(actor: &Actor, signal: libc::c_int) {
    // SAFETY: two numbers; the child is not reaped, so its number is still its own.
    assert_eq!(unsafe { libc::kill(actor.id() as libc::pid_t, signal) }, 0);
}

fn stop(actor: &Actor) {
    signal(actor, libc::SIGSTOP);
    while crate::forked::state_of(actor.id(), actor.id()) != 'T' {
        std::thread::yield_now();
    }
}

/// A child that was stopped in the middle of a change of the first shard.
fn stopped_in_a_change(stage: &Stage) -> Actor {
    let mut actor = stage.actor("change on and on");
    assert_eq!(actor.hear(), "begins");
    loop {
        stop(&actor);
        if stage.is_changing(0) {
            return actor;
        }
        signal(&actor, libc::SIGCONT);
        std::thread::yield_now();
    }
}

/// What refuses waits as long as it was told to, and not much longer.
fn gives_up<R: std::fmt::Debug>(what: &str, map: &Map, call: impl Fn(&Map) -> Result<R, MapError>) {
    let outcome = call(&map.without_waiting()).err();
    assert_eq!(outcome, Some(MapError::WouldBlock), "{what}");
    let began = Instant::now();
    let outcome = call(&map.with_timeout(SHORT)).err();
    let waited = began.elapsed();
    assert_eq!(outcome, Some(MapError::TimedOut), "{what}");
    assert!(waited >= SHORT && waited < LATE, "{what} waited for {waited:?}");
}

/// Every call that needs the first shard gives up in time.
fn the_shard_is_held(map: &Map) {
    gives_up("get", map, |map| map.get(&key(0, 5)));
    gives_up("contains_key", map, |map| map.contains_key(&key(0, 5)));
    gives_up("insert", map, |map| map.insert(&key(0, 5), &value(1, 1)));
    gives_up("remove", map, |map| map.remove(&key(0, 5)));
    gives_up("update", map, |map| map.update(&key(0, 5), |found| found));
    gives_up("get_or_insert_with", map, |map| {
        map.get_or_insert_with(&key(0, 77), || value(1, 1))
    });
    gives_up("compare_exchange", map, |map| {
        map.compare_exchange(&key(0, 5), None, None)
    });
    gives_up("clear", map, Map::clear);
    gives_up("retain", map, |map| map.retain(|_, _| true));
    gives_up("iter", map, |map| map.iter().collect::<Result<Vec<_>, _>>());
}

/// Nobody who uses the other shard notices anything.
fn the_other_is_free(map: &Map, tally: &mut Tally) {
    for number in 0..100 {
        tally.timed("the other shard", || {
            assert_eq!(map.insert(&key(1, 50), &value(number, 40)).map(drop), Ok(()));
            assert_eq!(map.get(&key(1, 50)), Ok(Some(value(number, 40))));
            assert_eq!(map.remove(&key(1, 50)), Ok(Some(value(number, 40))));
        });
    }
    assert!(map.len() >= 10 && map.stats().entries >= 10, "told without a lock");
}

/// The value is one that was stored.
fn is_one_of_its_values(map: &Map) {
    let found = map.with_timeout(LATE).get(&key(0, 5)).expect("nobody holds it");
    let found = found.expect("it is there");
    assert!(
        found == wide(found[0] as usize) || found == value(5, 56),
        "torn: {found:?}"
    );
}

#[test]
fn who_is_stopped_in_a_change_holds_up_its_shard_only() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let stage = Stage::new(scenario("update"));
    let mut tally = Tally::default();
    let mut actor = stopped_in_a_change(&stage);
    the_shard_is_held(&stage.map);
    the_other_is_free(&stage.map, &mut tally);
    signal(&actor, libc::SIGCONT);
    is_one_of_its_values(&stage.map);
    stop(&actor);
    // Killed as it stands there.
    actor.kill();
    tally.kills += 1;
    tally.timed("after the death", || is_one_of_its_values(&stage.map));
    assert_eq!(stage.map.update(&key(0, 99), |found| found), Ok(None));
    verify_map(&stage.map).expect("it is whole");
    tally.report(&others);
}

#[test]
fn who_evicts_passes_by_a_shard_that_somebody_holds() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let stage = Stage::new(scenario("evict"));
    let mut tally = Tally::default();
    let actor = stopped_in_a_change(&stage);
    for number in 0..100 {
        tally.timed("evicting beside it", || {
            stage
                .map
                .insert(&key(1, number), &value(number, 300))
                .expect("old ones make room");
        });
    }
    drop(actor);
    assert_eq!(stage.map.update(&key(0, 99), |found| found), Ok(None));
    verify_map(&stage.map).expect("it is whole");
    tally.report(&others);
}

/// Nobody has asked for the shard since its holder died; those who do not want it do not notice.
#[test]
fn who_died_holds_up_its_shard_only() {
    let (_watchdog, _alone, others) = (watchdog(120), alone(), Others::watch());
    let mut tally = Tally::default();
    for point in ["map.changed:8", "lock.acquired:1"] {
        let stage = Stage::new(scenario("insert one more"));
        let before = content(&stage.map);
        assert!(stage.kills("act", point), "{point}");
        tally.kills += 1;
        the_other_is_free(&stage.map, &mut tally);
        // Whoever may not wait finds the dead out as well.
        let outcome = tally.timed(point, || stage.map.without_waiting().update(&key(0, 99), |found| found));
        assert_eq!(outcome, Ok(None), "{point}");
        assert_eq!(content(&stage.map), before);
        stage.is_whole(point);
    }
    tally.report(&others);
}

/// A hint waits for nobody, whether or not something is overdue.
#[test]
fn len_does_not_wait_for_who_is_stopped() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    let stage = Stage::new(scenario("sweep"));
    let actor = stopped_in_a_change(&stage);
    let later = map_with_clock(stage.map.clone(), Arc::new(|| 1 << 40));
    let asking = Child::fork(|| {
        let _ = (later.len(), later.is_empty(), later.stats());
    });
    let began = Instant::now();
    while !asking.is_zombie() && began.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    let is_over = asking.is_zombie();
    drop(actor);
    assert!(is_over, "len, is_empty or stats waits for a lock");
}
