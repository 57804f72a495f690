//! Segments passed to a child that is another program.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{descriptors_of, mappings_of, other_program, output_of, shared_memory_names, unique, watchdog};
use procshare::{ErrorKind, Segment};
use std::process::{Child, Command, Stdio};

/// Tells a test of this file that it is run as another program.
const AS_OTHER_PROGRAM: &str = "PROCSHARE_TEST_AS_OTHER_PROGRAM";

fn is_other_program() -> bool {
    std::env::var_os(AS_OTHER_PROGRAM).is_some()
}

fn program(test: &str) -> Command {
    other_program(test, AS_OTHER_PROGRAM)
}

/// As other program: counts in the segment under the key `stats`, twice attached and once mapped.
#[test]
fn other_program_counts() {
    if !is_other_program() {
        return;
    }
    let segment = Segment::inherited("stats").unwrap();
    let again = Segment::inherited("stats").unwrap();
    segment.open_counter("hits").unwrap().increment().unwrap();
    again.open_counter("hits").unwrap().increment().unwrap();
    let passed = std::env::var("PROCSHARE_SEGMENT_stats").unwrap();
    let inode = passed.split(':').nth(2).unwrap().parse().unwrap();
    assert_eq!((descriptors_of(inode), mappings_of(inode)), (1, 1));
    assert_eq!(segment.name(), std::env::var("PROCSHARE_TEST_NAME").ok());
    println!("counted");
}

#[test]
fn an_anonymous_segment_reaches_another_program() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(1 << 16).unwrap();
    let hits = segment.counter("hits", 0).unwrap();
    let mut command = program("other_program_counts");
    segment.pass_to(&mut command, "stats").unwrap();
    // A command can be started more than once.
    for total in [2, 4] {
        assert!(output_of(&mut command).contains("counted"));
        assert_eq!(hits.get(), total);
    }
}

#[test]
fn a_named_segment_reaches_another_program_with_its_name() {
    let _watchdog = watchdog(60);
    let name = unique("inherit");
    let segment = Segment::create(&name, 1 << 16).unwrap();
    let hits = segment.counter("hits", 0).unwrap();
    let mut command = program("other_program_counts");
    command.env("PROCSHARE_TEST_NAME", &name);
    segment.pass_to(&mut command, "stats").unwrap();
    assert!(output_of(&mut command).contains("counted"));
    assert_eq!((hits.get(), shared_memory_names(&name).len()), (2, 1));
    segment.unlink().unwrap();
    assert!(output_of(&mut command).contains("counted"));
    assert_eq!((hits.get(), shared_memory_names(&name).len()), (4, 0));
}

/// As other program: says why it found nothing under the key `stats`.
#[test]
fn other_program_finds_nothing() {
    if !is_other_program() {
        return;
    }
    let error = Segment::inherited("stats").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let list = output_of(Command::new("ls").args(["-l", "/proc/self/fd"]));
    println!("{error}\n{list}");
}

#[test]
fn only_the_child_it_was_passed_to_inherits() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(4096).unwrap();
    let mut meant = program("other_program_counts");
    segment.pass_to(&mut meant, "stats").unwrap();
    // The variable may get about; the descriptor does not.
    let mut other = program("other_program_finds_nothing");
    for (key, value) in meant.get_envs() {
        other.env(key, value.unwrap());
    }
    let output = output_of(&mut other);
    assert!(
        output.contains("did not inherit") && !output.contains("memfd"),
        "{output}"
    );
}

#[test]
fn wrong_keys_and_stale_variables_find_nothing() {
    let _watchdog = watchdog(60);
    let segment = Segment::new(4096).unwrap();
    let mut command = program("other_program_finds_nothing");
    segment.pass_to(&mut command, "other").unwrap();
    let output = output_of(&mut command);
    assert!(output.contains("no segment under the key \"stats\""), "{output}");
    for value in [
        "",
        "x",
        "1:2",
        "0:0:0:",
        "1:1:1:/dev/null",
        "-1:0:0:",
        "99999999999:0:0:",
    ] {
        let mut command = program("other_program_finds_nothing");
        command.env("PROCSHARE_SEGMENT_stats", value);
        let output = output_of(&mut command);
        assert!(output.contains("under the key \"stats\""), "{value}: {output}");
    }
}

#[test]
fn keys_are_letters_digits_and_underscores() {
    let segment = Segment::new(4096).unwrap();
    for key in ["", "a b", "a=b", "ä", "a\0"] {
        let error = segment.pass_to(&mut Command::new("true"), key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName);
        assert_eq!(Segment::inherited(key).unwrap_err().kind(), ErrorKind::InvalidName);
    }
    segment.pass_to(&mut Command::new("true"), "Key_1").unwrap();
}

/// As other program: takes two segments and has a program of its own started, which must get neither.
#[test]
fn other_program_starts_another() {
    if !is_other_program() {
        return;
    }
    let (first, second) = (
        Segment::inherited("stats").unwrap(),
        Segment::inherited("more").unwrap(),
    );
    assert!(first.open_counter("hits").is_ok() && second.open_counter("hits").is_err());
    print!("{}", output_of(&mut program("other_program_finds_nothing")));
}

#[test]
fn a_grandchild_inherits_nothing() {
    let _watchdog = watchdog(60);
    let (stats, more) = (Segment::new(1 << 16).unwrap(), Segment::new(4096).unwrap());
    let _hits = stats.counter("hits", 0).unwrap();
    let mut command = program("other_program_starts_another");
    stats.pass_to(&mut command, "stats").unwrap();
    more.pass_to(&mut command, "more").unwrap();
    let output = output_of(&mut command);
    assert!(
        output.contains("did not inherit") && !output.contains("memfd"),
        "{output}"
    );
}

/// As other program: shares the value until its standard input closes.
#[test]
fn other_program_stays() {
    if !is_other_program() {
        return;
    }
    let hits = Segment::inherited("stats").unwrap().open_counter("hits").unwrap();
    hits.increment().unwrap();
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {}
    hits.increment().unwrap();
}

#[test]
fn the_segment_lives_on_in_the_child() {
    let _watchdog = watchdog(60);
    let name = unique("inherit-stay");
    let segment = Segment::create(&name, 1 << 16).unwrap();
    let hits = segment.counter("hits", 0).unwrap();
    let mut command = program("other_program_stays");
    segment.pass_to(&mut command, "stats").unwrap();
    let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    common::wait_until(|| hits.get() == 1);
    drop((command, segment, hits));
    assert_eq!(shared_memory_names(&name).len(), 1);
    let segment = Segment::open(&name).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(segment.open_counter("hits").unwrap().get(), 2);
    // Said aloud: while other tests start programs, those have our descriptors for a moment, and count as users.
    segment.unlink().unwrap();
}
