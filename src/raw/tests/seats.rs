use super::{AtOnce, check, lock, process, seats, tick};
use crate::primitive::model::{become_owner, declare_dead};
use crate::primitive::{Deadline, Ordering, OwnerId, Peers};
use crate::raw::seat::{Counts, RawSeat};
use crate::raw::{NoSeat, RawSeats, Role, Ticket};
use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const SPAWNER: u32 = 1;
const CHILD: u32 = 2;
const WATCHER: u32 = 3;

fn peers() -> Peers {
    tick();
    Peers
}

fn has_producer(seats: &RawSeats) -> bool {
    tick();
    seats.has(Role::Producer, Role::Consumer, &peers)
}

fn join(seats: &RawSeats, role: Role) -> usize {
    seats.join(role, &peers).expect("there is a seat")
}

/// Seats, and whether the role they are about may be missing by now. The latter is not part of the model: no process could know
/// it.
struct Watched {
    seats: Arc<RawSeats>,
    may_be_missing: AtomicBool,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Watched {
            seats: seats(),
            may_be_missing: AtomicBool::new(false),
        })
    }

    fn allow_missing(&self) {
        self.may_be_missing.store(true, Ordering::SeqCst);
    }

    /// Looks once: the answer that nobody has the role is never given while a process has it.
    fn watch(&self, has_producer: fn(&RawSeats) -> bool) {
        if !has_producer(&self.seats) {
            assert!(
                self.may_be_missing.load(Ordering::SeqCst),
                "nobody, while there is somebody"
            );
        }
    }
}

#[test]
fn loom_seats_two_join_and_leave() {
    check(3, || {
        let seats = seats();
        let stay = |seats: &RawSeats| {
            tick();
            let at = join(seats, Role::Producer);
            assert!(has_producer(seats));
            seats.leave(at, Role::Producer);
        };
        let other = process(&seats, 1, stay);
        become_owner(2);
        stay(&seats);
        other.join().expect("the model thread ends");
        become_owner(WATCHER);
        assert!(!has_producer(&seats) && seats.is_missing(Role::Producer));
        assert!(seats.seats.iter().all(|seat| seat.read().is_none()));
    });
}

/// One producer leaves once another has come, which takes its seat before that: somebody is always there.
fn relieve(has_producer: fn(&RawSeats) -> bool) {
    check(3, move || {
        let watched = Watched::new();
        become_owner(4);
        let first = join(&watched.seats, Role::Consumer);
        become_owner(SPAWNER);
        let second = join(&watched.seats, Role::Producer);
        become_owner(4);
        watched.seats.leave(first, Role::Consumer);
        let watching = process(&watched, WATCHER, move |watched| watched.watch(has_producer));
        become_owner(CHILD);
        let third = join(&watched.seats, Role::Producer);
        assert!(third < second);
        tick();
        become_owner(SPAWNER);
        watched.seats.leave(second, Role::Producer);
        tick();
        watching.join().expect("the model thread ends");
    });
}

/// Looks at the seats one by one, and not again if something has changed (S4 broken).
fn has_at_one_look(seats: &RawSeats) -> bool {
    tick();
    let is_there = |(owner, counts): (OwnerId, Counts)| counts.may(Role::Producer) && !Peers.has_left(owner, false);
    seats.seats.iter().filter_map(RawSeat::read).any(is_there)
}

#[test]
fn loom_seats_one_relieves_the_other() {
    relieve(has_producer);
}

#[test]
#[should_panic]
fn loom_mutant_looking_once_misses_who_moves() {
    relieve(has_at_one_look);
}

fn claim(seats: &RawSeats) -> Result<usize, NoSeat> {
    tick();
    seats.claim(Role::Producer, &peers)
}

/// Two processes claim; the one that has the role ends it by dying or leaving; they never both have it.
#[test]
fn loom_seats_a_claimed_role_is_for_one() {
    check(2, || {
        let watched = Watched::new();
        let claim = |watched: &Watched, pid, dies| match claim(&watched.seats) {
            Ok(at) => {
                assert!(!watched.may_be_missing.swap(true, Ordering::SeqCst), "both have it");
                tick();
                watched.may_be_missing.store(false, Ordering::SeqCst);
                if dies {
                    declare_dead(pid);
                } else {
                    watched.seats.leave(at, Role::Producer);
                }
                true
            }
            Err(refused) => {
                assert!(matches!(refused, NoSeat::Taken(other) if other != pid), "{refused:?}");
                false
            }
        };
        let dying = process(&watched, 1, move |watched| claim(watched, 1, true));
        become_owner(2);
        let had = claim(&watched, 2, false);
        assert!(dying.join().expect("the model thread ends") || had);
        assert!(claim(&watched, 2, false), "nobody has it now");
    });
}

/// How a party to a ticket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The child never gets to its ticket; the spawner never hands it over.
    DiesBefore,
    /// The child dies between the two stores of its redemption; the spawner with the lock, about to hand over.
    DiesWithin,
    DiesAfter,
    Leaves,
}

/// What a child without a seat does to redeem, up to the store that makes the ticket its seat; it dies with the lock.
fn begin_redeeming(seats: &RawSeats, ticket: Ticket) {
    let session = seats
        .session(Deadline::Never, &peers)
        .expect("nobody holds it for ever");
    if let Some((_, seat, _)) = session.find(ticket) {
        seat.owner.swap(session.owner().of_process().word(), Ordering::AcqRel);
    }
    core::mem::forget(session);
}

/// The wrong way: no ticket any more, and not yet its own.
fn begin_redeeming_wrongly(seats: &RawSeats, ticket: Ticket) {
    let session = seats
        .session(Deadline::Never, &peers)
        .expect("nobody holds it for ever");
    if let Some((_, seat, _)) = session.find(ticket) {
        let (owner, _) = seat.read().expect("it was found");
        seat.owner.store(owner.of_process().word(), Ordering::Release);
    }
    core::mem::forget(session);
}

/// A ticket goes from spawner to child; both end as told, and in the end no seat is left.
fn ticket(spawner: End, child: End, begin_redeeming: fn(&RawSeats, Ticket)) {
    check(2, move || {
        let seats = seats();
        become_owner(SPAWNER);
        let own = join(&seats, Role::Producer);
        let ticket = seats.issue(Role::Producer, Some(own), &peers).expect("there is a seat");
        let redeeming = process(&seats, CHILD, move |seats| {
            tick();
            match child {
                End::DiesBefore => {}
                End::DiesWithin => begin_redeeming(seats, ticket),
                End::DiesAfter | End::Leaves => {
                    let at = seats
                        .redeem(ticket, Role::Producer, false, &peers)
                        .expect("there is a seat");
                    assert!(has_producer(seats));
                    if child == End::Leaves {
                        seats.leave(at, Role::Producer);
                        return;
                    }
                }
            }
            declare_dead(CHILD);
        });
        tick();
        match spawner {
            End::DiesBefore => declare_dead(SPAWNER),
            End::DiesWithin => {
                let _held = lock(&seats.lock);
                declare_dead(SPAWNER);
            }
            End::DiesAfter | End::Leaves => {
                let id = OwnerId::pack(0, 0, CHILD, 1);
                seats.hand_over(ticket, id);
                if spawner == End::DiesAfter {
                    declare_dead(SPAWNER);
                }
            }
        }
        redeeming.join().expect("the model thread ends");
        become_owner(WATCHER);
        assert!(!has_producer(&seats), "a ghost");
        assert!(seats.seats.iter().all(|seat| seat.read().is_none()));
        assert!(seats.claim(Role::Producer, &peers).is_ok());
    });
}

#[test]
fn loom_seats_no_ghost_of_a_ticket_stays() {
    for spawner in [End::DiesBefore, End::DiesWithin, End::DiesAfter, End::Leaves] {
        for child in [End::DiesBefore, End::DiesWithin, End::DiesAfter, End::Leaves] {
            ticket(spawner, child, begin_redeeming);
        }
    }
}

/// The ticket would turn into a seat of its living spawner, which knows nothing of it.
#[test]
#[should_panic]
fn loom_mutant_redeeming_in_two_steps_leaves_a_ghost() {
    ticket(End::Leaves, End::DiesWithin, begin_redeeming_wrongly);
}

/// How a child redeems.
type Redeem = fn(&RawSeats, Ticket) -> usize;

fn redeem(seats: &RawSeats, ticket: Ticket) -> usize {
    seats
        .redeem(ticket, Role::Producer, true, &peers)
        .expect("the ticket is good")
}

/// Frees the ticket before it counts itself.
fn redeem_wrongly(seats: &RawSeats, ticket: Ticket) -> usize {
    let session = seats
        .session(Deadline::Never, &peers)
        .expect("nobody holds it for ever");
    if let Some((_, seat, _)) = session.find(ticket) {
        seat.owner.store(0, Ordering::Release);
    }
    session.join(Role::Producer).expect("there is a seat")
}

/// The only producer's role goes with a ticket to a child; a third process watches: the role is never missing. With `has_seat` the
/// child, which has a seat before the ticket's, counts itself there.
fn watch_ticket(has_seat: bool, spawner_dies: bool, redeem: Redeem, has_producer: fn(&RawSeats) -> bool) {
    check(2, move || {
        let watched = Watched::new();
        become_owner(CHILD);
        let other = join(&watched.seats, Role::Consumer);
        become_owner(SPAWNER);
        let own = join(&watched.seats, Role::Producer);
        if !has_seat {
            become_owner(CHILD);
            watched.seats.leave(other, Role::Consumer);
        }
        let watching = process(&watched, WATCHER, move |watched| watched.watch(has_producer));
        become_owner(SPAWNER);
        let ticket = watched
            .seats
            .issue(Role::Producer, Some(own), &peers)
            .expect("there is a seat");
        tick();
        let redeeming = process(&watched, CHILD, move |watched| {
            tick();
            let at = redeem(&watched.seats, ticket);
            tick();
            watched.allow_missing();
            watched.seats.leave(at, Role::Producer);
            tick();
        });
        let id = OwnerId::pack(0, 0, CHILD, 1);
        watched.seats.hand_over(ticket, id);
        tick();
        if spawner_dies {
            declare_dead(SPAWNER);
            tick();
        }
        watching.join().expect("the model thread ends");
        redeeming.join().expect("the model thread ends");
        become_owner(4);
        let left = watched.seats.seats.iter().filter_map(RawSeat::read).count();
        assert_eq!(
            (self::has_producer(&watched.seats), left),
            (false, usize::from(has_seat)),
        );
    });
}

#[test]
fn loom_seats_a_ticket_counts_until_it_is_redeemed() {
    watch_ticket(false, false, redeem, has_producer);
}

#[test]
fn loom_seats_a_ticket_counts_though_its_spawner_dies() {
    watch_ticket(false, true, redeem, has_producer);
}

#[test]
fn loom_seats_a_ticket_is_redeemed_into_another_seat() {
    watch_ticket(true, true, redeem, has_producer);
}

#[test]
#[should_panic]
fn loom_mutant_freeing_the_ticket_first_shows_nobody() {
    watch_ticket(true, false, redeem_wrongly, has_producer);
}

#[test]
#[should_panic]
fn loom_mutant_looking_once_misses_a_ticket() {
    watch_ticket(true, false, redeem, has_at_one_look);
}

/// As many children at once as there are seats: each makes its ticket its seat.
#[test]
fn loom_seats_tickets_are_enough_seats() {
    check(2, || {
        let seats = seats();
        become_owner(SPAWNER);
        join(&seats, Role::Producer);
        let issue = || seats.issue(Role::Consumer, None, &peers);
        let tickets = [issue(), issue()].map(|ticket| ticket.expect("there is a seat"));
        assert_eq!(issue(), Err(NoSeat::Full(3)));
        let redeem = |seats: &RawSeats, ticket| seats.redeem(ticket, Role::Consumer, false, &peers);
        let first = process(&seats, CHILD, move |seats| redeem(seats, tickets[0]));
        become_owner(WATCHER);
        assert!(redeem(&seats, tickets[1]).is_ok());
        assert!(first.join().expect("the model thread ends").is_ok());
    });
}

/// Seats, and what their producer wrote before it stopped being one. Loom reports a read that is not ordered after that.
struct Legacy {
    seats: Arc<RawSeats>,
    record: UnsafeCell<u32>,
}

// SAFETY: the record is touched as the seats allow, which loom checks.
unsafe impl Sync for Legacy {}
// SAFETY: as above.
unsafe impl Send for Legacy {}

/// A process told that nobody is left sees what they left.
fn write_and_stop(stop: fn(&RawSeats, usize), has_producer: fn(&RawSeats) -> bool) {
    check(3, move || {
        let legacy = Arc::new(Legacy {
            seats: seats(),
            record: UnsafeCell::new(0),
        });
        become_owner(1);
        let at = join(&legacy.seats, Role::Producer);
        let writing = process(&legacy, 1, move |legacy| {
            // SAFETY: loom's cell checks that nobody else has access meanwhile.
            legacy.record.with_mut(|record| unsafe { *record = 11 });
            stop(&legacy.seats, at);
            tick();
        });
        become_owner(WATCHER);
        if !has_producer(&legacy.seats) {
            // SAFETY: loom's cell checks that nobody writes meanwhile.
            assert_eq!(legacy.record.with(|record| unsafe { *record }), 11);
        }
        writing.join().expect("the model thread ends");
    });
}

fn leave(seats: &RawSeats, at: usize) {
    seats.leave(at, Role::Producer);
}

fn turn(seats: &RawSeats, at: usize) {
    seats.turn(at, Role::Producer, Role::Consumer);
}

#[test]
fn loom_seats_who_leaves_leaves_its_record() {
    write_and_stop(leave, has_producer);
}

#[test]
fn loom_seats_who_turns_leaves_its_record() {
    write_and_stop(turn, has_producer);
}

#[test]
#[should_panic]
fn loom_mutant_believing_relaxed_counts_loses_a_record() {
    write_and_stop(turn, |seats| {
        tick();
        let may_put = |seat: &RawSeat| Counts(seat.counts.load(Ordering::Relaxed)).may(Role::Producer);
        seats.seats.iter().any(may_put)
    });
}

#[test]
fn loom_seats_belong_to_a_process() {
    check(2, || {
        let seats = seats();
        become_owner(1);
        let at = join(&seats, Role::Producer);
        become_owner(2);
        seats.leave(at, Role::Producer);
        assert!(has_producer(&seats), "what is another's is not given up");
    });
}
