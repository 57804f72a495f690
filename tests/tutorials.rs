//! Programs as tutorials of queues between processes have them: who is left is told as their authors expect.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, alone, child, for_ever, kill, unique, wait_until, watchdog, while_waiting};
use procshare::process::StartMethod;
use procshare::{Pool, Process, RecvError, Segment, SendError, SharedQueue};
use std::time::{Duration, Instant};

const STOP: i64 = -1;
/// How soon a call ends that nobody can help any more; on a machine of our own it takes 100 ms.
const SOON: Duration = Duration::from_secs(1);

fn square(queue: SharedQueue<i64>, number: i64) {
    queue.put(number * number).unwrap();
}

/// Runs the body in a process with one thread, which can be forked: the harness of a test has several.
fn with_one_thread<F: procshare::process::Entry<(), Output = ()>>(body: F) {
    let builder = Process::builder().daemon(true).start_method(StartMethod::ForkServer);
    builder.spawn(body, ()).unwrap().join().unwrap();
}

/// Starts children that put their results, and joins them.
fn put_squares(queue: &SharedQueue<i64>, count: i64) {
    let children: Vec<_> = (1..=count)
        .map(|number| child(square, (queue.clone(), number)))
        .collect();
    children.into_iter().for_each(|child| child.join().unwrap());
}

/// What stands in the queue before the stop.
fn sum_to_stop(queue: &SharedQueue<i64>) -> i64 {
    let mut sum = 0;
    loop {
        match queue.get().unwrap() {
            STOP => return sum,
            result => sum += result,
        }
    }
}

fn soon<R>(step: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let outcome = step();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    outcome
}

#[procshare::test]
fn the_parent_puts_the_stop_when_its_children_are_joined() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::new(16).unwrap();
    put_squares(&queue, 4);
    queue.put(STOP).unwrap();
    assert_eq!(sum_to_stop(&queue), 30);
    // And once more than there is.
    assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
    assert_eq!(queue.try_get(), Err(RecvError::Disconnected));
    assert_eq!(soon(|| queue.get_timeout(Duration::MAX)), Err(RecvError::Disconnected));
    assert_eq!(
        soon(|| queue.get_deadline(Instant::now() + SOON)),
        Err(RecvError::Disconnected)
    );
    // It is open all the same.
    queue.put_all([5, 6]).unwrap();
    assert!(queue.get_up_to(8).unwrap().map(Result::unwrap).eq([5, 6]));
    assert!(soon(|| queue.get_up_to(8)).is_err());
    assert_eq!(queue.iter().next(), None);
}

#[procshare::test]
fn a_put_that_finds_room_succeeds_whoever_is_left() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::new(2).unwrap();
    let get = |queue: SharedQueue<i64>| queue.get().unwrap();
    let consumer = child(get, (queue.clone(),));
    queue.put(1).unwrap();
    assert_eq!(consumer.join(), Ok(1));
    queue.put(2).unwrap();
    queue.put_timeout(3, SOON).unwrap();
    assert_eq!(queue.try_put(4), Err(SendError::Disconnected(4)));
    assert_eq!(soon(|| queue.put(4)), Err(SendError::Disconnected(4)));
    assert_eq!(soon(|| queue.put_all([4, 5])), Err(SendError::Disconnected(vec![4, 5])));
    assert_eq!((queue.get(), queue.get()), (Ok(2), Ok(3)));
    queue.put(6).unwrap();
    assert_eq!(queue.get(), Ok(6));
}

#[procshare::test]
fn tasks_go_through_one_queue_and_results_through_another() {
    let _watchdog = watchdog(60);
    fn work(tasks: SharedQueue<i64>, results: SharedQueue<i64>) {
        loop {
            match tasks.get().unwrap() {
                STOP => return,
                task => results.put(task * task).unwrap(),
            }
        }
    }
    let (tasks, results) = (SharedQueue::new(32).unwrap(), SharedQueue::new(32).unwrap());
    let workers: Vec<_> = (0..3).map(|_| child(work, (tasks.clone(), results.clone()))).collect();
    tasks.put_all(1..=10).unwrap();
    (0..3).for_each(|_| tasks.put(STOP).unwrap());
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    results.put(STOP).unwrap();
    assert_eq!(sum_to_stop(&results), 385);
    assert_eq!(soon(|| results.get()), Err(RecvError::Disconnected));
    assert_eq!(soon(|| tasks.get()), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_clone_that_a_thread_holds_is_somebody() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::new(16).unwrap();
    put_squares(&queue, 2);
    let other = queue.clone();
    let (got, ()) = while_waiting(
        || (0..3).map(|_| queue.get().unwrap()).sum::<i64>(),
        || {
            wait_until(|| queue.is_empty());
            other.put(37).unwrap();
        },
    );
    assert_eq!(got, 42);
    drop(other);
    assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
}

#[procshare::test]
fn jobs_of_a_pool_put_into_one_queue() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::new(16).unwrap();
    let pool = Pool::new(2).unwrap();
    let jobs: Vec<_> = (1..=4)
        .map(|number| pool.submit(square, (queue.clone(), number)))
        .collect();
    jobs.into_iter().for_each(|job| job.get().unwrap());
    queue.put(STOP).unwrap();
    assert_eq!(sum_to_stop(&queue), 30);
    drop(pool);
    assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
}

/// A job is not kept waiting by the pool that runs it, nor by those that do as it does.
#[procshare::test]
fn jobs_that_nobody_is_left_for_do_not_wait() {
    let _watchdog = watchdog(60);
    let pool = Pool::new(2).unwrap();
    let get = |queue: SharedQueue<i64>| assert_eq!(queue.get(), Err(RecvError::Disconnected));
    let put = |queue: SharedQueue<i64>| {
        queue.put(1).unwrap();
        assert_eq!(queue.put(2), Err(SendError::Disconnected(2)));
    };
    let queue = || SharedQueue::new(1).unwrap();
    soon(|| pool.submit(get, (queue(),)).get().unwrap());
    soon(|| pool.submit(put, (queue(),)).get().unwrap());
    let tasks = queue();
    let both = [(); 2].map(|()| pool.submit(get, (tasks.clone(),)));
    drop(tasks);
    soon(|| both.map(|job| job.get().unwrap()));
    // One job after the other has its own in the same chunk.
    let chunk = (0..3).map(|_| (queue(),));
    soon(|| pool.starmap(get, chunk).into_iter().for_each(Result::unwrap));
}

/// A job that has yet to begin is somebody who may come.
#[procshare::test]
fn jobs_that_have_not_begun_are_waited_for() {
    let _watchdog = watchdog(60);
    let (queue, go) = (SharedQueue::new(16).unwrap(), Flag::new());
    let pool = Pool::new(1).unwrap();
    let first = pool.submit(|go: Flag| go.wait_for(1), (go.clone(),));
    let second = pool.submit(square, (queue.clone(), 3));
    assert_eq!(queue.get_timeout(SOON / 2), Err(RecvError::TimedOut));
    go.raise();
    assert_eq!(queue.get(), Ok(9));
    first.get().unwrap();
    second.get().unwrap();
    assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_forked_child_has_what_it_inherits() {
    let _watchdog = watchdog(60);
    with_one_thread(|| {
        let queue = SharedQueue::new(16).unwrap();
        for number in 1..=4 {
            let theirs = queue.clone();
            let forked = Process::fork(move || square(theirs, number)).unwrap();
            forked.join().unwrap();
        }
        queue.put(STOP).unwrap();
        assert_eq!(sum_to_stop(&queue), 30);
        assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
    });
}

/// It has not said so yet when its parent waits.
#[procshare::test]
fn a_forked_child_that_is_slow_is_waited_for() {
    let _watchdog = watchdog(60);
    with_one_thread(|| {
        for is_used in [false, true] {
            let (queue, go) = (SharedQueue::new(16).unwrap(), Flag::new());
            if is_used {
                put_squares(&queue, 1);
                assert_eq!(queue.get(), Ok(1));
            }
            let theirs = (queue.clone(), go.clone());
            let slowly = move || {
                let (queue, go) = theirs;
                go.wait_for(1);
                queue.put(7).unwrap();
            };
            let forked = Process::builder().daemon(true).fork(slowly).unwrap();
            assert_eq!(queue.get_timeout(SOON / 5), Err(RecvError::TimedOut), "{is_used}");
            go.raise();
            assert_eq!(queue.get(), Ok(7));
            forked.join().unwrap();
            assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
        }
    });
}

#[procshare::test]
fn forked_consumers_do_not_wait_for_what_they_were_left() {
    let _watchdog = watchdog(60);
    with_one_thread(|| {
        let (queue, ready) = (SharedQueue::new(16).unwrap(), Flag::new());
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (theirs, ready) = (queue.clone(), ready.clone());
                let count = move || {
                    ready.raise();
                    theirs.iter().map(Result::unwrap).count()
                };
                Process::builder().daemon(true).fork(count).unwrap()
            })
            .collect();
        queue.put_all(0..10).unwrap();
        ready.wait_for(2);
        drop(queue);
        let counts = workers.into_iter().map(|worker| soon(|| worker.join().unwrap()));
        assert_eq!(counts.sum::<usize>(), 10);
    });
}

#[procshare::test]
fn children_of_every_method_are_somebody_until_they_end() {
    let _watchdog = watchdog(60);
    with_one_thread(|| {
        for method in [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork] {
            let queue = SharedQueue::new(16).unwrap();
            let builder = Process::builder().start_method(method).daemon(true);
            let put = builder.spawn(square, (queue.clone(), 6)).unwrap();
            assert_eq!(soon(|| queue.get()), Ok(36));
            put.join().unwrap();
            assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected), "{method:?}");
        }
    });
}

/// What is leaked is held until its process has ended.
#[procshare::test]
fn a_handle_that_a_child_leaks_goes_with_the_child() {
    let _watchdog = watchdog(60);
    let (queue, go) = (SharedQueue::<i64>::new(16).unwrap(), Flag::new());
    let leak = |queue: SharedQueue<i64>, go: Flag| {
        std::mem::forget(move || queue.put(1));
        go.wait_for(1);
    };
    let leaking = child(leak, (queue.clone(), go.clone()));
    assert_eq!(queue.get_timeout(SOON / 5), Err(RecvError::TimedOut));
    go.raise();
    leaking.join().unwrap();
    assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_parent_with_a_full_queue_hears_that_its_workers_are_gone() {
    let _watchdog = watchdog(60);
    let (queue, ready) = (SharedQueue::new(2).unwrap(), Flag::new());
    let work = |queue: SharedQueue<i64>, ready: Flag| -> () {
        queue.get().unwrap();
        ready.raise();
        for_ever();
    };
    let workers: Vec<_> = (0..2).map(|_| child(work, (queue.clone(), ready.clone()))).collect();
    queue.put_all([1, 2]).unwrap();
    ready.wait_for(2);
    queue.put_all([3, 4]).unwrap();
    let (put, _) = while_waiting(|| queue.put(5), || workers.into_iter().map(kill).count());
    assert_eq!(put, Err(SendError::Disconnected(5)));
    assert!(queue.iter().map(Result::unwrap).eq([3, 4]));
}

/// Two that can only take from each other are not kept waiting by the other.
#[procshare::test]
fn consumers_whose_producers_are_gone_do_not_wait_for_one_another() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::new(16).unwrap();
    let count = |queue: SharedQueue<i64>| queue.iter().map(Result::unwrap).count();
    let workers: Vec<_> = (0..2).map(|_| child(count, (queue.clone(),))).collect();
    let producer = child(put_ten_and_stay, (queue.clone(),));
    drop(queue.clone());
    wait_until(|| queue.is_empty());
    drop(queue);
    kill(producer);
    assert!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>() <= 10);
}

fn put_ten_and_stay(queue: SharedQueue<i64>) {
    queue.put_all(0..10).unwrap();
    for_ever()
}

#[procshare::test]
fn a_queue_that_nobody_can_find_is_waited_at_by_nobody() {
    let _watchdog = watchdog(60);
    let queue = SharedQueue::<i64>::new(1).unwrap();
    assert_eq!(soon(|| queue.get()), Err(RecvError::Disconnected));
    assert_eq!(queue.try_get(), Err(RecvError::Empty));
    assert_eq!(queue.get_timeout(SOON / 100), Err(RecvError::TimedOut));
    queue.put(1).unwrap();
    assert_eq!(soon(|| queue.put(2)), Err(SendError::Disconnected(2)));
    assert_eq!(queue.try_put(2), Err(SendError::Full(2)));
    assert_eq!(queue.put_timeout(2, SOON / 100), Err(SendError::TimedOut(2)));
    assert_eq!((queue.get(), soon(|| queue.iter().next())), (Ok(1), None));
}

#[procshare::test]
fn a_queue_that_can_be_found_waits_for_its_first_peer() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("first-peer");
        let named = SharedQueue::<i64>::create(&name, 4).unwrap();
        let put = |name: String| SharedQueue::open(name).unwrap().put(1i64).unwrap();
        let (got, ()) = while_waiting(|| named.get(), || child(put, (name.clone(),)).join().unwrap());
        assert_eq!((got, soon(|| named.get())), (Ok(1), Err(RecvError::Disconnected)));
        // In a segment that others have, it can be found as well.
        let segment = Segment::new(1 << 16).unwrap();
        let placed = segment.queue::<i64>("results", 4).unwrap();
        let put = |segment: Segment| segment.open_queue("results").unwrap().put(2i64).unwrap();
        let (got, ()) = while_waiting(|| placed.get(), || child(put, (segment,)).join().unwrap());
        assert_eq!((got, soon(|| placed.get())), (Ok(2), Err(RecvError::Disconnected)));
    });
}
