//! `EncodingReason`: why there are no bytes of an item, or no item of bytes.

use std::fmt;

/// Tells why an item could not be encoded or decoded.
///
/// [`SendError::NotEncodable`](crate::SendError::NotEncodable), [`RecvError::Invalid`](crate::RecvError::Invalid) and the
/// corresponding errors of maps hold one. Its `Display` gives the reason in words.
///
/// # Examples
///
/// ```
/// # let name = format!("doc-encoding-reason-{}", std::process::id());
/// use procshare::{RecvError, SharedQueue};
///
/// let queue = SharedQueue::builder().schema("text", 1).create(&name)?;
/// queue.put(vec![0xffu8])?;
/// let reader = SharedQueue::<String>::builder().schema("text", 1).open(&name)?;
/// match reader.get() {
///     Err(RecvError::Invalid(reason)) => assert_eq!(reason.to_string(), "a text is not UTF-8"),
///     outcome => unreachable!("{outcome:?}"),
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    any(feature = "map", feature = "messages"),
    derive(serde::Serialize, serde::Deserialize)
)]
pub struct EncodingReason(pub(super) Why);

/// In words: [`text`](Why::text).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    any(feature = "map", feature = "messages"),
    derive(serde::Serialize, serde::Deserialize)
)]
#[cfg_attr(
    not(any(feature = "map", feature = "messages")),
    allow(dead_code, reason = "nothing is encoded")
)]
pub(super) enum Why {
    Refused,
    Handle,
    UnknownLength,
    NoMemory,
    OtherType,
    TooShort,
    LeftOver,
    Number,
    Bool,
    Char,
    Utf8,
    Variant,
    NoValue,
    Impossible,
}

impl Why {
    pub(super) fn text(self) -> &'static str {
        match self {
            Why::Refused => "its Serialize or Deserialize returned an error",
            Why::Handle => {
                "a handle of shared memory travels in the arguments of a child only: pass it to Process::spawn, or give the \
                 segment a name and open it there"
            }
            Why::UnknownLength => "the length of a sequence must be known before its first element",
            Why::NoMemory => "there is no memory for its bytes",
            Why::OtherType => "its type is encoded otherwise than that of the keys",
            Why::TooShort => "the bytes end too early",
            Why::LeftOver => "bytes are left over",
            Why::Number => "a number is too long for its type",
            Why::Bool => "a bool is neither 0 nor 1",
            Why::Char => "a char is none",
            Why::Utf8 => "a text is not UTF-8",
            Why::Variant => "an enum or Option has no such variant",
            Why::NoValue => "the bytes are no value of the type",
            Why::Impossible => "the encoding cannot express what its Serialize or Deserialize asks for",
        }
    }
}

impl EncodingReason {
    /// A handle was to be encoded for nobody in particular.
    #[cfg(feature = "process")]
    pub(crate) const HANDLE: Self = EncodingReason(Why::Handle);
    /// A key that is looked up has another type than the keys.
    #[cfg(feature = "map")]
    pub(crate) const OTHER_TYPE: Self = EncodingReason(Why::OtherType);
    /// Bytes that are stored as they are, and no value of the type.
    pub(crate) const NO_VALUE: Self = EncodingReason(Why::NoValue);
}

impl fmt::Display for EncodingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.text())
    }
}

impl fmt::Debug for EncodingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.text(), f)
    }
}
