//! What the bytes of a segment mean: header, directory, and which types may live there.
//!
//! Nothing here maps memory or takes a lock; the same code runs in creator and attacher, and over any bytes at all.

pub(crate) mod directory;
pub(crate) mod header;
mod schema;
mod shareable;

pub(crate) use directory::{Directory, DirectoryEntry, Kind, OBJECT_ALIGN, Spec};
#[cfg(feature = "map")]
pub(crate) use directory::{MAP_FORGETS, MAP_LOCKS};
#[cfg(feature = "messages")]
pub(crate) use directory::{QUEUE_FORGETS, QUEUE_SEATS};
pub(crate) use header::Header;
#[cfg(any(feature = "map", feature = "messages"))]
pub(crate) use schema::text_fingerprint;
pub use schema::{Field, Schema, Variant};
pub use shareable::{PaddingMessage, Shareable, field_bytes, is_transparent};
