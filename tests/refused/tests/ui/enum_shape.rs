//! An enum is one integer: its variants have no fields, and there is one at least.

use procshare::Shareable;

#[derive(Clone, Copy, Shareable)]
#[repr(u8)]
enum Message {
    Quit,
    Resize { width: u32, height: u32 },
    Move(i32, i32),
}

#[derive(Clone, Copy, Shareable)]
enum Never {}

fn main() {}
