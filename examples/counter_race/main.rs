//! Prints what becomes of one integer that several processes increment, guarded in six ways or not at all.
//!
//! Try `cargo run --release --example counter_race`, or add `-- --help`.

mod company;
mod integer;
mod kill;
mod mode;
mod options;
mod outcome;
mod race;
mod report;
mod start;
mod victim;

use clap::Parser;
use options::Options;
use report::Report;
use std::error::Error;
use std::process::ExitCode;

#[procshare::main]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let mut report = Report::begin(&options)?;
    let mut good = true;
    for mode in options.modes() {
        let outcome = mode.run(&options)?;
        report.add(&outcome)?;
        good &= outcome.is_as_promised();
    }
    report.end()?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
