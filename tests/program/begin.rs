//! Where a child begins, and where it cannot.

use super::{Part, Test, part, stage};
use procshare::process::{Builder, StartMethod};
use procshare::{ErrorKind, Pool, Process};
use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) const EVERY: &str = "starts by every method";

pub(crate) const PARTS: &[Part] = &[
    part(EVERY, start_by_every_method),
    Part {
        before: close_all,
        ..part("closes descriptors first", start_by_every_method)
    },
    Part {
        before: leave_for_another,
        ..part("leaves for another process", start_by_every_method)
    },
];

pub(crate) const TESTS: &[Test] = &[
    ("a_child_without_its_errand_ends_and_never_reaches_main", fuse),
    ("a_program_that_another_has_loaded_says_so_once", loaded),
];

/// Says how each way of beginning anew ends, and that a copy can be made.
pub(crate) fn start_by_every_method() -> ExitCode {
    println!("main");
    let say = |what: &str, outcome: Result<u32, ErrorKind>| match outcome {
        Ok(number) => println!("{what}: {number}"),
        Err(kind) => println!("{what}: {kind:?}"),
    };
    let child = |builder: Builder| {
        let child = builder.daemon(true).spawn(|| 42, ()).map_err(|error| error.kind())?;
        child.join().map_err(|error| procshare::Error::from(error).kind())
    };
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        say(&format!("{method}"), child(Process::builder().start_method(method)));
    }
    say(
        "fork",
        Process::fork(|| 42)
            .map_err(|error| error.kind())
            .map(|child| child.join().unwrap()),
    );
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = Pool::builder().workers(2).start_method(method).build();
        let outcome = pool.map_err(|error| error.kind());
        let job = |pool: Pool| pool.apply(|| 42, ()).map_err(|_| ErrorKind::ChildFailed);
        say(&format!("pool by {method}"), outcome.and_then(job));
    }
    ExitCode::SUCCESS
}

pub(crate) const WORKS: [&str; 6] = [
    "main",
    "spawn: 42",
    "fork-server: 42",
    "fork: 42",
    "pool by spawn: 42",
    "pool by fork-server: 42",
];

pub(crate) fn refused_as(kind: ErrorKind) -> [String; 6] {
    let refused = |way: &str| format!("{way}: {kind:?}");
    [
        "main".to_owned(),
        refused("spawn"),
        refused("fork-server"),
        "fork: 42".to_owned(),
        refused("pool by spawn"),
        refused("pool by fork-server"),
    ]
}

fn close_all() {
    // SAFETY: the program has opened nothing yet that it goes on using.
    unsafe { libc::close_range(3, u32::MAX, 0) };
}

/// Has a child go on in a copy, an orphan, as programs do that become daemons.
fn leave_for_another() {
    if std::env::var_os("PROCSHARE_CHILD").is_none() {
        return;
    }
    close_all();
    let before = std::process::id();
    // SAFETY: the process has one thread.
    if unsafe { libc::fork() } != 0 {
        std::process::exit(0);
    }
    while std::os::unix::process::parent_id() == before {
        std::thread::yield_now();
    }
}

/// It says why, with a status, and its parent has an error.
fn fuse() {
    for part in ["closes descriptors first", "leaves for another process"] {
        let ended = stage::run(stage::program(part));
        let lines = ended.lines();
        assert_eq!(lines.iter().filter(|line| **line == "main").count(), 1, "{ended:?}");
        assert!(
            lines.contains(&"spawn: Spawn") && lines.contains(&"fork-server: Spawn"),
            "{ended:?}"
        );
        assert!(
            ended.stderr.contains("procshare: this process was started as a child"),
            "{ended:?}"
        );
    }
}

/// The loader is what a child would run.
fn loaded() {
    let Some(loader) = interpreter() else {
        println!("skipped, as this program needs no loader");
        return;
    };
    let mut command = Command::new(loader);
    command.arg(std::env::current_exe().unwrap()).env(stage::PART, EVERY);
    let ended = stage::run(command);
    assert_eq!(ended.lines(), refused_as(ErrorKind::Unsupported), "{ended:?}");
    assert_eq!(ended.stderr, "");
}

/// The loader that this program names, from the maps.
fn interpreter() -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let is_loader = |path: &&str| {
        Path::new(path)
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-"))
    };
    paths.find(is_loader).map(str::to_owned)
}
