//! Deaths while a long item is encoded into its extent, put, taken, or decoded there: nothing is torn, and its memory is given
//! back.

use crate::memory::{Lengths, Stage, item, open};
use crate::role::Role;
use crate::stage::{dies, victim};

/// Long, but for some.
const LENGTHS: Lengths = [1_200_000, 2_000_000, 5, 1_300_001];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("put a long one", |arguments| {
        let queue = open(&arguments[0]);
        let _company = queue.clone();
        queue.put(item(LENGTHS, 11)).expect("there is room");
    }),
    ("get a long one", |arguments| {
        open(&arguments[0]).get().expect("something is there");
    }),
];

fn ends_as_new(stage: Stage, point: &'static str) {
    stage.passes(point, [3, 5, 4, 7]);
    stage.passes(point, [4, 8, 6, 1]);
    stage.ends(point);
}

/// A producer dies: the item is there whole, or not at all.
pub(crate) fn putting(point: &'static str, delivered: bool) {
    for queued in [0, 3] {
        let stage = Stage::new(LENGTHS, queued);
        dies(point, victim(point, "put a long one", &[stage.folder.path()]));
        stage.put(point, 13);
        let mut expected: Vec<u64> = (1..=queued).collect();
        expected.extend([11].iter().filter(|_| delivered));
        expected.push(13);
        assert_eq!(stage.drain(point), expected, "{point}");
        ends_as_new(stage, point);
    }
}

/// A consumer dies: the item is still there, or gone with it.
pub(crate) fn getting(point: &'static str, taken: bool) {
    let stage = Stage::new(LENGTHS, 2);
    dies(point, victim(point, "get a long one", &[stage.folder.path()]));
    let left: &[u64] = if taken { &[] } else { &[1] };
    let expected: Vec<u64> = left.iter().copied().chain([2]).collect();
    let found = stage.drain(point);
    assert_eq!(found, expected, "{point}");
    ends_as_new(stage, point);
}
