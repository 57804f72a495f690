//! Times making, opening and dropping segments, and finding one object among many.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use procshare::Segment;
use std::hint::black_box;

const CAPACITY: usize = 64 * 1024;
const OBJECTS: usize = 10_000;

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-segment-{}", std::process::id());
    let mut group = criterion.benchmark_group("segment");
    group.bench_function("new", |bencher| {
        bencher.iter_batched(|| (), |()| Segment::new(CAPACITY).unwrap(), BatchSize::PerIteration);
    });
    group.bench_function("new and drop", |bencher| {
        bencher.iter(|| drop(Segment::new(CAPACITY).unwrap()));
    });
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (),
            |()| Segment::create(&name, CAPACITY).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let _segment = Segment::create(&name, CAPACITY).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| Segment::open(&name).unwrap(), BatchSize::PerIteration);
    });
    group.bench_function("open and drop", |bencher| {
        bencher.iter(|| drop(Segment::open(&name).unwrap()));
    });
    group.finish();
}

fn objects(criterion: &mut Criterion) {
    let segment = Segment::new(8 << 20).unwrap();
    let names: Vec<String> = (0..OBJECTS).map(|index| format!("value {index}")).collect();
    for (name, value) in names.iter().zip(0u64..) {
        segment.value(name, value).unwrap();
    }
    let found = segment.open_value::<u64>(&names[OBJECTS - 1]).unwrap();
    assert_eq!(found.get(), OBJECTS as u64 - 1);
    let mut group = criterion.benchmark_group("one of 10,000 objects");
    let mut next = (0..OBJECTS).cycle();
    group.bench_function("open by name", |bencher| {
        bencher.iter(|| {
            let index = next.next().unwrap();
            segment.open_value::<u64>(black_box(&names[index])).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, doors, objects);
criterion_main!(benches);
