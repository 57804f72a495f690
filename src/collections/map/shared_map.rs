//! `SharedMap<K, V>`: the type, the ways to make or open one, and what concerns the map as a whole.

use super::error::MapError;
use super::stats::MapStats;
use super::untyped::{Clock, EntryOf, Patience, UntypedMap};
use crate::encoding::Trial;
use crate::error::Result;
use crate::segment::Handle;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Keeps values under keys, for many processes, without a server.
///
/// Keys and values are anything `serde` can encode: strings, vectors, structs, enums, maps in maps. The map stores copies:
/// calls take references and return values. Two keys are the same if their encodings are. The map has a fixed capacity in
/// bytes, for all entries together. A value may be nearly as large as the free space: every other shard may hold on to less
/// than a region, about 4 KiB in maps of up to 8 MiB; a map of one shard can use all of it. A key takes up to about 4,000
/// bytes, less in maps of less than 64 KiB a shard.
///
/// Entries are spread over shards by the hash of their keys (rapidhash, seeded for each map). A writer locks the entry's shard;
/// a reader takes no lock, and waits only while an entry of the same shard is being written. Encoding happens before a lock is
/// taken and decoding after it is released, except in [`update`](Self::update).
///
/// Calls on one entry are atomic; [`clear`](Self::clear), [`extend`](Self::extend), [`retain`](Self::retain) and
/// [`iter`](Self::iter) take several steps. Inside the closure of an `update` no map can be used: calls return
/// [`WouldDeadlock`](MapError::WouldDeadlock), except [`len`](Self::len), [`is_empty`](Self::is_empty) and
/// [`stats`](Self::stats), which then count expired entries too.
///
/// # As a cache
///
/// A map made with [`MapBuilder::evict_lru`](crate::MapBuilder::evict_lru) makes room for new entries by removing the least
/// recently used ones. Each shard keeps its own order, so the entry removed is only roughly the oldest of the map. Reading an entry
/// notes its use, unless the shard's lock is held just then. The entries of any map may have a time to live, see
/// [`MapBuilder::time_to_live`](crate::MapBuilder::time_to_live). An entry that has expired is as good as removed.
///
/// # What happens on death
///
/// A process killed while it stores or removes has done so or not: the next to lock the shard undoes what was half-done, in as
/// many steps as were taken, and goes on; others notice nothing but a pause of some milliseconds, and users of other shards not
/// even that. No bytes are lost.
///
/// # Waiting
///
/// A lock is held while an entry is copied, or an `update`'s closure runs; in a full map also while entries make room.
/// [`with_timeout`](Self::with_timeout), [`with_deadline`](Self::with_deadline) and [`without_waiting`](Self::without_waiting)
/// give handles whose calls all give up in time.
///
/// # Examples
///
/// ```
/// use procshare::{Process, SharedMap};
///
/// fn count(words: SharedMap<String, u64>, text: String) -> procshare::Result<()> {
///     for word in text.split(' ') {
///         words.update(word, |count| Some(count.unwrap_or(0) + 1))?;
///     }
///     Ok(())
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let words = SharedMap::with_capacity(1 << 20)?;
///     let texts = ["the cat and the dog", "the dog and the bird"];
///     let children = texts
///         .map(|text| Process::spawn(count, (words.clone(), text.to_owned())))
///         .into_iter()
///         .collect::<procshare::Result<Vec<_>>>()?;
///     children.into_iter().try_for_each(|child| child.join()?)?;
///     assert_eq!(words.get("the")?, Some(4));
///     assert_eq!(words.len(), 5);
///     Ok(())
/// }
/// ```
pub struct SharedMap<K, V> {
    pub(super) untyped: UntypedMap,
    /// Whether the keys and values this handle stores can be decoded again.
    pub(super) keys: Trial,
    pub(super) values: Trial,
    entry: PhantomData<EntryOf<K, V>>,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self::of(self.untyped.clone())
    }
}

impl<K, V> SharedMap<K, V> {
    pub(super) fn of(untyped: UntypedMap) -> Self {
        SharedMap {
            untyped,
            keys: Trial::default(),
            values: Trial::default(),
            entry: PhantomData,
        }
    }

    /// Makes a map from a handle that was passed to this process.
    #[cfg(feature = "process")]
    pub(crate) fn adopt(handle: Handle) -> Result<Self> {
        Ok(Self::of(UntypedMap::adopt(handle, super::hasher::RAPIDHASH)?))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.untyped.handle()
    }

    fn with_patience(&self, patience: Patience) -> Self {
        let mut other = self.clone();
        other.untyped.patience = patience;
        other
    }

    /// Returns a handle whose calls wait at most `timeout` for a lock.
    ///
    /// They then return [`TimedOut`](MapError::TimedOut). The limit belongs to the handle, not to the map, and does not travel
    /// to a child.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.with_timeout(std::time::Duration::from_millis(50)).insert(&1, &2)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.with_patience(Patience::For(timeout))
    }

    /// Returns a handle whose calls wait for a lock until `deadline`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.with_deadline(Instant::now() + Duration::from_millis(50)).insert(&1, &2)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        self.with_patience(Patience::Until(deadline))
    }

    /// Returns a handle whose calls do not wait for a lock.
    ///
    /// They return [`WouldBlock`](MapError::WouldBlock) if a living thread or process holds it.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.without_waiting().insert(&1, &2)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn without_waiting(&self) -> Self {
        self.with_patience(Patience::None)
    }

    /// Returns how many bytes there are for entries.
    ///
    /// It is the capacity asked for, rounded up. An entry takes 16 bytes, plus its key and its value, each rounded up to eight,
    /// eight more in a map that evicts, and eight more if it expires.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedMap::<u32, u32>::with_capacity(1 << 16)?.capacity(), 1 << 16);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.untyped.shape().capacity() as usize
    }

    /// Returns how many entries there are, as a hint.
    ///
    /// The number was right at one moment for each shard; peers may have changed it since.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.insert(&1, &2)?;
    /// assert_eq!(map.len(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.untyped.len()
    }

    /// Tells whether there are no entries, as a hint.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::SharedMap::<u32, u32>::with_capacity(4096)?.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how full the map is, and how often keys were found.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.insert(&1, &2)?;
    /// map.get(&1)?;
    /// map.get(&3)?;
    /// let stats = map.stats();
    /// assert_eq!((stats.entries, stats.hits, stats.misses), (1, 1, 1));
    /// assert_eq!(stats.bytes_used + stats.bytes_free, 4096);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> MapStats {
        MapStats::of(self.untyped.totals())
    }

    /// Removes all entries, one after the other.
    ///
    /// Entries that others store in the meantime may stay. A process killed during the call has removed some.
    ///
    /// # Errors
    ///
    /// The errors of locking a shard.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.insert(&1, &2)?;
    /// map.clear()?;
    /// assert!(map.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn clear(&self) -> Result<(), MapError> {
        (0..self.untyped.shape().shards()).try_for_each(|shard| self.untyped.clear(shard))
    }

    /// Makes the map tell the time by `clock`, in milliseconds.
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.untyped.clock = Some(clock);
        self
    }

    /// Checks that no word of the map is lost. The map must not be in use.
    #[cfg(any(test, fuzzing, feature = "crash-points"))]
    pub(crate) fn verify(&self) -> Result<(), String> {
        self.untyped.raw().verify()
    }
}
