//! Prints how often a cache that four processes share knows the answer, and how much faster they are with it.
//!
//! Try `cargo run --release --example shared_cache`, and the same with `-- --requests 5000`.

use clap::{Parser, value_parser};
use procshare::{Process, Result, SharedMap};
use std::time::{Duration, Instant};

/// Has four workers answer requests, many of them the same: without a cache, and then with one.
#[derive(Parser)]
struct Options {
    /// How many requests each worker answers, 1 to 1,000,000.
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u64).range(1..=1_000_000))]
    requests: u64,
}

const WORKERS: u64 = 4;
const QUESTIONS: u64 = 400;
/// Room for the answers to half of the questions.
const CAPACITY: usize = 10 << 10;
type Cache = SharedMap<u64, u64>;

#[procshare::main]
fn main() -> Result<()> {
    let requests = Options::parse().requests;
    let cache = Cache::builder().capacity(CAPACITY).evict_lru();
    let cache = cache.time_to_live(Duration::from_secs(60)).anonymous()?;

    let (time_without, expected) = answer_all(None, requests)?;
    let (time_with, found) = answer_all(Some(&cache), requests)?;
    assert_eq!(found, expected, "cached and uncached answers must be equal");

    let stats = cache.stats();
    let rate = 100.0 * stats.hits as f64 / (stats.hits + stats.misses) as f64;
    println!("without cache  {time_without:.3?}");
    println!("with cache     {time_with:.3?}, {} answers evicted", stats.evictions);
    println!("hit rate       {rate:.1} %");
    println!("speed-up       {:.1}", time_without.div_duration_f64(time_with));
    Ok(())
}

/// Has the workers answer; how long they took, and the sum of their answers.
fn answer_all(cache: Option<&Cache>, requests: u64) -> Result<(Duration, u64)> {
    let began = Instant::now();
    let workers = (1..=WORKERS).map(|worker| Process::spawn(answer, (cache.cloned(), worker, requests)));
    let workers = workers.collect::<Result<Vec<_>>>()?;
    let sum = workers.into_iter().map(|worker| worker.join()?).sum::<Result<u64>>()?;
    Ok((began.elapsed(), sum))
}

/// One worker: answers its requests, and sums the answers up.
fn answer(cache: Option<Cache>, worker: u64, requests: u64) -> Result<u64> {
    let (mut random, mut sum) = (worker, 0);
    for _ in 0..requests {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        // The fourth power of a number up to 1: half of the requests are for 6 % of the questions.
        let question = ((random as f64 / u64::MAX as f64).powi(4) * QUESTIONS as f64) as u64;
        sum += match &cache {
            Some(cache) => cache.get_or_insert_with(&question, || work_out(question))?,
            None => work_out(question),
        };
    }
    Ok(sum)
}

/// The most steps that one of some thousand numbers needs in Collatz's game; takes about a millisecond.
fn work_out(question: u64) -> u64 {
    let first = 10_000 * question + 1;
    (first..first + 8_000).map(steps).max().unwrap_or(0)
}

/// Halves what is even, else takes three times as much and one, until 1 comes.
fn steps(mut number: u64) -> u64 {
    let mut steps = 0;
    while number != 1 {
        number = if number % 2 == 0 { number / 2 } else { 3 * number + 1 };
        steps += 1;
    }
    steps
}
