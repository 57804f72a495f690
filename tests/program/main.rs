//! What only a whole program can show: where it begins, who may begin it, and how it ends.
//!
//! The program is its own actor: told of a part in its environment it plays that, otherwise it starts itself in the parts
//! and looks at what comes of them. It has no test harness, whose `main` is nobody's to change.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod begin;
mod end;
mod last;
mod rights;
mod stage;
mod words;

use std::process::ExitCode;

/// What the program does in a part.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    /// What it and its children do before they come to their entry.
    before: fn(),
    play: fn() -> ExitCode,
}

const fn part(name: &'static str, play: fn() -> ExitCode) -> Part {
    let before = || ();
    Part { name, before, play }
}

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let parts = [begin::PARTS, end::PARTS, last::PARTS, rights::PARTS, words::PARTS].concat();
    let wanted = std::env::var(stage::PART).ok();
    match parts.into_iter().find(|part| Some(part.name) == wanted.as_deref()) {
        Some(part) => {
            (part.before)();
            managed::main(part)
        }
        None => {
            test();
            ExitCode::SUCCESS
        }
    }
}

/// The `main` of a program that uses the macro.
mod managed {
    use super::{ExitCode, Part};
    use std::cell::Cell;

    thread_local! {
        static PLAYED: Cell<Option<Part>> = const { Cell::new(None) };
    }

    pub(super) fn main(part: Part) -> ExitCode {
        PLAYED.set(Some(part));
        entry::main()
    }

    mod entry {
        use super::{ExitCode, PLAYED};

        #[procshare::main]
        pub(super) fn main() -> ExitCode {
            (PLAYED.get().unwrap().play)()
        }
    }
}

/// Runs the tests whose names hold a word of the command line, or all.
fn test() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, test) in [begin::TESTS, end::TESTS, last::TESTS, rights::TESTS, words::TESTS].concat() {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            let _watchdog = stage::watchdog(name);
            test();
            println!("test {name} ... ok");
        }
    }
}
