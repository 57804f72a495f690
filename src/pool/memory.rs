//! `Memory`: where a pool keeps its jobs and their results, in the parent and in its workers.
//!
//! One segment holds the work queue (`raw::work_queue`) and a page for each slot: the first bytes of its job, and a window
//! through which its results are written. Longer data lies in a second memory file, with offsets so far apart that every slot
//! has room for any job: a hole in a file takes no memory, and what was read is punched out again. Behind the slots' parts of
//! that file are extents, for single items and results that are long (`extent`).

use super::extent::{Extents, STRIDE};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, Spec, text_fingerprint};
use crate::primitive::{AtomicU64, Padded};
use crate::raw::work_queue::{MOST_SLOTS, MOST_WORKERS, RawSlot, RawWorkQueue, WorkQueueWords};
use crate::segment::{Handle, Segment, os_error};
use crate::sys::file::{self, AsFd, OwnedFd};
use crate::travel::check_memory;
use std::io;
use std::sync::Arc;

/// Bytes of a job that lie in the slot's page.
pub(super) const JOB_BYTES: usize = 1024;
/// Bytes of results that lie in the slot's page.
pub(super) const WINDOW: usize = PAGE - JOB_BYTES;
const PAGE: usize = 8192;

const SCHEMA: &str = "procshare pool 3";

/// How many slots and workers a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Shape {
    pub(super) slots: u32,
    pub(super) workers: u32,
    /// Bytes of the file for the job of a slot; its results have as many.
    stride: u64,
}

impl Shape {
    /// Enough slots that workers find jobs while the parent is busy.
    pub(super) fn of_workers(workers: usize) -> Result<Self> {
        if workers == 0 || workers > MOST_WORKERS {
            let message = format!("expected 1 to {MOST_WORKERS} workers, found {workers}");
            return Err(Error::new(ErrorKind::InvalidCapacity, message));
        }
        let slots = (4 * workers).next_power_of_two().clamp(128, MOST_SLOTS);
        Ok(Shape {
            slots: slots as u32,
            workers: workers as u32,
            stride: STRIDE.min(file::file_size_limit() / (2 * slots as u64)),
        })
    }

    fn sleepers_at(self) -> usize {
        size_of::<WorkQueueWords>()
    }

    fn pids_at(self) -> usize {
        self.sleepers_at() + self.workers as usize * size_of::<Padded<AtomicU64>>()
    }

    fn requests_at(self) -> usize {
        self.pids_at() + self.workers as usize * size_of::<AtomicU64>()
    }

    fn ring_at(self) -> usize {
        self.requests_at() + self.workers as usize * size_of::<AtomicU64>()
    }

    fn slots_at(self) -> usize {
        (self.ring_at() + self.slots as usize * size_of::<AtomicU64>()).next_multiple_of(64)
    }

    fn pages_at(self) -> usize {
        self.slots_at() + self.slots as usize * size_of::<RawSlot>()
    }

    fn bytes(self) -> usize {
        self.pages_at() + self.slots as usize * PAGE
    }

    /// The extents behind the slots' parts of the file.
    fn extents(self, file: Arc<OwnedFd>) -> Arc<Extents> {
        Arc::new(Extents::new(file, 2 * u64::from(self.slots), self.stride))
    }

    fn spec(self) -> Spec<'static> {
        Spec {
            kind: Kind::Pool,
            fingerprint: text_fingerprint(SCHEMA),
            schema: &SCHEMA,
            len: u64::from(self.slots),
            bytes: self.bytes() as u64,
        }
    }
}

/// The two files of a pool, mapped and open.
pub(super) struct Memory {
    handle: Handle,
    shape: Shape,
    extents: Arc<Extents>,
}

impl Memory {
    /// Makes the files of a new pool.
    pub(super) fn new(shape: Shape) -> Result<Self> {
        // Fresh memory is zero, which is an empty work queue.
        let handle = Handle::new_alone(&shape.spec(), &|_, _| {})?;
        let spill = file::memfd(c"procshare-pool").map_err(|error| os_error("memfd_create", error))?;
        Ok(Memory {
            handle,
            shape,
            extents: shape.extents(Arc::new(spill)),
        })
    }

    /// Finds the work queue in a segment that was passed to this process.
    pub(super) fn open(segment: &Segment, shape: Shape, spill: Arc<OwnedFd>) -> Result<Self> {
        let spec = shape.spec();
        let handle = Handle::open_in(segment, "", &spec, Some(spec.len))?;
        if handle.bytes() != spec.bytes {
            let message = format!(
                "expected {} bytes for a pool of {shape:?}, found {}",
                spec.bytes,
                handle.bytes()
            );
            return Err(Error::new(ErrorKind::Corrupt, message).in_segment(segment.label()));
        }
        Ok(Memory {
            handle,
            shape,
            extents: shape.extents(spill),
        })
    }

    pub(super) fn segment(&self) -> &Segment {
        self.handle.segment()
    }

    pub(super) fn spill(&self) -> &Arc<OwnedFd> {
        self.extents.file()
    }

    pub(super) fn extents(&self) -> &Arc<Extents> {
        &self.extents
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The `len` objects at `at` bytes from the start.
    fn array<T>(&self, at: usize, len: u32) -> &[T] {
        let first = self.handle.address().wrapping_add(at).cast::<T>();
        // SAFETY: the object has `shape.bytes()` bytes (`new` made it so, `open` compared), aligned to a cache line; the
        // offsets come from `shape`, keep that alignment, and end where the next begins. What lies there is made of atomics,
        // for which any bytes are valid, and stays mapped while the handle lives.
        unsafe { core::slice::from_raw_parts(first, len as usize) }
    }

    /// The work queue's state machine.
    pub(super) fn queue(&self) -> RawWorkQueue<'_> {
        let Shape { slots, workers, .. } = self.shape;
        let words: &[WorkQueueWords] = self.array(0, 1);
        RawWorkQueue::new(
            &words[0],
            self.array(self.shape.sleepers_at(), workers),
            self.array(self.shape.ring_at(), slots),
            self.array(self.shape.slots_at(), slots),
        )
    }

    /// A word for each worker: its process id, once it is ready for jobs.
    pub(super) fn pids(&self) -> &[AtomicU64] {
        self.array(self.shape.pids_at(), self.shape.workers)
    }

    /// A word for each worker: its request for descriptors, see `request`.
    pub(super) fn requests(&self) -> &[AtomicU64] {
        self.array(self.shape.requests_at(), self.shape.workers)
    }

    /// The byte at offset `at` in a slot's page.
    fn page(&self, slot: usize, at: usize) -> *mut u8 {
        debug_assert!(slot < self.shape.slots as usize && at <= PAGE);
        self.handle
            .address()
            .wrapping_add(self.shape.pages_at() + slot * PAGE + at)
    }

    /// Writes a job into a free slot.
    pub(super) fn write_job(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let (first, rest) = bytes.split_at(bytes.len().min(JOB_BYTES));
        // SAFETY: the page has so many bytes for jobs, and nobody else reads or writes those of a free slot.
        unsafe { self.page(slot, 0).copy_from_nonoverlapping(first.as_ptr(), first.len()) };
        if rest.is_empty() {
            return Ok(());
        }
        self.check_room(0, rest.len())?;
        file::write_at(self.spill().as_fd(), rest, self.job_offset(slot))
    }

    /// Reads `len` bytes of a job that this process has claimed.
    pub(super) fn read_job(&self, slot: usize, len: usize, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        if len > JOB_BYTES {
            // The length comes from a peer; the file's comes from the kernel.
            self.check_spilled(self.job_offset(slot), (len - JOB_BYTES) as u64)?;
        }
        check_memory(len as u64)?;
        into.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let first = len.min(JOB_BYTES);
        into.resize(first, 0);
        // SAFETY: the page has so many bytes for jobs, `into` has just been given as many, and the poster writes none of a slot
        // that is taken.
        unsafe { into.as_mut_ptr().copy_from_nonoverlapping(self.page(slot, 0), first) };
        if len > JOB_BYTES {
            file::append_at(self.spill().as_fd(), into, len - first, self.job_offset(slot))?;
        }
        Ok(())
    }

    /// Writes into the window of a slot that this process has claimed.
    pub(super) fn write_window(&self, slot: usize, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= WINDOW, "results exceed the window of their slot");
        let to = self.page(slot, JOB_BYTES + at);
        if let Some((words, _)) = bytes.split_first_chunk::<8>().filter(|_| bytes.len() <= 16) {
            // Two words, which may overlap: for so few bytes, a call would take longer.
            let last = bytes.last_chunk::<8>().unwrap_or(words);
            // SAFETY: the window has at least eight bytes there (asserted), as below.
            unsafe { to.cast::<[u8; 8]>().write(*words) };
            // SAFETY: as above, the last eight.
            unsafe { to.wrapping_add(bytes.len() - 8).cast::<[u8; 8]>().write(*last) };
            return;
        }
        // SAFETY: the window has so many bytes (asserted), and the poster reads none of them before they are published.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Moves the first `len` bytes of the window into the file, as the results from offset `at` on.
    pub(super) fn flush_window(&self, slot: usize, len: usize, at: u64) -> io::Result<()> {
        let mut bytes = [0; WINDOW];
        self.read_window(slot, &mut bytes[..len]);
        self.write_results(slot, &bytes[..len], at)
    }

    /// Writes results into the file directly.
    pub(super) fn write_results(&self, slot: usize, bytes: &[u8], at: u64) -> io::Result<()> {
        self.check_room(at, bytes.len())?;
        file::write_at(self.spill().as_fd(), bytes, self.result_offset(slot) + at)
    }

    fn read_window(&self, slot: usize, into: &mut [u8]) {
        assert!(into.len() <= WINDOW, "results exceed the window of their slot");
        let from = self.page(slot, JOB_BYTES);
        // SAFETY: the window has so many bytes (asserted), which its writer, if alive, has published and no longer writes.
        unsafe { into.as_mut_ptr().copy_from_nonoverlapping(from, into.len()) };
    }

    /// Reads the results of a slot that is done, or whose worker is dead.
    pub(super) fn read_results(&self, slot: usize, written: u64, flushed: u64) -> io::Result<Vec<u8>> {
        let in_file = written.min(flushed);
        let in_window = (written - in_file) as usize;
        if in_window > WINDOW {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.check_spilled(self.result_offset(slot), in_file)?;
        let len = in_file as usize + in_window;
        check_memory(len as u64)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if in_file > 0 {
            file::append_at(
                self.spill().as_fd(),
                &mut bytes,
                in_file as usize,
                self.result_offset(slot),
            )?;
        }
        bytes.resize(len, 0);
        self.read_window(slot, &mut bytes[in_file as usize..]);
        Ok(bytes)
    }

    fn job_offset(&self, slot: usize) -> u64 {
        2 * slot as u64 * self.shape.stride
    }

    fn result_offset(&self, slot: usize) -> u64 {
        self.job_offset(slot) + self.shape.stride
    }

    /// Asks whether `len` more bytes fit in a slot's part of the file, and in memory.
    fn check_room(&self, at: u64, len: usize) -> io::Result<()> {
        let (len, most) = (len as u64, self.shape.stride);
        if at.saturating_add(len) > most {
            let message = format!(
                "a job's arguments and its results may take {most} bytes each: raise the file-size \
                limit (ulimit -f)"
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        check_memory(len)
    }

    fn check_spilled(&self, offset: u64, len: u64) -> io::Result<()> {
        if len > 0 && (len > self.shape.stride || offset + len > file::stat(self.spill().as_fd())?.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Gives back the memory of a job's bytes in the file.
    pub(super) fn punch_job(&self, slot: usize) {
        // If it cannot be given back, the slot's next job overwrites it.
        let _ = file::punch(self.spill().as_fd(), self.job_offset(slot), self.shape.stride);
    }

    /// Gives back the memory of results in the file.
    pub(super) fn punch_results(&self, slot: usize) {
        let _ = file::punch(self.spill().as_fd(), self.result_offset(slot), self.shape.stride); // As above.
    }
}
