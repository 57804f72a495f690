//! Handles among arguments: what is encoded, and what goes along with the bytes.
//!
//! While arguments are encoded, each handle enters its segment into a table and leaves its place there and its object's name among
//! the bytes. The table lists each file once: however many handles refer to one, a single descriptor is passed, and the receiver
//! attaches once. At any other time a handle refuses to be serialised, since its bytes would mean nothing to their reader.
//!
//! | | the sender | the receiver |
//! |---|---|---|
//! | arguments | [`pack`] within [`packing`] | [`unpack`] within [`unpacking`] |
//! | a result, which may hold no handle: its sender may have ended by the time it is read | [`pack_result`] | [`unpack_result`] |
//!
//! A child has one item to pack and unpack, a job of a pool has many. Results are encoded within [`refusing`], or within the
//! [`unpacking`] of the arguments.

mod attachments;
mod codec;
mod context;
mod handles;
mod memory;
mod received;
mod shares;

pub(crate) use attachments::{Attachments, Descriptor};
pub(crate) use codec::{pack, pack_result, unpack, unpack_result};
pub(crate) use context::{packing, refusing, unpacking};
pub(crate) use memory::{check_memory, check_memory_behind};
pub(crate) use received::{DescriptorSource, PassedSegment, Received, attach_all};
