//! Small queues of texts, and a queue whose memory can be looked at.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use crate::role::{Folder, file_of};
use procshare::{Capacity, Segment, SharedQueue};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The fewest bytes a queue has.
pub(crate) const BYTES: usize = 4096;

pub(crate) fn small<T>(items: usize) -> SharedQueue<T> {
    SharedQueue::new(Capacity::items(items).bytes(BYTES)).unwrap()
}

pub(crate) fn text(letter: u8, len: usize) -> String {
    char::from(b'a' + letter % 26).to_string().repeat(len)
}

/// Bytes that a text takes in a queue: a header, its length in one to three bytes, itself, and what fills up the last word.
pub(crate) fn bytes_of(text: &str) -> usize {
    let len = match text.len() {
        0..32 => 1,
        32..256 => 2,
        _ => 3,
    };
    8 + (len + text.len()).next_multiple_of(8)
}

/// A segment for a queue, in a file whose memory can be looked at.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    pub(crate) segment: Segment,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let segment = folder.builder().capacity(1 << 18).create("shared").unwrap();
        Stage { folder, segment }
    }

    pub(crate) fn file(&self) -> PathBuf {
        file_of(&self.folder.0, "shared")
    }

    /// Bytes of memory that the segment takes.
    pub(crate) fn taken(&self) -> usize {
        std::fs::metadata(self.file()).unwrap().blocks() as usize * 512
    }
}
