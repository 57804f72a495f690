//! A shard's lock and what comes with it: reading without it, taking it, repairing what a dead holder left.
//!
//! | state of a shard | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | whole | journal at rest, no garbage | holder of its lock, by a change (`journal`) | whole, or with garbage | the change is undone, or published |
//! | with garbage | `GARBAGE` leads to a block | the same, by a change for each block | whole | the next holder goes on |
//! | left by a dead holder | the lock says so, or the journal is open | its next holder: undoes the change, frees claimed regions, some garbage, then declares the data whole | whole, or with garbage | the next begins again |
//!
//! Words without the lock: tallies are only added to, and the clock's beginning is stored once, by compare-exchange.

use super::chain::{self, Found};
use super::entry::{CONTINUATION_HEADER, Continuation, Key, LEAST_CONTINUATION, Output, load};
use super::heap::{Edit, free_claimed, free_regions};
use super::journal::{self, Corrupt, Journal, LOG};
use super::shape::{EPOCH, Shape, halves, word};
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers, Policy, Spin, crash_point};
use crate::raw::{RawMutex, Refused};
use core::time::Duration;

/// How often to look for a moment between two changes.
const LOOKS: u32 = 32;
/// How often before waiting for the lock, as long as changes are made.
const MANY_LOOKS: u32 = 1 << 10;
/// How long to wait for a half-changed shard before telling how much is in it.
const SETTLED_WITHIN: Duration = Duration::from_millis(50);

/// Why a call on the map failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Lock(Refused),
    Corrupt,
    /// Bytes an entry takes, and bytes free for it.
    Full {
        needed: u64,
        free: u64,
    },
    /// As `Full`, but shards that may have room to give were locked.
    Busy {
        needed: u64,
        free: u64,
    },
    /// The key takes more than this many bytes.
    KeyTooLong {
        most: u64,
    },
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Refusal::Lock(refused)
    }
}

impl From<Corrupt> for Refusal {
    fn from(_: Corrupt) -> Self {
        Refusal::Corrupt
    }
}

/// What a map holds, and what became of it; right at one moment for each shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) entries: u64,
    pub(crate) used: u64,
    pub(crate) free: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evictions: u64,
}

/// The words of a map.
#[derive(Clone, Copy)]
pub(crate) struct RawMap<'a> {
    pub(super) words: &'a [AtomicU64],
    pub(super) shape: &'a Shape,
}

impl<'a> RawMap<'a> {
    /// The map of that shape in these words, which are as many as it needs.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64], shape: &'a Shape) -> Self {
        debug_assert_eq!(words.len(), shape.words as usize);
        RawMap { words, shape }
    }

    fn mutex(&self, shard: u32) -> &'a RawMutex {
        RawMutex::in_words(self.words, self.shape.lock_at(shard) as usize)
    }

    /// Whether a shard's lock is held, perhaps by a dead owner.
    pub(super) fn is_held(&self, shard: u32) -> bool {
        self.mutex(shard).owner().is_some()
    }

    /// A word of a shard's own.
    pub(super) fn own(&self, shard: u32, word: u32) -> &'a AtomicU64 {
        &self.words[(self.shape.shard_at(shard) + word) as usize]
    }

    /// The word that tells whether a shard is being changed.
    #[inline(always)]
    pub(super) fn journal_state(&self, shard: u32) -> &'a AtomicU64 {
        &self.words[(self.shape.shard_at(shard) + word::JOURNAL) as usize]
    }

    #[inline]
    pub(super) fn journal(&self, shard: u32) -> Journal<'a> {
        let at = self.shape.shard_at(shard);
        let notes = (at + word::NOTES) as usize;
        Journal {
            state: self.journal_state(shard),
            log: &self.words[notes..notes + 2 * LOG],
            words: self.words,
        }
    }

    /// Copies the value of `key` to `out`, which is empty, and tells whether there is one. `now` is asked if the entry expires.
    /// Does not wait unless the shard is being changed.
    #[inline]
    pub(crate) fn read(
        &self,
        key: Key<'_>,
        now: impl Fn() -> u64,
        out: &mut impl Output,
        peers: impl FnOnce() -> Peers,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<bool, Refusal> {
        let shard = self.shape.shard_of(key.hash);
        match journal::read(self.journal_state(shard), || self.look(shard, key, &now, out)) {
            Some(seen) => Ok(seen?),
            None => self.read_on(key, now, out, peers, deadline),
        }
    }

    /// Looks again, and locks if that does not help.
    #[cold]
    fn read_on(
        &self,
        key: Key<'_>,
        now: impl Fn() -> u64,
        out: &mut impl Output,
        peers: impl FnOnce() -> Peers,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<bool, Refusal> {
        let shard = self.shape.shard_of(key.hash);
        let state = self.journal_state(shard);
        // While one change follows another there is a moment between them; only a writer that makes no progress holds us up.
        let (mut spin, mut before) = (Spin::new(Policy::Lock), 0);
        for _ in 0..MANY_LOOKS {
            out.clear();
            if let Some(seen) = journal::read(state, || self.look(shard, key, &now, out)) {
                return Ok(seen?);
            }
            let now = state.load(Ordering::Relaxed); // Relaxed: a hint.
            if now != before {
                (spin, before) = (Spin::new(Policy::Lock), now);
            } else if !spin.pause() {
                break;
            }
        }
        let _locked = self.lock(shard, peers, deadline())?;
        out.clear();
        Ok(self.look(shard, key, &now, out)?)
    }

    #[inline(always)]
    fn look(&self, shard: u32, key: Key<'_>, now: impl Fn() -> u64, out: &mut impl Output) -> Result<bool, Corrupt> {
        let Some(found) = chain::find(self.words, self.shape, shard, key)? else {
            return Ok(false);
        };
        let expiry = found.entry.expiry(self.words, self.shape)?;
        if expiry.is_some_and(|expiry| expiry <= now()) {
            return Ok(false);
        }
        found.entry.copy_value(self.words, self.shape, out)?;
        Ok(true)
    }

    /// Copies all entries of a shard that have not expired, as they were at one moment: keys and values to `out`, one after the
    /// other, and the end of each to `ends`.
    pub(crate) fn snapshot(
        &self,
        shard: u32,
        now: impl Fn() -> u64,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
        peers: impl FnOnce() -> Peers,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        /// How often to try without the lock, since taking it makes others wait.
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

    /// Appends key and value of each entry that has not expired to `out`, and their ends to `ends`.
    fn copy_all(
        &self,
        shard: u32,
        now: impl Fn() -> u64,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), Corrupt> {
        let (words, shape) = (self.words, self.shape);
        chain::each(words, shape, shard, |found| {
            if found.entry.expiry(words, shape)?.is_none_or(|expiry| expiry > now()) {
                found.entry.copy_key(words, shape, out)?;
                ends.push(out.len());
                found.entry.copy_value(words, shape, out)?;
                ends.push(out.len());
                if out.len() as u64 > shape.bytes() {
                    return Err(Corrupt);
                }
            }
            Ok(false)
        })
    }

    /// Takes a shard's lock, and repairs what a dead holder left half-done.
    #[inline(always)]
    pub(crate) fn lock(
        &'a self,
        shard: u32,
        peers: impl FnOnce() -> Peers,
        deadline: Deadline,
    ) -> Result<Locked<'a>, Refusal> {
        let mutex = self.mutex(shard);
        let held = mutex.lock(peers, deadline)?;
        let locked = Locked {
            map: self,
            shard,
            mutex,
            owner: held.owner,
        };
        if held.inconsistent || journal::is_open(self.journal_state(shard)) || locked.has_garbage() {
            locked.recover()?;
        }
        Ok(locked)
    }

    /// Counts a look-up for one of several groups of threads, so that these do not share a cache line.
    #[inline]
    pub(crate) fn tally(&self, group: u32, hit: bool) {
        let at = self.shape.tally_at(group) + u32::from(!hit);
        // Relaxed: a count.
        self.words[at as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Reads words of a shard as they were at one moment, after undoing what a dead holder left half-changed.
    fn settled<const COUNT: usize>(
        &self,
        shard: u32,
        words: [u32; COUNT],
        peers: impl FnOnce() -> Peers,
    ) -> [u64; COUNT] {
        let look = || words.map(|word| self.own(shard, word).load(Ordering::Relaxed));
        for _ in 0..LOOKS {
            // Relaxed: `read` fences.
            if let Some(seen) = journal::read(self.journal_state(shard), look) {
                return seen;
            }
        }
        // If a holder is stopped in the middle of a change, the words are read as it left them.
        let _locked = self.lock(shard, peers, Deadline::after(SETTLED_WITHIN));
        look()
    }

    /// How many entries there are, including expired ones not yet removed.
    pub(crate) fn len(&self, peers: impl Fn() -> Peers) -> u64 {
        let of_shard = |shard| self.settled(shard, [word::LEN], &peers)[0];
        (0..self.shape.shards).map(of_shard).fold(0, u64::saturating_add)
    }

    /// Whether entries of a shard may have expired.
    pub(crate) fn is_overdue(&self, shard: u32, now: impl FnOnce() -> u64) -> bool {
        let soonest = self.own(shard, word::SOONEST).load(Ordering::Relaxed);
        soonest != 0 && soonest <= now()
    }

    pub(crate) fn totals(&self, peers: impl Fn() -> Peers) -> Totals {
        let mut totals = Totals::default();
        let region = u64::from(self.shape.region);
        for shard in 0..self.shape.shards {
            let [len, room, evictions] = self.settled(shard, [word::LEN, word::ROOM, word::EVICTIONS], &peers);
            let (regions, free) = halves(room);
            totals.entries = totals.entries.saturating_add(len);
            totals.used += 8 * (u64::from(regions) * region).saturating_sub(u64::from(free));
            totals.evictions = totals.evictions.wrapping_add(evictions);
        }
        totals.free = self.shape.capacity().saturating_sub(totals.used);
        for group in 0..super::shape::TALLIES {
            let at = self.shape.tally_at(group) as usize;
            totals.hits = totals.hits.wrapping_add(self.words[at].load(Ordering::Relaxed));
            totals.misses = totals.misses.wrapping_add(self.words[at + 1].load(Ordering::Relaxed));
        }
        totals
    }

    /// The wall clock's time at which the machine was started, as the first to ask saw it: so the map's clock does not jump when
    /// the wall clock is set.
    pub(crate) fn epoch(&self, seen: impl FnOnce() -> u64) -> u64 {
        let word = &self.words[EPOCH as usize];
        // Relaxed: nothing else is published with the word.
        match word.load(Ordering::Relaxed) {
            0 => {
                let seen = seen().max(1);
                match word.compare_exchange(0, seen, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => seen,
                    Err(other) => other,
                }
            }
            epoch => epoch,
        }
    }
}

/// A shard whose lock the caller holds; given back on drop.
pub(crate) struct Locked<'a> {
    pub(super) map: &'a RawMap<'a>,
    pub(super) shard: u32,
    mutex: &'a RawMutex,
    owner: OwnerId,
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        // A child that was forked meanwhile has a copy of this, and not the lock.
        if self.is_callers() {
            self.mutex.unlock(self.owner);
        }
    }
}

impl<'a> Locked<'a> {
    /// Undoes what was half-done, and frees what nothing leads to, or only some of it if there is much.
    #[cold]
    fn recover(&self) -> Result<(), Corrupt> {
        /// Parts of values freed at a time: a matter of a millisecond.
        const AT_ONCE: u32 = 4096;
        self.map.journal(self.shard).recover()?;
        crash_point!("map.recovered");
        free_claimed(self.map.shape, self.map.words, self.shard);
        for _ in 0..AT_ONCE {
            if !self.free_one()? {
                break;
            }
        }
        self.mutex.mark_consistent();
        Ok(())
    }

    #[inline(always)]
    fn has_garbage(&self) -> bool {
        // Relaxed: only the holder of the lock stores here.
        self.map.own(self.shard, word::GARBAGE).load(Ordering::Relaxed) != 0
    }

    /// Frees all blocks that nothing leads to any more.
    #[inline]
    pub(super) fn free_garbage(&self) -> Result<(), Corrupt> {
        while self.has_garbage() && self.free_one()? {}
        Ok(())
    }

    /// Frees a block that nothing leads to any more, in a change of its own; false if there is none.
    fn free_one(&self) -> Result<bool, Corrupt> {
        let mut edit = self.edit();
        let block = edit.own(word::GARBAGE)? as u32;
        if block == 0 {
            return Ok(false);
        }
        let rest = Continuation::at(self.map.words, self.map.shape, block)?;
        edit.set_own(word::GARBAGE, u64::from(rest.next))?;
        edit.give_back(block)?;
        edit.publish();
        Ok(true)
    }

    #[inline]
    pub(super) fn edit(&self) -> Edit<'a> {
        let journal = self.map.journal(self.shard);
        Edit::new(journal.begin(), self.map.shape, self.shard, self.map.words)
    }

    /// Bytes that a value could have now, in as many parts as there are free blocks.
    pub(super) fn usable_bytes(&self) -> Result<u64, Corrupt> {
        let pool = u64::from(free_regions(self.map.shape, self.map.words, self.shard));
        let own = self.edit().usable(LEAST_CONTINUATION, CONTINUATION_HEADER)?;
        Ok(8 * (own + pool * u64::from(self.map.shape.region - CONTINUATION_HEADER)))
    }

    /// A word of the shard's own.
    #[inline]
    pub(super) fn own(&self, word: u32) -> Result<u64, Corrupt> {
        load(self.map.words, self.map.shape.shard_at(self.shard) + word)
    }

    /// Words that are free for this shard: its own, and those of regions without an owner.
    pub(super) fn free_words(&self) -> Result<u64, Corrupt> {
        let (_, own) = halves(self.own(word::ROOM)?);
        let pool = u64::from(free_regions(self.map.shape, self.map.words, self.shard));
        Ok(u64::from(own) + pool * u64::from(self.map.shape.region))
    }

    /// Whether the caller still is the process that locked: not in a child that was forked meanwhile.
    #[inline(always)]
    pub(crate) fn is_callers(&self) -> bool {
        RawMutex::is_caller(self.owner)
    }

    /// Whether a waiter sleeps until the lock is free.
    pub(crate) fn is_wanted(&self) -> bool {
        self.mutex.is_wanted()
    }

    /// The entry of `key`, expired or not.
    #[inline(always)]
    pub(crate) fn find(&self, key: Key<'_>) -> Result<Option<Found>, Corrupt> {
        chain::find(self.map.words, self.map.shape, self.shard, key)
    }

    /// Copies an entry's value to `out`, which is empty.
    #[inline(always)]
    pub(crate) fn copy_value(&self, found: &Found, out: &mut impl Output) -> Result<(), Corrupt> {
        found.entry.copy_value(self.map.words, self.map.shape, out)
    }

    /// When an entry expires, if it does.
    #[inline(always)]
    pub(crate) fn expiry(&self, found: &Found) -> Result<Option<u64>, Corrupt> {
        found.entry.expiry(self.map.words, self.map.shape)
    }
}
