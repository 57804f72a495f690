//! Prints how long six jobs of uneven length keep two workers, and draws when each ran: in chunks of one, two and three.
//!
//! Try `cargo run --release --example timeline --features timeline-svg -- --out pictures`.

use clap::{Parser, value_parser};
use procshare::Pool;
use procshare::pool::Timeline;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long the jobs are, in units; together 12, six for each of two workers.
const LENGTHS: [u32; 6] = [4, 3, 2, 1, 1, 1];
const WORKERS: usize = 2;

/// Draws three timelines of the same jobs.
#[derive(Parser)]
struct Options {
    /// The folder for the pictures; one below the folder for temporary files otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How long a unit is, in milliseconds, 10 to 10,000.
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u64).range(10..=10_000))]
    unit: u64,
}

#[procshare::main]
fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let folder = options
        .out
        .unwrap_or_else(|| std::env::temp_dir().join("procshare-timeline"));
    fs::create_dir_all(&folder)?;
    let unit = Duration::from_millis(options.unit);
    let mut makespans = vec![];
    for chunk_size in [1, 2, 3] {
        let timeline = run(unit, chunk_size)?;
        let makespan = makespan(&timeline);
        let path = folder.join(format!("chunks-of-{chunk_size}.svg"));
        timeline.write_svg(&path)?;
        println!("chunks of {chunk_size}  {makespan:8.1?}  {}", path.display());
        makespans.push(makespan);
    }
    println!("no order does better than {:.1?}", unit * 6);
    assert!(makespans[0] >= unit * 6, "the least time for two workers");
    assert!(makespans[2] >= unit * 9, "4 + 3 + 2 units make one chunk");
    assert!(makespans[0] < makespans[2], "small chunks spread uneven work better");
    Ok(())
}

/// Has the jobs done in chunks of that size.
fn run(unit: Duration, chunk_size: usize) -> procshare::Result<Timeline> {
    let pool = Pool::builder().workers(WORKERS).chunk_size(chunk_size).timeline(true);
    let pool = pool.build()?;
    for result in pool.map(std::thread::sleep, LENGTHS.map(|length| unit * length)) {
        result?;
    }
    Ok(pool.timeline())
}

/// From the first job's begin to the last one's end.
fn makespan(timeline: &Timeline) -> Duration {
    assert_eq!(timeline.bars().len(), LENGTHS.len());
    let begin = timeline.bars().iter().map(|bar| bar.start).min().unwrap_or_default();
    let end = timeline.bars().iter().map(|bar| bar.end).max().unwrap_or_default();
    end - begin
}
