//! The two directions of a pipe's end.

use super::channel::Channel;
use super::error::{RecvError, SendError};
use super::getting::Items;
use super::passed::{Pass, PassedHandle, Reservation};
use super::port::Port;
use crate::error::Result;
use crate::layout::Kind;
use crate::primitive::Deadline;
use crate::raw::Role;
use crate::segment::{Handle, Segment};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Holds the sending direction of a pipe's end.
///
/// See [`Connection`](super::Connection) for what the other end sees, and what happens on death.
///
/// # Examples
///
/// ```
/// let (left, right) = procshare::pipe()?;
/// let (sender, _) = left.split();
/// sender.send("hello".to_owned())?;
/// assert_eq!(right.recv()?, "hello");
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct Sender<T> {
    port: Port,
    item: PhantomData<fn(T)>,
}

/// Holds the receiving direction of a pipe's end.
///
/// See [`Connection`](super::Connection) for what the other end sees, and what happens on death.
///
/// # Examples
///
/// ```
/// let (left, right) = procshare::pipe()?;
/// let (_, receiver) = right.split();
/// left.send(1)?;
/// left.send(2)?;
/// left.close();
/// let all: Result<Vec<i32>, _> = receiver.iter().collect();
/// assert_eq!(all?, [1, 2]);
/// # Ok::<(), procshare::Error>(())
/// ```
pub struct Receiver<T> {
    port: Port,
    item: PhantomData<fn() -> T>,
}

impl<T> Sender<T> {
    pub(super) fn of(port: Port) -> Self {
        Sender {
            port,
            item: PhantomData,
        }
    }

    /// Treats peers that are not there now as still to come.
    pub(super) fn wait_for_peers(&self) {
        self.port.wait_for_peers();
    }

    /// Frees the seat of a peer that is dead.
    #[cold]
    pub(super) fn look_for_peer(&self) {
        self.port.look_for_peer();
    }

    /// Closes this direction; the other end notices at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe::<u8>()?;
    /// let (sender, _receiver) = left.split();
    /// sender.close();
    /// assert!(right.recv().is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn close(self) {}
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`](super::Connection::send).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.split().0.send(1)?;
    /// assert_eq!(right.recv()?, 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::Never)
    }

    /// Sends a message if there is room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Full`](SendError::Full).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.split().0.try_send(1)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_send(&self, item: T) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::Now)
    }

    /// Sends a message, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`TimedOut`](SendError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.split().0.send_timeout(1, std::time::Duration::from_millis(5))?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn send_timeout(&self, item: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::after(timeout))
    }

    /// Sends a message, waiting for room until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.split().0.send_deadline(1, std::time::Instant::now())?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn send_deadline(&self, item: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.port.put(item, Deadline::At(deadline))
    }
}

impl<T> Receiver<T> {
    pub(super) fn of(port: Port) -> Self {
        Receiver {
            port,
            item: PhantomData,
        }
    }

    /// Treats peers that are not there now as still to come.
    pub(super) fn wait_for_peers(&self) {
        self.port.wait_for_peers();
    }

    /// Frees the seat of a peer that is dead.
    #[cold]
    pub(super) fn look_for_peer(&self) {
        self.port.look_for_peer();
    }

    /// Closes this direction; the other end notices at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// let (_sender, receiver) = left.split();
    /// receiver.close();
    /// assert_eq!(right.send(7).unwrap_err().into_item(), 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn close(self) {}
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives the next message, waiting for one.
    ///
    /// # Errors
    ///
    /// As [`Connection::recv`](super::Connection::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.send(1)?;
    /// assert_eq!(right.split().1.recv()?, 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.port.get(Deadline::Never)
    }

    /// Receives the next message if there is one.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Empty`](RecvError::Empty).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe::<u8>()?;
    /// assert!(right.split().1.try_recv().is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.port.get(Deadline::Now)
    }

    /// Receives the next message, waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`TimedOut`](RecvError::TimedOut).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe::<u8>()?;
    /// assert!(right.split().1.recv_timeout(std::time::Duration::from_millis(5)).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.port.get(Deadline::after(timeout))
    }

    /// Receives the next message, waiting for one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe::<u8>()?;
    /// assert!(right.split().1.recv_deadline(std::time::Instant::now()).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvError> {
        self.port.get(Deadline::At(deadline))
    }

    /// Waits for at most `timeout`; tells whether `recv` would return at once.
    ///
    /// # Errors
    ///
    /// As [`Connection::poll`](super::Connection::poll).
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe::<u8>()?;
    /// assert!(!right.split().1.poll(std::time::Duration::ZERO)?);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
        let deadline = if timeout.is_zero() {
            Deadline::Now
        } else {
            Deadline::after(timeout)
        };
        match self.port.await_item(deadline) {
            Ok(()) | Err(RecvError::Disconnected) => Ok(true),
            Err(RecvError::Empty | RecvError::TimedOut) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns an iterator over the messages until the other end is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.send(1)?;
    /// drop(left);
    /// assert_eq!(right.split().1.iter().count(), 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn iter(&self) -> Items<'_, T> {
        Items::new(&self.port)
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("queued", &self.port.len()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("queued", &self.port.len()).finish()
    }
}

/// The channel of a pipe that this half uses.
fn channel_of(segment: &Segment, passed: &PassedHandle) -> Result<Channel> {
    let handle = Handle::find_passed(segment, &passed.name, Kind::Pipe)?;
    let [first, second] = Channel::all_of(&handle)?;
    Ok(if passed.end == 0 { first } else { second })
}

impl<T> Pass for Sender<T> {
    fn segment(&self) -> &Segment {
        self.port.segment()
    }

    fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
        self.port.pack()
    }

    fn unpack(segment: &Segment, passed: &PassedHandle) -> Result<Self> {
        let port = Port::unpack(channel_of(segment, passed)?, passed, Role::Producer, true)?;
        Ok(Self::of(port))
    }
}

impl<T> Pass for Receiver<T> {
    fn segment(&self) -> &Segment {
        self.port.segment()
    }

    fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
        self.port.pack()
    }

    fn unpack(segment: &Segment, passed: &PassedHandle) -> Result<Self> {
        let port = Port::unpack(channel_of(segment, passed)?, passed, Role::Consumer, true)?;
        Ok(Self::of(port))
    }
}
