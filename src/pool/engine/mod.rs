//! `Engine`: the parent's side of a pool, which ties its jobs to its workers; `thread` is the loop that does so.
//!
//! Submitting a job posts it if a slot is free; otherwise the thread posts it later.
//!
//! # Invariants
//!
//! - K1. The pool's memory has no lock that a worker could hold. Giving up seats may take the lock of a queue's seats, for a
//!   moment: a helper thread does that, or the caller if there is none.
//! - K2. While the state is locked, no process is waited for, and no code of the program runs except subscribers of `tracing`:
//!   callers are told, attachments are dropped, workers are started and requests are answered once it is unlocked.
//! - K3. Whatever the thread has to do while it sleeps is told to it: `sleep` says what it does not look for by itself.
//! - K4. As long as the pool has workers, it has a thread, or one that is to be resumed: without one, it is terminated.

mod thread;

use super::extent::Extents;
use super::group::{Delivery, Group};
use super::job::Packed;
use super::job_error::JobError;
use super::jobs::Jobs;
use super::memory::{Memory, Shape};
use super::progress::{Hook, Progress};
use super::timeline::Timeline;
use super::workers::{Launcher, Workers};
use crate::error::Result;
use crate::primitive::Home;
use crate::segment::{foreign_self, os_error};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{clock, event};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::thread::JoinHandle;

enum Phase {
    Open,
    /// What was already submitted still runs to its end.
    Closed,
    /// Nothing more is done, for this reason.
    Over(JobError),
}

/// What the thread does not look for by itself, while it sleeps (K3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// It will look soon.
    Awake,
    /// Anything.
    Unlimited,
    /// Jobs that are waited for one by one: it lets finished jobs gather.
    Gathering,
}

struct State {
    phase: Phase,
    jobs: Jobs,
    workers: Workers,
    sleep: Sleep,
    /// The thread exists, and handles all events.
    runs: bool,
    /// The thread must end although it still has work to do.
    paused: bool,
    /// The thread has finished all its work.
    is_gone: bool,
}

impl State {
    fn needs_workers(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Closed => self.jobs.left() > 0,
            Phase::Over(_) => false,
        }
    }

    fn is_over(&self) -> bool {
        !self.needs_workers() && self.workers.count() == 0
    }

    /// Whether all workers are there that should be.
    fn is_complete(&self) -> bool {
        !self.needs_workers() || self.workers.are_complete()
    }

    /// Numbers for which a worker is to be started now.
    fn vacant(&self) -> Vec<usize> {
        if self.needs_workers() {
            self.workers.vacant()
        } else {
            Vec::new()
        }
    }
}

pub(super) struct Engine {
    memory: Memory,
    /// Wakes the thread.
    wakeup: Arc<OwnedFd>,
    home: Home,
    launcher: Launcher,
    /// When the pool was made, in nanoseconds of the monotonic clock.
    zero: u64,
    state: Mutex<State>,
    /// Notified when the last worker has gone.
    empty: Condvar,
    hook: Mutex<Option<Hook>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held by each thread that helps the pool's own.
    helpers: Arc<()>,
}

impl Engine {
    /// A pool's parent side, before its workers are started.
    pub(super) fn new(memory: Memory, launcher: Launcher, timed: bool) -> Result<Self> {
        let home = Home::of_caller().map_err(foreign_self)?;
        let wakeup = event::new().map_err(|error| os_error("eventfd", error))?;
        let zero = clock::monotonic_nanos();
        let state = State {
            phase: Phase::Open,
            jobs: Jobs::new(memory.shape(), timed, zero),
            workers: Workers::new(memory.shape().workers as usize),
            sleep: Sleep::Awake,
            runs: false,
            paused: false,
            is_gone: false,
        };
        Ok(Engine {
            memory,
            wakeup: Arc::new(wakeup),
            home,
            launcher,
            zero,
            state: Mutex::new(state),
            empty: Condvar::new(),
            hook: Mutex::new(None),
            thread: Mutex::new(None),
            helpers: Arc::new(()),
        })
    }

    /// Refuses a process that was forked from the pool's process.
    pub(super) fn check_home(&self) -> Result<(), JobError> {
        if self.home.is_here() {
            Ok(())
        } else {
            Err(JobError::ForeignProcess)
        }
    }

    pub(super) fn shape(&self) -> Shape {
        self.memory.shape()
    }

    pub(super) fn extents(&self) -> &Arc<Extents> {
        self.memory.extents()
    }

    /// Starts all workers.
    pub(super) fn start_workers(&self) -> Result<()> {
        (0..self.shape().workers as usize).try_for_each(|number| self.start_worker(number))
    }

    fn start_worker(&self, number: usize) -> Result<()> {
        let Some((worker, responder)) = self.launcher.launch(&self.memory, &self.wakeup, number)? else {
            return Ok(());
        };
        let mut state = self.state.lock();
        if let Phase::Over(_) = state.phase {
            let _ = worker.kill(); // It came too late to be killed with the others.
        }
        state.workers.add(number, worker, responder);
        Ok(())
    }

    /// Sends jobs, and gives those that cannot travel their errors.
    pub(super) fn submit(&self, group: &Arc<Group>, packed: Packed) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let refused = match &state.phase {
            Phase::Open => None,
            Phase::Closed => Some(&JobError::Closed),
            Phase::Over(error) => Some(error),
        };
        state.jobs.submit(group, packed, refused);
        state.jobs.post(&self.memory);
        self.unlock_and_deliver(guard, |sleep| sleep == Sleep::Unlimited || group.is_prompt());
    }

    /// Cancels the items of a group that no worker has begun; returns whether that was all of them.
    pub(super) fn cancel(&self, group: &Arc<Group>) -> bool {
        let mut state = self.state.lock();
        let cancelled = state.jobs.cancel(&self.memory, group);
        state.jobs.post(&self.memory);
        let all = cancelled > 0 && group.is_untouched_but(cancelled);
        // A closed pool may have nothing left now.
        self.unlock_and_deliver(state, |_| true);
        all
    }

    /// Makes the deliveries, and wakes the thread, if it sleeps and `matters` says that it should know.
    fn unlock_and_deliver(&self, mut state: MutexGuard<'_, State>, matters: impl FnOnce(Sleep) -> bool) {
        let deliveries = state.jobs.take_deliveries();
        let must_tell = state.sleep != Sleep::Awake && matters(state.sleep) || state.jobs.has_news();
        if must_tell {
            state.sleep = Sleep::Awake;
        }
        // There may no longer be a thread to drop it.
        let unneeded = if state.is_gone {
            state.jobs.take_unneeded()
        } else {
            Vec::new()
        };
        drop(state);
        drop(unneeded);
        if must_tell {
            self.tell_thread();
        }
        deliveries.into_iter().for_each(Delivery::deliver);
    }

    fn tell_thread(&self) {
        // It fails if the counter is full, and then the thread is already due to wake.
        let _ = event::signal(self.wakeup.as_fd());
    }

    /// How far the jobs are; all zero in a copy of the pool's process.
    pub(super) fn progress(&self) -> Progress {
        if !self.home.is_here() {
            return Progress::default();
        }
        let state = self.state.lock();
        Progress {
            workers: state.workers.count() as u64,
            started: state.workers.started(),
            ..state.jobs.progress(&self.memory)
        }
    }

    pub(super) fn set_hook(&self, hook: Hook) {
        if self.home.is_here() {
            let before = self.hook.lock().replace(hook);
            drop(before); // Unlocked: dropping what it holds may run any code.
        }
    }

    pub(super) fn timeline(&self) -> Timeline {
        let bars = if self.home.is_here() {
            self.state.lock().jobs.bars()
        } else {
            Vec::new()
        };
        Timeline::of_pool(bars, self.shape().workers as usize, self.zero)
    }

    /// The process ids of the workers.
    pub(super) fn workers(&self) -> Vec<u32> {
        if !self.home.is_here() {
            return Vec::new();
        }
        self.state.lock().workers.process_ids()
    }

    /// Accepts no more jobs.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if let Phase::Open = state.phase {
            event!(debug, left = state.jobs.left(), "pool closed");
            state.phase = Phase::Closed;
        }
        drop(state);
        self.tell_thread();
    }

    /// Ends the workers and all jobs.
    pub(super) fn terminate(&self, reason: JobError) {
        let mut state = self.state.lock();
        self.give_all_up(&mut state, reason);
        let deliveries = state.jobs.take_deliveries();
        drop(state);
        self.tell_thread();
        deliveries.into_iter().for_each(Delivery::deliver);
    }

    /// Takes the results that are there; returns of how many jobs.
    fn collect(&self, state: &mut State) -> usize {
        let id_of = |number| state.workers.id_of(&self.memory, number);
        state.jobs.collect(&self.memory, id_of)
    }

    fn give_all_up(&self, state: &mut State, reason: JobError) {
        self.collect(state);
        state.workers.kill(); // First: otherwise they would begin jobs that are given up meanwhile.
        state.jobs.give_all_up(&reason);
        if !matches!(state.phase, Phase::Over(_)) {
            state.phase = Phase::Over(reason);
        }
    }

    /// Waits until the last worker has gone.
    pub(super) fn wait_until_empty(&self) {
        let mut state = self.state.lock();
        while !state.is_gone {
            self.empty.wait(&mut state);
        }
    }
}
