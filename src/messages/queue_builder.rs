//! `QueueBuilder<T>`: capacity and schema of a queue, and the ways to make or open one.

use super::capacity::Capacity;
use super::channel_layout::ChannelLayout;
use super::queue::SharedQueue;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, Spec};
use crate::raw::MOST_SEATS;
use crate::segment::{Handle, Segment};
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;

/// Processes that can take part unless the creator says otherwise.
const PROCESSES: u64 = 1024;

/// Sets the properties of a queue, and makes or opens it.
///
/// # Examples
///
/// ```
/// use procshare::{Capacity, SharedQueue};
///
/// let name = format!("doc-queue-builder-{}", std::process::id());
/// let queue = SharedQueue::<Vec<u8>>::builder()
///     .capacity(Capacity::items(8).bytes(1 << 20))
///     .schema("picture", 2)
///     .create(&name)?;
/// assert!(SharedQueue::<Vec<u8>>::open(&name).is_err()); // another schema
/// assert!(SharedQueue::<Vec<u8>>::builder().schema("picture", 2).open(&name).is_ok());
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct QueueBuilder<T> {
    capacity: Capacity,
    processes: u64,
    schema: String,
    item: PhantomData<fn(T) -> T>,
}

impl<T> QueueBuilder<T> {
    pub(super) fn new() -> Self {
        QueueBuilder {
            capacity: Capacity::items(1024),
            processes: PROCESSES,
            schema: std::any::type_name::<T>().to_owned(),
            item: PhantomData,
        }
    }

    /// The layout of a queue that is being made.
    fn new_layout(&self) -> Result<ChannelLayout> {
        if !(1..=MOST_SEATS as u64).contains(&self.processes) {
            let message = format!(
                "expected a maximum of 1 to {MOST_SEATS} processes, found {}",
                self.processes
            );
            return Err(Error::new(ErrorKind::InvalidCapacity, message));
        }
        Ok(ChannelLayout::new(self.capacity.rounded()?, self.processes))
    }

    fn spec(&self, layout: ChannelLayout) -> Spec<'_> {
        layout.spec(Kind::Queue, &self.schema)
    }

    /// The spec of a queue that is being opened, whatever its layout.
    fn any_spec(&self) -> Spec<'_> {
        self.spec(ChannelLayout::new(self.capacity, self.processes))
    }

    /// Sets how much the queue holds; 1024 items by default.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<u8>::builder().capacity(10).anonymous()?;
    /// assert_eq!(queue.capacity(), 10);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(self, capacity: impl Into<Capacity>) -> Self {
        QueueBuilder {
            capacity: capacity.into(),
            ..self
        }
    }

    /// Sets how many processes can take part at a time.
    ///
    /// The default is 1024 and the maximum 65,535; each process takes 16 bytes. A process counts once, however many handles it
    /// has. A handle on its way to a child also counts, until the child has it. The number is fixed when the queue is created.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<u8>::builder().max_processes(4000).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn max_processes(self, processes: usize) -> Self {
        QueueBuilder {
            processes: processes as u64,
            ..self
        }
    }

    /// Sets the name and version by which programs agree on the encoding.
    ///
    /// The default is the type's path as Rust prints it, which differs if two programs each define the type for themselves, and
    /// does not change when the type's fields do. Raise the version when the encoding changes.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<(u32, f32)>::builder().schema("sample", 3).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn schema(self, name: &str, version: u32) -> Self {
        QueueBuilder {
            schema: format!("{name} v{version}"),
            ..self
        }
    }

    /// Creates the queue in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// As [`SharedQueue::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<u8>::builder().anonymous()?;
    /// assert_eq!(queue.capacity(), 1024);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn anonymous(&self) -> Result<SharedQueue<T>> {
        let layout = self.new_layout()?;
        let spec = self.spec(layout);
        let handle = Handle::new_in(&layout.builder(&spec)?, &spec, &layout.write_queue())?;
        SharedQueue::join(&handle)
    }

    /// Creates the queue in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`SharedQueue::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-queue-builder-create-{}", std::process::id());
    /// let queue = procshare::SharedQueue::<u8>::builder().create(&name)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(&self, name: impl AsRef<OsStr>) -> Result<SharedQueue<T>> {
        let layout = self.new_layout()?;
        let spec = self.spec(layout);
        let handle = Handle::create_in(&layout.builder(&spec)?, name, &spec, &layout.write_queue())?;
        SharedQueue::join(&handle)
    }

    /// Opens the queue by name, whatever its capacity.
    ///
    /// # Errors
    ///
    /// As [`SharedQueue::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-queue-builder-open-{}", std::process::id());
    /// let queue = procshare::SharedQueue::<u8>::create(&name, 10)?;
    /// assert_eq!(procshare::SharedQueue::<u8>::builder().open(&name)?.capacity(), 10);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(&self, name: impl AsRef<OsStr>) -> Result<SharedQueue<T>> {
        let handle = Handle::open_alone(name, &self.any_spec())?;
        SharedQueue::join(&handle)
    }

    /// Opens the queue by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`SharedQueue::open_or_create`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-queue-builder-either-{}", std::process::id());
    /// let queue = procshare::SharedQueue::<u8>::builder().open_or_create(&name)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(&self, name: impl AsRef<OsStr>) -> Result<SharedQueue<T>> {
        let layout = self.new_layout()?;
        let spec = self.spec(layout);
        let handle = Handle::open_or_create_in(&layout.builder(&spec)?, name, &spec, &layout.write_queue())?;
        SharedQueue::join(&handle)
    }

    /// Returns the queue `name` of a segment, creating it if absent.
    ///
    /// # Errors
    ///
    /// As [`Segment::queue`].
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// let queue = procshare::SharedQueue::<u8>::builder().capacity(10).place_in(&segment, "jobs")?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn place_in(&self, segment: &Segment, name: &str) -> Result<SharedQueue<T>> {
        segment.check_object_name(name)?;
        let layout = self.new_layout()?;
        layout.prepare(segment);
        let handle = Handle::place_in(segment, name, &self.spec(layout), &layout.write_queue())?;
        SharedQueue::join(&handle)
    }

    /// Opens the queue `name` of a segment, whatever its capacity.
    ///
    /// # Errors
    ///
    /// As [`Segment::open_queue`].
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// assert!(procshare::SharedQueue::<u8>::builder().open_in(&segment, "jobs").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_in(&self, segment: &Segment, name: &str) -> Result<SharedQueue<T>> {
        let handle = Handle::open_in(segment, name, &self.any_spec(), None)?;
        SharedQueue::join(&handle)
    }
}

impl<T> fmt::Debug for QueueBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueBuilder")
            .field("capacity", &self.capacity)
            .field("max_processes", &self.processes)
            .field("schema", &self.schema)
            .finish()
    }
}

impl<T> SharedQueue<T> {
    /// Creates a queue in an anonymous segment of its own.
    ///
    /// # Errors
    ///
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity), [`OutOfMemory`](crate::ErrorKind::OutOfMemory),
    /// [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(100)?;
    /// queue.put("hello".to_owned())?;
    /// assert_eq!(queue.get()?, "hello");
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn new(capacity: impl Into<Capacity>) -> Result<Self> {
        Self::builder().capacity(capacity).anonymous()
    }

    /// Creates a queue in a named segment of its own.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new) and [`Segment::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-queue-create-{}", std::process::id());
    /// let queue = procshare::SharedQueue::<u32>::create(&name, 100)?;
    /// procshare::SharedQueue::<u32>::open(&name)?.put(7)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, capacity: impl Into<Capacity>) -> Result<Self> {
        Self::builder().capacity(capacity).create(name)
    }

    /// Opens the queue by name.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`], [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if it was made for a type of another name,
    /// [`Full`](crate::ErrorKind::Full) if the maximum number of processes takes part already, [`Busy`](crate::ErrorKind::Busy)
    /// if a peer was stopped while joining.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{ErrorKind, SharedQueue};
    ///
    /// let name = format!("doc-queue-open-{}", std::process::id());
    /// let queue = SharedQueue::<u32>::create(&name, 100)?;
    /// assert_eq!(SharedQueue::<String>::open(&name).unwrap_err().kind(), ErrorKind::TypeMismatch);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::builder().open(name)
    }

    /// Opens the queue by name, or creates it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create) and [`open`](Self::open), and [`LengthMismatch`](crate::ErrorKind::LengthMismatch) if
    /// it holds another number of items.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("doc-queue-either-{}", std::process::id());
    /// let first = procshare::SharedQueue::<u8>::open_or_create(&name, 100)?;
    /// let second = procshare::SharedQueue::<u8>::open_or_create(&name, 100)?;
    /// first.put(1)?;
    /// assert_eq!(second.get()?, 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_or_create(name: impl AsRef<OsStr>, capacity: impl Into<Capacity>) -> Result<Self> {
        Self::builder().capacity(capacity).open_or_create(name)
    }

    /// Returns a builder for what the short forms do not offer.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<Vec<u8>>::builder().capacity(10).schema("picture", 2).anonymous()?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> QueueBuilder<T> {
        QueueBuilder::new()
    }
}

impl Segment {
    /// Returns the queue `name` of this segment, creating it if absent.
    ///
    /// # Errors
    ///
    /// As [`value`](Segment::value), [`LengthMismatch`](crate::ErrorKind::LengthMismatch),
    /// [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// segment.queue("jobs", 100)?.put(7u32)?;
    /// assert_eq!(segment.open_queue::<u32>("jobs")?.get()?, 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn queue<T>(&self, name: &str, capacity: impl Into<Capacity>) -> Result<SharedQueue<T>> {
        SharedQueue::builder().capacity(capacity).place_in(self, name)
    }

    /// Opens the queue `name` of this segment, whatever its capacity.
    ///
    /// # Errors
    ///
    /// As [`open_value`](Segment::open_value).
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(1 << 20)?;
    /// assert!(segment.open_queue::<u32>("jobs").is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open_queue<T>(&self, name: &str) -> Result<SharedQueue<T>> {
        SharedQueue::builder().open_in(self, name)
    }
}
