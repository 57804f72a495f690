//! `ChannelLayout`: how much a channel holds and how many may take part, and the bytes it takes.
//!
//! ```text
//! first line | RawQueue | seats | ring | extents, if items may lie outside the ring
//! ```

use super::capacity::Capacity;
use super::codec::UNIT;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, QUEUE_FORGETS, QUEUE_SEATS, Spec, text_fingerprint};
use crate::primitive::{AtomicU64, Ordering};
use crate::raw::{EXTENTS, MOST_SEATS, RawExtent, RawQueue, bytes_of_seats};
use crate::segment::{Handle, Segment, SegmentBuilder};
use std::fmt::Display;

/// A channel's flag: items that do not fit into its ring go elsewhere, if there is such a place.
const UNBOUNDED: u64 = 1;

/// The first line of a channel, which its creator writes, in words; the rest of the line is zero.
#[repr(C, align(64))]
struct ChannelHeader {
    units: AtomicU64,
    seats: AtomicU64,
    flags: AtomicU64,
    /// Written as zeros: padding would take along whatever the stack held, for every peer to read.
    unused: [u64; 5],
}

/// Where a channel's words are, and its seats; the ring follows them.
pub(super) const QUEUE_AT: usize = size_of::<ChannelHeader>();
pub(super) const SEATS_AT: usize = QUEUE_AT + size_of::<RawQueue>();
const BYTES_OF_EXTENTS: u64 = (EXTENTS * size_of::<RawExtent>()) as u64;

const _: () = {
    let [producers, consumers, event_counts] = &QUEUE_FORGETS;
    assert!(producers.start * 8 == QUEUE_AT && consumers.start * 8 == QUEUE_AT + 128);
    assert!(event_counts.start * 8 == QUEUE_AT + 256);
    let (count, seats, fixed) = QUEUE_SEATS;
    assert!(count * 8 == core::mem::offset_of!(ChannelHeader, seats));
    assert!(seats * 8 == SEATS_AT && fixed as u64 * 8 == bytes_of_seats(0));
};

/// How much a channel holds, and how many processes may take part: what its first line says.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelLayout {
    pub(super) capacity: Capacity,
    pub(super) seats: u64,
}

impl ChannelLayout {
    /// The layout of a new channel; the capacity is rounded, unless it does not matter.
    pub(super) fn new(capacity: Capacity, seats: u64) -> Self {
        ChannelLayout { capacity, seats }
    }

    pub(super) fn ring_at(&self) -> u64 {
        SEATS_AT as u64 + bytes_of_seats(self.seats)
    }

    /// Bytes of a channel: its extents follow its ring, if it can have any.
    fn bytes(&self) -> u64 {
        let extents = if self.capacity.in_items { BYTES_OF_EXTENTS } else { 0 };
        self.ring_at()
            .saturating_add(self.capacity.bytes)
            .saturating_add(extents)
    }

    /// The spec of an object made of channels for items of a type known by its name. The layout need not be known to open one.
    pub(super) fn spec<N: AsRef<str> + Display>(self, kind: Kind, type_name: &N) -> Spec<'_> {
        let channels = if kind == Kind::Pipe { 2 } else { 1 };
        Spec {
            kind,
            fingerprint: text_fingerprint(type_name.as_ref()),
            schema: type_name,
            len: self.capacity.items,
            bytes: self.bytes().saturating_mul(channels),
        }
    }

    /// The builder of a segment for such channels alone.
    pub(super) fn builder(self, spec: &Spec<'_>) -> Result<SegmentBuilder> {
        Ok(SegmentBuilder::for_object(spec)?.with_overflow(self.capacity.in_items))
    }

    /// Makes sure that items of such channels have a place outside their rings, if there can be one.
    pub(super) fn prepare(self, segment: &Segment) {
        if self.capacity.in_items {
            segment.decide_overflow();
        }
    }

    /// Writes an empty channel: zeros except for its first line; what its ring holds does not matter.
    fn write(self, address: *mut u8, memory_is_zero: bool) {
        if !memory_is_zero {
            // SAFETY: the object has that many bytes before its ring (`spec`), and nobody else has its address yet.
            unsafe { address.write_bytes(0, self.ring_at() as usize) };
            let behind = (self.ring_at() + self.capacity.bytes) as usize;
            // SAFETY: the object has the rest of its bytes behind the ring, and nobody else has its address yet.
            unsafe {
                address
                    .wrapping_add(behind)
                    .write_bytes(0, self.bytes() as usize - behind)
            };
        }
        let line = ChannelHeader {
            units: AtomicU64::new(self.capacity.bytes / UNIT as u64),
            seats: AtomicU64::new(self.seats),
            flags: AtomicU64::new(if self.capacity.in_items { UNBOUNDED } else { 0 }),
            unused: [0; 5],
        };
        // SAFETY: as above; the channel begins with its first line, on a cache line.
        unsafe { address.cast::<ChannelHeader>().write(line) };
    }

    /// Writes a new queue.
    pub(super) fn write_queue(self) -> impl Fn(*mut u8, bool) {
        move |address, memory_is_zero| self.write(address, memory_is_zero)
    }

    /// Writes a new pipe.
    pub(super) fn write_pipe(self) -> impl Fn(*mut u8, bool) {
        let bytes = self.bytes() as usize;
        move |address, memory_is_zero| {
            self.write(address, memory_is_zero);
            self.write(address.wrapping_add(bytes), memory_is_zero);
        }
    }

    /// The layout at `at` in an object whose channels have `bytes` bytes each, if it is a possible one.
    pub(super) fn read(handle: &Handle, at: usize, bytes: u64) -> Result<Self> {
        let found = Self::found(handle, at, bytes).filter(|layout| {
            (1..=MOST_SEATS as u64).contains(&layout.seats)
                && layout.bytes() == bytes
                && layout
                    .capacity
                    .rounded()
                    .is_ok_and(|rounded| rounded == layout.capacity)
        });
        found.ok_or_else(|| {
            let message = format!(
                "the header of a channel of {} items and {bytes} bytes is invalid",
                handle.len()
            );
            Error::new(ErrorKind::Corrupt, message).in_segment(handle.segment().label())
        })
    }

    /// The words of the first line, if there is one.
    fn found(handle: &Handle, at: usize, bytes: u64) -> Option<Self> {
        if bytes % 64 != 0 || bytes <= SEATS_AT as u64 {
            return None;
        }
        // SAFETY: the object has that many bytes from there on, on a cache line: it is made of channels of `bytes` bytes. The
        // line is made of atomics.
        let line = unsafe { &*handle.address().wrapping_add(at).cast::<ChannelHeader>() };
        // Relaxed: written before the object was found, and not since.
        let [units, seats, flags] = [&line.units, &line.seats, &line.flags].map(|word| word.load(Ordering::Relaxed));
        let capacity = Capacity {
            items: handle.len(),
            bytes: units.checked_mul(UNIT as u64)?,
            in_items: flags == UNBOUNDED,
        };
        (flags <= UNBOUNDED && seats <= MOST_SEATS as u64).then_some(ChannelLayout { capacity, seats })
    }
}
