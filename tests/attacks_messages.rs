//! Attacks on queues, pipes and rings: forged bytes, forged owners, an `exec` and a stop at the wrong moment.
//!
//! Whoever may write to a segment can write nonsense. Each call then ends soon, with a value, an error or words that say
//! what is wrong; nothing outside the object is read or written.

#![cfg(feature = "messages")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/role.rs"]
mod role;

use common::unique;
use forked::{Child, Frame, Pipe, now, until};
use procshare::{Capacity, Connection, Consumer, ErrorKind, Producer, RecvError, Segment, SendError, SharedQueue};
use role::{Folder, file_of, word_at, write_at};
use std::io::Write;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long a call may take, whatever stands in the segment.
const LIMIT: Duration = Duration::from_secs(2);
/// What calls are told to wait at most.
const SHORT: Duration = Duration::from_millis(1);
/// When a call gives up that should have ended long ago.
const LATE: Duration = Duration::from_secs(10);
/// Byte offsets in a queue, or in a direction of a pipe: locks of producers and consumers, and the seats.
const PRODUCERS: u64 = 64;
const CONSUMERS: u64 = 192;
const SEATS: u64 = 384;
/// Where the seats begin, and where the ring or the slots do.
const OF_A_QUEUE: [u64; 2] = [SEATS, SEATS + 64 + 16 * 1024];
const OF_A_PIPE: [u64; 2] = [SEATS, SEATS + 64 + 16 * 64];
const OF_A_RING: [u64; 2] = [192, 192 + 64 + 16 * 64];
/// What lies beside the queue.
const FOREIGN: u8 = 0xee;

fn frame() -> Frame {
    forked::frame_for(Duration::from_secs(40))
}

/// Ends the process when a step takes too long, and tells which.
struct Monitor {
    forgery: Mutex<String>,
    began: AtomicU64,
    over: AtomicBool,
}

impl Monitor {
    /// Runs `body`, whose steps are announced by `step`.
    fn watch<R>(what: &str, body: impl FnOnce(&Monitor) -> R) -> R {
        let monitor = Monitor {
            forgery: Mutex::default(),
            began: AtomicU64::new(now()),
            over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                // Relaxed: the words stand for themselves.
                while !monitor.over.load(Relaxed) {
                    if forked::since(monitor.began.load(Relaxed)) > LIMIT {
                        let forgery = monitor.forgery.lock().unwrap();
                        let _ = writeln!(
                            std::io::stderr(),
                            "{what}: {forgery}: a step takes longer than {LIMIT:?}"
                        );
                        std::process::abort();
                    }
                    thread::park_timeout(Duration::from_millis(50));
                }
            });
            let result = catch_unwind(AssertUnwindSafe(|| body(&monitor)));
            monitor.over.store(true, Relaxed);
            watcher.thread().unpark();
            result.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn forged(&self, forgery: &str) {
        forgery.clone_into(&mut self.forgery.lock().unwrap());
    }

    fn step<R>(&self, call: impl FnOnce() -> R) -> R {
        self.began.store(now(), Relaxed);
        call()
    }
}

/// Random enough; a failed run prints the seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = now() | 1;
        println!("seed {seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// An object whose bytes the test changes behind its back, and the whole file as it was.
struct Forged {
    path: PathBuf,
    whole: Vec<u8>,
    /// Where the object lies in the file.
    offset: u64,
    bytes: u64,
}

impl Forged {
    fn new(path: PathBuf, segment: &Segment, kind_of: &str) -> Self {
        let objects = segment.objects().unwrap();
        let object = objects.iter().find(|object| object.name == kind_of).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let (offset, bytes) = (object.offset, object.bytes);
        Forged {
            path,
            whole,
            offset,
            bytes,
        }
    }

    fn word(&self, at: u64) -> u64 {
        let at = (self.offset + at) as usize;
        u64::from_ne_bytes(self.whole[at..at + 8].try_into().unwrap())
    }

    fn set(&self, at: u64, word: u64) {
        write_at(&self.path, self.offset + at, &word.to_ne_bytes());
    }

    /// Writes something over the object, has it looked at, and puts everything back.
    fn with<R>(&self, forge: impl FnOnce(&Self), look: impl FnOnce() -> R) -> R {
        forge(self);
        let result = look();
        write_at(&self.path, 0, &self.whole);
        result
    }

    /// The words worth forging: all before the first seats, some seats, the first records, and the directory entry, which
    /// follows the object.
    fn words(&self, [seats, ring]: [u64; 2]) -> Vec<u64> {
        let entry = self.bytes.next_multiple_of(8);
        let pieces = [0..seats + 112, ring - 64..ring, ring..ring + 240, entry..entry + 80];
        pieces.into_iter().flat_map(|piece| piece.step_by(8)).collect()
    }

    /// Where lock words are: before the seats, and in a queue or pipe before what either side knows.
    fn locks(&self, [seats, _]: [u64; 2]) -> Vec<u64> {
        if seats == SEATS {
            vec![PRODUCERS, CONSUMERS, seats]
        } else {
            vec![seats]
        }
    }

    /// Every one of those words becomes each of these, one at a time.
    fn with_each(&self, places: [u64; 2], mut look: impl FnMut(&str)) -> usize {
        let mut tried = 0;
        for at in self.words(places) {
            let word = self.word(at);
            let near = [
                word ^ 1,
                word.wrapping_add(1 << 33),
                word.wrapping_sub(1 << 32),
                word.wrapping_add(2),
            ];
            for forged in near.into_iter().chain([0, 7, 1 << 31, u64::MAX, u64::MAX >> 22]) {
                if names_the_living(forged) && self.locks(places).contains(&at) {
                    continue; // It is believed, see below.
                }
                let forgery = format!("byte {at} is {forged:#x}, was {word:#x}");
                self.with(|object| object.set(at, forged), || look(&forgery));
                tried += 1;
            }
        }
        tried
    }

    /// Random bytes over random pieces, and over all of it.
    fn with_noise(&self, rounds: u64, mut look: impl FnMut(&str)) {
        let mut random = Random::new();
        for round in 0..rounds {
            let (from, len) = match round % 4 {
                0 => (0, self.bytes),
                _ => {
                    let from = random.below(self.bytes / 8) * 8;
                    (from, (8 + random.below(64) * 8).min(self.bytes - from))
                }
            };
            let noise: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            let forgery = format!("{len} bytes of noise at {from}");
            let forge = |object: &Self| write_at(&object.path, object.offset + from, &noise);
            self.with(forge, || look(&forgery));
        }
    }
}

/// Whether a lock word names a process there is.
fn names_the_living(word: u64) -> bool {
    Path::new("/proc").join((word >> 32 & 0x3f_ffff).to_string()).exists()
}

type Item = Vec<u8>;

/// A queue between two arrays.
struct QueueStage {
    folder: Folder,
    segment: Segment,
    queue: SharedQueue<Item>,
    neighbours: Vec<Range<usize>>,
    forged: Forged,
}

impl QueueStage {
    fn new() -> Self {
        let folder = Folder::new();
        let segment = folder.builder().capacity(64 << 10).create("forged").unwrap();
        segment.array::<u8>("before", 4096).unwrap().fill(FOREIGN).unwrap();
        let queue = segment.queue("queue", Capacity::items(16).bytes(4096)).unwrap();
        segment.array::<u8>("after", 4096).unwrap().fill(FOREIGN).unwrap();
        // Taken and put both, so that every word has been used; what is left goes around the end of the ring.
        for number in 0..6 {
            queue.put(vec![number; 800]).unwrap();
            if number < 4 {
                queue.get().unwrap();
            }
        }
        queue.put(vec![6; 3]).unwrap();
        let forged = Forged::new(file_of(&folder.0, "forged"), &segment, "queue");
        let objects = segment.objects().unwrap();
        let arrays = objects.iter().filter(|object| object.name != "queue");
        let neighbours = arrays.map(|array| array.offset as usize..(array.offset + array.bytes) as usize);
        QueueStage {
            folder,
            queue,
            neighbours: neighbours.collect(),
            segment,
            forged,
        }
    }

    /// The arrays beside the queue are untouched.
    fn assert_neighbours(&self, forgery: &str) {
        let now = std::fs::read(&self.forged.path).unwrap();
        for array in &self.neighbours {
            let whole = &self.forged.whole[array.clone()];
            assert!(now[array.clone()] == *whole, "{forgery}: written beyond the queue");
        }
    }

    /// Calls everything there is, on the handle that was there before and on a new one.
    fn use_all(&self, monitor: &Monitor, forgery: &str) {
        monitor.forged(forgery);
        use_queue(&self.queue, monitor, forgery);
        if let Ok(queue) = monitor.step(|| self.segment.open_queue::<Item>("queue")) {
            use_queue(&queue, monitor, forgery);
            monitor.step(|| queue.close());
            monitor.step(|| drop(queue));
        }
    }
}

fn assert_own(found: Option<Item>, forgery: &str) {
    let is_foreign = |bytes: &[u8]| bytes.iter().all(|byte| *byte == FOREIGN);
    let found = found.unwrap_or_default();
    assert!(!found.windows(16).any(is_foreign), "{forgery}: read beyond the queue");
}

fn use_queue(queue: &SharedQueue<Item>, monitor: &Monitor, forgery: &str) {
    let _ = monitor.step(|| {
        (
            queue.is_empty(),
            queue.is_full(),
            queue.is_closed(),
            format!("{queue:?}"),
        )
    });
    assert!(queue.len() <= queue.capacity(), "{forgery}");
    for length in [3, 700] {
        let _ = monitor.step(|| queue.try_put(vec![8; length]));
        let _ = monitor.step(|| queue.put_timeout(vec![9; length], SHORT));
    }
    assert_own(monitor.step(|| queue.try_get()).ok(), forgery);
    assert_own(monitor.step(|| queue.get_timeout(SHORT)).ok(), forgery);
    // It waits for its first item without a limit; nobody else takes that away.
    if !queue.is_empty() {
        if let Ok(batch) = monitor.step(|| queue.get_up_to(3)) {
            batch.for_each(|found| assert_own(found.ok(), forgery));
        }
    }
    assert_own(monitor.step(|| queue.try_get()).ok(), forgery);
    monitor.step(|| drop(queue.clone()));
}

#[test]
fn no_forged_word_of_a_queue_does_harm() {
    let _frame = frame();
    let stage = QueueStage::new();
    let tried = Monitor::watch("a queue with a forged word", |monitor| {
        stage.forged.with_each(OF_A_QUEUE, |forgery| {
            stage.use_all(monitor, forgery);
            stage.assert_neighbours(forgery);
        })
    });
    println!("{tried} forgeries");
    // Without a forgery all is as it was.
    for (number, length) in [(4, 800), (5, 800), (6, 3)] {
        assert_eq!(stage.queue.try_get(), Ok(vec![number; length]));
    }
    drop((stage.queue, stage.segment));
    assert!(stage.folder.names().is_empty());
}

#[test]
fn no_noise_over_a_queue_does_harm() {
    let _frame = frame();
    let stage = QueueStage::new();
    Monitor::watch("a queue with noise", |monitor| {
        stage.forged.with_noise(150, |forgery| {
            stage.use_all(monitor, forgery);
            stage.assert_neighbours(forgery);
        });
    });
    assert_eq!(stage.queue.try_get(), Ok(vec![4; 800]));
}

/// Words change while calls look at them.
#[test]
fn no_change_under_the_hands_does_harm() {
    let _frame = frame();
    let stage = QueueStage::new();
    let over = AtomicBool::new(false);
    // Records and lengths most of all: those are read twice, if anything is.
    let ring = OF_A_QUEUE[1];
    let places: Vec<u64> = (ring..ring + 4096)
        .step_by(8)
        .chain([0, 8, 16, 80, 128, 208, 256, 320, 328])
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new();
            while !over.load(Relaxed) {
                let at = places[random.below(places.len() as u64) as usize];
                let word = match random.below(4) {
                    // A header of some length.
                    0 | 1 => {
                        let len = random.below(1000) as u32;
                        u64::from(len ^ 0x7265_6331) << 32 | u64::from(len)
                    }
                    2 => stage.forged.word(at),
                    _ => random.next(),
                };
                stage.forged.set(at, word);
            }
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            Monitor::watch("a queue that changes", |monitor| {
                let began = Instant::now();
                let mut rounds = 0;
                while began.elapsed() < Duration::from_secs(1) {
                    use_queue(&stage.queue, monitor, "changes");
                    stage.assert_neighbours("changes");
                    rounds += 1;
                    write_at(&stage.forged.path, 0, &stage.forged.whole);
                }
                println!("{rounds} rounds");
            });
        }));
        over.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

fn file_in_shared_memory(name: &str) -> PathBuf {
    file_of(Path::new("/dev/shm"), name)
}

/// Uses both ends of a pipe, and tries to have one anew.
fn use_pipe(name: &str, [left, right]: &[Connection<Item>; 2], monitor: &Monitor, forgery: &str) {
    monitor.forged(forgery);
    for (from, to) in [(left, right), (right, left)] {
        let _ = monitor.step(|| from.try_send(vec![1; 100]));
        let _ = monitor.step(|| from.send_timeout(vec![1; 700], SHORT));
        let _ = monitor.step(|| to.poll(SHORT));
        let _ = monitor.step(|| to.poll(Duration::ZERO));
        let _ = monitor.step(|| to.try_recv());
        let _ = monitor.step(|| to.recv_timeout(SHORT));
    }
    if let Ok(third) = monitor.step(|| Connection::<Item>::open(name)) {
        let _ = monitor.step(|| third.try_send(vec![1; 100]));
        let _ = monitor.step(|| third.try_recv());
        monitor.step(|| third.close());
    }
}

#[test]
fn no_forgery_in_a_pipe_does_harm() {
    let _frame = frame();
    let name = unique("forged-pipe");
    let left = Connection::create(&name, Capacity::items(16).bytes(4096)).unwrap();
    let ends = [left, Connection::open(&name).unwrap()];
    ends[0].send(vec![7; 20]).unwrap();
    ends[1].send(vec![8; 20]).unwrap();
    let segment = Segment::open(&name).unwrap();
    let forged = Forged::new(file_in_shared_memory(&name), &segment, "");
    Monitor::watch("a forged pipe", |monitor| {
        let tried = forged.with_each(OF_A_PIPE, |forgery| use_pipe(&name, &ends, monitor, forgery));
        forged.with_noise(80, |forgery| use_pipe(&name, &ends, monitor, forgery));
        println!("{tried} forgeries");
    });
    assert_eq!((ends[0].recv(), ends[1].recv()), (Ok(vec![8; 20]), Ok(vec![7; 20])));
    drop((ends, segment));
    assert!(!file_in_shared_memory(&name).exists());
}

/// Uses both ends of a ring, and tries to have either anew.
fn use_ring(name: &str, producer: &mut Producer<u64>, consumer: &mut Consumer<u64>, monitor: &Monitor) {
    assert!(producer.len() <= producer.capacity() && consumer.len() <= consumer.capacity());
    let _ = monitor.step(|| producer.try_push(1));
    let _ = monitor.step(|| producer.push_timeout(2, SHORT));
    if let Ok(mut chunk) = monitor.step(|| producer.try_write_chunk(5)) {
        assert!(chunk.len() <= 5);
        chunk.fill(3);
    }
    let _ = monitor.step(|| consumer.try_pop());
    let _ = monitor.step(|| consumer.pop_timeout(SHORT));
    if let Ok(chunk) = monitor.step(|| consumer.try_read_chunk(5)) {
        assert!(chunk.len() <= 5);
        let _ = chunk.iter().copied().fold(0, u64::wrapping_add);
    }
    if let Ok(mut other) = monitor.step(|| Producer::<u64>::open(name)) {
        let _ = monitor.step(|| other.try_push(1));
        let _ = monitor.step(|| other.try_write_chunk(9)).map(|mut chunk| chunk.fill(4));
    }
    if let Ok(mut other) = monitor.step(|| Consumer::<u64>::open(name)) {
        let _ = monitor.step(|| other.try_pop());
        let _ = monitor.step(|| other.try_read_chunk(9)).map(|chunk| chunk.to_vec());
    }
}

#[test]
fn no_forgery_in_a_ring_does_harm() {
    let _frame = frame();
    let name = unique("forged-ring");
    let mut producer = Producer::<u64>::create(&name, 13).unwrap();
    let mut consumer = Consumer::<u64>::open(&name).unwrap();
    (1..=9).try_for_each(|value| producer.push(value)).unwrap();
    assert_eq!(consumer.pop(), Ok(1));
    let segment = Segment::open(&name).unwrap();
    let forged = Forged::new(file_in_shared_memory(&name), &segment, "");
    Monitor::watch("a forged ring", |monitor| {
        // Each end keeps its own place, which the file does not: it is made anew where it went on.
        let mut use_once = |forgery: &str| {
            monitor.forged(forgery);
            use_ring(&name, &mut producer, &mut consumer, monitor);
        };
        let tried = forged.with_each(OF_A_RING, &mut use_once);
        forged.with_noise(80, &mut use_once);
        println!("{tried} forgeries");
    });
    drop((producer, consumer));
    // What is left is a ring like any other, in which places are where the file says.
    let (mut producer, mut consumer) = (Producer::open(&name).unwrap(), Consumer::<u64>::open(&name).unwrap());
    while consumer.try_pop().is_ok() {}
    for value in 0..13u64 {
        producer.try_push(value).unwrap();
    }
    assert!(producer.try_push(0).is_err());
    for value in 0..13 {
        assert_eq!(consumer.try_pop(), Ok(value));
    }
    drop((producer, consumer, segment));
    assert!(!file_in_shared_memory(&name).exists());
}

/// A lock word that names a living process is believed: calls with a limit keep it, and its death frees the lock.
#[test]
fn a_forged_owner_that_lives_is_waited_for_no_longer_than_asked() {
    let _frame = frame();
    let stage = QueueStage::new();
    let value = stage.segment.value("value", 0u64).unwrap();
    let held = Pipe::new();
    let holder = Child::fork(|| {
        std::mem::forget(value.get_lock());
        held.say();
        forked::pause();
    });
    held.hear();
    let objects = stage.segment.objects().unwrap();
    let lock = objects.iter().find(|object| object.name == "value").unwrap().offset;
    let owner = word_at(&stage.forged.path, lock);
    assert_ne!(owner, 0);
    stage.forged.set(PRODUCERS, owner);
    Monitor::watch("a forged owner", |monitor| {
        let put = monitor.step(|| stage.queue.put_timeout(vec![1], Duration::from_millis(60)));
        assert!(matches!(put, Err(SendError::TimedOut(_))), "{put:?}");
        let put = monitor.step(|| stage.queue.try_put(vec![1]));
        assert!(matches!(put, Err(SendError::Full(_))), "{put:?}");
        assert_eq!(
            monitor.step(|| stage.queue.try_get()),
            Ok(vec![4; 800]),
            "the other lock is free"
        );
        stage.forged.set(CONSUMERS, owner);
        let got = monitor.step(|| stage.queue.get_timeout(Duration::from_millis(60)));
        assert_eq!(got, Err(RecvError::TimedOut));
        assert_eq!(monitor.step(|| stage.queue.try_get()), Err(RecvError::Empty));
        holder.kill();
        assert_eq!(monitor.step(|| stage.queue.get()), Ok(vec![5; 800]));
        monitor.step(|| stage.queue.put(vec![2])).unwrap();
    });
}

/// All seats are said to belong to a process that lives: no further handle can be had, and that is said.
#[test]
fn forged_seats_leave_no_room_and_are_no_puzzle() {
    let _frame = frame();
    let stage = QueueStage::new();
    let init = 1 << 32;
    let forge = |forged: &Forged| {
        forged.set(SEATS + 40, 1024 << 16); // As many seats are in use.
        (0..1024).for_each(|seat| {
            forged.set(SEATS + 64 + seat * 16, init);
            forged.set(SEATS + 72 + seat * 16, 1);
        });
    };
    Monitor::watch("forged seats", |monitor| {
        stage.forged.with(forge, || {
            let opened = monitor.step(|| stage.segment.open_queue::<Item>("queue"));
            assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Full));
            let _ = monitor.step(|| stage.queue.try_put(vec![1]));
            let _ = monitor.step(|| stage.queue.try_get());
            let cloned = catch_unwind(AssertUnwindSafe(|| monitor.step(|| stage.queue.clone())));
            let panic = cloned.expect_err("there is no seat");
            let words = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            assert!(!words.contains("unreachable"), "{words}");
        });
    });
}

/// A queue whose only producer is a child that has put one item, and what to tell it by.
fn with_producer(after: impl FnOnce(&SharedQueue<Item>), test: impl FnOnce(&SharedQueue<Item>, &Child)) {
    let queue = SharedQueue::<Item>::new(8).unwrap();
    let child = Child::fork(|| {
        queue.put(vec![1]).unwrap();
        after(&queue);
    });
    // From here on this handle is a consumer.
    assert_eq!(queue.get_timeout(LATE), Ok(vec![1]));
    test(&queue, &child);
}

#[test]
fn a_producer_that_becomes_another_program_is_missed() {
    let _frame = frame();
    let become_sleep = |_: &SharedQueue<Item>| panic!("{}", Command::new("sleep").arg("60").exec());
    with_producer(become_sleep, |queue, child| {
        let ours = std::fs::read_link("/proc/self/exe").unwrap();
        until("the producer is another program", || {
            std::fs::read_link(format!("/proc/{}/exe", child.id())).unwrap() != ours
        });
        let asked = Instant::now();
        assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected));
        println!("an exec was noticed after {:.0?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(!child.is_zombie(), "the other program lives on");
    });
}

#[test]
fn a_producer_that_was_stopped_is_waited_for() {
    let _frame = frame();
    let go = Pipe::new();
    let put_later = |queue: &SharedQueue<Item>| {
        go.hear();
        queue.put(vec![2]).unwrap();
    };
    with_producer(put_later, |queue, child| {
        child.stop();
        go.say();
        let asked = Instant::now();
        assert_eq!(queue.get_timeout(Duration::from_secs(1)), Err(RecvError::TimedOut));
        assert!(asked.elapsed() >= Duration::from_secs(1));
        child.signal(libc::SIGCONT);
        assert_eq!(queue.get_timeout(LATE), Ok(vec![2]));
        assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected));
    });
}
