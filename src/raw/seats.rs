//! `RawSeats`: participant slots of a queue or ring: which processes may put, and which may take.
//!
//! A process has one seat, however many handles it holds; the seat counts them by role. A *ticket* is a seat reserved for a
//! child that has yet to attach: it belongs to the process that spawns the child, then to the child, until the child redeems
//! it. A copy of a process, made by `fork`, also has a seat for what it inherited (`inheritance.rs`).
//!
//! | state | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | owner 0, or counts 0 | holder of the lock: owner 0, counts, owner | taken | free |
//! | taken | owner, counts | its process, by one compare-exchange of counts | other counts | its owner is dead: the first to notice frees it |
//! | | | the same, to counts of 0 | free | free |
//! | ticket | owner with a number, counts | the spawner, by one compare-exchange of owner | the child's, or free | it is freed with its owner |
//! | | | the child, which has no seat and holds the lock, one store to owner | taken | its owner, whichever it is by then, is dead |
//! | | | the child, which has first counted itself elsewhere | free | both are freed with their owners |
//!
//! So a call waits for the lock only to look for a seat (to open, claim, redeem, or set one aside), and for what a copy of a
//! process inherits. Leaving, turning to another role, adding a handle to a seat, and passing a ticket on each change a word of the
//! process's own.
//!
//! # Invariants
//!
//! - S1. A free seat is taken under the lock. The counts of a taken one are changed by its own process, one
//!   compare-exchange at a time; a handle that is counted keeps its seat from being taken. Those of an inheritance are
//!   changed under the lock.
//! - S2. A seat is freed by its owner's process, or after proof that this process is gone, by a compare-exchange: a ticket may
//!   have been handed over meanwhile.
//! - S3. A role that only one handle may have is given under the lock, when no seat of a living process counts it, or for a
//!   ticket that does.
//! - S4. A role moves to another seat in three steps: it is counted there, `summary` counts the change, the old seat gives it
//!   up. So a process that looks at the seats one by one, and misses the role at both, sees `summary` move.
//! - S5. A process that has changed a seat then looks at all of them, between a load of `summary` and the compare-exchange that
//!   writes what it found. So the last to write has seen every change.
//! - S6. No seat beyond those `summary` counts as used has ever been taken.

use super::seat::{Counts, INHERITED, RawSeat, Role, Summary};
use super::stamp::{self, CHECK_EVERY_MS, Half};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers, crash_point, current_owner};
use crate::raw::{Held, RawMutex, Refused};

/// The most seats there can be: as many as two bytes number.
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) const MOST_SEATS: usize = 65_535;

/// Least time between two questions to the kernel whether any participant of a side has called `exec`: they cost more than
/// others.
const MAPS_EVERY_MS: u32 = 500;

/// A seat set aside: which, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) at: u32,
    pub(crate) number: u16,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// There are this many seats, and living processes hold all of them.
    Full(usize),
    /// The process with that PID has the role, which only one may have.
    Taken(u32),
    Lock(Refused),
}

impl From<Refused> for NoSeat {
    fn from(refused: Refused) -> Self {
        NoSeat::Lock(refused)
    }
}

/// The seats of one queue, ring or direction of a pipe. All zeros: nobody.
#[repr(C, align(64))]
pub(crate) struct RawSeats<S: ?Sized = [RawSeat]> {
    pub(super) lock: RawMutex,
    /// How often a process has taken a seat or been given a ticket.
    joined: AtomicU64,
    /// When the kernel was last asked about producers, and about consumers: in the upper half whether they live, in the lower
    /// whether they have called `exec`.
    checked: [AtomicU64; 2],
    /// Spares a look at all seats: see `Summary`.
    summary: AtomicU64,
    /// How often a process has become a producer, and a consumer.
    came: [AtomicU64; 2],
    pub(super) seats: S,
}

#[cfg(procshare_loom)]
impl<const SEATS: usize> RawSeats<[RawSeat; SEATS]> {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        RawSeats {
            lock: RawMutex::new(),
            joined: zero(),
            checked: [zero(), zero()],
            summary: zero(),
            came: [zero(), zero()],
            seats: core::array::from_fn(|_| RawSeat {
                owner: zero(),
                counts: zero(),
            }),
        }
    }
}

/// Bytes of that many seats, padded to a cache line.
pub(crate) const fn bytes_of_seats(seats: u64) -> u64 {
    (size_of::<RawSeats<[RawSeat; 0]>>() as u64 + seats * size_of::<RawSeat>() as u64).next_multiple_of(64)
}

impl RawSeats {
    /// The seats at that address.
    ///
    /// # Safety
    /// For `'a` there are `bytes_of_seats(seats)` bytes mapped there, on a cache line, that are used as seats alone.
    #[inline]
    pub(crate) unsafe fn at<'a>(address: *const u8, seats: usize) -> &'a Self {
        let seats = core::ptr::slice_from_raw_parts(address.cast::<RawSeat>(), seats) as *const RawSeats;
        // SAFETY: the caller vouches for the bytes, of which RawSeats has that many; it is made of atomics alone.
        unsafe { &*seats }
    }

    /// Locks the seats.
    pub(crate) fn session<'a>(
        &'a self,
        deadline: Deadline,
        peers: &'a dyn Fn() -> Peers,
    ) -> Result<Session<'a>, NoSeat> {
        let held = self.lock.lock_while_held_shortly(peers, deadline)?;
        Ok(self.session_of(held, peers))
    }

    fn session_of<'a>(&'a self, held: Held, peers: &'a dyn Fn() -> Peers) -> Session<'a> {
        if held.inconsistent {
            self.lock.mark_consistent(); // S1: no change is ever half-made.
        }
        Session {
            seats: self,
            owner: held.owner,
            peers,
        }
    }

    /// One more handle on the calling process's seat, where a counted handle stays meanwhile (S1). False if the seat is not its
    /// own.
    #[cfg(any(feature = "messages", procshare_loom))]
    pub(crate) fn share(&self, at: usize, role: Role) -> bool {
        let Some(seat) = self.own(at) else { return false };
        seat.recount(|counts| counts.with(role));
        crash_point!("seat.counted");
        self.count_in(role);
        self.update_summary();
        true
    }

    /// Changes the role of one handle of the calling process's seat.
    #[cfg(any(feature = "messages", procshare_loom))]
    pub(crate) fn turn(&self, at: usize, from: Role, to: Role) {
        if let Some(seat) = self.own(at) {
            seat.recount(|counts| counts.without(from).with(to));
            crash_point!("seat.counted");
            self.count_came(to);
            self.update_summary();
        }
    }

    /// One handle less on the calling process's seat. Tells whether there is a role that at most one handle may play now, so
    /// that sleepers should look again.
    pub(crate) fn leave(&self, at: usize, role: Role) -> bool {
        let Some(seat) = self.own(at) else { return false };
        if seat.recount(|counts| counts.without(role)) == Counts(0) {
            crash_point!("seat.freed");
        }
        self.update_summary()
    }

    /// The child the ticket was issued for has been started as `child`. Nothing happens if it has redeemed the ticket already.
    pub(crate) fn hand_over(&self, ticket: Ticket, child: OwnerId) {
        if let Some((seat, issuer)) = self.issued_here(ticket) {
            seat.give(issuer, child.with_ticket(ticket.number).word());
        }
    }

    /// Takes a ticket back that nobody will redeem.
    pub(crate) fn withdraw(&self, ticket: Ticket) {
        if let Some((seat, issuer)) = self.issued_here(ticket) {
            seat.free(issuer);
            self.update_summary();
        }
    }

    /// The seat, if it is the calling process's: a process that has become another (a fork child) must not touch its parent's
    /// seat (S2).
    fn own(&self, at: usize) -> Option<&RawSeat> {
        let me = current_owner().ok()?.of_process();
        let seat = self.seats.get(at)?;
        (seat.owner() == Some(me)).then_some(seat)
    }

    /// The seat of a ticket that is still its issuer's, which is the calling process.
    fn issued_here(&self, ticket: Ticket) -> Option<(&RawSeat, OwnerId)> {
        let issuer = current_owner().ok()?.with_ticket(ticket.number);
        let seat = self.seats.get(ticket.at as usize)?;
        (ticket.number != 0 && seat.owner() == Some(issuer)).then_some((seat, issuer))
    }

    /// Whether it is already known that no handle is left that has `role` or may come to have it.
    #[inline]
    pub(crate) fn is_missing(&self, role: Role) -> bool {
        // Relaxed: a hint, which the caller has confirmed by `has`.
        Summary(self.summary.load(Ordering::Relaxed)).is_missing(role)
    }

    /// Whether anybody is left, apart from the caller's handle, which plays `mine`, that has `role` or may come to have it.
    ///
    /// Seats of the dead are freed. The kernel is asked at most once in 10 ms, and twice a second whether a participant has
    /// called `exec`; meanwhile those that have a seat count as alive.
    pub(crate) fn has(&self, role: Role, mine: Role, peers: &dyn Fn() -> Peers) -> bool {
        let stamps = &self.checked[side(role)];
        let mut look_at_maps = None;
        loop {
            // Acquire: pairs with the Release in `update_summary`; the changes counted are seen.
            let summary = Summary(self.summary.load(Ordering::Acquire));
            let mut dead = false;
            for seat in self.used(summary) {
                let Some((owner, counts)) = seat.read() else { continue };
                if current_owner().is_ok_and(|me| me.of_process() == owner.of_process()) {
                    // A ticket of this process belongs to a child, and what it inherited are other handles; its seat counts the
                    // caller's handle.
                    let is_counted = owner.ticket() == 0;
                    let others = if is_counted { counts.without(mine) } else { counts };
                    if others.may(role) {
                        return true;
                    }
                    continue;
                }
                if !counts.may(role) {
                    continue;
                }
                if look_at_maps.is_none() && !stamp::claim_check(stamps, Half::Upper, CHECK_EVERY_MS) {
                    return true;
                }
                let look = *look_at_maps.get_or_insert_with(|| stamp::claim_check(stamps, Half::Lower, MAPS_EVERY_MS));
                if !peers().has_left(owner, look) {
                    return true;
                }
                // A spawner may have handed the ticket over before it died: then its death is not the ticket's.
                if seat.owner.load(Ordering::Acquire) != owner.word() {
                    return true;
                }
                dead = true;
            }
            // Relaxed: a process that saw a seat given up sees the count of the change before (S4), by the Acquire in `read`.
            if self.summary.load(Ordering::Relaxed) != summary.0 {
                continue; // A role may have moved from a seat looked at late to one looked at early (S4).
            }
            if dead {
                self.free_dead_if_unlocked(peers, look_at_maps == Some(true));
            } else if !summary.is_missing(role) {
                self.update_summary(); // The process that left was stopped, or died, before it summed up.
            }
            return false;
        }
    }

    /// If the lock is not free at once, the seats of the dead are left to others.
    #[cold]
    fn free_dead_if_unlocked(&self, peers: &dyn Fn() -> Peers, look_at_maps: bool) {
        if let Ok(held) = self.lock.lock(peers, Deadline::Now) {
            self.session_of(held, peers).free_dead(look_at_maps);
        }
    }

    /// How often a process has joined so far.
    pub(crate) fn joined(&self) -> u64 {
        self.joined.load(Ordering::Acquire) // Acquire: pairs with the Release in `count`; those counted are seen.
    }

    /// How often a process has become a producer, or a consumer.
    pub(crate) fn came(&self, role: Role) -> u64 {
        self.came[side(role)].load(Ordering::Acquire) // Acquire: as in `joined`.
    }

    /// The seats that have ever been taken (S6). A forged number shows no more than there are.
    fn used(&self, summary: Summary) -> &[RawSeat] {
        &self.seats[..summary.used().min(self.seats.len())]
    }

    /// Those seats as of now.
    fn used_now(&self) -> &[RawSeat] {
        self.used(Summary(self.summary.load(Ordering::Acquire)))
    }

    /// Counts a change of the seats, and computes the hint again (S5). Tells whether there is a role that at most one handle
    /// may play.
    pub(super) fn update_summary(&self) -> bool {
        loop {
            // Acquire: pairs with the Release below; the changes of earlier writers are seen.
            let summary = Summary(self.summary.load(Ordering::Acquire));
            let mut left = [0; 2];
            for (_, counts) in self.used(summary).iter().filter_map(RawSeat::read) {
                for role in [Role::Producer, Role::Consumer] {
                    left[side(role)] += counts.how_many_may(role);
                }
            }
            let missing = [Role::Producer, Role::Consumer]
                .into_iter()
                .filter(|role| left[side(*role)] == 0)
                .fold(0, |missing, role| missing | 1 << role as u32);
            // Release: pairs with the Acquire above and in `has` (S4).
            let swapped = self.summary.compare_exchange(
                summary.0,
                summary.changed(missing).0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if swapped.is_ok() {
                return left.into_iter().any(|left| left <= 1);
            }
        }
    }

    /// Raises the number of used seats to this, if it is lower (S6). The caller holds the lock.
    fn use_up_to(&self, used: usize) {
        let mut summary = Summary(self.summary.load(Ordering::Relaxed));
        while summary.used() < used {
            // Release: the seats beyond are free, as they have been since the beginning.
            match self.summary.compare_exchange(
                summary.0,
                summary.with_used(used).0,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => summary = Summary(now),
            }
        }
    }

    /// Counts a process that has just been seated.
    pub(super) fn count_in(&self, role: Role) {
        count(&self.joined);
        self.count_came(role);
    }

    /// Counts a process that has just become what it was not before, or not for certain.
    fn count_came(&self, role: Role) {
        for came in [Role::Producer, Role::Consumer] {
            if role as u64 & came as u64 != 0 {
                count(&self.came[side(came)]);
            }
        }
    }
}

fn count(word: &AtomicU64) {
    word.fetch_add(1, Ordering::Release); // Release: pairs with the Acquire in `joined` and `came`.
}

/// Which of the two words is for that role.
fn side(role: Role) -> usize {
    usize::from(role == Role::Consumer)
}

/// The seats, locked; given back on drop.
pub(crate) struct Session<'a> {
    pub(super) seats: &'a RawSeats,
    pub(super) owner: OwnerId,
    peers: &'a dyn Fn() -> Peers,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.seats.lock.unlock(self.owner);
    }
}

impl Session<'_> {
    /// The owner that has locked them.
    pub(crate) fn owner(&self) -> OwnerId {
        self.owner
    }

    /// Gives the calling process a seat, or counts one more handle on the one it has.
    pub(crate) fn join(&self, role: Role) -> Result<usize, NoSeat> {
        let at = match self.own_seat() {
            Some(at) => {
                self.seats.seats[at].recount(|counts| counts.with(role));
                crash_point!("seat.counted");
                at
            }
            None => self.take_first(role)?,
        };
        self.seats.count_in(role);
        self.seats.update_summary();
        Ok(at)
    }

    /// As [`join`](Self::join), for a role that only one handle may have (S3).
    pub(crate) fn claim(&self, role: Role) -> Result<usize, NoSeat> {
        self.check_unclaimed(role)?;
        self.join(role)
    }

    /// Sets a seat aside for a child. With `instead_of`, the caller's handle there passes its role to it.
    pub(crate) fn issue(&self, role: Role, instead_of: Option<usize>) -> Result<Ticket, NoSeat> {
        let number = (self.seats.joined() % u64::from(INHERITED - 1)) as u16 + 1;
        let at = self.take_seat(self.owner.with_ticket(number), role)?;
        self.seats.count_in(Role::Either);
        self.seats.update_summary();
        crash_point!("seat.ticket");
        if let Some(own) = instead_of {
            self.seats.leave(own, role);
        }
        Ok(Ticket { at: at as u32, number })
    }

    /// Gives the calling process the role its ticket was issued for. A ticket that was lost with its spawner, or
    /// issued for another role, counts for nothing: the role is then given only if it needs no ticket (S3).
    pub(crate) fn redeem(&self, ticket: Ticket, role: Role, sole: bool) -> Result<usize, NoSeat> {
        let ticket = self.find(ticket).filter(|(_, _, counts)| counts.of(role) > 0);
        if ticket.is_none() && sole {
            self.check_unclaimed(role)?;
        }
        let at = match (ticket, self.own_seat()) {
            // Without a seat of its own, the child makes the ticket its seat: there may be no other.
            (Some((at, seat, _)), None) => {
                // Release: pairs with the Acquire in `read`. A swap, since the spawner may be handing the ticket over by a
                // compare-exchange at this moment: that comes before the swap, or fails.
                seat.owner.swap(self.owner.of_process().word(), Ordering::AcqRel);
                crash_point!("seat.turned");
                self.seats.count_in(role);
                at
            }
            (ticket, _) => {
                let at = self.join(role)?;
                crash_point!("seat.redeemed");
                if let Some((_, seat, _)) = ticket {
                    seat.owner.swap(0, Ordering::AcqRel); // As above.
                    crash_point!("seat.freed");
                }
                at
            }
        };
        self.seats.update_summary();
        Ok(at)
    }

    /// The seat the calling process has, other than tickets and inheritance.
    pub(super) fn own_seat(&self) -> Option<usize> {
        self.taken_by(self.owner.of_process()).map(|(at, _)| at)
    }

    pub(super) fn taken_by(&self, owner: OwnerId) -> Option<(usize, &RawSeat)> {
        let is_that = |seat: &&RawSeat| seat.read().is_some_and(|(found, _)| found == owner);
        self.seats.used_now().iter().enumerate().find(|(_, seat)| is_that(seat))
    }

    pub(super) fn find(&self, ticket: Ticket) -> Option<(usize, &RawSeat, Counts)> {
        let at = ticket.at as usize;
        let seat = self.seats.seats.get(at)?;
        let (owner, counts) = seat.read()?;
        (owner.ticket() == ticket.number && ticket.number != 0).then_some((at, seat, counts))
    }

    fn check_unclaimed(&self, role: Role) -> Result<(), NoSeat> {
        self.free_dead(true);
        let mut taken = self.seats.used_now().iter().filter_map(RawSeat::read);
        match taken.find(|(_, counts)| counts.may(role)) {
            Some((owner, _)) => Err(NoSeat::Taken(owner.pid())),
            None => Ok(()),
        }
    }

    /// Takes the first free seat.
    pub(super) fn take_seat(&self, owner: OwnerId, role: Role) -> Result<usize, NoSeat> {
        let at = self.free_seat()?;
        self.seats.use_up_to(at + 1);
        self.seats.seats[at].take(owner, Counts(0).with(role));
        Ok(at)
    }

    fn free_seat(&self) -> Result<usize, NoSeat> {
        let seats = &self.seats.seats;
        let free = || {
            let used = self.seats.used_now();
            let left = used.iter().position(|seat| seat.read().is_none());
            left.or((used.len() < seats.len()).then_some(used.len()))
        };
        if let Some(at) = free() {
            return Ok(at);
        }
        self.free_dead(true);
        free().ok_or(NoSeat::Full(seats.len()))
    }

    /// Frees the seats of processes that are proved gone (S2).
    fn free_dead(&self, look_at_maps: bool) {
        for seat in self.seats.used_now() {
            if let Some((owner, _)) = seat.read() {
                if (self.peers)().has_left(owner, look_at_maps) {
                    seat.free(owner);
                }
            }
        }
        self.seats.update_summary();
    }
}

#[cfg(not(procshare_loom))]
const _: () = assert!(bytes_of_seats(64) == 64 + 16 * 64);
