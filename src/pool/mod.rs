//! Worker processes that run jobs: the death of a worker fails only the job it held.
//!
//! [`Pool`](crate::Pool) corresponds to Python's: `map`, `starmap`, `imap`, `apply` and their variants. Jobs and results travel
//! through shared memory, encoded by serde; handles of shared objects among the arguments arrive attached.
//!
//! | question | answer |
//! |---|---|
//! | which functions | those of [`Process::spawn`](crate::Process::spawn): see [`Entry`](crate::process::Entry) |
//! | what if a job panics | its error holds the message; the worker goes on |
//! | what if a worker is killed, or exits | the item it held is [`WorkerDied`](crate::JobError::WorkerDied), or is run again if [`retries`](crate::Pool::with_retries) allow; items it had not begun run elsewhere; another worker takes its place |
//! | what if a worker is stopped | the others go on; the job it holds waits for it |
//! | what if this process ends, in whatever way | the workers end with it (a stopped one when it is continued), and the memory of jobs is released |
//! | what if results are not fetched | they wait in this process's memory; no worker waits for that |
//! | how to send a mixed list, `[42, None, "hello"]` | as a tuple, `(42, None::<u8>, "hello".to_owned())`, or as a list of an enum |
//! | what if a job uses a pool | it makes its own: a pool's handle does not travel |

#[cfg(feature = "progress-bar")]
mod bar;
mod builder;
mod engine;
mod extent;
mod group;
pub(crate) mod handle;
mod imap;
mod job;
pub(crate) mod job_error;
mod jobs;
mod maps;
mod memory;
mod pending;
mod progress;
mod records;
mod request;
mod results;
#[cfg(feature = "timeline-svg")]
mod svg;
mod timeline;
mod worker;
mod workers;

pub use crate::process::panic::PanicLocation;
pub use builder::PoolBuilder;
pub use imap::{Imap, ImapUnordered};
pub use pending::Pending;
pub use progress::Progress;
pub use timeline::{Bar, Ending, Span, Timeline, Timestamp};
