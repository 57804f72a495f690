//! What happens at the end of `main`: to children, and to names.

use super::{Part, Test, part, stage};
use procshare::process::StartMethod;
use procshare::{Process, Segment, SharedAtomic, SharedCounter};
use std::fs;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const PARTS: &[Part] = &[
    part("returns before its children", || leave_children(&[])),
    part("fails before its children", || {
        leave_children(&[]);
        ExitCode::from(3)
    }),
    part("panics before its children", || {
        leave_children(&[]);
        panic!("in main");
    }),
    part("lets its children go", || leave_children(&["go"])),
    part("has grandchildren", leave_grandchildren),
    part("leaves a daemon", leave_daemon),
    part("leaves a daemon that was let go", leave_loose_daemon),
    part("keeps a name", || keep_name(ExitCode::SUCCESS)),
    part("keeps a name and fails", || keep_name(ExitCode::from(3))),
    part("keeps a name and panics", || {
        keep_name(ExitCode::SUCCESS);
        panic!("in main");
    }),
    part("keeps a name in children", keep_name_in_children),
    part("keeps a name that a child uses", keep_name_of_child),
    part("leaves a daemon with a name", leave_daemon_with_name),
    part("leaves daemons with younger names", leave_daemons_with_younger_names),
];

pub(crate) const TESTS: &[Test] = &[
    ("children_are_waited_for_at_the_end_of_main", waited_for),
    ("children_that_were_let_go_are_not_waited_for", let_go),
    ("daemons_end_before_others_are_waited_for", daemons_first),
    ("a_name_in_a_static_goes_with_the_end_of_main", names_go),
    ("a_name_that_others_use_stays_as_long", name_stays),
    ("a_name_goes_with_the_daemon_that_was_its_last_user", name_of_killed),
    ("a_name_goes_with_daemons_that_were_there_before_it", younger_names),
];

type Flag = SharedAtomic<AtomicU32>;

/// Where the handler finds the flag it is to raise.
static AT_EXIT: OnceLock<Flag> = OnceLock::new();

extern "C" fn exit() {
    if let Some(flag) = AT_EXIT.get() {
        flag.store(1, Ordering::SeqCst);
    }
    println!("exit");
}

/// Raised when `main` is past its last statement.
struct Returned(Flag);

impl Drop for Returned {
    fn drop(&mut self) {
        self.0.store(1, Ordering::SeqCst);
    }
}

fn wait_for(flag: &Flag) {
    while flag.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
}

/// Waits for the end of its parent's `main`, and longer, as long as the parent is there.
fn outlast(returned: Flag, ended: Flag) {
    wait_for(&returned);
    let patience = Instant::now() + Duration::from_millis(200);
    while ended.load(Ordering::SeqCst) == 0 && Instant::now() < patience {
        std::thread::yield_now();
    }
    println!("child");
}

/// Starts a child by every method, and goes; lets them `go` before, if it is said so.
fn leave_children(how: &[&str]) -> ExitCode {
    let (returned, ended) = (Flag::new(0).unwrap(), Flag::new(0).unwrap());
    for method in [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer] {
        let builder = Process::builder().start_method(method);
        let child = builder.spawn(outlast, (returned.clone(), ended.clone())).unwrap();
        match method {
            _ if how == ["go"] => child.detach(),
            StartMethod::Spawn => std::mem::forget(child),
            _ => drop(child),
        }
    }
    AT_EXIT.get_or_init(|| ended);
    // SAFETY: the handler is a function that lives for ever.
    assert_eq!(unsafe { libc::atexit(exit) }, 0);
    returned.store(1, Ordering::SeqCst);
    ExitCode::SUCCESS
}

fn waited_for() {
    let codes = [
        ("returns before its children", 0),
        ("fails before its children", 3),
        ("panics before its children", 101),
    ];
    for (part, code) in codes {
        let ended = stage::run(stage::program(part));
        let said: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(
            (ended.status.code(), &said[..]),
            (Some(code), &["child", "child", "child", "exit"][..]),
            "{ended:?}"
        );
    }
    let ended = stage::run(stage::program("has grandchildren"));
    assert_eq!(ended.lines(), ["child", "exit"]);
}

fn let_go() {
    let ended = stage::run(stage::program("lets its children go"));
    assert_eq!(ended.lines(), ["exit", "child", "child", "child"]);
}

fn start_and_return(returned: Flag, ended: Flag) {
    let raised = Returned(returned.clone());
    drop(Process::spawn(outlast, (returned, ended)).unwrap());
    drop(raised);
}

/// A child that starts one in turn, and returns.
fn leave_grandchildren() -> ExitCode {
    let (returned, ended) = (Flag::new(0).unwrap(), Flag::new(0).unwrap());
    drop(Process::spawn(start_and_return, (returned, ended.clone())).unwrap());
    AT_EXIT.get_or_init(|| ended);
    // SAFETY: the handler is a function that lives for ever.
    assert_eq!(unsafe { libc::atexit(exit) }, 0);
    ExitCode::SUCCESS
}

fn stay() {
    loop {
        std::thread::park();
    }
}

fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn wait_for_end_of(pid: u32) {
    while is_there(pid) {
        std::thread::yield_now();
    }
    println!("the daemon has ended");
}

fn leave_daemon() -> ExitCode {
    let daemon = Process::builder().daemon(true).spawn(stay, ()).unwrap();
    drop(Process::spawn(wait_for_end_of, (daemon.id(),)).unwrap());
    ExitCode::SUCCESS
}

fn look_for(pid: u32, returned: Flag) {
    wait_for(&returned);
    println!("the daemon runs: {}", is_there(pid));
}

fn leave_loose_daemon() -> ExitCode {
    let returned = Returned(Flag::new(0).unwrap());
    let daemon = Process::builder().daemon(true).detached(true).spawn(stay, ()).unwrap();
    drop(Process::spawn(look_for, (daemon.id(), returned.0.clone())).unwrap());
    println!("{}", daemon.id());
    ExitCode::SUCCESS
}

fn daemons_first() {
    let ended = stage::run(stage::program("leaves a daemon"));
    assert_eq!(ended.lines(), ["the daemon has ended"]);
    let ended = stage::run(stage::program("leaves a daemon that was let go"));
    let lines = ended.lines();
    assert_eq!(lines[1], "the daemon runs: true");
    let pid = lines[0].parse().unwrap();
    while is_there(pid) {
        std::thread::yield_now();
    }
}

const NAME: &str = "PROCSHARE_TEST_NAME";

static KEPT: OnceLock<(Segment, SharedCounter)> = OnceLock::new();

fn kept() -> &'static (Segment, SharedCounter) {
    KEPT.get_or_init(|| {
        let segment = Segment::builder()
            .capacity(1 << 16)
            .open_or_create(std::env::var(NAME).unwrap())
            .unwrap();
        let counter = segment.counter("n", 0).unwrap();
        (segment, counter)
    })
}

extern "C" fn look_at_it() {
    let (segment, counter) = kept();
    let before = counter.get();
    while counter.get() == before {
        std::thread::yield_now();
    }
    println!("it counts on, with {} object", segment.objects().unwrap().len());
}

/// A handle in a `static`, a second one to the same, and a thread that uses it to the last.
fn keep_name(code: ExitCode) -> ExitCode {
    let (_, counter) = kept();
    std::mem::forget(Segment::open(std::env::var(NAME).unwrap()).unwrap());
    std::thread::spawn(move || {
        loop {
            counter.increment().unwrap();
        }
    });
    // SAFETY: the handler is a function that lives for ever.
    assert_eq!(unsafe { libc::atexit(look_at_it) }, 0);
    code
}

fn keep_name_in_children() -> ExitCode {
    for method in [StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer] {
        let builder = Process::builder().start_method(method);
        let child = builder.spawn(|| kept().1.increment().unwrap(), ()).unwrap();
        assert_eq!(child.join(), Ok(1));
        assert!(names().is_empty(), "{method}");
    }
    ExitCode::SUCCESS
}

fn hold(holds: Flag, returned: Flag, ended: Flag) {
    kept();
    holds.store(1, Ordering::SeqCst);
    wait_for(&returned);
    wait_for(&ended);
    println!("the name is there: {}", names().len());
}

fn keep_name_of_child() -> ExitCode {
    kept();
    let flags = [(); 3].map(|()| Flag::new(0).unwrap());
    let [holds, returned, ended] = flags.clone();
    Process::spawn(hold, (holds.clone(), returned.clone(), ended.clone()))
        .unwrap()
        .detach();
    wait_for(&holds);
    AT_EXIT.get_or_init(|| ended);
    // SAFETY: the handler is a function that lives for ever.
    assert_eq!(unsafe { libc::atexit(exit) }, 0);
    returned.store(1, Ordering::SeqCst);
    ExitCode::SUCCESS
}

/// What stands in shared memory under this part's name.
fn names() -> Vec<String> {
    let name = std::env::var(NAME).unwrap();
    names_with(&name)
}

fn names_with(part: &str) -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(part)).collect()
}

fn names_go() {
    let parts = [
        ("keeps a name", 0),
        ("keeps a name and fails", 3),
        ("keeps a name and panics", 101),
        ("keeps a name in children", 0),
    ];
    for (part, code) in parts {
        let name = format!("test-kept-{}-{code}", std::process::id());
        let mut command = stage::program(part);
        command.env(NAME, &name);
        let ended = stage::run(command);
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert_eq!(names_with(&name), [""; 0], "{part}");
        if part != "keeps a name in children" {
            assert_eq!(ended.stdout, "it counts on, with 1 object\n", "{part}");
        }
    }
}

fn name_stays() {
    let name = format!("test-held-{}", std::process::id());
    let mut command = stage::program("keeps a name that a child uses");
    command.env(NAME, &name);
    let ended = stage::run(command);
    assert_eq!(ended.lines(), ["exit", "the name is there: 1"]);
    assert_eq!(names_with(&name), [""; 0]);
}

fn count_and_stay(counter: SharedCounter) {
    counter.increment().unwrap();
    stay();
}

fn leave_daemon_with_name() -> ExitCode {
    for method in [StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer] {
        let name = format!("{}-{method}", std::env::var(NAME).unwrap());
        let counter = SharedCounter::create(name, 0).unwrap();
        let builder = Process::builder().daemon(true).start_method(method);
        drop(builder.spawn(count_and_stay, (counter.clone(),)).unwrap());
        while counter.get() == 0 {
            std::thread::yield_now();
        }
    }
    assert_eq!(names().len(), 3);
    ExitCode::SUCCESS
}

fn name_of_killed() {
    let name = format!("test-killed-{}", std::process::id());
    let mut command = stage::program("leaves a daemon with a name");
    command.env(NAME, &name);
    assert_eq!(stage::run(command).lines(), [""; 0]);
    assert_eq!(names_with(&name), [""; 0]);
}

/// A daemon opens a name when that is there.
fn open_and_stay(name: String, opened: Flag) {
    let _counter = loop {
        match SharedCounter::open(&name) {
            Ok(counter) => break counter,
            Err(_) => std::thread::yield_now(),
        }
    };
    opened.fetch_add(1, Ordering::SeqCst);
    stay();
}

/// Two daemons use each name that `main` makes and lets go of; those of one are killed before the end of `main`.
fn leave_daemons_with_younger_names() -> ExitCode {
    for what in ["killed", "left"] {
        let name = format!("{}-{what}", std::env::var(NAME).unwrap());
        let opened = Flag::new(0).unwrap();
        let start = || {
            let builder = Process::builder().daemon(true);
            builder.spawn(open_and_stay, (name.clone(), opened.clone())).unwrap()
        };
        let daemons = [start(), start()];
        let counter = SharedCounter::create(&name, 0).unwrap();
        while opened.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        drop(counter);
        for daemon in daemons.iter().filter(|_| what == "killed") {
            daemon.kill().unwrap();
            daemon.child().wait();
        }
    }
    assert_eq!(names().len(), 2);
    ExitCode::SUCCESS
}

fn younger_names() {
    let name = format!("test-younger-{}", std::process::id());
    let mut command = stage::program("leaves daemons with younger names");
    command.env(NAME, &name);
    assert_eq!(stage::run(command).lines(), [""; 0]);
    // What a killed process leaves is for whoever comes next.
    let killed = format!("{name}-killed");
    assert_eq!(names_with(&name), [format!("procshare.{killed}")]);
    drop(SharedCounter::open(&killed).unwrap());
    assert_eq!(names_with(&name), [""; 0]);
}
