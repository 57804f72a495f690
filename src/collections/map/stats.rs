//! `MapStats`: how full a map is, and how often lookups succeed.

use crate::raw::map::Totals;

/// Tells how full a map is, and how often keys were found.
///
/// Each number was right at one moment for each shard. Killing a process loses none of them.
///
/// # Examples
///
/// ```
/// let map = procshare::SharedMap::<u64, u64>::with_capacity(4096)?;
/// map.insert(&1, &2)?;
/// assert_eq!(map.stats().bytes_used, 32); // 16 of its own, and the two numbers
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MapStats {
    /// Entries that have not expired.
    pub entries: usize,
    /// Bytes that entries take, including what each of them takes for itself.
    pub bytes_used: usize,
    /// The rest of the capacity.
    pub bytes_free: usize,
    /// Calls of `get` and `get_or_insert_with` that found their key.
    pub hits: u64,
    /// Calls of these two that did not.
    pub misses: u64,
    /// Entries that were removed to make room for others.
    pub evictions: u64,
}

impl MapStats {
    pub(super) fn of(totals: Totals) -> Self {
        MapStats {
            entries: totals.entries as usize,
            bytes_used: totals.used as usize,
            bytes_free: totals.free as usize,
            hits: totals.hits,
            misses: totals.misses,
            evictions: totals.evictions,
        }
    }
}
