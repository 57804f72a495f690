//! Deaths while a long item is encoded into its extent, put, taken, or decoded there: nothing is torn, and its memory is given
//! back.

use crate::role::{Folder, Role, file_of};
use crate::stage::{LATE, dies, timed, victim};
use procshare::{Segment, SharedQueue};
use std::os::unix::fs::MetadataExt;

/// A number, and bytes of it: long, but for some.
type Item = (u64, Vec<u8>);

fn item(number: u64) -> Item {
    let length = [1_200_000, 2_000_000, 5, 1_300_001][number as usize % 4];
    (number, vec![number as u8; length])
}

fn open(arguments: &[String]) -> SharedQueue<Item> {
    let segment = Segment::builder().folder(&arguments[0]).open("shared");
    let segment = segment.expect("the test made it");
    segment.open_queue("queue").expect("the test made it")
}

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("put a long one", |arguments| {
        let queue = open(arguments);
        let _company = queue.clone();
        queue.put(item(11)).expect("there is room");
    }),
    ("get a long one", |arguments| {
        open(arguments).get().expect("something is there");
    }),
];

struct Stage {
    folder: Folder,
    segment: Segment,
    queue: SharedQueue<Item>,
    empty: u64,
}

impl Stage {
    fn new(queued: u64) -> Self {
        let folder = Folder::new();
        let segment = folder.builder().capacity(1 << 17).create("shared");
        let segment = segment.expect("the folder is ours");
        let queue = segment.queue("queue", 8).expect("there is room");
        let mut stage = Stage {
            folder,
            segment,
            queue,
            empty: 0,
        };
        stage.empty = stage.blocks();
        (1..=queued).for_each(|number| stage.queue.put(item(number)).expect("there is room"));
        stage
    }

    fn blocks(&self) -> u64 {
        let file = std::fs::metadata(file_of(&self.folder.0, "shared"));
        file.expect("it is there").blocks()
    }

    fn put(&self, point: &'static str, number: u64) {
        timed(point, || self.queue.put_timeout(item(number), LATE)).expect("there is room");
    }

    /// What is queued, whole and in order.
    fn drain(&self, point: &'static str) -> Vec<u64> {
        let found = core::iter::from_fn(|| timed(point, || self.queue.try_get()).ok());
        found
            .map(|found| {
                assert!(found == item(found.0), "{point}: torn");
                found.0
            })
            .collect()
    }

    fn ends_as_new(self, point: &'static str) {
        // Who puts or takes next gives back what the dead have left.
        for numbers in [[3, 5, 4, 7], [4, 8, 6, 1]] {
            numbers.into_iter().for_each(|number| self.put(point, number));
            assert_eq!(self.drain(point), numbers, "{point}");
            assert_eq!(self.blocks(), self.empty, "{point}: memory is lost");
        }
        let Stage {
            folder, segment, queue, ..
        } = self;
        drop((queue, segment));
        assert!(folder.names().is_empty(), "{point}: left {:?}", folder.names());
    }
}

/// A producer dies: the item is there whole, or not at all.
pub(crate) fn putting(point: &'static str, delivered: bool) {
    for queued in [0, 3] {
        let stage = Stage::new(queued);
        dies(point, victim(point, "put a long one", &[stage.folder.path()]));
        stage.put(point, 13);
        let mut expected: Vec<u64> = (1..=queued).collect();
        expected.extend([11].iter().filter(|_| delivered));
        expected.push(13);
        assert_eq!(stage.drain(point), expected, "{point}");
        stage.ends_as_new(point);
    }
}

/// A consumer dies: the item is still there, or gone with it.
pub(crate) fn getting(point: &'static str, taken: bool) {
    let stage = Stage::new(2);
    dies(point, victim(point, "get a long one", &[stage.folder.path()]));
    let left: &[u64] = if taken { &[] } else { &[1] };
    let expected: Vec<u64> = left.iter().copied().chain([2]).collect();
    let found = stage.drain(point);
    assert_eq!(found, expected, "{point}");
    stage.ends_as_new(point);
}
