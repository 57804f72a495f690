//! `SharedAtomic` and `SharedAtomicArray`: doors, all widths, several processes.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;

use common::unique;
use forked::{Child, frame};
use procshare::{ErrorKind, Segment, SharedAtomic, SharedAtomicArray, SharedValue};
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed,
};

macro_rules! every_width {
    ($($atomic:ty: $integer:ty),*) => {$({
        let atomic = SharedAtomic::<$atomic>::new(<$integer>::MAX).unwrap();
        assert_eq!(atomic.fetch_add(1, Relaxed), <$integer>::MAX);
        assert_eq!(atomic.clone().load(Relaxed), <$integer>::MIN);
        assert_eq!(atomic.compare_exchange(<$integer>::MIN, 3, Relaxed, Relaxed), Ok(<$integer>::MIN));
        assert_eq!(atomic.swap(5, Relaxed), 3);
        assert_eq!(format!("{atomic:?}"), "SharedAtomic(5)");
        let array = SharedAtomicArray::<$atomic>::new(3).unwrap();
        array[1].store(<$integer>::MAX, Relaxed);
        array[2].store(1, Relaxed);
        let all: Vec<$integer> = array.clone().iter().map(|one| one.load(Relaxed)).collect();
        assert_eq!(all, [0, <$integer>::MAX, 1]);
    })*};
}

#[test]
fn every_width_is_the_standard_librarys() {
    every_width!(AtomicI8: i8, AtomicI16: i16, AtomicI32: i32, AtomicI64: i64);
    every_width!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);
}

#[test]
fn all_doors_lead_to_the_same_atomic() {
    let _frame = frame();
    let name = unique("atomic");
    let open = || SharedAtomic::<AtomicU32>::open(&name);
    assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
    let created = SharedAtomic::<AtomicU32>::create(&name, 1).unwrap();
    let again = SharedAtomic::<AtomicU32>::create(&name, 1).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    open().unwrap().fetch_add(1, Relaxed);
    let either = SharedAtomic::<AtomicU32>::open_or_create(&name, 9).unwrap();
    either.fetch_add(1, Relaxed);
    assert_eq!(created.load(Relaxed), 3);
    for error in [
        SharedAtomic::<AtomicI32>::open(&name).unwrap_err(),
        SharedAtomicArray::<AtomicU32>::open(&name).unwrap_err(),
        SharedValue::<u32>::open(&name).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TypeMismatch, "{error}");
        assert_eq!(error.segment(), Some(name.as_str()));
    }
    drop((created, either));
    assert_eq!(
        SharedAtomic::<AtomicU32>::open_or_create(&name, 9)
            .unwrap()
            .load(Relaxed),
        9
    );
}

#[test]
fn all_doors_lead_to_the_same_atomics() {
    let _frame = frame();
    let name = unique("atomics");
    let open = || SharedAtomicArray::<AtomicU16>::open(&name);
    assert_eq!(open().unwrap_err().kind(), ErrorKind::NotFound);
    let created = SharedAtomicArray::<AtomicU16>::create(&name, 5).unwrap();
    let again = SharedAtomicArray::<AtomicU16>::create(&name, 5).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    open().unwrap()[4].store(7, Relaxed);
    assert_eq!(open().unwrap().len(), 5);
    let either = SharedAtomicArray::<AtomicU16>::open_or_create(&name, 5).unwrap();
    assert_eq!(either[4].load(Relaxed), 7);
    let longer = SharedAtomicArray::<AtomicU16>::open_or_create(&name, 6).unwrap_err();
    assert_eq!(longer.kind(), ErrorKind::LengthMismatch);
    let other = SharedAtomicArray::<AtomicI16>::open(&name).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::TypeMismatch);
    assert_eq!(format!("{created:?}"), "[0, 0, 0, 0, 7]");
}

#[test]
fn atomics_in_a_segment_have_names() {
    let segment = Segment::new(16 * 1024).unwrap();
    let kind_of = |error: procshare::Error| error.kind();
    assert_eq!(
        segment.open_atomic::<AtomicU8>("a").map_err(kind_of).unwrap_err(),
        ErrorKind::NotFound
    );
    segment.atomic::<AtomicU8>("a", 4).unwrap().fetch_add(1, Relaxed);
    assert_eq!(segment.atomic::<AtomicU8>("a", 9).unwrap().load(Relaxed), 5);
    assert_eq!(segment.open_atomic::<AtomicU8>("a").unwrap().load(Relaxed), 5);
    segment.atomic_array::<AtomicI64>("b", 3).unwrap()[2].store(-1, Relaxed);
    assert_eq!(
        segment.open_atomic_array::<AtomicI64>("b").unwrap()[2].load(Relaxed),
        -1
    );
    assert_eq!(segment.atomic_array::<AtomicI64>("b", 3).unwrap().len(), 3);
    let errors = [
        (
            segment
                .open_atomic_array::<AtomicI64>("c")
                .map_err(kind_of)
                .unwrap_err(),
            ErrorKind::NotFound,
        ),
        (
            segment.atomic_array::<AtomicI64>("b", 4).map_err(kind_of).unwrap_err(),
            ErrorKind::LengthMismatch,
        ),
        (
            segment.atomic::<AtomicI64>("b", 4).map_err(kind_of).unwrap_err(),
            ErrorKind::TypeMismatch,
        ),
        (
            segment.atomic::<AtomicI64>("", 4).map_err(kind_of).unwrap_err(),
            ErrorKind::InvalidName,
        ),
        (
            segment.atomic_array::<AtomicI64>("", 4).map_err(kind_of).unwrap_err(),
            ErrorKind::InvalidName,
        ),
        (
            segment
                .atomic_array::<AtomicI64>("d", 9_999)
                .map_err(kind_of)
                .unwrap_err(),
            ErrorKind::Full,
        ),
        (
            segment
                .atomic_array::<AtomicI64>("e", usize::MAX)
                .map_err(kind_of)
                .unwrap_err(),
            ErrorKind::Full,
        ),
    ];
    for (found, expected) in errors {
        assert_eq!(found, expected);
    }
}

#[test]
fn no_atomics_at_all_are_fine_and_too_many_are_refused() {
    assert!(SharedAtomicArray::<AtomicU64>::new(0).unwrap().is_empty());
    for len in [usize::MAX, usize::MAX / 8, 1 << 60] {
        let error = SharedAtomicArray::<AtomicU64>::new(len).unwrap_err();
        let refused = [ErrorKind::InvalidCapacity, ErrorKind::OutOfMemory];
        assert!(refused.contains(&error.kind()), "{len}: {error:?}");
    }
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn an_index_beyond_the_end_panics() {
    let atomics = SharedAtomicArray::<AtomicU64>::new(3).unwrap();
    atomics[3].store(1, Relaxed);
}

#[test]
fn processes_lose_no_addition() {
    let _frame = frame();
    let atomic = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let atomics = SharedAtomicArray::<AtomicU8>::new(64).unwrap();
    let add = || {
        atomic.fetch_add(1, Relaxed);
        atomics.iter().for_each(|one| {
            one.fetch_add(1, Relaxed);
        });
    };
    let children: Vec<Child> = (0..3).map(|_| Child::fork(|| (0..1_000).for_each(|_| add()))).collect();
    children.into_iter().for_each(Child::finish);
    assert_eq!(atomic.load(Relaxed), 3_000);
    assert!(atomics.iter().all(|one| one.load(Relaxed) == (3_000 % 256) as u8));
}

#[cfg(feature = "process")]
#[procshare::test]
fn atomics_travel_to_children() {
    use procshare::Process;
    let _frame = frame();
    fn add(one: SharedAtomic<AtomicU64>, many: SharedAtomicArray<AtomicU64>, number: usize) -> usize {
        for _ in 0..5_000 {
            one.fetch_add(1, Relaxed);
            many[number].fetch_add(1, Relaxed);
        }
        many.len()
    }
    let one = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let many = SharedAtomicArray::<AtomicU64>::new(2).unwrap();
    let children: Vec<Process<usize>> = (0..2)
        .map(|number| Process::spawn(add, (one.clone(), many.clone(), number)).unwrap())
        .collect();
    for child in children {
        assert_eq!(child.join(), Ok(2));
    }
    assert_eq!(one.load(Relaxed), 10_000);
    assert!(many.iter().all(|count| count.load(Relaxed) == 5_000));
}
