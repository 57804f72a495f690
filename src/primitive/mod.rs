//! The only door to atomics, spinning, futexes, owner ids and liveness: the real ones, or models of them.
//!
//! State machines import from here and nowhere else, so that `--cfg procshare_loom` puts every interleaving of them
//! under the model checker without touching their code.

mod deadline;
pub(crate) mod owner;
mod padded;

pub(crate) use deadline::Deadline;
pub(crate) use owner::OwnerId;
pub(crate) use padded::Padded;

#[cfg(not(procshare_loom))]
pub(crate) mod asymmetric;
#[cfg(not(procshare_loom))]
pub(crate) mod identity;
#[cfg(not(procshare_loom))]
pub(crate) mod liveness;
#[cfg(all(feature = "process", not(procshare_loom)))]
pub(crate) mod loans;
#[cfg(all(feature = "process", not(procshare_loom)))]
pub(crate) mod per_process;
#[cfg(not(procshare_loom))]
mod spin;

#[cfg(not(procshare_loom))]
mod real {
    pub(crate) use super::identity::{Foreign, Home, current as current_owner, is_current_process};
    pub(crate) use super::liveness::Peers;
    pub(crate) use super::spin::{Policy, Spin};
    #[cfg(feature = "map")]
    pub(crate) use crate::sys::clock::boot_millis;
    pub(crate) use crate::sys::clock::monotonic_millis;
    pub(crate) use crate::sys::futex::{self, Wait};
    pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};
}
#[cfg(not(procshare_loom))]
pub(crate) use real::*;

#[cfg(procshare_loom)]
pub(crate) mod model;
#[cfg(procshare_loom)]
pub(crate) use model::*;

#[cfg_attr(
    procshare_loom,
    allow(dead_code, reason = "models do not crash at points, they stop threads")
)]
pub(crate) mod crash;
pub(crate) use crash::crash_point;
