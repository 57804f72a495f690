//! A handle's share in its process's seat: what it may do, and its end.

use super::error::no_seat;
#[cfg(feature = "process")]
use super::inheritance;
use super::passed::{PassedHandle, PassedSeat, Reservation};
use super::seats::Seats;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, is_current_process};
use crate::raw::{NoSeat, Role, Session, Ticket};
#[cfg(feature = "messages")]
use crate::raw::{Refused, Stop};
use std::time::Duration;

#[cfg(feature = "messages")]
impl Seats {
    /// Whether the object can be found only through its handles, and no copy of this process lives, which would have all of them.
    pub(super) fn are_private(&self) -> bool {
        #[cfg(feature = "process")]
        let is_in_a_copy = || inheritance::is_in_a_copy(self);
        #[cfg(not(feature = "process"))]
        let is_in_a_copy = || false;
        self.handle().segment().path().is_none() && self.handle().name().is_empty() && !is_in_a_copy()
    }
}

/// `[ process:32 | seat:16 | 12 unused | turning | void | role:2 ]`; process 0 has no seat yet.
#[derive(Clone, Copy)]
struct State(u64);

const VOID: u64 = 1 << 2;
/// A thread is turning the handle to another role, and is about to say so in the seat.
const TURNING: u64 = 1 << 3;

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
    /// Whether only one may have the role, so that it cannot be taken a second time, and goes with the handle to a child.
    sole: bool,
    /// How many had joined when this handle was made. If none has since, its peers are still to come.
    baseline: AtomicU64,
    /// One more than how often the role of a producer, and of a consumer, had been taken when this handle was told to wait for
    /// peers; until it is taken again, they are still to come. 0 if the handle was not told to.
    awaited: [AtomicU64; 2],
}

/// How long a call without a limit of its own waits for another process to find a seat: a matter of microseconds, unless that
/// process was stopped.
const PATIENCE: Duration = Duration::from_secs(10);

impl Seat {
    fn made(process: OwnerId, at: usize, role: Role, sole: bool, baseline: u64) -> Self {
        Seat {
            // Relaxed, here and below: the handle reaches other threads by means that order it.
            state: AtomicU64::new(State::new(process, at, role).0),
            sole,
            baseline: AtomicU64::new(baseline),
            awaited: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// A share in a role that any number may have.
    #[cfg(feature = "messages")]
    pub(super) fn join(seats: &Seats, role: Role) -> Result<Self, NoSeat> {
        seats.session(Deadline::after(PATIENCE), |session| {
            let at = session.join(role)?;
            Ok(Self::made(session.owner(), at, role, false, baseline_of_first(seats)))
        })?
    }

    /// Claims the role that only one may have.
    pub(super) fn claim(seats: &Seats, role: Role) -> Result<Self, NoSeat> {
        seats.session(Deadline::after(PATIENCE), |session| {
            let at = session.claim(role)?;
            Ok(Self::made(session.owner(), at, role, true, baseline_of_first(seats)))
        })?
    }

    /// A further share in a process that has one. It waits for the same peers as the other.
    #[cfg(feature = "messages")]
    pub(super) fn share(&self, seats: &Seats) -> Result<Self, NoSeat> {
        let state = State(self.state.load(Ordering::Relaxed));
        let is_here = !state.is_void() && is_current_process(state.process());
        let seat = if is_here && seats.raw().share(state.at(), Role::Either) {
            Self::made(state.process(), state.at(), Role::Either, false, 0)
        } else {
            // A fork child has the handle, but no seat.
            seats.session(Deadline::after(PATIENCE), |session| {
                let at = session.join(Role::Either)?;
                Ok::<_, NoSeat>(Self::made(session.owner(), at, Role::Either, false, 0))
            })??
        };
        seat.await_as(self.awaited());
        Ok(seat)
    }

    /// Redeems what was set aside for this process.
    pub(super) fn redeem(seats: &Seats, passed: &PassedSeat, role: Role, sole: bool) -> Result<Self, NoSeat> {
        seats.session(Deadline::after(PATIENCE), |session| {
            let at = session.redeem(passed.ticket(), role, sole)?;
            // If only the ticket and its redeemer have joined, the peers are still to come as before.
            let joined = seats.raw().joined();
            let alone = passed.alone_at.is_some_and(|then| joined == then.wrapping_add(1));
            let seat = Self::made(session.owner(), at, role, sole, if alone { joined } else { 0 });
            seat.await_as(passed.awaited);
            Ok(seat)
        })?
    }

    /// Whether this handle still has to turn to `role`; first makes sure that it has a seat of this process.
    #[cfg(feature = "messages")]
    #[inline]
    pub(super) fn must_turn(&self, seats: &Seats, role: Role, deadline: Deadline) -> Result<bool, Stop> {
        let state = State(self.state.load(Ordering::Relaxed));
        if state.0 & role as u64 != 0 && !state.is_void() && is_current_process(state.process()) {
            return Ok(false);
        }
        self.must_turn_from(seats, state, role, deadline)
    }

    #[cfg(feature = "messages")]
    #[cold]
    fn must_turn_from(&self, seats: &Seats, state: State, role: Role, deadline: Deadline) -> Result<bool, Stop> {
        let is_here = is_current_process(state.process());
        if state.is_void() || self.sole && !is_here {
            return Err(Stop::Closed);
        }
        if !is_here {
            // A fork child inherited the handle; the seat is its parent's. Another of its threads may have noticed first.
            let limit = if deadline == Deadline::Never {
                Deadline::after(PATIENCE)
            } else {
                deadline
            };
            let joined = seats.session(limit, |session| {
                let now = State(self.state.load(Ordering::Relaxed));
                if !is_current_process(now.process()) {
                    #[cfg(feature = "process")]
                    let at = inheritance::join(seats, session, now.role())?;
                    #[cfg(not(feature = "process"))]
                    let at = session.join(now.role())?;
                    let joined = State::new(session.owner(), at, now.role());
                    self.state.store(joined.0, Ordering::Relaxed);
                }
                Ok(())
            });
            joined.and_then(|joined| joined).map_err(|cause| match cause {
                NoSeat::Lock(Refused::TimedOut) if limit != deadline => Stop::Busy,
                cause => cause.into(),
            })?;
        }
        Ok(state.0 & role as u64 == 0)
    }

    /// Takes `role` from now on. Of threads that use the same handle, one at a time records it: the others go on as they were.
    #[cfg(feature = "messages")]
    #[cold]
    pub(super) fn turn(&self, seats: &Seats, role: Role) {
        let state = State(self.state.load(Ordering::Relaxed));
        let to = state.role().and(role);
        let may_turn = state.0 & (VOID | TURNING) == 0 && to != state.role() && is_current_process(state.process());
        // Relaxed, here and below: the seat's own words are what others look at.
        let turns = |turning| {
            self.state
                .compare_exchange(state.0, turning, Ordering::Relaxed, Ordering::Relaxed)
        };
        if may_turn && turns(state.0 | TURNING).is_ok() {
            seats.raw().turn(state.at(), state.role(), to);
            let turned = State::new(state.process(), state.at(), to);
            self.state.store(turned.0, Ordering::Relaxed);
        }
    }

    /// Whether another handle has `role`, or is still to come. The very first peers are expected only if they `may_come`.
    pub(super) fn has_peer(&self, seats: &Seats, role: Role, may_come: bool) -> bool {
        let raw = seats.raw();
        // Read first: a peer that arrives after the look at the seats does not prove that others were there before.
        let (joined, came) = (raw.joined(), raw.came(role));
        let awaited = self.awaited[usize::from(role == Role::Consumer)].load(Ordering::Relaxed);
        let state = State(self.state.load(Ordering::Relaxed));
        // While a thread turns this handle, it is uncertain which role it is counted in, so other threads draw no conclusion;
        // nor if it has turned during the look. Relaxed, twice: a thread that has seen the count of a turn sees its mark.
        state.0 & TURNING != 0
            || raw.has(role, state.role(), &|| seats.peers())
            || self.state.load(Ordering::Relaxed) != state.0
            || may_come && joined == self.baseline.load(Ordering::Relaxed)
            || awaited != 0 && came.wrapping_add(1) == awaited
    }

    /// Treats peers that are not there now as still to come.
    pub(super) fn wait_for_peers(&self, seats: &Seats) {
        let came = |role| seats.raw().came(role).wrapping_add(1);
        self.await_as([came(Role::Producer), came(Role::Consumer)]);
    }

    fn await_as(&self, awaited: [u64; 2]) {
        for (word, value) in self.awaited.iter().zip(awaited) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn awaited(&self) -> [u64; 2] {
        [0, 1].map(|side: usize| self.awaited[side].load(Ordering::Relaxed))
    }

    /// Whether only one may have the role.
    #[cfg(feature = "messages")]
    #[inline]
    pub(super) fn is_sole(&self) -> bool {
        self.sole
    }

    /// Whether the share was given up, or passed on.
    #[inline]
    pub(super) fn is_void(&self) -> bool {
        State(self.state.load(Ordering::Relaxed)).is_void()
    }

    /// Gives the share up; tells whether sleepers should look again.
    pub(super) fn leave(&self, seats: &Seats) -> bool {
        let state = State(self.state.fetch_or(VOID, Ordering::Relaxed));
        if state.is_void() {
            return false;
        }
        #[cfg(feature = "process")]
        if !self.sole {
            inheritance::leave_to_heir(seats);
            if !is_current_process(state.process()) {
                return inheritance::give_up(seats);
            }
        }
        is_current_process(state.process()) && seats.raw().leave(state.at(), state.role())
    }

    /// Reserves a seat for a child that is passed this handle, and returns what it must be told. A sole role goes with it.
    /// `end` tells the handles of one object apart.
    pub(super) fn pack(&self, seats: &Seats, end: u8) -> Result<(PassedHandle, Vec<Reservation>)> {
        let issued = seats.session(Deadline::after(PATIENCE), |session| self.issue(seats, session));
        let passed = issued.and_then(|passed| passed).map_err(|cause| {
            let error = match cause {
                NoSeat::Taken(_) if self.is_void() => {
                    Error::new(ErrorKind::Closed, "this end was already passed to a child")
                }
                NoSeat::Taken(pid) => {
                    let message = format!(
                        "this end belongs to process {pid}, from which this process was forked: pass it to the \
                            child as an argument"
                    );
                    Error::new(ErrorKind::Closed, message)
                }
                cause => no_seat(cause, "peer"),
            };
            error.in_segment(seats.handle().segment().label())
        })?;
        let handle = PassedHandle {
            name: seats.handle().name(),
            seats: vec![passed],
            end,
        };
        Ok((handle, vec![Reservation::new(seats, passed.ticket())]))
    }

    /// What a process is told that joins by itself, as any number may, while this handle's process keeps a share.
    #[cfg(feature = "messages")]
    pub(super) fn pack_unreserved(&self, name: String, end: u8) -> PassedHandle {
        let passed = PassedSeat {
            at: u32::MAX,
            number: 0, // No ticket has this number.
            alone_at: None,
            awaited: self.awaited(),
        };
        PassedHandle {
            name,
            seats: vec![passed],
            end,
        }
    }

    fn issue(&self, seats: &Seats, session: &Session<'_>) -> Result<PassedSeat, NoSeat> {
        let state = State(self.state.load(Ordering::Relaxed));
        // An end goes with its seat; any number may have the role of a queue's handle, so a copy of its process may pass it on too.
        if state.is_void() || self.sole && !is_current_process(state.process()) {
            return Err(NoSeat::Taken(state.process().pid()));
        }
        let (role, instead_of) = if self.sole {
            (state.role(), Some(state.at()))
        } else {
            (Role::Either, None)
        };
        let alone = self.sole && seats.raw().joined() == self.baseline.load(Ordering::Relaxed);
        let Ticket { at, number } = session.issue(role, instead_of)?;
        if self.sole {
            self.state.store(state.0 | VOID, Ordering::Relaxed);
        }
        Ok(PassedSeat {
            at,
            number,
            alone_at: alone.then(|| seats.raw().joined()),
            awaited: self.awaited(),
        })
    }
}

/// The first of all to join waits for peers still to come; later ones have had company.
fn baseline_of_first(seats: &Seats) -> u64 {
    u64::from(seats.raw().joined() == 1)
}
