//! Chains: how the entries of a shard are found, and all of them shown.
//!
//! A chain is a bucket, and the entries that it leads to one after the other. Who looks at it without the shard's lock may see
//! anything; the journal then tells whether it is valid.

use super::entry::{Entry, Key, load};
use super::journal::Corrupt;
use super::shape::{Link, Shape, halves, word};
use crate::primitive::{AtomicU64, Ordering};

/// Chains longer than this are compared with the number of entries.
const LONG_CHAIN: u64 = 32;

/// An entry, and what leads to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(super) entry: Entry,
    pub(super) link: Link,
    pub(super) next: u32,
}

/// The entry of `key`. Without the lock it may be anything; the journal then tells whether it is valid.
#[inline(always)]
pub(super) fn find(words: &[AtomicU64], shape: &Shape, shard: u32, key: Key<'_>) -> Result<Option<Found>, Corrupt> {
    find_where(words, shape, shard, key.tag(), |entry| {
        entry.has_key(words, shape, key.bytes)
    })
}

#[inline(always)]
pub(super) fn find_where(
    words: &[AtomicU64],
    shape: &Shape,
    shard: u32,
    hash: u32,
    mut wanted: impl FnMut(&Entry) -> Result<bool, Corrupt>,
) -> Result<Option<Found>, Corrupt> {
    let mut link = shape.bucket_of(shard, hash);
    let mut block = link.of(load(words, link.at)?);
    let mut steps = 0;
    while block != 0 {
        let Some([first, tag]) = words.get(block as usize..block as usize + 2) else {
            return Err(Corrupt);
        };
        // Relaxed, here and below: the journal, or the lock, orders what is read.
        let (next, found_hash) = halves(first.load(Ordering::Relaxed));
        if found_hash == hash {
            let entry = Entry::of_tag(shape, block, tag.load(Ordering::Relaxed))?;
            if wanted(&entry)? {
                return Ok(Some(Found { entry, link, next }));
            }
        }
        link = Link { at: block, high: true };
        block = next;
        steps += 1;
        if steps > LONG_CHAIN && steps > load(words, shape.shard_at(shard) + word::LEN)?.min(shape.most_entries()) {
            return Err(Corrupt);
        }
    }
    Ok(None)
}

/// Shows each entry of a shard to `visit`, which tells whether it has removed it.
pub(super) fn each(
    words: &[AtomicU64],
    shape: &Shape,
    shard: u32,
    mut visit: impl FnMut(&Found) -> Result<bool, Corrupt>,
) -> Result<(), Corrupt> {
    let mut left = load(words, shape.shard_at(shard) + word::LEN)?.min(shape.most_entries());
    for bucket in 0..shape.buckets {
        each_of_chain(words, shape, shape.chain(shard, bucket), |found| {
            left = left.checked_sub(1).ok_or(Corrupt)?;
            visit(found)
        })?;
    }
    Ok(())
}

/// As [`each`], for one chain; bounding its length is left to `visit`.
pub(super) fn each_of_chain(
    words: &[AtomicU64],
    shape: &Shape,
    chain: Link,
    mut visit: impl FnMut(&Found) -> Result<bool, Corrupt>,
) -> Result<(), Corrupt> {
    let mut link = chain;
    loop {
        let block = link.of(load(words, link.at)?);
        if block == 0 {
            return Ok(());
        }
        let entry = Entry::at(words, shape, block)?;
        let (next, _) = halves(load(words, block)?);
        if !visit(&Found { entry, link, next })? {
            link = Link { at: block, high: true };
        }
    }
}
