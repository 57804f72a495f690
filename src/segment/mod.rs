//! `Segment`: a region several processes map. Creating, opening, lifetime, and the objects in it.

mod attach;
mod build;
mod inherit;
#[cfg(any(fuzzing, feature = "crash-points"))]
mod inspect;
#[cfg(feature = "messages")]
mod lane;
mod lifetime;
mod mapping;
mod name;
#[cfg(feature = "process")]
mod names;
mod objects;
mod refused;
mod unfinished;

pub use build::SegmentBuilder;
#[cfg(any(fuzzing, feature = "crash-points"))]
pub use inspect::inspect;
#[cfg(feature = "messages")]
pub(crate) use lane::{Lane, check_memory};
pub use lifetime::{clean, clean_folder};
#[cfg(feature = "messages")]
pub(crate) use mapping::FileBytes;
#[cfg(feature = "process")]
pub(crate) use names::{UsedName, give_names_up, names_of_others};
pub(crate) use objects::Located;
pub use objects::ObjectInfo;
#[cfg(feature = "process")]
pub(crate) use refused::{kind_of, os_error, os_error_or, proc_error};

use crate::error::Result;
use crate::layout::{Directory, header};
use crate::primitive::{AtomicU64, Ordering, Peers};
use crate::sys::map::OwnedFd;
use attach::Registration;
use lifetime::Farewell;
use mapping::Mapping;
use name::SegmentName;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Holds typed objects in memory that several processes map.
///
/// A segment is *anonymous* (no name; children receive it as an argument), *named* (found by name in the machine's shared-memory
/// folder) or *file-backed* (a file you choose, which persists). It has a fixed capacity and holds any number of named, typed
/// objects: [`value`](Segment::value), [`array`](Segment::array), [`counter`](Segment::counter), [`atomic`](Segment::atomic),
/// [`atomic_array`](Segment::atomic_array). Cloning a `Segment` is cheap and gives another handle to the same mapping.
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
/// and only then can the farewell find out whether this process was the last.
struct Inner {
    mapping: Mapping,
    fd: OwnedFd,
    flags: u32,
    buckets: u64,
    registration: Option<Registration>,
    /// Set when the share in the attach table has been given back.
    left: OnceLock<()>,
    farewell: Farewell,
}

// A panic leaves nothing half-made here: the registration is only ever taken out.
impl std::panic::UnwindSafe for Inner {}
impl std::panic::RefUnwindSafe for Inner {}

/// The name of an anonymous segment in messages.
const ANONYMOUS: &str = "(anonymous)";

impl Segment {
    /// Creates an anonymous segment of `capacity` bytes.
    ///
    /// Header, directory and objects share the capacity, which is rounded up to whole pages. The memory is taken at once, so that
    /// running out of it is an error here and never a signal later.
    ///
    /// # Errors
    ///
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity), [`OutOfMemory`](crate::ErrorKind::OutOfMemory),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// assert_eq!(segment.capacity(), 4096);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(capacity: usize) -> Result<Self> {
        Self::builder().capacity(capacity).anonymous()
    }

    /// Creates a named segment of `capacity` bytes.
    ///
    /// An existing segment of that name whose users were all killed is replaced.
    ///
    /// # Errors
    ///
    /// As [`new`](Segment::new), and [`AlreadyExists`](crate::ErrorKind::AlreadyExists),
    /// [`InvalidName`](crate::ErrorKind::InvalidName),
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-create-{}", std::process::id());
    /// let segment = procshare::Segment::create(&name, 4096)?;
    /// assert_eq!(segment.name(), Some(name));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, capacity: usize) -> Result<Self> {
        Self::builder().capacity(capacity).create(name)
    }

    /// Opens the segment of that name.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), and one kind for each check the segment fails: see
    /// [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-open-{}", std::process::id());
    /// let creator = procshare::Segment::create(&name, 4096)?;
    /// creator.value("answer", 42u32)?;
    /// let peer = procshare::Segment::open(&name)?;
    /// assert_eq!(peer.open_value::<u32>("answer")?.get(), 42);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::builder().open(name)
    }

    /// Opens the segment of that name, or creates it with `capacity` bytes.
    ///
    /// # Errors
    ///
    /// As [`create`](Segment::create) and [`open`](Segment::open). The capacity of an existing segment is not compared.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-either-{}", std::process::id());
    /// let first = procshare::Segment::open_or_create(&name, 4096)?;
    /// let second = procshare::Segment::open_or_create(&name, 4096)?;
    /// first.counter("hits", 7)?;
    /// assert_eq!(second.open_counter("hits")?.get(), 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, capacity: usize) -> Result<Self> {
        Self::builder().capacity(capacity).open_or_create(name)
    }

    /// Creates a persistent segment in a file.
    ///
    /// After a restart of the machine the segment is as it was last written, with all locks free. This does not cover power
    /// failures, network file systems, and file systems that allocate on write, like btrfs.
    ///
    /// # Errors
    ///
    /// As [`create`](Segment::create).
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("doc-file-{}", std::process::id()));
    /// let segment = procshare::Segment::create_file(&path, 4096)?;
    /// segment.value("answer", 42u32)?;
    /// drop(segment);
    /// let segment = procshare::Segment::open_file(&path)?;
    /// assert_eq!(segment.open_value::<u32>("answer")?.get(), 42);
    /// segment.unlink()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create_file(path: impl AsRef<Path>, capacity: usize) -> Result<Self> {
        Self::builder().capacity(capacity).create_file(path)
    }

    /// Opens the segment in a file.
    ///
    /// # Errors
    ///
    /// As [`open`](Segment::open).
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procshare::Segment::open_file("/no/such/file").unwrap_err();
    /// assert_eq!(error.kind(), procshare::ErrorKind::NotFound);
    /// ```
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open_file(path)
    }

    /// Returns a builder with options that the short forms do not offer.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-builder-{}", std::process::id());
    /// let segment = procshare::Segment::builder().capacity(1 << 20).mode(0o660).create(&name)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn builder() -> SegmentBuilder {
        SegmentBuilder::default()
    }

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
        self.0.farewell.name.as_ref().map(SegmentName::to_string)
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
        allow(dead_code, reason = "handles travel with the process layer")
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

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.label())
            .field("capacity", &self.capacity())
            .field("free", &self.free())
            .finish()
    }
}
