//! Python's `multiprocessing`: `Value` under its lock, `Queue`, `Pipe`, `Manager().dict()`, `Pool`, `Process`.

use crate::contended::pace;
use crate::maps::set_in_processes;
use crate::measure::{Effort, Measured, interleave};
use crate::messages::through_queue;
use crate::pools::{map_squares, start_and_join_alone, there_and_back, warm_pool};
use crate::race::{in_processes, whole_pace};
use crate::trips::EchoProcess;
use procshare::process::{Argument, Returned};
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python_multiprocessing.py");
const PROCESSES: u32 = 4;

/// Nanoseconds an operation takes there, or why that cannot be told.
fn in_python(what: &str, processes: u32, operations: u64) -> Result<f64, String> {
    let mut command = Command::new("python3");
    command.args([SCRIPT, what]).arg(processes.to_string());
    command.arg(operations.to_string()).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(pace) if output.status.success() => Ok(pace),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Measures beside what Python does, if there is one.
fn beside(what: &str, effort: Effort, processes: u32, theirs: u64, ours: impl FnMut() -> f64) -> Option<Measured> {
    if let Err(why) = in_python(what, processes, 10) {
        println!("\nno comparison with Python: {why}\n");
        return None;
    }
    let theirs = effort.operations(theirs);
    let python = || in_python(what, processes, theirs).unwrap();
    Some(interleave(effort.rounds(5), ours, python))
}

pub(crate) fn increment(effort: Effort) -> Option<Measured> {
    let increments = effort.operations(1_000_000);
    beside("value", effort, PROCESSES, 100_000, || {
        whole_pace(&in_processes(PROCESSES, increments, false), increments)
    })
}

pub(crate) fn queue(effort: Effort) -> Option<Measured> {
    let items = effort.operations(1_000_000);
    beside("queue", effort, 2, 100_000, || {
        pace(|| Some(through_queue(1, items, 1)))
    })
}

pub(crate) fn pipe(effort: Effort) -> Option<Measured> {
    let trips = effort.operations(100_000);
    let echo = EchoProcess::<i32>::start();
    let measured = beside("pipe", effort, 2, 20_000, || {
        pace(|| Some(echo.trips(trips, |number| number as i32)))
    });
    echo.end();
    measured
}

pub(crate) fn map(effort: Effort) -> Option<Measured> {
    let sets = effort.operations(1_000_000);
    beside("map", effort, 2, 20_000, || pace(|| set_in_processes(2, sets)))
}

pub(crate) fn pool_task(effort: Effort) -> Option<Measured> {
    let items = effort.operations(200_000);
    let pool = warm_pool().with_chunk_size(1);
    beside("pool_task", effort, 2, 40_000, || map_squares(&pool, items))
}

pub(crate) fn pool_map(effort: Effort) -> Option<Measured> {
    let items = effort.operations(200_000);
    let pool = warm_pool();
    beside("pool_map", effort, 2, 200_000, || map_squares(&pool, items))
}

/// A hundred mebibytes to a worker and back.
pub(crate) fn pool_bytes(effort: Effort) -> Option<Measured> {
    let bytes: Vec<u8> = (0..100u32 << 20).map(|at| at as u8).collect();
    large(effort, "pool_bytes", bytes)
}

/// Ten million floats to a worker and back.
pub(crate) fn pool_floats(effort: Effort) -> Option<Measured> {
    let floats: Vec<f64> = (0..10_000_000).map(f64::from).collect();
    large(effort, "pool_floats", floats)
}

fn large<T: Argument + Returned + Clone + PartialEq>(effort: Effort, what: &str, list: T) -> Option<Measured> {
    let pool = warm_pool();
    beside(what, effort, 1, 3, || {
        there_and_back(&pool, &list, effort.operations(3))
    })
}

pub(crate) fn fork(effort: Effort) -> Option<Measured> {
    let starts = effort.operations(200);
    beside("fork", effort, 1, 200, || start_and_join_alone("fork", starts))
}

pub(crate) fn spawn(effort: Effort) -> Option<Measured> {
    let starts = effort.operations(200);
    beside("spawn", effort, 1, 20, || start_and_join_alone("spawn", starts))
}
