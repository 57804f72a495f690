//! Entries: blocks that hold a key and a value, and the continuation blocks of values that do not fit into one block.
//!
//! ```text
//! entry:  [ next:32 | hash:32 ]  [ words:32 | key bytes:16 | unused:8 | flags:8 ]
//!         [ newer:32 | older:32 ]   if the map evicts
//!         [ when it expires ]       with EXPIRES: milliseconds
//!         [ 0 | first rest:32 ]     with EXTENDED
//!         key, filled up to a word; value, of which the last `unused` bytes of the block are no part
//! rest:   [ 0 | next rest:32 ]  [ words:32 | 0 | unused:8 | CONTINUATION ]  more of the value
//! ```

use super::heap::{FREE, size_of_block};
use super::journal::Corrupt;
use super::shape::Shape;
use crate::primitive::{AtomicU64, Ordering};

pub(super) const EXTENDED: u64 = 4;
pub(super) const EXPIRES: u64 = 8;
pub(super) const CONTINUATION: u64 = 16;

/// The longest key, in bytes, that an entry can record the length of.
pub(crate) const LONGEST_KEY: usize = u16::MAX as usize;
/// The most bytes a block leaves unused at its end.
pub(super) const MOST_UNUSED: u32 = u8::MAX as u32;
/// The fewest words of a continuation that are worth the two of its header.
pub(super) const LEAST_CONTINUATION: u32 = 4;
/// Words of a continuation before its part of the value.
pub(super) const CONTINUATION_HEADER: u32 = 2;

/// A key as it is stored, and its hash.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: u64,
}

impl Key<'_> {
    /// The half of the hash that entries keep.
    #[inline]
    pub(super) fn tag(&self) -> u32 {
        self.hash as u32
    }

    #[inline]
    pub(super) fn words(&self) -> u32 {
        words_of(self.bytes.len())
    }
}

/// What will be stored under a key.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) value: &'a [u8],
    /// When it expires, in milliseconds of the map's clock.
    pub(crate) expires: Option<u64>,
}

impl Payload<'_> {
    /// The flags of an entry that holds it in one block.
    #[inline]
    pub(super) fn flags(&self) -> u64 {
        if self.expires.is_some() { EXPIRES } else { 0 }
    }
}

/// Words that hold this many bytes.
#[inline]
pub(super) fn words_of(bytes: usize) -> u32 {
    bytes.div_ceil(8) as u32
}

/// A word of the map; a garbage number may lead outside it.
#[inline]
pub(super) fn load(words: &[AtomicU64], at: u32) -> Result<u64, Corrupt> {
    let word = words.get(at as usize).ok_or(Corrupt)?;
    Ok(word.load(Ordering::Relaxed)) // Relaxed: the journal, or the lock, orders what is read.
}

/// An entry whose second word was found sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) block: u32,
    /// Its second word.
    pub(super) tag: u64,
}

/// Words of an entry before its key.
#[inline]
pub(super) fn header_words(shape: &Shape, flags: u64) -> u32 {
    2 + u32::from(shape.evicts) + u32::from(flags & EXPIRES != 0) + u32::from(flags & EXTENDED != 0)
}

/// Words that an entry takes in one block.
#[inline]
pub(super) fn words_needed(shape: &Shape, key: Key<'_>, payload: Payload<'_>) -> u64 {
    u64::from(header_words(shape, payload.flags()) + key.words()) + payload.value.len().div_ceil(8) as u64
}

/// The second word of an entry or a continuation.
pub(super) fn tag(size: u32, key_len: u32, unused: u32, flags: u64) -> u64 {
    u64::from(size) << 32 | u64::from(key_len) << 16 | u64::from(unused) << 8 | flags
}

impl Entry {
    /// The entry at `block`.
    #[inline]
    pub(super) fn at(words: &[AtomicU64], shape: &Shape, block: u32) -> Result<Self, Corrupt> {
        Self::of_tag(shape, block, load(words, block.wrapping_add(1))?)
    }

    /// The entry at `block`, whose second word is `tag`.
    #[inline(always)]
    pub(super) fn of_tag(shape: &Shape, block: u32, tag: u64) -> Result<Self, Corrupt> {
        let entry = Entry { block, tag };
        let room = entry.room(shape);
        let sound = tag & (FREE | CONTINUATION) == 0
            && block >= shape.regions_at
            && room <= shape.region
            && entry.unused() <= 8 * room;
        if sound { Ok(entry) } else { Err(Corrupt) }
    }

    /// Words of the block.
    #[inline]
    pub(super) fn size(&self) -> u32 {
        size_of_block(self.tag)
    }

    #[inline]
    pub(super) fn key_len(&self) -> u32 {
        self.tag as u32 >> 16
    }

    #[inline]
    fn unused(&self) -> u32 {
        self.tag as u32 >> 8 & 0xff
    }

    #[inline]
    pub(super) fn key_at(&self, shape: &Shape) -> u32 {
        self.block.wrapping_add(header_words(shape, self.tag))
    }

    #[inline]
    pub(super) fn value_at(&self, shape: &Shape) -> u32 {
        self.key_at(shape).wrapping_add(self.key_len().div_ceil(8))
    }

    /// Words of the block from the value on.
    #[inline]
    pub(super) fn room(&self, shape: &Shape) -> u32 {
        self.block.wrapping_add(self.size()).wrapping_sub(self.value_at(shape))
    }

    /// Bytes of the value, or of the part of it that the block holds.
    #[inline]
    pub(super) fn value_len(&self, shape: &Shape) -> u32 {
        8 * self.room(shape) - self.unused()
    }

    #[inline]
    pub(super) fn ages_at(&self) -> u32 {
        self.block.wrapping_add(2)
    }

    #[inline]
    pub(super) fn expires_at(&self, shape: &Shape) -> u32 {
        self.block.wrapping_add(2 + u32::from(shape.evicts))
    }

    /// The word before the key, which holds the first rest's number.
    #[inline]
    pub(super) fn more_at(&self, shape: &Shape) -> u32 {
        self.key_at(shape).wrapping_sub(1)
    }

    /// When it expires, if it does.
    #[inline]
    pub(super) fn expiry(&self, words: &[AtomicU64], shape: &Shape) -> Result<Option<u64>, Corrupt> {
        if self.tag & EXPIRES == 0 {
            return Ok(None);
        }
        load(words, self.expires_at(shape)).map(Some)
    }

    /// The first rest of the value, or 0.
    #[inline]
    pub(super) fn more(&self, words: &[AtomicU64], shape: &Shape) -> Result<u32, Corrupt> {
        if self.tag & EXTENDED == 0 {
            return Ok(0);
        }
        Ok(load(words, self.more_at(shape))? as u32)
    }

    /// Whether its key is this one.
    #[inline(always)]
    pub(super) fn has_key(&self, words: &[AtomicU64], shape: &Shape, key: &[u8]) -> Result<bool, Corrupt> {
        if self.key_len() as usize != key.len() {
            return Ok(false);
        }
        if let Ok(word) = key.try_into() {
            return Ok(load(words, self.key_at(shape))? == u64::from_ne_bytes(word));
        }
        self.has_long_key(words, shape, key)
    }

    #[inline(never)]
    fn has_long_key(&self, words: &[AtomicU64], shape: &Shape, key: &[u8]) -> Result<bool, Corrupt> {
        let stored = words_from(words, self.key_at(shape), key.len())?;
        let whole = key.chunks_exact(8);
        let rest = whole.remainder();
        // Relaxed: as in `load`.
        let mut pairs = stored.iter().map(|word| word.load(Ordering::Relaxed)).zip(whole);
        if pairs.any(|(word, chunk)| word != word_of(chunk)) {
            return Ok(false);
        }
        let last = stored.last().map_or(0, |word| word.load(Ordering::Relaxed));
        Ok(rest.is_empty() || last == word_of(rest))
    }

    /// Appends the key to `out`.
    pub(super) fn copy_key(&self, words: &[AtomicU64], shape: &Shape, out: &mut impl Output) -> Result<(), Corrupt> {
        append(words, self.key_at(shape), self.key_len() as usize, out)
    }

    /// Appends the whole value to `out`.
    #[inline(always)]
    pub(super) fn copy_value(&self, words: &[AtomicU64], shape: &Shape, out: &mut impl Output) -> Result<(), Corrupt> {
        append(words, self.value_at(shape), self.value_len(shape) as usize, out)?;
        if self.tag & EXTENDED == 0 {
            Ok(())
        } else {
            self.copy_continuations(words, shape, out)
        }
    }

    #[cold]
    fn copy_continuations(&self, words: &[AtomicU64], shape: &Shape, out: &mut impl Output) -> Result<(), Corrupt> {
        let mut rest = self.more(words, shape)?;
        let mut left = shape.words;
        while rest != 0 {
            let part = Continuation::at(words, shape, rest)?;
            left = left.checked_sub(part.size).ok_or(Corrupt)?;
            append(words, rest + CONTINUATION_HEADER, part.len as usize, out)?;
            rest = part.next;
        }
        Ok(())
    }
}

/// One more block of a value.
pub(super) struct Continuation {
    pub(super) size: u32,
    pub(super) len: u32,
    pub(super) next: u32,
}

impl Continuation {
    pub(super) fn at(words: &[AtomicU64], shape: &Shape, block: u32) -> Result<Self, Corrupt> {
        let tag = load(words, block.wrapping_add(1))?;
        let (size, unused) = (size_of_block(tag), tag as u32 >> 8 & 0xff);
        let sound = tag & CONTINUATION != 0
            && tag & FREE == 0
            && block >= shape.regions_at
            && (CONTINUATION_HEADER..=shape.region).contains(&size)
            && unused <= 8 * (size - CONTINUATION_HEADER);
        if !sound {
            return Err(Corrupt);
        }
        Ok(Continuation {
            size,
            len: 8 * (size - CONTINUATION_HEADER) - unused,
            next: load(words, block)? as u32,
        })
    }
}

/// Up to eight bytes as a word, padded with zeros.
#[inline]
pub(super) fn word_of(bytes: &[u8]) -> u64 {
    if let Ok(word) = bytes.try_into() {
        return u64::from_ne_bytes(word);
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Appends `len` bytes that begin at the word `at`.
#[inline(always)]
fn append(words: &[AtomicU64], at: u32, len: usize, out: &mut impl Output) -> Result<(), Corrupt> {
    out.append(words_from(words, at, len)?, len);
    Ok(())
}

/// The words that hold `len` bytes, from `at` on.
#[inline(always)]
fn words_from(words: &[AtomicU64], at: u32, len: usize) -> Result<&[AtomicU64], Corrupt> {
    let at = at as usize;
    words.get(at..at.saturating_add(len.div_ceil(8))).ok_or(Corrupt)
}

/// Where keys and values are copied to.
pub(crate) trait Output {
    /// Discards what was appended: it may mean nothing.
    fn clear(&mut self);

    /// Appends the first `len` bytes of these words.
    fn append(&mut self, words: &[AtomicU64], len: usize);
}

impl Output for Vec<u8> {
    fn clear(&mut self) {
        Vec::clear(self);
    }

    #[inline(always)]
    fn append(&mut self, words: &[AtomicU64], len: usize) {
        let start = self.len();
        // Whole words first, then the excess is cut off.
        self.resize(start + 8 * words.len(), 0);
        for (chunk, word) in self[start..].chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()); // Relaxed: as in `load`.
        }
        self.truncate(start + len);
    }
}

/// A short value: up to sixteen bytes of it, and how many it has.
#[derive(Default)]
pub(crate) struct Short {
    words: [u64; 2],
    len: usize,
}

impl Short {
    /// The value's bytes, if it was short enough.
    #[inline]
    pub(crate) fn bytes(&self) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.words[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&self.words[1].to_ne_bytes());
        (self.len <= 16).then_some(bytes)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Output for Short {
    #[inline]
    fn clear(&mut self) {
        *self = Short::default();
    }

    #[inline(always)]
    fn append(&mut self, words: &[AtomicU64], len: usize) {
        // Relaxed: as in `load`.
        if let [first, rest @ ..] = words {
            self.words[0] = first.load(Ordering::Relaxed);
            self.words[1] = rest.first().map_or(0, |second| second.load(Ordering::Relaxed));
        }
        self.len = self.len.saturating_add(len);
    }
}

/// For a caller that only asks whether there is an entry.
impl Output for () {
    fn clear(&mut self) {}

    fn append(&mut self, _words: &[AtomicU64], _len: usize) {}
}
