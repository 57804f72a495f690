//! `RawQueue`: a bounded queue of records in a ring of 8-byte units; two locks, each with one word to publish by.
//!
//! | state | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | unit is free | not in `head .. tail` | holder of the producers' lock writes a record there | still free | the next holder overwrites it |
//! | | | that holder, by one store to `tail` | queued | delivered; the lock is taken over |
//! | record is queued | in `head .. tail` | holder of the consumers' lock copies it | still queued | the next holder takes it |
//! | | | that holder, by one store to `head` | free | it is gone with the taker |
//! | open | `closing` 0 | any process, by one store | closing | closing; sleepers look when their slice ends |
//! | closing | `closing` 1, `CLOSED` not in `tail` | any holder of the producers' lock, by one store to `tail` | closed | closed, or closing: the next to find it empty closes it |
//!
//! Where items may lie outside the ring (`raw/overflow_cursor.rs`), a record may be a reference to one, and the ring has room for
//! as many references as items may be queued: only the room beyond that is for items.
//!
//! # Invariants
//!
//! - Q1. Only the holder of the producers' lock stores `tail`, only that of the consumers' lock `head`; neither ever passes the
//!   other: `head ≤ tail ≤ head + bounds`, in items and in units.
//! - Q2. A record is whole before `tail` passes it, and copied before `head` does.
//! - Q3. Nothing follows a record once `CLOSED` is in `tail`: a process that reads it there has seen the last record. While the
//!   queue is closing, a holder that had the producers' lock before may still publish one; later holders do not.
//! - Q4. `seen` on either side is a former value of the other side's word: it errs towards full and empty.
//! - Q5. No call waits for items or room while it holds a lock.
//! - Q6. A producer that was woken for room it cannot use wakes the next, once for each `head`: others may want less.
//! - Q7. Where items may lie outside the ring, `reserve` units of it are free for each further item.

use super::host::QueueHost;
use super::mark::{Bounds, CLOSED, Mark, Moved, Stretch};
use super::overflow_cursor::OverflowCursor;
use super::waiting::Watch;
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Padded, crash_point};
use crate::raw::{End, EventCount, RawMutex, Stop, Waiting};

/// How one attempt to put or take ended.
enum Step {
    /// This much was moved, out of this many items that were there, or had room.
    Moved { moved: Moved, of: u32 },
    /// Too little room, or no record: the other side's word as it was then, and whether there is any room.
    Blocked { now: Mark, spare: bool },
}

/// One side's lock, what it last saw of the other side's word, and where it stands outside the ring.
#[repr(C)]
pub(super) struct Side {
    pub(super) lock: RawMutex,
    seen: AtomicU64,
    overflow_cursor: OverflowCursor,
}

/// The words of a queue; its ring lies elsewhere. All zeros is an empty one.
#[repr(C)]
pub(crate) struct RawQueue {
    pub(super) producers: Padded<Side>,
    pub(super) tail: Padded<Tail>,
    pub(super) consumers: Padded<Side>,
    pub(super) head: Padded<AtomicU64>,
    pub(super) event_counts: Padded<EventCounts>,
}

#[repr(C)]
pub(super) struct Tail {
    pub(super) mark: AtomicU64,
    /// Beside the word that its readers are about to change: it costs no cache line.
    pub(super) closing: AtomicU64,
}

#[repr(C)]
pub(super) struct EventCounts {
    /// Consumers wait here for `tail` to move.
    pub(super) items: EventCount,
    /// Producers wait here for `head` to move.
    pub(super) room: EventCount,
}

/// A side's lock, held; given back on drop.
struct Guard<'a> {
    lock: &'a RawMutex,
    owner: OwnerId,
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.unlock(self.owner);
    }
}

impl Side {
    #[inline]
    fn lock(&self, end: End, host: &impl QueueHost, deadline: Deadline) -> Result<Guard<'_>, Stop> {
        let held = self.lock.lock_while_held_shortly(|| host.peers(), deadline)?;
        if held.inconsistent {
            // A holder that died here had published its record, or taken it, by one store or not at all (Q2).
            host.inherit(end);
            self.lock.mark_consistent();
        }
        Ok(Guard {
            lock: &self.lock,
            owner: held.owner,
        })
    }
}

impl RawQueue {
    #[cfg(procshare_loom)]
    pub(crate) fn new() -> Self {
        let side = || {
            Padded(Side {
                lock: RawMutex::new(),
                seen: AtomicU64::new(0),
                overflow_cursor: OverflowCursor::new(),
            })
        };
        RawQueue {
            producers: side(),
            tail: Padded(Tail {
                mark: AtomicU64::new(0),
                closing: AtomicU64::new(0),
            }),
            consumers: side(),
            head: Padded(AtomicU64::new(0)),
            event_counts: Padded(EventCounts {
                items: EventCount::new(),
                room: EventCount::new(),
            }),
        }
    }

    /// Waits for room for one record of `least` units, has `write` fill what it can, and publishes that. Where items may lie
    /// outside the ring, it waits for room for one item only: `write` is told how many units there are, perhaps too few.
    #[inline]
    pub(crate) fn put(
        &self,
        bounds: Bounds,
        least: u32,
        host: &impl QueueHost,
        waiting: Waiting<'_>,
        mut write: impl FnMut(Stretch) -> Result<Moved, Stop>,
    ) -> Result<Moved, Stop> {
        let deadline = waiting.deadline;
        match self.try_put(bounds, least, host, deadline, &mut write)? {
            Step::Moved { moved, .. } => Ok(moved),
            Step::Blocked { now, .. } => {
                let again = || self.try_put(bounds, least, host, deadline, &mut write);
                self.insist(End::Producer, waiting, now, bounds, again)
            }
        }
    }

    /// Waits for a record, has `read` copy what it wants, at most `most` records, and takes that out.
    #[inline]
    pub(crate) fn get(
        &self,
        bounds: Bounds,
        most: u32,
        host: &impl QueueHost,
        waiting: Waiting<'_>,
        mut read: impl FnMut(Stretch) -> Result<Moved, Stop>,
    ) -> Result<Moved, Stop> {
        let deadline = waiting.deadline;
        match self.try_get(bounds, most, host, deadline, &mut read)? {
            Step::Moved { moved, .. } => Ok(moved),
            Step::Blocked { now, .. } => {
                let again = || self.try_get(bounds, most, host, deadline, &mut read);
                self.insist(End::Consumer, waiting, now, bounds, again)
            }
        }
    }

    /// Tries again whenever the other side's word has moved from `seen`.
    #[cold]
    fn insist(
        &self,
        end: End,
        waiting: Waiting<'_>,
        seen: Mark,
        bounds: Bounds,
        again: impl FnMut() -> Result<Step, Stop>,
    ) -> Result<Moved, Stop> {
        let (event_count, word): (_, &AtomicU64) = match end {
            End::Producer => (&self.event_counts.room, &self.head),
            End::Consumer => (&self.event_counts.items, &self.tail.mark),
        };
        let mut watch = waiting.begin();
        let outcome = Self::insist_awake(event_count, word, &mut watch, seen, again);
        if let Ok((_, of)) = outcome {
            watch.learn(u64::from(of), u64::from(bounds.items));
        }
        if watch.waiter.slept {
            event_count.wake(); // W5.
        }
        outcome.map(|(moved, _)| moved)
    }

    fn insist_awake(
        event_count: &EventCount,
        word: &AtomicU64,
        watch: &mut Watch<'_>,
        mut seen: Mark,
        mut again: impl FnMut() -> Result<Step, Stop>,
    ) -> Result<(Moved, u32), Stop> {
        loop {
            watch.until_moved(event_count, word, seen.0)?;
            match again()? {
                Step::Moved { moved, of } => return Ok((moved, of)),
                Step::Blocked { now, spare } => {
                    // Room too small for this record may do for another's (Q6); no two calls pass the same word back and forth.
                    if watch.waiter.slept && spare && now != seen {
                        event_count.wake();
                    }
                    seen = now;
                }
            }
        }
    }

    /// Puts if there is room, and tells what it saw of `head` if there is none.
    #[inline]
    fn try_put(
        &self,
        bounds: Bounds,
        least: u32,
        host: &impl QueueHost,
        deadline: Deadline,
        write: &mut impl FnMut(Stretch) -> Result<Moved, Stop>,
    ) -> Result<Step, Stop> {
        let guard = self.producers.lock(End::Producer, host, deadline)?;
        let tail = Mark(self.tail.mark.load(Ordering::Relaxed));
        // Relaxed: a caller that was told of the closing was told by other means.
        if self.tail.closing.load(Ordering::Relaxed) != 0 {
            self.end(guard);
            return Err(Stop::Closed);
        }
        // Relaxed: it was read with Acquire before it was kept here, by this thread or one that held the lock before.
        let mut head = Mark(self.producers.seen.load(Ordering::Relaxed));
        let mut room = tail.room(head, bounds);
        if !is_enough(room, least) {
            // Acquire: pairs with the Release in `try_get`; what was there has been copied (Q2).
            head = Mark(self.head.load(Ordering::Acquire));
            self.producers.seen.store(head.0, Ordering::Relaxed);
            room = tail.room(head, bounds);
        }
        let room = room.ok_or(Stop::Corrupt)?;
        // A record without room in the ring goes outside, where that is allowed.
        if !is_enough(Some(room), least) && (bounds.reserve == 0 || room.items == 0) {
            // Q5: the guard is dropped before the call waits.
            let spare = room.items > 0;
            return Ok(Step::Blocked { now: head, spare });
        }
        let moved = write(room)?;
        crash_point!("queue.put.copied");
        // Release: pairs with the Acquire in `try_get`; the records are whole (Q2).
        self.tail.mark.store(tail.after(moved).0, Ordering::Release);
        crash_point!("queue.put.published");
        drop(guard);
        crash_point!("queue.put.unlocked");
        self.event_counts.items.notify();
        Ok(Step::Moved { moved, of: room.items })
    }

    /// Takes if there is a record, and tells what it saw of `tail` if there is none.
    #[inline]
    fn try_get(
        &self,
        bounds: Bounds,
        most: u32,
        host: &impl QueueHost,
        deadline: Deadline,
        read: &mut impl FnMut(Stretch) -> Result<Moved, Stop>,
    ) -> Result<Step, Stop> {
        let guard = self.consumers.lock(End::Consumer, host, deadline)?;
        let head = Mark(self.head.load(Ordering::Relaxed));
        // Relaxed: as in `try_put`.
        let mut tail = Mark(self.consumers.seen.load(Ordering::Relaxed));
        let mut queued = tail.since(head, bounds);
        if queued.is_none_or(|queued| queued.items < most) {
            // Acquire: pairs with the Release in `try_put`; the records are whole (Q2).
            tail = Mark(self.tail.mark.load(Ordering::Acquire));
            self.consumers.seen.store(tail.0, Ordering::Relaxed);
            queued = tail.since(head, bounds);
        }
        let queued = queued.ok_or(Stop::Corrupt)?;
        if queued.items == 0 {
            // Q3 and Q5: the guard is dropped before the call waits.
            drop(guard);
            return if tail.is_closed() || self.is_closed() && self.close_at(tail, host) {
                Err(Stop::Closed)
            } else {
                Ok(Step::Blocked {
                    now: tail,
                    spare: false,
                })
            };
        }
        let moved = read(queued)?;
        crash_point!("queue.get.copied");
        // Release: pairs with the Acquire in `try_put`; the records have been copied (Q2).
        self.head.store(head.after(moved).0, Ordering::Release);
        crash_point!("queue.get.taken");
        host.taken();
        drop(guard);
        crash_point!("queue.get.unlocked");
        self.event_counts.room.notify();
        Ok(Step::Moved {
            moved,
            of: queued.items,
        })
    }

    /// Waits for a record, or the end, and takes nothing.
    pub(crate) fn await_item(&self, bounds: Bounds, host: &impl QueueHost, waiting: Waiting<'_>) -> Result<(), Stop> {
        let mut watch = waiting.begin();
        let outcome = self.await_item_awake(bounds, host, &mut watch);
        if watch.waiter.slept {
            self.event_counts.items.wake(); // W5: it leaves the item to another waiter.
        }
        outcome
    }

    fn await_item_awake(&self, bounds: Bounds, host: &impl QueueHost, watch: &mut Watch<'_>) -> Result<(), Stop> {
        loop {
            let (tail, queued) = self.look(bounds);
            if queued.ok_or(Stop::Corrupt)?.items > 0 {
                return Ok(());
            }
            if tail.is_closed() || self.is_closed() && self.close_at(tail, host) {
                return Err(Stop::Closed);
            }
            watch.until_moved(&self.event_counts.items, &self.tail.mark, tail.0)?;
        }
    }

    /// Lets nothing more in (Q3), whichever process holds a lock. What is queued can still be taken.
    pub(crate) fn close(&self, host: &impl QueueHost) {
        // Release, without a partner of its own: the producers' lock orders it against all puts but one.
        self.tail.closing.store(1, Ordering::Release);
        crash_point!("queue.close.stored");
        // A process that looks at a word before it sleeps finds it changed. Where the lock's holder was stopped, the end of the
        // sleepers' slices does that.
        let ends = [
            (End::Producer, &self.producers, &self.tail.mark),
            (End::Consumer, &self.consumers, &self.head),
        ];
        for (end, side, word) in ends {
            if let Ok(_guard) = side.lock(end, host, Deadline::Now) {
                word.store(word.load(Ordering::Relaxed) | CLOSED, Ordering::Release);
                crash_point!("queue.close.stored");
            }
        }
        self.wake_all();
    }

    /// Turns closing into closed at `tail`, where the caller has found the queue empty, if nobody can be about to put: a holder of
    /// the producers' lock can, even while it is stopped.
    #[cold]
    fn close_at(&self, tail: Mark, host: &impl QueueHost) -> bool {
        match self.producers.lock(End::Producer, host, Deadline::Now) {
            Ok(guard) => self.end(guard) == tail,
            Err(_) => false,
        }
    }

    /// Turns closing into closed after what was put, and returns where that was; gives the producers' lock back. The close call
    /// may have found the lock held, and others may have begun to sleep since.
    #[cold]
    fn end(&self, guard: Guard<'_>) -> Mark {
        let tail = self.tail.mark.load(Ordering::Relaxed);
        if tail & CLOSED == 0 {
            // Release: pairs with the Acquire of the call that takes.
            self.tail.mark.store(tail | CLOSED, Ordering::Release);
            drop(guard);
            self.event_counts.items.wake_all();
        }
        Mark(tail & !CLOSED)
    }

    /// Wakes a call that waits for an item still being copied: by the time it runs, the item may be there.
    #[cfg(not(procshare_loom))]
    pub(crate) fn announce(&self) {
        self.event_counts.items.notify();
    }

    /// Has what a dead producer left behind put in order, if the lock is free at once.
    #[cfg(not(procshare_loom))]
    pub(crate) fn recover_producers(&self, host: &impl QueueHost) {
        if let Ok(held) = self.producers.lock.lock(|| host.peers(), Deadline::Now) {
            host.inherit(End::Producer);
            self.producers.lock.mark_consistent();
            self.producers.lock.unlock(held.owner);
        }
    }

    /// How many items have been put: a hint, unless the caller holds the producers' lock.
    #[cfg(not(procshare_loom))]
    pub(crate) fn count_put(&self) -> u32 {
        Mark(self.tail.mark.load(Ordering::Relaxed)).items()
    }

    /// How many items have been taken.
    #[cfg(not(procshare_loom))]
    pub(crate) fn count_taken(&self) -> u32 {
        // Acquire: pairs with the Release in `try_get`; what was there has been copied.
        Mark(self.head.load(Ordering::Acquire)).items()
    }

    /// Where the producers stand outside the ring; the caller holds their lock.
    #[cfg(not(procshare_loom))]
    pub(crate) fn written(&self) -> &OverflowCursor {
        &self.producers.overflow_cursor
    }

    /// Where the consumers stand outside the ring.
    #[cfg(not(procshare_loom))]
    pub(crate) fn freed(&self) -> &OverflowCursor {
        &self.consumers.overflow_cursor
    }

    /// Begins a put outside the ring; the caller holds the producers' lock.
    #[cfg(not(procshare_loom))]
    pub(crate) fn begin_outside(&self) {
        self.roll_back();
        self.written().begin(self.tail.mark.load(Ordering::Relaxed));
    }

    /// Takes back what was put outside the ring and not published; the caller holds the producers' lock.
    #[cfg(not(procshare_loom))]
    pub(crate) fn roll_back(&self) {
        self.written()
            .roll_back(self.tail.mark.load(Ordering::Relaxed), self.freed().at());
    }

    /// Notes that once `moved` is taken, all bytes before `position` will have been taken; the caller holds the consumers' lock.
    #[cfg(not(procshare_loom))]
    pub(crate) fn note(&self, moved: Moved, position: u64) {
        let head = Mark(self.head.load(Ordering::Relaxed));
        self.freed().note(position, head.after(moved).0);
    }

    /// Bytes outside the ring that were taken but not yet given back; the caller holds the consumers' lock.
    #[cfg(not(procshare_loom))]
    #[inline]
    pub(crate) fn to_give_back(&self) -> Option<(u64, u64)> {
        self.freed().left_by(self.head.load(Ordering::Relaxed))
    }

    /// Wakes all sleepers to look again.
    pub(crate) fn wake_all(&self) {
        self.event_counts.items.wake_all();
        self.event_counts.room.wake_all();
    }

    /// Whether it has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.tail.closing.load(Ordering::Relaxed) != 0 // Relaxed: a hint.
    }

    /// What is queued now, as a hint.
    pub(crate) fn queued(&self, bounds: Bounds) -> Stretch {
        let empty = Stretch {
            start: 0,
            items: 0,
            units: 0,
        };
        self.look(bounds).1.unwrap_or(empty)
    }

    /// A tail and what is queued before it: two words that were valid together at one moment, as shown by a head that has not
    /// moved meanwhile.
    fn look(&self, bounds: Bounds) -> (Mark, Option<Stretch>) {
        loop {
            let head = Mark(self.head.load(Ordering::Acquire));
            // Acquire, here and above: the loads keep their order.
            let tail = Mark(self.tail.mark.load(Ordering::Acquire));
            if self.head.load(Ordering::Relaxed) == head.0 {
                return (tail, tail.since(head, bounds));
            }
        }
    }
}

#[inline]
fn is_enough(room: Option<Stretch>, least: u32) -> bool {
    room.is_some_and(|room| room.items > 0 && room.units >= least)
}

#[cfg(not(procshare_loom))]
const _: () = {
    assert!(size_of::<RawQueue>() == 5 * 64);
    // Words that a restart of the machine makes void are cleared by position: `layout::directory::QUEUE_FORGETS`.
    use core::mem::offset_of;
    assert!(offset_of!(RawQueue, producers) == 0 && offset_of!(RawQueue, tail) == 64);
    assert!(offset_of!(RawQueue, consumers) == 128 && offset_of!(RawQueue, head) == 192);
    assert!(offset_of!(RawQueue, event_counts) == 256);
};
