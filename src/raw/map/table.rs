//! What is done to entries under a shard's lock: stored, overwritten, removed, used.
//!
//! | step, by the holder of the lock | is made of | a death leaves |
//! |---|---|---|
//! | overwrite a value of one word | the count of overwrites, then one store | the old value or the new, perhaps counted in vain |
//! | overwrite some words in place | one change | the old value or the new |
//! | store in one block | one change: takes the block, links it, gives the old one back | the old entry or the new |
//! | store in parts | a change for each part, then one that makes them an entry | garbage and the old entry, or the new |
//! | remove | one change; continuations of the value become garbage | the entry, or garbage |
//! | free garbage | a change for each block | the garbage that is left |
//! | use, in a map that evicts | one change | one order or the other |

use super::chain::{Found, each, each_of_chain, find_where};
use super::entry::{
    CONTINUATION, CONTINUATION_HEADER, EXPIRES, EXTENDED, Entry, Key, LEAST_CONTINUATION, LONGEST_KEY, MOST_UNUSED,
    Output, Payload, header_words, load, tag, word_of, words_needed, words_of,
};
use super::heap::Edit;
use super::journal::Corrupt;
use super::order::{make_newest, take_out_of_order};
use super::room::World;
use super::shape::{halves, pair, word};
use super::shard::{Locked, Refusal};
use crate::primitive::{AtomicU64, Ordering, crash_point, fence};

/// A value is overwritten in place if no more than this many of its words differ.
const MOST_IN_PLACE: usize = 24;
impl Locked<'_> {
    /// Stores `payload` under `key`, whose entry is `found` if there is one. If there is too little room, room is made.
    #[inline(always)]
    pub(crate) fn store<'w>(
        &self,
        key: Key<'_>,
        payload: Payload<'_>,
        found: Option<&Found>,
        world: impl FnOnce() -> World<'w>,
    ) -> Result<(), Refusal> {
        if self.put(key, payload, found)? {
            return Ok(());
        }
        self.store_making_room(key, payload, &world())
    }

    /// Stores `payload` under `key`, whose entry is `found` if there is one; false if there is too little room, and nothing
    /// was changed.
    #[inline(always)]
    pub(super) fn put(&self, key: Key<'_>, payload: Payload<'_>, found: Option<&Found>) -> Result<bool, Refusal> {
        if let Some(found) = found {
            if self.replace_word(payload, found, &mut ())? || self.put_in_place(payload, found)? {
                if self.map.shape.evicts {
                    self.touch(found)?;
                }
                return Ok(true);
            }
        }
        self.put_anew(key, payload, found)
    }

    #[inline(never)]
    fn put_anew(&self, key: Key<'_>, payload: Payload<'_>, found: Option<&Found>) -> Result<bool, Refusal> {
        let shape = self.map.shape;
        let longest = 8 * (shape.region - header_words(shape, EXPIRES | EXTENDED)) as usize;
        if key.bytes.len() > longest.min(LONGEST_KEY) {
            let most = longest.min(LONGEST_KEY) as u64;
            return Err(Refusal::KeyTooLong { most });
        }
        let needed = words_needed(shape, key, payload);
        if needed > u64::from(shape.words) {
            return Ok(false);
        }
        if found.is_some_and(|found| found.entry.tag & EXTENDED != 0) {
            // Its continuations will be the garbage.
            self.free_garbage()?;
        }
        if needed <= u64::from(shape.region) && self.put_whole(key, payload, found, needed as u32)? {
            return Ok(true);
        }
        // In parts only if there is certainly enough; for an entry of usual size, a map that evicts would rather evict.
        let (free, spare) = if shape.evicts && needed <= u64::from(shape.region) {
            (u64::from(halves(self.own(word::ROOM)?).1), needed / 4 + 8)
        } else {
            (self.free_words()?, 0)
        };
        if needed + spare >= free {
            return Ok(false);
        }
        if self.put_in_parts(key, payload, found)? {
            return Ok(true);
        }
        self.free_garbage()?;
        Ok(false)
    }

    /// Overwrites a value of one word, which it first copies to `old`; false if it is not one, or the new one is not.
    ///
    /// That needs no journal: one word is whole in itself, and a reader sees the old or the new.
    #[inline(always)]
    pub(crate) fn replace_word(
        &self,
        payload: Payload<'_>,
        found: &Found,
        old: &mut impl Output,
    ) -> Result<bool, Corrupt> {
        let (shape, entry) = (self.map.shape, &found.entry);
        let Ok(word) = payload.value.try_into() else {
            return Ok(false);
        };
        let alike = entry.tag & (EXTENDED | EXPIRES) == 0 && payload.expires.is_none() && entry.value_len(shape) == 8;
        if !alike || shape.evicts {
            return Ok(false);
        }
        let target = self.map.words.get(entry.value_at(shape) as usize).ok_or(Corrupt)?;
        old.append(core::slice::from_ref(target), 8);
        self.overwrite(target, u64::from_ne_bytes(word));
        Ok(true)
    }

    /// Replaces the word of a value of one word.
    #[inline(always)]
    fn overwrite(&self, target: &AtomicU64, word: u64) {
        let writes = self.map.own(self.shard, word::WRITES);
        // Relaxed: only the holder of the lock stores here.
        writes.store(writes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `snapshot`: a reader of the word sees the count.
        fence(Ordering::Release);
        // Release: pairs with the Acquire fence of readers without the lock, for what this process did before.
        target.store(word, Ordering::Release);
        crash_point!("map.replaced");
    }

    /// Overwrites the value in place, if it takes about the same room and few of its words change.
    #[inline(never)]
    fn put_in_place(&self, payload: Payload<'_>, found: &Found) -> Result<bool, Corrupt> {
        let (words, shape, entry) = (self.map.words, self.map.shape, &found.entry);
        let (room, value_words) = (entry.room(shape), words_of(payload.value.len()));
        let fits = entry.tag & EXTENDED == 0
            && (entry.tag & EXPIRES != 0) == payload.expires.is_some()
            && payload.value.len() <= 8 * room as usize
            && room - value_words <= 1 + value_words / 2
            && 8 * (room - value_words) <= MOST_UNUSED - 7;
        if !fits {
            return Ok(false);
        }
        let at = entry.value_at(shape);
        let Some(targets) = words.get(at as usize..(at + value_words) as usize) else {
            return Err(Corrupt);
        };
        let pairs = targets.iter().zip(payload.value.chunks(8));
        let differs = |(target, chunk): &(&AtomicU64, &[u8])| target.load(Ordering::Relaxed) != word_of(chunk);
        let changed = pairs.filter(differs).count();
        let same_len = payload.value.len() as u32 == entry.value_len(shape);
        let same_expiry = payload.expires == entry.expiry(words, shape)?;
        if let (true, true, [target]) = (same_len, same_expiry, targets) {
            self.overwrite(target, word_of(payload.value));
            return Ok(true);
        }
        if changed > MOST_IN_PLACE {
            return Ok(false);
        }
        let mut edit = self.edit();
        for (at, chunk) in (at..).zip(payload.value.chunks(8)) {
            if edit.get(at)? != word_of(chunk) {
                edit.set(at, word_of(chunk))?;
            }
        }
        if !same_len {
            let unused = 8 * room - payload.value.len() as u32;
            edit.set(entry.block + 1, entry.tag & !(0xff << 8) | u64::from(unused) << 8)?;
        }
        if let (Some(expires), false) = (payload.expires, same_expiry) {
            edit.set(entry.expires_at(shape), expires)?;
            expire_from(&mut edit, expires)?;
        }
        edit.publish();
        Ok(true)
    }

    /// Stores the entry in one block of `needed` words, if there is such a block.
    fn put_whole(
        &self,
        key: Key<'_>,
        payload: Payload<'_>,
        found: Option<&Found>,
        needed: u32,
    ) -> Result<bool, Corrupt> {
        let mut edit = self.edit();
        let Some((block, size)) = edit.take(needed)? else {
            edit.abandon();
            return Ok(false);
        };
        let entry = New {
            block,
            size,
            flags: payload.flags(),
            first_rest: 0,
            value: payload.value,
        };
        self.enter(edit, key, payload, &entry, found)?;
        Ok(true)
    }

    /// Stores the entry in as many blocks as it takes; false if there were not enough, and those taken are garbage.
    ///
    /// | step | what a death leaves |
    /// |---|---|
    /// | the first block is taken, for the key and as much of the value as fits | garbage |
    /// | continuations are taken, the last part of the value first, each before the others | garbage |
    /// | one change makes the first block an entry and the garbage its continuations | the entry |
    fn put_in_parts(&self, key: Key<'_>, payload: Payload<'_>, found: Option<&Found>) -> Result<bool, Corrupt> {
        let shape = self.map.shape;
        self.free_garbage()?;
        let flags = EXTENDED | payload.flags();
        let header = header_words(shape, flags) + key.words();
        let Some((block, size)) =
            self.take_garbage(header, header.saturating_add(words_of(payload.value.len())), &[])?
        else {
            return Ok(false);
        };
        let head = payload.value.len().min(8 * (size - header) as usize);
        let mut end = payload.value.len();
        let mut last_rest = 0;
        while end > head {
            let wanted = words_of(end - head).saturating_add(CONTINUATION_HEADER);
            let part = &payload.value[head..end];
            let Some((rest, size)) = self.take_garbage(LEAST_CONTINUATION, wanted, part)? else {
                return Ok(false);
            };
            if last_rest == 0 {
                last_rest = rest;
            }
            end -= in_rest(size, part.len());
        }
        let mut edit = self.edit();
        let first_rest = if last_rest == 0 {
            0
        } else {
            edit.own(word::GARBAGE)? as u32
        };
        if last_rest != 0 {
            // It led to the first block.
            edit.set(last_rest, 0)?;
        }
        edit.set_own(word::GARBAGE, 0)?;
        edit.keep(block)?;
        edit.keep(block + 1)?;
        let entry = New {
            block,
            size,
            flags,
            first_rest,
            value: &payload.value[..head],
        };
        self.enter(edit, key, payload, &entry, found)?;
        Ok(true)
    }

    /// Takes a block of `wanted` words or less, and makes it garbage that holds the end of `part`.
    fn take_garbage(&self, least: u32, wanted: u32, part: &[u8]) -> Result<Option<(u32, u32)>, Corrupt> {
        let mut edit = self.edit();
        let Some((block, size)) = edit.take_large(least, wanted)? else {
            edit.abandon();
            return Ok(None);
        };
        let len = in_rest(size, part.len());
        let unused = if part.is_empty() {
            0
        } else {
            8 * (size - CONTINUATION_HEADER) - len as u32
        };
        let after = edit.own(word::GARBAGE)?;
        edit.fill(block, after)?;
        edit.fill_tag(block, tag(size, 0, unused, CONTINUATION))?;
        for (at, chunk) in (block + CONTINUATION_HEADER..).zip(part[part.len() - len..].chunks(8)) {
            edit.fill(at, word_of(chunk))?;
        }
        edit.set_own(word::GARBAGE, u64::from(block))?;
        edit.publish();
        crash_point!("map.part");
        Ok(Some((block, size)))
    }

    /// Fills a block that was taken, makes a chain lead to it instead of to `found`, and publishes that.
    fn enter(
        &self,
        mut edit: Edit<'_>,
        key: Key<'_>,
        payload: Payload<'_>,
        new: &New<'_>,
        found: Option<&Found>,
    ) -> Result<(), Corrupt> {
        let shape = self.map.shape;
        let bucket = shape.bucket_of(self.shard, key.tag());
        let (link, next) = match found {
            Some(found) => (found.link, found.next),
            None => (bucket, bucket.of(edit.get(bucket.at)?)),
        };
        new.fill(&edit, key, payload.expires, next)?;
        edit.relink(link, new.block)?;
        match found {
            Some(found) => self.discard(&mut edit, &found.entry)?,
            None => {
                let len = edit.own(word::LEN)?;
                edit.set_own(word::LEN, len.wrapping_add(1))?;
            }
        }
        if shape.evicts {
            make_newest(&mut edit, new.block)?;
        }
        if let Some(expires) = payload.expires {
            expire_from(&mut edit, expires)?;
        }
        edit.publish();
        self.free_garbage()
    }

    /// Frees the block of an entry that no chain leads to any more; its continuations become garbage.
    fn discard(&self, edit: &mut Edit<'_>, entry: &Entry) -> Result<(), Corrupt> {
        if self.map.shape.evicts {
            take_out_of_order(edit, entry.block)?;
        }
        let continuations = entry.more(self.map.words, self.map.shape)?;
        if continuations != 0 {
            if edit.own(word::GARBAGE)? != 0 {
                return Err(Corrupt);
            }
            edit.set_own(word::GARBAGE, u64::from(continuations))?;
        }
        edit.give_back(entry.block)
    }

    /// Removes an entry.
    pub(crate) fn remove(&self, found: &Found) -> Result<(), Corrupt> {
        self.remove_counted(found, false)
    }

    pub(super) fn remove_counted(&self, found: &Found, evicted: bool) -> Result<(), Corrupt> {
        if found.entry.tag & EXTENDED != 0 {
            // Its continuations will be the garbage.
            self.free_garbage()?;
        }
        let mut edit = self.edit();
        edit.relink(found.link, found.next)?;
        self.discard(&mut edit, &found.entry)?;
        let len = edit.own(word::LEN)?;
        edit.set_own(word::LEN, len.checked_sub(1).ok_or(Corrupt)?)?;
        if evicted {
            let evictions = edit.own(word::EVICTIONS)?;
            edit.set_own(word::EVICTIONS, evictions.wrapping_add(1))?;
        }
        edit.publish();
        self.free_garbage()
    }

    /// Removes the least recently used entry; false if there is none.
    pub(crate) fn evict_oldest(&self) -> Result<bool, Corrupt> {
        let (_, oldest) = halves(self.own(word::AGES)?);
        if oldest == 0 {
            return Ok(false);
        }
        let found = self.find_block(oldest)?;
        self.remove_counted(&found, true)?;
        Ok(true)
    }

    /// Whether no entry was used before this one.
    pub(super) fn is_oldest(&self, found: &Found) -> bool {
        self.own(word::AGES)
            .is_ok_and(|ages| halves(ages).1 == found.entry.block)
    }

    /// Makes an entry the newest by use.
    #[inline]
    pub(crate) fn touch(&self, found: &Found) -> Result<(), Corrupt> {
        let (newest, _) = halves(self.own(word::AGES)?);
        if newest == found.entry.block {
            return Ok(());
        }
        let mut edit = self.edit();
        take_out_of_order(&mut edit, found.entry.block)?;
        make_newest(&mut edit, found.entry.block)?;
        edit.publish();
        Ok(())
    }

    /// The entry at `block`.
    pub(super) fn find_block(&self, block: u32) -> Result<Found, Corrupt> {
        let (words, shape) = (self.map.words, self.map.shape);
        let (_, hash) = halves(load(words, block)?);
        let same = |entry: &Entry| Ok(entry.block == block);
        find_where(words, shape, self.shard, hash, same)?.ok_or(Corrupt)
    }

    /// Removes what has expired.
    pub(crate) fn sweep(&self, now: u64) -> Result<(), Corrupt> {
        let mut soonest = None;
        self.each(|found| {
            match found.entry.expiry(self.map.words, self.map.shape)? {
                Some(expiry) if expiry <= now => return Ok(true),
                Some(expiry) => soonest = Some(soonest.map_or(expiry, |soonest: u64| soonest.min(expiry))),
                None => {}
            }
            Ok(false)
        })?;
        let mut edit = self.edit();
        edit.set_own(word::SOONEST, soonest.map_or(0, |soonest| soonest.max(1)))?;
        edit.publish();
        Ok(())
    }

    /// Removes the entries of some chains from one on, and tells where to continue.
    pub(crate) fn clear_some(&self, from: u32) -> Result<Option<u32>, Corrupt> {
        /// Few enough that others need not wait for long.
        const AT_ONCE: u32 = 64;
        let mut removed = 0;
        for bucket in from..self.map.shape.buckets {
            let chain = self.map.shape.chain(self.shard, bucket);
            each_of_chain(self.map.words, self.map.shape, chain, |found| {
                removed += 1;
                self.remove(found)?;
                Ok(true)
            })?;
            if removed >= AT_ONCE {
                return Ok(Some(bucket + 1));
            }
        }
        Ok(None)
    }

    /// Shows each entry to `look`, and removes it if `look` says so.
    fn each(&self, mut look: impl FnMut(&Found) -> Result<bool, Corrupt>) -> Result<(), Corrupt> {
        each(self.map.words, self.map.shape, self.shard, |found| {
            let doomed = look(found)?;
            if doomed {
                self.remove(found)?;
            }
            Ok(doomed)
        })
    }
}

/// An entry about to be made: its block, and the part of its value that the block holds.
struct New<'a> {
    block: u32,
    size: u32,
    flags: u64,
    first_rest: u32,
    value: &'a [u8],
}

impl New<'_> {
    /// Writes the entry. Its first two words have been noted, and the others belong to no block.
    fn fill(&self, edit: &Edit<'_>, key: Key<'_>, expires: Option<u64>, next: u32) -> Result<(), Corrupt> {
        let used = header_words(edit.shape, self.flags) + key.words();
        let unused = 8 * (self.size - used) - self.value.len() as u32;
        edit.fill(self.block, pair(next, key.tag()))?;
        let flags = self.flags;
        edit.fill_tag(self.block, tag(self.size, key.bytes.len() as u32, unused, flags))?;
        let mut at = self.block + 2 + u32::from(edit.shape.evicts);
        if let Some(expires) = expires {
            edit.fill(at, expires)?;
            at += 1;
        }
        if flags & EXTENDED != 0 {
            edit.fill(at, u64::from(self.first_rest))?;
            at += 1;
        }
        for chunk in key.bytes.chunks(8).chain(self.value.chunks(8)) {
            edit.fill(at, word_of(chunk))?;
            at += 1;
        }
        Ok(())
    }
}

/// How many of `len` bytes a rest of `size` words takes: all, or what leaves whole words to those before it.
fn in_rest(size: u32, len: usize) -> usize {
    let room = 8 * (size - CONTINUATION_HEADER) as usize;
    if len <= room {
        len
    } else {
        len - (len - room).next_multiple_of(8)
    }
}

/// Records in the shard that an entry expires then.
fn expire_from(edit: &mut Edit<'_>, expires: u64) -> Result<(), Corrupt> {
    let soonest = edit.own(word::SOONEST)?;
    if soonest == 0 || expires < soonest {
        edit.set_own(word::SOONEST, expires.max(1))?;
    }
    Ok(())
}
