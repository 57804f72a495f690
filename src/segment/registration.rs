//! `Registration`: a process's share in a segment's attach table.

use super::refused::{foreign_self, os_error};
use crate::error::Result;
use crate::layout::header::{ATTACH_ENTRIES, word};
use crate::primitive::liveness::Attachment;
use crate::primitive::{AtomicU64, Home, Ordering};
use crate::sys::file::{self, AsFd, OwnedFd};
use parking_lot::Mutex;

/// The entries that this process has in attach tables, one for each file.
static ENTERED: Mutex<Vec<Entered>> = Mutex::new(Vec::new());

/// An entry, and the number of attachments that share it.
struct Entered {
    file: (u64, u64),
    entry: Attachment,
    /// `None` if the table was full.
    slot: Option<usize>,
    attachments: usize,
}

/// An attachment's share in its process's entry of a segment's attach table.
pub(super) struct Registration {
    file: (u64, u64),
    entry: Attachment,
    home: Home,
}

impl Registration {
    /// Enters the calling process into the attach table. A full table is not an error: the file lock counts as well.
    pub(super) fn new(words: &[AtomicU64], fd: &OwnedFd) -> Result<Self> {
        let entry = Attachment::current().map_err(foreign_self)?;
        let home = Home::of_caller().map_err(foreign_self)?;
        let stat = file::stat(fd.as_fd()).map_err(|error| os_error("fstat", error))?;
        let file = stat.id();
        let mut entered = ENTERED.lock();
        match entered
            .iter_mut()
            .find(|entered| (entered.file, entered.entry) == (file, entry))
        {
            Some(entered) => entered.attachments += 1,
            None => entered.push(Entered {
                file,
                entry,
                slot: enter(&words[word::ATTACHED..word::END], entry),
                attachments: 1,
            }),
        }
        Ok(Registration { file, entry, home })
    }

    /// The device and number of the segment's file.
    #[cfg(feature = "messages")]
    pub(super) fn file(&self) -> (u64, u64) {
        self.file
    }

    /// Gives the share back, and the entry with the last share; does nothing in a forked child of the process it names.
    pub(super) fn deregister(&self, words: &[AtomicU64]) {
        if !self.home.is_here() {
            return;
        }
        let mut entered = ENTERED.lock();
        let Some(at) = entered
            .iter()
            .position(|entered| (entered.file, entered.entry) == (self.file, self.entry))
        else {
            return;
        };
        entered[at].attachments -= 1;
        if entered[at].attachments > 0 {
            return;
        }
        if let Some(slot) = entered.swap_remove(at).slot {
            // Release: a process that sees the slot free also sees what we did before.
            let _ =
                words[word::ATTACHED + slot].compare_exchange(self.entry.0, 0, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// Takes an entry of the table: a free one, or a dead process's. Entries of former images of this process are cleared.
fn enter(table: &[AtomicU64], entry: Attachment) -> Option<usize> {
    for slot in table {
        let found = slot.load(Ordering::Relaxed);
        if Attachment(found).is_former_image_of(entry) {
            // Relaxed: ordered before our own entry by its Release.
            let _ = slot.compare_exchange(found, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
    let dead = |slot: &usize| {
        let found = table[*slot].load(Ordering::Relaxed);
        !Attachment(found).may_live() && claim(&table[*slot], found, entry)
    };
    (0..ATTACH_ENTRIES)
        .find(|&slot| claim(&table[slot], 0, entry))
        .or_else(|| (0..ATTACH_ENTRIES).find(dead))
}

/// Whether the attach table names a process that may be alive.
pub(super) fn somebody_is_attached(words: &[AtomicU64]) -> bool {
    words[word::ATTACHED..word::END]
        .iter()
        // Acquire: pairs with the Release of `claim`.
        .map(|slot| slot.load(Ordering::Acquire))
        .any(|found| found != 0 && Attachment(found).may_live())
}

fn claim(slot: &AtomicU64, found: u64, entry: Attachment) -> bool {
    // Release: pairs with the Acquire of processes that judge our locks, which must not see a former image's entry as well.
    slot.compare_exchange(found, entry.0, Ordering::Release, Ordering::Relaxed)
        .is_ok()
}
