//! `Waiting`: one call's wait for the other side of a queue or ring, as `wait` does it: the peers are all that have the other role.

use super::event_count::EventCount;
use super::mutex::Refused;
use super::seats::NoSeat;
use super::wait::{Awaited, Late, Turn, Waiter};
use crate::primitive::{AtomicU64, Deadline, Policy, Wait};
use core::time::Duration;

/// The longest sleep.
const LAST_SLICE: Duration = Duration::from_millis(64);

/// Why a call on a queue or ring ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing to take, or no room, and the call may not wait.
    WouldBlock,
    TimedOut,
    /// It has been closed; for a consumer: and nothing is left.
    Closed,
    /// Nobody is left on the other side; for a consumer: nor anything they left.
    Gone,
    /// The words contradict each other.
    Corrupt,
    /// There is no memory for an item outside the ring, or for a copy of it.
    #[cfg_attr(not(feature = "messages"), allow(dead_code, reason = "slots of a ring lie in it"))]
    OutOfMemory,
    /// The system refused to write or read an item outside the ring.
    #[cfg_attr(not(feature = "messages"), allow(dead_code, reason = "slots of a ring lie in it"))]
    Io,
    /// The lock of the caller's own side was refused.
    Lock(Refused),
    /// All seats are taken, so the caller could not be told from a process that has left.
    NoSeat,
    /// A process that looks for a seat has kept the caller from one for long, and must have been stopped.
    #[cfg_attr(not(feature = "messages"), allow(dead_code, reason = "ends have their seats"))]
    Busy,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WouldBlock => Stop::WouldBlock,
            Refused::TimedOut => Stop::TimedOut,
            Refused::WouldDeadlock | Refused::Foreign => Stop::Lock(refused),
        }
    }
}

impl From<NoSeat> for Stop {
    fn from(cause: NoSeat) -> Self {
        match cause {
            NoSeat::Lock(refused) => refused.into(),
            NoSeat::Full(_) | NoSeat::Taken(_) => Stop::NoSeat,
        }
    }
}

impl From<Late> for Stop {
    fn from(late: Late) -> Self {
        match late {
            Late::WouldBlock => Stop::WouldBlock,
            Late::TimedOut => Stop::TimedOut,
        }
    }
}

/// Tells whether anybody is left on the other side.
pub(crate) type PeerCheck<'a> = &'a dyn Fn() -> bool;

/// How long a call may wait, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Waiting<'a> {
    pub(crate) deadline: Deadline,
    peer_check: PeerCheck<'a>,
}

impl<'a> Waiting<'a> {
    #[inline]
    pub(crate) fn new(deadline: Deadline, peer_check: PeerCheck<'a>) -> Self {
        Waiting { deadline, peer_check }
    }

    /// Begins to wait.
    pub(super) fn begin(self) -> Watch<'a> {
        Watch {
            peer_check: self.peer_check,
            waiter: Waiter::new(self.deadline),
            forsaken: false,
        }
    }
}

/// What a call that waits remembers between two looks.
pub(super) struct Watch<'a> {
    peer_check: PeerCheck<'a>,
    /// If it has slept, the call wakes the next when it ends (W5).
    pub(super) waiter: Waiter,
    /// Nobody is left; the next look is the last (W4).
    forsaken: bool,
}

impl Watch<'_> {
    /// Waits until `word` may have changed from `seen`, or nobody is left that could change it.
    #[cold]
    pub(super) fn until_moved(&mut self, event_count: &EventCount, word: &AtomicU64, seen: u64) -> Result<(), Stop> {
        if self.forsaken {
            return Err(Stop::Gone); // The look after the verdict found nothing (W4).
        }
        let other_side = OtherSide {
            event_count,
            word,
            peer_check: self.peer_check,
        };
        self.forsaken = self.waiter.until_moved(&other_side, seen)? == Turn::Forsaken;
        Ok(())
    }

    /// Remembers how the wait ended, and how much there was in the end, for the next waits of this thread.
    pub(super) fn learn(&self, found: u64, capacity: u64) {
        if let Some(spin) = &self.waiter.spin {
            spin.learn_of_messages(self.waiter.asleep, found, capacity);
        }
    }
}

/// The word of the other side, which its processes move.
struct OtherSide<'a> {
    event_count: &'a EventCount,
    word: &'a AtomicU64,
    peer_check: PeerCheck<'a>,
}

impl Awaited for OtherSide<'_> {
    const POLICY: Policy = Policy::Messages;

    fn place(&self) -> (&AtomicU64, &EventCount) {
        (self.word, self.event_count)
    }

    /// A producer with much to copy wakes this call before it has finished: that says nothing about how long it will take.
    fn next_slice(slice: Duration, ending: Wait) -> Duration {
        match ending {
            Wait::TimedOut => (slice * 2).min(LAST_SLICE),
            _ => slice,
        }
    }

    fn is_forsaken(&self, _seen: u64, _still: Duration) -> bool {
        !(self.peer_check)()
    }
}
