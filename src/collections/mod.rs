//! Typed containers: `layout` finds the place, `raw` says what happens there, and these know the `T`.
//!
//! | you want | use |
//! |---|---|
//! | one value of several fields, read often, changed as a whole | [`SharedValue`] |
//! | a number to count with, overflow never silent | [`SharedCounter`] |
//! | a number without a lock, for statistics | [`SharedAtomic`], [`SharedAtomicArray`] |
//! | a lot of data, changed in place | [`SharedArray`] |
//! | a lot of data that never changes again | [`FrozenArray`] |
//! | values under keys; a cache | [`SharedMap`] |

mod array;
mod array_guard;
mod atomic;
mod counter;
mod frozen;
mod in_segment;
mod lock_error;
#[cfg(feature = "map")]
mod map;
mod value;
mod value_guard;

pub use array::SharedArray;
pub use array_guard::ArrayGuard;
pub use atomic::{AtomicInteger, SharedAtomic, SharedAtomicArray};
pub use counter::SharedCounter;
pub use frozen::FrozenArray;
pub use lock_error::LockError;
#[cfg(feature = "map")]
pub(crate) use map::NamedHasher;
#[cfg(feature = "map")]
pub use map::{MapBuilder, MapEntries, MapError, MapStats, SharedMap};
pub use value::SharedValue;
#[doc(hidden)]
pub use value::lock_and_unlock;
pub use value_guard::ValueGuard;
