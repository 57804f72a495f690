//! Prints what becomes of a hundred jobs of which one kills its own process: 99 results, and one error that says so.
//!
//! Try `cargo run --release --example survivor`, and the same with `-- --victim 99`.

use clap::{Parser, value_parser};
use procshare::{JobError, Pool, Result};

const JOBS: u32 = 100;

/// Has a pool run a hundred jobs, one of which ends its worker.
#[derive(Parser)]
struct Options {
    /// Which job does, 0 to 99.
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(..i64::from(JOBS)))]
    victim: u32,
}

/// Ends the process it runs in, without a farewell, if it is the victim.
fn square(job: u32, victim: u32) -> u32 {
    if job == victim {
        std::process::abort();
    }
    job * job
}

#[procshare::main]
fn main() -> Result<()> {
    let victim = Options::parse().victim;
    let pool = Pool::new(2)?;
    let results = pool.starmap(square, (0..JOBS).map(|job| (job, victim)));

    let mut good = 0;
    for (job, result) in (0..JOBS).zip(results) {
        match result {
            Ok(square) => {
                assert_eq!(square, job * job);
                good += 1;
            }
            Err(error) => {
                println!("job {job}: {error}");
                assert!(job == victim && matches!(error, JobError::WorkerDied { signal: Some(_), .. }));
            }
        }
    }
    println!("{good} results");
    assert_eq!(good, JOBS - 1);

    // The pool goes on: the other worker at once, and one that takes the dead one's place.
    assert_eq!(pool.apply(square, (7, JOBS))?, 49);
    let progress = pool.progress();
    println!("{} jobs, {} failed", progress.submitted, progress.failed);
    assert_eq!((progress.submitted, progress.failed), (101, 1));
    Ok(())
}
