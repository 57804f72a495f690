//! Items as bytes: MessagePack with names, and runs of numbers that are copied as a whole.
//!
//! The page [`wire_format`](crate::wire_format) describes the bytes.
//!
//! Names are used rather than positions, since a `Serialize` may leave out any field: only names tell which fields are there.
//! Nothing here knows where the bytes lie or which process reads them.

#[cfg(any(feature = "map", feature = "messages"))]
mod access;
#[cfg(any(feature = "map", feature = "messages"))]
mod bare;
#[cfg(any(feature = "map", feature = "messages"))]
mod compound;
#[cfg(any(feature = "map", feature = "messages"))]
mod decoder;
#[cfg(any(feature = "map", feature = "messages"))]
mod encoder;
#[cfg(any(feature = "map", feature = "messages"))]
mod fault;
#[cfg(any(feature = "map", feature = "messages"))]
mod format;
#[cfg(any(feature = "map", feature = "messages"))]
mod items;
#[cfg(any(feature = "map", feature = "messages"))]
mod numbers;
#[cfg(any(feature = "map", feature = "messages"))]
mod output;
#[cfg(any(feature = "map", feature = "messages"))]
mod read;
mod reason;
#[cfg(any(feature = "map", feature = "messages"))]
mod runs;
#[cfg(any(feature = "map", feature = "messages"))]
mod trial;
#[cfg(feature = "messages")]
mod whole;
#[cfg(any(feature = "map", feature = "messages"))]
mod write;

#[cfg(any(feature = "map", feature = "messages"))]
pub use bare::{decode as decode_bare, encode as encode_bare, encode_to as encode_bare_to};
#[cfg(feature = "messages")]
pub(crate) use items::encode_through;
#[cfg(feature = "map")]
pub(crate) use items::{Encoded, encode, encode_within};
#[cfg(feature = "messages")]
pub(crate) use output::Store;
pub use reason::EncodingReason;
#[cfg(feature = "messages")]
pub(crate) use whole::{HEAD, Whole, receive};
#[cfg(any(feature = "map", feature = "messages"))]
pub(crate) use {
    items::{Unfit, decode, fill},
    output::Limit,
    trial::Trial,
};
