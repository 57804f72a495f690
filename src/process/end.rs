//! How a program or child ends that has done what it was to do.
//!
//! In this order: daemons are ended, all others waited for that nobody has let go, and the names of segments given up that
//! are still in use, by what lies in a `static`. Children are waited for where `#[procshare::main]` is written, in its
//! children as well; those that end with their parent wait for nobody.

use super::child::{self, AtEnd};
use super::{entry, watch};
use crate::primitive::Deadline;
use crate::segment::{self, UsedName};

/// Lasts as long as `main`, and sees to its end, also where it panics.
#[derive(Debug)]
#[must_use = "dropped at once, it would be of no use"]
pub struct Main(());

/// Lets child processes begin here, and waits for those of this process at the end of what is returned.
pub fn enter_main() -> Main {
    entry::init_managed();
    Main(())
}

impl Drop for Main {
    fn drop(&mut self) {
        tidy_up();
    }
}

/// Ends what this process has under way of this crate.
pub(super) fn tidy_up() {
    if entry::is_managed() && !watch::is_kept() {
        let daemons = child::those(AtEnd::End);
        // Those that a daemon may be the last to use. What an earlier death left is for whoever comes next.
        let names = match &daemons[..] {
            [] => Vec::new(),
            _ => segment::names_of_others(),
        };
        // Who cannot be ended, acting for another user by now, is not waited for.
        let ended: Vec<_> = daemons.into_iter().filter(|daemon| daemon.end().is_ok()).collect();
        // One that still runs may start others in another thread.
        while let Some(child) = child::those(AtEnd::Wait).first() {
            child.wait(Deadline::Never);
        }
        for daemon in ended {
            daemon.wait(Deadline::Never);
        }
        names.iter().for_each(UsedName::bury);
    }
    segment::give_names_up();
}
