//! Beside a peer stopped in a queue: in one of its sides, its seats, or its bells.

use crate::Scene;
use crate::forked::{Child as Copy, state_of};
use crate::peer::{Calls, Peer, SHORT, STOP, die_with_parent, signal, until_stopped};
use crate::role::{Folder, Role, listen, say};
use procshare::{Process, RecvError, Segment, SendError, SharedQueue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A number, and bytes of it: as many as no queue has room for in its ring, if the number is large.
type Item = (u64, Vec<u8>);
const LARGE: u64 = 1000;
/// So large that it has an extent to itself.
const LONG: u64 = 2000;

fn item(number: u64) -> Item {
    let length = match number {
        LONG.. => 1_200_000,
        LARGE.. => 100_000,
        _ => number % 30,
    };
    (number, vec![number as u8; length as usize])
}

fn number_of(found: Item) -> u64 {
    assert_eq!(found, item(found.0), "torn");
    found.0
}

const SEGMENT: &str = "shared";
const ITEMS: usize = 6;
/// Long enough for everybody.
const LATE: Duration = Duration::from_secs(30);

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "putter",
        points: &[
            "lock.acquired:2",
            "queue.put.copied",
            "queue.put.published",
            "unlock.begin:2",
            "unlock.released:2",
            "queue.put.unlocked",
        ],
        play: |at| beside_each(at, |stage| stage.peer("put one", at)),
    },
    Scene {
        name: "getter",
        points: &[
            "lock.acquired:2",
            "queue.get.copied",
            "queue.get.taken",
            "unlock.begin:2",
            "queue.get.unlocked",
        ],
        play: |at| beside_each(at, |stage| stage.peer("get one", at)),
    },
    Scene {
        name: "putter of a large item",
        points: &["queue.put.outside", "queue.put.copied", "queue.put.published"],
        play: |at| beside_each(at, |stage| stage.peer("put a large one", at)),
    },
    Scene {
        name: "getter of a large item",
        points: &["queue.get.returned", "queue.get.taken"],
        play: |at| {
            beside_each(at, |stage| {
                stage.holds_only(LARGE);
                stage.peer("get one", at)
            })
        },
    },
    Scene {
        name: "putter of a long item",
        points: &["queue.extent.locked", "queue.extent.written", "queue.extent.placed"],
        play: |at| beside_each(at, |stage| stage.peer("put a long one", at)),
    },
    Scene {
        name: "getter of a long item",
        points: &["queue.extent.locked", "queue.extent.taken", "queue.extent.cleared"],
        play: |at| {
            beside_each(at, |stage| {
                stage.holds_only(LONG);
                stage.peer("get one", at)
            })
        },
    },
    Scene {
        name: "closer",
        points: &["queue.close.stored:1", "queue.close.stored:2"],
        play: |at| beside_each(at, |stage| stage.peer("close", at)),
    },
    Scene {
        name: "who looks for a seat",
        points: &["lock.acquired:1", "seat.counted:1", "seat.taken:1", "unlock.begin:1"],
        play: |at| beside(at, true, |stage| stage.peer("come and go", at)),
    },
    Scene {
        name: "who looks for a seat, beside a copy",
        points: &["lock.acquired:1"],
        play: beside_a_copy,
    },
    Scene {
        name: "who has a seat",
        points: &["unlock.released:1", "seat.counted:2", "seat.freed:1"],
        play: |at| beside_each(at, |stage| stage.peer("come and go", at)),
    },
    Scene {
        name: "sleeper for items",
        points: &["bell.sleeping", "bell.woken"],
        play: |at| beside_each(at, |stage| stage.sleeper(at, "get one")),
    },
    Scene {
        name: "sleeper for room",
        points: &["bell.sleeping", "bell.woken"],
        play: |at| beside_each(at, |stage| stage.sleeper(at, "put one")),
    },
    Scene {
        name: "waker",
        points: &["bell.lowered"],
        play: |at| beside_each(at, |stage| stage.waker(at)),
    },
    Scene {
        name: "spawner",
        points: &["seat.ticket"],
        play: |at| beside(at, true, |stage| stage.peer("spawn", at)),
    },
    Scene {
        name: "child with two handles",
        points: &["seat.turned", "seat.redeemed"],
        play: |at| beside_a_child(at, true),
    },
    Scene {
        name: "child that puts",
        points: &["queue.put.copied"],
        play: |at| beside_a_child(at, false),
    },
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("put one", |arguments| put_one(open(arguments))),
    ("put a large one", |arguments| put(open(arguments), LARGE)),
    ("put a long one", |arguments| put(open(arguments), LONG)),
    ("get one", |arguments| {
        let queue = open(arguments);
        let _company = queue.clone();
        say(&thread_id().to_string());
        let _ = queue.get().inspect(|found| say(&format!("got {}", found.0)));
    }),
    ("close", |arguments| open(arguments).close()),
    ("come and go", |arguments| {
        let queue = open(arguments);
        let further = queue.clone();
        drop(queue);
        drop(further.clone());
    }),
    ("spawn", |arguments| {
        let queue = open(arguments);
        // The child does not stop where its parent does.
        let builder = Process::builder().daemon(true).env_remove(STOP);
        builder
            .spawn(|_: SharedQueue<Item>| (), (queue,))
            .unwrap()
            .join()
            .unwrap();
    }),
    ("put when told", |arguments| {
        let queue = open(arguments);
        say("here");
        listen();
        put_one(queue);
    }),
];

fn open(arguments: &[String]) -> SharedQueue<Item> {
    die_with_parent();
    let segment = Segment::builder().folder(&arguments[0]).open(SEGMENT).unwrap();
    segment.open_queue("queue").unwrap()
}

fn put_one(queue: SharedQueue<Item>) {
    put(queue, 11);
}

fn put(queue: SharedQueue<Item>, number: u64) {
    let _company = queue.clone();
    say(&thread_id().to_string());
    if queue.put(item(number)).is_ok() {
        say(&format!("put {number}"));
    }
}

fn thread_id() -> u32 {
    // SAFETY: only asks for a number.
    unsafe { libc::gettid() }.unsigned_abs()
}

/// Waits until a thread sleeps or is stopped.
fn until_asleep(pid: u32, tid: u32) {
    while !['S', 'T'].contains(&state_of(pid, tid)) {
        thread::yield_now();
    }
}

/// A queue, the handles of this process, and what they have put and got.
struct Stage {
    folder: Folder,
    segment: Segment,
    queue: SharedQueue<Item>,
    /// Those that have yet to play a role.
    spare: Vec<SharedQueue<Item>>,
    put: Vec<u64>,
    got: Vec<u64>,
}

impl Stage {
    fn new() -> Self {
        let folder = Folder::new();
        let segment = folder.builder().capacity(1 << 20).create(SEGMENT).unwrap();
        let queue: SharedQueue<Item> = segment.queue("queue", ITEMS).unwrap();
        let spare = (0..6).map(|_| queue.clone()).collect();
        for number in 1..=3 {
            queue.put(item(number)).unwrap();
        }
        assert_eq!(queue.get(), Ok(item(1)));
        Stage {
            folder,
            segment,
            queue,
            spare,
            put: vec![2, 3],
            got: vec![],
        }
    }

    fn peer(&self, role: &str, at: &str) -> Peer {
        Peer::start(role, at, &[self.folder.path()])
    }

    /// Has that number in the queue, and nothing else.
    fn holds_only(&mut self, number: u64) {
        while let Ok(found) = self.queue.try_get() {
            self.got.push(number_of(found));
        }
        self.queue.put(item(number)).unwrap();
        self.put.push(number);
    }

    /// A peer that sleeps until something comes, or there is room; it stops as it falls asleep, or as it is woken.
    fn sleeper(&mut self, at: &str, role: &str) -> Peer {
        let for_items = role == "get one";
        loop {
            while for_items
                && self
                    .queue
                    .try_get()
                    .map(|found| self.got.push(number_of(found)))
                    .is_ok()
            {}
            while !for_items && self.put_next() {}
            let mut peer = self.peer(role, at);
            let thread = peer.actor.hear().parse().unwrap();
            until_asleep(peer.actor.id(), thread);
            // What wakes it; it may be between two sleeps, and then it ends.
            match (peer.is_stopped(), for_items) {
                (true, _) => return peer,
                (false, true) => assert!(self.put_next()),
                (false, false) => self.got.push(number_of(self.queue.try_get().unwrap())),
            }
            if until_stopped(peer.actor.id()) {
                return peer;
            }
            self.hear(&mut peer);
        }
    }

    /// Whoever waits has an item to get, or room, whatever the calls have left.
    fn leaves_something(&mut self) {
        if self.queue.is_empty() {
            self.put_next();
        } else if self.queue.is_full() {
            let taken = self.queue.try_get();
            self.note_got(taken);
        }
    }

    /// Puts a number of its own, if there is room.
    fn put_next(&mut self) -> bool {
        let number = 100 + self.put.len() as u64;
        let is_put = self.queue.try_put(item(number)).is_ok();
        if is_put {
            self.put.push(number);
        }
        is_put
    }

    /// A peer that wakes a thread of ours.
    fn waker(&mut self, at: &str) -> Peer {
        while self
            .queue
            .try_get()
            .map(|found| self.got.push(number_of(found)))
            .is_ok()
        {}
        let mut peer = self.peer("put when told", at);
        assert_eq!(peer.actor.hear(), "here");
        let taker = self.spare.pop().unwrap();
        let (tell, told) = mpsc::channel();
        let taking = thread::spawn(move || {
            tell.send(thread_id()).unwrap();
            taker.get_timeout(LATE)
        });
        until_asleep(std::process::id(), told.recv().unwrap());
        peer.actor.tell("now");
        self.got.push(number_of(taking.join().unwrap().unwrap()));
        peer
    }

    /// What the peer has put and got, to its end.
    fn hear(&mut self, peer: &mut Peer) {
        while let Some(said) = peer.actor.hear_or_end() {
            match said.split_once(' ') {
                Some(("put", number)) => self.put.push(number.parse().unwrap()),
                Some(("got", number)) => self.got.push(number.parse().unwrap()),
                // What it says before it begins.
                _ => {}
            }
        }
        assert_eq!(peer.actor.ended(), None);
    }

    /// Nothing is lost, nothing comes twice, and nobody is left.
    fn ends(mut self, calls: Calls<'_>) {
        while let Ok(found) = calls.at_once("SharedQueue::try_get, afterwards", || self.queue.try_get()) {
            self.got.push(number_of(found));
        }
        self.put.sort_unstable();
        self.got.sort_unstable();
        assert_eq!(self.put, self.got, "{}", calls.0);
        let Stage {
            folder,
            segment,
            queue,
            spare,
            ..
        } = self;
        calls.at_once("the last drop", || drop((spare, queue, segment)));
        assert!(folder.names().is_empty(), "{}: left {:?}", calls.0, folder.names());
    }

    fn note_put(&mut self, number: u64, outcome: Result<(), SendError<Item>>) {
        match outcome {
            Ok(()) => self.put.push(number),
            Err(SendError::Full(_) | SendError::TimedOut(_) | SendError::Closed(_) | SendError::Disconnected(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn note_got(&mut self, outcome: Result<Item, RecvError>) {
        match outcome {
            Ok(found) => self.got.push(number_of(found)),
            Err(RecvError::Empty | RecvError::TimedOut | RecvError::Closed | RecvError::Disconnected) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Leaves the queue open, and closes it.
fn beside_each(at: &str, start: impl Fn(&mut Stage) -> Peer) {
    beside(at, false, &start);
    beside(at, true, &start);
}

fn beside(at: &str, closes: bool, start: impl FnOnce(&mut Stage) -> Peer) {
    let (mut stage, calls) = (Stage::new(), Calls(at));
    let mut peer = start(&mut stage).stopped();
    every_call(calls, &mut stage);
    if closes {
        close(calls, &stage);
    }
    stage.leaves_something();
    peer.go_on();
    stage.hear(&mut peer);
    stage.ends(calls);
}

/// A child of ours is stopped as it takes what was set aside for it, or with it.
fn beside_a_child(at: &str, closes: bool) {
    let (mut stage, calls) = (Stage::new(), Calls(at));
    let builder = Process::builder().daemon(true).env(STOP, at);
    let put = |queue: SharedQueue<Item>, _other: SharedQueue<Item>| queue.put(item(11)).is_ok();
    let handles = (stage.queue.clone(), stage.queue.clone());
    let child = builder.spawn(put, handles).unwrap();
    assert!(until_stopped(child.id()), "{at}: the child has ended");
    every_call(calls, &mut stage);
    if closes {
        close(calls, &stage);
    }
    signal(child.id(), libc::SIGCONT);
    if child.join().unwrap() {
        stage.put.push(11);
    }
    stage.ends(calls);
}

/// The first call of a copy of this process needs a seat.
fn beside_a_copy(at: &str) {
    let (mut stage, calls) = (Stage::new(), Calls(at));
    let mut peer = stage.peer("come and go", at).stopped();
    Copy::fork(|| {
        let queue = &stage.queue;
        let full = calls.at_once("SharedQueue::try_put in a copy", || queue.try_put(item(50)));
        assert!(matches!(full, Err(SendError::Full(_))), "{full:?}");
        let put = calls.at_once("SharedQueue::put_timeout in a copy", || {
            queue.put_timeout(item(50), SHORT)
        });
        assert!(matches!(put, Err(SendError::TimedOut(_))), "{put:?}");
        let put = calls.in_the_end("SharedQueue::put in a copy", || queue.put(item(50)));
        assert!(matches!(put, Err(SendError::Busy(_))), "{put:?}");
    })
    .finish();
    peer.go_on();
    stage.hear(&mut peer);
    stage.ends(calls);
}

/// May end in the panic that is documented.
fn close(calls: Calls<'_>, stage: &Stage) {
    let close = AssertUnwindSafe(|| stage.queue.close());
    let _ = calls.in_the_end("SharedQueue::close", || catch_unwind(close));
}

fn every_call(calls: Calls<'_>, stage: &mut Stage) {
    let looks = |queue: &SharedQueue<Item>| {
        calls.at_once("SharedQueue::len", || {
            (queue.len(), queue.is_empty(), queue.is_full(), queue.is_closed())
        });
        calls.at_once("SharedQueue::capacity", || (queue.capacity(), queue.capacity_bytes()));
        calls.at_once("SharedQueue::fmt", || format!("{queue:?}"));
    };
    looks(&stage.queue);
    let fresh = [(); 2].map(|()| stage.spare.pop().unwrap());
    for (number, queue) in fresh.into_iter().enumerate() {
        puts_and_gets(calls, stage, &queue, 30 + 10 * number as u64);
        looks(&queue);
        calls.at_once("SharedQueue::drop", || drop(queue));
    }
    let spare = stage.spare.pop().unwrap();
    let spare = calls.at_once("SharedQueue::wait_for_peers", || spare.wait_for_peers());
    calls.at_once("SharedQueue::drop", || drop(spare));
    at_the_same_time(calls, stage);
}

fn puts_and_gets(calls: Calls<'_>, stage: &mut Stage, queue: &SharedQueue<Item>, first: u64) {
    let until = Instant::now() + SHORT;
    stage.note_put(
        first,
        calls.at_once("SharedQueue::try_put", || queue.try_put(item(first))),
    );
    stage.note_got(calls.at_once("SharedQueue::try_get", || queue.try_get()));
    let put = calls.at_once("SharedQueue::put_timeout", || queue.put_timeout(item(first + 1), SHORT));
    stage.note_put(first + 1, put);
    stage.note_got(calls.at_once("SharedQueue::get_timeout", || queue.get_timeout(SHORT)));
    let put = calls.at_once("SharedQueue::put_deadline", || {
        queue.put_deadline(item(first + 2), until)
    });
    stage.note_put(first + 2, put);
    stage.note_got(calls.at_once("SharedQueue::get_deadline", || queue.get_deadline(until)));
}

/// What has limits of its own: all wait at the same time.
fn at_the_same_time(calls: Calls<'_>, stage: &mut Stage) {
    let passed = stage.spare.pop().unwrap();
    let stage = &*stage;
    thread::scope(|scope| {
        scope.spawn(|| {
            let cloned = calls.in_the_end("SharedQueue::clone", || {
                catch_unwind(AssertUnwindSafe(|| stage.queue.clone()))
            });
            calls.at_once("SharedQueue::drop", || drop(cloned));
        });
        scope.spawn(|| {
            let opened = calls.in_the_end("Segment::open_queue", || stage.segment.open_queue::<Item>("queue"));
            calls.at_once("SharedQueue::drop", || drop(opened));
        });
        scope.spawn(|| {
            let placed = calls.in_the_end("Segment::queue", || stage.segment.queue::<u64>("other", 4).unwrap());
            placed.try_put(1).unwrap();
            calls.at_once("SharedQueue::drop of another", || drop(placed));
        });
        scope.spawn(|| {
            let builder = Process::builder().daemon(true);
            let spawn = || builder.spawn(|queue: SharedQueue<Item>| queue.len(), (passed,));
            if let Ok(child) = calls.in_the_end("Builder::spawn with a handle", spawn) {
                let _ = calls.in_the_end("Process::join of who has a handle", || child.join());
            }
        });
    });
}
