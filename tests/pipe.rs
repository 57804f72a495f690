//! `pipe`: what its two ends, and their halves, give and take, in one process and between several.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{Flag, Lent, Slow, Stubborn, alone, child, for_ever, kill, shared_memory_names, unique};
use common::{watchdog, while_waiting};
use procshare::{Capacity, Connection, ErrorKind, Process, Receiver, RecvError, SendError, Sender, SharedQueue, pipe};
use serde::{Deserialize, Serialize};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);
/// Longer than it takes to notice that the other end is gone.
const LONG: Duration = Duration::from_millis(200);
/// How soon that is noticed at the latest; where nobody else uses the machine it takes 100 ms at most.
const SOON: Duration = Duration::from_secs(1);

fn pair() -> (Connection<u32>, Connection<u32>) {
    Connection::pair(2).unwrap()
}

// One process.

#[test]
fn each_end_sends_to_the_other_and_not_to_itself() {
    let _watchdog = watchdog(60);
    let (left, right) = pipe().unwrap();
    left.send("a".to_owned()).unwrap();
    left.send("b".to_owned()).unwrap();
    right.send("c".to_owned()).unwrap();
    assert_eq!(left.recv().unwrap(), "c");
    assert_eq!(left.try_recv(), Err(RecvError::Empty));
    assert_eq!(
        (right.recv().unwrap(), right.recv().unwrap()),
        ("a".to_owned(), "b".to_owned())
    );
    assert_eq!(right.try_recv(), Err(RecvError::Empty));
}

#[test]
fn a_full_direction_does_not_hinder_the_other() {
    let _watchdog = watchdog(60);
    let (left, right) = pair();
    left.send(1).unwrap();
    left.try_send(2).unwrap();
    assert_eq!(left.try_send(3), Err(SendError::Full(3)));
    assert_eq!(left.send_timeout(3, SHORT), Err(SendError::TimedOut(3)));
    assert_eq!(left.send_deadline(3, Instant::now()), Err(SendError::TimedOut(3)));
    right.send_timeout(4, Duration::MAX).unwrap();
    right.send_deadline(5, Instant::now()).unwrap();
    assert_eq!(
        (left.recv_timeout(Duration::MAX), left.recv_deadline(Instant::now())),
        (Ok(4), Ok(5))
    );
    assert_eq!(left.recv_timeout(SHORT), Err(RecvError::TimedOut));
    assert_eq!(left.recv_deadline(Instant::now()), Err(RecvError::TimedOut));
    let (sent, got) = while_waiting(|| left.send(3), || right.recv());
    assert_eq!((sent, got, right.recv(), right.recv()), (Ok(()), Ok(1), Ok(2), Ok(3)));
    let (got, sent) = while_waiting(|| right.recv(), || left.send(6));
    assert_eq!((got, sent), (Ok(6), Ok(())));
}

#[test]
fn sizes_are_bounded() {
    let _watchdog = watchdog(60);
    let (left, right) = Connection::pair(Capacity::items(2).bytes(4096)).unwrap();
    let large = "x".repeat(5000);
    let error = left.send(large.clone()).unwrap_err();
    assert!(
        matches!(
            error,
            SendError::TooLarge {
                bytes: 5016,
                capacity: 4096,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.into_item(), large);
    left.send("small".to_owned()).unwrap();
    assert_eq!(right.recv().unwrap(), "small");
    for capacity in [0, usize::MAX] {
        let kind = Connection::<u8>::pair(capacity).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidCapacity);
        let kind = Connection::<u8>::create(unique("pipe-absurd"), capacity)
            .unwrap_err()
            .kind();
        assert_eq!(kind, ErrorKind::InvalidCapacity);
    }
}

#[test]
fn polling_tells_whether_receiving_would_wait() {
    let _watchdog = watchdog(60);
    let (left, right) = pair();
    let began = Instant::now();
    assert_eq!(right.poll(SHORT), Ok(false));
    assert!(began.elapsed() >= SHORT);
    assert_eq!(right.poll(Duration::ZERO), Ok(false));
    left.send(1).unwrap();
    assert_eq!(
        (right.poll(Duration::ZERO), right.poll(Duration::MAX)),
        (Ok(true), Ok(true))
    );
    assert_eq!((right.recv(), right.poll(Duration::ZERO)), (Ok(1), Ok(false)));
    let (ready, sent) = while_waiting(|| right.poll(Duration::MAX), || left.send(2));
    assert_eq!((ready, sent, right.recv()), (Ok(true), Ok(()), Ok(2)));
    let (ready, ()) = while_waiting(|| right.poll(Duration::MAX), || left.close());
    assert_eq!((ready, right.poll(Duration::ZERO)), (Ok(true), Ok(true)));
    assert_eq!(right.recv(), Err(RecvError::Disconnected));
}

#[test]
fn what_was_sent_is_there_when_the_sender_is_not() {
    let _watchdog = watchdog(60);
    let ends: [fn(Connection<u32>); 2] = [Connection::close, drop];
    for end in ends {
        let (left, right) = pair();
        left.send(1).unwrap();
        left.send(2).unwrap();
        right.send(3).unwrap();
        end(left);
        assert_eq!(right.send(4), Err(SendError::Disconnected(4)));
        assert_eq!(right.try_send(4), Err(SendError::Disconnected(4)));
        assert_eq!(right.send_timeout(4, Duration::MAX), Err(SendError::Disconnected(4)));
        assert_eq!((right.recv(), right.try_recv()), (Ok(1), Ok(2)));
        assert_eq!(right.try_recv(), Err(RecvError::Disconnected));
        assert_eq!(right.recv_timeout(Duration::MAX), Err(RecvError::Disconnected));
    }
}

#[test]
fn closing_wakes_the_other_end() {
    let _watchdog = watchdog(60);
    let (left, right) = pair();
    let (got, ()) = while_waiting(|| right.recv(), || left.close());
    assert_eq!(got, Err(RecvError::Disconnected));
    let (left, right) = pair();
    left.send(1).unwrap();
    left.send(2).unwrap();
    let (sent, ()) = while_waiting(|| left.send(3), || right.close());
    assert_eq!(sent, Err(SendError::Disconnected(3)));
}

#[test]
fn halves_end_apart() {
    let _watchdog = watchdog(60);
    let (left, right) = pair();
    let (sender, receiver) = left.split();
    sender.send(1).unwrap();
    sender.close();
    assert_eq!((right.recv(), right.recv()), (Ok(1), Err(RecvError::Disconnected)));
    right.send(2).unwrap();
    assert_eq!((receiver.poll(SHORT), receiver.recv()), (Ok(true), Ok(2)));
    assert_eq!(
        (receiver.try_recv(), receiver.poll(SHORT)),
        (Err(RecvError::Empty), Ok(false))
    );
    receiver.close();
    assert_eq!(right.send(3), Err(SendError::Disconnected(3)));
    let (left, right) = pair();
    let (sender, receiver) = right.split();
    left.send(4).unwrap();
    left.send(5).unwrap();
    drop(left);
    assert_eq!(sender.try_send(6), Err(SendError::Disconnected(6)));
    let mut sum = 0;
    for item in &receiver {
        sum += item.unwrap();
    }
    assert_eq!(sum, 9);
}

#[test]
fn threads_share_an_end() {
    let _watchdog = watchdog(60);
    let (left, right) = pair();
    let sums: Vec<u64> = thread::scope(|scope| {
        let send = |from: u32| (from..from + 1000).for_each(|item| left.send(item).unwrap());
        let receive = || (0..1000).map(|_| u64::from(right.recv().unwrap())).sum();
        let getters = [scope.spawn(receive), scope.spawn(receive)];
        scope.spawn(move || send(0));
        scope.spawn(move || send(1000));
        getters.into_iter().map(|getter| getter.join().unwrap()).collect()
    });
    assert_eq!(sums.iter().sum::<u64>(), (0..2000).sum());
    assert_eq!(right.try_recv(), Err(RecvError::Empty));
}

// Several processes.

fn shout(connection: Connection<String>) {
    while let Ok(text) = connection.recv() {
        connection.send(text.to_uppercase()).unwrap();
    }
}

#[procshare::test]
fn an_end_talks_to_a_child() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = pipe().unwrap();
    let child = child(shout, (theirs,));
    for number in 0..500 {
        ours.send(format!("number {number}")).unwrap();
        assert_eq!(ours.recv().unwrap(), format!("NUMBER {number}"));
    }
    ours.close();
    child.join().unwrap();
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
enum Message {
    Nothing,
    Bytes(Vec<u8>),
    Named { name: String, inner: Option<Box<Message>> },
}

#[procshare::test]
fn messages_of_every_shape_cross() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = Connection::pair(Capacity::items(4).bytes(1 << 18)).unwrap();
    let echo = |end: Connection<Message>| {
        while let Ok(message) = end.recv() {
            end.send(message).unwrap();
        }
    };
    let child = child(echo, (theirs,));
    let bytes = Message::Bytes((0..1 << 16).map(|at: u32| (at % 251) as u8).collect());
    let (name, inner) = ("ümlaut".to_owned(), Some(Box::new(bytes.clone())));
    for message in [
        Message::Nothing,
        bytes,
        Message::Named { name, inner },
        Message::Bytes(Vec::new()),
    ] {
        ours.send(message.clone()).unwrap();
        assert!(ours.recv().unwrap() == message);
    }
    drop(ours);
    child.join().unwrap();
}

fn add_one(end: Connection<u32>) {
    while let Ok(number) = end.recv() {
        end.send(number + 1).unwrap();
    }
}

#[procshare::test]
fn an_end_that_was_passed_on_is_closed_here() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = pair();
    let theirs = Lent::new(theirs);
    let add_one = |end: Lent<Connection<u32>>| add_one(end.into_inner());
    let child = child(add_one, (theirs.again(),));
    assert_eq!(theirs.0.send(1), Err(SendError::Closed(1)));
    assert_eq!(theirs.0.try_send(1), Err(SendError::Closed(1)));
    assert_eq!(
        (theirs.0.recv(), theirs.0.poll(SHORT)),
        (Err(RecvError::Closed), Err(RecvError::Closed))
    );
    let error = Process::spawn(add_one, (theirs.again(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    // Dropping it does not harm the child, which has it now.
    drop(theirs);
    ours.send(1).unwrap();
    assert_eq!(ours.recv(), Ok(2));
    drop(ours);
    child.join().unwrap();
}

#[procshare::test]
fn an_end_on_its_way_is_not_gone() {
    let _watchdog = watchdog(60);
    let ((ours, theirs), slow) = (pair(), Slow::new());
    let add_one = |_: Slow, end: Connection<u32>| add_one(end);
    let child = child(add_one, (slow.again(), theirs));
    slow.arriving.wait_for(1);
    ours.send(1).unwrap();
    assert_eq!(ours.recv_timeout(LONG), Err(RecvError::TimedOut));
    slow.go.raise();
    assert_eq!(ours.recv(), Ok(2));
    drop(ours);
    child.join().unwrap();
}

#[procshare::test]
fn an_end_goes_with_the_child_that_was_not_started() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = pair();
    let theirs = Lent::new(theirs);
    let nothing = |_: Lent<Connection<u32>>, _: Stubborn| ();
    let error = Process::spawn(nothing, (theirs.again(), Stubborn(true))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encoding);
    assert_eq!(
        (ours.recv(), ours.send(1)),
        (Err(RecvError::Disconnected), Err(SendError::Disconnected(1)))
    );
    assert_eq!(theirs.0.recv(), Err(RecvError::Closed));
}

#[procshare::test]
fn halves_travel_apart() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = pair();
    let (sender, receiver) = theirs.split();
    let send = |sender: Sender<u32>| (1..=100).for_each(|number| sender.send(number).unwrap());
    let sum = |receiver: Receiver<u32>| receiver.iter().map(Result::unwrap).sum::<u32>();
    let (sending, receiving) = (child(send, (sender,)), child(sum, (receiver,)));
    let (sender, receiver) = ours.split();
    for number in 1..=100 {
        sender.send(2 * receiver.recv().unwrap()).unwrap();
        assert!(number <= 100);
    }
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    sender.close();
    assert_eq!((sending.join(), receiving.join()), (Ok(()), Ok(10_100)));
    // One half goes, the other stays.
    let (ours, theirs) = pair();
    let (sender, receiver) = theirs.split();
    let sending = child(send, (sender,));
    let received: Vec<u32> = (0..100).map(|_| ours.recv().unwrap()).collect();
    ours.send(received[99]).unwrap();
    assert_eq!((receiver.recv(), ours.recv()), (Ok(100), Err(RecvError::Disconnected)));
    sending.join().unwrap();
}

#[procshare::test]
fn an_end_is_passed_on_by_the_child() {
    let _watchdog = watchdog(60);
    let (ours, theirs) = pair();
    let pass_on = |end: Connection<u32>| {
        assert_eq!(end.recv(), Ok(1));
        end.send(10).unwrap();
        // The grandchild outlives the child.
        Process::spawn(add_one, (end,)).map(drop).unwrap();
    };
    let child = child(pass_on, (theirs,));
    ours.send(1).unwrap();
    assert_eq!(ours.recv(), Ok(10));
    child.join().unwrap();
    ours.send(2).unwrap();
    assert_eq!(ours.recv(), Ok(3));
}

/// The end of a pipe that a child holds, and the queue it says by that it has come so far.
fn send_and_stay(end: Connection<u32>, ready: Flag) {
    end.send(1).unwrap();
    end.send(2).unwrap();
    ready.raise();
    for_ever()
}

fn assert_soon(what: &str, ended: Instant, killed: Instant) {
    let took = ended.saturating_duration_since(killed);
    println!("{what} knows after {took:?}");
    assert!(took < SOON, "{took:?}");
}

#[procshare::test]
fn the_killed_ends_messages_arrive_before_its_end_is_known() {
    let _watchdog = watchdog(60);
    let ((ours, theirs), ready) = (pair(), Flag::new());
    let child = child(send_and_stay, (theirs, ready.clone()));
    ready.wait_for(1);
    assert_eq!(ours.recv(), Ok(1));
    kill(child);
    assert_eq!((ours.recv(), ours.poll(SOON)), (Ok(2), Ok(true)));
    assert_eq!(ours.recv(), Err(RecvError::Disconnected));
    // What one direction has found the other knows.
    assert_eq!(ours.send(3), Err(SendError::Disconnected(3)));
}

#[procshare::test]
fn a_kill_wakes_whoever_waits_at_the_other_end() {
    let _watchdog = watchdog(60);
    let ((ours, theirs), ready) = (pair(), Flag::new());
    let receiving = child(send_and_stay, (theirs, ready.clone()));
    ready.wait_for(1);
    assert_eq!((ours.recv(), ours.recv()), (Ok(1), Ok(2)));
    let ((got, ended), killed) = while_waiting(|| (ours.recv(), Instant::now()), || kill(receiving));
    assert_eq!(got, Err(RecvError::Disconnected));
    assert_soon("a receiver", ended, killed);
    let (ours, theirs) = pair();
    let sending = child(send_and_stay, (theirs, ready.clone()));
    ready.wait_for(2);
    ours.send(1).unwrap();
    ours.send(2).unwrap();
    let ((sent, ended), killed) = while_waiting(|| (ours.send(3), Instant::now()), || kill(sending));
    assert_eq!(sent, Err(SendError::Disconnected(3)));
    assert_soon("a sender", ended, killed);
}

// Names.

#[procshare::test]
fn a_named_pipe_has_two_ends() {
    let _watchdog = watchdog(60);
    alone(|| {
        let name = unique("pipe-named");
        let open = || Connection::<u32>::open(&name).unwrap_err();
        assert_eq!(open().kind(), ErrorKind::NotFound);
        let server = Connection::<u32>::create(&name, 4).unwrap();
        assert_eq!(
            Connection::<u32>::create(&name, 4).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(
            Connection::<u64>::open(&name).unwrap_err().kind(),
            ErrorKind::TypeMismatch
        );
        assert_eq!(
            SharedQueue::<u32>::open(&name).unwrap_err().kind(),
            ErrorKind::TypeMismatch
        );
        assert_eq!(
            server.recv_timeout(LONG),
            Err(RecvError::TimedOut),
            "it waits for the other end"
        );
        let talk = |name: String| add_one(Connection::open(name).unwrap());
        let client = child(talk, (name.clone(),));
        server.send(1).unwrap();
        assert_eq!(server.recv(), Ok(2));
        let error = open();
        assert_eq!(
            (error.kind(), error.segment()),
            (ErrorKind::Claimed, Some(name.as_str()))
        );
        assert!(
            error.to_string().contains(&format!("process {}", client.id())),
            "{error}"
        );
        drop(server);
        client.join().unwrap();
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}

#[procshare::test]
fn the_end_of_a_killed_process_can_be_opened() {
    let _watchdog = watchdog(60);
    alone(|| {
        let (name, ready) = (unique("pipe-heir"), Flag::new());
        let server = Connection::<u32>::create(&name, 4).unwrap();
        let visit = |name: String, ready: Flag| send_and_stay(Connection::open(name).unwrap(), ready);
        for visitor in 1..4 {
            let client = child(visit, (name.clone(), ready.clone()));
            ready.wait_for(visitor);
            assert_eq!(server.recv(), Ok(1));
            kill(client);
            assert_eq!((server.recv(), server.recv()), (Ok(2), Err(RecvError::Disconnected)));
        }
        let heir = Connection::<u32>::open(&name).unwrap();
        server.send(7).unwrap();
        heir.send(8).unwrap();
        assert_eq!((heir.recv(), server.recv()), (Ok(7), Ok(8)));
        heir.close();
        assert_eq!(server.recv(), Err(RecvError::Disconnected));
        let heir = Connection::<u32>::open(&name).unwrap();
        assert_eq!(server.try_recv(), Err(RecvError::Empty));
        drop((server, heir));
        assert_eq!(shared_memory_names(&name), [""; 0]);
    });
}
