//! Workers that die; the poster is told, and another does what they leave.

use super::*;

/// How far a worker gets before it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Asleep,
    Claimed,
    Finished,
    Told,
    Decided,
}

const DYING: usize = 0;
const LIVING: usize = 1;

impl Site {
    /// Does what a worker does, up to `step`.
    fn die(&self, step: Step) {
        let queue = self.queue();
        if step == Step::Asleep {
            queue.sleepers[DYING].store(ASLEEP, Ordering::Relaxed);
        } else if let Some((at, position)) = self.claim_halfway() {
            if step >= Step::Finished {
                self.run(at);
                queue.slots[at]
                    .state
                    .store(state(position, DYING, DONE), Ordering::Release);
            }
            if step >= Step::Told {
                queue.words.done[0].fetch_or(1 << at, Ordering::Release);
            }
            if step >= Step::Decided {
                fence(Ordering::SeqCst);
                let _ = queue.must_wake();
            }
        }
        self.dead.fetch_or(1 << DYING, Ordering::Release);
        self.call();
    }

    /// Claims without moving `head` on.
    fn claim_halfway(&self) -> Option<(usize, u64)> {
        let queue = self.queue();
        let head = queue.pass();
        if head == queue.words.front.tail.load(Ordering::Acquire) {
            return None;
        }
        let at = queue.ready_at(head)?;
        queue.slots[at]
            .state
            .compare_exchange(
                state(head, 0, READY),
                state(head, DYING, TAKEN),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .ok()?;
        Some((at, head))
    }

    /// What the poster does when told of a death; returns the results there were.
    fn bury(&self, ring: bool, play: Play) -> Vec<u32> {
        let queue = self.queue();
        let mut results = Vec::new();
        for at in 0..queue.slots() {
            if queue.worker_of(at) != Some(DYING) {
                continue;
            }
            if queue.is_done(at) {
                results.push(self.reap(at));
            } else {
                // SAFETY: loom's cell checks that nobody writes meanwhile.
                let job = self.jobs[at].with(|place| unsafe { *place });
                queue.free(at);
                self.post(at, job, play);
            }
        }
        queue.reset_worker(DYING);
        if ring && queue.has_ready() {
            (play.wake_one)(queue);
        }
        results
    }
}

/// One of two workers dies at `step`; the other does what is left. `ring`: the poster wakes another, as it should.
fn worker_dies(step: Step, few: u64, ring: bool) {
    check(2, move || {
        let site = Site::new(2, 2);
        if step > Step::Asleep {
            site.write(0, 11);
            site.queue().post(0).expect("there is room");
        }
        let dying = process(&site, 1, move |site| site.die(step));
        let living = process(&site, 2, move |site| {
            if step >= Step::Finished {
                site.work_once(LIVING, RIGHT);
            } else {
                site.work_on_one(LIVING, RIGHT);
            }
        });
        if step == Step::Asleep {
            site.post(0, 11, RIGHT);
        }
        let mut results = site.collect();
        while results.is_empty() {
            site.begin_sleep(few, RIGHT);
            if site.dead.swap(0, Ordering::Acquire) != 0 {
                results = site.bury(ring, RIGHT);
            }
            results.extend(site.collect());
        }
        dying.join().expect("the model thread ends");
        living.join().expect("the model thread ends");
        if site.dead.load(Ordering::Acquire) != 0 {
            results.extend(site.bury(ring, RIGHT));
        }
        results.extend(site.collect());
        assert_eq!(results, [12], "done once");
    });
}

#[test]
fn loom_work_queue_a_worker_dies_asleep() {
    worker_dies(Step::Asleep, u64::MAX, true);
}

#[test]
fn loom_work_queue_a_worker_dies_before_it_moves_the_head() {
    worker_dies(Step::Claimed, 0, true);
}

#[test]
fn loom_work_queue_a_worker_dies_before_it_tells() {
    worker_dies(Step::Finished, u64::MAX, true);
}

#[test]
fn loom_work_queue_a_worker_dies_before_it_looks_whether_to_wake() {
    worker_dies(Step::Told, 0, true);
}

#[test]
fn loom_work_queue_a_worker_dies_before_it_wakes_the_poster() {
    worker_dies(Step::Decided, 0, true);
}

#[test]
#[should_panic]
fn loom_mutant_poster_that_wakes_nobody_else_strands_a_job() {
    worker_dies(Step::Asleep, u64::MAX, false);
}
