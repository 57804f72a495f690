//! Compaction: moving a shard's blocks together, so that one of its regions becomes free.
//!
//! | step, by the holder of the lock | is made of | a death leaves |
//! |---|---|---|
//! | move a block | one change: copies it, makes what led to it lead to the copy, gives the old one back | it, in one place or the other |
//! | move the last block | the same change also claims the region, and frees it once published | a region that the next holder frees |

use super::chain::each;
use super::entry::{CONTINUATION, Continuation, EXTENDED, Entry, MOST_UNUSED, load, tag};
use super::heap::{AFTER_FREE, Edit, FREE, LEAST, owned_by, size_of_block};
use super::journal::Corrupt;
use super::order::join_order;
use super::shape::{Link, halves};
use super::shard::Locked;

/// What lies in a region.
struct Tenants {
    /// The region's first word.
    first: u32,
    blocks: Vec<u32>,
    words: u32,
}

impl Locked<'_> {
    /// Empties the region with the fewest words in use by moving its blocks, each in a change of its own, to free places elsewhere
    /// in the shard; false if they do not fit there.
    pub(super) fn compact(&self) -> Result<bool, Corrupt> {
        let shape = self.map.shape;
        self.free_garbage()?;
        let mut least: Option<Tenants> = None;
        for region in 0..shape.regions {
            let home = shape.evicts && region == self.shard;
            if home || load(self.map.words, shape.owners_at + region)? != owned_by(self.shard) {
                continue;
            }
            let tenants = self.tenants(shape.regions_at + region * shape.region)?;
            // An entirely free region does not stay a shard's, unless something is corrupt.
            let fewer = least.as_ref().is_none_or(|least| tenants.words < least.words);
            if fewer && tenants.words > 0 {
                least = Some(tenants);
            }
        }
        let Some(tenants) = least else {
            return Ok(false);
        };
        let before = self.map.room(self.shard).0;
        for block in tenants.blocks {
            if !self.relocate(block, tenants.first)? {
                return Ok(false);
            }
        }
        // True unless something is corrupt, in which case blocks would be moved back and forth without end.
        Ok(self.map.room(self.shard).0 < before)
    }

    /// What a region holds.
    fn tenants(&self, first: u32) -> Result<Tenants, Corrupt> {
        let (words, shape) = (self.map.words, self.map.shape);
        let mut tenants = Tenants {
            first,
            blocks: Vec::new(),
            words: 0,
        };
        let mut at = first;
        while at < first + shape.region {
            let tag = load(words, at + 1)?;
            let size = size_of_block(tag);
            if size < LEAST || size > first + shape.region - at {
                return Err(Corrupt);
            }
            if tag & FREE == 0 {
                tenants.blocks.push(at);
                tenants.words += size;
            }
            at += size;
        }
        Ok(tenants)
    }

    /// Moves a block to a free one outside the region that begins at `avoided`; false if there is none.
    fn relocate(&self, block: u32, avoided: u32) -> Result<bool, Corrupt> {
        let (words, shape) = (self.map.words, self.map.shape);
        let old = load(words, block + 1)?;
        let link = if old & CONTINUATION != 0 {
            self.link_to_rest(block)?
        } else {
            self.find_block(block)?.link
        };
        let mut edit = self.edit();
        let Some((target, size)) = edit.take_outside(size_of_block(old), avoided)? else {
            edit.abandon();
            return Ok(false);
        };
        let unused = 8 * (size - size_of_block(old)) + (old as u32 >> 8 & 0xff);
        if unused > MOST_UNUSED {
            edit.abandon();
            return Ok(false);
        }
        edit.fill(target, load(words, block)?)?;
        edit.fill_tag(target, tag(size, old as u32 >> 16, unused, old & 0xff & !AFTER_FREE))?;
        for at in 2..size_of_block(old) {
            edit.fill(target + at, load(words, block + at)?)?;
        }
        edit.relink(link, target)?;
        if shape.evicts && old & CONTINUATION == 0 {
            follow_order(&mut edit, block, target)?;
        }
        edit.give_back(block)?;
        edit.publish();
        Ok(true)
    }

    /// What leads to a rest (continuation) of a value: its entry, or another rest.
    fn link_to_rest(&self, block: u32) -> Result<Link, Corrupt> {
        let (words, shape) = (self.map.words, self.map.shape);
        let mut found = None;
        each(words, shape, self.shard, |candidate| {
            let entry = &candidate.entry;
            if found.is_none() && entry.tag & EXTENDED != 0 {
                let mut at = entry.more_at(shape);
                let mut left = shape.words;
                let mut rest = entry.more(words, shape)?;
                while rest != 0 && rest != block {
                    let part = Continuation::at(words, shape, rest)?;
                    left = left.checked_sub(part.size).ok_or(Corrupt)?;
                    (at, rest) = (rest, part.next);
                }
                found = (rest == block).then_some(Link { at, high: false });
            }
            Ok(false)
        })?;
        found.ok_or(Corrupt)
    }
}

/// Tells an entry's neighbours by age that it moves.
fn follow_order(edit: &mut Edit<'_>, block: u32, target: u32) -> Result<(), Corrupt> {
    let entry = Entry::of_tag(edit.shape, block, edit.get(block + 1)?)?;
    let (newer, older) = halves(edit.get(entry.ages_at())?);
    join_order(edit, newer, older, target, target)
}
