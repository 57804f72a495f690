//! Child processes: functions that run elsewhere, with typed arguments and results.
//!
//! [`Process::spawn`](crate::Process::spawn) starts the program's own executable again and has it call one function.
//! Arguments and result travel encoded by serde; handles of shared objects among the arguments arrive attached.
//! A program says with [`init`](crate::init), or with `#[procshare::main]`, where its children may begin.
//!
//! | question | answer |
//! |---|---|
//! | which functions | plain functions and closures that capture nothing: see [`Entry`] |
//! | what a child inherits | the environment, the standard streams, and of the descriptors that close on `exec` only its own |
//! | how a child ends | as a value: its result, or a [`JoinError`](crate::JoinError) |
//! | what if the parent ends first | the child runs on, unless it is a [`daemon`](Builder::daemon) |

pub(crate) mod call;
pub(crate) mod entry;
pub(crate) mod handle;
pub(crate) mod join_error;
mod mailbox;
mod orphans;
mod spawn;
pub(crate) mod transfer;

pub use call::Entry;
#[derive(Debug, Clone, Copy, Default)]
/// X.
pub enum StartMethod {
    /// A.
    #[default]
    Spawn,
    /// B.
    Fork,
    /// C.
    ForkServer,
}
pub use spawn::Builder;
