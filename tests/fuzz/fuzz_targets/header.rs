//! Any bytes at all, taken for a segment.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procshare::__private::inspect;

/// Where the header says how long the segment is.
const LENGTH: std::ops::Range<usize> = 16..24;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Once more with the true length, which chance does not find.
    if bytes.len() >= LENGTH.end {
        let mut bytes = bytes.to_vec();
        let length = bytes.len() as u64;
        bytes[LENGTH].copy_from_slice(&length.to_ne_bytes());
        check(&bytes);
    }
});

fn check(bytes: &[u8]) {
    for object in inspect(bytes).unwrap_or_default() {
        assert!(object.offset + object.bytes <= bytes.len() as u64);
    }
}
