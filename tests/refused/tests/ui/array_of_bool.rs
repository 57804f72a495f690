//! An array is used in place, so a corrupted byte must still be a value of its element.

use procshare::SharedArray;

fn main() {
    let _ = SharedArray::<bool>::new(4);
}
