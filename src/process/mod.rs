//! Child processes: functions that run elsewhere, with typed arguments and results.
//!
//! [`Process::spawn`](crate::Process::spawn) starts the program's own executable again and has it call one function.
//! Arguments and result travel encoded by serde; handles of shared objects among the arguments arrive attached.
//! A program says, with [`init`](crate::init) or `#[procshare::main]`, where its children may begin.
//!
//! | question | answer |
//! |---|---|
//! | which functions | plain functions and closures that capture nothing: see [`Entry`]; [`Process::fork`](crate::Process::fork) takes any closure |
//! | which arguments and results | whatever serde can encode and owns its data: see [`Argument`] and [`Returned`] |
//! | what a child inherits | environment, working folder and standard streams; of the descriptors that close on `exec`, only those it needs |
//! | how a child ends | as a value: its result, or a [`JoinError`](crate::JoinError) |
//! | what if the parent ends first | the child runs on, unless it is a [`daemon`](Builder::daemon) |
//! | what is printed when it panics | name, place and message, on standard error, unless the program has set a panic hook |
//! | what if `main` returns first | with `#[procshare::main]`, daemons are ended and all other children are waited for, except those [detached](Builder::detached) |
//! | what if its handle is dropped | the child runs on, and leaves no zombie |
//!
//! # Start methods
//!
//! | [`StartMethod`] | what is copied | what it requires of the program | cost of a start | when to use it |
//! |---|---|---|---|---|
//! | `Spawn`, the default | nothing | [`init`](crate::init) | the program's start, about a millisecond | when in doubt |
//! | `ForkServer` | a small process with one thread | [`init`](crate::init) | a fraction of that, whatever this process's size | many children are started, or the program starts slowly |
//! | `Fork` | this process, with all its memory | one thread, no array guard or ring chunk alive | more, the larger this process is | children read what this process has computed |
//!
//! `Spawn` and `ForkServer` give the same results, except for attributes that a process inherits from its parent and that this
//! crate does not carry over: a child of the server has the limits, priorities, groups, session, file-creation mask and ignored
//! signals that this process had when it first used `ForkServer`. A child by `Fork` has everything that this process has, including
//! other descriptors and signal handlers; only blocked signals are unblocked. It exits without running its parent's destructors or
//! exit handlers.

// From low to high: marker, program, panic, mailbox, encoded, call, child, start_request, plan, copy; spawn, fork, serve, server;
// entry, options, handle, builder, scope.
mod argument;
mod builder;
pub(crate) mod call;
mod child;
mod copy;
mod current;
mod encoded;
mod end;
pub(crate) mod entry;
mod environment;
mod fork;
pub(crate) mod handle;
pub(crate) mod join_error;
pub(crate) mod mailbox;
mod marker;
mod method;
mod options;
mod orphans;
pub(crate) mod panic;
pub(crate) mod pause;
mod plan;
pub(crate) mod program;
mod scope;
mod serve;
mod server;
mod spawn;
mod start_request;
mod watch;

pub use argument::{Argument, Returned};
pub use builder::Builder;
pub use call::Entry;
pub use child::{Child, active_children};
pub use current::{Current, current};
pub use method::StartMethod;
pub use scope::{Scope, scope};
pub(crate) use server::Server;
