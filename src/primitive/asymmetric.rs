//! A pair of fences of which the frequent one is free.
//!
//! A process that stores a message and then looks for sleepers, and one that announces its sleep and then looks for messages, each
//! need a full fence between the two steps, or both may miss the other. A full fence costs more than the rest of a message. So the
//! side that is about to sleep, and pays for a system call anyway, has the kernel fence every running thread of every process that
//! has enlisted, and the other side only keeps the compiler from reordering.
//!
//! Where the kernel has no such call, both sides fence. Where only the sleeper lacks it (a filter of system calls), a
//! wake-up may come late by one slice of its sleep.

use crate::sys::barrier;
use core::sync::atomic::{AtomicU8, Ordering, compiler_fence, fence};

const UNKNOWN: u8 = 0;
const ENLISTED: u8 = 1;
const ALONE: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Asks the kernel to include this process; called before the first [`light`], which is otherwise a full fence.
///
/// The kernel has been asked already, before the program's `main` (`sys::barrier`): here it costs nothing.
#[cold]
pub(crate) fn enlist() {
    // Relaxed, here and below: the state decides which side fences, and orders nothing itself.
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        let state = if barrier::enlist() { ENLISTED } else { ALONE };
        STATE.store(state, Ordering::Relaxed);
    }
}

/// The frequent side: orders what was stored before against what is loaded after, as [`heavy`] sees it.
#[inline]
pub(crate) fn light() {
    if STATE.load(Ordering::Relaxed) == ENLISTED {
        compiler_fence(Ordering::SeqCst);
    } else {
        // SeqCst: a store followed by a load of another word; nothing weaker orders those.
        fence(Ordering::SeqCst);
    }
}

/// The rare side.
#[cold]
pub(crate) fn heavy() {
    // SeqCst: as in `light`, whose fence this is where the kernel does not reach.
    fence(Ordering::SeqCst);
    barrier::everywhere();
}
