//! A shared value is copied in and out.

use procshare::Shareable;

#[derive(Shareable)]
#[repr(C)]
struct Counter {
    count: u64,
}

fn main() {}
