//! Prints how long four sleepers take: one after the other, in processes of their own, and in a pool.
//!
//! Try `cargo run --release --example sleep_race`, and the same with `-- --seconds 0.25`.

use clap::Parser;
use procshare::{Pool, Process, Result};
use std::thread;
use std::time::{Duration, Instant};

const SLEEPERS: usize = 4;

/// Has four functions sleep: one after the other, and at the same time.
#[derive(Parser)]
struct Options {
    /// How long each of them sleeps, in seconds.
    #[arg(long, default_value = "1", value_parser = seconds)]
    seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    let allowed = Some(seconds).filter(|seconds: &f64| (0.1..=60.0).contains(seconds));
    let seconds = allowed.ok_or("expected 0.1 to 60 seconds")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// What is done four times; returns which process did it.
fn sleep(time: Duration) -> u32 {
    thread::sleep(time);
    std::process::id()
}

#[procshare::main]
fn main() -> Result<()> {
    let time = Options::parse().seconds;
    let serial = measure("one after the other", || {
        Ok((0..SLEEPERS).map(|_| sleep(time)).collect())
    })?;
    let processes = measure("four processes", || {
        let children = (0..SLEEPERS).map(|_| Process::spawn(sleep, (time,)));
        let children = children.collect::<Result<Vec<_>>>()?;
        children.into_iter().map(|child| Ok(child.join()?)).collect()
    })?;
    let pool = measure("a pool of four", || {
        let pool = Pool::new(SLEEPERS)?;
        Ok(pool
            .map(sleep, [time; SLEEPERS])
            .into_iter()
            .collect::<Result<_, _>>()?)
    })?;
    assert!(serial >= time * SLEEPERS as u32);
    assert!(
        processes >= time && processes < serial / 2,
        "the jobs must sleep at the same time"
    );
    assert!(
        pool >= time && pool < serial / 2,
        "the jobs must sleep at the same time"
    );
    Ok(())
}

/// Prints how long it takes, from the first start to the last result.
fn measure(name: &str, work: impl FnOnce() -> Result<Vec<u32>>) -> Result<Duration> {
    let began = Instant::now();
    let mut ids = work()?;
    let time = began.elapsed();
    assert_eq!(ids.len(), SLEEPERS);
    ids.sort_unstable();
    ids.dedup();
    let seconds = time.as_secs_f64();
    println!("{name:20} {seconds:6.3} s, in processes {ids:?}");
    Ok(time)
}
