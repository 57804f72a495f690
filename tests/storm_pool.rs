//! A kill storm over a pool: every job ends once, whoever is killed or stopped, and nothing is left.
//!
//! One second, three where tests are thorough, or as many as `PROCSHARE_STORM_SECONDS` says.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "common/blob.rs"]
mod blob;
mod common;
#[path = "common/effort.rs"]
mod effort;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/storm.rs"]
mod storm;

use blob::Blob;
use common::{alone, children, descriptors, shared_memory_names, unique, wait_until, watchdog};
use forked::{Others, now};
use procshare::{JobError, Pool, Segment, SharedAtomicArray, SharedValue};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use storm::{Random, length, limit};

/// Nobody may wait longer for a call to end, whoever is killed.
const LONGEST: Duration = Duration::from_secs(3);
/// Fewest kills a second that deserve the name, on a machine that does nothing else.
const RATE: f64 = 15.0;
const WORKERS: usize = 4;
/// Threads that call.
const CALLERS: usize = 3;
/// Most items of one call.
const ITEMS: usize = 200;
/// Words that say which workers have run a job.
const KNOWN: usize = 1 << 12;

/// What workers write down. Relaxed throughout: each word stands for itself, and who is killed has stored it or not.
struct Ledger {
    /// For each caller and item, how often it ran.
    ran: SharedAtomicArray<AtomicU64>,
    known: SharedAtomicArray<AtomicU32>,
}

static LEDGER: OnceLock<Ledger> = OnceLock::new();

fn set_ledger(ran: SharedAtomicArray<AtomicU64>, known: SharedAtomicArray<AtomicU32>) {
    assert!(LEDGER.set(Ledger { ran, known }).is_ok());
}

/// Which caller's item it is, and how many bytes it gives.
type Item = (usize, usize, usize);

fn note((caller, item, _): Item) {
    let (ledger, own) = (LEDGER.get().unwrap(), std::process::id());
    ledger.ran[caller * ITEMS + item].fetch_add(1, Relaxed);
    ledger.known[own as usize % KNOWN].store(own, Relaxed);
}

fn give(item: Item) -> Blob {
    note(item);
    Blob::new(item.1, item.2)
}

fn give_back(item: Item, bytes: Blob) -> Blob {
    note(item);
    bytes
}

/// Uses objects of a named segment, and one that has none.
fn count(item: Item, segment: Segment, sum: SharedValue<u64>) -> Blob {
    note(item);
    segment.open_counter("counter").unwrap().increment().unwrap();
    sum.update(|sum| *sum += 1);
    Blob::new(item.1, item.2)
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: two numbers; a worker that has ended meanwhile is a zombie or gone, and its number is not used anew so soon.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

#[derive(Default)]
struct Tally {
    calls: AtomicUsize,
    items: AtomicU64,
    lost: AtomicU64,
    begun_anew: AtomicU64,
    longest: AtomicU64,
}

/// One thread's calls.
struct Caller<'a> {
    number: usize,
    pool: &'a Pool,
    ledger: &'a Ledger,
    tally: &'a Tally,
    random: Random,
    names: &'a str,
}

impl Caller<'_> {
    fn ran(&self, item: usize) -> u64 {
        self.ledger.ran[self.number * ITEMS + item].load(Relaxed)
    }

    /// Makes some call, and looks at what became of each of its items.
    fn call(&mut self) {
        let retries = if self.random.below(2) == 0 { 0 } else { 10_000 };
        let (count, len) = match self.random.below(10) {
            0 => (3, 1 << 20),
            1..=3 => (20, 8000 + self.random.below(20_000) as usize),
            _ => (ITEMS, self.random.below(200) as usize),
        };
        let count = self.random.below(count as u64) as usize + 1;
        (0..count).for_each(|item| self.ledger.ran[self.number * ITEMS + item].store(0, Relaxed));
        let items: Vec<Item> = (0..count).map(|item| (self.number, item, len)).collect();
        let chunk = self.random.below(20) as usize + 1;
        let jobs = self.pool.with_chunk_size(chunk).with_retries(retries);
        let begun = Instant::now();
        let results = self.results(&jobs, items);
        let took = begun.elapsed().as_nanos() as u64;
        self.tally.longest.fetch_max(took, Relaxed);
        self.tally.calls.fetch_add(1, Relaxed);
        assert_eq!(results.len(), count);
        for (item, result) in results.into_iter().enumerate() {
            self.check(item, len, retries, result);
        }
    }

    fn results(&mut self, jobs: &Pool, items: Vec<Item>) -> Vec<Result<Blob, JobError>> {
        match self.random.below(6) {
            0 => jobs.map(give, items),
            1 => jobs.imap(give, items).collect(),
            2 => {
                let mut results: Vec<_> = items.iter().map(|_| None).collect();
                let (mut lost, mut count) = (vec![], 0);
                for result in jobs.imap_unordered(give_with_number, items) {
                    count += 1;
                    match result {
                        Ok((item, bytes)) => assert!(results[item].replace(Ok(bytes)).is_none(), "{item} came twice"),
                        Err(error) => lost.push(Err(error)),
                    }
                }
                assert_eq!(count, results.len());
                // Who was lost is not told: those that did not come.
                results
                    .into_iter()
                    .map(|result| result.or_else(|| lost.pop()).unwrap())
                    .collect()
            }
            3 => {
                let answers: Vec<_> = items.into_iter().map(|item| jobs.submit(give, (item,))).collect();
                answers.into_iter().map(procshare::pool::Pending::get).collect()
            }
            4 => jobs.starmap(
                give_back,
                items.into_iter().map(|item| (item, Blob::new(item.1, item.2))),
            ),
            _ => self.with_handles(jobs, items),
        }
    }

    fn with_handles(&self, jobs: &Pool, items: Vec<Item>) -> Vec<Result<Blob, JobError>> {
        let segment = Segment::create(unique(self.names), 1 << 16).unwrap();
        let counter = segment.counter("counter", 0).unwrap();
        let sum = SharedValue::new(0_u64).unwrap();
        let arguments = items.into_iter().map(|item| (item, segment.clone(), sum.clone()));
        let results = jobs.starmap(count, arguments);
        // A worker may have died between its mark and its count.
        let ran: u64 = (0..results.len()).map(|item| self.ran(item)).sum();
        let given = results.iter().filter(|result| result.is_ok()).count() as i64;
        assert!(
            (given..=ran as i64).contains(&counter.get()),
            "{given} {} {ran}",
            counter.get()
        );
        results
    }

    fn check(&self, item: usize, len: usize, retries: u32, result: Result<Blob, JobError>) {
        let ran = self.ran(item);
        self.tally.items.fetch_add(1, Relaxed);
        match result {
            Ok(bytes) => {
                assert!(bytes == Blob::new(item, len), "item {item} of {len} bytes is wrong");
                assert!(ran == 1 || retries > 0 && ran > 1, "item {item} ran {ran} times");
                self.tally.begun_anew.fetch_add(ran - 1, Relaxed);
            }
            Err(JobError::WorkerDied { signal: Some(9), .. }) => {
                assert!(
                    ran <= 1 && retries == 0,
                    "item {item} ran {ran} times, {retries} retries"
                );
                self.tally.lost.fetch_add(1, Relaxed);
            }
            Err(error) => panic!("item {item}: {error}"),
        }
    }
}

fn give_with_number(item: Item) -> (usize, Blob) {
    (item.1, give(item))
}

/// Kills and stops workers at random until the time has passed; tells how many it killed.
fn rage(pool: &Pool, ledger: &Ledger, length: Duration) -> u64 {
    let (mut random, mut kills, mut stopped) = (Random(now() | 1), 0, vec![]);
    let end = Instant::now() + length;
    while Instant::now() < end {
        // Nothing is awaited here: the next blow falls at a random moment.
        std::thread::park_timeout(Duration::from_micros(random.below(12_000)));
        let workers = pool.worker_ids();
        if workers.is_empty() {
            continue;
        }
        let victim = workers[random.below(workers.len() as u64) as usize];
        // A pool none of whose workers is ever ready gives up: one at least that is ready is spared.
        let is_ready = |id: &u32| ledger.known[*id as usize % KNOWN].load(Relaxed) == *id && !common::has_ended(*id);
        if !workers.iter().any(|id| *id != victim && is_ready(id)) {
            continue;
        }
        match random.below(4) {
            0 => {
                signal(victim, libc::SIGSTOP);
                stopped.push(victim);
            }
            _ => {
                signal(victim, libc::SIGKILL);
                kills += 1;
            }
        }
        if random.below(4) == 0 {
            stopped.drain(..).for_each(|id| signal(id, libc::SIGCONT));
        }
    }
    stopped.into_iter().for_each(|id| signal(id, libc::SIGCONT));
    kills
}

fn storm(ledger: &Ledger) {
    let (others, tally, over) = (Others::watch(), Tally::default(), AtomicBool::new(false));
    let names = unique("storm-pool");
    let builder = Pool::builder().workers(WORKERS);
    let builder = builder.initializer(set_ledger, (ledger.ran.clone(), ledger.known.clone()));
    let pool = builder.build().unwrap();
    let call_on_and_on = |number| {
        let seed = now() ^ (number as u64 + 1) << 40 | 1;
        let (pool, tally, names) = (&pool, &tally, &names[..]);
        let mut caller = Caller {
            number,
            pool,
            ledger,
            tally,
            random: Random(seed),
            names,
        };
        while !over.load(Relaxed) {
            caller.call();
        }
    };
    let began = Instant::now();
    let kills = std::thread::scope(|scope| {
        for number in 0..CALLERS {
            scope.spawn(move || call_on_and_on(number));
        }
        let kills = rage(&pool, ledger, length(3));
        over.store(true, Relaxed);
        kills
    });
    let took = began.elapsed();
    let calm = pool.map(|a: u64| a, 0..100);
    assert!(calm.into_iter().map(Result::unwrap).eq(0..100));
    wait_until(|| pool.progress().workers == WORKERS as u64);
    let progress = pool.progress();
    pool.join();
    report(&others, &tally, kills, took);
    let lost = tally.lost.load(Relaxed);
    assert_eq!((progress.failed, progress.left()), (lost, 0));
    assert!(lost + progress.retried <= kills, "{progress:?}, {kills} kills");
    assert_eq!(progress.submitted, tally.items.load(Relaxed) + 100);
    assert!(tally.begun_anew.load(Relaxed) <= progress.retried);
    assert_eq!(shared_memory_names(&names), [""; 0]);
}

fn report(others: &Others, tally: &Tally, kills: u64, took: Duration) {
    let longest = Duration::from_nanos(tally.longest.load(Relaxed));
    let [items, lost, anew] = [&tally.items, &tally.lost, &tally.begun_anew].map(|count| count.load(Relaxed));
    let (calls, rate) = (tally.calls.load(Relaxed), kills as f64 / took.as_secs_f64());
    println!(
        "{calls} calls of {items} items, {kills} kills, {rate:.0} a second, {lost} items lost, {anew} run once more; the \
         longest call took {longest:.1?}"
    );
    let allowed = others.allow(LONGEST);
    assert!(longest < allowed, "somebody waited for {longest:?}");
    let slower = allowed.as_secs_f64() / LONGEST.as_secs_f64();
    assert!(rate * slower > RATE, "{rate:.0} kills a second are no storm");
    assert!(calls > 50, "{calls} calls are no storm");
}

#[procshare::test]
fn every_job_ends_once_and_nothing_is_left() {
    let _watchdog = watchdog(limit().as_secs());
    alone(|| {
        drop(Pool::new(1).unwrap());
        let ledger = Ledger {
            ran: SharedAtomicArray::new(CALLERS * ITEMS).unwrap(),
            known: SharedAtomicArray::new(KNOWN).unwrap(),
        };
        let before = descriptors();
        storm(&ledger);
        assert_eq!(descriptors(), before);
        assert_eq!(children(), [0; 0], "children are left");
    });
}
