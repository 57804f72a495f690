//! `Job`: a range of items of one group, on their way to a worker.

use super::extent::{Extent, Extents, Writer};
use super::group::Group;
use super::job_error::JobError;
use super::records::put_varint;
use super::worker::Chunk;
use crate::encoding::{Trial, encode};
use crate::error::Result;
use crate::process::program;
use crate::travel::{self, Attachments};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Neighbouring items of a group, which one worker runs one after another.
pub(super) struct Job {
    /// What the slot will hold; emptied once the slot holds it.
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes form the table of segments that go along.
    pub(super) table: usize,
    /// Keeps open what the worker fetches.
    pub(super) attachments: Arc<Attachments>,
    /// Keeps peers of the queues it brings along from finding themselves alone until its worker has joined those queues.
    pub(super) shares: Option<Arc<Attachments>>,
    /// Holds its long items.
    pub(super) extent: Option<Arc<Extent>>,
    /// The offset of its function in the program.
    pub(super) function: u64,
    pub(super) group: Arc<Group>,
    /// The place of its first item in the group.
    pub(super) first: usize,
    /// The number of its first item among all items of the pool.
    pub(super) number: u64,
    pub(super) items: usize,
    /// How many of its items have ended.
    pub(super) done: usize,
    /// How often the item after those may still be run again, and the initial limit.
    pub(super) retries_left: u32,
    pub(super) retries: u32,
    /// The error of the next item, in case it is not retried.
    pub(super) lost: Option<JobError>,
}

impl Job {
    /// The items that have not ended.
    pub(super) fn left(&self) -> usize {
        self.items - self.done
    }

    /// The place of the next item in its group.
    pub(super) fn next(&self) -> usize {
        self.first + self.done
    }

    /// The number of the next item among all items of the pool.
    pub(super) fn number(&self) -> u64 {
        self.number + self.done as u64
    }

    /// Counts items that have ended.
    pub(super) fn advance(&mut self, items: usize) {
        self.done += items;
        self.retries_left = self.retries;
        self.lost = None;
    }
}

/// What encoding a range of items resulted in: jobs, and items that cannot travel.
pub(super) struct Packed {
    pub(super) jobs: Vec<Job>,
    /// The place of the first item in its group.
    pub(super) first: usize,
    pub(super) refused: Vec<(usize, JobError)>,
}

impl Packed {
    pub(super) fn items(&self) -> usize {
        self.refused.len() + self.jobs.iter().map(|job| job.items).sum::<usize>()
    }

    /// The outcome where no item is sent.
    pub(super) fn refused<T>(items: impl IntoIterator<Item = T>, first: usize, error: &JobError) -> Self {
        let refused = items.into_iter().enumerate();
        Packed {
            jobs: Vec::new(),
            first,
            refused: refused.map(|(at, _)| (first + at, error.clone())).collect(),
        }
    }
}

/// Neighbouring items, encoded.
struct Encoded {
    first: usize,
    items: usize,
    bytes: Vec<u8>,
}

impl Encoded {
    fn at(first: usize) -> Self {
        Encoded {
            first,
            items: 0,
            bytes: Vec::new(),
        }
    }

    fn end(&self) -> usize {
        self.first + self.items
    }

    /// Appends an item with its length before it, unless it cannot be encoded.
    #[inline]
    fn push<Args>(&mut self, item: &Args, long: &mut Writer<'_>, trial: &Trial) -> Result<()>
    where
        Args: Serialize + DeserializeOwned,
    {
        let start = self.bytes.len();
        self.bytes.push(0);
        let stored = travel::pack::<Args>(item, &mut self.bytes, long, trial);
        if !matches!(stored, Ok(1..)) {
            long.discard();
        }
        let stored = stored.inspect_err(|_| self.bytes.truncate(start))?;
        self.items += 1;
        let len = self.bytes.len() - start - 1;
        if stored > 0 {
            self.bytes.extend(long.keep(stored).to_bytes());
        } else if len < 0x80 {
            self.bytes[start] = len as u8;
        } else {
            let mut varint = Vec::new();
            put_varint(len as u64, &mut varint);
            self.bytes.splice(start..=start, varint);
        }
        Ok(())
    }
}

/// Encodes the items in runs of neighbours; returns also those that cannot be encoded, by place, and what goes along with the
/// others.
fn encode_items<Args: Serialize + DeserializeOwned>(
    items: impl IntoIterator<Item = Args>,
    first: usize,
    long: &mut Writer<'_>,
) -> (Vec<Encoded>, Vec<(usize, JobError)>, Attachments) {
    let (mut runs, mut refused): (Vec<Encoded>, _) = (vec![], vec![]);
    let trial = Trial::of_type::<Args>();
    let ((), attachments) = travel::packing(Attachments::of_jobs(), || {
        for (at, item) in items.into_iter().enumerate() {
            let place = first + at;
            if runs.last().is_none_or(|run| run.end() != place) {
                runs.push(Encoded::at(place));
            }
            if let Some(Err(error)) = runs.last_mut().map(|run| run.push(&item, long, trial)) {
                refused.push((place, JobError::refusal(error.kind(), error.to_string())));
            }
        }
    });
    runs.retain(|run| run.items > 0);
    (runs, refused, attachments)
}

/// Makes one job of neighbouring items, or several, separated by items that cannot be encoded.
pub(super) fn pack<Args: Serialize + DeserializeOwned>(
    chunk: Chunk,
    items: impl IntoIterator<Item = Args>,
    group: &Arc<Group>,
    first: usize,
    retries: u32,
    extents: &Arc<Extents>,
) -> Packed {
    let function = match program::offset_of(chunk as *const ()) {
        Ok(function) => function,
        Err(error) => {
            let error = JobError::refusal(error.kind(), error.to_string());
            return Packed::refused(items, first, &error);
        }
    };
    let mut long = Writer::taking(extents);
    let (runs, refused, mut attachments) = encode_items(items, first, &mut long);
    let mut table = Vec::new();
    let segments = attachments.segments();
    if !segments.is_empty() {
        // Only numbers and paths: encoding cannot fail.
        let _ = encode(&segments, &mut table);
    }
    let shares = attachments.split_shares().map(Arc::new);
    let attachments = Arc::new(attachments);
    let extent = long.into_extent().map(Arc::new);
    let job = |run: Encoded| {
        let mut bytes = run.bytes;
        if !table.is_empty() {
            bytes.splice(0..0, table.iter().copied());
        }
        Job {
            bytes,
            table: table.len(),
            attachments: attachments.clone(),
            shares: shares.clone(),
            extent: extent.clone(),
            function,
            group: group.clone(),
            first: run.first,
            number: 0,
            items: run.items,
            done: 0,
            retries_left: retries,
            retries,
            lost: None,
        }
    };
    Packed {
        jobs: runs.into_iter().map(job).collect(),
        first,
        refused,
    }
}
