//! A peer that is stopped where it was told, and the calls that are made beside it.

use crate::role::{self, Actor};
use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// What waits for nobody returns so soon, on a machine that is busy with other things; no limit of ten seconds hides in it.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long a call waits that is told how long.
pub(crate) const SHORT: Duration = Duration::from_millis(20);
/// What has a limit of its own returns so soon: the longest is ten seconds.
const IN_THE_END: Duration = Duration::from_secs(20);

/// Where a child stops.
pub(crate) const STOP: &str = "PROCSHARE_STOP_AT";

/// Runs calls, none of which may take longer than it should: that ends the process, and tells which it was.
#[derive(Clone, Copy)]
pub(crate) struct Calls<'a>(pub(crate) &'a str);

impl Calls<'_> {
    /// What must wait for nobody.
    pub(crate) fn at_once<R>(self, what: &str, call: impl FnOnce() -> R) -> R {
        self.bounded(what, AT_ONCE, call)
    }

    /// What may wait, but not without a limit.
    pub(crate) fn in_the_end<R>(self, what: &str, call: impl FnOnce() -> R) -> R {
        self.bounded(what, IN_THE_END, call)
    }

    fn bounded<R>(self, what: &str, bound: Duration, call: impl FnOnce() -> R) -> R {
        let (returned, watched) = mpsc::channel::<()>();
        let text = format!(
            "beside a peer stopped at {}: {what} takes longer than {bound:?}\n",
            self.0
        );
        std::thread::spawn(move || {
            if watched.recv_timeout(bound) == Err(RecvTimeoutError::Timeout) {
                // Not by a macro: what those print is shown when the test ends, which it does not.
                let _ = std::io::stderr().write_all(text.as_bytes());
                std::process::abort();
            }
        });
        let outcome = call();
        drop(returned);
        outcome
    }
}

/// Whoever is started from now on stops there.
pub(crate) fn stop_at(at: &str) {
    // SAFETY: of the threads of a scene none but this one looks at the environment; that of a pool there may be does when it
    // replaces a worker.
    unsafe { std::env::set_var(STOP, at) };
}

pub(crate) fn stop_nowhere() {
    // SAFETY: as above.
    unsafe { std::env::remove_var(STOP) };
}

/// Waits for the end of a child that has a group of its own, and kills whom it left there: who is stopped hears of no end.
pub(crate) fn end_with_all_it_started(pid: u32) {
    status_of(pid, libc::WEXITED);
    // SAFETY: two numbers; the child is not reaped, so its number is still its own.
    unsafe { libc::kill(-(pid as libc::pid_t), libc::SIGKILL) };
}

/// Waits until a child of this process is stopped; false if it has ended.
pub(crate) fn until_stopped(pid: u32) -> bool {
    status_of(pid, libc::WSTOPPED | libc::WEXITED) == libc::CLD_STOPPED
}

/// Whether a child of this process is stopped by now.
pub(crate) fn is_stopped(pid: u32) -> bool {
    status_of(pid, libc::WSTOPPED | libc::WNOHANG) == libc::CLD_STOPPED
}

fn status_of(pid: u32, events: libc::c_int) -> libc::c_int {
    // SAFETY: zero is a value of every field: numbers and pointers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable for one siginfo.
    let result = unsafe { libc::waitid(libc::P_PID, pid, &mut info, events | libc::WNOWAIT) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    info.si_code
}

pub(crate) fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: two numbers; the child is not reaped, so its number is still its own.
    assert_eq!(unsafe { libc::kill(pid as libc::pid_t, signal) }, 0);
}

/// Has this process die with whoever started it: who is stopped hears no alarm.
pub(crate) fn die_with_parent() {
    // SAFETY: two numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Another process, which plays a role until it stops.
pub(crate) struct Peer {
    pub(crate) actor: Actor,
    at: String,
}

impl Peer {
    /// Starts one that is to stop at a point, or one of its passages.
    pub(crate) fn start(role: &str, at: &str, arguments: &[&str]) -> Self {
        let mut command = role::command(role, arguments);
        command.env(STOP, at);
        Peer {
            actor: Actor::new(command),
            at: at.to_owned(),
        }
    }

    /// Waits until it is stopped.
    pub(crate) fn stopped(self) -> Self {
        assert!(
            until_stopped(self.actor.id()),
            "the peer has ended and never came to {}; see its words above",
            self.at
        );
        self
    }

    pub(crate) fn is_stopped(&self) -> bool {
        is_stopped(self.actor.id())
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        signal(self.actor.id(), libc::SIGCONT);
    }

    /// Lets it go on, to a good end.
    pub(crate) fn ends_well(self) {
        self.go_on();
        self.actor.finish();
    }
}
