//! How a child is to be started, and what it is to do: what all start methods have in common, on the parent's side.

use super::call::EntryPoint;
use super::child::{self, AtEnd, Core};
use super::encoded::Encoded;
use super::environment::Environment;
use super::mailbox::Mailbox;
use super::program;
use super::start_request::{StartRequest, Task};
use crate::encoding::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::crash_point;
use crate::segment::{PassedDescriptor, os_error_or, proc_error};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::spawn;
use crate::sys::surroundings::{self, Stream};
use crate::travel::Attachments;
use std::io;
use std::sync::Arc;

/// What a start needs to know, whatever the method.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) at_end: AtEnd,
    pub(super) environment: Environment,
    pub(super) folder: Option<OwnedFd>,
}

/// What the child calls, and with what.
pub(super) struct EncodedCall {
    pub(super) function: EntryPoint,
    pub(super) arguments: Encoded,
    pub(super) attachments: Attachments,
}

impl Plan {
    /// A descriptor that names this process, for a child that ends with it.
    pub(super) fn parent(&self) -> Result<Option<OwnedFd>> {
        let parent = self.daemon.then(spawn::open_self).transpose();
        parent.map_err(|error| failure("opening a pidfd of this process", error))
    }

    /// The start request of a child that calls a function, without the additions of the start method.
    pub(super) fn start_request(
        &self,
        encoded_call: &EncodedCall,
        folder: Option<&OwnedFd>,
        parent: Option<&OwnedFd>,
    ) -> Result<StartRequest> {
        Ok(StartRequest {
            name: self.name.clone(),
            task: Task::Call {
                executable: program::executable()?.id,
                function: program::offset_of(encoded_call.function as *const ())?,
            },
            segments: encoded_call.attachments.segments(),
            files: encoded_call
                .attachments
                .files()
                .map_err(|error| failure("fstat", error))?,
            stdout: None,
            folder: describe(folder)?,
            parent: describe(parent)?,
            environment: None,
        })
    }

    /// The child has been started: gives it what it owns, and registers it here.
    pub(super) fn started(
        &self,
        pid: u32,
        reserved: Reserved,
        mailbox: Mailbox,
        attachments: &mut Attachments,
    ) -> Result<Arc<Core>> {
        crash_point!("start.made");
        attachments.hand_over(pid);
        let pidfd = reserved.open_child(pid)?;
        if pidfd.as_ref().is_some_and(|pidfd| !spawn::is_child(pidfd.as_fd())) {
            // Reported by a server in another PID namespace: in this one the number belongs to another process.
            return Err(Error::new(
                ErrorKind::ForeignNamespace,
                format!(
                    "process {pid} is not a child of this process: the fork server that started it is in another \
                    PID namespace; use StartMethod::Spawn"
                ),
            ));
        }
        let core = Core::new(self.name.clone(), pid, pidfd, mailbox, self.at_end);
        child::enter(&core);
        crash_point!("start.named");
        Ok(core)
    }
}

/// A descriptor's place, kept for the one that will name a child: a start that lacks it fails before there is a child.
pub(super) struct Reserved(OwnedFd);

impl Reserved {
    /// Opens a descriptor of this process, which also shows that the system gives such descriptors.
    pub(super) fn new() -> Result<Self> {
        let own = spawn::open_self().map_err(|error| failure("opening a pidfd", error))?;
        Ok(Reserved(own))
    }

    /// Opens the descriptor of the child; `None` if its end was already reported elsewhere.
    pub(super) fn open_child(self, pid: u32) -> Result<Option<OwnedFd>> {
        drop(self.0);
        // Another thread may have taken the place.
        spawn::open_child(pid).map_err(|error| {
            spawn::abandon(pid);
            failure("the child was killed, and may have run: opening a pidfd of it", error)
        })
    }
}

/// A second descriptor of a standard stream, if there is such a stream.
pub(super) fn copy_stream(stream: Stream) -> Result<Option<OwnedFd>> {
    surroundings::copy(stream).map_err(|error| failure("duplicating a standard stream", error))
}

pub(super) fn describe(fd: Option<&OwnedFd>) -> Result<Option<PassedDescriptor>> {
    let described = fd.map(PassedDescriptor::of).transpose();
    described.map_err(|error| failure("fstat", error))
}

/// Puts a start request and its arguments into a new mailbox.
pub(super) fn post(start_request: &StartRequest, arguments: Encoded) -> Result<Mailbox> {
    let mut bytes = Vec::new();
    encode(start_request, &mut bytes).map_err(|unfit| {
        Error::new(
            ErrorKind::Encoding,
            format!("encoding the start request failed: {}", unfit.reason::<StartRequest>()),
        )
    })?;
    let mailbox = Mailbox::post(&bytes, &arguments.bytes, arguments.draft)
        .map_err(|error| failure("writing the arguments", error))?;
    crash_point!("start.posted");
    Ok(mailbox)
}

/// An error of the system in one step of a start.
pub(super) fn failure(what: &str, error: io::Error) -> Error {
    os_error_or(ErrorKind::Spawn, what, error)
}

/// As [`failure`], in a step that needs `/proc`.
pub(super) fn proc_failure(what: &str, error: io::Error) -> Error {
    proc_error(ErrorKind::Spawn, what, error)
}
