//! Shared-memory values, queues, dictionaries, child processes and pools that survive any kill.
//!
//! > **Kill any process at any instruction. No survivor hangs, no value is torn, nothing is left behind.**
//!
//! (A named segment whose last user was killed keeps its name and contents: it can be opened again, and the next `create` of that
//! name or [`clean`](fn@clean) removes it.)
//!
//! It is as easy as Python's `multiprocessing`. Types are checked when a segment is attached, a value is read without a
//! lock, and locking one costs less than an ordinary lock between threads (the README has the figures).
//!
//! ```no_run
//! use procshare::{Process, SharedValue};
//!
//! fn increment(counter: SharedValue<i32>, times: u32) {
//!     for _ in 0..times {
//!         *counter.get_lock() += 1; // copied out, published by one store when the guard drops
//!     }
//! }
//!
//! #[procshare::main] // or procshare::init() as the first line of main
//! fn main() -> procshare::Result<()> {
//!     let counter = SharedValue::new(0)?;
//!     let children = (0..4)
//!         .map(|_| Process::spawn(increment, (counter.clone(), 10_000)))
//!         .collect::<procshare::Result<Vec<_>>>()?;
//!     for child in children {
//!         child.join()?;
//!     }
//!     assert_eq!(counter.get(), 40_000);
//!     Ok(())
//! }
//! ```
//!
//! | you want | use | if a process dies inside |
//! |---|---|---|
//! | a value of several fields, read often, changed as a whole | [`SharedValue`] | its whole change is there, or none of it |
//! | a number to count with | [`SharedCounter`] | it has counted or not |
//! | a number without a lock | [`SharedAtomic`], [`SharedAtomicArray`] | nothing to notice |
//! | a lot of data, changed in place | [`SharedArray`] | every access reports it until somebody recovers the array |
//! | a lot of data that never changes again | [`FrozenArray`] | nothing to notice |
//! | values under keys; a cache | [`SharedMap`] | an entry is stored, changed or removed as a whole, or not |
//! | many objects under names in one place | [`Segment`] | an object is there whole, or not at all |
//! | messages from many to many | [`SharedQueue`] | an item is delivered or not; with no peers left, calls that would wait return `Disconnected` |
//! | a conversation between two processes | [`pipe`](fn@pipe), which makes two [`Connection`]s | the same |
//! | a stream of plain values from one to one | [`ring`](fn@ring), which makes a [`Producer`] and a [`Consumer`] | the same |
//! | a function in a process of its own | `Process` | how it ended is returned as a value |
//! | a function for many items, in a few processes | `Pool` | the item it held becomes an error; all others are done |
//!
//! Dictionaries come with the feature `map`, queues and pipes with `messages`, child processes and pools with `process`; all
//! are on by default.
//!
//! Limits: Linux, 64-bit; peers share one user id (or name the one they trust), one PID namespace and one time namespace; sizes
//! are fixed at creation, except those of items in queues and pipes. Peers must cooperate: they may crash, be killed or be old
//! builds, but one that writes to a segment without the library can cause errors, panics that say so, wrong numbers, waits without
//! end, SIGBUS, and, while an item of more than a mebibyte is decoded, undefined behaviour (`SECURITY.md` has the trust model).
//!
//! How it works, byte by byte and crash by crash: [`design`]; its table of invariants names the file of each protocol, such
//! as `raw/mutex.rs` for the lock. How items are encoded as bytes: [`wire_format`].

#[cfg(all(feature = "process", not(procshare_loom)))]
#[macro_use]
mod trace;

#[cfg(not(procshare_loom))]
mod collections;
pub mod design;
#[cfg(not(procshare_loom))]
mod encoding;
#[cfg_attr(procshare_loom, allow(dead_code, reason = "models make no errors"))]
mod error;
#[cfg(not(procshare_loom))]
mod layout;
#[cfg(not(procshare_loom))]
mod messages;
#[cfg(all(feature = "process", not(procshare_loom)))]
pub mod pool;
mod primitive;
#[cfg(all(feature = "process", not(procshare_loom)))]
pub mod process;
#[cfg_attr(
    procshare_loom,
    allow(dead_code, reason = "models drive the state machines from tests only")
)]
mod raw;
#[cfg(not(procshare_loom))]
mod segment;
#[cfg(not(procshare_loom))]
mod sys;
#[cfg(all(feature = "process", not(procshare_loom)))]
mod travel;
pub mod wire_format;

pub use error::{Error, ErrorKind, Result};

#[cfg(not(procshare_loom))]
pub use {
    collections::{
        ArrayGuard, AtomicInteger, FrozenArray, LockError, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter,
        SharedValue, ValueGuard,
    },
    encoding::EncodingReason,
    layout::Shareable,
    messages::{Consumer, Producer, ReadChunk, RecvError, SendError, WriteChunk, ring},
    segment::{ObjectInfo, Segment, SegmentBuilder, clean, clean_folder},
};

#[cfg(all(feature = "map", not(procshare_loom)))]
pub use collections::{MapBuilder, MapEntries, MapError, MapStats, SharedMap};
#[cfg(all(feature = "messages", not(procshare_loom)))]
pub use messages::{Batch, Capacity, Connection, Items, QueueBuilder, Receiver, Sender, SharedQueue, pipe};

/// Describes the structure of types in a segment, as programs compare and print it.
#[cfg(not(procshare_loom))]
pub mod schema {
    pub use crate::layout::{Field, Schema, Variant};
}

#[cfg(feature = "derive")]
pub use procshare_derive::Shareable;
#[cfg(all(feature = "process", not(procshare_loom)))]
pub use {
    pool::{handle::Pool, job_error::JobError},
    process::{entry::init, handle::Process, join_error::JoinError},
    procshare_derive::{main, test},
};

/// Serves the macros and this crate's own tests and benches; not part of the interface, and may change at any time.
#[cfg(not(procshare_loom))]
#[doc(hidden)]
pub mod __private {
    pub use crate::collections::lock_and_unlock;
    #[cfg(any(feature = "map", feature = "messages"))]
    pub use crate::encoding::{decode_bare as decode, encode_bare as encode, encode_bare_to as encode_to};
    pub use crate::layout::{PaddingMessage, field_bytes, is_transparent};
    #[cfg(feature = "crash-points")]
    pub use crate::primitive::crash::CRASH_POINTS;
    #[cfg(feature = "process")]
    pub use crate::process::entry::{enter_main, enter_test};
    #[cfg(any(fuzzing, feature = "crash-points"))]
    pub use crate::segment::inspect;

    /// Returns a builder whose children are made by a server that is a copy of this process.
    #[cfg(feature = "process")]
    pub fn template() -> crate::Result<crate::process::Builder> {
        crate::process::Server::forked().map(|server| crate::Process::builder().served_by(server))
    }

    /// Makes a map tell the time by `clock`, in milliseconds.
    #[cfg(feature = "map")]
    pub fn map_with_clock<K, V>(
        map: crate::SharedMap<K, V>,
        clock: std::sync::Arc<dyn Fn() -> u64 + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>,
    ) -> crate::SharedMap<K, V> {
        map.with_clock(clock)
    }

    /// Makes a map hash its keys in another way.
    #[cfg(feature = "map")]
    pub fn map_with_hasher<K: 'static, V: 'static>(
        builder: crate::MapBuilder<K, V>,
        name: &'static str,
        hash: fn(&[u8], u64) -> u64,
    ) -> crate::MapBuilder<K, V> {
        builder.hasher(crate::collections::NamedHasher { name, hash: Some(hash) })
    }

    /// Checks that no word of a map is lost. The map must not be in use.
    #[cfg(all(feature = "map", any(fuzzing, feature = "crash-points")))]
    pub fn verify_map<K, V>(map: &crate::SharedMap<K, V>) -> Result<(), String> {
        map.verify()
    }
}
