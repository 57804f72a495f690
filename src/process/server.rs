//! The start method `ForkServer`, on the side of the children's parent.
//!
//! A server is a process with one thread. It receives requests over a socket, one start at a time, and copies itself such that the
//! copy is a child of its own parent, which is this process: so the child can be waited for like any other, and the death of the
//! server does no harm.
//!
//! | state of a start | word in the mailbox | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | asked | 0 | the kernel, within the server's `clone` | made | no child: a new server is asked, once |
//! | made | the child's id | the server, by its reply | told | the caller reads the word: started |
//! | told | the child's id | – | – | – |
//!
//! The kernel writes the word before the child runs, so a server that has ended has either made the child, and the word says so, or
//! made none. Whether it has ended is known from its pidfd: copies of the socket held elsewhere do not matter.

use super::child::{AtEnd, Core};
use super::copy::{NoReturn, Quiet};
use super::encoded::Encoded;
use super::environment::Environment;
use super::mailbox::{Answer, Draft, Mailbox};
use super::orphans;
use super::plan::{EncodedCall, Plan, Reserved, copy_stream, failure, post};
use super::program;
use super::serve::{self, Leaving, Request};
use super::spawn::launch;
use super::start_request::{StartRequest, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{Deadline, Home, crash_point, per_process::PerProcess};
use crate::segment::PassedDescriptor;
use crate::sys::file::{AsFd, BorrowedFd, OwnedFd};
use crate::sys::spawn::Signal;
use crate::sys::{descriptor, identity, socket, spawn, surroundings};
use crate::travel::Attachments;
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a server may take to answer before it is killed and another is asked; it usually takes a fraction of a millisecond.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a server may be found stopped before it is killed. One stopped along with its parent is also continued along with it.
const STOPPED: Duration = Duration::from_secs(1);
/// How often to look at a server that does not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A dead server is replaced once.
const ATTEMPTS: usize = 2;

/// The server that makes this process's children.
static CLEAN: PerProcess<Arc<Server>> = PerProcess::new();

/// A process that makes children for this one.
pub(crate) struct Server {
    core: Arc<Core>,
    /// The user it acts for, which was this process's when it started it.
    user: u32,
    /// The holder of the lock has a start under way. `None` once the server is known to be gone.
    socket: Mutex<Option<OwnedFd>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("id", &self.core.pid()).finish()
    }
}

impl Server {
    /// Returns the server that is a fresh start of this program; starts one if there is none.
    ///
    /// # Errors
    /// As for any child that is spawned.
    pub(crate) fn clean() -> Result<Arc<Server>> {
        let mut clean = CLEAN.lock();
        if let Some(server) = clean.get().filter(|server| server.serves()) {
            return Ok(server.clone());
        }
        let server = Arc::new(Server::begin_anew()?);
        clean.put(Home::here(), server.clone());
        Ok(server)
    }

    /// Copies this process, for a server whose children have what is in memory now.
    ///
    /// # Errors
    /// `NotForkable`, as for the start method `Fork`.
    pub(crate) fn forked() -> Result<Arc<Server>> {
        let quiet = Quiet::begin()?;
        serve::check_library()?;
        let (own, theirs) = socket::pair().map_err(|error| failure("socketpair", error))?;
        let parent = spawn::open_self().map_err(|error| failure("opening a pidfd of this process", error))?;
        let mailbox = Mailbox::post(&[], &[], Draft::default())
            .map_err(|error| failure("creating the fork server's mailbox file", error))?;
        let reserved = Reserved::new()?;
        match quiet.copy().map_err(|error| failure("fork", error))? {
            Some((pid, _)) => Ok(Arc::new(Server::adopt(pid, reserved, own, mailbox)?)),
            None => {
                let _end = NoReturn;
                drop((own, mailbox, reserved));
                spawn::exit_at_once(serve::serve(theirs, parent, Leaving::AtOnce))
            }
        }
    }

    fn begin_anew() -> Result<Server> {
        let way = program::way()?;
        let (own, theirs) = socket::pair().map_err(|error| failure("socketpair", error))?;
        let parent = spawn::open_self().map_err(|error| failure("opening a pidfd of this process", error))?;
        let passed = |fd| PassedDescriptor::of(fd).map_err(|error| failure("fstat", error));
        let start_request = StartRequest {
            name: serve::NAME.to_owned(),
            task: Task::Serve {
                socket: passed(&theirs)?,
                parent: passed(&parent)?,
            },
            segments: Vec::new(),
            files: Vec::new(),
            stdout: None,
            folder: None,
            parent: None,
            environment: None,
        };
        let mailbox = post(&start_request, Encoded::default())?;
        let keep = vec![theirs.as_fd(), parent.as_fd()];
        let reserved = Reserved::new()?;
        let pid = launch(way, &mailbox, &Environment::default(), keep)?;
        Server::adopt(pid, reserved, own, mailbox)
    }

    /// Takes charge of a server that has been started.
    fn adopt(pid: u32, reserved: Reserved, socket: OwnedFd, mailbox: Mailbox) -> Result<Server> {
        let pidfd = reserved.open_child(pid)?;
        Ok(Server {
            core: Core::new(serve::NAME.to_owned(), pid, pidfd, mailbox, AtEnd::Leave),
            user: identity::user_id(),
            socket: Mutex::new(Some(socket)),
        })
    }

    /// Whether it can be used. A copy of this process has servers of its own, and if this process now acts for another user, its
    /// children must do so too.
    fn serves(&self) -> bool {
        let is_own = self.core.is_ours() && self.user == identity::user_id();
        is_own && self.core.look().is_none() && self.socket.lock().is_some()
    }

    /// Has this server make a child; if the server has ended, no other replaces it.
    pub(super) fn start(&self, plan: &Plan, encoded_call: EncodedCall) -> Result<Arc<Core>> {
        let order = Order::new(plan, encoded_call)?;
        let pid = self.ask(&order)?.ok_or_else(|| self.gone())?;
        order.made(plan, pid)
    }

    /// Why there is no child, once this server has ended.
    fn gone(&self) -> Error {
        let answer = self.core.is_ours().then(|| self.core.wait(Deadline::Never));
        let reason = match answer.flatten().and_then(|_| self.core.verdict()) {
            Some(Answer::Refused(ErrorKind::Spawn, text)) => format!(": {text}"),
            _ => String::new(),
        };
        let message = format!("the fork server ended before it started the child{reason}");
        Error::new(ErrorKind::Spawn, message)
    }

    /// Asks for a child, and waits until it exists or it is certain that it never will; `None` if the server has ended, and there
    /// is no child.
    fn ask(&self, order: &Order) -> Result<Option<u32>> {
        let mut socket = self.socket.lock();
        let Some(open) = socket.as_ref().filter(|_| self.core.is_ours()) else {
            return Ok(None);
        };
        let (bytes, fds) = order.message()?;
        let told = match socket::send(open.as_fd(), &bytes, &fds, true) {
            Ok(()) => {
                crash_point!("start.asked");
                self.hear(open.as_fd())
            }
            Err(error) if socket::is_gone(&error) => None,
            Err(error) => Some(Err(error)),
        };
        if let Some(reply) = told {
            return reply
                .map(Some)
                .map_err(|error| failure("starting the child through the fork server", error));
        }
        *socket = None;
        let made = order.mailbox.child();
        made.map_err(|error| failure("reading the child's mailbox file", error))
    }

    /// Waits for the reply; `None` if the server has ended without one.
    fn hear(&self, socket: BorrowedFd<'_>) -> Option<io::Result<u32>> {
        let give_up = Deadline::after(PATIENCE);
        let mut stopped_since = None;
        loop {
            let pidfd = self.core.pidfd();
            let fds: Vec<_> = [socket].into_iter().chain(pidfd.iter().map(|fd| fd.as_fd())).collect();
            let slice = give_up.left().map(|left| left.min(LOOK_AGAIN));
            // It has ended: what it sent before has arrived by now.
            let ended = match spawn::wait_any(&fds, slice) {
                Ok(ready) => ready.get(1).copied().unwrap_or(true),
                Err(_) => self.core.look().is_some(),
            };
            match socket::receive(socket, serve::ROOM, false) {
                Ok(Some(message)) => return Some(serve::parse_reply(&message.bytes)),
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !ended
                        && !is_late(give_up)
                        && !self.is_stopped_for_long(&mut stopped_since) => {}
                Ok(None) | Err(_) => {
                    // A server that has ended, was stopped, or sends no intelligible reply must not make a child after another one
                    // was asked.
                    let _ = self.core.send(Signal::Kill);
                    self.core.wait(Deadline::Never);
                    return None;
                }
            }
        }
    }

    /// Whether it was found stopped at every look for a long time.
    fn is_stopped_for_long(&self, since: &mut Option<Instant>) -> bool {
        let is_stopped = self.core.pidfd().is_some_and(|pidfd| spawn::is_stopped(pidfd.as_fd()));
        *since = is_stopped.then(|| since.unwrap_or_else(Instant::now));
        since.is_some_and(|since| since.elapsed() >= STOPPED)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.core.is_ours() {
            return;
        }
        if let Some(socket) = self.socket.get_mut() {
            socket::shut(socket.as_fd());
        }
        orphans::adopt(self.core.clone());
    }
}

fn is_late(deadline: Deadline) -> bool {
    deadline.left() == Some(Duration::ZERO)
}

/// The request for a child, as sent to a server.
struct Order {
    mailbox: Mailbox,
    attachments: Attachments,
    streams: [Option<OwnedFd>; 3],
    folder: Option<OwnedFd>,
    parent: Option<OwnedFd>,
    reserved: Reserved,
}

impl Order {
    fn new(plan: &Plan, encoded_call: EncodedCall) -> Result<Self> {
        orphans::reap();
        let parent = plan.parent()?;
        let folder = match &plan.folder {
            Some(folder) => Some(folder.try_clone().map_err(|error| failure("dup", error))?),
            None => {
                let here = surroundings::open_folder(Path::new("."));
                Some(here.map_err(|error| failure("opening the working directory", error))?)
            }
        };
        let mut start_request = plan.start_request(&encoded_call, folder.as_ref(), parent.as_ref())?;
        start_request.environment = Some(plan.environment.whole());
        let [standard_in, out, err] = surroundings::STREAMS;
        Ok(Order {
            mailbox: post(&start_request, encoded_call.arguments)?,
            attachments: encoded_call.attachments,
            // Streams that do not exist are not passed on.
            streams: [copy_stream(standard_in)?, copy_stream(out)?, copy_stream(err)?],
            folder,
            parent,
            reserved: Reserved::new()?,
        })
    }

    /// The bytes of the request, and the descriptors in the order it lists.
    fn message(&self) -> Result<(Vec<u8>, Vec<BorrowedFd<'_>>)> {
        let own = [self.folder.as_ref(), self.parent.as_ref()].into_iter().flatten();
        let mut named: Vec<_> = own.map(AsFd::as_fd).chain(self.attachments.descriptors()).collect();
        // Two files may share one descriptor.
        let mut numbers = Vec::with_capacity(named.len());
        named.retain(|fd| {
            let number = descriptor::number_of(*fd);
            let is_new = !numbers.contains(&number);
            is_new.then(|| numbers.push(number));
            is_new
        });
        let request = Request {
            streams: self.streams.each_ref().map(Option::is_some),
            numbers,
        };
        let streams = self.streams.iter().flatten().map(AsFd::as_fd);
        let fds: Vec<_> = [self.mailbox.fd().as_fd()]
            .into_iter()
            .chain(streams)
            .chain(named)
            .collect();
        if fds.len() > socket::MOST_DESCRIPTORS {
            let message = format!(
                "expected at most {} descriptors for a child of the fork server, found {}: pass fewer segments, or use \
                    another start method",
                socket::MOST_DESCRIPTORS,
                fds.len()
            );
            return Err(Error::new(ErrorKind::TooManyDescriptors, message));
        }
        Ok((request.bytes()?, fds))
    }

    fn made(self, plan: &Plan, pid: u32) -> Result<Arc<Core>> {
        let Order {
            mailbox,
            mut attachments,
            reserved,
            ..
        } = self;
        plan.started(pid, reserved, mailbox, &mut attachments)
    }
}

/// Has the process-wide server, or its successor, make a child.
pub(super) fn start(plan: Plan, encoded_call: EncodedCall) -> Result<Arc<Core>> {
    let order = Order::new(&plan, encoded_call)?;
    let mut attempt = 1;
    loop {
        let server = Server::clean()?;
        match server.ask(&order)? {
            Some(pid) => return order.made(&plan, pid),
            None if attempt < ATTEMPTS => attempt += 1,
            None => return Err(server.gone()),
        }
    }
}
