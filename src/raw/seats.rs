//! `RawSeats`: which processes may put into a queue or ring, and which may take.
//!
//! A process has one seat however many handles it holds; the seat counts them by role. A *ticket* is a seat set aside for
//! a child that has yet to attach: it belongs to the process that spawns it, then to the child, then the child redeems it.
//!
//! | state | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | owner 0 | holder of the lock: counts, then owner | taken | free |
//! | taken | owner, counts | the same, by one store to counts | other counts | its owner is dead: whoever notices frees it |
//! | | | the same, by one store to owner | free | free |
//! | ticket | owner, counts with a number | the spawner, one store to owner | the child's | it is freed with its owner |
//! | | | the child, which has no seat: owner, then counts | taken | its owner is dead, whoever that is by then |
//! | | | the child, which has first counted itself elsewhere | free | both are freed with their owners |
//!
//! # Invariants
//!
//! - S1. Owners and counts change only under the lock; each change is one store, or counts before owner. Only when a ticket
//!   becomes a seat the owner comes first: a child that dies between the two must not leave its role to its spawner.
//! - S2. A seat is freed by its owner's process, or after proof that this has gone.
//! - S3. A role that only one may have is given only when no seat of a living process counts it.
//! - S4. A role moves to another seat in three steps: it is counted there, `summary` counts the change, the old seat gives
//!   it up. So who looks at one seat after the other, and misses it at both, sees `summary` move.

use super::stamp;
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers, crash_point, current_owner};
use crate::raw::{Held, RawMutex, Refused};
use core::time::Duration;

/// Processes and children on their way, at most.
pub(crate) const SEATS: usize = if cfg!(procshare_loom) { 3 } else { 64 };

/// How long to wait for somebody who is changing a seat: a matter of microseconds, unless he was stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a handle may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has done neither yet, and may come to do either.
    Either = 0,
    Producer = 1,
    Consumer = 2,
    Both = 3,
}

impl Role {
    pub(crate) fn from_bits(bits: u64) -> Self {
        [Role::Either, Role::Producer, Role::Consumer, Role::Both][(bits & 3) as usize]
    }

    /// The role of a handle that from now on does `other` as well.
    pub(crate) fn and(self, other: Role) -> Self {
        Role::from_bits(self as u64 | other as u64)
    }

    fn one(self) -> u64 {
        1 << (COUNT_BITS * self as u32)
    }
}

const COUNT_BITS: u32 = 12;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const TICKET_SHIFT: u32 = 48;
/// In `summary`, the count of changes begins here.
const CHANGES_SHIFT: u32 = 8;

/// `[ ticket:16 | both:12 | consumer:12 | producer:12 | either:12 ]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts(pub(super) u64);

impl Counts {
    fn of(self, role: Role) -> u64 {
        self.0 >> (COUNT_BITS * role as u32) & COUNT
    }

    /// A count that has reached its end stays there: the process is held to have the role for as long as it lives.
    pub(super) fn with(self, role: Role) -> Self {
        Counts(if self.of(role) < COUNT {
            self.0 + role.one()
        } else {
            self.0
        })
    }

    fn without(self, role: Role) -> Self {
        Counts(match self.of(role) {
            0 | COUNT => self.0,
            _ => self.0 - role.one(),
        })
    }

    /// Whether somebody here has that role, or may come to have it.
    pub(super) fn may(self, role: Role) -> bool {
        [Role::Either, role, Role::Both]
            .into_iter()
            .any(|role| self.of(role) > 0)
    }

    fn ticket(self) -> u16 {
        (self.0 >> TICKET_SHIFT) as u16
    }
}

/// A seat set aside: which, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) at: u32,
    pub(crate) number: u16,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// All are taken by living processes.
    Full,
    /// The process with that PID has the role, which only one may have.
    Taken(u32),
    Lock(Refused),
}

impl From<Refused> for NoSeat {
    fn from(refused: Refused) -> Self {
        NoSeat::Lock(refused)
    }
}

#[repr(C)]
pub(super) struct RawSeat {
    /// The process, as an owner without a thread; without an image if it has not attached yet. 0 is free.
    pub(super) owner: AtomicU64,
    pub(super) counts: AtomicU64,
}

impl RawSeat {
    /// Owner and counts, if the seat is taken.
    pub(super) fn read(&self) -> Option<(OwnerId, Counts)> {
        // Acquire, twice: pairs with the Release in `store` and `free`, so that what a process did before it left, or gave up
        // one of its roles, is seen.
        let owner = OwnerId::in_word(self.owner.load(Ordering::Acquire))?;
        Some((owner, Counts(self.counts.load(Ordering::Acquire))))
    }

    /// Takes a free seat, or changes the counts of a taken one (S1).
    fn store(&self, owner: OwnerId, counts: Counts) {
        self.counts.store(counts.0, Ordering::Release);
        crash_point!("seat.counted");
        self.owner.store(owner.word(), Ordering::Release); // Release: pairs with the Acquire in `read`.
    }

    /// Turns a ticket into a seat of the child, which from here on takes it with it when it dies (S1).
    fn turn_into(&self, owner: OwnerId, counts: Counts) {
        self.owner.store(owner.word(), Ordering::Release); // Release: pairs with the Acquire in `read`.
        crash_point!("seat.turned");
        self.counts.store(counts.0, Ordering::Release);
    }

    pub(super) fn free(&self) {
        self.owner.store(0, Ordering::Release); // Release: pairs with the Acquire in `read`.
        crash_point!("seat.freed");
    }
}

/// The seats of one queue, ring or direction of a pipe. All zeros: nobody.
#[repr(C, align(64))]
pub(crate) struct RawSeats {
    pub(super) lock: RawMutex,
    /// How often a process has sat down or been given a ticket.
    joined: AtomicU64,
    /// When somebody last asked the kernel about producers, and about consumers.
    checked: [AtomicU64; 2],
    /// Roles that nobody is left to play, one bit each: a hint that spares a look at all seats. Above, a count of changes.
    summary: AtomicU64,
    pub(super) seats: [RawSeat; SEATS],
}

impl RawSeats {
    #[cfg(procshare_loom)]
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        RawSeats {
            lock: RawMutex::new(),
            joined: zero(),
            checked: [zero(), zero()],
            summary: zero(),
            seats: core::array::from_fn(|_| RawSeat {
                owner: zero(),
                counts: zero(),
            }),
        }
    }

    /// Gives the calling process a seat, or counts one more handle on the one it has.
    pub(crate) fn join(&self, role: Role, peers: &dyn Fn() -> Peers) -> Result<usize, NoSeat> {
        let me = self.locked(peers)?;
        self.sit_down(me.owner, role, peers)
    }

    /// As [`join`](Self::join) for a role that only one may have (S3).
    pub(crate) fn claim(&self, role: Role, peers: &dyn Fn() -> Peers) -> Result<usize, NoSeat> {
        let me = self.locked(peers)?;
        self.check_unclaimed(role, peers)?;
        self.sit_down(me.owner, role, peers)
    }

    /// One handle less on the caller's seat.
    pub(crate) fn leave(&self, at: usize, role: Role, peers: &dyn Fn() -> Peers) -> Result<(), NoSeat> {
        let me = self.locked(peers)?;
        self.count_out(at, me.owner, role);
        Ok(())
    }

    /// A handle of the caller's seat plays another role from now on.
    pub(crate) fn turn(
        &self,
        at: usize,
        (from, to): (Role, Role),
        deadline: Deadline,
        peers: &dyn Fn() -> Peers,
    ) -> Result<(), NoSeat> {
        let me = self.locked_by(deadline, peers)?;
        if let Some((owner, counts)) = self.seats[at % SEATS].read() {
            if owner == me.owner.of_process() {
                self.seats[at % SEATS].store(owner, counts.without(from).with(to));
                self.sum_up();
            }
        }
        Ok(())
    }

    /// Sets a seat aside for a child. With `instead_of`, the caller's handle there gives its role up to it.
    pub(crate) fn issue(
        &self,
        role: Role,
        instead_of: Option<usize>,
        peers: &dyn Fn() -> Peers,
    ) -> Result<Ticket, NoSeat> {
        let me = self.locked(peers)?;
        let at = self.free_seat(peers)?;
        let number = (self.joined() % u64::from(u16::MAX)) as u16 + 1;
        let counts = Counts(u64::from(number) << TICKET_SHIFT).with(role);
        self.seats[at].store(me.owner.of_process(), counts);
        self.count_joined();
        self.sum_up();
        crash_point!("seat.ticket");
        if let Some(own) = instead_of {
            self.count_out(own, me.owner, role);
        }
        Ok(Ticket { at: at as u32, number })
    }

    /// The child for whom the ticket was issued has been started as `child`. Nothing happens if it has redeemed it already.
    pub(crate) fn hand_over(&self, ticket: Ticket, child: OwnerId, peers: &dyn Fn() -> Peers) -> Result<(), NoSeat> {
        let _me = self.locked(peers)?;
        if let Some((_, seat)) = self.find(ticket) {
            seat.owner.store(child.word(), Ordering::Release); // Release: pairs with the Acquire in `read`.
        }
        Ok(())
    }

    /// Takes a ticket back that nobody will redeem.
    pub(crate) fn withdraw(&self, ticket: Ticket, peers: &dyn Fn() -> Peers) -> Result<(), NoSeat> {
        let _me = self.locked(peers)?;
        if let Some((_, seat)) = self.find(ticket) {
            seat.free();
            self.sum_up();
        }
        Ok(())
    }

    /// Gives the calling process the role its ticket was issued for. A ticket lost with its spawner is no obstacle, unless
    /// somebody else has claimed a role that is for one.
    pub(crate) fn redeem(
        &self,
        ticket: Ticket,
        role: Role,
        sole: bool,
        peers: &dyn Fn() -> Peers,
    ) -> Result<usize, NoSeat> {
        let me = self.locked(peers)?;
        let ticket = self.find(ticket);
        if ticket.is_none() && sole {
            self.check_unclaimed(role, peers)?;
        }
        let at = match (ticket, self.seat_of(me.owner)) {
            // Without a seat of its own the child makes the ticket its seat: there may be no other.
            (Some((at, seat)), None) => {
                seat.turn_into(me.owner.of_process(), Counts(0).with(role));
                self.count_joined();
                at
            }
            (ticket, _) => {
                let at = self.sit_down(me.owner, role, peers)?;
                crash_point!("seat.redeemed");
                if let Some((_, seat)) = ticket {
                    seat.free();
                }
                at
            }
        };
        self.sum_up();
        Ok(at)
    }

    /// Whether nobody is left who has `role` or may come to have it, as far as is known already.
    #[inline]
    pub(crate) fn is_missing(&self, role: Role) -> bool {
        // Relaxed: a hint, which the caller has confirmed by `has`.
        self.summary.load(Ordering::Relaxed) & 1 << role as u32 != 0
    }

    /// Whether anybody is left who has `role` or may come to have it. Seats of the dead are freed.
    ///
    /// The kernel is asked at most once in 10 ms; meanwhile those who have a seat count as alive.
    pub(crate) fn has(&self, role: Role, look_at_maps: bool, peers: &dyn Fn() -> Peers) -> bool {
        let mut may_ask = None;
        loop {
            // Acquire: pairs with the Release in `sum_up`; the changes counted are seen.
            let summary = self.summary.load(Ordering::Acquire);
            let mut dead = false;
            for seat in &self.seats {
                let Some((owner, counts)) = seat.read() else { continue };
                if !counts.may(role) {
                    continue;
                }
                let is_me = current_owner().is_ok_and(|me| me.of_process() == owner);
                if is_me
                    || !*may_ask
                        .get_or_insert_with(|| stamp::is_due(&self.checked[usize::from(role == Role::Consumer)]))
                    || !peers().has_left(owner, look_at_maps)
                {
                    return true;
                }
                // A spawner may have handed the ticket over before it went: then its death is not that of the ticket.
                if seat.owner.load(Ordering::Acquire) != owner.word() {
                    return true;
                }
                dead = true;
            }
            // Relaxed: whoever has seen a seat given up sees the count of the change before (S4), by the Acquire in `read`.
            if self.summary.load(Ordering::Relaxed) != summary {
                continue; // A role may have moved from a seat looked at late to one looked at early (S4).
            }
            if dead {
                self.free_dead_if_unlocked(peers, look_at_maps);
            }
            return false;
        }
    }

    /// Whoever cannot have the lock at once leaves the seats of the dead to others.
    #[cold]
    fn free_dead_if_unlocked(&self, peers: &dyn Fn() -> Peers, look_at_maps: bool) {
        if let Ok(held) = self.lock.lock(peers, Deadline::Now) {
            let _me = self.consistent(held);
            self.free_dead(peers, look_at_maps);
        }
    }

    /// How often anybody has joined so far.
    pub(crate) fn joined(&self) -> u64 {
        self.joined.load(Ordering::Acquire) // Acquire: pairs with the Release in `count_joined`; whoever is counted is seen.
    }

    fn locked(&self, peers: &dyn Fn() -> Peers) -> Result<Locked<'_>, NoSeat> {
        self.locked_by(Deadline::after(PATIENCE), peers)
    }

    fn locked_by(&self, deadline: Deadline, peers: &dyn Fn() -> Peers) -> Result<Locked<'_>, NoSeat> {
        Ok(self.consistent(self.lock.lock_while_held_shortly(peers, deadline)?))
    }

    fn consistent(&self, held: Held) -> Locked<'_> {
        if held.inconsistent {
            self.lock.mark_consistent(); // S1: no change is ever half-made.
        }
        Locked {
            lock: &self.lock,
            owner: held.owner,
        }
    }

    /// A seat for one more handle of process `me`.
    pub(super) fn sit_down(&self, me: OwnerId, role: Role, peers: &dyn Fn() -> Peers) -> Result<usize, NoSeat> {
        let (at, counts) = match self.seat_of(me) {
            Some(found) => found,
            None => (self.free_seat(peers)?, Counts(0)),
        };
        self.seats[at].store(me.of_process(), counts.with(role));
        self.count_joined();
        self.sum_up();
        Ok(at)
    }

    /// The seat that process `me` has, tickets aside.
    fn seat_of(&self, me: OwnerId) -> Option<(usize, Counts)> {
        self.seats.iter().enumerate().find_map(|(at, seat)| {
            let (owner, counts) = seat.read()?;
            (owner == me.of_process() && counts.ticket() == 0).then_some((at, counts))
        })
    }

    fn count_out(&self, at: usize, me: OwnerId, role: Role) {
        let seat = &self.seats[at % SEATS];
        // A process that has changed (a fork child) has no business with its parent's seat (S2).
        if let Some((owner, counts)) = seat.read().filter(|(owner, _)| *owner == me.of_process()) {
            match counts.without(role) {
                Counts(0) => seat.free(),
                left => seat.store(owner, left),
            }
            self.sum_up();
        }
    }

    pub(super) fn find(&self, ticket: Ticket) -> Option<(usize, &RawSeat)> {
        let at = ticket.at as usize;
        let seat = self.seats.get(at)?;
        let (_, counts) = seat.read()?;
        (counts.ticket() == ticket.number && ticket.number != 0).then_some((at, seat))
    }

    fn check_unclaimed(&self, role: Role, peers: &dyn Fn() -> Peers) -> Result<(), NoSeat> {
        self.free_dead(peers, true);
        match self
            .seats
            .iter()
            .filter_map(RawSeat::read)
            .find(|(_, counts)| counts.may(role))
        {
            Some((owner, _)) => Err(NoSeat::Taken(owner.pid())),
            None => Ok(()),
        }
    }

    fn free_seat(&self, peers: &dyn Fn() -> Peers) -> Result<usize, NoSeat> {
        let free = || self.seats.iter().position(|seat| seat.read().is_none());
        if let Some(at) = free() {
            return Ok(at);
        }
        self.free_dead(peers, true);
        free().ok_or(NoSeat::Full)
    }

    /// Frees the seats of processes that are proved gone (S2). The caller holds the lock.
    fn free_dead(&self, peers: &dyn Fn() -> Peers, look_at_maps: bool) {
        for seat in &self.seats {
            if seat
                .read()
                .is_some_and(|(owner, _)| peers().has_left(owner, look_at_maps))
            {
                seat.free();
            }
        }
        self.sum_up();
    }

    /// Counts a change of the seats, and computes the hint anew. The caller holds the lock.
    fn sum_up(&self) {
        let mut missing = 1 << Role::Producer as u32 | 1 << Role::Consumer as u32;
        for (_, counts) in self.seats.iter().filter_map(RawSeat::read) {
            for role in [Role::Producer, Role::Consumer] {
                if counts.may(role) {
                    missing &= !(1 << role as u32);
                }
            }
        }
        let changes = (self.summary.load(Ordering::Relaxed) >> CHANGES_SHIFT).wrapping_add(1);
        // Release: pairs with the Acquire in `has` (S4).
        self.summary
            .store(changes << CHANGES_SHIFT | missing, Ordering::Release);
    }

    /// Counts who has just been seated. The caller holds the lock.
    fn count_joined(&self) {
        let joined = self.joined.load(Ordering::Relaxed).wrapping_add(1);
        // Release: pairs with the Acquire in `joined`.
        self.joined.store(joined, Ordering::Release);
    }
}

/// The lock of the seats, held; given back on drop.
struct Locked<'a> {
    lock: &'a RawMutex,
    owner: OwnerId,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.lock.unlock(self.owner);
    }
}

#[cfg(not(procshare_loom))]
const _: () = assert!(size_of::<RawSeats>() == 64 + 16 * SEATS);
