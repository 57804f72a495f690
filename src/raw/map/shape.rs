//! `Shape`: where everything in a map lies, computed alike by the process that creates it and those that open it.

use super::journal::LOG;

/// Words of the header that say what the shape is.
pub(crate) const SHAPE_WORDS: usize = 3;
/// A word of the header: what hashes begin with.
pub(crate) const SEED: usize = 3;
/// A word of the header: the hash of a text known to all.
pub(crate) const PROOF: usize = 7;
/// A word of the header: milliseconds that an entry lives unless its writer says otherwise; 0 means for ever.
pub(crate) const TTL: usize = 6;
/// A word of the header: when, by the wall clock, the machine was started, in milliseconds; 0 if it has not been asked for yet.
pub(crate) const EPOCH: u32 = 4;
/// A word of the header: `[ changes:32 | region:32 ]`, where to look for a free region.
pub(super) const HINT: u32 = 5;
const HEADER_WORDS: u64 = 8;

/// Lines of hits and misses.
pub(super) const TALLIES: u32 = 16;

/// Words of a shard, counted from its first.
pub(super) mod word {
    use super::LOG;

    pub(crate) const LOCK: u32 = 0;
    /// How many values were overwritten without the journal.
    pub(crate) const WRITES: u32 = 2;
    /// Entries.
    pub(crate) const LEN: u32 = 3;
    /// `[ regions:32 | free words in them:32 ]`.
    pub(crate) const ROOM: u32 = 4;
    /// `[ newest:32 | oldest:32 ]` entry by use.
    pub(crate) const AGES: u32 = 5;
    /// No entry expires before; 0 if none expires at all.
    pub(crate) const SOONEST: u32 = 6;
    pub(crate) const EVICTIONS: u32 = 7;
    /// On another line than the lock: a reader does not lose it whenever the lock is taken.
    pub(crate) const JOURNAL: u32 = 8;
    /// The first of the blocks that nothing leads to any more, or not yet.
    pub(crate) const GARBAGE: u32 = 10;
    /// Which lists of free blocks are not empty.
    pub(crate) const CLASSES: u32 = 9;
    /// First blocks of the lists, two to a word.
    pub(crate) const HEADS: u32 = 16;
    pub(crate) const NOTES: u32 = 48;
    pub(crate) const END: u32 = NOTES + 2 * LOG as u32;
}

/// Lists of free blocks, by size.
pub(super) const CLASS_COUNT: u32 = 64;

const LINE: u64 = 8;
const LEAST_REGION: u64 = 64;
const LARGEST_REGION: u64 = 1 << 16;
const MOST_SHARDS: u64 = 64;
/// Regions a shard has on average: what it leaves unused of its last one is a small part.
const REGIONS_PER_SHARD: u64 = 32;
/// A small map has fewer, so that a key of some thousand bytes fits into a region, but at least this many.
const FEWEST_REGIONS: u64 = 16;
const USUAL_REGION: u64 = 512;
/// Words of a shard on average: 128 KiB, unless there would be too many shards.
const SHARE: u64 = 1 << 14;
/// Numbers of words fit into 32 bits.
const MOST_WORDS: u64 = u32::MAX as u64;

/// Where the parts of a map lie. Numbers of words are counted from the object's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(super) shards: u32,
    /// Words of a region, a power of two.
    pub(super) region: u32,
    pub(super) regions: u32,
    /// Chains of a shard.
    pub(super) buckets: u32,
    /// Entries are kept in order of use, and the oldest make room.
    pub(crate) evicts: bool,
    pub(super) owners_at: u32,
    pub(super) buckets_at: u32,
    pub(super) regions_at: u32,
    pub(super) words: u32,
}

impl Shape {
    /// The shape of a map with room for `bytes` bytes of entries of about `entry` bytes each, in `shards` shards if the caller
    /// asks for a number; `None` if it would be too large.
    pub(crate) fn for_capacity(bytes: u64, entry: u64, shards: Option<u32>, evicts: bool) -> Option<Self> {
        let words = bytes.div_ceil(8).max(LEAST_REGION);
        if words > MOST_WORDS {
            return None;
        }
        let largest_power = |number: u64| 1 << number.max(1).ilog2();
        let shards = match shards {
            Some(shards) => u64::from(shards.max(1)),
            None => largest_power(words / SHARE).min(MOST_SHARDS),
        };
        let share = words / shards;
        let region = largest_power((share / REGIONS_PER_SHARD).max(USUAL_REGION.min(share / FEWEST_REGIONS)));
        let region = region.clamp(LEAST_REGION, LARGEST_REGION);
        let regions = words.div_ceil(region).max(shards);
        let entries = (regions * region * 8).div_ceil(entry.max(16));
        let buckets = entries.div_ceil(shards).next_multiple_of(2);
        Self::of_numbers(shards, region, regions, buckets, evicts)
    }

    fn of_numbers(shards: u64, region: u64, regions: u64, buckets: u64, evicts: bool) -> Option<Self> {
        let owners_at = HEADER_WORDS + u64::from(TALLIES) * LINE + shards * u64::from(word::END);
        let buckets_at = owners_at.checked_add(regions)?.checked_next_multiple_of(LINE)?;
        let regions_at = shards
            .checked_mul(buckets / 2)?
            .checked_add(buckets_at)?
            .checked_next_multiple_of(LINE)?;
        let words = regions.checked_mul(region)?.checked_add(regions_at)?;
        let narrow = |number: u64| u32::try_from(number).ok();
        Some(Shape {
            shards: narrow(shards)?,
            region: narrow(region)?,
            regions: narrow(regions)?,
            buckets: narrow(buckets)?,
            evicts,
            owners_at: narrow(owners_at)?,
            buckets_at: narrow(buckets_at)?,
            regions_at: narrow(regions_at)?,
            words: narrow(words)?,
        })
    }

    /// The shape of a map that consists of a header and owners.
    #[cfg(procshare_loom)]
    pub(crate) fn of_owners(regions: u32) -> Self {
        let end = HEADER_WORDS as u32 + regions;
        Shape {
            shards: 2,
            region: LEAST_REGION as u32,
            regions,
            buckets: 2,
            evicts: false,
            owners_at: HEADER_WORDS as u32,
            buckets_at: end,
            regions_at: end,
            words: end,
        }
    }

    /// The words by which [`of_words`](Self::of_words) finds the shape again.
    pub(crate) fn to_words(self) -> [u64; SHAPE_WORDS] {
        [
            u64::from(self.shards) << 32 | u64::from(self.evicts),
            u64::from(self.region) << 32 | u64::from(self.regions),
            u64::from(self.buckets),
        ]
    }

    /// The shape described by these words, if there can be such a shape.
    pub(crate) fn of_words([first, second, third]: [u64; SHAPE_WORDS]) -> Option<Self> {
        let (shards, evicts) = (first >> 32, first as u32);
        let (region, regions) = (second >> 32, second & u64::from(u32::MAX));
        let sound = shards.is_power_of_two()
            && shards <= MOST_SHARDS
            && evicts <= 1
            && region.is_power_of_two()
            && (LEAST_REGION..=LARGEST_REGION).contains(&region)
            && regions >= shards
            && third >= 2
            && third % 2 == 0
            && third <= MOST_WORDS;
        Self::of_numbers(shards, region, regions, third, evicts == 1).filter(|_| sound)
    }

    /// Bytes of the whole object.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.words) * 8
    }

    /// Bytes of the regions: what entries have room in.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.regions) * u64::from(self.region) * 8
    }

    /// Words of the regions that one shard may have: in a map that evicts, without those set aside for others.
    pub(super) fn reach(&self) -> u64 {
        let others = if self.evicts { self.shards - 1 } else { 0 };
        u64::from(self.regions - others) * u64::from(self.region)
    }

    /// The most entries there can be.
    pub(super) fn most_entries(&self) -> u64 {
        self.capacity() / 16
    }

    pub(crate) fn shards(&self) -> u32 {
        self.shards
    }

    /// The first word of a shard.
    #[inline]
    pub(super) fn shard_at(&self, shard: u32) -> u32 {
        HEADER_WORDS as u32 + TALLIES * LINE as u32 + shard * word::END
    }

    /// How many words of its region lie before this one.
    #[inline]
    pub(super) fn in_region(&self, at: u32) -> u32 {
        at.wrapping_sub(self.regions_at) & (self.region - 1)
    }

    /// The words of a line of hits and misses.
    #[inline]
    pub(super) fn tally_at(&self, group: u32) -> u32 {
        HEADER_WORDS as u32 + group % TALLIES * LINE as u32
    }

    /// Which shard a key of this hash belongs to.
    #[inline]
    pub(crate) fn shard_of(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & (self.shards - 1)
    }

    /// The chain of a key in its shard, by the half of its hash that its entry keeps.
    #[inline]
    pub(super) fn bucket_of(&self, shard: u32, hash: u32) -> Link {
        self.chain(shard, ((u64::from(hash) * u64::from(self.buckets)) >> 32) as u32)
    }

    /// A chain of a shard, by number.
    #[inline]
    pub(super) fn chain(&self, shard: u32, bucket: u32) -> Link {
        Link {
            at: self.buckets_at + shard * (self.buckets / 2) + bucket / 2,
            high: bucket % 2 == 1,
        }
    }

    /// The words where locks lie: an owner from before a restart of the machine no longer holds one.
    pub(crate) fn lock_at(&self, shard: u32) -> u32 {
        self.shard_at(shard) + word::LOCK
    }
}

/// Half a word that holds the number of another word; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) at: u32,
    pub(super) high: bool,
}

impl Link {
    /// The number in a word's half.
    #[inline]
    pub(super) fn of(self, word: u64) -> u32 {
        if self.high { (word >> 32) as u32 } else { word as u32 }
    }

    /// The word with another number in that half.
    #[inline]
    pub(super) fn put(self, word: u64, number: u32) -> u64 {
        if self.high {
            pair(number, word as u32)
        } else {
            pair((word >> 32) as u32, number)
        }
    }
}

/// Two numbers in one word.
#[inline]
pub(super) fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The two numbers of a word.
#[inline]
pub(super) fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}
