//! A limit of the system is an error of the right kind, and never a signal, wherever it is reached.

use crate::common::{limit, watchdog};
use crate::{alone, by};
use procshare::process::{Entry, StartMethod};
use procshare::{
    Error, ErrorKind, FrozenArray, JobError, JoinError, Pool, Process, Result, Segment, SharedArray, SharedAtomicArray,
    SharedCounter, SharedMap, SharedQueue, SharedValue, pipe, ring,
};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// More than any limit here allows, and little for the machine.
const MUCH: usize = 16 << 20;
const FILES: u64 = 64 << 10;

/// As much, without taking memory of the heap.
static ZEROS: [u64; MUCH / 8] = [0; MUCH / 8];

fn much() -> Vec<u8> {
    vec![7; MUCH]
}

/// An operation that takes much of something. A folder and a name are there for it.
type Operation = (&'static str, fn(&str) -> Result<()>);

#[rustfmt::skip]
const GROWING: &[Operation] = &[
    ("an array", |_| SharedArray::<u8>::new(MUCH).map(drop)),
    ("an array with elements", |_| SharedArray::from_slice(&ZEROS).map(drop)),
    ("an atomic array", |_| SharedAtomicArray::<AtomicU64>::new(MUCH / 8).map(drop)),
    ("a frozen array", |_| FrozenArray::from_slice(&ZEROS).map(drop)),
    ("a map", |_| SharedMap::<u8, u8>::with_capacity(MUCH).map(drop)),
    ("a ring", |_| ring::<u64>(MUCH / 8).map(drop)),
    ("a named segment", |name| Segment::create(name, MUCH).map(drop)),
    ("a segment in a folder", |name| Segment::builder().folder(std::env::temp_dir()).capacity(MUCH).create(name).map(drop)),
    ("a segment in a file", |name| Segment::create_file(std::env::temp_dir().join(name), MUCH).map(drop)),
    ("arguments of a child", |_| by("spawn").spawn(|_: Vec<u8>| (), (much(),)).map(drop)),
    ("arguments of a served child", |_| by("fork-server").spawn(|_: Vec<u8>| (), (much(),)).map(drop)),
    ("arguments of a copy", |_| by("fork").spawn(|_: Vec<u8>| (), (much(),)).map(drop)),
    ("the work queue of a pool", |_| Pool::new(200).map(drop)),
];

/// Runs the operations in processes of their own, which have set themselves a limit, and takes their errors.
fn errors_of<F: Entry<(usize, String), Output = (ErrorKind, String)>>(
    operations: &[Operation],
    body: F,
) -> Vec<(ErrorKind, String)> {
    let _watchdog = watchdog(120);
    let one = |at: usize| {
        let name = crate::common::unique("limited");
        // No daemon: that would have a thread, which it may not be able to begin anew.
        let builder = Process::builder().start_method(StartMethod::ForkServer);
        let child = builder.spawn(body, (at, name.clone())).unwrap();
        let outcome = child
            .join()
            .unwrap_or_else(|error| panic!("{}: {error}", operations[at].0));
        assert!(!std::env::temp_dir().join(&name).exists(), "{}", operations[at].0);
        assert!(
            crate::common::shared_memory_names(&name).is_empty(),
            "{}",
            operations[at].0
        );
        outcome
    };
    (0..operations.len()).map(one).collect()
}

/// What the operation ends with, which must be an error.
fn fail((what, operation): Operation, name: &str) -> (ErrorKind, String) {
    let error = operation(name).expect_err(what);
    (error.kind(), error.to_string())
}

#[procshare::test]
fn the_limit_of_file_sizes_is_an_error_wherever_a_file_grows() {
    let errors = errors_of(GROWING, |at: usize, name: String| {
        limit(libc::RLIMIT_FSIZE, FILES);
        fail(GROWING[at], &name)
    });
    for ((what, _), (kind, text)) in GROWING.iter().zip(errors) {
        assert_eq!(kind, ErrorKind::OutOfMemory, "{what}: {text}");
        assert!(text.contains("ulimit -f") && text.contains("65536"), "{what}: {text}");
    }
}

/// Of a child that sets itself the limit, and of one that has it from its parent.
#[procshare::test]
fn a_result_beyond_the_limit_of_file_sizes_is_an_error() {
    let _watchdog = watchdog(120);
    for method in ["spawn", "fork-server"] {
        let body = || {
            limit(libc::RLIMIT_FSIZE, FILES);
            much()
        };
        let error = by(method).spawn(body, ()).unwrap().join().unwrap_err();
        assert!(
            matches!(&error, JoinError::OutOfMemory(text) if text.contains("ulimit -f")),
            "{error:?}"
        );
        assert_eq!(procshare::Error::from(error).kind(), ErrorKind::OutOfMemory);
        // Where not even that can be said, the exit status tells.
        let body = || {
            limit(libc::RLIMIT_FSIZE, 0);
            much()
        };
        assert_eq!(by(method).spawn(body, ()).unwrap().join(), Err(JoinError::Exited(1)));
        // Where there is no memory for its bytes either. The function was called.
        let body = || {
            let result = vec![7_u8; 5 * MUCH]; // More than the heap of a thread has reserved.
            limit(libc::RLIMIT_FSIZE, FILES);
            limit(libc::RLIMIT_AS, mapped() + (4 << 20));
            result
        };
        let error = by(method).spawn(body, ()).unwrap().join().unwrap_err();
        assert!(
            matches!(&error, JoinError::OutOfMemory(text) if text.contains("encoded")),
            "{error:?}"
        );
    }
    alone(|| {
        limit(libc::RLIMIT_FSIZE, FILES);
        for error in [
            Process::fork(much).unwrap().join().unwrap_err(),
            by("spawn").spawn(much, ()).unwrap().join().unwrap_err(),
        ] {
            assert!(matches!(&error, JoinError::OutOfMemory(_)), "{error:?}");
        }
    });
}

#[procshare::test]
fn a_job_beyond_the_limit_of_file_sizes_is_an_error() {
    alone(|| {
        let pool = Pool::builder()
            .workers(1)
            .start_method(StartMethod::ForkServer)
            .build()
            .unwrap();
        let of_worker = pool.apply(
            || {
                limit(libc::RLIMIT_FSIZE, FILES);
                much()
            },
            (),
        );
        assert!(
            matches!(&of_worker, Err(JobError::OutOfMemory(_))),
            "{:?}",
            of_worker.map(|bytes| bytes.len())
        );
        limit(libc::RLIMIT_FSIZE, FILES);
        let of_parent = pool.apply(|bytes: Vec<u8>| bytes.len(), (much(),));
        assert!(matches!(&of_parent, Err(JobError::OutOfMemory(_))), "{of_parent:?}");
        assert_eq!(pool.apply(|a: u8| a, (1,)), Ok(1));
    });
}

#[cfg(feature = "timeline-svg")]
#[procshare::test]
fn a_picture_beyond_the_limit_of_file_sizes_is_an_error() {
    alone(|| {
        let pool = Pool::builder().workers(1).timeline(true).build().unwrap();
        let _ = pool.map(|a: u8| a, 0..10);
        limit(libc::RLIMIT_FSIZE, 100);
        let path = std::env::temp_dir().join(crate::common::unique("picture"));
        let error = pool.timeline().write_svg(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
        assert!(!path.exists());
    });
}

/// The pages this process has mapped, in bytes.
fn mapped() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[procshare::test]
fn the_limit_of_address_space_is_an_error() {
    let errors = errors_of(&GROWING[..9], |at: usize, name: String| {
        limit(libc::RLIMIT_AS, mapped() + (4 << 20));
        fail(GROWING[at], &name)
    });
    for ((what, _), (kind, text)) in GROWING.iter().zip(errors) {
        assert_eq!(kind, ErrorKind::OutOfMemory, "{what}: {text}");
    }
}

/// Goes on as a user for whom limits hold; false if this one may not change to that.
fn become_nobody() -> bool {
    // SAFETY: numbers only.
    let group = unsafe { libc::setresgid(65534, 65534, 65534) };
    // SAFETY: numbers only.
    group == 0 && unsafe { libc::setresuid(65534, 65534, 65534) } == 0
}

/// Whether this user may become another one; says so if not.
fn may_change_user() -> bool {
    // SAFETY: only reads a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: only root can become another user");
    }
    root
}

#[procshare::test]
fn the_limit_of_locked_memory_is_an_error() {
    if !may_change_user() {
        return;
    }
    let errors = errors_of(&GROWING[..6], |at: usize, name: String| {
        assert!(become_nobody());
        limit(libc::RLIMIT_MEMLOCK, 4 << 20);
        // SAFETY: a number; what is mapped from now on is locked.
        assert_eq!(unsafe { libc::mlockall(libc::MCL_FUTURE) }, 0);
        fail(GROWING[at], &name)
    });
    for ((what, _), (kind, text)) in GROWING.iter().zip(errors) {
        assert_eq!(kind, ErrorKind::OutOfMemory, "{what}: {text}");
        assert!(text.contains("ulimit -l"), "{what}: {text}");
    }
}

#[rustfmt::skip]
const STARTING: &[Operation] = &[
    ("a child", |_| by("spawn").spawn(|| (), ()).map(drop)),
    ("a served child", |_| by("fork-server").spawn(|| (), ()).map(drop)),
    ("a copy", |_| by("fork").spawn(|| (), ()).map(drop)),
    ("a copy with a closure", |_| Process::fork(|| ()).map(drop)),
    ("a pool", |_| Pool::new(1).map(drop)),
    ("a pool of copies", |_| Pool::builder().workers(1).start_method(StartMethod::Fork).build().map(drop)),
];

#[procshare::test]
fn the_limit_of_processes_is_an_error() {
    if !may_change_user() {
        return;
    }
    let errors = errors_of(STARTING, |at: usize, name: String| {
        assert!(become_nobody());
        limit(libc::RLIMIT_NPROC, 0);
        fail(STARTING[at], &name)
    });
    for ((what, _), (kind, text)) in STARTING.iter().zip(errors) {
        assert_eq!(kind, ErrorKind::Spawn, "{what}: {text}");
        assert!(text.contains("ulimit -u"), "{what}: {text}");
    }
}

#[rustfmt::skip]
const OPENING: &[Operation] = &[
    ("a value", |_| SharedValue::new(1).map(drop)),
    ("a frozen array", |_| FrozenArray::from_slice(&[7_u64; 8]).map(drop)),
    ("a map", |_| SharedMap::<u8, u8>::with_capacity(1 << 16).map(drop)),
    ("a queue", |_| SharedQueue::<u8>::new(4).map(drop)),
    ("a pipe", |_| pipe::<u8>().map(drop)),
    ("a ring", |_| ring::<u64>(8).map(drop)),
    ("a named segment", |name| Segment::create(name, 4096).map(drop)),
    ("a segment that is to be found", |name| Segment::open(name).map(drop)),
    ("one or the other", |name| Segment::open_or_create(name, 4096).map(drop)),
    ("a segment in a file", |name| Segment::create_file(std::env::temp_dir().join(name), 4096).map(drop)),
    ("orphans", |_| procshare::clean_folder(std::env::temp_dir()).map(drop)),
    ("a working folder", |_| Process::builder().current_dir("/").spawn(|| (), ()).map(drop)),
];

/// Leaves no descriptor free but so many.
fn leave_descriptors(spare: usize) {
    use std::os::fd::AsRawFd;
    let next = std::fs::File::open("/").unwrap().as_raw_fd() as u64;
    limit(libc::RLIMIT_NOFILE, next);
    // Numbers below it may be free as well, after one that is not.
    let mut taken = vec![];
    while let Ok(file) = std::fs::File::open("/") {
        taken.push(file);
    }
    limit(libc::RLIMIT_NOFILE, next + spare as u64);
    std::mem::forget(taken);
}

#[procshare::test]
fn the_limit_of_descriptors_is_an_error() {
    let errors = errors_of(OPENING, |at: usize, name: String| {
        leave_descriptors(0);
        fail(OPENING[at], &name)
    });
    for ((what, _), (kind, text)) in OPENING.iter().zip(errors) {
        assert_eq!(kind, ErrorKind::TooManyDescriptors, "{what}: {text}");
    }
    let errors = errors_of(STARTING, |at: usize, name: String| {
        leave_descriptors(0);
        fail(STARTING[at], &name)
    });
    for ((what, _), (kind, text)) in STARTING.iter().zip(errors) {
        assert_eq!(kind, ErrorKind::TooManyDescriptors, "{what}: {text}");
    }
}

/// Whichever of the descriptors that are needed it is that cannot be had: an error of that kind, or none was needed.
#[procshare::test]
fn the_last_descriptor_may_be_any_of_those_needed() {
    alone(|| {
        let name = crate::common::unique("limited");
        for (what, operation) in OPENING.iter().chain(STARTING) {
            for spare in 1..5 {
                let child = Process::fork({
                    let name = name.clone();
                    move || {
                        leave_descriptors(spare);
                        operation(&name).map_err(|error| (error.kind(), error.to_string()))
                    }
                });
                match child.unwrap().join().unwrap_or_else(|error| panic!("{what}: {error}")) {
                    Ok(()) | Err((ErrorKind::TooManyDescriptors | ErrorKind::NotFound, _)) => {}
                    Err(error) => panic!("{what}, {spare} left: {error:?}"),
                }
                let _ = std::fs::remove_file(std::env::temp_dir().join(&name));
            }
        }
    });
}

/// A start that fails for want of a descriptor fails before there is a child: whoever tries again does nothing twice.
#[procshare::test]
fn a_start_that_fails_for_want_of_a_descriptor_has_run_nothing() {
    alone(|| {
        for (method, spare) in ["spawn", "fork", "fork-server"]
            .into_iter()
            .flat_map(|method| (0..12).map(move |spare| (method, spare)))
        {
            let child = Process::fork(move || {
                let total = SharedCounter::new(0).unwrap();
                let count = |total: SharedCounter| total.increment().is_ok();
                assert!(by(method).spawn(count, (total.clone(),)).unwrap().join().unwrap());
                leave_descriptors(spare);
                let has_run = match by(method).spawn(count, (total.clone(),)) {
                    Ok(child) => match child.join() {
                        Err(JoinError::NotStarted(why)) => {
                            assert!(why.contains("ulimit -n"), "{why}");
                            false
                        }
                        outcome => outcome.unwrap(),
                    },
                    Err(error) if error.kind() == ErrorKind::TooManyDescriptors => false,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(total.get(), 1 + i64::from(has_run));
            });
            if let Err(error) = child.unwrap().join() {
                panic!("{method}, {spare} left: {error}");
            }
        }
    });
}

/// A worker that cannot be replaced at once, for want of a descriptor, leaves no job behind that nobody has.
#[procshare::test]
fn a_pool_that_cannot_replace_its_worker_at_once_runs_every_job() {
    fn run(item: u32) -> u32 {
        if item == 0 {
            std::process::abort();
        }
        item
    }
    alone(|| {
        for (method, spare) in [StartMethod::Fork, StartMethod::ForkServer]
            .into_iter()
            .flat_map(|method| (0..12).map(move |spare| (method, spare)))
        {
            let child = Process::fork(move || {
                let builder = Pool::builder().workers(1).start_method(method).chunk_size(1);
                let pool = builder.build().unwrap();
                assert_eq!(pool.apply(run, (1,)), Ok(1));
                leave_descriptors(spare);
                let results = pool.map_async(run, 0..8);
                let _ = results.wait_timeout(Duration::from_millis(100));
                limit(libc::RLIMIT_NOFILE, 1024);
                assert!(results.wait_timeout(Duration::from_secs(30)), "{:?}", pool.progress());
                let results = results.get().unwrap();
                let lost = results.iter().filter(|result| result.is_err()).count();
                assert_eq!(lost, 1, "{results:?}");
            });
            if let Err(error) = child.unwrap().join() {
                panic!("{method:?}, {spare} left: {error}");
            }
        }
    });
}

/// An item that arrives whole and cannot be decoded for want of memory is not called malformed.
#[procshare::test]
fn a_lack_of_memory_for_what_is_decoded_is_told_as_that() {
    const LARGE: usize = 8 << 20;
    fn large() -> Vec<f64> {
        vec![1.0; LARGE]
    }
    alone(|| {
        let pool = Pool::builder()
            .workers(1)
            .start_method(StartMethod::Fork)
            .build()
            .unwrap();
        let job = pool.submit(large, ());
        job.wait();
        let child = by("fork-server").spawn(large, ()).unwrap();
        while child.is_alive() {
            std::thread::yield_now();
        }
        let queue = SharedQueue::new(1).unwrap();
        queue.put(large()).unwrap();
        // Room for the encoded bytes, not for the vector as well.
        limit(libc::RLIMIT_AS, mapped() + (LARGE as u64 * 8) * 3 / 2);
        let outcomes = [
            job.get().map(drop).map_err(Error::from),
            child.join().map(drop).map_err(Error::from),
            queue.get().map(drop).map_err(Error::from),
        ];
        limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
        for outcome in outcomes {
            assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::OutOfMemory));
        }
    });
}
