//! `SharedQueue`: calls that end without an item, items that cannot be had, and who counts as taking part.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/bomb.rs"]
mod bomb;
mod common;

use bomb::Bomb;
use common::{alone, unique, watchdog, while_waiting};
use procshare::{Capacity, Error, ErrorKind, RecvError, SendError, SharedQueue};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

fn queue<T>(items: usize) -> SharedQueue<T> {
    SharedQueue::new(items).unwrap()
}

// Limits of time.

/// The outcome of a call that lasts as long as it was given, no less.
fn lasting<R>(least: Duration, call: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let outcome = call();
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    outcome
}

#[test]
fn nothing_comes_in_time() {
    let _watchdog = watchdog(60);
    let queue = queue::<u8>(2);
    assert_eq!(queue.try_get(), Err(RecvError::Empty));
    assert_eq!(lasting(SHORT, || queue.get_timeout(SHORT)), Err(RecvError::TimedOut));
    let deadline = Instant::now() + SHORT;
    assert_eq!(
        lasting(SHORT / 2, || queue.get_deadline(deadline)),
        Err(RecvError::TimedOut)
    );
    assert!(Instant::now() >= deadline);
    assert_eq!(queue.get_timeout(Duration::ZERO), Err(RecvError::TimedOut));
    assert_eq!(queue.get_deadline(Instant::now()), Err(RecvError::TimedOut));
    queue.put_all([1, 2]).unwrap();
    assert_eq!(queue.get_timeout(Duration::MAX), Ok(1));
    assert_eq!(queue.get_deadline(Instant::now()), Ok(2));
}

#[test]
fn no_room_comes_in_time() {
    let _watchdog = watchdog(60);
    let queue = queue(2);
    queue.put_timeout(1, Duration::MAX).unwrap();
    queue.put_deadline(2, Instant::now()).unwrap();
    assert_eq!(queue.try_put(3), Err(SendError::Full(3)));
    assert_eq!(
        lasting(SHORT, || queue.put_timeout(3, SHORT)),
        Err(SendError::TimedOut(3))
    );
    let deadline = Instant::now() + SHORT;
    assert_eq!(queue.put_deadline(3, deadline), Err(SendError::TimedOut(3)));
    assert!(Instant::now() >= deadline);
    assert_eq!(queue.put_timeout(3, Duration::ZERO), Err(SendError::TimedOut(3)));
    assert_eq!(
        (queue.get(), queue.get(), queue.try_get()),
        (Ok(1), Ok(2), Err(RecvError::Empty))
    );
}

#[test]
fn waits_end_when_the_other_side_acts() {
    let _watchdog = watchdog(60);
    let queue = queue(1);
    let (got, put) = while_waiting(|| queue.get_timeout(Duration::from_secs(50)), || queue.put(1));
    assert_eq!((got, put), (Ok(1), Ok(())));
    queue.put(2).unwrap();
    let (put, got) = while_waiting(|| queue.put_timeout(3, Duration::from_secs(50)), || queue.get());
    assert_eq!((put, got), (Ok(()), Ok(2)));
    let later = || Instant::now() + Duration::from_secs(50);
    let (put, got) = while_waiting(|| queue.put_deadline(4, later()), || queue.get());
    assert_eq!((put, got, queue.get_deadline(later())), (Ok(()), Ok(3), Ok(4)));
}

#[test]
fn errors_become_the_crates_own() {
    let _watchdog = watchdog(60);
    let kind = |error: Error| error.kind();
    let sending = [
        (SendError::Full(()), ErrorKind::WouldBlock),
        (SendError::TimedOut(()), ErrorKind::TimedOut),
        (SendError::Closed(()), ErrorKind::Closed),
        (SendError::Disconnected(()), ErrorKind::Disconnected),
        (SendError::OutOfMemory(()), ErrorKind::OutOfMemory),
        (SendError::Io(()), ErrorKind::Io),
        (SendError::TooManyProcesses(()), ErrorKind::Full),
        (SendError::Busy(()), ErrorKind::Busy),
    ];
    for (error, expected) in sending {
        let words = error.to_string();
        let error = Error::from(error);
        assert!(error.to_string().contains(&words), "{error}: {words}");
        assert_eq!(kind(error), expected);
    }
    let receiving = [
        (RecvError::Empty, ErrorKind::WouldBlock),
        (RecvError::TimedOut, ErrorKind::TimedOut),
        (RecvError::Closed, ErrorKind::Closed),
        (RecvError::Disconnected, ErrorKind::Disconnected),
        (RecvError::OutOfMemory, ErrorKind::OutOfMemory),
        (RecvError::Io, ErrorKind::Io),
        (RecvError::Corrupt, ErrorKind::Corrupt),
        (RecvError::TooManyProcesses, ErrorKind::Full),
        (RecvError::Busy, ErrorKind::Busy),
    ];
    for (error, expected) in receiving {
        assert_eq!(kind(error.into()), expected);
    }
    let bounded = SharedQueue::new(Capacity::items(1).bytes(4096)).unwrap();
    let refused = bounded.put("x".repeat(5000)).unwrap_err();
    assert_eq!(kind(refused.into()), ErrorKind::TooLarge);
    // Neither needs items that can be printed.
    struct Silent;
    assert_eq!(format!("{:?}", SendError::Full(Silent)), "Full(..)");
}

// Closing.

#[test]
fn closing_refuses_what_comes_and_gives_what_is_there() {
    let _watchdog = watchdog(60);
    let queue = queue(8);
    let other = queue.clone();
    queue.put_all(1..=3).unwrap();
    other.close();
    other.close();
    assert!(queue.is_closed() && other.is_closed());
    assert_eq!(queue.put(4), Err(SendError::Closed(4)));
    assert_eq!(queue.try_put(4), Err(SendError::Closed(4)));
    assert_eq!(queue.put_timeout(4, Duration::MAX), Err(SendError::Closed(4)));
    assert_eq!(queue.put_all([4, 5]), Err(SendError::Closed(vec![4, 5])));
    assert_eq!((queue.get(), queue.try_get()), (Ok(1), Ok(2)));
    let last: Vec<_> = queue.get_up_to(8).unwrap().collect();
    assert_eq!(last, [Ok(3)]);
    assert_eq!(
        (queue.get(), queue.try_get()),
        (Err(RecvError::Closed), Err(RecvError::Closed))
    );
    assert_eq!(queue.get_timeout(Duration::MAX), Err(RecvError::Closed));
    assert_eq!(queue.get_up_to(8).unwrap_err(), RecvError::Closed);
    assert_eq!(queue.iter().next(), None);
}

#[test]
fn closing_wakes_all_who_wait() {
    let _watchdog = watchdog(60);
    // One of several threads that share a handle does not count: whoever is to close it has one of its own.
    let empty = queue::<u8>(4);
    let closer = empty.clone();
    let getter = || empty.get();
    let ((first, second), ()) = while_waiting(|| while_waiting(getter, getter), || closer.close());
    assert_eq!((first, second), (Err(RecvError::Closed), Err(RecvError::Closed)));
    let full = queue(1);
    let closer = full.clone();
    full.put(1).unwrap();
    let ((single, many), ()) = while_waiting(
        || {
            thread::scope(|scope| {
                let many = scope.spawn(|| full.put_all([3, 4]));
                (full.put(2), many.join().unwrap())
            })
        },
        || closer.close(),
    );
    assert_eq!(single, Err(SendError::Closed(2)));
    assert_eq!(many, Err(SendError::Closed(vec![3, 4])));
    assert_eq!((full.get(), full.get()), (Ok(1), Err(RecvError::Closed)));
}

#[test]
fn iteration_ends_with_the_items() {
    let _watchdog = watchdog(60);
    let closed = queue(4);
    closed.put_all([1, 2]).unwrap();
    closed.close();
    let mut sum = 0;
    for item in &closed {
        sum += item.unwrap();
    }
    assert_eq!((sum, closed.iter().count()), (3, 0));
    let left = queue(4);
    let producer = left.clone();
    producer.put_all([1, 2]).unwrap();
    drop(producer);
    assert_eq!(left.iter().map(Result::unwrap).sum::<i32>(), 3);
}

// Items that cannot be had.

/// A queue of numbers, and a way to put texts into it.
fn confused() -> (SharedQueue<u32>, SharedQueue<String>) {
    let name = unique("queue-poison");
    let numbers = SharedQueue::builder().capacity(8).schema("x", 1).create(&name).unwrap();
    let texts = SharedQueue::builder().schema("x", 1).open(&name).unwrap();
    (numbers, texts)
}

#[procshare::test]
fn an_item_of_another_type_is_its_own_error() {
    let _watchdog = watchdog(60);
    alone(|| {
        let (numbers, texts) = confused();
        let _either = numbers.clone();
        let fill = || {
            numbers.put(1).unwrap();
            texts.put("not a whole number".to_owned()).unwrap();
            numbers.put(2).unwrap();
        };
        fill();
        assert_eq!(numbers.get(), Ok(1));
        let error = numbers.get().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the item cannot be decoded: invalid type: string \"not a whole number\", expected u32 (in `u32`)"
        );
        assert_eq!(numbers.try_get(), Ok(2));
        let converted = Error::from(error.clone());
        assert_eq!(converted.kind(), ErrorKind::Corrupt);
        assert!(
            converted.to_string().ends_with("expected u32 (in `u32`)"),
            "{converted}"
        );
        fill();
        let mut batch = Vec::new();
        while batch.len() < 3 {
            batch.extend(numbers.get_up_to(8).unwrap());
        }
        assert_eq!(batch, [Ok(1), Err(error.clone()), Ok(2)]);
        fill();
        // No text.
        numbers.put(200).unwrap();
        numbers.close();
        assert_eq!(
            numbers.iter().take(3).collect::<Vec<_>>(),
            [Ok(1), Err(error.clone()), Ok(2)]
        );
        let mut rest = texts.iter();
        let short = rest.next().unwrap().unwrap_err();
        assert!(
            short.to_string().contains("integer `200`, expected a string"),
            "{short}"
        );
        assert_eq!(rest.next(), None);
    });
}

/// Cannot be encoded if it holds true.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Moody(bool);

impl Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("not today"));
        }
        serializer.serialize_bool(false)
    }
}

#[test]
fn what_cannot_be_encoded_comes_back() {
    let _watchdog = watchdog(60);
    let queue = queue(8);
    let (good, bad) = (Moody(false), Moody(true));
    for refused in [queue.put(bad), queue.try_put(bad)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SendError::NotEncodable { item, .. } if item == bad));
        let words = error.to_string();
        assert!(
            words.starts_with("the item cannot be encoded: not today (in `"),
            "{words}"
        );
        let converted = Error::from(error.clone());
        assert_eq!(converted.kind(), ErrorKind::Encoding);
        assert!(converted.to_string().contains(&words), "{converted}");
    }
    assert!(queue.is_empty());
    let error = queue.put_all([good, good, bad, good]).unwrap_err();
    assert!(matches!(&error, SendError::NotEncodable { item, .. } if *item == [bad, good]));
    assert_eq!((queue.len(), queue.get(), queue.get()), (2, Ok(good), Ok(good)));
}

/// Writes a sequence, and reads none.
#[derive(Debug, Deserialize)]
struct Unknown;

impl Serialize for Unknown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..3).filter(|number| number % 2 == 0))
    }
}

#[procshare::test]
fn errors_of_encoding_give_the_reason() {
    let _watchdog = watchdog(60);
    let ends_with = |error: &dyn std::error::Error, reason: &str| {
        let words = error.to_string();
        assert!(words.ends_with(reason), "{words}");
    };
    let reason = "its Deserialize rejects what its Serialize wrote: invalid type: sequence, expected unit struct Unknown (in \
                  `queue_errors::Unknown`)";
    let unknown = SharedQueue::new(8).unwrap();
    ends_with(&unknown.put(Unknown).unwrap_err(), reason);
    ends_with(&unknown.put_all([Unknown]).unwrap_err(), reason);
    let (left, _right) = procshare::pipe().unwrap();
    ends_with(&left.send(Unknown).unwrap_err(), reason);
    ends_with(&Error::from(left.send(Unknown).unwrap_err()), reason);
    let map = procshare::SharedMap::<u8, Unknown>::with_capacity(4096).unwrap();
    ends_with(&map.insert(&1, &Unknown).unwrap_err(), reason);
    // A handle, of which the encoder knows nothing.
    let counters = SharedQueue::new(8).unwrap();
    let counter = procshare::SharedCounter::new(0).unwrap();
    let error = counters.put(counter).unwrap_err();
    assert!(error.to_string().contains("pass it to Process::spawn"), "{error}");
    // The next error has its own reason.
    ends_with(&unknown.put(Unknown).unwrap_err(), reason);
}

#[test]
fn a_panic_in_an_items_code_leaves_the_queue_whole() {
    let _watchdog = watchdog(60);
    let queue = queue(8);
    queue.put_all([Bomb(0), Bomb(2), Bomb(3)]).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| queue.put(Bomb(1)))).is_err());
    assert_eq!((queue.len(), queue.get()), (3, Ok(Bomb(0))));
    assert!(catch_unwind(AssertUnwindSafe(|| queue.get())).is_err());
    assert_eq!((queue.get(), queue.try_get()), (Ok(Bomb(3)), Err(RecvError::Empty)));
}

thread_local! {
    static NESTED: SharedQueue<u32> = queue(8);
}

/// Goes through another queue while it is encoded, and while it is decoded.
#[derive(Debug, PartialEq)]
struct Nested(u32);

impl Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        through_nested(self.0);
        (self.0, "and more").serialize(serializer)
    }
}

fn through_nested(number: u32) {
    NESTED.with(|queue| queue.put(number)).unwrap();
    assert_eq!(NESTED.with(SharedQueue::get), Ok(number));
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, text) = <(u32, String)>::deserialize(deserializer)?;
        through_nested(number);
        assert_eq!(text, "and more");
        Ok(Nested(number))
    }
}

#[test]
fn an_items_code_may_use_a_queue() {
    let _watchdog = watchdog(60);
    let queue = queue(8);
    queue.put(Nested(1)).unwrap();
    queue.put_all([Nested(10), Nested(20)]).unwrap();
    assert_eq!(queue.get(), Ok(Nested(1)));
    assert_eq!((queue.get(), queue.get()), (Ok(Nested(10)), Ok(Nested(20))));
    assert!(NESTED.with(SharedQueue::is_empty));
}

// Who takes part.

#[test]
fn a_queue_nobody_else_has_held_waits() {
    let _watchdog = watchdog(60);
    let queue = queue(1);
    assert_eq!(queue.get_timeout(SHORT), Err(RecvError::TimedOut));
    queue.put(1).unwrap();
    assert_eq!(queue.put_timeout(2, SHORT), Err(SendError::TimedOut(2)));
    assert_eq!((queue.get(), queue.try_get()), (Ok(1), Err(RecvError::Empty)));
}

#[test]
fn consumers_are_told_when_the_producers_are_gone() {
    let _watchdog = watchdog(60);
    let queue = queue(8);
    let producers = [queue.clone(), queue.clone()];
    producers[0].put(1).unwrap();
    producers[1].put(2).unwrap();
    assert_eq!(queue.get(), Ok(1));
    let (unused, user) = (queue.clone(), queue.clone());
    user.put(3).unwrap();
    drop(producers);
    drop(user);
    assert_eq!((queue.get(), queue.get()), (Ok(2), Ok(3)));
    // A handle that has done neither may yet put.
    assert_eq!(queue.get_timeout(SHORT), Err(RecvError::TimedOut));
    // Nor is it one that gets, if it has only looked; one that has waited to get may not put.
    assert_eq!(unused.try_get(), Err(RecvError::Disconnected));
    assert_eq!(queue.get_timeout(SHORT), Err(RecvError::TimedOut));
    assert_eq!(unused.get_timeout(SHORT), Err(RecvError::Disconnected));
    assert_eq!(queue.get(), Err(RecvError::Disconnected));
    assert_eq!(queue.try_get(), Err(RecvError::Disconnected));
    assert_eq!(queue.get_timeout(Duration::MAX), Err(RecvError::Disconnected));
    // Until somebody comes.
    let late = queue.clone();
    late.put(4).unwrap();
    assert_eq!((queue.get(), queue.try_get()), (Ok(4), Err(RecvError::Empty)));
}

#[test]
fn producers_are_told_when_the_consumers_are_gone() {
    let _watchdog = watchdog(60);
    let queue = queue(1);
    let consumer = queue.clone();
    queue.put(1).unwrap();
    assert_eq!(queue.try_put(2), Err(SendError::Full(2)));
    drop(consumer);
    assert_eq!(queue.put(2), Err(SendError::Disconnected(2)));
    assert_eq!(queue.put_all([2, 3]), Err(SendError::Disconnected(vec![2, 3])));
    let late = queue.clone();
    assert_eq!(late.get(), Ok(1));
    queue.put(4).unwrap();
    drop(late);
    assert_eq!(queue.try_put(5), Err(SendError::Disconnected(5)));
    assert_eq!(queue.put_timeout(5, Duration::MAX), Err(SendError::Disconnected(5)));
}

#[test]
fn dropping_the_last_wakes_who_waits() {
    let _watchdog = watchdog(60);
    let consumer = queue::<u8>(1);
    let producer = consumer.clone();
    producer.put(1).unwrap();
    assert_eq!(consumer.get(), Ok(1));
    let (got, ()) = while_waiting(|| consumer.get(), move || drop(producer));
    assert_eq!(got, Err(RecvError::Disconnected));
    let producer = queue(1);
    let consumer = producer.clone();
    producer.put(1).unwrap();
    let (put, ()) = while_waiting(|| producer.put(2), move || drop(consumer));
    assert_eq!(put, Err(SendError::Disconnected(2)));
}

#[test]
fn peers_yet_to_come_can_be_waited_for() {
    let _watchdog = watchdog(60);
    let queue = queue(1);
    drop(queue.clone());
    assert_eq!(queue.try_get(), Err(RecvError::Disconnected));
    let queue = queue.wait_for_peers();
    assert_eq!(queue.get_timeout(SHORT), Err(RecvError::TimedOut));
    let visitor = queue.clone();
    visitor.put(1).unwrap();
    drop(visitor);
    assert_eq!((queue.get(), queue.get()), (Ok(1), Err(RecvError::Disconnected)));
    let producer = queue.clone();
    drop(queue);
    let producer = producer.wait_for_peers();
    producer.put(1).unwrap();
    assert_eq!(producer.put_timeout(2, SHORT), Err(SendError::TimedOut(2)));
}

#[test]
fn threads_that_take_part_have_a_handle_each() {
    let _watchdog = watchdog(60);
    let queue = queue(16);
    // A handle puts and gets, whichever thread comes first; threads that share it are one, so they do not wait for each other.
    queue.put(0).unwrap();
    assert_eq!(
        thread::scope(|scope| scope.spawn(|| queue.get()).join().unwrap()),
        Ok(0)
    );
    let full = thread::scope(|scope| scope.spawn(|| queue.put_all(0..17)).join().unwrap()).unwrap_err();
    assert!(matches!(full, SendError::Disconnected(left) if left == [16]));
    assert_eq!(queue.get_up_to(16).unwrap().count(), 16);
    let total: u64 = thread::scope(|scope| {
        let getters = [queue.clone(), queue.clone()];
        let getters = getters.map(|own| scope.spawn(move || own.iter().map(Result::unwrap).sum::<u64>()));
        let (one, other) = (queue.clone(), queue.clone());
        let one = scope.spawn(move || (0..1000).try_for_each(|item| one.put(item)));
        let other = scope.spawn(move || other.put_all(1000..2000));
        one.join().unwrap().unwrap();
        other.join().unwrap().unwrap();
        queue.close();
        getters.map(|getter| getter.join().unwrap()).iter().sum()
    });
    assert_eq!(total, (0..2000).sum());
}

#[test]
fn a_handle_shows_what_it_holds() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::new(Capacity::items(3).bytes(1)).unwrap();
    queue.put(1).unwrap();
    assert_eq!(
        format!("{queue:?}"),
        "SharedQueue { len: 1, capacity: 3, is_closed: false }"
    );
}
