//! How a worker requests the descriptors of what its job brings along.
//!
//! No process knows in advance which worker will claim a job, so the worker asks: in a word of its own, which it stores before it
//! wakes the pool's thread. The reply comes as a message on a socket that no other worker has. This needs no right to look into
//! another process, unlike a way through `/proc`.
//!
//! | word of a worker | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | 0 | the worker, which then wakes the thread, and waits at its socket | requested | the word is cleared with the worker's slot |
//! | requested | the pool's thread, which then sends | 0, a reply under way | the workers end with their parent |
//! | 0, a reply under way | the worker, which receives it | 0 | the kernel closes the socket, and with it what the reply holds |
//!
//! A worker has at most one open request, so there is always room for its reply: the pool's thread never waits. A reply that
//! the system refuses for the moment is tried again with the next tick.

use super::memory::Memory;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{Ordering, crash_point};
use crate::segment::os_error;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{event, socket};
use crate::travel::Attachments;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to retry a reply that the system refuses.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a reply: the request, and an error number.
const REPLY: usize = 12;

/// A request: `[ number:24 | place in the table:24 | slot:16 ]`. The number distinguishes it from the one before, and is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request(u64);

impl Request {
    fn new(number: u64, place: usize, slot: usize) -> Self {
        Request((number % 0xff_ffff + 1) << 40 | (place as u64 & 0xff_ffff) << 16 | slot as u64 & 0xffff)
    }

    /// The open request of a worker.
    pub(super) fn of(memory: &Memory, worker: usize) -> Option<Self> {
        // Relaxed: see `Requester::request`.
        let word = memory.requests()[worker].load(Ordering::Relaxed);
        (word != 0).then_some(Request(word))
    }

    fn place(self) -> usize {
        (self.0 >> 16 & 0xff_ffff) as usize
    }

    /// The slot of the job that it is about, as the worker says.
    pub(super) fn slot(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    fn reply(self, errno: i32) -> [u8; REPLY] {
        let mut bytes = [0; REPLY];
        bytes[..8].copy_from_slice(&self.0.to_ne_bytes());
        bytes[8..].copy_from_slice(&errno.to_ne_bytes());
        bytes
    }

    /// The error number of the reply, if it is the reply to this request.
    fn errno_of(self, reply: &[u8]) -> Option<i32> {
        let rest = reply.strip_prefix(&self.0.to_ne_bytes())?;
        Some(i32::from_ne_bytes(rest.try_into().ok()?))
    }
}

/// A worker's side.
pub(super) struct Requester<'a> {
    pub(super) memory: &'a Memory,
    pub(super) worker: usize,
    pub(super) socket: &'a OwnedFd,
    /// Wakes the pool's thread.
    pub(super) wakeup: &'a OwnedFd,
    /// The number of requests so far.
    pub(super) requests: &'a mut u64,
}

impl Requester<'_> {
    /// Gets descriptors of what the job in the slot brings along, beginning at that place in its table.
    pub(super) fn request(&mut self, slot: usize, place: usize) -> Result<Vec<OwnedFd>> {
        let failed = |error| os_error("receiving the descriptors of the job's arguments", error);
        let request = Request::new(*self.requests, place, slot);
        *self.requests += 1;
        // Relaxed: the word carries all the information; a thread that is not woken looks with the next tick.
        self.memory.requests()[self.worker].store(request.0, Ordering::Relaxed);
        crash_point!("pool.asking");
        // If the event cannot be signalled, the parent has closed it, being about to end.
        let _ = event::signal(self.wakeup.as_fd());
        loop {
            let message = match socket::receive(self.socket.as_fd(), REPLY, true) {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Error::new(ErrorKind::Spawn, "the process that owns the pool has ended")),
                // Descriptors were lost in transit: this process has no room for them.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message =
                        "too few free descriptors for the job's arguments: raise the limit of open files (ulimit -n)";
                    return Err(Error::new(ErrorKind::TooManyDescriptors, message));
                }
                Err(error) => return Err(failed(error)),
            };
            crash_point!("pool.received");
            match request.errno_of(&message.bytes) {
                Some(0) => return Ok(message.descriptors),
                Some(errno) => return Err(failed(io::Error::from_raw_os_error(errno))),
                // The reply to a request this worker had given up.
                None => {}
            }
        }
    }
}

/// The parent's end of a worker's socket.
pub(super) struct Responder {
    socket: Arc<OwnedFd>,
    /// The request whose reply was last refused by the system, and the time of the first refusal.
    refused: Option<(Request, Instant)>,
}

impl Responder {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Responder {
            socket: Arc::new(socket),
            refused: None,
        }
    }

    /// The reply to a worker's request; without attachments, none of the worker's jobs brings along what it asks for.
    pub(super) fn reply(&self, worker: usize, request: Request, attachments: Option<Arc<Attachments>>) -> Reply {
        Reply {
            worker,
            request,
            socket: self.socket.clone(),
            attachments,
        }
    }

    /// Records that the reply to the request is refused, and returns since when.
    pub(super) fn refused_since(&mut self, request: Request) -> Instant {
        let known = self.refused.filter(|(other, _)| *other == request);
        self.refused
            .insert(known.unwrap_or_else(|| (request, Instant::now())))
            .1
    }
}

/// A reply that is due to a worker.
pub(super) struct Reply {
    worker: usize,
    request: Request,
    socket: Arc<OwnedFd>,
    attachments: Option<Arc<Attachments>>,
}

impl Reply {
    /// Sends it; returns whether it has to wait. Only the pool's thread calls this, and nothing is locked.
    /// `refused_since` is [`Responder::refused_since`], unless the worker is gone.
    pub(super) fn deliver(
        self,
        memory: &Memory,
        refused_since: impl FnOnce(usize, Request) -> Option<Instant>,
    ) -> bool {
        let word = &memory.requests()[self.worker];
        // Relaxed, both: see `Requester::request`. Before the reply, as the next request may follow it at once; the word cannot
        // change meanwhile, since the worker waits.
        word.store(0, Ordering::Relaxed);
        // A worker that is gone needs no reply.
        let Some(error) = self.send().err().filter(|error| !socket::is_gone(error)) else {
            return false;
        };
        let Some(since) = refused_since(self.worker, self.request) else {
            return false;
        };
        let must_wait = since.elapsed() < PATIENCE || self.refuse(&error).is_err();
        if must_wait {
            word.store(self.request.0, Ordering::Relaxed);
        }
        must_wait
    }

    fn send(&self) -> io::Result<()> {
        let Some(attachments) = &self.attachments else {
            return self.refuse(&io::ErrorKind::NotFound.into());
        };
        let fds = attachments.descriptors().skip(self.request.place());
        let fds: Vec<_> = fds.take(socket::MOST_DESCRIPTORS).collect();
        let sent = socket::send(self.socket.as_fd(), &self.request.reply(0), &fds, false);
        crash_point!("pool.handed");
        sent
    }

    fn refuse(&self, error: &io::Error) -> io::Result<()> {
        let errno = error.raw_os_error().unwrap_or(-1);
        socket::send(self.socket.as_fd(), &self.request.reply(errno), &[], false)
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_refused_for_a_time_of_its_own() {
        let mut responder = Responder::new(event::new().unwrap());
        let (first, second) = (Request::new(0, 0, 0), Request::new(1, 0, 0));
        let since = responder.refused_since(first);
        while Instant::now() == since {}
        assert_eq!(responder.refused_since(first), since);
        assert!(responder.refused_since(second) > since);
    }
}
