//! `SegmentBuilder`: making segments. A named segment is complete, locked and registered before it gets its name.

use super::attach;
use super::check::boot_id;
use super::lifetime::{BETWEEN_TRIES, FORKED_CHILDREN, NameRemoval};
use super::mapping::Mapping;
use super::name::SegmentName;
use super::refused::{foreign_self, os_error};
use super::registration::Registration;
use super::unfinished::{ATTEMPTS, Unfinished};
use super::{ANONYMOUS, Inner, Segment};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Header, Spec, directory, header};
use crate::primitive::{crash_point, identity};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{self, file};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Below this size, asking how much memory is left costs more than the memory.
const CHECK_MEMORY_FROM: u64 = 1 << 20;

/// Configures how a segment is created or opened.
///
/// # Examples
///
/// ```
/// use procshare::Segment;
///
/// let name = format!("doc-segment-builder-{}", std::process::id());
/// let segment = Segment::builder().capacity(64 * 1024).persistent(true).create(&name)?;
/// drop(segment);
/// Segment::open(&name)?.unlink()?; // it was still there
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SegmentBuilder {
    capacity: Option<u64>,
    mode: u32,
    persistent: bool,
    allowed_user: Option<u32>,
    folder: PathBuf,
    buckets: Option<u64>,
    /// Whether the file gets overflow areas; `None` to decide when a queue needs them.
    overflow_areas: Option<bool>,
}

impl Default for SegmentBuilder {
    fn default() -> Self {
        SegmentBuilder {
            capacity: None,
            mode: 0o600,
            persistent: false,
            allowed_user: None,
            folder: PathBuf::from(file::SHARED_MEMORY),
            buckets: None,
            overflow_areas: None,
        }
    }
}

/// Fills a new segment before any other process can see it.
type Fill<'a> = &'a dyn Fn(&Segment) -> Result<()>;

/// Leaves a new segment empty.
const EMPTY: Fill<'static> = &|_| Ok(());

impl SegmentBuilder {
    /// Sets the capacity in bytes; the default is 64 KiB.
    ///
    /// It is rounded up to whole pages.
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::builder().capacity(1 << 20).anonymous()?;
    /// assert_eq!(segment.capacity(), 1 << 20);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes as u64);
        self
    }

    /// Sets the file's permission bits, whatever the umask; the default is 0600.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// let path = std::env::temp_dir().join(format!("doc-builder-mode-{}", std::process::id()));
    /// let segment = procshare::Segment::builder().mode(0o640).create_file(&path)?;
    /// assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    /// segment.unlink()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Keeps a named segment when its last user is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let name = format!("doc-builder-persistent-{}", std::process::id());
    /// drop(Segment::builder().persistent(true).create(&name)?);
    /// Segment::open(&name)?.unlink()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Also accepts, when opening, a segment owned by that user id.
    ///
    /// A process that may write to a segment can change every value in it; name only users you trust with them.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let name = format!("doc-builder-allow-user-{}", std::process::id());
    /// let _segment = Segment::create(&name, 4096)?;
    /// let root = 0;
    /// Segment::builder().allow_user(root).open(&name)?; // one of root's would do, too
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.allowed_user = Some(uid);
        self
    }

    /// Looks for names in `folder` instead of the machine's shared-memory folder.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let folder = std::env::temp_dir().join(format!("doc-builder-folder-{}", std::process::id()));
    /// std::fs::create_dir(&folder).unwrap();
    /// let segment = Segment::builder().folder(&folder).create("stats")?;
    /// Segment::builder().folder(&folder).open("stats")?;
    /// drop(segment);
    /// std::fs::remove_dir(&folder).unwrap(); // the segment is gone from it
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// Creates an anonymous segment.
    ///
    /// # Errors
    ///
    /// As [`Segment::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::builder().anonymous()?;
    /// assert_eq!(segment.name(), None);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn anonymous(&self) -> Result<Segment> {
        self.anonymous_with(EMPTY)
    }

    /// Creates a named segment.
    ///
    /// # Errors
    ///
    /// As [`Segment::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-builder-create-{}", std::process::id());
    /// let segment = procshare::Segment::builder().create(&name)?;
    /// assert_eq!(segment.name(), Some(name));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(&self, name: impl AsRef<OsStr>) -> Result<Segment> {
        self.create_with(name, EMPTY)
    }

    /// Opens a named segment.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let name = format!("doc-builder-open-{}", std::process::id());
    /// let segment = Segment::builder().create(&name)?;
    /// segment.counter("hits", 3)?;
    /// assert_eq!(Segment::builder().open(&name)?.open_counter("hits")?.get(), 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(&self, name: impl AsRef<OsStr>) -> Result<Segment> {
        attach::open(&self.name(name)?, self.allowed_user, false)
    }

    /// Opens a named segment, or creates it.
    ///
    /// # Errors
    ///
    /// As [`Segment::open_or_create`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let name = format!("doc-builder-either-{}", std::process::id());
    /// let first = Segment::builder().open_or_create(&name)?;
    /// let second = Segment::builder().open_or_create(&name)?;
    /// first.counter("hits", 3)?;
    /// assert_eq!(second.open_counter("hits")?.get(), 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(&self, name: impl AsRef<OsStr>) -> Result<Segment> {
        self.open_or_create_with(name, EMPTY)
    }

    /// Creates a persistent segment in a file.
    ///
    /// # Errors
    ///
    /// As [`Segment::create_file`].
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("doc-builder-create-file-{}", std::process::id()));
    /// let segment = procshare::Segment::builder().create_file(&path)?;
    /// assert!(path.exists());
    /// segment.unlink()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<Segment> {
        self.create_at(&SegmentName::of_file(path.as_ref())?, header::PERSISTENT, EMPTY)
    }

    /// Opens the segment in a file.
    ///
    /// # Errors
    ///
    /// As [`Segment::open_file`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let path = std::env::temp_dir().join(format!("doc-builder-open-file-{}", std::process::id()));
    /// drop(Segment::builder().create_file(&path)?);
    /// Segment::builder().open_file(&path)?.unlink()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<Segment> {
        attach::open(&SegmentName::of_file(path.as_ref())?, self.allowed_user, true)
    }

    /// Opens the segment in a file, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create_file`](Self::create_file) and [`open_file`](Self::open_file).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    ///
    /// let path = std::env::temp_dir().join(format!("doc-builder-either-file-{}", std::process::id()));
    /// drop(Segment::builder().open_or_create_file(&path)?);
    /// Segment::builder().open_or_create_file(&path)?.unlink()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create_file(&self, path: impl AsRef<Path>) -> Result<Segment> {
        self.open_or_create_at(&SegmentName::of_file(path.as_ref())?, true, header::PERSISTENT, EMPTY)
    }

    /// A builder for a segment that holds a single object.
    pub(crate) fn for_object(spec: &Spec<'_>) -> Result<Self> {
        const BUCKETS: u64 = 8;
        let capacity = directory::length_for("", spec, BUCKETS).ok_or_else(|| too_large(spec.bytes))?;
        Ok(SegmentBuilder {
            capacity: Some(capacity),
            buckets: Some(BUCKETS),
            overflow_areas: Some(false),
            ..Self::default()
        })
    }

    pub(crate) fn anonymous_with(&self, fill: Fill<'_>) -> Result<Segment> {
        self.make_anonymous(0, fill)
            .map_err(|error| error.in_segment(ANONYMOUS))
    }

    pub(crate) fn create_with(&self, name: impl AsRef<OsStr>, fill: Fill<'_>) -> Result<Segment> {
        self.create_at(&self.name(name)?, self.flags(), fill)
    }

    pub(crate) fn open_or_create_with(&self, name: impl AsRef<OsStr>, fill: Fill<'_>) -> Result<Segment> {
        self.open_or_create_at(&self.name(name)?, false, self.flags(), fill)
    }

    fn name(&self, name: impl AsRef<OsStr>) -> Result<SegmentName> {
        SegmentName::new(&self.folder, name.as_ref())
    }

    fn flags(&self) -> u32 {
        if self.persistent { header::PERSISTENT } else { 0 }
    }

    fn length(&self) -> Result<u64> {
        let capacity = self.capacity.unwrap_or(64 * 1024);
        let page = file::page_size() as u64;
        match capacity.checked_next_multiple_of(page) {
            Some(0) => Err(Error::new(
                ErrorKind::InvalidCapacity,
                "expected a capacity of at least 1 byte, found 0",
            )),
            Some(length) if length <= isize::MAX as u64 => Ok(length),
            _ => Err(too_large(capacity)),
        }
    }

    /// Creates an anonymous segment, fills it, and seals it against every later write.
    pub(crate) fn frozen_with(&self, fill: Fill<'_>) -> Result<Segment> {
        let freeze = || {
            let segment = self.make_anonymous(header::FROZEN, fill)?;
            let fd = segment.0.fd.try_clone().map_err(|error| os_error("dup", error))?;
            // The seal is refused while a writable mapping exists.
            drop(segment);
            seal_patiently(&fd)?;
            attach::from_descriptor(fd, None)
        };
        freeze().map_err(|error| error.in_segment(ANONYMOUS))
    }

    fn make_anonymous(&self, flags: u32, fill: Fill<'_>) -> Result<Segment> {
        let length = self.length()?;
        check_room(length, None, true)?;
        let fd = file::memfd(c"procshare").map_err(|error| os_error("memfd_create", error))?;
        allocate(&fd, length)?;
        // Its length cannot be changed later.
        let wanted = self.overflow_areas.unwrap_or(flags & header::FROZEN == 0);
        let overflow_areas = if wanted { add_overflow(&fd, length) } else { 0 };
        file::seal_size(fd.as_fd()).map_err(|error| os_error("sealing the size", error))?;
        self.format(fd, flags, (length, overflow_areas), fill)
    }

    fn open_or_create_at(&self, name: &SegmentName, file: bool, flags: u32, fill: Fill<'_>) -> Result<Segment> {
        for _ in 0..ATTEMPTS {
            match attach::open(name, self.allowed_user, file) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => return opened,
            }
            match self.create_at(name, flags, fill) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => return created,
            }
        }
        Err(Error::new(
            ErrorKind::Busy,
            "other processes keep creating and removing the segment",
        )
        .in_segment(name))
    }

    fn create_at(&self, name: &SegmentName, flags: u32, fill: Fill<'_>) -> Result<Segment> {
        self.make_named(name, flags, fill)
            .map_err(|error| error.in_segment(name))
    }

    fn make_named(&self, name: &SegmentName, flags: u32, fill: Fill<'_>) -> Result<Segment> {
        let length = self.length()?;
        let (fd, unfinished) = Unfinished::new(name, self.mode)?;
        crash_point!("create.opened");
        let memory_backed = file::is_memory_backed(fd.as_fd()).map_err(|error| os_error("fstatfs", error))?;
        let space = file::free_space(fd.as_fd()).map_err(|error| os_error("fstatvfs", error))?;
        check_room(length, space, memory_backed)?;
        if !file::lock_shared(fd.as_fd()).map_err(|error| os_error("flock", error))? {
            return Err(Error::new(
                ErrorKind::Busy,
                "another process locked the new segment's file",
            ));
        }
        crash_point!("create.locked");
        allocate(&fd, length)?;
        let overflow_areas = match self.overflow_areas {
            Some(true) if memory_backed => add_overflow(&fd, length),
            _ => 0,
        };
        crash_point!("create.allocated");
        let mut segment = self.format(fd, flags, (length, overflow_areas), fill)?;
        crash_point!("create.registered");
        unfinished.link(&segment.0.fd, name)?;
        crash_point!("create.linked");
        if let Some(inner) = Arc::get_mut(&mut segment.0) {
            inner.name_removal.name = Some(name.clone());
        }
        #[cfg(feature = "process")]
        super::names::enter(&segment.0);
        Ok(segment)
    }

    /// The same with overflow areas, for a queue with items of any size.
    #[cfg(feature = "messages")]
    pub(crate) fn with_overflow(self, overflow_areas: bool) -> Self {
        SegmentBuilder {
            overflow_areas: Some(overflow_areas),
            ..self
        }
    }

    /// Writes header and contents of a segment that only this process can see, and attaches to it.
    fn format(&self, fd: OwnedFd, flags: u32, (length, overflow_areas): (u64, u64), fill: Fill<'_>) -> Result<Segment> {
        let mapping = Mapping::writable(&fd, length).map_err(|error| os_error("mmap", error))?;
        if flags & header::FROZEN != 0 {
            // A child that never calls `exec` would keep its copy of this mapping, and so prevent the seal.
            mapping
                .keep_from_children()
                .map_err(|error| os_error("madvise", error))?;
        }
        let namespaces = identity::namespaces().map_err(foreign_self)?;
        let buckets = self.buckets.unwrap_or_else(|| directory::buckets_for(length));
        let header = Header {
            length,
            overflow_areas,
            flags,
            user: sys::identity::user_id(),
            pid_namespace: namespaces.pid,
            time_namespace: namespaces.time,
            boot_id: boot_id()?,
            buckets,
        };
        header.format(mapping.words(), directory::first_used(buckets));
        crash_point!("create.formatted");
        let registration = Some(Registration::new(mapping.words(), &fd)?);
        let segment = Segment(Arc::new(Inner {
            mapping,
            fd,
            flags,
            buckets,
            registration,
            left: OnceLock::new(),
            name_removal: NameRemoval::new(None),
        }));
        fill(&segment)?;
        Ok(segment)
    }
}

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
}

/// Seals a file that no other process maps, except children of other threads between `fork` and `exec`: those have a copy of every
/// mapping made before they were forked.
fn seal_patiently(fd: &OwnedFd) -> Result<()> {
    let give_up = Instant::now() + FORKED_CHILDREN;
    loop {
        // Checked before the attempt, as this process may be stopped during it.
        let is_last = Instant::now() > give_up;
        match file::seal_all(fd.as_fd()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && !is_last => {
                sys::clock::sleep(BETWEEN_TRIES);
            }
            Err(error) => return Err(os_error("sealing", error)),
        }
    }
}

/// Refuses a size that the machine cannot hold, before any of it is taken.
fn check_room(length: u64, space: Option<u64>, memory_backed: bool) -> Result<()> {
    let refuse = |found: u64, what: &str| {
        let message = format!("{length} bytes requested, {found} bytes of {what} available");
        Err(Error::new(ErrorKind::OutOfMemory, message))
    };
    match space {
        Some(space) if length > space => return refuse(space, "the file system"),
        _ => {}
    }
    if memory_backed && length >= CHECK_MEMORY_FROM {
        match sys::memory::available_memory() {
            Some(available) if length > available => return refuse(available, "memory"),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a file longer by overflow areas, which take no memory, and returns what to write about them in its header. Where the
/// system does not support holes (ramfs; some sandboxes), overflow areas would never give back what they once held, so there are
/// none.
pub(super) fn add_overflow(fd: &OwnedFd, length: u64) -> u64 {
    // Tested with bytes behind the overflow areas: another process may already have items in them.
    let can_be = |longer: &u64| file::can_give_back(fd.as_fd(), *longer) && file::set_len(fd.as_fd(), *longer).is_ok();
    match header::length_with_overflow(length).filter(can_be) {
        Some(_) => header::OVERFLOW_AREAS,
        None => header::NO_OVERFLOW_AREAS,
    }
}

fn allocate(fd: &OwnedFd, length: u64) -> Result<()> {
    file::allocate(fd.as_fd(), length).map_err(|error| os_error(&format!("allocating {length} bytes"), error))
}

fn too_large(capacity: u64) -> Error {
    Error::new(
        ErrorKind::InvalidCapacity,
        format!("a segment of {capacity} bytes and its directory exceed the address space"),
    )
}
