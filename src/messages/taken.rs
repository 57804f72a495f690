//! `Taken`: one item that was taken out of a channel.

use super::channel::Channel;
use super::codec::{self, SMALL, Small, UNIT};
use super::extent::LongItem;
use crate::encoding::{HEAD, receive};
use crate::primitive::Deadline;
use crate::raw::{Moved, PeerCheck, Stop, Stretch, Waiting};
use std::mem::MaybeUninit;

/// One item that was taken out.
pub(super) enum Taken<'a, T> {
    /// Its record is small, and lies in the room provided for it.
    Small,
    /// Its record.
    Large(Vec<u8>),
    /// The item itself.
    Whole(T),
    /// Its bytes, where they lie.
    Long(LongItem<'a>),
    /// A copy of such bytes.
    Copied(Vec<u8>),
}

impl Channel {
    /// Takes one record: into `small` if it fits there.
    #[inline]
    pub(super) fn get_record<T>(
        &self,
        small: &mut Small,
        deadline: Deadline,
        peer_check: PeerCheck<'_>,
    ) -> Result<Taken<'_, T>, Stop> {
        let mut taken = Taken::Small;
        let read = |queued: Stretch| {
            let short = |header| codec::short_length_in(header).map(codec::units_of);
            let Some(moved) = self.measure_one(queued, short) else {
                return self.get_from_overflow(queued, &mut taken);
            };
            if moved.units as usize <= SMALL {
                let len = moved.units as usize * UNIT;
                self.read(queued.start, len, small.bytes_mut().as_mut_ptr());
            } else {
                taken = self.get_long(queued.start, moved)?;
            }
            Ok(moved)
        };
        let waiting = Waiting::new(deadline, peer_check);
        self.raw().get(self.bounds(), 1, self, waiting, read)?;
        if matches!(taken, Taken::Copied(_)) {
            self.sweep();
        }
        Ok(taken)
    }

    /// Copies one record out of the ring that is too long for a `Small`.
    #[cold]
    fn get_long<T>(&self, start: u32, moved: Moved) -> Result<Taken<'_, T>, Stop> {
        let mut head = [0u8; UNIT + HEAD];
        self.read(start, head.len(), head.as_mut_ptr());
        let header = u64::from_ne_bytes(*head.first_chunk().ok_or(Stop::Corrupt)?);
        // The header is read a second time here: its length must agree with what was measured.
        let len = codec::short_length_in(header).filter(|len| codec::units_of(*len) == moved.units);
        let len = len.ok_or(Stop::Corrupt)? as usize;
        let copy = |from: usize, target: &mut [MaybeUninit<u8>]| {
            self.read_bytes(start, UNIT + from, target);
            Ok::<(), Stop>(())
        };
        // SAFETY: `read_bytes` writes all of its target.
        match unsafe { receive::<T, Stop>(&head[UNIT..], len, copy) } {
            Some(item) => Ok(Taken::Whole(item.map_err(|stop| stop.unwrap_or(Stop::OutOfMemory))?)),
            None => {
                let mut record = Vec::new();
                self.append(start, moved.units as usize * UNIT, &mut record)?;
                Ok(Taken::Large(record))
            }
        }
    }
}
