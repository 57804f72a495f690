//! The lock of a shared value is the value's own.

use procshare::Shareable;
use std::sync::atomic::AtomicU64;

#[derive(Shareable)]
#[repr(C)]
struct Locked {
    count: std::sync::Mutex<u64>,
    hits: AtomicU64,
}

fn main() {}
