//! Parent, child and fork server are killed at each named point of a start; the others end as they should.
//!
//! The program is its own actor: started with a start method in its environment, it starts children and tells how that
//! went. It has no test harness, whose thread would keep it from being copied; so it also checks what only a program with
//! one thread can show.

#![cfg(all(feature = "crash-points", feature = "process"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod actor;
mod stage;

use procshare::__private::CRASH_POINTS;
use stage::{Expected, Stage};

/// Where the process whose children they are may be killed.
const OF_THE_PARENT: [&str; 4] = ["start.posted", "start.asked", "start.made", "start.named"];
const OF_THE_CHILD: [&str; 4] = ["start.born", "start.begun", "start.done", "start.answered"];
const OF_THE_SERVER: [&str; 4] = ["start.serving", "start.heard", "start.cloned", "start.told"];

/// The start methods, and a server that is a copy of its caller.
const METHODS: [&str; 4] = ["spawn", "fork", "fork-server", "copied-server"];

#[procshare::main]
fn main() {
    if actor::was_asked() {
        return actor::act();
    }
    let _watchdog = stage::watchdog();
    let tests: [(&str, fn()); 5] = [
        ("every_point_is_known_here", every_point_is_known_here),
        ("nobody_is_killed", nobody_is_killed),
        ("a_parent_may_die_at_every_point", a_parent_may_die_at_every_point),
        ("a_child_may_die_at_every_point", a_child_may_die_at_every_point),
        ("a_server_may_die_at_every_point", a_server_may_die_at_every_point),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
}

fn every_point_is_known_here() {
    let known = [OF_THE_PARENT, OF_THE_CHILD, OF_THE_SERVER].concat();
    for point in CRASH_POINTS.iter().filter(|point| point.starts_with("start.")) {
        assert!(known.contains(point), "{point} has no scenario here");
    }
}

fn nobody_is_killed() {
    for method in METHODS {
        let said = Stage::new(method, "").finish(Expected::Lives);
        assert_eq!(said.outcomes, ["result 0", "result 1", "result 2"], "{method}");
        assert_eq!((said.zombies, said.server_threads), (0, said.servers), "{method}");
    }
}

/// Its daemons go, and the server; whatever the passage, nobody is left.
fn a_parent_may_die_at_every_point() {
    for method in METHODS {
        for point in OF_THE_PARENT {
            let asks = method.ends_with("server");
            for passage in 1..=3 {
                let expected = match point {
                    "start.asked" if !asks => Expected::Lives,
                    _ => Expected::Dies,
                };
                Stage::new(method, &format!("{point}:{passage}")).finish(expected);
            }
        }
    }
}

fn a_child_may_die_at_every_point() {
    for method in METHODS {
        for point in OF_THE_CHILD {
            // A server that begins like any child passes the first two itself, and its copies go on counting.
            let by_server = method == "fork-server" && ["start.born", "start.begun"].contains(&point);
            let passage = if by_server { 2 } else { 1 };
            let said = Stage::new(method, &format!("{point}:{passage}")).finish(Expected::Lives);
            assert_eq!(
                said.outcomes, ["ended: the child was killed by signal 9"; 3],
                "{method}, {point}"
            );
            assert_eq!(said.zombies, 0, "{method}, {point}");
        }
    }
}

/// The caller is told of a result or of an error: a child that was made is known, and no other was made.
fn a_server_may_die_at_every_point() {
    for method in ["fork-server", "copied-server"] {
        for point in OF_THE_SERVER {
            for passage in 1..=3 {
                let at = format!("{method}, {point}:{passage}");
                let said = Stage::new(method, &format!("{point}:{passage}")).finish(Expected::Lives);
                assert_eq!(said.outcomes.len(), 3, "{at}");
                for (number, outcome) in said.outcomes.iter().enumerate() {
                    let refused =
                        outcome.starts_with("refused: Spawn: the fork server ended before it started the child");
                    assert!(*outcome == format!("result {number}") || refused, "{at}: {outcome}");
                }
                // A server that made the child was not needed any more; before that, another is asked once.
                let many = ["start.cloned", "start.told"].contains(&point) || passage > 1;
                if many && method == "fork-server" {
                    assert!(
                        said.outcomes.iter().all(|outcome| outcome.starts_with("result")),
                        "{at}: {said:?}"
                    );
                }
                // The server itself, which nobody has asked since.
                assert!(said.zombies <= 1, "{at}: {said:?}");
            }
        }
    }
}
