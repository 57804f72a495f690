//! What a worker does: claims jobs, runs them item by item, sleeps when there are none.

use super::extent::{Extents, Place};
use super::memory::{Memory, Shape};
use super::records::{Item, MOST_HEADER, Tag, Times, refusal, take};
use super::request::Requester;
use super::results::{ResultWriter, with_room};
use crate::encoding::decode;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{Ordering, crash_point};
use crate::process::call::{self, Entry};
use crate::process::panic::Panic;
use crate::process::program;
use crate::raw::work_queue::{JOINED, RELEASED, RawSlot};
use crate::segment::{Segment, os_error};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{clock, event};
use crate::travel::{self, Descriptor, Received};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a worker is given at its start.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Setup {
    pub(super) segment: Segment,
    pub(super) shape: Shape,
    pub(super) spill: Descriptor,
    /// Wakes the pool's thread.
    pub(super) wakeup: Descriptor,
    /// The worker's number.
    pub(super) worker: u32,
    /// Where descriptors arrive.
    pub(super) socket: Descriptor,
    /// How many items it may run.
    pub(super) budget: Option<u64>,
    /// Whether to record the times of items.
    pub(super) timed: bool,
}

/// A buffer larger than this is dropped after its job.
const MOST_KEPT: usize = 1 << 20;

/// Runs the items of one job.
pub(super) type Chunk = fn(&mut Run<'_>);

/// One job under way.
pub(super) struct Run<'a> {
    results: ResultWriter<'a>,
    words: &'a RawSlot,
    extents: &'a Extents,
    rest: &'a [u8],
    next: u64,
    items: u64,
    budget: &'a mut Option<u64>,
    timed: bool,
    begun_at: u64,
}

impl<'a> Run<'a> {
    /// Returns the next item, which counts as begun from here on.
    #[inline]
    fn begin(&mut self) -> Option<Item<'a>> {
        if self.next == self.items || *self.budget == Some(0) {
            return None;
        }
        if let Some(budget) = self.budget {
            *budget -= 1;
        }
        self.next += 1;
        if self.timed {
            self.begun_at = clock::monotonic_nanos();
            self.words.begun_at.store(self.begun_at, Ordering::Relaxed); // Relaxed: as below.
        }
        // Release: pairs as `written` does, see `ResultWriter`.
        self.words.begun.store(self.next, Ordering::Release);
        crash_point!("pool.begun");
        Some(Item::take(&mut self.rest).unwrap_or(Item::Short(&[])))
    }

    /// Records that the arguments of the item in hand have arrived, and that the queues among them are joined.
    #[inline]
    fn note_arguments(&self) {
        if self.next == self.items {
            // Release: pairs with the Acquire in `Jobs::release_shares`.
            self.words.job.settled.store(JOINED, Ordering::Release);
        }
    }

    #[cold]
    fn decode_long<Args: DeserializeOwned>(&self, place: Place) -> Result<Args> {
        // Relaxed: claiming the slot has ordered what its poster wrote.
        let number = self.words.job.items_extent.load(Ordering::Relaxed);
        let bytes = self.extents.bytes(number, place).map_err(unreadable)?;
        travel::unpack(&bytes)
    }

    /// Records that the result in hand lies in the extent, with its length in bytes.
    #[cold]
    fn put_long(&mut self, stored: usize) {
        let place = self.results.keep_long(stored);
        self.put(Tag::Long, &mut with_room(&place.to_bytes()));
    }

    #[inline]
    fn put(&mut self, tag: Tag, result: &mut [u8]) {
        let times = self.timed.then(|| Times {
            begun: self.begun_at,
            done: clock::monotonic_nanos(),
        });
        self.results.put(tag, result, times);
    }

    fn refuse(&mut self, error: &Error) {
        self.put(Tag::Refused, &mut with_room(&refusal(error.kind(), &error.to_string())));
    }

    /// Gives all items the same error: none of them can be run.
    fn refuse_all(&mut self, error: &Error) {
        while self.begin().is_some() {
            self.refuse(error);
        }
    }
}

/// Runs a job whose function is `F`.
pub(super) fn run_chunk<F, Args, R>(run: &mut Run<'_>)
where
    F: Entry<Args, Output = R>,
    Args: DeserializeOwned,
    R: Serialize,
{
    // SAFETY: the parent had a value of F when it took the address of this function for its type.
    let function = unsafe { call::summon::<F>() };
    let mut result = vec![0; MOST_HEADER];
    while let Some(item) = run.begin() {
        result.truncate(MOST_HEADER);
        let work = || {
            let arguments = match item {
                Item::Short(bytes) => travel::unpack::<Args>(bytes)?,
                Item::Long(place) => run.decode_long(place)?,
            };
            run.note_arguments();
            travel::pack_result(&function.call(arguments), &mut result, run.results.long())
        };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(0)) => run.put(Tag::Value, &mut result),
            Ok(Ok(stored)) => run.put_long(stored),
            Ok(Err(error)) => run.refuse(&error),
            Err(payload) => run.put(Tag::Panicked, &mut with_room(&Panic::caught(payload).to_bytes())),
        }
    }
}

struct Worker {
    memory: Memory,
    setup: Setup,
    /// The bytes of the job in hand.
    job: Vec<u8>,
    /// What the last job that brought anything brought along: the next one often brings the same.
    kept: Vec<Segment>,
    /// How often this worker has requested descriptors.
    requests: u64,
}

/// Runs a worker.
pub(super) fn work(setup: Setup) -> Result<()> {
    let spill = setup.spill.0.clone();
    let memory = Memory::open(&setup.segment, setup.shape, spill)?;
    let number = setup.worker as usize;
    let pid = memory.pids().get(number);
    let pid = pid.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("a pool without a worker {number}")))?;
    // Release: pairs with the Acquire of the parent.
    pid.store(u64::from(std::process::id()), Ordering::Release);
    let mut worker = Worker {
        memory,
        setup,
        job: Vec::new(),
        kept: Vec::new(),
        requests: 0,
    };
    while worker.setup.budget != Some(0) {
        // Read before looking for jobs, so that everything posted until then is seen.
        let is_closing = worker.memory.queue().is_closing();
        match worker.memory.queue().claim(number) {
            Some(slot) => worker.run(slot),
            None if is_closing => break,
            None => worker.rest(number),
        }
    }
    Ok(())
}

impl Worker {
    fn run(&mut self, slot: usize) {
        let Worker {
            memory,
            setup,
            job,
            kept,
            requests,
        } = self;
        let words = memory.queue().slot(slot);
        // Relaxed: claiming the slot has ordered what its poster wrote.
        let [items, skip] = [&words.job.items, &words.job.skip].map(|word| word.load(Ordering::Relaxed));
        // From here on this job is the one in hand, even while it is being read. Release: as in `Run::begin`.
        if setup.timed {
            words.begun_at.store(clock::monotonic_nanos(), Ordering::Relaxed); // Relaxed: as `begun`, which follows.
        }
        words.begun.store(skip + 1, Ordering::Release);
        let job = read(memory, slot, job);
        let mut run = Run {
            results: ResultWriter::new(memory, slot),
            words,
            extents: memory.extents(),
            rest: &[],
            next: skip,
            items,
            budget: &mut setup.budget,
            timed: setup.timed,
            begun_at: 0,
        };
        let mut requester = Requester {
            memory,
            worker: setup.worker as usize,
            socket: &setup.socket.0,
            wakeup: &setup.wakeup.0,
            requests,
        };
        let job = job.and_then(|job| prepare(job, |place| requester.request(slot, place), kept));
        // Release: pairs with the Acquire in `Jobs::release_segments`.
        words.job.settled.store(RELEASED, Ordering::Release);
        match job {
            Ok(job) => {
                run.rest = job.items;
                for _ in 0..skip {
                    Item::take(&mut run.rest);
                }
                let received = Received {
                    segments: kept.clone(),
                    ..Received::default()
                };
                travel::unpacking(received, || (job.function)(&mut run));
            }
            Err(error) => run.refuse_all(&error),
        }
        if self.memory.queue().finish(slot) {
            self.wake_parent();
        }
        if self.job.capacity() > MOST_KEPT {
            self.job = Vec::new();
        }
    }

    fn wake_parent(&self) {
        // If the event cannot be signalled, the parent has closed it, being about to end.
        let _ = event::signal(self.setup.wakeup.0.as_fd());
    }

    fn rest(&mut self, number: usize) {
        let queue = self.memory.queue();
        if queue.is_overdue() {
            self.wake_parent();
        }
        // An idle worker must not count as attached.
        self.kept.clear();
        queue.sleep(number);
    }
}

/// A job that can be run.
struct Prepared<'a> {
    function: Chunk,
    items: &'a [u8],
}

/// The bytes of a claimed job, and its words.
struct Bytes<'a> {
    function: u64,
    table: &'a [u8],
    items: &'a [u8],
}

fn read<'a>(memory: &Memory, slot: usize, into: &'a mut Vec<u8>) -> Result<Bytes<'a>> {
    let words = &memory.queue().slot(slot).job;
    // Relaxed: claiming the slot has ordered what its poster wrote.
    let [function, bytes, table] =
        [&words.function, &words.bytes, &words.table].map(|word| word.load(Ordering::Relaxed));
    memory.read_job(slot, bytes as usize, into).map_err(unreadable)?;
    let mut items = &into[..];
    let table = take(&mut items, table).ok_or_else(|| {
        Error::new(
            ErrorKind::Encoding,
            "the job's table of segments is longer than the job",
        )
    })?;
    Ok(Bytes { function, table, items })
}

#[cold]
fn unreadable(error: io::Error) -> Error {
    os_error("reading the arguments", error)
}

/// Finds the function, and attaches to what the job brings along; `request` fetches the descriptors.
fn prepare<'a>(
    bytes: Bytes<'a>,
    request: impl FnMut(usize) -> Result<Vec<OwnedFd>>,
    kept: &mut Vec<Segment>,
) -> Result<Prepared<'a>> {
    if bytes.table.is_empty() {
        kept.clear();
    } else {
        let table = decode(bytes.table).map_err(|reason| {
            Error::new(
                ErrorKind::Encoding,
                format!("decoding the job's table of segments failed: {reason}"),
            )
        })?;
        *kept = travel::attach_all(table, kept, request)?;
    }
    let address = program::address_at(bytes.function)?;
    // SAFETY: the parent, which runs this very program, took the offset of a `run_chunk`; nobody else writes jobs.
    let function = unsafe { chunk_at(address) };
    Ok(Prepared {
        function,
        items: bytes.items,
    })
}

/// The function at an address.
///
/// # Safety
///
/// `address` is that of a [`Chunk`].
unsafe fn chunk_at(address: *const ()) -> Chunk {
    // SAFETY: a function pointer is as large as an address, and the caller knows that this one's type is right.
    unsafe { core::mem::transmute::<*const (), Chunk>(address) }
}
