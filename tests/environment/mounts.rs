//! Names and folders that are taken, missing or unwritable: the error says which, and what to do.

use crate::common::{other_program, unique, watchdog};
use crate::forked;
use procshare::{
    Error, ErrorKind, Pool, Process, Result, Segment, SendError, SharedArray, SharedCounter, SharedQueue, SharedValue,
    clean, clean_folder,
};
use std::ffi::CStr;
use std::os::unix::process::CommandExt;

const INNER: &str = "PROCSHARE_TEST_MOUNTS";

#[track_caller]
fn check<T>(outcome: Result<T>, kind: ErrorKind, words: &[&str]) {
    let error: Error = outcome.map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for words in words {
        assert!(error.to_string().contains(words), "{words:?} is not in {error}");
    }
}

#[test]
fn a_name_that_is_taken_or_free_is_told_with_the_cure() {
    let name = unique("taken");
    let segment = Segment::create(&name, 4096).unwrap();
    let in_use = ["already exists and is in use; use `open` or `open_or_create`", &name];
    check(Segment::create(&name, 4096), ErrorKind::AlreadyExists, &in_use);
    check(SharedValue::create(&name, 1), ErrorKind::AlreadyExists, &in_use);
    drop(segment);
    let gone = [
        "no segment has that name: its creator has not created it yet, or its last user has removed it",
        &name,
    ];
    check(Segment::open(&name), ErrorKind::NotFound, &gone);
    check(SharedCounter::open(&name), ErrorKind::NotFound, &gone);

    drop(Segment::builder().persistent(true).create(&name).unwrap());
    check(
        Segment::create(&name, 4096),
        ErrorKind::AlreadyExists,
        &["is persistent; use `open`", "unlink"],
    );
    Segment::open(&name).unwrap().unlink().unwrap();

    let folder = std::env::temp_dir().join(unique("taken"));
    let shown = folder.to_str().unwrap();
    let builder = Segment::builder().folder(&folder);
    check(
        builder.create("x"),
        ErrorKind::NotFound,
        &[shown, "create the folder first"],
    );
    check(
        builder.open("x"),
        ErrorKind::NotFound,
        &[shown, "create the folder first"],
    );
    check(
        builder.open_or_create("x"),
        ErrorKind::NotFound,
        &[shown, "create the folder first"],
    );
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("procshare.x"), "no segment").unwrap();
    check(
        builder.create("x"),
        ErrorKind::AlreadyExists,
        &["not a segment of this user"],
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// As above, of a segment that was given as the path of a file.
#[test]
fn a_path_that_cannot_be_had_is_told_with_the_cure() {
    let folder = std::env::temp_dir().join(unique("path"));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("file");
    let segment = Segment::create_file(&file, 4096).unwrap();
    let taken = |words| check(Segment::create_file(&file, 4096), ErrorKind::AlreadyExists, &[words]);
    taken("is in use; use `open_file` or `open_or_create_file`");
    drop(segment);
    taken("is persistent; use `open_file` or `open_or_create_file`, or unlink it");

    let long = folder.join("x".repeat(300));
    check(Segment::create_file(&long, 4096), ErrorKind::InvalidName, &["too long"]);
    check(Segment::open_file(&long), ErrorKind::InvalidName, &["too long"]);
    let errors = [
        clean_folder(&file).unwrap_err(),
        Segment::create_file(file.join("x"), 4096).unwrap_err(),
        Segment::create_file("/proc/x", 4096).unwrap_err(),
    ];
    for error in errors {
        assert!(!error.to_string().contains("create the folder"), "{error}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Runs an ignored test where an empty file system is mounted over `place`.
fn run_under(place: &'static CStr, options: &'static CStr, test: &str) {
    run_under_kind(c"tmpfs", place, options, test);
}

fn run_under_kind(kind: &'static CStr, place: &'static CStr, options: &'static CStr, test: &str) {
    // SAFETY: only reads a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root can mount");
        return;
    }
    let _watchdog = watchdog(60);
    let mut command = other_program(test, INNER);
    let mount = move || {
        // SAFETY: a number; the child has one thread.
        let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
        let (none, root) = (c"none", c"/");
        let (keep, fresh) = (libc::MS_REC | libc::MS_PRIVATE, 0);
        // SAFETY: strings that live as long as the program, numbers, and no options.
        let private =
            unsafe { libc::mount(none.as_ptr(), root.as_ptr(), std::ptr::null(), keep, std::ptr::null()) } == 0;
        // SAFETY: strings that live as long as the program, and numbers.
        let mounted = unsafe {
            libc::mount(
                kind.as_ptr(),
                place.as_ptr(),
                kind.as_ptr(),
                fresh,
                options.as_ptr().cast(),
            )
        };
        match alone && private && mounted == 0 {
            true => Ok(()),
            false => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: system calls only.
    unsafe { command.pre_exec(mount) };
    match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: mounting is not allowed");
        }
        child => assert!(child.unwrap().wait().unwrap().success(), "see the words above"),
    }
}

fn is_outer() -> bool {
    std::env::var_os(INNER).is_none()
}

#[test]
fn a_missing_folder_of_shared_memory_is_named_with_the_cure() {
    run_under(c"/dev", c"mode=755", "mounts::inner_without_shared_memory");
}

const CURE: [&str; 4] = [
    "/dev/shm",
    "mount -t tmpfs",
    "SegmentBuilder::folder",
    "Segment::create_file",
];

#[test]
#[ignore = "run by another"]
fn inner_without_shared_memory() {
    if is_outer() {
        return;
    }
    check(clean(), ErrorKind::NotFound, &CURE);
    check(Segment::create("x", 4096), ErrorKind::NotFound, &CURE);
    check(Segment::open("x"), ErrorKind::NotFound, &CURE);
    check(SharedArray::<u8>::open_or_create("x", 4096), ErrorKind::NotFound, &CURE);
    // The cures work, and what needs no name needs no folder.
    let folder = std::env::temp_dir().join(unique("cure"));
    std::fs::create_dir(&folder).unwrap();
    drop(Segment::builder().folder(&folder).create("x").unwrap());
    Segment::create_file(folder.join("file"), 4096)
        .unwrap()
        .unlink()
        .unwrap();
    std::fs::remove_dir(&folder).unwrap();
    assert_eq!(SharedValue::new(1).unwrap().get(), 1);
}

#[test]
fn an_unwritable_folder_of_shared_memory_is_named_with_the_cure() {
    run_under(c"/dev/shm", c"mode=755", "mounts::inner_unwritable");
}

#[test]
#[ignore = "run by another"]
fn inner_unwritable() {
    if is_outer() {
        return;
    }
    let _frame = forked::frame();
    forked::Child::fork(|| {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
        check(Segment::create("x", 4096), ErrorKind::PermissionDenied, &CURE);
        check(
            SharedArray::<u8>::open_or_create("x", 4096),
            ErrorKind::PermissionDenied,
            &CURE,
        );
    })
    .finish();
    let (tmpfs, place) = (c"tmpfs", c"/dev/shm");
    let flags = libc::MS_REMOUNT | libc::MS_RDONLY;
    // SAFETY: strings that live as long as the program, numbers, and no options.
    let made = unsafe { libc::mount(tmpfs.as_ptr(), place.as_ptr(), tmpfs.as_ptr(), flags, std::ptr::null()) };
    assert_eq!(made, 0);
    check(Segment::create("x", 4096), ErrorKind::PermissionDenied, &CURE);
}

#[test]
fn a_missing_proc_is_named_with_the_cure() {
    run_under(c"/proc", c"mode=755", "mounts::inner_without_proc");
}

#[procshare::test]
#[ignore = "run by another"]
fn inner_without_proc() {
    if is_outer() {
        return;
    }
    let cure = ["/proc", "mount -t proc proc /proc"];
    check(Process::spawn(|| (), ()), ErrorKind::Unsupported, &cure);
    check(Process::fork(|| ()), ErrorKind::Unsupported, &cure);
    check(crate::by("fork").spawn(|| (), ()), ErrorKind::Unsupported, &cure);
    check(crate::by("fork-server").spawn(|| (), ()), ErrorKind::Unsupported, &cure);
    check(Pool::new(1), ErrorKind::Unsupported, &cure);
    // Values and locks do without.
    let array = SharedArray::<u64>::new(4).unwrap();
    let mut guard = array.get_lock().unwrap();
    guard[0] = 1;
    drop(guard);
    assert_eq!(array.get(0), Ok(1));
    let name = unique("no-proc");
    match Segment::create(&name, 4096) {
        Ok(segment) => assert!(segment.unlink().is_ok()),
        Err(error) => check(Err::<(), _>(error), ErrorKind::Unsupported, &cure),
    }
}

#[test]
fn a_queue_where_no_memory_can_be_given_back_takes_no_more() {
    run_under_kind(c"ramfs", c"/dev/shm", c"mode=755", "mounts::inner_without_holes");
}

#[procshare::test]
#[ignore = "run by another"]
fn inner_without_holes() {
    if is_outer() {
        return;
    }
    let segment = Segment::create(unique("no-holes"), 1 << 16).unwrap();
    let queues = [
        SharedQueue::<Vec<u8>>::create(unique("no-holes"), 100).unwrap(),
        segment.queue("queue", 100).unwrap(),
    ];
    for queue in queues {
        // Items lie in the ring alone, which is written again and again.
        assert!(queue.capacity_bytes() < 1 << 20);
        assert!(matches!(
            queue.put(vec![0; 1 << 20]),
            Err(SendError::TooLarge { capacity, .. }) if capacity == queue.capacity_bytes()
        ));
        queue.put(vec![1; 100]).unwrap();
        assert_eq!(queue.get().unwrap(), [1; 100]);
    }
}
