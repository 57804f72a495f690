//! Prints outcomes as they come: rows with a bar to scale, or lines of JSON.

use crate::options::Options;
use crate::outcome::Outcome;
use std::io::{self, Write, stdout};

/// How many characters a bar has.
const WIDTH: u128 = 40;

pub(crate) struct Report {
    json: bool,
    /// What is said below the table.
    remarks: Vec<String>,
}

impl Report {
    pub(crate) fn begin(options: &Options) -> io::Result<Self> {
        if !options.json {
            writeln!(
                stdout(),
                "{} processes, {} increments each (kill: as many as the time allows)\n\n\
                 {:<9} {:>10} {:>10} {:>8} {:>9}  █ counted ░ lost",
                options.processes,
                options.increments,
                "mode",
                "expected",
                "final",
                "lost",
                "ns each",
            )?;
        }
        Ok(Report {
            json: options.json,
            remarks: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, outcome: &Outcome) -> io::Result<()> {
        if self.json {
            if let Some(warning) = outcome.warning() {
                eprintln!("{warning}");
            }
            return writeln!(stdout(), "{}", serde_json::to_string(outcome)?);
        }
        self.remarks.extend(outcome.storm_line());
        self.remarks.extend(outcome.warning());
        let Outcome {
            mode,
            expected,
            reached,
            lost,
            ns_per_increment,
            ..
        } = outcome;
        writeln!(
            stdout(),
            "{mode:<9} {expected:>10} {reached:>10} {lost:>8} {ns_per_increment:>9.1}  {}",
            bar(*reached, *expected),
        )
    }

    pub(crate) fn end(self) -> io::Result<()> {
        if !self.remarks.is_empty() {
            writeln!(stdout(), "\n{}", self.remarks.join("\n"))?;
        }
        Ok(())
    }
}

/// What is left and what is lost, to scale; a single lost increment shows.
fn bar(reached: u64, expected: u64) -> String {
    let (reached, expected) = (u128::from(reached), u128::from(expected.max(1)));
    let kept = (reached.min(expected) * WIDTH / expected) as usize;
    "█".repeat(kept) + &"░".repeat(WIDTH as usize - kept)
}
