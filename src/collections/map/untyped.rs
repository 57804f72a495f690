//! `UntypedMap`: the part of a map that does not depend on the types of keys and values.

use super::error::MapError;
use super::hasher::{Hasher, NamedHasher, PROOF_TEXT};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, MAP_FORGETS, MAP_LOCKS, Spec, text_fingerprint};
use crate::primitive::{AtomicU64, Deadline, Ordering, Peers, boot_millis, current_owner};
use crate::raw::Refused;
use crate::raw::map::{
    EPOCH, Found, Key, Locked, Output, PROOF, Payload, RawMap, Refusal, SEED, SHAPE_WORDS, Shape, TTL, Totals, World,
};
use crate::segment::Handle;
use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const _: () = assert!(MAP_FORGETS.start == EPOCH as usize && MAP_FORGETS.end == EPOCH as usize + 1);

/// What a map takes and returns but does not hold: it makes the map neither more nor less `Send` than its handle.
pub(super) type EntryOf<K, V> = fn(K, V) -> (K, V);

/// Tells milliseconds.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// How long calls wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Endless,
    None,
    For(Duration),
    Until(Instant),
}

/// A map's place and shape, and how this handle uses it.
#[derive(Clone)]
pub(super) struct UntypedMap {
    handle: Handle,
    shape: Shape,
    hasher: Hasher,
    /// Milliseconds an entry lives; 0 is for ever.
    ttl: u64,
    pub(super) clock: Option<Clock>,
    pub(super) patience: Patience,
}

/// How long an entry is to live.
#[derive(Clone, Copy)]
pub(super) enum TimeToLive {
    /// As long as the map's entries do.
    Usual,
    For(Duration),
}

/// About the time it takes to wake a waiter.
const AFTER_YOU: Duration = Duration::from_micros(300);

/// When the machine was started, by the wall clock, in milliseconds.
fn started_at() -> u64 {
    loop {
        let before = boot_millis();
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // The two clocks agree on one moment unless this thread was kept waiting in between.
        if boot_millis() - before <= 1 {
            return (wall.as_millis() as u64).saturating_sub(before);
        }
    }
}

/// What was found under a key.
struct Lookup {
    found: Option<Found>,
    expiry: Option<u64>,
    expired: bool,
}

impl Lookup {
    /// The entry, unless it has expired.
    #[inline(always)]
    fn live(&self) -> Option<&Found> {
        self.found.as_ref().filter(|_| !self.expired)
    }
}

/// An entry being updated, with its shard's lock held.
pub(super) struct Turn<'a> {
    untyped: &'a UntypedMap,
    locked: &'a Locked<'a>,
    key: Key<'a>,
    lookup: &'a Lookup,
}

impl Turn<'_> {
    /// Ends the update with a new value, or none.
    #[inline]
    pub(super) fn into(self, new: Option<&[u8]>) -> Result<(), MapError> {
        if !self.locked.is_callers() {
            // The lock belongs to the process this one was forked from, inside the update.
            return Err(MapError::ForeignNamespace);
        }
        self.untyped.turn(self.locked, self.key, self.lookup, new)
    }
}

/// The spec of a map of that shape. The shape need not be known to open a map.
pub(super) fn map_spec<'a>(schema: &'a String, shape: Option<&Shape>) -> Spec<'a> {
    Spec {
        kind: Kind::Map,
        fingerprint: text_fingerprint(schema),
        schema,
        len: shape.map_or(1, |shape| u64::from(shape.shards())),
        bytes: shape.map_or(0, Shape::bytes),
    }
}

/// Writes an empty map: its header, and zeros up to its regions, whose content does not matter.
pub(super) fn write_map(shape: &Shape, ttl: u64, seed: u64, hasher: NamedHasher) -> impl Fn(*mut u8, bool) {
    let (shape, before_regions) = (*shape, (shape.bytes() - shape.capacity()) as usize);
    let proof = Hasher::new(hasher, seed).hash(PROOF_TEXT);
    move |address, memory_is_zero| {
        if !memory_is_zero {
            // SAFETY: the object has that many bytes and more (`map_spec`), and nobody else has its address yet.
            unsafe { address.write_bytes(0, before_regions) };
        }
        let [first, second, third] = shape.to_words();
        for (at, word) in [
            (0, first),
            (1, second),
            (2, third),
            (SEED, seed),
            (TTL, ttl),
            (PROOF, proof),
        ] {
            // SAFETY: the object begins with a header of eight words, aligned to a line, and nobody else has its address yet.
            unsafe { address.cast::<u64>().wrapping_add(at).write(word) };
        }
    }
}

thread_local! {
    /// Whether this thread is inside the closure of an update.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as being inside the closure of an update.
struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE.set(true);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

impl UntypedMap {
    /// Makes a map from a handle, if the object is one.
    pub(super) fn adopt(handle: Handle, hasher: NamedHasher) -> Result<Self> {
        handle.check_writable()?;
        let corrupt = |message: String| Error::new(ErrorKind::Corrupt, message).in_segment(handle.segment().label());
        if handle.bytes() < 8 * MAP_LOCKS.0 as u64 {
            return Err(corrupt(format!(
                "an object of {} bytes is too small for a map",
                handle.bytes()
            )));
        }
        let word = |at: usize| {
            let word = handle.address().cast::<u64>().wrapping_add(at);
            // SAFETY: the object has more words than a header, aligned to a line, and stays mapped while the handle lives.
            let word = unsafe { AtomicU64::from_ptr(word) };
            word.load(Ordering::Relaxed) // Relaxed: written before the directory led to the object.
        };
        let words: [u64; SHAPE_WORDS] = core::array::from_fn(word);
        let shape = Shape::of_words(words)
            .filter(|shape| shape.bytes() == handle.bytes() && u64::from(shape.shards()) == handle.len())
            .ok_or_else(|| {
                let (bytes, shards) = (handle.bytes(), handle.len());
                corrupt(format!(
                    "the header words {words:x?} do not describe a map of {shards} shards in {bytes} bytes"
                ))
            })?;
        let hasher = Hasher::new(hasher, word(SEED));
        let (expected, found) = (hasher.hash(PROOF_TEXT), word(PROOF));
        if expected != found {
            let message = format!(
                "the map's keys were hashed by another function: expected the check value \
                {expected:x}, found {found:x}"
            );
            return Err(Error::new(ErrorKind::TypeMismatch, message).in_segment(handle.segment().label()));
        }
        debug_assert_eq!(shape.lock_at(1) as usize, MAP_LOCKS.0 + MAP_LOCKS.1);
        Ok(UntypedMap {
            hasher,
            ttl: word(TTL),
            handle,
            shape,
            clock: None,
            patience: Patience::Endless,
        })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Milliseconds an entry lives; 0 is for ever.
    pub(super) fn ttl(&self) -> u64 {
        self.ttl
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    #[inline]
    pub(super) fn raw(&self) -> RawMap<'_> {
        let words = self.handle.address().cast::<AtomicU64>();
        // SAFETY: the object has as many words as its shape (`adopt`), aligned to a line; it stays mapped while the handle
        // lives, and all that use it do so by atomics.
        let words = unsafe { core::slice::from_raw_parts(words, (self.shape.bytes() / 8) as usize) };
        RawMap::new(words, &self.shape)
    }

    #[inline(always)]
    pub(super) fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key {
            bytes,
            hash: self.hasher.hash(bytes),
        }
    }

    /// Refuses a caller inside an update: it might wait for a thread that waits for it.
    #[inline]
    fn check_outside() -> Result<(), MapError> {
        if INSIDE.get() {
            Err(MapError::WouldDeadlock)
        } else {
            Ok(())
        }
    }

    pub(super) fn peers(&self) -> Peers {
        self.handle.segment().peers()
    }

    #[inline]
    pub(super) fn deadline(&self) -> Deadline {
        match self.patience {
            Patience::Endless => Deadline::Never,
            Patience::None => Deadline::Now,
            Patience::For(timeout) => Deadline::after(timeout),
            Patience::Until(instant) => Deadline::At(instant),
        }
    }

    /// Milliseconds by the map's clock: the wall clock as it was when first read for this map, advanced by the time since the
    /// machine was started.
    #[cold]
    pub(super) fn now(&self) -> u64 {
        match &self.clock {
            Some(clock) => clock(),
            None => {
                let epoch = self.raw().epoch(started_at);
                epoch.saturating_add(boot_millis())
            }
        }
    }

    /// When a value stored now expires, if it does.
    #[inline(always)]
    fn expiry(&self, ttl: TimeToLive) -> Option<u64> {
        match ttl {
            TimeToLive::Usual if self.ttl == 0 => None,
            TimeToLive::Usual => Some(self.now().saturating_add(self.ttl)),
            TimeToLive::For(ttl) => Some(
                self.now()
                    .saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            ),
        }
    }

    #[inline(always)]
    fn lock<'a>(&self, raw: &'a RawMap<'a>, key: Key<'_>) -> Result<Locked<'a>, MapError> {
        self.lock_shard(raw, self.shape.shard_of(key.hash))
    }

    #[inline(always)]
    fn lock_shard<'a>(&self, raw: &'a RawMap<'a>, shard: u32) -> Result<Locked<'a>, MapError> {
        Self::check_outside()?;
        Ok(raw.lock(shard, || self.peers(), self.deadline())?)
    }

    /// The entry of `key`, and whether it has expired.
    #[inline(always)]
    fn find(&self, locked: &Locked<'_>, key: Key<'_>) -> Result<Lookup, MapError> {
        Ok(self.lookup_of(locked, locked.find(key)?)?)
    }

    fn lookup_of(&self, locked: &Locked<'_>, found: Option<Found>) -> Result<Lookup, Refusal> {
        let expiry = match &found {
            Some(found) => locked.expiry(found)?,
            None => None,
        };
        let expired = expiry.is_some_and(|expiry| expiry <= self.now());
        Ok(Lookup { found, expiry, expired })
    }

    /// Copies the value of `key`; false if there is none.
    #[inline]
    pub(super) fn get(&self, key: Key<'_>, out: &mut impl Output) -> Result<bool, MapError> {
        let hit = if self.shape.evicts {
            self.get_and_touch(key, out)?
        } else {
            self.look(key, out)?
        };
        let group = current_owner().map_or(0, |owner| owner.word() as u32);
        self.raw().tally(group, hit);
        Ok(hit)
    }

    /// Copies the value of `key` and makes it the newest, unless the shard is locked: a lookup does not wait for that.
    #[inline(never)]
    fn get_and_touch(&self, key: Key<'_>, out: &mut impl Output) -> Result<bool, MapError> {
        Self::check_outside()?;
        let raw = self.raw();
        let shard = self.shape.shard_of(key.hash);
        let locked = match raw.lock(shard, || self.peers(), Deadline::Now) {
            Err(Refusal::Lock(Refused::WouldBlock)) => return self.look(key, out),
            locked => locked?,
        };
        let lookup = self.find(&locked, key)?;
        if let Some(found) = lookup.live() {
            locked.copy_value(found, out)?;
            locked.touch(found)?;
        }
        Ok(lookup.live().is_some())
    }

    /// As [`get`](Self::get), without counting as a use.
    #[inline]
    pub(super) fn look(&self, key: Key<'_>, out: &mut impl Output) -> Result<bool, MapError> {
        Self::check_outside()?;
        Ok(self
            .raw()
            .read(key, || self.now(), out, || self.peers(), || self.deadline())?)
    }

    /// Stores a value, and copies the previous one; false if there was none.
    #[inline]
    pub(super) fn insert(
        &self,
        key: Key<'_>,
        value: &[u8],
        ttl: TimeToLive,
        old: &mut impl Output,
    ) -> Result<bool, MapError> {
        let raw = self.raw();
        let locked = self.lock(&raw, key)?;
        let found = locked.find(key)?;
        let expires = self.expiry(ttl);
        if let Some(found) = &found {
            if locked.replace_word(Payload { value, expires }, found, old)? {
                return Ok(true);
            }
        }
        match self.insert_at(&locked, key, Payload { value, expires }, found, old) {
            Err(Refusal::Busy { .. }) => {
                drop(locked);
                self.persist(|| {
                    old.clear();
                    let locked = self.lock(&raw, key)?;
                    let found = locked.find(key)?;
                    let expires = self.expiry(ttl);
                    Ok(self.insert_at(&locked, key, Payload { value, expires }, found, old))
                })
            }
            outcome => Ok(outcome?),
        }
    }

    #[inline(never)]
    fn insert_at(
        &self,
        locked: &Locked<'_>,
        key: Key<'_>,
        payload: Payload<'_>,
        found: Option<Found>,
        old: &mut impl Output,
    ) -> Result<bool, Refusal> {
        let lookup = self.lookup_of(locked, found)?;
        if let Some(found) = lookup.live() {
            locked.copy_value(found, old)?;
        }
        self.store(locked, key, payload, &lookup)?;
        Ok(lookup.live().is_some())
    }

    #[inline(always)]
    fn store(&self, locked: &Locked<'_>, key: Key<'_>, payload: Payload<'_>, lookup: &Lookup) -> Result<(), Refusal> {
        let (now, peers) = (|| self.now(), || self.peers());
        let world = || World {
            now: &now,
            peers: &peers,
            waits: self.patience != Patience::None,
        };
        locked.store(key, payload, lookup.found.as_ref(), world)
    }

    /// Tries again while shards that could give up room are locked: their holders may want room in this one.
    #[cold]
    fn persist(&self, mut attempt: impl FnMut() -> Result<Result<bool, Refusal>, MapError>) -> Result<bool, MapError> {
        const ATTEMPTS: u32 = 64;
        for _ in 1..ATTEMPTS {
            match attempt()? {
                Err(Refusal::Busy { .. }) if self.patience != Patience::None => std::thread::yield_now(),
                outcome => return Ok(outcome?),
            }
        }
        Ok(attempt()??)
    }

    /// Stores a value unless there is one already, which it then copies; true if there was.
    pub(super) fn insert_if_absent(
        &self,
        key: Key<'_>,
        value: &[u8],
        found_value: &mut impl Output,
    ) -> Result<bool, MapError> {
        let raw = self.raw();
        self.persist(|| {
            let locked = self.lock(&raw, key)?;
            let lookup = self.find(&locked, key)?;
            match lookup.live() {
                Some(found) => {
                    locked.copy_value(found, found_value)?;
                    Ok(Ok(true))
                }
                None => {
                    let expires = self.expiry(TimeToLive::Usual);
                    let stored = self.store(&locked, key, Payload { value, expires }, &lookup);
                    Ok(stored.map(|()| false))
                }
            }
        })
    }

    /// Removes an entry, and copies its value; false if there was none.
    pub(super) fn remove(&self, key: Key<'_>, old: &mut impl Output) -> Result<bool, MapError> {
        let raw = self.raw();
        let locked = self.lock(&raw, key)?;
        let lookup = self.find(&locked, key)?;
        if let Some(found) = lookup.live() {
            locked.copy_value(found, old)?;
        }
        if let Some(found) = &lookup.found {
            locked.remove(found)?;
        }
        Ok(lookup.live().is_some())
    }

    /// Replaces the value `current` with `new`, either of which may be none; otherwise copies the one found, and tells whether
    /// there is one.
    pub(super) fn compare_exchange(
        &self,
        key: Key<'_>,
        current: Option<&[u8]>,
        new: Option<&[u8]>,
        found_value: &mut Vec<u8>,
    ) -> Result<Result<(), bool>, MapError> {
        let raw = self.raw();
        let locked = self.lock(&raw, key)?;
        let lookup = self.find(&locked, key)?;
        if let Some(found) = lookup.live() {
            locked.copy_value(found, found_value)?;
        }
        if current != lookup.live().map(|_| found_value.as_slice()) {
            return Ok(Err(lookup.live().is_some()));
        }
        self.turn(&locked, key, &lookup, new).map(Ok)
    }

    /// Puts `new`, which may be none, in the place of what was found, keeping its expiry time.
    fn turn(&self, locked: &Locked<'_>, key: Key<'_>, lookup: &Lookup, new: Option<&[u8]>) -> Result<(), MapError> {
        match (new, &lookup.found) {
            (Some(value), _) => {
                let expires = match lookup.live() {
                    Some(_) => lookup.expiry,
                    None => self.expiry(TimeToLive::Usual),
                };
                Ok(self.store(locked, key, Payload { value, expires }, lookup)?)
            }
            (None, Some(found)) => Ok(locked.remove(found)?),
            (None, None) => Ok(()),
        }
    }

    /// Has `change` turn the value found, which is copied to `old`, into another or none, while its shard's lock is held.
    #[inline]
    pub(super) fn update<O: Output, R>(
        &self,
        key: Key<'_>,
        mut old: O,
        change: impl FnOnce(Option<O>, Turn<'_>) -> Result<R, MapError>,
    ) -> Result<R, MapError> {
        let raw = self.raw();
        let locked = self.lock(&raw, key)?;
        let lookup = self.find(&locked, key)?;
        if let Some(found) = lookup.live() {
            locked.copy_value(found, &mut old)?;
        }
        let turn = Turn {
            untyped: self,
            locked: &locked,
            key,
            lookup: &lookup,
        };
        let _inside = Inside::enter();
        change(lookup.live().map(|_| old), turn)
    }

    /// The number of entries that have not expired.
    pub(super) fn len(&self) -> usize {
        self.sweep_overdue();
        self.raw().len(|| self.peers()) as usize
    }

    /// What the map holds, without expired entries.
    pub(super) fn totals(&self) -> Totals {
        self.sweep_overdue();
        self.raw().totals(|| self.peers())
    }

    /// Copies a shard's entries.
    pub(super) fn snapshot(&self, shard: u32, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<(), MapError> {
        Self::check_outside()?;
        let (now, peers) = (|| self.now(), || self.peers());
        Ok(self.raw().snapshot(shard, now, out, ends, peers, self.deadline())?)
    }

    /// Removes the entries of a shard, some at a time.
    pub(super) fn clear(&self, shard: u32) -> Result<(), MapError> {
        let raw = self.raw();
        let mut bucket = Some(0);
        while let Some(from) = bucket {
            let locked = self.lock_shard(&raw, shard)?;
            bucket = locked.clear_some(from)?;
            let wanted = locked.is_wanted();
            drop(locked);
            if wanted {
                // Without the pause, a waiter that is woken now would come too late every time.
                std::thread::sleep(AFTER_YOU);
            }
        }
        Ok(())
    }

    /// Removes what has expired from the shards that are not locked.
    fn sweep_overdue(&self) {
        let raw = self.raw();
        for shard in 0..self.shape.shards() {
            if !INSIDE.get() && raw.is_overdue(shard, || self.now()) {
                if let Ok(locked) = raw.lock(shard, || self.peers(), Deadline::Now) {
                    let _ = locked.sweep(self.now());
                }
            }
        }
    }
}
