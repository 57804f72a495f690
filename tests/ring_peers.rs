//! `ring` between processes: one producer, one consumer, and their successors.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, Lent, Slow, Stubborn, alone, child, for_ever, kill, shared_memory_names, unique};
use common::{wait_until, watchdog, while_waiting};
use procshare::{Connection, Consumer, ErrorKind, Process, Producer, RecvError, SendError, SharedAtomic, ring};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than it takes to notice that the other end is gone.
const LONG: Duration = Duration::from_millis(200);
/// How soon that is noticed at the latest; where nobody else uses the machine it takes 100 ms at most.
const SOON: Duration = Duration::from_secs(1);

/// Pushes the numbers of a range.
fn push(mut producer: Producer<u64>, from: u64, to: u64) {
    (from..to).for_each(|value| producer.push(value).unwrap());
}

/// Pops what comes, which must begin with `next` and go on in order; returns what would have come next.
fn pop_all(consumer: &mut Consumer<u64>, mut next: u64) -> u64 {
    while let Ok(value) = consumer.pop() {
        assert_eq!(value, next);
        next += 1;
    }
    assert_eq!(consumer.pop(), Err(RecvError::Disconnected));
    next
}

// Two processes.

const MILLION: u64 = 1_000_000;

#[procshare::test]
fn a_million_values_arrive_in_order() {
    let _watchdog = watchdog(60);
    for capacity in [1000, 3] {
        let began = Instant::now();
        let values = if capacity == 3 { MILLION / 200 } else { MILLION };
        let (producer, mut consumer) = ring(capacity).unwrap();
        let child = child(push, (producer, 0, values));
        assert_eq!(pop_all(&mut consumer, 0), values);
        child.join().unwrap();
        println!("{values} values through {capacity} slots: {:?}", began.elapsed());
    }
}

#[procshare::test]
fn a_million_values_arrive_in_chunks() {
    let _watchdog = watchdog(60);
    let (mut producer, consumer) = ring(1000).unwrap();
    let read = |mut consumer: Consumer<u64>| {
        let mut next = 0;
        while let Ok(chunk) = consumer.read_chunk(96) {
            for value in chunk.iter() {
                assert_eq!(*value, next);
                next += 1;
            }
        }
        next
    };
    let child = child(read, (consumer,));
    let mut next = 0;
    while next < MILLION {
        let mut chunk = producer.write_chunk(64).unwrap();
        let used = chunk.len().min((MILLION - next) as usize);
        for place in &mut chunk[..used] {
            *place = next;
            next += 1;
        }
        chunk.commit(used);
    }
    producer.close();
    assert_eq!(child.join(), Ok(MILLION));
}

#[procshare::test]
fn an_end_that_was_passed_on_is_closed_here() {
    let _watchdog = watchdog(60);
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let producer = Lent::new(producer);
    let push = |producer: Lent<Producer<u64>>| push(producer.into_inner(), 0, 10);
    let pushing = child(push, (producer.again(),));
    let error = Process::spawn(push, (producer.again(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    let mut producer = producer.into_inner();
    assert_eq!(producer.push(99), Err(SendError::Closed(99)));
    assert_eq!(producer.try_push(99), Err(SendError::Closed(99)));
    assert_eq!(producer.write_chunk(1).unwrap_err(), SendError::Closed(()));
    drop(producer);
    assert_eq!(pop_all(&mut consumer, 0), 10);
    pushing.join().unwrap();
    let (mut producer, consumer) = ring::<u64>(4).unwrap();
    let consumer = Lent::new(consumer);
    let pop = |consumer: Lent<Consumer<u64>>| pop_all(&mut consumer.into_inner(), 0);
    let popping = child(pop, (consumer.again(),));
    let mut consumer = consumer.into_inner();
    assert_eq!(
        (consumer.pop(), consumer.try_pop()),
        (Err(RecvError::Closed), Err(RecvError::Closed))
    );
    assert_eq!(consumer.read_chunk(1).unwrap_err(), RecvError::Closed);
    drop(consumer);
    (0..10).for_each(|value| producer.push(value).unwrap());
    drop(producer);
    assert_eq!(popping.join(), Ok(10));
}

#[procshare::test]
fn an_end_on_its_way_is_not_gone() {
    let _watchdog = watchdog(60);
    let ((producer, mut consumer), slow) = (ring::<u64>(4).unwrap(), Slow::new());
    let late = |_: Slow, producer: Producer<u64>| push(producer, 0, 2);
    let child = child(late, (slow.again(), producer));
    slow.arriving.wait_for(1);
    assert_eq!(consumer.pop_timeout(LONG), Err(RecvError::TimedOut));
    slow.go.raise();
    assert_eq!(pop_all(&mut consumer, 0), 2);
    child.join().unwrap();
}

#[procshare::test]
fn an_end_goes_with_the_child_that_was_not_started() {
    let _watchdog = watchdog(60);
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let nothing = |_: Producer<u64>, _: Stubborn| ();
    let error = Process::spawn(nothing, (producer, Stubborn(true))).unwrap_err();
    assert_eq!(
        (error.kind(), consumer.pop()),
        (ErrorKind::Encoding, Err(RecvError::Disconnected))
    );
}

#[procshare::test]
fn an_end_is_passed_on_by_the_child() {
    let _watchdog = watchdog(60);
    let (mut producer, consumer) = ring::<u64>(4).unwrap();
    let (ours, theirs) = Connection::<u64>::pair(1).unwrap();
    fn forward(mut consumer: Consumer<u64>, to: Connection<u64>) {
        while let Ok(value) = consumer.pop() {
            to.send(value).unwrap();
        }
    }
    let pass_on = |mut consumer: Consumer<u64>, to: Connection<u64>| {
        to.send(consumer.pop().unwrap()).unwrap();
        // The grandchild outlives the child, and goes on where it stopped.
        Process::spawn(forward, (consumer, to)).map(drop).unwrap();
    };
    let child = child(pass_on, (consumer, theirs));
    (0..3).for_each(|value| producer.push(value).unwrap());
    child.join().unwrap();
    (3..10).for_each(|value| {
        assert_eq!(ours.recv(), Ok(value - 3));
        producer.push(value).unwrap();
    });
    drop(producer);
    (7..10).for_each(|value| assert_eq!(ours.recv(), Ok(value)));
    assert_eq!(ours.recv(), Err(RecvError::Disconnected));
}

// Death.

fn assert_soon(what: &str, ended: Instant, killed: Instant) {
    let took = ended.saturating_duration_since(killed);
    println!("{what} knows after {took:?}");
    assert!(took < SOON, "{took:?}");
}

#[procshare::test]
fn a_consumer_notices_that_its_producer_was_killed() {
    let _watchdog = watchdog(60);
    let ((producer, mut consumer), ready) = (ring::<u64>(8).unwrap(), Flag::new());
    let stay = |mut producer: Producer<u64>, ready: Flag| {
        (0..3).for_each(|value| producer.push(value).unwrap());
        let mut chunk = producer.write_chunk(4).unwrap();
        chunk.fill(99);
        ready.raise();
        for_ever()
    };
    let child: Process<()> = child(stay, (producer, ready.clone()));
    ready.wait_for(1);
    let wait = || (pop_all(&mut consumer, 0), Instant::now());
    let ((next, ended), killed) = while_waiting(wait, || kill(child));
    assert_eq!(next, 3, "the chunk was not delivered");
    assert_soon("a consumer", ended, killed);
}

#[procshare::test]
fn a_producer_notices_that_its_consumer_was_killed() {
    let _watchdog = watchdog(60);
    let ((mut producer, consumer), ready) = (ring::<u64>(2).unwrap(), Flag::new());
    let stay = |mut consumer: Consumer<u64>, ready: Flag| {
        assert_eq!(consumer.pop(), Ok(0));
        ready.raise();
        for_ever()
    };
    let child: Process<()> = child(stay, (consumer, ready.clone()));
    producer.push(0).unwrap();
    ready.wait_for(1);
    let wait = || ((1..).find_map(|value| producer.push(value).err()), Instant::now());
    let ((refused, ended), killed) = while_waiting(wait, || kill(child));
    assert_eq!(refused, Some(SendError::Disconnected(3)));
    assert_soon("a producer", ended, killed);
    assert_eq!(producer.try_push(4), Err(SendError::Disconnected(4)));
}

// Names, and successors.

#[procshare::test]
fn an_end_is_had_by_one_at_a_time() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("ring-claimed");
        assert_eq!(Producer::<u64>::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
        let mut consumer = Consumer::<u64>::create(&name, 4).unwrap();
        assert_eq!(
            Consumer::<u64>::create(&name, 4).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(
            Producer::<i64>::open(&name).unwrap_err().kind(),
            ErrorKind::TypeMismatch
        );
        assert_eq!(
            Connection::<u64>::open(&name).unwrap_err().kind(),
            ErrorKind::TypeMismatch
        );
        assert_eq!(
            consumer.pop_timeout(LONG),
            Err(RecvError::TimedOut),
            "it waits for a producer"
        );
        let (ours, theirs) = Connection::<u64>::pair(4).unwrap();
        let serve = |name: String, orders: Connection<u64>| {
            let mut producer = Producer::open(name).unwrap();
            while let Ok(value) = orders.recv() {
                producer.push(value).unwrap();
            }
        };
        let holder = child(serve, (name.clone(), theirs));
        ours.send(0).unwrap();
        assert_eq!(consumer.pop(), Ok(0));
        let error = Producer::<u64>::open(&name).unwrap_err();
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::Claimed, Some(name.as_str()))
        );
        let words = error.to_string();
        assert!(
            words.contains("producer") && words.contains(&format!("process {}", holder.id())),
            "{words}"
        );
        let error = Consumer::<u64>::open(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Claimed);
        assert!(error.to_string().contains("consumer"), "{error}");
        drop(ours);
        holder.join().unwrap();
        assert_eq!(consumer.pop(), Err(RecvError::Disconnected));
        push(Producer::open(&name).unwrap(), 0, 3);
        assert_eq!(pop_all(&mut consumer, 0), 3);
        drop(consumer);
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}

/// Pushes one number after the other until it is killed, beginning with `from`.
fn push_on(name: String, from: u64) {
    push(Producer::open(name).unwrap(), from, u64::MAX);
}

#[procshare::test]
fn a_killed_producers_successor_goes_on() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("ring-producers");
        let mut consumer = Consumer::<u64>::create(&name, 7).unwrap();
        let mut next = 0;
        for round in 0..5 {
            consumer = consumer.wait_for_peers();
            let producer = child(push_on, (name.clone(), next));
            // It is killed while it pushes, or waits for room.
            for value in next..next + 100 * (round + 1) {
                assert_eq!(consumer.pop(), Ok(value));
            }
            kill(producer);
            next = pop_all(&mut consumer, next + 100 * (round + 1));
        }
        drop(consumer);
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}

/// Pops one number after the other until it is killed, and tells each; the first must be `first` or the one behind it,
/// which is all that may have gone with a former consumer.
fn pop_on(name: String, first: u64, told: SharedAtomic<AtomicU64>) {
    let mut consumer = Consumer::<u64>::open(name).unwrap();
    let mut expected = first..first + 2;
    loop {
        let value = consumer.pop().unwrap();
        assert!(expected.contains(&value), "{value} is not in {expected:?}");
        expected = value + 1..value + 2;
        told.store(value + 1, Ordering::SeqCst);
    }
}

#[procshare::test]
fn a_killed_consumers_successor_goes_on() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("ring-consumers");
        let mut producer = Producer::<u64>::create(&name, 7).unwrap().wait_for_peers();
        // The one after the last that a consumer has told.
        let told = SharedAtomic::<AtomicU64>::new(0).unwrap();
        let pushing = thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                for value in 0.. {
                    while producer.push(value).is_err() {
                        if told.load(Ordering::SeqCst) == u64::MAX {
                            return value;
                        }
                    }
                }
                unreachable!()
            });
            for round in 0..5 {
                let first = told.load(Ordering::SeqCst);
                let consumer = child(pop_on, (name.clone(), first, told.clone()));
                // It is killed while it pops, or waits for more.
                wait_until(|| told.load(Ordering::SeqCst) >= first + 100 * (round + 1));
                kill(consumer);
            }
            let first = told.swap(u64::MAX, Ordering::SeqCst);
            let mut heir = Consumer::<u64>::open(&name).unwrap();
            let value = heir.pop().unwrap();
            assert!(
                (first..first + 2).contains(&value),
                "{value} is not {first}, nor behind it"
            );
            assert_eq!(heir.pop(), Ok(value + 1));
            drop(heir);
            pushing.join().unwrap()
        });
        assert!(pushing > 1500);
        drop(producer);
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}

#[procshare::test]
fn a_killed_readers_chunk_is_its_successors() {
    let _watchdog = watchdog(60);
    alone(|| {
        let (name, ready) = (unique("ring-chunk"), Flag::new());
        let mut producer = Producer::<u64>::create(&name, 8).unwrap();
        (0..6).for_each(|value| producer.push(value).unwrap());
        let read = |name: String, ready: Flag| {
            let mut consumer = Consumer::<u64>::open(name).unwrap();
            consumer.read_chunk(2).unwrap().commit(1);
            let chunk = consumer.read_chunk(8).unwrap();
            assert_eq!(*chunk, [1, 2, 3, 4, 5]);
            ready.raise();
            for_ever()
        };
        let reader: Process<()> = child(read, (name.clone(), ready.clone()));
        ready.wait_for(1);
        kill(reader);
        let mut heir = Consumer::<u64>::open(&name).unwrap();
        assert_eq!(*heir.read_chunk(8).unwrap(), [1, 2, 3, 4, 5]);
        drop((producer, heir));
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}
