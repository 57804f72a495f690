//! `Workers`: which workers a pool has, and when to start others; `Launcher`: how to start one.
//!
//! A worker has a number; one that takes the place of another takes its number.
//!
//! | a number is | moved by | to |
//! |---|---|---|
//! | vacant | `begin_start` | being started |
//! | being started | `add`, or `vacate` once what it claimed was taken from it, then `end_start` | that of a worker; vacant, if it could not be started |
//! | that of a worker | `remove`, once the kernel has told of its end | vacant |
//!
//! # Invariants
//!
//! - G1. A number has one worker at most: it is marked before its start begins, until that is over. (A new pool's first workers are
//!   started before its thread looks for vacant numbers.)
//! - G2. A worker is removed only once its process has been waited for, and its jobs were taken: only then do its words in the
//!   pool's memory belong to the next one.
//! - G3. A start that fails, or whose worker ends before it is ready, delays the next one. After several in a row with no worker
//!   ready, no more are started: `note_failed_start` tells.

use super::memory::Memory;
use super::request::{Reply, Request, Responder};
use super::worker::Setup;
use crate::error::{Error, Result};
use crate::primitive::Ordering;
use crate::process::handle::Process;
use crate::process::join_error::JoinError;
use crate::segment::os_error;
use crate::sys::file::OwnedFd;
use crate::sys::socket;
use crate::travel::{Attachments, Descriptor};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// If workers end this many times in a row before they are ready, and no worker is there, the pool gives up.
const MOST_FAILED: u32 = 6;
/// After the n-th failed start in a row, the next waits for this, doubled n times, but not more often than so.
const PAUSE: Duration = Duration::from_millis(10);
const MOST_DOUBLINGS: u32 = 10;

/// A worker's process.
type Worker = Process<Result<()>>;

/// Starts a worker.
pub(super) type Start = Box<dyn Fn(Setup) -> Result<Worker> + Send + Sync>;

/// Starts workers, with nothing locked: that takes time.
pub(super) struct Launcher {
    /// Dropped with the last worker: a copy of this process may wait for that.
    start: Mutex<Option<Arc<Start>>>,
    budget: Option<u64>,
    timed: bool,
}

impl Launcher {
    pub(super) fn new(start: Start, budget: Option<u64>, timed: bool) -> Self {
        Launcher {
            start: Mutex::new(Some(Arc::new(start))),
            budget,
            timed,
        }
    }

    /// Starts the worker with a number; `None` once no more are started.
    pub(super) fn launch(
        &self,
        memory: &Memory,
        wakeup: &Arc<OwnedFd>,
        number: usize,
    ) -> Result<Option<(Worker, Responder)>> {
        let (own, theirs) = socket::pair().map_err(|error| os_error("socketpair", error))?;
        let setup = Setup {
            segment: memory.segment().clone(),
            shape: memory.shape(),
            spill: Descriptor(memory.spill().clone()),
            wakeup: Descriptor(wakeup.clone()),
            worker: number as u32,
            socket: Descriptor(Arc::new(theirs)),
            budget: self.budget,
            timed: self.timed,
        };
        let Some(start) = self.start.lock().clone() else {
            return Ok(None);
        };
        Ok(Some((start(setup)?, Responder::new(own))))
    }

    /// Starts no more workers; what is returned may hold a handle of the pool, and is dropped unlocked.
    pub(super) fn close(&self) -> Option<Arc<Start>> {
        self.start.lock().take()
    }
}

/// What belongs to a number.
#[derive(Default)]
struct WorkerSlot {
    worker: Option<Worker>,
    responder: Option<Responder>,
    is_being_started: bool,
}

pub(super) struct Workers {
    slots: Vec<WorkerSlot>,
    /// Workers started so far.
    started: u64,
    /// Failed starts in a row; those that come during a pause are not counted.
    failed: u32,
    /// No worker is started before this time.
    start_after: Option<Instant>,
}

impl Workers {
    pub(super) fn new(workers: usize) -> Self {
        Workers {
            slots: (0..workers).map(|_| WorkerSlot::default()).collect(),
            started: 0,
            failed: 0,
            start_after: None,
        }
    }

    fn present(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().filter_map(|slot| slot.worker.as_ref())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.present().count()
    }

    /// How many were started so far.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    pub(super) fn are_complete(&self) -> bool {
        self.count() == self.slots.len()
    }

    pub(super) fn process_ids(&self) -> Vec<u32> {
        self.present().map(Process::id).collect()
    }

    /// The process id of a worker; of one that finishes a job before it is added, or never is, what it says itself.
    pub(super) fn id_of(&self, memory: &Memory, number: usize) -> u32 {
        match &self.slots[number].worker {
            Some(worker) => worker.id(),
            // Acquire: pairs with the Release in `work`, which comes before its first job.
            None => memory.pids()[number].load(Ordering::Acquire) as u32,
        }
    }

    /// The descriptors of the workers that may run, and the numbers of those that are known to have ended.
    pub(super) fn descriptors(&self) -> (Vec<(usize, Arc<OwnedFd>)>, Vec<usize>) {
        let (mut running, mut ended) = (vec![], vec![]);
        for (number, slot) in self.slots.iter().enumerate() {
            match slot.worker.as_ref().map(Process::pidfd) {
                Some(Some(pidfd)) => running.push((number, pidfd)),
                Some(None) => ended.push(number),
                None => {}
            }
        }
        (running, ended)
    }

    pub(super) fn kill(&self) {
        for worker in self.present() {
            let _ = worker.kill(); // One that cannot be killed ends with this process.
        }
    }

    /// Forgets all workers, without waiting for their ends.
    pub(super) fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| drop(slot.worker.take()));
    }

    // Their starts.

    /// Numbers for which a worker may be started now.
    pub(super) fn vacant(&self) -> Vec<usize> {
        if self.start_after.is_some_and(|moment| Instant::now() < moment) {
            return vec![];
        }
        let slots = self.slots.iter().enumerate();
        let vacant = slots.filter(|(_, slot)| slot.worker.is_none() && !slot.is_being_started);
        vacant.map(|(number, _)| number).collect()
    }

    pub(super) fn begin_start(&mut self, numbers: &[usize]) {
        numbers
            .iter()
            .for_each(|number| self.slots[*number].is_being_started = true);
    }

    pub(super) fn end_start(&mut self, numbers: &[usize]) {
        numbers
            .iter()
            .for_each(|number| self.slots[*number].is_being_started = false);
    }

    pub(super) fn is_any_being_started(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_being_started)
    }

    pub(super) fn add(&mut self, number: usize, worker: Worker, responder: Responder) {
        event!(debug, number, worker = worker.id(), "worker started");
        self.started += 1;
        let slot = &mut self.slots[number];
        slot.worker = Some(worker);
        slot.responder = Some(responder);
    }

    /// Records that a worker could not be started, or ended before it was ready; returns whether to give up.
    #[must_use]
    pub(super) fn note_failed_start(&mut self, memory: &Memory) -> bool {
        let now = Instant::now();
        if self.start_after.is_some_and(|moment| now < moment) {
            return false; // Workers that were started and ended together count as one failure.
        }
        self.failed += 1;
        self.start_after = Some(now + PAUSE * 2_u32.pow(self.failed.min(MOST_DOUBLINGS)));
        let mut slots = memory.pids().iter().zip(&self.slots);
        // Relaxed: only whether it came matters.
        self.failed >= MOST_FAILED
            && !slots.any(|(pid, slot)| slot.worker.is_some() && pid.load(Ordering::Relaxed) != 0)
    }

    // Their ends.

    /// How a worker has ended, if it has.
    pub(super) fn end_of(&mut self, number: usize) -> Option<Ended> {
        let worker = self.slots[number].worker.as_mut()?;
        let outcome = worker.try_join();
        if matches!(outcome, Err(JoinError::TimedOut)) {
            return None;
        }
        let ended = Ended::of(worker.id(), outcome);
        event!(debug, number, worker = worker.id(), %ended, "worker ended");
        Some(ended)
    }

    /// Makes the number of a worker that has ended vacant (G2); returns whether it was ever ready.
    pub(super) fn remove(&mut self, memory: &Memory, number: usize) -> bool {
        let was_ready = self.vacate(memory, number);
        if was_ready {
            self.failed = 0;
        }
        was_ready
    }

    /// As [`remove`](Self::remove), where its start has failed.
    pub(super) fn vacate(&mut self, memory: &Memory, number: usize) -> bool {
        let slot = &mut self.slots[number];
        slot.worker = None;
        slot.responder = None;
        memory.requests()[number].store(0, Ordering::Relaxed); // Relaxed: the next worker begins after this.
        memory.queue().reset_worker(number);
        // Acquire: pairs with the Release in `work`.
        memory.pids()[number].swap(0, Ordering::Acquire) != 0
    }

    // Their requests.

    /// The replies to the open requests; `attachments_of` finds what the job in a slot of the work queue has brought along, if the
    /// worker has it.
    pub(super) fn replies(
        &self,
        memory: &Memory,
        attachments_of: impl Fn(usize, usize) -> Option<Arc<Attachments>>,
    ) -> Vec<Reply> {
        let slots = self.slots.iter().enumerate();
        let replies = slots.filter_map(|(number, slot)| {
            // A worker whose start has not yet finished gets its reply when it has.
            let responder = slot.responder.as_ref()?;
            let request = Request::of(memory, number)?;
            Some(responder.reply(number, request, attachments_of(request.slot(), number)))
        });
        replies.collect()
    }

    /// Records that the system refuses the reply to a request, and returns since when; `None` if the worker is gone.
    pub(super) fn refused_since(&mut self, number: usize, request: Request) -> Option<Instant> {
        let responder = self.slots[number].responder.as_mut()?;
        Some(responder.refused_since(request))
    }
}

/// How a worker has ended.
pub(super) struct Ended {
    /// Its process id.
    pub(super) worker: u32,
    pub(super) signal: Option<i32>,
    pub(super) code: Option<i32>,
    text: String,
}

impl Ended {
    /// The end of a process that was killed because its start could not be completed.
    pub(super) fn abandoned(worker: u32, error: &Error) -> Self {
        Ended {
            worker,
            signal: None,
            code: None,
            text: error.to_string(),
        }
    }

    fn of(worker: u32, outcome: Result<Result<()>, JoinError>) -> Self {
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
        Ended {
            worker,
            signal,
            code,
            text,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
