//! How two processes hand over their partial sums: as two values, in one array, in one dictionary.

use crate::sum;
use procshare::process::StartMethod;
use procshare::{Process, Result, SharedArray, SharedMap, SharedValue};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Instant;

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Share {
    /// Two `SharedValue<f64>`, one for each.
    Value,
    /// One `SharedArray<f64>` of two elements.
    Array,
    /// One `SharedMap` in which each makes an entry.
    Map,
}

pub(crate) fn with_values(start: StartMethod, [low, high]: [Range<u64>; 2]) -> Result<[f64; 2]> {
    let parts = [SharedValue::new(0.0)?, SharedValue::new(0.0)?];
    let process = Process::builder().start_method(start);
    let work = |part: SharedValue<f64>, numbers| part.set(sum(numbers));
    let first = process.clone().spawn(work, (parts[0].clone(), low))?;
    let second = process.clone().spawn(work, (parts[1].clone(), high))?;
    first.join()?;
    second.join()?;
    Ok(parts.map(|part| part.get()))
}

pub(crate) fn with_array(start: StartMethod, [low, high]: [Range<u64>; 2]) -> Result<[f64; 2]> {
    let parts = SharedArray::new(2)?;
    let process = Process::builder().start_method(start);
    let work = |parts: SharedArray<f64>, at, numbers| parts.set(at, sum(numbers)).expect("no holder died");
    let first = process.clone().spawn(work, (parts.clone(), 0, low))?;
    let second = process.clone().spawn(work, (parts.clone(), 1, high))?;
    first.join()?;
    second.join()?;
    Ok([parts.get(0)?, parts.get(1)?])
}

/// What one process has found.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    /// In seconds.
    time: f64,
    result: u64,
}

/// An entry's key, made of the process's number.
fn key(process: u32) -> String {
    format!("sum-{process}")
}

fn add_up(parts: SharedMap<String, Part>, numbers: Range<u64>) -> Result<()> {
    let began = Instant::now();
    let result = sum(numbers) as u64;
    let time = began.elapsed().as_secs_f64();
    parts.insert(&key(std::process::id()), &Part { time, result })?;
    Ok(())
}

pub(crate) fn with_map(start: StartMethod, halves: [Range<u64>; 2]) -> Result<[f64; 2]> {
    let parts = SharedMap::with_capacity(4096)?;
    let process = Process::builder().start_method(start);
    let [first, second] = halves.map(|half| process.clone().spawn(add_up, (parts.clone(), half)));
    let children = [first?, second?];
    let keys = children.each_ref().map(|child| key(child.id()));
    for child in children {
        child.join()??;
    }
    println!("dictionary     {parts:#?}");
    let entries = parts.to_map()?;
    Ok(keys.map(|key| entries[&key].result as f64))
}
