//! Handles that a copy of this process, made by `Process::fork`, has as copies: left to it by the parent, which drops its own.
//!
//! Copy and parent run at once. What the copy has used or dropped before it was left, it notes for the parent, in words that
//! only the two of them see, and with the seats locked.

use super::seat::Seats;
use crate::primitive::liveness::copy_id;
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, current_owner, is_current_process};
use crate::raw::{NoSeat, RawSeats, Role, Session};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// The words: addresses of seats, which are the same in both processes. 0 is free.
pub(crate) type Notes = Arc<dyn AsRef<[AtomicU64]> + Send + Sync>;

/// A note that the parent has read.
const READ: u64 = 1;

std::thread_local! {
    /// The copy that has what this thread is dropping. Without a destructor: destructors of the thread may fork, and drop.
    static HEIR: ManuallyDrop<RefCell<Option<(OwnerId, Notes)>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// The process that is a copy, and its notes. A copy of that has none.
static OWN: Mutex<Option<(OwnerId, Notes)>> = Mutex::new(None);

/// Copies that this process has made of itself, some of which have ended.
static COPIES: Mutex<Vec<OwnerId>> = Mutex::new(Vec::new());

/// This process has been copied: all its handles are in the copy, also those nobody drops here.
pub(crate) fn copied_to(copy: OwnerId) {
    let mut copies = COPIES.lock();
    if copies.len() == copies.capacity() {
        copies.retain(|copy| copy_id(copy.pid()) == Some(*copy)); // Before more room is made for the living.
    }
    copies.push(copy);
}

/// This process is a copy, and has made none.
pub(crate) fn forget_copies() {
    COPIES.lock().clear();
}

/// Whether a copy of this process that lives has the segment of these seats.
pub(super) fn is_in_a_copy(seats: &Seats) -> bool {
    let peers = seats.peers();
    // A copy made behind this crate's back, where the lock may be held for ever, has joined what it waits at.
    let Some(mut copies) = COPIES.try_lock() else {
        return true;
    };
    while copies.last().is_some_and(|copy| peers.has_left(*copy, false)) {
        copies.pop();
    }
    copies.iter().any(|copy| !peers.has_left(*copy, true))
}

/// Drops what a child has a copy of: the child takes part in its queues from now on, though it has yet to use them.
pub(crate) fn leave_to_child<T>(child: OwnerId, notes: Notes, inheritance: T) {
    struct Restore(Option<(OwnerId, Notes)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HEIR.with(|heir| heir.replace(self.0.take()));
        }
    }
    let _restore = Restore(HEIR.with(|heir| heir.replace(Some((child, notes)))));
    drop(inheritance);
}

/// This process is a copy, and notes what it has done with its handles.
pub(crate) fn inherit(notes: Notes) {
    *OWN.lock() = current_owner().ok().map(|me| (me, notes));
}

/// Leaves a handle to whom this thread is dropping it for, if that is anybody.
pub(super) fn leave_to_heir(seats: &Seats) {
    if let Some((child, notes)) = HEIR.with(|heir| heir.borrow().clone()) {
        // Not where somebody holds the lock for long: then the child is known when it uses the handle.
        let _ = seats.session(Deadline::Now, |session| {
            session.leave_to(child, || is_noted(&notes, seats.raw()));
        });
    }
}

/// Takes a seat for a handle that is a copy of another process's.
pub(super) fn join(seats: &Seats, session: &Session<'_>, role: Role) -> Result<usize, NoSeat> {
    match own_notes() {
        Some(notes) => session.join_inherited(role, || note(&notes, seats.raw())),
        None => session.join(role),
    }
}

/// Gives up a handle that is a copy of another process's and was never used; tells whether sleepers had better look.
pub(super) fn give_up(seats: &Seats) -> bool {
    let settle = |notes: Notes| {
        // Not where somebody holds the lock for long: then it counts until this process ends, or calls `exec`.
        let settled = seats.session(Deadline::Now, |session| session.settle(|| note(&notes, seats.raw())));
        settled.unwrap_or(false)
    };
    own_notes().is_some_and(settle)
}

/// The notes of this process. One that was copied behind this crate's back may find the lock held for ever, and has none.
fn own_notes() -> Option<Notes> {
    let own = OWN.try_lock()?;
    let (_, notes) = own.as_ref().filter(|(process, _)| is_current_process(*process))?;
    Some(notes.clone())
}

fn note(notes: &Notes, seats: &RawSeats) {
    // Relaxed, here and below: the seats' lock orders it. If there is no room it is forgotten.
    let write = |word: &AtomicU64| swap(word, 0, address(seats));
    (**notes).as_ref().iter().any(write);
}

fn is_noted(notes: &Notes, seats: &RawSeats) -> bool {
    (**notes).as_ref().iter().any(|word| swap(word, address(seats), READ))
}

fn swap(word: &AtomicU64, from: u64, to: u64) -> bool {
    word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
}

fn address(seats: &RawSeats) -> u64 {
    core::ptr::from_ref(seats).cast::<u8>().addr() as u64
}
