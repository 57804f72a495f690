//! Prints the sum of 1 to 99,999,999: added up by one process, then by two that share their results.
//!
//! Try `cargo run --release --example parallel_sum`, and the same with `-- --share array`.

use clap::{Parser, ValueEnum};
use procshare::{Process, Result, SharedArray, SharedValue};
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

const HALVES: [Range<u64>; 2] = [1..50_000_000, 50_000_000..100_000_000];

/// Adds up 1 to 99,999,999, alone and then in two processes.
#[derive(Parser)]
struct Options {
    /// How the two processes hand over their partial sums.
    #[arg(long, default_value = "value")]
    share: Share,
}

#[derive(Clone, Copy, ValueEnum)]
enum Share {
    /// Two `SharedValue<f64>`, one for each.
    Value,
    /// One `SharedArray<f64>` of two elements.
    Array,
}

#[procshare::main]
fn main() -> Result<()> {
    let options = Options::parse();

    let began = Instant::now();
    let alone: f64 = HALVES.map(sum).iter().sum();
    let time_alone = began.elapsed();

    let began = Instant::now();
    let parts = match options.share {
        Share::Value => with_values()?,
        Share::Array => with_array()?,
    };
    let time_of_two = began.elapsed();

    let total = parts[0] + parts[1];
    assert_eq!(total, alone);
    println!("partial sums   {} and {}", parts[0], parts[1]);
    println!("total          {total}");
    println!("one process    {time_alone:.3?}");
    println!("two processes  {time_of_two:.3?}");
    Ok(())
}

fn with_values() -> Result<[f64; 2]> {
    let parts = [SharedValue::new(0.0)?, SharedValue::new(0.0)?];
    let work = |part: SharedValue<f64>, numbers| part.set(sum(numbers));
    let [low, high] = HALVES;
    let first = Process::spawn(work, (parts[0].clone(), low))?;
    let second = Process::spawn(work, (parts[1].clone(), high))?;
    first.join()?;
    second.join()?;
    Ok(parts.map(|part| part.get()))
}

fn with_array() -> Result<[f64; 2]> {
    let parts = SharedArray::new(2)?;
    let work = |parts: SharedArray<f64>, at, numbers| parts.set(at, sum(numbers)).expect("nobody died");
    let [low, high] = HALVES;
    let first = Process::spawn(work, (parts.clone(), 0, low))?;
    let second = Process::spawn(work, (parts.clone(), 1, high))?;
    first.join()?;
    second.join()?;
    Ok([parts.get(0)?, parts.get(1)?])
}

/// Adds one number after the other; `black_box` hides them, else the compiler would put in the result.
fn sum(numbers: Range<u64>) -> f64 {
    numbers.fold(0.0, |sum, number| sum + black_box(number) as f64)
}
