//! A queue of items that do not lie in its ring, in a file whose memory can be looked at.

use crate::role::{Folder, file_of};
use crate::stage::{LATE, timed};
use procshare::{RecvError, Segment, SharedQueue};
use std::os::unix::fs::MetadataExt;

/// A number, and bytes of it.
pub(crate) type Item = (u64, Vec<u8>);

/// How long items are: every fourth alike.
pub(crate) type Lengths = [usize; 4];

pub(crate) fn item(lengths: Lengths, number: u64) -> Item {
    (number, vec![number as u8; lengths[number as usize % 4]])
}

/// The queue in a stage's folder.
pub(crate) fn open(folder: &str) -> SharedQueue<Item> {
    let segment = Segment::builder().folder(folder).open("shared");
    let segment = segment.expect("the test made it");
    segment.open_queue("queue").expect("the test made it")
}

pub(crate) struct Stage {
    pub(crate) folder: Folder,
    segment: Segment,
    queue: SharedQueue<Item>,
    lengths: Lengths,
    /// The file's memory before anything was put.
    pub(crate) empty: u64,
}

impl Stage {
    pub(crate) fn new(lengths: Lengths, queued: u64) -> Self {
        let folder = Folder::new();
        let segment = folder.builder().capacity(1 << 17).create("shared");
        let segment = segment.expect("the folder is ours");
        let queue = segment.queue("queue", 8).expect("there is room");
        let mut stage = Stage {
            folder,
            segment,
            queue,
            lengths,
            empty: 0,
        };
        stage.empty = stage.blocks();
        (1..=queued).for_each(|number| stage.queue.put(item(lengths, number)).expect("there is room"));
        stage
    }

    pub(crate) fn blocks(&self) -> u64 {
        let file = std::fs::metadata(file_of(&self.folder.0, "shared"));
        file.expect("it is there").blocks()
    }

    pub(crate) fn put(&self, point: &'static str, number: u64) {
        let item = item(self.lengths, number);
        timed(point, || self.queue.put_timeout(item, LATE)).expect("there is room");
    }

    /// What is queued, whole and in order.
    pub(crate) fn drain(&self, point: &'static str) -> Vec<u64> {
        let mut seen = Vec::new();
        loop {
            match timed(point, || self.queue.try_get()) {
                Ok(found) => {
                    assert!(found == item(self.lengths, found.0), "{point}: torn");
                    seen.push(found.0);
                }
                Err(RecvError::Empty | RecvError::Disconnected) => return seen,
                Err(end) => panic!("{point}: {end:?}"),
            }
        }
    }

    /// Puts these and takes them out: whoever puts or takes next gives back what the dead have left.
    pub(crate) fn passes(&self, point: &'static str, numbers: [u64; 4]) {
        numbers.into_iter().for_each(|number| self.put(point, number));
        assert_eq!(self.drain(point), numbers, "{point}");
        assert_eq!(self.blocks(), self.empty, "{point}: memory is lost");
    }

    pub(crate) fn ends(self, point: &'static str) {
        let Stage {
            folder, segment, queue, ..
        } = self;
        drop((queue, segment));
        assert!(folder.names().is_empty(), "{point}: left {:?}", folder.names());
    }
}
