//! What all handles share: a segment held, an object found in it, and the four ways to get one.

use super::{Located, Segment, SegmentBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{DirectoryEntry, Kind, Spec};
use crate::raw::Refused;
use std::ffi::OsStr;

/// The name of the only object in a segment made for it.
const SOLE: &str = "";

impl Segment {
    /// Refuses the empty name, which belongs to an object that lives alone.
    pub(crate) fn check_object_name(&self, name: &str) -> Result<()> {
        if name == SOLE {
            let message = "expected a name for the object, found an empty one";
            return Err(Error::new(ErrorKind::InvalidName, message).in_segment(self.label()));
        }
        Ok(())
    }
}

/// Writes a new object's bytes at its address; the flag says whether they are zero already.
pub(crate) type Init<'a> = &'a dyn Fn(*mut u8, bool);

/// Compares the bytes the directory gives an object with those its type and length take, and checks that the segment's seals
/// allow what is done to such objects: only a frozen array can be used without writing.
fn check_object<O: Object>(handle: &Handle) -> Result<()> {
    let (segment, entry) = (&handle.segment, &handle.entry);
    let spec = O::spec(entry.len);
    let (expected, found) = (spec.bytes, entry.bytes);
    let fault = if expected != found {
        let message = format!(
            "expected {expected} bytes for an object of {} elements, found {found}",
            entry.len
        );
        Error::new(ErrorKind::Corrupt, message)
    } else if segment.is_frozen() != (spec.kind == Kind::FrozenArray) {
        let state = if segment.is_frozen() { "sealed" } else { "not sealed" };
        Error::new(
            ErrorKind::Seals,
            format!("found a {} in a segment that is {state}", spec.kind.name()),
        )
    } else {
        return Ok(());
    };
    Err(fault.in_segment(segment.label()))
}

/// A type that lives in a segment as one object.
pub(crate) trait Object: Sized {
    /// Kind and type, with `len` elements.
    fn spec(len: u64) -> Spec<'static>;

    /// The handle for an object that was found or placed.
    fn from_handle(handle: Handle) -> Self;

    fn handle(&self) -> &Handle;

    /// Makes this type from a handle, once the object is proved to be usable as such.
    fn adopt(handle: Handle) -> Result<Self> {
        check_object::<Self>(&handle)?;
        Ok(Self::from_handle(handle))
    }

    /// Finds the object `name` in `segment`; `len` if the caller knows it.
    fn open_in(segment: &Segment, name: &str, len: Option<u64>) -> Result<Self> {
        Self::adopt(Handle::open_in(segment, name, &Self::spec(len.unwrap_or(1)), len)?)
    }

    /// Finds the object `name` in `segment`, or places it.
    fn place_in(segment: &Segment, name: &str, len: u64, init: Init<'_>) -> Result<Self> {
        Self::adopt(Handle::place_in(segment, name, &Self::spec(len), init)?)
    }

    /// `new`: alone in an anonymous segment.
    fn new_alone(len: u64, init: Init<'_>) -> Result<Self> {
        Self::adopt(Handle::new_alone(&Self::spec(len), init)?)
    }

    /// `create`: alone in a named segment.
    fn create_alone(name: impl AsRef<OsStr>, len: u64, init: Init<'_>) -> Result<Self> {
        Self::adopt(Handle::create_alone(name, &Self::spec(len), init)?)
    }

    /// `open`: the only object of a named segment.
    fn open_alone(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::adopt(Handle::open_alone(name, &Self::spec(1))?)
    }

    /// `open_or_create`: either of the two.
    fn open_or_create_alone(name: impl AsRef<OsStr>, len: u64, init: Init<'_>) -> Result<Self> {
        Self::adopt(Handle::open_or_create_alone(name, &Self::spec(len), init)?)
    }
}

/// A segment, and where in it the object lies.
#[derive(Clone)]
pub(crate) struct Handle {
    segment: Segment,
    entry: DirectoryEntry,
    address: *mut u8,
}

// SAFETY: the address leads into a mapping that `segment`, itself Send and Sync, keeps alive. The containers read and write
// there by atomics, or while they hold a lock that excludes other threads as well as processes, or only read what is sealed.
unsafe impl Send for Handle {}
// SAFETY: as above; the handle itself never changes.
unsafe impl Sync for Handle {}

impl Handle {
    fn new(segment: &Segment, located: Located) -> Self {
        Handle {
            segment: segment.clone(),
            entry: located.entry,
            address: located.address,
        }
    }

    /// Finds the object `name` in `segment`; `len` if the caller knows it.
    pub(crate) fn open_in(segment: &Segment, name: &str, spec: &Spec<'_>, len: Option<u64>) -> Result<Self> {
        Ok(Self::new(segment, segment.locate_existing(name, spec, len)?))
    }

    /// Finds an object that was passed to this process.
    pub(crate) fn find_passed(segment: &Segment, name: &str, kind: Kind) -> Result<Self> {
        Ok(Self::new(segment, segment.locate_passed(name, kind)?))
    }

    /// Finds the object `name` in `segment`, or places it.
    pub(crate) fn place_in(segment: &Segment, name: &str, spec: &Spec<'_>, init: Init<'_>) -> Result<Self> {
        Ok(Self::new(segment, segment.place(name, spec, init)?))
    }

    /// An object alone in an anonymous segment.
    pub(crate) fn new_alone(spec: &Spec<'_>, init: Init<'_>) -> Result<Self> {
        Self::new_in(&SegmentBuilder::for_object(spec)?, spec, init)
    }

    /// As [`new_alone`](Self::new_alone), in a segment made by `builder`.
    pub(crate) fn new_in(builder: &SegmentBuilder, spec: &Spec<'_>, init: Init<'_>) -> Result<Self> {
        let segment = builder.anonymous_with(&|segment| segment.place(SOLE, spec, init).map(drop))?;
        Self::open_in(&segment, SOLE, spec, Some(spec.len))
    }

    /// An object alone in a named segment.
    pub(crate) fn create_alone(name: impl AsRef<OsStr>, spec: &Spec<'_>, init: Init<'_>) -> Result<Self> {
        Self::create_in(&SegmentBuilder::for_object(spec)?, name, spec, init)
    }

    /// As [`create_alone`](Self::create_alone), in a segment made by `builder`.
    pub(crate) fn create_in(
        builder: &SegmentBuilder,
        name: impl AsRef<OsStr>,
        spec: &Spec<'_>,
        init: Init<'_>,
    ) -> Result<Self> {
        let segment = builder.create_with(name, &|segment| segment.place(SOLE, spec, init).map(drop))?;
        Self::open_in(&segment, SOLE, spec, Some(spec.len))
    }

    /// The only object of a named segment.
    pub(crate) fn open_alone(name: impl AsRef<OsStr>, spec: &Spec<'_>) -> Result<Self> {
        Self::open_in(&Segment::open(name)?, SOLE, spec, None)
    }

    /// Either of the two.
    pub(crate) fn open_or_create_alone(name: impl AsRef<OsStr>, spec: &Spec<'_>, init: Init<'_>) -> Result<Self> {
        Self::open_or_create_in(&SegmentBuilder::for_object(spec)?, name, spec, init)
    }

    /// As [`open_or_create_alone`](Self::open_or_create_alone), in a segment made by `builder`.
    pub(crate) fn open_or_create_in(
        builder: &SegmentBuilder,
        name: impl AsRef<OsStr>,
        spec: &Spec<'_>,
        init: Init<'_>,
    ) -> Result<Self> {
        let segment = builder.open_or_create_with(name, &|segment| segment.place(SOLE, spec, init).map(drop))?;
        Self::open_in(&segment, SOLE, spec, Some(spec.len))
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline]
    pub(crate) fn address(&self) -> *mut u8 {
        self.address
    }

    /// Refuses a sealed segment, whose memory cannot be written.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if !self.segment.is_frozen() {
            return Ok(());
        }
        let message = format!(
            "found a {} in a sealed segment, which cannot be written",
            self.entry.kind.name()
        );
        Err(Error::new(ErrorKind::Seals, message).in_segment(self.segment.label()))
    }

    /// The size of the object in bytes, as the directory says.
    pub(crate) fn bytes(&self) -> u64 {
        self.entry.bytes
    }

    /// Where it begins, in bytes from the start of the segment.
    #[cfg(feature = "messages")]
    pub(crate) fn offset(&self) -> u64 {
        self.entry.offset
    }

    /// The number of elements, as the directory says.
    pub(crate) fn len(&self) -> u64 {
        self.entry.len
    }

    /// The object's name in its segment.
    pub(crate) fn name(&self) -> String {
        self.segment.object_name(&self.entry)
    }

    /// What the object is called in messages.
    pub(crate) fn label(&self) -> String {
        match (self.name(), self.segment.label()) {
            (object, segment) if object.is_empty() => format!("segment {segment:?}"),
            (object, segment) => format!("object {object:?} of segment {segment:?}"),
        }
    }

    /// Panics on behalf of a call that cannot return an error.
    #[cold]
    #[track_caller]
    pub(crate) fn refuse(&self, refused: Refused) -> ! {
        let label = self.label();
        match refused {
            Refused::WouldDeadlock => {
                panic!("{label}: this thread already holds the lock and would deadlock")
            }
            Refused::Foreign => {
                panic!("{label}: this process was moved to another PID or time namespace")
            }
            Refused::WouldBlock | Refused::TimedOut => {
                panic!("{label}: another thread or process holds the lock")
            }
        }
    }

    /// Panics on behalf of a call that read bytes which are no valid value.
    #[cold]
    #[track_caller]
    pub(crate) fn invalid(&self) -> ! {
        panic!("{}: its bytes are not a valid value of its type", self.label())
    }
}
