//! Nobody can tell which field of a union is meant.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
union Bits {
    float: f32,
    int: u32,
}

fn main() {}
