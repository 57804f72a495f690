//! `Engine`: the parent's side of a pool. A thread of its own hears of finished jobs and dead workers.
//!
//! Whoever submits a job posts it, if a slot is free; else it waits in the backlog, from which the thread posts. Nothing
//! here waits for a lock that a worker could hold: there is none.

use super::group::{Group, Part};
use super::job::{Job, Packed};
use super::job_error::JobError;
use super::memory::{Memory, Shape};
use super::progress::{Progress, Watch};
use super::records::Records;
use super::timeline::{Bar, Ending, Timeline};
use super::worker::{Setup, word};
use crate::error::{Error, Result};
use crate::primitive::{Home, Ordering};
use crate::process::handle::Process;
use crate::process::join_error::JoinError;
use crate::process::transfer::Descriptor;
use crate::sys::map::{AsFd, OwnedFd};
use crate::sys::{clock, event, spawn};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// While jobs are out, the thread looks so often whether one is ready that nobody takes: the worker that was woken for it
/// may have been stopped.
const TICK: Duration = Duration::from_millis(20);
/// So many ticks without news, and the thread sleeps until there are some.
const TICKS: u32 = 50;
/// How long the thread sleeps at most while it lets finished jobs gather.
const GATHER: Duration = Duration::from_millis(1);
/// So many workers in a row that end before they are ready are a reason to give up.
const MISFIRES: u32 = 3;

/// Starts a worker.
pub(super) type Hire = Box<dyn Fn(Setup) -> Result<Process<Result<()>>> + Send + Sync>;

enum Phase {
    Open,
    /// What was submitted is done yet.
    Closed,
    /// Nothing is done any more, for this reason.
    Over(JobError),
}

pub(super) struct Engine {
    memory: Memory,
    bell: Arc<OwnedFd>,
    home: Home,
    hire: Hire,
    budget: Option<u64>,
    timed: bool,
    /// When the pool was made, in nanoseconds of the monotonic clock.
    zero: u64,
    state: Mutex<State>,
    /// The last worker has gone.
    empty: Condvar,
    watch: Mutex<Option<Watch>>,
}

struct State {
    phase: Phase,
    /// Slots without a job, the one last used first: its memory is warm.
    free: Vec<usize>,
    /// By slot.
    posted: Vec<Option<Job>>,
    /// Slots whose job is to be posted again.
    again: VecDeque<usize>,
    backlog: VecDeque<Job>,
    seats: Vec<Option<Process<Result<()>>>>,
    misfires: u32,
    progress: Progress,
    /// Items out whose results somebody waits for one by one.
    prompt: usize,
    /// The thread sleeps without a limit, or lets finished jobs gather: who submits has to wake it.
    unaware: Unaware,
    bars: Vec<Bar>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unaware {
    /// It will look soon.
    No,
    /// Of anything.
    Asleep,
    /// Of jobs that are waited for one by one.
    Gathering,
}

/// A part, its group, how many items it is about, and how many of them failed.
struct Delivery {
    group: Arc<Group>,
    part: Part,
    items: usize,
    failed: usize,
}

impl Engine {
    /// A pool's parent side; its workers are yet to be started.
    pub(super) fn new(memory: Memory, hire: Hire, budget: Option<u64>, timed: bool) -> Result<Self> {
        let home = Home::of_caller().map_err(|_| {
            let message = "this process was moved to another PID or time namespace";
            Error::new(crate::error::ErrorKind::ForeignNamespace, message)
        })?;
        let bell = event::new().map_err(|error| super::os_error("eventfd", error))?;
        let (slots, workers) = (memory.shape().slots as usize, memory.shape().workers as usize);
        let state = State {
            phase: Phase::Open,
            free: (0..slots).rev().collect(),
            posted: (0..slots).map(|_| None).collect(),
            again: VecDeque::new(),
            backlog: VecDeque::new(),
            seats: (0..workers).map(|_| None).collect(),
            misfires: 0,
            progress: Progress::default(),
            prompt: 0,
            unaware: Unaware::No,
            bars: Vec::new(),
        };
        Ok(Engine {
            memory,
            bell: Arc::new(bell),
            home,
            hire,
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
        let process = (self.hire)(setup)?;
        event!(debug, seat, worker = process.id(), "worker started");
        let mut state = self.state.lock();
        if let Phase::Over(_) = state.phase {
            let _ = process.kill(); // It came too late to be killed with the others.
        }
        state.progress.started += 1;
        state.seats[seat] = Some(process);
        Ok(())
    }

    /// Sends jobs on their way, and gives those that cannot travel their errors.
    pub(super) fn submit(&self, group: &Arc<Group>, packed: Packed) {
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        let items: usize = packed.jobs.iter().map(|job| job.items).sum();
        let number = state.progress.submitted;
        state.progress.submitted += (items + packed.refused.len()) as u64;
        for (place, error) in packed.refused {
            deliveries.push(fail(&mut state, group.clone(), place, 1, error));
        }
        let refused = match &state.phase {
            Phase::Open => None,
            Phase::Closed => Some(JobError::Closed),
            Phase::Over(error) => Some(error.clone()),
        };
        if group.is_prompt() {
            state.prompt += items;
        }
        for mut job in packed.jobs {
            job.number = number + (job.first - packed.first) as u64;
            match &refused {
                Some(error) => deliveries.push(give_up(&mut state, &job, error.clone())),
                None => state.backlog.push_back(job),
            }
        }
        self.post_jobs(&mut state, &mut deliveries);
        let must_tell = match state.unaware {
            Unaware::No => false,
            Unaware::Asleep => true,
            Unaware::Gathering => group.is_prompt(),
        };
        if must_tell {
            state.unaware = Unaware::No;
        }
        drop(state);
        if must_tell {
            self.tell_thread();
        }
        deliver(deliveries);
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
            let Some(mut job) = state.backlog.pop_front() else {
                break;
            };
            let bytes = core::mem::take(&mut job.bytes);
            if let Err(error) = self.write(slot, &job, &bytes) {
                state.free.push(slot);
                self.memory.punch(slot);
                let text = format!("arguments of {} bytes: {error}", bytes.len());
                deliveries.push(give_up(state, &job, JobError::OutOfMemory(text)));
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

    /// Readies a slot's words for its job to be posted, perhaps once more.
    fn reset(&self, slot: usize, job: &Job) {
        let board = self.memory.board();
        let words = board.slot(slot);
        let done = job.done as u64;
        // Relaxed, all: posting the slot publishes them.
        words.job[word::SKIP].store(done, Ordering::Relaxed);
        words.begun.store(done, Ordering::Relaxed);
        for word in [&words.written, &words.flushed, &words.failed] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Takes the results of a slot whose worker is done with it or dead, and tells what is left of the job.
    fn harvest(&self, state: &mut State, slot: usize, status: Option<&Ended>, deliveries: &mut Vec<Delivery>) {
        let Some(mut job) = state.posted[slot].take() else {
            return;
        };
        let board = self.memory.board();
        let seat = board.worker_of(slot).filter(|seat| *seat < state.seats.len());
        let worker = seat.map_or(0, |seat| state.pid_of(seat));
        let words = board.slot(slot);
        // Relaxed, all: the slot's state has ordered them, or the kernel, which reports a worker dead after its last store.
        let [begun, written, flushed] =
            [&words.begun, &words.written, &words.flushed].map(|word| word.load(Ordering::Relaxed));
        let bytes = self.memory.read_results(slot, written, flushed).unwrap_or_default();
        let is_done = board.is_done(slot);
        let answered = if is_done {
            (begun as usize).saturating_sub(job.done)
        } else {
            Records::new(&bytes, self.timed).count()
        };
        let answered = answered.min(job.left());
        if answered > 0 {
            deliveries.push(self.take_records(state, &mut job, answered, bytes, worker, seat));
        }
        if flushed > 0 {
            self.memory.punch(slot);
        }
        if let Some(ended) = status.filter(|_| !is_done && begun as usize > job.done && job.left() > 0) {
            self.lose_item(state, &mut job, slot, ended, worker, deliveries);
        }
        self.keep_or_free(state, slot, job);
    }

    fn take_records(
        &self,
        state: &mut State,
        job: &mut Job,
        items: usize,
        bytes: Vec<u8>,
        worker: u32,
        seat: Option<usize>,
    ) -> Delivery {
        let failed = Records::new(&bytes, self.timed)
            .take(items)
            .filter(|record| record.is_failure())
            .count();
        if self.timed {
            let first = job.number();
            for (at, record) in Records::new(&bytes, true).take(items).enumerate() {
                let ending = if record.is_failure() {
                    Ending::Failed
                } else {
                    Ending::Done
                };
                let (job, times) = (first + at as u64, record.times);
                let bar = Bar::new(job, seat.unwrap_or_default(), worker, times, self.zero, ending);
                state.bars.push(bar);
            }
        }
        let part = Part::Records {
            first: job.next(),
            count: items,
            bytes,
            timed: self.timed,
            worker,
        };
        job.advance(items);
        state.ended(&job.group, items, failed);
        event!(failed > 0 => debug, failed, of = items, worker, "jobs failed");
        Delivery {
            group: job.group.clone(),
            part,
            items,
            failed,
        }
    }

    /// The item a dead worker held: it is begun anew if that is allowed, or lost.
    fn lose_item(
        &self,
        state: &mut State,
        job: &mut Job,
        slot: usize,
        ended: &Ended,
        worker: u32,
        deliveries: &mut Vec<Delivery>,
    ) {
        if self.timed {
            let board = self.memory.board();
            let begun = board.slot(slot).begun_at.load(Ordering::Relaxed);
            let times = super::records::Times {
                begun,
                done: clock::monotonic_nanos(),
            };
            let seat = board.worker_of(slot).unwrap_or_default();
            let bar = Bar::new(job.number(), seat, worker, times, self.zero, Ending::Died);
            state.bars.push(bar);
        }
        if job.retries_left > 0 {
            job.retries_left -= 1;
            state.progress.retried += 1;
            event!(debug, job = job.number(), worker, %ended, "job begun anew");
            return;
        }
        let error = JobError::WorkerDied {
            signal: ended.signal,
            code: ended.code,
            worker,
        };
        event!(warn, job = job.number(), worker, %error, "job lost");
        deliveries.push(fail(state, job.group.clone(), job.next(), 1, error));
        job.advance(1);
    }

    /// Posts what is left of a job again, ahead of others.
    fn keep_or_free(&self, state: &mut State, slot: usize, job: Job) {
        let board = self.memory.board();
        board.free(slot);
        if job.left() == 0 {
            if board.slot(slot).job[word::BYTES].load(Ordering::Relaxed) as usize > super::memory::JOB_BYTES {
                self.memory.punch(slot);
            }
            state.free.push(slot);
            return;
        }
        self.reset(slot, &job);
        state.posted[slot] = Some(job);
        state.again.push_back(slot);
    }

    /// Cancels what nobody has begun of a group; tells whether that was all.
    pub(super) fn cancel(&self, group: &Arc<Group>) -> bool {
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        let (ours, others) = core::mem::take(&mut state.backlog)
            .into_iter()
            .partition(|job| Arc::ptr_eq(&job.group, group));
        state.backlog = others;
        let ours: VecDeque<Job> = ours;
        for job in &ours {
            deliveries.push(give_up(&mut state, job, JobError::Cancelled));
        }
        for slot in 0..state.posted.len() {
            let is_ours = state.posted[slot]
                .as_ref()
                .is_some_and(|job| Arc::ptr_eq(&job.group, group));
            if is_ours && self.withdraw(&mut state, slot) {
                if let Some(job) = state.posted[slot].take() {
                    deliveries.push(give_up(&mut state, &job, JobError::Cancelled));
                    state.free.push(slot);
                }
            }
        }
        self.post_jobs(&mut state, &mut deliveries);
        drop(state);
        let cancelled: usize = deliveries.iter().map(|delivery| delivery.items).sum();
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

    pub(super) fn progress(&self) -> Progress {
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
        *self.watch.lock() = Some(watch);
    }

    pub(super) fn timeline(&self) -> Timeline {
        Timeline::new(self.state.lock().bars.clone(), self.shape().workers as usize)
    }

    pub(super) fn shape(&self) -> Shape {
        self.memory.shape()
    }

    /// The process ids of the workers.
    pub(super) fn workers(&self) -> Vec<u32> {
        self.state.lock().seats.iter().flatten().map(Process::id).collect()
    }

    /// Takes no jobs any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Closed;
            event!(debug, left = state.progress.left(), "pool closed");
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

    fn give_all_up(&self, state: &mut State, reason: JobError, deliveries: &mut Vec<Delivery>) {
        self.collect(state, deliveries);
        for process in state.seats.iter().flatten() {
            let _ = process.kill(); // One that cannot be killed ends with this process.
        }
        let backlog = core::mem::take(&mut state.backlog);
        let posted: Vec<Job> = state.posted.iter_mut().filter_map(Option::take).collect();
        state.again.clear();
        for job in backlog.iter().chain(&posted) {
            deliveries.push(give_up(state, job, reason.clone()));
        }
        if !matches!(state.phase, Phase::Over(_)) {
            state.phase = Phase::Over(reason);
        }
    }

    fn collect(&self, state: &mut State, deliveries: &mut Vec<Delivery>) -> usize {
        let mut done = vec![];
        self.memory.board().collect(|slot| done.push(slot));
        for &slot in &done {
            self.harvest(state, slot, None, deliveries);
        }
        done.len()
    }

    /// Waits until the last worker has gone.
    pub(super) fn wait_until_empty(&self) {
        let mut state = self.state.lock();
        while !state.is_over() {
            self.empty.wait(&mut state);
        }
    }

    /// The thread's life: until the pool is closed or terminated, and the last worker gone.
    pub(super) fn run(&self) {
        let mut idle_ticks = 0;
        let mut collected = 0;
        loop {
            let (ended, is_idle) = self.sleep(collected, &mut idle_ticks);
            let mut deliveries = vec![];
            let mut state = self.state.lock();
            state.unaware = Unaware::No;
            collected = self.collect(&mut state, &mut deliveries);
            let vacant = self.bury(&mut state, ended, &mut deliveries);
            self.post_jobs(&mut state, &mut deliveries);
            self.wake_for_leftovers(&state);
            self.let_go(&state);
            let over = state.is_over();
            drop(state);
            let news = !deliveries.is_empty();
            deliver(deliveries);
            if news {
                self.report();
            }
            for seat in vacant {
                self.replace(seat);
            }
            if over {
                self.empty.notify_all();
                return;
            }
            idle_ticks = if is_idle && !news { idle_ticks + 1 } else { 0 };
        }
    }

    /// Sleeps until there is news; returns the seats of workers that have ended, and whether the time passed.
    fn sleep(&self, collected: usize, idle_ticks: &mut u32) -> (Vec<usize>, bool) {
        let board = self.memory.board();
        let mut state = self.state.lock();
        let gathers = collected >= 4 && state.prompt == 0 && !state.backlog.is_empty();
        let (few, limit) = if gathers {
            state.unaware = Unaware::Gathering;
            (state.posted.len() as u64 / 4, Some(GATHER))
        } else if *idle_ticks >= TICKS {
            state.unaware = Unaware::Asleep;
            (u64::MAX, None)
        } else {
            (u64::MAX, Some(TICK))
        };
        if !board.doze(few) {
            return (vec![], false);
        }
        // The handles stay where they are: only this thread takes them away.
        let pidfds: Vec<_> = state.descriptors();
        drop(state);
        let bell = [self.bell.as_fd()];
        let fds: Vec<_> = bell
            .into_iter()
            .chain(pidfds.iter().map(|(_, fd)| fd.as_fd()))
            .collect();
        let ready = spawn::wait_any(&fds, limit).unwrap_or_default();
        board.rouse();
        if ready.first() == Some(&true) {
            let _ = event::drain(self.bell.as_fd()); // Drained or not, the thread looks at everything.
        }
        let ended = pidfds.iter().zip(ready.iter().skip(1));
        let ended: Vec<_> = ended.filter(|(_, ready)| **ready).map(|((seat, _), _)| *seat).collect();
        let is_idle = !ready.contains(&true);
        (ended, is_idle)
    }

    /// Takes note of workers that have ended, and returns the seats that are to be filled again.
    fn bury(&self, state: &mut State, ended: Vec<usize>, deliveries: &mut Vec<Delivery>) -> Vec<usize> {
        let board = self.memory.board();
        let mut vacant = vec![];
        for seat in ended {
            let Some(outcome) = state.seats[seat].as_mut().map(Process::try_join) else {
                continue;
            };
            if matches!(outcome, Err(JoinError::TimedOut)) {
                continue;
            }
            let ended = Ended::of(outcome);
            event!(debug, seat, worker = state.pid_of(seat), %ended, "worker ended");
            for slot in 0..state.posted.len() {
                if board.worker_of(slot) == Some(seat) {
                    self.harvest(state, slot, Some(&ended), deliveries);
                }
            }
            state.seats[seat] = None;
            board.vacate(seat);
            // Acquire: pairs with the Release in `work`.
            let came = self.memory.came()[seat].swap(0, Ordering::Acquire) != 0;
            state.misfires = if came { 0 } else { state.misfires + 1 };
            if state.misfires >= MISFIRES {
                self.give_all_up(state, JobError::NoWorkers(ended.to_string()), deliveries);
            }
            if state.needs_workers() {
                vacant.push(seat);
            }
        }
        vacant
    }

    /// Starts a worker for a seat that has lost its own.
    fn replace(&self, seat: usize) {
        let Err(error) = self.start_worker(seat) else {
            return;
        };
        let mut deliveries = vec![];
        let mut state = self.state.lock();
        state.misfires += 1;
        if state.seats.iter().flatten().count() == 0 {
            // Nobody is left whose end would be a reason to try again.
            self.give_all_up(&mut state, JobError::NoWorkers(error.to_string()), &mut deliveries);
        }
        drop(state);
        deliver(deliveries);
    }

    /// Wakes a worker for jobs that are ready while workers sleep: one that was woken may have been stopped, or killed.
    fn wake_for_leftovers(&self, _state: &State) {
        let board = self.memory.board();
        if board.has_sleeper() && board.has_ready() {
            board.wake_one();
        }
    }

    /// Lets the workers of a closed pool go once nothing is left to be done.
    fn let_go(&self, state: &State) {
        if matches!(state.phase, Phase::Closed) && state.progress.left() == 0 && !self.memory.board().is_closing() {
            self.memory.board().close();
        }
    }

    fn report(&self) {
        let progress = self.progress();
        if let Some(watch) = self.watch.lock().as_mut() {
            watch(&progress);
        }
    }
}

impl State {
    fn pid_of(&self, seat: usize) -> u32 {
        self.seats[seat].as_ref().map_or(0, Process::id)
    }

    /// Items have come to their end.
    fn ended(&mut self, group: &Group, items: usize, failed: usize) {
        self.progress.finished += items as u64;
        self.progress.failed += failed as u64;
        if group.is_prompt() {
            self.prompt = self.prompt.saturating_sub(items);
        }
    }

    fn needs_workers(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Closed => self.progress.left() > 0,
            Phase::Over(_) => false,
        }
    }

    fn is_over(&self) -> bool {
        !matches!(self.phase, Phase::Open) && !self.needs_workers() && self.seats.iter().all(Option::is_none)
    }

    fn descriptors(&self) -> Vec<(usize, Arc<OwnedFd>)> {
        let seats = self.seats.iter().enumerate();
        seats
            .filter_map(|(seat, process)| Some((seat, process.as_ref()?.pidfd()?)))
            .collect()
    }
}

/// How a worker has ended.
struct Ended {
    signal: Option<i32>,
    code: Option<i32>,
    text: String,
}

impl Ended {
    fn of(outcome: Result<Result<()>, JoinError>) -> Self {
        let (signal, code) = match &outcome {
            Err(JoinError::Signaled(signal)) => (Some(*signal), None),
            Err(JoinError::Exited(code)) => (None, Some(*code)),
            Err(JoinError::Panicked(_)) => (None, Some(101)),
            Err(JoinError::NotStarted(_)) => (None, Some(1)),
            Ok(_) => (None, Some(0)),
            Err(_) => (None, None),
        };
        let text = match outcome {
            Ok(Ok(())) => "the worker ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Ended { signal, code, text }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Ends some items with an error.
fn fail(state: &mut State, group: Arc<Group>, first: usize, count: usize, error: JobError) -> Delivery {
    state.ended(&group, count, count);
    Delivery {
        group,
        part: Part::Failure { first, count, error },
        items: count,
        failed: count,
    }
}

/// Ends what is left of a job.
fn give_up(state: &mut State, job: &Job, error: JobError) -> Delivery {
    state.ended(&job.group, job.left(), job.left());
    Delivery {
        group: job.group.clone(),
        part: Part::Failure {
            first: job.next(),
            count: job.left(),
            error,
        },
        items: job.left(),
        failed: job.left(),
    }
}

/// Tells the groups, the pool's state no longer locked: whoever waits may submit the next job at once.
fn deliver(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        delivery.group.deliver(delivery.part, delivery.items, delivery.failed);
    }
}
