//! `Seats`: where the seats of an object lie in its segment.

use crate::primitive::{Deadline, Peers};
use crate::raw::{NoSeat, RawSeats, Session};
use crate::segment::Handle;

/// Where the seats of one queue, ring or direction lie.
#[derive(Clone)]
pub(crate) struct Seats {
    handle: Handle,
    /// Bytes from the start of the object.
    at: usize,
    count: usize,
}

impl Seats {
    /// The object holds that many seats at `at`: its size was checked when the handle was made.
    pub(super) fn new(handle: Handle, at: usize, count: usize) -> Self {
        Seats { handle, at, count }
    }

    #[inline]
    pub(super) fn raw(&self) -> &RawSeats {
        // SAFETY: the code that makes a Seats has checked that the object holds that many there; they begin on a cache line and
        // stay mapped while the handle lives.
        unsafe { RawSeats::at(self.handle.address().wrapping_add(self.at), self.count) }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Does `work` while the seats are locked.
    pub(super) fn session<R>(&self, deadline: Deadline, work: impl FnOnce(&Session<'_>) -> R) -> Result<R, NoSeat> {
        let peers = || self.peers();
        let session = self.raw().session(deadline, &peers)?;
        Ok(work(&session))
    }

    pub(super) fn peers(&self) -> Peers {
        self.handle.segment().peers()
    }
}
