//! Beside a child, a parent or a fork server that is stopped in a start.

use crate::Scene;
use crate::forked::Child as Copy;
use crate::peer::{Calls, SHORT, is_stopped, signal, stop_at, stop_nowhere, until_stopped};
use procshare::process::{Builder, StartMethod, active_children};
use procshare::{JoinError, Process, SharedCounter};
use std::time::{Duration, Instant};

/// Long enough for everybody.
const LATE: Duration = Duration::from_secs(20);

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "spawned child",
        points: OF_THE_CHILD,
        play: |at| alone(at, |at| beside_a_child(at, "spawn")),
    },
    Scene {
        name: "forked child",
        points: OF_THE_CHILD,
        play: |at| alone(at, |at| beside_a_child(at, "fork")),
    },
    Scene {
        name: "child of a server",
        // The server passes the first two itself, and its copies go on counting.
        points: &["start.born:2", "start.begun:2", "start.done", "start.answered"],
        play: |at| alone(at, |at| beside_a_child(at, "fork-server")),
    },
    Scene {
        name: "child of a copied server",
        points: OF_THE_CHILD,
        play: |at| alone(at, |at| beside_a_child(at, "copied server")),
    },
    Scene {
        name: "parent that spawns",
        points: &["start.posted", "start.made", "start.named"],
        play: |at| beside_a_parent(at, "spawn"),
    },
    Scene {
        name: "parent that forks",
        points: &["start.posted", "start.made", "start.named"],
        play: |at| beside_a_parent(at, "fork"),
    },
    Scene {
        name: "parent that asks a server",
        points: &["start.asked", "start.made", "start.named"],
        play: |at| beside_a_parent(at, "fork-server"),
    },
    Scene {
        name: "server",
        points: &["start.serving", "start.heard", "start.cloned", "start.told"],
        play: |at| alone(at, |at| beside_a_server(at, "fork-server")),
    },
    Scene {
        name: "copied server",
        points: &["start.heard", "start.cloned", "start.told"],
        play: |at| alone(at, |at| beside_a_server(at, "copied server")),
    },
];

const OF_THE_CHILD: &[&str] = &["start.born", "start.begun", "start.done", "start.answered"];

/// Runs the body in a process with one thread, whose children stop there, or whose server does.
fn alone(at: &str, body: fn(&str)) {
    stop_at(at);
    Copy::fork(|| body(at)).finish();
}

fn builder(method: &str) -> Builder {
    match method {
        "copied server" => procshare::__private::template().unwrap().daemon(true),
        method => Process::builder()
            .daemon(true)
            .start_method(method.parse::<StartMethod>().unwrap()),
    }
}

fn beside_a_child(at: &str, method: &str) {
    let builder = builder(method);
    let [asked, terminated, killed, dropped] = [1_u32, 2, 3, 4].map(|number| {
        let child = builder.clone().spawn(|number: u32| number, (number,)).unwrap();
        assert!(until_stopped(child.id()), "{method}, {at}: the child has ended");
        child
    });
    let calls = Calls(at);
    asks(calls, &asked);
    calls.at_once("Process::terminate", || terminated.terminate().unwrap());
    calls.at_once("Process::kill", || killed.kill().unwrap());
    let end = calls.at_once("Process::join of a killed child", || killed.join());
    assert_eq!(end, Err(JoinError::Signaled(libc::SIGKILL)));
    let left = dropped.child();
    calls.at_once("Process::drop", || drop(dropped));
    let asked = waits(calls, asked);
    assert_eq!(calls.at_once("active_children", active_children).len(), 3);
    calls.at_once("Child::kill", || left.kill().unwrap());
    calls.at_once("Child::wait", || left.wait());
    signal(terminated.id(), libc::SIGCONT);
    assert_eq!(terminated.join(), Err(JoinError::Signaled(libc::SIGTERM)));
    signal(asked.id(), libc::SIGCONT);
    assert_eq!(asked.join(), Ok(1));
    assert_eq!(active_children().len(), 0);
}

fn asks(calls: Calls<'_>, child: &Process<u32>) {
    assert!(calls.at_once("Process::is_alive", || child.is_alive()));
    assert!(is_stopped(child.id()), "nobody took note of it");
    assert_eq!(calls.at_once("Process::exit_status", || child.exit_status()), None);
    calls.at_once("Process::fmt", || format!("{child:?} {} {}", child.name(), child.pid()));
    let child = child.child();
    assert!(calls.at_once("Child::is_alive", || child.is_alive()));
    assert_eq!(calls.at_once("Child::wait_timeout", || child.wait_timeout(SHORT)), None);
    calls.at_once("Child::fmt", || format!("{child:?} {:?}", child.exit_status()));
}

fn waits(calls: Calls<'_>, mut child: Process<u32>) -> Process<u32> {
    let late = Err(JoinError::TimedOut);
    assert_eq!(calls.at_once("Process::try_join", || child.try_join()), late);
    assert_eq!(
        calls.at_once("Process::join_timeout", || child.join_timeout(SHORT)),
        late
    );
    let until = Instant::now() + SHORT;
    assert_eq!(
        calls.at_once("Process::join_deadline", || child.join_deadline(until)),
        late
    );
    child
}

/// Whoever was started does its work, and ends.
fn beside_a_parent(at: &str, method: &str) {
    stop_at(at); // The variable is read when the first point is passed.
    let (calls, counter) = (Calls(at), SharedCounter::new(0).unwrap());
    let passed = counter.clone();
    let mut parent = Copy::fork(|| {
        let child = builder(method).spawn(|counter: SharedCounter| counter.increment().unwrap(), (passed,));
        assert_eq!(child.unwrap().join_timeout(LATE), Ok(1));
    });
    assert!(until_stopped(parent.id()), "{at}: the parent has ended");
    calls.at_once("SharedCounter::clone", || drop(counter.clone()));
    if at != "start.posted" {
        let began = Instant::now();
        while calls.at_once("SharedCounter::get", || counter.get()) == 0 {
            assert!(began.elapsed() < LATE, "{at}: the child does not run");
            std::thread::yield_now();
        }
    }
    signal(parent.id(), libc::SIGCONT);
    assert_eq!(parent.end(), crate::forked::End::Exited(0));
    assert_eq!(counter.get(), 1);
}

/// A start succeeds, or fails in words; and so does the next.
fn beside_a_server(at: &str, method: &str) {
    let (calls, builder) = (Calls(at), builder(method));
    let mut made = 0;
    for number in 0..2_u32 {
        let start = || builder.clone().spawn(|number: u32| number, (number,));
        match calls.in_the_end("Builder::spawn beside a stopped server", start) {
            Ok(mut child) => {
                let end = calls.in_the_end("Process::join_timeout", || child.join_timeout(LATE));
                assert_eq!(end, Ok(number));
                made += 1;
            }
            Err(error) => assert_eq!(error.kind(), procshare::ErrorKind::Spawn, "{error}"),
        }
    }
    stop_nowhere();
    let start = || builder.clone().spawn(|| 7, ());
    let last = calls.in_the_end("Builder::spawn after a stopped server", start);
    match (method, last) {
        (_, Ok(mut child)) => assert_eq!(child.join_timeout(LATE), Ok(7)),
        ("copied server", Err(error)) => assert_eq!(error.kind(), procshare::ErrorKind::Spawn),
        (_, Err(error)) => panic!("{at}: no server after {made}: {error}"),
    }
    calls.at_once("Builder::drop", || drop(builder));
}
