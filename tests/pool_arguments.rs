//! Jobs of a pool whose arguments hold handles, and arguments and results that cannot be encoded or decoded.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/bomb.rs"]
mod bomb;
mod common;

use bomb::Bomb;
use common::{
    Flag, Stubborn, alone, descriptors, for_ever, hold, shared_memory_names, unique, wait_until, watchdog,
    while_waiting,
};
use procshare::{
    Connection, Consumer, FrozenArray, JobError, Pool, Producer, Receiver, RecvError, Segment, Sender, SharedArray,
    SharedAtomic, SharedAtomicArray, SharedCounter, SharedMap, SharedQueue, SharedValue, pipe, ring,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every kind of object, and the segment some lie in, inside of a struct.
#[derive(Clone, Serialize, Deserialize)]
struct All {
    segment: Segment,
    value: SharedValue<u64>,
    counters: Vec<SharedCounter>,
    array: Option<SharedArray<f64>>,
    frozen: (FrozenArray<f64>,),
    atomics: BTreeMap<String, SharedAtomic<AtomicU32>>,
    bits: Box<SharedAtomicArray<AtomicU64>>,
    map: SharedMap<u64, String>,
    queue: SharedQueue<u64>,
}

impl All {
    fn new() -> Self {
        let segment = Segment::new(1 << 16).unwrap();
        let array = SharedArray::from_slice(&[3.0, 4.0]).unwrap();
        All {
            value: segment.value("value", 1).unwrap(),
            counters: vec![SharedCounter::new(0).unwrap(), segment.counter("counter", 0).unwrap()],
            frozen: (SharedArray::from_slice(&[5.0, 6.0]).unwrap().freeze().unwrap(),),
            array: Some(array),
            atomics: [("a".to_owned(), SharedAtomic::new(0).unwrap())].into(),
            bits: Box::new(SharedAtomicArray::new(100).unwrap()),
            map: SharedMap::with_capacity(1 << 16).unwrap(),
            queue: SharedQueue::new(100).unwrap(),
            segment,
        }
    }

    /// Leaves a mark of that number in each of the objects.
    fn mark(&self, number: u64) -> f64 {
        self.value.update(|value| *value += number);
        self.counters
            .iter()
            .for_each(|counter| assert!(counter.add(number as i64).is_ok()));
        self.array.as_ref().unwrap().get_lock().unwrap()[1] += number as f64;
        self.atomics["a"].fetch_add(1, Ordering::SeqCst);
        self.bits[number as usize].fetch_add(1, Ordering::SeqCst);
        self.map.insert(&number, &format!("mark {number}")).unwrap();
        self.queue.put(number).unwrap();
        let seen = self.segment.open_counter("counter").unwrap().get();
        assert!(seen >= number as i64);
        self.frozen.0.iter().sum()
    }

    fn has_marks(&self, numbers: std::ops::Range<u64>) {
        let (sum, count) = (numbers.clone().sum::<u64>(), numbers.clone().count());
        assert_eq!(self.value.get(), 1 + sum);
        assert!(self.counters.iter().all(|counter| counter.get() == sum as i64));
        assert_eq!(self.array.as_ref().unwrap().to_vec().unwrap(), [3.0, 4.0 + sum as f64]);
        assert_eq!(self.atomics["a"].load(Ordering::SeqCst), count as u32);
        let mut came: Vec<_> = (0..count).map(|_| self.queue.get_timeout(PATIENCE).unwrap()).collect();
        came.sort_unstable();
        assert!(came.into_iter().eq(numbers.clone()));
        for number in numbers {
            assert_eq!(self.bits[number as usize].load(Ordering::SeqCst), 1, "{number}");
            assert_eq!(self.map.get(&number).unwrap(), Some(format!("mark {number}")));
        }
    }
}

fn mark(all: All, number: u64) -> f64 {
    all.mark(number)
}

#[procshare::test]
fn handles_of_every_kind_arrive_in_chunks_of_every_size() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    for chunk in [1, 2, 7, 20] {
        let all = All::new();
        let jobs = pool.with_chunk_size(chunk);
        let results = jobs.starmap(mark, (0..20).map(|number| (all.clone(), number)));
        assert_eq!(results, vec![Ok(11.0); 20], "chunks of {chunk}");
        all.has_marks(0..20);
        let results = jobs.imap(
            |(all, number)| mark(all, number),
            (20..30).map(|number| (all.clone(), number)),
        );
        assert!(results.collect::<Vec<_>>().iter().all(|result| *result == Ok(11.0)));
    }
}

#[procshare::test]
fn handles_arrive_in_submitted_jobs_and_can_be_given_up_at_once() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        for round in 0..50 {
            let name = unique("given-up");
            let (all, segment) = (All::new(), Segment::create(&name, 4096).unwrap());
            let read = |all: All, segment: Segment, number: u64| {
                assert!(segment.name().is_some());
                all.mark(number)
            };
            // Without it the job would put into a queue that nobody else has.
            let _queue = all.queue.clone();
            let answer = pool.submit(read, (all, segment, round));
            assert_eq!(answer.get(), Ok(11.0), "round {round}");
            // Nobody has it any more but a worker that has yet to lie down.
            wait_until(|| shared_memory_names(&name).is_empty());
        }
    });
}

#[procshare::test]
fn a_thousand_jobs_may_bring_the_same_segment() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        let (value, atomic) = (
            SharedValue::new(0_u64).unwrap(),
            SharedAtomic::<AtomicU64>::new(0).unwrap(),
        );
        let before = descriptors();
        let add = |value: SharedValue<u64>, atomic: SharedAtomic<AtomicU64>, number: u64| {
            value.update(|value| *value += number);
            atomic.fetch_add(number, Ordering::SeqCst);
        };
        for chunk in [1, 10, 1000] {
            value.set(0);
            atomic.store(0, Ordering::SeqCst);
            let items = (0..1000).map(|number| (value.clone(), atomic.clone(), number));
            let results = pool.with_chunk_size(chunk).starmap(add, items);
            assert!(results.iter().all(Result::is_ok), "chunks of {chunk}");
            assert_eq!((value.get(), atomic.load(Ordering::SeqCst)), (499_500, 499_500));
        }
        assert_eq!(descriptors(), before);
    });
}

/// Each item has a place at the queue set aside for it, of which there are not that many.
#[procshare::test]
fn a_thousand_jobs_may_bring_the_same_queue() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    for chunk in [1, 10, 1000] {
        let queue = SharedQueue::<u64>::new(1000).unwrap();
        let put = |queue: SharedQueue<u64>, number: u64| queue.put(number).unwrap();
        let items = (0..1000).map(|number| (queue.clone(), number));
        let results = pool.with_chunk_size(chunk).starmap(put, items);
        let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
        assert!(
            failed.is_empty(),
            "chunks of {chunk}: {} fail: {:?}",
            failed.len(),
            failed[0]
        );
        let mut came: Vec<_> = (0..1000).map(|_| queue.get_timeout(PATIENCE).unwrap()).collect();
        came.sort_unstable();
        assert!(came.into_iter().eq(0..1000));
    }
}

#[procshare::test]
fn one_job_may_bring_hundreds_of_segments() {
    let _watchdog = watchdog(60);
    alone(|| {
        let pool = Pool::new(2).unwrap();
        let counters: Vec<_> = (0..300).map(|_| SharedCounter::new(0).unwrap()).collect();
        let before = descriptors();
        let count =
            |counters: Vec<SharedCounter>| counters.iter().map(|counter| counter.increment().unwrap()).sum::<i64>();
        assert_eq!(pool.apply(count, (counters.clone(),)), Ok(300));
        let results = pool.with_chunk_size(3).map(count, vec![counters.clone(); 6]);
        let sum: i64 = results.into_iter().map(Result::unwrap).sum();
        // Six callers of 300 counters that stood at one: 2 to 7 each.
        assert_eq!(sum, 300 * (2..=7).sum::<i64>());
        // A chunk whose items bring different ones.
        let results = pool
            .with_chunk_size(150)
            .map(|counter: SharedCounter| counter.get(), counters.clone());
        assert_eq!(results, vec![Ok(7); 300]);
        assert_eq!(descriptors(), before);
    });
}

#[procshare::test]
fn ends_of_pipes_and_rings_travel() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let (ours, theirs) = pipe::<u32>().unwrap();
    let answer = |theirs: Connection<u32>| {
        let asked = theirs.recv().unwrap();
        theirs.send(asked + 1).unwrap();
    };
    let answered = pool.submit(answer, (theirs,));
    ours.send(41).unwrap();
    assert_eq!((ours.recv_timeout(PATIENCE).unwrap(), answered.get()), (42, Ok(())));

    let ((left, right), (back, forth)) = (pipe::<u32>().unwrap(), pipe::<u32>().unwrap());
    let (sender, _) = left.split();
    let (_, receiver) = back.split();
    let pass = |receiver: Receiver<u32>, sender: Sender<u32>| {
        (0..50).for_each(|_| sender.send(receiver.recv().unwrap()).unwrap())
    };
    let passed = pool.submit(pass, (receiver, sender));
    (0..50).for_each(|number| forth.send(number).unwrap());
    assert!((0..50).all(|number| right.recv_timeout(PATIENCE) == Ok(number)));
    assert_eq!(passed.get(), Ok(()));

    let ((producer, mut ends), (mut begins, consumer)) = (ring::<u64>(4).unwrap(), ring::<u64>(4).unwrap());
    let pump = |mut consumer: Consumer<u64>, mut producer: Producer<u64>| {
        (0..100).for_each(|_| producer.push(consumer.pop().unwrap()).unwrap());
    };
    let pumped = pool.submit(pump, (consumer, producer));
    for number in 0..100 {
        begins.push(number).unwrap();
        assert_eq!(ends.pop(), Ok(number));
    }
    assert_eq!(pumped.get(), Ok(()));
    // Its handle went with the job.
    assert!(ends.pop().is_err());
}

/// A job that is begun anew finds the end it brings along, which the dead worker had taken.
#[procshare::test]
fn ends_of_pipes_and_rings_reach_a_second_worker() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap().with_retries(3);
    let now = Flag::new();
    now.raise();
    let runs = SharedCounter::new(0).unwrap();
    let (ours, theirs) = pipe::<u32>().unwrap();
    let (sender, _receiver) = theirs.split();
    let send = |sender: Sender<u32>, runs: SharedCounter, now: Flag| {
        die_twice(&runs, &now);
        sender.send(7).unwrap();
    };
    let mut sent = pool.submit(send, (sender, runs.clone(), now.clone()));
    assert_eq!(sent.get_timeout(PATIENCE), Ok(()), "a sender");
    assert_eq!((ours.recv_timeout(PATIENCE), runs.get()), (Ok(7), 3));

    let runs = SharedCounter::new(0).unwrap();
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let push = |mut producer: Producer<u64>, runs: SharedCounter, now: Flag| {
        die_twice(&runs, &now);
        producer.push(8).unwrap();
    };
    let mut pushed = pool.submit(push, (producer, runs.clone(), now.clone()));
    assert_eq!(pushed.get_timeout(PATIENCE), Ok(()), "a producer");
    assert_eq!((consumer.pop(), runs.get()), (Ok(8), 3));

    let runs = SharedCounter::new(0).unwrap();
    let queue = SharedQueue::<u32>::new(4).unwrap();
    let put = |queue: SharedQueue<u32>, runs: SharedCounter, now: Flag| {
        die_twice(&runs, &now);
        queue.put(9).unwrap();
    };
    let mut was_put = pool.submit(put, (queue.clone(), runs.clone(), now.clone()));
    assert_eq!(was_put.get_timeout(PATIENCE), Ok(()), "a queue");
    assert_eq!((queue.get_timeout(PATIENCE), runs.get()), (Ok(9), 3));
}

/// Dies twice, when it is told to.
fn die_twice(runs: &SharedCounter, go: &Flag) {
    if runs.increment().unwrap() < 3 {
        go.wait_for(1);
        std::process::abort();
    }
}

/// An end goes with the worker that had it: who waits at the other hears of that, or of the next run if that is quicker.
#[procshare::test]
fn a_pipe_hears_of_a_death_or_of_the_next_run() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap().with_retries(3);
    let (runs, go) = (SharedCounter::new(0).unwrap(), Flag::new());
    let (ours, theirs) = pipe::<u32>().unwrap();
    let send = |theirs: Connection<u32>, runs: SharedCounter, go: Flag| {
        die_twice(&runs, &go);
        theirs.send(7).unwrap();
    };
    let sent = pool.submit(send, (theirs, runs, go.clone()));
    let (came, ()) = while_waiting(|| ours.recv_timeout(PATIENCE), || go.raise());
    assert!(matches!(came, Ok(7) | Err(RecvError::Disconnected)), "{came:?}");
    assert_eq!(sent.get(), Ok(()));
    assert!(came == Ok(7) || ours.recv_timeout(PATIENCE) == Ok(7));
}

#[procshare::test]
fn a_ring_hears_of_a_death_or_of_the_next_run() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap().with_retries(3);
    let (runs, go) = (SharedCounter::new(0).unwrap(), Flag::new());
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let push = |mut producer: Producer<u64>, runs: SharedCounter, go: Flag| {
        die_twice(&runs, &go);
        producer.push(8).unwrap();
    };
    let pushed = pool.submit(push, (producer, runs, go.clone()));
    let (came, ()) = while_waiting(|| consumer.pop_timeout(PATIENCE), || go.raise());
    assert!(matches!(came, Ok(8) | Err(RecvError::Disconnected)), "{came:?}");
    assert_eq!(pushed.get(), Ok(()));
    assert!(came == Ok(8) || consumer.pop_timeout(PATIENCE) == Ok(8));
}

/// Who waits for the other end hears that nobody has it any more, however the job has ended.
#[procshare::test]
fn an_end_goes_with_its_job() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let lose = |ours: Connection<u32>, pending: procshare::pool::Pending<()>, how: &str| {
        pending.wait();
        let outcome = ours.recv_timeout(PATIENCE);
        let is_over = matches!(&outcome, Err(error) if !format!("{error:?}").contains("TimedOut"));
        assert!(is_over, "{how}: {outcome:?}");
    };
    let (ours, theirs) = pipe::<u32>().unwrap();
    lose(ours, pool.submit(|_: Connection<u32>| (), (theirs,)), "returned");
    let (ours, theirs) = pipe::<u32>().unwrap();
    let dies = pool.submit(|_: Connection<u32>| std::process::abort(), (theirs,));
    lose(ours, dies, "died");
    let (ours, theirs) = pipe::<u32>().unwrap();
    let panics = pool.submit(|_: Connection<u32>| panic!("on purpose"), (theirs,));
    lose(ours, panics, "panicked");
    // Cancelled before it has begun.
    let (came, go) = (Flag::new(), Flag::new());
    let held = pool.submit(hold, (came.clone(), go.clone()));
    came.wait_for(1);
    let (ours, theirs) = pipe::<u32>().unwrap();
    let cancelled = pool.submit(|_: Connection<u32>| (), (theirs,));
    assert!(cancelled.cancel());
    lose(ours, cancelled, "cancelled");
    go.raise();
    held.get().unwrap();
    // Never run at all.
    let (ours, theirs) = pipe::<u32>().unwrap();
    let never = pool.submit(|| -> u8 { for_ever() }, ());
    let waiting = pool.submit(|_: Connection<u32>| (), (theirs,));
    pool.terminate();
    lose(ours, waiting, "terminated");
    assert_eq!(never.get(), Err(JobError::Terminated));
    let (ours, theirs) = pipe::<u32>().unwrap();
    lose(ours, pool.submit(|_: Connection<u32>| (), (theirs,)), "refused");
}

#[procshare::test]
fn an_end_comes_back_from_a_pool_that_is_just_ending() {
    let _watchdog = watchdog(60);
    for round in 0..60 {
        let pool = Pool::new(1).unwrap();
        let end_of = |(ours, theirs): (Connection<u32>, Connection<u32>)| {
            drop(pool.submit(|_: Connection<u32>| (), (theirs,)));
            ours
        };
        drop(pool.submit(|| -> u8 { for_ever() }, ()));
        let waits = end_of(pipe().unwrap());
        pool.terminate();
        assert_eq!(
            waits.recv_timeout(PATIENCE),
            Err(RecvError::Disconnected),
            "round {round}"
        );
        // The pool's thread has let go of that one, and does little more.
        let refused = end_of(pipe().unwrap());
        assert_eq!(
            refused.recv_timeout(PATIENCE),
            Err(RecvError::Disconnected),
            "round {round}"
        );
    }
}

#[procshare::test]
fn results_hold_no_handles() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(1).unwrap();
    let all = All::new();
    let refused = pool.apply(|all: All| all, (all.clone(),)).map(drop);
    assert!(matches!(&refused, Err(JobError::NotTransferable(_))), "{refused:?}");
    let odd = |number: u64, counter: SharedCounter| (number % 2 == 1).then_some(counter);
    let items = (0..10).map(|number| (number, all.counters[0].clone()));
    for (number, result) in pool.with_chunk_size(5).starmap(odd, items).into_iter().enumerate() {
        match result.map(|counter| counter.is_none()) {
            Ok(is_none) => assert!(is_none && number % 2 == 0, "{number}"),
            Err(error) => assert!(
                matches!(error, JobError::NotTransferable(_)) && number % 2 == 1,
                "{number}: {error:?}"
            ),
        }
    }
    let made = pool.apply(|| SharedCounter::new(0).unwrap(), ()).map(drop);
    assert!(matches!(made, Err(JobError::NotTransferable(_))), "{made:?}");
}

/// Item 3 cannot be encoded; all other items have their results, whatever travels with them.
#[procshare::test]
fn an_item_that_cannot_be_encoded_or_decoded_costs_no_other() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let counter = SharedCounter::new(0).unwrap();
    let count = |_: Option<Stubborn>, counter: SharedCounter| counter.increment().unwrap();
    for chunk in [1, 4, 10] {
        for can_be_encoded in [true, false] {
            let item = |number| ((number == 3).then_some(Stubborn(!can_be_encoded)), counter.clone());
            let results = pool.with_chunk_size(chunk).starmap(count, (0..10).map(item));
            for (number, result) in results.iter().enumerate() {
                let is_refused = matches!(result, Err(JobError::Encoding(_)));
                assert_eq!(
                    (is_refused, result.is_ok()),
                    (number == 3, number != 3),
                    "{number}: {result:?}"
                );
            }
        }
    }
    assert_eq!(counter.get(), 3 * 2 * 9);
    let stubborn = |number: u64| (number == 3).then_some(Stubborn(true));
    let results = pool.with_chunk_size(4).map(stubborn, 0..10);
    for (number, result) in results.into_iter().map(|result| result.map(drop)).enumerate() {
        assert_eq!(result.is_ok(), number != 3, "{number}: {result:?}");
        assert!(
            result.is_ok() || matches!(result, Err(JobError::Encoding(_))),
            "{number}: {result:?}"
        );
    }
    // Written well, but not to be read here.
    let one_way = |number: u64| (number == 3).then_some(Stubborn(false));
    for (number, result) in pool.with_chunk_size(4).map(one_way, 0..10).into_iter().enumerate() {
        let result = result.map(drop);
        assert!(
            (number == 3) == matches!(result, Err(JobError::Encoding(_))),
            "{number}: {result:?}"
        );
        assert!(number == 3 || result.is_ok(), "{number}: {result:?}");
    }
}

fn number_of(bomb: Bomb) -> u8 {
    bomb.0
}

/// A panic while items are decoded, and results encoded, is the worker's, which goes on.
#[procshare::test]
fn a_panic_in_a_worker_while_it_decodes_or_encodes_costs_one_item() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let workers = pool.worker_ids();
    // Decoding 2 panics, in the worker.
    let results = pool
        .with_chunk_size(4)
        .map(number_of, [0, 3, 2, 4, 5, 6, 2, 7].map(Bomb));
    // Encoding 1 panics, there as well.
    let numbers = [0_u8, 3, 1, 4, 5, 6, 1, 7];
    let encoded = pool.with_chunk_size(4).map(Bomb, numbers);
    for at in 0..8 {
        let is_bad = at % 4 == 2;
        assert_eq!(
            matches!(results[at], Err(JobError::Panicked { .. })),
            is_bad,
            "{:?}",
            results[at]
        );
        assert_eq!(
            matches!(encoded[at], Err(JobError::Panicked { .. })),
            is_bad,
            "{:?}",
            encoded[at]
        );
        assert!(is_bad || results[at].is_ok() && encoded[at] == Ok(Bomb(numbers[at])));
    }
    assert_eq!(pool.worker_ids(), workers);
}

/// A panic while items are encoded, or results decoded, is the caller's; the pool goes on.
#[procshare::test]
fn a_panic_in_the_parent_while_it_encodes_or_decodes_is_its_own() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let panics = |work: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
    for chunk in [1, 3] {
        let jobs = pool.with_chunk_size(chunk);
        assert!(panics(&|| drop(jobs.map(number_of, [0, 3, 1, 4].map(Bomb)))));
        assert!(panics(&|| drop(
            jobs.imap(number_of, [0, 3, 1, 4].map(Bomb)).collect::<Vec<_>>()
        )));
        assert!(panics(&|| assert_ne!(
            jobs.imap_unordered(number_of, [0, 1].map(Bomb)).count(),
            0
        )));
        assert!(panics(&|| drop(jobs.submit(number_of, (Bomb(1),)).get())));
        assert!(panics(&|| drop(jobs.map(Bomb, [0, 3, 2, 4]))));
        assert!(panics(&|| drop(jobs.imap(Bomb, [0, 3, 2, 4]).collect::<Vec<_>>())));
        assert!(panics(&|| drop(jobs.submit(Bomb, (2,)).get())));
        assert_eq!(jobs.map(Bomb, [3, 4, 5]), [Ok(Bomb(3)), Ok(Bomb(4)), Ok(Bomb(5))]);
    }
    wait_until(|| pool.progress().left() == 0);
    assert_eq!(pool.progress().workers, 2);
}
