//! A queue in whose words and records, or in whose directory entry, words were changed: calls end, and touch nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procshare::{Capacity, Segment, SharedQueue};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

/// Nobody waits long for a lock that a living process is said to hold.
const SHORT: Duration = Duration::from_micros(100);
/// Byte offset of the seats' lock in a queue. For it everybody waits as long as it takes, so it stays as it is.
const SEATS: usize = 384;
const FOREIGN: u8 = 0xee;

type Item = Vec<u8>;

/// A queue between two arrays, and the whole segment as it was.
struct Real {
    file: File,
    whole: Vec<u8>,
    segment: Segment,
    queue: SharedQueue<Item>,
    /// The queue and its entry.
    place: Range<usize>,
}

fuzz_target!(|bytes: &[u8]| {
    static REAL: OnceLock<Real> = OnceLock::new();
    let real = REAL.get_or_init(|| Real::new().expect("a file can be made"));
    real.change(bytes);
    use_all(&real.queue);
    if let Ok(queue) = real.segment.open_queue::<Item>("queue") {
        use_all(&queue);
    }
    let mut now = vec![0; real.whole.len()];
    real.file.read_exact_at(&mut now, 0).expect("it is that long");
    real.file.write_all_at(&real.whole, 0).expect("it is that long");
    assert!(
        now[real.place.end..] == real.whole[real.place.end..],
        "written behind the queue"
    );
});

impl Real {
    fn new() -> procshare::Result<Real> {
        let path = std::env::temp_dir().join(format!("procshare-fuzz-queue-{}", std::process::id()));
        let segment = Segment::create_file(&path, 32 << 10)?;
        let queue = segment.queue("queue", Capacity::items(16).bytes(4096))?;
        segment.array::<u8>("after", 8192)?.fill(FOREIGN).expect("it is whole");
        for number in 0..6 {
            queue.put(vec![number; 800])?;
            if number < 4 {
                queue.get()?;
            }
        }
        let objects = segment.objects()?;
        let find = |name| {
            objects
                .iter()
                .find(|object| object.name == name)
                .expect("it was placed")
        };
        let place = find("queue").offset as usize..find("after").offset as usize;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it was just made");
        let whole = std::fs::read(&path).expect("it was just made");
        segment.unlink()?;
        Ok(Real {
            file,
            whole,
            segment,
            queue,
            place,
        })
    }

    /// Every eleven bytes put a word somewhere.
    fn change(&self, bytes: &[u8]) {
        for change in bytes.chunks_exact(11) {
            let words = self.place.len() / 8;
            let at = usize::from(u16::from_ne_bytes([change[0], change[1]])) % words * 8;
            let number = u64::from_ne_bytes(std::array::from_fn(|byte| change[3 + byte]));
            let before = self.place.start + at;
            let before = u64::from_ne_bytes(std::array::from_fn(|byte| self.whole[before + byte]));
            let length = number % 5000;
            let word = match change[2] % 6 {
                0 => number,
                1 => number % 0x2000,
                2 => before.wrapping_add(number % 64),
                3 => before.wrapping_add(number % 64 << 32),
                4 => before ^ 1 << (number % 64),
                // A record's header.
                _ => (length ^ 0x7265_6331) << 32 | length,
            };
            if at / 16 != SEATS / 16 {
                let at = (self.place.start + at) as u64;
                self.file
                    .write_all_at(&word.to_ne_bytes(), at)
                    .expect("it is that long");
            }
        }
    }
}

fn use_all(queue: &SharedQueue<Item>) {
    assert!(queue.len() <= queue.capacity());
    let _ = (queue.is_full(), queue.is_closed());
    let _ = queue.put_timeout(vec![7; 3], SHORT);
    let _ = queue.put_timeout(vec![7; 700], SHORT);
    for _ in 0..3 {
        let Ok(item) = queue.get_timeout(SHORT) else { continue };
        let is_foreign = |bytes: &[u8]| bytes.iter().all(|byte| *byte == FOREIGN);
        assert!(!item.windows(16).any(is_foreign), "read behind the queue");
    }
}
