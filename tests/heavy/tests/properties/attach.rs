//! Bytes that are no segment, or a spoilt one: errors, and no more.

use crate::good::good_bytes;
use crate::role::{Folder, file_of};
use procshare::Error;
use proptest::prelude::*;
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Bytes of the header that hold the lock of the directory; `src/layout/header.rs` pins them.
const DIRECTORY_LOCK: std::ops::Range<usize> = 8 * 8..10 * 8;

/// Opens and uses what stands in the folder as far as it lets itself be used; garbage must give errors, no more.
fn use_it(folder: &Folder) -> Result<(), Error> {
    let segment = folder.builder().open("case")?;
    let _ = (format!("{segment:?}"), segment.free(), segment.name());
    if let Ok(objects) = segment.objects() {
        for object in &objects {
            assert!(object.offset + object.bytes <= segment.capacity() as u64, "{object:?}");
        }
    }
    if let Ok(value) = segment.open_value::<[u64; 3]>("value") {
        let _ = value.try_get();
        if let Ok(mut guard) = value.try_get_lock() {
            guard[0] += u64::from(guard[0] != u64::MAX);
        }
    }
    if let Ok(value) = segment.open_value::<char>("another value") {
        let _ = (value.try_get(), value.try_get_lock().map(drop));
    }
    if let Ok(array) = segment.open_array::<u32>("array") {
        match array.try_get_lock() {
            Ok(mut guard) => guard.fill(1),
            Err(procshare::LockError::OwnerDied(mut guard)) => guard.recover(),
            Err(_) => {}
        }
    }
    let _ = segment
        .open_counter("counter")
        .map(|counter| counter.as_value().try_get());
    let _ = segment
        .open_atomic::<AtomicU64>("atomic")
        .map(|atomic| atomic.fetch_add(1, Ordering::Relaxed));
    if let Ok(atomics) = segment.open_atomic_array::<AtomicI32>("atomics") {
        atomics.iter().for_each(|atomic| atomic.store(1, Ordering::Relaxed));
    }
    let _ = segment
        .value("a new one", 1u64)
        .and_then(|value| value.try_get().map_err(Error::from));
    let _ = segment.array::<u8>("a large one", usize::MAX);
    Ok(())
}

/// One spoilt place: an offset, and a word that may look like an offset, a length or nothing at all.
fn change() -> impl Strategy<Value = (usize, u64)> {
    let offset = prop_oneof![2 => 0usize..128, 2 => 640usize..704 + 128, 6 => 704usize..2400];
    let word = prop_oneof![
        any::<u64>(),
        (0u64..1024).prop_map(|word| word * 8),
        0u64..70_000,
        (any::<u32>(), 0u32..8).prop_map(|(high, low)| u64::from(high) << 32 | u64::from(low)),
        Just(u64::MAX),
        Just(u64::MAX - 7),
    ];
    (offset.prop_map(|offset| offset / 8 * 8), word)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoilt_words_give_errors_and_no_more(changes in prop::collection::vec(change(), 1..6)) {
        let folder = Folder::new();
        let mut bytes = good_bytes();
        for (offset, word) in changes {
            // Whoever the directory's lock names may be alive and would be waited for.
            if !DIRECTORY_LOCK.contains(&offset) {
                bytes[offset..offset + 8].copy_from_slice(&word.to_ne_bytes());
            }
        }
        fs::write(file_of(&folder.0, "case"), bytes).expect("the folder is ours");
        let _ = use_it(&folder);
    }

    #[test]
    fn random_bytes_behind_a_good_header_give_errors_and_no_more(
        garbage in prop::collection::vec(any::<u64>(), 128),
        at in 80usize..2000,
    ) {
        let folder = Folder::new();
        let mut bytes = good_bytes();
        let garbage: Vec<u8> = garbage.into_iter().flat_map(u64::to_ne_bytes).collect();
        bytes[at..at + garbage.len()].copy_from_slice(&garbage);
        fs::write(file_of(&folder.0, "case"), bytes).expect("the folder is ours");
        let _ = use_it(&folder);
    }

    #[test]
    fn random_bytes_are_no_segment(words in prop::collection::vec(any::<u64>(), 0..700), cut in 0usize..8) {
        let folder = Folder::new();
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        bytes.truncate(bytes.len().saturating_sub(cut));
        fs::write(file_of(&folder.0, "case"), bytes).expect("the folder is ours");
        prop_assert!(use_it(&folder).is_err());
    }
}
