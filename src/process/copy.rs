//! Copying this process: what must hold before (no other thread, no loan), and what the copy does first.

use super::pause::{self, Pause};
use super::plan::proc_failure;
use super::{orphans, watch};
use crate::error::{Error, ErrorKind, Result};
use crate::messages::{copied_to, forget_copies};
use crate::primitive::liveness::copy_id;
use crate::primitive::{OwnerId, loans::loans, per_process};
use crate::sys::{clock, fork, spawn};
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
                "cannot fork: {loans} array guard(s) or ring chunk(s) of this process are alive or were leaked, and \
                    the copy would have access to the same bytes; drop them first, or use another start method"
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
            per_process::forget_all();
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
        "cannot fork: expected a process with one thread, found {threads} threads; fork before starting others, or use \
            another start method"
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
