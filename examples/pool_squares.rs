//! Prints squares and powers that a pool has worked out, in every way to ask for them, and what chunks do for speed.
//!
//! Try `cargo run --release --example pool_squares`, and the same with `-- --numbers 1000000`.

use clap::{Parser, value_parser};
use procshare::{Pool, Result};
use std::time::{Duration, Instant};

/// Has a pool square numbers.
#[derive(Parser)]
struct Options {
    /// How many workers there are, 1 to 64.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u16).range(1..=64))]
    workers: u16,
    /// How many numbers are squared to compare chunk sizes, 1 to 1,000,000.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    numbers: u64,
}

fn square(number: u64) -> u64 {
    number * number
}

#[procshare::main]
fn main() -> Result<()> {
    let options = Options::parse();
    let pool = Pool::new(options.workers.into())?;

    let squares = pool.map(square, 0..10).into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("map             {squares:?}");
    assert_eq!(squares, (0..10).map(square).collect::<Vec<_>>());

    let powers = pool.starmap(u64::pow, (0..10).map(|exponent| (2, exponent)));
    let powers = powers.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("starmap         {powers:?}");
    assert_eq!(powers, (0..10).map(|exponent| 1 << exponent).collect::<Vec<_>>());

    let mut found = pool.imap_unordered(square, 0..10).collect::<Result<Vec<_>, _>>()?;
    println!("imap_unordered  {found:?}");
    found.sort_unstable();
    assert_eq!(found, squares);

    let pending = pool.map_async(slow_square, 0..10);
    let early = pending.ready();
    pending.wait();
    println!(
        "map_async       ready at once: {early}, after wait: {}",
        pending.ready()
    );
    assert!(!early && pending.successful());
    assert_eq!(pending.get()?.into_iter().collect::<Result<Vec<_>, _>>()?, squares);

    for chunk in [1, 10, 100, 1000] {
        let pool = pool.with_chunk_size(chunk);
        let began = Instant::now();
        let sum = pool
            .map(square, 0..options.numbers)
            .into_iter()
            .sum::<Result<u64, _>>()?;
        let each = began.elapsed().as_nanos() as f64 / options.numbers as f64;
        println!("chunks of {chunk:<5} {each:7.0} ns a number");
        assert_eq!(sum, (0..options.numbers).map(square).sum::<u64>());
    }
    Ok(())
}

/// Slow enough for the caller to look before it is done.
fn slow_square(number: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(20));
    square(number)
}
