//! Chooses the operating-system backend.
//!
//! Every backend has the same modules and functions. They retry an interrupted call, return an
//! `io::Result` or a small enum, and carry no policy: they never spin, log, panic or pick a
//! timeout (but the futex of `unsupported`, which naps and looks). Nothing outside this folder names `libc`.
//!
//! | module | what it does |
//! |---|---|
//! | `barrier` | order the memory of all running threads |
//! | `futex` | sleep on and wake a word that several processes map |
//! | `clock` | time that all processes of the machine agree on |
//! | `descriptor` | pass descriptors to a child, take over inherited ones |
//! | `identity` | identify this thread, process and executable image |
//! | `liveness` | whether another process can still act |
//! | `file` | file objects: make, size, seal, lock, name; their bytes: take, write, read, give back |
//! | `memory` | how much memory can still be taken; what copies of this process do not get |
//! | `executable` | what this program is and where its code lies |
//! | `event` | wake the threads polling a descriptor |
//! | `fork` | copy this process |
//! | `privilege` | what rights this program would gain if started again |
//! | `socket` | messages that carry descriptors |
//! | `surroundings` | standard streams, working folder |
//! | `spawn` | start this program again, wait for children, signal them |
//!
//! The `unsupported` backend is used where there is no native one, and under Miri, which supports neither `/proc` nor file objects:
//! there, state machines run between threads of one process; file objects and children are `io::ErrorKind::Unsupported`, and facts
//! about other processes are unknown.

#[cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64", not(miri))),
    allow(dead_code, reason = "the other backend makes few of them")
)]
mod types;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
pub(crate) use linux::{Errno, barrier, clock, descriptor, errno_is, file, futex, identity, liveness, memory};
#[cfg(all(feature = "process", target_os = "linux", target_pointer_width = "64", not(miri)))]
pub(crate) use linux::{event, executable, fork, privilege, socket, spawn, surroundings};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(miri))))]
#[allow(dead_code, reason = "not every set of features asks for all of it")]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(miri))))]
pub(crate) use unsupported::{Errno, barrier, clock, descriptor, errno_is, file, futex, identity, liveness, memory};
#[cfg(all(
    feature = "process",
    not(all(target_os = "linux", target_pointer_width = "64", not(miri)))
))]
pub(crate) use unsupported::{event, executable, fork, privilege, socket, spawn, surroundings};
