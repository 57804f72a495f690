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
//! | ticket | owner with a number, counts | the spawner, one store to owner | the child's | it is freed with its owner |
//! | | | the child, which has no seat, one store to owner | taken | its owner is dead, whoever that is by then |
//! | | | the child, which has first counted itself elsewhere | free | both are freed with their owners |
//!
//! # Invariants
//!
//! - S1. Owners and counts change only under the lock; each change is one store, or counts before owner.
//! - S2. A seat is freed by its owner's process, or after proof that this has gone.
//! - S3. A role that only one may have is given only when no seat of a living process counts it, or for a ticket that does.
//! - S4. A role moves to another seat in three steps: it is counted there, `summary` counts the change, the old seat gives
//!   it up. So who looks at one seat after the other, and misses it at both, sees `summary` move.

use super::stamp::{self, CHECK_EVERY_MS, Half};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers, crash_point, current_owner};
use crate::raw::{Held, RawMutex, Refused};

/// The most seats there can be: as many as two bytes number.
pub(crate) const MOST_SEATS: usize = 65_535;

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
    #[cfg(feature = "messages")]
    pub(crate) fn and(self, other: Role) -> Self {
        Role::from_bits(self as u64 | other as u64)
    }

    fn one(self) -> u64 {
        1 << (COUNT_BITS * self as u32)
    }
}

/// Handles of one process in one role, at most; more are held to be there for as long as the process lives.
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const COUNT_BITS: u32 = 16;
/// Least time between two questions to the kernel whether anybody of a side has `exec`ed, which cost more than others.
const MAPS_EVERY_MS: u32 = 500;
/// In `summary`, the count of changes begins here.
const CHANGES_SHIFT: u32 = 8;

/// `[ both:16 | consumer:16 | producer:16 | either:16 ]`.
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

/// A free seat, a process's seat, or a ticket.
#[repr(C)]
pub(crate) struct RawSeat {
    /// The process, as an owner whose thread part is the ticket's number, and 0 for a seat; without an image if the process has
    /// not attached yet. 0 is free.
    pub(super) owner: AtomicU64,
    pub(super) counts: AtomicU64,
}

impl RawSeat {
    /// Owner and counts, if the seat is taken.
    pub(super) fn read(&self) -> Option<(OwnerId, Counts)> {
        // Acquire, twice: pairs with the Release in `store` and `give`, so that what a process did before it left, or gave up
        // one of its roles, is seen.
        let owner = OwnerId::in_word(self.owner.load(Ordering::Acquire))?;
        Some((owner, Counts(self.counts.load(Ordering::Acquire))))
    }

    /// Takes a free seat, or changes the counts of a taken one (S1).
    fn store(&self, owner: OwnerId, counts: Counts) {
        self.counts.store(counts.0, Ordering::Release);
        crash_point!("seat.counted");
        self.give(owner);
        crash_point!("seat.taken");
    }

    /// Gives the seat, with what it counts, to another owner.
    pub(super) fn give(&self, owner: OwnerId) {
        self.owner.store(owner.word(), Ordering::Release); // Release: pairs with the Acquire in `read`.
    }

    pub(super) fn free(&self) {
        self.owner.store(0, Ordering::Release); // Release: pairs with the Acquire in `read`.
        crash_point!("seat.freed");
    }
}

/// The seats of one queue, ring or direction of a pipe. All zeros: nobody.
#[repr(C, align(64))]
pub(crate) struct RawSeats<S: ?Sized = [RawSeat]> {
    pub(super) lock: RawMutex,
    /// How often a process has sat down or been given a ticket.
    joined: AtomicU64,
    /// When somebody last asked the kernel about producers, and about consumers: in the upper half whether they live, in the
    /// lower whether they have `exec`ed.
    checked: [AtomicU64; 2],
    /// Roles that nobody is left to play, one bit each: a hint that spares a look at all seats. Above, a count of changes.
    summary: AtomicU64,
    /// How often somebody has become a producer, and a consumer.
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

/// Bytes of so many seats, filled up to a cache line.
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

    /// Locks the seats, to change them.
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

    /// Whether nobody is left who has `role` or may come to have it, as far as is known already.
    #[inline]
    pub(crate) fn is_missing(&self, role: Role) -> bool {
        // Relaxed: a hint, which the caller has confirmed by `has`.
        self.summary.load(Ordering::Relaxed) & 1 << role as u32 != 0
    }

    /// Whether anybody is left who has `role` or may come to have it. Seats of the dead are freed.
    ///
    /// The caller's handle plays `mine`. What it may yet come to do does not count, since it asks for others; what it does
    /// counts, since other threads may use it. The kernel is asked at most once in 10 ms, and twice a second whether
    /// somebody has `exec`ed; meanwhile those who have a seat count as alive.
    pub(crate) fn has(&self, role: Role, mine: Role, peers: &dyn Fn() -> Peers) -> bool {
        let stamps = &self.checked[side(role)];
        let mut look_at_maps = None;
        loop {
            // Acquire: pairs with the Release in `sum_up`; the changes counted are seen.
            let summary = self.summary.load(Ordering::Acquire);
            let mut dead = false;
            for seat in &self.seats {
                let Some((owner, counts)) = seat.read() else { continue };
                if current_owner().is_ok_and(|me| me.of_process() == owner.of_process()) {
                    // A ticket of this process is a child's; its seat counts the caller's handle.
                    let is_counted = owner.ticket() == 0 && mine == Role::Either;
                    let others = if is_counted { counts.without(mine) } else { counts };
                    if others.may(role) {
                        return true;
                    }
                    continue;
                }
                if !counts.may(role) {
                    continue;
                }
                if look_at_maps.is_none() && !stamp::is_due(stamps, Half::Upper, CHECK_EVERY_MS) {
                    return true;
                }
                let look = *look_at_maps.get_or_insert_with(|| stamp::is_due(stamps, Half::Lower, MAPS_EVERY_MS));
                if !peers().has_left(owner, look) {
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
                self.free_dead_if_unlocked(peers, look_at_maps == Some(true));
            }
            return false;
        }
    }

    /// Whoever cannot have the lock at once leaves the seats of the dead to others.
    #[cold]
    fn free_dead_if_unlocked(&self, peers: &dyn Fn() -> Peers, look_at_maps: bool) {
        if let Ok(held) = self.lock.lock(peers, Deadline::Now) {
            self.session_of(held, peers).free_dead(look_at_maps);
        }
    }

    /// How often anybody has joined so far.
    pub(crate) fn joined(&self) -> u64 {
        self.joined.load(Ordering::Acquire) // Acquire: pairs with the Release in `count_joined`; whoever is counted is seen.
    }

    /// How often somebody has become a producer, or a consumer.
    pub(crate) fn came(&self, role: Role) -> u64 {
        self.came[side(role)].load(Ordering::Acquire) // Acquire: as in `joined`.
    }
}

/// Which of two words is about that role.
fn side(role: Role) -> usize {
    usize::from(role == Role::Consumer)
}

/// The seats, locked; given back on drop.
pub(crate) struct Session<'a> {
    seats: &'a RawSeats,
    owner: OwnerId,
    peers: &'a dyn Fn() -> Peers,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.seats.lock.unlock(self.owner);
    }
}

impl Session<'_> {
    /// Who has locked them.
    pub(crate) fn owner(&self) -> OwnerId {
        self.owner
    }

    /// Gives the calling process a seat, or counts one more handle on the one it has.
    pub(crate) fn join(&self, role: Role) -> Result<usize, NoSeat> {
        let (at, counts) = match self.own_seat() {
            Some(found) => found,
            None => (self.free_seat()?, Counts(0)),
        };
        self.seats.seats[at].store(self.owner.of_process(), counts.with(role));
        self.count_in(role);
        self.sum_up();
        Ok(at)
    }

    /// As [`join`](Self::join) for a role that only one may have (S3).
    pub(crate) fn claim(&self, role: Role) -> Result<usize, NoSeat> {
        self.check_unclaimed(role)?;
        self.join(role)
    }

    /// One handle less on the caller's seat.
    pub(crate) fn leave(&self, at: usize, role: Role) {
        let seat = &self.seats.seats[at % self.seats.seats.len()];
        // A process that has changed (a fork child) has no business with its parent's seat (S2).
        if let Some((owner, counts)) = seat.read().filter(|(owner, _)| *owner == self.owner.of_process()) {
            match counts.without(role) {
                Counts(0) => seat.free(),
                left => seat.store(owner, left),
            }
            self.sum_up();
        }
    }

    /// A handle of the caller's seat plays another role from now on.
    #[cfg(any(feature = "messages", procshare_loom))]
    pub(crate) fn turn(&self, at: usize, from: Role, to: Role) {
        let seat = &self.seats.seats[at % self.seats.seats.len()];
        if let Some((owner, counts)) = seat.read().filter(|(owner, _)| *owner == self.owner.of_process()) {
            seat.store(owner, counts.without(from).with(to));
            self.count_came(to);
            self.sum_up();
        }
    }

    /// Sets a seat aside for a child. With `instead_of`, the caller's handle there gives its role up to it.
    pub(crate) fn issue(&self, role: Role, instead_of: Option<usize>) -> Result<Ticket, NoSeat> {
        let at = self.free_seat()?;
        let number = (self.seats.joined() % u64::from(u16::MAX)) as u16 + 1;
        self.seats.seats[at].store(self.owner.with_ticket(number), Counts(0).with(role));
        self.count_in(Role::Either);
        self.sum_up();
        crash_point!("seat.ticket");
        if let Some(own) = instead_of {
            self.leave(own, role);
        }
        Ok(Ticket { at: at as u32, number })
    }

    /// The child for whom the ticket was issued has been started as `child`. Nothing happens if it has redeemed it already.
    pub(crate) fn hand_over(&self, ticket: Ticket, child: OwnerId) {
        if let Some((_, seat, _)) = self.find(ticket) {
            seat.give(child.with_ticket(ticket.number));
        }
    }

    /// Takes a ticket back that nobody will redeem.
    pub(crate) fn withdraw(&self, ticket: Ticket) {
        if let Some((_, seat, _)) = self.find(ticket) {
            seat.free();
            self.sum_up();
        }
    }

    /// Gives the calling process the role its ticket was issued for. A ticket lost with its spawner, or issued for something
    /// else, is no ticket: then the role is had only if it may be had without (S3).
    pub(crate) fn redeem(&self, ticket: Ticket, role: Role, sole: bool) -> Result<usize, NoSeat> {
        let ticket = self.find(ticket).filter(|(_, _, counts)| counts.of(role) > 0);
        if ticket.is_none() && sole {
            self.check_unclaimed(role)?;
        }
        let at = match (ticket, self.own_seat()) {
            // Without a seat of its own the child makes the ticket its seat: there may be no other.
            (Some((at, seat, _)), None) => {
                seat.give(self.owner.of_process());
                crash_point!("seat.turned");
                self.count_in(role);
                at
            }
            (ticket, _) => {
                let at = self.join(role)?;
                crash_point!("seat.redeemed");
                if let Some((_, seat, _)) = ticket {
                    seat.free();
                }
                at
            }
        };
        self.sum_up();
        Ok(at)
    }

    /// The seat the calling process has, tickets aside.
    fn own_seat(&self) -> Option<(usize, Counts)> {
        self.seats.seats.iter().enumerate().find_map(|(at, seat)| {
            let (owner, counts) = seat.read()?;
            (owner == self.owner.of_process()).then_some((at, counts))
        })
    }

    pub(super) fn find(&self, ticket: Ticket) -> Option<(usize, &RawSeat, Counts)> {
        let at = ticket.at as usize;
        let seat = self.seats.seats.get(at)?;
        let (owner, counts) = seat.read()?;
        (owner.ticket() == ticket.number && ticket.number != 0).then_some((at, seat, counts))
    }

    fn check_unclaimed(&self, role: Role) -> Result<(), NoSeat> {
        self.free_dead(true);
        let mut taken = self.seats.seats.iter().filter_map(RawSeat::read);
        match taken.find(|(_, counts)| counts.may(role)) {
            Some((owner, _)) => Err(NoSeat::Taken(owner.pid())),
            None => Ok(()),
        }
    }

    fn free_seat(&self) -> Result<usize, NoSeat> {
        let free = || self.seats.seats.iter().position(|seat| seat.read().is_none());
        if let Some(at) = free() {
            return Ok(at);
        }
        self.free_dead(true);
        free().ok_or(NoSeat::Full)
    }

    /// Frees the seats of processes that are proved gone (S2).
    fn free_dead(&self, look_at_maps: bool) {
        for seat in &self.seats.seats {
            if seat
                .read()
                .is_some_and(|(owner, _)| (self.peers)().has_left(owner, look_at_maps))
            {
                seat.free();
            }
        }
        self.sum_up();
    }

    /// Counts a change of the seats, and computes the hint anew.
    fn sum_up(&self) {
        let mut missing = 1 << Role::Producer as u32 | 1 << Role::Consumer as u32;
        for (_, counts) in self.seats.seats.iter().filter_map(RawSeat::read) {
            for role in [Role::Producer, Role::Consumer] {
                if counts.may(role) {
                    missing &= !(1 << role as u32);
                }
            }
        }
        let summary = &self.seats.summary;
        let changes = (summary.load(Ordering::Relaxed) >> CHANGES_SHIFT).wrapping_add(1);
        // Release: pairs with the Acquire in `has` (S4).
        summary.store(changes << CHANGES_SHIFT | missing, Ordering::Release);
    }

    /// Counts who has just been seated.
    fn count_in(&self, role: Role) {
        count(&self.seats.joined);
        self.count_came(role);
    }

    /// Counts who has just become what it was not before, or not for sure.
    fn count_came(&self, role: Role) {
        for came in [Role::Producer, Role::Consumer] {
            if role as u64 & came as u64 != 0 {
                count(&self.seats.came[side(came)]);
            }
        }
    }
}

/// The caller holds the lock, so that nobody else counts.
fn count(word: &AtomicU64) {
    let more = word.load(Ordering::Relaxed).wrapping_add(1);
    word.store(more, Ordering::Release); // Release: pairs with the Acquire in `joined` and `came`.
}

#[cfg(not(procshare_loom))]
const _: () = assert!(bytes_of_seats(64) == 64 + 16 * 64);
