//! `Segment`: a region several processes map. Creating, opening, lifetime, and the objects in it.

mod attach;
mod build;
mod check;
mod handle;
mod inherit;
#[cfg(any(fuzzing, feature = "crash-points"))]
mod inspect;
mod lifetime;
mod mapping;
mod name;
#[cfg(feature = "process")]
mod names;
mod objects;
#[cfg(feature = "messages")]
mod overflow;
mod passed;
mod refused;
mod registration;
mod unfinished;

pub use build::SegmentBuilder;
pub(crate) use handle::{Handle, Object};
#[cfg(any(fuzzing, feature = "crash-points"))]
pub use inspect::inspect;
#[cfg(feature = "process")]
pub(crate) use lifetime::{UsedName, names_of_others};
pub use lifetime::{clean, clean_folder};
#[cfg(feature = "messages")]
pub(crate) use mapping::FileBytes;
#[cfg(feature = "process")]
pub(crate) use names::give_names_up;
pub(crate) use objects::Located;
pub use objects::ObjectInfo;
#[cfg(feature = "process")]
pub(crate) use overflow::check_memory_behind;
#[cfg(feature = "messages")]
pub(crate) use overflow::{OverflowArea, check_memory};
#[cfg(feature = "process")]
pub(crate) use passed::PassedDescriptor;
pub(crate) use refused::os_error;
#[cfg(feature = "process")]
pub(crate) use refused::{foreign_self, os_error_or, proc_error};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Directory, header};
use crate::primitive::{AtomicU64, Ordering, Peers, crash_point};
use crate::sys::file::{self, AsFd, OwnedFd};
use lifetime::{NameRemoval, leads_to};
use mapping::Mapping;
use name::SegmentName;
use registration::Registration;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Holds typed objects in memory that several processes map.
///
/// A segment is *anonymous* (no name; children receive it as an argument), *named* (found by name in the machine's shared-memory
/// folder) or *file-backed* (a file you choose, which persists). It has a fixed capacity and holds any number of named, typed
/// objects: [`value`](Segment::value), [`array`](Segment::array), [`counter`](Segment::counter), [`atomic`](Segment::atomic),
/// [`atomic_array`](Segment::atomic_array), `queue` and `map`. Cloning a `Segment` is cheap and gives another handle to the same mapping.
///
/// # Lifetime
///
/// An anonymous segment vanishes with the last process that holds it. A named segment is removed by its last user, unless it is
/// [`persistent`](SegmentBuilder::persistent); if its users were all killed, the next `create` with the name or [`clean`] removes
/// it. A segment in use is never removed.
///
/// # What a peer sees
///
/// An object appears completely or not at all, whenever its creator dies.
///
/// # Examples
///
/// ```
/// use procshare::Segment;
///
/// let segment = Segment::new(64 * 1024)?;
/// let hits = segment.counter("hits", 0)?;
/// let samples = segment.array::<f64>("samples", 100)?;
/// hits.increment()?;
/// samples.set(0, 2.5)?;
/// assert_eq!(segment.objects()?.len(), 2);
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

/// Dropped from top to bottom: the shared lock is gone once both mapping and descriptor are (a mapping keeps the open file alive),
/// and only then can the check for the last user find out whether this process was the last.
struct Inner {
    mapping: Mapping,
    fd: OwnedFd,
    flags: u32,
    buckets: u64,
    registration: Option<Registration>,
    /// Set when the share in the attach table has been given back.
    left: OnceLock<()>,
    name_removal: NameRemoval,
}

// A panic leaves nothing half-made here: the registration is only ever taken out.
impl std::panic::UnwindSafe for Inner {}
impl std::panic::RefUnwindSafe for Inner {}

/// The name of an anonymous segment in messages.
const ANONYMOUS: &str = "(anonymous)";

impl Segment {
    /// Returns the segment's name, or the path of its file.
    ///
    /// Anonymous segments have none.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::Segment::new(4096)?.name(), None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.0.name_removal.name.as_ref().map(SegmentName::to_string)
    }

    /// Returns the whole length in bytes, header and directory included.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::Segment::new(8192)?.capacity(), 8192);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.words().len() * 8
    }

    /// Returns how many bytes are left for further objects.
    ///
    /// Each object takes its own bytes and about a hundred for its directory entry.
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(8192)?;
    /// let before = segment.free();
    /// segment.array::<u64>("samples", 100)?;
    /// assert!(segment.free() <= before - 800);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn free(&self) -> usize {
        // Relaxed: a hint; a peer may place an object at any moment.
        let used = self.words()[header::word::USED].load(Ordering::Relaxed);
        self.capacity()
            .saturating_sub(usize::try_from(used).unwrap_or(usize::MAX))
    }

    /// Removes the segment's name at once; attached processes stay attached.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the segment has no name, or the name refers to another file by now,
    /// [`Busy`](ErrorKind::Busy) if a stopped process holds the directory, [`PermissionDenied`](ErrorKind::PermissionDenied) if the
    /// folder may not be changed.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-unlink-{}", std::process::id());
    /// let segment = procshare::Segment::create(&name, 4096)?;
    /// segment.unlink()?;
    /// assert!(procshare::Segment::open(&name).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn unlink(&self) -> Result<()> {
        let name = self.0.name_removal.name.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "an anonymous segment has no name to remove").in_segment(self.label())
        })?;
        // Excludes another `unlink` of the same segment, between whose check and removal a new segment might get the name.
        let _guard = self.hold_directory().map_err(|error| error.in_segment(name))?;
        crash_point!("unlink.begin");
        if !leads_to(&name.path, &self.0.fd) {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the segment's name was removed or refers to another file",
            )
            .in_segment(name));
        }
        file::unlink(&name.path).map_err(|error| os_error("unlink", error).in_segment(name))?;
        crash_point!("unlink.done");
        Ok(())
    }
    /// The name of the segment in messages.
    pub(crate) fn label(&self) -> String {
        self.name().unwrap_or_else(|| ANONYMOUS.to_owned())
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        self.0.mapping.words()
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.0.mapping.base()
    }

    #[cfg_attr(
        not(feature = "process"),
        allow(dead_code, reason = "handles are passed by the process layer")
    )]
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0.fd
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.0.flags & header::FROZEN != 0
    }

    pub(crate) fn directory(&self) -> Directory<'_> {
        Directory::new(self.words(), self.0.buckets)
    }

    /// Where to look up the owner of a lock.
    pub(crate) fn peers(&self) -> Peers {
        let table = &self.words()[header::word::ATTACHED..header::word::END];
        // SAFETY: the table lies in the mapping, which outlives the call that asks for the Peers: every caller keeps this segment,
        // or a handle in it, alive for the duration of that call, and locks and seats keep no Peers.
        unsafe { Peers::new(self.base(), table.as_ptr(), table.len()) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        crash_point!("detach.begin");
        self.deregister();
        crash_point!("detach.deregistered");
        if self.name_removal.name.is_some() {
            self.name_removal.file = self.mortal_file();
        }
    }
}

impl Inner {
    /// Leaves the attach table, once.
    fn deregister(&self) {
        if let Some(registration) = self.registration.as_ref().filter(|_| self.left.set(()).is_ok()) {
            registration.deregister(self.mapping.words());
        }
    }

    /// Device and inode of a file whose name goes with its last user.
    fn mortal_file(&self) -> Option<(u64, u64)> {
        let stat = file::stat(self.fd.as_fd()).ok()?;
        (self.flags & header::PERSISTENT == 0).then(|| stat.id())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.label())
            .field("capacity", &self.capacity())
            .field("free", &self.free())
            .finish()
    }
}
