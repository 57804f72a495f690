//! Prints the sum of 1 to 99,999,999: added up by one process, then by two that share their results.
//!
//! Try `cargo run --release --example parallel_sum`, and the same with `-- --share map` or `-- --start fork`.

mod share;

use clap::Parser;
use procshare::Result;
use procshare::process::StartMethod;
use share::{Share, with_array, with_map, with_values};
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
    /// How the two processes come to be: spawn, fork or fork-server.
    #[arg(long, default_value_t)]
    start: StartMethod,
}

#[procshare::main]
fn main() -> Result<()> {
    let options = Options::parse();

    let began = Instant::now();
    let alone: f64 = HALVES.map(sum).iter().sum();
    let time_alone = began.elapsed();

    let began = Instant::now();
    let parts = match options.share {
        Share::Value => with_values(options.start, HALVES)?,
        Share::Array => with_array(options.start, HALVES)?,
        Share::Map => with_map(options.start, HALVES)?,
    };
    let time_of_two = began.elapsed();

    let total = parts[0] + parts[1];
    assert_eq!(total, alone);
    println!("partial sums   {} and {}", parts[0], parts[1]);
    println!("total          {total}");
    println!("one process    {time_alone:.3?}");
    println!("two processes  {time_of_two:.3?}, by {}", options.start);
    Ok(())
}

/// Adds one number after the other; `black_box` hides them, else the compiler would put in the result.
fn sum(numbers: Range<u64>) -> f64 {
    numbers.fold(0.0, |sum, number| sum + black_box(number) as f64)
}
