//! Times the operations of a `SharedMap` in one process, with small and large entries.
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the program")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use procshare::SharedMap;

const CAPACITY: usize = 1 << 20;
const KEYS: u64 = 1000;

/// A map with keys from 0 to below `KEYS`.
fn numbers() -> SharedMap<u64, u64> {
    let map = SharedMap::with_capacity(CAPACITY).unwrap();
    map.extend((0..KEYS).map(|key| (key, key))).unwrap();
    assert_eq!(map.get(&7), Ok(Some(7)));
    map
}

/// The next of the keys that are there.
fn next(key: &mut u64) -> u64 {
    *key = (*key + 1) % KEYS;
    *key
}

fn small(criterion: &mut Criterion) {
    let map = numbers();
    let mut key = 0;
    let mut group = criterion.benchmark_group("map of u64 to u64");
    group.bench_function("get", |bencher| bencher.iter(|| map.get(&next(&mut key)).unwrap()));
    group.bench_function("get of nothing", |bencher| bencher.iter(|| map.get(&KEYS).unwrap()));
    group.bench_function("contains_key", |bencher| {
        bencher.iter(|| map.contains_key(&next(&mut key)).unwrap());
    });
    group.bench_function("insert, replacing", |bencher| {
        let mut value = 0;
        bencher.iter(|| {
            value += 1;
            map.insert(&next(&mut key), &value).unwrap()
        });
    });
    group.bench_function("insert and remove", |bencher| {
        bencher.iter(|| {
            map.insert(&KEYS, &1).unwrap();
            map.remove(&KEYS).unwrap()
        });
    });
    group.bench_function("update", |bencher| {
        bencher.iter(|| {
            map.update(&next(&mut key), |value| value.map(|value| value + 1))
                .unwrap()
        });
    });
    group.bench_function("len", |bencher| bencher.iter(|| map.len()));
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("iter", |bencher| {
        bencher.iter(|| map.iter().map(|entry| entry.unwrap().1).fold(0, u64::wrapping_add));
    });
    group.finish();
}

fn large(criterion: &mut Criterion) {
    let map = SharedMap::<String, String>::with_capacity(8 << 20).unwrap();
    let mut group = criterion.benchmark_group("map of strings");
    for (name, len) in [("64 B", 64), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        let texts = ["x".repeat(len), "y".repeat(len)];
        map.insert("text", &texts[0]).unwrap();
        assert_eq!(map.get("text").unwrap().as_ref(), Some(&texts[0]));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("get {name}"), |bencher| {
            bencher.iter(|| map.get("text").unwrap());
        });
        group.bench_function(format!("insert {name}, replacing"), |bencher| {
            let mut texts = texts.iter().cycle();
            bencher.iter(|| map.insert("text", texts.next().unwrap()).unwrap());
        });
    }
    group.finish();
}

fn cache(criterion: &mut Criterion) {
    let builder = SharedMap::<u64, u64>::builder().capacity(CAPACITY).evict_lru();
    let map = builder.anonymous().unwrap();
    map.extend((0..KEYS).map(|key| (key, key))).unwrap();
    let mut key = 0;
    let mut group = criterion.benchmark_group("map that evicts");
    group.bench_function("get", |bencher| bencher.iter(|| map.get(&next(&mut key)).unwrap()));
    group.bench_function("insert, evicting", |bencher| {
        let mut new = 0..;
        map.extend((&mut new).take(CAPACITY / 16).map(|key| (key, key)))
            .unwrap();
        bencher.iter(|| map.insert(&new.next().unwrap(), &1).unwrap());
    });
    group.finish();
    assert!(map.stats().evictions > 0);
}

fn doors(criterion: &mut Criterion) {
    let name = format!("bench-map-{}", std::process::id());
    let mut group = criterion.benchmark_group("map alone in its segment");
    let new = || SharedMap::<u64, u64>::with_capacity(CAPACITY).unwrap();
    group.bench_function("new", |bencher| {
        bencher.iter_batched(|| (), |()| new(), BatchSize::PerIteration);
    });
    let create = || SharedMap::<u64, u64>::create(&name, CAPACITY).unwrap();
    group.bench_function("create", |bencher| {
        bencher.iter_batched(|| (), |()| create(), BatchSize::PerIteration);
    });
    let map = create();
    let open = || SharedMap::<u64, u64>::open(&name).unwrap();
    group.bench_function("open", |bencher| {
        bencher.iter_batched(|| (), |()| open(), BatchSize::PerIteration);
    });
    group.bench_function("clone", |bencher| bencher.iter(|| map.clone()));
    group.finish();
}

criterion_group!(benches, small, large, cache, doors);
criterion_main!(benches);
