//! Handles among the arguments of a child.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{descriptors_of, mappings_of, shared_memory_names, unique, wait_until, watchdog};
use procshare::process::Entry;
use procshare::{
    ErrorKind, FrozenArray, JoinError, Process, Segment, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter,
    SharedValue,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[procshare::test]
fn handles_of_segments_values_and_arrays_arrive() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(1 << 16).unwrap();
    let value = segment.value("value", 1_u32).unwrap();
    let counter = SharedCounter::new(2).unwrap();
    let array = SharedArray::from_slice(&[3.0, 4.0]).unwrap();
    let frozen = array.freeze().unwrap();
    let atomic = SharedAtomic::<AtomicU32>::new(5).unwrap();
    let atomics = SharedAtomicArray::<AtomicU64>::new(6).unwrap();
    fn change(
        segment: Segment,
        value: SharedValue<u32>,
        counter: SharedCounter,
        array: SharedArray<f64>,
        frozen: FrozenArray<f64>,
        atomic: SharedAtomic<AtomicU32>,
        atomics: SharedAtomicArray<AtomicU64>,
    ) -> f64 {
        segment.counter("made by the child", 7).unwrap();
        value.set(10);
        counter.increment().unwrap();
        array.set(1, 40.0).unwrap();
        atomic.fetch_add(1, Ordering::Relaxed);
        atomics[5].store(60, Ordering::Relaxed);
        frozen.iter().sum()
    }
    let arguments = (
        segment.clone(),
        value.clone(),
        counter.clone(),
        array.clone(),
        frozen,
        atomic.clone(),
        atomics.clone(),
    );
    assert_eq!(Process::spawn(change, arguments).unwrap().join(), Ok(7.0));
    assert_eq!(segment.open_counter("made by the child").unwrap().get(), 7);
    assert_eq!((value.get(), counter.get()), (10, 3));
    assert_eq!(array.to_vec().unwrap(), [3.0, 40.0]);
    assert_eq!(
        (atomic.load(Ordering::Relaxed), atomics[5].load(Ordering::Relaxed)),
        (6, 60)
    );
}

#[derive(Serialize, Deserialize)]
struct Office {
    name: String,
    total: SharedValue<u64>,
    clerks: Vec<SharedCounter>,
    boss: Option<Box<Office>>,
    by_name: BTreeMap<String, SharedAtomic<AtomicU32>>,
}

fn office(boss: Option<Office>) -> Office {
    Office {
        name: "office".to_owned(),
        total: SharedValue::new(0).unwrap(),
        clerks: (0..3).map(|_| SharedCounter::new(0).unwrap()).collect(),
        boss: boss.map(Box::new),
        by_name: BTreeMap::from([("x".to_owned(), SharedAtomic::new(0).unwrap())]),
    }
}

#[procshare::test]
fn handles_travel_inside_structs_and_collections() {
    let _watchdog = watchdog(60);
    fn work(office: Office, (left, right): (SharedCounter, Option<SharedCounter>)) -> String {
        office.clerks[2].add(5).unwrap();
        office.by_name["x"].store(6, Ordering::Relaxed);
        office.boss.as_ref().unwrap().total.set(7);
        left.add(right.unwrap().get()).unwrap();
        office.name
    }
    let (left, right) = (SharedCounter::new(1).unwrap(), SharedCounter::new(8).unwrap());
    let inner = office(None);
    let total = inner.total.clone();
    let outer = office(Some(inner));
    let (clerk, named) = (outer.clerks[2].clone(), outer.by_name["x"].clone());
    let child = Process::spawn(work, (outer, (left.clone(), Some(right)))).unwrap();
    assert_eq!(child.join().unwrap(), "office");
    assert_eq!(
        (clerk.get(), named.load(Ordering::Relaxed), total.get(), left.get()),
        (5, 6, 7, 9)
    );
}

/// Runs the body in a process of its own: while another thread starts a child, that child has all descriptors for a
/// moment, and with them the lock that keeps a segment's name.
fn alone<F: Entry<(), Output = ()>>(body: F) {
    Process::spawn(body, ()).unwrap().join().unwrap();
}

/// However many handles lead to a segment, and by whatever descriptor, the child attaches to it once.
#[procshare::test]
fn handles_of_one_segment_share_one_mapping() {
    let _watchdog = watchdog(60);
    let body = || {
        let name = unique("share");
        let segment = Segment::create(&name, 1 << 16).unwrap();
        let again = Segment::open(&name).unwrap();
        let inode = std::fs::metadata(format!("/dev/shm/procshare.{name}")).unwrap().ino();
        let (first, second) = (segment.counter("a", 1).unwrap(), again.value("b", 2_i64).unwrap());
        let look = |handles: (SharedCounter, SharedCounter, SharedValue<i64>, Segment), inode: u64| {
            (
                descriptors_of(inode),
                mappings_of(inode),
                handles.0.get() + handles.2.get(),
            )
        };
        let handles = (first.clone(), first, second, segment.clone());
        let child = Process::spawn(look, (handles, inode)).unwrap();
        assert_eq!(child.join(), Ok((1, 1, 3)));
        drop((segment, again));
        assert!(shared_memory_names(&name).is_empty());
    };
    alone(body);
}

#[procshare::test]
fn a_segment_arrives_after_its_name_is_gone() {
    let _watchdog = watchdog(60);
    let body = || {
        let name = unique("unlinked");
        let value = SharedValue::create(&name, 1_u32).unwrap();
        Segment::open(&name).unwrap().unlink().unwrap();
        // Another segment has the name by now.
        let other = SharedValue::create(&name, 2_u32).unwrap();
        let add = |value: SharedValue<u32>| value.update(|v| *v += 40);
        Process::spawn(add, (value.clone(),)).unwrap().join().unwrap();
        assert_eq!((value.get(), other.get()), (41, 2));
        drop((value, other));
        assert!(shared_memory_names(&name).is_empty());
    };
    alone(body);
}

/// Hands a named value to a child and ends at once, leaving it to that child alone.
fn bequeath(name: String, seen: SharedAtomic<AtomicU32>, go: SharedAtomic<AtomicU32>) {
    let value = SharedValue::create(&name, 5_u32).unwrap();
    let heir = |value: SharedValue<u32>, seen: SharedAtomic<AtomicU32>, go: SharedAtomic<AtomicU32>| {
        wait_until(|| go.load(Ordering::SeqCst) == 1);
        seen.store(value.get(), Ordering::SeqCst);
        wait_until(|| go.load(Ordering::SeqCst) == 2);
    };
    Process::spawn(heir, (value, seen, go)).unwrap();
}

#[procshare::test]
fn a_named_segment_outlives_the_parent_and_not_the_child() {
    let _watchdog = watchdog(60);
    let name = unique("heir");
    let (seen, go) = (
        SharedAtomic::<AtomicU32>::new(0).unwrap(),
        SharedAtomic::<AtomicU32>::new(0).unwrap(),
    );
    let parent = Process::spawn(bequeath, (name.clone(), seen.clone(), go.clone())).unwrap();
    parent.join().unwrap();
    assert_eq!(shared_memory_names(&name).len(), 1);
    go.store(1, Ordering::SeqCst);
    wait_until(|| seen.load(Ordering::SeqCst) == 5);
    assert_eq!(SharedValue::<u32>::open(&name).unwrap().get(), 5);
    go.store(2, Ordering::SeqCst);
    wait_until(|| shared_memory_names(&name).is_empty());
}

/// A lock its dead owner held is free for whoever shares the value.
#[procshare::test]
fn a_killed_childs_lock_is_free() {
    let _watchdog = watchdog(60);
    let value = SharedValue::new(1_u32).unwrap();
    let hold = |value: SharedValue<u32>| {
        let mut guard = value.get_lock();
        *guard = 2;
        loop {
            std::thread::park();
        }
    };
    let child: Process<()> = Process::spawn(hold, (value.clone(),)).unwrap();
    wait_until(|| value.try_get_lock().is_err());
    child.kill().unwrap();
    assert_eq!(*value.get_lock(), 1);
    assert_eq!(child.join(), Err(JoinError::Signaled(libc::SIGKILL)));
}

#[procshare::test]
fn a_handle_does_not_travel_elsewhere() {
    let _watchdog = watchdog(60);
    let value = SharedValue::new(1_u32).unwrap();
    let error = serde_json::to_string(&value).unwrap_err();
    assert!(error.to_string().contains("Process::spawn"), "{error}");
    let error = serde_json::to_string(&Segment::new(4096).unwrap()).unwrap_err();
    assert!(error.to_string().contains("Process::spawn"), "{error}");
    for text in ["[0,\"\"]", "[7,\"x\"]"] {
        let error = serde_json::from_str::<SharedValue<u32>>(text).unwrap_err();
        assert!(error.to_string().contains("Process::spawn"), "{error}");
    }
    assert!(serde_json::from_str::<Segment>("0").is_err());
}

#[procshare::test]
fn a_result_holds_no_handle() {
    let _watchdog = watchdog(60);
    let value = SharedValue::new(1_u32).unwrap();
    let child = Process::spawn(|value: SharedValue<u32>| value, (value,)).unwrap();
    let error = child.join().unwrap_err();
    assert!(
        matches!(&error, JoinError::NotTransferable(text) if text.contains("Process::spawn")),
        "{error:?}"
    );
    assert_eq!(procshare::Error::from(error).kind(), ErrorKind::NotTransferable);
}

/// Fails to be encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("stubborn"))
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("stubborn"))
    }
}

/// Can be decoded by its own process only.
#[derive(Debug, PartialEq)]
struct OneWay;

impl Serialize for OneWay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(std::process::id())
    }
}

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? == std::process::id() {
            true => Ok(OneWay),
            false => Err(serde::de::Error::custom("one way")),
        }
    }
}

#[procshare::test]
fn what_cannot_be_encoded_is_an_error() {
    let _watchdog = watchdog(60);
    assert_eq!(
        Process::spawn(|_: Stubborn| (), (Stubborn,)).unwrap_err().kind(),
        ErrorKind::Encoding
    );
    let outcomes = [
        Process::spawn(|| Stubborn, ()).unwrap().join().map(drop),
        Process::spawn(|_: OneWay| (), (OneWay,)).unwrap().join(),
        Process::spawn(|| OneWay, ()).unwrap().join().map(drop),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(JoinError::Encoding(_))), "{outcome:?}");
    }
}

/// A thread that spawns while its own arguments are being encoded does not mix the tables up.
#[procshare::test]
fn spawning_while_encoding_keeps_segments_apart() {
    let _watchdog = watchdog(60);
    #[derive(Deserialize)]
    struct Nested(SharedCounter);
    impl Serialize for Nested {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let other = SharedCounter::new(100).unwrap();
            let child = Process::spawn(|c: SharedCounter| c.increment().unwrap(), (other,)).unwrap();
            assert_eq!(child.join(), Ok(101));
            self.0.serialize(serializer)
        }
    }
    let counter = SharedCounter::new(1).unwrap();
    let first = SharedCounter::new(10).unwrap();
    let add = |first: SharedCounter, nested: Nested| first.add(nested.0.get()).unwrap();
    let child = Process::spawn(add, (first, Nested(counter))).unwrap();
    assert_eq!(child.join(), Ok(11));
}
