//! Deaths inside `put`, `get` and `close`.

use crate::common::watchdog;
use crate::role::{Role, listen, say};
use crate::sleepers;
use crate::stage::{CONSUMERS, Item, LATE, PRODUCERS, Stage, alone, dies, drain, item, open, sweep, timed, was_killed};
use procshare::{Capacity, RecvError, Segment, SendError, SharedQueue};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("put", |arguments| put_one(open(arguments))),
    ("put all", |arguments| {
        let queue = open(arguments);
        let _company = queue.clone();
        let items = (11..=13).map(item).collect::<Vec<_>>();
        queue.put_all(items).expect("there is room");
    }),
    ("get", |arguments| {
        open(arguments).get().expect("something is there");
    }),
    ("get up to two", |arguments| {
        let count = open(arguments).get_up_to(2).expect("something is there").count();
        assert!((1..=2).contains(&count));
    }),
    ("close", |arguments| open(arguments).close()),
    ("come, then put", |arguments| {
        let queue = open(arguments);
        say("here");
        listen();
        queue.put(item(11)).expect("somebody sleeps for it");
    }),
    ("come, then get", |arguments| {
        let queue = open(arguments);
        say("here");
        listen();
        queue.get().expect("it is full");
    }),
    ("put on and on", |arguments| {
        let queue = open(arguments);
        say("begins");
        for number in 1001.. {
            queue.put(item(number)).expect("somebody takes it");
        }
    }),
    ("get on and on", |arguments| {
        let queue = open(arguments);
        say("begins");
        while queue.get().is_ok() {}
    }),
    ("put small texts", |arguments| {
        let builder = Segment::builder().folder(&arguments[0]);
        let segment = builder.open("wide").expect("the test made it");
        let queue: SharedQueue<String> = segment.open_queue("queue").expect("the test made it");
        while queue.put("small".to_owned()).is_ok() {}
    }),
];

/// Puts an item, with a handle beside that may come to get: else nobody would be left who could.
pub(crate) fn put_one(queue: SharedQueue<Item>) {
    let _company = queue.clone();
    queue.put(item(11)).expect("there is room");
}

/// A producer dies: it has delivered everything or nothing, and no sleeper is left to itself.
pub(crate) fn putting(point: &'static str, delivered: bool) {
    for (role, put) in [("put", &[11][..]), ("put all", &[11, 12, 13])] {
        for _ in 0..2 {
            let stage = Stage::new(2);
            dies(point, stage.victim(point, role));
            let expected = [&[1, 2][..], if delivered { put } else { &[] }].concat();
            assert_eq!(stage.left(point), expected, "{point}: {role}");
            stage.ends_as_new(point);
        }
    }
    sleepers::hear_of_a_put(point, delivered);
}

/// A consumer dies: it has taken all it wanted, or nothing, and no sleeper is left to itself.
pub(crate) fn getting(point: &'static str, taken: bool) {
    // Of a batch it is for the queue to say how much it is.
    for (role, most) in [("get", 1), ("get up to two", 2)] {
        let outcomes = [(); 2].map(|()| {
            let stage = Stage::new(4);
            dies(point, stage.victim(point, role));
            let left = stage.left(point);
            stage.ends_as_new(point);
            left
        });
        let counts = if taken { 1..=most } else { 0..=0 };
        let may_be: Vec<_> = counts.map(|count| [1, 2, 3, 4][count..].to_vec()).collect();
        assert!(may_be.contains(&outcomes[0]), "{point}: {role}: {outcomes:?}");
        assert_eq!(outcomes[0], outcomes[1], "{point}: {role}");
    }
    sleepers::hear_of_a_get(point, taken);
}

/// A process dies while it closes the queue, which is then closed, whichever half was done.
pub(crate) fn closing(point: &'static str) {
    let outcomes = sweep(point, |passage| {
        let stage = Stage::new(2);
        if !was_killed(passage, &mut stage.victim(passage, "close")) {
            return None;
        }
        let queue = stage.queue();
        assert!(queue.is_closed(), "{passage}");
        match timed(point, || queue.put_timeout(item(99), LATE)) {
            Err(SendError::Closed(back)) => assert_eq!(back, item(99)),
            outcome => panic!("{passage}: {outcome:?}"),
        }
        assert_eq!(drain(point, &queue), (vec![1, 2], RecvError::Closed), "{passage}");
        timed(point, || queue.close());
        assert_eq!(queue.get(), Err(RecvError::Closed), "{passage}");
        Some(())
    });
    assert_eq!(outcomes.len(), 3, "that it closes, and both halves");
    for passage in ["queue.close.stored:1", "queue.close.stored:2", "queue.close.stored:3"] {
        sleepers::hear_of_a_close(passage, point);
    }
}

/// Whether the locks of producers and consumers are held by the dead.
fn held(stage: &Stage) -> [bool; 2] {
    [PRODUCERS, CONSUMERS].map(|lock| stage.word(lock) != 0)
}

/// The child dies at every passage of a lock's point, on its way into the queue, inside and out.
#[test]
fn the_locks_of_a_queue_survive_their_holders() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    for (role, lock) in [("put", PRODUCERS), ("get", CONSUMERS), ("close", PRODUCERS)] {
        for point in ["lock.acquired", "unlock.begin", "unlock.released"] {
            let outcomes = sweep(point, |passage| {
                let stage = Stage::new(2);
                if !was_killed(passage, &mut stage.victim(passage, role)) {
                    return None;
                }
                let inside = held(&stage)[usize::from(lock == CONSUMERS)];
                if role == "close" {
                    let queue = stage.queue();
                    let closed = queue.is_closed();
                    timed(point, || queue.close());
                    let outcome = drain(point, &queue);
                    assert_eq!(outcome, (vec![1, 2], RecvError::Closed), "{passage}");
                    return Some((inside, closed));
                }
                let left = stage.left(point);
                stage.ends_as_new(point);
                let done = match (role, left.as_slice()) {
                    ("put", [1, 2]) | ("get", [1, 2]) => false,
                    ("put", [1, 2, 11]) | ("get", [2]) => true,
                    _ => panic!("{passage}: {left:?}"),
                };
                Some((inside, done))
            });
            let done: Vec<bool> = outcomes.iter().map(|(_, done)| *done).collect();
            assert!(done.is_sorted(), "{role}, {point}: once done, it stays so: {done:?}");
            let inside = outcomes.iter().filter(|(inside, _)| *inside).map(|(_, done)| *done);
            let expected: &[bool] = match point {
                // It is closed before any lock is taken.
                "lock.acquired" if role == "close" => &[true],
                "lock.acquired" => &[false],
                "unlock.begin" => &[true],
                _ => &[],
            };
            assert_eq!(
                inside.collect::<Vec<_>>(),
                expected,
                "{role}, {point}: inside the queue's lock"
            );
        }
    }
}

/// The child finds the lock with a dead holder, and dies as it waits or takes over; and so does the next.
#[test]
fn heirs_of_a_queue_may_die_as_well() {
    let (_watchdog, _alone) = (watchdog(120), alone());
    for (role, first) in [("put", "queue.put.copied"), ("get", "queue.get.copied")] {
        for point in ["lock.waiting", "lock.taken_over"] {
            let stage = Stage::new(2);
            dies(first, stage.victim(first, role));
            for _ in 0..2 {
                dies(point, stage.victim(point, role));
                assert!(
                    held(&stage).contains(&true),
                    "{point}: the heir has it, or never got it"
                );
            }
            assert_eq!(stage.left(point), [1, 2], "{role}, {point}");
            stage.ends_as_new(point);
        }
    }
}

/// The child sleeps for the lock while we copy a large text under it, and dies as it is woken.
#[test]
fn a_waiter_for_the_lock_of_a_queue_may_die() {
    let (_watchdog, _alone, point) = (watchdog(120), alone(), "lock.woken");
    let stage = Stage::new(0);
    let builder = stage.folder.builder().capacity(17 << 20);
    let segment = builder.create("wide").expect("the folder is ours");
    let capacity = Capacity::items(1000).bytes(16 << 20);
    let putter: SharedQueue<String> = segment.queue("queue", capacity).expect("there is room");
    let taker = putter.clone();
    let large = "x".repeat(8 << 20);
    let mut child = stage.victim(point, "put small texts");
    let count_large = {
        let large = large.clone();
        std::thread::spawn(move || {
            let texts = taker.iter().map(|text| text.expect("it is text"));
            texts
                .inspect(|text| assert!(*text == large || text == "small", "torn"))
                .filter(|text| *text == large)
                .count()
        })
    };
    let mut count = 0;
    while !child.is_over() {
        putter.put(large.clone()).expect("somebody takes it");
        count += 1;
    }
    dies(point, child);
    eprintln!("died in round {count}");
    timed(point, || putter.put(large)).expect("somebody takes it");
    drop(putter);
    let counted = timed(point, || count_large.join().expect("it does not panic"));
    assert_eq!(counted, count + 1);
}
