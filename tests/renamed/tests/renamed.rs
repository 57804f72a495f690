//! The macros find the crate under the name that the program's manifest gives it.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::process::Command;

#[test]
fn a_renamed_crate_is_found_out() {
    let run = Command::new(env!("CARGO_BIN_EXE_renamed")).output().unwrap();
    let (said, complaint) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert_eq!(said.trim(), "42", "{complaint}");
}
