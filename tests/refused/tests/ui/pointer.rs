//! Addresses mean nothing to another process.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Node {
    next: *const Node,
    scratch: *mut u8,
    visit: fn(u64) -> u64,
    rest: [*const Node; 2],
}

type Hidden = *const u8;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Alias {
    hidden: Hidden,
}

fn main() {}
