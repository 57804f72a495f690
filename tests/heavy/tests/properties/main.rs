//! What holds for any input, by `proptest`: each type against a naive one, and any bytes against each reader.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]
#![allow(missing_docs, unreachable_pub, reason = "the types are shared with the fuzz target")]

#[path = "../../../common/blob.rs"]
mod blob;
#[path = "../../../common/mod.rs"]
mod common;
#[path = "../../../wire_format/decoding.rs"]
mod decoding;
#[path = "../../../common/good.rs"]
mod good;
#[path = "../../../common/maps.rs"]
mod maps;
#[path = "../../../wire_format/memory.rs"]
mod memory;
#[path = "../../../common/queues.rs"]
mod queues;
#[path = "../../../common/role.rs"]
mod role;
#[allow(dead_code, reason = "some of them are for other tests")]
#[path = "../../../wire_format/types.rs"]
mod types;

mod any_size;
mod array;
mod attach;
mod hostile;
mod map;
mod map_cache;
mod map_time;
mod pool;
mod queue;
mod ring;
mod round_trip;
mod shareable;
mod value;
