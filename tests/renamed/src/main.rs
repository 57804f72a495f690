//! Knows `procshare` as `shm`: the macros find that out. Prints what children have said.

use shm::{Process, Shareable, SharedValue};

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Pair {
    left: u32,
    right: Side,
}

#[derive(Clone, Copy, Shareable)]
#[repr(u32)]
enum Side {
    Only = 5,
}

fn sum(pair: SharedValue<Pair>) -> u32 {
    let pair = pair.get();
    pair.left + pair.right as u32
}

#[shm::main]
fn main() -> shm::Result<()> {
    let pair = SharedValue::new(Pair {
        left: 37,
        right: Side::Only,
    })?;
    println!("{}", Process::spawn(sum, (pair,))?.join()?);
    Ok(())
}

#[shm::test]
fn the_other_name_is_found_out() -> shm::Result<()> {
    let pair = SharedValue::new(Pair {
        left: 1,
        right: Side::Only,
    })?;
    assert_eq!(Process::spawn(sum, (pair,))?.join()?, 6);
    Ok(())
}
