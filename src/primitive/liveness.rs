//! Whether the owner named by a lock word is dead. Only proof counts; time never does.

use super::identity;
use super::owner::{OwnerId, start_bits};
use crate::sys::liveness::{Life, has_execed, lacks_mapping, life};
use core::sync::atomic::{AtomicU64, Ordering};

/// Where a segment keeps the evidence about its peers: its address in this process and its attach table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peers {
    base: *const u8,
    table: *const AtomicU64,
    entries: usize,
}

// SAFETY: the pointers lead to memory shared between processes, of which only atomics are read; the creator of a Peers keeps that
// memory mapped as long as it is used (see `new`).
unsafe impl Send for Peers {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Peers {}

/// One word of the attach table: `[ start:32 | image:8 | PID:22 ]`, zero when free.
///
/// Here the start time is nearly whole, so that an entry a dead process left is not taken for one of the process
/// that was given its PID later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attachment(pub(crate) u64);

const PID_BITS: u64 = (1 << 22) - 1;
const START_BITS: u64 = (1 << 32) - 1;

impl Attachment {
    pub(crate) fn pack(pid: u32, image: u8, start: u64) -> Self {
        Attachment((start & START_BITS) << 30 | u64::from(image) << 22 | u64::from(pid) & PID_BITS)
    }

    pub(crate) fn pid(self) -> u32 {
        (self.0 & PID_BITS) as u32
    }

    fn image(self) -> u8 {
        (self.0 >> 22) as u8
    }

    fn start(self) -> u64 {
        self.0 >> 30
    }

    /// The entry of the calling process.
    pub(crate) fn current() -> Result<Self, identity::Foreign> {
        let id = identity::current()?;
        Ok(Self::pack(id.pid(), id.image(), identity::process_start()?))
    }

    /// Whether the process that made this entry still exists, or this cannot be told.
    pub(crate) fn may_live(self) -> bool {
        match life(self.pid()) {
            Life::Dead => false,
            Life::Alive { start } => {
                start == 0 || self.start() == 0 || start & START_BITS == self.start() || !identity::is_at_home()
            }
        }
    }

    /// Whether `self` was made by the same process as `other`, but by an image it ran before an `exec`.
    pub(crate) fn is_former_image_of(self, other: Self) -> bool {
        self.pid() == other.pid() && self.start() == other.start() && self.start() != 0 && self.image() != other.image()
    }
}

impl Peers {
    /// # Safety
    /// `base` lies in a mapping of the segment and `table` holds `entries` atomics in it, for as long as this value
    /// or a copy of it is used.
    pub(crate) unsafe fn new(base: *const u8, table: *const AtomicU64, entries: usize) -> Self {
        Peers { base, table, entries }
    }

    fn table(&self) -> &[AtomicU64] {
        // SAFETY: `new` demands that this many atomics are mapped there as long as self is used.
        unsafe { core::slice::from_raw_parts(self.table, self.entries) }
    }

    /// Whether `owner` can be proved dead. `look_at_maps` also asks whether it called `exec`, which costs more.
    pub(crate) fn is_dead(&self, owner: OwnerId, look_at_maps: bool) -> bool {
        if owner.pid() == 0 {
            return true; // No process has PID 0: there is nobody to wait for.
        }
        if let Ok(me) = identity::current() {
            if me.process() == owner.process() {
                // Our own process: a thread's end frees nothing (a leaked guard may still be in use), an `exec` does.
                return me.image() != owner.image();
            }
        }
        match life(owner.pid()) {
            Life::Dead => true,
            Life::Alive { start } => {
                let bits = start_bits(start);
                let reused =
                    bits != 0 && owner.start_bits() != 0 && bits != owner.start_bits() && identity::is_at_home();
                reused || self.is_former_image(owner, start) || look_at_maps && lacks_mapping(owner.pid(), self.base)
            }
        }
    }

    /// Whether the process that holds a seat can be proved gone. One that has yet to attach is named without an image: it maps
    /// nothing yet.
    pub(crate) fn has_left(&self, process: OwnerId, look_at_maps: bool) -> bool {
        if process.image() != 0 {
            return self.is_dead(process, look_at_maps);
        }
        match life(process.pid()) {
            Life::Dead => true,
            Life::Alive { start } => {
                let bits = start_bits(start);
                bits != 0 && process.start_bits() != 0 && bits != process.start_bits() && identity::is_at_home()
            }
        }
    }

    /// Whether the living process `owner.pid()` has attached again under another image than the owner's: it called `exec`, and
    /// maps the segment once more, so that its maps alone would not tell.
    ///
    /// That the owner has no entry proves nothing: a fork child has none, nor has a process that found the table full. And an entry
    /// with its PID and start may be that of a dead process which had both. Each attaching process, entry or not, first removes
    /// such entries; a fork child does not, but the kernel tells whether it has called `exec`.
    fn is_former_image(&self, owner: OwnerId, start: u64) -> bool {
        if start == 0 {
            return false;
        }
        let now = Attachment::pack(owner.pid(), owner.image(), start);
        let mut attached_anew = false;
        for entry in self.table() {
            // Acquire: pairs with the Release of an attacher, so that what it cleared before is seen as cleared.
            let entry = Attachment(entry.load(Ordering::Acquire));
            if entry == now {
                return false;
            }
            attached_anew |= entry.is_former_image_of(now);
        }
        attached_anew && has_execed(owner.pid())
    }
}

/// The id of a child that was started and has yet to attach, as seats know it; `None` if it has ended.
#[cfg(feature = "process")]
pub(crate) fn child_id(pid: u32) -> Option<OwnerId> {
    match life(pid) {
        Life::Alive { start } => Some(OwnerId::of_child(pid, start)),
        Life::Dead => None,
    }
}

/// The id of a copy of this process, made by `fork`, which runs the same image; `None` if it has ended.
#[cfg(feature = "process")]
pub(crate) fn copy_id(pid: u32) -> Option<OwnerId> {
    let image = crate::sys::identity::image_nonce();
    child_id(pid).map(|child| OwnerId::of_thread(0, image, child.process()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_keeps_its_parts() {
        let entry = Attachment::pack(4_194_303, 7, (1 << 32) - 2);
        assert_eq!(
            (entry.pid(), entry.image(), entry.start()),
            (4_194_303, 7, (1 << 32) - 2)
        );
        assert!(Attachment::pack(9, 1, 5).is_former_image_of(Attachment::pack(9, 2, 5)));
        assert!(!Attachment::pack(9, 1, 5).is_former_image_of(Attachment::pack(9, 2, 6)));
        assert!(!Attachment::pack(9, 1, 0).is_former_image_of(Attachment::pack(9, 2, 0)));
    }
}
