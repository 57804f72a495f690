//! Nothing is attached to before it is proved; each fault has its own kind, and says what was expected and found.

mod common;
#[path = "common/good.rs"]
mod good;
#[path = "common/role.rs"]
mod role;

use common::watchdog;
use good::good_bytes;
use procshare::{Error, ErrorKind, Segment, SegmentBuilder};
use role::{Folder, file_of, is_root, say, start, write_at};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Byte offsets of the header's words; `src/layout/header.rs` pins them.
const MAGIC: u64 = 0;
const VERSION: u64 = 8;
const LENGTH: u64 = 2 * 8;
const PID_NAMESPACE: u64 = 4 * 8;
const TIME_NAMESPACE: u64 = 5 * 8;
const BOOT_ID: u64 = 6 * 8;
const BUCKETS: u64 = 11 * 8;
/// In the high half of the version word.
const FROZEN: u64 = 2 << 32;

const SHORTEST: usize = 648;
const STRANGER: u32 = 12_345;

#[test]
fn plays_a_role() {
    role::play(&[
        ("stranger", stranger),
        ("in a namespace", in_a_namespace),
        ("moved to a namespace", moved_to_a_namespace),
        ("inheritor", inheritor),
    ]);
}

/// A fault, how to make it, and what must be said of it.
struct Fault {
    what: &'static str,
    make: fn(&Path),
    kind: ErrorKind,
    words: &'static [&'static str],
}

fn words(path: &Path, changes: &[(u64, u64)]) {
    for (at, value) in changes {
        write_at(path, *at, &value.to_ne_bytes());
    }
}

fn resize(path: &Path, length: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("it is ours");
    file.set_len(length).expect("a file has any length");
}

/// Puts something else in the file's place.
fn instead(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).expect("it is ours");
    make(path);
}

fn node(path: &Path, mode: libc::mode_t, device: libc::dev_t) {
    let path = CString::new(path.to_str().expect("it is text")).expect("it holds no NUL");
    // SAFETY: the path is a string that ends in NUL and outlives the call.
    assert_eq!(unsafe { libc::mknod(path.as_ptr(), mode | 0o600, device) }, 0);
}

const FAULTS: &[Fault] = &[
    Fault {
        what: "absent",
        make: |path| fs::remove_file(path).expect("it is ours"),
        kind: ErrorKind::NotFound,
        words: &[],
    },
    Fault {
        what: "empty",
        make: |path| resize(path, 0),
        kind: ErrorKind::Truncated,
        words: &["at least 648", "found 0"],
    },
    Fault {
        what: "shorter than it says",
        make: |path| words(path, &[(LENGTH, 1 << 40)]),
        kind: ErrorKind::Truncated,
        words: &["expected 1099511627776 bytes", "found 8192"],
    },
    Fault {
        what: "longer than it says",
        make: |path| resize(path, 12288),
        kind: ErrorKind::LengthMismatch,
        words: &["expected 8192 bytes", "found 12288"],
    },
    Fault {
        what: "wrong magic",
        make: |path| words(path, &[(MAGIC, 0x1122)]),
        kind: ErrorKind::NotASegment,
        words: &["expected magic", "found 0x0000000000001122"],
    },
    Fault {
        what: "magic of the other byte order",
        make: |path| write_at(path, MAGIC, b"\0rhscorp"),
        kind: ErrorKind::NotASegment,
        words: &["expected magic", "found"],
    },
    Fault {
        what: "another program's file",
        make: |path| fs::write(path, "a line of text\n".repeat(100)).expect("it is ours"),
        kind: ErrorKind::NotASegment,
        words: &["expected magic", "found"],
    },
    Fault {
        what: "another layout version",
        make: |path| words(path, &[(VERSION, 1 << 32 | 1)]),
        kind: ErrorKind::LayoutVersion,
        words: &["expected layout version 4", "found 1"],
    },
    Fault {
        what: "unknown flags",
        make: |path| words(path, &[(VERSION, 1 << 40 | 4)]),
        kind: ErrorKind::Corrupt,
        words: &["flags 0x100"],
    },
    Fault {
        what: "frozen without seals",
        make: |path| words(path, &[(VERSION, FROZEN | 4)]),
        kind: ErrorKind::Seals,
        words: &["frozen", "not sealed"],
    },
    Fault {
        what: "no buckets",
        make: |path| words(path, &[(BUCKETS, 0)]),
        kind: ErrorKind::Corrupt,
        words: &["directory buckets", "found 0"],
    },
    Fault {
        what: "too many buckets",
        make: |path| words(path, &[(BUCKETS, 1 << 50)]),
        kind: ErrorKind::Corrupt,
        words: &["directory buckets"],
    },
    Fault {
        what: "another PID namespace",
        make: |path| words(path, &[(PID_NAMESPACE, 77)]),
        kind: ErrorKind::ForeignNamespace,
        words: &["expected PID namespace 77", "found this process in"],
    },
    Fault {
        what: "another time namespace",
        make: |path| words(path, &[(TIME_NAMESPACE, 77)]),
        kind: ErrorKind::ForeignNamespace,
        words: &["expected time namespace 77", "found this process in"],
    },
    Fault {
        what: "an unknown PID namespace",
        make: |path| words(path, &[(PID_NAMESPACE, 0)]),
        kind: ErrorKind::ForeignNamespace,
        words: &["PID namespace", "unknown"],
    },
    Fault {
        what: "an earlier start of the machine",
        make: |path| words(path, &[(BOOT_ID, 77), (BOOT_ID + 8, 78)]),
        kind: ErrorKind::ForeignBoot,
        words: &["before the last boot of this machine"],
    },
    Fault {
        what: "a symbolic link to a good segment",
        make: |path| {
            let other = path.with_file_name("elsewhere");
            fs::rename(path, &other).expect("both are ours");
            std::os::unix::fs::symlink(other, path).expect("the folder is ours");
        },
        kind: ErrorKind::NotARegularFile,
        words: &[],
    },
    Fault {
        what: "a symbolic link that leads nowhere",
        make: |path| {
            instead(path, |path| {
                std::os::unix::fs::symlink("/nowhere", path).expect("the folder is ours")
            })
        },
        kind: ErrorKind::NotARegularFile,
        words: &[],
    },
    Fault {
        what: "a FIFO",
        make: |path| instead(path, |path| node(path, libc::S_IFIFO, 0)),
        kind: ErrorKind::NotARegularFile,
        words: &["expected a regular file"],
    },
    Fault {
        what: "a socket",
        make: |path| {
            instead(path, |path| {
                drop(std::os::unix::net::UnixListener::bind(path).expect("the folder is ours"))
            })
        },
        kind: ErrorKind::NotARegularFile,
        words: &[],
    },
    Fault {
        what: "a folder",
        make: |path| instead(path, |path| fs::create_dir(path).expect("the folder is ours")),
        kind: ErrorKind::NotARegularFile,
        words: &[],
    },
];

/// Refuses `name` with the kind and the words, and leaves what stands there alone.
fn refuses(folder: &Folder, builder: &SegmentBuilder, fault: &Fault) {
    let path = file_of(&folder.0, "case");
    let look = || {
        fs::symlink_metadata(&path)
            .map(|facts| (facts.file_type(), facts.len()))
            .ok()
    };
    let before = look();
    let error = builder.open("case").expect_err(fault.what);
    assert_eq!(error.kind(), fault.kind, "{}: {error}", fault.what);
    assert_eq!(error.segment(), Some("case"), "{}: {error}", fault.what);
    let text = error.to_string();
    assert!(text.starts_with("segment \"case\": "), "{}: {text}", fault.what);
    for words in fault.words {
        assert!(text.contains(words), "{}: {text}", fault.what);
    }
    assert_eq!(before, look(), "{}", fault.what);
}

#[test]
fn every_fault_is_refused_with_its_own_words() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let good = good_bytes();
    let path = file_of(&folder.0, "case");
    for fault in FAULTS {
        fs::write(&path, &good).expect("the folder is ours");
        (fault.make)(&path);
        refuses(&folder, &folder.builder(), fault);
        if fault.kind != ErrorKind::NotFound {
            // Persistent, or no segment at all: nobody removes it for us.
            let error = folder.builder().create("case").expect_err(fault.what);
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error}", fault.what);
            assert!(
                procshare::clean_folder(&folder.0)
                    .expect("the folder is ours")
                    .is_empty(),
                "{}",
                fault.what
            );
            refuses(&folder, &folder.builder(), fault);
        }
        for left in folder.names() {
            let left = folder.0.join(left);
            fs::remove_file(&left)
                .or_else(|_| fs::remove_dir(&left))
                .expect("it is ours");
        }
    }
    fs::write(&path, &good).expect("the folder is ours");
    assert!(folder.builder().open("case").is_ok(), "without a fault it opens");
}

#[test]
fn files_and_names_are_refused_alike() {
    let folder = Folder::new();
    let good = good_bytes();
    let path = folder.0.join("file");
    // A file nobody holds may come from another start of the machine, or from another namespace: it is adopted.
    let adopted = [ErrorKind::ForeignBoot, ErrorKind::ForeignNamespace];
    for fault in FAULTS.iter().filter(|fault| !adopted.contains(&fault.kind)) {
        fs::write(&path, &good).expect("the folder is ours");
        (fault.make)(&path);
        let error = Segment::open_file(&path).expect_err(fault.what);
        assert_eq!(
            (error.kind(), error.segment()),
            (fault.kind, path.to_str()),
            "{}: {error}",
            fault.what
        );
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
}

#[test]
fn a_device_is_refused() {
    if !is_root("make a device") {
        return;
    }
    // Shared memory may be mounted so that devices in it cannot be opened at all.
    for place in [
        Folder::new().0.clone(),
        std::env::temp_dir().join(crate::common::unique("device")),
    ] {
        fs::create_dir_all(&place).expect("the folder is ours");
        node(&file_of(&place, "null"), libc::S_IFCHR, libc::makedev(1, 3));
        let error = Segment::builder()
            .folder(&place)
            .open("null")
            .expect_err("it is a device");
        fs::remove_dir_all(&place).expect("the folder is ours");
        assert!(
            matches!(error.kind(), ErrorKind::NotARegularFile | ErrorKind::PermissionDenied),
            "{error}"
        );
    }
}

#[test]
fn truncated_at_every_length_it_is_refused() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let good = good_bytes();
    let path = file_of(&folder.0, "case");
    fs::write(&path, &good).expect("the folder is ours");
    for length in (0..4096).rev() {
        resize(&path, length as u64);
        let error = folder.builder().open("case").expect_err("it is truncated");
        let expected = if length < SHORTEST {
            "expected at least 648 bytes"
        } else {
            "expected 8192 bytes"
        };
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::Truncated, Some("case")),
            "{length}: {error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains(&format!("found {length}")),
            "{text}"
        );
    }
}

#[test]
fn a_segment_of_another_user_is_refused_unless_named() {
    if !is_root("give a file away") {
        return;
    }
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let path = file_of(&folder.0, "case");
    fs::write(&path, good_bytes()).expect("the folder is ours");
    std::os::unix::fs::chown(&path, Some(STRANGER), None).expect("we are root");
    let fault = Fault {
        what: "another user's",
        make: |_| {},
        kind: ErrorKind::ForeignUser,
        words: &["expected a segment of user 0", "found one of user 12345"],
    };
    refuses(&folder, &folder.builder(), &fault);
    refuses(&folder, &folder.builder().allow_user(STRANGER + 1), &fault);
    let segment = folder
        .builder()
        .allow_user(STRANGER)
        .open("case")
        .expect("that user is allowed");
    assert_eq!(
        segment.open_value::<[u64; 3]>("value").expect("it is there").get(),
        [1, 2, 3]
    );
    drop(segment);
    // Not ours to remove, whatever state it is in.
    words(&path, &[(VERSION, 1)]);
    assert!(
        procshare::clean_folder(&folder.0)
            .expect("the folder is ours")
            .is_empty()
    );
    assert_eq!(
        folder.builder().create("case").map(drop).map_err(|error| error.kind()),
        Err(ErrorKind::AlreadyExists)
    );
}

/// Opens what root made, as somebody else.
fn stranger(arguments: &[String]) {
    // SAFETY: changes numbers of this process, which plays no other role.
    assert_eq!(unsafe { libc::setgid(STRANGER) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setuid(STRANGER) }, 0);
    let builder = Segment::builder().folder(&arguments[0]);
    let kind = |outcome: Result<Segment, Error>| outcome.err().map(|error| error.kind());
    assert_eq!(kind(builder.open("private")), Some(ErrorKind::PermissionDenied));
    assert_eq!(
        kind(builder.clone().allow_user(0).open("private")),
        Some(ErrorKind::PermissionDenied)
    );
    assert_eq!(kind(builder.open("public")), Some(ErrorKind::ForeignUser));
    assert_eq!(kind(builder.create("mine")), Some(ErrorKind::PermissionDenied));
    let segment = builder.clone().allow_user(0).open("public").expect("root is allowed");
    segment
        .open_counter("hits")
        .expect("it is there")
        .increment()
        .expect("it is small");
}

#[test]
fn the_mode_decides_who_may_open() {
    if !is_root("become another user") {
        return;
    }
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let _private = folder.builder().create("private").expect("the folder is ours");
    let public = folder
        .builder()
        .mode(0o666)
        .create("public")
        .expect("the folder is ours");
    let hits = public.counter("hits", 0).expect("there is room");
    start("stranger", &[folder.path()]).finish();
    assert_eq!(hits.get(), 1);
    assert_eq!(folder.names().len(), 2);
}

/// Runs `inside` in a child that lives in a new namespace; its outcome is this process's.
fn unshared(flag: &str, inside: impl FnOnce()) {
    let flag = if flag == "PID" {
        libc::CLONE_NEWPID
    } else {
        libc::CLONE_NEWTIME
    };
    // SAFETY: decides where children of this process, which plays no other role, are born.
    if unsafe { libc::unshare(flag) } != 0 {
        say("skipped: no namespaces here");
        return;
    }
    // SAFETY: the only other thread sleeps until this one ends, so the child finds no lock held.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        inside();
        // SAFETY: ends this process; nothing of it is used any more.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the status is writable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "what ran inside failed");
}

fn in_a_namespace(arguments: &[String]) {
    let builder = Segment::builder().folder(&arguments[0]);
    unshared(&arguments[1], || {
        let error = builder.open("outside").expect_err("it is from another namespace");
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::ForeignNamespace, Some("outside")),
            "{error}"
        );
        let expected = format!("expected {} namespace", arguments[1]);
        assert!(error.to_string().contains(&expected), "{error}");
        let made = builder
            .clone()
            .persistent(true)
            .create("inside")
            .expect("here is as good as anywhere");
        made.value("value", 1u8).expect("there is room");
        assert!(builder.open("inside").is_ok());
    });
}

fn moved_to_a_namespace(arguments: &[String]) {
    let builder = Segment::builder().folder(&arguments[0]);
    let segment = builder.open("outside").expect("we are at home still");
    let value = segment.open_value::<u8>("value").expect("it is there");
    unshared(&arguments[1], move || {
        assert_eq!(value.try_get_lock().err(), Some(procshare::LockError::ForeignNamespace));
        let error = segment.value("new", 1u8).err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::ForeignNamespace));
        let error = builder.open("outside").expect_err("we are away");
        assert_eq!(error.kind(), ErrorKind::ForeignNamespace);
        drop((value, segment));
    });
}

#[test]
fn another_namespace_is_refused_in_either_direction() {
    if !is_root("make namespaces") {
        return;
    }
    let _watchdog = watchdog(120);
    for namespace in ["PID", "time"] {
        let folder = Folder::new();
        let outside = folder.builder().create("outside").expect("the folder is ours");
        let value = outside.value("value", 7u8).expect("there is room");
        let mut other = start("in a namespace", &[folder.path(), namespace]);
        if let Some(notice) = other.hear_or_end() {
            eprintln!("{notice}");
            return;
        }
        other.finish();
        let error = folder
            .builder()
            .open("inside")
            .expect_err("it is from another namespace");
        assert_eq!(error.kind(), ErrorKind::ForeignNamespace, "{error}");
        start("moved to a namespace", &[folder.path(), namespace]).finish();
        assert_eq!(*value.get_lock(), 7, "nobody holds the lock");
        drop((value, outside));
        assert_eq!(folder.names(), ["procshare.inside"]);
    }
}

/// Attaches to what was passed and tells the kind of the refusal.
fn inheritor(_: &[String]) {
    match Segment::inherited("passed") {
        Ok(segment) => say(&format!(
            "attached, {} objects",
            segment.objects().expect("it is whole").len()
        )),
        Err(error) => say(&format!("{:?} {:?}", error.kind(), error.segment())),
    }
}

/// What a child says that was passed a memfd with these bytes and seals.
fn passed(bytes: &[u8], seals: libc::c_int) -> String {
    // SAFETY: the name is a string that ends in NUL.
    let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    assert_ne!(fd, -1);
    // SAFETY: the kernel has just made this descriptor for us.
    let file = fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).expect("there is memory");
    // SAFETY: the descriptor is open, and the argument is a number.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }, 0);
    let facts = file.metadata().expect("it is open");
    let (device, inode) = (
        std::os::unix::fs::MetadataExt::dev(&facts),
        std::os::unix::fs::MetadataExt::ino(&facts),
    );
    let mut command = role::command("inheritor", &[]);
    command.env(
        "PROCSHARE_SEGMENT_passed",
        format!("{}:{device}:{inode}:", file.as_raw_fd()),
    );
    let keep_open = move || {
        // SAFETY: changes a flag of a descriptor; no memory is involved.
        match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(keep_open) };
    let mut other = role::Actor::new(command);
    let said = other.hear();
    other.finish();
    said
}

#[test]
fn seals_and_what_the_header_says_must_agree() {
    let _watchdog = watchdog(120);
    let open = good_bytes();
    let mut frozen = open.clone();
    frozen[8..16].copy_from_slice(&(FROZEN | 4).to_ne_bytes());
    let size = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    let all = size | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    let refusal = "Seals Some(\"(anonymous)\")";
    assert_eq!(passed(&open, size), "attached, 6 objects");
    assert_eq!(passed(&frozen, all), "attached, 6 objects");
    assert_eq!(passed(&frozen, size), refusal);
    assert_eq!(passed(&open, all), refusal);
    assert_eq!(passed(&frozen, size | libc::F_SEAL_WRITE), refusal);
    assert_eq!(passed(&frozen, libc::F_SEAL_WRITE | libc::F_SEAL_SEAL), refusal);
    assert_eq!(passed(&frozen[..4096], all), "Truncated Some(\"(anonymous)\")");
    assert_eq!(passed(&[0; 8192], size), "NotASegment Some(\"(anonymous)\")");
}

/// What the fuzzers drive is what an attacher reads.
#[cfg(feature = "crash-points")]
#[test]
fn bytes_alone_tell_the_same_as_the_segment() {
    let folder = Folder::new();
    fs::write(file_of(&folder.0, "case"), good_bytes()).expect("the folder is ours");
    let segment = folder.builder().open("case").expect("it is whole");
    let mut objects = procshare::__private::inspect(&good_bytes()).expect("it is whole");
    objects.sort_by_key(|object| object.offset);
    assert_eq!(objects, segment.objects().expect("it is whole"));
    assert_eq!(objects.len(), 6);
    for bytes in [&[][..], &good_bytes()[..4096], &[0; 8192]] {
        assert!(procshare::__private::inspect(bytes).is_err());
    }
}
