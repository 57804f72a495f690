//! `RawLatch`: a value in two slots (a relative of the seqlock), published by one store, read without a lock.
//!
//! | state | version | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | at rest | `v` | the lock's owner, who writes slot `v + 1` | being written | still `v` |
//! | being written | `v`, slot `v + 1` changing | the lock's owner | at rest, `v + 1`, by one store | still `v`; the next owner overwrites that slot |
//!
//! The value is slot `version & 1`. Slots are arrays of 64-bit words, on both sides: mixed sizes would be undefined.
//!
//! # Invariants
//!
//! - L1. Only the lock's owner writes slots and version, and only the slot that is not current.
//! - L2. A reader that finds the same version before and after has copied a slot that was not written meanwhile: the writer of
//!   version `v + 2`, which reuses slot `v`, starts after `v + 1` was stored.
//! - L3. A version is stored after its slot is whole.

use crate::primitive::{AtomicU64, Deadline, Ordering, Peers, crash_point, fence};
use crate::raw::{Held, RawMutex, Refused};

/// Lock and version; the two slots follow it in memory and come in as one slice, slot 0 first.
#[repr(C)]
pub(crate) struct RawLatch {
    pub(crate) mutex: RawMutex,
    pub(super) version: AtomicU64,
}

impl RawLatch {
    #[cfg(procshare_loom)]
    pub(crate) fn new() -> Self {
        RawLatch {
            mutex: RawMutex::new(),
            version: AtomicU64::new(0),
        }
    }

    /// Takes the lock; the version shows waiters how often it changes hands.
    #[inline]
    pub(crate) fn lock(&self, peers: impl FnOnce() -> Peers, deadline: Deadline) -> Result<Held, Refused> {
        self.mutex.lock_counted(Some(&self.version), peers, deadline)
    }

    /// Tries to copy the value out without the lock; false if a writer was in the way, and `out` is then anything.
    #[inline]
    pub(crate) fn try_read(&self, slots: &[AtomicU64], out: &mut [u8]) -> bool {
        // Acquire: pairs with the Release in `publish`, so that the slot is whole (L3).
        let version = self.version.load(Ordering::Acquire);
        copy_out(slot(slots, version), out);
        // Acquire: pairs with the Release fence in `publish`. If a word copied came from the writer of a later version,
        // the load below sees at least the version that writer began from (L2).
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == version
    }

    /// Copies the value out. The caller holds the lock, so nobody writes.
    #[inline]
    pub(crate) fn read_locked(&self, slots: &[AtomicU64], out: &mut [u8]) {
        let version = self.version.load(Ordering::Relaxed);
        copy_out(slot(slots, version), out);
    }

    /// Makes `value` the current one. The caller holds the lock.
    #[inline]
    pub(crate) fn publish(&self, slots: &[AtomicU64], value: &[u8]) {
        crash_point!("publish.begin");
        let next = self.version.load(Ordering::Relaxed).wrapping_add(1);
        // Release: pairs with the Acquire fence in `try_read`; orders the version read above before the words below.
        fence(Ordering::Release);
        copy_in(slot(slots, next), value);
        crash_point!("publish.written");
        // Release: pairs with the Acquire in `try_read` (L3).
        self.version.store(next, Ordering::Release);
        crash_point!("publish.published");
    }
}

/// The slot that is current at `version`.
#[inline]
fn slot(slots: &[AtomicU64], version: u64) -> &[AtomicU64] {
    let (first, second) = slots.split_at(slots.len() / 2);
    if version & 1 == 0 { first } else { second }
}

/// Words that hold a value of this many bytes.
#[cfg(not(procshare_loom))]
pub(crate) const fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

/// Writes `value` to a slot word by word. Relaxed: the store of the version publishes every word at once.
#[inline]
fn copy_in(slot: &[AtomicU64], value: &[u8]) {
    let whole = value.chunks_exact(8);
    let rest = whole.remainder();
    for (at, (word, chunk)) in slot.iter().zip(whole).enumerate() {
        if at == 1 {
            crash_point!("publish.half");
        }
        word.store(word_of(chunk), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        slot[value.len() / 8].store(word_of(rest), Ordering::Relaxed);
    }
}

/// Reads a slot word by word. Relaxed: the fence after every copy orders all of them at once.
#[inline]
fn copy_out(slot: &[AtomicU64], out: &mut [u8]) {
    let last = out.len() / 8;
    let mut whole = out.chunks_exact_mut(8);
    for (chunk, word) in whole.by_ref().zip(slot) {
        chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    let rest = whole.into_remainder();
    if !rest.is_empty() {
        rest.copy_from_slice(&slot[last].load(Ordering::Relaxed).to_ne_bytes()[..rest.len()]);
    }
}

/// Up to eight bytes as a word, padded with zeros.
#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

#[cfg(not(procshare_loom))]
const _: () = assert!(size_of::<RawLatch>() == 24);
