//! Beside a peer stopped with the other end of a pipe or ring, or as it is passed one.

use crate::Scene;
use crate::common::unique;
use crate::peer::{Calls, Peer, SHORT, STOP, die_with_parent, signal, until_stopped};
use crate::role::Role;
use procshare::{Connection, Consumer, Process, Producer, RecvError, SendError, clean, pipe, ring};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// No peer waits longer.
const LATE: Duration = Duration::from_secs(30);

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "child with an end of a pipe",
        points: &[
            "lock.acquired:1",
            "lock.acquired:2",
            "lock.acquired:3",
            "seat.turned",
            "queue.get.copied",
            "queue.get.taken",
            "queue.get.unlocked",
            "queue.put.copied",
            "queue.put.published",
            "queue.put.unlocked",
            "bell.sleeping",
            "seat.freed",
        ],
        play: beside_a_pipe,
    },
    Scene {
        name: "child with the consumer of a ring",
        points: &[
            "lock.acquired:1",
            "seat.turned",
            "ring.used",
            "ring.advanced",
            "bell.sleeping",
            "seat.freed",
        ],
        play: beside_a_consumer,
    },
    Scene {
        name: "child with the producer of a ring",
        points: &[
            "lock.acquired:1",
            "seat.turned",
            "ring.used",
            "ring.advanced",
            "bell.sleeping",
            "seat.freed",
        ],
        play: beside_a_producer,
    },
    Scene {
        name: "who opens a pipe",
        points: &["lock.acquired:1", "seat.counted", "seat.taken"],
        play: |at| beside_an_opener_of_a_pipe(at, "open the pipe"),
    },
    Scene {
        name: "who opens a ring",
        points: &["lock.acquired:1", "seat.counted", "seat.taken"],
        play: |at| beside_an_opener_of_a_ring(at, "open the ring"),
    },
    Scene {
        name: "who passes an end of a pipe on",
        points: &["seat.ticket"],
        play: |at| beside_an_opener_of_a_pipe(at, "pass the pipe"),
    },
    Scene {
        name: "who passes an end of a ring on",
        points: &["seat.ticket"],
        play: |at| beside_an_opener_of_a_ring(at, "pass the ring"),
    },
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("open the pipe", |arguments| answer(open_pipe(arguments))),
    ("open the ring", |arguments| take(open_ring(arguments))),
    ("pass the pipe", |arguments| {
        let builder = Process::builder().daemon(true).env_remove(STOP);
        builder.spawn(answer, (open_pipe(arguments),)).unwrap().join().unwrap();
    }),
    ("pass the ring", |arguments| {
        let builder = Process::builder().daemon(true).env_remove(STOP);
        builder.spawn(take, (open_ring(arguments),)).unwrap().join().unwrap();
    }),
];

fn open_pipe(arguments: &[String]) -> Connection<u64> {
    die_with_parent();
    Connection::open(&arguments[0]).unwrap()
}

fn open_ring(arguments: &[String]) -> Consumer<u64> {
    die_with_parent();
    Consumer::open(&arguments[0]).unwrap()
}

/// Gives back what comes until it is zero.
fn answer(end: Connection<u64>) {
    while let Ok(number) = end.recv_timeout(LATE) {
        if end.send_timeout(number, LATE).is_err() || number == 0 {
            break;
        }
    }
}

fn take(mut end: Consumer<u64>) {
    while end.pop_timeout(LATE).is_ok_and(|number| number != 0) {}
}

fn give(mut end: Producer<u64>) {
    for number in 0..1000 {
        if end.push_timeout(number, LATE).is_err() {
            break;
        }
    }
}

fn may_fail<T: Debug>(outcome: Result<(), SendError<T>>) {
    match outcome {
        Ok(()) | Err(SendError::Full(_) | SendError::TimedOut(_) | SendError::Disconnected(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn may_lack<T: Debug>(outcome: Result<T, RecvError>) {
    match outcome {
        Ok(_) | Err(RecvError::Empty | RecvError::TimedOut | RecvError::Disconnected) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// Passes an end to a child that stops there, makes the calls beside it, and sees both to their ends.
fn beside_a_child<E>(
    at: &str,
    spawn: impl FnOnce(procshare::process::Builder) -> Process<()>,
    end: E,
    calls: fn(Calls<'_>, E),
) {
    let child = spawn(Process::builder().daemon(true).env(STOP, at));
    assert!(until_stopped(child.id()), "{at}: the child has ended");
    calls(Calls(at), end);
    signal(child.id(), libc::SIGCONT);
    child.join().unwrap();
}

fn beside_a_pipe(at: &str) {
    for calls in [of_a_connection, of_its_halves] {
        let (own, other) = pipe::<u64>().unwrap();
        // It comes to its second sleep, or to none.
        if !at.starts_with("bell") {
            own.send(u64::from(at != "seat.freed")).unwrap();
        }
        beside_a_child(at, |builder| builder.spawn(answer, (other,)).unwrap(), own, calls);
    }
}

fn of_a_connection(calls: Calls<'_>, end: Connection<u64>) {
    let until = Instant::now() + SHORT;
    may_fail(calls.at_once("Connection::try_send", || end.try_send(2)));
    may_fail(calls.at_once("Connection::send_timeout", || end.send_timeout(3, SHORT)));
    may_fail(calls.at_once("Connection::send_deadline", || end.send_deadline(4, until)));
    may_lack(calls.at_once("Connection::poll", || end.poll(SHORT)));
    may_lack(calls.at_once("Connection::try_recv", || end.try_recv()));
    may_lack(calls.at_once("Connection::recv_timeout", || end.recv_timeout(SHORT)));
    may_lack(calls.at_once("Connection::recv_deadline", || end.recv_deadline(until)));
    calls.at_once("Connection::fmt", || format!("{end:?}"));
    let end = calls.at_once("Connection::wait_for_peers", || end.wait_for_peers());
    may_fail(calls.at_once("Connection::try_send", || end.try_send(0)));
    calls.at_once("Connection::close", || end.close());
}

fn of_its_halves(calls: Calls<'_>, end: Connection<u64>) {
    let (sender, receiver) = calls.at_once("Connection::split", || end.split());
    let until = Instant::now() + SHORT;
    may_fail(calls.at_once("Sender::try_send", || sender.try_send(2)));
    may_fail(calls.at_once("Sender::send_timeout", || sender.send_timeout(3, SHORT)));
    may_fail(calls.at_once("Sender::send_deadline", || sender.send_deadline(4, until)));
    may_lack(calls.at_once("Receiver::poll", || receiver.poll(SHORT)));
    may_lack(calls.at_once("Receiver::try_recv", || receiver.try_recv()));
    may_lack(calls.at_once("Receiver::recv_timeout", || receiver.recv_timeout(SHORT)));
    may_lack(calls.at_once("Receiver::recv_deadline", || receiver.recv_deadline(until)));
    calls.at_once("Sender::fmt", || format!("{sender:?} {receiver:?}"));
    calls.at_once("Sender::close", || sender.close());
    calls.at_once("Receiver::drop", || drop(receiver));
}

fn beside_a_consumer(at: &str) {
    let (mut own, other) = ring::<u64>(8).unwrap();
    if !at.starts_with("bell") {
        own.push(u64::from(at != "seat.freed")).unwrap();
    }
    beside_a_child(at, |builder| builder.spawn(take, (other,)).unwrap(), own, of_a_producer);
}

fn of_a_producer(calls: Calls<'_>, mut end: Producer<u64>) {
    let until = Instant::now() + SHORT;
    may_fail(calls.at_once("Producer::try_push", || end.try_push(2)));
    may_fail(calls.at_once("Producer::push_timeout", || end.push_timeout(3, SHORT)));
    may_fail(calls.at_once("Producer::push_deadline", || end.push_deadline(4, until)));
    may_fail(calls.at_once("Producer::try_write_chunk", || {
        end.try_write_chunk(1).map(|chunk| chunk.commit(1))
    }));
    may_fail(calls.at_once("Producer::write_chunk_timeout", || {
        end.write_chunk_timeout(1, SHORT).map(drop)
    }));
    may_fail(calls.at_once("Producer::write_chunk_deadline", || {
        end.write_chunk_deadline(1, until).map(|chunk| chunk.commit(1))
    }));
    calls.at_once("Producer::len", || {
        (end.len(), end.is_empty(), end.is_full(), end.capacity())
    });
    calls.at_once("Producer::fmt", || format!("{end:?}"));
    let mut end = calls.at_once("Producer::wait_for_peers", || end.wait_for_peers());
    may_fail(calls.at_once("Producer::try_push", || end.try_push(0)));
    calls.at_once("Producer::close", || end.close());
}

fn beside_a_producer(at: &str) {
    let (other, own) = ring::<u64>(8).unwrap();
    let spawn = |builder: procshare::process::Builder| match at {
        "seat.freed" => builder.spawn(|end: Producer<u64>| drop(end), (other,)).unwrap(),
        _ => builder.spawn(give, (other,)).unwrap(),
    };
    beside_a_child(at, spawn, own, of_a_consumer);
}

fn of_a_consumer(calls: Calls<'_>, mut end: Consumer<u64>) {
    let until = Instant::now() + SHORT;
    may_lack(calls.at_once("Consumer::try_pop", || end.try_pop()));
    may_lack(calls.at_once("Consumer::pop_timeout", || end.pop_timeout(SHORT)));
    may_lack(calls.at_once("Consumer::pop_deadline", || end.pop_deadline(until)));
    may_lack(calls.at_once("Consumer::try_read_chunk", || {
        end.try_read_chunk(1).map(|chunk| chunk.commit(1))
    }));
    may_lack(calls.at_once("Consumer::read_chunk_timeout", || {
        end.read_chunk_timeout(1, SHORT).map(drop)
    }));
    may_lack(calls.at_once("Consumer::read_chunk_deadline", || {
        end.read_chunk_deadline(1, until).map(|chunk| chunk.commit(1))
    }));
    calls.at_once("Consumer::len", || {
        (end.len(), end.is_empty(), end.is_full(), end.capacity())
    });
    calls.at_once("Consumer::fmt", || format!("{end:?}"));
    let end = calls.at_once("Consumer::wait_for_peers", || end.wait_for_peers());
    calls.at_once("Consumer::drop", || drop(end));
}

fn beside_an_opener_of_a_pipe(at: &str, role: &str) {
    let (name, calls) = (unique("pipe"), Calls(at));
    let own = Connection::<u64>::create(&name, 8).unwrap();
    own.send(1).unwrap();
    let peer = Peer::start(role, at, &[&name]).stopped();
    let third = calls.in_the_end("Connection::open", || Connection::<u64>::open(&name));
    calls.at_once("Connection::drop", || drop(third));
    assert!(
        calls
            .at_once("Connection::create", || Connection::<u64>::create(&name, 8))
            .is_err()
    );
    calls.at_once("clean", || clean().unwrap());
    of_a_connection(calls, own);
    peer.ends_well();
    assert!(Connection::<u64>::open(&name).is_err(), "{at}: left {name}");
}

fn beside_an_opener_of_a_ring(at: &str, role: &str) {
    let (name, calls) = (unique("ring"), Calls(at));
    let mut own = Producer::<u64>::create(&name, 8).unwrap();
    own.push(1).unwrap();
    let peer = Peer::start(role, at, &[&name]).stopped();
    let third = calls.in_the_end("Consumer::open", || Consumer::<u64>::open(&name));
    calls.at_once("Consumer::drop", || drop(third));
    assert!(
        calls
            .at_once("Consumer::create", || Consumer::<u64>::create(&name, 8))
            .is_err()
    );
    of_a_producer(calls, own);
    peer.ends_well();
    assert!(Consumer::<u64>::open(&name).is_err(), "{at}: left {name}");
}
