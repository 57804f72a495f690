//! `RawRing`: a bounded ring of slots between one producer and one consumer, without a lock.
//!
//! | state of a slot | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | not in `head .. tail` | the producer writes it | written | its successor overwrites it |
//! | written | not in `head .. tail` | the producer, by one store to `tail` | full | its successor overwrites it |
//! | full | in `head .. tail` | the consumer reads it | read | its successor reads it again |
//! | read | in `head .. tail` | the consumer, by one store to `head` | free | its successor reads it again |
//!
//! # Invariants
//!
//! - N1. One process at a time is the producer and one the consumer (S3): each stores only its own word.
//! - N2. A slot is whole before `tail` passes it, and read before `head` does.
//! - N3. What an end remembers of the other's word is a former value: it errs towards full and empty.

use crate::primitive::{AtomicU64, Ordering, Padded, crash_point};
use crate::raw::{EventCount, Stop, Waiting};

/// The words of a ring; its slots lie elsewhere. All zeros is an empty one.
#[repr(C)]
pub(crate) struct RawRing {
    pub(super) tail: Padded<AtomicU64>,
    pub(super) head: Padded<AtomicU64>,
    event_counts: Padded<EventCounts>,
}

#[repr(C)]
struct EventCounts {
    /// The consumer waits here for `tail` to move.
    items: EventCount,
    /// The producer waits here for `head` to move.
    room: EventCount,
}

/// Which end of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Producer,
    Consumer,
}

/// One end's place in the ring, in slots since the beginning: kept by its process, not shared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Where this end stands.
    pub(crate) own: u64,
    /// Where the other end stood when last looked at (N3).
    other: u64,
}

impl Place {
    /// Whether this end remembers a slot it may use.
    #[inline]
    pub(crate) fn has_slot(&self, end: End, capacity: u64) -> bool {
        match end {
            End::Producer => self.own.wrapping_sub(self.other) < capacity,
            End::Consumer => self.own != self.other,
        }
    }
}

impl RawRing {
    #[cfg(procshare_loom)]
    pub(crate) fn new() -> Self {
        RawRing {
            tail: Padded(AtomicU64::new(0)),
            head: Padded(AtomicU64::new(0)),
            event_counts: Padded(EventCounts {
                items: EventCount::new(),
                room: EventCount::new(),
            }),
        }
    }

    /// The word of an end, and the event count of the end that waits for it to move.
    #[inline]
    fn word_of(&self, end: End) -> (&AtomicU64, &EventCount) {
        match end {
            End::Producer => (&self.tail, &self.event_counts.items),
            End::Consumer => (&self.head, &self.event_counts.room),
        }
    }

    /// Where an end that has just been claimed stands.
    pub(crate) fn place(&self, end: End, capacity: u64) -> Place {
        // Relaxed: the seats' lock, by which the end was claimed, orders what its former holder stored.
        let own = self.word_of(end).0.load(Ordering::Relaxed);
        // The other end's word is remembered as one that leaves no slot, so that this end looks first.
        let other = match end {
            End::Producer => own.wrapping_sub(capacity),
            End::Consumer => own,
        };
        Place { own, other }
    }

    /// How many slots the end may use now: without a look at the other end if it remembers enough.
    #[inline]
    pub(crate) fn usable(&self, end: End, place: &mut Place, capacity: u64, wanted: u64) -> Result<u64, Stop> {
        let remembered = end.usable(place, capacity);
        if remembered >= wanted && remembered <= capacity {
            return Ok(remembered);
        }
        self.look(end, place, capacity)
    }

    /// As [`usable`](Self::usable), always looking.
    #[inline]
    pub(crate) fn look(&self, end: End, place: &mut Place, capacity: u64) -> Result<u64, Stop> {
        // Acquire: pairs with the Release in `advance` of the other end (N2).
        let other = self.word_of(end.other()).0.load(Ordering::Acquire);
        let now = Place { other, ..*place };
        match end.usable(&now, capacity) {
            usable if usable <= capacity => {
                *place = now;
                Ok(usable)
            }
            _ => Err(Stop::Corrupt), // What is remembered stays good.
        }
    }

    /// Waits until at least one slot can be used.
    #[cold]
    pub(crate) fn await_usable(
        &self,
        end: End,
        place: &mut Place,
        capacity: u64,
        waiting: Waiting<'_>,
    ) -> Result<u64, Stop> {
        let mut watch = waiting.begin();
        loop {
            let usable = self.look(end, place, capacity)?;
            if usable > 0 {
                watch.learn(usable, capacity);
                return Ok(usable);
            }
            let (word, event_count) = self.word_of(end.other());
            watch.until_moved(event_count, word, place.other)?;
        }
    }

    /// Passes `slots` slots on to the other end.
    #[inline]
    pub(crate) fn advance(&self, end: End, place: &mut Place, slots: u64) {
        let (word, event_count) = self.word_of(end);
        crash_point!("ring.used");
        place.own = place.own.wrapping_add(slots);
        // Release: pairs with the Acquire in `look` of the other end (N2).
        word.store(place.own, Ordering::Release);
        crash_point!("ring.advanced");
        event_count.notify();
    }

    /// Wakes both ends to look again.
    pub(crate) fn wake_all(&self) {
        for end in [End::Producer, End::Consumer] {
            self.word_of(end).1.wake_all();
        }
    }

    /// How many slots are full, as a hint.
    pub(crate) fn len(&self, capacity: u64) -> u64 {
        // Acquire: the loads keep their order; head may have moved on meanwhile, so that this counts too many, not too few.
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        tail.wrapping_sub(head).min(capacity)
    }
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            End::Producer => End::Consumer,
            End::Consumer => End::Producer,
        }
    }

    /// Slots between the two places that this end may use; more than the capacity if they contradict each other.
    #[inline]
    fn usable(self, place: &Place, capacity: u64) -> u64 {
        match self {
            End::Producer => capacity.wrapping_sub(place.own.wrapping_sub(place.other)),
            End::Consumer => place.other.wrapping_sub(place.own),
        }
    }
}

#[cfg(not(procshare_loom))]
const _: () = assert!(size_of::<RawRing>() == 3 * 64);
