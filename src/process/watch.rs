//! A daemon's watch over its parent: a thread that ends the process when the parent has ended.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::map::{AsFd, OwnedFd};
use crate::sys::{event, spawn};
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The watcher needs next to no stack.
const STACK: usize = 64 * 1024;

/// The watch this process keeps, if it is a daemon.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

struct Watch {
    parent: Arc<OwnedFd>,
    /// Not there while the process has itself copied.
    watcher: Option<Watcher>,
}

struct Watcher {
    stop: Arc<OwnedFd>,
    thread: JoinHandle<()>,
}

impl Watcher {
    fn start(parent: &Arc<OwnedFd>) -> std::io::Result<Self> {
        let (parent, stop) = (parent.clone(), Arc::new(event::new()?));
        let told = stop.clone();
        let watch = move || {
            let waited = spawn::wait_any(&[parent.as_fd(), told.as_fd()], None);
            // What cannot be watched counts as ended: a daemon without a parent is what nobody wants.
            if waited.is_ok_and(|ready| ready == [false, true]) {
                return;
            }
            spawn::exit_at_once(1);
        };
        let builder = Builder::new().name("procshare-daemon".to_owned()).stack_size(STACK);
        let thread = builder.spawn(watch)?;
        Ok(Watcher { stop, thread })
    }
}

/// Ends this process when the one behind `parent` has ended, or if it already has.
pub(super) fn end_with(parent: OwnedFd) -> Result<()> {
    let parent = Arc::new(parent);
    let watcher = Watcher::start(&parent)
        .map_err(|error| Error::new(ErrorKind::Spawn, "starting the watcher of the parent").with_source(error))?;
    *WATCH.lock() = Some(Watch {
        parent,
        watcher: Some(watcher),
    });
    Ok(())
}

/// Ends the watcher's thread for a while, so that this process can be copied.
pub(super) fn pause() {
    let watcher = WATCH.lock().as_mut().and_then(|watch| watch.watcher.take());
    if let Some(Watcher { stop, thread }) = watcher {
        // An event that cannot be signalled leaves the thread, which then is one too many.
        if event::signal(stop.as_fd()).is_ok() {
            let _ = thread.join();
        }
    }
}

/// Goes on watching. Where no thread can be had, the next pause is followed by another attempt.
pub(super) fn resume() {
    if let Some(watch) = WATCH.lock().as_mut() {
        if watch.watcher.is_none() {
            watch.watcher = Watcher::start(&watch.parent).ok();
        }
    }
}

/// This process is a copy of one that watched.
pub(super) fn forget() {
    *WATCH.lock() = None;
}
