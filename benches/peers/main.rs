//! Prints how fast this crate is beside its peers, all measured in one run.
//!
//! `cargo bench --bench peers` measures every row, `-- <part of a name>` only some, `-- --quick` all of them in short
//! rounds that enforce nothing. A row's ratio is ours / peer, medians over interleaved rounds, smaller is better. Its
//! bar must hold, its goal is what we want; rows without are for information. Some have a limit as their peer.
//! *Busy* are rows of two processes that other programs kept from running at once, which says nothing about either
//! side. The exit status is 1 if a bar was missed.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

mod alone;
mod contended;
mod encoding;
mod maps;
mod measure;
mod messages;
mod pools;
mod portable;
mod python;
mod race;
mod rings;
mod robust;
mod segments;
mod stream;
mod trips;

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
    row("encode_u64", 1.00, 0.70, encoding::of_number),
    row("encode_struct", 1.50, 1.00, encoding::of_struct),
    row("encode_string", 1.00, 0.80, encoding::of_string),
    row("encode_bulk", 1.30, 1.05, encoding::of_a_large_piece),
    row("queue_1x1", 1.00, 0.50, messages::queue_1x1),
    row("queue_2x2", 1.30, 0.80, messages::queue_2x2),
    row("queue_batch", 0.30, 0.10, messages::queue_batch),
    row("ring_1x1", 2.00, 1.00, rings::ring_1x1),
    row("ring_chunk", 1.50, 1.00, rings::ring_chunk),
    row("ring_bandwidth", 1.50, 1.10, rings::ring_bandwidth),
    row("pipe_round_trip", 0.20, 0.01, trips::pipe_round_trip),
    row("queue_vs_python", 0.02, 0.005, python::queue),
    row("pipe_vs_python", 0.10, 0.01, python::pipe),
    row("map_get_u64", 2.00, 1.00, maps::get_u64),
    row("map_insert_u64", 2.50, 1.20, maps::insert_u64),
    row("map_get_string", 2.00, 1.00, maps::get_string),
    row("map_mixed_2p", 1.50, 0.80, maps::mixed_2p),
    row("map_vs_python", 0.02, 0.003, python::map),
    row("map_bytes_u64", 2.50, 2.50, maps::bytes_of_numbers),
    row("map_bytes_string", 1.50, 1.50, maps::bytes_of_texts),
    row("pool_task_vs_python", 0.25, 0.05, python::pool_task),
    row("pool_map_vs_python", 0.30, 0.10, python::pool_map),
    row("pool_bytes_vs_python", 1.00, 0.30, python::pool_bytes),
    row("pool_floats_vs_python", 1.00, 0.30, python::pool_floats),
    row("pool_vs_rayon", 1.05, 1.01, pools::beside_rayon),
    row("spawn_vs_command", 2.00, 1.20, segments::spawn_join),
    row("fork_vs_python", 0.30, 0.10, python::fork),
    row("spawn_vs_python", 0.10, 0.03, python::spawn),
    row("fork_server_start", 0.30, 0.10, pools::fork_server_start),
    row("uppercase_files", 0.65, 0.55, pools::uppercase_files),
    note("map_insert_remove_u64", maps::insert_and_remove),
    note("map_insert_varying", maps::insert_varying),
    note("map_get_lru", maps::get_lru),
    note("longest_wait_4p", contended::longest_wait),
    note("lock_uncontended_std", alone::lock_beside_std),
    note("lock_uncontended_robust", robust::lock),
    note("value_increment_raw_sync", portable::increment),
    note("create_named_shared_memory", portable::create),
    note("open_named_shared_memory", portable::open),
];

fn main() -> ExitCode {
    procshare::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has(segments::IDLE) {
        return ExitCode::SUCCESS;
    }
    if has(trips::ECHO) {
        trips::echo_system_pipes();
        return ExitCode::SUCCESS;
    }
    // `cargo bench` says `--bench`; without it this is a test of the benches, and short.
    let quick = has("--quick") || !has("--bench");
    let parts: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |row: &&Row| parts.is_empty() || parts.iter().any(|part| row.name.contains(*part));
    let missed = print_table(ROWS.iter().filter(wanted), Effort { quick });
    if quick {
        println!("\nshort rounds: bars are shown, not enforced");
    } else if missed {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures and prints the rows, and returns whether one misses its bar, or could not be measured.
fn print_table<'a>(rows: impl Iterator<Item = &'a Row>, effort: Effort) -> bool {
    println!("| name | ours | peer | ratio | bar | goal | verdict |");
    println!("|---|---|---|---|---|---|---|");
    let mut ratios = Vec::new();
    let mut missed = false;
    for row in rows {
        let before = contended::disturbed_races();
        let Some(measured) = (row.measure)(effort) else {
            println!("| {} | – | – | – | – | – | skipped |", row.name);
            continue;
        };
        let after = contended::disturbed_races();
        let busy = 2 * (after.1 - before.1) > after.0 - before.0;
        let verdict = verdict(row, measured.ratio(), busy);
        print_line(row, measured, verdict);
        missed |= verdict == MISSED || verdict == BUSY;
        ratios.push((row.name, measured.ratio()));
    }
    println!();
    for (name, ratio) in ratios {
        println!("RATIO {name} {ratio:.3}");
    }
    if let (races, disturbed @ 1..) = contended::disturbed_races() {
        println!(
            "\nother programs disturbed {disturbed} of {races} races; a row of which they disturbed most is busy, and its bar not met: run again on a quiet machine"
        );
    }
    missed
}

const MISSED: &str = "MISSED";
/// Not measured, and so not met either.
const BUSY: &str = "busy";

/// What a ratio means; nothing if the machine was too busy to run both sides at once.
fn verdict(row: &Row, ratio: f64, busy: bool) -> &'static str {
    let within = |limit: Option<f64>| limit.is_some_and(|limit| ratio <= limit);
    match row.bar {
        None => "–",
        Some(_) if busy => BUSY,
        Some(_) if within(row.goal) => "goal",
        Some(_) if within(row.bar) => "bar",
        Some(_) => MISSED,
    }
}

fn print_line(row: &Row, measured: Measured, verdict: &str) {
    let ratio = |ratio: f64| match ratio {
        ..0.1 => format!("{ratio:.3}"),
        _ => format!("{ratio:.2}"),
    };
    let limit = |limit: Option<f64>| limit.map_or("–".to_owned(), ratio);
    println!(
        "| {} | {} | {} | {} | {} | {} | {verdict} |",
        row.name,
        measured.unit.show(measured.ours),
        measured.unit.show(measured.peer),
        ratio(measured.ratio()),
        limit(row.bar),
        limit(row.goal),
    );
}
