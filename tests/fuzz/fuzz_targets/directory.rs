//! A good header with any bytes at all behind it, or a real segment in which words were changed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procshare::__private::inspect;
use procshare::Segment;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

/// Header and attach table; the buckets follow. `src/layout/header.rs` pins these numbers.
const BUCKETS_AT: usize = 640;
/// The word that says how many buckets there are.
const BUCKETS: usize = 11;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let segment = if choice < 128 {
        behind_a_header(choice, rest)
    } else {
        changed(rest)
    };
    let Ok(objects) = inspect(&segment) else { return };
    for object in objects {
        assert!(object.offset >= BUCKETS_AT as u64);
        assert!(object.offset + object.bytes <= segment.len() as u64);
    }
});

fn put(segment: &mut [u8], word: usize, value: u64) {
    segment[word * 8..word * 8 + 8].copy_from_slice(&value.to_ne_bytes());
}

/// The bytes of a segment with some objects.
fn real() -> &'static [u8] {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    REAL.get_or_init(|| make().expect("a file can be made"))
}

/// A header that is right, and `rest` as buckets, entries and objects.
fn behind_a_header(choice: u8, rest: &[u8]) -> Vec<u8> {
    let length = BUCKETS_AT + rest.len() / 8 * 8;
    let mut segment = vec![0; BUCKETS_AT];
    segment.extend_from_slice(&rest[..rest.len() / 8 * 8]);
    // Magic and version are those of this build; flags are left out.
    segment[..12].copy_from_slice(&real()[..12]);
    put(&mut segment, 2, length as u64);
    put(&mut segment, BUCKETS, 1 << (choice % 8));
    segment
}

/// A real segment; every eleven bytes of `rest` put a word somewhere in it.
fn changed(rest: &[u8]) -> Vec<u8> {
    let mut segment = real().to_vec();
    for change in rest.chunks_exact(11) {
        let word = BUCKETS + usize::from(u16::from_ne_bytes([change[0], change[1]]));
        let number = u64::from_ne_bytes(std::array::from_fn(|at| change[3 + at]));
        let value = match change[2] % 5 {
            0 => number,
            1 => number % 0x2000,
            2 => number % 0x400 * 8,
            3 => number % 0x80 * 64,
            _ => number << 32 | number >> 48,
        };
        if word < segment.len() / 8 {
            put(&mut segment, word, value);
        }
    }
    segment
}

fn make() -> procshare::Result<Vec<u8>> {
    let path = std::env::temp_dir().join(format!("procshare-fuzz-{}", std::process::id()));
    let segment = Segment::create_file(&path, 8192)?;
    segment.value("value", [1u64, 2, 3])?;
    segment.array::<u32>("array", 40)?;
    segment.counter("counter", 4)?;
    segment.atomic::<AtomicU64>("atomic", 5)?;
    for number in 0..20 {
        segment.value(&format!("a longer name {number}"), number)?;
    }
    let bytes = std::fs::read(&path).expect("it was just made");
    segment.unlink()?;
    Ok(bytes)
}
