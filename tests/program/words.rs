//! What a child says of itself on the standard error.

use super::{Part, Test, part, stage};
use procshare::process::StartMethod;
use procshare::{JoinError, Pool, Process};
use std::process::ExitCode;

pub(crate) const PARTS: &[Part] = &[
    part("children panic", children_panic),
    Part {
        before: || std::panic::set_hook(Box::new(|_| eprintln!("told in the program's own way"))),
        ..part("children panic, told otherwise", children_panic)
    },
];

pub(crate) const TESTS: &[Test] = &[
    ("a_panic_names_the_child", named),
    ("a_programs_own_panic_hook_is_left_alone", told_otherwise),
];

fn children_panic() -> ExitCode {
    for method in [StartMethod::Spawn, StartMethod::Fork, StartMethod::ForkServer] {
        let builder = Process::builder()
            .name(format!("otto by {method}"))
            .start_method(method);
        let outcome = builder.spawn(|| -> u8 { panic!("no words") }, ()).unwrap().join();
        assert_eq!(outcome, Err(JoinError::Panicked("no words".to_owned())));
    }
    let fork = Process::builder()
        .name("otto by copy")
        .fork(|| -> u8 { panic!("copied words") });
    assert!(fork.unwrap().join().is_err());
    let in_thread = || {
        let thread = std::thread::Builder::new().name("helper".to_owned());
        let ended = thread.spawn(|| panic!("words of a thread")).unwrap().join();
        assert!(ended.is_err());
    };
    Process::builder()
        .name("host")
        .spawn(in_thread, ())
        .unwrap()
        .join()
        .unwrap();
    let pool = Pool::new(1).unwrap();
    assert!(pool.apply(|| -> u8 { panic!("words of a worker") }, ()).is_err());
    ExitCode::SUCCESS
}

fn named() {
    let ended = stage::run(stage::program("children panic"));
    assert!(ended.lines().is_empty());
    let told = [
        ("process 'otto by spawn' (", "no words"),
        ("process 'otto by fork' (", "no words"),
        ("process 'otto by fork-server' (", "no words"),
        ("process 'otto by copy' (", "copied words"),
        ("thread 'helper' of process 'host' (", "words of a thread"),
        ("process 'PoolWorker-1' (", "words of a worker"),
    ];
    for (who, words) in told {
        let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with(who));
        assert!(
            lines.next().is_some_and(|line| line.contains("words.rs:")),
            "{who}: {ended:?}"
        );
        assert_eq!(lines.next(), Some(words), "{who}");
    }
    assert!(!ended.stderr.contains("main"), "{}", ended.stderr);
}

fn told_otherwise() {
    let ended = stage::run(stage::program("children panic, told otherwise"));
    assert!(ended.lines().is_empty());
    assert_eq!(ended.stderr, "told in the program's own way\n".repeat(6));
}
