//! `Attachments`: what goes along with encoded arguments.

use super::received::PassedSegment;
use super::shares::Shares;
use crate::error::{Error, ErrorKind, Result};
use crate::messages::{Pass, PassedHandle, Reservation};
use crate::primitive::liveness::child_id;
use crate::segment::{PassedDescriptor, Segment, os_error};
use crate::sys::file::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// A descriptor among the arguments of a child, of a file that is not a segment.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor(pub(crate) Arc<OwnedFd>);

/// Segments, which stay attached here until the receiver has attached, other files, and reserved seats, which are taken back if
/// the child is not started.
#[derive(Default)]
pub(crate) struct Attachments {
    segments: Vec<(Segment, PassedDescriptor)>,
    files: Vec<Descriptor>,
    reservations: Vec<Reservation>,
    /// Kept, where possible, in place of reservations.
    shares: Option<Shares>,
}

impl Attachments {
    /// For the jobs of a pool.
    pub(crate) fn of_jobs() -> Self {
        Attachments {
            shares: Some(Shares::default()),
            ..Attachments::default()
        }
    }

    /// The descriptors the receiver needs, those of segments first and in the order of their table.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let segments = self.segments.iter().map(|(segment, _)| segment.fd().as_fd());
        segments.chain(self.files.iter().map(|Descriptor(file)| file.as_fd()))
    }

    /// The files the receiver must be told about.
    pub(crate) fn files(&self) -> std::io::Result<Vec<PassedDescriptor>> {
        let files = self.files.iter();
        files.map(|Descriptor(file)| PassedDescriptor::of(file)).collect()
    }

    /// The table of segments that is sent to the receiver.
    pub(crate) fn segments(&self) -> Vec<PassedSegment> {
        let passed = |(segment, descriptor): &(Segment, PassedDescriptor)| PassedSegment {
            descriptor: *descriptor,
            path: segment.path().map(PathBuf::into_os_string),
        };
        self.segments.iter().map(passed).collect()
    }

    /// The child has been started: the seats now belong to it.
    pub(crate) fn hand_over(&mut self, pid: u32) {
        if self.reservations.is_empty() {
            return;
        }
        let reservations = self.reservations.drain(..);
        match child_id(pid) {
            Some(child) => reservations.for_each(|reservation| reservation.hand_over(child)),
            None => drop(reservations), // A child that has already ended cannot claim its seats.
        }
    }

    /// Its shares, if there are any, for release before the rest.
    pub(crate) fn split_shares(&mut self) -> Option<Self> {
        let shares = self.shares.take_if(|shares| !shares.is_empty())?;
        Some(Attachments {
            shares: Some(shares),
            ..Attachments::default()
        })
    }

    /// Whether dropping it takes locks that others may hold.
    pub(crate) fn has_seats(&self) -> bool {
        !self.reservations.is_empty() || self.shares.as_ref().is_some_and(|shares| !shares.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.files.is_empty() && !self.has_seats()
    }

    /// Adds a segment, and returns its place in the table: one for each file.
    pub(super) fn add_segment(&mut self, segment: &Segment) -> Result<u32> {
        let place = match self
            .segments
            .iter()
            .position(|(_, passed)| passed.is_number_of(segment.fd()))
        {
            Some(place) => place,
            None => {
                let passed = PassedDescriptor::of(segment.fd())
                    .map_err(|error| os_error("fstat", error).in_segment(segment.label()))?;
                let known = self
                    .segments
                    .iter()
                    .position(|(_, other)| other.file() == passed.file());
                known.unwrap_or_else(|| {
                    self.segments.push((segment.clone(), passed));
                    self.segments.len() - 1
                })
            }
        };
        u32::try_from(place).map_err(|_| {
            Error::new(
                ErrorKind::NotTransferable,
                "too many segments among the arguments: at most 2^32 can be passed",
            )
        })
    }

    /// Adds a file, and returns its place among the files.
    pub(super) fn add_file(&mut self, file: &Descriptor) -> usize {
        self.files.push(file.clone());
        self.files.len() - 1
    }

    /// Adds a handle that takes part in something, and returns its segment's place and what the receiver is told.
    pub(super) fn add_participant<H: Pass>(&mut self, handle: &H) -> Result<(u32, PassedHandle)> {
        let place = self.add_segment(handle.segment())?;
        if let Some(shares) = &mut self.shares {
            if let Some((passed, keep)) = handle.pack_unreserved() {
                let file = self.segments[place as usize].1.file();
                shares.keep(file, &passed.name, || keep(handle))?;
                return Ok((place, passed));
            }
        }
        let (passed, reservations) = handle.pack()?;
        self.reservations.extend(reservations);
        Ok((place, passed))
    }
}
