//! Integers have one width in every build.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Position {
    index: usize,
    delta: isize,
    corners: [[usize; 2]; 2],
}

#[derive(Clone, Copy, Shareable)]
#[repr(usize)]
enum Mode {
    Fast,
}

fn main() {}
