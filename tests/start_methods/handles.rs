//! Handles among the arguments of children.

use super::{by, with_each};
use crate::common::unique;
use procshare::{
    Connection, Consumer, FrozenArray, Producer, Segment, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter,
    SharedMap, SharedQueue, SharedValue, pipe, ring,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[procshare::test]
fn handles_of_objects_arrive() {
    with_each(|method: String| {
        type All = (SharedValue<u32>, SharedCounter, SharedArray<f64>, FrozenArray<f64>);
        type Atomics = (SharedAtomic<AtomicU32>, SharedAtomicArray<AtomicU64>);
        let segment = Segment::new(1 << 16).unwrap();
        let array = SharedArray::from_slice(&[3.0, 4.0]).unwrap();
        let frozen = array.freeze().unwrap();
        let all = (
            segment.value("value", 1_u32).unwrap(),
            SharedCounter::new(2).unwrap(),
            array,
            frozen,
        );
        let atomics: Atomics = (SharedAtomic::new(5).unwrap(), SharedAtomicArray::new(6).unwrap());
        let change = |segment: Segment, (value, counter, array, frozen): All, (atomic, atomics): Atomics| {
            segment.counter("made by the child", 7).unwrap();
            value.set(10);
            counter.increment().unwrap();
            array.get_lock().unwrap()[1] = 40.0;
            atomic.fetch_add(1, Ordering::Relaxed);
            atomics[5].store(60, Ordering::Relaxed);
            frozen.iter().sum::<f64>()
        };
        let arguments = (segment.clone(), all.clone(), atomics.clone());
        assert_eq!(by(&method).spawn(change, arguments).unwrap().join(), Ok(7.0));
        assert_eq!(segment.open_counter("made by the child").unwrap().get(), 7);
        assert_eq!((all.0.get(), all.1.get()), (10, 3));
        assert_eq!(all.2.to_vec().unwrap(), [3.0, 40.0]);
        assert_eq!(
            (atomics.0.load(Ordering::Relaxed), atomics.1[5].load(Ordering::Relaxed)),
            (6, 60)
        );
    });
}

#[procshare::test]
fn a_named_segment_arrives_and_goes_with_its_last_user() {
    with_each(|method: String| {
        let name = unique("method");
        let segment = Segment::create(&name, 1 << 16).unwrap();
        let counter = segment.counter("counter", 0).unwrap();
        let count = |segment: Segment, counter: SharedCounter| {
            counter.increment().unwrap();
            segment.name()
        };
        let child = by(&method).spawn(count, (segment.clone(), counter.clone())).unwrap();
        assert_eq!(child.join(), Ok(Some(name.clone())));
        assert_eq!(counter.get(), 1);
        assert!(Segment::open(&name).is_ok());
        drop((segment, counter));
        assert!(Segment::open(&name).is_err());
    });
}

#[procshare::test]
fn queues_pipes_rings_and_maps_arrive() {
    with_each(|method: String| {
        let queue = SharedQueue::<String>::new(4).unwrap();
        let child = by(&method).spawn(
            |queue: SharedQueue<String>| queue.put("put".to_owned()).is_ok(),
            (queue.clone(),),
        );
        assert_eq!(child.unwrap().join(), Ok(true));
        assert_eq!(queue.get().unwrap(), "put");

        let (ours, theirs) = pipe::<u32>().unwrap();
        let answer = |theirs: Connection<u32>| {
            let asked = theirs.recv().unwrap();
            theirs.send(asked + 1).unwrap();
        };
        let child = by(&method).spawn(answer, (theirs,)).unwrap();
        ours.send(41).unwrap();
        assert_eq!(ours.recv().unwrap(), 42);
        child.join().unwrap();

        let (producer, mut consumer) = ring::<u64>(4).unwrap();
        let produce = |mut producer: Producer<u64>| (0..100).for_each(|item| producer.push(item).unwrap());
        let child = by(&method).spawn(produce, (producer,)).unwrap();
        assert!((0..100).all(|item| consumer.pop() == Ok(item)));
        child.join().unwrap();

        let (mut producer, consumer) = ring::<u64>(4).unwrap();
        let consume = |mut consumer: Consumer<u64>| (0..100).map(|_| consumer.pop().unwrap()).sum::<u64>();
        let child = by(&method).spawn(consume, (consumer,)).unwrap();
        (0..100).for_each(|item| producer.push(item).unwrap());
        assert_eq!(child.join(), Ok(4950));

        let map = SharedMap::<String, u32>::with_capacity(1 << 16).unwrap();
        let fill = |map: SharedMap<String, u32>| map.insert("from the child", &7).is_ok();
        assert_eq!(by(&method).spawn(fill, (map.clone(),)).unwrap().join(), Ok(true));
        assert_eq!(map.get("from the child").unwrap(), Some(7));
    });
}
