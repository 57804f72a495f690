//! `Engine`: the parent's side of a pool, without what its thread does (`thread`).
//!
//! Submitting a job posts it if a slot is free; otherwise it waits in the backlog, from which the thread posts. Nothing here waits
//! for a lock that a worker could hold: there is none.

use super::group::{Group, Part};
use super::handover::Counter;
use super::job::{Job, Packed};
use super::job_error::JobError;
use super::memory::{Memory, Shape};
use super::progress::{Progress, Watch};
use super::state::{Delivery, Phase, State, Unaware, deliver, fail, give_up};
use super::timeline::Timeline;
use super::worker::{Setup, word};
use crate::error::{Error, Result};
use crate::primitive::{Home, Ordering};
use crate::process::handle::Process;
use crate::segment::os_error;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{clock, event, socket};
use crate::travel::Descriptor;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Starts a worker.
pub(super) type Hire = Box<dyn Fn(Setup) -> Result<Process<Result<()>>> + Send + Sync>;

pub(super) struct Engine {
    pub(super) memory: Memory,
    pub(super) bell: Arc<OwnedFd>,
    pub(super) home: Home,
    /// Dropped with the last worker: a copy of this process may wait for that.
    pub(super) hire: Mutex<Option<Arc<Hire>>>,
    budget: Option<u64>,
    pub(super) timed: bool,
    /// When the pool was made, in nanoseconds of the monotonic clock.
    pub(super) zero: u64,
    pub(super) state: Mutex<State>,
    /// Notified when the last worker has gone.
    pub(super) empty: Condvar,
    pub(super) watch: Mutex<Option<Watch>>,
    /// The pool's thread, see `thread`.
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    /// Held by each thread that helps the pool's own.
    pub(super) helpers: Arc<()>,
}

impl Engine {
    /// A pool's parent side, before its workers are started.
    pub(super) fn new(memory: Memory, hire: Hire, budget: Option<u64>, timed: bool) -> Result<Self> {
        let home = Home::of_caller().map_err(|_| {
            let message = "this process was moved to another PID or time namespace";
            Error::new(crate::error::ErrorKind::ForeignNamespace, message)
        })?;
        let bell = event::new().map_err(|error| os_error("eventfd", error))?;
        let (slots, workers) = (memory.shape().slots as usize, memory.shape().workers as usize);
        let state = State {
            phase: Phase::Open,
            free: (0..slots).rev().collect(),
            posted: (0..slots).map(|_| None).collect(),
            extents: (0..slots).map(|_| None).collect(),
            doomed: Vec::new(),
            again: VecDeque::new(),
            backlog: BTreeMap::new(),
            next_in_backlog: 0,
            hiring: vec![false; workers],
            seats: (0..workers).map(|_| None).collect(),
            misfires: 0,
            hire_after: None,
            progress: Progress::default(),
            prompt: 0,
            unaware: Unaware::No,
            bars: Vec::new(),
            is_gone: false,
            runs: false,
            paused: false,
            unreported: false,
            kept: (0..workers).map(|_| None).collect(),
            counters: (0..workers).map(|_| None).collect(),
            trash: Vec::new(),
        };
        Ok(Engine {
            memory,
            bell: Arc::new(bell),
            home,
            hire: Mutex::new(Some(Arc::new(hire))),
            budget,
            timed,
            zero: clock::monotonic_nanos(),
            state: Mutex::new(state),
            empty: Condvar::new(),
            watch: Mutex::new(None),
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

    /// Starts a worker for every seat that has none.
    pub(super) fn start_workers(&self) -> Result<()> {
        for seat in 0..self.memory.shape().workers as usize {
            self.start_worker(seat)?;
        }
        Ok(())
    }

    pub(super) fn start_worker(&self, seat: usize) -> Result<()> {
        let (own, theirs) = socket::pair().map_err(|error| os_error("socketpair", error))?;
        let setup = Setup {
            segment: self.memory.segment().clone(),
            shape: self.memory.shape(),
            spill: Descriptor(self.memory.spill().clone()),
            bell: Descriptor(self.bell.clone()),
            seat: seat as u32,
            desk: Descriptor(Arc::new(theirs)),
            budget: self.budget,
            timed: self.timed,
        };
        let Some(hire) = self.hire.lock().clone() else {
            return Ok(());
        };
        let process = hire(setup)?;
        let mut state = self.state.lock();
        if let Phase::Over(_) = state.phase {
            let _ = process.kill(); // It came too late to be killed with the others.
        }
        event!(debug, seat, worker = process.id(), "worker started");
        state.progress.started += 1;
        state.seats[seat] = Some(process);
        state.counters[seat] = Some(Counter::new(own));
        Ok(())
    }

    /// Sends jobs, and gives those that cannot travel their errors.
    pub(super) fn submit(&self, group: &Arc<Group>, packed: Packed) {
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        let number = state.progress.submitted;
        let submitted = packed.items();
        state.progress.submitted += submitted as u64;
        if group.is_prompt() {
            state.prompt += submitted;
        }
        for (place, error) in packed.refused {
            deliveries.push(fail(&mut state, group.clone(), place, 1, error));
            state.unreported = true;
        }
        let refused = match &state.phase {
            Phase::Open => None,
            Phase::Closed => Some(JobError::Closed),
            Phase::Over(error) => Some(error.clone()),
        };
        for mut job in packed.jobs {
            job.number = number + (job.first - packed.first) as u64;
            match &refused {
                Some(error) => give_up(&mut state, job, error.clone(), &mut deliveries),
                None => state.put_back(job),
            }
        }
        self.post_jobs(&mut state, &mut deliveries);
        self.unlock_and_tell(state, |unaware| unaware == Unaware::Asleep || group.is_prompt());
        deliver(deliveries);
    }

    /// Wakes the thread, if it sleeps unaware of news that `matters` says it should know.
    fn unlock_and_tell(&self, mut state: MutexGuard<'_, State>, matters: impl FnOnce(Unaware) -> bool) {
        let must_tell = state.unaware != Unaware::No && matters(state.unaware) || state.unreported;
        if must_tell {
            state.unaware = Unaware::No;
        }
        // There may no longer be a thread to drop it.
        let trash = if state.is_gone {
            core::mem::take(&mut state.trash)
        } else {
            Vec::new()
        };
        drop(state);
        drop(trash);
        if must_tell {
            self.tell_thread();
        }
    }

    pub(super) fn tell_thread(&self) {
        // It fails if the counter is full, and then the thread is already due to wake.
        let _ = event::signal(self.bell.as_fd());
    }

    /// Posts as many waiting jobs as there is room for, and wakes workers for them.
    pub(super) fn post_jobs(&self, state: &mut State, deliveries: &mut Vec<Delivery>) {
        let board = self.memory.board();
        let mut posted = 0;
        while let Some(&slot) = state.again.front() {
            if board.post(slot).is_err() {
                break;
            }
            state.again.pop_front();
            posted += 1;
        }
        while state.again.is_empty() && !state.backlog.is_empty() {
            let Some(slot) = state.free.pop() else { break };
            let Some((_, mut job)) = state.backlog.pop_first() else {
                break;
            };
            let bytes = core::mem::take(&mut job.bytes);
            if let Err(error) = self.write(state, slot, &job, &bytes) {
                state.free.push(slot);
                self.memory.punch_job(slot);
                let text = format!("arguments of {} bytes: {error}", bytes.len());
                give_up(state, job, JobError::OutOfMemory(text), deliveries);
                continue;
            }
            state.posted[slot] = Some(job);
            match board.post(slot) {
                Ok(()) => posted += 1,
                Err(_) => state.again.push_back(slot),
            }
        }
        for _ in 0..posted {
            if !board.wake_one() {
                break;
            }
        }
    }

    /// Writes a job into a free slot.
    fn write(&self, state: &mut State, slot: usize, job: &Job, bytes: &[u8]) -> std::io::Result<()> {
        let board = self.memory.board();
        let words = board.slot(slot);
        for (at, value) in [
            (word::FUNCTION, job.function),
            (word::ITEMS, job.items as u64),
            (word::BYTES, bytes.len() as u64),
            (word::HEAD, job.head as u64),
            (word::EXTENT, job.extent.as_ref().map_or(0, |extent| extent.number())),
        ] {
            words.job[at].store(value, Ordering::Relaxed); // Relaxed: posting the slot publishes it.
        }
        self.reset(state, slot, job);
        self.memory.write_job(slot, bytes)
    }

    /// Cancels the items of a group that no worker has begun; returns whether that was all of them.
    pub(super) fn cancel(&self, group: &Arc<Group>) -> bool {
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        for place in group.take_places() {
            if let Some(job) = state.backlog.remove(&place) {
                give_up(&mut state, job, JobError::Cancelled, &mut deliveries);
            }
        }
        for slot in 0..state.posted.len() {
            let is_ours = state.posted[slot]
                .as_ref()
                .is_some_and(|job| Arc::ptr_eq(&job.group, group));
            if is_ours && self.withdraw(&mut state, slot) {
                if let Some(job) = state.posted[slot].take() {
                    give_up(&mut state, job, JobError::Cancelled, &mut deliveries);
                    self.release(&mut state, slot);
                }
            }
        }
        self.post_jobs(&mut state, &mut deliveries);
        // A closed pool may have nothing left now.
        self.unlock_and_tell(state, |_| true);
        let is_cancelled = |delivery: &&Delivery| {
            matches!(
                &delivery.part,
                Part::Failure {
                    error: JobError::Cancelled,
                    ..
                }
            )
        };
        let cancelled: usize = deliveries
            .iter()
            .filter(is_cancelled)
            .map(|delivery| delivery.items)
            .sum();
        let all = cancelled > 0 && group.is_untouched_but(cancelled);
        deliver(deliveries);
        all
    }

    /// Takes a slot's job back, unless a worker has it.
    fn withdraw(&self, state: &mut State, slot: usize) -> bool {
        let waiting = state.again.iter().position(|again| *again == slot);
        match waiting {
            Some(place) => {
                state.again.remove(place);
                true
            }
            None => self.memory.board().cancel(slot),
        }
    }

    /// How far the jobs are; all zero in a copy of the pool's process.
    pub(super) fn progress(&self) -> Progress {
        if !self.home.is_here() {
            return Progress::default();
        }
        let state = self.state.lock();
        let board = self.memory.board();
        let is_running =
            |slot: &usize| state.posted[*slot].is_some() && board.worker_of(*slot).is_some() && !board.is_done(*slot);
        let mut progress = state.progress;
        progress.running = (0..state.posted.len()).filter(is_running).count() as u64;
        progress.workers = state.seats.iter().flatten().count() as u64;
        progress
    }

    pub(super) fn watch(&self, watch: Watch) {
        if self.home.is_here() {
            let before = self.watch.lock().replace(watch);
            drop(before); // Unlocked: dropping what it holds may run any code.
        }
    }

    pub(super) fn timeline(&self) -> Timeline {
        let bars = if self.home.is_here() {
            self.state.lock().bars.clone()
        } else {
            Vec::new()
        };
        Timeline::of_pool(bars, self.shape().workers as usize, self.zero)
    }

    pub(super) fn shape(&self) -> Shape {
        self.memory.shape()
    }

    /// The process ids of the workers.
    pub(super) fn workers(&self) -> Vec<u32> {
        if !self.home.is_here() {
            return Vec::new();
        }
        self.state.lock().seats.iter().flatten().map(Process::id).collect()
    }

    /// Accepts no more jobs.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if let Phase::Open = state.phase {
            event!(debug, left = state.progress.left(), "pool closed");
            state.phase = Phase::Closed;
        }
        drop(state);
        self.tell_thread();
    }

    /// Ends the workers and all jobs.
    pub(super) fn terminate(&self, reason: JobError) {
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        self.give_all_up(&mut state, reason, &mut deliveries);
        drop(state);
        self.tell_thread();
        deliver(deliveries);
    }

    pub(super) fn give_all_up(&self, state: &mut State, reason: JobError, deliveries: &mut Vec<Delivery>) {
        self.collect(state, deliveries);
        for process in state.seats.iter().flatten() {
            let _ = process.kill(); // One that cannot be killed ends with this process.
        }
        let backlog = core::mem::take(&mut state.backlog);
        let posted: Vec<Job> = state.posted.iter_mut().filter_map(Option::take).collect();
        state.again.clear();
        let extents = posted.iter().filter_map(|job| job.extent.clone());
        state.doomed.extend(extents);
        for job in backlog.into_values().chain(posted) {
            give_up(state, job, reason.clone(), deliveries);
        }
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
