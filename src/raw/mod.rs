//! State machines that live in shared memory. They know words and waiters; they know no `T`, no mapping, no lifetime.
//!
//! Every file here obeys the same rules:
//!
//! - R1. It is made of atomics only, and all zeros is its initial state: fresh memory needs no constructor.
//! - R2. It imports `primitive` and nothing else, so that a model checker can stand in for the machine.
//! - R3. A file that moves words opens with their states: which party may move them, and what happens if it dies there. Where
//!   each step is a change of the journal, as in `map`, it opens with the steps, and what a death between two of them leaves.
//!   Files that only read words, or say what they mean, have no states.
//! - R4. Its words are a peer's bytes: any value read from them is checked before it is used as an index or an id.

mod event_count;
#[cfg(any(feature = "messages", procshare_loom))]
mod extent;
#[cfg(any(feature = "messages", procshare_loom))]
mod host;
mod inheritance;
mod latch;
#[cfg(any(feature = "map", procshare_loom))]
pub(crate) mod map;
#[cfg(any(feature = "messages", procshare_loom))]
mod mark;
mod mutex;
#[cfg(any(feature = "messages", procshare_loom))]
mod overflow_cursor;
#[cfg(any(feature = "messages", procshare_loom))]
mod queue;
mod ring;
mod seat;
mod seats;
mod stamp;
mod wait;
mod waiting;
#[cfg(any(feature = "process", procshare_loom))]
pub(crate) mod work_queue;

pub(crate) use event_count::EventCount;
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) use extent::{Content, EXTENTS, RawExtent};
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) use host::QueueHost;
pub(crate) use latch::RawLatch;
#[cfg(not(procshare_loom))]
pub(crate) use latch::words_for;
#[cfg(any(feature = "messages", procshare_loom))]
pub(crate) use mark::{Bounds, Moved, Stretch};
pub(crate) use mutex::{Held, RawMutex, Refused};
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) use overflow_cursor::{POSITIONS, distance};
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) use queue::RawQueue;
pub(crate) use ring::{End, Place, RawRing};
pub(crate) use seat::Role;
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) use seats::MOST_SEATS;
#[cfg(not(procshare_loom))]
pub(crate) use seats::bytes_of_seats;
pub(crate) use seats::{NoSeat, RawSeats, Session, Ticket};
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub(crate) use waiting::PeerCheck;
pub(crate) use waiting::{Stop, Waiting};

#[cfg(all(test, procshare_loom))]
mod tests;
