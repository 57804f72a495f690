//! Prints how fast this crate is beside its peers, all measured in one run.
//!
//! `cargo bench --bench peers` measures every row, `-- <part of a name>` only some, `-- --quick` all of them in short
//! rounds that enforce nothing. A row's ratio is ours / peer, medians over interleaved rounds, smaller is better; its
//! bar must hold, its goal is what we want. Rows with a bar of 1.00 and a limit as their peer are absolute. The exit
//! status is 1 if a bar was missed.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

mod alone;
mod contended;
mod measure;
mod portable;
mod python;
mod race;
mod robust;
mod segments;

use measure::{Effort, Measured};
use std::process::ExitCode;

/// One line of the table.
struct Row {
    name: &'static str,
    bar: Option<f64>,
    goal: Option<f64>,
    measure: fn(Effort) -> Option<Measured>,
}

const fn row(name: &'static str, bar: f64, goal: f64, measure: fn(Effort) -> Option<Measured>) -> Row {
    Row {
        name,
        bar: Some(bar),
        goal: Some(goal),
        measure,
    }
}

/// A row nobody promised anything about.
const fn note(name: &'static str, measure: fn(Effort) -> Option<Measured>) -> Row {
    Row {
        name,
        bar: None,
        goal: None,
        measure,
    }
}

const ROWS: &[Row] = &[
    row("lock_uncontended", 1.10, 1.00, alone::lock),
    row("value_increment", 1.20, 1.00, alone::value_increment),
    row("value_increment_2p", 1.00, 0.70, contended::beside_std),
    row("value_increment_2p_pl", 2.00, 1.00, contended::beside_parking_lot),
    row("value_increment_2p_robust", 0.80, 0.55, contended::beside_robust),
    row("value_get", 4.00, 2.00, alone::value_get),
    row("atomic_add", 1.05, 1.00, alone::atomic_add),
    row("array_sum_guard", 1.05, 1.00, alone::array_sum),
    row("increment_vs_python_4p", 0.05, 0.02, python::increment),
    row("create_anonymous", 1.00, 0.50, segments::create_anonymous),
    row("open_named", 1.00, 0.50, segments::open_named),
    row("spawn_join", 2.00, 1.00, segments::spawn_join),
    row("resident_1000_values", 1.00, 0.50, segments::resident),
    row("bytes_of_a_value", 1.00, 1.00, segments::bytes_of_a_value),
    row("longest_wait_4p", 1.00, 0.50, contended::longest_wait),
    note("lock_uncontended_std", alone::lock_beside_std),
    note("lock_uncontended_robust", robust::lock),
    note("value_increment_raw_sync", portable::increment),
    note("create_named_shared_memory", portable::create),
    note("open_named_shared_memory", portable::open),
];

fn main() -> ExitCode {
    procshare::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == segments::IDLE) {
        return ExitCode::SUCCESS;
    }
    // `cargo bench` says `--bench`; without it this is a test of the benches, and short.
    let quick = arguments.iter().any(|argument| argument == "--quick")
        || !arguments.iter().any(|argument| argument == "--bench");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let rows = ROWS
        .iter()
        .filter(|row| wanted.is_empty() || wanted.iter().any(|part| row.name.contains(*part)));

    println!("| name | ours | peer | ratio | bar | goal | verdict |");
    println!("|---|---|---|---|---|---|---|");
    let mut ratios = Vec::new();
    let mut missed = false;
    for row in rows {
        match (row.measure)(Effort { quick }) {
            Some(measured) => {
                missed |= print(row, measured);
                ratios.push((row.name, measured.ratio()));
            }
            None => println!("| {} | – | – | – | – | – | skipped |", row.name),
        }
    }
    println!();
    for (name, ratio) in ratios {
        println!("RATIO {name} {ratio:.3}");
    }
    if quick {
        println!("\nshort rounds: bars are shown, not enforced");
    }
    if missed && !quick {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints one line, and returns whether it misses its bar.
fn print(row: &Row, measured: Measured) -> bool {
    let ratio = measured.ratio();
    let within = |limit: Option<f64>| limit.is_some_and(|limit| ratio <= limit);
    let missed = row.bar.is_some() && !within(row.bar);
    let verdict = match row.bar {
        None => "–",
        Some(_) if within(row.goal) => "goal",
        Some(_) if missed => "MISSED",
        Some(_) => "bar",
    };
    let limit = |limit: Option<f64>| limit.map_or("–".to_owned(), |limit| format!("{limit:.2}"));
    println!(
        "| {} | {} | {} | {ratio:.2} | {} | {} | {verdict} |",
        row.name,
        measured.unit.show(measured.ours),
        measured.unit.show(measured.peer),
        limit(row.bar),
        limit(row.goal),
    );
    missed
}
