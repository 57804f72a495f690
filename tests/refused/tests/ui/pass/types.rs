//! What may be shared compiles; it also makes the other programs here be built, not only checked.

use procshare::{Shareable, SharedArray, SharedValue};

#[derive(Clone, Copy, Shareable)]
#[repr(u8)]
enum State {
    Idle,
    Busy = 7,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Worker<T> {
    done: T,
    initial: char,
    state: State,
    busy: bool,
    _pad: [u8; 2],
}

/// Names of the user's own do not get in the way of the derive.
#[allow(non_camel_case_types, dead_code)]
mod names {
    struct Option;
    struct u8;
    mod core {}

    #[derive(Clone, Copy, procshare::Shareable)]
    #[repr(C)]
    struct Vec {
        x: f32,
        y: f32,
    }

    #[derive(Clone, Copy, procshare::Shareable)]
    #[repr(C)]
    struct Generic<String> {
        text: String,
        at: Vec,
    }
}

fn main() {
    let worker = Worker {
        done: 1_u64,
        initial: 'a',
        state: State::Busy,
        busy: false,
        _pad: [0; 2],
    };
    let _ = SharedValue::new(worker);
    let _ = SharedValue::new(State::Idle);
    let _ = SharedValue::new([0_u8; 64 * 1024]);
    let _ = SharedArray::<[f64; 3]>::new(4);
}
