//! The race: all workers increment at once, each so many times.

use crate::integer::Integer;
use crate::mode::Mode;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::start::Start;
use procshare::Process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a worker began and ended, by the clock all processes share.
type Lap = (Duration, Duration);

pub(crate) fn run(mode: Mode, options: &Options) -> procshare::Result<Outcome> {
    let integer = Integer::new(mode)?;
    let start = Start::new(options.processes)?;
    let workers = (0..options.processes)
        .map(|_| {
            let arguments = (integer.clone(), start.clone(), options.increments);
            Process::builder().daemon(true).spawn(work, arguments)
        })
        .collect::<procshare::Result<Vec<Process<Lap>>>>()?;
    let laps = workers
        .into_iter()
        .map(|worker| Ok(worker.join()?))
        .collect::<procshare::Result<Vec<Lap>>>()?;

    let expected = options.processes as u64 * options.increments;
    Ok(Outcome::new(mode, options, expected, integer.get(), contended(&laps)))
}

fn work(integer: Integer, start: Start, times: u64) -> Lap {
    integer.touch();
    start.wait();
    let began = now();
    integer.increment(times).expect("fewer increments than an i64 holds");
    (began, now())
}

/// From the first increment of anybody to the last one of all.
fn contended(laps: &[Lap]) -> Duration {
    let began = laps.iter().map(|lap| lap.0).min().unwrap_or_default();
    let ended = laps.iter().map(|lap| lap.1).max().unwrap_or_default();
    ended.saturating_sub(began)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
