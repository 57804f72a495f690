//! `RawWorkQueue`: a slot table and a ring: one process posts jobs, others take them, with no lock to die with.
//!
//! A job lies in a slot. The poster, which is a pool's parent, writes it, gives the slot the next position, and moves `tail` past
//! that; workers take positions in order, each by one compare-exchange on the slot's own word, which also says which worker has it.
//! So a job is with its poster, or open to any worker, or with one worker, and never in between.
//!
//! | state of a slot | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | free | the poster, which alone knows it | ready | the workers end with the poster |
//! | ready at a position | a worker, by compare-exchange | taken by it | a job taken by a dead worker, see below |
//! | | the poster, by compare-exchange | free: cancelled | |
//! | taken by a worker | that worker, when the results are whole | done by it | the poster, told of its death by the kernel, finds the slot by the worker's number, takes what results there are, and posts the rest again |
//! | done by a worker | the poster, when it has the results | free | |
//!
//! | word | moved by | says | if that party dies there |
//! |---|---|---|---|
//! | `tail` | the poster | positions given out | |
//! | `head` | a caller that finds its position taken, by compare-exchange | none below it is ready | the next to look moves it |
//! | `done` bits | a worker, after its slot | slots to look at | the poster looks at all slots of a dead worker |
//! | a worker's sleep word | the worker: asleep; the poster: awake | whether to wake it | the poster wakes another |
//! | `wake_below` | the poster: when to wake it; a worker: 0 | whether to wake the poster | the poster is woken by the worker's death |
//!
//! # Invariants
//!
//! - C1. The words and bytes of a job are whole before its slot is ready, and its results before it is done.
//! - C2. A position's place in `ring` is overwritten only once `head` has passed it.
//! - C3. A worker says that it sleeps before it looks for a job the last time, and the poster looks for sleepers after it has
//!   posted: one of them sees the other (each has a full fence in between). The same holds for the poster's sleep and the
//!   workers' `done` bits.

use crate::primitive::{AtomicU64, Ordering, Padded, Wait, crash_point, fence, futex};

/// Words of `done`, and so a limit for the slots. Models have few slots, and look at each word.
pub(crate) const DONE_WORDS: usize = if cfg!(procshare_loom) { 1 } else { 128 };
/// Most slots a work queue can have.
pub(crate) const MOST_SLOTS: usize = 64 * DONE_WORDS;
/// Most workers a work queue can have, each with some jobs ahead; a state has room for their numbers.
pub(crate) const MOST_WORKERS: usize = MOST_SLOTS / 4;

pub(super) const READY: u64 = 1;
pub(super) const TAKEN: u64 = 2;
pub(super) const DONE: u64 = 3;

pub(super) const AWAKE: u64 = 0;
pub(super) const ASLEEP: u64 = 1;

/// The words of a work queue before those of its workers, ring and slots. All zeros is an empty one.
#[repr(C)]
pub(crate) struct WorkQueueWords {
    pub(super) front: Padded<Front>,
    pub(super) head: Padded<AtomicU64>,
    /// 0 while the poster is awake; otherwise n + 1, and it is woken once no more than n jobs are ready.
    pub(super) wake_below: Padded<AtomicU64>,
    pub(super) done: Padded<[AtomicU64; DONE_WORDS]>,
}

#[repr(C)]
pub(super) struct Front {
    pub(super) tail: AtomicU64,
    /// Not zero once nothing will be posted any more.
    pub(super) closing: AtomicU64,
}

/// The words of one slot.
#[repr(C, align(64))]
pub(crate) struct RawSlot {
    /// `[ position:40 | worker:16 | phase:8 ]`; zero is free.
    pub(super) state: AtomicU64,
    pub(crate) job: JobWords,
    /// How far the worker is: how many items it has begun, and two words for the bytes of its results.
    pub(crate) begun: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) flushed: AtomicU64,
    /// When the item under way was begun, if that is wanted.
    pub(crate) begun_at: AtomicU64,
    /// How many of its results are failures.
    pub(crate) failed: AtomicU64,
    /// How many bytes of long results lie elsewhere.
    pub(crate) long: AtomicU64,
}

/// What describes a slot's job: written by the poster while the slot is free, but for `settled`.
#[repr(C)]
pub(crate) struct JobWords {
    /// The offset of its function in the program.
    pub(crate) function: AtomicU64,
    /// How many items it has, and how many of those have already ended.
    pub(crate) items: AtomicU64,
    pub(crate) skip: AtomicU64,
    /// The number of its bytes, and how many of those form the table of what travels with it.
    pub(crate) bytes: AtomicU64,
    pub(crate) table: AtomicU64,
    /// How far its worker is with what travels with it: 0, `RELEASED` or `JOINED`, stored by the worker.
    pub(crate) settled: AtomicU64,
    /// The numbers of the extents for its long items and for its long results; 0 is none.
    pub(crate) items_extent: AtomicU64,
    pub(crate) results_extent: AtomicU64,
}

/// The worker has released what the job before brought along.
pub(crate) const RELEASED: u64 = 1;
/// The worker has all of the job's arguments, and takes part in the queues among them.
pub(crate) const JOINED: u64 = 2;

#[cfg(not(procshare_loom))]
const _: () = assert!(size_of::<WorkQueueWords>() == (3 + DONE_WORDS / 8) * 64 && size_of::<RawSlot>() == 2 * 64);

/// A work queue whose words lie in these places.
#[derive(Clone, Copy)]
pub(crate) struct RawWorkQueue<'a> {
    pub(super) words: &'a WorkQueueWords,
    /// One for each worker.
    pub(super) sleepers: &'a [Padded<AtomicU64>],
    /// One for each slot.
    pub(super) ring: &'a [AtomicU64],
    pub(super) slots: &'a [RawSlot],
}

/// There is no room for another position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

pub(super) fn state(position: u64, worker: usize, phase: u64) -> u64 {
    position << 24 | (worker as u64) << 8 | phase
}

fn phase_of(state: u64) -> u64 {
    state & 0xff
}

fn worker_of(state: u64) -> usize {
    (state >> 8 & 0xffff) as usize
}

impl<'a> RawWorkQueue<'a> {
    /// A work queue of as many workers as there are `sleepers`, and as many slots as `ring` and `slots` have.
    pub(crate) fn new(
        words: &'a WorkQueueWords,
        sleepers: &'a [Padded<AtomicU64>],
        ring: &'a [AtomicU64],
        slots: &'a [RawSlot],
    ) -> Self {
        debug_assert!(ring.len() == slots.len() && slots.len() <= MOST_SLOTS && sleepers.len() <= MOST_WORKERS);
        RawWorkQueue {
            words,
            sleepers,
            ring,
            slots,
        }
    }

    #[cfg(procshare_loom)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    #[cfg(procshare_loom)]
    pub(super) fn workers(&self) -> usize {
        self.sleepers.len()
    }

    pub(crate) fn slot(&self, at: usize) -> &'a RawSlot {
        &self.slots[at]
    }

    pub(super) fn place(&self, position: u64) -> &'a AtomicU64 {
        &self.ring[(position % self.ring.len() as u64) as usize]
    }

    /// Moves `head` on past positions that are not ready, and tells where it stands.
    pub(super) fn pass(&self) -> u64 {
        loop {
            let head = self.words.head.load(Ordering::Acquire);
            // Acquire: pairs with the Release in `post`, so that the position's place and slot are seen.
            let tail = self.words.front.tail.load(Ordering::Acquire);
            if head == tail || self.ready_at(head).is_some() {
                return head;
            }
            self.pass_one(head, tail);
        }
    }

    pub(super) fn pass_one(&self, head: u64, tail: u64) {
        let len = self.ring.len() as u64;
        let next = if tail.wrapping_sub(head) > len {
            // Overwritten words, which need not be walked through one by one: nothing so far back can be ready (C2).
            tail.wrapping_sub(len)
        } else {
            head.wrapping_add(1)
        };
        // Release: pairs with the Acquire of the poster in `pass` (C2). If this fails, another has moved it.
        let _ = self
            .words
            .head
            .compare_exchange(head, next, Ordering::Release, Ordering::Relaxed);
    }

    /// The slot that is ready at that position.
    pub(super) fn ready_at(&self, position: u64) -> Option<usize> {
        // Relaxed: ordered by `tail`. If it was overwritten meanwhile, no slot there is ready at this position (C2).
        let at = self.place(position).load(Ordering::Relaxed) as usize;
        let slot = self.slots.get(at)?;
        (slot.state.load(Ordering::Relaxed) == state(position, 0, READY)).then_some(at)
    }

    /// Posts a free slot's job. Only the poster calls this.
    ///
    /// # Errors
    /// [`Full`] if too many positions lie between the first that is ready and this one.
    pub(crate) fn post(&self, at: usize) -> Result<(), Full> {
        // Relaxed: this is the only process that moves it.
        let position = self.words.front.tail.load(Ordering::Relaxed);
        if position.wrapping_sub(self.words.head.load(Ordering::Acquire)) >= self.ring.len() as u64
            && position.wrapping_sub(self.pass()) >= self.ring.len() as u64
        {
            return Err(Full);
        }
        // Relaxed, both: published by `tail`.
        self.place(position).store(at as u64, Ordering::Relaxed);
        self.slots[at].state.store(state(position, 0, READY), Ordering::Relaxed);
        crash_point!("pool.ready");
        // Release: pairs with the Acquire in `claim` (C1).
        self.words.front.tail.store(position.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// How many positions may be ready, as a hint.
    pub(crate) fn unclaimed(&self) -> u64 {
        let head = self.words.head.load(Ordering::Relaxed);
        self.words.front.tail.load(Ordering::Relaxed).saturating_sub(head)
    }

    /// Whether a job is ready.
    pub(crate) fn has_ready(&self) -> bool {
        self.pass() != self.words.front.tail.load(Ordering::Relaxed)
    }

    /// Takes back a slot that no worker has claimed.
    pub(crate) fn cancel(&self, at: usize) -> bool {
        let slot = &self.slots[at];
        let found = slot.state.load(Ordering::Relaxed);
        // Relaxed: no other process has written anything.
        phase_of(found) == READY
            && slot
                .state
                .compare_exchange(found, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Takes the first job that is ready.
    pub(crate) fn claim(&self, worker: usize) -> Option<usize> {
        loop {
            let head = self.words.head.load(Ordering::Acquire);
            // Acquire: pairs with the Release in `post` (C1).
            let tail = self.words.front.tail.load(Ordering::Acquire);
            if head == tail {
                return None;
            }
            let Some(at) = self.ready_at(head) else {
                self.pass_one(head, tail);
                continue;
            };
            let (ready, taken) = (state(head, 0, READY), state(head, worker, TAKEN));
            // Relaxed: `tail` has ordered what was written before (C1).
            let claimed = self.slots[at]
                .state
                .compare_exchange(ready, taken, Ordering::Relaxed, Ordering::Relaxed);
            if claimed.is_ok() {
                crash_point!("pool.claimed");
                self.pass_one(head, tail);
                return Some(at);
            }
        }
    }

    /// Says that a claimed slot's results are whole; tells whether its poster has to be woken.
    #[must_use]
    pub(crate) fn finish(&self, at: usize) -> bool {
        let slot = &self.slots[at];
        let taken = slot.state.load(Ordering::Relaxed); // Relaxed: this worker's own store.
        crash_point!("pool.finishing");
        // Release: pairs with the Acquire in `is_done` (C1).
        slot.state.store(taken & !0xff | DONE, Ordering::Release);
        crash_point!("pool.finished");
        // Release: the process that takes the bit sees the state.
        self.words.done[at / 64].fetch_or(1 << (at % 64), Ordering::Release);
        crash_point!("pool.told");
        fence(Ordering::SeqCst); // C3; its partner is in `begin_sleep`.
        self.must_wake()
    }

    /// The words that have bits of slots.
    fn done_words(&self) -> &'a [AtomicU64] {
        &self.words.done[..self.slots.len().div_ceil(64)]
    }

    /// Whether no slot was reported done since the last time.
    fn is_quiet(&self) -> bool {
        self.done_words().iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Whether a worker that finds nothing to do has to wake the poster: waking was not worth it while there were positions
    /// ahead, and those have turned out to be cancelled.
    #[must_use]
    pub(crate) fn is_overdue(&self) -> bool {
        fence(Ordering::SeqCst); // C3; its partner is in `begin_sleep`.
        !self.is_quiet() && self.must_wake()
    }

    pub(super) fn must_wake(&self) -> bool {
        let below = self.words.wake_below.load(Ordering::Relaxed);
        below != AWAKE
            && self.unclaimed() < below
            && self
                .words
                .wake_below
                .compare_exchange(below, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Calls `each` with every slot that was reported done since the last time. Only the poster calls this.
    pub(crate) fn collect(&self, mut each: impl FnMut(usize)) {
        for (number, word) in self.done_words().iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire: pairs with the Release in `finish`.
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                let at = number * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if at < self.slots.len() && self.is_done(at) {
                    each(at);
                }
            }
        }
    }

    /// Whether a slot's results are whole. A bit may outlive the job it was set for.
    pub(crate) fn is_done(&self, at: usize) -> bool {
        // Acquire: pairs with the Release in `finish` (C1).
        phase_of(self.slots[at].state.load(Ordering::Acquire)) == DONE
    }

    /// The worker that has or had the slot's job; `None` if no worker has taken it.
    pub(crate) fn worker_of(&self, at: usize) -> Option<usize> {
        let found = self.slots[at].state.load(Ordering::Acquire);
        matches!(phase_of(found), TAKEN | DONE)
            .then(|| worker_of(found))
            .filter(|worker| *worker < self.sleepers.len())
    }

    /// Frees a slot that is done, or whose worker is dead.
    pub(crate) fn free(&self, at: usize) {
        self.slots[at].state.store(0, Ordering::Relaxed); // Relaxed: only the poster moves a free slot.
    }

    /// Whether nothing will be posted any more.
    pub(crate) fn is_closing(&self) -> bool {
        // Acquire: pairs with the Release in `close`: a process that sees it sees all that was posted before.
        self.words.front.closing.load(Ordering::Acquire) != 0
    }

    /// Tells workers to leave once they find nothing to do.
    pub(crate) fn close(&self) {
        // Release: pairs with the Acquire in `is_closing`.
        self.words.front.closing.store(1, Ordering::Release);
        self.wake_all();
    }

    /// Sleeps until this worker is woken, unless there is something to do.
    pub(crate) fn sleep(&self, worker: usize) {
        let sleeper = &self.sleepers[worker];
        // Release: pairs with the Acquire in `is_asleep`; everything else is ordered by the fence.
        sleeper.store(ASLEEP, Ordering::Release);
        crash_point!("pool.asleep");
        fence(Ordering::SeqCst); // C3; its partner is in `wake_one`.
        // Not only for what is ready: a position that was cancelled may hide results (`is_overdue`).
        if self.unclaimed() != 0 || self.is_closing() {
            sleeper.store(AWAKE, Ordering::Relaxed);
            return;
        }
        while sleeper.load(Ordering::Relaxed) == ASLEEP {
            if futex::wait(sleeper, ASLEEP as u32, None) == Wait::Changed {
                break;
            }
        }
        crash_point!("pool.awake");
    }

    /// Wakes a worker that sleeps, after a job was posted; false if none does.
    pub(crate) fn wake_one(&self) -> bool {
        fence(Ordering::SeqCst); // C3; its partner is in `sleep`.
        self.sleepers.iter().any(|sleeper| self.wake(sleeper))
    }

    /// Wakes all workers that sleep.
    pub(crate) fn wake_all(&self) {
        fence(Ordering::SeqCst); // C3; its partner is in `sleep`.
        for sleeper in self.sleepers {
            self.wake(sleeper);
        }
    }

    /// Whether that worker sleeps, or is about to.
    pub(crate) fn is_asleep(&self, worker: usize) -> bool {
        // Acquire: pairs with the Release in `sleep`.
        self.sleepers[worker].load(Ordering::Acquire) == ASLEEP
    }

    /// Whether a worker sleeps that nobody has woken yet.
    pub(crate) fn has_sleeper(&self) -> bool {
        self.sleepers
            .iter()
            .any(|sleeper| sleeper.load(Ordering::Relaxed) == ASLEEP)
    }

    pub(super) fn wake(&self, sleeper: &AtomicU64) -> bool {
        // Relaxed: the futex orders sleeper and waker.
        if sleeper.load(Ordering::Relaxed) != ASLEEP {
            return false;
        }
        let woken = sleeper.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
        if woken.is_ok() {
            futex::wake(sleeper, 1);
        }
        woken.is_ok()
    }

    /// Makes a dead worker's sleep word ready for the next worker.
    pub(crate) fn reset_worker(&self, worker: usize) {
        self.sleepers[worker].store(AWAKE, Ordering::Relaxed); // Relaxed: the next begins after this.
    }

    /// Asks to be woken by a worker that finishes a job while at most `few` are ready; false if one has finished already: the
    /// poster is then awake. Only the poster calls this.
    #[must_use]
    pub(crate) fn begin_sleep(&self, few: u64) -> bool {
        self.words.wake_below.store(few.saturating_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst); // C3; its partner is in `finish`.
        if !self.is_quiet() && (few == u64::MAX || self.unclaimed() <= few) {
            self.end_sleep();
            return false;
        }
        true
    }

    /// Marks the poster as awake.
    pub(crate) fn end_sleep(&self) {
        self.words.wake_below.store(AWAKE, Ordering::Relaxed); // Relaxed: a worker that still sees it wakes us in vain.
    }
}

#[cfg(procshare_loom)]
impl WorkQueueWords {
    pub(crate) fn new() -> Self {
        WorkQueueWords {
            front: Padded(Front {
                tail: AtomicU64::new(0),
                closing: AtomicU64::new(0),
            }),
            head: Padded(AtomicU64::new(0)),
            wake_below: Padded(AtomicU64::new(AWAKE)),
            done: Padded(core::array::from_fn(|_| AtomicU64::new(0))),
        }
    }
}

#[cfg(procshare_loom)]
impl RawSlot {
    pub(crate) fn new() -> Self {
        let word = || AtomicU64::new(0);
        RawSlot {
            state: word(),
            job: JobWords {
                function: word(),
                items: word(),
                skip: word(),
                bytes: word(),
                table: word(),
                settled: word(),
                items_extent: word(),
                results_extent: word(),
            },
            begun: word(),
            written: word(),
            flushed: word(),
            begun_at: word(),
            failed: word(),
            long: word(),
        }
    }
}
