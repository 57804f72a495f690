//! `Engine`: the parent's side of a pool. A thread of its own hears of finished jobs and dead workers.
//!
//! Whoever submits a job posts it, if a slot is free; else it waits in the backlog, from which the thread posts. Nothing
//! here waits for a lock that a worker could hold: there is none.

use super::group::{Group, Part};
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
use crate::process::transfer::{Descriptor, Luggage};
use crate::segment::os_error;
use crate::sys::map::{AsFd, OwnedFd};
use crate::sys::{clock, event, spawn};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// While jobs are out, the thread looks so often whether one is ready that nobody takes: the worker that was woken for it
/// may have been stopped.
const TICK: Duration = Duration::from_millis(20);
/// After so many ticks without news they become longer, or end if no jobs are out.
const TICKS: u32 = 50;
const LONG_TICK: Duration = Duration::from_millis(200);
/// How long the thread sleeps at most while it lets finished jobs gather.
const GATHER: Duration = Duration::from_millis(1);
/// How long the end of a pool waits for workers that are just being started.
const LATE: Duration = Duration::from_secs(2);

/// Starts a worker.
pub(super) type Hire = Box<dyn Fn(Setup) -> Result<Process<Result<()>>> + Send + Sync>;

pub(super) struct Engine {
    pub(super) memory: Memory,
    bell: Arc<OwnedFd>,
    home: Home,
    /// Given up with the last worker: a copy of this process may wait for it to be dropped.
    hire: Mutex<Option<Arc<Hire>>>,
    budget: Option<u64>,
    pub(super) timed: bool,
    /// When the pool was made, in nanoseconds of the monotonic clock.
    pub(super) zero: u64,
    state: Mutex<State>,
    /// The last worker has gone.
    empty: Condvar,
    watch: Mutex<Option<Watch>>,
}

impl Engine {
    /// A pool's parent side; its workers are yet to be started.
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
            unreported: false,
            kept: (0..workers).map(|_| None).collect(),
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
        })
    }

    /// Refuses a process that was forked from the pool's.
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

    fn start_worker(&self, seat: usize) -> Result<()> {
        let setup = Setup {
            segment: self.memory.segment().clone(),
            shape: self.memory.shape(),
            spill: Descriptor(self.memory.spill().clone()),
            bell: Descriptor(self.bell.clone()),
            seat: seat as u32,
            poster: std::process::id(),
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
        Ok(())
    }

    /// Sends jobs on their way, and gives those that cannot travel their errors.
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

    /// Wakes the thread, if it sleeps unaware of what has happened in a way that matters.
    fn unlock_and_tell(&self, mut state: MutexGuard<'_, State>, matters: impl FnOnce(Unaware) -> bool) {
        let must_tell = state.unaware != Unaware::No && matters(state.unaware) || state.unreported;
        if must_tell {
            state.unaware = Unaware::No;
        }
        // There may be no thread any more to drop it.
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

    fn tell_thread(&self) {
        // It fails if the counter is full, and then the thread knows already.
        let _ = event::signal(self.bell.as_fd());
    }

    /// Posts as many waiting jobs as there is room for, and wakes workers for them.
    fn post_jobs(&self, state: &mut State, deliveries: &mut Vec<Delivery>) {
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
            if let Err(error) = self.write(slot, &job, &bytes) {
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
    fn write(&self, slot: usize, job: &Job, bytes: &[u8]) -> std::io::Result<()> {
        let board = self.memory.board();
        let words = board.slot(slot);
        for (at, value) in [
            (word::FUNCTION, job.function),
            (word::ITEMS, job.items as u64),
            (word::BYTES, bytes.len() as u64),
            (word::HEAD, job.head as u64),
        ] {
            words.job[at].store(value, Ordering::Relaxed); // Relaxed: posting the slot publishes it.
        }
        self.reset(slot, job);
        self.memory.write_job(slot, bytes)
    }

    /// Cancels what nobody has begun of a group; tells whether that was all.
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

    /// Takes a slot's job back, unless somebody has it.
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

    /// How far the jobs are; nothing in a copy of the pool's process.
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
            drop(before); // Unlocked: what it holds may be anything.
        }
    }

    pub(super) fn timeline(&self) -> Timeline {
        let bars = if self.home.is_here() {
            self.state.lock().bars.clone()
        } else {
            Vec::new()
        };
        Timeline::new(bars, self.shape().workers as usize)
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

    /// Takes no jobs any more.
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

    /// The thread's life. If what it calls panics, which it guards against where it calls users, nobody waits for it for
    /// ever.
    pub(super) fn run_to_the_end(self: &Arc<Self>) {
        if catch_unwind(AssertUnwindSafe(|| self.run())).is_ok() {
            return;
        }
        self.terminate(JobError::Terminated);
        let mut state = self.state.lock();
        state.seats.iter_mut().for_each(|seat| drop(seat.take()));
        state.is_gone = true;
        drop(state);
        drop(self.hire.lock().take());
        self.empty.notify_all();
    }

    /// The thread's work: until the pool is closed or terminated, and the last worker gone.
    fn run(self: &Arc<Self>) {
        let mut idle_ticks = 0;
        let mut collected = 0;
        let mut over_since = None;
        loop {
            let (ended, is_idle) = self.sleep(collected, idle_ticks);
            let mut deliveries = vec![];
            let mut state = self.state.lock();
            state.unaware = Unaware::No;
            collected = self.collect(&mut state, &mut deliveries);
            self.bury(&mut state, &ended, &mut deliveries);
            self.post_jobs(&mut state, &mut deliveries);
            let left_over = self.wake_for_leftovers();
            self.let_go(&state);
            self.let_segments_go(&mut state);
            let trash = core::mem::take(&mut state.trash);
            let unreported = core::mem::take(&mut state.unreported);
            let vacant = state.vacant();
            if state.is_over() {
                over_since.get_or_insert_with(Instant::now);
            }
            // A worker that is just being started is waited for, but not where that takes for ever.
            let is_late = |since: Instant| since.elapsed() > LATE;
            let over = state.is_over() && (!state.hiring.contains(&true) || over_since.is_some_and(is_late));
            vacant.iter().for_each(|seat| state.hiring[*seat] = true);
            let is_complete = state.is_complete() && over_since.is_none();
            drop(state);
            let news = unreported || !deliveries.is_empty();
            deliver(deliveries);
            let_go_of(trash);
            if news {
                self.report();
            }
            self.fill(vacant);
            if over {
                // It may hold a handle of the pool.
                let last = (self.watch.lock().take(), self.hire.lock().take());
                drop(last); // Unlocked, as above.
                self.state.lock().is_gone = true;
                self.empty.notify_all();
                return;
            }
            let nothing_new = is_idle && !news && !left_over && is_complete;
            idle_ticks = if nothing_new { idle_ticks + 1 } else { 0 };
        }
    }

    /// Sleeps until there is news; returns the seats of workers that have ended, and whether the time passed.
    fn sleep(&self, collected: usize, idle_ticks: u32) -> (Vec<usize>, bool) {
        let board = self.memory.board();
        let mut state = self.state.lock();
        let gathers = collected >= 4 && state.prompt == 0 && !state.backlog.is_empty();
        let (few, limit) = if gathers {
            state.unaware = Unaware::Gathering;
            (state.posted.len() as u64 / 4, Some(GATHER))
        } else if idle_ticks < TICKS {
            (u64::MAX, Some(TICK))
        } else if state.progress.left() > 0 {
            // A worker may have been stopped between two steps of telling that it is done.
            (u64::MAX, Some(LONG_TICK))
        } else {
            state.unaware = Unaware::Asleep;
            (u64::MAX, None)
        };
        let (pidfds, ended_already) = state.descriptors();
        drop(state);
        // With news already, this only looks who has ended.
        let must_look = !ended_already.is_empty() || !board.doze(few);
        let limit = if must_look { Some(Duration::ZERO) } else { limit };
        let bell = [self.bell.as_fd()];
        let fds: Vec<_> = bell
            .into_iter()
            .chain(pidfds.iter().map(|(_, fd)| fd.as_fd()))
            .collect();
        let Ok(ready) = spawn::wait_any(&fds, limit) else {
            // As for a process without a right to so many descriptors: whoever may have ended is asked, now and then.
            clock::sleep(limit.unwrap_or(LONG_TICK).min(TICK));
            board.rouse();
            return (
                pidfds.iter().map(|(seat, _)| *seat).chain(ended_already).collect(),
                false,
            );
        };
        board.rouse();
        if ready.first() == Some(&true) {
            let _ = event::drain(self.bell.as_fd()); // Drained or not, the thread looks at everything.
        }
        let seats = pidfds.iter().zip(ready.iter().skip(1));
        let ended = seats.filter(|(_, ready)| **ready).map(|((seat, _), _)| *seat);
        let is_idle = !must_look && !ready.contains(&true);
        (ended.chain(ended_already).collect(), is_idle)
    }

    /// Starts workers for seats that have none, in a thread of its own: a server that makes them may have been stopped.
    fn fill(self: &Arc<Self>, seats: Vec<usize>) {
        if seats.is_empty() {
            return;
        }
        let start = {
            let (engine, seats) = (self.clone(), seats.clone());
            move || engine.replace(&seats)
        };
        let thread = thread::Builder::new().name("procshare-hire".to_owned());
        if thread.spawn(start).is_err() {
            self.replace(&seats);
        }
    }

    /// Starts workers, until one cannot be started.
    fn replace(&self, seats: &[usize]) {
        let failed = seats.iter().find_map(|seat| self.start_worker(*seat).err());
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        for seat in seats {
            state.hiring[*seat] = false;
        }
        if let Some(error) = failed {
            self.note_misfire(&mut state, error.to_string(), &mut deliveries);
        }
        drop(state);
        self.tell_thread(); // It is to hear of the new workers' ends too.
        deliver(deliveries);
    }

    /// Wakes a worker for jobs that are ready while workers sleep: one that was woken may have been stopped, or killed.
    /// Tells whether there are such jobs.
    fn wake_for_leftovers(&self) -> bool {
        let board = self.memory.board();
        board.has_sleeper() && board.has_ready() && board.wake_one()
    }

    /// Lets go of what workers no longer hold: one that sleeps holds nothing, one that has gone on what its job brought.
    fn let_segments_go(&self, state: &mut State) {
        let board = self.memory.board();
        for seat in (0..state.kept.len())
            .filter(|seat| state.kept[*seat].is_some())
            .collect::<Vec<_>>()
        {
            let has_gone_on = |slot: usize| {
                // Acquire: pairs with the Release in `Worker::run`.
                let settled = board.slot(slot).job[word::SETTLED].load(Ordering::Acquire) != 0;
                settled && state.posted[slot].is_some() && board.worker_of(slot) == Some(seat)
            };
            if board.is_asleep(seat) || (0..state.posted.len()).any(has_gone_on) {
                state.keep(seat, None);
            }
        }
    }

    /// Lets the workers of a closed pool go once nothing is left to be done.
    fn let_go(&self, state: &State) {
        if matches!(state.phase, Phase::Closed) && state.progress.left() == 0 && !self.memory.board().is_closing() {
            self.memory.board().close();
        }
    }

    fn report(&self) {
        // Called while nothing is locked: it may set another in its place.
        let Some(mut watch) = self.watch.lock().take() else {
            return;
        };
        let progress = self.progress();
        // The pool goes on without one that panics.
        if catch_unwind(AssertUnwindSafe(|| watch(&progress))).is_ok() {
            let mut place = self.watch.lock();
            if place.is_none() {
                *place = Some(watch);
            }
        }
    }
}

/// Drops what jobs have brought along. Seats are given up under a lock that a stopped worker may hold, so the pool's thread
/// does not wait for that.
fn let_go_of(trash: Vec<Arc<Luggage>>) {
    if !trash.iter().any(|luggage| luggage.has_seats()) {
        return;
    }
    let (send, receive) = mpsc::channel::<Vec<Arc<Luggage>>>();
    let thread = thread::Builder::new().name("procshare-seats".to_owned());
    if thread.spawn(move || drop(receive.recv())).is_ok() {
        let _ = send.send(trash); // It waits for this alone.
    }
}
