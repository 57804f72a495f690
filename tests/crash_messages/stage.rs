//! What the scenarios share: a queue in a folder of its own, victims, and a look at what they left.

use crate::role::{self, Actor, Folder, file_of, word_at};
use procshare::{Capacity, RecvError, Segment, SendError, SharedQueue};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Promised are 100 ms; a busy test machine may keep us from the processor as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// When a call gives up that should have ended long ago.
pub(crate) const LATE: Duration = Duration::from_secs(5);
/// Items the queue holds. What fits into its bytes is less for large ones.
pub(crate) const ITEMS: u64 = 6;
const BYTES: usize = 4096;
/// Bytes of a lock's word in the queue, from its start, and of its bells' words.
pub(crate) const PRODUCERS: u64 = 64;
pub(crate) const CONSUMERS: u64 = 192;
pub(crate) const BELL_OF_ITEMS: u64 = 320;
pub(crate) const BELL_OF_ROOM: u64 = 328;

/// A number, and as many bytes of it as it says.
pub(crate) type Item = (u64, Vec<u8>);

pub(crate) fn item(number: u64) -> Item {
    let length = [5, 300, 0, 100][number as usize % 4];
    (number, vec![number as u8; length])
}

/// The number of an item that has arrived whole.
pub(crate) fn number_of(found: Item) -> u64 {
    assert_eq!(found, item(found.0), "torn");
    found.0
}

/// Tests take turns: a child that another thread starts has our descriptors for a moment, and with them the lock that
/// keeps a segment's name.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) static LONGEST: Mutex<(Duration, &str)> = Mutex::new((Duration::ZERO, ""));

/// What a survivor waits after a death is short, and counts for the report.
pub(crate) fn timed<R>(point: &'static str, step: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let outcome = step();
    waited(point, begin.elapsed());
    outcome
}

pub(crate) fn waited(point: &'static str, pause: Duration) {
    assert!(pause < PATIENCE, "{point}: {pause:?}");
    let mut longest = LONGEST.lock().unwrap_or_else(PoisonError::into_inner);
    if pause > longest.0 {
        *longest = (pause, point);
    }
}

/// A queue that has been used, and where the numbers from 1 on are queued. Nobody takes part.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    pub(crate) segment: Segment,
}

pub(crate) fn open(arguments: &[String]) -> SharedQueue<Item> {
    let builder = Segment::builder().folder(&arguments[0]);
    let segment = builder.open("shared").expect("the test made it");
    segment.open_queue("queue").expect("the test made it")
}

impl Stage {
    pub(crate) fn new(queued: u64) -> Self {
        let folder = Folder::new();
        let builder = folder.builder().capacity(32 << 10);
        let segment = builder.create("shared").expect("the folder is ours");
        let capacity = Capacity::items(ITEMS as usize).bytes(BYTES);
        let first: SharedQueue<Item> = segment.queue("queue", capacity).expect("there is room");
        // The second record from here on goes around the ring's end.
        let second = first.clone();
        for _ in 0..3 {
            first.put((0, vec![0; 1290])).expect("there is room");
            second.get().expect("it is there");
        }
        for number in 1..=queued {
            first.put(item(number)).expect("there is room");
        }
        drop((first, second));
        Stage { folder, segment }
    }

    pub(crate) fn queue(&self) -> SharedQueue<Item> {
        self.segment.open_queue("queue").expect("it is there")
    }

    /// A word of the queue, as it stands in the segment's file.
    pub(crate) fn word(&self, at: u64) -> u64 {
        let objects = self.segment.objects().expect("it is whole");
        word_at(&file_of(&self.folder.0, "shared"), objects[0].offset + at)
    }

    /// Polls until somebody sleeps, or `over` says that nobody ever will.
    pub(crate) fn await_sleeper(&self, bell: u64, mut over: impl FnMut() -> bool) {
        while self.word(bell) & 1 == 0 && !over() {
            std::thread::yield_now();
        }
    }

    /// Starts a child that is to die at `passage`, which is a point or one of its passages.
    pub(crate) fn victim(&self, passage: &str, role: &str) -> Actor {
        victim(passage, role, &[self.folder.path()])
    }

    /// What is queued, to the end of it: it comes soon, in order and whole. Then everybody is told that nobody is left.
    pub(crate) fn left(&self, point: &'static str) -> Vec<u64> {
        let taker = timed(point, || self.queue());
        let len = taker.len();
        let (seen, end) = drain(point, &taker);
        assert_eq!(end, RecvError::Disconnected, "{point}: a ghost may put");
        assert_eq!(len, seen.len(), "{point}: counted right");
        drop(taker);
        self.refuses_puts(point);
        seen
    }

    /// Who waits for room is told that nobody is left.
    fn refuses_puts(&self, point: &'static str) {
        let putter = self.queue();
        let mut count = 0;
        let refusal = loop {
            match timed(point, || putter.put_timeout(item(99), LATE)) {
                Ok(()) => count += 1,
                Err(refusal) => break refusal,
            }
        };
        assert!(
            matches!(refusal, SendError::Disconnected(_)),
            "{point}: a ghost may get: {refusal:?}"
        );
        assert_eq!(number_of(refusal.into_item()), 99);
        drop(putter);
        let (seen, end) = drain(point, &self.queue());
        assert_eq!((seen, end), (vec![99; count], RecvError::Disconnected), "{point}");
    }

    /// The queue holds as much as one where nobody died, and nothing is left when we go.
    pub(crate) fn ends_as_new(self, point: &'static str) {
        assert_eq!(self.brim(point), Stage::new(0).brim(point), "{point}: room is lost");
        let Stage { folder, segment } = self;
        drop(segment);
        assert!(folder.names().is_empty(), "{point}: left {:?}", folder.names());
    }

    /// How many small and how many large items fit.
    fn brim(&self, point: &'static str) -> [u64; 2] {
        let (taker, putter) = (self.queue(), self.queue());
        assert!(taker.try_get().is_err(), "it was empty");
        [0, 700].map(|length| {
            let mut count = 0;
            let refusal = loop {
                match putter.try_put((count, vec![7; length])) {
                    Ok(()) => count += 1,
                    Err(refusal) => break refusal,
                }
            };
            assert!(matches!(refusal, SendError::Full(_)), "{point}: {refusal:?}");
            assert_eq!(putter.len() as u64, count, "{point}");
            for number in 0..count {
                assert_eq!(taker.try_get(), Ok((number, vec![7; length])), "{point}");
            }
            assert!(putter.is_empty(), "{point}");
            count
        })
    }
}

/// What comes until nothing more will, and why.
pub(crate) fn drain(point: &'static str, taker: &SharedQueue<Item>) -> (Vec<u64>, RecvError) {
    let mut seen = Vec::new();
    loop {
        match timed(point, || taker.get_timeout(LATE)) {
            Ok(found) => seen.push(number_of(found)),
            Err(end) => return (seen, end),
        }
    }
}

pub(crate) fn victim(passage: &str, role: &str, arguments: &[&str]) -> Actor {
    let mut command = role::command(role, arguments);
    command.env("PROCSHARE_CRASH_AT", passage);
    Actor::new(command)
}

pub(crate) fn dies(passage: &str, mut child: Actor) {
    assert_eq!(child.ended(), Some(libc::SIGKILL), "{passage} was never reached");
}

/// Has a child die at the first, second … passage of a point until it outlives them all, twice each: the same passage has
/// the same outcome. Returns what `run` made of each passage; it gets the passage and tells what came of it, if the child
/// died.
pub(crate) fn sweep<R: PartialEq + std::fmt::Debug>(
    point: &'static str,
    mut run: impl FnMut(&str) -> Option<R>,
) -> Vec<R> {
    let mut outcomes = BTreeMap::new();
    for passage in 1.. {
        assert!(passage < 100, "{point}: without end");
        let name = format!("{point}:{passage}");
        let Some(outcome) = run(&name) else { break };
        assert_eq!(run(&name).as_ref(), Some(&outcome), "{name}: once so, once so");
        outcomes.insert(passage, outcome);
    }
    outcomes.into_values().collect()
}

/// Whether the child was killed; else it has done all it had to.
pub(crate) fn was_killed(passage: &str, child: &mut Actor) -> bool {
    match child.ended() {
        Some(libc::SIGKILL) => true,
        None => false,
        other => panic!("{passage}: {other:?}"),
    }
}
