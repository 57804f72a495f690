//! The padding of a generic struct is known, and refused, where the struct is used.

use procshare::{Shareable, SharedValue};

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Pair<A, B> {
    first: A,
    second: B,
}

fn main() {
    let fits = SharedValue::new(Pair {
        first: 1_u32,
        second: 2_u32,
    });
    let gapes = SharedValue::new(Pair {
        first: 1_u8,
        second: 2_u32,
    });
    drop((fits, gapes));
}
