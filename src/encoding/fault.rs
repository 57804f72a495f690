//! `Fault`: why encoding or decoding stopped, and where.

use super::reason::EncodingReason;
use serde::{de, ser};
use std::borrow::Cow;
use std::fmt;

/// A longer path is cut after its beginning.
const MOST_STEPS: usize = 16;

/// Why encoding or decoding stopped, and the path to the place. Empty: the output has no room, or there is no memory.
pub(crate) struct Fault(Option<Box<Details>>);

struct Details {
    why: Cow<'static, str>,
    /// The innermost step first.
    place: Vec<Step>,
}

/// A step of the path to a place.
pub(super) enum Step {
    Field(String),
    Index(usize),
}

impl Fault {
    /// The output has no room, and itself says why; or there is no memory for what is decoded.
    pub(super) const NO_ROOM: Fault = Fault(None);

    #[cold]
    pub(super) fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Fault(Some(Box::new(Details {
            why: why.into(),
            place: Vec::new(),
        })))
    }

    #[cold]
    pub(super) fn too_short() -> Self {
        Fault::new("unexpected end of the bytes")
    }

    #[cold]
    pub(super) fn too_deep() -> Self {
        let deepest = super::format::DEEPEST;
        Fault::new(format!("it is nested deeper than {deepest} levels"))
    }

    #[cold]
    pub(super) fn in_field(self, name: &str) -> Self {
        self.within(Step::Field(name.to_owned()))
    }

    #[cold]
    pub(super) fn at_index(self, index: usize) -> Self {
        self.within(Step::Index(index))
    }

    /// The same fault as seen one step further out.
    fn within(mut self, step: Step) -> Self {
        if let Some(details) = &mut self.0 {
            details.place.push(step);
        }
        self
    }

    /// The fault as reported for an item of type `T`.
    #[cold]
    pub(super) fn reason<T: ?Sized>(self) -> EncodingReason {
        let Some(details) = self.0 else {
            return EncodingReason::no_memory::<T>();
        };
        let steps = details.place.iter().rev().take(MOST_STEPS).map(ToString::to_string);
        let rest = (details.place.len() > MOST_STEPS).then(|| "...".to_owned());
        let place: String = steps.chain(rest).collect();
        let place = place.strip_prefix('.').unwrap_or(&place).to_owned();
        EncodingReason::new::<T>(details.why, place)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("no room", |details| &details.why))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Fault {}

impl ser::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(message.to_string())
    }
}

impl de::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(message.to_string())
    }
}
