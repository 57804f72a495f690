//! What a program does while a thread of it ends, or all of it does.

use super::{Part, Test, part, stage};
use procshare::process::{self, StartMethod};
use procshare::{ErrorKind, Process, Segment, SharedArray, SharedCounter, SharedValue};
use std::io::Write;
use std::process::ExitCode;

pub(crate) const PARTS: &[Part] = &[part("uses all to its last moment", use_all_to_the_last)];

pub(crate) const TESTS: &[Test] = &[("a_thread_or_program_that_ends_may_use_all", lasting)];

/// Uses everything when its thread ends.
struct Last(&'static str);

impl Drop for Last {
    fn drop(&mut self) {
        use_all(self.0);
    }
}

thread_local! {
    static BEFORE: Last = const { Last("before") };
    static AFTER: Last = const { Last("after") };
}

/// Has destructors run at the end of this thread, on both sides of what this crate may have there.
fn end_with_a_use(when: &str) {
    BEFORE.with(|_| ());
    use_all(when);
    AFTER.with(|_| ());
}

fn use_all_to_the_last() -> ExitCode {
    // SAFETY: the handler is a function that lives for ever.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
    std::thread::spawn(|| end_with_a_use("thread")).join().unwrap();
    end_with_a_use("main");
    ExitCode::from(7)
}

extern "C" fn at_exit() {
    use_all("exit");
}

fn add(counter: SharedCounter, value: SharedValue<u64>) -> i64 {
    *value.get_lock() += 1;
    counter.increment().unwrap()
}

/// Says when, once all has been used.
fn use_all(when: &str) {
    let value = SharedValue::new(0_u64).unwrap();
    let counter = SharedCounter::new(0).unwrap();
    let array = SharedArray::<u32>::new(16).unwrap();
    array.get_lock().unwrap()[3] = 7;
    assert_eq!(array.get(3), Ok(7));
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let builder = Process::builder().daemon(true).start_method(method);
        builder
            .spawn(add, (counter.clone(), value.clone()))
            .unwrap()
            .join()
            .unwrap();
    }
    assert_eq!((counter.get(), value.get()), (2, 2));
    match Process::fork(|| 42) {
        Ok(child) => assert_eq!(child.join(), Ok(42)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotForkable),
    }
    drop(Process::builder().daemon(true).spawn(|| (), ()).unwrap());
    let sum = process::scope(|scope| Ok(scope.spawn(|| 40, ())?.join()? + 2));
    assert_eq!(sum.unwrap(), 42);
    assert!(!process::current().is_child());
    drop(process::active_children());
    let pool = procshare::Pool::new(2).unwrap();
    assert_eq!(pool.map(|a: u32| a + 1, [1, 2]), [Ok(2), Ok(3)]);
    drop(pool);
    let name = format!("test-last-{}-{when}", std::process::id());
    let segment = Segment::create(&name, 4096).unwrap();
    segment.counter("n", 1).unwrap();
    assert_eq!(Segment::open(&name).unwrap().objects().unwrap().len(), 1);
    drop(segment);
    let _ = writeln!(std::io::stdout(), "{when}");
}

fn lasting() {
    let ended = stage::run(stage::program("uses all to its last moment"));
    let said: Vec<_> = ended.stdout.lines().collect();
    let expected = ["thread", "after", "before", "main", "after", "before", "exit"];
    assert_eq!((ended.status.code(), &said[..]), (Some(7), &expected[..]), "{ended:?}");
}
