//! Times the operations of a `SharedQueue` in one process, with small and large items.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use procshare::{Capacity, SharedQueue};

const BATCH: u64 = 64;

fn small(criterion: &mut Criterion) {
    let queue = SharedQueue::<u64>::new(1024).unwrap();
    queue.put(1).unwrap();
    assert_eq!(queue.get(), Ok(1));
    let mut group = criterion.benchmark_group("queue of u64");
    group.bench_function("put and get", |bencher| {
        bencher.iter(|| {
            queue.put(1).unwrap();
            queue.get().unwrap()
        });
    });
    group.bench_function("try_put and try_get", |bencher| {
        bencher.iter(|| {
            queue.try_put(1).unwrap();
            queue.try_get().unwrap()
        });
    });
    group.bench_function("try_get of nothing", |bencher| bencher.iter(|| queue.try_get()));
    group.bench_function("len", |bencher| bencher.iter(|| queue.len()));
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("put_all and get_up_to 64", |bencher| {
        bencher.iter(|| {
            queue.put_all(0..BATCH).unwrap();
            queue.get_up_to(64).unwrap().map(Result::unwrap).sum::<u64>()
        });
    });
    group.finish();
}

fn large(criterion: &mut Criterion) {
    let queue = SharedQueue::<String>::new(Capacity::items(8).bytes(4 << 20)).unwrap();
    let mut group = criterion.benchmark_group("queue of strings");
    for (name, len) in [("64 B", 64), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        let text = "x".repeat(len);
        queue.put(text.clone()).unwrap();
        assert_eq!(queue.get().as_ref(), Ok(&text));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| {
            let round = |text| {
                queue.put(text).unwrap();
                queue.get().unwrap()
            };
            bencher.iter_batched(|| text.clone(), round, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-queue-{}", std::process::id());
    let mut group = criterion.benchmark_group("queue alone in its segment");
    let new = || SharedQueue::<u64>::new(1024).unwrap();
    group.bench_function("new", |bencher| {
        bencher.iter_batched(|| (), |()| new(), BatchSize::PerIteration);
    });
    let create = || SharedQueue::<u64>::create(&name, 1024).unwrap();
    group.bench_function("create", |bencher| {
        bencher.iter_batched(|| (), |()| create(), BatchSize::PerIteration);
    });
    let queue = create();
    let open = || SharedQueue::<u64>::open(&name).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| open(), BatchSize::PerIteration);
    });
    group.bench_function("clone", |bencher| bencher.iter(|| queue.clone()));
    group.finish();
}

criterion_group!(benches, small, large, doors);
criterion_main!(benches);
