//! `Group`: the results of jobs that were submitted together, as they arrive.

use super::extent::Extent;
use super::job_error::JobError;
use super::records::{Records, no_record};
use crate::primitive::{Deadline, Home};
use parking_lot::{Condvar, Mutex};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

/// What is known of a range of items.
pub(super) enum Part {
    /// What their worker wrote about them.
    Records {
        first: usize,
        count: usize,
        bytes: Vec<u8>,
        /// Holds the long ones.
        extent: Option<Extent>,
        timed: bool,
        worker: u32,
    },
    /// None of them has a result.
    Failure {
        first: usize,
        count: usize,
        error: JobError,
    },
}

impl Part {
    pub(super) fn first(&self) -> usize {
        match self {
            Part::Records { first, .. } | Part::Failure { first, .. } => *first,
        }
    }

    pub(super) fn items(&self) -> usize {
        match self {
            Part::Records { count, .. } | Part::Failure { count, .. } => *count,
        }
    }

    /// Reads the results of its items, in their order.
    #[inline(always)]
    pub(super) fn read<R: DeserializeOwned>(&self, mut each: impl FnMut(Result<R, JobError>)) {
        match self {
            Part::Records {
                count,
                bytes,
                extent,
                timed,
                worker,
                ..
            } => {
                let mut records = Records::new(bytes, *timed);
                for _ in 0..*count {
                    each(
                        records
                            .next()
                            .map_or_else(|| Err(no_record()), |record| record.read(*worker, extent.as_ref())),
                    );
                }
            }
            Part::Failure { count, error, .. } => {
                for _ in 0..*count {
                    each(Err(error.clone()));
                }
            }
        }
    }
}

/// A part on its way to its group, with the number of items it covers, and how many of those failed.
pub(super) struct Delivery {
    pub(super) group: Arc<Group>,
    pub(super) part: Part,
    pub(super) items: usize,
    pub(super) failed: usize,
}

impl Delivery {
    /// Tells the group. Nothing may be locked: a waiting caller may submit the next job at once.
    pub(super) fn deliver(self) {
        self.group.deliver(self.part, self.items, self.failed);
    }
}

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Items that have neither result nor error yet.
    left: usize,
    /// The number of items in total.
    items: usize,
    failed: usize,
    waker: Option<Waker>,
    /// The places of its jobs in the backlog.
    places: Vec<u64>,
    /// Whether a caller waits for any part, not for all.
    eager: bool,
}

/// The results of a set of items.
pub(super) struct Group {
    state: Mutex<State>,
    news: Condvar,
    /// Whether its items are waited for one by one.
    prompt: bool,
    /// The process that waits; a copy of it would wait for ever.
    home: Home,
}

impl Group {
    /// A group that expects no items yet.
    pub(super) fn new(prompt: bool) -> Self {
        Group {
            state: Mutex::default(),
            news: Condvar::new(),
            prompt,
            home: Home::here(),
        }
    }

    /// Refuses a copy of the process it was made in, without touching any lock there.
    pub(super) fn check_home(&self) -> Result<(), JobError> {
        if self.home.is_here() {
            Ok(())
        } else {
            Err(JobError::ForeignProcess)
        }
    }

    /// Whether each part is sure to be waited for.
    pub(super) fn is_prompt(&self) -> bool {
        self.prompt
    }

    /// Expects `items` more items.
    pub(super) fn expect(&self, items: usize) {
        let mut state = self.state.lock();
        state.left += items;
        state.items += items;
    }

    /// Takes a part in that covers `items` items, `failed` of which have no result.
    pub(super) fn deliver(&self, part: Part, items: usize, failed: usize) {
        let mut state = self.state.lock();
        state.parts.push_back(part);
        state.left = state.left.saturating_sub(items);
        state.failed += failed;
        let ended = state.left == 0;
        let waker = if ended { state.waker.take() } else { None };
        if ended || state.eager {
            self.news.notify_all();
        }
        drop(state);
        if let Some(waker) = waker {
            // An executor that panics must not end the pool's thread.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    /// Notes that a job of this group waits in the backlog, at that place.
    pub(super) fn note_place(&self, place: u64) {
        self.state.lock().places.push(place);
    }

    pub(super) fn take_places(&self) -> Vec<u64> {
        std::mem::take(&mut self.state.lock().places)
    }

    /// Whether the group has exactly `items` items, none of which has ended.
    pub(super) fn is_untouched_but(&self, items: usize) -> bool {
        let state = self.state.lock();
        state.left == items && state.items == items
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state.lock().left == 0
    }

    /// Whether all have ended with results.
    pub(super) fn is_successful(&self) -> bool {
        let state = self.state.lock();
        state.left == 0 && state.failed == 0
    }

    /// Waits until all have ended; false on timeout.
    pub(super) fn wait(&self, deadline: Deadline) -> bool {
        let mut state = self.state.lock();
        while state.left > 0 {
            if !self.sleep(&mut state, deadline) {
                return state.left == 0;
            }
        }
        true
    }

    fn sleep(&self, state: &mut parking_lot::MutexGuard<'_, State>, deadline: Deadline) -> bool {
        match deadline.left() {
            None => {
                self.news.wait(state);
                true
            }
            Some(left) => !left.is_zero() && !self.news.wait_for(state, left).timed_out(),
        }
    }

    /// Leaves a waker to be called when all have ended; true if they have.
    pub(super) fn poll(&self, waker: &Waker) -> bool {
        // Wakers are cloned and dropped while nothing is locked: both may run any code.
        let mut waker = Some(waker.clone());
        let mut state = self.state.lock();
        let ready = state.left == 0;
        if !ready {
            std::mem::swap(&mut state.waker, &mut waker);
        }
        drop(state);
        ready
    }

    /// Takes all parts, in the order of their items.
    pub(super) fn take(&self) -> Vec<Part> {
        let mut parts: Vec<_> = self.state.lock().parts.drain(..).collect();
        parts.sort_unstable_by_key(Part::first);
        parts
    }

    /// Waits for any part; `None` once no more will come.
    pub(super) fn next(&self) -> Option<Part> {
        let mut state = self.state.lock();
        loop {
            if let Some(part) = state.parts.pop_front() {
                return Some(part);
            }
            if state.left == 0 {
                return None;
            }
            state.eager = true;
            self.news.wait(&mut state);
            state.eager = false;
        }
    }
}
