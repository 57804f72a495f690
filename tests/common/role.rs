//! Second processes for tests: the test program starts itself once more to play a role.
//!
//! A test file has one `#[test] fn plays_a_role()` that calls [`play`]; in an ordinary run it does nothing. The two
//! processes talk over pipes, line by line, so that nobody sleeps to let the other get somewhere.

#![allow(dead_code, reason = "each test file uses what it needs")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// No test takes nearly as long, and no child outlives it.
const LIMIT: Duration = Duration::from_secs(120);
const ROLE: &str = "PROCSHARE_TEST_ROLE";
const ARGUMENTS: &str = "PROCSHARE_TEST_ARGUMENTS";
/// What a child says begins with this, what the test harness prints does not.
const MARK: char = '@';
/// Separates arguments: no name in a test holds it.
const BETWEEN: char = '\u{1f}';

/// What a child does, with the arguments it was given.
pub(crate) type Role = fn(&[String]);

/// Plays the role this process was started for, if it was, and ends the process.
pub(crate) fn play(roles: &[(&str, Role)]) {
    let Ok(wanted) = std::env::var(ROLE) else { return };
    // SAFETY: asks for a signal at a time; no memory is involved.
    unsafe { libc::alarm(LIMIT.as_secs() as u32) };
    let (_, role) = roles.iter().find(|(name, _)| *name == wanted).expect("the role exists");
    let arguments: Vec<String> = match std::env::var(ARGUMENTS).expect("arguments were given").as_str() {
        "" => Vec::new(),
        text => text.split(BETWEEN).map(str::to_owned).collect(),
    };
    role(&arguments);
    std::process::exit(0);
}

/// Says a line to the test that started this process.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The harness leaves its own line unfinished.
    write!(out, "\n{MARK}{line}\n")
        .and_then(|()| out.flush())
        .expect("the test listens");
}

/// Waits for a line from the test that started this process; empty when it has nothing more to say.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the test speaks");
    line.trim_end().to_owned()
}

/// The command that starts this program in a role.
pub(crate) fn command(role: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["plays_a_role", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ARGUMENTS, arguments.join(&BETWEEN.to_string()));
    command
}

/// Starts this program in a role.
pub(crate) fn start(role: &str, arguments: &[&str]) -> Actor {
    Actor::new(command(role, arguments))
}

/// Another process, killed with this value.
pub(crate) struct Actor {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Actor { child, stdin, stdout }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line it says.
    pub(crate) fn hear(&mut self) -> String {
        self.hear_or_end().expect("it says something before it ends")
    }

    /// The next line it says; `None` when it, and whoever inherited its output, has ended.
    pub(crate) fn hear_or_end(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stdout.read_line(&mut line).expect("its output is text") == 0 {
                return None;
            }
            if let Some(said) = line.trim_end().strip_prefix(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it still listens");
        writeln!(stdin, "{line}").expect("it still lives");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it was not waited for");
        self.child.wait().expect("it is our child");
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end; `Some` signal if one killed it. A failed role fails the test.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        drop(self.stdin.take());
        let status = self.child.wait().expect("it is our child");
        assert!(
            status.success() || status.signal().is_some(),
            "the other process failed: {status}; see its words above"
        );
        status.signal()
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(mut self) {
        assert_eq!(self.ended(), None, "the other process was killed");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a named segment's file stands.
pub(crate) fn file_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("procshare.{name}"))
}

/// A folder of the test's own in shared memory, removed with this value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = Path::new("/dev/shm").join(crate::common::unique("folder"));
        std::fs::create_dir(&path).expect("shared memory has room for a folder");
        Folder(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }

    /// The files in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).expect("the folder can be read");
        let mut names: Vec<String> = files
            .map(|file| {
                file.expect("the folder can be read")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    pub(crate) fn builder(&self) -> procshare::SegmentBuilder {
        procshare::Segment::builder().folder(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether this process may do what only root may; says so if not.
pub(crate) fn is_root(what: &str) -> bool {
    // SAFETY: only reads a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("skipped, as only root may: {what}");
    }
    root
}

/// The word at a byte offset of a file.
pub(crate) fn word_at(path: &Path, offset: u64) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; 8];
    let file = std::fs::File::open(path).expect("the file is there");
    file.read_exact_at(&mut bytes, offset).expect("the file is that long");
    u64::from_ne_bytes(bytes)
}

/// Changes bytes of a file in place.
pub(crate) fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file is there");
    file.write_all_at(bytes, offset).expect("the file is that long");
}
