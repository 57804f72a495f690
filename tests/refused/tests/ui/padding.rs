//! Bytes that no field covers may hold anything, also secrets: they are refused, wherever they lie.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Inside {
    busy: bool,
    done: u64,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct AtTheEnd {
    done: u64,
    port: u16,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C, align(16))]
struct Aligned(u64);

#[derive(Clone, Copy, Shareable)]
#[repr(u8, align(4))]
enum AlignedEnum {
    Idle,
}

fn main() {}
