//! Times the operations of a pipe whose two ends are in one process.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use procshare::{Connection, pipe};
use std::time::Duration;

fn messages(criterion: &mut Criterion) {
    let (left, right) = pipe::<u64>().unwrap();
    left.send(1).unwrap();
    assert_eq!(right.recv(), Ok(1));
    let mut group = criterion.benchmark_group("pipe of u64");
    group.bench_function("send and recv", |bencher| {
        bencher.iter(|| {
            left.send(1).unwrap();
            right.recv().unwrap()
        });
    });
    group.bench_function("there and back", |bencher| {
        bencher.iter(|| {
            left.send(1).unwrap();
            right.send(right.recv().unwrap()).unwrap();
            left.recv().unwrap()
        });
    });
    group.bench_function("try_recv of nothing", |bencher| bencher.iter(|| right.try_recv()));
    group.bench_function("poll of nothing", |bencher| {
        bencher.iter(|| right.poll(Duration::ZERO).unwrap());
    });
    group.finish();
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-pipe-{}", std::process::id());
    let mut group = criterion.benchmark_group("pipe alone in its segment");
    group.bench_function("pipe", |bencher| {
        bencher.iter_batched(|| (), |()| pipe::<u64>().unwrap(), BatchSize::PerIteration);
    });
    let create = || Connection::<u64>::create(&name, 1024).unwrap();
    group.bench_function("create", |bencher| {
        bencher.iter_batched(|| (), |()| create(), BatchSize::PerIteration);
    });
    let _left = create();
    let open = || Connection::<u64>::open(&name).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| open(), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, messages, doors);
criterion_main!(benches);
