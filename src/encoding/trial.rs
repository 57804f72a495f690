//! `Trial`: whether what a type's `Serialize` writes is what its `Deserialize` reads.
//!
//! The two may differ: attributes can be set for one direction only, and `serde` cannot buffer integers beyond 64 bits. A
//! sender of such an item would be told that all is well, and the item would be lost at the other end. So the first items a
//! handle sends are decoded here before they are sent, and so is every item that is doubtful.

use super::items::{Encoded, decode};
#[cfg(feature = "messages")]
use super::output::Store;
use super::reason::EncodingReason;
use crate::primitive::{AtomicU64, Ordering};
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "process")]
use {core::any::TypeId, parking_lot::Mutex};

/// How many items are tried: variants of an enum may differ.
const TRIED: u64 = 16;

/// How many items have been tried.
#[derive(Debug, Default)]
pub(crate) struct Trial(AtomicU64);

/// The trials of arguments, for the life of the process: few types are used as arguments.
#[cfg(feature = "process")]
static OF_TYPES: Mutex<Vec<(TypeId, &Trial)>> = Mutex::new(Vec::new());

impl Trial {
    /// The trial of the arguments of type `T`.
    #[cfg(feature = "process")]
    pub(crate) fn of_type<T: ?Sized>() -> &'static Trial {
        let (of, mut trials) = (typeid::of::<T>(), OF_TYPES.lock());
        if let Some((_, trial)) = trials.iter().find(|(other, _)| *other == of) {
            return trial;
        }
        let trial = Box::leak(Box::new(Trial::default()));
        trials.push((of, trial));
        trial
    }

    /// Whether the next item is due to be tried, doubtful or not.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: it only counts, and one more or less does not matter.
        self.0.load(Ordering::Relaxed) < TRIED
    }

    /// Whether an item that has been encoded is due to be tried.
    #[inline(always)]
    pub(crate) fn is_due(&self, encoded: Encoded) -> bool {
        encoded.is_doubtful || self.is_on()
    }

    /// Tries the bytes of an item, if it is due to be tried.
    #[inline]
    pub(crate) fn check<T: DeserializeOwned>(&self, encoded: Encoded, bytes: &[u8]) -> Result<(), EncodingReason> {
        if self.is_due(encoded) {
            return self.decode::<T>(bytes);
        }
        Ok(())
    }

    /// As [`check`](Self::check), for an item that lies in a store.
    #[cfg(feature = "messages")]
    pub(crate) fn check_stored<T: DeserializeOwned>(
        &self,
        encoded: Encoded,
        store: &dyn Store,
    ) -> Result<(), EncodingReason> {
        let mut outcome = Ok(());
        if self.is_due(encoded) {
            // An item that cannot be read here may still be intact; the receiver reports what is wrong with it.
            let _ = store.read(encoded.stored, &mut |bytes| outcome = self.decode::<T>(bytes));
        }
        outcome
    }

    #[cold]
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<(), EncodingReason> {
        let tried = self.0.load(Ordering::Relaxed).saturating_add(1);
        self.0.store(tried.min(TRIED), Ordering::Relaxed);
        // A `Deserialize` that panics will do so where the item is received, as always; and there may be memory there.
        let outcome = catch_unwind(AssertUnwindSafe(|| decode::<T>(bytes).map(drop)));
        match outcome {
            Ok(Err(reason)) if !reason.is_of_memory() => Err(reason.not_taken_back()),
            _ => Ok(()),
        }
    }
}
