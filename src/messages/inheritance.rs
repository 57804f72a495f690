//! Handles that a copy of this process, made by `Process::fork`, inherits: the parent leaves them to it and drops its own.
//!
//! Copy and parent run at the same time. If the copy uses or drops a handle before the parent has left it, the copy notes that
//! for the parent, in words that only the two of them see, and with the seats locked.

use super::seats::Seats;
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
    /// The copy that inherits what this thread is dropping. It has no destructor: destructors of the thread may fork, and drop.
    static HEIR: ManuallyDrop<RefCell<Option<(OwnerId, Notes)>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// This process, if it is a copy, and its notes. A copy of the copy has none.
static OWN: Mutex<Option<(OwnerId, Notes)>> = Mutex::new(None);

/// The copies that this process has made of itself, some of which may have ended.
static COPIES: Mutex<Vec<OwnerId>> = Mutex::new(Vec::new());

/// Notes that this process was copied: the copy has all its handles, even those that are never dropped here.
pub(crate) fn copied_to(copy: OwnerId) {
    let mut copies = COPIES.lock();
    if copies.len() == copies.capacity() {
        copies.retain(|copy| copy_id(copy.pid()) == Some(*copy)); // Dead copies make room before the list grows.
    }
    copies.push(copy);
}

/// Clears the list in a process that is itself a copy, and has made none.
pub(crate) fn forget_copies() {
    COPIES.lock().clear();
}

/// Whether a living copy of this process has the segment of these seats.
pub(super) fn is_in_a_copy(seats: &Seats) -> bool {
    let peers = seats.peers();
    // In a copy made by a `fork` outside this crate the lock may be held for ever; it has joined what it waits at.
    let Some(mut copies) = COPIES.try_lock() else {
        return true;
    };
    while copies.last().is_some_and(|copy| peers.has_left(*copy, false)) {
        copies.pop();
    }
    copies.iter().any(|copy| !peers.has_left(*copy, true))
}

/// Drops what a child has a copy of: the child takes part in its queues from now on, even before it uses them.
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

/// Makes this process, which is a copy, note what it does with its handles.
pub(crate) fn inherit(notes: Notes) {
    *OWN.lock() = current_owner().ok().map(|me| (me, notes));
}

/// Leaves a handle to the child for which this thread is dropping it, if there is one.
pub(super) fn leave_to_heir(seats: &Seats) {
    if let Some((child, notes)) = HEIR.with(|heir| heir.borrow().clone()) {
        // Skipped if the lock is held for long: the child then becomes known when it uses the handle.
        let _ = seats.session(Deadline::Now, |session| {
            session.leave_to(child, || is_noted(&notes, seats.raw()));
        });
    }
}

/// Takes a seat for a handle that was copied from another process.
pub(super) fn join(seats: &Seats, session: &Session<'_>, role: Role) -> Result<usize, NoSeat> {
    match own_notes() {
        Some(notes) => session.join_inherited(role, || note(&notes, seats.raw())),
        None => session.join(role),
    }
}

/// Gives up a handle copied from another process and never used; tells whether sleepers should look again.
pub(super) fn give_up(seats: &Seats) -> bool {
    let settle = |notes: Notes| {
        // Skipped if the lock is held for long: the handle then counts until this process ends, or calls `exec`.
        let settled = seats.session(Deadline::Now, |session| session.settle(|| note(&notes, seats.raw())));
        settled.unwrap_or(false)
    };
    own_notes().is_some_and(settle)
}

/// The notes of this process. A copy made by a `fork` outside this crate may find the lock held for ever, and has none.
fn own_notes() -> Option<Notes> {
    let own = OWN.try_lock()?;
    let (_, notes) = own.as_ref().filter(|(process, _)| is_current_process(*process))?;
    Some(notes.clone())
}

fn note(notes: &Notes, seats: &RawSeats) {
    // Relaxed, here and below: the seats' lock orders it. If there is no room, the note is lost.
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
