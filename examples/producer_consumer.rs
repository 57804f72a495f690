//! Prints how many numbers each of three consumers took from a queue that two producers filled, and their sum.
//!
//! Nobody sends a last item: when the producers are done the queue is closed, and what is left in it is still taken.
//!
//! Try `cargo run --release --example producer_consumer`, and the same with `-- --numbers 12`.

use clap::{Parser, value_parser};
use procshare::{Process, Result, SharedQueue};
use std::ops::Range;

/// Two processes put numbers into a queue, and three take them out.
#[derive(Parser)]
struct Options {
    /// How many numbers each producer puts in, 1 to 1,000,000,000.
    #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    numbers: u64,
    /// How many numbers the queue holds, 1 to 1,000,000.
    #[arg(long, default_value_t = 1_024, value_parser = value_parser!(u64).range(1..=1_000_000))]
    capacity: u64,
}

const CONSUMERS: usize = 3;
/// How many characters a bar has.
const WIDTH: u64 = 40;

#[procshare::main]
fn main() -> Result<()> {
    let Options { numbers, capacity } = Options::parse();
    let queue = SharedQueue::new(capacity as usize)?;
    let consumers = (0..CONSUMERS)
        .map(|_| Process::spawn(consume, (queue.clone(),)))
        .collect::<Result<Vec<_>>>()?;
    let producers = [0..numbers, numbers..2 * numbers].map(|half| Process::spawn(produce, (queue.clone(), half)));
    for producer in producers {
        producer?.join()??;
    }
    queue.close();

    let (mut count, mut total) = (0, 0);
    for (index, consumer) in consumers.into_iter().enumerate() {
        let (taken, sum) = consumer.join()??;
        let bar = "█".repeat((taken * WIDTH).div_ceil(2 * numbers) as usize);
        println!("consumer {} took {taken:>9} {bar}", index + 1);
        count += taken;
        total += sum;
    }
    assert_eq!(
        (count, total),
        (2 * numbers, numbers * (2 * numbers - 1)),
        "items were lost or duplicated"
    );
    println!("all together    {count:>9}, sum {total}, as expected");
    Ok(())
}

fn produce(queue: SharedQueue<u64>, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        queue.put(number)?;
    }
    Ok(())
}

/// Takes numbers until the queue is closed and empty; how many, and their sum.
fn consume(queue: SharedQueue<u64>) -> Result<(u64, u64)> {
    let (mut taken, mut sum) = (0, 0);
    for number in &queue {
        sum += number?;
        taken += 1;
    }
    Ok((taken, sum))
}
