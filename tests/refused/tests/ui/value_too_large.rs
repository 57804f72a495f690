//! A value is copied at each access, so its size has a limit; larger things are arrays.

use procshare::SharedValue;

fn main() {
    let _ = SharedValue::new([0_u8; 70_000]);
}
