//! Making room: what has expired goes first, then what was used least recently, here and in other shards.

use super::entry::{Key, Payload};
use super::journal;
use super::shape::{halves, word};
use super::shard::{Locked, RawMap, Refusal};
use super::table::{Found, words_needed};
use crate::primitive::{Deadline, Ordering, Peers};

impl Locked<'_> {
    /// Stores `payload` under `key`, whose entry is `found` if there is one. Where there is too little room, what has expired makes way, and in a map that evicts
    /// what was used least recently.
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
        if self.map.is_overdue(self.shard, &now) {
            self.sweep(now())?;
        } else if let (Some(found), true) = (self.find(key)?, shape.evicts) {
            // What is to be replaced goes last.
            self.touch(&found)?;
        }
        loop {
            let found = self.find(key)?;
            if self.put(key, payload, found.as_ref())? {
                return Ok(());
            }
            let fits = 8 * needed < shape.capacity();
            if !(shape.evicts && fits && self.evict_for(needed, &peers)?) {
                return Err(Refusal::Full {
                    needed: 8 * needed,
                    free: 8 * self.free_words()?,
                });
            }
        }
    }

    /// Frees some room, in this shard if it has so much in all, else in the largest.
    fn evict_for(&self, needed: u64, peers: &impl Fn() -> Peers) -> Result<bool, Refusal> {
        let (regions, _) = halves(self.own(word::ROOM)?);
        let own = u64::from(regions) * u64::from(self.map.shape.region);
        if own >= 2 * needed && self.evict_oldest()? {
            return Ok(true);
        }
        Ok(self.map.empty_a_region(self.shard, peers)? || self.evict_oldest()?)
    }
}

impl RawMap<'_> {
    /// Evicts entries of the shard that has most regions, except one, until it has given one up; false if there were none to
    /// evict. The caller holds the lock of that one, and so waits for no other.
    fn empty_a_region(&self, except: u32, peers: &impl Fn() -> Peers) -> Result<bool, Refusal> {
        let regions = |shard: &u32| halves(self.own(*shard, word::ROOM).load(Ordering::Relaxed)).0; // Relaxed: a hint.
        let largest = (0..self.shape.shards())
            .filter(|shard| *shard != except)
            .max_by_key(regions);
        let Some(other) = largest else {
            return Ok(false);
        };
        let Ok(locked) = self.lock(other, peers, Deadline::Now) else {
            return Ok(false);
        };
        let (before, mut evicted) = (regions(&other), false);
        while regions(&other) >= before && locked.evict_oldest()? {
            evicted = true;
        }
        Ok(evicted)
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
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            out.clear();
            ends.clear();
            if let Some(copied) = journal::read(self.journal_state(shard), || self.copy_all(shard, &now, out, ends)) {
                return Ok(copied?);
            }
        }
        let _locked = self.lock(shard, peers, deadline)?;
        out.clear();
        ends.clear();
        Ok(self.copy_all(shard, &now, out, ends)?)
    }
}
