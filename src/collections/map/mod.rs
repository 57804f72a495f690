//! A dictionary in shared memory: what it is (`shared_map`), one entry at a time (`access`), all of them (`whole`).

mod access;
mod builder;
mod bytes;
mod core;
mod entries;
mod error;
mod shared_map;
mod stats;
mod whole;

pub(crate) use self::core::NamedHasher;
pub use builder::MapBuilder;
pub use entries::MapEntries;
pub use error::MapError;
pub use shared_map::SharedMap;
pub use stats::MapStats;
