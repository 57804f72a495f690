//! Stand-ins for the machine under the model checker: futex, liveness, owner ids, clock.
//!
//! A thread of the model plays a process. It says which one (`become_owner`) and may be declared dead (`declare_dead`), after
//! which it does nothing more. Every sleeper then sees its slice end, as it would within some milliseconds, and so do those that
//! go to sleep later, a few times at each place. Slices end for no other reason, so that a lost wake-up shows as a deadlock.

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

use super::OwnerId;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use loom::sync::{Condvar, Mutex};

/// Namespaces do not change under the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign;

/// The futex queue and the dead, in one lock: the model's kernel.
struct Kernel {
    state: Mutex<KernelState>,
    changed: Condvar,
}

#[derive(Default)]
struct KernelState {
    next_ticket: u64,
    /// Sleepers in order: ticket, address.
    asleep: Vec<(u64, usize)>,
    dead: Vec<u32>,
    /// How many slices have ended so far, for each thread at each place.
    slices: u64,
}

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel { state: Mutex::new(KernelState::default()), changed: Condvar::new() };
}

loom::thread_local! {
    static ME: Cell<u32> = Cell::new(0);
    /// Where this thread has slept, and how many slices have ended there.
    static ENDED: RefCell<Vec<(usize, u64)>> = RefCell::new(Vec::new());
}

/// Makes the calling thread play process `pid`.
pub(crate) fn become_owner(pid: u32) {
    ME.with(|me| me.set(pid));
}

/// Declares process `pid` dead; its thread must do nothing more.
pub(crate) fn declare_dead(pid: u32) {
    lock_kernel().dead.push(pid);
    pass_time();
}

/// Ends the slice of every sleeper, and the next slices of threads not asleep now.
pub(crate) fn pass_time() {
    // One may end just when the word has moved, and then nobody asks who is dead; the next one does.
    lock_kernel().slices += 2;
    KERNEL.changed.notify_all();
}

pub(crate) fn current_owner() -> Result<OwnerId, Foreign> {
    let pid = ME.with(Cell::get);
    assert!(pid != 0, "a model thread must call become_owner first");
    Ok(OwnerId::pack(pid, 1, pid, 1))
}

pub(crate) fn is_current_process(owner: OwnerId) -> bool {
    current_owner() == Ok(owner)
}

/// Answers liveness from what `declare_dead` was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peers;

impl Peers {
    pub(crate) fn is_dead(&self, owner: OwnerId, _look_at_maps: bool) -> bool {
        lock_kernel().dead.contains(&owner.pid())
    }

    pub(crate) fn has_left(&self, process: OwnerId, look_at_maps: bool) -> bool {
        self.is_dead(process, look_at_maps)
    }
}

/// Both sides fence: this stands for what the kernel does for the light side.
pub(crate) mod asymmetric {
    use super::{Ordering, fence};

    pub(crate) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy() {
        fence(Ordering::SeqCst);
    }
}

/// What a call spins for.
#[derive(Clone, Copy)]
pub(crate) enum Policy {
    Lock,
    Messages,
}

/// No spinning: a model explores the sleep at once. (Yielding here would hide the schedules in which a waiter goes to
/// sleep between two steps of the owner.)
pub(crate) struct Spin;

impl Spin {
    pub(crate) fn new(_policy: Policy) -> Self {
        Spin
    }

    pub(crate) fn woken_in_vain(&mut self) {}

    pub(crate) fn turn(&mut self, _seen: u64, _word: impl Fn() -> u64) -> bool {
        false
    }

    pub(crate) fn learn_of_lock(&self, _slept: bool, _passes: u64) {}

    pub(crate) fn learn_of_messages(&self, _asleep: Duration, _found: u64, _capacity: u64) {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Woken,
    Changed,
    TimedOut,
}

fn lock_kernel() -> loom::sync::MutexGuard<'static, KernelState> {
    match KERNEL.state.lock() {
        Ok(kernel) => kernel,
        Err(poisoned) => poisoned.into_inner(),
    }
}

pub(crate) mod futex {
    use super::{AtomicU64, Duration, ENDED, KERNEL, KernelState, Ordering, OwnerId, Wait, lock_kernel};

    /// Sleeps until woken, or until time passes; it never passes by itself.
    pub(crate) fn wait(word: &AtomicU64, expected_low: u32, _timeout: Option<Duration>) -> Wait {
        let mut kernel = lock_kernel();
        let now = word.load(Ordering::Relaxed);
        if now as u32 != expected_low {
            return Wait::Changed;
        }
        // A thread that waits for the dead must not sleep for good, though it may have asked before on another wait.
        if OwnerId::in_word(now).is_some_and(|owner| kernel.dead.contains(&owner.pid())) {
            return Wait::TimedOut;
        }
        let address = core::ptr::from_ref(word) as usize;
        let ticket = kernel.next_ticket;
        kernel.next_ticket += 1;
        kernel.asleep.push((ticket, address));
        loop {
            let Some(at) = kernel.asleep.iter().position(|&(asleep, _)| asleep == ticket) else {
                return Wait::Woken;
            };
            if slice_ends(&kernel, address) {
                kernel.asleep.remove(at);
                return Wait::TimedOut;
            }
            kernel = match KERNEL.changed.wait(kernel) {
                Ok(kernel) => kernel,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
    }

    /// Whether more slices have ended than this thread has seen at `address`.
    fn slice_ends(kernel: &KernelState, address: usize) -> bool {
        ENDED.with(|ended| {
            let mut ended = ended.borrow_mut();
            let at = ended.iter().position(|&(place, _)| place == address);
            let at = at.unwrap_or_else(|| {
                ended.push((address, 0));
                ended.len() - 1
            });
            let ends = ended[at].1 < kernel.slices;
            ended[at].1 += u64::from(ends);
            ends
        })
    }

    pub(crate) fn wake(word: &AtomicU64, count: u32) {
        let mut kernel = lock_kernel();
        for _ in 0..count {
            let Some(at) = kernel
                .asleep
                .iter()
                .position(|&(_, address)| address == core::ptr::from_ref(word) as usize)
            else {
                break;
            };
            kernel.asleep.remove(at);
        }
        KERNEL.changed.notify_all();
    }
}
