//! Beside a peer stopped as it makes, opens, fills, unlinks or leaves a segment, or resets a file.

use crate::Scene;
use crate::peer::{Calls, Peer, die_with_parent};
use crate::role::{Folder, Role, write_at};
use procshare::{ErrorKind, Segment, SegmentBuilder, SharedCounter, SharedMap, SharedQueue, SharedValue, clean_folder};
use std::path::PathBuf;
use std::thread;

/// Byte offset of the boot id in the header.
const BOOT_ID: u64 = 6 * 8;

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "creator",
        points: CREATE,
        play: |at| {
            beside_a_creator(at, "create");
            beside_a_creator(at, "open or create");
        },
    },
    Scene {
        name: "opener",
        points: &["open.opened", "open.locked", "open.mapped", "open.registered"],
        play: |at| beside_a_guest(at, "open"),
    },
    Scene {
        name: "guest that leaves",
        points: &["detach.begin", "detach.deregistered", "detach.unlocked"],
        play: |at| beside_a_guest(at, "open"),
    },
    Scene {
        name: "last user",
        points: &[
            "detach.begin",
            "detach.deregistered",
            "detach.unlocked",
            "detach.exclusive",
            "detach.unlinked",
        ],
        play: |at| beside_a_creator(at, "create"),
    },
    Scene {
        name: "placer",
        points: &[
            "place.locked",
            "place.object",
            "place.entry",
            "place.published",
            "place.counted",
            "lock.acquired",
            "unlock.begin",
            "unlock.released",
        ],
        play: |at| beside_a_holder(at, "place"),
    },
    Scene {
        name: "unlinker",
        points: &["unlink.begin", "unlink.done"],
        play: |at| beside_a_holder(at, "unlink"),
    },
    Scene {
        name: "file's first opener",
        points: &["reset.locks", "reset.stamped"],
        play: beside_a_reset,
    },
];

const CREATE: &[&str] = &[
    "create.opened",
    "create.locked",
    "create.allocated",
    "create.formatted",
    "create.registered",
    "create.linked",
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("create", |arguments| is_fine(builder(arguments).create("made"))),
    ("open or create", |arguments| {
        is_fine(builder(arguments).open_or_create("made"))
    }),
    ("open", |arguments| is_fine(builder(arguments).open("made"))),
    ("place", |arguments| {
        let segment = builder(arguments).open("made").unwrap();
        segment.value("new", 5u64).unwrap();
    }),
    ("unlink", |arguments| {
        builder(arguments).open("made").unwrap().unlink().unwrap();
    }),
    ("open the file", |arguments| {
        die_with_parent();
        Segment::open_file(PathBuf::from(&arguments[0]).join("file")).unwrap();
    }),
];

fn builder(arguments: &[String]) -> SegmentBuilder {
    die_with_parent();
    Segment::builder().folder(&arguments[0])
}

/// Others may have made, removed or locked it meanwhile; nothing else may go wrong.
fn is_fine<R>(outcome: procshare::Result<R>) {
    if let Err(error) = outcome {
        let may_be = [ErrorKind::AlreadyExists, ErrorKind::NotFound, ErrorKind::Busy];
        assert!(may_be.contains(&error.kind()), "{error:?}");
    }
}

fn is_left(folder: &Folder, at: &str) {
    assert!(folder.names().is_empty(), "{at}: left {:?}", folder.names());
}

/// All that can be done by name, whether somebody has it, is making it, or is removing it.
fn by_name(calls: Calls<'_>, folder: &Folder) {
    let builder = folder.builder();
    let opened = calls.in_the_end("Segment::open", || builder.open("made"));
    let created = calls.at_once("Segment::create", || builder.create("made"));
    calls.at_once("clean_folder", || clean_folder(&folder.0).unwrap());
    let either = calls.in_the_end("Segment::open_or_create", || builder.open_or_create("made"));
    for outcome in [opened, created, either] {
        if let Ok(segment) = &outcome {
            used(calls, segment);
            is_fine(calls.at_once("Segment::unlink", || segment.unlink()));
        }
        calls.at_once("Segment::drop", || is_fine(outcome));
    }
    let path = folder.0.join("procshare.made");
    is_fine(calls.in_the_end("Segment::open_file", || Segment::open_file(&path)));
}

/// All that can be done with a segment whose directory nobody holds.
fn used(calls: Calls<'_>, segment: &Segment) {
    read(calls, segment);
    calls.at_once("placing a value", || segment.value("mine", 1u64).unwrap().set(2));
    calls.at_once("placing a map", || {
        segment.map::<u64, u64>("map", 4096).unwrap().insert(&1, &1).unwrap()
    });
    calls.at_once("placing a queue", || {
        segment.queue::<u64>("queue", 4).unwrap().try_put(1).unwrap()
    });
}

/// What waits for nobody, whoever holds the directory.
fn read(calls: Calls<'_>, segment: &Segment) {
    calls.at_once("Segment::clone", || drop(segment.clone()));
    calls.at_once("Segment::objects", || segment.objects().unwrap());
    calls.at_once("Segment::free", || (segment.free(), segment.capacity(), segment.name()));
    calls.at_once("Segment::fmt", || format!("{segment:?}"));
    calls.at_once("open_value", || is_fine(segment.open_value::<u64>("no such value")));
}

fn beside_a_creator(at: &str, role: &str) {
    let (folder, calls) = (Folder::new(), Calls(at));
    let peer = Peer::start(role, at, &[folder.path()]).stopped();
    by_name(calls, &folder);
    peer.ends_well();
    is_left(&folder, at);
}

/// With us attached, who are then the last but the peer.
fn beside_a_guest(at: &str, role: &str) {
    let (folder, calls) = (Folder::new(), Calls(at));
    let segment = folder.builder().create("made").unwrap();
    let value = segment.value("value", 1u64).unwrap();
    let peer = Peer::start(role, at, &[folder.path()]).stopped();
    used(calls, &segment);
    assert!(
        calls
            .at_once("Segment::create", || folder.builder().create("made"))
            .is_err()
    );
    let again = calls.at_once("Segment::open", || folder.builder().open("made").unwrap());
    assert!(
        calls
            .at_once("clean_folder", || clean_folder(&folder.0).unwrap())
            .is_empty()
    );
    value.set(2);
    calls.at_once("the last drop", || drop((segment, value, again)));
    peer.ends_well();
    is_left(&folder, at);
}

/// The peer holds the directory, or has just let go.
fn beside_a_holder(at: &str, role: &str) {
    let (folder, calls) = (Folder::new(), Calls(at));
    let segment = folder.builder().create("made").unwrap();
    let value = segment.value("value", 1u64).unwrap();
    let peer = Peer::start(role, at, &[folder.path()]).stopped();
    read(calls, &segment);
    calls.at_once("placing what is there", || segment.value("value", 1u64).unwrap().set(2));
    calls.at_once("opening what is there", || {
        segment.open_value::<u64>("value").unwrap().get()
    });
    let again = calls.at_once("Segment::open", || folder.builder().open("made"));
    let other = calls.at_once("Segment::create of another", || {
        folder.builder().create("other").unwrap()
    });
    used(calls, &other);
    wait_for_the_directory(calls, &segment);
    calls.at_once("Segment::drop", || is_fine(again));
    peer.go_on();
    calls.in_the_end("placing afterwards", || segment.value("late", 1u64).unwrap());
    peer.ends_well();
    drop((other, value));
    is_fine(segment.unlink());
    calls.at_once("the last drop", || drop(segment));
    is_left(&folder, at);
}

/// A call that needs the directory.
type Placing = fn(&Segment) -> procshare::Result<()>;

/// Each of these has a limit, and here all wait at the same time.
fn wait_for_the_directory(calls: Calls<'_>, segment: &Segment) {
    let placing: [(&str, Placing); 6] = [
        ("placing a value", |segment| {
            segment.value("a", 1u64).map(|_: SharedValue<u64>| ())
        }),
        ("placing a counter", |segment| {
            segment.counter("b", 1).map(|_: SharedCounter| ())
        }),
        ("placing an array", |segment| segment.array::<u64>("c", 2).map(drop)),
        ("placing a map", |segment| {
            segment.map("d", 4096).map(|_: SharedMap<u64, u64>| ())
        }),
        ("placing a queue", |segment| {
            segment.queue("e", 4).map(|_: SharedQueue<u64>| ())
        }),
        ("Segment::unlink", |segment| segment.unlink()),
    ];
    thread::scope(|scope| {
        for (what, call) in placing {
            scope.spawn(move || is_fine(calls.in_the_end(what, || call(segment))));
        }
    });
}

/// The peer is alone with a file of an earlier start of the machine.
fn beside_a_reset(at: &str) {
    let (folder, calls) = (Folder::new(), Calls(at));
    let path = folder.0.join("file");
    let builder = Segment::builder();
    drop(builder.create_file(&path).unwrap().value("value", 1u64).unwrap());
    write_at(&path, BOOT_ID, &[0x5a; 16]);
    let peer = Peer::start("open the file", at, &[folder.path()]).stopped();
    let busy = |outcome: procshare::Result<Segment>| assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Busy);
    busy(calls.in_the_end("Segment::open_file", || builder.open_file(&path)));
    busy(calls.in_the_end("Segment::open_or_create_file", || builder.open_or_create_file(&path)));
    is_fine(calls.at_once("Segment::create_file", || builder.create_file(&path)));
    calls.at_once("clean_folder", || clean_folder(&folder.0).unwrap());
    peer.ends_well();
    let segment = builder.open_file(&path).unwrap();
    assert_eq!(segment.open_value::<u64>("value").unwrap().get(), 1);
    segment.unlink().unwrap();
    is_left(&folder, at);
}
