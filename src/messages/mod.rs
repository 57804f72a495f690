//! Messages between processes: seats say who takes part, state machines in `raw` move records, and these types know the `T`.
//!
//! | you want | use |
//! |---|---|
//! | jobs for many, results from many | [`SharedQueue`] |
//! | a conversation between two processes | [`pipe`](fn@pipe) |
//! | a stream of plain values from one to one, as fast as memory allows | [`ring`](fn@ring) |

#[cfg(feature = "messages")]
mod capacity;
#[cfg(feature = "messages")]
mod channel;
#[cfg(feature = "messages")]
mod channel_layout;
#[cfg(feature = "messages")]
mod codec;
mod consumer;
mod error;
#[cfg(feature = "messages")]
mod extent;
#[cfg(feature = "messages")]
mod getting;
#[cfg(feature = "process")]
mod inheritance;
#[cfg(feature = "messages")]
mod overflow;
#[cfg_attr(
    not(feature = "process"),
    allow(dead_code, reason = "handles are passed by the process layer")
)]
mod passed;
#[cfg(feature = "messages")]
mod pipe;
#[cfg(feature = "messages")]
mod pipe_half;
#[cfg(feature = "messages")]
mod port;
mod producer;
#[cfg(feature = "messages")]
mod queue;
#[cfg(feature = "messages")]
mod queue_builder;
mod ring;
mod ring_chunk;
mod ring_end;
mod seat;
mod seats;
#[cfg(feature = "messages")]
mod taken;

pub use consumer::Consumer;
pub use error::{RecvError, SendError};
pub use producer::Producer;
pub use ring::ring;
pub use ring_chunk::{ReadChunk, WriteChunk};
#[cfg(feature = "messages")]
pub use {
    capacity::Capacity,
    getting::{Batch, Items},
    pipe::{Connection, pipe},
    pipe_half::{Receiver, Sender},
    queue::SharedQueue,
    queue_builder::QueueBuilder,
};
#[cfg(feature = "process")]
pub(crate) use {
    inheritance::{Notes, copied_to, forget_copies, inherit, leave_to_child},
    passed::{Pass, PassedHandle, Reservation, Share},
};
