//! What a child is told to get a handle that takes part in something: where the object lies, and the seats reserved there.

use super::seats::Seats;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::OwnerId;
use crate::raw::Ticket;
use crate::segment::Segment;
use std::any::Any;
use std::sync::Arc;

/// A handle as described to the child, besides its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "messages", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PassedHandle {
    /// The object's name in its segment.
    pub(crate) name: String,
    /// Seats, in the order the handle uses them.
    pub(super) seats: Vec<PassedSeat>,
    /// What else distinguishes the handle among those of its object: the end of a pipe.
    pub(super) end: u8,
}

impl PassedHandle {
    /// The seat of a handle that has one.
    pub(super) fn first_seat(&self) -> Result<&PassedSeat> {
        let seat = self.seats.first();
        seat.ok_or_else(|| {
            Error::new(
                ErrorKind::Encoding,
                "expected a participant slot with the handle, found none",
            )
        })
    }
}

/// A seat as described to the child it is reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "messages", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PassedSeat {
    pub(super) at: u32,
    pub(super) number: u16,
    /// If the handle's peers were still to come: how many had joined by then, the ticket included.
    pub(super) alone_at: Option<u64>,
    pub(super) awaited: [u64; 2],
}

impl PassedSeat {
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            at: self.at,
            number: self.number,
        }
    }
}

/// A seat reserved for a child; taken back on drop unless it was handed over.
pub(crate) struct Reservation {
    seats: Seats,
    ticket: Ticket,
    handed_over: bool,
}

impl Reservation {
    pub(super) fn new(seats: &Seats, ticket: Ticket) -> Self {
        Reservation {
            seats: seats.clone(),
            ticket,
            handed_over: false,
        }
    }

    /// The child has been started.
    pub(crate) fn hand_over(mut self, child: OwnerId) {
        self.seats.raw().hand_over(self.ticket, child);
        self.handed_over = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.handed_over {
            self.seats.raw().withdraw(self.ticket);
        }
    }
}

/// A share of this process, kept so that peers do not find themselves alone.
pub(crate) type Share = Arc<dyn Any + Send + Sync>;

/// Takes a further share of a handle.
pub(crate) type KeepShare<H> = fn(&H) -> Result<Share>;

/// A handle that takes part, so its peers must know that it is passed on.
pub(crate) trait Pass: Sized {
    fn segment(&self) -> &Segment;

    /// Reserves seats for the child. An end that only one may have goes with them.
    fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)>;

    /// For handles that any number may have: what a process that joins by itself is told, and how a share is kept here until then.
    fn pack_unreserved(&self) -> Option<(PassedHandle, KeepShare<Self>)> {
        None
    }

    /// Takes the reserved seats, in the child.
    fn unpack(segment: &Segment, passed: &PassedHandle) -> Result<Self>;
}
