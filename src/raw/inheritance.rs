//! Handles that a copy of a process, made by `fork`, has inherited and not used yet.
//!
//! As the parent drops its own copies, they count for the child, all in one seat: the *inheritance*, with a number of its own in
//! the thread's place.
//!
//! | state of a handle in the child | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | not left to it | – | the parent, which drops its own and holds the lock | left | not counted until it is used |
//! | left | counted in the inheritance as `Either` | the child, which uses it and holds the lock: first counted in its seat, then no more here | used | both are freed with their owner |
//! | | | the same, if it has no seat and this is the last: one store to owner | used | its owner is dead, and freed |
//! | | | the child, which drops it and holds the lock | gone | it is freed with its owner |
//! | used or gone, not left to it yet | a note for the parent alone | the parent, which drops its own and holds the lock | settled: it counts nothing | no matter |
//!
//! The inheritance names the child with its image, which it has from its parent: a look at the seat finds out if it calls
//! `exec`.

use super::seat::{Counts, INHERITED, RawSeat, Role};
use super::seats::{NoSeat, Session};
#[cfg(any(feature = "process", procshare_loom))]
use crate::primitive::OwnerId;
use crate::primitive::{Ordering, crash_point};

impl Session<'_> {
    /// Counts a handle for `child`, a copy of this process, unless it is settled: the child has used or dropped it before.
    #[cfg(any(feature = "process", procshare_loom))]
    pub(crate) fn leave_to(&self, child: OwnerId, is_settled: impl FnOnce() -> bool) {
        if is_settled() {
            return;
        }
        let heir = child.with_ticket(INHERITED);
        match self.taken_by(heir) {
            Some((_, seat)) => {
                seat.recount(|counts| counts.with(Role::Either));
                crash_point!("seat.counted");
            }
            // If all seats are taken, the child becomes known once it uses the handle.
            None if self.take_seat(heir, Role::Either).is_err() => return,
            None => {}
        }
        self.seats.count_in(Role::Either);
        self.seats.update_summary();
    }

    /// As `join`, for an inherited handle: either it was left to this process, or `note` is for the parent.
    #[cfg(any(feature = "process", procshare_loom))]
    pub(crate) fn join_inherited(&self, role: Role, note: impl FnOnce()) -> Result<usize, NoSeat> {
        let is_last = |counts| counts == Counts(0).with(Role::Either);
        match (self.inheritance(), self.own_seat()) {
            (Some((at, seat)), None) if seat.read().is_some_and(|(_, counts)| is_last(counts)) => {
                self.sit_down(seat, role);
                self.seats.count_in(role);
                self.seats.update_summary();
                Ok(at)
            }
            _ => {
                let at = self.join(role)?;
                self.settle(note);
                Ok(at)
            }
        }
    }

    /// Stops counting a handle that this process has used or dropped: either it was left to it, or `note` is for the parent.
    /// Tells whether sleepers should look again.
    #[cfg(any(feature = "process", procshare_loom))]
    pub(crate) fn settle(&self, note: impl FnOnce()) -> bool {
        match self.inheritance() {
            Some((_, seat)) => {
                seat.recount(|counts| counts.without(Role::Either));
                crash_point!("seat.freed");
            }
            None => note(),
        }
        self.seats.update_summary()
    }

    /// Takes the first seat of this process. If all are taken, its inheritance becomes its seat.
    pub(super) fn take_first(&self, role: Role) -> Result<usize, NoSeat> {
        let seat = self.take_seat(self.owner.of_process(), role);
        seat.or_else(|full| match self.inheritance() {
            Some((at, seat)) => {
                self.sit_down(seat, role);
                Ok(at)
            }
            None => Err(full),
        })
    }

    /// Makes the inheritance the seat of this process, with one handle.
    fn sit_down(&self, seat: &RawSeat, role: Role) {
        seat.recount(|_| Counts(0).with(role));
        crash_point!("seat.counted");
        // Release: pairs with the Acquire in `read`.
        seat.owner.store(self.owner.of_process().word(), Ordering::Release);
        crash_point!("seat.turned");
    }

    fn inheritance(&self) -> Option<(usize, &RawSeat)> {
        self.taken_by(self.owner.with_ticket(INHERITED))
    }
}
