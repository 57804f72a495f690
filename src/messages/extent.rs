//! Long items: encoded into an extent of the channel's overflow area, and decoded where they lie.
//!
//! They are queued as references, like other items outside the ring. `raw/extent.rs` has the states.

use super::channel::Channel;
use super::codec::{REFERENCE, Reference};
use crate::encoding::{EncodingReason, Store, decode};
use crate::error::Error;
use crate::primitive::{Deadline, OwnerId, crash_point};
use crate::raw::{Content, EXTENTS, Moved, PeerCheck, RawExtent, RawMutex, Stop, Stretch, Waiting};
use crate::segment::{FileBytes, OverflowArea, check_memory};
use serde::de::DeserializeOwned;
use std::io;

/// An extent locked by the caller; unlocked on drop.
pub(super) struct LockedExtent<'a> {
    channel: &'a Channel,
    overflow: &'a OverflowArea,
    number: usize,
    owner: OwnerId,
    /// It may hold bytes that belong to no item.
    is_dirty: bool,
}

impl Channel {
    /// The unlocked extents that hold no queued item, if the channel has an overflow area for extents; each is locked.
    fn extents(&self) -> impl Iterator<Item = LockedExtent<'_>> {
        let taken = self.raw().count_taken();
        let is_queued = move |number| {
            self.raw_extent(number)
                .is_some_and(|raw| raw.content(taken) == Content::Queued)
        };
        let overflow_areas = self.overflow().into_iter();
        let numbers = move |overflow| {
            (0..EXTENTS)
                .filter(move |number| !is_queued(*number))
                .map(move |number| (overflow, number))
        };
        let extents = overflow_areas.flat_map(numbers);
        extents.filter_map(move |(overflow, number)| self.lock_extent(overflow, number))
    }

    /// Locks the extent of that number, unless it is locked already.
    fn lock_extent<'a>(&'a self, overflow: &'a OverflowArea, number: usize) -> Option<LockedExtent<'a>> {
        let held = self.raw_extent(number)?.try_lock(|| self.seats.peers())?;
        crash_point!("queue.extent.locked");
        Some(LockedExtent {
            channel: self,
            overflow,
            number,
            owner: held.owner,
            is_dirty: held.inconsistent,
        })
    }

    /// Gives back memory left in extents by processes that died or could only copy their item.
    #[cold]
    pub(super) fn sweep(&self) {
        let put = self.raw().count_put();
        if (0..EXTENTS).any(|number| self.raw_extent(number).is_some_and(|raw| raw.holds(put))) {
            // A producer is putting it now, or died doing so; the next holder of the lock finds out which.
            self.raw().recover_producers(self);
        }
        let is_free = |raw: &RawExtent| raw.content(0) == Content::Nothing && raw.seems_unlocked();
        if (0..EXTENTS).any(|number| self.raw_extent(number).is_some_and(|raw| !is_free(raw))) {
            self.extents().for_each(drop);
        }
    }

    /// Gives back what a producer left behind when it died before publishing it. The caller has taken over its lock.
    #[cold]
    pub(super) fn revoke(&self, overflow: &OverflowArea) {
        let put = self.raw().count_put();
        for number in 0..EXTENTS {
            if self.raw_extent(number).is_some_and(|raw| raw.holds(put)) {
                if let Some(mut extent) = self.lock_extent(overflow, number) {
                    extent.empty();
                }
            }
        }
    }

    /// Takes the item that lies in an extent and comes after `taken` others; `None` if the extent is locked, and the item can only
    /// be copied. The caller holds the consumers' lock.
    pub(super) fn get_from_extent(&self, reference: Reference, taken: u32) -> Result<Option<LongItem<'_>>, Stop> {
        let (overflow, number) = self.find_extent(reference)?;
        let Some(extent) = self.lock_extent(overflow, number) else {
            return Ok(None);
        };
        if !extent.raw().is_some_and(|raw| raw.holds(taken)) {
            return Err(Stop::Corrupt);
        }
        check_memory(reference.len).map_err(|error| stop_of(&error))?;
        // SAFETY: nobody else changes an extent's bytes while it is locked (E1); the mapping is dropped before the lock.
        let bytes = unsafe { overflow.map_extent(number, reference.len) };
        let bytes = bytes.map_err(|error| stop_of(&error))?;
        Ok(Some(LongItem { bytes, _extent: extent }))
    }

    /// Where the item that a record refers to lies.
    fn find_extent(&self, reference: Reference) -> Result<(&OverflowArea, usize), Stop> {
        let number = usize::try_from(reference.position)
            .ok()
            .filter(|number| *number < EXTENTS);
        self.overflow().zip(number).ok_or(Stop::Corrupt)
    }

    /// Appends the bytes of an item that lies in an extent.
    pub(super) fn copy_extent(&self, reference: Reference, into: &mut Vec<u8>) -> Result<(), Stop> {
        let (overflow, number) = self.find_extent(reference)?;
        overflow
            .read_extent(number, reference.len, into)
            .map_err(|error| stop_of(&error))
    }

    /// Puts the item that lies in an extent.
    pub(super) fn put_long(
        &self,
        store: &mut LongStore<'_>,
        len: usize,
        deadline: Deadline,
        peer_check: PeerCheck<'_>,
    ) -> Result<(), Stop> {
        crash_point!("queue.extent.written");
        let write = |room: Stretch| {
            // A copy of the process, made while the item was encoded, does not own the extent.
            let ours = store.0.take().filter(|extent| RawMutex::is_caller(extent.owner));
            let extent = ours.ok_or(Stop::Io)?;
            if room.units < REFERENCE as u32 {
                return Err(Stop::Corrupt);
            }
            let reference = Reference {
                position: extent.number as u64,
                len: len as u64,
            };
            self.write(room.start, &reference.record_in_extent());
            extent.place();
            Ok(Moved {
                items: 1,
                units: REFERENCE as u32,
            })
        };
        let waiting = Waiting::new(deadline, peer_check);
        self.raw().put(self.bounds(), u32::MAX, self, waiting, write)?;
        Ok(())
    }
}

pub(super) fn stop_of(error: &Error) -> Stop {
    use crate::error::ErrorKind;
    match error.kind() {
        ErrorKind::OutOfMemory => Stop::OutOfMemory,
        ErrorKind::Corrupt => Stop::Corrupt,
        _ => Stop::Io,
    }
}

/// The same as an error of a store.
fn io_error(error: Error) -> io::Error {
    let kind = match stop_of(&error) {
        Stop::OutOfMemory => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl LockedExtent<'_> {
    fn raw(&self) -> Option<&RawExtent> {
        self.channel.raw_extent(self.number)
    }

    fn content(&self) -> Content {
        let taken = self.channel.raw().count_taken();
        self.raw().map_or(Content::Queued, |raw| raw.content(taken))
    }

    /// Assigns the extent to the next item: gives up the lock but not the memory. The caller holds the producers' lock.
    fn place(self) {
        if let Some(raw) = self.raw() {
            raw.place(self.channel.raw().count_put());
        }
        crash_point!("queue.extent.placed");
        // Dropping unlocks the extent, which now holds what is queued.
    }

    /// Gives its memory back, if it may have any.
    fn clear(&mut self) {
        if self.is_dirty || self.content() == Content::Taken {
            self.empty();
        }
    }

    /// Gives its memory back; if that fails, the next holder of the lock tries again.
    fn empty(&mut self) {
        let Some(raw) = self.raw() else { return };
        if self.overflow.clear_extent(self.number).is_ok() {
            crash_point!("queue.extent.cleared");
            raw.empty();
        } else {
            raw.leave_dirty();
        }
        self.is_dirty = false;
    }
}

impl Drop for LockedExtent<'_> {
    fn drop(&mut self) {
        // A copy of the process does not own what its parent holds.
        if !RawMutex::is_caller(self.owner) {
            return;
        }
        if self.content() != Content::Queued {
            self.clear();
        }
        if let Some(raw) = self.raw() {
            raw.unlock(self.owner);
        }
        // A consumer that took it in the meantime found it locked, and could only copy it.
        if self.content() == Content::Taken {
            drop(self.channel.lock_extent(self.overflow, self.number));
        }
    }
}

/// A channel's extents as the store of one long item: one is locked when the first bytes arrive.
pub(super) struct LongStore<'a>(Option<LockedExtent<'a>>, &'a Channel);

impl<'a> LongStore<'a> {
    pub(super) fn new(channel: &'a Channel) -> Self {
        LongStore(None, channel)
    }

    fn extent(&mut self) -> io::Result<&mut LockedExtent<'a>> {
        if self.0.is_none() {
            // All are looked at, since a process may have died while one of them held memory.
            for mut extent in self.1.extents() {
                if self.0.is_none() && extent.content() != Content::Queued {
                    extent.clear();
                    extent.is_dirty = true;
                    self.0 = Some(extent);
                }
            }
        }
        let ours = self.0.as_mut().filter(|extent| RawMutex::is_caller(extent.owner));
        ours.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Store for LongStore<'_> {
    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let extent = self.extent()?;
        let written = extent.overflow.write_extent(extent.number, at as u64, bytes);
        written.map_err(io_error)
    }

    fn read(&self, len: usize, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let ours = self.0.as_ref().filter(|extent| RawMutex::is_caller(extent.owner));
        let extent = ours.ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: nobody else changes the bytes of a locked extent (E1), nor does this one, which is borrowed, meanwhile.
        let bytes = unsafe { extent.overflow.map_extent(extent.number, len as u64) };
        look(&bytes.map_err(io_error)?);
        Ok(())
    }
}

/// A long item that was taken out, where it lies.
pub(super) struct LongItem<'a> {
    // The fields are dropped in this order.
    bytes: FileBytes,
    _extent: LockedExtent<'a>,
}

impl LongItem<'_> {
    pub(super) fn decode<T: DeserializeOwned>(self) -> Result<T, EncodingReason> {
        crash_point!("queue.extent.taken");
        decode(&self.bytes)
    }
}
