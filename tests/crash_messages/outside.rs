//! Deaths while an item is put that does not lie in the ring, or taken: nothing is torn, and its memory is given back.

use crate::role::{Folder, Role, file_of};
use crate::stage::{LATE, dies, timed, victim};
use procshare::{RecvError, Segment, SharedQueue};
use std::os::unix::fs::MetadataExt;

/// A number, and bytes of it: more than the ring holds, fewer, or just some.
type Item = (u64, Vec<u8>);

fn item(number: u64) -> Item {
    let length = [50_000, 40_000, 5, 70_001][number as usize % 4];
    (number, vec![number as u8; length])
}

fn open(arguments: &[String]) -> SharedQueue<Item> {
    let segment = Segment::builder().folder(&arguments[0]).open("shared");
    let segment = segment.expect("the test made it");
    segment.open_queue("queue").expect("the test made it")
}

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("put a large one", |arguments| {
        let queue = open(arguments);
        let _company = queue.clone();
        queue.put(item(11)).expect("there is room");
    }),
    ("put all, large ones", |arguments| {
        let queue = open(arguments);
        let _company = queue.clone();
        let items = (11..=12).map(item).collect::<Vec<_>>();
        queue.put_all(items).expect("there is room");
    }),
    ("get a large one", |arguments| {
        open(arguments).get().expect("something is there");
    }),
    ("get two, large ones", |arguments| {
        open(arguments).get_up_to(2).expect("something is there");
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

    /// What is queued, whole and in order.
    fn drain(&self, point: &'static str) -> Vec<u64> {
        let mut seen = Vec::new();
        loop {
            match timed(point, || self.queue.try_get()) {
                Ok(found) => {
                    assert_eq!(found, item(found.0), "{point}: torn");
                    seen.push(found.0);
                }
                Err(end) => {
                    assert!(
                        matches!(end, RecvError::Empty | RecvError::Disconnected),
                        "{point}: {end:?}"
                    );
                    return seen;
                }
            }
        }
    }

    fn ends_as_new(self, point: &'static str) {
        assert_eq!(self.blocks(), self.empty, "{point}: memory is lost");
        for number in [3, 5, 4, 7] {
            timed(point, || self.queue.put_timeout(item(number), LATE)).expect("there is room");
        }
        assert_eq!(self.drain(point), [3, 5, 4, 7], "{point}");
        assert_eq!(self.blocks(), self.empty, "{point}: memory is lost later");
        let Stage {
            folder, segment, queue, ..
        } = self;
        drop((queue, segment));
        assert!(folder.names().is_empty(), "{point}: left {:?}", folder.names());
    }
}

/// A producer dies: the item is there whole, or its memory is free once somebody else has put something.
pub(crate) fn putting(point: &'static str, delivered: bool) {
    for queued in [0, 3] {
        for (role, put) in [("put a large one", &[11][..]), ("put all, large ones", &[11])] {
            let stage = Stage::new(queued);
            let before = stage.blocks();
            dies(point, victim(point, role, &[stage.folder.path()]));
            timed(point, || stage.queue.put_timeout(item(2), LATE)).expect("there is room");
            if !delivered {
                assert_eq!(stage.blocks(), before, "{point}: {role}: given back by the heir");
            }
            let mut expected: Vec<u64> = (1..=queued).collect();
            expected.extend(put.iter().filter(|_| delivered));
            expected.push(2);
            assert_eq!(stage.drain(point), expected, "{point}: {role}");
            stage.ends_as_new(point);
        }
    }
}

/// A consumer dies: the item is still there, or its memory is free once somebody else has looked for one.
pub(crate) fn getting(point: &'static str, taken: bool) {
    for (role, most) in [("get a large one", 1), ("get two, large ones", 2)] {
        let stage = Stage::new(most);
        dies(point, victim(point, role, &[stage.folder.path()]));
        let left: Vec<u64> = if taken { vec![] } else { (1..=most).collect() };
        assert_eq!(stage.drain(point), left, "{point}: {role}");
        assert_eq!(stage.blocks(), stage.empty, "{point}: {role}: given back by the heir");
        stage.ends_as_new(point);
    }
}
