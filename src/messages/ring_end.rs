//! `RingEnd`: one end of a ring: its seat, its place, and the slots.

use super::error::no_seat;
use super::passed::{PassedHandle, Reservation};
use super::seat::Seat;
use super::seats::Seats;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, Shareable, Spec};
use crate::primitive::{Deadline, Home};
use crate::raw::{End, NoSeat, Place, RawRing, Role, Stop, Waiting, bytes_of_seats};
use crate::segment::{Handle, Segment};
use std::ffi::OsStr;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};

/// The most slots a ring can have.
const MOST: u64 = 1 << 40;

/// Seats of a ring: for the two that take part, and for processes the ends are passed on to.
const SEATS: u64 = 64;
/// Bytes of a ring before its slots: its words, and its seats.
const BEFORE_SLOTS: u64 = size_of::<RawRing>() as u64 + bytes_of_seats(SEATS);

/// One end of a ring, for as long as this process has it; given up on drop.
pub(super) struct RingEnd<T> {
    seats: Seats,
    seat: Seat,
    home: Home,
    end: End,
    place: Place,
    capacity: u64,
    /// Slot numbers keep counting up; the number of slots is a power of two.
    mask: u64,
    value: PhantomData<fn(T) -> T>,
}

fn role_of(end: End) -> Role {
    match end {
        End::Producer => Role::Producer,
        End::Consumer => Role::Consumer,
    }
}

/// Refuses types that slots are not aligned for. Code that makes a ring for a caller evaluates this in a constant of its own,
/// so that the compiler names the caller's line.
pub(super) const fn assert_alignment<T: Shareable>() {
    assert!(
        align_of::<T>() <= 64,
        "slots begin on a cache line: a type aligned to more than 64 bytes cannot lie in a ring"
    );
}

/// The spec of a ring of `capacity` values, if there can be one.
fn ring_spec<T: Shareable>(capacity: u64) -> Result<Spec<'static>> {
    const { assert_alignment::<T>() };
    let slots = capacity
        .checked_next_power_of_two()
        .filter(|slots| (1..=MOST).contains(slots) && capacity > 0);
    let bytes = slots.and_then(|slots| slots.checked_mul(size_of::<T>() as u64));
    let bytes = bytes.and_then(|bytes| bytes.checked_add(BEFORE_SLOTS));
    let bytes = bytes.ok_or_else(|| {
        let message = format!("expected a capacity of 1 to {MOST} values that fits in memory, found {capacity}");
        Error::new(ErrorKind::InvalidCapacity, message)
    })?;
    Ok(Spec {
        kind: Kind::Ring,
        fingerprint: T::SCHEMA.fingerprint(),
        schema: T::SCHEMA,
        len: capacity,
        bytes,
    })
}

/// Writes a ring: one that is all zeros is empty. Rings live alone, in memory that is zero.
fn write_new(_address: *mut u8, memory_is_zero: bool) {
    debug_assert!(memory_is_zero);
}

impl<T: Shareable> RingEnd<T> {
    pub(super) fn new_alone(capacity: usize) -> Result<Handle> {
        Handle::new_alone(&ring_spec::<T>(capacity as u64)?, &write_new)
    }

    pub(super) fn create_alone(name: impl AsRef<OsStr>, capacity: usize) -> Result<Handle> {
        Handle::create_alone(name, &ring_spec::<T>(capacity as u64)?, &write_new)
    }

    pub(super) fn open_alone(name: impl AsRef<OsStr>) -> Result<Handle> {
        Handle::open_alone(name, &ring_spec::<T>(1)?)
    }

    /// Where the seats of a ring are, once its bytes are proved to be those of a ring of its length.
    fn seats_of(handle: &Handle) -> Result<Seats> {
        handle.check_writable()?;
        let expected = ring_spec::<T>(handle.len()).map(|spec| spec.bytes).unwrap_or(0);
        if expected != handle.bytes() {
            let (values, found) = (handle.len(), handle.bytes());
            let message = format!("expected {expected} bytes for a ring of {values} values, found {found}");
            return Err(Error::new(ErrorKind::Corrupt, message).in_segment(handle.segment().label()));
        }
        Ok(Seats::new(handle.clone(), size_of::<RawRing>(), SEATS as usize))
    }

    /// Claims an end that is free.
    pub(super) fn claim(handle: &Handle, end: End) -> Result<Self> {
        Self::with_seat(Self::seats_of(handle)?, end, |seats| Seat::claim(seats, role_of(end)))
    }

    /// Takes the end that was passed to this process.
    pub(super) fn unpack(segment: &Segment, passed: &PassedHandle, end: End) -> Result<Self> {
        let seats = Self::seats_of(&Handle::find_passed(segment, &passed.name, Kind::Ring)?)?;
        let passed = passed.first_seat()?;
        Self::with_seat(seats, end, |seats| Seat::redeem(seats, passed, role_of(end), true))
    }

    fn with_seat(seats: Seats, end: End, sit: impl FnOnce(&Seats) -> Result<Seat, NoSeat>) -> Result<Self> {
        let what = match end {
            End::Producer => "producer end of the ring",
            End::Consumer => "consumer end of the ring",
        };
        let home = Home::of_caller().map_err(|foreign| NoSeat::Lock(foreign.into()));
        let seated = home.and_then(|home| Ok((home, sit(&seats)?)));
        let handle = seats.handle();
        let (home, seat) = seated.map_err(|cause| no_seat(cause, what).in_segment(handle.segment().label()))?;
        let capacity = handle.len();
        Ok(RingEnd {
            place: raw_ring(handle).place(end, capacity),
            seat,
            home,
            end,
            capacity,
            mask: capacity.next_power_of_two() - 1,
            seats,
            value: PhantomData,
        })
    }

    pub(super) fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
        self.seat.pack(&self.seats, 0)
    }

    /// Whether a slot can be used at once, as far as this end remembers, and this process still has the end.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        let producer_is_alone = || self.end == End::Producer && self.seats.raw().is_missing(Role::Consumer);
        self.place.has_slot(self.end, self.capacity) && self.is_here() && !producer_is_alone()
    }

    /// How many slots this end may use, `wanted` of them at most, waiting for the first.
    #[inline]
    pub(super) fn usable(&mut self, wanted: u64, deadline: Deadline) -> Result<u64, Stop> {
        if !self.is_here() {
            return Err(Stop::Closed);
        }
        let other = role_of(self.end.other());
        if self.end == End::Producer && self.seats.raw().is_missing(other) && !self.has_peer() {
            return Err(Stop::Gone);
        }
        let usable = raw_ring(self.seats.handle()).usable(self.end, &mut self.place, self.capacity, wanted)?;
        if usable == 0 && wanted > 0 {
            return Ok(self.await_usable(deadline)?.min(wanted));
        }
        Ok(usable.min(wanted))
    }

    #[cold]
    fn await_usable(&mut self, deadline: Deadline) -> Result<u64, Stop> {
        let mut place = self.place;
        let peer_check = || self.has_peer();
        let waiting = Waiting::new(deadline, &peer_check);
        let outcome = raw_ring(self.seats.handle()).await_usable(self.end, &mut place, self.capacity, waiting);
        self.place = place;
        outcome
    }

    fn has_peer(&self) -> bool {
        self.seat.has_peer(&self.seats, role_of(self.end.other()), true)
    }

    /// Slots from this end's place to where the slots end.
    #[inline]
    pub(super) fn until_wrap(&self) -> u64 {
        self.mask + 1 - (self.place.own & self.mask)
    }

    /// The slot at this end's place.
    #[inline]
    pub(super) fn slot(&self) -> *mut T {
        let first = self.seats.handle().address().wrapping_add(BEFORE_SLOTS as usize);
        first.cast::<T>().wrapping_add((self.place.own & self.mask) as usize)
    }

    /// Writes the slot at the producer's place and passes it on. The caller has found it usable.
    #[inline]
    pub(super) fn write(&mut self, value: T) {
        // SAFETY: the slot lies in the object (`seats_of` compared the bytes), aligned as T is, since slots begin on a cache
        // line; it was found usable, so it is this end's alone (N1, N2).
        unsafe { self.slot().write(value) };
        self.advance(1);
    }

    /// Reads the slot at the consumer's place and passes it on; `None` if it holds no `T`. The caller has found it usable.
    #[inline]
    pub(super) fn read(&mut self) -> Option<T> {
        // SAFETY: as in `write`; any bytes are a MaybeUninit.
        let copy = unsafe { self.slot().cast::<MaybeUninit<T>>().read() };
        self.advance(1);
        // SAFETY: size_of::<T>() bytes, all initialised: they come from shared memory, which is zeros or what was written, and
        // a T has no padding.
        let bytes = unsafe { core::slice::from_raw_parts(copy.as_ptr().cast::<u8>(), size_of::<T>()) };
        if T::ANY_BITS || T::is_valid(bytes) {
            // SAFETY: the bytes are initialised and are a T, says T itself.
            Some(unsafe { copy.assume_init() })
        } else {
            None
        }
    }

    /// Passes slots on to the other end.
    #[inline]
    pub(super) fn advance(&mut self, slots: u64) {
        raw_ring(self.seats.handle()).advance(self.end, &mut self.place, slots);
    }

    pub(super) fn len(&self) -> usize {
        raw_ring(self.seats.handle()).len(self.capacity) as usize
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Whether this process still has the end.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        self.home.is_here() && !self.seat.is_void()
    }

    pub(super) fn wait_for_peers(&self) {
        self.seat.wait_for_peers(&self.seats);
    }

    pub(super) fn segment(&self) -> &Segment {
        self.seats.handle().segment()
    }
}

impl<T> Drop for RingEnd<T> {
    fn drop(&mut self) {
        if self.seat.leave(&self.seats) {
            raw_ring(self.seats.handle()).wake_all();
        }
    }
}

#[inline]
fn raw_ring(handle: &Handle) -> &RawRing {
    // SAFETY: the object begins with a RawRing (`seats_of` compared the bytes), is aligned to a cache line, stays mapped
    // while the handle lives, and is made of atomics alone.
    unsafe { &*handle.address().cast::<RawRing>() }
}
