//! A dictionary in shared memory: what it is (`shared_map`), one entry at a time (`access`), all of them (`whole`).

mod access;
mod builder;
mod bytes;
mod entries;
mod error;
mod hasher;
mod shared_map;
mod stats;
mod untyped;
mod whole;

pub use builder::MapBuilder;
pub use entries::MapEntries;
pub use error::MapError;
pub(crate) use hasher::NamedHasher;
pub use shared_map::SharedMap;
pub use stats::MapStats;
