//! `pipe`: a duplex connection between two ends, each of which belongs to one process.

use super::capacity::Capacity;
use super::channel::Channel;
use super::channel_layout::ChannelLayout;
use super::error::{RecvError, SendError, no_seat};
use super::passed::{Pass, PassedHandle, Reservation};
use super::pipe_half::{Receiver, Sender};
use super::port::Port;
use super::seat::Seat;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Kind;
use crate::raw::Role;
use crate::segment::{Handle, Segment};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fmt;
use std::time::{Duration, Instant};

/// Items each direction of a pipe holds unless the caller says otherwise.
const ITEMS: usize = 1024;
/// Seats of each direction: for the two that take part, and for processes the ends are passed on to.
const SEATS: u64 = 64;

/// Sends to the other end of a [`pipe`](fn@pipe) and receives from it.
///
/// Each end belongs to one process at a time; its threads may share it. It travels to a child process as an argument, and from
/// then on is closed here. An end whose process was killed can be taken over with [`open`](Self::open).
///
/// # What happens on death
///
/// When the other end has been closed or dropped, or its process killed, `recv` gives what was sent and then
/// [`Disconnected`](RecvError::Disconnected), and `send` gives the item back. A message from a process killed while sending it
/// has arrived or not, never half. A waiting peer notices a kill within 100 ms.
///
/// # Examples
///
/// ```
/// use procshare::{Connection, Process};
///
/// fn shout(connection: Connection<String>) -> procshare::Result<()> {
///     while let Ok(text) = connection.recv() {
///         connection.send(text.to_uppercase())?;
///     }
///     Ok(())
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let (ours, theirs) = procshare::pipe()?;
///     let child = Process::spawn(shout, (theirs,))?;
///     ours.send("hello".to_owned())?;
///     assert_eq!(ours.recv()?, "HELLO");
///     ours.close();
///     child.join()?
/// }
/// ```
pub struct Connection<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

/// Creates a pipe and returns its two ends.
///
/// Each direction holds 1024 messages of any size; [`Connection::pair`] takes another [`Capacity`].
///
/// # Errors
///
/// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), [`TooManyDescriptors`](crate::ErrorKind::TooManyDescriptors).
///
/// # Examples
///
/// ```
/// let (left, right) = procshare::pipe()?;
/// left.send("ping".to_owned())?;
/// assert_eq!(right.recv()?, "ping");
/// right.send("pong".to_owned())?;
/// assert_eq!(left.recv()?, "pong");
/// # Ok::<(), procshare::Error>(())
/// ```
pub fn pipe<T>() -> Result<(Connection<T>, Connection<T>)> {
    Connection::pair(ITEMS)
}

impl<T> Connection<T> {
    /// Creates a pipe of that capacity in each direction.
    ///
    /// # Errors
    ///
    /// As [`pipe`](fn@pipe), and [`InvalidCapacity`](crate::ErrorKind::InvalidCapacity).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Capacity, Connection};
    ///
    /// let (left, right) = Connection::pair(Capacity::items(4).bytes(1 << 20))?;
    /// left.send(vec![0u8; 100_000])?;
    /// assert_eq!(right.recv()?.len(), 100_000);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn pair(capacity: impl Into<Capacity>) -> Result<(Self, Self)> {
        let (type_name, layout) = (
            std::any::type_name::<T>(),
            ChannelLayout::new(capacity.into().rounded()?, SEATS),
        );
        let spec = layout.spec(Kind::Pipe, &type_name);
        let handle = Handle::new_in(&layout.builder(&spec)?, &spec, &layout.write_pipe())?;
        Ok((Self::claim(&handle, 0)?, Self::claim(&handle, 1)?))
    }

    /// Creates a named pipe and returns one end.
    ///
    /// The other process opens the other end. This end waits for that, and once it has happened, notices when the other goes away.
    ///
    /// # Errors
    ///
    /// As [`pair`](Self::pair) and [`Segment::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Connection;
    ///
    /// let name = format!("doc-pipe-{}", std::process::id());
    /// let server = Connection::<u32>::create(&name, 16)?;
    /// let client = Connection::<u32>::open(&name)?;
    /// client.send(7)?;
    /// assert_eq!(server.recv()?, 7);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn create(name: impl AsRef<OsStr>, capacity: impl Into<Capacity>) -> Result<Self> {
        let (type_name, layout) = (
            std::any::type_name::<T>(),
            ChannelLayout::new(capacity.into().rounded()?, SEATS),
        );
        let spec = layout.spec(Kind::Pipe, &type_name);
        let handle = Handle::create_in(&layout.builder(&spec)?, name, &spec, &layout.write_pipe())?;
        Self::claim(&handle, 0)
    }

    /// Opens the free end of a named pipe.
    ///
    /// # Errors
    ///
    /// As [`Segment::open`], [`TypeMismatch`](crate::ErrorKind::TypeMismatch),
    /// [`Claimed`](crate::ErrorKind::Claimed) if a living process has that end.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Connection, ErrorKind};
    ///
    /// let name = format!("doc-pipe-open-{}", std::process::id());
    /// let server = Connection::<u32>::create(&name, 16)?;
    /// let client = Connection::<u32>::open(&name)?;
    /// assert_eq!(Connection::<u32>::open(&name).unwrap_err().kind(), ErrorKind::Claimed);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        let (type_name, layout) = (
            std::any::type_name::<T>(),
            ChannelLayout::new(Capacity::items(ITEMS), SEATS),
        );
        let handle = Handle::open_alone(name, &layout.spec(Kind::Pipe, &type_name))?;
        match Self::claim(&handle, 1) {
            // The creator's end may be taken over once it has been left, but not before it was ever taken.
            Err(error) if error.kind() == ErrorKind::Claimed && Self::was_taken(&handle, 0)? => {
                Self::claim(&handle, 0).map_err(|_| error)
            }
            outcome => outcome,
        }
    }

    /// Whether that end has ever been taken.
    fn was_taken(handle: &Handle, end: usize) -> Result<bool> {
        let channels: [Channel; 2] = Channel::all_of(handle)?;
        Ok(channels[end].seats.raw().came(Role::Producer) > 0)
    }

    /// Claims one end: it sends through the channel of its number, and receives through the other.
    fn claim(handle: &Handle, end: usize) -> Result<Self> {
        let [first, second] = Channel::all_of(handle)?;
        let (sending, receiving) = if end == 0 { (first, second) } else { (second, first) };
        let claim = |channel: Channel, role| match Seat::claim(&channel.seats, role) {
            Ok(seat) => Ok(Port::new(channel, seat)),
            Err(cause) => Err(no_seat(cause, "end of the pipe").in_segment(handle.segment().label())),
        };
        Ok(Connection {
            sender: Sender::of(claim(sending, Role::Producer)?),
            receiver: Receiver::of(claim(receiving, Role::Consumer)?),
        })
    }

    /// Makes this end wait for a peer that has not arrived yet.
    ///
    /// Without it, a pipe whose other end has been opened and left is [`Disconnected`](RecvError::Disconnected). Once a
    /// successor has arrived, its departure counts again.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::{Connection, RecvError};
    ///
    /// let name = format!("doc-pipe-wait-{}", std::process::id());
    /// let server = Connection::<u32>::create(&name, 16)?;
    /// drop(Connection::<u32>::open(&name)?);
    /// assert_eq!(server.try_recv(), Err(RecvError::Disconnected));
    /// let server = server.wait_for_peers();
    /// assert_eq!(server.try_recv(), Err(RecvError::Empty));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn wait_for_peers(self) -> Self {
        self.sender.wait_for_peers();
        self.receiver.wait_for_peers();
        self
    }

    /// Closes this end; the other notices at once.
    ///
    /// What has been sent can still be received there. Dropping does the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::RecvError;
    ///
    /// let (left, right) = procshare::pipe::<u8>()?;
    /// left.close();
    /// assert_eq!(right.recv(), Err(RecvError::Disconnected));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn close(self) {}

    /// Splits the end into its two directions.
    ///
    /// They can be closed and passed on separately.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// let (sender, receiver) = left.split();
    /// sender.send(1)?;
    /// assert_eq!(right.recv()?, 1);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[must_use]
    pub fn split(self) -> (Sender<T>, Receiver<T>) {
        (self.sender, self.receiver)
    }
}

impl<T> Connection<T> {
    /// A peer that one direction finds gone is gone from the other too, which is told so.
    #[inline]
    fn told_by_sending<O, E>(&self, outcome: Result<O, SendError<E>>) -> Result<O, SendError<E>> {
        if matches!(outcome, Err(SendError::Disconnected(_))) {
            self.receiver.look_for_peer();
        }
        outcome
    }

    /// As [`told_by_sending`](Self::told_by_sending).
    #[inline]
    fn told_by_receiving<O>(&self, outcome: Result<O, RecvError>) -> Result<O, RecvError> {
        if outcome.as_ref().is_err_and(|error| *error == RecvError::Disconnected) {
            self.sender.look_for_peer();
        }
        outcome
    }
}

impl<T: Serialize + DeserializeOwned> Connection<T> {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    ///
    /// A [`SendError`] with the item: [`Disconnected`](SendError::Disconnected), [`TooLarge`](SendError::TooLarge),
    /// [`OutOfMemory`](SendError::OutOfMemory), [`NotEncodable`](SendError::NotEncodable),
    /// [`Closed`](SendError::Closed) if this end was passed to a child.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.send([1, 2])?;
    /// assert_eq!(right.recv()?, [1, 2]);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.told_by_sending(self.sender.send(item))
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
    /// left.try_send(1)?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_send(&self, item: T) -> Result<(), SendError<T>> {
        self.told_by_sending(self.sender.try_send(item))
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
    /// left.send_timeout(1, std::time::Duration::from_millis(5))?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn send_timeout(&self, item: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.told_by_sending(self.sender.send_timeout(item, timeout))
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
    /// left.send_deadline(1, std::time::Instant::now())?;
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn send_deadline(&self, item: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.told_by_sending(self.sender.send_deadline(item, deadline))
    }
}

impl<T: DeserializeOwned> Connection<T> {
    /// Receives the next message, waiting for one.
    ///
    /// # Errors
    ///
    /// [`Disconnected`](RecvError::Disconnected), [`Invalid`](RecvError::Invalid),
    /// [`Closed`](RecvError::Closed) if this end was passed to a child.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, right) = procshare::pipe()?;
    /// left.send('x')?;
    /// assert_eq!(right.recv()?, 'x');
    /// # Ok::<(), procshare::Error>(())
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.told_by_receiving(self.receiver.recv())
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
    /// assert_eq!(right.try_recv(), Err(procshare::RecvError::Empty));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.told_by_receiving(self.receiver.try_recv())
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
    /// assert!(right.recv_timeout(std::time::Duration::from_millis(5)).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.told_by_receiving(self.receiver.recv_timeout(timeout))
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
    /// assert!(right.recv_deadline(std::time::Instant::now()).is_err());
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvError> {
        self.told_by_receiving(self.receiver.recv_deadline(deadline))
    }

    /// Waits for at most `timeout`; tells whether `recv` would return at once.
    ///
    /// That is so when there is a message, and when the other end is gone.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](RecvError::Corrupt), [`Closed`](RecvError::Closed) if this end was passed to a child.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (left, right) = procshare::pipe()?;
    /// assert!(!right.poll(Duration::ZERO)?);
    /// left.send(1)?;
    /// assert!(right.poll(Duration::ZERO)?);
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.receiver.poll(timeout)
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("sender", &self.sender)
            .field("receiver", &self.receiver)
            .finish()
    }
}

impl<T> Pass for Connection<T> {
    fn segment(&self) -> &Segment {
        Pass::segment(&self.sender)
    }

    fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
        let (mut passed, mut reservations) = self.sender.pack()?;
        let (receiving, reserved) = self.receiver.pack()?;
        passed.seats.extend(receiving.seats);
        reservations.extend(reserved);
        Ok((passed, reservations))
    }

    fn unpack(segment: &Segment, passed: &PassedHandle) -> Result<Self> {
        let [sending, receiving] = passed.seats[..] else {
            return Err(Error::new(
                ErrorKind::Encoding,
                "expected two participant slots with the end of a pipe, found another number",
            ));
        };
        let half = |seat, end| PassedHandle {
            name: passed.name.clone(),
            seats: vec![seat],
            end,
        };
        Ok(Connection {
            sender: Sender::unpack(segment, &half(sending, passed.end))?,
            receiver: Receiver::unpack(segment, &half(receiving, 1 - passed.end.min(1)))?,
        })
    }
}
