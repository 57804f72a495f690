//! A handle's share in its process's seat: what it may do, and its end.

use super::error::no_seat;
use crate::collections::Handle;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers, current_owner, is_current_process};
use crate::raw::{NoSeat, RawSeats, Role, Stop, Ticket};
use parking_lot::Mutex;

/// Where the seats of one queue, ring or direction lie.
#[derive(Clone)]
pub(crate) struct Seats {
    handle: Handle,
    /// Bytes from the start of the object.
    at: usize,
}

impl Seats {
    /// The object holds a `RawSeats` at `at`: its size was checked when the handle was made.
    pub(super) fn new(handle: Handle, at: usize) -> Self {
        Seats { handle, at }
    }

    #[inline]
    pub(super) fn raw(&self) -> &RawSeats {
        // SAFETY: whoever makes a Seats has checked that the object holds a RawSeats there; it is aligned to a cache line,
        // stays mapped while the handle lives, and is made of atomics alone.
        unsafe { &*self.handle.address().wrapping_add(self.at).cast::<RawSeats>() }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn peers(&self) -> Peers {
        self.handle.segment().peers()
    }
}

/// `[ process:32 | seat:16 | 13 unused | void | role:2 ]`; process 0 has no seat yet.
#[derive(Clone, Copy)]
struct State(u64);

const VOID: u64 = 1 << 2;

impl State {
    fn new(process: OwnerId, at: usize, role: Role) -> Self {
        State(process.process() << 32 | (at as u64) << 16 | role as u64)
    }

    /// The process as an owner without thread and image, for comparing with the caller.
    fn process(self) -> OwnerId {
        OwnerId::from_cache(self.0 >> 32 << 32)
    }

    fn at(self) -> usize {
        (self.0 >> 16 & 0xffff) as usize
    }

    fn role(self) -> Role {
        Role::from_bits(self.0)
    }

    fn is_void(self) -> bool {
        self.0 & VOID != 0
    }
}

/// One handle's share in the seat of its process.
pub(crate) struct Seat {
    state: AtomicU64,
    /// Held while the share changes: threads may use one handle at once.
    changing: Mutex<()>,
    /// Whether only one may have the role, so that it cannot be had anew, and goes with the handle to a child.
    sole: bool,
    /// How often anybody had joined when this handle was made. If nobody has since, its peers are yet to come.
    baseline: AtomicU64,
}

impl Seat {
    fn made(seats: &Seats, at: usize, role: Role, sole: bool) -> Result<Self, NoSeat> {
        let process = current_owner().map_err(|foreign| NoSeat::Lock(foreign.into()))?;
        // The first of all: whoever it will wait for is yet to come.
        let baseline = u64::from(seats.raw().joined() == 1);
        Ok(Seat {
            // Relaxed, here and below: the handle reaches other threads by means that order it.
            state: AtomicU64::new(State::new(process, at, role).0),
            changing: Mutex::new(()),
            sole,
            baseline: AtomicU64::new(baseline),
        })
    }

    /// A share in a role that any number may have.
    #[cfg(feature = "messages")]
    pub(super) fn join(seats: &Seats, role: Role) -> Result<Self, NoSeat> {
        let at = seats.raw().join(role, &|| seats.peers())?;
        Self::made(seats, at, role, false)
    }

    /// The role that only one may have.
    pub(super) fn claim(seats: &Seats, role: Role) -> Result<Self, NoSeat> {
        let at = seats.raw().claim(role, &|| seats.peers())?;
        Self::made(seats, at, role, true)
    }

    /// What the ticket was issued for.
    pub(super) fn redeem(seats: &Seats, ticket: Ticket, role: Role, sole: bool) -> Result<Self, NoSeat> {
        let at = seats.raw().redeem(ticket, role, sole, &|| seats.peers())?;
        Self::made(seats, at, role, sole)
    }

    /// Makes sure that this handle plays `role`, in this process.
    #[inline]
    pub(super) fn ensure(&self, seats: &Seats, role: Role, deadline: Deadline) -> Result<(), Stop> {
        let state = State(self.state.load(Ordering::Relaxed));
        if state.0 & role as u64 != 0 && !state.is_void() && is_current_process(state.process()) {
            return Ok(());
        }
        self.change(seats, role, deadline)
    }

    #[cold]
    fn change(&self, seats: &Seats, role: Role, deadline: Deadline) -> Result<(), Stop> {
        let _changing = self.changing.lock();
        let state = State(self.state.load(Ordering::Relaxed));
        let is_here = is_current_process(state.process());
        if state.is_void() || self.sole && !is_here {
            return Err(Stop::Closed);
        }
        let me = current_owner()?;
        let raw = seats.raw();
        let to = state.role().and(role);
        let at = if is_here {
            raw.turn(state.at(), (state.role(), to), deadline, &|| seats.peers())?;
            state.at()
        } else {
            raw.join(to, &|| seats.peers())? // A fork child inherited the handle; the seat is its parent's.
        };
        self.state.store(State::new(me, at, to).0, Ordering::Relaxed);
        Ok(())
    }

    /// Whether anybody is left who has `role`, or is yet to come.
    pub(super) fn has_company(&self, seats: &Seats, role: Role, look_at_maps: bool) -> bool {
        let raw = seats.raw();
        // Read first: who joins after the look at the seats is no proof that others have been there before.
        let joined = raw.joined();
        raw.has(role, look_at_maps, &|| seats.peers()) || joined == self.baseline.load(Ordering::Relaxed)
    }

    /// Peers that are not there now are yet to come.
    pub(super) fn wait_for_peers(&self, seats: &Seats) {
        self.baseline.store(seats.raw().joined(), Ordering::Relaxed);
    }

    /// Whether the share was given up, or passed on.
    #[inline]
    pub(super) fn is_void(&self) -> bool {
        State(self.state.load(Ordering::Relaxed)).is_void()
    }

    /// Gives the share up; tells whether a role is now played by nobody, so that sleepers had better look.
    pub(super) fn leave(&self, seats: &Seats) -> bool {
        let _changing = self.changing.lock();
        let state = State(self.state.load(Ordering::Relaxed));
        if state.is_void() || !is_current_process(state.process()) {
            return false;
        }
        self.state.store(state.0 | VOID, Ordering::Relaxed);
        let raw = seats.raw();
        // Refused only where every lock of this process is; whoever waits finds out when the process has ended.
        let left = raw.leave(state.at(), state.role(), &|| seats.peers());
        left.is_ok() && (raw.is_missing(Role::Producer) || raw.is_missing(Role::Consumer))
    }

    /// Sets a seat aside for a child that is passed this handle. A sole role goes with it.
    #[cfg_attr(
        not(feature = "process"),
        allow(dead_code, reason = "handles travel with the process layer")
    )]
    pub(super) fn pass_on(&self, seats: &Seats) -> Result<Reservation> {
        self.issue(seats).map_err(|cause| {
            let error = match cause {
                NoSeat::Taken(_) => Error::new(ErrorKind::Closed, "it was passed to a child before"),
                cause => no_seat(cause, "peer"),
            };
            error.in_segment(seats.handle.segment().label())
        })
    }

    fn issue(&self, seats: &Seats) -> Result<Reservation, NoSeat> {
        let _changing = self.changing.lock();
        let state = State(self.state.load(Ordering::Relaxed));
        if state.is_void() || !is_current_process(state.process()) {
            return Err(NoSeat::Taken(state.process().pid()));
        }
        let (role, instead_of) = if self.sole {
            (state.role(), Some(state.at()))
        } else {
            (Role::Either, None)
        };
        let ticket = seats.raw().issue(role, instead_of, &|| seats.peers())?;
        if self.sole {
            self.state.store(state.0 | VOID, Ordering::Relaxed);
        }
        Ok(Reservation {
            seats: seats.clone(),
            ticket,
            handed_over: false,
        })
    }
}

/// A seat set aside for a child; taken back on drop unless it was handed over.
pub(crate) struct Reservation {
    seats: Seats,
    ticket: Ticket,
    handed_over: bool,
}

#[cfg_attr(
    not(feature = "process"),
    allow(dead_code, reason = "handles travel with the process layer")
)]
impl Reservation {
    /// What the child must be told.
    pub(crate) fn ticket(&self) -> (u32, u16) {
        (self.ticket.at, self.ticket.number)
    }

    /// The child has been started.
    pub(crate) fn hand_over(mut self, child: OwnerId) {
        let seats = &self.seats;
        // Refused only where every lock of this process is; the seat is then freed with this process.
        let _ = seats.raw().hand_over(self.ticket, child, &|| seats.peers());
        self.handed_over = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.handed_over {
            let seats = &self.seats;
            // As in `hand_over`.
            let _ = seats.raw().withdraw(self.ticket, &|| seats.peers());
        }
    }
}
