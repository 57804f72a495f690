use super::{check, process, seats, tick};
use crate::primitive::model::{become_owner, declare_dead};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers};
use crate::raw::seat::RawSeat;
use crate::raw::{RawSeats, Role, Session};
use std::sync::Arc;

const PARENT: u32 = 1;
const CHILD: u32 = 2;
const WATCHER: u32 = 3;

fn child() -> OwnerId {
    OwnerId::pack(0, 1, CHILD, 1)
}

fn peers() -> Peers {
    tick();
    Peers
}

fn has_producer(seats: &RawSeats) -> bool {
    tick();
    seats.has(Role::Producer, Role::Consumer, &peers)
}

fn session<R>(seats: &RawSeats, work: impl FnOnce(&Session<'_>) -> R) -> R {
    tick();
    let session = seats
        .session(Deadline::Never, &peers)
        .expect("nobody holds it for ever");
    work(&session)
}

/// Seats, and what the child notes for its parent.
struct Estate {
    seats: Arc<RawSeats>,
    notes: AtomicU64,
}

impl Estate {
    fn new() -> Arc<Self> {
        Arc::new(Estate {
            seats: seats(),
            notes: AtomicU64::new(0),
        })
    }

    /// The seats' lock orders it.
    fn note(&self) {
        self.notes
            .store(self.notes.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn is_noted(&self) -> bool {
        let notes = self.notes.load(Ordering::Relaxed);
        if notes > 0 {
            self.notes.store(notes - 1, Ordering::Relaxed);
        }
        notes > 0
    }

    fn leave_to_child(&self) {
        session(&self.seats, |session| session.leave_to(child(), || self.is_noted()));
    }
}

/// What a child does with a handle, and whether that is noted for the parent.
type Use = fn(&Estate, note: fn(&Estate));

fn put_and_drop(estate: &Estate, note: fn(&Estate)) {
    let at = session(&estate.seats, |session| {
        session.join_inherited(Role::Producer, || note(estate))
    });
    let at = at.expect("there is a seat");
    assert!(has_producer(&estate.seats));
    estate.seats.leave(at, Role::Producer);
}

fn drop_unused(estate: &Estate, note: fn(&Estate)) {
    session(&estate.seats, |session| session.settle(|| note(estate)));
}

/// The parent leaves this many handles to its child, which may or may not have finished with them by then.
fn inherit(handles: usize, use_it: Use, note: fn(&Estate)) {
    check(2, move || {
        let estate = Estate::new();
        become_owner(PARENT);
        let own = session(&estate.seats, |session| session.join(Role::Consumer)).expect("there is a seat");
        let using = process(&estate, CHILD, move |estate| {
            (0..handles).for_each(|_| use_it(estate, note));
        });
        for _ in 0..handles {
            estate.leave_to_child();
        }
        tick();
        using.join().expect("the model thread ends");
        assert!(!has_producer(&estate.seats), "a ghost");
        estate.seats.leave(own, Role::Consumer);
        assert!(estate.seats.seats.iter().all(|seat| seat.read().is_none()));
    });
}

#[test]
fn loom_inheritance_no_ghost_of_a_used_handle_stays() {
    inherit(1, put_and_drop, Estate::note);
}

#[test]
fn loom_inheritance_no_ghost_of_a_dropped_handle_stays() {
    inherit(2, drop_unused, Estate::note);
}

/// The child may be first.
#[test]
#[should_panic]
fn loom_mutant_using_without_a_note_leaves_a_ghost() {
    inherit(1, put_and_drop, |_| {});
}

#[test]
#[should_panic]
fn loom_mutant_dropping_without_a_note_leaves_a_ghost() {
    inherit(1, drop_unused, |_| {});
}

/// Makes the child a producer with a handle left to it; returns its seat.
type Join = fn(&RawSeats) -> usize;

fn join_inherited(seats: &RawSeats) -> usize {
    session(seats, |session| session.join_inherited(Role::Producer, || ())).expect("there is a seat")
}

/// Stops counting the handle before it is counted elsewhere.
fn join_wrongly(seats: &RawSeats) -> usize {
    session(seats, |session| {
        session.settle(|| ());
        session.join(Role::Producer)
    })
    .expect("there is a seat")
}

/// A watcher never finds that nobody is left while the child has a handle: two were left to it, of which it uses one.
fn watch(handles: usize, join: Join) {
    check(2, move || {
        let estate = Estate::new();
        become_owner(PARENT);
        (0..handles).for_each(|_| estate.leave_to_child());
        let watching = process(&estate, WATCHER, |estate| assert!(has_producer(&estate.seats)));
        become_owner(CHILD);
        tick();
        join(&estate.seats);
        tick();
        watching.join().expect("the model thread ends");
        let left = estate.seats.seats.iter().filter_map(RawSeat::read).count();
        assert_eq!(left, handles);
    });
}

#[test]
fn loom_inheritance_counts_until_it_is_used() {
    watch(1, join_inherited);
    watch(2, join_inherited);
}

#[test]
#[should_panic]
fn loom_mutant_settling_first_shows_nobody() {
    watch(1, join_wrongly);
}

/// Parent and child die, and nothing is left of them.
#[test]
fn loom_inheritance_ends_with_its_heir() {
    check(2, || {
        let estate = Estate::new();
        become_owner(PARENT);
        let dying = process(&estate, CHILD, |estate| {
            tick();
            join_inherited(&estate.seats);
            declare_dead(CHILD);
        });
        estate.leave_to_child();
        declare_dead(PARENT);
        dying.join().expect("the model thread ends");
        become_owner(WATCHER);
        assert!(!has_producer(&estate.seats), "a ghost");
        assert!(estate.seats.seats.iter().all(|seat| seat.read().is_none()));
    });
}
