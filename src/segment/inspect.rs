//! Reads a segment from bytes alone, for fuzzing: whatever the bytes, the outcome is a list or an error.

use super::ObjectInfo;
use crate::error::Result;
use crate::layout::header::{self, HEADER_WORDS};
use crate::layout::{Directory, Header};
use crate::primitive::{AtomicU64, Ordering};

/// Lists the objects in a segment's bytes, and finds each by name.
///
/// # Errors
///
/// As [`Segment::open`](crate::Segment::open) for the header and [`Segment::objects`](crate::Segment::objects) for
/// the directory.
pub fn inspect(bytes: &[u8]) -> Result<Vec<ObjectInfo>> {
    let words: Vec<AtomicU64> = bytes.chunks_exact(8).map(word).collect();
    let length = bytes.len() as u64;
    header::check_shortest(length)?;
    let copy: [u64; HEADER_WORDS] = core::array::from_fn(|at| words[at].load(Ordering::Relaxed));
    let header = Header::parse(&copy, length)?;
    let directory = Directory::new(&words[..(header.length / 8) as usize], header.buckets);
    let mut objects = Vec::new();
    for entry in directory.entries()? {
        let object = ObjectInfo::of(&directory, &entry);
        // Another object of the same name may come first, or a name that is not text may be displayed as another one.
        directory.find(&object.name)?;
        objects.push(object);
    }
    // What the next holder of the directory lock does after a death.
    directory.recover()?;
    Ok(objects)
}

fn word(bytes: &[u8]) -> AtomicU64 {
    AtomicU64::new(u64::from_ne_bytes(core::array::from_fn(|at| bytes[at])))
}
