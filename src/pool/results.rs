//! `ResultWriter`: how a worker writes the results of a job, so that the results of finished items survive its death.
//!
//! | step | words | if the worker dies there |
//! |---|---|---|
//! | bytes go into the window | unchanged | the record is not published: its item was the one in hand |
//! | the window is full: its bytes are written to the file | unchanged | they are in both places |
//! | `flushed` moves on | results below it are in the file | as above; the window is reused only afterwards |
//! | the record is whole: `written` moves on | the record is published | its item has its result |
//!
//! A long result is written to the slot's extent first, then `long` moves on, then its record is written like any other. Bytes in
//! the extent that no published record refers to are given back with it.
//!
//! The parent reads only after the job is done or the worker is dead.

use super::extent::{Place, Writer};
use super::memory::{Memory, WINDOW};
use super::records::{MOST_HEADER, Tag, Times, put_header, refusal};
use crate::primitive::{Ordering, crash_point};
use crate::raw::work_queue::RawSlot;
use crate::segment::os_error;
use crate::sys::spawn;
use std::io;

/// The results of one claimed slot.
pub(super) struct ResultWriter<'a> {
    memory: &'a Memory,
    slot: usize,
    words: &'a RawSlot,
    /// Number of bytes so far, and how many of them are in the file.
    at: u64,
    flushed: u64,
    failed: u64,
    long: Writer<'a>,
}

/// Bytes with room for a header before them.
pub(super) fn with_room(bytes: &[u8]) -> Vec<u8> {
    [&[0; MOST_HEADER], bytes].concat()
}

impl<'a> ResultWriter<'a> {
    pub(super) fn new(memory: &'a Memory, slot: usize) -> Self {
        let words = memory.queue().slot(slot);
        // Relaxed: claiming the slot has ordered what its poster wrote.
        let extent = words.job.results_extent.load(Ordering::Relaxed);
        ResultWriter {
            memory,
            slot,
            words,
            at: 0,
            flushed: 0,
            failed: 0,
            long: Writer::new(memory.extents(), extent),
        }
    }

    /// Where a long result goes.
    #[inline]
    pub(super) fn long(&mut self) -> &mut Writer<'a> {
        &mut self.long
    }

    /// Keeps a long result of `len` bytes that was written there.
    pub(super) fn keep_long(&mut self, len: usize) -> Place {
        let place = self.long.keep(len);
        crash_point!("pool.stored");
        self.words.long.store(self.long.kept(), Ordering::Relaxed); // Relaxed: `written`, which follows, publishes it.
        place
    }

    /// Writes and publishes the record of one item. The bytes of `result` begin after room for a header.
    #[inline]
    pub(super) fn put(&mut self, tag: Tag, result: &mut [u8], times: Option<Times>) {
        if let Err(error) = self.try_put(tag, result, times) {
            let error = os_error(
                &format!("storing a result of {} bytes", result.len() - MOST_HEADER),
                error,
            );
            let mut refusal = with_room(&refusal(error.kind(), &error.to_string()));
            if self.try_put(Tag::Refused, &mut refusal, times).is_err() {
                spawn::exit_at_once(1); // Even this failure cannot be reported: the parent will see the job's worker end.
            }
        }
    }

    #[inline]
    fn try_put(&mut self, tag: Tag, result: &mut [u8], times: Option<Times>) -> io::Result<()> {
        if tag != Tag::Long {
            self.long.discard();
        }
        let start = self.at;
        let (room, bytes) = result
            .split_first_chunk_mut::<MOST_HEADER>()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let begins = put_header(tag, bytes.len(), times, room);
        let used = (self.at - self.flushed) as usize;
        let record = &result[begins..];
        if record.len() <= WINDOW - used {
            self.memory.write_window(self.slot, used, record);
            self.at += record.len() as u64;
        } else if let Err(error) = self.append(record) {
            self.at = start;
            if self.flushed > start {
                self.set_flushed(start); // Everything that was published is in the file.
            }
            return Err(error);
        }
        if tag.is_failure() {
            self.failed += 1;
            self.words.failed.store(self.failed, Ordering::Relaxed); // Relaxed: read as `written` is.
        }
        crash_point!("pool.answering");
        // Release: pairs with the Acquire of the work queue's `is_done`, or with the kernel's news of this process's death.
        self.words.written.store(self.at, Ordering::Release);
        crash_point!("pool.answered");
        Ok(())
    }

    #[cold]
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let used = (self.at - self.flushed) as usize;
            let room = WINDOW - used;
            if bytes.len() <= room {
                self.memory.write_window(self.slot, used, bytes);
                self.at += bytes.len() as u64;
                return Ok(());
            }
            if used == 0 {
                self.memory.write_results(self.slot, bytes, self.at)?;
                self.at += bytes.len() as u64;
                self.set_flushed(self.at);
                return Ok(());
            }
            let (first, rest) = bytes.split_at(room);
            self.memory.write_window(self.slot, used, first);
            self.memory.flush_window(self.slot, WINDOW, self.flushed)?;
            self.at += room as u64;
            crash_point!("pool.spilled");
            self.set_flushed(self.at);
            bytes = rest;
        }
    }

    fn set_flushed(&mut self, to: u64) {
        self.flushed = to;
        // Release: a process that sees the window's next bytes sees this first.
        self.words.flushed.store(to, Ordering::Release);
    }
}
