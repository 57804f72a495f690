//! Children that will never be joined: a thread of their own waits for them, so that none remains a zombie.
//!
//! | state | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | no orphans, no reaper | the thread that drops the handle of a running child | orphans, reaper | the whole process dies: `init` reaps |
//! | orphans, reaper | the reaper, under the lock, when it has reaped the last | no orphans, no reaper | the same |
//! | orphans, reaper | a thread that copies the process | orphans, no reaper | the same |
//! | orphans, no reaper | the same thread, afterwards; or the next to drop, start or join a child | orphans, reaper | the same |
//!
//! A copy of this process has neither: its parent's orphans are not its children.

use super::child::{ASK_AGAIN, Core};
use crate::primitive::per_process::PerProcess;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{event, spawn};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The reaper needs little stack, but more with the standard library's debug checks.
const STACK: usize = 128 * 1024;

static ORPHANS: PerProcess<Orphans> = PerProcess::new();

/// The orphans of one process.
#[derive(Default)]
struct Orphans {
    orphans: Vec<Arc<Core>>,
    reaper: Option<Reaper>,
    /// The reaper must end although there are orphans.
    paused: bool,
}

struct Reaper {
    /// Signalled when the reaper must look at the orphans again.
    wake: Arc<OwnedFd>,
    thread: JoinHandle<()>,
    /// The reaper has nothing more to do, and is about to end.
    done: bool,
}

impl Orphans {
    /// Releases those that have ended.
    fn reap(&mut self) {
        self.orphans.retain(|orphan| orphan.look().is_none());
    }

    /// Makes sure that a thread waits for the orphans. If there is none, they are reaped at the next call of this crate.
    fn see_to_a_reaper(&mut self) {
        if self.paused || self.orphans.is_empty() {
            return;
        }
        match &self.reaper {
            Some(reaper) if !reaper.done => {
                let _ = event::signal(reaper.wake.as_fd());
            }
            _ => self.reaper = start().ok(),
        }
    }
}

fn start() -> std::io::Result<Reaper> {
    let wake = Arc::new(event::new()?);
    let woken = wake.clone();
    let builder = Builder::new().name("procshare-reaper".to_owned()).stack_size(STACK);
    let thread = builder.spawn(move || watch_over(&woken))?;
    Ok(Reaper {
        wake,
        thread,
        done: false,
    })
}

fn watch_over(wake: &Arc<OwnedFd>) {
    while let Some(orphans) = those_left(wake) {
        let children: Vec<_> = orphans.iter().filter_map(|orphan| orphan.pidfd()).collect();
        let children = children.iter().map(AsFd::as_fd);
        let fds: Vec<_> = [wake.as_fd()].into_iter().chain(children).collect();
        let Ok(ready) = spawn::wait_any(&fds, None) else {
            // No memory to ask: they are reaped at the next call of this crate.
            retire(wake);
            return;
        };
        let _ = event::drain(wake.as_fd());
        if ready[1..].contains(&true) && orphans.iter().all(|orphan| orphan.look().is_none()) {
            // A tracer has not been told of its end yet.
            std::thread::sleep(ASK_AGAIN);
        }
    }
}

/// Reaps, and returns the children that are still to be waited for; `None` once this reaper's work is done.
fn those_left(wake: &Arc<OwnedFd>) -> Option<Vec<Arc<Core>>> {
    let mut orphans = ORPHANS.lock();
    let orphans = orphans.get()?;
    orphans.reap();
    let own = orphans.reaper.as_mut().filter(|reaper| Arc::ptr_eq(&reaper.wake, wake));
    if orphans.paused || orphans.orphans.is_empty() {
        own.into_iter().for_each(|reaper| reaper.done = true);
        return None;
    }
    // The thread that started this one holds the lock until it has registered this one as the reaper.
    own.map(|_| orphans.orphans.clone())
}

fn retire(wake: &Arc<OwnedFd>) {
    if let Some(orphans) = ORPHANS.lock().get() {
        let own = orphans.reaper.as_mut().filter(|reaper| Arc::ptr_eq(&reaper.wake, wake));
        own.into_iter().for_each(|reaper| reaper.done = true);
    }
}

/// Takes charge of a child, unless it has already ended.
pub(super) fn adopt(child: Arc<Core>) {
    if !child.is_ours() || child.look().is_some() {
        return;
    }
    let mut orphans = ORPHANS.lock();
    let orphans = orphans.get_or_default();
    orphans.orphans.push(child);
    orphans.see_to_a_reaper();
}

/// Reaps the children that have ended meanwhile, where no thread does so.
pub(super) fn reap() {
    if let Some(orphans) = ORPHANS.lock().get() {
        if orphans.reaper.as_ref().is_none_or(|reaper| reaper.done) {
            orphans.reap();
            orphans.see_to_a_reaper();
        }
    }
}

/// Ends the reaper's thread for a while, so that this process can be copied.
pub(super) fn pause() -> bool {
    let reaper = {
        let mut orphans = ORPHANS.lock();
        let Some(orphans) = orphans.get() else {
            return false;
        };
        orphans.paused = true;
        orphans.reaper.take()
    };
    // If the event cannot be signalled, the thread stays, and is one too many.
    let reaper = reaper.filter(|reaper| reaper.done || event::signal(reaper.wake.as_fd()).is_ok());
    reaper.is_some_and(|reaper| reaper.thread.join().is_ok())
}

/// Resumes waiting for orphans.
pub(super) fn resume() {
    if let Some(orphans) = ORPHANS.lock().get() {
        orphans.paused = false;
        orphans.reap();
        orphans.see_to_a_reaper();
    }
}
