//! What becomes of jobs whose worker has finished them, or is dead.

use super::engine::Engine;
use super::extent::Extent;
use super::group::Part;
use super::job::Job;
use super::job_error::JobError;
use super::memory::JOB_BYTES;
use super::records::{Record, Records};
use super::state::{Delivery, Ended, State, fail};
use super::timeline::{Bar, Ending};
use super::worker::word;
use crate::primitive::{AtomicU64, Ordering};
use crate::process::handle::Process;
use crate::process::join_error::JoinError;
use crate::sys::clock;
use std::time::{Duration, Instant};

/// If workers end this many times in a row before they are ready, and no worker is there, the pool gives up.
const MISFIRES: u32 = 6;
/// How long to wait before the next start after a worker that was not ready, and how often to double that at most.
const PAUSE: Duration = Duration::from_millis(10);
const MOST_DOUBLINGS: u32 = 10;

impl Engine {
    pub(super) fn collect(&self, state: &mut State, deliveries: &mut Vec<Delivery>) -> usize {
        let mut done = vec![];
        self.memory.board().collect(|slot| done.push(slot));
        for &slot in &done {
            self.harvest(state, slot, None, deliveries);
        }
        done.len()
    }

    /// Prepares a slot's words for posting its job, perhaps again.
    pub(super) fn reset(&self, state: &mut State, slot: usize, job: &Job) {
        let extent = &mut state.extents[slot];
        if extent.is_none() {
            *extent = self.memory.extents().take();
        }
        let board = self.memory.board();
        let words = board.slot(slot);
        let done = job.done as u64;
        // Relaxed, all: posting the slot publishes them.
        words.job[word::SKIP].store(done, Ordering::Relaxed);
        words.job[word::SETTLED].store(0, Ordering::Relaxed);
        words.job[word::RESULTS].store(extent.as_ref().map_or(0, Extent::number), Ordering::Relaxed);
        words.begun.store(done, Ordering::Relaxed);
        for word in [&words.written, &words.flushed, &words.failed, &words.long] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Takes the results of a slot whose worker has finished with it or is dead, and returns what is left of the job.
    pub(super) fn harvest(
        &self,
        state: &mut State,
        slot: usize,
        status: Option<&Ended>,
        deliveries: &mut Vec<Delivery>,
    ) {
        let Some(mut job) = state.posted[slot].take() else {
            return;
        };
        let board = self.memory.board();
        if let Some(seat) = board.worker_of(slot) {
            state.keep(seat, (job.head > 0).then(|| job.attachments.clone()));
        }
        let words = board.slot(slot);
        // Relaxed, all: the slot's state has ordered them, or the kernel, which reports a worker dead after its last store.
        let [begun, written, flushed] =
            [&words.begun, &words.written, &words.flushed].map(|word| word.load(Ordering::Relaxed));
        let bytes = self.memory.read_results(slot, written, flushed);
        let is_done = board.is_done(slot);
        let begun_now = (begun as usize).saturating_sub(job.done);
        let answered = match &bytes {
            _ if is_done => begun_now,
            Ok(bytes) => Records::new(bytes, self.timed).count(),
            // What cannot be read is not run again: all but the last had their results.
            Err(_) => begun_now.saturating_sub(1),
        };
        let answered = answered.min(job.left());
        let is_unreadable = bytes.is_err();
        match bytes {
            Ok(bytes) if answered > 0 => deliveries.push(self.take_records(state, &mut job, slot, answered, bytes)),
            Err(error) if answered > 0 => {
                let error = JobError::OutOfMemory(format!("reading results of {written} bytes: {error}"));
                deliveries.push(fail(state, job.group.clone(), job.next(), answered, error));
                job.advance(answered);
            }
            _ => {}
        }
        if flushed > 0 || !is_done {
            self.memory.punch_results(slot); // A dead worker may have written results that it did not live to count.
        }
        if let Some(extent) = state.extents[slot].as_ref().filter(|_| !is_done || is_unreadable) {
            extent.clear(); // As above.
        }
        if let Some(ended) = status.filter(|_| !is_done && begun as usize > job.done && job.left() > 0) {
            self.lose_item(state, &mut job, slot, ended, deliveries);
        }
        self.keep_or_free(state, slot, job);
    }

    pub(super) fn take_records(
        &self,
        state: &mut State,
        job: &mut Job,
        slot: usize,
        items: usize,
        bytes: Vec<u8>,
    ) -> Delivery {
        let seat = self.memory.board().worker_of(slot);
        let worker = seat.map_or(0, |seat| self.pid_of(state, seat));
        // Relaxed: as the other words of the slot.
        let counted = self.memory.board().slot(slot).failed.load(Ordering::Relaxed) as usize;
        let failed = match self.memory.board().is_done(slot) {
            _ if bytes.is_empty() => items,
            true => counted.min(items),
            // It may have counted an item whose record it did not live to publish.
            false => Records::new(&bytes, self.timed).filter(Record::is_failure).count(),
        };
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
        // Relaxed: as the other words of the slot.
        let has_long = self.memory.board().slot(slot).long.load(Ordering::Relaxed) > 0;
        let part = Part::Records {
            first: job.next(),
            count: items,
            bytes,
            extent: state.extents[slot].take_if(|_| has_long),
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

    /// The process id of a seat's worker. A worker that was just started may finish a job before it is known here.
    fn pid_of(&self, state: &State, seat: usize) -> u32 {
        // Acquire: pairs with the Release in `work`.
        let told = || self.memory.came()[seat].load(Ordering::Acquire) as u32;
        state.seats[seat].as_ref().map_or_else(told, Process::id)
    }

    /// Handles the item that a dead worker held: it is run again if that is allowed, otherwise lost.
    pub(super) fn lose_item(
        &self,
        state: &mut State,
        job: &mut Job,
        slot: usize,
        ended: &Ended,
        deliveries: &mut Vec<Delivery>,
    ) {
        let board = self.memory.board();
        let seat = board.worker_of(slot).unwrap_or_default();
        let worker = self.pid_of(state, seat);
        if self.timed {
            let begun = board.slot(slot).begun_at.load(Ordering::Relaxed);
            let times = super::records::Times {
                begun,
                done: clock::monotonic_nanos(),
            };
            let bar = Bar::new(job.number(), seat, worker, times, self.zero, Ending::Died);
            state.bars.push(bar);
        }
        let error = JobError::WorkerDied {
            signal: ended.signal,
            code: ended.code,
            worker,
        };
        if job.retries_left > 0 {
            job.retries_left -= 1;
            job.lost = Some(error);
            state.progress.retried += 1;
            event!(debug, job = job.number(), worker, %ended, "job begun anew");
            return;
        }
        event!(warn, job = job.number(), worker, %error, "job lost");
        deliveries.push(fail(state, job.group.clone(), job.next(), 1, error));
        job.advance(1);
    }

    /// Posts what is left of a job again, ahead of jobs that have no slot yet.
    pub(super) fn keep_or_free(&self, state: &mut State, slot: usize, mut job: Job) {
        let board = self.memory.board();
        board.free(slot);
        if job.left() == 0 {
            state.trash.extend(job.shares.take());
            self.release(state, slot);
            return;
        }
        self.reset(state, slot, &job);
        state.posted[slot] = Some(job);
        state.again.push_back(slot);
    }

    /// Makes a slot ready for the next job.
    pub(super) fn release(&self, state: &mut State, slot: usize) {
        let bytes = &self.memory.board().slot(slot).job[word::BYTES];
        if bytes.load(Ordering::Relaxed) as usize > JOB_BYTES {
            self.memory.punch_job(slot);
        }
        state.free.push(slot);
    }

    /// Handles workers that have ended.
    pub(super) fn bury(&self, state: &mut State, ended: &[usize], deliveries: &mut Vec<Delivery>) {
        let board = self.memory.board();
        for &seat in ended {
            let Some(outcome) = state.seats[seat].as_mut().map(Process::try_join) else {
                continue;
            };
            if matches!(outcome, Err(JoinError::TimedOut)) {
                continue;
            }
            let ended = Ended::of(outcome);
            event!(debug, seat, worker = self.pid_of(state, seat), %ended, "worker ended");
            for slot in 0..state.posted.len() {
                if board.worker_of(slot) == Some(seat) {
                    self.harvest(state, slot, Some(&ended), deliveries);
                }
            }
            state.seats[seat] = None;
            state.keep(seat, None);
            state.counters[seat] = None;
            self.memory.asked()[seat].store(0, Ordering::Relaxed); // Relaxed: the next worker begins after this.
            board.vacate(seat);
            // Acquire: pairs with the Release in `work`.
            let came = self.memory.came()[seat].swap(0, Ordering::Acquire) != 0;
            if came {
                state.misfires = 0;
            } else {
                self.note_misfire(state, ended.to_string(), deliveries);
            }
        }
    }

    /// Records that a worker could not be started, or ended before it was ready. The next start waits for some time; after several
    /// failures, if no worker is there, the pool gives up.
    pub(super) fn note_misfire(&self, state: &mut State, why: String, deliveries: &mut Vec<Delivery>) {
        let now = Instant::now();
        if state.hire_after.is_some_and(|moment| now < moment) {
            return; // Workers that were started and ended together count as one failure.
        }
        state.misfires += 1;
        state.hire_after = Some(now + PAUSE * 2_u32.pow(state.misfires.min(MOST_DOUBLINGS)));
        let came = self.memory.came().iter().zip(&state.seats);
        // Relaxed: only whether it came matters.
        let is_there = |(came, seat): (&AtomicU64, &Option<_>)| seat.is_some() && came.load(Ordering::Relaxed) != 0;
        if state.misfires >= MISFIRES && !came.into_iter().any(is_there) {
            self.give_all_up(state, JobError::NoWorkers(why), deliveries);
        }
    }
}
