//! `MapBuilder<K, V>`: the properties of a map, and the ways to make or open one.

use super::bytes::usual_bytes;
use super::hasher::{NamedHasher, RAPIDHASH};
use super::shared_map::SharedMap;
use super::untyped::{EntryOf, UntypedMap, map_spec, write_map};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::map::Shape;
use crate::segment::{Handle, Segment};
use std::ffi::OsStr;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::time::Duration;

/// Bytes of an entry besides its key and value.
const ENTRY_BYTES: u64 = 16;
const FEWEST_BYTES: usize = 512;
const MOST_SHARDS: u32 = 64;

/// Sets the properties of a map, and makes or opens it.
///
/// # Examples
///
/// ```
/// use procshare::SharedMap;
/// use std::time::Duration;
///
/// let name = format!("doc-map-builder-{}", std::process::id());
/// let sessions = SharedMap::<u64, String>::builder()
///     .capacity(1 << 20)
///     .evict_lru()
///     .time_to_live(Duration::from_secs(600))
///     .schema("session", 2)
///     .create(&name)?;
/// assert!(SharedMap::<u64, String>::open(&name).is_err()); // another schema
/// assert!(SharedMap::<u64, String>::builder().schema("session", 2).open(&name).is_ok());
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct MapBuilder<K, V> {
    capacity: usize,
    entries: Option<usize>,
    shards: Option<u32>,
    evicts: bool,
    ttl: u64,
    schema: String,
    hasher: NamedHasher,
    entry: PhantomData<EntryOf<K, V>>,
}

impl<K: 'static, V: 'static> MapBuilder<K, V> {
    pub(super) fn new() -> Self {
        MapBuilder {
            capacity: 1 << 20,
            entries: None,
            shards: None,
            evicts: false,
            ttl: 0,
            schema: format!("{} -> {}", std::any::type_name::<K>(), std::any::type_name::<V>()),
            hasher: RAPIDHASH,
            entry: PhantomData,
        }
    }

    /// Sets how many bytes there are for entries.
    ///
    /// The default is 1 MiB; the number must be at least 512 and less than 32 GiB. An entry takes 16 bytes, plus its key and
    /// its value, each rounded up to eight, eight more in a map that evicts, and eight more if it expires; a value in parts
    /// takes 16 more for each part. Besides the entries, a map takes 1.1 KiB, 1.4 KiB for each shard, and four bytes for each
    /// entry expected.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u8, u8>::builder().capacity(8192).anonymous()?;
    /// assert_eq!(map.capacity(), 8192);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(self, bytes: usize) -> Self {
        MapBuilder {
            capacity: bytes,
            ..self
        }
    }

    /// Sets how many entries to expect, for fast lookups among them.
    ///
    /// The default is as many as fit, judging by the types: keys and values of variable length are taken to be 24 bytes long.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u64, Vec<u8>>::builder().entries(100).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn entries(self, entries: usize) -> Self {
        MapBuilder {
            entries: Some(entries),
            ..self
        }
    }

    /// Sets the number of shards: a power of two up to 64.
    ///
    /// The default is one for each 128 KiB of capacity. A map of one shard evicts strictly by age, and accepts a value as large
    /// as its free space.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u8, u8>::builder().shards(1).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn shards(self, shards: u32) -> Self {
        MapBuilder {
            shards: Some(shards),
            ..self
        }
    }

    /// Makes the map evict the least recently used entries.
    ///
    /// Without it, a full map refuses what does not fit. With it, an entry is refused only if it takes nearly the whole capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// let cache = procshare::SharedMap::<u64, u64>::builder().capacity(1024).evict_lru().anonymous()?;
    /// cache.extend((0..100).map(|number| (number, number)))?;
    /// assert_eq!(cache.get(&99)?, Some(99));
    /// assert_eq!(cache.get(&0)?, None);
    /// assert!(cache.stats().evictions > 0);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn evict_lru(self) -> Self {
        MapBuilder { evicts: true, ..self }
    }

    /// Sets how long an entry lives after it is stored.
    ///
    /// The default is for ever. Time is counted in milliseconds, and goes on while the machine is suspended or off. The setting
    /// is stored in the map, so it need not be repeated on opening.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let map = procshare::SharedMap::<u8, u8>::builder().time_to_live(Duration::from_secs(60)).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn time_to_live(self, ttl: Duration) -> Self {
        MapBuilder {
            ttl: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1),
            ..self
        }
    }

    /// Sets the name and version by which programs agree on the encoding.
    ///
    /// The default is the types' paths as Rust prints them, which differ if two programs each define the type for themselves,
    /// and do not change when the types' fields do. Raise the version when the encoding changes: numbers of a fixed size,
    /// `bool`, `char`, `String` and `Vec<u8>` are stored as they are, and everything else in the [wire
    /// format](crate::wire_format), including a struct around one of them.
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u64, (u32, f32)>::builder().schema("sample", 3).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn schema(self, name: &str, version: u32) -> Self {
        MapBuilder {
            schema: format!("{name} v{version}"),
            ..self
        }
    }

    /// Makes the map hash its keys in another way.
    pub(crate) fn hasher(self, hasher: NamedHasher) -> Self {
        MapBuilder { hasher, ..self }
    }

    /// The schema, with the name of the hash: builds that hash differently could not find each other's entries.
    fn full_schema(&self) -> String {
        format!("{}, {}", self.schema, self.hasher.name)
    }

    fn shape(&self) -> Result<Shape> {
        let capacity = self.capacity as u64;
        let entry = match self.entries {
            Some(entries) => capacity / (entries as u64).max(1),
            None => ENTRY_BYTES + (usual_bytes::<K>() + usual_bytes::<V>()) as u64,
        };
        let sound_shards = self
            .shards
            .is_none_or(|shards| shards.is_power_of_two() && shards <= MOST_SHARDS);
        let shape = Shape::for_capacity(capacity, entry, self.shards, self.evicts);
        match shape {
            Some(shape) if self.capacity >= FEWEST_BYTES && sound_shards => Ok(shape),
            _ => {
                let shards = self
                    .shards
                    .map_or(String::new(), |shards| format!(" in {shards} shards"));
                let message = format!(
                    "expected a capacity of {FEWEST_BYTES} bytes to less than 32 GiB, and a power of two of at most \
                        {MOST_SHARDS} shards, found {capacity} bytes{shards}"
                );
                Err(Error::new(ErrorKind::InvalidCapacity, message))
            }
        }
    }

    fn adopt(&self, handle: Handle) -> Result<SharedMap<K, V>> {
        Ok(SharedMap::of(UntypedMap::adopt(handle, self.hasher)?))
    }

    /// As [`adopt`](Self::adopt), if the map has that shape.
    fn adopt_equal(&self, handle: Handle, shape: &Shape) -> Result<SharedMap<K, V>> {
        let map = self.adopt(handle)?;
        let refuse = |kind, message| Err(Error::new(kind, message).in_segment(map.handle().segment().label()));
        let found = map.untyped.shape();
        if shape.capacity() != found.capacity() {
            let (expected, found) = (shape.capacity(), found.capacity());
            let message = format!("expected a map of {expected} bytes, found one of {found}");
            return refuse(ErrorKind::LengthMismatch, message);
        }
        let manner = |evicts: bool, ttl: u64| {
            let full = if evicts { "evicts" } else { "refuses" };
            let life = if ttl == 0 {
                "forever".to_owned()
            } else {
                format!("for {ttl} ms")
            };
            format!("{full} when it is full and keeps entries {life}")
        };
        if (self.evicts, self.ttl) != (found.evicts, map.untyped.ttl()) {
            let (expected, found) = (manner(self.evicts, self.ttl), manner(found.evicts, map.untyped.ttl()));
            let message = format!("expected a map that {expected}, found one that {found}");
            return refuse(ErrorKind::TypeMismatch, message);
        }
        Ok(map)
    }

    /// Creates the map in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// As [`SharedMap::with_capacity`].
    ///
    /// # Examples
    ///
    /// ```
    /// let map = procshare::SharedMap::<u8, u8>::builder().anonymous()?;
    /// assert_eq!(map.capacity(), 1 << 20);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn anonymous(&self) -> Result<SharedMap<K, V>> {
        let (schema, shape) = (self.full_schema(), self.shape()?);
        self.adopt(Handle::new_alone(&map_spec(&schema, Some(&shape)), &self.init(&shape))?)
    }

    /// Creates the map in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`SharedMap::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-map-builder-create-{}", std::process::id());
    /// let map = procshare::SharedMap::<u8, u8>::builder().create(&name)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(&self, name: impl AsRef<OsStr>) -> Result<SharedMap<K, V>> {
        let (schema, shape) = (self.full_schema(), self.shape()?);
        self.adopt(Handle::create_alone(
            name,
            &map_spec(&schema, Some(&shape)),
            &self.init(&shape),
        )?)
    }

    /// Opens the map by name, whatever its capacity and eviction policy.
    ///
    /// # Errors
    ///
    /// As [`SharedMap::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-map-builder-open-{}", std::process::id());
    /// let map = procshare::SharedMap::<u8, u8>::create(&name, 4096)?;
    /// assert_eq!(procshare::SharedMap::<u8, u8>::builder().open(&name)?.capacity(), 4096);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(&self, name: impl AsRef<OsStr>) -> Result<SharedMap<K, V>> {
        self.adopt(Handle::open_alone(name, &map_spec(&self.full_schema(), None))?)
    }

    /// Opens the map by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`SharedMap::open_or_create`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-map-builder-either-{}", std::process::id());
    /// let map = procshare::SharedMap::<u8, u8>::builder().open_or_create(&name)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(&self, name: impl AsRef<OsStr>) -> Result<SharedMap<K, V>> {
        let (schema, shape) = (self.full_schema(), self.shape()?);
        let handle = Handle::open_or_create_alone(name, &map_spec(&schema, Some(&shape)), &self.init(&shape))?;
        self.adopt_equal(handle, &shape)
    }

    /// Returns the map `name` of a segment, creating it if absent.
    ///
    /// # Errors
    ///
    /// As [`Segment::map`].
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// let map = procshare::SharedMap::<u8, u8>::builder().capacity(4096).place_in(&segment, "ages")?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn place_in(&self, segment: &Segment, name: &str) -> Result<SharedMap<K, V>> {
        segment.check_object_name(name)?;
        let (schema, shape) = (self.full_schema(), self.shape()?);
        let handle = Handle::place_in(segment, name, &map_spec(&schema, Some(&shape)), &self.init(&shape))?;
        self.adopt_equal(handle, &shape)
    }

    /// Opens the map `name` of a segment, whatever its capacity.
    ///
    /// # Errors
    ///
    /// As [`Segment::open_map`].
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// assert!(procshare::SharedMap::<u8, u8>::builder().open_in(&segment, "ages").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_in(&self, segment: &Segment, name: &str) -> Result<SharedMap<K, V>> {
        self.adopt(Handle::open_in(
            segment,
            name,
            &map_spec(&self.full_schema(), None),
            None,
        )?)
    }

    fn init(&self, shape: &Shape) -> impl Fn(*mut u8, bool) {
        // The standard library's keys for its hash maps are random for each process, and differ from call to call.
        write_map(shape, self.ttl, RandomState::new().build_hasher().finish(), self.hasher)
    }
}

impl<K: 'static, V: 'static> SharedMap<K, V> {
    /// Creates a map in an anonymous segment of its own.
    ///
    /// It has room for `bytes` bytes of entries.
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
    /// As [`create`](Self::create) and [`open`](Self::open), [`LengthMismatch`](crate::ErrorKind::LengthMismatch) if it has
    /// another capacity, [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if it evicts, or its entries have a time to live.
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
}

impl<K, V> fmt::Debug for MapBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapBuilder")
            .field("capacity", &self.capacity)
            .field("entries", &self.entries)
            .field("shards", &self.shards)
            .field("evicts", &self.evicts)
            .field("ttl", &self.ttl)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// Returns the map `name` of this segment, creating it if absent.
    ///
    /// A new map has room for `bytes` bytes of entries.
    ///
    /// # Errors
    ///
    /// As [`value`](Segment::value), [`LengthMismatch`](crate::ErrorKind::LengthMismatch),
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// segment.map::<String, u32>("ages", 4096)?.insert("Ada", &36)?;
    /// assert_eq!(segment.open_map::<String, u32>("ages")?.get("Ada")?, Some(36));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn map<K: 'static, V: 'static>(&self, name: &str, bytes: usize) -> Result<SharedMap<K, V>> {
        SharedMap::builder().capacity(bytes).place_in(self, name)
    }

    /// Opens the map `name` of this segment, whatever its capacity.
    ///
    /// # Errors
    ///
    /// As [`open_value`](Segment::open_value).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// assert!(segment.open_map::<String, u32>("ages").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_map<K: 'static, V: 'static>(&self, name: &str) -> Result<SharedMap<K, V>> {
        SharedMap::builder().open_in(self, name)
    }
}
