//! Handles take shareable types only, also those of the standard library.

use procshare::{SharedArray, SharedValue};
use std::rc::Rc;

fn main() {
    let _ = SharedValue::new(String::new());
    let _ = SharedValue::new(0_usize);
    let _ = SharedValue::new(Rc::new(1_u64));
    let _ = SharedArray::<Vec<f64>>::new(4);
}
