//! The storm: workers are killed at random moments and replaced, and still no increment is lost.

use crate::mode::Mode;
use crate::options::Options;
use crate::outcome::{Outcome, Storm};
use crate::victim::Shared;
use procshare::{JoinError, Process, Result};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

/// The longest pause between two kills.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the survivors may take to end.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let shared = Shared::new(options.processes)?;
    let mut workers = (0..options.processes)
        .map(|slot| shared.spawn_worker(slot))
        .collect::<Result<Vec<_>>>()?;
    while !shared.start.is_open() {
        yield_now();
    }
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < options.seconds {
        sleep(PAUSE.mul_f64(random() as f64 / u64::MAX as f64));
        let slot = (random() % workers.len() as u64) as usize;
        replace(&mut workers[slot], slot, &shared)?;
        kills += 1;
    }
    shared.stop.store(1, Relaxed);
    let took = began.elapsed();
    let survived = have_ended(workers);

    let count = shared.count.get();
    let sum = count.per_worker.iter().sum();
    let mut outcome = Outcome::new(Mode::Kill, options, sum, count.total, took);
    outcome.increments = sum;
    outcome.storm = Some(Storm {
        kills,
        longest_stall_ms: shared.stall.load(Relaxed) as f64 / 1e6,
        consistent: survived && count.total == sum,
    });
    Ok(outcome)
}

/// Kills a worker and puts another in its place.
fn replace(worker: &mut Process<()>, slot: usize, shared: &Shared) -> Result<()> {
    worker.kill()?;
    let killed = mem::replace(worker, shared.spawn_worker(slot)?);
    match killed.join() {
        Err(JoinError::Signaled(9)) => Ok(()),
        other => Ok(other?), // it ended by itself, which is wrong only if it says why
    }
}

/// Whether all workers end in time, and well.
fn have_ended(workers: Vec<Process<()>>) -> bool {
    let deadline = Instant::now() + LIMIT;
    let mut all = true;
    for mut worker in workers {
        if let Err(error) = worker.join_deadline(deadline) {
            eprintln!("kill: survivor {}: {error}", worker.id());
            all = false;
        }
    }
    all
}

/// A number nobody can foresee: so the standard library seeds its hash maps.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
