//! The named, typed objects of a segment: a chained hash table in the segment itself.
//!
//! ```text
//! buckets: one word each, the offset of the first entry of a chain, 0 for none
//! entry:   next | hash | kind, name length, schema length | object offset | object bytes | fingerprint | len | 0
//!          name, padded with zeros to a word
//!          schema text, padded likewise
//! ```
//!
//! | state | shown by | moved by | if that party dies there |
//! |---|---|---|---|
//! | absent | no chain leads to it | holder of the directory lock: writes object and entry beyond `used` | the next holder overwrites the bytes |
//! | present | its bucket, by one store | the same: stores `last`, `used` and count | the next holder computes them from the chains |
//!
//! # Invariants
//!
//! - D1. An object and its entry are whole before a bucket leads to them; they never move and never go away.
//! - D2. `used` is never below the end of an entry a chain leads to, except between two stores of the lock's holder.
//! - D3. Everything read here may be garbage: offsets are checked against the segment, chains are bounded.

use super::header::word;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering, crash_point, fence};
use core::ops::Range;

/// Every object starts on a cache line of its own.
pub(crate) const OBJECT_ALIGN: u64 = 64;
/// Words of an entry before its name.
const ENTRY_WORDS: usize = 8;
const LONGEST_NAME: usize = 255;
const LONGEST_SCHEMA: usize = 1 << 16;

/// The words of a queue that say which processes hold its two locks, and which sleep.
pub(crate) const QUEUE_FORGETS: [Range<usize>; 3] = [8..10, 24..26, 40..42];
/// Where a queue says how many seats it has, where its participants are recorded, and how many words that takes beside the two of
/// each seat.
pub(crate) const QUEUE_SEATS: (usize, usize, usize) = (1, 48, 8);

/// The locks of a map, one for each of its elements: the word of the first, and how many words apart they are.
pub(crate) const MAP_LOCKS: (usize, usize) = (136, 176);
/// The word of a map's clock, which a restart of the machine resets.
pub(crate) const MAP_FORGETS: Range<usize> = 4..5;

/// What an object is; stored in its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Kind {
    Value = 1,
    Array = 2,
    Counter = 3,
    Atomic = 4,
    AtomicArray = 5,
    FrozenArray = 6,
    Queue = 7,
    Pipe = 8,
    Ring = 9,
    Map = 10,
    Pool = 11,
}

impl Kind {
    const ALL: [Kind; 11] = [
        Kind::Value,
        Kind::Array,
        Kind::Counter,
        Kind::Atomic,
        Kind::AtomicArray,
        Kind::FrozenArray,
        Kind::Queue,
        Kind::Pipe,
        Kind::Ring,
        Kind::Map,
        Kind::Pool,
    ];

    fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == code)
    }

    /// Words that mean nothing after a restart of the machine, where their position is known.
    fn forgets(self) -> &'static [Range<usize>] {
        match self {
            Kind::Queue => &QUEUE_FORGETS,
            Kind::Map => core::slice::from_ref(&MAP_FORGETS),
            Kind::Value | Kind::Array | Kind::Counter | Kind::Atomic | Kind::AtomicArray | Kind::FrozenArray => &[],
            Kind::Pipe | Kind::Ring | Kind::Pool => &[],
        }
    }

    /// The fewest bytes an object of this kind takes: its lock, and what comes with it.
    fn least_bytes(self) -> u64 {
        match self {
            Kind::Value | Kind::Counter => 24,
            Kind::Array => OBJECT_ALIGN,
            Kind::Atomic | Kind::AtomicArray | Kind::FrozenArray => 0,
            // Their locks and seats, which a process that opens one checks against its length.
            Kind::Queue => 8 * (QUEUE_SEATS.1 + QUEUE_SEATS.2) as u64,
            Kind::Pipe | Kind::Ring | Kind::Pool => OBJECT_ALIGN,
            Kind::Map => 8 * MAP_LOCKS.0 as u64,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Value => "value",
            Kind::Array => "array",
            Kind::Counter => "counter",
            Kind::Atomic => "atomic",
            Kind::AtomicArray => "atomic array",
            Kind::FrozenArray => "frozen array",
            Kind::Queue => "queue",
            Kind::Pipe => "pipe",
            Kind::Ring => "ring",
            Kind::Map => "map",
            Kind::Pool => "pool",
        }
    }
}

/// What identifies an object's type and size.
#[derive(Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) kind: Kind,
    pub(crate) fingerprint: u64,
    pub(crate) schema: &'a dyn core::fmt::Display,
    /// Elements, 1 for what has none.
    pub(crate) len: u64,
    pub(crate) bytes: u64,
}

/// One object, as copied from the directory and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    /// Where the entry itself lies, in bytes.
    pub(crate) at: u64,
    next: u64,
    hash: u64,
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) fingerprint: u64,
    pub(crate) len: u64,
    name_len: usize,
    schema_len: usize,
}

impl DirectoryEntry {
    /// Where those of its locks lie, in bytes, whose next holder is told of an owner's death.
    pub(crate) fn locks(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, step, count) = match self.kind {
            Kind::Value | Kind::Array | Kind::Counter => (0, 1, 1),
            Kind::Map => (MAP_LOCKS.0, MAP_LOCKS.1, self.len),
            Kind::Atomic | Kind::AtomicArray | Kind::FrozenArray => (0, 1, 0),
            Kind::Queue | Kind::Pipe | Kind::Ring | Kind::Pool => (0, 1, 0),
        };
        let (offset, end) = (self.offset, self.offset + self.bytes);
        let lock_at = move |number: u64| Some(offset + 8 * (first as u64 + number.checked_mul(step as u64)?));
        (0..count).map_while(lock_at).take_while(move |lock| lock + 16 <= end)
    }

    /// The words of the segment that mean nothing after a restart of the machine, beside those of [`locks`](Self::locks).
    pub(crate) fn forgets(&self, words: &[AtomicU64]) -> impl Iterator<Item = Range<usize>> {
        let first = self.offset as usize / 8;
        let end = ((self.offset + self.bytes) / 8) as usize;
        let (count, seats, fixed) = QUEUE_SEATS;
        let seats = (self.kind == Kind::Queue).then(|| {
            // Relaxed: written once, before the object was found. A forged number clears no more than the object.
            let count = words[first + count].load(Ordering::Relaxed) as usize;
            let after = fixed
                .saturating_add(count.saturating_mul(2))
                .saturating_add(first + seats);
            first + seats..after.min(end)
        });
        let ranges = self.kind.forgets().iter();
        ranges
            .map(move |range| first + range.start..first + range.end)
            .chain(seats)
    }

    fn end(&self) -> u64 {
        self.at + entry_bytes(self.name_len, self.schema_len)
    }
}

/// Where a new object and its entry will go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) object: u64,
    entry: u64,
    end: u64,
}

fn entry_bytes(name: usize, schema: usize) -> u64 {
    ((ENTRY_WORDS + name.div_ceil(8) + schema.div_ceil(8)) * 8) as u64
}

/// How many bytes of `schema` are stored.
fn stored_schema(schema: &str) -> &str {
    if schema.len() <= LONGEST_SCHEMA { schema } else { "" }
}

impl Placement {
    /// The first free place from `used` on, or `None` if the numbers overflow.
    fn after(used: u64, bytes: u64, name: &str, schema: &str) -> Option<Self> {
        let object = used.checked_next_multiple_of(OBJECT_ALIGN)?;
        let entry = object.checked_add(bytes)?.checked_next_multiple_of(8)?;
        let end = entry.checked_add(entry_bytes(name.len(), stored_schema(schema).len()))?;
        Some(Placement { object, entry, end })
    }
}

/// Buckets of a segment of that length: one for 512 bytes, within limits.
pub(crate) fn buckets_for(length: u64) -> u64 {
    (length / 512).next_power_of_two().clamp(8, 1 << 16)
}

/// Where the first object may go.
pub(crate) fn first_used(buckets: u64) -> u64 {
    (word::END as u64 + buckets) * 8
}

/// The length a segment needs to hold just this object, or `None` if that overflows.
pub(crate) fn length_for(name: &str, spec: &Spec<'_>, buckets: u64) -> Option<u64> {
    Placement::after(first_used(buckets), spec.bytes, name, &spec.schema.to_string()).map(|place| place.end)
}

/// Says why an object may not be called `name`, if it may not. The empty name is that of the one object of a segment made for it.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.len() > LONGEST_NAME {
        let message = format!(
            "an object's name has at most {LONGEST_NAME} bytes, found {}",
            name.len()
        );
        return Err(Error::new(ErrorKind::InvalidName, message));
    }
    if name.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidName,
            format!("object name {name:?} contains a NUL byte"),
        ));
    }
    Ok(())
}

/// FNV-1a, spread so that the low bits choose a bucket well.
fn hash(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ hash >> 29
}

/// The directory of one segment, over its words.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    words: &'a [AtomicU64],
    buckets: u64,
}

impl<'a> Directory<'a> {
    /// `buckets` was checked against the length of `words` when the header was parsed.
    pub(crate) fn new(words: &'a [AtomicU64], buckets: u64) -> Self {
        Directory { words, buckets }
    }

    fn length(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    /// Relaxed: callers fence once after the load that led them here.
    fn load(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Relaxed)
    }

    fn first(&self, bucket: u64) -> u64 {
        let first = self.load(word::END + bucket as usize);
        // Acquire: pairs with the Release in `publish`, so that entry and object are whole (D1). A fence, because
        // only relaxed loads are sure to work on the read-only memory of a frozen segment.
        fence(Ordering::Acquire);
        first
    }

    /// Looks a name up.
    pub(crate) fn find(&self, name: &str) -> Result<Option<DirectoryEntry>> {
        let hash = hash(name);
        let mut at = self.first(hash & (self.buckets - 1));
        while at != 0 {
            let entry = self.entry(at)?;
            if entry.hash == hash && entry.name_len == name.len() && self.name_is(&entry, name) {
                return Ok(Some(entry));
            }
            at = entry.next;
        }
        Ok(None)
    }

    /// All objects, bucket by bucket.
    pub(crate) fn entries(&self) -> Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for bucket in 0..self.buckets {
            let mut at = self.first(bucket);
            while at != 0 {
                let entry = self.entry(at)?;
                at = entry.next;
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Copies the entry at byte `at` and checks the copy (D3).
    fn entry(&self, at: u64) -> Result<DirectoryEntry> {
        let start = (at / 8) as usize;
        if at % 8 != 0 || at < first_used(self.buckets) || start + ENTRY_WORDS > self.words.len() {
            return Err(corrupt(&format!(
                "expected an entry at a multiple of 8 inside the segment, found offset {at}"
            )));
        }
        let copy: [u64; ENTRY_WORDS] = core::array::from_fn(|word| self.load(start + word));
        let [next, hash, lengths, offset, bytes, fingerprint, len, _] = copy;
        let entry = DirectoryEntry {
            at,
            next,
            hash,
            kind: Kind::from_code(lengths & 0xffff).ok_or_else(|| corrupt("unknown kind of object"))?,
            offset,
            bytes,
            fingerprint,
            len,
            name_len: (lengths >> 16 & 0xffff) as usize,
            schema_len: (lengths >> 32) as usize,
        };
        let fits = entry.name_len <= LONGEST_NAME && entry.schema_len <= LONGEST_SCHEMA && entry.end() <= self.length();
        // An entry follows its object, and a chain leads to older, and so lower, entries: so it has an end, and a change of one
        // word in an entry is noticed.
        let object_fits = offset % OBJECT_ALIGN == 0
            && offset >= first_used(self.buckets)
            && bytes >= entry.kind.least_bytes()
            && offset
                .checked_add(bytes)
                .and_then(|end| end.checked_next_multiple_of(8))
                == Some(at)
            && next < at;
        if fits && object_fits {
            Ok(entry)
        } else {
            Err(corrupt(&format!("the entry at offset {at} is inconsistent")))
        }
    }

    fn name_is(&self, entry: &DirectoryEntry, name: &str) -> bool {
        let start = entry.at as usize / 8 + ENTRY_WORDS;
        name.as_bytes()
            .chunks(8)
            .enumerate()
            .all(|(at, chunk)| self.load(start + at) == word_of(chunk))
    }

    /// The entry's name; what is not UTF-8 is replaced.
    pub(crate) fn name(&self, entry: &DirectoryEntry) -> String {
        self.text(entry.at as usize / 8 + ENTRY_WORDS, entry.name_len)
    }

    /// The schema text of the entry's type.
    pub(crate) fn schema(&self, entry: &DirectoryEntry) -> String {
        self.text(
            entry.at as usize / 8 + ENTRY_WORDS + entry.name_len.div_ceil(8),
            entry.schema_len,
        )
    }

    fn text(&self, start: usize, len: usize) -> String {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8))
            .flat_map(|at| self.load(start + at).to_ne_bytes())
            .collect();
        bytes.truncate(len);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Finds room for a new object. The caller holds the directory lock.
    pub(crate) fn reserve(&self, name: &str, spec: &Spec<'_>, schema: &str) -> Result<Placement> {
        let (used, last) = (self.load(word::USED), self.load(word::LAST));
        let expected = if last == 0 {
            first_used(self.buckets)
        } else {
            self.entry(last)?.end()
        };
        if used != expected {
            return Err(corrupt(&format!("expected {expected} bytes in use, found {used}")));
        }
        match Placement::after(used, spec.bytes, name, schema) {
            Some(place) if place.end <= self.length() => Ok(place),
            _ => {
                let free = self.length() - used;
                let needed =
                    Placement::after(used, spec.bytes, name, schema).map_or(u64::MAX, |place| place.end - used);
                let message = format!(
                    "no room for object {name:?}: {needed} bytes needed, {free} of {} bytes free; create the segment \
                        with a larger capacity",
                    self.length()
                );
                Err(Error::new(ErrorKind::Full, message))
            }
        }
    }

    /// Writes the entry of an object that is whole at `place`, and publishes it. The caller holds the directory lock.
    pub(crate) fn publish(&self, place: Placement, name: &str, spec: &Spec<'_>, schema: &str) {
        let hash = hash(name);
        let bucket = &self.words[word::END + (hash & (self.buckets - 1)) as usize];
        let schema = stored_schema(schema);
        let lengths = spec.kind as u64 | (name.len() as u64) << 16 | (schema.len() as u64) << 32;
        let next = bucket.load(Ordering::Relaxed);
        let fixed = [
            next,
            hash,
            lengths,
            place.object,
            spec.bytes,
            spec.fingerprint,
            spec.len,
            0,
        ];
        let name_words = name.as_bytes().chunks(8).map(word_of);
        let schema_words = schema.as_bytes().chunks(8).map(word_of);
        let start = place.entry as usize / 8;
        for (at, value) in fixed.into_iter().chain(name_words).chain(schema_words).enumerate() {
            // Relaxed: published by the bucket below.
            self.words[start + at].store(value, Ordering::Relaxed);
        }
        crash_point!("place.entry");
        // Release: pairs with the Acquire fence in `first` (D1).
        bucket.store(place.entry, Ordering::Release);
        crash_point!("place.published");
        // Relaxed: the directory lock orders these for the next holder.
        self.words[word::LAST].store(place.entry, Ordering::Relaxed);
        self.words[word::USED].store(place.end, Ordering::Relaxed);
        self.words[word::OBJECTS].fetch_add(1, Ordering::Relaxed);
        crash_point!("place.counted");
    }

    /// Computes `used` and the count from the chains, after a holder of the directory lock died (D2).
    pub(crate) fn recover(&self) -> Result<()> {
        let entries = self.entries()?;
        let last = entries.iter().max_by_key(|entry| entry.at);
        let used = last.map_or(first_used(self.buckets), DirectoryEntry::end);
        // Relaxed: the directory lock orders these for the next holder.
        self.words[word::LAST].store(last.map_or(0, |entry| entry.at), Ordering::Relaxed);
        self.words[word::USED].store(used, Ordering::Relaxed);
        self.words[word::OBJECTS].store(entries.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn word_of(chunk: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_ne_bytes(bytes)
}

fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("directory: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u64 = 16 * 1024;

    fn words() -> Vec<AtomicU64> {
        let words: Vec<AtomicU64> = (0..LENGTH / 8).map(|_| AtomicU64::new(0)).collect();
        words[word::USED].store(first_used(8), Ordering::Relaxed);
        words
    }

    fn spec(bytes: u64) -> Spec<'static> {
        Spec {
            kind: Kind::Value,
            fingerprint: 42,
            schema: &"u64",
            len: 1,
            bytes,
        }
    }

    fn add(directory: &Directory<'_>, name: &str, bytes: u64) -> Result<u64> {
        let place = directory.reserve(name, &spec(bytes), "u64")?;
        directory.publish(place, name, &spec(bytes), "u64");
        Ok(place.object)
    }

    #[test]
    fn what_was_added_is_found_with_name_and_schema() {
        let words = words();
        let directory = Directory::new(&words, 8);
        let names: Vec<String> = (0..40).map(|number| format!("object number {number}")).collect();
        let offsets: Vec<u64> = names.iter().map(|name| add(&directory, name, 40).unwrap()).collect();
        for (name, offset) in names.iter().zip(offsets) {
            let entry = directory.find(name).unwrap().unwrap();
            assert_eq!((entry.offset, entry.bytes, offset % 64), (offset, 40, 0));
            assert_eq!(
                (directory.name(&entry), directory.schema(&entry)),
                (name.clone(), "u64".to_owned())
            );
        }
        assert_eq!(directory.find("absent").unwrap(), None);
        assert_eq!(directory.entries().unwrap().len(), 40);
    }

    /// The byte map of an entry: a change here needs a new `LAYOUT_VERSION`.
    #[test]
    fn golden_entry() {
        let words = words();
        let directory = Directory::new(&words, 8);
        add(&directory, "hits", 40).unwrap();
        let entry = directory.find("hits").unwrap().unwrap();
        assert_eq!(
            (first_used(8), entry.offset, entry.at, entry.end()),
            (704, 704, 744, 824)
        );
        let start = entry.at as usize / 8;
        let stored: Vec<u64> = (start..start + 10)
            .map(|at| words[at].load(Ordering::Relaxed))
            .collect();
        let lengths = 1 | 4 << 16 | 3 << 32;
        let text = |text: &[u8; 8]| u64::from_ne_bytes(*text);
        let expected = [
            0,
            hash("hits"),
            lengths,
            704,
            40,
            42,
            1,
            0,
            text(b"hits\0\0\0\0"),
            text(b"u64\0\0\0\0\0"),
        ];
        assert_eq!(stored, expected);
        assert_eq!(hash("hits"), 0x732d_fbcf_0263_2edf);
    }

    #[test]
    fn a_full_segment_says_so_and_stays_as_it_was() {
        let words = words();
        let directory = Directory::new(&words, 8);
        add(&directory, "a", 40).unwrap();
        let used = words[word::USED].load(Ordering::Relaxed);
        for bytes in [LENGTH, u64::MAX - 100, u64::MAX] {
            assert_eq!(add(&directory, "b", bytes).unwrap_err().kind(), ErrorKind::Full);
        }
        assert_eq!(words[word::USED].load(Ordering::Relaxed), used);
        assert!(add(&directory, "b", 40).is_ok());
    }

    #[test]
    fn recovery_computes_what_a_dead_creator_left_out() {
        let words = words();
        let directory = Directory::new(&words, 8);
        add(&directory, "a", 40).unwrap();
        add(&directory, "b", 400).unwrap();
        let used = words[word::USED].load(Ordering::Relaxed);
        words[word::USED].store(first_used(8), Ordering::Relaxed);
        words[word::OBJECTS].store(0, Ordering::Relaxed);
        assert_eq!(add(&directory, "c", 40).unwrap_err().kind(), ErrorKind::Corrupt);
        directory.recover().unwrap();
        assert_eq!(words[word::USED].load(Ordering::Relaxed), used);
        assert_eq!(words[word::OBJECTS].load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_chain_in_a_circle_ends() {
        let words = words();
        let directory = Directory::new(&words, 8);
        add(&directory, "a", 40).unwrap();
        let entry = directory.find("a").unwrap().unwrap();
        words[entry.at as usize / 8].store(entry.at, Ordering::Relaxed);
        assert_eq!(directory.find("a").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(directory.entries().unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
