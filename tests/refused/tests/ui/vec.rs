//! Lists live in a fixed array, or in a shared one.

use procshare::Shareable;

#[derive(Clone, Shareable)]
#[repr(C)]
struct Samples {
    samples: Vec<f64>,
    owner: Box<u64>,
    last: Option<f64>,
    range: (f64, f64),
    by_name: std::collections::HashMap<u64, f64>,
}

fn main() {}
