//! Attacks on who takes part in queues, pipes and rings: tickets, counts, roles, waiting for those yet to come.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;
#[path = "common/forked.rs"]
mod forked;
#[path = "common/role.rs"]
mod role;

use forked::{Child, Frame, Pipe, until};
use procshare::{Connection, Consumer, Process, Producer, RecvError, SharedQueue};
use role::{Folder, file_of, word_at, write_at};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
/// Longer than any call here may take.
const LATE: Duration = Duration::from_secs(3);
/// Where a queue's seats begin, and with them their lock.
const SEATS: u64 = 384;

fn frame() -> Frame {
    forked::frame_for(Duration::from_secs(40))
}

// Tickets.

/// Leaves as one end of a ring and arrives as the other: both are serialised alike.
enum Trojan {
    Sent(Consumer<u64>),
    Arrived(Producer<u64>),
}

impl Serialize for Trojan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Trojan::Sent(consumer) => consumer.serialize(serializer),
            Trojan::Arrived(producer) => producer.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Trojan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Producer::deserialize(deserializer).map(Trojan::Arrived)
    }
}

/// With a consumer to push for, it pushes beside the producer that its parent has.
fn push_as_second(trojan: Trojan, name: String) -> Option<u64> {
    let Trojan::Arrived(mut producer) = trojan else {
        return None;
    };
    let mut consumer = Consumer::open(name).ok()?;
    producer.push(666).ok()?;
    consumer.pop().ok()
}

#[procshare::test]
fn a_consumers_ticket_makes_no_producer() {
    let _frame = frame();
    let name = crate::common::unique("trojan");
    let _producer = Producer::<u64>::create(&name, 8).unwrap();
    let consumer = Consumer::<u64>::open(&name).unwrap();
    let child = Process::spawn(push_as_second, (Trojan::Sent(consumer), name)).unwrap();
    let outcome = child.join();
    assert!(outcome.is_err(), "two producers at once: {outcome:?}");
}

// Counts and roles.

#[procshare::test]
fn many_clones_do_not_stay_for_ever() {
    let _frame = frame();
    let queue = SharedQueue::<u8>::new(8).unwrap();
    for clones in [100, 5000] {
        drop((0..clones).map(|_| queue.clone()).collect::<Vec<_>>());
        let outcome = queue.get_timeout(Duration::from_millis(100));
        assert_eq!(outcome, Err(RecvError::Disconnected), "after {clones} clones");
    }
}

#[procshare::test]
fn who_has_got_nothing_may_still_put() {
    let _frame = frame();
    let main = SharedQueue::<u8>::new(8).unwrap();
    let worker = main.clone();
    assert_eq!(worker.get_timeout(SHORT), Err(RecvError::TimedOut));
    assert_eq!(main.try_get(), Err(RecvError::Disconnected)); // A look: nobody else may put, and nothing was got.
    assert_eq!(worker.get_timeout(SHORT), Err(RecvError::TimedOut));
}

#[procshare::test]
fn an_own_clone_is_not_the_peer_that_was_waited_for() {
    let _frame = frame();
    let queue = SharedQueue::<u8>::new(8).unwrap();
    let server = queue.clone().wait_for_peers();
    drop(queue);
    assert_eq!(server.get_timeout(SHORT), Err(RecvError::TimedOut));
    let other = server.clone();
    assert!(other.try_get().is_err());
    assert_eq!(server.get_timeout(SHORT), Err(RecvError::TimedOut));
}

#[procshare::test]
fn a_second_server_is_not_the_client_that_was_waited_for() {
    let _frame = frame();
    let queue = SharedQueue::<u8>::new(8).unwrap();
    let first = queue.clone().wait_for_peers();
    let second = queue.clone().wait_for_peers();
    drop(queue);
    assert_eq!(second.get_timeout(SHORT), Err(RecvError::TimedOut));
    assert_eq!(first.get_timeout(SHORT), Err(RecvError::TimedOut));
}

// Ends that were passed on before their peers came.

fn receive_once(connection: Connection<u8>) -> Result<u8, String> {
    connection
        .recv_timeout(Duration::from_millis(200))
        .map_err(|error| format!("{error:?}"))
}

#[procshare::test]
fn a_pipes_end_still_waits_for_its_peer_when_passed_on() {
    let _frame = frame();
    let end = Connection::<u8>::create(crate::common::unique("passed"), 8).unwrap();
    let child = Process::spawn(receive_once, (end,)).unwrap();
    assert_eq!(child.join().unwrap(), Err("TimedOut".to_owned()));
}

fn pop_once(mut consumer: Consumer<u8>) -> Result<u8, String> {
    consumer
        .pop_timeout(Duration::from_millis(200))
        .map_err(|error| format!("{error:?}"))
}

#[procshare::test]
fn a_rings_end_still_waits_for_its_peer_when_passed_on() {
    let _frame = frame();
    let end = Consumer::<u8>::create(crate::common::unique("passed"), 8)
        .unwrap()
        .wait_for_peers();
    let child = Process::spawn(pop_once, (end,)).unwrap();
    assert_eq!(child.join().unwrap(), Err("TimedOut".to_owned()));
}

#[procshare::test]
fn either_end_of_a_named_pipe_can_be_had_anew() {
    let _frame = frame();
    let name = crate::common::unique("anew");
    let server = Connection::<u8>::create(&name, 8).unwrap();
    let client = Connection::<u8>::open(&name).unwrap();
    drop(server);
    let anew = Connection::<u8>::open(&name);
    assert!(anew.is_ok(), "{anew:?}");
    anew.unwrap().send(1).unwrap();
    assert_eq!(client.recv(), Ok(1));
}

// An `exec`, and who looks.

/// A child that has put something and then becomes another program.
fn become_another(queue: &SharedQueue<u64>) -> Child {
    let ready = Pipe::new();
    let child = Child::fork(|| {
        queue.put(1).unwrap();
        ready.say();
        panic!("{}", Command::new("sleep").arg("30").exec());
    });
    ready.hear();
    until("it is another program", || {
        std::fs::read(format!("/proc/{}/comm", child.id())).unwrap() == b"sleep\n"
    });
    child
}

#[procshare::test]
fn an_exec_is_noticed_by_who_waits_in_pieces() {
    let _frame = frame();
    let queue = SharedQueue::<u64>::new(8).unwrap();
    let _child = become_another(&queue);
    assert_eq!(queue.get(), Ok(1));
    let began = Instant::now();
    let error = loop {
        match queue.get_timeout(Duration::from_millis(50)) {
            Err(RecvError::TimedOut) if began.elapsed() < LATE => {}
            outcome => break outcome,
        }
    };
    assert_eq!(error, Err(RecvError::Disconnected));
}

#[procshare::test]
fn an_exec_is_noticed_beside_somebody_who_looks_all_the_time() {
    let _frame = frame();
    let queue = SharedQueue::<u64>::new(8).unwrap();
    let _child = become_another(&queue);
    assert_eq!(queue.get(), Ok(1));
    let began = Instant::now();
    thread::scope(|scope| {
        let busy = scope.spawn(|| while queue.try_get() == Err(RecvError::Empty) && began.elapsed() < 2 * LATE {});
        let patient = queue.get_timeout(LATE);
        busy.join().unwrap();
        assert_eq!(patient, Err(RecvError::Disconnected));
    });
}

// The lock of the seats.

/// A queue in a file, and the place of its seats' lock there.
struct Lockable {
    queue: SharedQueue<u64>,
    path: PathBuf,
    lock: u64,
    _folder: Folder,
}

impl Lockable {
    fn new() -> Self {
        let folder = Folder::new();
        let name = crate::common::unique("seats");
        let segment = folder.builder().capacity(1 << 16).create(&name).unwrap();
        let queue = segment.queue::<u64>("queue", 8).unwrap();
        let lock = segment.objects().unwrap()[0].offset + SEATS;
        Lockable {
            queue,
            path: file_of(&folder.0, &name),
            lock,
            _folder: folder,
        }
    }

    /// Says that a process that lives, and maps the queue, holds the lock.
    fn lock(&self, holder: u32) {
        let holder = u64::from(holder);
        let word = holder << 32 | 1 << 22 | holder;
        write_at(&self.path, self.lock, &word.to_ne_bytes());
    }

    fn unlock(&self) {
        write_at(&self.path, self.lock, &0u64.to_ne_bytes());
    }
}

#[procshare::test]
fn a_limit_holds_for_the_seats_too() {
    let _frame = frame();
    let object = Lockable::new();
    let holder = stopped();
    object.lock(holder.id());
    thread::scope(|scope| {
        let (over, ended) = mpsc::channel();
        let queue = &object.queue;
        scope.spawn(move || over.send((queue.try_put(1), queue.get_timeout(SHORT))));
        let in_time = ended.recv_timeout(LATE);
        object.unlock();
        assert!(
            in_time.is_ok(),
            "a call that may not wait waits for the lock of the seats"
        );
    });
}

/// A process that lives, maps all we do, and does nothing.
fn stopped() -> Child {
    let child = Child::fork(|| forked::pause());
    child.stop();
    child
}

/// Has a thread put something, which waits for nobody.
fn put_at_once(queue: &SharedQueue<u64>, item: u64) {
    thread::scope(|scope| {
        let (over, ended) = mpsc::channel();
        scope.spawn(move || over.send((queue.put(item), queue.try_put(item))));
        let outcome = ended.recv_timeout(LATE);
        assert_eq!(outcome, Ok((Ok(()), Ok(()))), "it waits for the lock of the seats");
    });
}

#[procshare::test]
fn who_has_a_seat_does_not_wait_for_those_who_look_for_one() {
    let _frame = frame();
    let object = Lockable::new();
    let holder = stopped();
    object.lock(holder.id());
    put_at_once(&object.queue, 1);
    let clone = object.queue.clone();
    assert_eq!(clone.get_timeout(SHORT), Ok(1));
    clone.close();
    drop(clone);
    assert_eq!(object.queue.get_up_to(8).map(Iterator::count), Ok(1));
    assert_eq!(object.queue.get(), Err(RecvError::Closed));
    object.unlock();
}

#[procshare::test]
fn a_limit_holds_in_a_fork_child() {
    let _frame = frame();
    let object = Lockable::new();
    let holder = stopped();
    object.lock(holder.id());
    let child = Child::fork(|| {
        let _ = object.queue.try_put(2);
    });
    let began = Instant::now();
    while !child.is_zombie() && began.elapsed() < LATE {
        thread::yield_now();
    }
    let in_time = child.is_zombie();
    object.unlock();
    assert!(in_time, "a call that may not wait waits for the lock of the seats");
}

#[procshare::test]
fn who_leaves_while_the_seats_are_locked_for_long_is_gone() {
    let _frame = frame();
    let object = Lockable::new();
    let other = object.queue.clone();
    let last = object.queue.clone();
    assert!(other.try_get().is_err());
    object.queue.put(1).unwrap();
    last.put(2).unwrap();
    let queue = &object.queue;
    assert_eq!((queue.get(), queue.get()), (Ok(1), Ok(2))); // Both roles, until it is dropped.
    let holder = stopped();
    object.lock(holder.id());
    let (over, ended) = mpsc::channel();
    thread::spawn(move || {
        drop(last);
        let _ = over.send(());
    });
    let _ = ended.recv_timeout(Duration::from_secs(12));
    object.unlock();
    let Lockable { queue, _folder, .. } = object;
    drop(queue);
    assert_eq!(other.get_timeout(LATE), Err(RecvError::Disconnected));
}

#[procshare::test]
fn a_fork_child_does_not_wait_for_a_thread_it_has_not() {
    let _frame = frame();
    let object = Lockable::new();
    let _consumer = object.queue.clone();
    let holder = stopped();
    object.lock(holder.id());
    put_at_once(&object.queue, 1);
    let child = Child::fork(|| object.queue.put(2).unwrap());
    object.unlock();
    let began = Instant::now();
    while !child.is_zombie() && began.elapsed() < LATE {
        thread::yield_now();
    }
    assert!(child.is_zombie(), "it waits for a thread of its parent's");
}

// Words that contradict each other.

#[procshare::test]
fn a_corrupt_ring_stays_corrupt() {
    let _frame = frame();
    let name = crate::common::unique("contradiction");
    let mut consumer = Consumer::<u64>::create(&name, 8).unwrap();
    let segment = procshare::Segment::open(&name).unwrap();
    let path = PathBuf::from("/dev/shm").join(format!("procshare.{name}"));
    let tail = segment.objects().unwrap()[0].offset;
    assert_eq!(word_at(&path, tail), 0);
    write_at(&path, tail, &1000u64.to_ne_bytes());
    for _ in 0..3 {
        assert_eq!(consumer.try_pop(), Err(RecvError::Corrupt));
    }
}

// Where the kernel empties no page at a fork.

/// Has `madvise` fail from now on, as in kernels and sandboxes without `MADV_WIPEONFORK`.
fn forbid_madvise() {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_madvise as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program outlives the call, which copies it.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn push_and_pop(_: &[String]) {
    forbid_madvise();
    let (mut producer, mut consumer) = procshare::ring::<u64>(8).unwrap();
    let pushed = producer.push_timeout(7, LATE).map_err(|error| format!("{error:?}"));
    role::say(&format!("{pushed:?} {:?}", consumer.pop_timeout(SHORT)));
}

#[test]
fn plays_a_role() {
    role::play(&[("push_and_pop", push_and_pop)]);
}

#[procshare::test]
fn a_ring_works_where_no_page_is_emptied_at_a_fork() {
    let _frame = frame();
    let mut actor = role::start("push_and_pop", &[]);
    assert_eq!(actor.hear(), "Ok(()) Ok(7)");
    actor.finish();
}
