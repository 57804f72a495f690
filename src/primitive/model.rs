//! Stand-ins for the machine under the model checker: futex, liveness, owner ids, clock.
//!
//! A thread of the model plays a process. It says who it is (`become_owner`) and may be declared dead (`declare_dead`),
//! after which it does nothing more; every sleeper then sees its slice end, as it would within 32 ms.

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

use super::OwnerId;
use core::cell::Cell;
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
    /// Sleepers in order: ticket, address, how the sleep ended.
    asleep: Vec<(u64, usize)>,
    timed_out: Vec<u64>,
    dead: Vec<u32>,
}

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel { state: Mutex::new(KernelState::default()), changed: Condvar::new() };
}

loom::thread_local! {
    static ME: Cell<u32> = Cell::new(0);
}

/// Makes the calling thread play process `pid`.
pub(crate) fn become_owner(pid: u32) {
    ME.with(|me| me.set(pid));
}

/// Declares process `pid` dead; its thread must do nothing more. Ends every sleeper's slice.
pub(crate) fn declare_dead(pid: u32) {
    let mut kernel = lock_kernel();
    kernel.dead.push(pid);
    let asleep: Vec<u64> = kernel.asleep.drain(..).map(|(ticket, _)| ticket).collect();
    kernel.timed_out.extend(asleep);
    KERNEL.changed.notify_all();
}

pub(crate) fn current_owner() -> Result<OwnerId, Foreign> {
    let pid = ME.with(Cell::get);
    assert!(pid != 0, "a model thread must say who it is");
    Ok(OwnerId::pack(pid, 1, pid, 1))
}

pub(crate) fn is_current_process(owner: OwnerId) -> bool {
    current_owner() == Ok(owner)
}

/// Every look at the owner is allowed: the rate limit is a matter of cost.
pub(crate) fn monotonic_millis() -> u64 {
    0
}

/// Answers liveness from what `declare_dead` was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peers;

impl Peers {
    pub(crate) fn is_dead(&self, owner: OwnerId, _look_at_maps: bool) -> bool {
        lock_kernel().dead.contains(&owner.pid())
    }
}

/// No spinning: a model explores the sleep at once. (Yielding here would hide the schedules in which a waiter goes to
/// sleep between two steps of the owner.)
pub(crate) struct Backoff;

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff
    }

    pub(crate) fn spin(&mut self) -> bool {
        false
    }

    pub(crate) fn learn(&self, _while_spinning: bool, _passes: u64) {}
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
    use super::{AtomicU64, Duration, KERNEL, Ordering, OwnerId, Wait, lock_kernel};

    /// Sleeps until woken, or until somebody dies; never by time, so that a lost wake-up shows as a deadlock.
    pub(crate) fn wait(word: &AtomicU64, expected_low: u32, _timeout: Option<Duration>) -> Wait {
        let mut kernel = lock_kernel();
        if word.load(Ordering::Relaxed) as u32 != expected_low {
            return Wait::Changed;
        }
        if OwnerId::in_word(word.load(Ordering::Relaxed)).is_some_and(|owner| kernel.dead.contains(&owner.pid())) {
            return Wait::TimedOut;
        }
        let ticket = kernel.next_ticket;
        kernel.next_ticket += 1;
        kernel.asleep.push((ticket, core::ptr::from_ref(word) as usize));
        loop {
            if let Some(at) = kernel.timed_out.iter().position(|&timed_out| timed_out == ticket) {
                kernel.timed_out.swap_remove(at);
                return Wait::TimedOut;
            }
            if !kernel.asleep.iter().any(|&(asleep, _)| asleep == ticket) {
                return Wait::Woken;
            }
            kernel = match KERNEL.changed.wait(kernel) {
                Ok(kernel) => kernel,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
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
