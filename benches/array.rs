//! Times the operations of a `SharedArray`, single elements and whole.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use procshare::SharedArray;

const LEN: usize = 128 * 1024;

fn elements(criterion: &mut Criterion) {
    let array = SharedArray::<u64>::new(LEN).unwrap();
    let mut group = criterion.benchmark_group("array element");
    group.bench_function("get", |bencher| bencher.iter(|| array.get(77).unwrap()));
    group.bench_function("set", |bencher| {
        bencher.iter(|| array.set(77, 1).unwrap());
    });
    group.bench_function("swap", |bencher| {
        bencher.iter(|| array.swap(77, 78).unwrap());
    });
    group.bench_function("get_lock", |bencher| {
        bencher.iter(|| array.get_lock().unwrap()[77] += 1);
    });
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let source: Vec<f64> = (0..LEN as u32).map(f64::from).collect();
    let array = SharedArray::from_slice(&source).unwrap();
    let frozen = array.freeze().unwrap();
    let mut group = criterion.benchmark_group("array of 1 MiB");
    group.throughput(Throughput::Bytes(8 * LEN as u64));
    group.bench_function("sum under the guard", |bencher| {
        bencher.iter(|| array.get_lock().unwrap().iter().sum::<f64>());
    });
    group.bench_function("sum when frozen", |bencher| {
        bencher.iter(|| frozen.iter().sum::<f64>());
    });
    group.bench_function("to_vec", |bencher| {
        bencher.iter(|| array.to_vec().unwrap());
    });
    group.bench_function("copy_from_slice", |bencher| {
        bencher.iter(|| array.copy_from_slice(&source).unwrap());
    });
    group.bench_function("fill", |bencher| bencher.iter(|| array.fill(1.0).unwrap()));
    group.bench_function("freeze", |bencher| {
        bencher.iter_batched(|| (), |()| array.freeze().unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-array-{}", std::process::id());
    let mut group = criterion.benchmark_group("array alone in its segment");
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedArray::<u64>::create(&name, 512).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let _array = SharedArray::<u64>::create(&name, 512).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(
            || (),
            |()| SharedArray::<u64>::open(&name).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, elements, whole, doors);
criterion_main!(benches);
