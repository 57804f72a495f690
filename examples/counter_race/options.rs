//! What the user asks for.

use crate::mode::Mode;
use crate::victim::SLOTS;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use std::time::Duration;

/// Several processes increment one shared integer; see which ways of doing so lose updates.
#[derive(Parser)]
pub(crate) struct Options {
    /// How many processes increment, 1 to 64.
    #[arg(long, default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=SLOTS as u64))]
    pub(crate) processes: usize,
    /// How often each process increments; in `kill` they do so until the time is up.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) increments: u64,
    /// The one mode to run; without it, all of them.
    #[arg(long)]
    pub(crate) mode: Option<Mode>,
    /// For how many seconds `kill` kills.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Print one JSON object a line and mode instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn modes(&self) -> Vec<Mode> {
        match self.mode {
            Some(mode) => vec![mode],
            None => Mode::value_variants().to_vec(),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("expected 0.01 to 86400 seconds".to_owned())
    }
}
