//! Deaths of those who come, go, spawn and are spawned: no seat is left to a ghost, and none of the living is lost.

use crate::common::watchdog;
use crate::ends;
use crate::queue::put_one;
use crate::role::{self, Folder, Role, listen, say};
use crate::stage::{Item, LATE, Stage, alone, dies, item, number_of, open, sweep, timed, victim, was_killed};
use procshare::{Process, RecvError, SharedQueue};
use serde::{Deserialize, Deserializer, Serialize};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("come and go", |arguments| {
        let (first, second) = (open(arguments), open(arguments));
        let third = first.clone();
        drop(first);
        second.put(item(11)).expect("there is room");
        third.get().expect("something is there");
        drop(second);
        drop(third.clone());
    }),
    ("spawn", |arguments| {
        let child = Process::builder().daemon(true).spawn(put_one, (open(arguments),));
        report(child.expect("it can be started"));
    }),
    ("spawn with two", |arguments| {
        let queue = open(arguments);
        let child = Process::builder()
            .daemon(true)
            .spawn(put_by_one, (queue.clone(), queue));
        report(child.expect("it can be started"));
    }),
    ("spawn for long", |arguments| {
        let late = Late(PathBuf::from(&arguments[1]));
        let child = Process::spawn(put_late, (late, open(arguments))).expect("it can be started");
        say(&child.id().to_string());
        listen();
        std::mem::forget(child);
    }),
];

fn put_by_one(first: SharedQueue<Item>, second: SharedQueue<Item>) {
    first.put(item(11)).expect("there is room");
    drop(second);
}

fn put_late(_: Late, queue: SharedQueue<Item>) {
    put_one(queue);
}

/// Tells how the child ended. By then this process has no handle.
fn report(child: Process<()>) {
    say(if child.join().is_ok() { "put" } else { "died" });
    listen();
}

/// An argument that the child decodes only once somebody has opened that FIFO: until then it is on its way.
#[derive(Serialize)]
struct Late(PathBuf);

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        File::open(&path).map_err(serde::de::Error::custom)?;
        Ok(Late(path))
    }
}

/// A FIFO in a folder of its own.
struct Gate(Folder);

impl Gate {
    fn new() -> Self {
        let gate = Gate(Folder::new());
        let path = CString::new(gate.path().into_os_string().into_encoded_bytes()).expect("it holds no NUL");
        // SAFETY: the path is a string with its end.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        gate
    }

    fn path(&self) -> PathBuf {
        self.0.0.join("gate")
    }

    /// Waits until the child stands there, and lets it through.
    fn open(&self) {
        OpenOptions::new().write(true).open(self.path()).expect("it is there");
    }
}

/// The child dies as it takes or changes its seat, or gives it up.
pub(crate) fn coming_and_going(point: &'static str) {
    let may_be: [(&str, &[&[u64]]); 3] = [
        ("put", &[&[1, 2], &[1, 2, 11]]),
        ("get", &[&[1, 2], &[2]]),
        ("come and go", &[&[1, 2], &[1, 2, 11], &[2, 11]]),
    ];
    for (role, may_be) in may_be {
        let outcomes = sweep(point, |passage| {
            let stage = Stage::new(2);
            if !was_killed(passage, &mut stage.victim(passage, role)) {
                return None;
            }
            let left = stage.left(point);
            assert!(may_be.contains(&left.as_slice()), "{passage}: {left:?}");
            stage.ends_as_new(point);
            Some(left)
        });
        assert!(!outcomes.is_empty(), "{point} was never reached: {role}");
    }
    ends::come_and_go(point);
}

/// A process dies when it has set a seat aside for a child it has not started.
pub(crate) fn a_spawner_dies(point: &'static str) {
    for (role, tickets) in [("spawn", 1), ("spawn with two", 2)] {
        let outcomes = sweep(point, |passage| {
            let stage = Stage::new(2);
            let mut child = stage.victim(passage, role);
            // A spawner that lives waits for us.
            if child.hear_or_end().is_some() {
                child.finish();
                return None;
            }
            dies(passage, child);
            let left = stage.left(point);
            assert_eq!(left, [1, 2], "{passage}");
            stage.ends_as_new(point);
            Some(left)
        });
        assert_eq!(outcomes.len(), tickets, "{point}: {role}");
    }
    ends::spawner_dies(point);
}

/// A child dies as it takes the seat that was set aside for it, while its spawner lives on.
pub(crate) fn a_child_dies(point: &'static str) {
    let mut deaths = 0;
    for role in ["spawn", "spawn with two"] {
        let outcomes = sweep(point, |passage| {
            let stage = Stage::new(2);
            let mut spawner = stage.victim(passage, role);
            let end = spawner.hear();
            let left = stage.left(point);
            spawner.finish();
            if end == "put" {
                assert_eq!(left, [1, 2, 11], "{passage}");
                return None;
            }
            assert_eq!(left, [1, 2], "{passage}");
            stage.ends_as_new(point);
            Some(left)
        });
        deaths += outcomes.len();
    }
    assert!(deaths > 0, "{point} was never reached");
}

/// Spawner or child die anywhere at all in what they do about seats.
#[test]
fn nobody_is_left_of_a_spawn_that_died() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    for point in [
        "seat.counted",
        "seat.taken",
        "seat.freed",
        "lock.acquired",
        "unlock.begin",
    ] {
        let outcomes = sweep(point, |passage| {
            let stage = Stage::new(2);
            let mut spawner = stage.victim(passage, "spawn with two");
            let end = spawner.hear_or_end();
            let left = stage.left(point);
            assert!(
                [&[1, 2][..], &[1, 2, 11]].contains(&left.as_slice()),
                "{passage}: {left:?}"
            );
            stage.ends_as_new(point);
            let spawner = spawner.ended();
            match (spawner, end.as_deref()) {
                (Some(libc::SIGKILL), None) => Some("the spawner"),
                (None, Some("died")) => Some("the child"),
                (None, Some("put")) => None,
                other => panic!("{passage}: {other:?}"),
            }
        });
        assert!(!outcomes.is_empty(), "{point} was never reached");
    }
}

const A_WHILE: Duration = Duration::from_millis(300);

#[procshare::test]
fn a_child_on_its_way_is_not_taken_for_gone() {
    let (_watchdog, _alone, point) = (watchdog(120), alone(), "a child on its way");
    for (killed, gate) in [(false, Gate::new()), (true, Gate::new())] {
        let stage = Stage::new(0);
        let taker = stage.queue();
        let child = Process::builder()
            .daemon(true)
            .spawn(put_late, (Late(gate.path()), stage.queue()))
            .expect("it can be started");
        assert_eq!(taker.get_timeout(A_WHILE), Err(RecvError::TimedOut));
        if killed {
            child.kill().expect("it is our child");
        } else {
            gate.open();
            assert_eq!(timed(point, || taker.get_timeout(LATE)).map(number_of), Ok(11));
        }
        assert_eq!(timed(point, || taker.get_timeout(LATE)), Err(RecvError::Disconnected));
        assert_eq!(child.join().is_ok(), !killed);
        drop(taker);
        assert_eq!(stage.left(point), [0; 0]);
        stage.ends_as_new(point);
    }
}

/// The seat is the child's from the moment it was started.
#[test]
fn a_child_on_its_way_outlives_its_spawner() {
    let (_watchdog, _alone, point) = (watchdog(120), alone(), "an orphan on its way");
    let (stage, gate) = (Stage::new(0), Gate::new());
    let path = gate.path();
    let arguments = [stage.folder.path(), path.to_str().expect("it is text")];
    let mut spawner = role::start("spawn for long", &arguments);
    spawner.hear();
    spawner.kill();
    let taker = stage.queue();
    assert_eq!(taker.get_timeout(A_WHILE), Err(RecvError::TimedOut));
    gate.open();
    assert_eq!(timed(point, || taker.get_timeout(LATE)).map(number_of), Ok(11));
    assert_eq!(timed(point, || taker.get_timeout(LATE)), Err(RecvError::Disconnected));
    drop(taker);
    assert_eq!(stage.left(point), [0; 0]);
    stage.ends_as_new(point);
}

/// As `Stage::victim`, for what stands under a name of its own.
pub(crate) fn victim_of(passage: &str, role: &str, name: &str) -> role::Actor {
    victim(passage, role, &[name])
}
