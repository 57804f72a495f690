//! What is needed to pass a message handle to a child: where the object lies, and the seat set aside there.

use super::seat::{PassedSeat, Reservation};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::Segment;

/// A handle as described to the child, besides its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "messages", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Parcel {
    /// The object's name in its segment.
    pub(crate) name: String,
    /// Seats, in the order the handle uses them.
    pub(crate) seats: Vec<PassedSeat>,
    /// What else distinguishes the handle among those of its object: the end of a pipe.
    pub(crate) end: u8,
}

impl Parcel {
    /// The seat of a handle that has one.
    pub(super) fn first_seat(&self) -> Result<&PassedSeat> {
        let seat = self.seats.first();
        seat.ok_or_else(|| Error::new(ErrorKind::Encoding, "a handle arrived without its seat"))
    }
}

/// A share of this process, kept so that peers do not find themselves alone.
#[cfg(feature = "process")]
pub(crate) type Share = std::sync::Arc<dyn std::any::Any + Send + Sync>;

/// Takes a further share of a handle.
#[cfg(feature = "process")]
pub(crate) type KeepShare<H> = fn(&H) -> Result<Share>;

/// A handle that takes part, so its peers must know that it is passed on.
#[cfg_attr(
    not(feature = "process"),
    allow(dead_code, reason = "handles travel with the process layer")
)]
pub(crate) trait Travel: Sized {
    fn segment(&self) -> &Segment;

    /// Sets seats aside for the child. An end that only one may have goes with them.
    fn send_off(&self) -> Result<(Parcel, Vec<Reservation>)>;

    /// For handles that any number may have: what a process that joins by itself is told, and how a share is kept here until then.
    #[cfg(feature = "process")]
    fn send_without_ticket(&self) -> Option<(Parcel, KeepShare<Self>)> {
        None
    }

    /// Takes the seats set aside, in the child.
    fn arrive(segment: &Segment, parcel: &Parcel) -> Result<Self>;
}
