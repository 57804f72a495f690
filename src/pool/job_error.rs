//! `JobError`: why a job gave no result.

use crate::error::{Error, ErrorKind};
use crate::process::panic::PanicLocation;
use crate::segment::os_error;
use std::{fmt, io};

/// Tells why a job of a [`Pool`](crate::Pool) gave no result.
///
/// # Examples
///
/// ```
/// use procshare::{JobError, Pool};
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let pool = Pool::new(1)?;
///     let error = pool.apply(|| std::process::exit(3), ()).map(|()| ()).unwrap_err();
///     assert!(matches!(error, JobError::WorkerDied { code: Some(3), .. }));
///     assert_eq!(pool.apply(|a: u8| a + 1, (1,)), Ok(2)); // by another worker
///     Ok(())
/// }
/// ```
///
/// It is five words in size, since a map fills a vector with results, and large ones take fresh pages of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// The function panicked.
    Panicked {
        /// The panic message.
        message: String,
        /// Where it panicked; `None` if the panic ran no panic hook (`resume_unwind`).
        location: Option<Box<PanicLocation>>,
        /// The process it ran in, which continues.
        worker: u32,
    },
    /// The worker ended while it held this job.
    WorkerDied {
        /// The signal that ended it.
        signal: Option<i32>,
        /// The status it exited with.
        code: Option<i32>,
        /// The process that ended.
        worker: u32,
    },
    /// Arguments or results could not be encoded or decoded.
    Encoding(String),
    /// The result holds a handle, or the descriptor of a handle among the arguments did not arrive.
    NotTransferable(String),
    /// Another error, of the system or with a handle among the arguments; see `kind`.
    Refused {
        /// The kind of the error.
        kind: ErrorKind,
        /// The error message.
        message: String,
    },
    /// Memory cannot hold the arguments or the result.
    OutOfMemory(String),
    /// The job was cancelled before any worker began it.
    Cancelled,
    /// The pool was already closed.
    Closed,
    /// The pool was terminated, or dropped, before the job was done.
    Terminated,
    /// The job was not done when the time limit passed.
    TimedOut,
    /// The result was already taken.
    AlreadyTaken,
    /// No worker can be started, for this reason.
    NoWorkers(String),
    /// The pool belongs to the process this one was forked from.
    ForeignProcess,
}

impl JobError {
    /// The error for a job whose arguments or results the system does not store or read.
    #[cold]
    pub(super) fn of_system(what: &str, error: io::Error) -> Self {
        let error = os_error(what, error);
        JobError::refusal(error.kind(), error.to_string())
    }

    /// The error for a job that cannot be sent, or begun.
    pub(super) fn refusal(kind: ErrorKind, message: String) -> Self {
        match kind {
            ErrorKind::NotTransferable => JobError::NotTransferable(message),
            ErrorKind::OutOfMemory => JobError::OutOfMemory(message),
            ErrorKind::Encoding => JobError::Encoding(message),
            kind => JobError::Refused { kind, message },
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked {
                message,
                location: Some(location),
                worker,
            } => write!(f, "the job panicked in worker {worker} at {location}: {message}"),
            JobError::Panicked { message, worker, .. } => write!(f, "the job panicked in worker {worker}: {message}"),
            JobError::WorkerDied {
                signal: Some(signal),
                worker,
                ..
            } => write!(f, "worker {worker} was killed by signal {signal} while it ran the job"),
            JobError::WorkerDied {
                code: Some(code),
                worker,
                ..
            } => write!(f, "worker {worker} exited with status {code} while it ran the job"),
            JobError::WorkerDied { worker, .. } => {
                write!(
                    f,
                    "worker {worker} ended while it ran the job; its exit status is unknown"
                )
            }
            JobError::Encoding(text)
            | JobError::NotTransferable(text)
            | JobError::OutOfMemory(text)
            | JobError::Refused { message: text, .. } => f.write_str(text),
            JobError::Cancelled => f.write_str("the job was cancelled"),
            JobError::Closed => f.write_str("the pool is closed"),
            JobError::Terminated => f.write_str("the pool was terminated before the job was finished"),
            JobError::TimedOut => f.write_str("the job was not finished when the time limit expired"),
            JobError::AlreadyTaken => f.write_str("the result was already taken"),
            JobError::NoWorkers(text) => write!(f, "no worker can be started: {text}"),
            JobError::ForeignProcess => f.write_str(
                "the pool belongs to the process from which this one was forked: create a pool of its own here",
            ),
        }
    }
}

impl std::error::Error for JobError {}

impl From<JobError> for Error {
    fn from(error: JobError) -> Self {
        let kind = match &error {
            JobError::TimedOut => ErrorKind::TimedOut,
            JobError::Encoding(_) => ErrorKind::Encoding,
            JobError::NotTransferable(_) => ErrorKind::NotTransferable,
            JobError::OutOfMemory(_) => ErrorKind::OutOfMemory,
            JobError::Refused { kind, .. } => *kind,
            JobError::Closed | JobError::Terminated => ErrorKind::Closed,
            JobError::NoWorkers(_) => ErrorKind::Spawn,
            _ => ErrorKind::ChildFailed,
        };
        Error::new(kind, error.to_string())
    }
}
