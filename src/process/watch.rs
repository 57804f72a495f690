//! A daemon's watch over its parent: a thread that ends the process when the parent has ended.

use crate::error::{ErrorKind, Result};
use crate::primitive::{Home, per_process::PerProcess};
use crate::segment::os_error_or;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{event, spawn};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The watcher needs very little stack.
const STACK: usize = 64 * 1024;

/// The watch this process keeps, if it is a daemon.
static WATCH: PerProcess<Watch> = PerProcess::new();

struct Watch {
    parent: Arc<OwnedFd>,
    /// Tells the watcher to end; kept, so that no descriptor is needed to resume.
    stop: Arc<OwnedFd>,
    /// `None` while the process copies itself.
    watcher: Option<Watcher>,
}

struct Watcher(JoinHandle<()>);

impl Watcher {
    fn start(parent: &Arc<OwnedFd>, told: Arc<OwnedFd>) -> std::io::Result<Self> {
        let parent = parent.clone();
        let watch = move || {
            let waited = spawn::wait_any(&[parent.as_fd(), told.as_fd()], None);
            // What cannot be watched counts as ended: a daemon must not outlive its parent.
            if waited.is_ok_and(|ready| ready == [false, true]) {
                let _ = event::drain(told.as_fd()); // For the next pause.
                return;
            }
            spawn::exit_at_once(1);
        };
        let builder = Builder::new().name("procshare-daemon".to_owned()).stack_size(STACK);
        builder.spawn(watch).map(Watcher)
    }
}

/// Ends this process when the one behind `parent` has ended, or if it already has.
pub(super) fn end_with(parent: OwnedFd) -> Result<()> {
    let parent = Arc::new(parent);
    let stop = event::new().map(Arc::new);
    let watcher = stop.and_then(|stop| Ok((Watcher::start(&parent, stop.clone())?, stop)));
    let what = "starting the thread that watches the parent";
    let (watcher, stop) = watcher.map_err(|error| os_error_or(ErrorKind::Spawn, what, error))?;
    let watch = Watch {
        parent,
        stop,
        watcher: Some(watcher),
    };
    WATCH.lock().put(Home::by_pid(), watch);
    Ok(())
}

/// Whether this process ends with its parent.
pub(super) fn is_kept() -> bool {
    WATCH.lock().get().is_some()
}

/// Ends the watcher's thread for a while, so that this process can be copied; returns whether there was one.
pub(super) fn pause() -> bool {
    let mut kept = WATCH.lock();
    // Without a watcher, the signal would be taken by the next one. If the event cannot be signalled, the thread stays, and is one
    // too many.
    let is_told = |watch: &&mut Watch| watch.watcher.is_some() && event::signal(watch.stop.as_fd()).is_ok();
    let watch = kept.get().filter(is_told);
    watch
        .and_then(|watch| watch.watcher.take())
        .is_some_and(|Watcher(thread)| thread.join().is_ok())
}

/// Resumes watching.
pub(super) fn resume() {
    if let Some(watch) = WATCH.lock().get() {
        if watch.watcher.is_none() {
            watch.watcher = Watcher::start(&watch.parent, watch.stop.clone()).ok();
            if watch.watcher.is_none() {
                // Not even a thread is available: a daemon must not run unwatched.
                spawn::exit_at_once(1);
            }
        }
    }
}
