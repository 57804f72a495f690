//! The pool's thread: it handles finished jobs, dead workers, and workers that ask for descriptors.

use super::engine::Engine;
use super::job_error::JobError;
use super::state::{Phase, State, Unaware, deliver};
use super::worker::word;
use crate::primitive::Ordering;
use crate::process::pause::Pause;
use crate::sys::file::AsFd;
use crate::sys::{clock, event, spawn};
use crate::travel::Attachments;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// While jobs are out, the thread looks at this interval for a ready job that no worker takes: the worker that was woken for it may
/// have been stopped.
const TICK: Duration = Duration::from_millis(20);
/// After this many ticks without news they become longer, or end if no jobs are out.
const TICKS: u32 = 50;
const LONG_TICK: Duration = Duration::from_millis(200);
/// How long the thread sleeps at most while it lets finished jobs gather.
const GATHER: Duration = Duration::from_millis(1);
/// How long the end of a pool waits for workers that are being started.
const LATE: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts or resumes the pool's thread.
    pub(super) fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let engine = self.clone();
        let builder = thread::Builder::new().name("procshare-pool".to_owned());
        let mut place = self.thread.lock();
        self.state.lock().runs = true; // Set before, as the thread may have ended by the time its start is known.
        let started = builder.spawn(move || engine.run_to_the_end());
        if started.is_err() {
            self.state.lock().runs = false;
        }
        *place = Some(started?);
        Ok(())
    }

    /// Waits for the end of the pool's thread, unless called on it.
    pub(super) fn join_thread(&self) {
        if self.is_own_thread() {
            return;
        }
        self.wait_until_empty();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }

    /// Whether this is the pool's thread, which cannot wait for itself.
    pub(super) fn is_own_thread(&self) -> bool {
        let is_it = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        self.thread.lock().as_ref().is_some_and(is_it)
    }

    /// Runs the thread. If it panics (calls of user code are guarded), nothing waits for it for ever.
    fn run_to_the_end(self: &Arc<Self>) {
        if catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            self.abandon();
        }
    }

    /// There is no thread any more: ends the pool, so that nothing waits for what will not come.
    fn abandon(&self) {
        self.terminate(JobError::Terminated);
        let mut state = self.state.lock();
        state.seats.iter_mut().for_each(|seat| drop(seat.take()));
        drop(state);
        drop(self.hire.lock().take());
        self.go();
    }

    /// The thread has done its work. From now on, trash is dropped where it arises; earlier trash is dropped here.
    fn go(&self) {
        let mut state = self.state.lock();
        state.is_gone = true;
        let (trash, doomed) = (core::mem::take(&mut state.trash), core::mem::take(&mut state.doomed));
        drop(state);
        drop(doomed);
        self.let_go_of(trash);
        self.empty.notify_all();
    }

    /// The thread's loop: until the pool is closed or terminated, and the last worker has gone.
    fn run(self: &Arc<Self>) {
        let mut idle_ticks = 0;
        let mut collected = 0;
        let mut over_since = None;
        loop {
            let (ended, is_idle) = self.sleep(collected, idle_ticks);
            let mut deliveries = vec![];
            let mut state = self.state.lock();
            state.unaware = Unaware::No;
            if state.paused {
                state.runs = false;
                return; // The events are found again on resuming.
            }
            collected = self.collect(&mut state, &mut deliveries);
            self.bury(&mut state, &ended, &mut deliveries);
            self.post_jobs(&mut state, &mut deliveries);
            let left_over = self.wake_for_leftovers();
            let questions = self.questions(&state);
            self.let_go(&state);
            self.let_segments_go(&mut state);
            self.let_shares_go(&mut state);
            let trash = core::mem::take(&mut state.trash);
            let unreported = core::mem::take(&mut state.unreported);
            let vacant = state.vacant();
            if state.is_over() {
                over_since.get_or_insert_with(Instant::now);
            }
            // A worker that is being started is waited for, but not for ever.
            let is_late = |since: Instant| since.elapsed() > LATE;
            let over = state.is_over() && (!state.hiring.contains(&true) || over_since.is_some_and(is_late));
            vacant.iter().for_each(|seat| state.hiring[*seat] = true);
            let is_complete = state.is_complete() && over_since.is_none();
            drop(state);
            // Before anything else, as workers wait for it.
            let left_over = self.hand_over(questions) || left_over;
            let news = unreported || !deliveries.is_empty();
            deliver(deliveries);
            self.let_go_of(trash);
            if news {
                self.report();
            }
            self.fill(vacant);
            if over {
                // It may hold a handle of the pool.
                let last = (self.watch.lock().take(), self.hire.lock().take());
                drop(last); // Unlocked, as above.
                self.go();
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
            // A worker may have been stopped between two steps of reporting that it is done.
            (u64::MAX, Some(LONG_TICK))
        } else {
            state.unaware = Unaware::Asleep;
            (u64::MAX, None)
        };
        let (pidfds, ended_already) = state.descriptors();
        drop(state);
        // With news already there, this only checks which workers have ended.
        let must_look = !ended_already.is_empty() || !board.doze(few);
        let limit = if must_look { Some(Duration::ZERO) } else { limit };
        let bell = [self.bell.as_fd()];
        let fds: Vec<_> = bell
            .into_iter()
            .chain(pidfds.iter().map(|(_, fd)| fd.as_fd()))
            .collect();
        let Ok(ready) = spawn::wait_any(&fds, limit) else {
            // For example in a process that may not have so many descriptors: workers are then checked at intervals.
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

    /// Starts workers for vacant seats, on a separate thread: a server that makes them may have been stopped.
    fn fill(self: &Arc<Self>, seats: Vec<usize>) {
        if seats.is_empty() {
            return;
        }
        let start = {
            let (engine, seats) = (self.clone(), seats.clone());
            let helper = self.helpers.clone();
            move || {
                engine.replace(&seats);
                drop(helper);
            }
        };
        let thread = thread::Builder::new().name("procshare-hire".to_owned());
        if thread.spawn(start).is_err() {
            self.replace(&seats);
        }
    }

    /// Starts workers, until one start fails.
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
        self.tell_thread(); // So that it also watches for the new workers' ends.
        deliver(deliveries);
    }

    /// Wakes a worker if jobs are ready while workers sleep: one that was woken may have been stopped, or killed. Returns whether
    /// there are such jobs.
    fn wake_for_leftovers(&self) -> bool {
        let board = self.memory.board();
        board.has_sleeper() && board.has_ready() && board.wake_one()
    }

    /// Releases what workers no longer hold: a sleeping worker holds nothing, and a worker that has gone on holds only what its
    /// current job brought.
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

    /// Stops taking part in the queues of a job once its worker takes part: otherwise the worker might wait for this process alone.
    /// A job that may yet be run again keeps its share, as another participant may still come.
    fn let_shares_go(&self, state: &mut State) {
        let board = self.memory.board();
        let State { posted, trash, .. } = state;
        for (slot, job) in posted.iter_mut().enumerate() {
            let Some(job) = job.as_mut().filter(|job| job.shares.is_some() && job.retries_left == 0) else {
                continue;
            };
            // Acquire: pairs with the Release in `note_arguments`; the worker is counted where it takes part.
            if board.slot(slot).job[word::SETTLED].load(Ordering::Acquire) == word::JOINED {
                trash.extend(job.shares.take());
            }
        }
    }

    /// Lets the workers of a closed pool end once nothing is left to do.
    fn let_go(&self, state: &State) {
        if matches!(state.phase, Phase::Closed) && state.progress.left() == 0 && !self.memory.board().is_closing() {
            self.memory.board().close();
        }
    }

    fn report(&self) {
        // Called while nothing is locked: the hook may set another in its place.
        let Some(mut watch) = self.watch.lock().take() else {
            return;
        };
        let progress = self.progress();
        // The pool goes on without a hook that panics.
        if catch_unwind(AssertUnwindSafe(|| watch(&progress))).is_ok() {
            let mut place = self.watch.lock();
            if place.is_none() {
                *place = Some(watch);
            }
        }
    }

    /// Drops what jobs have brought along. Giving up seats takes a lock that a stopped worker may hold, so the pool's thread does
    /// not wait for that.
    fn let_go_of(&self, trash: Vec<Arc<Attachments>>) {
        if !trash.iter().any(|attachments| attachments.has_seats()) {
            return;
        }
        let (send, receive) = mpsc::channel::<Vec<Arc<Attachments>>>();
        let thread = thread::Builder::new().name("procshare-seats".to_owned());
        let helper = self.helpers.clone();
        let drop_it = move || {
            drop(receive.recv());
            drop(helper);
        };
        if thread.spawn(drop_it).is_ok() {
            let _ = send.send(trash); // It waits for nothing else.
        }
    }
}

/// Only while this process is being copied, nothing looks after the pool. Workers go on; their questions and results wait for the
/// thread.
impl Pause for Engine {
    fn pause(&self) -> usize {
        let helpers = Arc::strong_count(&self.helpers) - 1;
        // The pool's own thread cannot end here, and is one too many.
        if !self.home.is_here() || self.is_own_thread() {
            return helpers;
        }
        let mut state = self.state.lock();
        state.paused = true;
        let threads = helpers + usize::from(state.runs && !state.is_gone);
        drop(state);
        self.tell_thread();
        threads
    }

    fn resume(self: Arc<Self>) {
        let mut state = self.state.lock();
        let has_ended = core::mem::take(&mut state.paused) && !state.runs && !state.is_gone;
        drop(state);
        // If the last handle is dropped meanwhile, the thread sees to the end of the workers.
        if has_ended && self.start_thread().is_err() {
            self.abandon();
        }
    }
}
