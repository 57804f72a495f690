//! Deaths while an item is put that does not lie in the ring, or taken: nothing is torn, and its memory is given back.

use crate::memory::{Item, Lengths, Stage, item, open};
use crate::role::Role;
use crate::stage::{dies, victim};

/// More than the ring holds, fewer, or just some.
const LENGTHS: Lengths = [50_000, 40_000, 5, 70_001];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("put a large one", |arguments| {
        let queue = open(&arguments[0]);
        let _company = queue.clone();
        queue.put(item(LENGTHS, 11)).expect("there is room");
    }),
    ("put all, large ones", |arguments| {
        let queue = open(&arguments[0]);
        let _company = queue.clone();
        let items = (11..=12).map(|number| item(LENGTHS, number)).collect::<Vec<Item>>();
        queue.put_all(items).expect("there is room");
    }),
    ("get a large one", |arguments| {
        open(&arguments[0]).get().expect("something is there");
    }),
    ("get two, large ones", |arguments| {
        open(&arguments[0]).get_up_to(2).expect("something is there");
    }),
];

fn ends_as_new(stage: Stage, point: &'static str) {
    assert_eq!(stage.blocks(), stage.empty, "{point}: memory is lost");
    stage.passes(point, [3, 5, 4, 7]);
    stage.ends(point);
}

/// A producer dies: the item is there whole, or its memory is free once somebody else has put something.
pub(crate) fn putting(point: &'static str, delivered: bool) {
    for queued in [0, 3] {
        for (role, put) in [("put a large one", &[11][..]), ("put all, large ones", &[11])] {
            let stage = Stage::new(LENGTHS, queued);
            let before = stage.blocks();
            dies(point, victim(point, role, &[stage.folder.path()]));
            stage.put(point, 2);
            if !delivered {
                assert_eq!(stage.blocks(), before, "{point}: {role}: given back by the heir");
            }
            let mut expected: Vec<u64> = (1..=queued).collect();
            expected.extend(put.iter().filter(|_| delivered));
            expected.push(2);
            assert_eq!(stage.drain(point), expected, "{point}: {role}");
            ends_as_new(stage, point);
        }
    }
}

/// A consumer dies: the item is still there, or its memory is free once somebody else has looked for one.
pub(crate) fn getting(point: &'static str, taken: bool) {
    for (role, most) in [("get a large one", 1), ("get two, large ones", 2)] {
        let stage = Stage::new(LENGTHS, most);
        dies(point, victim(point, role, &[stage.folder.path()]));
        let left: Vec<u64> = if taken { vec![] } else { (1..=most).collect() };
        assert_eq!(stage.drain(point), left, "{point}: {role}");
        assert_eq!(stage.blocks(), stage.empty, "{point}: {role}: given back by the heir");
        ends_as_new(stage, point);
    }
}
