//! Prints a histogram of how long round trips through a pipe take: polled for, and waited for.
//!
//! Try `cargo run --release --example ping_pong`, and the same with `-- --rounds 1000`.

use clap::{Parser, value_parser};
use procshare::{Connection, Process, RecvError, Result};
use std::{fmt::Display, time::Instant};

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
    print_row("up to", "busy (try_recv in a loop)", "blocking (recv)");
    let last = busy.len() - 1;
    for power in busy[0].min(blocking[0]).ilog2()..=busy[last].max(blocking[last]).ilog2() {
        let bar = |times: &[u64]| {
            let count = times.iter().filter(|time| time.ilog2() == power).count();
            "█".repeat((count * WIDTH).div_ceil(times.len()))
        };
        print_row((2u64 << power) - 1, bar(&busy), bar(&blocking));
    }
    println!();
    for (name, percent) in [("minimum", 0), ("median", 50), ("99 %", 99), ("maximum", 100)] {
        print_row(name, busy[last * percent / 100], blocking[last * percent / 100]);
    }
    Ok(())
}

fn print_row(label: impl Display, busy: impl Display, blocking: impl Display) {
    println!("{label:>9}    {busy:<WIDTH$}  {blocking}");
}

/// The nanoseconds each round trip took, shortest first.
fn round_trips(busy: bool, rounds: u64) -> Result<Vec<u64>> {
    let (ours, theirs) = procshare::pipe()?;
    let echo = |connection: Connection<u64>, busy| -> Result<()> {
        while let Ok(number) = receive(&connection, busy) {
            connection.send(number)?;
        }
        Ok(()) // the other end was closed
    };
    let child = Process::spawn(echo, (theirs, busy))?;
    let mut times = Vec::new();
    for number in 0..=rounds {
        let began = Instant::now();
        ours.send(number)?;
        assert_eq!(receive(&ours, busy)?, number);
        times.push(began.elapsed().as_nanos().max(1) as u64);
    }
    times.remove(0); // waited for the child to start
    times.sort_unstable();
    ours.close();
    child.join()??;
    Ok(times)
}

fn receive(connection: &Connection<u64>, busy: bool) -> Result<u64, RecvError> {
    if !busy {
        return connection.recv();
    }
    loop {
        let mut polls = (0..100).map(|_| connection.try_recv());
        match polls.find(|received| *received != Err(RecvError::Empty)) {
            Some(received) => return received,
            None => std::thread::yield_now(), // the other process may need this processor
        }
    }
}
