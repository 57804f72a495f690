//! A borrowed value belongs to one process.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Borrowed<'a> {
    bytes: &'a [u8; 4],
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Static {
    name: &'static str,
}

fn main() {}
