//! The order of a shard's entries by use, which a map that evicts keeps: a doubly linked list.

use super::entry::Entry;
use super::heap::Edit;
use super::journal::Corrupt;
use super::shape::{Link, halves, pair, word};
use super::shard::Locked;
use super::table::Found;

impl Locked<'_> {
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
}

/// Makes a block the newest in its shard's order; it is not in the order yet.
pub(super) fn make_newest(edit: &mut Edit<'_>, block: u32) -> Result<(), Corrupt> {
    let (newest, oldest) = halves(edit.own(word::AGES)?);
    edit.set(block + 2, pair(0, newest))?;
    if newest != 0 {
        edit.relink(ages(edit, newest, true)?, block)?;
    }
    edit.set_own(word::AGES, pair(block, if oldest == 0 { block } else { oldest }))
}

/// Takes a block out of its shard's order.
pub(super) fn take_out_of_order(edit: &mut Edit<'_>, block: u32) -> Result<(), Corrupt> {
    let (newer, older) = halves(edit.get(block.wrapping_add(2))?);
    let (newest, oldest) = halves(edit.own(word::AGES)?);
    if (newer == 0) != (newest == block) || (older == 0) != (oldest == block) {
        return Err(Corrupt);
    }
    join_order(edit, newer, older, older, newer)
}

/// Links a place's neighbours in the order: the newer to `below`, the older to `above`; the ends of the order stand in for a
/// missing neighbour.
pub(super) fn join_order(edit: &mut Edit<'_>, newer: u32, older: u32, below: u32, above: u32) -> Result<(), Corrupt> {
    if newer != 0 {
        edit.relink(ages(edit, newer, false)?, below)?;
    }
    if older != 0 {
        edit.relink(ages(edit, older, true)?, above)?;
    }
    let (newest, oldest) = halves(edit.own(word::AGES)?);
    let newest = if newer == 0 { below } else { newest };
    let oldest = if older == 0 { above } else { oldest };
    edit.set_own(word::AGES, pair(newest, oldest))
}

/// The half of an entry's word that names its neighbour in the order.
fn ages(edit: &Edit<'_>, block: u32, high: bool) -> Result<Link, Corrupt> {
    let entry = Entry::of_tag(edit.shape, block, edit.get(block.wrapping_add(1))?)?;
    Ok(Link {
        at: entry.ages_at(),
        high,
    })
}
