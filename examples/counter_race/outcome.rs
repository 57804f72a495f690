//! What came of one mode, and whether it is what the mode promises.

use crate::mode::Mode;
use crate::options::Options;
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) mode: Mode,
    pub(crate) processes: usize,
    /// Of each process; in `kill`, of all together.
    pub(crate) increments: u64,
    pub(crate) expected: u64,
    #[serde(rename = "final")]
    pub(crate) reached: u64,
    pub(crate) lost: i64,
    pub(crate) ns_per_increment: f64,
    #[serde(flatten)]
    pub(crate) storm: Option<Storm>,
}

/// What `kill` has to say besides.
#[derive(Serialize)]
pub(crate) struct Storm {
    pub(crate) kills: u64,
    pub(crate) longest_stall_ms: f64,
    /// Whether total and sum agree, and all survivors have ended.
    pub(crate) consistent: bool,
}

impl Outcome {
    pub(crate) fn new(mode: Mode, options: &Options, expected: u64, reached: u64, took: Duration) -> Self {
        Outcome {
            mode,
            processes: options.processes,
            increments: options.increments,
            expected,
            reached,
            lost: expected.wrapping_sub(reached) as i64,
            ns_per_increment: took.as_nanos() as f64 / expected.max(1) as f64,
            storm: None,
        }
    }

    pub(crate) fn is_as_promised(&self) -> bool {
        let consistent = self.storm.as_ref().is_none_or(|storm| storm.consistent);
        consistent && (self.lost == 0 || !self.mode.is_guarded())
    }

    /// What the figures alone do not say: something broken, or luck.
    pub(crate) fn warning(&self) -> Option<String> {
        let (mode, lost) = (self.mode, self.lost);
        if !self.is_as_promised() {
            let text = match &self.storm {
                Some(storm) if lost == 0 && !storm.consistent => "survivors did not end",
                _ => "increments are missing, or too many",
            };
            return Some(format!("BROKEN: {mode}: {text} (lost {lost})"));
        }
        let lucky = lost == 0 && !mode.is_guarded();
        lucky.then(|| format!("{mode} happened to lose nothing this time, but nothing prevents it: run it again"))
    }

    /// What `kill` went through.
    pub(crate) fn storm_line(&self) -> Option<String> {
        let Storm {
            kills,
            longest_stall_ms,
            consistent,
        } = self.storm.as_ref()?;
        let verdict = if *consistent { "is" } else { "IS NOT" };
        Some(format!(
            "kill: {kills} workers killed and replaced, longest stall {longest_stall_ms:.1} ms; \
             the total {verdict} the sum of what the workers counted"
        ))
    }
}
