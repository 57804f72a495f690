//! Prints a histogram of how long round trips through a pipe take: polled for, and waited for.
//!
//! Try `cargo run --release --example ping_pong`, and the same with `-- --rounds 1000`.

use clap::{Parser, value_parser};
use procshare::{Connection, Process, RecvError, Result};
use std::time::{Duration, Instant};

/// Sends numbers to another process and back, and prints how long that takes.
#[derive(Parser)]
struct Options {
    /// How many round trips are timed in each way, 1 to 10,000,000.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    rounds: u64,
}

/// How many characters the longest bar has.
const WIDTH: usize = 32;

#[procshare::main]
fn main() -> Result<()> {
    let rounds = Options::parse().rounds;
    let (busy, blocking) = (round_trips(true, rounds)?, round_trips(false, rounds)?);
    println!("{rounds} round trips each, times in ns\n");
    println!(
        "{:>9}    {:<WIDTH$}  blocking (recv)",
        "up to", "busy (try_recv in a loop)"
    );
    let bucket = |time: &u64| time.ilog2();
    for power in bucket(&busy[0].min(blocking[0]))..=bucket(busy.last().max(blocking.last()).unwrap_or(&1)) {
        let bar = |times: &[u64]| {
            let count = times.iter().filter(|time| bucket(time) == power).count();
            "█".repeat((count * WIDTH).div_ceil(times.len()))
        };
        println!(
            "{:>9}    {:<WIDTH$}  {}",
            (2u64 << power) - 1,
            bar(&busy),
            bar(&blocking)
        );
    }
    println!();
    for (name, percent) in [("minimum", 0), ("median", 50), ("99 %", 99), ("maximum", 100)] {
        let at = (busy.len() - 1) * percent / 100;
        println!("{name:>9}    {:<WIDTH$}  {}", busy[at], blocking[at]);
    }
    Ok(())
}

/// The nanoseconds each round trip took, shortest first.
fn round_trips(busy: bool, rounds: u64) -> Result<Vec<u64>> {
    let (ours, theirs) = procshare::pipe()?;
    let child = Process::spawn(echo, (theirs, busy))?;
    let trip = |number| -> Result<Duration> {
        let began = Instant::now();
        ours.send(number)?;
        assert_eq!(receive(&ours, busy)?, number);
        Ok(began.elapsed())
    };
    trip(0)?; // waits for the child to start
    let times = (1..=rounds).map(|number| Ok(trip(number)?.as_nanos().max(1) as u64));
    let mut times = times.collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    ours.close();
    child.join()??;
    Ok(times)
}

/// Sends back what comes, until the other end is closed.
fn echo(connection: Connection<u64>, busy: bool) -> Result<()> {
    while let Ok(number) = receive(&connection, busy) {
        connection.send(number)?;
    }
    Ok(())
}

fn receive(connection: &Connection<u64>, busy: bool) -> Result<u64, RecvError> {
    let mut polls = 0u32;
    while busy {
        match connection.try_recv() {
            Err(RecvError::Empty) if polls % 1024 == 1023 => std::thread::yield_now(), // they may need this processor
            Err(RecvError::Empty) => std::hint::spin_loop(),
            received => return received,
        }
        polls = polls.wrapping_add(1);
    }
    connection.recv()
}
