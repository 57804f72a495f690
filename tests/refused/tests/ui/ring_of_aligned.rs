//! Slots of a ring begin on a cache line: more cannot be promised.

use procshare::{Shareable, ring};

#[derive(Clone, Copy, Shareable)]
#[repr(C, align(256))]
struct Wide([u8; 256]);

fn main() {
    let _ = ring::<Wide>(4);
}
