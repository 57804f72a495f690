//! `SharedMap<K, V>`: a dictionary in shared memory.

mod builder;
mod bytes;
mod core;
mod entries;
mod error;
mod stats;

pub use builder::MapBuilder;
pub use entries::MapEntries;
pub use error::MapError;
pub use stats::MapStats;

pub(crate) use self::core::NamedHasher;

use self::bytes::{Copied, Scratch, decode, with_key, with_value};
use self::core::{Clock, Core, Patience};
use crate::collections::Handle;
use crate::error::Result;
use crate::raw::map::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Keeps values under keys, for many processes, without a server.
///
/// Keys and values are anything `serde` can encode: strings, vectors, structs, enums, maps in maps. What is stored are
/// copies: calls take references and return values. Two keys are the same if their encodings are. The map has a fixed
/// capacity in bytes, for all entries together; a value may be as large as what is free.
///
/// Entries are spread over shards by the hash of their keys (XXH3, seeded for each map). Whoever changes an entry locks
/// its shard; whoever reads looks without a lock and only waits while an entry of the same shard is being written.
/// Encoding happens before a lock is taken and decoding afterwards, except in [`update`](Self::update).
///
/// Every call refers to one moment, but [`iter`](Self::iter) and what is built on it. No call can be used inside the closure
/// of an `update`: it returns [`WouldDeadlock`](MapError::WouldDeadlock) there.
///
/// # As a cache
///
/// A map [`MapBuilder::evict_lru`] was called for makes room for new entries by removing what was used least recently. Each shard
/// keeps an order of its own, so it is about the oldest of the map. Reading an entry then takes the shard's lock. Any
/// map's entries may have a time to live, see [`MapBuilder::time_to_live`]. An entry that has expired is as good as
/// removed.
///
/// # What happens on death
///
/// A process killed while it stores or removes has done so or not: the next to lock the shard undoes what was half-done,
/// in as many steps as were taken, and goes on; others notice nothing but a pause of some milliseconds, and other shards
/// not even that. No bytes are lost.
///
/// # Waiting
///
/// A lock is held for as long as it takes to copy an entry, or to run an `update`'s closure.
/// [`with_timeout`](Self::with_timeout), [`with_deadline`](Self::with_deadline) and
/// [`without_waiting`](Self::without_waiting) give handles all of whose calls give up in time.
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
    core: Core,
    entry: PhantomData<fn(K, V) -> (K, V)>,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self::of(self.core.clone())
    }
}

impl<K, V> SharedMap<K, V> {
    fn of(core: Core) -> Self {
        SharedMap {
            core,
            entry: PhantomData,
        }
    }

    /// Makes a map of a handle that was passed to this process.
    #[cfg(feature = "process")]
    pub(crate) fn adopt(handle: Handle) -> Result<Self> {
        Ok(Self::of(Core::adopt(handle, self::core::XXH3.hash)?))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.core.handle()
    }

    fn with_patience(&self, patience: Patience) -> Self {
        let mut other = self.clone();
        other.core.patience = patience;
        other
    }

    /// Returns a handle whose calls wait for a lock for at most `timeout`.
    ///
    /// They then return [`TimedOut`](MapError::TimedOut). The limit is the handle's own, not its map's, and does not travel
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

    /// Returns a handle whose calls wait for a lock until `deadline` at most.
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
    /// They return [`WouldBlock`](MapError::WouldBlock) if somebody else holds it, who is not dead.
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
    /// An entry takes 16 bytes, key and value each rounded up to eight, eight more in a map that evicts, and eight more if it
    /// expires.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedMap::<u32, u32>::with_capacity(1 << 16)?.capacity(), 1 << 16);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.core.shape().capacity() as usize
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
        self.core.len()
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
        self.core.sweep_overdue();
        MapStats::of(self.core.raw().totals())
    }

    /// Removes all entries, one after the other.
    ///
    /// What others store meanwhile may stay. Whoever is killed here has removed some.
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
        (0..self.core.shape().shards()).try_for_each(|shard| Ok(self.core.lock_shard(shard)?.clear()?))
    }

    /// Has the map tell the time by `clock`, in milliseconds.
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.core.clock = Some(clock);
        self
    }

    /// Checks that no word of the map is lost. Nobody may be using it.
    #[cfg(any(test, fuzzing, feature = "crash-points"))]
    pub(crate) fn verify(&self) -> Result<(), String> {
        self.core.raw().verify()
    }
}

impl<K: 'static, V: 'static> SharedMap<K, V> {
    /// Creates a map with room for `bytes` bytes of entries, in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity), [`OutOfMemory`](crate::ErrorKind::OutOfMemory),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, Vec<f64>>::with_capacity(1 << 20)?;
    /// map.insert("samples", &vec![0.5, 1.5])?;
    /// assert_eq!(map.get("samples")?, Some(vec![0.5, 1.5]));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn with_capacity(bytes: usize) -> Result<Self> {
        Self::builder().capacity(bytes).anonymous()
    }

    /// Creates a map in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`with_capacity`](Self::with_capacity) and [`Segment::create`](crate::Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-map-create-{}", std::process::id());
    /// let map = procshare::SharedMap::<String, u32>::create(&name, 1 << 16)?;
    /// procshare::SharedMap::<String, u32>::open(&name)?.insert("one", &1)?;
    /// assert_eq!(map.get("one")?, Some(1));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, bytes: usize) -> Result<Self> {
        Self::builder().capacity(bytes).create(name)
    }

    /// Opens the map by name.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`](crate::Segment::open), [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if it was made for types
    /// of other names or with another hash, [`Corrupt`](crate::ErrorKind::Corrupt).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{ErrorKind, SharedMap};
    ///
    /// let name = format!("doc-map-open-{}", std::process::id());
    /// let map = SharedMap::<String, u32>::create(&name, 1 << 16)?;
    /// let error = SharedMap::<String, u64>::open(&name).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::builder().open(name)
    }

    /// Opens the map by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open), and [`LengthMismatch`](crate::ErrorKind::LengthMismatch) if it
    /// has another capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-map-either-{}", std::process::id());
    /// let first = procshare::SharedMap::<u8, u8>::open_or_create(&name, 4096)?;
    /// let second = procshare::SharedMap::<u8, u8>::open_or_create(&name, 4096)?;
    /// first.insert(&1, &2)?;
    /// assert_eq!(second.get(&1)?, Some(2));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, bytes: usize) -> Result<Self> {
        Self::builder().capacity(bytes).open_or_create(name)
    }

    /// Returns a builder for what the short forms do not offer.
    ///
    /// # Examples
    ///
    /// ```
    /// let cache = procshare::SharedMap::<String, String>::builder().capacity(1 << 20).evict_lru().anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> MapBuilder<K, V> {
        MapBuilder::new()
    }

    /// Tells whether there is an entry under `key`.
    ///
    /// It counts neither as a hit nor as a use.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// assert!(!map.contains_key("one")?);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(key, |key| self.core.look(self.core.key(key), &mut ()))
    }
}

impl<K, V> SharedMap<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Returns the value under `key`.
    ///
    /// # Errors
    ///
    /// [`NotEncodable`](MapError::NotEncodable), [`NotDecodable`](MapError::NotDecodable), [`Corrupt`](MapError::Corrupt),
    /// and if a writer was in the way the errors of locking: [`WouldBlock`](MapError::WouldBlock),
    /// [`TimedOut`](MapError::TimedOut), [`WouldDeadlock`](MapError::WouldDeadlock),
    /// [`ForeignNamespace`](MapError::ForeignNamespace).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert("one", &1)?;
    /// assert_eq!(map.get("one")?, Some(1));
    /// assert_eq!(map.get("two")?, None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(key, |key| {
            let mut value = Copied::of::<V>();
            let found = self.core.get(self.core.key(key), &mut value)?;
            found.then(|| value.decode()).transpose()
        })
    }

    /// Stores `value` under `key`, and returns the value before.
    ///
    /// The entry's time to live begins anew. A value that takes the place of another needs room beside it, unless it is about as
    /// long and few of its bytes differ.
    ///
    /// # Errors
    ///
    /// [`Full`](MapError::Full), [`KeyTooLong`](MapError::KeyTooLong), the errors of locking, and those of [`get`](Self::get); of
    /// these only [`NotDecodable`](MapError::NotDecodable) is about the value before, and the new one is then in place.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// assert_eq!(map.insert("one", &1)?, None);
    /// assert_eq!(map.insert("one", &2)?, Some(1));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn insert<Q>(&self, key: &Q, value: &V) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        self.insert_expiring(key, value, self.core.expiry())
    }

    /// Stores `value` under `key` for `ttl`, and returns the value before.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert_with_ttl("token", &7, Duration::ZERO)?;
    /// assert_eq!(map.get("token")?, None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn insert_with_ttl<Q>(&self, key: &Q, value: &V, ttl: Duration) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        self.insert_expiring(key, value, Some(self.core.expiry_after(ttl)))
    }

    #[inline]
    fn insert_expiring<Q>(&self, key: &Q, value: &V, expires: Option<u64>) -> Result<Option<V>, MapError>
    where
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(key, |key| {
            with_value(value, |value| {
                let mut old = Copied::of::<V>();
                let found = self
                    .core
                    .insert(self.core.key(key), Payload { value, expires }, &mut old)?;
                found.then(|| old.decode()).transpose()
            })
        })
    }

    /// Returns the value under `key`, or stores and returns what `make` makes.
    ///
    /// `make` runs without a lock. If somebody else stores a value meanwhile, that one is returned.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u64, u64>::with_capacity(4096)?;
    /// assert_eq!(map.get_or_insert_with(&7, || 7 * 7)?, 49);
    /// assert_eq!(map.get_or_insert_with(&7, || unreachable!())?, 49);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> Result<V, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        if let Some(value) = self.get(key)? {
            return Ok(value);
        }
        let made = make();
        let found = with_key::<K, Q, _>(key, |key| {
            with_value(&made, |value| {
                let mut found = Copied::of::<V>();
                let expires = self.core.expiry();
                let payload = Payload { value, expires };
                let was_there = self.core.insert_if_absent(self.core.key(key), payload, &mut found)?;
                was_there.then(|| found.decode()).transpose()
            })
        })?;
        Ok(found.unwrap_or(made))
    }

    /// Removes the entry under `key`, and returns its value.
    ///
    /// # Errors
    ///
    /// The errors of locking, and those of [`get`](Self::get); after [`NotDecodable`](MapError::NotDecodable) the entry is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert("one", &1)?;
    /// assert_eq!(map.remove("one")?, Some(1));
    /// assert_eq!(map.remove("one")?, None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(key, |key| {
            let mut old = Copied::of::<V>();
            let found = self.core.remove(self.core.key(key), &mut old)?;
            found.then(|| old.decode()).transpose()
        })
    }

    /// Turns the value under `key` into what `change` makes of it, and returns that.
    ///
    /// `None` stands for no entry, before and after. It is one step for all others: the shard of `key` is locked while
    /// `change` runs, and whoever reads sees the value before, without waiting. If `change` panics, or its process is killed,
    /// nothing has changed. An entry that was there keeps the time at which it expires.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but nothing has changed then. Inside `change` every call of any map returns
    /// [`WouldDeadlock`](MapError::WouldDeadlock).
    ///
    /// # Examples
    ///
    /// ```
    /// let visits = procshare::SharedMap::<String, u64>::with_capacity(4096)?;
    /// visits.update("home", |count| Some(count.unwrap_or(0) + 1))?;
    /// assert_eq!(visits.update("home", |count| Some(count.unwrap_or(0) + 1))?, Some(2));
    /// assert_eq!(visits.update("home", |_| None)?, None);
    /// assert!(visits.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn update<Q>(&self, key: &Q, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<Option<V>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        with_key::<K, Q, _>(key, |key| {
            let mut after = None;
            self.core.update(self.core.key(key), |before, bytes| {
                after = change(before.map(decode).transpose()?);
                let Some(value) = &after else {
                    return Ok(false);
                };
                with_value(value, |value| {
                    bytes.extend_from_slice(value);
                    Ok(true)
                })
            })?;
            Ok(after)
        })
    }

    /// Replaces the value under `key` by `new` if it is `current`, where `None` stands for no entry.
    ///
    /// Values are compared as they are encoded. An entry that was there keeps the time at which it expires.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but nothing has changed then. The inner error is the value found, if it is not `current`.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// assert_eq!(map.compare_exchange("one", None, Some(&1))?, Ok(()));
    /// assert_eq!(map.compare_exchange("one", Some(&2), Some(&3))?, Err(Some(1)));
    /// assert_eq!(map.compare_exchange("one", Some(&1), None)?, Ok(()));
    /// assert!(map.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn compare_exchange<Q>(
        &self,
        key: &Q,
        current: Option<&V>,
        new: Option<&V>,
    ) -> Result<Result<(), Option<V>>, MapError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'static,
    {
        let bytes_of = |value| with_value(value, |bytes| Ok(bytes.to_vec()));
        let (current, new) = (current.map(bytes_of).transpose()?, new.map(bytes_of).transpose()?);
        with_key::<K, Q, _>(key, |key| {
            let mut found = Scratch::new();
            let key = self.core.key(key);
            match self
                .core
                .compare_exchange(key, current.as_deref(), new.as_deref(), &mut found.0)?
            {
                Ok(()) => Ok(Ok(())),
                Err(true) => Ok(Err(Some(decode(&found.0)?))),
                Err(false) => Ok(Err(None)),
            }
        })
    }

    /// Stores all `entries`, one after the other.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); the entries before the one that failed are stored.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, String>::with_capacity(4096)?;
    /// map.extend([(1, "one".to_owned()), (2, "two".to_owned())])?;
    /// assert_eq!(map.len(), 2);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<(), MapError> {
        for (key, value) in entries {
            let expires = self.core.expiry();
            with_key::<K, K, _>(&key, |key| {
                with_value(&value, |value| {
                    self.core
                        .insert(self.core.key(key), Payload { value, expires }, &mut ())
                })
            })?;
        }
        Ok(())
    }

    /// Removes the entries that `keep` does not want to keep.
    ///
    /// `keep` runs without a lock; an entry that was changed meanwhile is shown to it again. Entries that others add meanwhile may
    /// be missed.
    ///
    /// # Errors
    ///
    /// As [`iter`](Self::iter); entries shown before stay removed.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.extend((0..10).map(|number| (number, number * number)))?;
    /// map.retain(|_, square| square % 2 == 0)?;
    /// assert_eq!(map.len(), 5);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> Result<(), MapError> {
        let mut entries = self.iter();
        while let Some((key, value)) = entries.next_bytes()? {
            let decoded = decode::<K>(&key)?;
            let mut seen = value;
            while !keep(&decoded, &decode(&seen)?) {
                let mut found = Vec::new();
                let raw_key = self.core.key(&key);
                match self.core.compare_exchange(raw_key, Some(&seen), None, &mut found)? {
                    Err(true) => seen = found,
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Returns an iterator over copies of all entries, in no order.
    ///
    /// Each shard is copied as it is at one moment, when the iterator comes to it: an entry that is there all the time is
    /// shown once, one that is added or removed meanwhile is shown or not, and a value is never half another's.
    ///
    /// # Errors
    ///
    /// The items are results: an entry that cannot be decoded is that entry's error. After an error of a shard (locking,
    /// [`Corrupt`](MapError::Corrupt)) the iterator goes on with the next.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.extend([(1, 10), (2, 20)])?;
    /// let mut sum = 0;
    /// for entry in &map {
    ///     let (key, value) = entry?;
    ///     sum += key + value;
    /// }
    /// assert_eq!(sum, 33);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn iter(&self) -> MapEntries<'_, K, V> {
        MapEntries::new(self)
    }

    /// Returns an iterator over copies of all keys; see [`iter`](Self::iter).
    ///
    /// # Errors
    ///
    /// As [`iter`](Self::iter).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.extend([(1, 10), (2, 20)])?;
    /// assert_eq!(map.keys().sum::<Result<u32, _>>()?, 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn keys(&self) -> impl Iterator<Item = Result<K, MapError>> + '_ {
        let mut entries = self.iter();
        std::iter::from_fn(move || Some(entries.next_bytes().transpose()?.and_then(|(key, _)| decode(&key))))
    }

    /// Returns an iterator over copies of all values; see [`iter`](Self::iter).
    ///
    /// # Errors
    ///
    /// As [`iter`](Self::iter).
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
    /// map.extend([(1, 10), (2, 20)])?;
    /// assert_eq!(map.values().sum::<Result<u32, _>>()?, 30);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn values(&self) -> impl Iterator<Item = Result<V, MapError>> + '_ {
        let mut entries = self.iter();
        std::iter::from_fn(move || Some(entries.next_bytes().transpose()?.and_then(|(_, value)| decode(&value))))
    }

    /// Returns all entries as a map of this process's own.
    ///
    /// It is as consistent as [`iter`](Self::iter): each shard as at one moment, the shards one after the other. Of a map that
    /// nobody changes meanwhile it is an exact copy.
    ///
    /// # Errors
    ///
    /// The first error there is.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<String, u32>::with_capacity(4096)?;
    /// map.insert("one", &1)?;
    /// assert_eq!(map.to_map()?["one"], 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn to_map(&self) -> Result<HashMap<K, V>, MapError>
    where
        K: Eq + Hash,
    {
        self.iter().collect()
    }
}

impl<'a, K, V> IntoIterator for &'a SharedMap<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    type Item = Result<(K, V), MapError>;
    type IntoIter = MapEntries<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Prints the contents; an entry that cannot be read is printed as its error.
impl<K, V> fmt::Debug for SharedMap<K, V>
where
    K: Serialize + DeserializeOwned + fmt::Debug + 'static,
    V: Serialize + DeserializeOwned + fmt::Debug + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for entry in self {
            match entry {
                Ok((key, value)) => map.entry(&key, &value),
                Err(error) => map.entry(&error, &()),
            };
        }
        map.finish()
    }
}
