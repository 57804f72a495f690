//! Programs that must not compile, and what the compiler then says.
//!
//! After a change of a message: `TRYBUILD=overwrite cargo test --package refused`, and read what changed.

use std::process::Command;

/// The compiler whose words the `.stderr` files hold; others put the same refusal differently.
const RECORDED_WITH: &str = "rustc 1.95.";

#[test]
fn programs_are_refused_with_advice() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().expect("rustc starts");
    let version = String::from_utf8(output.stdout).expect("its version is text");
    if !version.starts_with(RECORDED_WITH) {
        eprintln!("skipped: messages were recorded with {RECORDED_WITH}x, this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    // Programs that pass make trybuild build the others too: some are refused only then.
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}
