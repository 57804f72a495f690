//! What a fork server does: it waits for requests, and copies itself.
//!
//! It has one thread (in a test, also that of the harness, which waits), so that its copies may do whatever a program may; the same
//! wait also watches for its parent's end.

use super::copy::{NoReturn, check_loans};
use super::mailbox::{Answer, CHILD_AT, Mailbox};
use super::plan::proc_failure;
use super::program;
use super::start_request;
use crate::encoding::{decode, encode};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::crash_point;
use crate::segment::PassedDescriptor;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::surroundings::{self, STREAMS};
use crate::sys::{fork, socket, spawn};
use crate::travel::DescriptorSource;
use std::io::{self, Write};

/// The name of a server.
pub(super) const NAME: &str = "procshare-server";

/// No message is longer: 253 numbers of five bytes, and a little.
pub(super) const ROOM: usize = 2048;

/// A request to a server, which comes with descriptors: the mailbox, the standard streams that exist, and others.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Request {
    /// Which standard streams are included.
    pub(super) streams: [bool; 3],
    /// The parent's numbers for the other descriptors.
    pub(super) numbers: Vec<i32>,
}

impl Request {
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        encode(self, &mut bytes).map_err(|unfit| {
            let reason = unfit.reason::<Self>();
            Error::new(
                ErrorKind::Encoding,
                format!("encoding the request to the fork server failed: {reason}"),
            )
        })?;
        Ok(bytes)
    }
}

/// A server's reply to a request: an error number and 0, or 0 and the child's id.
fn reply(made: &io::Result<u32>) -> [u8; 8] {
    let (errno, pid) = match made {
        Ok(pid) => (0, *pid),
        Err(error) => (error.raw_os_error().unwrap_or(-1), 0),
    };
    let [a, b, c, d] = errno.to_ne_bytes();
    let [e, f, g, h] = pid.to_ne_bytes();
    [a, b, c, d, e, f, g, h]
}

/// What a reply says.
pub(super) fn parse_reply(bytes: &[u8]) -> io::Result<u32> {
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    let [a, b, c, d, e, f, g, h] = <[u8; 8]>::try_from(bytes).map_err(|_| nonsense())?;
    match (i32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])) {
        (0, 0) | (-1, _) => Err(nonsense()),
        (0, pid) => Ok(pid),
        (errno, _) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// How the children of a server end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Like any program.
    Orderly,
    /// Like a copy of a program that runs on: none of its exit handlers run.
    AtOnce,
}

/// Serves in a process that was started for it, and returns its exit status.
pub(super) fn begin(mailbox: Mailbox, socket: &PassedDescriptor, parent: &PassedDescriptor) -> i32 {
    crash_point!("start.serving");
    let mut source = DescriptorSource::Inherited;
    let taken = check_threads().and_then(|()| Ok((source.take(socket)?, source.take(parent)?)));
    match taken {
        Ok((socket, parent)) => {
            // Its children have mailboxes of their own, and no others.
            drop(mailbox);
            serve(socket, parent, Leaving::Orderly)
        }
        Err(error) => start_request::leave(&mailbox, Answer::not_started(&error)),
    }
}

/// Refuses to serve where a copy would lack threads, or have what is lent to this process.
fn check_threads() -> Result<()> {
    check_loans()?;
    let most = program::way()?.most_threads();
    let threads = fork::thread_count().map_err(|error| proc_failure("counting threads", error))?;
    if threads <= most {
        return check_library();
    }
    let message = format!(
        "it reached procshare::init() with {threads} threads: call it before starting other threads, or use another \
            start method"
    );
    Err(Error::new(ErrorKind::NotForkable, message))
}

/// Refuses to serve where copies would take themselves for their server.
///
/// The caller has one thread, or a second one that waits.
pub(super) fn check_library() -> Result<()> {
    // SAFETY: the caller has one thread, or a second one that waits.
    if unsafe { fork::can_clone_sibling() } {
        return Ok(());
    }
    let message = "cannot find where this C library stores the id of a thread, so a signal that a child sends to \
        itself would reach the fork server: use StartMethod::Spawn";
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// Serves until the socket's other end or the parent is gone, and returns the exit status.
pub(super) fn serve(socket: OwnedFd, parent: OwnedFd, leaving: Leaving) -> i32 {
    start_request::introduce(NAME.to_owned());
    let mut desk = Desk {
        ends: Some((socket, parent)),
        leaving,
    };
    desk.release_streams();
    loop {
        match desk.wait() {
            Ok(true) => {}
            Ok(false) => return 0,
            Err(_) => return 1,
        }
    }
}

/// The server's side.
struct Desk {
    /// Socket and parent; `None` in a copy, which is no server.
    ends: Option<(OwnedFd, OwnedFd)>,
    leaving: Leaving,
}

impl Desk {
    /// Releases the standard streams: the reader of a pipe waits for every process that might write to it.
    fn release_streams(&self) {
        // What was written so far was meant for the current destination.
        let _ = io::stdout().flush();
        if let Ok(null) = surroundings::open_null() {
            for stream in STREAMS {
                let _ = surroundings::replace(stream, null.as_fd());
            }
        }
    }

    /// Waits for a request and fulfils it; false if there will be none.
    fn wait(&mut self) -> io::Result<bool> {
        let Some((socket, parent)) = &self.ends else {
            return Ok(false);
        };
        match spawn::wait_any(&[socket.as_fd(), parent.as_fd()], None)?[..] {
            [_, true] => return Ok(false),
            [true, false] => {}
            _ => return Ok(true),
        }
        let made = match socket::receive(socket.as_fd(), ROOM, false) {
            Ok(None) => return Ok(false),
            Ok(Some(message)) => self.make(message),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(too_many()),
            Err(error) => return Err(error),
        };
        crash_point!("start.cloned");
        let Some((socket, _)) = &self.ends else {
            return Ok(false);
        };
        // If the other end no longer listens, it has gone.
        let told = socket::send(socket.as_fd(), &reply(&made), &[], true).is_ok();
        crash_point!("start.told");
        Ok(told)
    }

    /// Makes the child; the copy does not return.
    fn make(&mut self, message: socket::Message) -> io::Result<u32> {
        crash_point!("start.heard");
        let request: Request = decode(&message.bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        let streams = request.streams.iter().filter(|there| **there).count();
        if message.descriptors.len() != 1 + streams + request.numbers.len() {
            return Err(too_many());
        }
        let mut descriptors = message.descriptors.into_iter();
        let mailbox = descriptors
            .next()
            .map(Mailbox::received)
            .ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: a server has one thread, or a second one that waits for the end of the test it is in (`check_threads`, and
        // `Quiet` for one that is a copy); the header of a mailbox is longer than that.
        let pid = unsafe { fork::clone_sibling(mailbox.fd().as_fd(), CHILD_AT) }?;
        match pid {
            Some(pid) => Ok(pid),
            None => {
                let _end = NoReturn;
                self.ends = None;
                let streams = request.streams.map(|there| there.then(|| descriptors.next()).flatten());
                be_child(&mailbox, streams, request.numbers, descriptors, self.leaving)
            }
        }
    }
}

/// Makes this process the requested child.
fn be_child(
    mailbox: &Mailbox,
    streams: [Option<OwnedFd>; 3],
    numbers: Vec<i32>,
    descriptors: impl Iterator<Item = OwnedFd>,
    leaving: Leaving,
) -> ! {
    crash_point!("start.born");
    for (stream, fd) in STREAMS.into_iter().zip(streams) {
        if let Some(fd) = fd {
            let _ = surroundings::replace(stream, fd.as_fd());
        }
    }
    let source = DescriptorSource::Message(numbers.into_iter().zip(descriptors).collect());
    let code = start_request::carry_out(mailbox, start_request::take(mailbox), source);
    match leaving {
        Leaving::Orderly => std::process::exit(code),
        Leaving::AtOnce => spawn::exit_at_once(code),
    }
}

/// Descriptors were lost in transit: this process had no room for them.
fn too_many() -> io::Error {
    spawn::too_many_descriptors()
}
