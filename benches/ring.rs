//! Times the operations of a ring whose two ends are in one process.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use procshare::{Consumer, Producer, ring};

const CHUNK: usize = 64;
const MIB: usize = 1 << 20;

fn values(criterion: &mut Criterion) {
    let (mut producer, mut consumer) = ring::<u64>(1024).unwrap();
    producer.push(1).unwrap();
    assert_eq!(consumer.pop(), Ok(1));
    let mut group = criterion.benchmark_group("ring of u64");
    group.bench_function("push and pop", |bencher| {
        bencher.iter(|| {
            producer.push(1).unwrap();
            consumer.pop().unwrap()
        });
    });
    group.bench_function("try_push and try_pop", |bencher| {
        bencher.iter(|| {
            producer.try_push(1).unwrap();
            consumer.try_pop().unwrap()
        });
    });
    group.bench_function("try_pop of nothing", |bencher| bencher.iter(|| consumer.try_pop()));
    group.throughput(Throughput::Elements(CHUNK as u64));
    group.bench_function("chunks of 64", |bencher| {
        bencher.iter(|| {
            producer.write_chunk(CHUNK).unwrap().fill(1);
            consumer.read_chunk(CHUNK).unwrap().iter().sum::<u64>()
        });
    });
    group.finish();
}

fn bytes(criterion: &mut Criterion) {
    let (mut producer, mut consumer) = ring::<u8>(MIB).unwrap();
    let source: Vec<u8> = (0..MIB).map(|byte| byte as u8).collect();
    let mut target = vec![0; MIB];
    let mut copy = || {
        producer.write_chunk(MIB).unwrap().copy_from_slice(&source);
        target.copy_from_slice(&consumer.read_chunk(MIB).unwrap());
        target[MIB - 1]
    };
    assert_eq!(copy(), source[MIB - 1]);
    let mut group = criterion.benchmark_group("ring of bytes");
    group.throughput(Throughput::Bytes(MIB as u64));
    group.bench_function("chunks of 1 MiB", |bencher| bencher.iter(&mut copy));
    group.finish();
    assert_eq!(target, source);
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-ring-{}", std::process::id());
    let mut group = criterion.benchmark_group("ring alone in its segment");
    group.bench_function("ring", |bencher| {
        bencher.iter_batched(|| (), |()| ring::<u64>(1024).unwrap(), BatchSize::PerIteration);
    });
    let create = || Producer::<u64>::create(&name, 1024).unwrap();
    group.bench_function("create", |bencher| {
        bencher.iter_batched(|| (), |()| create(), BatchSize::PerIteration);
    });
    let _producer = create();
    let open = || Consumer::<u64>::open(&name).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| open(), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, values, bytes, doors);
criterion_main!(benches);
