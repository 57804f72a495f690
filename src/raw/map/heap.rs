//! Blocks of a shard's regions: taken from lists by size, split, and joined with free neighbours when given back.
//!
//! | state of a region | owner | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | `0` | holder of any shard's lock, compare-exchange | claimed | the shard's next holder frees it |
//! | claimed | `[ shard + 1 \| 0 ]` | the same, in its change | owned | the change is undone; as above |
//! | owned | `[ shard + 1 \| 1 ]` | the shard's holder, in a change | claimed | as above |
//! | claimed | | the same, when the change is published | free | as above |
//!
//! A hint in the map's header says where to look for a free one: who frees a region names it there, and so does the next holder
//! of a shard whose holder may have died before it did. In a map that evicts, the first regions are set aside, one for each
//! shard, and no other shard claims them.
//!
//! ```text
//! free block:  [ previous:32 | next:32 ]  [ words:32 | 0 | FREE ]  …  [ words:32 | 0 ]
//! block in use:   two words of its owner's: see `entry`
//! ```
//!
//! The second word of every block tells its size and flags; the last word of a free one tells its size again, so that the next
//! block can find its beginning. A block of two words has both in one. Lists are doubly linked, and one word tells which are not
//! empty: good fit in a bounded number of steps, as in Masmano's TLSF ("TLSF: a New Dynamic Memory Allocator for Real-Time
//! Systems", 2004).

use super::journal::{Change, Corrupt};
use super::shape::{CLASS_COUNT, HINT, Link, Shape, halves, pair, word};
use crate::primitive::{AtomicU64, Ordering, crash_point};

/// Flags in a block's second word.
pub(super) const FREE: u64 = 1;
/// The block before this one, in the same region, is free.
pub(super) const AFTER_FREE: u64 = 2;
/// The fewest words of a block.
pub(super) const LEAST: u32 = 2;
/// How many blocks of a list are looked at for one that fits, where the list's sizes differ.
const TRIES: u32 = 8;

/// The size in a block's second word.
#[inline]
pub(super) fn size_of_block(tag: u64) -> u32 {
    (tag >> 32) as u32
}

/// The list of free blocks of this many words: one for each size below 16, four for each doubling above.
#[inline]
pub(super) fn class_of(size: u32) -> u32 {
    if size < 16 {
        return size - LEAST;
    }
    let log = size.ilog2();
    (14 + 4 * (log - 4) + (size >> (log - 2) & 3)).min(CLASS_COUNT - 1)
}

/// A change of one shard of a map.
pub(super) struct Edit<'a> {
    change: Change<'a>,
    pub(super) shape: &'a Shape,
    pub(super) shard: u32,
    /// The shard's first word.
    at: u32,
    words: &'a [AtomicU64],
    /// Regions to free when the change is published (`RETURNS`), and those to free if it is not.
    returned: [u32; RETURNS],
    claimed: u32,
}

/// An edit gives up this many regions at most: it frees two blocks.
const RETURNS: usize = 2;
const NONE: u32 = u32::MAX;

/// The owner word of a region that a shard has claimed but not made into blocks.
pub(super) fn claimed_by(shard: u32) -> u64 {
    pair(shard + 1, 0)
}

/// The owner word of a region whose blocks are a shard's.
pub(super) fn owned_by(shard: u32) -> u64 {
    pair(shard + 1, 1)
}

impl<'a> Edit<'a> {
    pub(super) fn new(change: Change<'a>, shape: &'a Shape, shard: u32, words: &'a [AtomicU64]) -> Self {
        Edit {
            change,
            shape,
            shard,
            at: shape.shard_at(shard),
            words,
            returned: [NONE; RETURNS],
            claimed: NONE,
        }
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Result<u64, Corrupt> {
        self.change.get(at)
    }

    #[inline]
    pub(super) fn set(&mut self, at: u32, value: u64) -> Result<(), Corrupt> {
        self.change.set(at, value)
    }

    /// A word of the shard's own.
    #[inline]
    pub(super) fn own(&self, word: u32) -> Result<u64, Corrupt> {
        self.change.get(self.at + word)
    }

    #[inline]
    pub(super) fn set_own(&mut self, word: u32, value: u64) -> Result<(), Corrupt> {
        self.change.set(self.at + word, value)
    }

    /// Notes what a word holds before [`fill`](Self::fill) overwrites it.
    pub(super) fn keep(&mut self, at: u32) -> Result<(), Corrupt> {
        self.change.keep(at)
    }

    /// Writes to memory that this change has taken, which needs no notes.
    #[inline]
    pub(super) fn fill(&self, at: u32, value: u64) -> Result<(), Corrupt> {
        let word = self.words.get(at as usize).ok_or(Corrupt)?;
        word.store(value, Ordering::Relaxed); // Relaxed: `publish` makes it valid.
        Ok(())
    }

    /// Writes the second word of a block that was taken; the flag that says whether the one before it is free stays.
    pub(super) fn fill_tag(&self, block: u32, tag: u64) -> Result<(), Corrupt> {
        let after_free = self.get(block + 1)? & AFTER_FREE;
        self.fill(block + 1, tag | after_free)
    }

    /// Puts another number into half a word.
    #[inline]
    pub(super) fn relink(&mut self, link: Link, number: u32) -> Result<(), Corrupt> {
        let word = self.get(link.at)?;
        self.set(link.at, link.put(word, number))
    }

    /// Makes the change valid, and frees the regions it has emptied.
    pub(super) fn publish(mut self) {
        self.claimed = NONE;
        let returned = core::mem::replace(&mut self.returned, [NONE; RETURNS]);
        let (shape, words) = (self.shape, self.words);
        self.change.publish();
        for region in returned.into_iter().filter(|region| *region != NONE) {
            free_region(shape, words, region);
        }
    }

    /// Abandons the change, and the region it has claimed.
    pub(super) fn abandon(self) {
        let (shape, words, claimed) = (self.shape, self.words, self.claimed);
        drop(self.change);
        if claimed != NONE {
            free_region(shape, words, claimed);
        }
    }

    // --- lists of free blocks -------------------------------------------------------------------------------

    fn head_of(&self, class: u32) -> Link {
        Link {
            at: self.at + word::HEADS + class / 2,
            high: class % 2 == 1,
        }
    }

    fn head(&self, class: u32) -> Result<u32, Corrupt> {
        let link = self.head_of(class);
        Ok(link.of(self.get(link.at)?))
    }

    /// The size of the free block at `block`.
    fn free_size(&self, block: u32) -> Result<u32, Corrupt> {
        let tag = self.get(block.wrapping_add(1))?;
        let size = size_of_block(tag);
        let sound = tag & FREE != 0 && self.fits_region(block, size);
        sound.then_some(size).ok_or(Corrupt)
    }

    /// Whether a block of that size may begin there.
    pub(super) fn fits_region(&self, block: u32, size: u32) -> bool {
        block >= self.shape.regions_at
            && block < self.shape.words
            && size >= LEAST
            && size <= self.shape.region - self.shape.in_region(block)
    }

    /// The first word after a block, if that lies in the same region.
    fn follower(&self, block: u32, size: u32) -> Option<u32> {
        let end = block + size;
        (self.shape.in_region(end) != 0).then_some(end)
    }

    /// Makes a free block of words that belong to no block, and puts it into its list.
    fn make_free(&mut self, block: u32, size: u32) -> Result<(), Corrupt> {
        let class = class_of(size);
        let head = self.head(class)?;
        self.set(block, pair(0, head))?;
        self.set(block + 1, pair(size, 0) | FREE)?;
        if size > LEAST {
            self.set(block + size - 1, pair(size, 0))?;
        }
        if head == 0 {
            let classes = self.own(word::CLASSES)?;
            self.set_own(word::CLASSES, classes | 1 << class)?;
        } else {
            self.relink(Link { at: head, high: true }, block)?;
        }
        self.relink(self.head_of(class), block)
    }

    /// Takes a free block out of its list, and tells its size.
    fn take_out(&mut self, block: u32) -> Result<u32, Corrupt> {
        let size = self.free_size(block)?;
        let (previous, next) = halves(self.get(block)?);
        if previous == 0 {
            let class = class_of(size);
            if self.head(class)? != block {
                return Err(Corrupt);
            }
            self.relink(self.head_of(class), next)?;
            if next == 0 {
                let classes = self.own(word::CLASSES)?;
                self.set_own(word::CLASSES, classes & !(1 << class))?;
            }
        } else {
            self.free_size(previous)?;
            self.relink(
                Link {
                    at: previous,
                    high: false,
                },
                next,
            )?;
        }
        if next != 0 {
            self.free_size(next)?;
            self.relink(Link { at: next, high: true }, previous)?;
        }
        Ok(size)
    }

    /// A free block of at least `size` words, if the shard has one.
    fn find(&self, size: u32) -> Result<Option<u32>, Corrupt> {
        let class = class_of(size);
        let mut block = self.head(class)?;
        for _ in 0..TRIES {
            if block == 0 {
                break;
            }
            if self.free_size(block)? >= size {
                return Ok(Some(block));
            }
            block = halves(self.get(block)?).1;
        }
        let larger = self.own(word::CLASSES)? & (u64::MAX << class << 1);
        if larger == 0 {
            return Ok(None);
        }
        let block = self.head(larger.trailing_zeros())?;
        if self.free_size(block)? < size {
            return Err(Corrupt);
        }
        Ok(Some(block))
    }

    /// The largest free block there is, or one barely smaller.
    fn largest(&self) -> Result<Option<u32>, Corrupt> {
        match self.own(word::CLASSES)? {
            0 => Ok(None),
            classes => self.head(classes.ilog2()).map(Some),
        }
    }

    // --- taking and giving back ------------------------------------------------------------------------------

    /// Takes a block of at least `size` words, at most a region's, and tells where and how large it is. Its second word has its
    /// size and no flag but `AFTER_FREE`; writing to it needs no notes.
    pub(super) fn take(&mut self, size: u32) -> Result<Option<(u32, u32)>, Corrupt> {
        if let Some(block) = self.find(size)? {
            let total = self.free_size(block)?;
            return self.carve(block, total, size).map(Some);
        }
        let Some(block) = self.claim()? else {
            return Ok(None);
        };
        self.make_free(block, self.shape.region)?;
        self.carve(block, self.shape.region, size).map(Some)
    }

    /// As [`take`](Self::take), from the blocks the shard has, except those of the region that begins at `avoided`.
    pub(super) fn take_outside(&mut self, size: u32, avoided: u32) -> Result<Option<(u32, u32)>, Corrupt> {
        let mut classes = self.own(word::CLASSES)? & (u64::MAX << class_of(size));
        while classes != 0 {
            let mut block = self.head(classes.trailing_zeros())?;
            for _ in 0..TRIES {
                if block == 0 {
                    break;
                }
                let total = self.free_size(block)?;
                if total >= size && block - self.shape.in_region(block) != avoided {
                    return self.carve(block, total, size).map(Some);
                }
                block = halves(self.get(block)?).1;
            }
            classes &= classes - 1;
        }
        Ok(None)
    }

    /// Words of values that the shard's free blocks can hold, as continuations.
    pub(super) fn usable(&self, least: u32, header: u32) -> Result<u64, Corrupt> {
        let mut usable = 0;
        let mut left = self.shape.words;
        for class in 0..CLASS_COUNT {
            let mut block = self.head(class)?;
            while block != 0 {
                let size = self.free_size(block)?;
                left = left.checked_sub(size).ok_or(Corrupt)?;
                usable += if size >= least { u64::from(size - header) } else { 0 };
                block = halves(self.get(block)?).1;
            }
        }
        Ok(usable)
    }

    /// Takes the largest block there is, `size` words of it at most; `None` if even that has fewer than `least`.
    pub(super) fn take_large(&mut self, least: u32, size: u32) -> Result<Option<(u32, u32)>, Corrupt> {
        let size = size.min(self.shape.region);
        if let Some(taken) = self.take(size)? {
            return Ok(Some(taken));
        }
        match self.largest()? {
            Some(block) if self.free_size(block)? >= least => {
                let total = self.free_size(block)?;
                self.carve(block, total, total).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Cuts a block of `size` words off the end of a free one of `total`, or takes the whole if too little would be left.
    fn carve(&mut self, block: u32, total: u32, size: u32) -> Result<(u32, u32), Corrupt> {
        let rest = if total - size >= LEAST { total - size } else { 0 };
        let (taken, size) = (block + rest, total - rest);
        // Of the words taken, these describe the free block, and are needed if the change is undone.
        self.keep(block + total - 1)?;
        if rest == 0 {
            self.take_out(block)?;
            self.keep(block)?;
            self.set(block + 1, pair(total, 0))?;
        } else {
            self.resize_free(block, total, rest)?;
            self.fill(taken + 1, pair(size, 0) | AFTER_FREE)?;
        }
        if let Some(follower) = self.follower(block, total) {
            let tag = self.get(follower + 1)?;
            self.set(follower + 1, tag & !AFTER_FREE)?;
        }
        self.count_free(|free| free.checked_sub(size))?;
        Ok((taken, size))
    }

    /// Moves the end of a free block of `old` words, which stays in its list if that is still the right one.
    fn resize_free(&mut self, block: u32, old: u32, new: u32) -> Result<(), Corrupt> {
        if class_of(old) != class_of(new) {
            self.take_out(block)?;
            return self.make_free(block, new);
        }
        self.set(block + 1, pair(new, 0) | FREE)?;
        if new > LEAST {
            self.set(block + new - 1, pair(new, 0))?;
        }
        Ok(())
    }

    /// Gives back a block that nothing leads to.
    pub(super) fn give_back(&mut self, block: u32) -> Result<(), Corrupt> {
        let tag = self.get(block.wrapping_add(1))?;
        let own_size = size_of_block(tag);
        if !self.fits_region(block, own_size) || tag & FREE != 0 {
            return Err(Corrupt);
        }
        let mut size = own_size;
        if let Some(next) = self.follower(block, own_size) {
            if self.get(next + 1)? & FREE != 0 {
                size += self.take_out(next)?;
            }
        }
        let before = if tag & AFTER_FREE != 0 {
            size_of_block(self.get(block - 1)?)
        } else {
            0
        };
        let first = block.checked_sub(before).ok_or(Corrupt)?;
        if before != 0 && self.free_size(first)? != before || !self.fits_region(first, size + before) {
            return Err(Corrupt);
        }
        if size + before == self.shape.region {
            if before != 0 {
                self.take_out(first)?;
            }
            return self.empty_region(first, own_size);
        }
        if before == 0 {
            self.make_free(first, size)?;
        } else {
            self.resize_free(first, before, before + size)?;
        }
        if let Some(follower) = self.follower(block, size) {
            let tag = self.get(follower + 1)?;
            self.set(follower + 1, tag | AFTER_FREE)?;
        }
        self.count_free(|free| free.checked_add(own_size))
    }

    fn count_free(&mut self, count: impl FnOnce(u32) -> Option<u32>) -> Result<(), Corrupt> {
        let (regions, free) = halves(self.own(word::ROOM)?);
        let free = count(free).ok_or(Corrupt)?;
        self.set_own(word::ROOM, pair(regions, free))
    }

    // --- regions ---------------------------------------------------------------------------------------------

    /// Takes a region out of the pool, and tells its first word.
    fn claim(&mut self) -> Result<Option<u32>, Corrupt> {
        let Some(region) = claim_region(self.shape, self.words, self.shard) else {
            return Ok(None);
        };
        crash_point!("map.claimed");
        self.claimed = region;
        self.set(self.shape.owners_at + region, owned_by(self.shard))?;
        let (regions, free) = halves(self.own(word::ROOM)?);
        let more = free.checked_add(self.shape.region).ok_or(Corrupt)?;
        self.set_own(word::ROOM, pair(regions.wrapping_add(1), more))?;
        Ok(Some(self.shape.regions_at + region * self.shape.region))
    }

    /// Gives up a region of which `used` words were in use; it is free once the change is published.
    fn empty_region(&mut self, first: u32, used: u32) -> Result<(), Corrupt> {
        let region = (first - self.shape.regions_at) / self.shape.region;
        let owner = self.shape.owners_at + region;
        let place = self.returned.iter().position(|place| *place == NONE).ok_or(Corrupt)?;
        if self.get(owner)? != owned_by(self.shard) {
            return Err(Corrupt);
        }
        self.set(owner, claimed_by(self.shard))?;
        let (regions, free) = halves(self.own(word::ROOM)?);
        let less = free.checked_sub(self.shape.region - used).ok_or(Corrupt)?;
        self.set_own(word::ROOM, pair(regions.checked_sub(1).ok_or(Corrupt)?, less))?;
        self.returned[place] = region;
        Ok(())
    }
}

/// Whether a shard may have a region. In a map that evicts, the first ones are set aside, one for each shard: otherwise a shard
/// that comes late would have nothing of its own to evict.
fn is_for(shape: &Shape, shard: u32, region: u32) -> bool {
    !shape.evicts || region >= shape.shards() || region == shard
}

/// Takes a free region for a shard, if there is one.
pub(crate) fn claim_region(shape: &Shape, words: &[AtomicU64], shard: u32) -> Option<u32> {
    let owners = owners(shape, words);
    let take = |region: u32| {
        let owner = &owners[region as usize];
        // Acquire: pairs with the Release in `free_region`, so that its last owner's stores come before ours.
        let swap = || owner.compare_exchange(0, claimed_by(shard), Ordering::Acquire, Ordering::Relaxed);
        owner.load(Ordering::Relaxed) == 0 && swap().is_ok()
    };
    if shape.evicts && take(shard) {
        return Some(shard);
    }
    // Acquire: pairs with the Release in `reopen`: a process that sees the hint sees the region free.
    let hint = words[HINT as usize].load(Ordering::Acquire);
    let (changes, start) = halves(hint);
    if start == NONE {
        return None;
    }
    let start = start.min(shape.regions - 1);
    let mut looked_at = (start..shape.regions).chain(0..start);
    let taken = looked_at.find(|region| is_for(shape, shard, *region) && take(*region));
    // Relaxed: a process that frees a region changes the hint, so that a fruitless look at the owners before that is not taken as
    // final.
    let next = pair(changes, taken.map_or(NONE, |region| region + 1));
    let _ = words[HINT as usize].compare_exchange(hint, next, Ordering::Relaxed, Ordering::Relaxed);
    taken
}

/// Puts a region without blocks back into the pool. The caller's shard has claimed it.
pub(crate) fn free_region(shape: &Shape, words: &[AtomicU64], region: u32) {
    // Release: pairs with the Acquire in `claim_region`.
    owners(shape, words)[region as usize].store(0, Ordering::Release);
    crash_point!("map.freed");
    reopen(words, region);
}

/// How often a region was freed, or found to be free.
pub(super) fn freed_so_far(words: &[AtomicU64]) -> u32 {
    halves(words[HINT as usize].load(Ordering::Relaxed)).0
}

/// Makes claims look at `region` first.
fn reopen(words: &[AtomicU64], region: u32) {
    let mut hint = words[HINT as usize].load(Ordering::Relaxed);
    loop {
        let next = pair(halves(hint).0.wrapping_add(1), region);
        // Release: pairs with the Acquire in `claim_region`.
        match words[HINT as usize].compare_exchange(hint, next, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => hint = now,
        }
    }
}

/// Frees the regions that a dead holder of the shard's lock had claimed but not made into blocks. The caller holds the lock.
pub(super) fn free_claimed(shape: &Shape, words: &[AtomicU64], shard: u32) {
    for (region, owner) in owners(shape, words).iter().enumerate() {
        if owner.load(Ordering::Relaxed) == claimed_by(shard) {
            free_region(shape, words, region as u32);
        }
    }
    // It may have died between freeing one and announcing it.
    reopen(words, 0);
}

/// How many regions are free for a shard now, as a hint.
pub(super) fn free_regions(shape: &Shape, words: &[AtomicU64], shard: u32) -> u32 {
    let owners = owners(shape, words).iter().zip(0..);
    let free = owners.filter(|(owner, region)| owner.load(Ordering::Relaxed) == 0 && is_for(shape, shard, *region));
    free.count() as u32
}

fn owners<'a>(shape: &Shape, words: &'a [AtomicU64]) -> &'a [AtomicU64] {
    &words[shape.owners_at as usize..][..shape.regions as usize]
}
