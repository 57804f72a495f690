//! A good header, and any bytes at all for the directory and the objects behind it.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Header and attach table; the buckets follow. `src/layout/header.rs` pins these numbers.
const BUCKETS_AT: usize = 640;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let words = rest.len() / 8;
    let buckets = 1u64 << (choice % 8);
    if (words as u64) < buckets {
        return;
    }
    let length = BUCKETS_AT + words * 8;
    let mut segment = vec![0; BUCKETS_AT];
    segment.extend_from_slice(&rest[..words * 8]);
    for (word, value) in [
        (0, u64::from_le_bytes(*b"procshr\0")),
        (1, 1),
        (2, length as u64),
        (11, buckets),
    ] {
        segment[word * 8..word * 8 + 8].copy_from_slice(&value.to_ne_bytes());
    }
    if let Ok(objects) = procshare::__private::inspect(&segment) {
        for object in objects {
            assert!(object.offset >= BUCKETS_AT as u64 + buckets * 8);
            assert!(object.offset + object.bytes <= length as u64);
        }
    }
});
