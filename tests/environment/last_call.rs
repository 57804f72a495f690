//! What is shared can be used until the last: by destructors of a thread's own values, and by handlers of the exit.

use crate::common::{other_program, output_of, unique, watchdog};
use procshare::{
    Connection, Consumer, FrozenArray, Producer, Segment, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter,
    SharedMap, SharedQueue, SharedValue, clean_folder, pipe, ring,
};
use std::sync::atomic::{AtomicU32, Ordering};

const INNER: &str = "PROCSHARE_TEST_LAST";

/// Uses one object of each type, old and new. What it makes goes with it.
fn use_all(name: &str) {
    let array = SharedArray::<u64>::new(4).unwrap();
    array.get_lock().unwrap()[0] = 1;
    assert_eq!(array.get(0), Ok(1));
    let value = SharedValue::new(1_u64).unwrap();
    *value.get_lock() += 1;
    assert_eq!(value.get(), 2);
    assert_eq!(SharedCounter::new(1).unwrap().increment().unwrap(), 2);
    assert_eq!(
        SharedAtomic::<AtomicU32>::new(1)
            .unwrap()
            .fetch_add(1, Ordering::SeqCst),
        1
    );
    assert_eq!(FrozenArray::from_slice(&[1_u8]).unwrap()[0], 1);
    let map = SharedMap::<String, Vec<u64>>::with_capacity(1 << 16).unwrap();
    map.insert("key", &vec![1; 100]).unwrap();
    map.update("key", |entry| entry.unwrap_or_default()[1..].to_vec().into())
        .unwrap();
    assert_eq!(map.get("key").unwrap().unwrap().len(), 99);
    let numbers = SharedAtomicArray::<AtomicU32>::new(2).unwrap();
    assert_eq!(numbers[1].fetch_add(3, Ordering::SeqCst), 0);
    let queue = SharedQueue::new(4).unwrap();
    queue.put("item".to_owned()).unwrap();
    assert_eq!(queue.get().unwrap(), "item");
    let (left, right): (Connection<u8>, Connection<u8>) = pipe().unwrap();
    left.send(1).unwrap();
    assert_eq!(right.recv().unwrap(), 1);
    let (mut producer, mut consumer): (Producer<u64>, Consumer<u64>) = ring(8).unwrap();
    producer.write_chunk(2).unwrap().commit(2);
    assert_eq!(consumer.read_chunk(8).unwrap().len(), 2);
    let segment = Segment::create(name, 1 << 16).unwrap();
    segment.value("value", 1_u8).unwrap();
    assert_eq!(Segment::open(name).unwrap().open_value::<u8>("value").unwrap().get(), 1);
    drop(segment);
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).unwrap();
    drop(Segment::builder().folder(&folder).create("x").unwrap());
    assert!(clean_folder(&folder).unwrap().is_empty());
    std::fs::remove_dir(&folder).unwrap();
}

struct Late(&'static str);

impl Drop for Late {
    fn drop(&mut self) {
        use_all(&unique("last"));
        println!("done: {}", self.0);
    }
}

thread_local! {
    static LATE: std::cell::RefCell<Vec<Late>> = const { std::cell::RefCell::new(Vec::new()) };
}

extern "C" fn at_exit() {
    drop(Late("at exit"));
}

#[test]
fn everything_works_while_a_thread_or_the_program_ends() {
    let _watchdog = watchdog(60);
    for test in ["last_call::inner_used_before", "last_call::inner_not_used_before"] {
        let output = output_of(&mut other_program(test, INNER));
        for what in ["a thread", "at exit"] {
            assert!(output.contains(&format!("done: {what}")), "{test}: {output}");
        }
    }
}

#[test]
#[ignore = "run by another"]
fn inner_used_before() {
    inner(|| use_all(&unique("last")));
}

#[test]
#[ignore = "run by another"]
fn inner_not_used_before() {
    inner(|| {});
}

/// Values of the thread whose destructors run before and after those of this crate.
fn inner(before: fn()) {
    if std::env::var_os(INNER).is_none() {
        return;
    }
    let late = move || {
        LATE.with_borrow_mut(|late| late.push(Late("a thread")));
        before();
    };
    std::thread::spawn(late).join().unwrap();
    // SAFETY: the handler is a function that takes and returns nothing.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
}
