//! Without a representation the compiler may lay out each build differently.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
struct Plain {
    a: u32,
    b: u32,
}

#[derive(Clone, Copy, Shareable)]
#[repr(packed)]
struct PackedOnly {
    a: u32,
}

#[derive(Clone, Copy, Shareable)]
enum State {
    Idle,
    Busy,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
enum SizeOfTheCompilersChoice {
    Idle,
    Busy,
}

fn main() {}
