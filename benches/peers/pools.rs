//! Pools and start methods, beside Python's, rayon, and the same work in one process.

use crate::measure::{Effort, Measured, each, interleave, once};
use procshare::process::{Argument, Returned, StartMethod};
use procshare::{Pool, Process};
use rayon::prelude::*;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

const WORKERS: usize = 2;

fn square(number: u64) -> u64 {
    number * number
}

/// The sum of what `square` makes of the numbers below `items`.
fn squares_below(items: u64) -> u64 {
    (0..items).map(square).sum()
}

/// A pool whose workers have run something already.
pub(crate) fn warm_pool() -> Pool {
    let pool = Pool::new(WORKERS).unwrap();
    assert_eq!(pool.with_chunk_size(1).map(square, 0..100).len(), 100);
    pool
}

/// Nanoseconds an item takes in a map.
pub(crate) fn map_squares(pool: &Pool, items: u64) -> f64 {
    let mut squares = Vec::new();
    let elapsed = once(|| squares = pool.map(square, 0..items));
    let total: u64 = squares.into_iter().map(Result::unwrap).sum();
    assert_eq!(total, squares_below(items));
    elapsed / items as f64
}

/// Nanoseconds that a list takes to a worker and back.
pub(crate) fn there_and_back<T: Argument + Returned + Clone + PartialEq>(pool: &Pool, list: &T, trips: u64) -> f64 {
    let mut elapsed = 0.0;
    for _ in 0..trips {
        let (list_there, mut back) = (list.clone(), None);
        elapsed += once(|| back = Some(pool.apply(|list: T| list, (list_there,))));
        assert!(back.is_some_and(|back| back.as_ref() == Ok(list)));
    }
    elapsed / trips as f64
}

/// A function that takes about a millisecond, however often it is interrupted.
fn toil(rounds: u64) -> u64 {
    (0..rounds).fold(1, |hash: u64, round| {
        black_box(hash.rotate_left(5) ^ round).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// How many rounds of `toil` take a millisecond.
fn rounds_of_a_millisecond() -> u64 {
    let rounds = 1_000_000;
    let best = (0..20)
        .map(|_| once(|| black_box(toil(rounds))))
        .fold(f64::INFINITY, f64::min);
    (rounds as f64 * 1e6 / best) as u64
}

pub(crate) fn beside_rayon(effort: Effort) -> Option<Measured> {
    let rounds = rounds_of_a_millisecond();
    let jobs = effort.operations(2_000);
    let expected = toil(rounds);
    let pool = warm_pool();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().unwrap();
    let ours = || {
        let mut results = Vec::new();
        let elapsed = once(|| results = pool.with_chunk_size(1).map(toil, (0..jobs).map(|_| rounds)));
        assert!(results.len() as u64 == jobs && results.into_iter().all(|result| result == Ok(expected)));
        elapsed
    };
    let peer = || {
        let mut results = Vec::new();
        let run = || {
            (0..jobs as usize)
                .into_par_iter()
                .with_max_len(1)
                .map(|_| toil(rounds))
                .collect()
        };
        let elapsed = once(|| results = threads.install(run));
        assert!(results.len() as u64 == jobs && results.into_iter().all(|result: u64| result == expected));
        elapsed
    };
    Some(interleave(effort.rounds(5), ours, peer))
}

fn nothing() {}

/// Starts and joins so many children; nanoseconds for one.
pub(crate) fn start_and_join(method: StartMethod, starts: u64) -> f64 {
    each(starts, || {
        let child = Process::builder().start_method(method).spawn(nothing, ()).unwrap();
        child.join().unwrap();
    })
}

/// The same in a process of its own, which has one thread and so can fork.
pub(crate) fn start_and_join_alone(method: &str, starts: u64) -> f64 {
    let measure = |method: String, starts: u64| start_and_join(method.parse().unwrap(), starts);
    Process::spawn(measure, (method.to_owned(), starts))
        .unwrap()
        .join()
        .unwrap()
}

/// Medians of starting children by the fork server and by fork, in a process with so many bytes resident.
fn start_beside_fork(bytes: usize, rounds: usize, starts: u64) -> (f64, f64) {
    let held: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
    let measured = interleave(
        rounds,
        || start_and_join(StartMethod::ForkServer, starts),
        || start_and_join(StartMethod::Fork, starts),
    );
    assert_eq!(black_box(held).len(), bytes);
    (measured.ours, measured.peer)
}

pub(crate) fn fork_server_start(effort: Effort) -> Option<Measured> {
    let bytes: usize = if effort.quick { 1 << 26 } else { 1 << 30 };
    let child = Process::spawn(start_beside_fork, (bytes, effort.rounds(11), 5));
    let (ours, peer) = child.unwrap().join().unwrap();
    Some(Measured {
        ours,
        peer,
        unit: crate::measure::Unit::Nanoseconds,
    })
}

/// A folder of text files that is removed at the end.
struct Folder(PathBuf);

const FILE_BYTES: usize = 20 * 1024;

impl Folder {
    fn new(files: u64) -> Self {
        // In memory: a disk that is slower than both sides would be all there is to see.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory } else { &std::env::temp_dir() };
        let folder = base.join(format!("procshare-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Not ASCII alone, whose upper case is a matter of microseconds.
        let words = "the quick brown fox jumps over the lazy dog\nzwölf Boxkämpfer jagen Viktor quer über den Deich\n";
        let mut text = words.repeat(FILE_BYTES / words.len());
        text.push_str(&"x".repeat(FILE_BYTES - text.len()));
        for file in 0..files {
            fs::write(folder.join(file.to_string()), &text).unwrap();
        }
        Folder(folder)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Puts a file in upper case, replacing it as a whole.
fn convert(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap().to_uppercase();
    let new = path.with_extension("new");
    fs::write(&new, &text).unwrap();
    fs::rename(&new, path).unwrap();
    text.len()
}

fn convert_one(path: PathBuf) -> usize {
    convert(&path)
}

pub(crate) fn uppercase_files(effort: Effort) -> Option<Measured> {
    let files = effort.operations(2_000);
    let folder = Folder::new(files);
    let pool = warm_pool();
    let paths = folder.files();
    let expected = files as usize * FILE_BYTES;
    let ours = || {
        let paths = paths.clone();
        once(|| {
            assert_eq!(
                pool.map(convert_one, paths)
                    .into_iter()
                    .map(Result::unwrap)
                    .sum::<usize>(),
                expected
            )
        })
    };
    let peer = || once(|| assert_eq!(paths.iter().map(|path| convert(path)).sum::<usize>(), expected));
    Some(interleave(effort.rounds(7), ours, peer))
}
