//! Deaths at the ends of rings and pipes, each of which one process has: the next claims it and goes on.

use crate::common::{unique, watchdog};
use crate::role::{Role, listen, say};
use crate::seats::victim_of;
use crate::stage::{ITEMS, Item, LATE, alone, dies, item, number_of, sweep, timed, was_killed};
use procshare::{Capacity, Connection, Consumer, Process, Producer, RecvError, SendError};
use std::path::Path;

const CAPACITY: u64 = 4;

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("push", |arguments| {
        let mut producer = Producer::open(&arguments[0]).expect("the test made it");
        for value in 11u64..=13 {
            producer.push(value).expect("there is room");
        }
    }),
    ("push a chunk", |arguments| {
        let mut producer = Producer::open(&arguments[0]).expect("the test made it");
        let mut chunk = producer.write_chunk(3).expect("there is room");
        chunk.copy_from_slice(&[11u64, 12, 13]);
    }),
    ("write a chunk for long", |arguments| {
        let mut producer = Producer::open(&arguments[0]).expect("the test made it");
        let mut chunk = producer.write_chunk(3).expect("there is room");
        chunk.copy_from_slice(&[11u64, 12, 13]);
        say("written");
        listen();
    }),
    ("pop", |arguments| {
        let mut consumer = Consumer::<u64>::open(&arguments[0]).expect("the test made it");
        for value in 1..=3 {
            assert_eq!(consumer.pop(), Ok(value));
        }
    }),
    ("read a chunk", |arguments| {
        let mut consumer = Consumer::<u64>::open(&arguments[0]).expect("the test made it");
        assert_eq!(*consumer.read_chunk(3).expect("something is there"), [1, 2, 3]);
    }),
    ("read a chunk for long", |arguments| {
        let mut consumer = Consumer::<u64>::open(&arguments[0]).expect("the test made it");
        let chunk = consumer.read_chunk(3).expect("something is there");
        assert_eq!(*chunk, [1, 2, 3]);
        say("read");
        listen();
    }),
    ("pass a producer on", |arguments| {
        let producer = Producer::<u64>::open(&arguments[0]).expect("the test made it");
        let keep = |producer: Producer<u64>| assert_eq!(producer.capacity(), CAPACITY as usize);
        let child = Process::builder().daemon(true).spawn(keep, (producer,));
        child.expect("it can be started").join().expect("it keeps it");
    }),
    ("send", |arguments| {
        let connection = Connection::open(&arguments[0]).expect("the test made it");
        for number in 11..=13 {
            connection.send(item(number)).expect("there is room");
        }
    }),
    ("receive", |arguments| {
        let connection = Connection::<Item>::open(&arguments[0]).expect("the test made it");
        for number in 1..=3 {
            assert_eq!(connection.recv(), Ok(item(number)));
        }
    }),
];

/// A name in shared memory; nothing must be left there when it is dropped.
struct Name(String);

impl Name {
    fn new() -> Self {
        Name(unique("end"))
    }

    fn is_free(&self) -> bool {
        !Path::new("/dev/shm").join(format!("procshare.{}", self.0)).exists()
    }
}

/// What the consumer gets until it is told that nobody is left.
fn popped(point: &'static str, consumer: &mut Consumer<u64>) -> Vec<u64> {
    let len = consumer.len();
    let mut seen = Vec::new();
    loop {
        match timed(point, || consumer.pop_timeout(LATE)) {
            Ok(value) => seen.push(value),
            Err(end) => {
                assert_eq!(end, RecvError::Disconnected, "{point}: a ghost may push");
                assert_eq!(len, seen.len(), "{point}: counted right");
                return seen;
            }
        }
    }
}

/// Fills the ring from its producer and empties it.
fn is_as_new(point: &'static str, producer: &mut Producer<u64>, consumer: &mut Consumer<u64>) {
    for value in 21..21 + CAPACITY {
        timed(point, || producer.push_timeout(value, LATE)).expect("there is room");
    }
    assert!(matches!(producer.try_push(0), Err(SendError::Full(0))), "{point}");
    for value in 21..21 + CAPACITY {
        assert_eq!(consumer.pop(), Ok(value), "{point}");
    }
    assert_eq!(consumer.try_pop(), Err(RecvError::Empty), "{point}");
}

/// A producer's death in `role`: what it delivered, once a successor has gone on.
fn dead_producer(point: &'static str, role: &str, kill: impl FnOnce(&str) -> bool) -> Option<Vec<u64>> {
    let name = Name::new();
    let mut consumer = Consumer::<u64>::create(&name.0, CAPACITY as usize).expect("the name is ours");
    drop(Producer::<u64>::open(&name.0).expect("nobody has it"));
    if !kill(&name.0) {
        return None;
    }
    let seen = popped(point, &mut consumer);
    let mut successor = timed(point, || Producer::open(&name.0)).expect("its owner is dead");
    is_as_new(point, &mut successor, &mut consumer);
    drop((successor, consumer));
    assert!(name.is_free(), "{point}: {role}");
    Some(seen)
}

/// A consumer's death in `role`: what it left of 1, 2, 3, 4, once a successor has gone on.
fn dead_consumer(point: &'static str, role: &str, kill: impl FnOnce(&str) -> bool) -> Option<Vec<u64>> {
    let name = Name::new();
    let mut producer = Producer::create(&name.0, CAPACITY as usize).expect("the name is ours");
    for value in 1..=CAPACITY {
        producer.push(value).expect("there is room");
    }
    drop(Consumer::<u64>::open(&name.0).expect("nobody has it"));
    if !kill(&name.0) {
        return None;
    }
    let mut further = 0;
    let refusal = loop {
        match timed(point, || producer.push_timeout(100 + further, LATE)) {
            Ok(()) => further += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(
        matches!(refusal, SendError::Disconnected(_)),
        "{point}: a ghost may pop: {refusal:?}"
    );
    let mut successor = timed(point, || Consumer::open(&name.0)).expect("its owner is dead");
    let mut left: Vec<u64> = std::iter::from_fn(|| successor.try_pop().ok()).collect();
    let pushed = left.split_off(left.len() - further as usize);
    assert_eq!(pushed, (100..100 + further).collect::<Vec<_>>(), "{point}");
    is_as_new(point, &mut producer, &mut successor);
    drop((successor, producer));
    assert!(name.is_free(), "{point}: {role}");
    Some(left)
}

/// The end of a ring dies before or after it has passed a place on.
pub(crate) fn of_a_ring(point: &'static str, advanced: bool) {
    let kill = |passage: &str, role: &str, name: &str| was_killed(passage, &mut victim_of(passage, role, name));
    for (role, by, passages) in [("push", 1, 3), ("push a chunk", 3, 1)] {
        let outcomes = sweep(point, |passage| {
            dead_producer(point, role, |name| kill(passage, role, name))
        });
        let delivered = |passage| [11, 12, 13][..by * (passage - usize::from(!advanced))].to_vec();
        assert_eq!(
            outcomes,
            (1..=passages).map(delivered).collect::<Vec<_>>(),
            "{point}: {role}"
        );
    }
    for (role, by, passages) in [("pop", 1, 3), ("read a chunk", 3, 1)] {
        let outcomes = sweep(point, |passage| {
            dead_consumer(point, role, |name| kill(passage, role, name))
        });
        let left = |passage| [1, 2, 3, 4][by * (passage - usize::from(!advanced))..].to_vec();
        assert_eq!(
            outcomes,
            (1..=passages).map(left).collect::<Vec<_>>(),
            "{point}: {role}"
        );
    }
}

#[test]
fn an_open_chunk_delivers_and_takes_nothing() {
    let (_watchdog, _alone, point) = (watchdog(120), alone(), "an open chunk");
    let kill = |role, name: &str| {
        let mut child = crate::role::start(role, &[name]);
        child.hear();
        child.kill();
        true
    };
    let role = "write a chunk for long";
    assert_eq!(dead_producer(point, role, |name| kill(role, name)), Some(vec![]));
    let role = "read a chunk for long";
    assert_eq!(
        dead_consumer(point, role, |name| kill(role, name)),
        Some(vec![1, 2, 3, 4])
    );
}

/// One end of a pipe dies in `role`: what it had sent, and what is left of 1, 2, 3, 4, once a successor has gone on.
fn dead_connection(point: &'static str, passage: &str, role: &str) -> Option<(Vec<u64>, Vec<u64>)> {
    let name = Name::new();
    let capacity = Capacity::items(ITEMS as usize).bytes(4096);
    let ours = Connection::create(&name.0, capacity).expect("the name is ours");
    for number in 1..=4 {
        ours.send(item(number)).expect("there is room");
    }
    drop(Connection::<Item>::open(&name.0).expect("nobody has it"));
    if !was_killed(passage, &mut victim_of(passage, role, &name.0)) {
        return None;
    }
    let mut sent = Vec::new();
    let end = loop {
        match timed(point, || ours.recv_timeout(LATE)) {
            Ok(found) => sent.push(number_of(found)),
            Err(end) => break end,
        }
    };
    assert_eq!(end, RecvError::Disconnected, "{passage}: a ghost may send");
    let mut further = 0;
    let refusal = loop {
        match timed(point, || ours.send_timeout(item(99), LATE)) {
            Ok(()) => further += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(
        matches!(refusal, SendError::Disconnected(_)),
        "{passage}: a ghost may receive: {refusal:?}"
    );
    let successor = timed(point, || Connection::<Item>::open(&name.0)).expect("its owner is dead");
    let mut left: Vec<u64> = std::iter::from_fn(|| successor.try_recv().ok().map(number_of)).collect();
    assert_eq!(left.split_off(left.len() - further), vec![99; further], "{passage}");
    for (from, to) in [(&ours, &successor), (&successor, &ours)] {
        let count = (0..).take_while(|_| from.try_send(item(5)).is_ok()).count() as u64;
        assert_eq!(count, ITEMS, "{passage}: room is lost");
        for _ in 0..count {
            assert_eq!(timed(point, || to.recv()), Ok(item(5)), "{passage}");
        }
    }
    drop((ours, successor));
    assert!(name.is_free(), "{passage}: {role}");
    Some((sent, left))
}

#[test]
fn an_end_of_a_pipe_may_die_at_every_named_point() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    let sends = [
        ("queue.put.copied", 0),
        ("queue.put.published", 1),
        ("queue.put.unlocked", 1),
    ];
    for (point, also) in sends {
        let outcomes = sweep(point, |passage| dead_connection(point, passage, "send"));
        let delivered = |passage: usize| ([11, 12, 13][..passage - 1 + also].to_vec(), vec![1, 2, 3, 4]);
        assert_eq!(outcomes, (1..=3).map(delivered).collect::<Vec<_>>(), "{point}");
    }
    let receipts = [
        ("queue.get.copied", 0),
        ("queue.get.taken", 1),
        ("queue.get.unlocked", 1),
    ];
    for (point, also) in receipts {
        let outcomes = sweep(point, |passage| dead_connection(point, passage, "receive"));
        let left = |passage: usize| (vec![], [1, 2, 3, 4][passage - 1 + also..].to_vec());
        assert_eq!(outcomes, (1..=3).map(left).collect::<Vec<_>>(), "{point}");
    }
    for point in ["lock.acquired", "unlock.begin"] {
        for role in ["send", "receive"] {
            assert!(
                sweep(point, |passage| dead_connection(point, passage, role)).len() > 3,
                "{point}"
            );
        }
    }
}

/// An end dies as it is claimed or given up.
pub(crate) fn come_and_go(point: &'static str) {
    let kill = |passage: &str, role: &str, name: &str| was_killed(passage, &mut victim_of(passage, role, name));
    let producers = sweep(point, |passage| {
        dead_producer(point, "push", |name| kill(passage, "push", name))
    });
    let consumers = sweep(point, |passage| {
        dead_consumer(point, "pop", |name| kill(passage, "pop", name))
    });
    let connections = sweep(point, |passage| dead_connection(point, passage, "send"));
    for reached in [producers.len(), consumers.len(), connections.len() / 2] {
        assert!(reached > 0, "{point} was never reached");
    }
}

/// A process dies when it has set its end aside for a child, and its own seat is still there.
pub(crate) fn spawner_dies(point: &'static str) {
    let role = "pass a producer on";
    let kill = |name: &str| {
        dies(point, victim_of(point, role, name));
        true
    };
    assert_eq!(dead_producer(point, role, kill), Some(vec![]));
}
