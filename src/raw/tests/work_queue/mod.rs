mod broken;
mod deaths;

use super::{check, process, tick};
use crate::primitive::model::futex;
use crate::primitive::{AtomicU64, Ordering, Padded, Wait, fence};
use crate::raw::work_queue::{ASLEEP, AWAKE, DONE, Full, READY, RawSlot, RawWorkQueue, TAKEN, WorkQueueWords, state};
use loom::cell::UnsafeCell;
use loom::thread;
use std::ops::Range;
use std::sync::Arc;

/// Each job's result is one more.
const JOBS: [u32; 2] = [11, 21];
const RESULTS: [u32; 2] = [12, 22];

/// A work queue whose jobs are numbers. Loom reports any two accesses to a job that the work queue does not order.
struct Site {
    words: WorkQueueWords,
    sleepers: Vec<Padded<AtomicU64>>,
    ring: Vec<AtomicU64>,
    slots: Vec<RawSlot>,
    jobs: Vec<UnsafeCell<u32>>,
    results: Vec<UnsafeCell<u32>>,
    /// Stands in for the descriptor that the poster sleeps on.
    call: AtomicU64,
    /// The workers that have died, a bit each.
    dead: AtomicU64,
}

// SAFETY: the jobs are touched as the work queue allows, which loom checks.
unsafe impl Sync for Site {}
// SAFETY: as above.
unsafe impl Send for Site {}

/// How the parties play; the mutants play one of these wrongly.
#[derive(Clone, Copy)]
struct Play {
    post: fn(RawWorkQueue<'_>, usize) -> Result<(), Full>,
    wake_one: fn(RawWorkQueue<'_>) -> bool,
    claim: fn(RawWorkQueue<'_>, usize) -> Option<usize>,
    finish: fn(RawWorkQueue<'_>, usize) -> bool,
    is_overdue: fn(RawWorkQueue<'_>) -> bool,
    sleep: fn(RawWorkQueue<'_>, usize),
    begin_sleep: fn(RawWorkQueue<'_>, u64) -> bool,
}

const RIGHT: Play = Play {
    post: |queue, at| queue.post(at),
    wake_one: |queue| queue.wake_one(),
    claim: |queue, worker| queue.claim(worker),
    finish: |queue, at| queue.finish(at),
    is_overdue: |queue| queue.is_overdue(),
    sleep: |queue, worker| queue.sleep(worker),
    begin_sleep: |queue, few| queue.begin_sleep(few),
};

impl Site {
    fn new(slots: usize, workers: usize) -> Arc<Self> {
        Arc::new(Site {
            words: WorkQueueWords::new(),
            sleepers: (0..workers).map(|_| Padded(AtomicU64::new(0))).collect(),
            ring: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            slots: (0..slots).map(|_| RawSlot::new()).collect(),
            jobs: (0..slots).map(|_| UnsafeCell::new(0)).collect(),
            results: (0..slots).map(|_| UnsafeCell::new(0)).collect(),
            call: AtomicU64::new(0),
            dead: AtomicU64::new(0),
        })
    }

    fn queue(&self) -> RawWorkQueue<'_> {
        RawWorkQueue::new(&self.words, &self.sleepers, &self.ring, &self.slots)
    }

    /// Writes a job into a free slot.
    fn write(&self, at: usize, job: u32) {
        // SAFETY: loom's cell checks that nobody else has access meanwhile.
        self.jobs[at].with_mut(|place| unsafe { *place = job });
        // SAFETY: as above.
        self.results[at].with_mut(|place| unsafe { *place = 0 });
    }

    fn post(&self, at: usize, job: u32, play: Play) {
        self.write(at, job);
        (play.post)(self.queue(), at).expect("there is room");
        (play.wake_one)(self.queue());
    }

    /// Posts the first jobs, each in the slot of its number. There are no results yet.
    fn post_all(&self, which: Range<usize>, play: Play) -> Vec<u32> {
        which.for_each(|at| self.post(at, JOBS[at], play));
        Vec::new()
    }

    /// Does the job of a slot: its result is one more.
    fn run(&self, at: usize) {
        // SAFETY: loom's cell checks that nobody writes meanwhile.
        let job = self.jobs[at].with(|place| unsafe { *place });
        assert_ne!(job, 0, "a job must be whole");
        self.results[at].with_mut(|place| {
            // SAFETY: loom's cell checks that nobody else has access meanwhile.
            let result = unsafe { &mut *place };
            assert_eq!(*result, 0, "a job must be done once");
            *result = job + 1;
        });
    }

    /// Reads the result of a slot, and frees it.
    fn reap(&self, at: usize) -> u32 {
        // SAFETY: loom's cell checks that nobody writes meanwhile.
        let result = self.results[at].with(|place| unsafe { *place });
        self.queue().free(at);
        result
    }

    /// Wakes the poster.
    fn call(&self) {
        // Release: the kernel orders the writer of the descriptor and its reader.
        self.call.swap(1, Ordering::Release);
        futex::wake(&self.call, 1);
    }

    fn await_call(&self) {
        while self.call.swap(0, Ordering::Acquire) == 0 {
            futex::wait(&self.call, 0, None);
        }
    }

    /// Does one job if one is ready, otherwise what a worker does that finds none. Tells whether it did one.
    fn work_once(&self, me: usize, play: Play) -> bool {
        let queue = self.queue();
        if let Some(at) = (play.claim)(queue, me) {
            self.run(at);
            if (play.finish)(queue, at) {
                self.call();
            }
            return true;
        }
        if (play.is_overdue)(queue) {
            self.call();
        }
        false
    }

    /// What a worker does until the work queue is closed.
    fn work(&self, me: usize, play: Play) {
        loop {
            // First: what was posted before the work queue was closed is there to be found.
            let closing = self.queue().is_closing();
            if !self.work_once(me, play) {
                if closing {
                    return;
                }
                (play.sleep)(self.queue(), me);
            }
        }
    }

    /// Does one job, and sleeps until there is one.
    fn work_on_one(&self, me: usize, play: Play) {
        while !self.work_once(me, play) {
            (play.sleep)(self.queue(), me);
        }
    }

    /// Takes the results there are.
    fn collect(&self) -> Vec<u32> {
        let mut results = Vec::new();
        self.queue().collect(|at| results.push(self.reap(at)));
        results
    }

    /// Sleeps until called, if there is reason to.
    fn begin_sleep(&self, few: u64, play: Play) {
        if (play.begin_sleep)(self.queue(), few) {
            self.await_call();
            self.queue().end_sleep();
        }
    }

    /// Takes results until there are this many.
    fn gather(&self, count: usize, few: u64, play: Play) -> Vec<u32> {
        let mut results = self.collect();
        while results.len() < count {
            self.begin_sleep(few, play);
            results.extend(self.collect());
        }
        results.sort_unstable();
        results
    }
}

type Part = fn(&Site, usize, Play);

/// Runs `poster` against some workers that play `part`, after the `first` jobs have been posted. In the end all jobs
/// are done, once each.
fn play_out(
    (preemptions, workers): (usize, usize),
    (first, jobs): (usize, usize),
    part: Part,
    play: Play,
    poster: fn(&Site, Play) -> Vec<u32>,
) {
    check(preemptions, move || {
        let site = Site::new(2, workers);
        site.post_all(0..first, play);
        let workers: Vec<_> = (0..workers)
            .map(|me| {
                let site = site.clone();
                thread::spawn(move || part(&site, me, play))
            })
            .collect();
        let mut results = poster(&site, play);
        for worker in workers {
            worker.join().expect("the model thread ends");
        }
        results.extend(site.collect());
        results.sort_unstable();
        assert_eq!(results, RESULTS[..jobs]);
    });
}

/// A worker that stays until the work queue is closed.
const STAYING: Part = |site, me, play| site.work(me, play);

/// A worker that sleeps until it has done a job.
const FOR_ONE: Part = |site, me, play| site.work_on_one(me, play);

/// A worker that does what is ready, and does not sleep.
const PASSING: Part = |site, me, play| while site.work_once(me, play) {};

#[test]
fn loom_work_queue_jobs_and_results_are_whole() {
    play_out((2, 1), (0, 2), STAYING, RIGHT, |site, play| {
        site.post(0, JOBS[0], play);
        let mut results = site.gather(1, u64::MAX, play);
        site.post(0, JOBS[1], play);
        results.extend(site.gather(1, 0, play));
        site.queue().close();
        results
    });
}

/// One job for a worker that may be asleep.
fn one_job(play: Play) {
    play_out((3, 1), (0, 1), FOR_ONE, play, |site, play| site.post_all(0..1, play));
}

#[test]
fn loom_work_queue_a_job_wakes_a_worker() {
    one_job(RIGHT);
}

#[test]
fn loom_work_queue_two_jobs_wake_two_workers() {
    play_out((2, 2), (0, 2), FOR_ONE, RIGHT, |site, play| site.post_all(0..2, play));
}

#[test]
fn loom_work_queue_one_job_wakes_one_of_two_workers() {
    // The worker that has done the job sends the other one home.
    let part: Part = |site, me, play| {
        while !site.queue().is_closing() {
            if site.work_once(me, play) {
                return site.queue().close();
            }
            (play.sleep)(site.queue(), me);
        }
    };
    play_out((2, 2), (0, 1), part, RIGHT, |site, play| site.post_all(0..1, play));
}

/// Two workers take what they find.
fn two_claim(play: Play) {
    play_out((3, 2), (2, 2), PASSING, play, |_, _| Vec::new());
}

#[test]
fn loom_work_queue_each_job_is_done_once() {
    two_claim(RIGHT);
}

#[test]
fn loom_work_queue_the_poster_is_woken_for_each_result() {
    // They do not look again: each has to say what it has done.
    let part: Part = |site, me, play| assert!(site.work_once(me, play));
    play_out((2, 2), (2, 2), part, RIGHT, |site, play| site.gather(2, u64::MAX, play));
}

#[test]
fn loom_work_queue_the_poster_is_woken_when_little_is_left() {
    play_out((2, 2), (2, 2), PASSING, RIGHT, |site, play| site.gather(2, 0, play));
}

/// The poster sleeps until it has the one result.
fn poster_sleeps(play: Play) {
    play_out((3, 1), (1, 1), PASSING, play, |site, play| site.gather(1, 0, play));
}

#[test]
fn loom_work_queue_the_poster_is_woken_by_one_worker() {
    poster_sleeps(RIGHT);
}

/// A position is cancelled: what is done is reported, though it looks as if more were ready. `bedtime` has the poster
/// begin to sleep before it collects.
fn cancelled_ahead(preemptions: usize, play: Play, bedtime: bool) {
    check(preemptions, move || {
        let site = Site::new(2, 1);
        let worker = {
            let site = site.clone();
            thread::spawn(move || site.work(0, play))
        };
        site.post_all(0..2, play);
        let wanted = if site.queue().cancel(1) { 1 } else { 2 };
        if bedtime {
            site.begin_sleep(0, play);
        }
        assert_eq!(site.gather(wanted, 0, play), RESULTS[..wanted]);
        site.queue().close();
        worker.join().expect("the model thread ends");
    });
}

#[test]
fn loom_work_queue_a_cancelled_position_does_not_hide_results() {
    cancelled_ahead(3, RIGHT, false);
}

#[test]
fn loom_work_queue_a_position_cancelled_at_bedtime_does_not_hide_results() {
    cancelled_ahead(3, RIGHT, true);
}

#[test]
fn loom_work_queue_cancelling_or_claiming_wins() {
    check(4, || {
        let site = Site::new(2, 1);
        site.post_all(0..1, RIGHT);
        let worker = {
            let site = site.clone();
            thread::spawn(move || site.work_once(0, RIGHT))
        };
        let cancelled = site.queue().cancel(0);
        if cancelled {
            site.write(0, 31);
        }
        assert_ne!(worker.join().expect("the model thread ends"), cancelled);
        assert_eq!(site.collect().len(), usize::from(!cancelled));
    });
}

/// The poster posts again as soon as it has cancelled: its place may still be that of a job that is ready.
fn cancel_and_post(play: Play) {
    check(3, move || {
        let site = Site::new(2, 1);
        site.post_all(0..2, play);
        let worker = {
            let site = site.clone();
            thread::spawn(move || site.work(0, play))
        };
        let mut results = Vec::new();
        let mut expected = vec![12, 22];
        if site.queue().cancel(1) {
            expected[1] = 32;
            site.write(1, 31);
            if (play.post)(site.queue(), 1) == Err(Full) {
                results = site.gather(1, 0, play);
                (play.post)(site.queue(), 1).expect("the first was claimed");
            }
            (play.wake_one)(site.queue());
        }
        results.extend(site.gather(2 - results.len(), 0, play));
        assert_eq!(results, expected);
        site.queue().close();
        worker.join().expect("the model thread ends");
    });
}

#[test]
fn loom_work_queue_no_place_is_overwritten_while_ready() {
    cancel_and_post(RIGHT);
}

#[test]
fn loom_work_queue_closing_wakes_all() {
    play_out((2, 2), (0, 0), STAYING, RIGHT, |site, _| {
        site.queue().close();
        Vec::new()
    });
}

/// What was posted before the work queue was closed is done.
fn post_and_close(part: Part) {
    play_out((3, 1), (0, 1), part, RIGHT, |site, play| {
        site.post(0, JOBS[0], play);
        site.queue().close();
        Vec::new()
    });
}

#[test]
fn loom_work_queue_closing_leaves_no_job_behind() {
    post_and_close(STAYING);
}

/// Positions wrap around in the slots' words; one slot's old position is not its new one.
#[test]
fn loom_work_queue_positions_wrap_around() {
    check(0, || {
        const WRAP: u64 = 1 << 40;
        let site = Site::new(2, 1);
        let queue = site.queue();
        for word in [&queue.words.head.0, &queue.words.front.tail] {
            word.store(WRAP - 3, Ordering::Relaxed);
        }
        for round in 0..3 {
            assert_eq!((queue.post(1), queue.post(0)), (Ok(()), Ok(())), "{round}");
            assert_eq!(queue.post(0), Err(Full));
            assert_eq!(
                (queue.claim(0), queue.claim(0), queue.claim(0)),
                (Some(1), Some(0), None)
            );
            assert_eq!(queue.worker_of(1), Some(0));
            let _ = (queue.finish(0), queue.finish(1));
            assert_eq!(site.collect().len(), 2);
        }
        assert_eq!(queue.unclaimed(), 0);
    });
}

/// A peer's bytes lead nobody out of bounds.
#[test]
fn loom_work_queue_garbage_is_no_index() {
    check(0, || {
        let site = Site::new(2, 1);
        let queue = site.queue();
        site.post_all(0..1, RIGHT);
        queue.words.done[0].store(u64::MAX, Ordering::Relaxed);
        queue.collect(|_| panic!("nothing is done"));
        queue.ring[0].store(u64::MAX, Ordering::Relaxed);
        assert!(!queue.has_ready());
        assert_eq!(queue.claim(0), None);
        queue.slots[0].state.store(u64::MAX - 0xff + TAKEN, Ordering::Relaxed);
        assert!(queue.worker_of(0).is_none_or(|worker| worker < queue.workers()));
    });
}

/// A position before or far beyond the others is void: a worker that meets it must not look for years.
#[test]
fn loom_work_queue_garbage_in_head_ends() {
    check(0, || {
        let site = Site::new(2, 1);
        let queue = site.queue();
        queue.words.head.store(1 << 20, Ordering::Relaxed);
        let _ = queue.has_ready();
    });
}

/// The poster looks at a slot for which a bit was set earlier, or whose worker has died.
fn look_without_a_bit(play: Play) {
    let part: Part = |site, me, play| {
        site.work_once(me, play);
        tick();
    };
    play_out((3, 1), (1, 1), part, play, |site, _| {
        tick();
        let is_done = site.queue().is_done(0);
        is_done.then(|| site.reap(0)).into_iter().collect()
    });
}

#[test]
fn loom_work_queue_a_slot_that_is_done_is_whole_without_its_bit() {
    look_without_a_bit(RIGHT);
}
