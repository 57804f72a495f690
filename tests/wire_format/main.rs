//! What values are as bytes: what the file of vectors says, and what others may write.
//!
//! `read.py` reads the same vectors with another implementation of MessagePack.

#![cfg(any(feature = "map", feature = "messages"))]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]
#![allow(missing_docs, unreachable_pub, reason = "the types are shared with the fuzz target")]

mod decoding;
mod foreign;
mod hostile;
mod memory;
mod types;
mod vectors;
