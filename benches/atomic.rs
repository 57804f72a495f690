//! Times `SharedAtomic` and `SharedAtomicArray` beside the atomics of std.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use procshare::{SharedAtomic, SharedAtomicArray};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

fn operations(criterion: &mut Criterion) {
    let atomic = SharedAtomic::<AtomicU64>::new(0).unwrap();
    let array = SharedAtomicArray::<AtomicU64>::new(1024).unwrap();
    let plain = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("atomic");
    // Relaxed throughout: only the numbers count.
    group.bench_function("fetch_add", |bencher| {
        bencher.iter(|| atomic.fetch_add(1, Ordering::Relaxed));
    });
    group.bench_function("fetch_add in an array", |bencher| {
        bencher.iter(|| array[black_box(77)].fetch_add(1, Ordering::Relaxed));
    });
    group.bench_function("fetch_add of std", |bencher| {
        bencher.iter(|| black_box(&plain).fetch_add(1, Ordering::Relaxed));
    });
    group.bench_function("load", |bencher| {
        bencher.iter(|| atomic.load(Ordering::Relaxed));
    });
    group.finish();
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-atomic-{}", std::process::id());
    let mut group = criterion.benchmark_group("atomic alone in its segment");
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedAtomic::<AtomicU64>::create(&name, 1).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let _atomic = SharedAtomic::<AtomicU64>::create(&name, 1).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedAtomic::<AtomicU64>::open(&name).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, operations, doors);
criterion_main!(benches);
