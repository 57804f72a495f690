//! Prints a table of how long messages take between two processes: procshare's and other crates'.
//!
//! One-way latency is half of a round trip; throughput is that of a stream which ends with a reply. *Busy*: whoever waits
//! for a message polls; *blocking*: sleeps, or does what the crate thinks best. Medians of interleaved rounds, each with
//! a new process; `--quick` makes them few and short.

mod iceoryx2;
mod ipc_channel;
mod link;
mod ours;

use link::{Shape, measure};

/// What measures one of them.
type Measure = fn(Shape, u64) -> [f64; 2];

const LINKS: &[(&str, Measure)] = &[
    ("procshare queue", measure::<ours::Queue>),
    ("procshare pipe", measure::<ours::Pipe>),
    ("procshare ring", measure::<ours::Ring>),
    ("ipc-channel", measure::<ipc_channel::IpcChannel>),
    ("iceoryx2", measure::<iceoryx2::Iceoryx2>),
];
const SIZES: [(&str, usize, u64); 2] = [("64 B", 64, 50_000), ("1 MiB", 1 << 20, 1_000)];

fn main() {
    procshare::init();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, share) = if quick { (1, 50) } else { (7, 1) };
    let names: Vec<&str> = LINKS.iter().map(|(name, _)| *name).collect();
    println!("| messages | waiting | | {} |", names.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(names.len()));
    for (size, bytes, messages) in SIZES {
        for (waiting, busy) in [("busy", true), ("blocking", false)] {
            let shape = Shape { bytes, busy };
            let mut taken = vec![[const { Vec::new() }; 2]; LINKS.len()];
            for _ in 0..rounds {
                for ((_, measure), taken) in LINKS.iter().zip(&mut taken) {
                    let [one_way, in_a_stream] = measure(shape, messages / share);
                    taken[0].push(one_way);
                    taken[1].push(in_a_stream);
                }
            }
            let row = |what: &str, index: usize, show: &dyn Fn(f64) -> String| {
                let cells: Vec<_> = taken.iter().map(|taken| show(median(&taken[index]))).collect();
                println!("| {size} | {waiting} | {what} | {} |", cells.join(" | "));
            };
            row("one-way latency", 0, &|nanoseconds| {
                format!("{:.3} µs", nanoseconds / 1e3)
            });
            row("throughput", 1, &|nanoseconds| rate(nanoseconds, bytes));
        }
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn rate(nanoseconds: f64, bytes: usize) -> String {
    if bytes < 1 << 20 {
        format!("{:.2} M/s", 1e3 / nanoseconds)
    } else {
        format!("{:.2} GiB/s", bytes as f64 / nanoseconds * 1e9 / f64::from(1 << 30))
    }
}
