//! Items that lie outside a channel's ring: written to its overflow area of the segment's file, and read from there.
//!
//! The ring of a channel that is bounded by the number of its items alone always has room for a reference to each of them (Q7).
//! An item goes into the ring if that remains so, otherwise into the overflow area. `raw/overflow_cursor.rs` has the states.

use super::channel::{COPIED_MEANWHILE, Channel, fills};
use super::codec::{self, REFERENCE, Reference, UNIT};
use super::extent::stop_of;
use super::taken::Taken;
use crate::encoding::{HEAD, receive};
use crate::error::Error;
use crate::primitive::{Peers, crash_point};
use crate::raw::{End, Moved, POSITIONS, QueueHost, Stop, Stretch, distance};
use crate::segment::OverflowArea;
use std::mem::MaybeUninit;

/// Items of at least this size occupy pages of their own, all of whose memory is given back with them. Smaller ones share pages.
const PAGE: u64 = 4096;

/// A reference that is taken or put.
const ONE: Moved = Moved {
    items: 1,
    units: REFERENCE as u32,
};

impl QueueHost for Channel {
    #[inline]
    fn peers(&self) -> Peers {
        self.seats.peers()
    }

    #[cold]
    fn inherit(&self, end: End) {
        let Some(overflow) = self.overflow() else { return };
        match end {
            End::Producer => {
                self.raw().roll_back();
                self.revoke(overflow);
                let at = self.raw().written().at();
                let used = distance(self.raw().freed().at(), at);
                overflow.clear(at, overflow.size().saturating_sub(used));
            }
            End::Consumer => self.give_back(overflow),
        }
    }

    #[inline]
    fn taken(&self) {
        if let Some(overflow) = self.overflow() {
            if self.raw().to_give_back().is_some() {
                self.give_back(overflow);
            }
        }
    }
}

impl Channel {
    /// Puts an item, whose bytes are in two parts, outside the ring, and a reference to it where `room` begins. The caller
    /// holds the producers' lock.
    #[cold]
    pub(super) fn put_in_overflow(&self, [head, rest]: [&[u8]; 2], room: Stretch) -> Result<Moved, Stop> {
        let overflow = self
            .overflow()
            .filter(|_| room.units >= ONE.units)
            .ok_or(Stop::Corrupt)?;
        let raw = self.raw();
        raw.begin_outside();
        let (len, before) = ((head.len() + rest.len()) as u64, raw.written().at());
        let pages = if len < PAGE { 1 } else { PAGE };
        let start = before.next_multiple_of(pages);
        let end = (start + len).next_multiple_of(pages);
        if distance(raw.freed().at(), before) + (end - before) > overflow.size() {
            return Err(Stop::OutOfMemory);
        }
        let written = overflow.write(start, head);
        let (first, last) = rest.split_at(rest.len().saturating_sub(COPIED_MEANWHILE));
        let written = written.and_then(|()| overflow.write(start + head.len() as u64, first));
        if !first.is_empty() {
            raw.announce();
        }
        let written = written.and_then(|()| overflow.write(start + (head.len() + first.len()) as u64, last));
        written.map_err(|error| {
            overflow.clear(start, len);
            stop_of(&error)
        })?;
        crash_point!("queue.put.outside");
        raw.written().move_to(end);
        let position = start & (POSITIONS - 1);
        self.write(room.start, &Reference { position, len }.record());
        Ok(ONE)
    }

    /// Copies the item that the first of the records in `queued` refers to, as a record, and notes that it is taken. The caller
    /// holds the consumers' lock.
    #[cold]
    pub(super) fn get_from_overflow<'a, T>(&'a self, queued: Stretch, into: &mut Taken<'a, T>) -> Result<Moved, Stop> {
        let mut record = [0; REFERENCE * UNIT];
        if queued.units < ONE.units || !fills(queued, ONE) {
            return Err(Stop::Corrupt);
        }
        self.read(queued.start, record.len(), record.as_mut_ptr());
        if let Some((reference, true)) = Reference::in_record(&record) {
            *into = match self.get_from_extent(reference, self.raw().count_taken())? {
                Some(item) => Taken::Long(item),
                None => {
                    let mut bytes = Vec::new();
                    self.copy_extent(reference, &mut bytes)?;
                    Taken::Copied(bytes)
                }
            };
            return Ok(ONE);
        }
        let end = match self.fetch_whole(&record)? {
            Some((item, end)) => {
                *into = Taken::Whole(item);
                end
            }
            None => {
                let mut record_of_item = Vec::new();
                let end = self.fetch(&record, &mut record_of_item)?.ok_or(Stop::Corrupt)?;
                *into = Taken::Large(record_of_item);
                end
            }
        };
        self.raw().note(ONE, end);
        Ok(ONE)
    }

    /// Replaces the references among `records`, which are `moved`, with their items, and notes that they are taken. If there is
    /// no memory for one, only those before it are taken.
    #[cold]
    pub(super) fn get_referred(
        &self,
        records: &mut Vec<u8>,
        moved: Moved,
        has_copied: &mut bool,
    ) -> Result<Moved, Stop> {
        let mut rest = &core::mem::take(records)[..];
        let (mut taken, mut end) = (Moved { items: 0, units: 0 }, None);
        while taken.items < moved.items {
            let units = match rest.first_chunk() {
                Some(record) if Reference::in_record(record).is_some() => {
                    match self.fetch(record, records) {
                        Ok(Some(position)) => end = Some(position),
                        Ok(None) => *has_copied = true,
                        Err(Stop::OutOfMemory | Stop::Io) if taken.items > 0 => break,
                        Err(stop) => return Err(stop),
                    }
                    REFERENCE
                }
                _ => {
                    let bytes = codec::first_bytes(rest);
                    records.extend_from_slice(&rest[..bytes]);
                    bytes / UNIT
                }
            };
            rest = &rest[units * UNIT..];
            taken.items += 1;
            taken.units += units as u32;
        }
        if let Some(end) = end {
            self.raw().note(taken, end);
        }
        Ok(taken)
    }

    /// Where the item that a record refers to lies, and where its bytes end.
    fn find(&self, record: &[u8; REFERENCE * UNIT]) -> Result<(&OverflowArea, Reference, u64), Stop> {
        let (reference, _) = Reference::in_record(record)
            .filter(|(_, is_in_extent)| !is_in_extent)
            .ok_or(Stop::Corrupt)?;
        let Reference { position, len } = reference;
        let overflow = self.overflow().ok_or(Stop::Corrupt)?;
        let freed = self.raw().freed().at();
        // F1. A reference comes from a peer.
        if distance(freed, position) + len > distance(freed, self.raw().written().at()) {
            return Err(Stop::Corrupt);
        }
        let end = position + if len < PAGE { len } else { len.next_multiple_of(PAGE) };
        Ok((overflow, reference, end))
    }

    /// The item that a record refers to, if it can be received in one piece, and where its bytes end.
    fn fetch_whole<T>(&self, record: &[u8; REFERENCE * UNIT]) -> Result<Option<(T, u64)>, Stop> {
        let (overflow, Reference { position, len }, end) = self.find(record)?;
        let mut head = [MaybeUninit::new(0); HEAD];
        if len <= HEAD as u64 {
            return Ok(None);
        }
        overflow
            .read_into(position, &mut head)
            .map_err(|error| stop_of(&error))?;
        // SAFETY: a u8 is initialised, as all of them have been from the beginning.
        let head = head.map(|byte| unsafe { byte.assume_init() });
        let copy = |from: usize, target: &mut [MaybeUninit<u8>]| overflow.read_into(position + from as u64, target);
        // SAFETY: `read_into` writes all of its target where it succeeds.
        match unsafe { receive::<T, Error>(&head, usize::try_from(len).unwrap_or(usize::MAX), copy) } {
            Some(Ok(item)) => Ok(Some((item, end))),
            Some(Err(Some(error))) => Err(stop_of(&error)),
            Some(Err(None)) => Err(Stop::OutOfMemory),
            None => Ok(None),
        }
    }

    /// Appends the item that a record refers to, as a record, and returns where its bytes end; `None` for one in an extent.
    fn fetch(&self, record: &[u8; REFERENCE * UNIT], into: &mut Vec<u8>) -> Result<Option<u64>, Stop> {
        let start = into.len();
        let mut fetch = || match Reference::in_record(record) {
            Some((reference, true)) => {
                into.extend_from_slice(&codec::header_of(reference.len).to_ne_bytes());
                self.copy_extent(reference, into).map(|()| None)
            }
            _ => {
                let (overflow, Reference { position, len }, end) = self.find(record)?;
                into.extend_from_slice(&codec::header_of(len).to_ne_bytes());
                let read = overflow.read(position, len, into).map_err(|error| stop_of(&error));
                read.map(|()| Some(end))
            }
        };
        let end = fetch().inspect_err(|_| into.truncate(start))?;
        into.resize(into.len().next_multiple_of(UNIT), 0);
        Ok(end)
    }

    /// Gives back the memory of what was taken, if that is published. The caller holds the consumers' lock.
    #[cold]
    fn give_back(&self, overflow: &OverflowArea) {
        if let Some((from, to)) = self.raw().to_give_back() {
            overflow.give_back(from, distance(from, to));
            crash_point!("queue.get.returned");
            self.raw().freed().move_to(to);
        }
    }
}
