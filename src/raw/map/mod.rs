//! `RawMap`: a dictionary of byte strings in shared memory: shards with a lock and a journal each, over a pool of regions.
//!
//! ```text
//! header            8 words: shape, seed, clock, hint, time to live, proof of the hash
//! tallies           16 lines: hits and misses, one line for each of as many groups of threads
//! shards            a power of two of them, each: lock, journal, counts, free lists, notes of the journal
//! owners            one word for each region
//! buckets           for each shard the same number of chains, two to a word
//! regions           of a power of two of words each; blocks fill them, end to end
//! ```
//!
//! `heap` has the states of a region, and `shard` those of a shard.
//!
//! | state of a block | shown by | moved by | to |
//! |---|---|---|---|
//! | free | `FREE`; it is in its size's list | a change | entry, continuation, or part of a larger free block |
//! | entry | a chain leads to it | a change | free; its continuation is garbage |
//! | continuation of an entry | the entry's `more`, or another continuation's | the change that removes the entry | garbage |
//! | garbage | the shard's `GARBAGE`, or another continuation's `more` | a change for each | free, or the entry's continuation |
//!
//! Every change goes through the journal, except that a value of one word is overwritten by one store. If the changing process
//! dies, the next holder of the shard's lock undoes the change, in as many steps as were taken. The only words that shards share
//! are those of owners and header and the counts of hits and misses, and no change covers words of two shards; so a death holds up
//! only its own shard.
//!
//! # Invariants
//!
//! - P1. Only the holder of a shard's lock changes the shard's words, its buckets, its regions, and their owner words.
//! - P2. Blocks fill a region end to end, no two free ones side by side; none reaches beyond its region.
//! - P3. An entry is whole before the change is published that leads to it.
//! - P4. What is read here may be garbage: numbers of words are checked against the map, chains are bounded.

#[cfg(not(procshare_loom))]
mod chain;
#[cfg(not(procshare_loom))]
mod compact;
#[cfg(not(procshare_loom))]
mod entry;
pub(crate) mod heap;
pub(crate) mod journal;
#[cfg(not(procshare_loom))]
mod order;
#[cfg(not(procshare_loom))]
mod room;
pub(crate) mod shape;
#[cfg(not(procshare_loom))]
mod shard;
#[cfg(not(procshare_loom))]
mod table;
#[cfg(all(any(test, fuzzing, feature = "crash-points"), not(procshare_loom)))]
mod verify;

#[cfg(not(procshare_loom))]
pub(crate) use journal::Corrupt;
#[cfg(not(procshare_loom))]
pub(crate) use {
    chain::Found,
    entry::{Key, Output, Payload, Short},
    room::World,
    shape::{EPOCH, PROOF, SEED, SHAPE_WORDS, Shape, TTL},
    shard::{Locked, RawMap, Refusal, Totals},
};

#[cfg(all(test, not(procshare_loom)))]
mod tests;
