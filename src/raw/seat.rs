//! What a seat (a participant's slot) says: its owner, and how many handles play which role; and a summary of all seats of a
//! queue. `seats` has the states.

use crate::primitive::{AtomicU64, Ordering, OwnerId, crash_point};

/// What a handle may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has done neither yet, and may still do either.
    Either = 0,
    Producer = 1,
    Consumer = 2,
    Both = 3,
}

impl Role {
    pub(crate) fn from_bits(bits: u64) -> Self {
        [Role::Either, Role::Producer, Role::Consumer, Role::Both][(bits & 3) as usize]
    }

    /// The role of a handle that from now on does `other` as well.
    #[cfg(feature = "messages")]
    pub(crate) fn and(self, other: Role) -> Self {
        Role::from_bits(self as u64 | other as u64)
    }

    fn one(self) -> u64 {
        1 << (COUNT_BITS * self as u32)
    }
}

/// Handles of one process in one role, at most; if there are more, the count is kept for as long as the process lives.
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const COUNT_BITS: u32 = 16;

/// `[ both:16 | consumer:16 | producer:16 | either:16 ]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts(pub(super) u64);

impl Counts {
    pub(super) fn of(self, role: Role) -> u64 {
        self.0 >> (COUNT_BITS * role as u32) & COUNT
    }

    /// A count that has reached its maximum stays there: the process is taken to have the role for as long as it lives.
    pub(super) fn with(self, role: Role) -> Self {
        Counts(if self.of(role) < COUNT {
            self.0 + role.one()
        } else {
            self.0
        })
    }

    pub(super) fn without(self, role: Role) -> Self {
        Counts(match self.of(role) {
            0 | COUNT => self.0,
            _ => self.0 - role.one(),
        })
    }

    /// Whether a handle here has that role, or may come to have it.
    pub(super) fn may(self, role: Role) -> bool {
        self.how_many_may(role) > 0
    }

    pub(super) fn how_many_may(self, role: Role) -> u64 {
        [Role::Either, role, Role::Both].map(|role| self.of(role)).iter().sum()
    }
}

/// The number of an inheritance (`inheritance.rs`). No ticket has it.
pub(super) const INHERITED: u16 = u16::MAX;

/// A free seat, a process's seat, or a ticket.
#[repr(C)]
pub(crate) struct RawSeat {
    /// The process, as an owner whose thread part is the ticket's number, and 0 for a seat; without an image if the process has
    /// not attached yet. 0 is free.
    pub(super) owner: AtomicU64,
    /// 0 is free as well.
    pub(super) counts: AtomicU64,
}

impl RawSeat {
    /// Owner and counts, if the seat is taken.
    pub(super) fn read(&self) -> Option<(OwnerId, Counts)> {
        let owner = self.owner()?;
        // Acquire, twice: pairs with the Release in `take`, `recount` and `give`, so that what a process did before it left,
        // or gave up one of its roles, is seen.
        let counts = Counts(self.counts.load(Ordering::Acquire));
        (counts != Counts(0)).then_some((owner, counts))
    }

    pub(super) fn owner(&self) -> Option<OwnerId> {
        OwnerId::in_word(self.owner.load(Ordering::Acquire))
    }

    /// Takes a free seat. The caller holds the lock (S1).
    pub(super) fn take(&self, owner: OwnerId, counts: Counts) {
        // Release, here and below: pairs with the Acquire in `read`. A former owner must not be seen with new counts.
        self.owner.store(0, Ordering::Release);
        self.counts.store(counts.0, Ordering::Release);
        crash_point!("seat.counted");
        self.owner.store(owner.word(), Ordering::Release);
        crash_point!("seat.taken");
    }

    /// Changes the counts, even if others change them meanwhile; they are those of the caller's process.
    pub(super) fn recount(&self, change: impl Fn(Counts) -> Counts) -> Counts {
        let mut counts = self.counts.load(Ordering::Relaxed);
        loop {
            let changed = change(Counts(counts));
            // Release: pairs with the Acquire in `read`.
            match self
                .counts
                .compare_exchange(counts, changed.0, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return changed,
                Err(now) => counts = now,
            }
        }
    }

    /// Gives the seat, with what it counts, to another owner, unless it is no longer `from`'s.
    pub(super) fn give(&self, from: OwnerId, to: u64) {
        // Release: pairs with the Acquire in `read`.
        let _ = self
            .owner
            .compare_exchange(from.word(), to, Ordering::Release, Ordering::Relaxed);
    }

    pub(super) fn free(&self, from: OwnerId) {
        self.give(from, 0);
        crash_point!("seat.freed");
    }
}

/// `[ changes:32 | used:16 | missing:16 ]`: how often seats have changed, how many have ever been taken, and one bit for each
/// role that nobody is left to play, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary(pub(super) u64);

impl Summary {
    pub(super) fn used(self) -> usize {
        (self.0 >> 16 & 0xffff) as usize
    }

    pub(super) fn is_missing(self, role: Role) -> bool {
        self.0 & 1 << role as u32 != 0
    }

    /// After one more change, with these roles missing.
    pub(super) fn changed(self, missing: u64) -> Self {
        Summary((self.0 >> 32).wrapping_add(1) << 32 | self.0 & 0xffff_0000 | missing)
    }

    pub(super) fn with_used(self, used: usize) -> Self {
        Summary(self.0 & !0xffff_0000 | (used as u64) << 16)
    }
}
