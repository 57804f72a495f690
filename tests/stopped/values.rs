//! Beside a peer stopped in a value, counter or array; what stands beside those in the segment knows nothing of it.

use crate::Scene;
use crate::peer::{Calls, Peer, SHORT, die_with_parent};
use crate::role::{self, Folder, Role, file_of, say, word_at};
use procshare::{
    LockError, Segment, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter, SharedValue, clean_folder,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

const SEGMENT: &str = "shared";
const OLD: [u64; 4] = [1; 4];
const NEW: [u64; 4] = [2; 4];

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "value",
        points: &[
            "lock.acquired",
            "publish.begin",
            "publish.half",
            "publish.written",
            "publish.published",
            "unlock.begin",
            "unlock.released",
        ],
        play: |at| beside(at, |stage| Peer::start("set the value", at, &[stage.folder.path()])),
    },
    Scene {
        name: "counter",
        points: &["lock.acquired", "publish.published", "unlock.begin", "unlock.released"],
        play: |at| beside(at, |stage| Peer::start("count", at, &[stage.folder.path()])),
    },
    Scene {
        name: "array",
        points: &["lock.acquired", "array.guarded", "unlock.begin", "unlock.released"],
        play: |at| beside(at, |stage| Peer::start("fill the array", at, &[stage.folder.path()])),
    },
    Scene {
        name: "heir of a value",
        points: &["lock.taken_over"],
        play: |at| beside(at, |stage| stage.heir(at, "set the value")),
    },
    Scene {
        name: "heir of an array",
        points: &["lock.taken_over"],
        play: |at| beside(at, |stage| stage.heir(at, "fill the array")),
    },
    Scene {
        name: "waiter",
        points: &["lock.waiting", "lock.woken"],
        play: |at| beside(at, |stage| stage.waiter(at)),
    },
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("set the value", |arguments| {
        let segment = open(arguments);
        segment.open_value("value").unwrap().set(NEW);
    }),
    ("count", |arguments| {
        let segment = open(arguments);
        segment.open_counter("counter").unwrap().increment().unwrap();
    }),
    ("fill the array", |arguments| {
        let segment = open(arguments);
        let array: SharedArray<u64> = segment.open_array("array").unwrap();
        match array.get_lock() {
            Ok(mut guard) => guard.fill(2),
            Err(LockError::OwnerDied(mut guard)) => {
                guard.fill(2);
                guard.recover();
            }
            Err(error) => panic!("{error}"),
        };
    }),
    ("lock on and on", |arguments| {
        let value: SharedValue<[u64; 4]> = open(arguments).open_value("value").unwrap();
        say("begins");
        // Until a passage of ours ends it.
        while *value.get_lock() != [0; 4] {}
    }),
];

fn open(arguments: &[String]) -> Segment {
    die_with_parent();
    Segment::builder().folder(&arguments[0]).open(SEGMENT).unwrap()
}

struct Stage {
    folder: Folder,
    segment: Segment,
    value: SharedValue<[u64; 4]>,
    counter: SharedCounter,
    array: SharedArray<u64>,
    atomic: SharedAtomic<AtomicU64>,
    atomics: SharedAtomicArray<AtomicU32>,
}

impl Stage {
    fn new() -> Self {
        let folder = Folder::new();
        let segment = folder.builder().create(SEGMENT).unwrap();
        let stage = Stage {
            value: segment.value("value", OLD).unwrap(),
            counter: segment.counter("counter", 0).unwrap(),
            array: segment.array("array", 4).unwrap(),
            atomic: segment.atomic("atomic", 7).unwrap(),
            atomics: segment.atomic_array("atomics", 3).unwrap(),
            folder,
            segment,
        };
        stage.array.fill(1).unwrap();
        stage
    }

    /// One that takes the lock from a dead holder.
    fn heir(&self, at: &str, role: &str) -> Peer {
        let mut command = role::command(role, &[self.folder.path()]);
        command.env("PROCSHARE_CRASH_AT", "lock.acquired");
        assert_eq!(role::Actor::new(command).ended(), Some(libc::SIGKILL));
        Peer::start(role, at, &[self.folder.path()])
    }

    /// One that waits for us, and stops as it falls asleep or is woken.
    fn waiter(&self, at: &str) -> Peer {
        let mut peer = Peer::start("lock on and on", at, &[self.folder.path()]);
        assert_eq!(peer.actor.hear(), "begins");
        let objects = self.segment.objects().unwrap();
        let object = objects.iter().find(|object| object.name == "value").unwrap();
        let (path, bell) = (file_of(&self.folder.0, SEGMENT), object.offset + 8);
        while !peer.is_stopped() {
            let mut guard = self.value.get_lock();
            *guard = OLD;
            // The lowest bit says that somebody sleeps.
            while word_at(&path, bell) & 1 == 0 && !peer.is_stopped() {
                std::thread::yield_now();
            }
        }
        peer
    }
}

fn beside(at: &str, start: impl FnOnce(&Stage) -> Peer) {
    let stage = Stage::new();
    let peer = start(&stage).stopped();
    let calls = Calls(at);
    segment(calls, &stage);
    value(calls, &stage);
    counter(calls, &stage);
    array(calls, &stage);
    atomics(calls, &stage);
    if at.starts_with("lock.w") {
        peer.go_on();
        // What ends the loop it is in.
        stage.value.set([0; 4]);
    }
    peer.ends_well();
    ends(calls, stage);
}

/// The last of us leaves a peer's name in order.
fn ends(calls: Calls<'_>, stage: Stage) {
    let found = stage.value.get();
    assert!([OLD, NEW, [0; 4], [3; 4]].contains(&found), "{}: {found:?}", calls.0);
    assert_eq!(*stage.value.try_get_lock().unwrap(), found);
    let elements = stage.array.to_vec().unwrap();
    assert!(
        [[1; 4], [2; 4], [3; 4]].iter().any(|all| *all == elements[..]),
        "{}: {elements:?}",
        calls.0
    );
    stage.counter.increment().unwrap();
    let Stage {
        folder,
        segment,
        value,
        counter,
        array,
        atomic,
        atomics,
    } = stage;
    calls.at_once("the last drop", || {
        drop((segment, value, counter, array, atomic, atomics))
    });
    assert!(folder.names().is_empty(), "{}: left {:?}", calls.0, folder.names());
}

/// A held lock refuses who does not wait, and who does not wait long.
fn is_held<G>(outcome: &Result<G, LockError>) -> bool {
    match outcome {
        Ok(_) => false,
        Err(LockError::WouldBlock | LockError::TimedOut) => true,
        Err(error) => panic!("{error}"),
    }
}

fn segment(calls: Calls<'_>, stage: &Stage) {
    let again = calls.at_once("Segment::open", || stage.folder.builder().open(SEGMENT).unwrap());
    let either = calls.at_once("Segment::open_or_create", || {
        stage.folder.builder().open_or_create(SEGMENT).unwrap()
    });
    let taken = calls.at_once("Segment::create", || stage.folder.builder().create(SEGMENT));
    assert!(taken.is_err());
    let removed = calls.at_once("clean_folder", || clean_folder(&stage.folder.0).unwrap());
    assert!(removed.is_empty());
    assert!(calls.at_once("Segment::objects", || again.objects().unwrap()).len() >= 5);
    let other = calls.at_once("placing another value", || again.value("other", 1u64).unwrap());
    calls.at_once("placing the same value", || drop(again.value("value", OLD).unwrap()));
    calls.at_once("opening the same array", || {
        drop(again.open_array::<u64>("array").unwrap())
    });
    calls.at_once("SharedValue::set of another", || other.set(5));
    calls.at_once("Segment::drop", || drop((again, either, other)));
}

fn value(calls: Calls<'_>, stage: &Stage) {
    let value = calls.at_once("SharedValue::clone", || stage.value.clone());
    let found = calls.at_once("SharedValue::get", || value.get());
    assert!([OLD, NEW].contains(&found), "{found:?}");
    calls.at_once("SharedValue::try_get", || value.try_get().unwrap());
    calls.at_once("SharedValue::fmt", || format!("{value:?}"));
    let held = is_held(&calls.at_once("SharedValue::try_get_lock", || value.try_get_lock()));
    let timed = calls.at_once("SharedValue::get_lock_timeout", || {
        is_held(&value.get_lock_timeout(SHORT))
    });
    let until = Instant::now() + SHORT;
    let dated = calls.at_once("SharedValue::get_lock_deadline", || {
        is_held(&value.get_lock_deadline(until))
    });
    assert_eq!([held, held], [timed, dated]);
    if !held {
        calls.at_once("SharedValue::get_lock", || drop(value.get_lock()));
        calls.at_once("SharedValue::update", || value.update(|value| value[0]));
        let _ = calls.at_once("SharedValue::compare_exchange", || value.compare_exchange([9; 4], NEW));
        calls.at_once("SharedValue::set", || value.set([3; 4]));
    }
    calls.at_once("SharedValue::drop", || drop(value));
}

fn counter(calls: Calls<'_>, stage: &Stage) {
    let counter = calls.at_once("SharedCounter::clone", || stage.counter.clone());
    assert!((0..=1).contains(&calls.at_once("SharedCounter::get", || counter.get())));
    calls.at_once("SharedCounter::fmt", || format!("{counter:?}"));
    let value = calls.at_once("SharedCounter::as_value", || counter.as_value());
    if !is_held(&calls.at_once("SharedCounter::try_get_lock", || value.try_get_lock())) {
        calls.at_once("SharedCounter::add", || counter.add(0).unwrap());
        calls.at_once("SharedCounter::wrapping_add", || counter.wrapping_add(0));
    }
    calls.at_once("SharedCounter::drop", || drop(counter));
}

fn array(calls: Calls<'_>, stage: &Stage) {
    let array = calls.at_once("SharedArray::clone", || stage.array.clone());
    assert_eq!((array.len(), array.is_empty()), (4, false));
    calls.at_once("SharedArray::fmt", || format!("{array:?}"));
    let held = is_held(&calls.at_once("SharedArray::try_get_lock", || array.try_get_lock().map_err(forget)));
    let timed = || array.get_lock_timeout(SHORT).map_err(forget);
    assert_eq!(held, is_held(&calls.at_once("SharedArray::get_lock_timeout", timed)));
    let dated = || array.get_lock_deadline(Instant::now() + SHORT).map_err(forget);
    assert_eq!(held, is_held(&calls.at_once("SharedArray::get_lock_deadline", dated)));
    if !held {
        calls.at_once("SharedArray::get", || array.get(0).unwrap());
        calls.at_once("SharedArray::set", || array.set(0, array.get(1).unwrap()).unwrap());
        calls.at_once("SharedArray::swap", || array.swap(0, 1).unwrap());
        calls.at_once("SharedArray::to_vec", || array.to_vec().unwrap());
        calls.at_once("SharedArray::copy_from_slice", || {
            array.copy_from_slice(&[3; 4]).unwrap()
        });
        calls.at_once("SharedArray::fill", || array.fill(3).unwrap());
        calls.at_once("SharedArray::freeze", || drop(array.freeze().unwrap().clone()));
        calls.at_once("SharedArray::get_lock", || drop(array.get_lock().unwrap()));
    }
    calls.at_once("SharedArray::drop", || drop(array));
}

/// An array's refusal without the guard it may carry.
fn forget<G>(error: LockError<G>) -> LockError {
    match error {
        LockError::WouldBlock => LockError::WouldBlock,
        LockError::TimedOut => LockError::TimedOut,
        error => panic!("{error}"),
    }
}

fn atomics(calls: Calls<'_>, stage: &Stage) {
    // SeqCst throughout: what is counted is whether it returns.
    assert_eq!(
        calls.at_once("SharedAtomic::load", || stage.atomic.clone().load(Ordering::SeqCst)),
        7
    );
    calls.at_once("SharedAtomicArray::fetch_add", || {
        stage.atomics.clone()[1].fetch_add(1, Ordering::SeqCst)
    });
    calls.at_once("SharedAtomic::fmt", || {
        format!("{:?} {:?}", stage.atomic, stage.atomics)
    });
}
