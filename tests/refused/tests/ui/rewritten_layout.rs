//! A macro below the derive may change the layout that the derive has seen.

use attributes::rewrite;
use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[rewrite((first)(second) (second)(first))]
#[repr(C)]
struct Reordered {
    first: u64,
    second: u64,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((C)(C, align(16)))]
#[repr(C)]
struct Aligned(u64);

#[derive(Clone, Copy, Shareable)]
#[rewrite((transparent)(C))]
#[repr(transparent)]
struct NoLongerTransparent(u32, [u64; 0]);

#[derive(Clone, Copy, Shareable)]
#[rewrite((u8)(u16))]
#[repr(u8)]
enum Wider {
    Only,
}

#[derive(Clone, Copy, Shareable)]
#[rewrite((repr)(doc) (u8)(hidden))]
#[repr(u8)]
enum NoLongerNumbered {
    Only,
}

fn main() {}
