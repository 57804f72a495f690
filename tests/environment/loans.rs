//! No copy of a process has what is lent to that: shared bytes that are read or written in place.

use crate::{alone, by};
use procshare::{Consumer, ErrorKind, Pool, Process, Producer, SharedArray, ring};

/// A ring whose ends stay for ever, with a value in it.
fn lasting_ring() -> (&'static mut Producer<u64>, &'static mut Consumer<u64>) {
    let (mut producer, consumer) = ring(8).unwrap();
    producer.push(1).unwrap();
    (Box::leak(Box::new(producer)), Box::leak(Box::new(consumer)))
}

fn leak_a_guard() {
    let array: &SharedArray<u64> = Box::leak(Box::new(SharedArray::new(4).unwrap()));
    std::mem::forget(array.get_lock().unwrap());
}

fn leak_a_write_chunk() {
    std::mem::forget(lasting_ring().0.write_chunk(2).unwrap());
}

fn leak_a_read_chunk() {
    std::mem::forget(lasting_ring().1.read_chunk(2).unwrap());
}

fn every_way_to_copy_is_refused() {
    let pool = Pool::builder().workers(1).start_method("fork".parse().unwrap());
    for error in [
        Process::fork(|| ()).unwrap_err(),
        by("fork").spawn(|| (), ()).unwrap_err(),
        pool.build().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotForkable, "{error}");
        assert!(error.to_string().contains("drop them first"), "{error}");
    }
}

#[procshare::test]
fn no_loan_of_any_kind_is_copied() {
    for leak in [0, 1, 2] {
        let body = |leak: usize| {
            assert_eq!(Process::fork(|| 1).unwrap().join(), Ok(1));
            [leak_a_guard, leak_a_write_chunk, leak_a_read_chunk][leak]();
            every_way_to_copy_is_refused();
            // What begins anew has nothing of it.
            assert_eq!(by("spawn").spawn(|| 2, ()).unwrap().join(), Ok(2));
            assert_eq!(by("fork-server").spawn(|| 3, ()).unwrap().join(), Ok(3));
        };
        let _watchdog = crate::common::watchdog(120);
        by("fork-server").spawn(body, (leak,)).unwrap().join().unwrap();
    }
}

#[procshare::test]
fn a_loan_of_another_thread_counts_for_the_process() {
    for leak in [0, 1, 2] {
        let body = |leak: usize| {
            let leak = [leak_a_guard, leak_a_write_chunk, leak_a_read_chunk][leak];
            std::thread::spawn(leak).join().unwrap();
            every_way_to_copy_is_refused();
        };
        let _watchdog = crate::common::watchdog(120);
        by("fork-server").spawn(body, (leak,)).unwrap().join().unwrap();
    }
}

/// One thread's loan that another takes back is none any more.
#[procshare::test]
fn a_loan_that_was_taken_back_elsewhere_counts_no_more() {
    alone(|| {
        let (producer, consumer) = lasting_ring();
        let chunk = producer.write_chunk(2).unwrap();
        std::thread::spawn(move || drop(chunk)).join().unwrap();
        let chunk = std::thread::spawn(|| consumer.read_chunk(2).unwrap()).join().unwrap();
        every_way_to_copy_is_refused();
        drop(chunk);
        assert_eq!(Process::fork(|| 1).unwrap().join(), Ok(1));
    });
}

/// A guard that is dropped by the last of a thread's destructors.
#[procshare::test]
fn a_loan_that_ends_with_its_thread_counts_no_more() {
    struct Late(std::cell::RefCell<Option<procshare::ArrayGuard<'static, u64>>>);
    thread_local! {
        static LATE: Late = const { Late(std::cell::RefCell::new(None)) };
    }
    alone(|| {
        let array: &SharedArray<u64> = Box::leak(Box::new(SharedArray::new(4).unwrap()));
        let lock = || LATE.with(|late| *late.0.borrow_mut() = Some(array.get_lock().unwrap()));
        std::thread::spawn(lock).join().unwrap();
        assert!(array.try_get_lock().is_ok());
        assert_eq!(Process::fork(|| 1).unwrap().join(), Ok(1));
    });
}

#[procshare::test]
fn a_chunk_captured_by_the_closure_is_refused() {
    alone(|| {
        let (producer, _) = lasting_ring();
        let chunk = producer.write_chunk(2).unwrap();
        let error = Process::fork(move || drop(chunk)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotForkable, "{error}");
    });
}

/// Somebody else's `fork` copies chunks all the same; in the copy they deliver nothing and take nothing out.
#[procshare::test]
fn a_chunk_in_a_foreign_copy_does_nothing() {
    alone(|| {
        let (producer, consumer) = lasting_ring();
        let (mut written, read) = (producer.write_chunk(2).unwrap(), consumer.read_chunk(1).unwrap());
        written.copy_from_slice(&[2, 3]);
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            written.commit(2);
            drop(read);
            // SAFETY: ends the copy.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: the place is writable.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(status, 0);
        read.commit(0);
        written.commit(0);
        assert_eq!(consumer.len(), 1);
        assert_eq!(consumer.pop().unwrap(), 1);
    });
}
