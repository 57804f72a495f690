//! What cannot be had is an error at once, and leaves nothing behind: sizes, names, memory, descriptors, folders.
//!
//! Sizes that must be refused are refused before any memory is taken, so nothing here takes much.

mod common;
#[path = "common/role.rs"]
mod role;

use common::{unique, watchdog};
use procshare::{Error, ErrorKind, FrozenArray, Segment, SharedArray, SharedAtomicArray, SharedValue, clean_folder};
use role::{Folder, file_of, is_root, say, start};
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicU8;

const PAGE: usize = 4096;

#[test]
fn plays_a_role() {
    role::play(&[
        ("computed arrays", computed_arrays),
        ("without descriptors", without_descriptors),
        ("short of address space", short_of_address_space),
    ]);
}

fn kind<T>(outcome: Result<T, Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn small_sizes_are_rounded_up_to_pages() -> procshare::Result<()> {
    let folder = Folder::new();
    for (asked, pages) in [(1, 1), (PAGE - 1, 1), (PAGE, 1), (PAGE + 1, 2), (3 * PAGE - 1, 3)] {
        for segment in [
            Segment::new(asked)?,
            folder.builder().capacity(asked).create("sized")?,
            Segment::create_file(folder.0.join("file"), asked)?,
        ] {
            assert_eq!(segment.capacity(), pages * PAGE);
            // The last byte there is can be written: nothing is missing behind it.
            let all = segment.free() - 256;
            segment.array::<u8>("all", all)?.fill(0xff)?;
            assert_eq!(segment.open_array::<u8>("all")?.get(all - 1)?, 0xff);
            let _ = segment.unlink();
        }
        assert!(folder.names().is_empty());
    }
    Ok(())
}

/// Twice what the machine could ever hold.
fn larger_than_memory() -> usize {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .expect("it has a size");
    let kib: usize = total.trim().trim_end_matches(" kB").parse().expect("it is a number");
    kib * 1024 * 2
}

#[test]
fn absurd_sizes_are_refused_and_leave_nothing() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let file = folder.0.join("file");
    let cases = [
        (0, ErrorKind::InvalidCapacity),
        (larger_than_memory(), ErrorKind::OutOfMemory),
        (1 << 50, ErrorKind::OutOfMemory),
        (isize::MAX as usize, ErrorKind::InvalidCapacity),
        (usize::MAX - PAGE, ErrorKind::InvalidCapacity),
        (usize::MAX, ErrorKind::InvalidCapacity),
    ];
    for (size, expected) in cases {
        let named = folder.builder().capacity(size);
        let outcomes = [
            ("(anonymous)", Segment::new(size)),
            ("named", named.create("named")),
            ("named", named.open_or_create("named")),
            (file.to_str().expect("it is text"), Segment::create_file(&file, size)),
        ];
        for (name, outcome) in outcomes {
            let error = outcome.expect_err(name);
            assert_eq!(
                (error.kind(), error.segment()),
                (expected, Some(name)),
                "{size:#x}: {error}"
            );
        }
        assert!(folder.names().is_empty(), "{size:#x}");
    }
}

#[test]
fn arrays_no_machine_can_hold_are_refused() -> procshare::Result<()> {
    let _watchdog = watchdog(120);
    let segment = Segment::new(64 * 1024)?;
    let free = segment.free();
    let name = unique("array");
    for len in [
        1 << 48,
        isize::MAX as usize / 8,
        isize::MAX as usize,
        usize::MAX / 8 + 1,
        usize::MAX - 1,
        usize::MAX,
    ] {
        let alone = [
            kind(SharedArray::<u64>::new(len)),
            kind(SharedArray::<u8>::new(len)),
            kind(SharedArray::<[u64; 512]>::create(&name, len)),
            kind(SharedArray::<u64>::open_or_create(&name, len)),
            kind(SharedAtomicArray::<AtomicU8>::new(len)),
        ];
        for kind in alone {
            assert!(
                matches!(kind, Some(ErrorKind::InvalidCapacity | ErrorKind::OutOfMemory)),
                "{len:#x}: {kind:?}"
            );
        }
        assert_eq!(
            kind(segment.array::<u64>("large", len)),
            Some(ErrorKind::Full),
            "{len:#x}"
        );
        assert_eq!(
            kind(segment.atomic_array::<AtomicU8>("large", len)),
            Some(ErrorKind::Full),
            "{len:#x}"
        );
        assert_eq!((segment.free(), segment.objects()?.len()), (free, 0));
    }
    assert!(!file_of(Path::new("/dev/shm"), &name).exists());
    Ok(())
}

fn computed_arrays(_: &[String]) {
    for len in [1 << 48, isize::MAX as usize, usize::MAX] {
        let kind = kind(SharedArray::from_fn(len, |_| -> u64 {
            panic!("the array is refused before")
        }));
        assert!(
            matches!(kind, Some(ErrorKind::InvalidCapacity | ErrorKind::OutOfMemory)),
            "{len:#x}: {kind:?}"
        );
    }
}

/// A function that computes elements is not asked for more of them than there can be.
#[test]
fn computed_arrays_no_machine_can_hold_are_refused() {
    let _watchdog = watchdog(120);
    // In a process of its own, as it would not survive an allocation that fails.
    assert_eq!(start("computed arrays", &[]).ended(), None);
}

#[test]
fn arrays_of_nothing_work() -> procshare::Result<()> {
    let empty = SharedArray::<u64>::new(0)?;
    assert!(empty.is_empty() && empty.to_vec()?.is_empty() && empty.get_lock()?.is_empty());
    assert!(SharedArray::<u64>::from_slice(&[])?.freeze()?.is_empty());
    assert!(FrozenArray::<f64>::from_slice(&[])?.is_empty());
    assert!(SharedAtomicArray::<AtomicU8>::new(0)?.is_empty());
    let segment = Segment::new(PAGE)?;
    assert_eq!(segment.array::<u8>("empty", 0)?.len(), 0);
    assert_eq!(segment.value("nothing", [0u8; 0])?.get(), [0u8; 0]);
    assert_eq!(segment.objects()?.len(), 2);
    Ok(())
}

#[test]
fn names_no_file_can_have_are_refused() {
    let folder = Folder::new();
    let long = "x".repeat(300);
    let bad: [&[u8]; 9] = [
        b"",
        b"/",
        b"a/b",
        b"/a",
        b"../a",
        b"a\0b",
        b"\0",
        b"\xff\xfe",
        long.as_bytes(),
    ];
    for name in bad {
        let name = OsStr::from_bytes(name);
        let outcomes = [
            kind(folder.builder().create(name)),
            kind(folder.builder().open(name)),
            kind(folder.builder().open_or_create(name)),
            kind(Segment::create(name, 1)),
            kind(SharedValue::create(name, 1u8)),
            kind(SharedArray::<u8>::open_or_create(name, 1)),
        ];
        assert_eq!(outcomes, [Some(ErrorKind::InvalidName); 6], "{name:?}");
    }
    let error = folder.builder().create(&long).expect_err("it is too long");
    assert!(error.to_string().contains("300 bytes"), "{error}");
    assert!(folder.names().is_empty());
}

#[test]
fn names_that_look_odd_work() -> procshare::Result<()> {
    let folder = Folder::new();
    let longest = "x".repeat(200);
    for name in [
        ".",
        "..",
        "...",
        " ",
        "a b",
        "-x",
        "größe",
        "日本語",
        "*",
        "new\nline",
        &longest,
    ] {
        let segment = folder.builder().create(name)?;
        segment.value("value", 1u8)?;
        assert_eq!(folder.builder().open(name)?.open_value::<u8>("value")?.get(), 1);
        assert_eq!(segment.name().as_deref(), Some(name));
        drop(segment);
        assert!(folder.names().is_empty(), "{name:?}");
    }
    Ok(())
}

#[test]
fn paths_that_lead_nowhere_are_refused() {
    let folder = Folder::new();
    fs::write(folder.0.join("plain"), "no folder").expect("the folder is ours");
    for path in ["/", "..", "", "a\0b"] {
        assert_eq!(
            kind(Segment::create_file(path, 1)),
            Some(ErrorKind::InvalidName),
            "{path:?}"
        );
        assert_eq!(kind(Segment::open_file(path)), Some(ErrorKind::InvalidName), "{path:?}");
    }
    let absent = folder.0.join("absent");
    assert_eq!(
        kind(Segment::create_file(absent.join("file"), 1)),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(kind(Segment::open_file(absent.join("file"))), Some(ErrorKind::NotFound));
    assert_eq!(
        kind(Segment::builder().folder(&absent).create("a")),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(kind(clean_folder(&absent)), Some(ErrorKind::NotFound));
    assert!(kind(Segment::builder().folder(folder.0.join("plain")).create("a")).is_some());
    assert_eq!(kind(Segment::create_file(&folder.0, 1)), Some(ErrorKind::AlreadyExists));
    assert_eq!(folder.names(), ["plain"]);
}

/// A file system of its own, unmounted with this value.
struct Mount(Folder);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        if !is_root("mount a file system") {
            return None;
        }
        let folder = Folder::new();
        let mount = Mount(folder);
        match mount.call(0, options) {
            0 => Some(mount),
            _ => {
                eprintln!("skipped: mounting is not allowed here");
                None
            }
        }
    }

    fn call(&self, flags: libc::c_ulong, options: &str) -> libc::c_int {
        let target = CString::new(self.0.path()).expect("it holds no NUL");
        let options = CString::new(options).expect("it holds no NUL");
        // SAFETY: all are strings that end in NUL and outlive the call.
        unsafe {
            libc::mount(
                c"test".as_ptr(),
                target.as_ptr(),
                c"tmpfs".as_ptr(),
                flags,
                options.as_ptr().cast(),
            )
        }
    }

    fn used_blocks(&self) -> u64 {
        let target = CString::new(self.0.path()).expect("it holds no NUL");
        let mut facts = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the path is a string that ends in NUL, and the buffer has room for what is written.
        assert_eq!(unsafe { libc::statvfs(target.as_ptr(), facts.as_mut_ptr()) }, 0);
        // SAFETY: the call has filled it.
        let facts = unsafe { facts.assume_init() };
        facts.f_blocks - facts.f_bfree
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let target = CString::new(self.0.path()).expect("it holds no NUL");
        // SAFETY: the path is a string that ends in NUL and outlives the call.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

#[test]
fn a_full_file_system_is_an_error_and_no_signal() -> procshare::Result<()> {
    let _watchdog = watchdog(120);
    let Some(mount) = Mount::new("size=1m") else {
        return Ok(());
    };
    let folder = &mount.0;
    let file = folder.0.join("file");
    for size in [(1 << 20) + 1, 2 << 20, 1 << 30] {
        for outcome in [
            folder.builder().capacity(size).create("large"),
            Segment::create_file(&file, size),
        ] {
            let error = outcome.expect_err("there is one mebibyte");
            assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
            assert!(error.to_string().contains("available"), "{error}");
        }
        assert!(folder.names().is_empty());
        assert_eq!(mount.used_blocks(), 0, "no unnamed file holds memory");
    }
    // What fits can be used to its last byte; what comes then does not fit, until it has gone.
    let half = folder.builder().capacity(600 << 10).create("half")?;
    half.array::<u8>("all", half.free() - 256)?.fill(1)?;
    assert_eq!(
        kind(folder.builder().capacity(600 << 10).create("other")),
        Some(ErrorKind::OutOfMemory)
    );
    assert_eq!(folder.names(), ["procshare.half"]);
    let rest = folder.builder().capacity(400 << 10).create("rest")?;
    rest.array::<u8>("all", rest.free() - 256)?.fill(2)?;
    fs::write(folder.0.join("filling"), vec![0; 20 << 10]).expect("that much is left");
    assert_eq!(
        kind(folder.builder().capacity(16 << 10).create("other")),
        Some(ErrorKind::OutOfMemory)
    );
    assert_eq!(half.open_array::<u8>("all")?.get(0)?, 1);
    drop((half, rest));
    assert_eq!(folder.names(), ["filling"]);
    drop(folder.builder().capacity(600 << 10).create("other")?);
    fs::remove_file(folder.0.join("filling")).expect("the folder is ours");
    assert_eq!(mount.used_blocks(), 0);
    Ok(())
}

#[test]
fn a_file_system_without_inodes_is_an_error() -> procshare::Result<()> {
    let Some(mount) = Mount::new("size=1m,nr_inodes=3") else {
        return Ok(());
    };
    let folder = &mount.0;
    // The folder itself takes one.
    let _both = [folder.builder().create("a")?, folder.builder().create("b")?];
    let error = folder.builder().create("c").expect_err("there is no third file");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert_eq!(folder.names().len(), 2);
    Ok(())
}

#[test]
fn a_read_only_folder_is_an_error() -> procshare::Result<()> {
    let _watchdog = watchdog(120);
    let Some(mount) = Mount::new("size=1m") else {
        return Ok(());
    };
    let folder = &mount.0;
    drop(folder.builder().persistent(true).create("kept")?);
    assert_eq!(mount.call(libc::MS_REMOUNT | libc::MS_RDONLY, "size=1m"), 0);
    let outcomes = [
        folder.builder().create("new"),
        folder.builder().open_or_create("new"),
        folder.builder().create("kept"),
        folder.builder().open("kept"),
        Segment::create_file(folder.0.join("file"), 1),
    ];
    for outcome in outcomes {
        let error = outcome.expect_err("nothing can be written");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("Read-only"), "{error}");
    }
    assert!(clean_folder(&folder.0)?.is_empty());
    assert_eq!(folder.names(), ["procshare.kept"]);
    assert_eq!(mount.call(libc::MS_REMOUNT, "size=1m"), 0);
    assert!(folder.builder().open("kept").is_ok());
    Ok(())
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: the limit is readable, and this process plays no other role.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// Fills this process's descriptors up, and keeps them.
fn exhaust() -> Vec<fs::File> {
    std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect()
}

fn without_descriptors(arguments: &[String]) {
    let builder = Segment::builder().folder(&arguments[0]);
    let held = builder.create("held").expect("there are descriptors yet");
    let held_value = held.value("value", 1u64).expect("there is room");
    let anonymous = Segment::new(1).expect("there are descriptors yet");
    limit(libc::RLIMIT_NOFILE, 64);
    let mut others = exhaust();
    // Some doors need one descriptor more than others: they fail half-way, and must tidy up.
    for left in 0..2 {
        let failures = [
            kind(Segment::new(1).and_then(|first| Segment::new(1).map(|second| (first, second)))),
            kind(
                builder
                    .create("new")
                    .and_then(|first| builder.create("newer").map(|second| (first, second))),
            ),
            kind(
                builder
                    .open("held")
                    .and_then(|first| builder.open("held").map(|second| (first, second))),
            ),
            kind(SharedArray::<u8>::new(1).and_then(|array| array.freeze())),
        ];
        assert_eq!(failures, [Some(ErrorKind::TooManyDescriptors); 4], "{left} left");
        others.pop();
    }
    // What is open already works on.
    assert_eq!(held.value("another", 2u64).expect("there is room").get(), 2);
    held_value.set(5);
    *held_value.get_lock() += 1;
    anonymous
        .counter("hits", 0)
        .expect("there is room")
        .increment()
        .expect("it is small");
    say("checked");
    assert_eq!(role::listen(), "drop");
    // The last user removes the name, although no descriptor is left to find out with.
    others.extend(exhaust());
    drop((held_value, held));
    say("dropped");
    assert_eq!(role::listen(), "end");
}

#[test]
fn exhausted_descriptors_are_an_error_and_leave_nothing() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let mut other = start("without descriptors", &[folder.path()]);
    assert_eq!(other.hear(), "checked");
    assert_eq!(folder.names(), ["procshare.held"]);
    other.tell("drop");
    assert_eq!(other.hear(), "dropped");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    other.tell("end");
    other.finish();
}

fn short_of_address_space(arguments: &[String]) {
    let folder = Folder(arguments[0].clone().into());
    limit(libc::RLIMIT_AS, 1 << 30);
    let large = 2 << 30;
    // Refused by mmap, or before: the machine may have less memory than that.
    assert_eq!(kind(SharedArray::<u8>::open("none")), Some(ErrorKind::NotFound));
    let sparse = fs::File::create(folder.0.join("procshare.sparse")).expect("the folder is ours");
    sparse.set_len(large).expect("it takes nothing");
    let error = folder.builder().open("sparse").expect_err("it cannot be mapped");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    std::mem::forget(folder);
}

#[test]
fn what_cannot_be_mapped_is_an_error() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    start("short of address space", &[folder.path()]).finish();
    assert_eq!(folder.names(), ["procshare.sparse"]);
}

/// A file without memory behind it, longer than anything: nothing of it is touched but its first page.
#[test]
fn a_huge_sparse_file_is_refused_by_its_header() {
    let folder = Folder::new();
    let sparse = fs::File::create(file_of(&folder.0, "sparse")).expect("the folder is ours");
    sparse.set_len(1 << 40).expect("it takes nothing");
    let kind = kind(folder.builder().open("sparse")).expect("it is no segment");
    assert!(
        matches!(kind, ErrorKind::NotASegment | ErrorKind::OutOfMemory),
        "{kind:?}"
    );
}
