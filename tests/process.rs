//! Children: what they return, how they end, what they leave behind.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{descriptors, has_ended, other_program, output_of, state_of, wait_until, watchdog};
use procshare::process::StartMethod;
use procshare::{Error, ErrorKind, JoinError, Process, SharedAtomic, SharedCounter, SharedValue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A number two processes watch.
type Flag = SharedAtomic<AtomicU32>;

fn flag() -> Flag {
    Flag::new(0).unwrap()
}

fn raise(flag: &Flag) {
    flag.fetch_add(1, Ordering::SeqCst);
}

fn wait_for(flag: &Flag, count: u32) {
    wait_until(|| flag.load(Ordering::SeqCst) >= count);
}

fn for_ever() {
    loop {
        std::thread::park();
    }
}

fn nothing() {}

fn increment(counter: SharedValue<i32>, times: u32) {
    for _ in 0..times {
        *counter.get_lock() += 1;
    }
}

#[procshare::test]
fn four_children_count_together() {
    let _watchdog = watchdog(60);
    let counter = SharedValue::new(0).unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| Process::spawn(increment, (counter.clone(), 10_000)).unwrap())
        .collect();
    for child in children {
        child.join().unwrap();
    }
    assert_eq!(counter.get(), 40_000);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Circle { radius: f64 },
    Named(String),
}

#[procshare::test]
fn results_of_each_kind_come_back() {
    let _watchdog = watchdog(60);
    Process::spawn(nothing, ()).unwrap().join().unwrap();
    assert_eq!(Process::spawn(u64::pow, (3, 4)).unwrap().join(), Ok(81));
    let text = Process::spawn(|text: String| text.to_uppercase(), ("ümlaut".to_owned(),)).unwrap();
    assert_eq!(text.join().unwrap(), "ÜMLAUT");
    let list = Process::spawn(|n: u8| (0..n).map(Some).collect::<Vec<_>>(), (3,)).unwrap();
    assert_eq!(list.join().unwrap(), [Some(0), Some(1), Some(2)]);
    let grow = |shape: Shape| match shape {
        Shape::Circle { radius } => Ok(Shape::Circle { radius: radius * 2.0 }),
        Shape::Named(name) => Err(name),
    };
    let circle = Process::spawn(grow, (Shape::Circle { radius: 1.5 },)).unwrap();
    let named = Process::spawn(grow, (Shape::Named("box".to_owned()),)).unwrap();
    assert_eq!(circle.join().unwrap(), Ok(Shape::Circle { radius: 3.0 }));
    assert_eq!(named.join().unwrap(), Err("box".to_owned()));
}

#[procshare::test]
fn twelve_arguments_keep_their_order() {
    let _watchdog = watchdog(60);
    type Many = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, char);
    #[expect(clippy::too_many_arguments, reason = "as many as there may be")]
    fn all(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: char) -> Many {
        (a, b, c, d, e, f, g, h, i, j, k, l)
    }
    let many: Many = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 'l');
    assert_eq!(Process::spawn(all, many).unwrap().join(), Ok(many));
}

#[procshare::test]
fn large_arguments_and_results_travel() {
    let _watchdog = watchdog(60);
    let text = "0123456789abcdef".repeat(20 << 16);
    let child = Process::spawn(|text: String| text + "!", (text.clone(),)).unwrap();
    assert!(child.join().unwrap() == text + "!");
}

#[procshare::test]
fn a_panic_comes_back_as_its_words() {
    let _watchdog = watchdog(60);
    let fixed = Process::spawn(|| -> u8 { panic!("no words to format") }, ()).unwrap();
    let formatted = Process::spawn(|a: u8| -> u8 { panic!("a is {a}") }, (7,)).unwrap();
    let thrown = Process::spawn(|| -> u8 { std::panic::panic_any(7_u8) }, ()).unwrap();
    let panicked = |text: &str| JoinError::Panicked(text.into());
    assert_eq!(fixed.join(), Err(panicked("no words to format")));
    assert_eq!(formatted.join(), Err(panicked("a is 7")));
    assert_eq!(thrown.join(), Err(panicked("(no panic message)")));
}

#[procshare::test]
fn an_exit_comes_back_as_its_status() {
    let _watchdog = watchdog(60);
    for code in [0, 1, 3, 101] {
        let child = Process::spawn(|code: i32| -> u8 { std::process::exit(code) }, (code,)).unwrap();
        assert_eq!(child.join(), Err(JoinError::Exited(code)));
    }
}

#[procshare::test]
fn signals_end_a_child_and_are_told() {
    let _watchdog = watchdog(60);
    let killed = Process::spawn(for_ever, ()).unwrap();
    killed.kill().unwrap();
    let mut terminated = Process::spawn(for_ever, ()).unwrap();
    terminated.terminate().unwrap();
    assert_eq!(killed.join(), Err(JoinError::Signaled(libc::SIGKILL)));
    wait_until(|| !terminated.is_alive());
    // It has ended, and has not been joined.
    terminated.kill().unwrap();
    assert_eq!(terminated.try_join(), Err(JoinError::Signaled(libc::SIGTERM)));
    terminated.kill().unwrap();
    assert!(!terminated.is_alive());
    assert_eq!(terminated.try_join(), Err(JoinError::AlreadyJoined));
}

#[procshare::test]
fn a_blocked_signal_of_the_spawner_reaches_the_child() {
    let _watchdog = watchdog(60);
    let mut signals = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to writable room for one set.
    unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
    // SAFETY: the set was initialised, and the signal exists.
    unsafe { libc::sigaddset(signals.as_mut_ptr(), libc::SIGTERM) };
    // SAFETY: the set was initialised; nobody wants the former one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut()) };
    let child = Process::spawn(for_ever, ()).unwrap();
    child.terminate().unwrap();
    assert_eq!(child.join(), Err(JoinError::Signaled(libc::SIGTERM)));
}

#[procshare::test]
fn a_join_with_a_limit_can_be_repeated() {
    let _watchdog = watchdog(60);
    let go = flag();
    let answer_later = |go: Flag| {
        wait_for(&go, 1);
        42
    };
    let mut child = Process::spawn(answer_later, (go.clone(),)).unwrap();
    assert_eq!(child.join_timeout(Duration::from_millis(5)), Err(JoinError::TimedOut));
    assert_eq!(child.join_deadline(Instant::now()), Err(JoinError::TimedOut));
    assert_eq!(child.try_join(), Err(JoinError::TimedOut));
    assert!(child.is_alive());
    raise(&go);
    assert_eq!(child.join_timeout(Duration::MAX), Ok(42));
    assert!(!child.is_alive());
    assert_eq!(child.join(), Err(JoinError::AlreadyJoined));
}

#[procshare::test]
fn join_errors_become_errors_of_their_kind() {
    let kinds = [
        (JoinError::TimedOut, ErrorKind::TimedOut),
        (JoinError::Signaled(9), ErrorKind::ChildFailed),
        (JoinError::Panicked("".into()), ErrorKind::ChildFailed),
        (JoinError::Encoding(String::new()), ErrorKind::Encoding),
        (JoinError::NotTransferable(String::new()), ErrorKind::NotTransferable),
        (JoinError::NotStarted(String::new()), ErrorKind::Spawn),
        (JoinError::Io(String::new()), ErrorKind::Io),
    ];
    for (error, kind) in kinds {
        assert_eq!(Error::from(error).kind(), kind);
    }
}

/// Makes the file through which this process answers so short, once it has answered.
fn answer_and_cut<const LEFT: u64>(result: usize) -> Vec<u8> {
    extern "C" fn cut<const LEFT: u64>() {
        for (number, target) in descriptors() {
            if target.contains("procshare-mailbox") {
                // SAFETY: two numbers.
                unsafe { libc::ftruncate(number as i32, LEFT as libc::off_t) };
            }
        }
    }
    // SAFETY: it is a function of this program, which calls it as it exits.
    assert_eq!(unsafe { libc::atexit(cut::<LEFT>) }, 0);
    vec![7; result]
}

/// Memory has nothing to do with it, nor has the encoding.
#[procshare::test]
fn a_result_that_cannot_be_read_is_an_error_of_the_system() {
    let _watchdog = watchdog(60);
    let short = Process::spawn(answer_and_cut::<100>, (1000,)).unwrap().join();
    let long = Process::spawn(answer_and_cut::<{ 1 << 16 }>, (3 << 20,))
        .unwrap()
        .join();
    for outcome in [short, long] {
        let error = outcome.unwrap_err();
        assert!(
            matches!(&error, JoinError::Io(text) if text.starts_with("reading the result failed: ")),
            "{error:?}"
        );
    }
}

#[procshare::test]
fn a_builder_shows_what_was_set() {
    let builder = Process::builder().name("clerk").daemon(true).env("KEY", "value");
    let builder = builder.current_dir("/tmp").start_method(StartMethod::ForkServer);
    assert_eq!(
        format!("{builder:?}"),
        "Builder { name: Some(\"clerk\"), daemon: true, detached: false, \
            env: Environment { clear: false, changes: {\"KEY\": Some(\"value\")} }, \
            current_dir: Some(\"/tmp\"), start_method: ForkServer }"
    );
}

#[procshare::test]
fn children_have_names_and_ids() {
    let _watchdog = watchdog(60);
    let child = Process::spawn(std::process::id, ()).unwrap();
    let named = Process::builder().name("clerk").spawn(nothing, ()).unwrap();
    assert!(child.name().starts_with("Process-"), "{child:?}");
    assert_eq!(named.name(), "clerk");
    let id = child.id();
    assert_eq!(child.join(), Ok(id));
    named.join().unwrap();
}

#[procshare::test]
fn eight_threads_spawn_at_once() {
    let _watchdog = watchdog(60);
    let counter = SharedCounter::new(0).unwrap();
    let spawn_some = || {
        for _ in 0..8 {
            let child = Process::spawn(|c: SharedCounter| c.increment().unwrap(), (counter.clone(),));
            assert!(child.unwrap().join().unwrap() > 0);
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(spawn_some))));
    assert_eq!(counter.get(), 64);
}

#[procshare::test]
fn children_have_children() {
    let _watchdog = watchdog(60);
    fn descend(depth: u32) -> u32 {
        match depth {
            0 => 0,
            _ => 1 + Process::spawn(descend, (depth - 1,)).unwrap().join().unwrap(),
        }
    }
    assert_eq!(Process::spawn(descend, (3,)).unwrap().join(), Ok(3));
}

/// In the parent and in the child nothing stays open; the child gets what it was given, and each segment once.
#[procshare::test]
fn no_descriptor_stays_or_strays() {
    let _watchdog = watchdog(60);
    // In a process of its own, as other tests open and close descriptors in this one.
    let observe = || {
        let counter = SharedCounter::new(0).unwrap();
        let value = SharedValue::new(0_u8).unwrap();
        let _never_passed = SharedValue::new(0_u8).unwrap();
        let before = descriptors();
        let look = |_: SharedCounter, _: SharedCounter, _: SharedValue<u8>| descriptors();
        for _ in 0..3 {
            let arguments = (counter.clone(), counter.clone(), value.clone());
            let child = Process::spawn(look, arguments).unwrap();
            let there = child.join().unwrap();
            let segments = there.iter().filter(|(_, target)| target.contains("memfd")).count();
            // The two segments, and the mailbox.
            assert_eq!(segments, 3, "{there:?}");
        }
        assert_eq!(descriptors(), before);
    };
    Process::spawn(observe, ()).unwrap().join().unwrap();
}

/// Descriptors are inherited by the child they are meant for, and by nobody another thread starts meanwhile.
#[procshare::test]
fn no_descriptor_leaks_into_children_of_other_threads() {
    let _watchdog = watchdog(120);
    let race = || {
        let value = SharedValue::new(0_u8).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..40 {
                    let builder = Process::builder().daemon(true);
                    builder
                        .spawn(drop::<SharedValue<u8>>, (value.clone(),))
                        .unwrap()
                        .join()
                        .unwrap();
                }
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                let list = output_of(std::process::Command::new("ls").args(["-l", "/proc/self/fd"]));
                assert!(!list.contains("memfd") && !list.contains("pidfd"), "{list}");
            }
        });
    };
    Process::spawn(race, ()).unwrap().join().unwrap();
}

#[procshare::test]
fn descriptors_running_out_is_an_error() {
    let _watchdog = watchdog(60);
    let exhaust = || {
        let mut hoard: Vec<_> = Vec::new();
        let few = libc::rlimit {
            rlim_cur: 40,
            rlim_max: 40,
        };
        // SAFETY: the pointer is to a whole limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &few) }, 0);
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
        let mut kinds = Vec::new();
        // Each round leaves room for one more of the descriptors that a spawn needs.
        loop {
            match Process::spawn(nothing, ()) {
                Ok(child) => break child.join().unwrap(),
                Err(error) => kinds.push(error.kind()),
            }
            hoard.pop().unwrap();
        }
        assert!(!kinds.is_empty());
        assert!(
            kinds.iter().all(|kind| *kind == ErrorKind::TooManyDescriptors),
            "{kinds:?}"
        );
    };
    Process::spawn(exhaust, ()).unwrap().join().unwrap();
}

#[procshare::test]
fn dropped_children_leave_no_zombie() {
    let _watchdog = watchdog(60);
    let go = flag();
    let ended = Process::spawn(nothing, ()).unwrap();
    let running = Process::spawn(|go: Flag| wait_for(&go, 1), (go.clone(),)).unwrap();
    let (ended_id, running_id) = (ended.id(), running.id());
    wait_until(|| !ended.is_alive());
    drop(ended);
    assert_eq!(state_of(ended_id), None);
    drop(running);
    raise(&go);
    // The thread that waits for it may be late on a busy machine.
    wait_until(|| state_of(running_id).is_none());
}

#[procshare::test]
fn a_result_survives_a_program_that_ignores_its_children() {
    let _watchdog = watchdog(60);
    let ignore = || {
        // SAFETY: the signal exists, and ignoring it runs no code.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let result = Process::spawn(|| 42, ()).unwrap().join();
        let lost = Process::spawn(|| -> u8 { std::process::exit(3) }, ()).unwrap().join();
        (result.unwrap(), lost == Err(JoinError::Unknown))
    };
    assert_eq!(Process::spawn(ignore, ()).unwrap().join(), Ok((42, true)));
}

/// Starts a child that tells its id and stays; then this process stays, or dies at once.
fn start_and_stay(id: SharedAtomic<AtomicU32>, daemon: bool, die: bool) {
    let tell_and_stay = |id: SharedAtomic<AtomicU32>| {
        id.store(std::process::id(), Ordering::SeqCst);
        for_ever();
    };
    let child = Process::builder()
        .daemon(daemon)
        .spawn(tell_and_stay, (id.clone(),))
        .unwrap();
    if die {
        id.store(child.id(), Ordering::SeqCst);
        std::process::abort();
    }
    for_ever();
}

#[procshare::test]
fn a_daemon_ends_with_its_parent_and_others_do_not() {
    let _watchdog = watchdog(60);
    for daemon in [true, false] {
        let id = flag();
        let between = Process::spawn(start_and_stay, (id.clone(), daemon, false)).unwrap();
        wait_for(&id, 1);
        let id = id.load(Ordering::SeqCst);
        between.kill().unwrap();
        assert_eq!(between.join(), Err(JoinError::Signaled(libc::SIGKILL)));
        if daemon {
            wait_until(|| has_ended(id));
        } else {
            assert!(!has_ended(id));
            // SAFETY: the call takes two numbers; the process was alive just now, and nobody else ends it.
            unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
        }
    }
}

#[procshare::test]
fn a_daemon_whose_parent_died_first_ends_too() {
    let _watchdog = watchdog(60);
    for _ in 0..10 {
        let id = flag();
        let between = Process::spawn(start_and_stay, (id.clone(), true, true)).unwrap();
        assert_eq!(between.join(), Err(JoinError::Signaled(libc::SIGABRT)));
        wait_until(|| has_ended(id.load(Ordering::SeqCst)));
    }
}

const AS_OTHER_PROGRAM: &str = "PROCSHARE_TEST_AS_OTHER_PROGRAM";

fn is_other_program() -> bool {
    std::env::var_os(AS_OTHER_PROGRAM).is_some()
}

/// Prints that it came to its own start, if it is run as another program.
#[procshare::test]
fn other_program_says_where_it_starts() {
    if is_other_program() {
        println!("started in its own main");
    }
}

/// A grandchild that runs this very program finds the marker of its parent, and not its mailbox.
#[procshare::test]
fn a_stale_marker_is_nobodys_errand() {
    let _watchdog = watchdog(60);
    let run = |marker: Option<String>| {
        let mut command = other_program("other_program_says_where_it_starts", AS_OTHER_PROGRAM);
        if let Some(marker) = marker {
            command.env("PROCSHARE_CHILD", marker);
        }
        assert!(std::env::var_os("PROCSHARE_CHILD").is_some());
        output_of(&mut command)
    };
    let invented = [
        "",
        "1",
        "1:2:3",
        "0:0:0",
        "-1:0:0",
        "9999999999999:0:0",
        "a:b:c",
        "3:4:5:6",
    ];
    let markers = [None].into_iter().chain(invented.map(|marker| Some(marker.to_owned())));
    for marker in markers {
        let output = Process::spawn(run, (marker,)).unwrap().join().unwrap();
        assert!(output.contains("started in its own main"), "{output}");
    }
}

/// The errand is taken once, though its marker stays in the environment.
#[procshare::test]
fn a_child_may_come_to_an_entry_again() {
    let _watchdog = watchdog(60);
    let again = || {
        procshare::init();
        42
    };
    assert_eq!(Process::spawn(again, ()).unwrap().join(), Ok(42));
}

#[procshare::test]
fn the_environment_holds_one_marker() {
    let _watchdog = watchdog(60);
    let markers = || {
        std::env::vars()
            .filter(|(key, _)| key.starts_with("PROCSHARE_CHILD"))
            .count()
    };
    let pass_on = |_: ()| Process::spawn(|_: ()| 0, ((),)).unwrap().join().unwrap();
    assert_eq!(Process::spawn(pass_on, ((),)).unwrap().join(), Ok(0));
    assert_eq!(Process::spawn(markers, ()).unwrap().join(), Ok(1));
}

/// Without an entry, spawning is refused. Marked `#[test]` on purpose, and alone in its process.
#[test]
fn other_program_spawns_without_an_entry() {
    if is_other_program() {
        let error = Process::spawn(nothing, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotInitialized);
        assert!(error.to_string().contains("procshare::main"), "{error}");
        println!("refused");
    }
}

#[procshare::test]
fn spawning_without_an_entry_is_an_error() {
    let _watchdog = watchdog(60);
    let output = output_of(&mut other_program(
        "other_program_spawns_without_an_entry",
        AS_OTHER_PROGRAM,
    ));
    assert!(output.contains("refused"), "{output}");
}

static ENTERED: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Marked `#[test]` on purpose, and run beside the one below.
#[test]
fn in_company_without_an_entry() {
    if is_other_program() {
        wait_until(|| ENTERED.load(Ordering::SeqCst) == 1);
        let error = Process::spawn(nothing, ()).unwrap_err();
        let pool = procshare::Pool::new(1).map(drop).unwrap_err();
        REFUSED.store(1, Ordering::SeqCst);
        assert_eq!(
            (error.kind(), pool.kind()),
            (ErrorKind::NotInitialized, ErrorKind::NotInitialized)
        );
        assert!(error.to_string().contains("procshare::test"), "{error}");
        println!("refused");
    }
}

/// Its own threads start children, named or not.
#[procshare::test]
fn in_company_with_an_entry() {
    if is_other_program() {
        let spawn = || assert_eq!(Process::spawn(|| 42, ()).unwrap().join(), Ok(42));
        ENTERED.store(1, Ordering::SeqCst);
        spawn();
        std::thread::spawn(spawn).join().unwrap();
        let named = std::thread::Builder::new().name("in_company".to_owned());
        named.spawn(spawn).unwrap().join().unwrap();
        wait_until(|| REFUSED.load(Ordering::SeqCst) == 1);
        println!("spawned");
    }
}

#[procshare::test]
fn a_test_without_an_entry_fails_in_company_as_alone() {
    let _watchdog = watchdog(60);
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    program.args(["in_company_with", "--nocapture", "--test-threads=2"]);
    let output = output_of(program.env(AS_OTHER_PROGRAM, "1"));
    assert!(output.contains("refused") && output.contains("spawned"), "{output}");
}

/// A child that never comes to its entry is told from one that exited in its function. Alone in its process.
#[test]
fn other_program_loses_its_entry() {
    if is_other_program() {
        procshare::__private::enter_test("process::no_such_test");
        let outcome = Process::spawn(nothing, ()).unwrap().join();
        assert!(matches!(outcome, Err(JoinError::NotStarted(_))), "{outcome:?}");
        println!("noticed");
    }
}

#[procshare::test]
fn a_child_that_never_comes_to_its_entry_is_noticed() {
    let _watchdog = watchdog(60);
    let output = output_of(&mut other_program("other_program_loses_its_entry", AS_OTHER_PROGRAM));
    assert!(output.contains("noticed"), "{output}");
}

/// Has a child print.
#[procshare::test]
fn other_program_prints_from_a_child() {
    if is_other_program() {
        Process::spawn(|| print!("a line without end"), ())
            .unwrap()
            .join()
            .unwrap();
    }
}

#[procshare::test]
fn a_childs_output_comes_without_the_harness() {
    let _watchdog = watchdog(60);
    let output = output_of(&mut other_program(
        "other_program_prints_from_a_child",
        AS_OTHER_PROGRAM,
    ));
    assert_eq!(output.matches("a line without end").count(), 1, "{output}");
    assert_eq!(output.matches("running 1 test").count(), 1, "{output}");
}
