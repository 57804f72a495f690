//! `Channel`: records in one direction, from many senders to many receivers; a queue has one, a pipe two.

use super::channel_layout::{ChannelLayout, QUEUE_AT, SEATS_AT};
use super::codec::{self, REFERENCE, Reference, UNIT};
use super::seats::Seats;
use crate::encoding::Whole;
use crate::error::Result;
use crate::primitive::Deadline;
use crate::raw::{Bounds, EXTENTS, Moved, PeerCheck, RawExtent, RawQueue, Stop, Stretch, Waiting};
use crate::segment::{Handle, OverflowArea};
use std::mem::MaybeUninit;

/// How much of a long item is copied while the waiter that will take it wakes up.
pub(super) const COPIED_MEANWHILE: usize = 1 << 18;

/// One direction: where its words lie, and how much it holds.
#[derive(Clone)]
pub(super) struct Channel {
    pub(super) seats: Seats,
    /// Which of its object's channels it is.
    number: u8,
    /// Bytes from the start of the object to its words, and to its ring.
    at: usize,
    ring_at: usize,
    /// Bytes from the start of the object to the words of its extents.
    extents_at: usize,
    bounds: Bounds,
    /// Where items lie that are outside the ring, if there can be any.
    overflow: Option<OverflowArea>,
    /// Bytes of the largest record.
    largest: usize,
}

impl Channel {
    /// The channels of an object that consists of `COUNT` equal ones.
    pub(super) fn all_of<const COUNT: usize>(handle: &Handle) -> Result<[Self; COUNT]> {
        handle.check_writable()?;
        let bytes = handle.bytes() / COUNT as u64;
        let mut layouts = [ChannelLayout::read(handle, 0, bytes)?; COUNT];
        for (number, layout) in layouts.iter_mut().enumerate().skip(1) {
            *layout = ChannelLayout::read(handle, number * bytes as usize, bytes)?;
        }
        Ok(core::array::from_fn(|number| {
            let (at, layout) = (number * bytes as usize, &layouts[number]);
            let overflow = handle.segment().overflow(handle.offset() + at as u64);
            let overflow = overflow.filter(|_| layout.capacity.in_items);
            Channel {
                seats: Seats::new(handle.clone(), at + SEATS_AT, layout.seats as usize),
                number: number as u8,
                at: at + QUEUE_AT,
                ring_at: at + layout.ring_at() as usize,
                extents_at: at + (layout.ring_at() + layout.capacity.bytes) as usize,
                bounds: Bounds {
                    items: layout.capacity.items as u32,
                    units: (layout.capacity.bytes / UNIT as u64) as u32,
                    reserve: if overflow.is_some() { REFERENCE as u32 } else { 0 },
                },
                largest: overflow
                    .as_ref()
                    .map_or(layout.capacity.bytes, OverflowArea::size)
                    .min(isize::MAX as u64) as usize,
                overflow,
            }
        }))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.seats.handle()
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    #[inline]
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Where items outside the ring lie.
    #[inline]
    pub(super) fn overflow(&self) -> Option<&OverflowArea> {
        self.overflow.as_ref()
    }

    /// Bytes of the largest record it takes.
    #[inline]
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    #[inline]
    pub(super) fn raw(&self) -> &RawQueue {
        // SAFETY: the object holds a RawQueue there: `ChannelLayout::read` compared the bytes. It is aligned to a cache line, stays
        // mapped while the handle lives, and is made of atomics alone.
        unsafe { &*self.handle().address().wrapping_add(self.at).cast::<RawQueue>() }
    }

    /// The words of an extent, if the channel can have it.
    pub(super) fn raw_extent(&self, number: usize) -> Option<&RawExtent> {
        if self.overflow.is_none() || number >= EXTENTS {
            return None;
        }
        let at = self.extents_at + number * size_of::<RawExtent>();
        // SAFETY: a channel with an overflow area has that many extents there: `ChannelLayout::read` compared the bytes. They are
        // aligned as the ring's end is, stay mapped while the handle lives, and are made of atomics alone.
        Some(unsafe { &*self.handle().address().wrapping_add(at).cast::<RawExtent>() })
    }

    /// The first byte of the ring, which has `bounds.units` units.
    #[inline]
    fn ring(&self) -> *mut u8 {
        self.handle().address().wrapping_add(self.ring_at)
    }

    /// Where in the ring a unit lies, and how many bytes there are from it to the ring's end.
    #[inline]
    fn spot(&self, unit: u32) -> (*mut u8, usize) {
        // Unit numbers keep counting up; the size of the ring is a power of two.
        let at = (unit & (self.bounds.units - 1)) as usize;
        (
            self.ring().wrapping_add(at * UNIT),
            (self.bounds.units as usize - at) * UNIT,
        )
    }

    /// Puts as many of `records` as fit, in order, at least one; they are the records of `items` items. Returns how many items
    /// that were, and how many bytes of `records`.
    pub(super) fn put_records(
        &self,
        records: &[u8],
        items: u32,
        deadline: Deadline,
        peer_check: PeerCheck<'_>,
    ) -> Result<(u32, usize), Stop> {
        let first = codec::first_bytes(records);
        let mut bytes = first;
        let least = units_in(first);
        let waiting = Waiting::new(deadline, peer_check);
        let write = |room: Stretch| {
            let moved = fitting(records, items, room, self.bounds.reserve);
            if moved.items == 0 {
                let item = codec::first_item(records).ok_or(Stop::Corrupt)?;
                return self.put_in_overflow([item, &[]], room);
            }
            bytes = moved.units as usize * UNIT;
            self.write(room.start, &records[..bytes]);
            Ok(moved)
        };
        let moved = self.raw().put(self.bounds, least, self, waiting, write)?;
        Ok((moved.items, bytes))
    }

    /// Puts one record in.
    #[inline]
    pub(super) fn put_record(&self, record: &[u8], deadline: Deadline, peer_check: PeerCheck<'_>) -> Result<(), Stop> {
        let units = units_in(record.len());
        let write = |room: Stretch| {
            if units > room.units {
                let item = codec::first_item(record).ok_or(Stop::Corrupt)?;
                return self.put_in_overflow([item, &[]], room);
            }
            self.write(room.start, record);
            Ok(Moved { items: 1, units })
        };
        let waiting = Waiting::new(deadline, peer_check);
        self.raw().put(self.bounds, units, self, waiting, write)?;
        Ok(())
    }

    /// Puts one item whose bytes are in two parts.
    pub(super) fn put_whole(
        &self,
        whole: &Whole<'_>,
        deadline: Deadline,
        peer_check: PeerCheck<'_>,
    ) -> Result<(), Stop> {
        let units = u32::try_from(1 + whole.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
        let write = |room: Stretch| {
            if units > room.units {
                return self.put_in_overflow(whole.parts(), room);
            }
            let header = codec::header_of(whole.len() as u64).to_ne_bytes();
            let [head, piece] = whole.parts();
            self.write_bytes(room.start, 0, &header);
            self.write_bytes(room.start, UNIT, head);
            let (first, last) = piece.split_at(piece.len().saturating_sub(COPIED_MEANWHILE));
            self.write_bytes(room.start, UNIT + head.len(), first);
            if !first.is_empty() {
                self.raw().announce();
            }
            self.write_bytes(room.start, UNIT + head.len() + first.len(), last);
            Ok(Moved { items: 1, units })
        };
        let waiting = Waiting::new(deadline, peer_check);
        self.raw().put(self.bounds, units, self, waiting, write)?;
        Ok(())
    }

    /// Takes up to `most` records, at least one, and appends them to `buffer`.
    #[inline]
    pub(super) fn get_records(
        &self,
        buffer: &mut Vec<u8>,
        most: u32,
        deadline: Deadline,
        peer_check: PeerCheck<'_>,
    ) -> Result<(), Stop> {
        let mut has_copied = false;
        let read = |queued: Stretch| {
            let wanted = most.min(queued.items);
            // Copied before it is measured: a copy fetches many cache lines at once, a walk over headers one after the other.
            // The size copied is about what is wanted, going by the average.
            let average = queued.units / queued.items + 1;
            let guess = average.saturating_mul(wanted).min(queued.units);
            buffer.clear();
            self.append(queued.start, guess as usize * UNIT, buffer)?;
            let copied = Stretch { units: guess, ..queued };
            let mut refers = false;
            let mut units_of = |header| units_behind(header).inspect(|_| refers |= Reference::is_header(header));
            let measured = measure(copied, wanted, |unit| units_of(header_in(buffer, unit)?));
            let mut moved = measured.ok_or(Stop::Corrupt)?;
            while moved.items < wanted {
                let next = self.measure_one(queued.without(moved), &mut units_of);
                moved.items += 1;
                moved.units += next.ok_or(Stop::Corrupt)?.units;
            }
            if moved.units > guess {
                let more = (moved.units - guess) as usize * UNIT;
                self.append(queued.start.wrapping_add(guess), more, buffer)?;
            }
            buffer.truncate(moved.units as usize * UNIT);
            if refers {
                moved = self.get_referred(buffer, moved, &mut has_copied)?;
            }
            fills(queued, moved).then_some(moved).ok_or(Stop::Corrupt)
        };
        let waiting = Waiting::new(deadline, peer_check);
        self.raw().get(self.bounds, most, self, waiting, read)?;
        if has_copied {
            self.sweep();
        }
        Ok(())
    }

    /// Waits until there is something to take.
    pub(super) fn await_item(&self, deadline: Deadline, peer_check: PeerCheck<'_>) -> Result<(), Stop> {
        let waiting = Waiting::new(deadline, peer_check);
        self.raw().await_item(self.bounds, self, waiting)
    }

    /// Lets nothing more in.
    pub(super) fn close(&self) {
        self.raw().close(self);
    }

    /// Copies `bytes`, not more than the ring holds, to the units from `start` on.
    #[inline]
    pub(super) fn write(&self, start: u32, bytes: &[u8]) {
        let (spot, to_end) = self.spot(start);
        let (first, rest) = bytes.split_at(bytes.len().min(to_end));
        // SAFETY: the spot has `to_end` bytes, all in the ring. The units belong to the holder of the producers' lock, which
        // is the caller (Q1), and `bytes` lie in no segment.
        unsafe { codec::store_units(first.as_ptr(), spot, first.len()) };
        if !rest.is_empty() {
            // SAFETY: as above; what is left fits before the spot, since it is not more than the ring holds.
            unsafe { codec::store_units(rest.as_ptr(), self.ring(), rest.len()) };
        }
    }

    /// Copies `len` bytes, not more than the ring holds, from the units from `start` on to `target`, which has room for them.
    #[inline]
    pub(super) fn read(&self, start: u32, len: usize, target: *mut u8) {
        let (spot, to_end) = self.spot(start);
        let first = len.min(to_end);
        // SAFETY: the spot has `to_end` bytes in the ring; its units belong to the holder of the consumers' lock, which is the
        // caller (Q1). The target is the caller's own, in no segment, and has `len` bytes.
        unsafe { codec::load_units(spot, target, first) };
        if first < len {
            // SAFETY: as above; what is left lies at the ring's beginning.
            unsafe { codec::load_units(self.ring(), target.wrapping_add(first), len - first) };
        }
    }

    /// Copies `bytes` to the place `skip` bytes after unit `start`; the ring is larger than both.
    fn write_bytes(&self, start: u32, skip: usize, bytes: &[u8]) {
        let (spot, to_end) = self.spot_behind(start, skip);
        let (first, rest) = bytes.split_at(bytes.len().min(to_end));
        // SAFETY: as in `write`.
        unsafe { spot.copy_from_nonoverlapping(first.as_ptr(), first.len()) };
        // SAFETY: as in `write`; what is left fits before the spot.
        unsafe { self.ring().copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
    }

    /// Copies from the place `skip` bytes after unit `start` to all of `target`; the ring is larger than both.
    pub(super) fn read_bytes(&self, start: u32, skip: usize, target: &mut [MaybeUninit<u8>]) {
        let (spot, to_end) = self.spot_behind(start, skip);
        let len = target.len();
        let (first, rest) = target.split_at_mut(len.min(to_end));
        // SAFETY: as in `read`.
        unsafe {
            first
                .as_mut_ptr()
                .cast::<u8>()
                .copy_from_nonoverlapping(spot, first.len())
        };
        // SAFETY: as in `read`; what is left lies at the ring's beginning.
        unsafe {
            rest.as_mut_ptr()
                .cast::<u8>()
                .copy_from_nonoverlapping(self.ring(), rest.len())
        };
    }

    /// As [`spot`](Self::spot), `skip` bytes further on.
    fn spot_behind(&self, start: u32, skip: usize) -> (*mut u8, usize) {
        let (spot, to_end) = self.spot(start.wrapping_add((skip / UNIT) as u32));
        (spot.wrapping_add(skip % UNIT), to_end - skip % UNIT)
    }

    /// As [`read`](Self::read), to the end of `buffer`.
    pub(super) fn append(&self, start: u32, len: usize, buffer: &mut Vec<u8>) -> core::result::Result<(), Stop> {
        buffer.try_reserve(len).map_err(|_| Stop::OutOfMemory)?;
        self.read(start, len, buffer.spare_capacity_mut().as_mut_ptr().cast());
        // SAFETY: there was room for `len` bytes behind the buffer's old end, and they have just been written.
        unsafe { buffer.set_len(buffer.len() + len) };
        Ok(())
    }

    /// How much the first record of `queued` takes, according to its header; `None` if there is no such record.
    #[inline]
    pub(super) fn measure_one(&self, queued: Stretch, units_behind: impl FnOnce(u64) -> Option<u32>) -> Option<Moved> {
        let (spot, _) = self.spot(queued.start);
        // SAFETY: the spot is a unit of the ring, aligned as its units are, and belongs to the holder of the consumers' lock,
        // which is the caller (Q1).
        let header = unsafe { spot.cast::<u64>().read() };
        let units = units_behind(header)?;
        let moved = Moved { items: 1, units };
        (units <= queued.units && fills(queued, moved)).then_some(moved)
    }
}

/// A number of bytes in units; the highest number for what fits into no ring.
#[inline]
fn units_in(bytes: usize) -> u32 {
    u32::try_from(bytes / UNIT).unwrap_or(u32::MAX)
}

/// Units of a record in a ring, given its header.
#[inline]
fn units_behind(header: u64) -> Option<u32> {
    match codec::short_length_in(header) {
        Some(len) => Some(codec::units_of(len)),
        None => Reference::is_header(header).then_some(REFERENCE as u32),
    }
}

/// The header at a unit of `records`.
#[inline]
fn header_in(records: &[u8], unit: u32) -> Option<u64> {
    let header = records.get(unit as usize * UNIT..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*header))
}

/// How much the first records of `queued` take, counting those that lie in it as a whole, `most` at most; `None` if a record is
/// malformed. `units_at` returns the units of the record at a unit.
#[inline]
fn measure(queued: Stretch, most: u32, mut units_at: impl FnMut(u32) -> Option<u32>) -> Option<Moved> {
    let mut moved = Moved { items: 0, units: 0 };
    while moved.items < queued.items.min(most) && moved.units < queued.units {
        let units = units_at(moved.units)?;
        if units > queued.units - moved.units {
            break;
        }
        moved.units += units;
        moved.items += 1;
    }
    Some(moved)
}

/// Whether the records fill what is queued: once `moved` is taken, no units may be left over, and the remaining items must have
/// some.
#[inline]
pub(super) fn fills(queued: Stretch, moved: Moved) -> bool {
    let left = queued.without(moved);
    left.items <= left.units && (left.items > 0) == (left.units > 0)
}

/// How much the first of `records` take that fit into `room`; they are the records of `items` items. Each after the first may
/// also use the units reserved for it.
fn fitting(records: &[u8], items: u32, room: Stretch, reserve: u32) -> Moved {
    let units = records.len() / UNIT;
    let room_for = |items: u32| room.units as usize + (reserve as usize) * (items.max(1) as usize - 1);
    if items <= room.items && units <= room_for(items) {
        return Moved {
            items,
            units: units as u32,
        };
    }
    let mut moved = Moved { items: 0, units: 0 };
    let mut rest = records;
    while moved.items < room.items {
        let Some((item, next)) = codec::split_first(rest) else {
            break;
        };
        let units = 1 + item.len().div_ceil(UNIT);
        if units > room_for(moved.items + 1) - moved.units as usize {
            break;
        }
        moved.items += 1;
        moved.units += units as u32;
        rest = next;
    }
    moved
}
