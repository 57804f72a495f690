//! `MapEntries`: copies of a map's entries, shard by shard.

use super::bytes::decode;
use super::error::MapError;
use super::shared_map::SharedMap;
use serde::de::DeserializeOwned;
use std::fmt;
use std::vec::IntoIter;

/// Iterates over copies of a map's entries.
///
/// See [`SharedMap::iter`].
///
/// # Examples
///
/// ```
/// let map = procshare::SharedMap::<u32, u32>::with_capacity(4096)?;
/// map.insert(&1, &10)?;
/// assert_eq!(map.iter().next(), Some(Ok((1, 10))));
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct MapEntries<'a, K, V> {
    map: &'a SharedMap<K, V>,
    next_shard: u32,
    /// Keys and values of the shard before `next_shard`, one after the other.
    bytes: Vec<u8>,
    ends: IntoIter<usize>,
    at: usize,
}

/// An entry as it is stored.
pub(super) struct Stored {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl<'a, K, V> MapEntries<'a, K, V> {
    pub(super) fn new(map: &'a SharedMap<K, V>) -> Self {
        MapEntries {
            map,
            next_shard: 0,
            bytes: Vec::new(),
            ends: Vec::new().into_iter(),
            at: 0,
        }
    }

    /// Where key and value of the next entry begin and end in the bytes.
    fn next_ends(&mut self) -> Result<Option<[usize; 3]>, MapError> {
        loop {
            if let (Some(key), Some(value)) = (self.ends.next(), self.ends.next()) {
                let start = std::mem::replace(&mut self.at, value);
                return Ok(Some([start, key, value]));
            }
            let untyped = &self.map.untyped;
            if self.next_shard == untyped.shape().shards() {
                return Ok(None);
            }
            let shard = self.next_shard;
            self.next_shard += 1;
            let mut ends = Vec::new();
            self.at = 0;
            untyped.snapshot(shard, &mut self.bytes, &mut ends)?;
            self.ends = ends.into_iter();
        }
    }

    /// The next entry as it is stored.
    pub(super) fn next_bytes(&mut self) -> Result<Option<Stored>, MapError> {
        let ends = self.next_ends()?;
        Ok(ends.map(|[start, key, value]| Stored {
            key: self.bytes[start..key].to_vec(),
            value: self.bytes[key..value].to_vec(),
        }))
    }
}

impl<K: DeserializeOwned + 'static, V: DeserializeOwned + 'static> Iterator for MapEntries<'_, K, V> {
    type Item = Result<(K, V), MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        let ends = self.next_ends().transpose()?;
        Some(ends.and_then(|[start, key, value]| {
            let bytes = &self.bytes;
            Ok((decode(&bytes[start..key])?, decode(&bytes[key..value])?))
        }))
    }
}

impl<K, V> fmt::Debug for MapEntries<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapEntries")
            .field("next_shard", &self.next_shard)
            .finish_non_exhaustive()
    }
}
