//! How a program or child ends when its work is done.
//!
//! In this order: daemons are ended, all other children are waited for unless they were detached, and names of segments that are
//! still in use, by values in a `static`, are given up. Children are waited for where `#[procshare::main]` is used, and in its
//! children as well; a child that ends with its parent waits for nobody.

use super::child::{self, AtEnd};
use super::watch;
use crate::primitive::Deadline;
use crate::segment::{self, UsedName};
use parking_lot::Mutex;

/// Whether this program waits for its children.
static MANAGED: Mutex<bool> = Mutex::new(false);

/// Has this program wait for its children when its work is done.
pub(super) fn wait_for_children() {
    *MANAGED.lock() = true;
}

/// Ends everything of this crate that this process still runs.
pub(super) fn finish_process() {
    if *MANAGED.lock() && !watch::is_kept() {
        let daemons = child::those(AtEnd::End);
        // Names that a daemon may be the last to use. What an earlier death left is cleaned up by the next user.
        let names = match &daemons[..] {
            [] => Vec::new(),
            _ => segment::names_of_others(),
        };
        // A daemon that cannot be ended, because it acts for another user by now, is not waited for.
        let ended: Vec<_> = daemons.into_iter().filter(|daemon| daemon.end().is_ok()).collect();
        // A child that still runs may start others in another thread.
        while let Some(child) = child::those(AtEnd::Wait).first() {
            child.wait(Deadline::Never);
        }
        for daemon in ended {
            daemon.wait(Deadline::Never);
        }
        names.iter().for_each(UsedName::remove_if_orphaned);
    }
    segment::give_names_up();
}
