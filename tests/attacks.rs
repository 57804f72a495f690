//! Attacks on the protocols that once succeeded: each test repeats one, and finds it fail.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/role.rs"]
mod role;

use common::unique;
use forked::{Child, End, Frame, Pipe, until};
use procshare::{Error, ErrorKind, LockError, Segment, SharedArray, SharedValue, clean_folder};
use role::{Actor, Folder, file_of, is_root, listen, say, word_at, write_at};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A lock whose holder is dead is had within this time, whatever the attacker does.
const SOON: Duration = Duration::from_millis(500);
/// When a waiter gives up.
const LATE: Duration = Duration::from_secs(3);
const PAGE: usize = 4096;
/// Byte offsets in a segment's header.
const VERSION: u64 = 8;
const FLAGS: u64 = 12;
const PID_NAMESPACE: u64 = 32;
const BOOT_ID: u64 = 48;
const USED: u64 = 80;
const LAST: u64 = 104;
const ATTACHED: u64 = 128;
const ATTACH_ENTRIES: u64 = 64;

#[test]
fn plays_a_role() {
    role::play(&[
        ("holds", holds),
        ("attaches again", attaches_again),
        ("inherits", inherits),
    ]);
}

fn frame() -> Frame {
    forked::frame_for(Duration::from_secs(30))
}

fn kind<T>(outcome: Result<T, Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

fn assert_called(result: libc::c_int) {
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Takes the lock soon, from a holder that is dead.
fn assert_taken_soon(value: &SharedValue<u64>) {
    let asked = Instant::now();
    let outcome = value.get_lock_timeout(LATE).map(drop);
    let taken = asked.elapsed();
    assert_eq!(outcome, Ok(()));
    assert!(taken < SOON, "the lock came after {taken:?}");
}

// 1.

/// Overwrites an array in one long system call, and aborts in the middle of it.
fn dump_core_while_reading(array: &SharedArray<u8>, source: &File, held: &Pipe) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to one limit.
    assert_called(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) });
    thread::scope(|scope| {
        let mut guard = array.get_lock().unwrap();
        held.say();
        let middle = guard.as_ptr().wrapping_add(PAGE) as usize;
        scope.spawn(move || {
            loop {
                // SAFETY: the address lies in the array, which is mapped as long as this process lives.
                if unsafe { (middle as *const u8).read_volatile() } == 7 {
                    // SAFETY: the call ends the process.
                    unsafe { libc::abort() };
                }
            }
        });
        loop {
            source.read_exact_at(&mut guard, 0).unwrap();
        }
    });
}

/// Threads that are inside a system call when another one dumps core go on to its end.
#[test]
fn nobody_gets_an_array_while_a_dead_process_still_reads_into_it() {
    const LENGTH: usize = 96 << 20;
    let _frame = frame();
    // SAFETY: the name is a string with its end; the kernel makes a descriptor for us.
    let source = unsafe { libc::memfd_create(c"attack".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(source >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made; nobody else owns it.
    let source = unsafe { File::from_raw_fd(source) };
    for piece in 0..LENGTH / (1 << 20) {
        source.write_all_at(&[7; 1 << 20], (piece << 20) as u64).unwrap();
    }
    let array = SharedArray::<u8>::new(LENGTH).unwrap();
    for _ in 0..3 {
        array.fill(0).unwrap();
        let held = Pipe::new();
        let mut child = Child::fork(|| dump_core_while_reading(&array, &source, &held));
        held.hear();
        let mut guard = match array.get_lock() {
            Err(LockError::OwnerDied(guard)) => guard,
            outcome => panic!(
                "the holder has died: {:?}",
                outcome.map(drop).map_err(|_| "another error")
            ),
        };
        guard.recover();
        guard.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        assert_eq!(child.end(), End::Killed(libc::SIGABRT));
        let changed = guard.iter().step_by(PAGE).filter(|byte| **byte != 1).count();
        assert_eq!(changed, 0, "pages a dead process wrote to under our lock");
    }
}

// 2.

/// Moves this process, which has one thread, to a time namespace whose clock is another. False if there are none.
fn move_in_time() -> bool {
    // SAFETY: a number; it concerns this process's future children.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        eprintln!("skipped: no time namespaces here: {}", io::Error::last_os_error());
        return false;
    }
    std::fs::write("/proc/self/timens_offsets", "boottime 100000 0").unwrap();
    let namespace = File::open("/proc/self/ns/time_for_children").unwrap();
    // SAFETY: the descriptor is open; the call moves this process and touches no memory.
    assert_called(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWTIME) });
    true
}

#[test]
fn who_moves_to_another_time_takes_no_lock_from_the_living() {
    let _frame = frame();
    if !is_root("moving to another time namespace") {
        return;
    }
    let (value, name) = (SharedValue::new(0u64).unwrap(), unique("time"));
    let (held, moved) = (Pipe::new(), Pipe::new());
    let holder = Child::fork(|| {
        let _segment = Segment::create(&name, PAGE).unwrap();
        let _guard = value.get_lock();
        held.say();
        moved.hear();
    });
    held.hear();
    Child::fork(|| {
        // Its id is computed here.
        assert_eq!(value.try_get_lock().map(drop), Err(LockError::WouldBlock));
        if !move_in_time() {
            return;
        }
        for _ in 0..2 {
            assert!(value.try_get_lock().is_err(), "its holder lives");
            assert!(
                value.get_lock_timeout(Duration::from_millis(100)).is_err(),
                "its holder lives"
            );
        }
        // Nor is the living holder's line in the attach table taken for a dead one's.
        assert!(Segment::create(&name, PAGE).is_err(), "somebody uses it");
    })
    .finish();
    moved.say();
    holder.finish();
}

// 3.

extern "C" fn count_nothing(_: libc::c_int) {}

/// Interrupts this process a thousand times in a second.
fn interrupt_without_end() {
    // SAFETY: zero is a value of every field: numbers, a set of signals, no restorer.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count_nothing as *const () as usize;
    // SAFETY: `action` is whole, and its handler does nothing.
    assert_called(unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) });
    let often = libc::timeval {
        tv_sec: 0,
        tv_usec: 1000,
    };
    let timer = libc::itimerval {
        it_interval: often,
        it_value: often,
    };
    // SAFETY: `timer` is whole, and the old one is not asked for.
    assert_called(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) });
}

#[test]
fn a_waiter_whose_sleep_is_always_interrupted_notices_an_exec() {
    let _frame = frame();
    let value = SharedValue::new(0u64).unwrap();
    let holder = Child::fork(|| {
        std::mem::forget(value.get_lock());
        let error = Command::new("sleep").arg("60").exec();
        panic!("{error}");
    });
    let ours = std::fs::read_link("/proc/self/exe").unwrap();
    until("the holder is another program", || {
        std::fs::read_link(format!("/proc/{}/exe", holder.id())).unwrap() != ours
    });
    Child::fork(|| {
        interrupt_without_end();
        assert_taken_soon(&value);
    })
    .finish();
}

// 4. and 10.

/// Lets this process open nothing more.
fn take_all_descriptors() {
    let few = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: the pointer is to one limit.
    assert_called(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &few) });
    while let Ok(file) = File::open("/dev/null") {
        std::mem::forget(file);
    }
    assert_eq!(File::open("/dev/null").unwrap_err().raw_os_error(), Some(libc::EMFILE));
}

#[test]
fn a_waiter_without_a_free_descriptor_notices_a_death() {
    let _frame = frame();
    let inherited = SharedValue::new(0u64).unwrap();
    for own in [true, false] {
        Child::fork(|| {
            let value = if own {
                SharedValue::new(0).unwrap()
            } else {
                inherited.clone()
            };
            drop(value.get_lock());
            let killed = Child::fork(|| {
                std::mem::forget(value.get_lock());
                // SAFETY: a number; the signal ends the process.
                unsafe { libc::raise(libc::SIGKILL) };
            });
            killed.become_zombie();
            take_all_descriptors();
            assert_taken_soon(&value);
        })
        .finish();
    }
}

#[test]
fn the_last_to_leave_removes_the_name_without_a_free_descriptor() {
    let _frame = frame();
    let folder = Folder::new();
    Child::fork(|| {
        let segment = folder.builder().capacity(PAGE).create("full").unwrap();
        take_all_descriptors();
        drop(segment);
    })
    .finish();
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

// 5.

/// Takes the lock of a segment's value and becomes another program.
fn holds(arguments: &[String]) {
    let segment = Segment::builder().folder(&arguments[0]).open("many").unwrap();
    std::mem::forget(segment.open_value::<u64>("value").unwrap().get_lock());
    let error = role::command("attaches again", &[&arguments[0]]).exec();
    panic!("{error}");
}

fn attaches_again(arguments: &[String]) {
    let _segment = Segment::builder().folder(&arguments[0]).open("many").unwrap();
    say("attached");
    listen();
}

#[test]
fn many_handles_of_one_process_take_one_line_of_the_attach_table() {
    let _frame = frame();
    let folder = Folder::new();
    let builder = folder.builder().capacity(8192);
    let segment = builder.create("many").unwrap();
    let value = segment.value("value", 0u64).unwrap();
    let handles: Vec<_> = (0..70).map(|_| builder.open("many").unwrap()).collect();
    let path = file_of(&folder.0, "many");
    let lines = |path: &Path| {
        let words = (0..ATTACH_ENTRIES).map(|line| word_at(path, ATTACHED + line * 8));
        words.filter(|word| *word != 0).collect::<Vec<_>>()
    };
    let ours = lines(&path);
    assert_eq!(ours.len(), 1, "{ours:x?}");
    assert_eq!(ours[0] & ((1 << 22) - 1), u64::from(std::process::id()));
    // An image number is the former one's in one case of 255.
    let noticed = (0..3).any(|_| {
        let mut other = role::start("holds", &[folder.path()]);
        assert_eq!(other.hear(), "attached");
        let asked = Instant::now();
        let taken = value.get_lock_timeout(LATE).map(drop);
        let soon = asked.elapsed() < SOON;
        other.kill();
        drop(value.get_lock());
        taken.is_ok() && soon
    });
    assert!(noticed, "an exec while the lock was held went unnoticed");
    // Whichever handle made the line, it goes with the last one.
    drop((value, segment));
    assert!(lines(&path).contains(&ours[0]), "handles are left");
    drop(handles);
    assert!(folder.names().is_empty());
}

// 6.

/// A segment of two arrays and a value, whose words the test changes behind its back.
struct Forged {
    folder: Folder,
    segment: Segment,
    whole: Vec<u8>,
}

impl Forged {
    fn new() -> Forged {
        let folder = Folder::new();
        let segment = folder.builder().capacity(8192).create("forged").unwrap();
        segment.array::<u64>("a", 64).unwrap().fill(10).unwrap();
        segment.array::<u64>("b", 64).unwrap().fill(11).unwrap();
        segment.array::<u64>("c", 8).unwrap().fill(12).unwrap();
        segment.value("v", [13u64; 8]).unwrap();
        let whole = std::fs::read(file_of(&folder.0, "forged")).unwrap();
        Forged { folder, segment, whole }
    }

    fn path(&self) -> std::path::PathBuf {
        file_of(&self.folder.0, "forged")
    }

    fn word(&self, at: u64) -> u64 {
        u64::from_ne_bytes(self.whole[at as usize..][..8].try_into().unwrap())
    }

    /// Where the entries stand: each after its object.
    fn entries(&self) -> Vec<u64> {
        let objects = self.segment.objects().unwrap();
        objects
            .iter()
            .map(|object| (object.offset + object.bytes).next_multiple_of(8))
            .collect()
    }

    fn with<R>(&self, words: &[(u64, u64)], look: impl FnOnce(&Segment) -> R) -> R {
        for (at, word) in words {
            write_at(&self.path(), *at, &word.to_ne_bytes());
        }
        let result = look(&self.segment);
        write_at(&self.path(), 0, &self.whole);
        result
    }
}

/// Opens what can be opened, and asserts that no two of the objects share a byte.
fn assert_disjoint(segment: &Segment, forgery: &str) {
    let names = ["a", "b", "c"];
    let arrays: Vec<_> = names
        .iter()
        .filter_map(|name| segment.open_array::<u64>(name).ok())
        .collect();
    let guards: Vec<_> = arrays
        .iter()
        .filter_map(|array| match array.try_get_lock() {
            Ok(guard) | Err(LockError::OwnerDied(guard)) => Some(guard),
            Err(_) => None,
        })
        .collect();
    for (at, one) in guards.iter().enumerate() {
        for other in &guards[at + 1..] {
            let (one, other) = (one.as_ptr_range(), other.as_ptr_range());
            assert!(
                one.end <= other.start || other.end <= one.start,
                "{forgery}: two arrays overlap"
            );
        }
    }
    let copies = || guards.iter().map(|guard| guard.to_vec()).collect::<Vec<_>>();
    let before = copies();
    if let Ok(value) = segment.open_value::<[u64; 8]>("v") {
        if let Ok(mut guard) = value.try_get_lock() {
            *guard = [99; 8];
        }
        assert_eq!(copies(), before, "{forgery}: the value lies in an array");
    }
    if let Ok(mut objects) = segment.objects() {
        // A chain forged to lead into another tells of an object twice.
        objects.dedup();
        let end = |object: &procshare::ObjectInfo| object.offset + object.bytes;
        let apart = objects.windows(2).all(|pair| end(&pair[0]) <= pair[1].offset);
        assert!(apart, "{forgery}: {objects:?}");
    }
}

#[test]
fn a_forged_entry_lets_no_object_reach_into_another() {
    let _frame = frame();
    let forged = Forged::new();
    let (entries, objects) = (forged.entries(), forged.segment.objects().unwrap());
    let mut known: BTreeSet<u64> = [0, 1, 8, 64, 4096, 8192, 8200, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 63].into();
    known.extend(&entries);
    for object in &objects {
        known.extend([object.offset, object.offset + 64, object.bytes, object.len]);
    }
    let mut tried = 0;
    for entry in &entries {
        // Eight words, the name, the schema.
        for at in (0..10).map(|word| entry + word * 8) {
            let word = forged.word(at);
            let near = [1, 8, 64, 128, 1 << 16, 1 << 32].map(|step| [word.wrapping_add(step), word.wrapping_sub(step)]);
            for new in known.iter().chain(near.as_flattened()).filter(|new| **new != word) {
                let forgery = format!("word {} of the entry at {entry} is {new}", (at - entry) / 8);
                forged.with(&[(at, *new)], |segment| assert_disjoint(segment, &forgery));
                tried += 1;
            }
        }
    }
    println!("{tried} forgeries");
    assert_disjoint(&forged.segment, "none");
}

#[test]
fn forged_marks_of_the_bytes_in_use_let_nothing_be_placed() {
    let _frame = frame();
    let forged = Forged::new();
    let (used, last, entries) = (forged.word(USED), forged.word(LAST), forged.entries());
    assert_eq!(Some(&last), entries.last());
    let mut forgeries = vec![
        (USED, 0),
        (USED, u64::MAX),
        (USED, 8192),
        (LAST, 0),
        (LAST, 1),
        (LAST, u64::MAX),
    ];
    forgeries.extend([8, 64].map(|step| (USED, used - step)));
    forgeries.extend([8, 64].map(|step| (USED, used + step)));
    forgeries.extend(entries[..entries.len() - 1].iter().map(|entry| (LAST, *entry)));
    for (at, word) in forgeries {
        let outcome = forged.with(&[(at, word)], |segment| kind(segment.value("new", 1u64)));
        assert_eq!(outcome, Some(ErrorKind::Corrupt), "byte {at} is {word}");
    }
    forged.segment.value("new", 1u64).unwrap();
}

fn most_memory_in_use() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn entries_in_a_circle_are_an_error_and_take_no_memory() {
    let _frame = frame();
    // In a process of its own, whose memory no other test has used.
    Child::fork(|| {
        let folder = Folder::new();
        // Long enough for a list that ends by its length to take a lot.
        let segment = folder.builder().capacity(64 << 20).create("circle").unwrap();
        segment.value("one", 1u64).unwrap();
        segment.value("two", 2u64).unwrap();
        let objects = segment.objects().unwrap();
        let [one, two] = [0, 1].map(|at| objects[at].offset + objects[at].bytes);
        let path = file_of(&folder.0, "circle");
        let before = most_memory_in_use();
        for circle in [vec![(one, one)], vec![(two, two)], vec![(one, two), (two, one)]] {
            for (at, next) in &circle {
                write_at(&path, *at, &next.to_ne_bytes());
            }
            assert_eq!(kind(segment.objects()), Some(ErrorKind::Corrupt));
            let found = ["one", "two", "absent"].map(|name| kind(segment.open_value::<u64>(name)));
            assert!(found[..2].contains(&Some(ErrorKind::Corrupt)), "{found:?}");
            for at in [one, two] {
                write_at(&path, at, &[0; 8]);
            }
        }
        assert!(most_memory_in_use() - before < 4096, "kibibytes");
        segment.unlink().unwrap();
    })
    .finish();
}

// 7.

/// Makes a sealed file of a segment's bytes, and lets this process find it as passed under `key`.
fn pass_sealed(image: &[u8], key: &str) {
    // SAFETY: the name is a string with its end; the kernel makes a descriptor for us.
    let fd = unsafe { libc::memfd_create(c"attack".as_ptr(), libc::MFD_ALLOW_SEALING) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made; nobody else owns it.
    let file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    file.write_all_at(image, 0).unwrap();
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: two numbers; the descriptor is open.
    assert_called(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) });
    let file = file.metadata().unwrap();
    let passed = format!("{fd}:{}:{}:", file.dev(), file.ino());
    // SAFETY: this process was forked, and has one thread.
    unsafe { std::env::set_var(format!("PROCSHARE_SEGMENT_{key}"), passed) };
}

#[test]
fn what_is_made_to_be_written_is_refused_in_a_sealed_segment() {
    let _frame = frame();
    let folder = Folder::new();
    let segment = folder.builder().capacity(8192).create("image").unwrap();
    segment.value("value", 1u64).unwrap();
    segment.counter("counter", 2).unwrap();
    segment.array::<u64>("array", 3).unwrap();
    segment.atomic::<AtomicU64>("atomic", 4).unwrap();
    segment.atomic_array::<AtomicU64>("atomics", 5).unwrap();
    let mut image = std::fs::read(file_of(&folder.0, "image")).unwrap();
    image[FLAGS as usize] = 2;
    Child::fork(|| {
        pass_sealed(&image, "sealed");
        let sealed = Segment::inherited("sealed").unwrap();
        let outcomes = [
            kind(sealed.open_value::<u64>("value").map(|value| value.set(9))),
            kind(sealed.open_counter("counter").and_then(|counter| counter.increment())),
            kind(sealed.open_array::<u64>("array").and_then(|array| Ok(array.set(0, 9)?))),
            kind(
                sealed
                    .open_atomic::<AtomicU64>("atomic")
                    .map(|atomic| atomic.store(9, Ordering::Relaxed)),
            ),
            kind(
                sealed
                    .open_atomic_array::<AtomicU64>("atomics")
                    .map(|atomics| atomics[0].store(9, Ordering::Relaxed)),
            ),
        ];
        assert_eq!(outcomes, [Some(ErrorKind::Seals); 5]);
        assert_eq!(kind(sealed.value("value", 1u64)), Some(ErrorKind::Seals));
    })
    .finish();
}

// 8.

#[test]
fn a_forged_file_of_an_earlier_start_is_refused_without_a_panic() {
    let _frame = frame();
    let folder = Folder::new();
    let path = folder.0.join("file");
    let segment = Segment::create_file(&path, PAGE).unwrap();
    segment.value("value", 1u64).unwrap();
    let object = segment.objects().unwrap().remove(0);
    drop(segment);
    let (whole, length) = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().len());
    let entry = object.offset + object.bytes;
    let forgeries = [
        (length, 0),
        (length - 64, 64),
        (length - 64, 0),
        (u64::MAX - 63, 0),
        (u64::MAX - 63, 64),
        (entry, 0),
        (0, 0),
        (0, entry),
        (object.offset, 0),
    ];
    for (offset, bytes) in forgeries {
        write_at(&path, 0, &whole);
        write_at(&path, entry + 24, &offset.to_ne_bytes());
        write_at(&path, entry + 32, &bytes.to_ne_bytes());
        write_at(&path, BOOT_ID, &[9; 16]);
        let outcome = catch_unwind(AssertUnwindSafe(|| kind(Segment::open_file(&path))));
        let outcome = outcome.unwrap_or_else(|_| panic!("{bytes} bytes at {offset}"));
        assert_eq!(outcome, Some(ErrorKind::Corrupt), "{bytes} bytes at {offset}");
    }
    // An object that could be, but not one of that type.
    write_at(&path, 0, &whole);
    write_at(&path, entry + 24, &object.offset.to_ne_bytes());
    write_at(&path, entry + 32, &(object.bytes - 1).to_ne_bytes());
    write_at(&path, BOOT_ID, &[9; 16]);
    let value = Segment::open_file(&path).and_then(|segment| segment.open_value::<u64>("value"));
    assert_eq!(kind(value), Some(ErrorKind::Corrupt));
    write_at(&path, 0, &whole);
    write_at(&path, BOOT_ID, &[9; 16]);
    assert!(Segment::open_file(&path).is_ok(), "without a forgery it is reset");
}

// 9.

fn inherits(_: &[String]) {
    let segment = Segment::inherited("passed").unwrap();
    say(&segment.open_value::<u64>("value").unwrap().get().to_string());
    listen();
}

#[test]
fn a_command_keeps_the_segment_that_was_passed_to_it() {
    let _frame = frame();
    let folder = Folder::new();
    let command_with = |name: &str| {
        let segment = folder.builder().capacity(PAGE).create(name).unwrap();
        segment.value("value", 5u64).unwrap();
        let mut command = role::command("inherits", &[]);
        segment.pass_to(&mut command, "passed").unwrap();
        command
    };
    // The command is dropped.
    let command = command_with("dropped");
    assert_eq!(folder.names(), ["procshare.dropped"]);
    drop(command);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    // The command is run, and outlives its child.
    let mut command = command_with("run");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("@5"), "{output:?}");
    assert_eq!(folder.names(), ["procshare.run"]);
    drop(command);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    // The child outlives the command.
    let mut child = Actor::new(command_with("outlived"));
    assert_eq!(child.hear(), "5");
    assert_eq!(folder.names(), ["procshare.outlived"]);
    child.finish();
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

// 11.

/// Leaves a segment of the next layout version, whose maker was killed.
fn orphan_of_another_layout(folder: &Folder, name: &str, persistent: bool) {
    let mut child = Child::fork(|| {
        let builder = folder.builder().capacity(PAGE).persistent(persistent);
        std::mem::forget(builder.create(name).unwrap());
        // SAFETY: a number; the signal ends the process.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    assert_eq!(child.end(), End::Killed(libc::SIGKILL));
    write_at(&file_of(&folder.0, name), VERSION, &u32::MAX.to_ne_bytes());
}

#[test]
fn orphans_of_another_layout_make_room() {
    let _frame = frame();
    let folder = Folder::new();
    let builder = folder.builder().capacity(PAGE);
    orphan_of_another_layout(&folder, "orphan", false);
    assert_eq!(kind(builder.open("orphan")), Some(ErrorKind::LayoutVersion));
    drop(builder.create("orphan").unwrap());
    orphan_of_another_layout(&folder, "orphan", false);
    orphan_of_another_layout(&folder, "kept", true);
    let used = builder.create("used").unwrap();
    write_at(&file_of(&folder.0, "used"), VERSION, &u32::MAX.to_ne_bytes());
    assert_eq!(kind(builder.create("kept")), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(builder.create("used")), Some(ErrorKind::AlreadyExists));
    assert_eq!(clean_folder(&folder.0).unwrap(), ["orphan"]);
    assert_eq!(folder.names(), ["procshare.kept", "procshare.used"]);
    drop(used);
}

// 12.

#[test]
fn freezing_succeeds_while_other_threads_fork() {
    let _frame = frame();
    let array = SharedArray::<u64>::new(1 << 17).unwrap();
    let (over, forks) = (AtomicBool::new(false), AtomicU32::new(0));
    let failed = thread::scope(|scope| {
        scope.spawn(|| {
            // Relaxed: nothing else is told by the flag, or by the count.
            while !over.load(Ordering::Relaxed) {
                let mut command = Command::new("true");
                // SAFETY: the closure does nothing; it makes the library fork.
                unsafe { command.pre_exec(|| Ok(())) };
                assert!(command.status().unwrap().success());
                forks.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut frozen = 0;
        let mut failed = Vec::new();
        while frozen < 200 || forks.load(Ordering::Relaxed) < 100 {
            failed.extend(array.freeze().err());
            frozen += 1;
        }
        over.store(true, Ordering::Relaxed);
        println!("{frozen} frozen, {} forked", forks.load(Ordering::Relaxed));
        failed
    });
    assert!(failed.is_empty(), "{} times: {:?}", failed.len(), failed.first());
}

// 13.

#[test]
fn a_file_of_another_pid_namespace_opens_when_nobody_holds_it() {
    let _frame = frame();
    let folder = Folder::new();
    let path = folder.0.join("file");
    let (ready, leave) = (Pipe::new(), Pipe::new());
    let holder = Child::fork(|| {
        let segment = Segment::create_file(&path, PAGE).unwrap();
        let value = segment.value("value", 5u64).unwrap();
        std::mem::forget(value.get_lock());
        ready.say();
        leave.hear();
    });
    ready.hear();
    let here = word_at(&path, PID_NAMESPACE);
    write_at(&path, PID_NAMESPACE, &(here + 1).to_ne_bytes());
    assert_eq!(kind(Segment::open_file(&path)), Some(ErrorKind::ForeignNamespace));
    assert_eq!(
        word_at(&path, PID_NAMESPACE),
        here + 1,
        "nothing is reset under its user"
    );
    leave.say();
    holder.finish();
    let segment = Segment::open_file(&path).unwrap();
    assert_eq!(word_at(&path, PID_NAMESPACE), here);
    let value = segment.open_value::<u64>("value").unwrap();
    assert_eq!(value.try_get_lock().map(|guard| *guard), Ok(5), "its locks are free");
}

// 14.

/// What this process has open and mapped of shared memory.
fn holdings() -> (usize, usize) {
    let is_shared = |text: &str| text.contains("memfd:") || text.contains("/dev/shm/");
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (
        targets.filter(|target| is_shared(&target.to_string_lossy())).count(),
        maps.lines().filter(|line| is_shared(line)).count(),
    )
}

#[test]
fn a_function_that_panics_leaves_no_array() {
    let _frame = frame();
    drop(SharedArray::<u64>::new(1).unwrap());
    let before = holdings();
    for at in [0, 500, 999] {
        let outcome = catch_unwind(|| {
            SharedArray::from_fn(1000, |index| {
                if index == at {
                    resume_unwind(Box::new("on purpose"));
                }
                index as u64
            })
        });
        assert!(outcome.is_err());
        assert_eq!(holdings(), before);
    }
    let refused = SharedArray::<u64>::from_fn(usize::MAX, |_| panic!("there is no place for an element"));
    assert!(matches!(
        kind(refused),
        Some(ErrorKind::OutOfMemory | ErrorKind::InvalidCapacity)
    ));
}

/// Says it has more elements than there can be.
struct Liar;

impl Iterator for Liar {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

#[test]
fn an_iterator_that_lies_about_its_length_is_refused() {
    let _frame = frame();
    assert_eq!(kind(SharedArray::from_iter(Liar)), Some(ErrorKind::OutOfMemory));
    let short = Liar.map(|element| element as u8);
    assert_eq!(kind(SharedArray::from_iter(short)), Some(ErrorKind::OutOfMemory));
}
