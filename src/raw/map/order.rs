//! The order of a shard's entries by use, which a map that evicts keeps: a doubly linked list.
//!
//! | state of an entry | shown by | moved by the change that | to |
//! |---|---|---|---|
//! | in no order | no neighbour names it | stores it | the newest |
//! | in the order | its neighbours name it, or an end of the list does | uses it | the newest |
//! | | | removes or evicts it | in no order |
//! | | | moves its block | in the same place |
//!
//! These are parts of changes: after a death they are undone with the rest.

use super::entry::Entry;
use super::heap::Edit;
use super::journal::Corrupt;
use super::shape::{Link, halves, pair, word};

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
