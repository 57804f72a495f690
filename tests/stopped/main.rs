//! A real process is stopped at every named point of every protocol, and every call of the type is made beside it.
//!
//! What must wait for nobody returns at once; what has a limit keeps it; whatever else waits is asked with a limit of the
//! caller. Then the peer goes on, and everything ends well. Each point is met in a process of its own, started by the test,
//! whose child stops there: a call that does not return ends that process, and is named.

#![cfg(all(feature = "crash-points", feature = "process"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/effort.rs"]
mod effort;
#[path = "../common/forked.rs"]
mod forked;
#[path = "../crash_map/nursery.rs"]
mod nursery;
#[path = "../common/role.rs"]
mod role;
#[path = "../crash_map/scenarios.rs"]
mod scenarios;
#[allow(dead_code, reason = "of the maps of another test, only how they are made is used")]
#[path = "../crash_map/stage.rs"]
mod stage;

mod children;
mod ends;
mod maps;
mod peer;
mod queues;
mod segments;
mod values;
mod workers;

use common::watchdog;
use effort::thorough;
use procshare::__private::CRASH_POINTS;
use role::{Actor, Role, say};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Points at which a peer is stopped, and what is done beside it.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) points: &'static [&'static str],
    pub(crate) play: fn(&str),
}

const SCENES: [&[Scene]; 7] = [
    values::SCENES,
    segments::SCENES,
    maps::SCENES,
    queues::SCENES,
    ends::SCENES,
    children::SCENES,
    workers::SCENES,
];

/// No scene takes as many seconds.
const SCENE: u32 = 90;
/// Most of them wait for most of their time.
const AT_A_TIME: usize = 12;

fn roles() -> Vec<(&'static str, Role)> {
    let own: [(&str, Role); 1] = [("play a scene", |arguments| {
        peer::die_with_parent();
        // SAFETY: asks for a signal at a time; no memory is involved.
        unsafe { libc::alarm(SCENE) };
        // SAFETY: two numbers: a group of its own, with all that it starts.
        unsafe { libc::setpgid(0, 0) };
        let mut scenes = SCENES.into_iter().flatten();
        let scene = scenes.find(|scene| scene.name == arguments[0]).expect("it exists");
        (scene.play)(&arguments[1]);
        say("done");
    })];
    [
        &own[..],
        nursery::ROLES,
        values::ROLES,
        segments::ROLES,
        maps::ROLES,
        queues::ROLES,
        ends::ROLES,
    ]
    .concat()
}

#[procshare::test]
fn plays_a_role() {
    role::play(&roles());
}

/// Plays the scenes at each of their points, or at every third of all: all in one test, as several wait ten seconds.
#[test]
fn every_call_keeps_its_promise_beside_a_stopped_peer() {
    let _watchdog = watchdog(400);
    let scenes = SCENES.into_iter().flatten();
    let all = scenes
        .flat_map(|scene| scene.points.iter().map(move |at| (scene.name, *at)))
        .step_by(thorough(1, 3));
    let (left, failed) = (Mutex::new(all), Mutex::new(vec![]));
    let play_some = || {
        while let Some((name, at)) = { left.lock().unwrap().next() } {
            let mut actor = Actor::new(role::command("play a scene", &[name, at]));
            peer::end_with_all_it_started(actor.id());
            if actor.hear_or_end().as_deref() != Some("done") {
                failed.lock().unwrap().push(format!("{name}, {at}"));
            }
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(play_some))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "see above what happened in {failed:#?}");
}

#[test]
fn every_point_has_a_scene() {
    let scenes = SCENES.into_iter().flatten();
    let met = scenes.flat_map(|scene| scene.points);
    let met: BTreeSet<&str> = met.map(|at| at.split(':').next().unwrap()).collect();
    assert_eq!(met, CRASH_POINTS.iter().copied().collect());
}
