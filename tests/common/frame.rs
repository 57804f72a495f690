//! A value whose bulk lies deep inside.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) const MIB: usize = 1 << 20;

/// What is long about it lies deep inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame {
    pub(crate) number: u32,
    #[serde(flatten)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) planes: (Option<Vec<u8>>, Vec<f64>),
    pub(crate) names: Vec<String>,
}

impl Frame {
    pub(crate) fn new(number: u32, bytes: usize) -> Self {
        Frame {
            number,
            labels: [("label".to_owned(), "x".repeat(bytes / 8))].into(),
            planes: (Some(vec![number as u8; bytes / 4]), vec![number.into(); bytes / 16]),
            names: (0..bytes / 64).map(|at| format!("{at:>13}")).collect(),
        }
    }
}
