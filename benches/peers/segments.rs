//! Making segments and processes, and the memory they take: beside limits, not peers.

use crate::measure::{Effort, Measured, Unit, interleave, median, once};
use procshare::{Process, Segment, SharedValue};
use std::process::{Command, Stdio};

const CREATE_LIMIT: f64 = 40e3;
const OPEN_LIMIT: f64 = 40e3;
const RESIDENT_LIMIT: f64 = (1 << 20) as f64;
const VALUE_LIMIT: f64 = 64.0;
const CAPACITY: usize = 64 * 1024;

/// A name nobody else uses.
pub(crate) fn unique(what: &str) -> String {
    format!("bench-{what}-{}", std::process::id())
}

pub(crate) fn create_anonymous(effort: Effort) -> Option<Measured> {
    let create = || once(|| Segment::new(CAPACITY).unwrap());
    let figures = (0..effort.rounds(1001)).map(|_| create()).collect();
    Some(Measured::within(median(figures), CREATE_LIMIT))
}

pub(crate) fn open_named(effort: Effort) -> Option<Measured> {
    let name = unique("open");
    let segment = Segment::create(&name, CAPACITY).unwrap();
    segment.value("answer", 42u32).unwrap();
    let open = || once(|| Segment::open(&name).unwrap());
    let figures = (0..effort.rounds(1001)).map(|_| open()).collect();
    let found = Segment::open(&name).unwrap().open_value::<u32>("answer").unwrap();
    assert_eq!(found.get(), 42);
    Some(Measured::within(median(figures), OPEN_LIMIT))
}

fn nothing() {}

/// The argument with which this program does nothing.
pub(crate) const IDLE: &str = "--idle";

pub(crate) fn spawn_join(effort: Effort) -> Option<Measured> {
    let executable = std::env::current_exe().unwrap();
    let run = || {
        let mut command = Command::new(&executable);
        let status = command.arg(IDLE).stdin(Stdio::null()).status().unwrap();
        assert!(status.success());
    };
    Some(interleave(
        effort.rounds(201),
        || once(|| Process::spawn(nothing, ()).unwrap().join().unwrap()),
        || once(run),
    ))
}

/// Resident bytes of a process that holds so many values in one segment.
fn resident_with(values: u32) -> u64 {
    let segment = Segment::new(1 << 20).unwrap();
    let held: Vec<SharedValue<u64>> = (0..values)
        .map(|index| segment.value(&format!("value {index}"), 0).unwrap())
        .collect();
    held.iter().for_each(|value| *value.get_lock() += 1);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(held.iter().all(|value| value.get() == 1));
    // SAFETY: the call takes a number and touches no memory.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

pub(crate) fn resident(effort: Effort) -> Option<Measured> {
    let bytes = |values: u32| {
        let child = Process::spawn(resident_with, (values,)).unwrap();
        child.join().unwrap() as f64
    };
    let more = (0..effort.rounds(7)).map(|_| bytes(1000) - bytes(0));
    Some(Measured {
        ours: median(more.collect()),
        peer: RESIDENT_LIMIT,
        unit: Unit::Bytes,
    })
}

pub(crate) fn bytes_of_a_value(_effort: Effort) -> Option<Measured> {
    let segment = Segment::new(CAPACITY).unwrap();
    segment.value("one", 0u64).unwrap();
    let bytes = segment.objects().unwrap()[0].bytes;
    Some(Measured {
        // An object takes whole cache lines.
        ours: bytes.next_multiple_of(64) as f64,
        peer: VALUE_LIMIT,
        unit: Unit::Bytes,
    })
}
