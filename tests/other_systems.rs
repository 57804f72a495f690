//! What stands in for the operating system where that is not Linux: it says so, whatever it is asked for.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[allow(dead_code, reason = "tests ask for some of it")]
#[path = "../src/sys/types.rs"]
mod types;
#[allow(dead_code, unused_imports, reason = "tests ask for some of it")]
#[path = "../src/sys/unsupported.rs"]
mod unsupported;

use std::io;
use std::path::Path;
use unsupported::file;

fn says_linux_only<T>(outcome: io::Result<T>) {
    let error = outcome.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("Linux only"), "{error}");
}

#[test]
fn segments_are_refused_in_words_elsewhere() {
    says_linux_only(file::memfd(c"name"));
    says_linux_only(file::open(Path::new("/name")));
    says_linux_only(file::stat_path(Path::new("/name")));
    says_linux_only(file::create_exclusive(Path::new("/name"), 0o600));
    says_linux_only(file::open_unnamed(Path::new("/"), 0o600));
    says_linux_only(file::unlink(Path::new("/name")));
    says_linux_only(unsupported::identity::fork_word());
}

#[cfg(feature = "process")]
#[test]
fn children_are_refused_in_words_elsewhere() {
    use unsupported::{event, fork, socket, spawn, surroundings};

    says_linux_only(event::new());
    says_linux_only(socket::pair());
    says_linux_only(spawn::open_self());
    says_linux_only(surroundings::open_null());
    says_linux_only(surroundings::open_folder(Path::new("/")));
    // SAFETY: it does nothing.
    says_linux_only(unsafe { fork::fork() });
    says_linux_only::<()>(Err(spawn::too_many_descriptors()));
}
