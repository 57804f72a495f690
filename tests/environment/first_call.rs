//! Every public function as the first call of a process: none depends on another's having been called before.

use crate::common::{other_program, unique, watchdog};
use procshare::process::{self, StartMethod};
use procshare::{
    Connection, Consumer, ErrorKind, FrozenArray, Pool, Process, Producer, Result, Segment, SharedArray, SharedAtomic,
    SharedAtomicArray, SharedCounter, SharedMap, SharedQueue, SharedValue, clean, clean_folder, pipe, ring,
};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU32;

const CALL: &str = "PROCSHARE_TEST_CALL";
const PREFIX: &str = "PROCSHARE_TEST_PREFIX";

/// A function and what must come of it, in a process that has called nothing before. It is told how the names begin.
type Call = (&'static str, fn(&str));

fn named(prefix: &str, what: &str) -> String {
    format!("{prefix}-{what}")
}

fn folder_of(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(prefix)
}

#[rustfmt::skip]
const CALLS: &[Call] = &[
    ("Segment::new", |_| assert_eq!(Segment::new(4096).unwrap().capacity(), 4096)),
    ("Segment::create", |p| assert!(Segment::create(named(p, "first"), 4096).is_ok())),
    ("Segment::create, taken", |p| refused(Segment::create(named(p, "segment"), 4096), ErrorKind::AlreadyExists)),
    ("Segment::open", |p| assert_eq!(Segment::open(named(p, "segment")).unwrap().objects().unwrap().len(), 1)),
    ("Segment::open, not there", |p| refused(Segment::open(named(p, "none")), ErrorKind::NotFound)),
    ("Segment::open_or_create", |p| assert!(Segment::open_or_create(named(p, "segment"), 4096).is_ok())),
    ("Segment::create_file", |p| Segment::create_file(folder_of(p).join("new"), 4096).unwrap().unlink().unwrap()),
    ("Segment::open_file", |p| assert_eq!(Segment::open_file(folder_of(p).join("file")).unwrap().capacity(), 8192)),
    ("Segment::inherited", |_| refused(Segment::inherited("nothing"), ErrorKind::NotFound)),
    ("SegmentBuilder::anonymous", |_| assert!(Segment::builder().anonymous().is_ok())),
    ("SegmentBuilder::folder", |p| assert!(Segment::builder().folder(folder_of(p)).create("x").is_ok())),
    ("SharedValue::new", |_| assert_eq!(SharedValue::new(5).unwrap().get(), 5)),
    ("SharedValue::create", |p| assert_eq!(SharedValue::create(named(p, "first"), 5).unwrap().get(), 5)),
    ("SharedValue::open", |p| assert_eq!(SharedValue::<u64>::open(named(p, "value")).unwrap().get(), 7)),
    ("SharedValue::open_or_create", |p| assert_eq!(SharedValue::open_or_create(named(p, "value"), 5_u64).unwrap().get(), 7)),
    ("SharedArray::new", |_| assert_eq!(SharedArray::<u8>::new(5).unwrap().to_vec().unwrap(), [0; 5])),
    ("SharedArray::from_slice", |_| assert_eq!(SharedArray::from_slice(&[1]).unwrap().get(0), Ok(1))),
    ("SharedArray::from_iter", |_| assert_eq!(SharedArray::from_iter([1]).unwrap().get(0), Ok(1))),
    ("SharedArray::from_fn", |_| assert_eq!(SharedArray::from_fn(2, |at| at as u8).unwrap().get(1), Ok(1))),
    ("SharedArray::create", |p| assert_eq!(SharedArray::<u8>::create(named(p, "first"), 5).unwrap().len(), 5)),
    ("SharedArray::open", |p| assert_eq!(SharedArray::<u64>::open(named(p, "array")).unwrap().get(3), Ok(7))),
    ("SharedArray::open_or_create", |p| assert!(SharedArray::<u64>::open_or_create(named(p, "array"), 4).is_ok())),
    ("FrozenArray::from_slice", |_| assert_eq!(FrozenArray::from_slice(&[1, 2]).unwrap()[1], 2)),
    ("SharedCounter::new", |_| assert_eq!(SharedCounter::new(5).unwrap().increment().unwrap(), 6)),
    ("SharedCounter::create", |p| assert_eq!(SharedCounter::create(named(p, "first"), 5).unwrap().get(), 5)),
    ("SharedCounter::open", |p| assert_eq!(SharedCounter::open(named(p, "counter")).unwrap().get(), 7)),
    ("SharedCounter::open_or_create", |p| assert_eq!(SharedCounter::open_or_create(named(p, "counter"), 5).unwrap().get(), 7)),
    ("SharedAtomic::new", |_| assert_eq!(SharedAtomic::<AtomicU32>::new(5).unwrap().fetch_add(1, SEQ), 5)),
    ("SharedAtomic::create", |p| assert_eq!(SharedAtomic::<AtomicU32>::create(named(p, "first"), 5).unwrap().load(SEQ), 5)),
    ("SharedAtomic::open", |p| assert_eq!(SharedAtomic::<AtomicU32>::open(named(p, "atomic")).unwrap().load(SEQ), 7)),
    ("SharedAtomic::open_or_create", |p| assert!(SharedAtomic::<AtomicU32>::open_or_create(named(p, "atomic"), 5).is_ok())),
    ("SharedAtomicArray::new", |_| assert_eq!(SharedAtomicArray::<AtomicU32>::new(5).unwrap().len(), 5)),
    ("SharedAtomicArray::create", |p| assert!(SharedAtomicArray::<AtomicU32>::create(named(p, "first"), 5).is_ok())),
    ("SharedAtomicArray::open", |p| assert_eq!(SharedAtomicArray::<AtomicU32>::open(named(p, "atomics")).unwrap().len(), 4)),
    ("SharedAtomicArray::open_or_create", |p| assert!(SharedAtomicArray::<AtomicU32>::open_or_create(named(p, "atomics"), 4).is_ok())),
    ("SharedMap::with_capacity", |_| assert!(SharedMap::<u8, u8>::with_capacity(1 << 16).unwrap().is_empty())),
    ("SharedMap::create", |p| assert!(SharedMap::<u8, u8>::create(named(p, "first"), 1 << 16).unwrap().is_empty())),
    ("SharedMap::open", |p| assert_eq!(SharedMap::<u64, u64>::open(named(p, "map")).unwrap().get(&1), Ok(Some(7)))),
    ("SharedMap::open_or_create", |p| assert!(SharedMap::<u64, u64>::open_or_create(named(p, "map"), 1 << 16).is_ok())),
    ("SharedQueue::new", |_| assert_eq!(SharedQueue::<u8>::new(5).unwrap().put(1), Ok(()))),
    ("SharedQueue::create", |p| assert!(SharedQueue::<u8>::create(named(p, "first"), 5).is_ok())),
    ("SharedQueue::open", |p| assert_eq!(SharedQueue::<u64>::open(named(p, "queue")).unwrap().get(), Ok(7))),
    ("SharedQueue::open_or_create", |p| assert_eq!(SharedQueue::<u64>::open_or_create(named(p, "queue"), 4).unwrap().get(), Ok(7))),
    ("pipe", |_| assert!(pipe::<u8>().unwrap().0.send(1).is_ok())),
    ("Connection::pair", |_| assert!(Connection::<u8>::pair(5).unwrap().0.send(1).is_ok())),
    ("Connection::create", |p| assert!(Connection::<u8>::create(named(p, "first"), 5).is_ok())),
    ("Connection::open", |p| assert_eq!(Connection::<u64>::open(named(p, "pipe")).unwrap().recv(), Ok(7))),
    ("ring", |_| assert_eq!(ring::<u8>(5).unwrap().0.push(1), Ok(()))),
    ("Producer::create", |p| assert!(Producer::<u8>::create(named(p, "first"), 5).is_ok())),
    ("Consumer::create", |p| assert!(Consumer::<u8>::create(named(p, "first"), 5).is_ok())),
    ("Producer::open", |p| assert_eq!(Producer::<u64>::open(named(p, "ring to us")).unwrap().push(1), Ok(()))),
    ("Consumer::open", |p| assert_eq!(Consumer::<u64>::open(named(p, "ring")).unwrap().pop(), Ok(7))),
    ("clean", |_| assert!(clean().is_ok())),
    ("clean_folder", |p| assert_eq!(clean_folder(folder_of(p)).unwrap(), ["orphan"])),
    ("create over an orphan", |p| assert!(Segment::builder().folder(folder_of(p)).create("orphan").is_ok())),
    ("process::current", |_| assert!(!process::current().name().is_empty())),
    ("process::active_children", |_| assert!(process::active_children().is_empty())),
    ("Process::spawn", |_| assert_eq!(Process::spawn(|| 5, ()).unwrap().join(), Ok(5))),
    ("Process::fork", |_| refused(Process::fork(|| 5), ErrorKind::NotForkable)),
    ("Builder::spawn, by a server", |_| assert_eq!(crate::by("fork-server").spawn(|| 5, ()).unwrap().join(), Ok(5))),
    ("process::scope", |_| assert_eq!(process::scope(|scope| Ok(scope.spawn(|| 5, ())?.join())).unwrap(), Ok(5))),
    ("Pool::new", |_| assert_eq!(Pool::new(1).unwrap().apply(|a: u8| a, (5,)), Ok(5))),
    ("Pool::builder", |_| assert_eq!(Pool::builder().workers(1).start_method(StartMethod::ForkServer).build().unwrap().apply(|a: u8| a, (5,)), Ok(5))),
];

const SEQ: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

#[track_caller]
fn refused<T>(outcome: Result<T>, kind: ErrorKind) {
    assert_eq!(outcome.map(drop).unwrap_err().kind(), kind);
}

/// What the calls open, for as long as they run.
struct Stage {
    prefix: String,
    _kept: Vec<Box<dyn std::any::Any>>,
}

impl Stage {
    fn new() -> Self {
        let prefix = unique("first-call");
        let p = prefix.as_str();
        std::fs::create_dir(folder_of(p)).unwrap();
        let segment = Segment::create(named(p, "segment"), 8192).unwrap();
        segment.value("value", 1_u8).unwrap();
        let array = SharedArray::<u64>::create(named(p, "array"), 4).unwrap();
        array.fill(7).unwrap();
        let map = SharedMap::<u64, u64>::create(named(p, "map"), 1 << 16).unwrap();
        map.insert(&1, &7).unwrap();
        let queue = SharedQueue::<u64>::create(named(p, "queue"), 4).unwrap();
        queue.put(7).unwrap();
        let pipe = Connection::<u64>::create(named(p, "pipe"), 4).unwrap();
        pipe.send(7).unwrap();
        let mut producer = Producer::<u64>::create(named(p, "ring"), 4).unwrap();
        producer.push(7).unwrap();
        let file = Segment::create_file(folder_of(p).join("file"), 8192).unwrap();
        let kept: Vec<Box<dyn std::any::Any>> = vec![
            Box::new((segment, array, map, queue, pipe, producer, file)),
            Box::new(SharedValue::create(named(p, "value"), 7_u64).unwrap()),
            Box::new(SharedCounter::create(named(p, "counter"), 7).unwrap()),
            Box::new(SharedAtomic::<AtomicU32>::create(named(p, "atomic"), 7).unwrap()),
            Box::new(SharedAtomicArray::<AtomicU32>::create(named(p, "atomics"), 4).unwrap()),
            Box::new(Consumer::<u64>::create(named(p, "ring to us"), 4).unwrap()),
        ];
        Stage { prefix, _kept: kept }
    }

    /// A command that makes this call in a process of its own.
    fn command(&self, call: &str) -> Command {
        let mut command = other_program("first_call::inner", CALL);
        command.env(CALL, call).env(PREFIX, &self.prefix);
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(folder_of(&self.prefix)).unwrap();
    }
}

/// Leaves a segment whose creator was killed, and whose PID somebody else has by now: as after the restart of a container,
/// where PID 1 is always somebody's.
fn leave_an_orphan(stage: &Stage) {
    let status = stage.command("die").output().unwrap().status;
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    give_its_line_to_us(&folder_of(&stage.prefix).join("procshare.orphan"));
}

/// Puts this process's PID in the place of a dead one's in the attach table: `[ start:32 | image:8 | PID:22 ]`.
fn give_its_line_to_us(path: &Path) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 16 * 8).unwrap();
    let line = u64::from_ne_bytes(bytes);
    assert_ne!(line, 0);
    let forged = (line & !0x3f_ffff | u64::from(std::process::id())) ^ 1 << 30;
    file.write_all_at(&forged.to_ne_bytes(), 16 * 8).unwrap();
}

#[test]
fn every_function_works_as_the_first_call() {
    let _watchdog = watchdog(200);
    let mut failed = vec![];
    for (name, _) in CALLS {
        let stage = Stage::new();
        leave_an_orphan(&stage);
        let output = stage.command(name).output().unwrap();
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            failed.push(format!("{name}: {}\n{text}", output.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[procshare::test]
#[ignore = "run by another, as another program"]
fn inner() {
    let (Ok(call), Ok(prefix)) = (std::env::var(CALL), std::env::var(PREFIX)) else {
        return;
    };
    if call == "die" {
        let _orphan = Segment::builder().folder(folder_of(&prefix)).create("orphan").unwrap();
        // SAFETY: two numbers.
        unsafe { libc::kill(std::process::id() as libc::pid_t, libc::SIGKILL) };
    }
    let (_, body) = CALLS.iter().find(|(name, _)| *name == call).unwrap();
    body(&prefix);
}
