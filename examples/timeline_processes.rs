//! Draws when a reader and two sorters worked, each a process of its own that tells its times through a queue.
//!
//! Try `cargo run --release --example timeline_processes --features timeline-svg -- --out times.svg`.

use clap::{Parser, value_parser};
use procshare::pool::{Timeline, Timestamp};
use procshare::{Process, RecvError, SharedQueue};
use std::error::Error;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// What a process tells of itself: its name, what it did, from when to when.
type Told = (String, String, Timestamp, Timestamp);

const BATCHES: u32 = 6;

/// Draws a time-line chart of processes.
#[derive(Parser)]
struct Options {
    /// The picture; `procshare-processes.svg` in the folder for temporary files otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How long a step takes at least, in milliseconds, 1 to 1,000.
    #[arg(long, default_value_t = 40, value_parser = value_parser!(u64).range(1..=1_000))]
    unit: u64,
}

/// Sorts batches until there are no more, and tells when it did.
fn sort(name: String, unit: Duration, batches: SharedQueue<u32>, times: SharedQueue<Told>) {
    loop {
        let batch = match batches.get() {
            Ok(batch) => batch,
            Err(RecvError::Closed) => return,
            Err(error) => panic!("{name}: {error}"),
        };
        let start = Timestamp::now();
        sleep(unit * (1 + batch % 3));
        let told = (name.clone(), format!("batch {batch}"), start, Timestamp::now());
        times.put(told).expect("the parent reads to the end");
    }
}

/// Reads one batch after the other.
fn read(unit: Duration, batches: SharedQueue<u32>, times: SharedQueue<Told>) {
    for batch in 0..BATCHES {
        let start = Timestamp::now();
        sleep(unit);
        batches.put(batch).expect("the sorters still wait for batches");
        let told = ("reader".to_owned(), batch.to_string(), start, Timestamp::now());
        times.put(told).expect("the parent reads to the end");
    }
    batches.close();
}

#[procshare::main]
fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let unit = Duration::from_millis(options.unit);
    let path = options
        .out
        .unwrap_or_else(|| std::env::temp_dir().join("procshare-processes.svg"));
    let (batches, times) = (SharedQueue::new(4)?, SharedQueue::<Told>::new(100)?);
    let mut children = vec![Process::spawn(read, (unit, batches.clone(), times.clone()))?];
    for name in ["sorter 1", "sorter 2"] {
        children.push(Process::spawn(
            sort,
            (name.to_owned(), unit, batches.clone(), times.clone()),
        )?);
    }
    let mut timeline = Timeline::new();
    for _ in 0..2 * BATCHES {
        let (name, what, begun, done) = times.get()?;
        timeline.add(name, what, begun, done);
    }
    children.into_iter().try_for_each(Process::join)?;
    timeline.write_svg(&path)?;
    println!("{} spans in {}", timeline.spans().len(), path.display());
    Ok(())
}
