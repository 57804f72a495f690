//! Kill storms: workers are killed at random moments and replaced, while the others must carry on and nothing may break.
//!
//! One second each, two where tests are thorough, or as many as `PROCSHARE_STORM_SECONDS` says.

#![cfg(feature = "derive")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/forked.rs"]
mod forked;

use common::unique;
use effort::thorough;
use forked::{Child, End, Others, Pipe, frame_for, now, until};
use procshare::{LockError, Shareable, SharedArray, SharedAtomicArray, SharedValue};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const WORKERS: usize = 4;
/// What is promised of every wait for a lock.
const PROMISE: Duration = Duration::from_millis(100);
/// Fewest kills a second that deserve the name.
const RATE: f64 = 100.0;
/// Other work on the machine may slow a storm down or lengthen its pauses: one of so many must be as promised.
const ATTEMPTS: usize = 3;

#[derive(Debug, Clone, Copy, Shareable)]
#[repr(C)]
struct Totals {
    total: u64,
    per_worker: [u64; WORKERS],
}

impl Totals {
    const ZERO: Totals = Totals {
        total: 0,
        per_worker: [0; WORKERS],
    };

    fn count(&mut self, worker: usize) {
        self.total += 1;
        self.per_worker[worker] += 1;
    }

    fn assert_whole(&self) {
        assert_eq!(self.total, self.per_worker.iter().sum::<u64>(), "{self:?}");
    }
}

fn length() -> Duration {
    let seconds = std::env::var("PROCSHARE_STORM_SECONDS").map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(thorough(2, 1)))
}

fn limit() -> Duration {
    length() * ATTEMPTS as u32 + Duration::from_secs(60)
}

/// What workers and their killer share: whether it is over, the longest wait, and a count of the test's own.
struct Control(SharedAtomicArray<AtomicU64>);

impl Control {
    fn new() -> Self {
        Control(SharedAtomicArray::new(3).unwrap())
    }

    fn goes_on(&self) -> bool {
        self.0[0].load(Relaxed) == 0
    }

    fn end(&self) {
        self.0[0].store(1, Relaxed);
    }

    /// Measures one wait for a lock.
    fn timed<G>(&self, lock: impl FnOnce() -> G) -> G {
        let before = now();
        let guard = lock();
        self.0[1].fetch_max(now() - before, Relaxed);
        guard
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.0[1].load(Relaxed))
    }

    fn counter(&self) -> &AtomicU64 {
        &self.0[2]
    }
}

/// Random enough to meet every moment; the seed is the time.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Random(now() | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Kills workers and replaces them until the time is over; those then left must end by themselves.
///
/// Returns whether rate and longest wait were as promised.
fn rage(what: &str, control: &Control, work: impl Fn(usize), watch: impl Fn()) -> bool {
    let (mut random, others) = (Random::new(), Others::watch());
    let start = |number| Child::fork(|| work(number));
    let mut workers: Vec<Child> = (0..WORKERS).map(start).collect();
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < length() {
        // Nothing is awaited here: the next blow falls at a random moment.
        thread::park_timeout(Duration::from_micros(random.below(3_000)));
        let doomed = random.below(1 << WORKERS);
        let is_doomed = |number: &usize| doomed >> number & 1 != 0;
        (0..WORKERS).filter(is_doomed).for_each(|number| workers[number].kill());
        for number in (0..WORKERS).filter(is_doomed) {
            assert_eq!(workers[number].end(), End::Killed(libc::SIGKILL), "it ended by itself");
            workers[number] = start(number);
            kills += 1;
        }
        watch();
    }
    let rate = f64::from(kills) / began.elapsed().as_secs_f64();
    control.end();
    workers.into_iter().for_each(Child::finish);
    let longest = control.longest();
    println!("{what}: {kills} kills, {rate:.0} a second; the longest wait took {longest:.1?}");
    let allowed = others.allow(PROMISE);
    let slower = allowed.as_secs_f64() / PROMISE.as_secs_f64();
    rate * slower >= RATE && longest < allowed
}

fn as_promised(mut storm: impl FnMut() -> bool) {
    assert!((0..ATTEMPTS).any(|_| storm()), "too slow, see the figures");
}

#[test]
fn a_value_stays_whole() {
    let _frame = frame_for(limit());
    as_promised(|| {
        let control = Control::new();
        let value = SharedValue::new(Totals::ZERO).unwrap();
        let work = |number| {
            while control.goes_on() {
                control.timed(|| value.get_lock()).count(number);
            }
        };
        let kept = rage("value", &control, work, || value.get().assert_whole());
        let totals = value.try_get_lock().unwrap();
        totals.assert_whole();
        println!("value: {} increments", totals.total);
        assert!(totals.total > 0);
        kept
    });
}

#[test]
fn an_array_tells_of_every_death_inside() {
    let _frame = frame_for(limit());
    as_promised(|| {
        let control = Control::new();
        // The total, then one count for each worker.
        let array = SharedArray::<u64>::new(1 + WORKERS).unwrap();
        let work = |number: usize| {
            while control.goes_on() {
                let mut guard = control.timed(|| match array.get_lock() {
                    Ok(guard) => {
                        assert_eq!(guard[0], guard[1..].iter().sum::<u64>(), "broken, and nobody said so");
                        guard
                    }
                    Err(LockError::OwnerDied(mut guard)) => {
                        guard[0] = guard[1..].iter().sum();
                        guard.recover();
                        control.counter().fetch_add(1, Relaxed);
                        guard
                    }
                    Err(error) => panic!("{error}"),
                });
                guard[0] += 1;
                guard[1 + number] += 1;
            }
        };
        let kept = rage("array", &control, work, || ());
        let recovered = control.counter().load(Relaxed);
        println!("array: {recovered} recoveries");
        assert!(recovered > 0, "nobody died inside");
        let counts = match array.get_lock() {
            Ok(guard) => guard.to_vec(),
            Err(error) => panic!("{error}: the last who finished had recovered it"),
        };
        assert_eq!(counts[0], counts[1..].iter().sum::<u64>());
        assert!(counts[0] > 0);
        kept
    });
}

/// The files in shared memory that have to do with a name.
fn litter(name: &str) -> Vec<String> {
    let files = std::fs::read_dir("/dev/shm").unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|file| file.contains(name)).collect()
}

/// Workers attach by name, so that they are killed while they come and go as well.
#[test]
fn a_named_value_stays_whole_and_leaves_nothing_behind() {
    let _frame = frame_for(limit());
    as_promised(|| {
        let name = unique("storm");
        let control = Control::new();
        let value = SharedValue::create(&name, Totals::ZERO).unwrap();
        let work = |number| {
            while control.goes_on() {
                let value = SharedValue::<Totals>::open(&name).unwrap();
                for _ in 0..100 {
                    control.timed(|| value.get_lock()).count(number);
                }
            }
        };
        let kept = rage("named value", &control, work, || {
            value.get().assert_whole();
            assert_eq!(litter(&name).len(), 1, "one file while somebody is attached");
        });
        value.try_get_lock().unwrap().assert_whole();
        drop(value);
        assert_eq!(litter(&name), [""; 0]);
        kept
    });
}

/// When all are killed nobody is left to remove the name; the next to create it is not hindered.
#[test]
fn a_name_whose_users_were_all_killed_is_free_again() {
    let _frame = frame_for(limit());
    let name = unique("storm-orphan");
    let attached = Control::new();
    let use_it = |name: &str| {
        let value = SharedValue::open_or_create(name, Totals::ZERO).unwrap();
        let _held = value.get_lock_timeout(Duration::from_millis(1));
        attached.counter().fetch_add(1, Relaxed);
        forked::pause();
    };
    let users: Vec<Child> = (0..WORKERS).map(|_| Child::fork(|| use_it(&name))).collect();
    until("all are attached", || {
        attached.counter().load(Relaxed) == WORKERS as u64
    });
    users.iter().for_each(Child::kill);
    drop(users);
    assert_eq!(litter(&name).len(), 1);
    let again = SharedValue::create(&name, Totals::ZERO).unwrap();
    assert!(again.try_get_lock().is_ok());
    drop(again);
    assert_eq!(litter(&name), [""; 0]);
}

/// Each child is killed as it says that it is about to lock: some before, some inside, some after.
#[test]
fn death_at_the_door_hinders_nobody() {
    let _frame = frame_for(limit());
    let value = SharedValue::new(Totals::ZERO).unwrap();
    for round in 0..60 {
        let ready = Pipe::new();
        let child = Child::fork(|| {
            ready.say();
            loop {
                value.get_lock().count(0);
            }
        });
        ready.hear();
        for _ in 0..round * 50 {
            std::hint::spin_loop();
        }
        child.kill();
        value.get_lock().count(1);
        value.get().assert_whole();
    }
    assert_eq!(value.get().per_worker[1], 60);
}
