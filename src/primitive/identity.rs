//! The calling thread's owner id, cached so that a lock pays three loads for it.
//!
//! The cache is one word per thread plus one word per process. The process word lies on a page the kernel empties in every fork
//! child (`MADV_WIPEONFORK`), raw `clone` included, where no handler of ours would run: a child that finds it empty computes its
//! id again instead of passing for its parent.
//!
//! Where the kernel gives no such page, because a filter of system calls refuses it, the word lies elsewhere and counts only for
//! the process whose PID is in it: that costs a `getpid`. A handler empties it in children made by `fork`, since a child that
//! begins a PID namespace may have its parent's number.
//!
//! Whether an id is the calling process's own is decided from that word alone, so the answer never fails: the process that made
//! the id has computed the word, and a fork child finds it empty or different.
//!
//! A child may have been born into another PID or time namespace, where its ids mean nothing to its parent's peers. So an id is
//! only ever recomputed together with a look at the namespaces, and refused when they have changed.

use super::asymmetric;
use super::owner::{OwnerId, start_bits};
use crate::sys;
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Why this process has no id that means anything to the peers of the segments it has mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It was moved to other namespaces than theirs.
    Moved,
    /// Its identity cannot be determined for now: there is no descriptor, or no memory, to ask with.
    Starved,
}

/// The namespaces this process lives in, as inode numbers; 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) pid: u64,
    pub(crate) time: u64,
}

const UNKNOWN: u64 = u64::MAX;

thread_local! {
    static CACHED: Cell<u64> = const { Cell::new(UNKNOWN) };
}

/// Stands for the page until it is first needed; stays zero.
static NOT_ASKED: AtomicU64 = AtomicU64::new(0);
/// Stands for the page where there is none; stays zero, so that nothing is believed without a look at `BY_PID`.
static NO_PAGE: AtomicU64 = AtomicU64::new(0);
/// The process word where there is no page: believed by the process whose PID it holds.
static BY_PID: AtomicU64 = AtomicU64::new(0);
/// Stands for the page where only the PID is compared; stays zero.
static PID_ONLY: AtomicU64 = AtomicU64::new(0);
/// The word on the wipe-on-fork page: the process half of our ids, and the start time in ticks above it. Zero before the
/// first use and after a fork. Once it leads to the page, or to `NO_PAGE`, it does so for ever.
static PROCESS: AtomicPtr<AtomicU64> = AtomicPtr::new((&raw const NOT_ASKED).cast_mut());
/// The namespaces of the first computation, kept across fork so that a child can compare.
static PID_NAMESPACE: AtomicU64 = AtomicU64::new(0);
static TIME_NAMESPACE: AtomicU64 = AtomicU64::new(0);

#[inline]
fn process_word() -> &'static AtomicU64 {
    // SAFETY: PROCESS holds the address of a static or of a page that is mapped for the life of the process; each holds
    // an AtomicU64. Acquire pairs with the Release in `adopt_page`.
    unsafe { &*PROCESS.load(Ordering::Acquire) }
}

/// Returns the calling thread's id.
#[inline]
pub(crate) fn current() -> Result<OwnerId, Foreign> {
    let cached = CACHED.get();
    // Relaxed: the word is only compared with a value this same thread stored or read before.
    if process_word().load(Ordering::Relaxed) as u32 == (cached >> 32) as u32 {
        return Ok(OwnerId::from_cache(cached));
    }
    compute()
}

/// Tells whether `owner` is the calling thread, or another of its process: false in a fork child of that process. It needs nothing
/// that could be refused.
#[inline]
pub(crate) fn is_current_process(owner: OwnerId) -> bool {
    let home = Home {
        word: process_word(),
        half: owner.process() as u32,
    };
    home.is_here()
}

/// The process word, if it is the calling process's: zero if that has computed none.
fn known() -> u64 {
    let word = process_word();
    if !core::ptr::eq(word, &NO_PAGE) {
        return word.load(Ordering::Relaxed);
    }
    // Relaxed: nothing else is published with the word.
    let word = BY_PID.load(Ordering::Relaxed);
    if OwnerId::pid_of_half(word) == OwnerId::pid_of_half(sys::identity::process_id().into()) {
        word
    } else {
        0
    }
}

/// The process that created this value, so that it can tell later, for one load, whether it still is that one.
#[derive(Clone, Copy)]
pub(crate) struct Home {
    /// The process word, or `PID_ONLY`.
    word: &'static AtomicU64,
    half: u32,
}

impl Home {
    /// The calling process; where it has no id, its PID has to do.
    pub(crate) fn here() -> Self {
        Self::of_caller().unwrap_or_else(|_| Self::by_pid())
    }

    /// The calling process by its PID, without a look at its namespaces: a fork child that begins one may have the same.
    pub(crate) fn by_pid() -> Self {
        Home {
            word: &PID_ONLY,
            half: sys::identity::process_id(),
        }
    }

    /// The calling process, which needs an id.
    pub(crate) fn of_caller() -> Result<Self, Foreign> {
        let half = current()?.process() as u32;
        Ok(Home {
            word: process_word(),
            half,
        })
    }

    /// Whether the calling process is that one: false in a fork child of it.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        // Relaxed: a fork child finds zero or its own half, since the kernel emptied the page before it began.
        self.word.load(Ordering::Relaxed) as u32 == self.half || self.is_here_without_page()
    }

    #[cold]
    fn is_here_without_page(self) -> bool {
        if core::ptr::eq(self.word, &PID_ONLY) {
            return self.half == sys::identity::process_id();
        }
        self.half != 0 && known() as u32 == self.half
    }

    /// Another process.
    #[cfg(all(test, feature = "process"))]
    pub(super) fn elsewhere() -> Self {
        let half = sys::identity::process_id() + 1;
        Home { word: &PID_ONLY, half }
    }
}

#[cold]
fn compute() -> Result<OwnerId, Foreign> {
    let process = ensure_process()? & u64::from(u32::MAX);
    let cached = CACHED.get();
    if cached >> 32 == process {
        return Ok(OwnerId::from_cache(cached)); // There is no page that would have said so at once.
    }
    let id = OwnerId::of_thread(sys::identity::thread_id(), sys::identity::image_nonce(), process);
    CACHED.set(id.word());
    Ok(id)
}

/// Fills the process word if it is empty; one computation serves all threads, so that they agree for ever.
fn ensure_process() -> Result<u64, Foreign> {
    adopt_page();
    let word = match process_word() {
        word if core::ptr::eq(word, &NO_PAGE) => &BY_PID,
        word => word,
    };
    // Relaxed, here and below: nothing else is published with the word. What an ancestor left in it is ignored.
    let before = word.load(Ordering::Relaxed);
    match known() {
        0 => {}
        known => return Ok(known),
    }
    let identity = find_identity()?;
    check_namespaces(&identity)?;
    asymmetric::enlist(); // Without an id no process takes a lock, or takes part in anything.
    let half = OwnerId::process_half(identity.pid, start_bits(identity.start));
    let process = identity.start << 32 | half;
    match word.compare_exchange(before, process, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(process),
        Err(earlier) => Ok(earlier),
    }
}

/// Asks the kernel who this process is; a fork child that has no descriptor to ask with does without its start time.
fn find_identity() -> Result<sys::identity::Identity, Foreign> {
    let has_forebear = PID_NAMESPACE.load(Ordering::Relaxed) != 0;
    match sys::identity::identity() {
        Ok(identity) => Ok(identity),
        Err(_) if has_forebear => Ok(sys::identity::without_descriptors()),
        Err(_) => Err(Foreign::Starved),
    }
}

fn check_namespaces(identity: &sys::identity::Identity) -> Result<(), Foreign> {
    for (kept, now) in [
        (&PID_NAMESPACE, identity.pid_namespace),
        (&TIME_NAMESPACE, identity.time_namespace),
    ] {
        // Relaxed: a single word each, and a fork child reads what its parent wrote before the fork.
        match kept.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {}
            Err(before) if before == now => {}
            Err(_) => return Err(Foreign::Moved),
        }
    }
    Ok(())
}

/// Maps the page at the first call; a refusal is final, so that all threads agree.
fn adopt_page() {
    if !core::ptr::eq(process_word(), &NOT_ASKED) {
        return;
    }
    let word = sys::identity::fork_word().unwrap_or_else(|_| {
        sys::identity::at_fork(forget);
        &NO_PAGE
    });
    let (asked, word) = ((&raw const NOT_ASKED).cast_mut(), (&raw const *word).cast_mut());
    // Release: pairs with the Acquire in `process_word`. If another thread was first, its choice holds.
    let _ = PROCESS.compare_exchange(asked, word, Ordering::Release, Ordering::Relaxed);
}

/// Runs in children made by `fork`.
extern "C" fn forget() {
    BY_PID.store(0, Ordering::Relaxed);
}

/// Returns the namespaces this process computed its id in.
#[allow(dead_code, reason = "models have no namespaces")]
pub(crate) fn namespaces() -> Result<Namespaces, Foreign> {
    ensure_process()?;
    if PID_NAMESPACE.load(Ordering::Relaxed) == 0 {
        // `/proc` may have been mounted since.
        check_namespaces(&find_identity()?)?;
    }
    Ok(Namespaces {
        pid: PID_NAMESPACE.load(Ordering::Relaxed),
        time: TIME_NAMESPACE.load(Ordering::Relaxed),
    })
}

/// Returns this process's start time in ticks, modulo 2^32 (497 days); 0 if unknown.
#[allow(dead_code, reason = "models have no start times")]
pub(crate) fn process_start() -> Result<u64, Foreign> {
    Ok(ensure_process()? >> 32)
}

/// Whether this process is still in the namespaces its id was computed in. Only then do start times compare: `setns` moves
/// a process with one thread to another time namespace at once.
#[cfg(not(procshare_loom))]
pub(crate) fn is_at_home() -> bool {
    // If this is the first thing the process asks, it is computed here.
    let (Ok(kept), Ok(now)) = (namespaces(), sys::identity::identity()) else {
        return false;
    };
    let known = |kept: u64, now: u64| kept == now && now != 0;
    known(kept.pid, now.pid_namespace) && known(kept.time, now.time_namespace)
}
