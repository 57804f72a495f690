//! Python's `multiprocessing.Value`, incremented by four processes under its lock.

use crate::measure::{Effort, Measured, interleave};
use crate::race::{in_processes, whole_pace};
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python_multiprocessing.py");
const PROCESSES: u32 = 4;

/// Nanoseconds an increment takes there, or why that cannot be told.
fn in_python(increments: u64) -> Result<f64, String> {
    let mut command = Command::new("python3");
    command.arg(SCRIPT).arg(PROCESSES.to_string());
    command.arg(increments.to_string()).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(pace) if output.status.success() => Ok(pace),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

pub(crate) fn increment(effort: Effort) -> Option<Measured> {
    if let Err(why) = in_python(10) {
        println!("\nno comparison with Python: {why}\n");
        return None;
    }
    let ours = effort.operations(1_000_000);
    let theirs = effort.operations(100_000);
    Some(interleave(
        effort.rounds(5),
        || whole_pace(&in_processes(PROCESSES, ours, false), ours),
        || in_python(theirs).unwrap(),
    ))
}
