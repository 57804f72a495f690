//! `Received`: what came along with encoded arguments, and how it is taken over.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::{PassedDescriptor, Segment};
use crate::sys::file::OwnedFd;
use std::collections::HashMap;
use std::ffi::OsString;

/// The attachments of arguments, where these are decoded.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) segments: Vec<Segment>,
    /// Each is taken once.
    pub(crate) files: Vec<Option<OwnedFd>>,
}

/// A segment as described to its receiver.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PassedSegment {
    pub(crate) descriptor: PassedDescriptor,
    /// Its path, if it has a name.
    pub(crate) path: Option<OsString>,
}

/// How this process got the descriptors passed to it.
pub(crate) enum DescriptorSource {
    /// They went through `exec` and kept their numbers.
    Inherited,
    /// They came in a message, under the numbers they had in the sender.
    Message(HashMap<i32, OwnedFd>),
    /// This process is a copy of the one that passes them, whose objects still own those numbers.
    Copied,
}

impl DescriptorSource {
    /// Takes over a descriptor.
    pub(crate) fn take(&mut self, passed: &PassedDescriptor) -> Result<OwnedFd> {
        let taken = match self {
            DescriptorSource::Inherited => passed.take_inherited(),
            DescriptorSource::Copied => passed.duplicate()?,
            DescriptorSource::Message(received) => received.remove(&passed.number).filter(|fd| passed.is_same_file(fd)),
        };
        taken.ok_or_else(|| {
            let message = format!(
                "descriptor {} was passed to this process but did not arrive",
                passed.number
            );
            Error::new(ErrorKind::Spawn, message)
        })
    }
}

/// Attaches to the segments of a table, reusing those of `kept`: `ask` gets their descriptors, beginning at the given place.
pub(crate) fn attach_all(
    table: Vec<PassedSegment>,
    kept: &[Segment],
    mut ask: impl FnMut(usize) -> Result<Vec<OwnedFd>>,
) -> Result<Vec<Segment>> {
    let known = kept.iter().filter_map(|segment| {
        let passed = PassedDescriptor::of(segment.fd()).ok()?;
        Some((passed.file(), segment))
    });
    let known: HashMap<_, _> = known.collect();
    let mut received = HashMap::new();
    let attach = |(place, PassedSegment { descriptor, path }): (usize, PassedSegment)| {
        if let Some(known) = known.get(&descriptor.file()) {
            return Ok(Segment::clone(known));
        }
        if !received.contains_key(&place) {
            received.extend((place..).zip(ask(place)?));
        }
        let not_transferable = |message| Error::new(ErrorKind::NotTransferable, message);
        let fd = received
            .remove(&place)
            .ok_or_else(|| not_transferable("the descriptor of a segment did not arrive"))?;
        if !descriptor.is_same_file(&fd) {
            return Err(not_transferable(
                "the descriptor passed for a segment refers to another file",
            ));
        }
        Segment::from_descriptor(fd, path)
    };
    table.into_iter().enumerate().map(attach).collect()
}
