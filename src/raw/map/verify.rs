//! Whether a map not in use is whole: every word of it accounted for, once.

use super::entry::{CONTINUATION, Continuation, Entry, load};
use super::heap::{AFTER_FREE, FREE, LEAST, class_of, owned_by, size_of_block};
use super::journal::Corrupt;
use super::shape::{CLASS_COUNT, halves, word};
use super::shard::RawMap;
use std::collections::{HashMap, HashSet};

type Fault = String;

impl From<Corrupt> for Fault {
    fn from(_: Corrupt) -> Self {
        "a word number is out of range".to_owned()
    }
}

macro_rules! demand {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

/// The blocks of a shard.
#[derive(Default)]
struct Blocks {
    /// With their sizes.
    free: HashMap<u32, u32>,
    entries: HashSet<u32>,
    continuations: HashSet<u32>,
    regions: u32,
}

impl RawMap<'_> {
    /// Checks that nothing is under way and nothing is lost.
    pub(crate) fn verify(&self) -> Result<(), Fault> {
        let owners = self.shape.owners_at..self.shape.owners_at + self.shape.regions;
        for at in owners {
            let (shard, state) = halves(load(self.words, at)?);
            let known = (shard, state) == (0, 0) || state == 1 && (1..=self.shape.shards).contains(&shard);
            demand!(known, "region {} is claimed", at - self.shape.owners_at);
        }
        (0..self.shape.shards).try_for_each(|shard| {
            let checked = self.verify_shard(shard);
            checked.map_err(|fault| format!("shard {shard}: {fault}"))
        })
    }

    fn own_word(&self, shard: u32, word: u32) -> Result<u64, Corrupt> {
        load(self.words, self.shape.shard_at(shard) + word)
    }

    fn verify_shard(&self, shard: u32) -> Result<(), Fault> {
        demand!(
            self.own_word(shard, word::JOURNAL)? as u16 == 0,
            "a change is under way"
        );
        demand!(self.own_word(shard, word::GARBAGE)? == 0, "there is garbage");
        let mut blocks = Blocks::default();
        for region in 0..self.shape.regions {
            if load(self.words, self.shape.owners_at + region)? == owned_by(shard) {
                blocks.regions += 1;
                self.collect(region, &mut blocks)?;
            }
        }
        let room = halves(self.own_word(shard, word::ROOM)?);
        let free = blocks.free.values().sum::<u32>();
        demand!(
            room == (blocks.regions, free),
            "room is {room:?}, not {:?}",
            (blocks.regions, free)
        );
        let len = self.own_word(shard, word::LEN)?;
        demand!(
            len == blocks.entries.len() as u64,
            "len is {len}, not {}",
            blocks.entries.len()
        );
        self.verify_lists(shard, &blocks)?;
        self.verify_chains(shard, &blocks)?;
        if self.shape.evicts {
            self.verify_order(shard, &blocks)
        } else {
            Ok(())
        }
    }

    /// Walks a region from block to block.
    fn collect(&self, region: u32, blocks: &mut Blocks) -> Result<(), Fault> {
        let first = self.shape.regions_at + region * self.shape.region;
        let (mut at, mut after_free) = (first, false);
        while at < first + self.shape.region {
            let tag = load(self.words, at + 1)?;
            let size = size_of_block(tag);
            demand!(
                size >= LEAST && size <= first + self.shape.region - at,
                "a block at {at} of {size} words"
            );
            demand!(
                (tag & AFTER_FREE != 0) == after_free,
                "block {at}: AFTER_FREE disagrees with the block before it"
            );
            if tag & FREE != 0 {
                demand!(!after_free, "two adjacent free blocks at {at}");
                demand!(
                    size_of_block(load(self.words, at + size - 1)?) == size,
                    "free block {at}: the size in its last word is wrong"
                );
                blocks.free.insert(at, size);
            } else if tag & CONTINUATION != 0 {
                blocks.continuations.insert(at);
            } else {
                blocks.entries.insert(at);
            }
            after_free = tag & FREE != 0;
            at += size;
        }
        Ok(())
    }

    fn verify_lists(&self, shard: u32, blocks: &Blocks) -> Result<(), Fault> {
        let mut listed = HashSet::new();
        for class in 0..CLASS_COUNT {
            let (high, low) = halves(self.own_word(shard, word::HEADS + class / 2)?);
            let mut block = if class % 2 == 1 { high } else { low };
            let marked = self.own_word(shard, word::CLASSES)? >> class & 1 == 1;
            demand!(marked == (block != 0), "list {class} is marked {marked}");
            let mut before = 0;
            while block != 0 {
                let size = blocks.free.get(&block);
                demand!(
                    size.is_some_and(|size| class_of(*size) == class),
                    "block {block} is in free list {class}, which is not that of its size"
                );
                demand!(listed.insert(block), "{block} is listed twice");
                let (previous, next) = halves(load(self.words, block)?);
                demand!(previous == before, "{block} is not after {before}");
                (before, block) = (block, next);
            }
        }
        demand!(
            listed.len() == blocks.free.len(),
            "{} of {} free blocks listed",
            listed.len(),
            blocks.free.len()
        );
        Ok(())
    }

    fn verify_chains(&self, shard: u32, blocks: &Blocks) -> Result<(), Fault> {
        let (mut entries, mut continuations) = (HashSet::new(), HashSet::new());
        for bucket in 0..self.shape.buckets {
            let chain = self.shape.chain(shard, bucket);
            let mut block = chain.of(load(self.words, chain.at)?);
            while block != 0 {
                demand!(blocks.entries.contains(&block), "no entry at {block}");
                demand!(entries.insert(block), "two chains lead to {block}");
                let (next, hash) = halves(load(self.words, block)?);
                demand!(
                    self.shape.bucket_of(shard, hash) == chain,
                    "entry {block} is in the chain of another bucket"
                );
                let entry = Entry::at(self.words, self.shape, block)?;
                if let Some(expiry) = entry.expiry(self.words, self.shape)? {
                    let soonest = self.own_word(shard, word::SOONEST)?;
                    demand!(
                        soonest != 0 && soonest <= expiry.max(1),
                        "{block} expires before {soonest}"
                    );
                }
                let mut rest = entry.more(self.words, self.shape)?;
                while rest != 0 {
                    demand!(
                        blocks.continuations.contains(&rest) && continuations.insert(rest),
                        "entry {block}: continuation block {rest} is missing or used twice"
                    );
                    rest = Continuation::at(self.words, self.shape, rest)?.next;
                }
                block = next;
            }
        }
        demand!(
            entries.len() == blocks.entries.len(),
            "{} entries lost",
            blocks.entries.len() - entries.len()
        );
        demand!(
            continuations.len() == blocks.continuations.len(),
            "{} continuation blocks lost",
            blocks.continuations.len() - continuations.len()
        );
        Ok(())
    }

    fn verify_order(&self, shard: u32, blocks: &Blocks) -> Result<(), Fault> {
        let (newest, oldest) = halves(self.own_word(shard, word::AGES)?);
        let (mut block, mut before, mut count) = (newest, 0, 0);
        while block != 0 {
            demand!(blocks.entries.contains(&block), "LRU list: no entry at {block}");
            let (newer, older) = halves(load(self.words, block + 2)?);
            demand!(newer == before, "LRU list: {block} does not follow {before}");
            count += 1;
            demand!(count <= blocks.entries.len(), "the LRU list has a cycle");
            (before, block) = (block, older);
        }
        demand!(
            before == oldest && count == blocks.entries.len(),
            "the LRU list has {count} entries and ends at {before}"
        );
        Ok(())
    }
}
