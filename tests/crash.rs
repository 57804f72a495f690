//! A real process is killed at every named point of every protocol; a survivor finds things in order.
//!
//! The child gets `PROCSHARE_CRASH_AT` and must die of SIGKILL: a point that is not reached fails the test. The
//! survivor is this process.

#![cfg(feature = "crash-points")]

mod common;
#[path = "common/role.rs"]
mod role;

use common::watchdog;
use procshare::__private::CRASH_POINTS;
use procshare::{ErrorKind, LockError, Segment, SegmentBuilder, SharedArray, SharedValue, clean_folder};
use role::{Actor, Folder, file_of, listen, say, word_at, write_at};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Large enough to be written in several steps.
type Whole = [u64; 4];
const OLD: Whole = [1; 4];
const NEW: Whole = [2; 4];
const SEGMENT: &str = "shared";
/// Promised are 100 ms; a busy test machine may keep us from the processor as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Set in the lock's second word, its bell, while somebody sleeps for it.
const RAISED: u64 = 1;
/// Byte offset of the boot id in the header.
const BOOT_ID: u64 = 6 * 8;

#[test]
fn plays_a_role() {
    role::play(&[
        ("set the value", |arguments| value(&open(arguments)).set(NEW)),
        ("change the array", |arguments| {
            array(&open(arguments)).get_lock().expect("it is whole").fill(2);
        }),
        ("let a waiter in", let_a_waiter_in),
        ("publish thrice", |arguments| {
            let value = value(&open(arguments));
            for passage in 1..=3 {
                assert_eq!(listen(), "publish");
                value.set([passage; 4]);
                say(&passage.to_string());
            }
        }),
        ("lock on and on", |arguments| {
            let value = value(&open(arguments));
            say("begins");
            loop {
                drop(value.get_lock());
            }
        }),
        ("place", |arguments| {
            drop(open(arguments).value("new", NEW).expect("there is room"))
        }),
        ("create", |arguments| {
            let segment = builder(arguments).create("made").expect("the folder is the test's");
            segment.value("value", OLD).expect("there is room");
        }),
        ("open or create", |arguments| {
            let segment = builder(arguments)
                .open_or_create("made")
                .expect("the folder is the test's");
            segment.value("value", OLD).expect("there is room");
        }),
        ("open", |arguments| drop(open(arguments))),
        ("unlink", |arguments| {
            open(arguments).unlink().expect("the name is there")
        }),
        ("open the file", |arguments| {
            Segment::open_file(file(Path::new(&arguments[0]))).expect("it can be reset");
        }),
    ]);
}

fn builder(arguments: &[String]) -> SegmentBuilder {
    Segment::builder().folder(&arguments[0])
}

fn open(arguments: &[String]) -> Segment {
    builder(arguments).open(SEGMENT).expect("the test made it")
}

fn value(segment: &Segment) -> SharedValue<Whole> {
    segment.open_value("value").expect("the test made it")
}

fn array(segment: &Segment) -> SharedArray<u64> {
    segment.open_array("array").expect("the test made it")
}

fn file(folder: &Path) -> PathBuf {
    folder.join("file")
}

/// A segment with a value and an array, in a folder of its own, and what was measured.
struct Stage {
    folder: Folder,
    segment: Segment,
    value: SharedValue<Whole>,
    array: SharedArray<u64>,
}

static LONGEST: Mutex<(Duration, &str)> = Mutex::new((Duration::ZERO, ""));

impl Stage {
    fn new() -> Self {
        let folder = Folder::new();
        let segment = folder
            .builder()
            .capacity(8192)
            .create(SEGMENT)
            .expect("the folder is ours");
        let value = segment.value("value", OLD).expect("there is room");
        let array = segment.array("array", 4).expect("there is room");
        array.fill(1).expect("it is whole");
        Stage {
            folder,
            segment,
            value,
            array,
        }
    }

    /// Where the lock of an object stands in the segment's file.
    fn lock_of(&self, name: &str) -> (PathBuf, u64) {
        let objects = self.segment.objects().expect("it is whole");
        let object = objects.iter().find(|object| object.name == name).expect("it is there");
        (file_of(&self.folder.0, SEGMENT), object.offset)
    }

    /// Starts a child that is to die at `point`.
    fn victim(&self, point: &str, role: &str, arguments: &[&str]) -> Actor {
        victim(&self.folder, point, role, arguments)
    }

    /// The next lock of the value comes soon and finds one of `expected`; the lock is good from then on.
    fn value_is(&self, point: &'static str, expected: &[Whole]) {
        let seen = self.value.get();
        assert!(expected.contains(&seen), "{point}: read without the lock: {seen:?}");
        let locked = timed(point, || self.value.get_lock());
        assert_eq!(*locked, seen, "{point}: what was read is what is there");
        drop(locked);
        self.value.set([3; 4]);
        assert_eq!(self.value.try_get_lock().map(|guard| *guard), Ok([3; 4]), "{point}");
    }

    /// The next lock of the array comes soon; whether it says that its owner died.
    fn array_says(&self, point: &'static str) -> bool {
        let (died, elements) = match timed(point, || self.array.get_lock()) {
            Ok(guard) => (false, guard.to_vec()),
            Err(LockError::OwnerDied(mut guard)) => {
                let elements = guard.to_vec();
                guard.fill(3);
                drop(guard);
                // Said to everybody until somebody recovers.
                assert!(matches!(self.array.get(0), Err(LockError::OwnerDied(()))), "{point}");
                let Err(LockError::OwnerDied(mut guard)) = self.array.get_lock() else {
                    panic!("{point}: forgotten before anybody recovered")
                };
                guard.recover();
                (true, elements)
            }
            Err(error) => panic!("{point}: {error}"),
        };
        assert!(
            elements.iter().all(|&element| element == 1 || element == 2),
            "{point}: {elements:?}"
        );
        assert!(self.array.fill(4).is_ok() && self.array.get(0) == Ok(4), "{point}");
        died
    }

    /// The rest works as before, and nothing is left when we go.
    fn leaves_nothing(self, point: &str) {
        let Stage {
            folder,
            segment,
            value,
            array,
        } = self;
        assert_eq!(
            folder.builder().open(SEGMENT).is_ok(),
            folder.names().contains(&format!("procshare.{SEGMENT}"))
        );
        segment
            .counter("further", 1)
            .expect("there is room")
            .increment()
            .expect("it is small");
        drop((segment, value, array));
        assert!(folder.names().is_empty(), "{point}: left {:?}", folder.names());
        nothing_is_left(&folder, point);
    }
}

fn victim(folder: &Folder, point: &str, role: &str, arguments: &[&str]) -> Actor {
    let arguments: Vec<&str> = [folder.path()].iter().chain(arguments).copied().collect();
    let mut command = role::command(role, &arguments);
    command.env("PROCSHARE_CRASH_AT", point);
    Actor::new(command)
}

fn dies(point: &str, mut child: Actor) {
    assert_eq!(child.ended(), Some(libc::SIGKILL), "{point} was never reached");
}

/// How long the first lock after a death took counts for the report.
fn timed<R>(point: &'static str, step: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let outcome = step();
    let pause = begin.elapsed();
    assert!(pause < PATIENCE, "{point}: {pause:?}");
    let mut longest = LONGEST.lock().expect("no scenario failed");
    if pause > longest.0 {
        *longest = (pause, point);
    }
    outcome
}

fn nothing_is_left(folder: &Folder, point: &str) {
    clean_folder(&folder.0).expect("the folder is ours");
    let left: Vec<String> = folder.names().into_iter().filter(|name| name != "file").collect();
    assert!(left.is_empty(), "{point}: left {left:?}");
}

/// The child locks, and dies as a holder, a publisher or somebody who just let go.
fn locking(point: &'static str, may_be: &[Whole], array_died: Option<bool>) {
    let stage = Stage::new();
    dies(point, stage.victim(point, "set the value", &[]));
    stage.value_is(point, may_be);
    if let Some(died) = array_died {
        dies(point, stage.victim(point, "change the array", &[]));
        assert_eq!(
            stage.array_says(point),
            died,
            "{point}: told exactly when it may be half-changed"
        );
    }
    stage.leaves_nothing(point);
}

fn in_place(point: &'static str) {
    let stage = Stage::new();
    dies(point, stage.victim(point, "change the array", &[]));
    assert!(stage.array_says(point));
    stage.value_is(point, &[OLD]);
    stage.leaves_nothing(point);
}

/// Polls until somebody sleeps for the lock, or `over` says that nobody ever will.
fn await_waiter((path, offset): &(PathBuf, u64), mut over: impl FnMut() -> bool) {
    while word_at(path, *offset + 8) & RAISED == 0 && !over() {
        std::thread::yield_now();
    }
}

/// Holds the lock until somebody waits for it, and lets go.
fn let_a_waiter_in(arguments: &[String]) {
    let (place, object) = (
        (PathBuf::from(&arguments[1]), arguments[2].parse().expect("a number")),
        &arguments[3],
    );
    let segment = open(arguments);
    if object == "value" {
        let value = value(&segment);
        let mut guard = value.get_lock();
        *guard = NEW;
        say("held");
        await_waiter(&place, || false);
        drop(guard);
    } else {
        let array = array(&segment);
        let mut guard = array.get_lock().expect("it is whole");
        guard.fill(2);
        say("held");
        await_waiter(&place, || false);
        drop(guard);
    }
}

/// The child unlocks and dies before it wakes the sleeper.
fn a_wake_up_never_comes(point: &'static str) {
    let stage = Stage::new();
    for object in ["value", "array"] {
        let (path, offset) = stage.lock_of(object);
        let arguments = [path.to_str().expect("it is text"), &offset.to_string(), object];
        let mut child = stage.victim(point, "let a waiter in", &arguments);
        assert_eq!(child.hear(), "held");
        if object == "value" {
            assert_eq!(*stage.value.get_lock(), NEW, "published before the unlock");
        } else {
            assert!(!stage.array_says(point), "the owner was done with it");
        }
        dies(point, child);
    }
    stage.value_is(point, &[NEW]);
    stage.leaves_nothing(point);
}

/// The child dies as it falls asleep, or as it is woken, while we hold the lock and let go.
fn a_waiter_dies(point: &'static str) {
    let stage = Stage::new();
    let place = stage.lock_of("value");
    let mut child = stage.victim(point, "lock on and on", &[]);
    assert_eq!(child.hear(), "begins");
    // A sleeper may see the word move before the wake-up reaches it; then it comes again.
    loop {
        let mut guard = timed(point, || stage.value.get_lock());
        await_waiter(&place, || child.is_over());
        *guard = NEW;
        drop(guard);
        if child.is_over() {
            break;
        }
    }
    dies(point, child);
    // Nobody who slept beside it is forgotten: a wake-up that died costs a slice.
    let sleeper = {
        let guard = stage.value.get_lock();
        let value = stage.value.clone();
        let sleeper = std::thread::spawn(move || timed(point, || value.update(|value| value[0])));
        await_waiter(&place, || false);
        drop(guard);
        sleeper
    };
    assert_eq!(sleeper.join().expect("it locks"), NEW[0], "{point}");
    stage.value_is(point, &[NEW]);
    stage.leaves_nothing(point);
}

/// The child takes over from one who died, and dies itself.
fn an_heir_dies(point: &'static str) {
    let stage = Stage::new();
    for role in ["set the value", "change the array"] {
        dies("lock.acquired", stage.victim("lock.acquired", role, &[]));
        dies(point, stage.victim(point, role, &[]));
        dies(point, stage.victim(point, role, &[]));
    }
    stage.value_is(point, &[OLD]);
    assert!(stage.array_says(point));
    stage.leaves_nothing(point);
}

/// The child dies while it places an object: that is there whole, or not at all.
fn placing(point: &'static str, there: bool) {
    let (stage, calm) = (Stage::new(), Stage::new());
    dies(point, stage.victim(point, "place", &[]));
    let names = |stage: &Stage| -> Vec<String> {
        let objects = stage.segment.objects().expect("it is whole");
        objects.into_iter().map(|object| object.name).collect()
    };
    assert_eq!(names(&stage).contains(&"new".to_owned()), there, "{point}");
    assert_eq!(stage.segment.open_value::<Whole>("new").is_ok(), there, "{point}");
    let other = timed(point, || stage.segment.value("other", 5u64)).expect("there is room");
    let new = stage.segment.value("new", OLD).expect("there is room");
    assert_eq!((other.get(), new.get()), (5, if there { NEW } else { OLD }), "{point}");
    drop((other, new));
    // As much is free as where nobody died.
    if there {
        calm.segment.value("new", OLD).expect("there is room");
    }
    calm.segment.value("other", 5u64).expect("there is room");
    calm.segment.value("new", OLD).expect("there is room");
    assert_eq!(names(&stage), names(&calm), "{point}");
    assert_eq!(stage.segment.free(), calm.segment.free(), "{point}");
    stage.value_is(point, &[OLD]);
    stage.leaves_nothing(point);
    calm.leaves_nothing(point);
}

/// The child dies while it makes a segment, which then has no name, or a name nobody keeps.
fn creating(point: &'static str, named: bool) {
    for role in ["create", "open or create"] {
        let folder = Folder::new();
        dies(point, victim(&folder, point, role, &[]));
        let expected: &[&str] = if named { &["procshare.made"] } else { &[] };
        assert_eq!(folder.names(), expected, "{point}");
        assert_eq!(
            folder.builder().open("made").is_ok(),
            named,
            "{point}: whole or not there"
        );
        assert!(folder.names().is_empty(), "{point}: we were the last user");
        dies(point, victim(&folder, point, role, &[]));
        let made = folder.builder().create("made").expect("whatever was left makes room");
        assert!(made.objects().expect("it is whole").is_empty(), "{point}");
        drop(made);
        dies(point, victim(&folder, point, role, &[]));
        assert_eq!(
            clean_folder(&folder.0).expect("the folder is ours").len(),
            usize::from(named),
            "{point}"
        );
        assert!(folder.names().is_empty(), "{point}: left {:?}", folder.names());
    }
}

/// The child dies while it attaches: no trace of it keeps the name from going with the last user.
fn opening(point: &'static str) {
    let stage = Stage::new();
    dies(point, stage.victim(point, "open", &[]));
    stage.value_is(point, &[OLD]);
    stage.leaves_nothing(point);
}

/// The child dies while it detaches, with us attached and as the last user.
fn detaching(point: &'static str, last_only: bool, name_stays: bool) {
    if !last_only {
        let stage = Stage::new();
        dies(point, stage.victim(point, "open", &[]));
        stage.value_is(point, &[OLD]);
        stage.leaves_nothing(point);
    }
    let folder = Folder::new();
    let leave = || {
        dies(point, victim(&folder, point, "create", &[]));
        assert_eq!(!folder.names().is_empty(), name_stays, "{point}");
    };
    leave();
    let opened = folder.builder().open("made");
    assert_eq!(opened.is_ok(), name_stays, "{point}");
    drop(opened);
    assert!(folder.names().is_empty(), "{point}");
    leave();
    drop(folder.builder().create("made").expect("whatever was left makes room"));
    leave();
    nothing_is_left(&folder, point);
}

fn unlinking(point: &'static str, name_stays: bool) {
    let stage = Stage::new();
    dies(point, stage.victim(point, "unlink", &[]));
    assert_eq!(stage.folder.names().len(), usize::from(name_stays), "{point}");
    let unlinked = timed(point, || stage.segment.unlink());
    let expected = if name_stays { None } else { Some(ErrorKind::NotFound) };
    assert_eq!(unlinked.err().map(|error| error.kind()), expected, "{point}");
    let next = stage.folder.builder().create(SEGMENT).expect("the name is free");
    stage.value_is(point, &[OLD]);
    drop(next);
    assert!(stage.folder.names().is_empty(), "{point}");
    stage.leaves_nothing(point);
}

/// The child dies while it frees the locks of an earlier start of the machine; the next begins again.
fn resetting(point: &'static str) {
    let folder = Folder::new();
    let path = file(&folder.0);
    let segment = Segment::create_file(&path, 8192).expect("the folder is ours");
    let value = segment.value("value", OLD).expect("there is room");
    let array = segment.array::<u64>("array", 4).expect("there is room");
    let objects = segment.objects().expect("it is whole");
    // Held by this thread, which lives on: only a reset frees them.
    std::mem::forget((value.get_lock(), array.get_lock().expect("it is whole")));
    let owner = word_at(&path, objects[0].offset);
    drop((value, array, segment));
    let boot_id = [word_at(&path, BOOT_ID), word_at(&path, BOOT_ID + 8)];
    write_at(&path, BOOT_ID, &[0x5a; 16]);
    dies(point, victim(&folder, point, "open the file", &[]));
    dies(point, victim(&folder, point, "open the file", &[]));
    assert_ne!(
        [word_at(&path, BOOT_ID), word_at(&path, BOOT_ID + 8)],
        boot_id,
        "{point}: stamped last"
    );
    assert_ne!(owner, 0);

    let segment = timed(point, || Segment::open_file(&path)).expect("the next resets it");
    assert_eq!(
        [word_at(&path, BOOT_ID), word_at(&path, BOOT_ID + 8)],
        boot_id,
        "{point}"
    );
    let value = segment.open_value::<Whole>("value").expect("it is there");
    assert_eq!(value.try_get_lock().map(|guard| *guard), Ok(OLD), "{point}");
    let array = segment.open_array::<u64>("array").expect("it is there");
    assert!(
        matches!(array.get(0), Err(LockError::OwnerDied(()))),
        "{point}: its holder died with the machine"
    );
    segment.unlink().expect("the name is there");
    assert!(folder.names().is_empty());
}

/// What happens at a point; `None` if this file does not know it.
fn scenario(point: &'static str) -> Option<()> {
    match point {
        "lock.acquired" => locking(point, &[OLD], Some(true)),
        "publish.begin" | "publish.half" | "publish.written" => locking(point, &[OLD], None),
        "publish.published" => locking(point, &[NEW], None),
        "unlock.begin" => locking(point, &[NEW], Some(true)),
        "array.guarded" => in_place(point),
        "unlock.released" => a_wake_up_never_comes(point),
        "lock.waiting" | "lock.woken" => a_waiter_dies(point),
        "lock.taken_over" => an_heir_dies(point),
        "create.opened" | "create.locked" | "create.allocated" | "create.formatted" | "create.registered" => {
            creating(point, false);
        }
        "create.linked" => creating(point, true),
        "open.opened" | "open.locked" | "open.mapped" | "open.registered" => opening(point),
        "place.locked" | "place.object" | "place.entry" => placing(point, false),
        "place.published" | "place.counted" => placing(point, true),
        "detach.begin" | "detach.deregistered" | "detach.unlocked" => detaching(point, false, true),
        "detach.exclusive" => detaching(point, true, true),
        "detach.unlinked" => detaching(point, true, false),
        "unlink.begin" => unlinking(point, true),
        "unlink.done" => unlinking(point, false),
        "reset.locks" | "reset.stamped" => resetting(point),
        _ => return None,
    }
    Some(())
}

#[test]
fn a_process_may_die_at_every_named_point() {
    let _watchdog = watchdog(120);
    // Those of queues, pipes and rings are met in `tests/crash_messages`, those of maps in `tests/crash_map`, those of
    // children in `tests/crash_process`, those of pools in `tests/crash_pool`.
    let elsewhere = ["bell.", "queue.", "seat.", "ring.", "map.", "start.", "pool."];
    let points = CRASH_POINTS
        .iter()
        .filter(|point| !elsewhere.iter().any(|prefix| point.starts_with(prefix)));
    for point in points.clone() {
        assert!(scenario(point).is_some(), "{point} has no scenario here");
    }
    let (pause, point) = *LONGEST.lock().expect("no scenario failed");
    let count = points.count();
    eprintln!("{count} points; longest pause after a death: {pause:?}, at {point}");
}

/// The names in `crash_point!` calls of the sources.
fn named_in_sources(folder: &Path, names: &mut Vec<String>) {
    for file in std::fs::read_dir(folder).expect("the sources are here") {
        let path = file.expect("the sources are here").path();
        if path.is_dir() {
            named_in_sources(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("it is text");
            let calls = text.split("crash_point!(\"").skip(1);
            names.extend(calls.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
        }
    }
}

#[test]
fn the_list_holds_every_point_of_the_sources_once() {
    let listed: BTreeSet<&str> = CRASH_POINTS.iter().copied().collect();
    assert_eq!(listed.len(), CRASH_POINTS.len(), "listed twice");
    let mut names = Vec::new();
    named_in_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    let named: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(listed, named);
}

/// The child dies at the third passage, not before.
#[test]
fn a_passage_can_be_chosen() {
    let stage = Stage::new();
    let mut child = stage.victim("publish.published:3", "publish thrice", &[]);
    for passage in 1..3u64 {
        child.tell("publish");
        assert_eq!(child.hear(), passage.to_string());
    }
    child.tell("publish");
    dies("publish.published:3", child);
    assert_eq!(stage.value.get(), [3; 4]);
}
