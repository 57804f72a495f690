//! Times the operations of a `SharedValue`, small and large.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use procshare::SharedValue;

fn small(criterion: &mut Criterion) {
    let value = SharedValue::new(1u64).unwrap();
    let mut group = criterion.benchmark_group("value of 8 bytes");
    group.bench_function("get", |bencher| bencher.iter(|| value.get()));
    group.bench_function("set", |bencher| bencher.iter(|| value.set(1)));
    group.bench_function("get_lock", |bencher| {
        bencher.iter(|| *value.get_lock() += 1);
    });
    group.bench_function("try_get_lock", |bencher| {
        bencher.iter(|| *value.try_get_lock().unwrap() += 1);
    });
    group.bench_function("compare_exchange", |bencher| {
        bencher.iter(|| value.compare_exchange(0, 0));
    });
    group.finish();
}

fn large(criterion: &mut Criterion) {
    let value = SharedValue::new([1u64; 512]).unwrap();
    let mut group = criterion.benchmark_group("value of 4 KiB");
    group.bench_function("get", |bencher| bencher.iter(|| value.get()));
    group.bench_function("set", |bencher| bencher.iter(|| value.set([1; 512])));
    group.bench_function("get_lock", |bencher| {
        bencher.iter(|| value.get_lock()[7] += 1);
    });
    group.finish();
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-value-{}", std::process::id());
    let mut group = criterion.benchmark_group("value alone in its segment");
    group.bench_function("new", |bencher| {
        bencher.iter_batched(|| (), |()| SharedValue::new(1u64).unwrap(), BatchSize::PerIteration);
    });
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedValue::create(&name, 1u64).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let _value = SharedValue::create(&name, 1u64).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedValue::<u64>::open(&name).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, small, large, doors);
criterion_main!(benches);
