//! The state that the parent of a pool keeps: jobs, slots, seats.

use super::extent::Extent;
use super::group::{Group, Part};
use super::handover::Counter;
use super::job::Job;
use super::job_error::JobError;
use super::progress::Progress;
use super::timeline::Bar;
use crate::error::Result;
use crate::process::handle::Process;
use crate::process::join_error::JoinError;
use crate::sys::file::OwnedFd;
use crate::travel::Attachments;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub(super) enum Phase {
    Open,
    /// What was already submitted still runs to its end.
    Closed,
    /// Nothing more is done, for this reason.
    Over(JobError),
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// Slots without a job, the most recently used first: its memory is warm.
    pub(super) free: Vec<usize>,
    /// By slot.
    pub(super) posted: Vec<Option<Job>>,
    /// By slot: where its long results go. Once some are taken, the extent belongs to them.
    pub(super) extents: Vec<Option<Extent>>,
    /// Extents of jobs that were given up while workers may still read them: kept until those workers have ended.
    pub(super) doomed: Vec<Arc<Extent>>,
    /// Slots whose job has to be posted again.
    pub(super) again: VecDeque<usize>,
    /// Jobs without a slot, in order of submission.
    pub(super) backlog: BTreeMap<u64, Job>,
    pub(super) next_in_backlog: u64,
    /// Seats for which a worker is currently being started.
    pub(super) hiring: Vec<bool>,
    pub(super) seats: Vec<Option<Process<Result<()>>>>,
    /// Workers in a row that ended before they were ready.
    pub(super) misfires: u32,
    /// No worker is started before this time.
    pub(super) hire_after: Option<Instant>,
    pub(super) progress: Progress,
    /// Items sent whose results are waited for one by one.
    pub(super) prompt: usize,
    /// Whether the thread sleeps without a limit, or lets finished jobs gather: then a submission has to wake it.
    pub(super) unaware: Unaware,
    pub(super) bars: Vec<Bar>,
    /// What each worker may hold of what its last job brought along: if the worker were killed as the last to hold a segment, the
    /// segment's name would stay.
    pub(super) kept: Vec<Option<Arc<Attachments>>>,
    /// The parent's ends of the sockets on which workers get answers.
    pub(super) counters: Vec<Option<Counter>>,
    /// What to drop once nothing is locked: detaching segments may take time.
    pub(super) trash: Vec<Arc<Attachments>>,
    /// Jobs have ended that were not yet reported to the progress hook.
    pub(super) unreported: bool,
    /// The thread exists, and handles all events.
    pub(super) runs: bool,
    /// The thread must end although it still has work to do.
    pub(super) paused: bool,
    /// The thread has finished all its work.
    pub(super) is_gone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unaware {
    /// It will look soon.
    No,
    /// It sleeps, unaware of anything.
    Asleep,
    /// It is unaware of jobs that are waited for one by one.
    Gathering,
}

/// A part, its group, the number of items it covers, and how many of them failed.
pub(super) struct Delivery {
    pub(super) group: Arc<Group>,
    pub(super) part: Part,
    pub(super) items: usize,
    pub(super) failed: usize,
}

impl State {
    /// Counts items that have ended.
    pub(super) fn ended(&mut self, group: &Group, items: usize, failed: usize) {
        self.progress.finished += items as u64;
        self.progress.failed += failed as u64;
        if group.is_prompt() {
            self.prompt = self.prompt.saturating_sub(items);
        }
    }

    /// Notes what a worker may hold from now on.
    pub(super) fn keep(&mut self, seat: usize, attachments: Option<Arc<Attachments>>) {
        let before = std::mem::replace(&mut self.kept[seat], attachments);
        self.trash.extend(before);
    }

    /// Puts a job into the backlog, to wait for a slot.
    pub(super) fn put_back(&mut self, job: Job) {
        job.group.note_place(self.next_in_backlog);
        self.backlog.insert(self.next_in_backlog, job);
        self.next_in_backlog += 1;
    }

    pub(super) fn needs_workers(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Closed => self.progress.left() > 0,
            Phase::Over(_) => false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !matches!(self.phase, Phase::Open) && !self.needs_workers() && self.seats.iter().all(Option::is_none)
    }

    /// Whether all seats that should be filled are.
    pub(super) fn is_complete(&self) -> bool {
        !self.needs_workers() || self.seats.iter().all(Option::is_some)
    }

    /// Seats that should be filled now.
    pub(super) fn vacant(&self) -> Vec<usize> {
        if self.hire_after.is_some_and(|moment| Instant::now() < moment) {
            return vec![];
        }
        let seats = self.seats.iter().enumerate();
        let is_vacant = |seat: usize| self.seats[seat].is_none() && !self.hiring[seat];
        let vacant = seats.filter(|(seat, _)| is_vacant(*seat) && self.needs_workers());
        vacant.map(|(seat, _)| seat).collect()
    }

    /// The descriptors of the workers that may run, and the seats of those that are known to have ended.
    pub(super) fn descriptors(&self) -> (Vec<(usize, Arc<OwnedFd>)>, Vec<usize>) {
        let (mut running, mut ended) = (vec![], vec![]);
        for (seat, process) in self.seats.iter().enumerate() {
            match process.as_ref().map(Process::pidfd) {
                Some(Some(pidfd)) => running.push((seat, pidfd)),
                Some(None) => ended.push(seat),
                None => {}
            }
        }
        (running, ended)
    }
}

/// How a worker has ended.
pub(super) struct Ended {
    pub(super) signal: Option<i32>,
    pub(super) code: Option<i32>,
    pub(super) text: String,
}

impl Ended {
    pub(super) fn of(outcome: Result<Result<()>, JoinError>) -> Self {
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

/// Ends items with an error.
pub(super) fn fail(state: &mut State, group: Arc<Group>, first: usize, count: usize, error: JobError) -> Delivery {
    state.ended(&group, count, count);
    Delivery {
        group,
        part: Part::Failure { first, count, error },
        items: count,
        failed: count,
    }
}

/// Ends the rest of a job.
pub(super) fn give_up(state: &mut State, mut job: Job, error: JobError, deliveries: &mut Vec<Delivery>) {
    if let Some(lost) = job.lost.take() {
        deliveries.push(fail(state, job.group.clone(), job.next(), 1, lost));
        job.advance(1);
    }
    state.trash.push(job.attachments.clone());
    state.trash.extend(job.shares.take());
    state.unreported = true;
    let (first, count) = (job.next(), job.left());
    if count > 0 {
        deliveries.push(fail(state, job.group, first, count, error));
    }
}

/// Tells the groups, once the pool's state is unlocked: a waiting caller may submit the next job at once.
pub(super) fn deliver(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        delivery.group.deliver(delivery.part, delivery.items, delivery.failed);
    }
}
