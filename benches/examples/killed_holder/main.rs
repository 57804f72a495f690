//! Prints who goes on when a process is killed that holds a lock, with `shared_memory` and `raw_sync`, and with procshare.
//!
//! Try `cargo run --release --package benches --example killed_holder`.

mod counter;
mod ours;
mod theirs;

use counter::{Counter, hold, increment};
use procshare::{Process, SharedAtomic};
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::yield_now;
use std::time::{Duration, Instant};

const INCREMENTS: u64 = 100_000;
/// How long the survivor tries to get the lock of a process that was killed.
const LIMIT: Duration = Duration::from_secs(2);

fn show<C: Counter>(name: &str) -> Result<(), Box<dyn Error>> {
    println!("{name}");
    let counter = C::create()?;
    let began = Instant::now();
    let children = [(); 2].map(|()| Process::spawn(increment::<C>, (counter.address(),)));
    for child in children {
        child?.join()?;
    }
    let sum = counter.increment(LIMIT)?;
    println!(
        "  two processes add one {INCREMENTS} times each, and this one once: {sum}, in {:.0?}",
        began.elapsed()
    );

    let held = SharedAtomic::<AtomicU32>::new(0)?;
    let holder = Process::spawn(hold::<C>, (counter.address(), held.clone()))?;
    while held.load(SeqCst) == 0 {
        yield_now();
    }
    holder.kill()?;
    let _ = holder.join(); // ended by signal 9
    let killed = Instant::now();
    match counter.increment(LIMIT) {
        Ok(sum) => println!(
            "  the holder is killed: this process goes on after {:.1?}: {sum}",
            killed.elapsed()
        ),
        Err(error) => println!(
            "  the holder is killed: nobody goes on, given up after {:.1?}: {error}",
            killed.elapsed()
        ),
    }
    Ok(())
}

#[procshare::main]
fn main() -> Result<(), Box<dyn Error>> {
    show::<theirs::Number>("shared_memory and raw_sync")?;
    show::<ours::Number>("procshare")
}
