//! Moving a shard's entries together, so that a region of its own becomes free for others.

use super::entry::{Entry, MOST_UNUSED, REST, load, tag};
use super::heap::{Edit, FREE, owned_by, size_of_block};
use super::journal::Corrupt;
use super::shape::halves;
use super::shard::Locked;
use super::table::join_order;

/// What stands in a region.
struct Tenants {
    /// The region's first word.
    first: u32,
    entries: Vec<u32>,
    words: u32,
}

impl Locked<'_> {
    /// Empties the region with the fewest words in use by moving its entries, each in a change of its own, into blocks that
    /// are free elsewhere in the shard; false if they do not fit there. Values in parts stay where they are.
    pub(super) fn gather(&self) -> Result<bool, Corrupt> {
        let shape = self.map.shape;
        let mut least: Option<Tenants> = None;
        for region in 0..shape.regions {
            if load(self.map.words, shape.owners_at + region)? != owned_by(self.shard) {
                continue;
            }
            let tenants = self.tenants(shape.regions_at + region * shape.region)?;
            let words = tenants.as_ref().map_or(u32::MAX, |tenants| tenants.words);
            if words < least.as_ref().map_or(u32::MAX, |least| least.words) {
                least = tenants;
            }
        }
        let Some(tenants) = least else {
            return Ok(false);
        };
        for block in tenants.entries {
            if !self.relocate(block, tenants.first)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entries of a region, or none if there are parts of values in it.
    fn tenants(&self, first: u32) -> Result<Option<Tenants>, Corrupt> {
        let (words, shape) = (self.map.words, self.map.shape);
        let mut tenants = Tenants {
            first,
            entries: Vec::new(),
            words: 0,
        };
        let mut at = first;
        while at < first + shape.region {
            let tag = load(words, at + 1)?;
            let size = size_of_block(tag);
            if size < 2 || size > first + shape.region - at {
                return Err(Corrupt);
            }
            if tag & REST != 0 {
                return Ok(None);
            }
            if tag & FREE == 0 {
                tenants.entries.push(at);
                tenants.words += size;
            }
            at += size;
        }
        Ok(Some(tenants))
    }

    /// Moves an entry to a free block outside the region that begins at `avoided`; false if there is none.
    fn relocate(&self, block: u32, avoided: u32) -> Result<bool, Corrupt> {
        let (words, shape) = (self.map.words, self.map.shape);
        let found = self.find_block(block)?;
        let entry = &found.entry;
        let mut edit = self.edit();
        let Some((target, size)) = edit.take_outside(entry.size(), avoided)? else {
            edit.abandon();
            return Ok(false);
        };
        let unused = 8 * (size - entry.size()) + entry.unused();
        if unused > MOST_UNUSED {
            edit.abandon();
            return Ok(false);
        }
        for at in 2..entry.size() {
            edit.fill(target + at, load(words, block + at)?)?;
        }
        edit.fill(target, load(words, block)?)?;
        edit.fill_tag(target, tag(size, entry.key_len(), unused, entry.flags()))?;
        edit.relink(found.link, target)?;
        if shape.evicts {
            follow_order(&mut edit, entry, target)?;
        }
        edit.give_back(block)?;
        edit.publish();
        Ok(true)
    }
}

/// Has an entry's neighbours by age know that it moves.
fn follow_order(edit: &mut Edit<'_>, entry: &Entry, target: u32) -> Result<(), Corrupt> {
    let (newer, older) = halves(edit.get(entry.ages_at())?);
    join_order(edit, newer, older, target, target)
}
