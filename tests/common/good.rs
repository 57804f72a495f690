//! A segment with an object of each kind that takes a few words, as bytes: tests spoil each of them.

use crate::role::{Folder, file_of};
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64};

/// The bytes of a good segment that holds one object of each such kind.
pub(crate) fn good_bytes() -> Vec<u8> {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| make_good_bytes(&Folder::new())).clone()
}

fn make_good_bytes(folder: &Folder) -> Vec<u8> {
    let make = || {
        let segment = folder.builder().capacity(8192).persistent(true).create("good")?;
        segment.value("value", [1u64, 2, 3])?;
        segment.array::<u32>("array", 40)?;
        segment.counter("counter", 4)?;
        segment.atomic::<AtomicU64>("atomic", 5)?;
        segment.atomic_array::<AtomicI32>("atomics", 6)?;
        segment.value("another value", 'x')
    };
    drop(make().expect("the folder is ours"));
    let path = file_of(&folder.0, "good");
    let bytes = fs::read(&path).expect("it persists");
    fs::remove_file(path).expect("it is ours");
    bytes
}
