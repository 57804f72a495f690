//! Queue handles that a copy of a process has from its parent, and who is taken for a peer because of them.

use super::{alone, by};
use crate::common::Flag;
use procshare::{Process, RecvError, SendError, SharedQueue};
use std::mem::forget;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Longer than it takes to find out that nobody is left.
const LATE: Duration = Duration::from_secs(10);
/// Long enough to find out.
const A_WHILE: Duration = Duration::from_millis(200);

/// What a closure captures. Its parent drops the handles at once, or when the child says that it has done with them.
struct Held {
    late: Option<Late>,
    queue: SharedQueue<u32>,
}

struct Late(Flag);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.wait_for(1);
    }
}

/// Forks a child that waits until the handle is left to it, or does not and is waited for, and then uses it; it stays until
/// the second flag is raised.
fn fork_with(queue: &SharedQueue<u32>, is_late: bool, use_it: fn(SharedQueue<u32>)) -> (Process<()>, Flag) {
    let (left, done, go) = (Flag::new(), Flag::new(), Flag::new());
    let held = Held {
        late: is_late.then(|| Late(done.clone())),
        queue: queue.clone(),
    };
    let (left_here, go_here) = (left.clone(), go.clone());
    let child = Process::builder().daemon(true).fork(move || {
        let Held { late, queue } = { held };
        match late {
            Some(late) => forget(late),
            None => left.wait_for(1),
        }
        use_it(queue);
        done.raise();
        go.wait_for(1);
    });
    left_here.raise();
    (child.unwrap(), go_here)
}

#[procshare::test]
fn a_copy_that_drops_a_handle_unused_is_no_peer() {
    alone(|| {
        for is_late in [false, true] {
            let queue = SharedQueue::new(4).unwrap();
            let (child, go) = fork_with(&queue, is_late, drop);
            assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected), "{is_late}");
            queue.put_all(0..4).unwrap();
            assert_eq!(queue.put_timeout(4, LATE), Err(SendError::Disconnected(4)), "{is_late}");
            go.raise();
            child.join().unwrap();
        }
    });
}

#[procshare::test]
fn a_copy_that_used_and_dropped_a_handle_is_no_peer() {
    alone(|| {
        for is_late in [false, true] {
            let queue = SharedQueue::new(4).unwrap();
            let (child, go) = fork_with(&queue, is_late, |queue| queue.put(1).unwrap());
            assert_eq!(queue.get_timeout(LATE), Ok(1));
            assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected), "{is_late}");
            go.raise();
            child.join().unwrap();
        }
    });
}

#[procshare::test]
fn a_copy_that_calls_exec_is_no_peer() {
    alone(|| {
        let queue = SharedQueue::<u32>::new(4).unwrap();
        let theirs = queue.clone();
        let child = Process::builder().daemon(true).fork(move || {
            let _refused = Command::new("sleep").arg("60").exec();
            drop(theirs);
        });
        let child = child.unwrap();
        let begun = Instant::now();
        assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected));
        assert!(begun.elapsed() < LATE / 2);
        child.kill().unwrap();
    });
}

/// Each counts for itself: one that has done neither may yet do either.
#[procshare::test]
fn a_second_handle_of_a_copy_counts_until_it_is_used() {
    alone(|| {
        let queue = SharedQueue::<u32>::new(1).unwrap();
        let theirs = (queue.clone(), queue.clone());
        let left = Flag::new();
        let wait = left.clone();
        let child = Process::fork(move || {
            let (first, second) = theirs;
            wait.wait_for(1);
            first.put(1).unwrap();
            let with_the_second = first.put_timeout(2, A_WHILE);
            drop(second);
            (
                with_the_second == Err(SendError::TimedOut(2)),
                first.put_timeout(2, LATE) == Err(SendError::Disconnected(2)),
            )
        });
        drop(queue);
        left.raise();
        assert_eq!(child.unwrap().join(), Ok((true, true)));
    });
}

#[procshare::test]
fn a_copy_takes_no_more_places_than_one() {
    alone(|| {
        for handles in 1..=3 {
            let queue = SharedQueue::<u32>::builder()
                .capacity(4)
                .max_processes(2)
                .anonymous()
                .unwrap();
            let theirs: Vec<_> = (0..handles).map(|_| queue.clone()).collect();
            let left = Flag::new();
            let wait = left.clone();
            let child = Process::fork(move || {
                wait.wait_for(1);
                theirs.iter().try_for_each(|queue| queue.put(1)).is_ok()
            });
            left.raise();
            assert_eq!(child.unwrap().join(), Ok(true), "{handles}");
            assert_eq!(queue.iter().count(), handles);
        }
    });
}

#[procshare::test]
fn a_copy_passes_on_a_handle_it_has_not_used() {
    alone(|| {
        let queue = SharedQueue::<u32>::new(4).unwrap();
        let theirs = queue.clone();
        let child = Process::fork(move || {
            let put = |queue: SharedQueue<u32>| queue.put(1).is_ok();
            by("spawn")
                .spawn(put, (theirs,))
                .map(|child| child.join().unwrap())
                .is_ok()
        });
        assert_eq!(child.unwrap().join(), Ok(true));
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected));
    });
}

/// What no closure captures is in the copy as well, and nothing drops it here.
#[procshare::test]
fn a_copy_that_has_yet_to_use_a_static_is_waited_for() {
    static QUEUE: OnceLock<SharedQueue<u32>> = OnceLock::new();
    alone(|| {
        let queue = QUEUE.get_or_init(|| SharedQueue::new(4).unwrap());
        let child = Process::builder().daemon(true).fork(|| {
            // By then the parent has looked for peers some times.
            std::thread::sleep(A_WHILE);
            QUEUE.get().unwrap().put(1).unwrap();
        });
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.get(), Err(RecvError::Disconnected));
        child.unwrap().join().unwrap();
    });
}

#[procshare::test]
fn a_copy_that_never_uses_what_is_shared_in_memory_is_not_waited_for() {
    alone(|| {
        // A copy made before the queue has none of it.
        let go = Flag::new();
        let wait = go.clone();
        let before = Process::builder().daemon(true).fork(move || wait.wait_for(1)).unwrap();
        let queue = Arc::new(SharedQueue::<u32>::new(4).unwrap());
        assert_eq!(queue.get(), Err(RecvError::Disconnected));
        let theirs = queue.clone();
        let child = Process::builder().daemon(true).fork(move || {
            let _unused = theirs;
            std::thread::sleep(A_WHILE);
            kill_self();
        });
        let begun = Instant::now();
        assert_eq!(queue.get(), Err(RecvError::Disconnected));
        assert!(begun.elapsed() >= A_WHILE / 2);
        drop(child);
        go.raise();
        before.join().unwrap();
    });
}

fn kill_self() {
    let own = std::process::id() as libc::pid_t;
    // SAFETY: two numbers.
    unsafe { libc::kill(own, libc::SIGKILL) };
}

/// What a copy inherited goes to its own copy.
#[procshare::test]
fn a_copy_of_a_copy_inherits() {
    alone(|| {
        let queue = SharedQueue::<u32>::new(4).unwrap();
        let theirs = queue.clone();
        let go = Flag::new();
        let wait = go.clone();
        let child = Process::builder().daemon(true).fork(move || {
            let grandchild = Process::builder().daemon(true).fork(move || {
                wait.wait_for(1);
                theirs.put(1).unwrap();
            });
            grandchild.unwrap().join().unwrap();
        });
        assert_eq!(queue.get_timeout(A_WHILE), Err(RecvError::TimedOut));
        go.raise();
        assert_eq!(queue.get_timeout(LATE), Ok(1));
        assert_eq!(queue.get_timeout(LATE), Err(RecvError::Disconnected));
        child.unwrap().join().unwrap();
    });
}
