//! The crates `shared_memory` and `raw_sync`: portable, not robust.

use crate::measure::{Effort, Measured, each, interleave, once};
use crate::segments::unique;
use procshare::{Segment, SharedValue};
use raw_sync::locks::{LockInit, Mutex};
use shared_memory::ShmemConf;
use std::hint::black_box;

const CAPACITY: usize = 64 * 1024;
/// Where the number stands behind the mutex.
const NUMBER: usize = 64;

pub(crate) fn increment(effort: Effort) -> Option<Measured> {
    let ours = SharedValue::new(0u64).unwrap();
    let memory = ShmemConf::new().size(4096).create().unwrap();
    let number = memory.as_ptr().wrapping_add(NUMBER);
    // SAFETY: the mapping has room for a mutex before the number, and outlives it; nobody else has it yet.
    let (mutex, used) = unsafe { Mutex::new(memory.as_ptr(), number) }.unwrap();
    assert!(used <= NUMBER);
    let add = || {
        let guard = mutex.lock().unwrap();
        let number = (*guard).cast::<u64>();
        // SAFETY: the number is aligned, lies in the mapping and began as zero; the mutex is held.
        unsafe { *number += 1 };
    };
    let operations = effort.operations(100_000);
    let measured = interleave(
        effort.rounds(101),
        || each(operations, || *black_box(&ours).get_lock() += 1),
        || each(operations, add),
    );
    // SAFETY: as above; the only thread that writes there is this one.
    assert_eq!(ours.get(), unsafe { *number.cast::<u64>() });
    Some(measured)
}

pub(crate) fn create(effort: Effort) -> Option<Measured> {
    let (ours, peer) = (unique("ours"), unique("peer"));
    Some(interleave(
        effort.rounds(501),
        || once(|| Segment::create(&ours, CAPACITY).unwrap()),
        || once(|| ShmemConf::new().os_id(&peer).size(CAPACITY).create().unwrap()),
    ))
}

pub(crate) fn open(effort: Effort) -> Option<Measured> {
    let (ours, peer) = (unique("ours"), unique("peer"));
    let _ours = Segment::create(&ours, CAPACITY).unwrap();
    let _peer = ShmemConf::new().os_id(&peer).size(CAPACITY).create().unwrap();
    Some(interleave(
        effort.rounds(501),
        || once(|| Segment::open(&ours).unwrap()),
        || once(|| ShmemConf::new().os_id(&peer).open().unwrap()),
    ))
}
