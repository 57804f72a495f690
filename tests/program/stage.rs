//! The program in one of its parts, and what it said when it has ended.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Tells the program which part it has.
pub(crate) const PART: &str = "PROCSHARE_TEST_PART";
/// No part takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);
/// A user without rights.
pub(crate) const NOBODY: u32 = 65534;
/// So many processes may that user have: a program that starts itself without end comes to one.
const MOST_PROCESSES: u64 = 100;

/// What came of a part.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it said, if it ended well.
    pub(crate) fn lines(&self) -> Vec<&str> {
        assert!(self.status.success(), "{self:?}");
        self.stdout.lines().collect()
    }
}

/// The program in that part.
pub(crate) fn program(part: &str) -> Command {
    command(&std::env::current_exe().unwrap(), part)
}

pub(crate) fn command(program: &Path, part: &str) -> Command {
    let mut command = Command::new(program);
    command.env(PART, part).env_remove("RUST_BACKTRACE");
    command
}

/// Has the program begin as that user.
pub(crate) fn become_user(command: &mut Command, user: u32) {
    let drop_rights = move || {
        let most = libc::rlimit {
            rlim_cur: MOST_PROCESSES,
            rlim_max: MOST_PROCESSES,
        };
        // SAFETY: the pointer is to a whole limit.
        let limited = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &most) };
        // SAFETY: no groups, so nothing is read.
        let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
        // SAFETY: the call takes a number.
        let group = unsafe { libc::setgid(user) };
        // SAFETY: the call takes a number.
        let user = unsafe { libc::setuid(user) };
        match (limited, groups, group, user) {
            (0, 0, 0, 0) => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(drop_rights) };
}

/// Runs it until it and all that has its output have ended.
pub(crate) fn run(mut command: Command) -> Ended {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (over, end) = channel::<()>();
    let group = child.id() as libc::pid_t;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: two numbers; the child has not been waited for, so the group is its own.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
        });
        let stderr = scope.spawn(|| read(err));
        let (stdout, stderr) = (read(out), stderr.join().unwrap());
        drop(over);
        let status = child.wait().unwrap();
        assert_ne!(
            status.signal(),
            Some(libc::SIGKILL),
            "it takes longer than {LIMIT:?}: {stderr}"
        );
        Ended { status, stdout, stderr }
    })
}

fn read(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

/// Ends the program if the test does not end in time.
pub(crate) fn watchdog(test: &'static str) -> Sender<()> {
    let (alive, over) = channel::<()>();
    std::thread::spawn(move || {
        if over.recv_timeout(LIMIT * 3) == Err(RecvTimeoutError::Timeout) {
            let _ = writeln!(std::io::stderr(), "{test} takes too long");
            std::process::abort();
        }
    });
    alive
}
