//! How many references to shared bytes in place (loans) this process has out: a copy of the process would have them too.
//!
//! Each thread counts its own. What a thread has not taken back when it ends, because it leaked it or gave it to another, goes to
//! the common count. So the sum is right for a thread that knows it is the only one.

use core::cell::Cell;
use core::sync::atomic::{AtomicIsize, Ordering};

/// The loans of threads that have ended; a loan that one thread made and another took back counts with both.
static ENDED: AtomicIsize = AtomicIsize::new(0);

struct Own(Cell<isize>);

impl Drop for Own {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `loans`.
        ENDED.fetch_add(self.0.get(), Ordering::Release);
    }
}

thread_local! {
    static OWN: Own = const { Own(Cell::new(0)) };
}

/// Counts as one loan until it drops; for ever, if it is leaked.
pub(crate) struct Loan(());

impl Loan {
    #[inline]
    pub(crate) fn new() -> Self {
        count(1);
        Loan(())
    }
}

impl Drop for Loan {
    #[inline]
    fn drop(&mut self) {
        count(-1);
    }
}

#[inline]
fn count(change: isize) {
    let counted = OWN.try_with(|own| own.0.set(own.0.get().wrapping_add(change)));
    if counted.is_err() {
        count_late(change);
    }
}

/// For a thread that runs the last of its destructors.
#[cold]
fn count_late(change: isize) {
    ENDED.fetch_add(change, Ordering::Release);
}

/// Returns how many loans are out. The calling thread must be the only one.
pub(crate) fn loans() -> usize {
    let own = OWN.try_with(|own| own.0.get()).unwrap_or(0);
    // Acquire: pairs with the Release of threads that have ended.
    let all = ENDED.load(Ordering::Acquire).wrapping_add(own);
    usize::try_from(all).unwrap_or(0)
}
