//! The pool's thread: it handles finished jobs, dead workers, and workers that request descriptors.

use super::{Engine, Phase, Sleep, State};
use crate::error::Error;
use crate::pool::group::Delivery;
use crate::pool::job_error::JobError;
use crate::pool::request::Reply;
use crate::pool::workers::Ended;
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

/// What the thread carries from one round to the next.
#[derive(Default)]
struct Rounds {
    /// How many jobs the last one collected.
    collected: usize,
    /// How many had no news, in a row.
    idle: u32,
    /// When the pool was over.
    over_since: Option<Instant>,
}

/// Why the thread is awake.
struct Woken {
    /// The workers that have ended.
    ended: Vec<usize>,
    /// Only because time has passed.
    is_idle: bool,
}

/// What a round leaves to be done once the state is unlocked (K2).
struct Round {
    replies: Vec<Reply>,
    deliveries: Vec<Delivery>,
    unneeded: Vec<Arc<Attachments>>,
    /// Numbers of workers to start.
    vacant: Vec<usize>,
    /// Jobs have ended without the thread.
    has_news: bool,
    /// Jobs are ready while workers sleep.
    has_leftovers: bool,
    is_complete: bool,
    is_last: bool,
}

impl Engine {
    /// Starts or resumes the pool's thread.
    pub(in crate::pool) fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
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
    pub(in crate::pool) fn join_thread(&self) {
        if self.is_own_thread() {
            return;
        }
        self.wait_until_empty();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }

    /// Forgets the thread in a copy of the pool's process, where there is none.
    pub(in crate::pool) fn forget_thread(&self) {
        core::mem::forget(self.thread.lock().take());
    }

    /// Whether this is the pool's thread, which cannot wait for itself.
    pub(in crate::pool) fn is_own_thread(&self) -> bool {
        let is_it = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        self.thread.lock().as_ref().is_some_and(is_it)
    }

    /// Runs the thread. If it panics (calls of user code are guarded), nothing waits for it for ever.
    fn run_to_the_end(self: &Arc<Self>) {
        if catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            self.abandon();
        }
    }

    /// There is no thread any more: ends the pool, so that nothing waits for what will not come (K4).
    fn abandon(&self) {
        self.terminate(JobError::Terminated);
        self.state.lock().workers.forget();
        drop(self.launcher.close());
        self.finish();
    }

    /// The thread has done its work. From now on, what is not needed is dropped where it arises; what is left is dropped here.
    fn finish(&self) {
        let mut state = self.state.lock();
        state.is_gone = true;
        let (unneeded, extents) = (state.jobs.take_unneeded(), state.jobs.take_extents());
        drop(state);
        drop(extents);
        self.drop_attachments(unneeded);
        self.empty.notify_all();
    }

    /// The thread's loop: until the pool is closed or terminated, and the last worker has gone.
    fn run(self: &Arc<Self>) {
        let mut rounds = Rounds::default();
        loop {
            let woken = self.sleep(&rounds);
            let Some(round) = self.look(&woken.ended, &mut rounds) else {
                return; // The events are found again on resuming.
            };
            // Before anything else, as workers wait for it.
            let has_leftovers = self.reply(round.replies) || round.has_leftovers;
            let has_news = round.has_news || !round.deliveries.is_empty();
            round.deliveries.into_iter().for_each(Delivery::deliver);
            self.drop_attachments(round.unneeded);
            if has_news {
                self.report();
            }
            self.fill(round.vacant);
            if round.is_last {
                // It may hold a handle of the pool.
                let last = (self.hook.lock().take(), self.launcher.close());
                drop(last); // Unlocked, as dropping it may run any code.
                self.finish();
                return;
            }
            let nothing_new = woken.is_idle && !has_news && !has_leftovers && round.is_complete;
            rounds.idle = if nothing_new { rounds.idle + 1 } else { 0 };
        }
    }

    /// Looks at everything; `None` if the thread is to pause.
    fn look(&self, ended: &[usize], rounds: &mut Rounds) -> Option<Round> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.sleep = Sleep::Awake;
        if state.paused {
            state.runs = false;
            return None;
        }
        rounds.collected = self.collect(state);
        self.reap(state, ended);
        state.jobs.post(&self.memory);
        let has_leftovers = self.wake_for_leftovers();
        let replies = state.workers.replies(&self.memory, |slot, worker| {
            state.jobs.attachments_of(&self.memory, slot, worker)
        });
        self.close_queue(state);
        state.jobs.release_segments(&self.memory);
        state.jobs.release_shares(&self.memory);
        let vacant = state.vacant();
        if state.is_over() {
            rounds.over_since.get_or_insert_with(Instant::now);
        }
        // A worker that is being started is waited for, but not for ever.
        let is_late = |since: Instant| since.elapsed() > LATE;
        let has_starts = state.workers.is_any_being_started();
        let is_last = state.is_over() && (!has_starts || rounds.over_since.is_some_and(is_late));
        state.workers.begin_start(&vacant);
        Some(Round {
            replies,
            deliveries: state.jobs.take_deliveries(),
            unneeded: state.jobs.take_unneeded(),
            vacant,
            has_news: state.jobs.take_news(),
            has_leftovers,
            is_complete: state.is_complete() && rounds.over_since.is_none(),
            is_last,
        })
    }

    /// Handles workers that have ended.
    fn reap(&self, state: &mut State, ended: &[usize]) {
        for &number in ended {
            let Some(ended) = state.workers.end_of(number) else {
                continue;
            };
            state.jobs.take_from_dead(&self.memory, number, &ended);
            if !state.workers.remove(&self.memory, number) {
                self.note_failed_start(state, ended.to_string());
            }
        }
    }

    /// Records a start that failed; after several failures, if no worker is there, the pool gives up.
    fn note_failed_start(&self, state: &mut State, why: String) {
        if state.workers.note_failed_start(&self.memory) {
            self.give_all_up(state, JobError::NoWorkers(why));
        }
    }

    /// Answers the workers that request descriptors; returns whether some replies have to wait.
    fn reply(&self, replies: Vec<Reply>) -> bool {
        let mut is_left = false;
        for reply in replies {
            is_left |= reply.deliver(&self.memory, |worker, request| {
                self.state.lock().workers.refused_since(worker, request)
            });
        }
        is_left
    }

    /// Sleeps until there is news.
    fn sleep(&self, rounds: &Rounds) -> Woken {
        let queue = self.memory.queue();
        let mut state = self.state.lock();
        let (few, limit) = if rounds.collected >= 4 && state.jobs.may_gather() {
            state.sleep = Sleep::Gathering;
            (u64::from(self.shape().slots) / 4, Some(GATHER))
        } else if rounds.idle < TICKS {
            (u64::MAX, Some(TICK))
        } else if state.jobs.left() > 0 {
            // A worker may have been stopped between two steps of reporting that it is done.
            (u64::MAX, Some(LONG_TICK))
        } else {
            state.sleep = Sleep::Unlimited;
            (u64::MAX, None)
        };
        let (pidfds, ended_already) = state.workers.descriptors();
        drop(state);
        // With news already there, this only checks which workers have ended.
        let must_look = !ended_already.is_empty() || !queue.begin_sleep(few);
        let limit = if must_look { Some(Duration::ZERO) } else { limit };
        let wakeup = [self.wakeup.as_fd()];
        let fds: Vec<_> = wakeup
            .into_iter()
            .chain(pidfds.iter().map(|(_, fd)| fd.as_fd()))
            .collect();
        let Ok(ready) = spawn::wait_any(&fds, limit) else {
            // For example in a process that may not have so many descriptors: workers are then checked at intervals.
            clock::sleep(limit.unwrap_or(LONG_TICK).min(TICK));
            queue.end_sleep();
            let numbers = pidfds.iter().map(|(number, _)| *number);
            return Woken {
                ended: numbers.chain(ended_already).collect(),
                is_idle: false,
            };
        };
        queue.end_sleep();
        if ready.first() == Some(&true) {
            let _ = event::drain(self.wakeup.as_fd()); // Drained or not, the thread looks at everything.
        }
        let numbers = pidfds.iter().zip(ready.iter().skip(1));
        let ended = numbers.filter(|(_, ready)| **ready).map(|((number, _), _)| *number);
        Woken {
            is_idle: !must_look && !ready.contains(&true),
            ended: ended.chain(ended_already).collect(),
        }
    }

    /// Starts workers with vacant numbers, on a separate thread: a server that makes them may have been stopped.
    fn fill(self: &Arc<Self>, numbers: Vec<usize>) {
        if numbers.is_empty() {
            return;
        }
        let start = {
            let (engine, numbers) = (self.clone(), numbers.clone());
            let helper = self.helpers.clone();
            move || {
                engine.replace(&numbers);
                drop(helper);
            }
        };
        let thread = thread::Builder::new().name("procshare-start".to_owned());
        if thread.spawn(start).is_err() {
            self.replace(&numbers);
        }
    }

    /// Starts workers, until one start fails.
    fn replace(&self, numbers: &[usize]) {
        let failed = numbers
            .iter()
            .find_map(|&number| Some((number, self.start_worker(number).err()?)));
        let mut state = self.state.lock();
        state.workers.end_start(numbers);
        if let Some((number, error)) = failed {
            self.take_from_abandoned(&mut state, number, &error);
            self.note_failed_start(&mut state, error.to_string());
        }
        let deliveries = state.jobs.take_deliveries();
        drop(state);
        self.tell_thread(); // So that it also watches for the new workers' ends.
        deliveries.into_iter().for_each(Delivery::deliver);
    }

    /// Takes the jobs of a process that was killed because its start could not be completed: it may have begun some. It has been
    /// waited for (G2).
    fn take_from_abandoned(&self, state: &mut State, number: usize, error: &Error) {
        self.collect(state);
        let ended = Ended::abandoned(state.workers.id_of(&self.memory, number), error);
        state.jobs.take_from_dead(&self.memory, number, &ended);
        state.workers.vacate(&self.memory, number);
    }

    /// Wakes a worker if jobs are ready while workers sleep: one that was woken may have been stopped, or killed. Returns whether
    /// there are such jobs.
    fn wake_for_leftovers(&self) -> bool {
        let queue = self.memory.queue();
        queue.has_sleeper() && queue.has_ready() && queue.wake_one()
    }

    /// Lets the workers of a closed pool end once nothing is left to do.
    fn close_queue(&self, state: &State) {
        if matches!(state.phase, Phase::Closed) && state.jobs.left() == 0 && !self.memory.queue().is_closing() {
            self.memory.queue().close();
        }
    }

    fn report(&self) {
        // Called while nothing is locked: the hook may set another in its place.
        let Some(mut hook) = self.hook.lock().take() else {
            return;
        };
        let progress = self.progress();
        // The pool goes on without a hook that panics.
        if catch_unwind(AssertUnwindSafe(|| hook(&progress))).is_ok() {
            let mut place = self.hook.lock();
            if place.is_none() {
                *place = Some(hook);
            }
        }
    }

    /// Drops what jobs have brought along. Giving up seats takes a lock that a stopped worker may hold, so the pool's thread does
    /// not wait for that.
    fn drop_attachments(&self, attachments: Vec<Arc<Attachments>>) {
        if !attachments.iter().any(|attachments| attachments.has_seats()) {
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
            let _ = send.send(attachments); // It waits for nothing else.
        }
    }
}

/// Only while this process is being copied, nothing looks after the pool. Workers go on; their requests and results wait for the
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
