//! Making room: what has expired goes first; then entries of other shards move together, or what was used least recently
//! goes, here and there.
//!
//! The caller holds its own shard's lock meanwhile, and asks for others' for a moment each: two that want each other's go
//! on to the next.

use super::entry::{Key, Payload, REST_HEADER};
use super::journal;
use super::shape::{Shape, halves, word};
use super::shard::{Locked, RawMap, Refusal};
use super::table::{Found, words_needed};
use crate::primitive::{Deadline, Ordering, Peers};
use core::time::Duration;

/// How long to wait for another shard's lock.
const SHORTLY: Duration = Duration::from_millis(1);
/// A shard is asked to move its entries together if so many regions' worth of its words are free.
const SCATTERED: u32 = 2;

impl Locked<'_> {
    /// Stores `payload` under `key`, whose entry is `found` if there is one. Where there is too little room, room is made.
    #[inline(always)]
    pub(crate) fn store(
        &self,
        key: Key<'_>,
        payload: Payload<'_>,
        found: Option<&Found>,
        now: impl Fn() -> u64,
        peers: impl Fn() -> Peers,
    ) -> Result<(), Refusal> {
        if self.put(key, payload, found)? {
            return Ok(());
        }
        self.store_making_room(key, payload, now, peers)
    }

    #[cold]
    fn store_making_room(
        &self,
        key: Key<'_>,
        payload: Payload<'_>,
        now: impl Fn() -> u64,
        peers: impl Fn() -> Peers,
    ) -> Result<(), Refusal> {
        let shape = self.map.shape;
        let needed = words_needed(shape, key, payload);
        self.map.sweep_overdue(self, now, &peers)?;
        if let (Some(found), true) = (self.find(key)?, shape.evicts) {
            // What is to be replaced goes last.
            self.touch(&found)?;
        }
        loop {
            let found = self.find(key)?;
            if self.put(key, payload, found.as_ref())? {
                return Ok(());
            }
            let progress = fits(shape, needed)
                && if shape.evicts {
                    self.evict_for(needed, &peers)?
                } else {
                    self.map.gather_elsewhere(self.shard, &peers)?
                };
            if !progress {
                return Err(Refusal::Full {
                    needed: 8 * needed,
                    free: 8 * self.free_words()?,
                });
            }
        }
    }

    /// Frees some room, in this shard if it has so much in all, else in another.
    fn evict_for(&self, needed: u64, peers: &impl Fn() -> Peers) -> Result<bool, Refusal> {
        let (regions, _) = halves(self.own(word::ROOM)?);
        let own = u64::from(regions) * u64::from(self.map.shape.region);
        if own >= 2 * needed && self.evict_oldest()? {
            return Ok(true);
        }
        Ok(self.map.empty_a_region(self.shard, peers)? || self.evict_oldest()?)
    }
}

/// Whether an entry of so many words would fit into an empty map, in as many parts as it takes.
fn fits(shape: &Shape, needed: u64) -> bool {
    let rests = needed / u64::from(shape.region - REST_HEADER) + 1;
    needed + 1 + rests * u64::from(REST_HEADER) <= shape.capacity() / 8
}

impl RawMap<'_> {
    /// A shard's regions, and the words in them that are free, as a hint.
    fn room(&self, shard: u32) -> (u32, u32) {
        halves(self.own(shard, word::ROOM).load(Ordering::Relaxed)) // Relaxed: a hint.
    }

    /// All shards but one, those first of which `rank` is highest.
    fn others(&self, except: u32, rank: impl Fn(u32) -> u32) -> Vec<u32> {
        let mut others: Vec<u32> = (0..self.shape.shards()).filter(|shard| *shard != except).collect();
        others.sort_by_key(|shard| core::cmp::Reverse(rank(*shard)));
        others
    }

    /// Removes what has expired: in the caller's shard, and in others as far as their locks are to be had.
    fn sweep_overdue(
        &self,
        own: &Locked<'_>,
        now: impl Fn() -> u64,
        peers: &impl Fn() -> Peers,
    ) -> Result<(), Refusal> {
        for shard in 0..self.shape.shards() {
            if !self.is_overdue(shard, &now) {
                continue;
            }
            if shard == own.shard {
                own.sweep(now())?;
            } else if let Ok(locked) = self.lock(shard, peers, Deadline::after(SHORTLY)) {
                locked.sweep(now())?;
            }
        }
        Ok(())
    }

    /// Has a shard move its entries together until it gives a region up; false if there is none that can.
    fn gather_elsewhere(&self, except: u32, peers: &impl Fn() -> Peers) -> Result<bool, Refusal> {
        for shard in self.others(except, |shard| self.room(shard).1) {
            if self.room(shard).1 < SCATTERED * self.shape.region {
                return Ok(false);
            }
            if let Ok(locked) = self.lock(shard, peers, Deadline::after(SHORTLY)) {
                if locked.gather()? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Evicts entries of the shard that has most regions, or the next, until it has given one up; false if there were none
    /// to evict.
    fn empty_a_region(&self, except: u32, peers: &impl Fn() -> Peers) -> Result<bool, Refusal> {
        for shard in self.others(except, |shard| self.room(shard).0) {
            let (before, mut evicted) = (self.room(shard).0, false);
            if before == 0 {
                break;
            }
            if let Ok(locked) = self.lock(shard, peers, Deadline::after(SHORTLY)) {
                while self.room(shard).0 >= before && locked.evict_oldest()? {
                    evicted = true;
                }
            }
            if evicted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies all entries of a shard that have not expired, as they were at one moment: keys and values to `out`, one after
    /// the other, and where each ends to `ends`.
    pub(crate) fn snapshot(
        &self,
        shard: u32,
        now: impl Fn() -> u64,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
        peers: impl FnOnce() -> Peers,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        /// How often to try without the lock, which others would have to wait for.
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            out.clear();
            ends.clear();
            // Acquire: pairs with the Release in `overwrite`.
            let writes = self.own(shard, word::WRITES).load(Ordering::Acquire);
            let copied = journal::read(self.journal_state(shard), || self.copy_all(shard, &now, out, ends));
            // Relaxed: `read` fences after the copy.
            if let (Some(copied), true) = (copied, self.own(shard, word::WRITES).load(Ordering::Relaxed) == writes) {
                return Ok(copied?);
            }
        }
        let _locked = self.lock(shard, peers, deadline)?;
        out.clear();
        ends.clear();
        Ok(self.copy_all(shard, &now, out, ends)?)
    }
}
