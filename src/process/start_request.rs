//! What a child has to do, and how it does it: the same in a newly started program and in a copy of a running one.

use super::call::{EntryPoint, entry_point_at};
use super::environment::Environment;
use super::mailbox::{Answer, Arguments, Mailbox};
use super::watch;
use super::{current, end, panic, program};
use crate::encoding::decode;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::crash_point;
use crate::segment::{PassedDescriptor, Segment};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::surroundings::{self, Stream};
use crate::travel::{DescriptorSource, PassedSegment, Received};
use std::io::Write;

/// What a child has to do, without the arguments.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct StartRequest {
    /// The child's name.
    pub(super) name: String,
    pub(super) task: Task,
    pub(super) segments: Vec<PassedSegment>,
    pub(super) files: Vec<PassedDescriptor>,
    /// The child's standard output.
    pub(super) stdout: Option<PassedDescriptor>,
    /// Its working folder.
    pub(super) folder: Option<PassedDescriptor>,
    /// The parent, if the child ends with it.
    pub(super) parent: Option<PassedDescriptor>,
    /// How the environment differs from that of the process the child is a copy of.
    pub(super) environment: Option<Environment>,
}

/// The work itself.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Task {
    /// Calls a function.
    Call {
        /// The executable that the parent runs.
        executable: u64,
        /// Where in it the entry point begins.
        function: u64,
    },
    /// Makes children for the parent, which asks through this socket, until one of the two has gone.
    Serve {
        socket: PassedDescriptor,
        parent: PassedDescriptor,
    },
}

/// A start request that was read, and what came with it.
pub(super) struct Taken {
    pub(super) start_request: StartRequest,
    pub(super) arguments: Arguments,
}

/// Reads the start request.
pub(super) fn take(mailbox: &Mailbox) -> Result<Taken> {
    let unreadable = |error| Error::new(ErrorKind::Spawn, "reading the arguments failed").with_source(error);
    let (start_request, arguments) = mailbox.take().map_err(unreadable)?;
    let start_request = decode(&start_request)
        .map_err(|reason| Error::new(ErrorKind::Spawn, format!("decoding the start request failed: {reason}")))?;
    crash_point!("start.begun");
    Ok(Taken {
        start_request,
        arguments,
    })
}

/// Does what the start request asks for, leaves the answer in the mailbox, and returns the exit status.
pub(super) fn carry_out(mailbox: &Mailbox, taken: Result<Taken>, source: DescriptorSource) -> i32 {
    let answer = match taken.and_then(|taken| prepare(taken, source)) {
        Ok(work) => (work.function)(mailbox, work.arguments, work.received),
        Err(error) => Answer::not_started(&error),
    };
    leave(mailbox, answer)
}

/// Leaves the answer in the mailbox, and returns the exit status.
pub(super) fn leave(mailbox: &Mailbox, answer: Answer) -> i32 {
    end::finish_process();
    crash_point!("start.done");
    let mut code = answer.exit_code();
    if let Err(error) = mailbox.answer(&answer) {
        drop(answer);
        // There may be room for this at least; if not, the parent sees the exit status.
        if mailbox.answer(&Mailbox::explain("writing", error)).is_err() {
            code = 1;
        }
    }
    crash_point!("start.answered");
    let _ = std::io::stdout().flush();
    code
}

struct Work {
    function: EntryPoint,
    arguments: Arguments,
    received: Received,
}

fn prepare(taken: Taken, mut source: DescriptorSource) -> Result<Work> {
    let Taken {
        start_request,
        arguments,
    } = taken;
    // All descriptors are taken over before any code of the program can start another process.
    let mut take = |passed: &Option<PassedDescriptor>| passed.as_ref().map(|passed| source.take(passed)).transpose();
    let stdout = take(&start_request.stdout)?;
    let folder = take(&start_request.folder)?;
    let parent = take(&start_request.parent)?;
    let segments = start_request.segments.into_iter();
    let taken: Vec<_> = segments
        .map(|segment| Ok((source.take(&segment.descriptor)?, segment.path)))
        .collect();
    let files = start_request.files.iter().map(|file| source.take(file).map(Some));
    let files = files.collect::<Result<_>>()?;
    let function = find_function(&start_request.task)?;
    introduce(start_request.name);
    if let Some(environment) = &start_request.environment {
        // SAFETY: only a copy of a process with one thread is given changes, and it has started no thread yet.
        unsafe { environment.apply() };
    }
    settle(parent, folder)?;
    if let Some(stdout) = stdout {
        restore_stdout(&stdout)?;
    }
    let attach = |taken: Result<_>| taken.and_then(|(fd, path)| Segment::from_descriptor(fd, path));
    let segments = taken.into_iter().map(attach).collect::<Result<_>>()?;
    Ok(Work {
        function,
        arguments,
        received: Received { segments, files },
    })
}

/// Records what this process is called, also where its panics are reported.
pub(super) fn introduce(name: String) {
    current::begin(name);
    panic::put_hook();
}

/// Arranges to end with the parent, if given, and enters the folder, if there is one.
pub(super) fn settle(parent: Option<OwnedFd>, folder: Option<OwnedFd>) -> Result<()> {
    if let Some(folder) = folder {
        surroundings::enter_folder(folder.as_fd()).map_err(|error| {
            Error::new(ErrorKind::Spawn, "changing to the working directory failed").with_source(error)
        })?;
    }
    parent.map_or(Ok(()), watch::end_with)
}

fn find_function(task: &Task) -> Result<EntryPoint> {
    let Task::Call { executable, function } = *task else {
        return Err(Error::new(
            ErrorKind::Spawn,
            "expected a function to call, found a request for a fork server",
        ));
    };
    if program::executable()?.id != executable {
        let message = "the parent runs another build of this program: start both from the same executable";
        return Err(Error::new(ErrorKind::Spawn, message));
    }
    let address = program::address_at(function)?;
    // SAFETY: the mailbox is a file of our own user, passed by the process that started this one, and names the build we run
    // (compared above). `Plan::start_request` writes the offset of what `entry_point` returned; a parent that forges one
    // could equally run any program in our place, and a privileged program takes no mailbox at all.
    Ok(unsafe { entry_point_at(address) })
}

fn restore_stdout(stdout: &OwnedFd) -> Result<()> {
    // What was written so far was meant for /dev/null.
    let _ = std::io::stdout().flush();
    surroundings::replace(Stream::Out, stdout.as_fd())
        .map_err(|error| Error::new(ErrorKind::Spawn, "restoring standard output failed").with_source(error))
}
