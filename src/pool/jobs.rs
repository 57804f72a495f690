//! `Jobs`: what the parent knows of the jobs of a pool: where each one is, and what has become of it.
//!
//! | a job is | moved by | to |
//! |---|---|---|
//! | in the backlog, in the order of submission | `post`, once a slot is free | posted in that slot |
//! | | `post`, if the work queue has no room for its position | to be posted again in its slot |
//! | | `post`, if its arguments cannot be stored; `cancel` | ended |
//! | posted | its worker, which finishes it, or dies | `collect` or `take_from_dead` finds it: ended, or to be posted again |
//! | | `cancel`, unless a worker has it | ended |
//! | to be posted again in its slot | `post`, before the backlog | posted |
//! | | `cancel` | ended |
//! | any of these | `give_all_up` | ended |
//!
//! # Invariants
//!
//! - A1. Until `give_all_up`, a slot is in `free`, or has a job in `posted`, but not both. The job of a slot in `again` is not in
//!   the work queue: it came back, or there was no room for its position.
//! - A2. Every item ends once: a delivery is made where its end is counted (`ended`), and its job goes on past it.
//! - A3. Nothing here tells a caller, or drops what a job has brought along: both may take time, or run any code. Whoever locks the
//!   jobs takes the deliveries and the attachments from them, and sees to them unlocked.
//! - A4. Until `give_all_up`, what a job has brought along stays open until its worker cannot hold any of it any more: while the
//!   job is posted, and then in `held` until the worker sleeps, has gone on to another job, or is dead. If a worker were killed as
//!   the last to hold a segment, the segment's name would stay.
//! - A5. An extent is given back only once no worker can read it: those of jobs that are given up wait for the end of the workers.

use super::extent::Extent;
use super::group::{Delivery, Group, Part};
use super::job::{Job, Packed};
use super::job_error::JobError;
use super::memory::{JOB_BYTES, Memory, Shape};
use super::progress::Progress;
use super::records::{Record, Records, Times};
use super::timeline::{Bar, Ending};
use super::workers::Ended;
use crate::primitive::Ordering;
use crate::raw::work_queue::JOINED;
use crate::sys::clock;
use crate::travel::Attachments;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::take;
use std::sync::Arc;

/// A worker's number and its process id.
type WorkerId = (usize, u32);

pub(super) struct Jobs {
    /// Slots without a job, the most recently used last: its memory is warm.
    free: Vec<usize>,
    /// By slot.
    posted: Vec<Option<Job>>,
    /// By slot: where its long results go. Once some are taken, the extent belongs to them.
    extents: Vec<Option<Extent>>,
    /// Slots with a job that the work queue does not have: it came back, or there was no room for its position.
    again: VecDeque<usize>,
    /// Jobs without a slot.
    backlog: BTreeMap<u64, Job>,
    next_in_backlog: u64,
    /// By worker.
    held: Vec<Option<Arc<Attachments>>>,
    /// Extents of jobs that were given up.
    given_up: Vec<Arc<Extent>>,
    /// Items sent whose results are waited for one by one.
    prompt: usize,
    progress: Progress,
    /// Jobs have ended that were not yet reported to the progress hook.
    has_news: bool,
    deliveries: Vec<Delivery>,
    unneeded: Vec<Arc<Attachments>>,
    /// Whether the times of items are recorded, in `bars`.
    timed: bool,
    bars: Vec<Bar>,
    /// When the pool was made, in nanoseconds of the monotonic clock.
    zero: u64,
}

impl Jobs {
    pub(super) fn new(shape: Shape, timed: bool, zero: u64) -> Self {
        let slots = shape.slots as usize;
        Jobs {
            free: (0..slots).rev().collect(),
            posted: (0..slots).map(|_| None).collect(),
            extents: (0..slots).map(|_| None).collect(),
            again: VecDeque::new(),
            backlog: BTreeMap::new(),
            next_in_backlog: 0,
            held: (0..shape.workers).map(|_| None).collect(),
            given_up: Vec::new(),
            prompt: 0,
            progress: Progress::default(),
            has_news: false,
            deliveries: Vec::new(),
            unneeded: Vec::new(),
            timed,
            bars: Vec::new(),
            zero,
        }
    }

    // What is asked of them.

    /// How many items have not ended.
    pub(super) fn left(&self) -> u64 {
        self.progress.left()
    }

    /// How far they are.
    pub(super) fn progress(&self, memory: &Memory) -> Progress {
        let queue = memory.queue();
        let is_running =
            |slot: &usize| self.posted[*slot].is_some() && queue.worker_of(*slot).is_some() && !queue.is_done(*slot);
        let running = (0..self.posted.len()).filter(is_running).count() as u64;
        Progress {
            running,
            ..self.progress
        }
    }

    /// The bars so far.
    pub(super) fn bars(&self) -> Vec<Bar> {
        self.bars.clone()
    }

    /// Whether finished jobs may gather: others wait for a slot, and nobody for a single result.
    pub(super) fn may_gather(&self) -> bool {
        self.prompt == 0 && !self.backlog.is_empty()
    }

    /// What the job in a slot has brought along, if that worker has it.
    pub(super) fn attachments_of(&self, memory: &Memory, slot: usize, worker: usize) -> Option<Arc<Attachments>> {
        let job = self.posted.get(slot)?.as_ref()?;
        (memory.queue().worker_of(slot) == Some(worker)).then(|| job.attachments.clone())
    }

    // What they leave to whoever has locked them (A3).

    /// Whether jobs have ended that are to be reported.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    pub(super) fn take_news(&mut self) -> bool {
        take(&mut self.has_news)
    }

    pub(super) fn take_deliveries(&mut self) -> Vec<Delivery> {
        take(&mut self.deliveries)
    }

    pub(super) fn take_unneeded(&mut self) -> Vec<Arc<Attachments>> {
        take(&mut self.unneeded)
    }

    /// Takes the extents of jobs that were given up: the workers have ended (A5).
    pub(super) fn take_extents(&mut self) -> Vec<Arc<Extent>> {
        take(&mut self.given_up)
    }

    // Jobs on their way to the workers.

    /// Takes jobs in, and gives those that cannot travel their errors; with an error, all of them have that.
    pub(super) fn submit(&mut self, group: &Arc<Group>, packed: Packed, refused: Option<&JobError>) {
        let number = self.progress.submitted;
        let submitted = packed.items();
        self.progress.submitted += submitted as u64;
        if group.is_prompt() {
            self.prompt += submitted;
        }
        for (place, error) in packed.refused {
            self.fail(group.clone(), place, 1, error);
            self.has_news = true;
        }
        for mut job in packed.jobs {
            job.number = number + (job.first - packed.first) as u64;
            match refused {
                Some(error) => _ = self.give_up(job, error.clone()),
                None => self.put_back(job),
            }
        }
    }

    /// Puts a job into the backlog, to wait for a slot.
    fn put_back(&mut self, job: Job) {
        job.group.note_place(self.next_in_backlog);
        self.backlog.insert(self.next_in_backlog, job);
        self.next_in_backlog += 1;
    }

    /// Posts as many waiting jobs as there is room for, and wakes workers for them.
    pub(super) fn post(&mut self, memory: &Memory) {
        let queue = memory.queue();
        let mut posted = 0;
        while let Some(&slot) = self.again.front() {
            if queue.post(slot).is_err() {
                break;
            }
            self.again.pop_front();
            posted += 1;
        }
        while self.again.is_empty() && !self.backlog.is_empty() {
            let Some(slot) = self.free.pop() else { break };
            if !self.fill(memory, slot) {
                continue;
            }
            match queue.post(slot) {
                Ok(()) => posted += 1,
                Err(_) => self.again.push_back(slot),
            }
        }
        for _ in 0..posted {
            if !queue.wake_one() {
                break;
            }
        }
    }

    /// Moves the first job of the backlog to a free slot; false if it had to be given up instead.
    fn fill(&mut self, memory: &Memory, slot: usize) -> bool {
        let Some((_, mut job)) = self.backlog.pop_first() else {
            self.free.push(slot);
            return false;
        };
        let bytes = take(&mut job.bytes);
        if let Err(error) = self.write(memory, slot, &job, &bytes) {
            self.free.push(slot);
            memory.punch_job(slot);
            let what = format!("storing arguments of {} bytes", bytes.len());
            self.give_up(job, JobError::of_system(&what, error));
            return false;
        }
        self.posted[slot] = Some(job);
        true
    }

    /// Writes a job into a free slot.
    fn write(&mut self, memory: &Memory, slot: usize, job: &Job, bytes: &[u8]) -> io::Result<()> {
        let words = &memory.queue().slot(slot).job;
        for (word, value) in [
            (&words.function, job.function),
            (&words.items, job.items as u64),
            (&words.bytes, bytes.len() as u64),
            (&words.table, job.table as u64),
            (
                &words.items_extent,
                job.extent.as_ref().map_or(0, |extent| extent.number()),
            ),
        ] {
            word.store(value, Ordering::Relaxed); // Relaxed: posting the slot publishes it.
        }
        self.reset(memory, slot, job);
        memory.write_job(slot, bytes)
    }

    /// Prepares a slot's words for posting its job, perhaps again.
    fn reset(&mut self, memory: &Memory, slot: usize, job: &Job) {
        let extent = &mut self.extents[slot];
        if extent.is_none() {
            *extent = memory.extents().take();
        }
        let words = memory.queue().slot(slot);
        let done = job.done as u64;
        // Relaxed, all: posting the slot publishes them.
        words.job.skip.store(done, Ordering::Relaxed);
        words.job.settled.store(0, Ordering::Relaxed);
        let extent = extent.as_ref().map_or(0, Extent::number);
        words.job.results_extent.store(extent, Ordering::Relaxed);
        words.begun.store(done, Ordering::Relaxed);
        for word in [&words.written, &words.flushed, &words.failed, &words.long] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Makes a slot ready for the next job.
    fn release(&mut self, memory: &Memory, slot: usize) {
        let bytes = &memory.queue().slot(slot).job.bytes;
        if bytes.load(Ordering::Relaxed) as usize > JOB_BYTES {
            memory.punch_job(slot);
        }
        self.free.push(slot);
    }

    // Jobs without a result.

    /// Cancels the items of a group that no worker has begun; returns how many.
    pub(super) fn cancel(&mut self, memory: &Memory, group: &Arc<Group>) -> usize {
        let mut cancelled = 0;
        for place in group.take_places() {
            if let Some(job) = self.backlog.remove(&place) {
                cancelled += self.give_up(job, JobError::Cancelled);
            }
        }
        let is_theirs = |job: &Job| Arc::ptr_eq(&job.group, group);
        for slot in 0..self.posted.len() {
            if self.posted[slot].as_ref().is_some_and(is_theirs) && self.withdraw(memory, slot) {
                if let Some(job) = self.posted[slot].take() {
                    cancelled += self.give_up(job, JobError::Cancelled);
                    self.release(memory, slot);
                }
            }
        }
        cancelled
    }

    /// Takes a slot's job back, unless a worker has it.
    fn withdraw(&mut self, memory: &Memory, slot: usize) -> bool {
        match self.again.iter().position(|again| *again == slot) {
            Some(place) => {
                self.again.remove(place);
                true
            }
            None => memory.queue().cancel(slot),
        }
    }

    /// Ends the jobs that have not been collected, with an error. The workers have been killed.
    pub(super) fn give_all_up(&mut self, reason: &JobError) {
        let backlog = take(&mut self.backlog);
        let posted: Vec<Job> = self.posted.iter_mut().filter_map(Option::take).collect();
        self.again.clear();
        let extents = posted.iter().filter_map(|job| job.extent.clone());
        self.given_up.extend(extents);
        for job in backlog.into_values().chain(posted) {
            self.give_up(job, reason.clone());
        }
    }

    /// Ends the rest of a job; returns how many of its items have that error.
    fn give_up(&mut self, mut job: Job, error: JobError) -> usize {
        if let Some(lost) = job.lost.take() {
            self.fail(job.group.clone(), job.next(), 1, lost);
            job.advance(1);
        }
        self.unneeded.push(job.attachments.clone());
        self.unneeded.extend(job.shares.take());
        self.has_news = true;
        let (first, count) = (job.next(), job.left());
        if count > 0 {
            self.fail(job.group, first, count, error);
        }
        count
    }

    /// Ends items with an error.
    fn fail(&mut self, group: Arc<Group>, first: usize, count: usize, error: JobError) {
        self.ended(&group, count, count);
        self.deliveries.push(Delivery {
            group,
            part: Part::Failure { first, count, error },
            items: count,
            failed: count,
        });
    }

    /// Counts items that have ended.
    fn ended(&mut self, group: &Group, items: usize, failed: usize) {
        self.progress.finished += items as u64;
        self.progress.failed += failed as u64;
        if group.is_prompt() {
            self.prompt = self.prompt.saturating_sub(items);
        }
    }

    // Jobs that come back from the workers.

    /// Takes the results of the slots that are done; returns how many those were. `id_of` tells the process id of a worker.
    pub(super) fn collect(&mut self, memory: &Memory, id_of: impl Fn(usize) -> u32) -> usize {
        let mut done = vec![];
        memory.queue().collect(|slot| done.push(slot));
        for &slot in &done {
            let worker = memory.queue().worker_of(slot).map(|number| (number, id_of(number)));
            self.take_slot(memory, slot, worker, None);
        }
        done.len()
    }

    /// Takes what results there are of the jobs of a dead worker, and puts the rest back. It holds nothing any more.
    pub(super) fn take_from_dead(&mut self, memory: &Memory, worker: usize, ended: &Ended) {
        for slot in 0..self.posted.len() {
            if memory.queue().worker_of(slot) == Some(worker) {
                self.take_slot(memory, slot, Some((worker, ended.worker)), Some(ended));
            }
        }
        self.hold(worker, None);
    }

    /// Takes the results of a slot whose worker has finished with it or is dead, and puts back what is left of the job.
    fn take_slot(&mut self, memory: &Memory, slot: usize, worker: Option<WorkerId>, dead: Option<&Ended>) {
        let Some(mut job) = self.posted[slot].take() else {
            return;
        };
        if let Some((number, _)) = worker {
            self.hold(number, (job.table > 0).then(|| job.attachments.clone()));
        }
        let worker = worker.unwrap_or_default();
        let queue = memory.queue();
        let words = queue.slot(slot);
        // Relaxed, both: the slot's state has ordered them, or the kernel, which reports a worker dead after its last store.
        let [begun, flushed] = [&words.begun, &words.flushed].map(|word| word.load(Ordering::Relaxed));
        let is_done = queue.is_done(slot);
        let is_readable = self.take_results(memory, slot, &mut job, worker, begun as usize, is_done);
        if flushed > 0 || !is_done {
            memory.punch_results(slot); // A dead worker may have written results that it did not live to count.
        }
        if let Some(extent) = self.extents[slot].as_ref().filter(|_| !is_done || !is_readable) {
            extent.clear(); // For the same reason.
        }
        if let Some(ended) = dead.filter(|_| !is_done && begun as usize > job.done && job.left() > 0) {
            self.lose_item(memory, &mut job, slot, worker, ended);
        }
        self.free_or_repeat(memory, slot, job);
    }

    /// Takes what results there are; false if they cannot be read.
    fn take_results(
        &mut self,
        memory: &Memory,
        slot: usize,
        job: &mut Job,
        worker: WorkerId,
        begun: usize,
        is_done: bool,
    ) -> bool {
        let words = memory.queue().slot(slot);
        // Relaxed, both: as `begun`.
        let [written, flushed] = [&words.written, &words.flushed].map(|word| word.load(Ordering::Relaxed));
        let bytes = memory.read_results(slot, written, flushed);
        let begun_now = begun.saturating_sub(job.done);
        let answered = match &bytes {
            _ if is_done => begun_now,
            Ok(bytes) => Records::new(bytes, self.timed).count(),
            // What cannot be read is not run again: all but the last had their results.
            Err(_) => begun_now.saturating_sub(1),
        };
        let answered = answered.min(job.left());
        let is_readable = bytes.is_ok();
        match bytes {
            _ if answered == 0 => {}
            Ok(bytes) => self.take_records(memory, job, slot, worker, answered, bytes),
            Err(error) => {
                let error = JobError::of_system(&format!("reading results of {written} bytes"), error);
                self.fail(job.group.clone(), job.next(), answered, error);
                job.advance(answered);
            }
        }
        is_readable
    }

    /// Takes the records of a job's next items.
    fn take_records(
        &mut self,
        memory: &Memory,
        job: &mut Job,
        slot: usize,
        (worker, pid): WorkerId,
        items: usize,
        bytes: Vec<u8>,
    ) {
        let queue = memory.queue();
        // Relaxed, both: as the other words of the slot.
        let [counted, long] =
            [&queue.slot(slot).failed, &queue.slot(slot).long].map(|word| word.load(Ordering::Relaxed));
        let failed = match queue.is_done(slot) {
            _ if bytes.is_empty() => items,
            true => (counted as usize).min(items),
            // It may have counted an item whose record it did not live to publish.
            false => Records::new(&bytes, self.timed).filter(Record::is_failure).count(),
        };
        if self.timed {
            for (job, record) in (job.number()..).zip(Records::new(&bytes, true).take(items)) {
                let ending = if record.is_failure() {
                    Ending::Failed
                } else {
                    Ending::Done
                };
                let bar = Bar::new(job, worker, pid, record.times, self.zero, ending);
                self.bars.push(bar);
            }
        }
        let part = Part::Records {
            first: job.next(),
            count: items,
            bytes,
            extent: self.extents[slot].take_if(|_| long > 0),
            timed: self.timed,
            worker: pid,
        };
        job.advance(items);
        self.ended(&job.group, items, failed);
        event!(failed > 0 => debug, failed, of = items, worker = pid, "jobs failed");
        self.deliveries.push(Delivery {
            group: job.group.clone(),
            part,
            items,
            failed,
        });
    }

    /// Handles the item that a dead worker held: it is run again if that is allowed, otherwise lost.
    fn lose_item(&mut self, memory: &Memory, job: &mut Job, slot: usize, (worker, pid): WorkerId, ended: &Ended) {
        if self.timed {
            let times = Times {
                begun: memory.queue().slot(slot).begun_at.load(Ordering::Relaxed),
                done: clock::monotonic_nanos(),
            };
            let bar = Bar::new(job.number(), worker, pid, times, self.zero, Ending::Died);
            self.bars.push(bar);
        }
        let error = JobError::WorkerDied {
            signal: ended.signal,
            code: ended.code,
            worker: pid,
        };
        if job.retries_left > 0 {
            job.retries_left -= 1;
            job.lost = Some(error);
            self.progress.retried += 1;
            event!(debug, job = job.number(), worker = pid, %ended, "job retried");
            return;
        }
        event!(warn, job = job.number(), worker = pid, %error, "job lost");
        self.fail(job.group.clone(), job.next(), 1, error);
        job.advance(1);
    }

    /// Frees the slot of a job that has ended; otherwise what is left of it is posted again, ahead of jobs that have no slot yet.
    fn free_or_repeat(&mut self, memory: &Memory, slot: usize, mut job: Job) {
        memory.queue().free(slot);
        if job.left() == 0 {
            self.unneeded.extend(job.shares.take());
            self.release(memory, slot);
            return;
        }
        self.reset(memory, slot, &job);
        self.posted[slot] = Some(job);
        self.again.push_back(slot);
    }

    // What jobs have brought along.

    /// Notes what a worker may hold from now on.
    fn hold(&mut self, worker: usize, attachments: Option<Arc<Attachments>>) {
        let before = std::mem::replace(&mut self.held[worker], attachments);
        self.unneeded.extend(before);
    }

    /// Releases what workers no longer hold: a sleeping worker holds nothing, and a worker that has gone on holds only what its
    /// current job brought (A4).
    pub(super) fn release_segments(&mut self, memory: &Memory) {
        let queue = memory.queue();
        for worker in 0..self.held.len() {
            if self.held[worker].is_none() {
                continue;
            }
            let has_gone_on = |slot: usize| {
                // Acquire: pairs with the Release in `Worker::run`.
                let has_settled = queue.slot(slot).job.settled.load(Ordering::Acquire) != 0;
                has_settled && self.posted[slot].is_some() && queue.worker_of(slot) == Some(worker)
            };
            if queue.is_asleep(worker) || (0..self.posted.len()).any(has_gone_on) {
                self.hold(worker, None);
            }
        }
    }

    /// Stops taking part in the queues of a job once its worker takes part: otherwise the worker might wait for this process alone.
    /// A job that may yet be run again keeps its share, as another participant may still come.
    pub(super) fn release_shares(&mut self, memory: &Memory) {
        let queue = memory.queue();
        for (slot, job) in self.posted.iter_mut().enumerate() {
            let Some(job) = job.as_mut().filter(|job| job.shares.is_some() && job.retries_left == 0) else {
                continue;
            };
            // Acquire: pairs with the Release in `note_arguments`; the worker is counted where it takes part.
            if queue.slot(slot).job.settled.load(Ordering::Acquire) == JOINED {
                self.unneeded.extend(job.shares.take());
            }
        }
    }
}
