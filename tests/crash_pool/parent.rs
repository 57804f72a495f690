//! The pool's own process is killed while it posts jobs: its workers end, and nothing is left of it.

use crate::blob::Blob;
use crate::common::{alone, for_ever, has_ended, shared_memory_names, wait_until, watchdog};
use crate::forked::Others;
use crate::stage::CRASH;
use procshare::{JoinError, Pool, Process, SharedAtomicArray, SharedCounter};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// So long after their parent's death may workers live.
const PROMISED: Duration = Duration::from_secs(1);
/// Posts of one life, see below: jobs of two maps, what is left of the one whose worker dies, and one that stays.
const POSTS: usize = 4 + 3 + 1 + 1;

/// A pool's life, in a process of its own that tells the workers' ids.
fn live(ids: SharedAtomicArray<AtomicU32>, counter: SharedCounter) {
    let pool = Pool::new(2).unwrap();
    let tell = || {
        for (word, id) in ids.iter().zip(pool.worker_ids()) {
            word.store(id, Ordering::SeqCst);
        }
    };
    tell();
    let count = |counter: SharedCounter, bytes: Blob| {
        counter.increment().unwrap();
        bytes
    };
    let items = |len| (0..8).map(move |number| Blob::new(number, len));
    let jobs = pool.with_chunk_size(2);
    let results = jobs.starmap(count, items(5000).map(|item| (counter.clone(), item)));
    assert!(results.into_iter().map(Result::unwrap).eq(items(5000)));
    let die_at_four = |item: u32| if item == 4 { std::process::abort() } else { item };
    let results = pool.with_chunk_size(3).map(die_at_four, 0..8);
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    wait_until(|| pool.progress().workers == 2);
    tell();
    let _stays = pool.submit(|| -> u8 { for_ever() }, ());
    wait_until(|| pool.progress().running == 1);
}

fn names() -> Vec<String> {
    let mut names = shared_memory_names("");
    names.retain(|name| !name.contains("test-"));
    names.sort();
    names
}

fn kill_at_every_post() {
    kill_at_every("pool.ready", Some(POSTS));
}

fn kill_at_every_handover() {
    kill_at_every("pool.handed", None);
}

/// Kills the pool's process at each passage of the point, of which there are so many, if that can be told.
fn kill_at_every(point: &str, passages: Option<usize>) {
    let (others, mut longest, before) = (Others::watch(), Duration::ZERO, names());
    for passage in 1.. {
        assert!(passage < 100, "without end");
        let ids = SharedAtomicArray::new(2).unwrap();
        let builder = Process::builder().daemon(true).env(CRASH, format!("{point}:{passage}"));
        let counter = SharedCounter::new(0).unwrap();
        let parent = builder.spawn(live, (ids.clone(), counter.clone())).unwrap();
        let outcome = parent.join();
        let ended = Instant::now();
        let workers: Vec<u32> = ids.iter().map(|id| id.load(Ordering::SeqCst)).collect();
        wait_until(|| workers.iter().all(|id| has_ended(*id)));
        longest = longest.max(ended.elapsed());
        assert_eq!(names(), before, "passage {passage}");
        if outcome == Ok(()) {
            assert_eq!(counter.get(), 8, "items");
            assert_eq!(passage - 1, passages.unwrap_or(passage - 1), "{point}");
            assert!(passage > 1, "{point} was not met");
            break;
        }
        assert_eq!(outcome, Err(JoinError::Signaled(libc::SIGKILL)), "passage {passage}");
        assert!(workers.iter().all(|id| *id != 0), "it died before it had a pool");
    }
    println!("{point}: the last worker had ended {longest:?} after its parent");
    assert!(longest < others.allow(PROMISED), "{longest:?}");
}

#[procshare::test]
fn the_parent_may_die_at_every_post() {
    let _watchdog = watchdog(120);
    alone(kill_at_every_post);
}

#[procshare::test]
fn the_parent_may_die_at_every_handover() {
    let _watchdog = watchdog(120);
    alone(kill_at_every_handover);
}
