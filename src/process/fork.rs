//! The start method `Fork`: this process, which has no other threads, is copied.

use super::argument::Returned;
use super::builder::{Cargo, Plan};
use super::child::{self, Core};
use super::errand::{self, leave, settle};
use super::handle::Process;
use super::mailbox::{Draft, Mailbox};
use super::pause::{self, Pause};
use super::spawn::{self as launch, describe, failure, proc_failure};
use super::{call, current, orphans, server, watch};
use crate::error::{Error, ErrorKind, Result};
use crate::messages::{Notes, copied_to, forget_copies, inherit, leave_to_child};
use crate::primitive::liveness::copy_id;
use crate::primitive::{OwnerId, crash_point, loans::loans};
use crate::sys::{clock, fork, spawn};
use crate::travel::{Attachments, DescriptorSource};
use parking_lot::{Mutex, MutexGuard};
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a joined thread may still be counted: if it is known that one was joined, and if it is not.
const LINGERING: Duration = Duration::from_secs(1);
const PERHAPS_LINGERING: Duration = Duration::from_millis(20);
const BETWEEN_COUNTS: Duration = Duration::from_micros(100);

/// Refuses to copy a process that works on shared bytes in place: the copy would have access to them as well.
pub(super) fn check_loans() -> Result<()> {
    match loans() {
        0 => Ok(()),
        loans => {
            let message = format!(
                "{loans} array guard(s) or ring chunk(s) of this process are alive or were leaked, whose bytes a copy of the \
                 process cannot share: drop them first, or take another start method"
            );
            Err(Error::new(ErrorKind::NotForkable, message))
        }
    }
}

/// Held while this crate's threads are ended: a second thread that also ended them would resume them too early.
static ALONE: Mutex<()> = Mutex::new(());

/// While this exists, this crate's threads have ended, and the calling thread is the only one.
pub(super) struct Quiet {
    paused: Paused,
    /// Released last.
    _alone: MutexGuard<'static, ()>,
}

/// Resumes this crate's threads when it is dropped.
struct Paused(Vec<Arc<dyn Pause>>);

impl Quiet {
    /// Ends this crate's threads.
    ///
    /// # Errors
    ///
    /// `NotForkable` if there are other threads, or loans; otherwise the system's error if that cannot be determined.
    pub(super) fn begin() -> Result<Self> {
        check_loans()?;
        let count = || fork::thread_count().map_err(|error| proc_failure("counting threads", error));
        let before = count()?;
        // If it is held, there is another thread, which is one too many.
        let alone = ALONE.try_lock().ok_or_else(|| refusal(before))?;
        let quiet = Quiet {
            paused: Paused(pause::all()),
            _alone: alone,
        };
        let ours = usize::from(watch::pause()) + usize::from(orphans::pause());
        let ours = ours + quiet.paused.0.iter().map(|threads| threads.pause()).sum::<usize>();
        let patience = if before <= 1 + ours {
            LINGERING
        } else {
            PERHAPS_LINGERING
        };
        let give_up = Instant::now() + patience;
        loop {
            // Checked before the count, as this process may be stopped during it.
            let is_last = Instant::now() > give_up;
            match count()? {
                1 => break,
                // The kernel counts a thread for a moment after others have seen it end.
                _ if !is_last => clock::sleep(BETWEEN_COUNTS),
                threads => return Err(refusal(threads)),
            }
        }
        check_loans()?; // Loans of threads that have just ended.
        Ok(quiet)
    }

    /// Copies this process, and returns the copy's process id, and its identity if it has not ended; `None` in the copy, in which
    /// this crate knows of no children, and no signal is blocked.
    pub(super) fn copy(self) -> io::Result<Option<(u32, Option<OwnerId>)>> {
        // Both processes would write what is still in the buffer.
        let _ = io::stdout().flush();
        // SAFETY: the calling thread is the only one: they were counted, and no other can start one meanwhile.
        let Some(pid) = unsafe { fork::fork() }? else {
            mem::forget(self.paused);
            forget_copies();
            child::forget();
            orphans::forget();
            watch::forget();
            pause::forget();
            server::forget();
            fork::unblock_signals();
            return Ok(None);
        };
        let copy = copy_id(pid);
        copy.into_iter().for_each(copied_to);
        Ok(Some((pid, copy)))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        orphans::resume();
        watch::resume();
        mem::take(&mut self.0).into_iter().for_each(Pause::resume);
    }
}

fn refusal(threads: usize) -> Error {
    let message = format!(
        "this process has {threads} threads; only one with a single thread can be copied: fork before others start, \
         or take another start method"
    );
    Error::new(ErrorKind::NotForkable, message)
}

/// Ends the copy where it would otherwise return to its parent's code, also after a panic of this crate.
pub(super) struct NoReturn;

impl Drop for NoReturn {
    fn drop(&mut self) {
        spawn::exit_at_once(101);
    }
}

/// Starts a copy that finds its errand in the mailbox, like any other child.
pub(super) fn start(plan: Plan, mut cargo: Cargo) -> Result<Arc<Core>> {
    let quiet = Quiet::begin()?;
    let parent = plan.parent()?;
    let mut errand = launch::errand(&plan, cargo.function, &cargo.attachments)?;
    errand.parent = describe(parent.as_ref())?;
    errand.folder = describe(plan.folder.as_ref())?;
    errand.environment = Some(plan.environment.clone());
    let mailbox = launch::post(&errand, cargo.arguments)?;
    match quiet.copy().map_err(|error| failure("fork", error))? {
        Some((pid, _)) => plan.started(pid, mailbox, &mut cargo.attachments),
        None => {
            let _end = NoReturn;
            crash_point!("start.born");
            let code = errand::carry_out(&mailbox, errand::take(&mailbox), DescriptorSource::Copied);
            spawn::exit_at_once(code)
        }
    }
}

/// Starts a copy that calls the closure, which both processes have and drop.
pub(super) fn run<R: Returned>(
    plan: Plan,
    closure: impl FnOnce() -> R,
    note: impl Fn(&Process<R>),
) -> Result<Process<R>> {
    let quiet = Quiet::begin()?;
    let parent = plan.parent()?;
    let mailbox = Mailbox::post(&[], &[], Draft::default()).map_err(|error| failure("making the mailbox", error))?;
    let notes: Notes = Arc::new(fork::CommonWords::new().map_err(|error| failure("mapping a page", error))?);
    crash_point!("start.posted");
    match quiet.copy().map_err(|error| failure("fork", error))? {
        Some((pid, copy)) => {
            // Before destructors run: if one panics, the handle is dropped, and is treated like any other.
            let process = plan
                .started(pid, mailbox, &mut Attachments::default())
                .map(Process::new);
            process.iter().for_each(note);
            // It has ended, or has an identity of its own.
            match copy {
                Some(child) => leave_to_child(child, notes, closure),
                None => drop(closure),
            }
            process
        }
        None => {
            let _end = NoReturn;
            crash_point!("start.born");
            inherit(notes);
            let begun = mailbox
                .begin()
                .map_err(|error| failure("telling the parent", error))
                .and_then(|()| {
                    crash_point!("start.begun");
                    current::begin(plan.name);
                    // SAFETY: the copy has one thread.
                    unsafe { plan.environment.apply() };
                    settle(parent, plan.folder)
                });
            let answer = match begun {
                Ok(()) => call::answer(&mailbox, closure),
                Err(error) => super::mailbox::Answer::NotStarted(error.to_string()),
            };
            let code = leave(&mailbox, answer);
            spawn::exit_at_once(code)
        }
    }
}
