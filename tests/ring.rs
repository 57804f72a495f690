//! `ring`: values and chunks in one process, its bounds and errors.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{alone, unique, watchdog, while_waiting};
use procshare::{Consumer, Producer, RecvError, Segment, SendError, Shareable, ring};
use procshare::{Error, ErrorKind};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
/// For waits that end earlier.
const LONG: Duration = Duration::from_secs(50);

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(C)]
struct Sample {
    time: f64,
    values: [i16; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
#[repr(u8)]
enum Color {
    Red = 1,
    Blue = 2,
}

// Values.

/// Passes values through rings of several capacities, filled and emptied by several at a time.
fn pass<T: Shareable + PartialEq + std::fmt::Debug>(values: &[T]) {
    for capacity in [1, 3, 64] {
        let (mut producer, mut consumer) = ring(capacity).unwrap();
        let mut rest = values.iter().cycle().take(5 * capacity + 7).peekable();
        let mut expected = values.iter().cycle();
        for at_once in (1..=capacity).cycle() {
            let pushed = rest
                .by_ref()
                .take(at_once)
                .map(|value| producer.push(*value).unwrap())
                .count();
            assert_eq!(producer.len(), pushed);
            for _ in 0..pushed {
                assert_eq!(consumer.pop().as_ref(), Ok(expected.next().unwrap()));
            }
            if rest.peek().is_none() {
                break;
            }
        }
        assert!(consumer.is_empty());
    }
}

#[test]
fn values_of_every_type_come_out_as_they_went_in() {
    let _watchdog = watchdog(60);
    pass(&[0, u64::MAX, 7]);
    pass(&[0.5, -0.0, f64::INFINITY]);
    pass(&[true, false, false]);
    pass(&[[0u8; 24], [255; 24], core::array::from_fn(|at| at as u8)]);
    pass(&[1u8, 2]);
    pass(&[(), ()]);
    pass(&[Color::Red, Color::Blue, Color::Blue]);
    let sample = |time| Sample {
        time,
        values: [1, -1, i16::MAX, i16::MIN],
    };
    pass(&[sample(1.0), sample(2.0)]);
}

#[test]
fn it_holds_what_it_was_made_for() {
    let _watchdog = watchdog(60);
    for capacity in [1, 3, 64] {
        let (mut producer, consumer) = ring(capacity).unwrap();
        assert_eq!((producer.capacity(), consumer.capacity()), (capacity, capacity));
        assert!(producer.is_empty() && consumer.is_empty() && !producer.is_full());
        for value in 0..capacity {
            assert!(!producer.is_full() && !consumer.is_full());
            producer.push(value as u64).unwrap();
            assert_eq!((producer.len(), consumer.len()), (value + 1, value + 1));
        }
        assert!(producer.is_full() && consumer.is_full() && !consumer.is_empty());
        assert_eq!(producer.try_push(99), Err(SendError::Full(99)));
    }
}

#[test]
fn absurd_capacities_are_refused() {
    let _watchdog = watchdog(60);
    for capacity in [0, usize::MAX, (1 << 40) + 1] {
        let kinds = [
            ring::<u64>(capacity).unwrap_err().kind(),
            Producer::<u64>::create(unique("ring-absurd"), capacity)
                .unwrap_err()
                .kind(),
            Consumer::<u64>::create(unique("ring-absurd"), capacity)
                .unwrap_err()
                .kind(),
        ];
        assert_eq!(kinds, [ErrorKind::InvalidCapacity; 3], "{capacity}");
    }
    let words = ring::<()>(0).unwrap_err().to_string();
    assert!(words.contains("that fits in memory, found 0"), "{words}");
    // There may be so many, but not here.
    assert_eq!(ring::<[u64; 64]>(1 << 40).unwrap_err().kind(), ErrorKind::OutOfMemory);
}

#[test]
fn limits_of_time_are_kept() {
    let _watchdog = watchdog(60);
    let (mut producer, mut consumer) = ring(1).unwrap();
    let began = Instant::now();
    assert_eq!(consumer.pop_timeout(SHORT), Err(RecvError::TimedOut));
    assert!(began.elapsed() >= SHORT);
    assert_eq!(consumer.try_pop(), Err(RecvError::Empty));
    assert_eq!(consumer.pop_deadline(Instant::now()), Err(RecvError::TimedOut));
    assert_eq!(consumer.read_chunk_timeout(1, SHORT).unwrap_err(), RecvError::TimedOut);
    assert_eq!(
        consumer.read_chunk_deadline(1, Instant::now()).unwrap_err(),
        RecvError::TimedOut
    );
    assert_eq!(consumer.try_read_chunk(1).unwrap_err(), RecvError::Empty);
    producer.push_timeout(1, Duration::MAX).unwrap();
    let began = Instant::now();
    assert_eq!(producer.push_timeout(2, SHORT), Err(SendError::TimedOut(2)));
    assert!(began.elapsed() >= SHORT);
    assert_eq!(producer.try_push(2), Err(SendError::Full(2)));
    assert_eq!(producer.push_deadline(2, Instant::now()), Err(SendError::TimedOut(2)));
    assert_eq!(
        producer.write_chunk_timeout(1, SHORT).unwrap_err(),
        SendError::TimedOut(())
    );
    assert_eq!(
        producer.write_chunk_deadline(1, Instant::now()).unwrap_err(),
        SendError::TimedOut(())
    );
    let error = Error::from(producer.try_write_chunk(1).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(consumer.pop_deadline(Instant::now()), Ok(1));
    producer.push_deadline(2, Instant::now()).unwrap();
    assert_eq!(consumer.pop_timeout(Duration::MAX), Ok(2));
}

#[test]
fn waits_end_when_the_other_end_acts() {
    let _watchdog = watchdog(60);
    let (mut producer, mut consumer) = ring(1).unwrap();
    assert_eq!(while_waiting(|| consumer.pop(), || producer.push(1)), (Ok(1), Ok(())));
    assert_eq!(
        while_waiting(|| consumer.pop_timeout(LONG), || producer.push(2)),
        (Ok(2), Ok(()))
    );
    producer.push(3).unwrap();
    assert_eq!(while_waiting(|| producer.push(4), || consumer.pop()), (Ok(()), Ok(3)));
    let push = || producer.push_deadline(5, Instant::now() + LONG);
    assert_eq!(while_waiting(push, || consumer.pop()), (Ok(()), Ok(4)));
    let fill = || producer.write_chunk(8).map(|mut chunk| chunk.fill(6));
    assert_eq!(while_waiting(fill, || consumer.pop()), (Ok(()), Ok(5)));
    assert_eq!(consumer.pop(), Ok(6));
    let read = || consumer.read_chunk(8).map(|chunk| chunk.to_vec());
    assert_eq!(while_waiting(read, || producer.push(7)), (Ok(vec![7]), Ok(())));
}

// Chunks.

#[test]
fn a_chunk_may_be_the_whole_ring() {
    let _watchdog = watchdog(60);
    let (mut producer, mut consumer) = ring(64).unwrap();
    for round in 0..3 {
        let mut chunk = producer.write_chunk(usize::MAX).unwrap();
        assert_eq!(chunk.len(), 64);
        chunk
            .iter_mut()
            .zip(0..)
            .for_each(|(place, value)| *place = round * 100 + value);
        drop(chunk);
        assert!(producer.is_full());
        let chunk = consumer.read_chunk(usize::MAX).unwrap();
        assert!(chunk.iter().copied().eq(round * 100..round * 100 + 64));
    }
    assert!(consumer.is_empty());
}

#[test]
fn a_chunk_is_delivered_as_one_or_in_part_or_not() {
    let _watchdog = watchdog(60);
    let (mut producer, mut consumer) = ring(8).unwrap();
    let mut chunk = producer.write_chunk(4).unwrap();
    chunk.copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(
        (consumer.len(), consumer.try_pop()),
        (0, Err(RecvError::Empty)),
        "not before it is dropped"
    );
    chunk.commit(2);
    producer.write_chunk(4).unwrap().commit(0);
    std::mem::forget(producer.write_chunk(4).unwrap());
    assert_eq!(consumer.len(), 2);
    producer.push(5).unwrap();
    consumer.read_chunk(8).unwrap().commit(0);
    consumer.read_chunk(8).unwrap().commit(1);
    std::mem::forget(consumer.read_chunk(8).unwrap());
    let chunk = consumer.read_chunk(8).unwrap();
    assert_eq!(*chunk, [2, 5]);
    assert_eq!(format!("{chunk:?}"), "[2, 5]");
    drop(chunk);
    assert!(consumer.is_empty());
    assert!(producer.write_chunk(0).unwrap().is_empty());
    assert!(consumer.read_chunk(0).unwrap().is_empty());
}

#[test]
fn a_panic_delivers_nothing() {
    let _watchdog = watchdog(60);
    let (mut producer, mut consumer) = ring(8).unwrap();
    let half = |producer: &mut Producer<u64>| {
        let mut chunk = producer.write_chunk(4).unwrap();
        chunk[0] = 1;
        panic!("half of it is written");
    };
    assert!(catch_unwind(AssertUnwindSafe(|| half(&mut producer))).is_err());
    assert_eq!(consumer.try_pop(), Err(RecvError::Empty));
    let too_many = |producer: &mut Producer<u64>| producer.write_chunk(4).unwrap().commit(5);
    assert!(catch_unwind(AssertUnwindSafe(|| too_many(&mut producer))).is_err());
    assert!(consumer.is_empty());
    producer.push(2).unwrap();
    let too_many = |consumer: &mut Consumer<u64>| consumer.read_chunk(4).unwrap().commit(2);
    assert!(catch_unwind(AssertUnwindSafe(|| too_many(&mut consumer))).is_err());
    assert_eq!(consumer.pop(), Ok(2));
}

/// A chunk opened and dropped by a destructor while the thread panics is delivered: the panic is not its own.
#[test]
fn a_chunk_is_delivered_during_another_panic() {
    let _watchdog = watchdog(60);
    struct Farewell(Producer<u64>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            self.0.write_chunk(2).unwrap().copy_from_slice(&[8, 9]);
        }
    }
    let (producer, mut consumer) = ring(8).unwrap();
    let panics = move || {
        let _farewell = Farewell(producer);
        panic!("elsewhere");
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(8), Ok(9)));
    assert_eq!(consumer.pop(), Err(RecvError::Disconnected));
}

// Ends.

#[test]
fn what_was_pushed_is_there_when_the_producer_is_not() {
    let _watchdog = watchdog(60);
    let ends: [fn(Producer<u64>); 2] = [Producer::close, drop];
    for end in ends {
        let (mut producer, mut consumer) = ring(8).unwrap();
        producer.write_chunk(3).unwrap().copy_from_slice(&[1, 2, 3]);
        end(producer);
        assert_eq!(consumer.pop(), Ok(1));
        assert_eq!(*consumer.read_chunk(8).unwrap(), [2, 3]);
        assert_eq!(consumer.pop(), Err(RecvError::Disconnected));
        assert_eq!(consumer.try_pop(), Err(RecvError::Disconnected));
        assert_eq!(consumer.pop_timeout(LONG), Err(RecvError::Disconnected));
        assert_eq!(consumer.read_chunk(8).unwrap_err(), RecvError::Disconnected);
        let consumer = &mut consumer.wait_for_peers();
        assert_eq!(consumer.pop_timeout(SHORT), Err(RecvError::TimedOut));
    }
}

#[test]
fn values_come_back_when_the_consumer_is_gone() {
    let _watchdog = watchdog(60);
    let ends: [fn(Consumer<u64>); 2] = [Consumer::close, drop];
    for end in ends {
        let (mut producer, consumer) = ring(1).unwrap();
        end(consumer);
        assert_eq!(producer.push(1), Err(SendError::Disconnected(1)));
        assert_eq!(producer.try_push(1), Err(SendError::Disconnected(1)));
        assert_eq!(producer.push_timeout(1, LONG), Err(SendError::Disconnected(1)));
        assert_eq!(producer.write_chunk(1).unwrap_err(), SendError::Disconnected(()));
        let producer = &mut producer.wait_for_peers();
        producer.push(1).unwrap();
        assert_eq!(producer.push_timeout(2, SHORT), Err(SendError::TimedOut(2)));
    }
}

#[test]
fn the_end_of_the_other_wakes_who_waits() {
    let _watchdog = watchdog(60);
    let (producer, mut consumer) = ring::<u64>(1).unwrap();
    let (popped, ()) = while_waiting(|| consumer.pop(), || producer.close());
    assert_eq!(popped, Err(RecvError::Disconnected));
    let (mut producer, consumer) = ring(1).unwrap();
    producer.push(1).unwrap();
    let (pushed, ()) = while_waiting(|| producer.push(2), || consumer.close());
    assert_eq!(pushed, Err(SendError::Disconnected(2)));
}

// Bytes that are no value.

/// Overwrites the slots of a ring of small values in a named segment.
fn forge(name: &str, bytes: &[u8]) {
    let object = Segment::open(name).unwrap().objects().unwrap().remove(0);
    let slots = object.offset + object.bytes - bytes.len() as u64;
    let file = File::options()
        .write(true)
        .open(format!("/dev/shm/procshare.{name}"))
        .unwrap();
    file.write_all_at(bytes, slots).unwrap();
}

#[procshare::test]
fn a_slot_that_holds_no_value_is_its_own_error() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("ring-forged");
        let mut producer = Producer::create(&name, 4).unwrap();
        let mut consumer = Consumer::open(&name).unwrap();
        (0..4).for_each(|_| producer.push(true).unwrap());
        forge(&name, &[1, 7, 0, 255]);
        let popped: Vec<_> = (0..4).map(|_| consumer.pop()).collect();
        assert!(matches!(
            popped[..],
            [
                Ok(true),
                Err(RecvError::Invalid(_)),
                Ok(false),
                Err(RecvError::Invalid(_))
            ]
        ));
        let words = popped[1].clone().unwrap_err().to_string();
        assert!(
            words.ends_with("the bytes are not a valid value of the type (in `bool`)"),
            "{words}"
        );
        producer.push(true).unwrap();
        assert_eq!(consumer.pop(), Ok(true));
        drop((producer, consumer));
        let mut producer = Producer::create(&name, 2).unwrap();
        let mut consumer = Consumer::open(&name).unwrap();
        (0..2).for_each(|_| producer.push(Color::Red).unwrap());
        forge(&name, &[0, 2]);
        assert!(matches!(consumer.pop(), Err(RecvError::Invalid(_))));
        assert_eq!(consumer.pop(), Ok(Color::Blue));
    });
}
