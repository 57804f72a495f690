//! `SharedQueue`: its doors, order, bounds and errors. `queue_peers.rs` has the processes.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/queues.rs"]
mod queues;
#[path = "common/role.rs"]
mod role;

use common::{alone, shared_memory_names, unique, watchdog, while_waiting};
use procshare::{Capacity, ErrorKind, Segment, SendError, SharedQueue};
use queues::{BYTES, bytes_of, small, text};
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);
// Doors.

#[procshare::test]
fn all_doors_lead_to_the_same_queue() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("queue-doors");
        let kind = |queue: procshare::Result<SharedQueue<u32>>| queue.unwrap_err().kind();
        assert_eq!(kind(SharedQueue::open(&name)), ErrorKind::NotFound);
        let created = SharedQueue::<u32>::create(&name, 8).unwrap();
        assert_eq!(kind(SharedQueue::create(&name, 8)), ErrorKind::AlreadyExists);
        let opened = SharedQueue::<u32>::open(&name).unwrap();
        let either = SharedQueue::<u32>::open_or_create(&name, 8).unwrap();
        created.put(1).unwrap();
        opened.put(2).unwrap();
        assert_eq!((either.get(), created.clone().get()), (Ok(1), Ok(2)));
        created.put(3).unwrap();
        drop((created, opened));
        assert_eq!(SharedQueue::<u32>::builder().open(&name).unwrap().get(), Ok(3));
        drop(either);
        assert_eq!(shared_memory_names(&name), [""; 0]);
        let again = SharedQueue::<u32>::open_or_create(&name, 3).unwrap();
        assert_eq!((again.capacity(), again.len()), (3, 0));
    });
}

#[procshare::test]
fn another_type_or_capacity_is_refused_and_named() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("queue-types");
        let _queue = SharedQueue::<u32>::create(&name, 8).unwrap();
        let error = SharedQueue::<String>::open(&name).unwrap_err();
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::TypeMismatch, Some(name.as_str()))
        );
        let words = error.to_string();
        assert!(
            words.contains("u32") && words.contains("alloc::string::String"),
            "{words}"
        );
        let error = SharedQueue::<u32>::open_or_create(&name, 9).unwrap_err();
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::LengthMismatch, Some(name.as_str()))
        );
        let words = error.to_string();
        assert!(words.contains('8') && words.contains('9'), "{words}");
        assert_eq!(SharedQueue::<u32>::open(&name).unwrap().capacity(), 8);
    });
}

#[procshare::test]
fn a_schema_stands_for_the_type() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("queue-schema");
        let queue = SharedQueue::<u16>::builder().schema("sample", 1).create(&name).unwrap();
        let other = SharedQueue::<u16>::builder()
            .schema("sample", 2)
            .open(&name)
            .unwrap_err();
        assert_eq!(other.kind(), ErrorKind::TypeMismatch);
        assert!(
            other.to_string().contains("sample v1") && other.to_string().contains("sample v2"),
            "{other}"
        );
        assert_eq!(
            SharedQueue::<u16>::open(&name).unwrap_err().kind(),
            ErrorKind::TypeMismatch
        );
        // Whoever says the same schema answers for the encoding.
        SharedQueue::<u32>::builder()
            .schema("sample", 1)
            .open(&name)
            .unwrap()
            .put(700)
            .unwrap();
        assert_eq!(queue.get(), Ok(700));
    });
}

#[procshare::test]
fn absurd_capacities_are_refused() {
    let _watchdog = watchdog(60);
    let absurd = [
        Capacity::items(0),
        Capacity::items(usize::MAX),
        Capacity::items((1 << 30) + 1).bytes(BYTES),
        Capacity::items(8).bytes(usize::MAX),
        Capacity::items(8).bytes((8 << 30) + 1),
    ];
    let segment = Segment::new(1 << 16).unwrap();
    for capacity in absurd {
        let kinds = [
            SharedQueue::<u8>::new(capacity).unwrap_err().kind(),
            SharedQueue::<u8>::create(unique("queue-absurd"), capacity)
                .unwrap_err()
                .kind(),
            SharedQueue::<u8>::open_or_create(unique("queue-absurd"), capacity)
                .unwrap_err()
                .kind(),
            segment.queue::<u8>("absurd", capacity).unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::InvalidCapacity; 4], "{capacity:?}");
    }
    let words = SharedQueue::<u8>::new(0).unwrap_err().to_string();
    assert!(
        words.contains("1 to 1073741824") && words.contains("found 0 items"),
        "{words}"
    );
    // Many items of few bytes are not absurd.
    let queue = SharedQueue::<()>::new(Capacity::items(1 << 30).bytes(1)).unwrap();
    assert_eq!((queue.capacity(), queue.capacity_bytes()), (1 << 30, BYTES));
}

#[procshare::test]
fn a_segment_holds_queues_among_others() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(1 << 17).unwrap();
    let value = segment.value("value", 1u32).unwrap();
    let (jobs, results) = (
        segment.queue::<String>("jobs", 4).unwrap(),
        segment.queue::<u64>("results", 4).unwrap(),
    );
    jobs.put("job".to_owned()).unwrap();
    results.put(7).unwrap();
    assert_eq!(segment.open_queue::<String>("jobs").unwrap().get().unwrap(), "job");
    assert_eq!(segment.queue::<u64>("results", 4).unwrap().get(), Ok(7));
    let open = |name| segment.open_queue::<u64>(name).unwrap_err().kind();
    assert_eq!(open("absent"), ErrorKind::NotFound);
    assert_eq!(open("jobs"), ErrorKind::TypeMismatch);
    assert_eq!(open("value"), ErrorKind::TypeMismatch);
    assert_eq!(
        segment.open_value::<u64>("results").unwrap_err().kind(),
        ErrorKind::TypeMismatch
    );
    assert_eq!(
        segment.queue::<u64>("results", 5).unwrap_err().kind(),
        ErrorKind::LengthMismatch
    );
    let large = Capacity::items(4).bytes(1 << 20);
    assert_eq!(
        segment.queue::<u64>("large", large).unwrap_err().kind(),
        ErrorKind::Full
    );
    assert_eq!(value.get(), 1);
}

// Order and bounds.

/// Texts of each length begin at each word of the ring, so that they are split by its end in every way.
#[test]
fn a_record_wraps_at_every_offset() {
    let _watchdog = watchdog(60);
    let queue = small(2);
    let words = BYTES / 8;
    let mut begins = BTreeSet::new();
    let mut at = 0;
    for round in 0..words {
        for len in 0..=80 {
            begins.insert(at % words);
            let item = text(len as u8, len);
            // It and the next fill the ring, so that the one after that begins where it began.
            let rest = text(1 + len as u8, BYTES - bytes_of(&item) - 16);
            assert_eq!(bytes_of(&item) + bytes_of(&rest), BYTES);
            if round % 2 == 0 {
                queue.put(item.clone()).unwrap();
                queue.put(rest.clone()).unwrap();
                assert!(queue.is_full());
                assert!(
                    queue.get().unwrap() == item && queue.get().unwrap() == rest,
                    "{at} {len}"
                );
            } else {
                queue.put_all([item.clone(), rest.clone()]).unwrap();
                let both: Vec<_> = queue.get_up_to(2).unwrap().map(Result::unwrap).collect();
                assert!(both == [item, rest], "{at} {len}");
            }
        }
        // One word further, round the ring.
        for item in [text(0, 1000), text(0, 3077)] {
            at += bytes_of(&item) / 8;
            queue.put(item).unwrap();
            queue.get().unwrap();
        }
        assert_eq!(at, (round + 1) * (words + 1));
    }
    assert_eq!(begins.len(), words);
}

#[test]
fn an_item_larger_than_the_queue_comes_back_with_both_sizes() {
    let _watchdog = watchdog(60);
    let queue = small(4);
    let largest = text(0, BYTES - 8 - 3);
    for shift in [0, 100] {
        queue.put(text(1, shift)).unwrap();
        queue.get().unwrap();
        queue.put(largest.clone()).unwrap();
        assert!(queue.is_full());
        assert_eq!(queue.get().as_ref(), Ok(&largest));
    }
    let item = largest + "!";
    let error = queue.put(item.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the item takes 4104 bytes or more, but the capacity is 4096 bytes"
    );
    let too_large = SendError::TooLarge {
        item: item.clone(),
        bytes: 4104,
        capacity: 4096,
    };
    assert_eq!(error, too_large);
    assert_eq!(queue.try_put(item.clone()), Err(too_large));
    let both = queue.put_all([text(2, 1), item.clone(), text(3, 1)]).unwrap_err();
    assert_eq!(both.into_item(), [item, text(3, 1)]);
    assert_eq!((queue.get(), queue.len()), (Ok(text(2, 1)), 0));
}

#[test]
fn an_item_larger_than_the_room_waits_for_it() {
    let _watchdog = watchdog(60);
    let queue = small(8);
    let taker = queue.clone();
    let (first, second) = (text(0, 3000), text(1, 3000));
    queue.put(first.clone()).unwrap();
    assert_eq!(
        queue.put_timeout(second.clone(), SHORT),
        Err(SendError::TimedOut(second.clone()))
    );
    assert!(!queue.is_full(), "a smaller one would fit");
    queue.put(text(2, 500)).unwrap();
    let (put, got) = while_waiting(|| queue.put(second.clone()), || taker.get());
    assert_eq!((put, got), (Ok(()), Ok(first)));
    assert_eq!((queue.get(), queue.get()), (Ok(text(2, 500)), Ok(second)));
}

#[test]
fn batches_larger_than_the_queue_pass_through_it() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<u32>::new(3).unwrap();
    thread::scope(|scope| {
        let putter = queue.clone();
        let put = scope.spawn(move || putter.put_all(0..10_000));
        let mut next = 0;
        while next < 10_000 {
            let batch = queue.get_up_to(usize::MAX).unwrap();
            for item in batch {
                assert_eq!(item, Ok(next));
                next += 1;
            }
        }
        put.join().unwrap().unwrap();
    });
    queue.put_all([]).unwrap();
    assert_eq!(queue.get_up_to(0).unwrap().count(), 0);
    assert!(queue.is_empty());
}
