//! All entries at once: storing, listing, removing and copying them.

use super::bytes::{decode, with_key, with_value};
use super::entries::MapEntries;
use super::error::MapError;
use super::shared_map::SharedMap;
use super::untyped::TimeToLive;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

impl<K, V> SharedMap<K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
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
            with_key::<K, K, _>(self.untyped.shape(), Some(&self.keys), &key, |key| {
                with_value(self.untyped.shape(), &self.values, &value, |value| {
                    self.untyped
                        .insert(self.untyped.key(key), value, TimeToLive::Usual, &mut ())
                })
            })?;
        }
        Ok(())
    }

    /// Removes the entries for which `keep` returns false.
    ///
    /// `keep` runs without a lock; an entry that was changed in the meantime is shown to it again. Entries that others add in
    /// the meantime may be missed.
    ///
    /// # Errors
    ///
    /// As [`iter`](Self::iter); entries removed before the error stay removed.
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
        while let Some(stored) = entries.next_bytes()? {
            let decoded = decode::<K>(&stored.key)?;
            let mut seen = stored.value;
            while !keep(&decoded, &decode(&seen)?) {
                let mut found = Vec::new();
                let raw_key = self.untyped.key(&stored.key);
                match self.untyped.compare_exchange(raw_key, Some(&seen), None, &mut found)? {
                    Err(true) => seen = found,
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Returns an iterator over copies of all entries, in no order.
    ///
    /// Each shard is copied as it is at one moment, when the iterator reaches it: an entry that is there all the time is shown
    /// once, one that is added or removed in the meantime may or may not be shown, and a value never mixes two values.
    ///
    /// # Errors
    ///
    /// The items are results: an entry that cannot be decoded yields its own error. After an error of a shard (locking,
    /// [`Corrupt`](MapError::Corrupt)) the iterator goes on with the next shard.
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
        std::iter::from_fn(move || Some(entries.next_bytes().transpose()?.and_then(|stored| decode(&stored.key))))
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
        std::iter::from_fn(move || {
            Some(
                entries
                    .next_bytes()
                    .transpose()?
                    .and_then(|stored| decode(&stored.value)),
            )
        })
    }

    /// Returns all entries as a `HashMap` of this process.
    ///
    /// It is as consistent as [`iter`](Self::iter): each shard is copied as it is at one moment, the shards one after the
    /// other. If the map does not change in the meantime, it is an exact copy.
    ///
    /// # Errors
    ///
    /// The first error that occurs.
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

/// Prints the contents without waiting. If an entry cannot be read, or is locked, it prints the error.
impl<K, V> fmt::Debug for SharedMap<K, V>
where
    K: Serialize + DeserializeOwned + fmt::Debug + 'static,
    V: Serialize + DeserializeOwned + fmt::Debug + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for entry in &self.without_waiting() {
            match entry {
                Ok((key, value)) => map.entry(&key, &value),
                Err(error) => map.entry(&error, &()),
            };
        }
        map.finish()
    }
}
