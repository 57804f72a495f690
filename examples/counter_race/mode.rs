//! The six ways to count.

use crate::options::Options;
use crate::outcome::Outcome;
use crate::{kill, race};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the integer is incremented.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// An atomic load, then an atomic store: loses updates.
    Unguarded,
    /// Load and store locked each on its own: loses updates.
    PerAccess,
    /// Load and store under one lock.
    GetLock,
    /// `SharedCounter::increment`.
    Counter,
    /// `fetch_add` of a shared atomic.
    Atomic,
    /// A struct under one lock, while workers are killed and replaced.
    Kill,
}

impl Mode {
    /// Whether this way of counting promises to lose nothing.
    pub(crate) fn is_guarded(self) -> bool {
        !matches!(self, Mode::Unguarded | Mode::PerAccess)
    }

    pub(crate) fn run(self, options: &Options) -> procshare::Result<Outcome> {
        match self {
            Mode::Kill => kill::run(options),
            _ => race::run(self, options),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}
