//! One pool, its first workers told where to die, and what is looked at afterwards.

use crate::blob::Blob;
use crate::common::{Flag, state_of, wait_until};
use procshare::pool::Progress;
use procshare::{JobError, Pool, SharedAtomicArray, SharedCounter};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const CRASH: &str = "PROCSHARE_CRASH_AT";
/// Lengths of results: what lies in the window, what does not, alone and behind others, and what has a place elsewhere.
const LENGTHS: [usize; 7] = [10, 3000, 8000, 40, 7000, 20_000, 1_200_000];

/// The maps of a run, one after the other: their items, and how many travel together. The last is of a closed pool.
const MAPS: [(std::ops::Range<usize>, usize); 3] = [(0..12, 5), (12..16, 1), (16..22, 3)];
/// How many items and jobs these are.
pub(crate) const ITEMS: usize = 22;
pub(crate) const JOBS: usize = 3 + 4 + 2;

type Runs = SharedAtomicArray<AtomicU64>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) workers: usize,
    pub(crate) retries: u32,
    timed: bool,
}

impl Variant {
    pub(crate) fn new(workers: usize, retries: u32, timed: bool) -> Self {
        Variant {
            workers,
            retries,
            timed,
        }
    }
}

/// What came of a run.
pub(crate) struct Run {
    /// Workers that did not leave by themselves.
    pub(crate) died: usize,
    /// Items whose worker died.
    pub(crate) lost: Vec<usize>,
    /// How often each item ran.
    pub(crate) ran: Vec<usize>,
    pub(crate) progress: Progress,
    /// From the first death to the end of the map under way.
    pub(crate) pause: Duration,
}

fn result_of(item: usize) -> Blob {
    Blob::new(item, LENGTHS[item % LENGTHS.len()])
}

fn work(runs: Runs, item: usize) -> Blob {
    runs[item].fetch_add(1, Ordering::SeqCst);
    result_of(item)
}

static LEFT: OnceLock<SharedCounter> = OnceLock::new();

extern "C" fn note_leave() {
    LEFT.get().unwrap().increment().unwrap();
}

/// Counts a worker that comes, and has it counted when it leaves by itself. Before `go` it meets no point.
fn note(came: SharedCounter, left: SharedCounter, go: Flag) {
    go.wait_for(1);
    LEFT.set(left).unwrap();
    // SAFETY: the function takes nothing and returns nothing, and is there as long as the program.
    assert_eq!(unsafe { libc::atexit(note_leave) }, 0);
    came.increment().unwrap();
}

/// Makes a pool whose first workers, and no others, are to die there.
fn pool_of(variant: Variant, victim: Option<(&str, usize)>, came: &SharedCounter, left: &SharedCounter) -> Pool {
    if let Some((point, passage)) = victim {
        // SAFETY: of the threads of this process none but this one looks at the environment.
        unsafe { std::env::set_var(CRASH, format!("{point}:{passage}")) };
    }
    let builder = Pool::builder().workers(variant.workers).retries(variant.retries);
    let (builder, go) = (builder.timeline(variant.timed), Flag::new());
    let builder = builder.initializer(note, (came.clone(), left.clone(), go.clone()));
    let pool = builder.build().unwrap();
    // SAFETY: as above; the pool's thread does when it replaces a worker, and all live.
    unsafe { std::env::remove_var(CRASH) };
    go.raise();
    pool
}

/// Waits until all workers have come and sleep.
fn wait_for_sleep(pool: &Pool, came: &SharedCounter) {
    wait_until(|| {
        let ids = pool.worker_ids();
        let has_all = ids.len() == pool.workers() && pool.progress().started == came.get() as u64;
        has_all && ids.iter().all(|id| state_of(*id) == Some('S'))
    });
}

/// A thread that tells when the first of these processes ended.
fn watch(ids: &[u32]) -> JoinHandle<Instant> {
    let open = |id: &u32| {
        // SAFETY: two numbers; the process is a child of this one.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, *id as libc::pid_t, 0) };
        // One that has ended and was reaped: now is late enough.
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
    };
    let files: Vec<_> = ids.iter().map(open).collect();
    std::thread::spawn(move || {
        let mut polled: Vec<_> = files.iter().flatten().map(entry_of).collect();
        if polled.len() == files.len() {
            // SAFETY: the pointer is to that many entries.
            unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        }
        Instant::now()
    })
}

fn entry_of(file: &OwnedFd) -> libc::pollfd {
    libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }
}

/// Runs the maps on a pool whose first workers are to die there, and ends it.
pub(crate) fn run(variant: Variant, victim: Option<(&str, usize)>) -> Run {
    let counter = || SharedCounter::new(0).unwrap();
    let (came, left, runs) = (counter(), counter(), Runs::new(ITEMS).unwrap());
    let pool = pool_of(variant, victim, &came, &left);
    let first_end = watch(&pool.worker_ids());
    let (mut results, mut times) = (vec![], vec![]);
    for (number, (items, chunk)) in MAPS.into_iter().enumerate() {
        let is_last = number + 1 == MAPS.len();
        if !is_last {
            wait_for_sleep(&pool, &came);
        }
        let begun = Instant::now();
        let jobs = pool.with_chunk_size(chunk);
        let answers = jobs.starmap_async(work, items.map(|item| (runs.clone(), item)));
        if is_last {
            pool.close();
        }
        results.extend(answers.get().unwrap());
        times.push((begun, Instant::now()));
    }
    pool.clone().join();
    let (end, died) = (first_end.join().unwrap(), (came.get() - left.get()) as usize);
    // A death after the last result keeps nobody waiting.
    let under_way = times.iter().find(|(_, ended)| *ended > end);
    let lost = lost_of(&results);
    let progress = pool.progress();
    let counts = (progress.submitted, progress.finished, progress.failed);
    assert_eq!(counts, (ITEMS as u64, ITEMS as u64, lost.len() as u64), "{victim:?}");
    Run {
        died,
        lost,
        ran: runs.iter().map(|ran| ran.load(Ordering::SeqCst) as usize).collect(),
        progress,
        pause: under_way.map_or(Duration::ZERO, |(begun, ended)| *ended - end.max(*begun)),
    }
}

/// The items whose worker died; all others have their results.
fn lost_of(results: &[Result<Blob, JobError>]) -> Vec<usize> {
    assert_eq!(results.len(), ITEMS);
    let mut lost = vec![];
    for (item, result) in results.iter().enumerate() {
        match result {
            Ok(given) => assert!(*given == result_of(item), "item {item} has a wrong result"),
            Err(JobError::WorkerDied { signal: Some(9), .. }) => lost.push(item),
            Err(error) => panic!("item {item}: {error}"),
        }
    }
    lost
}
