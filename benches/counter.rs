//! Times the operations of a `SharedCounter`.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use procshare::SharedCounter;

fn operations(criterion: &mut Criterion) {
    let counter = SharedCounter::new(0).unwrap();
    let mut group = criterion.benchmark_group("counter");
    group.bench_function("increment", |bencher| {
        bencher.iter(|| counter.increment().unwrap());
    });
    group.bench_function("add", |bencher| bencher.iter(|| counter.add(-1).unwrap()));
    group.bench_function("wrapping_add", |bencher| {
        bencher.iter(|| counter.wrapping_add(1));
    });
    group.bench_function("get", |bencher| bencher.iter(|| counter.get()));
    group.bench_function("get_lock", |bencher| {
        bencher.iter(|| *counter.get_lock() += 1);
    });
    group.finish();
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-counter-{}", std::process::id());
    let mut group = criterion.benchmark_group("counter alone in its segment");
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedCounter::create(&name, 1).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let _counter = SharedCounter::create(&name, 1).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| SharedCounter::open(&name).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, operations, doors);
criterion_main!(benches);
