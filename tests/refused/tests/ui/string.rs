//! Text lives in a fixed array.

use procshare::Shareable;

#[derive(Clone, Shareable)]
#[repr(C)]
struct Named {
    name: String,
    path: std::path::PathBuf,
}

fn main() {}
