//! `EncodingReason`: why an item has no bytes, or bytes hold no item.

use std::borrow::Cow;
use std::fmt;

/// Tells why an item could not be encoded or decoded.
///
/// [`SendError::NotEncodable`](crate::SendError::NotEncodable), [`RecvError::Invalid`](crate::RecvError::Invalid) and the
/// corresponding errors of maps hold one. Its `Display` gives the reason, the place in the item, and the item's type.
///
/// # Examples
///
/// ```
/// # let name = format!("doc-encoding-reason-{}", std::process::id());
/// use procshare::{RecvError, SharedQueue};
///
/// let queue = SharedQueue::builder().schema("points", 1).create(&name)?;
/// queue.put(vec![(1.5, 2), (0.5, 300)])?;
/// let reader = SharedQueue::<Vec<(f64, u8)>>::builder().schema("points", 1).open(&name)?;
/// match reader.get() {
///     Err(RecvError::Invalid(reason)) => {
///         assert_eq!(reason.place(), "[1][1]");
///         assert_eq!(
///             reason.to_string(),
///             "invalid value: integer `300`, expected u8 (at `[1][1]` of `alloc::vec::Vec<(f64, u8)>`)"
///         );
///     }
///     outcome => unreachable!("{outcome:?}"),
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    any(feature = "map", feature = "messages"),
    derive(serde::Serialize, serde::Deserialize)
)]
pub struct EncodingReason(Box<Parts>);

#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    any(feature = "map", feature = "messages"),
    derive(serde::Serialize, serde::Deserialize)
)]
struct Parts {
    why: Cow<'static, str>,
    place: String,
    of: Cow<'static, str>,
    /// Nothing is wrong with the item: memory is lacking.
    is_of_memory: bool,
}

impl EncodingReason {
    #[cold]
    pub(crate) fn new<T: ?Sized>(why: impl Into<Cow<'static, str>>, place: String) -> Self {
        EncodingReason(Box::new(Parts {
            why: why.into(),
            place,
            of: std::any::type_name::<T>().into(),
            is_of_memory: false,
        }))
    }

    /// There is no memory for the bytes.
    #[cfg(any(feature = "map", feature = "messages"))]
    #[cold]
    pub(super) fn no_memory<T: ?Sized>() -> Self {
        let mut reason = Self::new::<T>("not enough memory for its bytes", String::new());
        reason.0.is_of_memory = true;
        reason
    }

    /// Whether nothing is wrong with the item, but memory is lacking.
    pub(crate) fn is_of_memory(&self) -> bool {
        self.0.is_of_memory
    }

    /// Bytes of a type that is stored as it is, which are no valid value of it.
    #[cold]
    pub(crate) fn no_value<T: ?Sized>() -> Self {
        Self::new::<T>("the bytes are not a valid value of the type", String::new())
    }

    /// The reason as reported to a sender whose item no receiver could read.
    #[cfg(any(feature = "map", feature = "messages"))]
    #[cold]
    pub(crate) fn not_taken_back(mut self) -> Self {
        let why = &self.0.why;
        self.0.why = format!("its Deserialize rejects what its Serialize wrote: {why}").into();
        self
    }

    /// Returns the path to the place in the item, such as `orders[3].price`.
    ///
    /// It is empty if the reason concerns the item as a whole.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// Returns the name of the item's type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.0.of
    }
}

impl fmt::Display for EncodingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { why, place, of, .. } = &*self.0;
        match place.as_str() {
            "" => write!(f, "{why} (in `{of}`)"),
            place => write!(f, "{why} (at `{place}` of `{of}`)"),
        }
    }
}

impl fmt::Debug for EncodingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}
