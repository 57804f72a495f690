//! Who we are, cached so that a lock pays three loads for it.
//!
//! The cache is one word per thread plus one word per process. The process word lies on a page the kernel empties in
//! every fork child (`MADV_WIPEONFORK`), raw `clone` included, where no handler of ours would run: a child that finds
//! it empty computes its id anew instead of passing for its parent.
//!
//! A child may have been born into another PID or time namespace, where its ids mean nothing to its parent's peers.
//! So an id is computed anew only together with a look at the namespaces, and refused when they have changed.

use super::asymmetric;
use super::owner::{OwnerId, start_bits};
use crate::sys;
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// This process's ids mean nothing to the peers of the segments it has mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign;

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

/// Stands in for the page until that is mapped; stays zero.
static NO_PAGE: AtomicU64 = AtomicU64::new(0);
/// The word on the wipe-on-fork page: the process half of our ids, and the start time in ticks above it. Zero before the
/// first use and after a fork.
static PROCESS: AtomicPtr<AtomicU64> = AtomicPtr::new((&raw const NO_PAGE).cast_mut());
/// The namespaces of the first computation, kept across fork so that a child can compare.
static PID_NAMESPACE: AtomicU64 = AtomicU64::new(0);
static TIME_NAMESPACE: AtomicU64 = AtomicU64::new(0);

#[inline]
fn process_word() -> &'static AtomicU64 {
    // SAFETY: PROCESS holds the address of NO_PAGE or of a page that is mapped for the life of the process; both hold
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

/// Tells whether `owner` is the calling thread, or another of its process: false in a fork child of that.
#[inline]
pub(crate) fn is_current_process(owner: OwnerId) -> bool {
    // Relaxed: a fork child finds zero or its own half, since the kernel emptied the page before it began. Zero stands
    // there too where there was no memory for the page; then the id must be computed.
    process_word().load(Ordering::Relaxed) as u32 == owner.process() as u32
        || current().is_ok_and(|me| me.process() == owner.process())
}

/// The process that asked for it, so that it can tell later at the price of one load whether it still is that one.
#[derive(Clone, Copy)]
pub(crate) struct Home {
    word: &'static AtomicU64,
    half: u32,
}

impl Home {
    /// The calling process.
    pub(crate) fn of_caller() -> Result<Self, Foreign> {
        let half = current()?.process() as u32;
        Ok(Home {
            word: process_word(),
            half,
        })
    }

    /// Whether the calling process is the one: false in a fork child of it.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        // Relaxed: as in `is_current_process`.
        self.word.load(Ordering::Relaxed) as u32 == self.half || self.is_here_without_page()
    }

    #[cold]
    fn is_here_without_page(self) -> bool {
        current().is_ok_and(|me| me.process() as u32 == self.half)
    }
}

#[cold]
fn compute() -> Result<OwnerId, Foreign> {
    let process = ensure_process()? & u64::from(u32::MAX);
    let id = OwnerId::of_thread(sys::identity::thread_id(), sys::identity::image_nonce(), process);
    CACHED.set(id.word());
    Ok(id)
}

/// Fills the process word if it is empty; one computation serves all threads, so that they agree for ever.
fn ensure_process() -> Result<u64, Foreign> {
    let word = adopt_page();
    // Relaxed, here and below: the word is all there is to know.
    if let Some(known) = word
        .map(|word| word.load(Ordering::Relaxed))
        .filter(|known| *known != 0)
    {
        return Ok(known);
    }
    let identity = sys::identity::identity();
    check_namespaces(&identity)?;
    asymmetric::enlist(); // Nobody takes a lock, or part in anything, without an id.
    let half = OwnerId::process_half(identity.pid, start_bits(identity.start));
    let process = identity.start << 32 | half;
    // Without a page (no memory for one) nothing may be cached: every call comes here and computes.
    match word.map(|word| word.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed)) {
        None | Some(Ok(_)) => Ok(process),
        Some(Err(earlier)) => Ok(earlier),
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
            Err(_) => return Err(Foreign),
        }
    }
    Ok(())
}

/// The process word on its page, mapping the page at the first call.
fn adopt_page() -> Option<&'static AtomicU64> {
    if !core::ptr::eq(process_word(), &NO_PAGE) {
        return Some(process_word());
    }
    let page = sys::identity::fork_word().ok()?;
    // Release: pairs with the Acquire in `process_word`.
    PROCESS.store((&raw const *page).cast_mut(), Ordering::Release);
    Some(page)
}

/// Returns the namespaces this process computed its id in.
#[allow(dead_code, reason = "models have no namespaces")]
pub(crate) fn namespaces() -> Result<Namespaces, Foreign> {
    ensure_process()?;
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
    let now = sys::identity::identity();
    // Relaxed: single words that are written once.
    let known = |kept: &AtomicU64, now: u64| kept.load(Ordering::Relaxed) == now && now != 0;
    known(&PID_NAMESPACE, now.pid_namespace) && known(&TIME_NAMESPACE, now.time_namespace)
}
