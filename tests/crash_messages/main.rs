//! A real process is killed at every named point of queues, pipes and rings; survivors find things in order.
//!
//! As in `tests/crash.rs`, the child gets `PROCSHARE_CRASH_AT` and must die of SIGKILL. Where a point is passed more than
//! once, or means something different each time, the child is killed at each passage in turn.

#![cfg(all(feature = "crash-points", feature = "process"))]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/role.rs"]
mod role;

mod ends;
mod long;
mod memory;
mod overflow;
mod queue;
mod seats;
mod sleepers;
mod stage;

use common::watchdog;
use procshare::__private::CRASH_POINTS;
use stage::{LONGEST, alone};

/// What happens at a point; `None` if these files do not know it.
fn scenario(point: &'static str) -> Option<()> {
    match point {
        "bell.lowered" => {
            sleepers::hear_of_a_put(point, true);
            sleepers::hear_of_a_get(point, true);
        }
        "bell.sleeping" | "bell.woken" => {
            sleepers::of_gets_carry_on(point);
            sleepers::of_puts_carry_on(point);
        }
        "queue.put.outside" => overflow::putting(point, false),
        "queue.put.copied" => {
            queue::putting(point, false);
            overflow::putting(point, false);
            long::putting(point, false);
        }
        "queue.put.published" | "queue.put.unlocked" => {
            queue::putting(point, true);
            overflow::putting(point, true);
            long::putting(point, true);
        }
        "queue.get.copied" => {
            queue::getting(point, false);
            overflow::getting(point, false);
            long::getting(point, false);
        }
        "queue.get.taken" | "queue.get.unlocked" => {
            queue::getting(point, true);
            overflow::getting(point, true);
            long::getting(point, true);
        }
        "queue.extent.locked" => {
            long::putting(point, false);
            long::getting(point, false);
        }
        "queue.extent.written" | "queue.extent.placed" => long::putting(point, false),
        "queue.extent.taken" | "queue.extent.cleared" => long::getting(point, true),
        "queue.get.returned" => overflow::getting(point, true),
        "queue.close.stored" => queue::closing(point),
        "seat.counted" | "seat.taken" | "seat.freed" => seats::coming_and_going(point),
        "seat.ticket" => seats::a_spawner_dies(point),
        "seat.redeemed" | "seat.turned" => seats::a_child_dies(point),
        "ring.used" => ends::of_a_ring(point, false),
        "ring.advanced" => ends::of_a_ring(point, true),
        _ => return None,
    }
    Some(())
}

#[procshare::test]
fn plays_a_role() {
    let roles: Vec<_> = [queue::ROLES, overflow::ROLES, long::ROLES, seats::ROLES, ends::ROLES].concat();
    role::play(&roles);
}

/// Points of values, arrays and segments are those of `tests/crash.rs`, which refuses any it does not know.
#[test]
fn a_process_may_die_at_every_named_point() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    let of_messages = ["bell.", "queue.", "seat.", "ring."];
    let points = CRASH_POINTS
        .iter()
        .filter(|point| of_messages.iter().any(|prefix| point.starts_with(prefix)));
    for point in points.clone() {
        assert!(scenario(point).is_some(), "{point} has no scenario here");
    }
    let (pause, point) = *LONGEST.lock().expect("no scenario failed");
    eprintln!(
        "{} points; longest pause after a death: {pause:?}, at {point}",
        points.count()
    );
}
