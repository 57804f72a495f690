//! Wire format: how items, keys, values, arguments and results are encoded as bytes.
//!
//! Every type that implements `serde`'s `Serialize` and `Deserialize` is encoded as [MessagePack](https://msgpack.org), with
//! the names of fields and variants. The main addition is for long sequences of numbers: they are extension types whose content
//! is copied as a whole. Any MessagePack library that can be taught the extension types can read the bytes, see
//! [below](#reading-it-from-python).
//!
//! ```
//! use procshare::SharedQueue;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! struct Event {
//!     id: u64,
//!     #[serde(skip_serializing_if = "Option::is_none", default)]
//!     note: Option<String>,
//!     #[serde(flatten)]
//!     what: What,
//!     samples: Vec<f32>, // copied as a whole
//! }
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! #[serde(untagged)]
//! enum What {
//!     Level { level: f64 },
//!     Message { text: String },
//! }
//!
//! let event = Event { id: 7, note: None, what: What::Level { level: 0.5 }, samples: vec![0.25; 1000] };
//! let queue = SharedQueue::new(8)?;
//! queue.put(event.clone())?;
//! assert_eq!(queue.get()?, event);
//! # Ok::<(), procshare::Error>(())
//! ```
//!
//! # What is encoded
//!
//! - Items of queues and pipes: one value each.
//! - Keys and values of maps: one value each. `u8` to `u128`, `i8` to `i128`, `f32`, `f64`, `bool`, `char`, `String` and
//!   `Vec<u8>` are not encoded: a number is its bytes in the byte order of the machine, a `bool` one byte, a `char` its code
//!   point as a `u32`, and a `String` or `Vec<u8>` its content. `usize`, `isize` and structs around any of these are
//!   encoded.
//! - Arguments of child processes and of jobs: one value, the tuple of the arguments; it is a unit if there are none. A handle
//!   of a shared object is encoded as the number of a segment that travels with the arguments, and what is needed to find the
//!   object in it: only that receiver can use it.
//! - Results of child processes and of jobs: one value each.
//!
//! Shared values, arrays, counters, atomics and rings hold their values as they lie in memory, not in this format.
//!
//! # Values
//!
//! | `serde` data model | MessagePack |
//! |---|---|
//! | unit, unit struct | nil |
//! | `bool` | true, false |
//! | integers | the shortest form, whatever the type: fixint, uint 8 to 64 if not negative, int 8 to 64 if negative |
//! | `u128` beyond 64 bits | ext 2, 16 bytes, little-endian |
//! | `i128` beyond 64 bits | ext 3, 16 bytes, little-endian, two's complement |
//! | `f32`, `f64` | float 32, float 64, bit by bit |
//! | `char`, `str` | str |
//! | bytes | bin |
//! | sequence, tuple, tuple struct | array, or a [run](#runs-of-numbers) |
//! | map | map, in the order of its iterator |
//! | struct | map from names to fields, in the order of declaration, without those that are skipped |
//! | unit variant | its name, as str |
//! | variant with content | map of one entry, from its name to its content |
//! | content of a tuple variant, of a struct variant | as a tuple, as a struct |
//! | newtype struct | its content |
//! | `None` | nil |
//! | `Some` | its content; around a nil, ext 1 with one byte, the number of `Some`s |
//!
//! So `Some(7)` and `7` are encoded alike; `None` is nil, `Some(None)` and `Some(())` are ext 1 with a 1, `Some(Some(None))` is
//! ext 1 with a 2.
//!
//! Headers have the shortest form that holds the length, with two exceptions: extension types other than 1 to 4 always use ext
//! 8, ext 16 or ext 32, and a value whose length exceeds 32 bits begins with ext 4, whose content is 8 bytes, big-endian. The
//! high byte says what follows (0 str, 1 bin, 2 array, 3 map, or the type of a run), and the other seven bytes hold its length;
//! the content comes after the extension. A library that does not know ext 4 cannot read such a value; values below 4 GiB never
//! need it.
//!
//! Sequences, maps, structs and variants with content may be nested 128 levels deep, and so may `Some` around a nil. A variant
//! with fields counts as two levels. Writers and readers refuse deeper nesting.
//!
//! `is_human_readable` is true, so an IP address, for example, is encoded as text. What `serde` buffers, for untagged and
//! internally tagged enums and flattened fields, always behaves as human-readable; with any other answer, what was written
//! could not be read back.
//!
//! # Runs of numbers
//!
//! A sequence or tuple of 16 or more elements that are all of one numeric type is an extension whose type gives the type of the
//! elements. Its content is the elements, each little-endian, with nothing between them.
//!
//! | elements | ext | elements | ext | elements | ext |
//! |---|---|---|---|---|---|
//! | `u8` | 16 | `u128` | 20 | `i64` | 24 |
//! | `u16` | 17 | `i8` | 21 | `i128` | 25 |
//! | `u32` | 18 | `i16` | 22 | `f32` | 26 |
//! | `u64` | 19 | `i32` | 23 | `f64` | 27 |
//!
//! `usize` and `isize` are encoded as `u64` and `i64`. The elements must be the numbers themselves, or references to them: a
//! sequence of newtype structs is an array. So is one of fewer than 16 elements, and one whose `Serialize` does not know its
//! length in advance. A `Vec<u8>` is a sequence: an array or a run, not bin.
//!
//! # What readers accept
//!
//! Readers accept more than writers write:
//!
//! - integers of any width that the type can hold, and integers of a run likewise; integers and either float for a float;
//! - headers longer than necessary, including ext 4 and fixext, except for ext 1, which is always fixext 1;
//! - bin for a sequence of bytes, and for a str if it is UTF-8;
//! - a run of bytes for bytes, and also an array if the type accepts one;
//! - an array for a run, and a run of any length or other numeric type;
//! - an array for a struct or the content of a struct variant, with the fields in the order of declaration, unless some are
//!   flattened;
//! - a map from the name to nil for a unit variant;
//! - fields in any order, and unknown ones, unless the type denies them.
//!
//! Inside what `serde` buffers, bin is accepted for bytes and texts only.
//!
//! Nothing else is guessed. Text that is not UTF-8, an unknown extension type, a length beyond the end, and bytes left over are
//! errors, which name the place. Whatever the bytes are, decoding neither panics nor reserves more memory than a multiple of
//! their number. This does not cover what a type does in its own `Deserialize`: `serde` copies what it buffers again for each
//! untagged enum inside another one.
//!
//! # Keys
//!
//! A map finds a key by its bytes. Equal keys have equal bytes because every integer and every length is as short as it can be, and
//! because all sequences of the same numbers are encoded alike: a `Vec`, a slice, an array and a `VecDeque`. Some keys need care:
//!
//! - A hash map or hash set has no fixed order, so equal ones may have different bytes. Use `BTreeMap` and `BTreeSet`.
//! - Floats are compared bit by bit: 0.0 and -0.0 are two keys, and a NaN is found if its bits are the same.
//! - Keys that are equal by `PartialEq` but that `Serialize` writes differently are different keys.
//!
//! A program that writes keys with another library must write exactly these bytes: sequences of 16 or more numbers as runs,
//! with ext 8 to ext 32 headers, not fixext.
//!
//! # What is tried before it is sent
//!
//! A type's `Serialize` and `Deserialize` may disagree: attributes can be set for one direction alone. Therefore the first 16
//! items of each handle are decoded before they are sent, and so are the first 16 keys and the first 16 values that each handle
//! of a map stores, and the first 16 arguments of each type. Later ones are still decoded first if they hold 128-bit integers,
//! which `serde` cannot buffer, a `Some` around a nil, or a map with compound keys. Anything that cannot be read back is
//! refused at once, for example as [`SendError::NotEncodable`](crate::SendError::NotEncodable).
//!
//! JSON users often give a field of type `Option<Option<T>>` a function that reads it as a `T`, to tell a missing field from a
//! null one. Here such a function reads one `Some` too many. Leave it out: both cases survive the round trip without it.
//!
//! Arguments that contain handles of shared objects are not tried, nor are results; if they cannot be decoded, the receiver
//! gets the error.
//!
//! # Versions
//!
//! The format belongs to the layout of a segment, whose version is 4. It changes only together with that number, and
//! segments of another version are refused with [`ErrorKind::LayoutVersion`](crate::ErrorKind::LayoutVersion).
//!
//! A type may change within one version: added fields need `#[serde(default)]`, removed ones are unknown fields that are ignored,
//! and integers in values may become wider. Use the `schema` of the builders to mark changes that old readers cannot handle.
//!
//! # Reading it from Python
//!
//! With the package `msgpack`, which has to be told about the extension types:
//!
//! ```python
//! import sys
//! from array import array
//! import msgpack
//!
//! RUNS = {16: "B", 17: "H", 18: "I", 19: "Q", 21: "b", 22: "h", 23: "i", 24: "q", 26: "f", 27: "d"}
//!
//! def from_extension(kind, data):
//!     if kind == 1:                       # Some(None): Python has no such thing
//!         return None
//!     if kind in (2, 3):                  # beyond 64 bits
//!         return int.from_bytes(data, "little", signed=kind == 3)
//!     if kind in (20, 25):                # 128-bit numbers
//!         pieces = (data[at : at + 16] for at in range(0, len(data), 16))
//!         return [int.from_bytes(piece, "little", signed=kind == 25) for piece in pieces]
//!     numbers = array(RUNS[kind], data)
//!     if sys.byteorder == "big":
//!         numbers.byteswap()
//!     return numbers
//!
//! value = msgpack.unpackb(data, ext_hook=from_extension, strict_map_key=False)
//! ```
//!
//! What Python packs can be read here too: lists, integers, floats, `bytes` and `dict`s with the names of the fields.
//!
//! `tests/wire_format/vectors.json` has values with the bytes that are written for them, and further bytes that are read, for tests
//! of other readers and writers.
