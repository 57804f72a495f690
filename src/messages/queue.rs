//! `SharedQueue<T>`: a bounded first-in-first-out queue of messages between any number of processes.

use super::channel::Channel;
use super::error::{SendError, no_seat};
use super::passed::{KeepShare, Pass, PassedHandle, Reservation};
use super::port::Port;
use super::seat::Seat;
use crate::error::Result;
use crate::layout::Kind;
use crate::primitive::Deadline;
use crate::raw::{NoSeat, Role};
use crate::segment::{Handle, Segment};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Passes messages from many processes to many, first in, first out.
///
/// Items are anything `serde` can encode, of any size. [`Capacity`](crate::Capacity) bounds their number, and their bytes if asked
/// to. Encoding happens before the queue is locked, and decoding afterwards. Producers have one lock and consumers another, and
/// nobody waits while holding one. Cloning a handle is cheap, and handles travel to child processes as arguments.
///
/// # Who takes part
///
/// A put that finds room succeeds as long as the queue is open, and a get that finds an item gets it, no matter who is left. A call
/// that would have to *wait* fails with [`SendError::Disconnected`] or [`RecvError::Disconnected`](crate::RecvError::Disconnected)
/// once no other handle could end the wait. That is so when all others were dropped, died with their processes, or have only ever
/// done what the caller does: put, or get. A handle that has done neither may still do either. The caller's own handle never
/// counts. Threads that share one handle by reference count as that one handle, so give each thread a clone.
///
/// If nobody else has ever held a handle, calls wait for the first peer to arrive. The exception is a call without a time limit
/// on a queue made by [`new`](Self::new), which has no name and so cannot be found: it fails at once, unless `Process::fork`
/// has made a copy of this process that still runs. A handle that a forked child reaches through a `static` or an `Arc`, or
/// that it inherited through a `fork` outside this crate, is known to the others only once the child has used it.
/// [`wait_for_peers`](Self::wait_for_peers) makes calls on any queue wait for peers to arrive. A parent that wants its workers
/// to wait for later work keeps a handle that it has not used; a pool counts as such a handle for its jobs that have not begun
/// yet, or may be started again. At most 1024 processes take part at a time, unless
/// [`max_processes`](crate::QueueBuilder::max_processes) sets another number.
///
/// The items of each producer stay in order. Puts that wait for room are not served in turn: in a queue bounded in bytes, small
/// items may overtake a large one for a long time.
///
/// # What happens on death
///
/// A producer killed while it puts has delivered the item or not, never half; a consumer killed while it gets has taken the
/// item or not. An item that a consumer has taken is lost with it. Others go on within 100 ms. A waiting process notices when
/// all producers or all consumers have been killed; if they called `exec`, within about a second.
///
/// # Examples
///
/// ```
/// use procshare::{Process, SharedQueue};
///
/// fn square(jobs: SharedQueue<u64>, results: SharedQueue<u64>) -> procshare::Result<()> {
///     for job in &jobs {
///         let job = job?;
///         results.put(job * job)?;
///     }
///     Ok(())
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let (jobs, results) = (SharedQueue::new(16)?, SharedQueue::new(16)?);
///     let workers = (0..2)
///         .map(|_| Process::spawn(square, (jobs.clone(), results.clone())))
///         .collect::<procshare::Result<Vec<_>>>()?;
///     jobs.put_all(1..=10)?;
///     jobs.close();
///     let mut sum = 0;
///     for result in &results {
///         sum += result?; // ends when the workers have
///     }
///     assert_eq!(sum, 385);
///     workers.into_iter().try_for_each(|worker| worker.join()?)
/// }
/// ```
pub struct SharedQueue<T> {
    pub(super) port: Port,
    item: PhantomData<fn(T) -> T>,
}

impl<T> SharedQueue<T> {
    /// Makes a queue from a handle, to take part in either role.
    pub(super) fn join(handle: &Handle) -> Result<Self> {
        let [channel] = Channel::all_of(handle)?;
        let seat = Seat::join(&channel.seats, Role::Either)
            .map_err(|cause| no_seat(cause, "").in_segment(handle.segment().label()))?;
        Ok(Self::of(Port::new(channel, seat)))
    }

    fn of(port: Port) -> Self {
        SharedQueue {
            port,
            item: PhantomData,
        }
    }

    /// Makes this handle wait for peers that have not arrived yet.
    ///
    /// Without it, a queue that others have used and left is [`Disconnected`](crate::RecvError::Disconnected). Once a peer has
    /// arrived, the departure of all peers counts again.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{RecvError, SharedQueue};
    /// use std::time::Duration;
    ///
    /// let name = format!("doc-queue-wait-{}", std::process::id());
    /// let queue = SharedQueue::<u32>::create(&name, 8)?;
    /// let server = SharedQueue::<u32>::open(&name)?.wait_for_peers();
    /// drop(queue);
    /// assert_eq!(server.get_timeout(Duration::from_millis(5)), Err(RecvError::TimedOut)); // not Disconnected
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn wait_for_peers(self) -> Self {
        self.port.wait_for_peers();
        self
    }

    /// Closes the queue to new items; queued ones can still be taken.
    ///
    /// Every put is refused from now on, including those already waiting. Consumers get what is left, and then
    /// [`Closed`](crate::RecvError::Closed).
    ///
    /// The call waits for peers that are copying an item, 20 ms at most for each side. So an item that a stopped peer is
    /// putting may still get in.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put(1)?;
    /// queue.close();
    /// assert!(queue.put(2).is_err());
    /// let left: Result<Vec<i32>, _> = queue.iter().collect();
    /// assert_eq!(left?, [1]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn close(&self) {
        self.port.channel().close();
    }

    /// Tells whether the queue has been closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::<u8>::new(8)?;
    /// queue.close();
    /// assert!(queue.is_closed());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.port.channel().raw().is_closed()
    }

    /// Returns how many items are queued, as a hint.
    ///
    /// The number was right at one moment during the call; peers may have changed it since.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put(1)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.port.len()
    }

    /// Tells whether nothing is queued, as a hint.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(procshare::SharedQueue::<u8>::new(8)?.is_empty());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether no further item fits, as a hint.
    ///
    /// That is so when it holds as many items as it can, or when its bytes have no room even for an empty one.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(1)?;
    /// queue.put(1)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        let bounds = self.port.channel().bounds();
        let queued = self.port.channel().raw().queued(bounds);
        queued.items >= bounds.items || queued.units >= bounds.units
    }

    /// Returns how many items the queue can hold.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::SharedQueue::<u8>::new(10)?.capacity(), 10);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.port.channel().bounds().items as usize
    }

    /// Returns how many bytes all items together may take, headers included.
    ///
    /// It is `usize::MAX` if only their number is bounded.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Capacity, SharedQueue};
    ///
    /// let bounded = SharedQueue::<u8>::new(Capacity::items(1000).bytes(1 << 16))?;
    /// assert_eq!(bounded.capacity_bytes(), 1 << 16);
    /// assert_eq!(SharedQueue::<u8>::new(1000)?.capacity_bytes(), usize::MAX);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        match self.port.channel().overflow() {
            Some(_) => usize::MAX,
            None => self.port.channel().largest(),
        }
    }
}

impl<T: Serialize + DeserializeOwned> SharedQueue<T> {
    /// Puts an item in, waiting for room.
    ///
    /// # Errors
    ///
    /// A [`SendError`] with the item: [`Closed`](SendError::Closed), [`Disconnected`](SendError::Disconnected),
    /// [`TooLarge`](SendError::TooLarge), [`OutOfMemory`](SendError::OutOfMemory),
    /// [`NotEncodable`](SendError::NotEncodable).
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put((1, "one".to_owned()))?;
    /// assert_eq!(queue.get()?, (1, "one".to_owned()));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn put(&self, item: T) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::Never)
    }

    /// Puts an item in if there is room.
    ///
    /// It does not wait for room, but it does wait for a peer that is copying its own item, 20 ms at most.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and [`Full`](SendError::Full).
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(1)?;
    /// assert!(queue.try_put(1).is_ok());
    /// assert!(queue.try_put(2).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_put(&self, item: T) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::Now)
    }

    /// Puts an item in, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and [`TimedOut`](SendError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(1)?;
    /// queue.put_timeout(1, std::time::Duration::from_millis(5))?;
    /// assert!(queue.put_timeout(2, std::time::Duration::from_millis(5)).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::after(timeout))
    }

    /// Puts an item in, waiting for room until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`put_timeout`](Self::put_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(1)?;
    /// queue.put_deadline(1, std::time::Instant::now())?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn put_deadline(&self, item: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::At(deadline))
    }

    /// Puts many items in, locking only once for all that fit.
    ///
    /// All items are taken from the iterator before the first is put. If not all fit at once, items of other producers may come
    /// between them.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), with the items that were not put, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = procshare::SharedQueue::new(8)?;
    /// queue.put_all([1, 2, 3])?;
    /// assert_eq!(queue.len(), 3);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn put_all(&self, items: impl IntoIterator<Item = T>) -> Result<(), SendError<Vec<T>>> {
        self.port.put_all(items.into_iter().collect())
    }
}

/// # Panics
///
/// Only in a fork child that has not used the handle yet: if the maximum number of processes takes part already, if the child
/// was moved to another PID or time namespace, or if a peer that was stopped while joining has kept it waiting for 10 seconds.
impl<T> Clone for SharedQueue<T> {
    #[track_caller]
    fn clone(&self) -> Self {
        match self.port.share() {
            Ok(port) => Self::of(port),
            Err(NoSeat::Lock(refused)) => self.port.channel().handle().refuse(refused),
            // This cannot happen if the handle has a seat, which can count any number; a fork child's seat is its parent's.
            Err(cause) => panic!("{}", no_seat(cause, "peer")),
        }
    }
}

impl<T> fmt::Debug for SharedQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedQueue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

impl<T> Pass for SharedQueue<T> {
    fn segment(&self) -> &Segment {
        self.port.segment()
    }

    fn pack_unreserved(&self) -> Option<(PassedHandle, KeepShare<Self>)> {
        Some((self.port.pack_unreserved(), |queue| {
            let label = || queue.port.segment().label();
            let port = queue
                .port
                .share()
                .map_err(|cause| no_seat(cause, "peer").in_segment(label()))?;
            Ok(Arc::new(port))
        }))
    }

    fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
        self.port.pack()
    }

    fn unpack(segment: &Segment, passed: &PassedHandle) -> Result<Self> {
        let handle = Handle::find_passed(segment, &passed.name, Kind::Queue)?;
        let [channel] = Channel::all_of(&handle)?;
        Ok(Self::of(Port::unpack(channel, passed, Role::Either, false)?))
    }
}
