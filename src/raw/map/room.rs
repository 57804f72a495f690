//! Making room: what has expired goes first; then entries are compacted, or the least recently used go, here and in other shards.
//!
//! | step | is made of | a death leaves |
//! |---|---|---|
//! | free garbage, remove what has expired, compact, evict | changes (`table`, `compact`), each whole | those made before it |
//! | ask another shard | its lock, and the same changes there | both locks to be taken over, each shard on its own |
//!
//! The caller holds its own shard's lock meanwhile, and asks for others' for a moment each: two callers that want each other's go
//! on to the next, and if that was all, begin again without their own.

use super::chain::Found;
use super::entry::{CONTINUATION_HEADER, Key, Payload, words_needed};
use super::heap::{free_regions, freed_so_far};
use super::journal::Corrupt;
use super::shape::{halves, word};
use super::shard::{Locked, RawMap, Refusal};
use crate::primitive::{Deadline, Ordering, Peers};
use core::time::Duration;

/// How long to wait for another shard's lock.
const SHORTLY: Duration = Duration::from_millis(1);
/// A shard's entries are compacted if this many words are free for each eight of a region.
const SCATTERED: u32 = 9;

/// What making room depends on: the time, who is alive, and whether it may wait.
pub(crate) struct World<'a> {
    pub(crate) now: &'a dyn Fn() -> u64,
    pub(crate) peers: &'a dyn Fn() -> Peers,
    pub(crate) waits: bool,
}

impl World<'_> {
    fn lock<'m>(&self, map: &'m RawMap<'m>, shard: u32) -> Option<Locked<'m>> {
        let deadline = if self.waits {
            Deadline::after(SHORTLY)
        } else {
            Deadline::Now
        };
        map.lock(shard, self.peers, deadline).ok()
    }
}

/// What came of looking for room.
enum Progress {
    Some,
    None,
    /// None, but not all shards could be asked.
    Busy,
}

impl Locked<'_> {
    /// As [`store`](Self::store), after there was too little room.
    #[cold]
    pub(super) fn store_making_room(
        &self,
        key: Key<'_>,
        payload: Payload<'_>,
        world: &World<'_>,
    ) -> Result<(), Refusal> {
        let shape = self.map.shape;
        let needed = words_needed(shape, key, payload);
        self.free_garbage()?;
        self.sweep_overdue(world)?;
        if let (Some(found), true) = (self.find(key)?, shape.evicts) {
            // The entry to be replaced goes last.
            self.touch(&found)?;
        }
        loop {
            let found = self.find(key)?;
            if self.put(key, payload, found.as_ref())? {
                return Ok(());
            }
            let progress = if fits(needed, shape.region, shape.reach()) {
                self.make_some_room(needed, found.as_ref(), world)?
            } else {
                Progress::None
            };
            let needed = 8 * needed;
            let free = || match 8 * self.free_words()? {
                free if free < needed => Ok::<_, Refusal>(free),
                // Scraps too small for this entry do not count as free for it.
                _ => Ok(self.usable_bytes()?.min(needed - 8)),
            };
            match progress {
                Progress::Some => {}
                Progress::None => return Err(Refusal::Full { needed, free: free()? }),
                Progress::Busy => return Err(Refusal::Busy { needed, free: free()? }),
            }
        }
    }

    /// Takes one step that makes room for an entry of this many words, whose predecessor is `found`.
    fn make_some_room(&self, needed: u64, found: Option<&Found>, world: &World<'_>) -> Result<Progress, Refusal> {
        let shape = self.map.shape;
        if !shape.evicts {
            let (_, free) = self.map.room(self.shard);
            if self.map.is_scattered(self.shard) && u64::from(free) > needed && self.compact()? {
                return Ok(Progress::Some);
            }
            return self.map.make_room_elsewhere(self.shard, world);
        }
        let own = u64::from(self.map.room(self.shard).0) * u64::from(shape.region);
        let is_last = found.is_some_and(|found| self.is_oldest(found));
        // The entry itself goes only if what will then be free is enough.
        let may_evict = if is_last {
            let pool = u64::from(free_regions(shape, self.map.words, self.shard));
            fits(needed, shape.region, own + pool * u64::from(shape.region))
        } else {
            own >= 2 * needed
        };
        if may_evict && self.evict_oldest()? {
            return Ok(Progress::Some);
        }
        match self.map.make_room_elsewhere(self.shard, world)? {
            Progress::Some => Ok(Progress::Some),
            none if is_last => Ok(none),
            none => Ok(if self.evict_oldest()? { Progress::Some } else { none }),
        }
    }

    /// Removes what has expired: in this shard, and in others whose locks can be had.
    fn sweep_overdue(&self, world: &World<'_>) -> Result<(), Refusal> {
        for shard in 0..self.map.shape.shards() {
            if !self.map.is_overdue(shard, world.now) {
                continue;
            }
            if shard == self.shard {
                self.sweep((world.now)())?;
            } else if let Some(locked) = world.lock(self.map, shard) {
                // A corrupt shard gives nothing; its users are told.
                let _ = locked.sweep((world.now)());
            }
        }
        Ok(())
    }

    /// Compacts entries, or evicts, until a region is free.
    fn give_up_a_region(&self) -> Result<bool, Corrupt> {
        loop {
            if self.map.is_scattered(self.shard) && self.compact()? {
                return Ok(true);
            }
            let before = self.map.room(self.shard).0;
            // The last region is set aside for this shard: giving it up would help no other.
            if !self.map.shape.evicts || before <= 1 || !self.evict_oldest()? {
                return Ok(false);
            }
            if self.map.room(self.shard).0 < before {
                return Ok(true);
            }
        }
    }
}

/// Whether an entry of `needed` words fits into `capacity` words of empty regions, in as many parts as it takes.
fn fits(needed: u64, region: u32, capacity: u64) -> bool {
    let continuations = needed / u64::from(region - CONTINUATION_HEADER) + 1;
    needed + 1 + continuations * u64::from(CONTINUATION_HEADER) <= capacity
}

impl RawMap<'_> {
    /// A shard's regions, and the words in them that are free, as a hint.
    pub(super) fn room(&self, shard: u32) -> (u32, u32) {
        halves(self.own(shard, word::ROOM).load(Ordering::Relaxed)) // Relaxed: a hint.
    }

    /// Has another shard give up a region, beginning with those that have most to spare. A holder that died with a shard's lock is
    /// found on the way, and what it had taken is free again.
    fn make_room_elsewhere(&self, except: u32, world: &World<'_>) -> Result<Progress, Refusal> {
        let mut others: Vec<u32> = (0..self.shape.shards()).filter(|shard| *shard != except).collect();
        let spare = |shard: &u32| {
            let (regions, free) = self.room(*shard);
            core::cmp::Reverse(if self.shape.evicts { regions } else { free })
        };
        others.sort_by_key(spare);
        let mut progress = Progress::None;
        for shard in others {
            let freed = freed_so_far(self.words);
            let gives = if self.shape.evicts {
                self.room(shard).0 > 1
            } else {
                self.is_scattered(shard)
            };
            let worth = gives || self.is_held(shard);
            if !worth {
                continue;
            }
            let Some(locked) = world.lock(self, shard) else {
                progress = Progress::Busy;
                continue;
            };
            // A corrupt shard gives nothing; its users are told.
            let given = locked.give_up_a_region().unwrap_or(false);
            if given || freed_so_far(self.words) != freed {
                return Ok(Progress::Some);
            }
        }
        Ok(progress)
    }

    fn is_scattered(&self, shard: u32) -> bool {
        self.room(shard).1 >= SCATTERED * (self.shape.region / 8)
    }
}
