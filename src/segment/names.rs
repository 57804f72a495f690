//! Giving up names when a program or child ends without dropping what uses them: a value in a `static` is never dropped.
//!
//! The memory stays for as long as this process uses it. Only the open file behind it, whose lock keeps the name, is exchanged for
//! one without a lock, as if the segment had been unmapped and closed.

use super::Inner;
use super::lifetime::{open_again, remove_name_if_last};
use crate::primitive::crash_point;
use crate::sys::descriptor;
use crate::sys::file::AsFd;
use parking_lot::Mutex;
use std::mem;
use std::sync::{Arc, Weak};

/// The attachments of this process to segments that have a name.
static NAMED: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// Registers an attachment, if the segment has a name.
pub(super) fn enter(inner: &Arc<Inner>) {
    if inner.name_removal.name.is_none() {
        return;
    }
    let mut named = NAMED.lock();
    if named.len() == named.capacity() {
        named.retain(|inner| inner.strong_count() > 0);
    }
    named.push(Arc::downgrade(inner));
}

/// Gives up the names of all segments this process is attached to, as the last drop of each would.
pub(crate) fn give_names_up() {
    let named = mem::take(&mut *NAMED.lock());
    named
        .iter()
        .filter_map(Weak::upgrade)
        .for_each(|inner| inner.give_name_up());
}

impl Inner {
    fn give_name_up(&self) {
        let Some(name) = self.name_removal.name.as_ref() else {
            return;
        };
        let Some(file) = self.mortal_file() else { return };
        let Some(fresh) = open_again(name, file) else { return };
        self.deregister();
        crash_point!("detach.deregistered");
        let (base, len) = self.mapping.range();
        // SAFETY: the range is a shared mapping of the whole file for reading and writing, as for every segment with a name; both
        // descriptors are of that file. What this process was started for has ended.
        if unsafe { descriptor::exchange(base, len, self.fd.as_fd(), fresh.as_fd()) }.is_ok() {
            drop(fresh);
            crash_point!("detach.unlocked");
            remove_name_if_last(name, file, self.name_removal.is_at_home());
        }
    }
}
