//! An actor on its own, told where to die, and what is looked at afterwards.

use super::actor::METHOD;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Tells the processes of one stage from all others.
const STAGE: &str = "PROCSHARE_TEST_STAGE";
/// So long after their parent's death may daemons and servers live.
const PROMISED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The actor comes to its end.
    Lives,
    /// The actor dies at the point.
    Dies,
}

/// What the actor said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) outcomes: Vec<String>,
    pub(crate) zombies: usize,
    pub(crate) servers: usize,
    pub(crate) server_threads: usize,
    waits: bool,
}

pub(crate) struct Stage {
    actor: Child,
    stdout: BufReader<ChildStdout>,
    marker: String,
    at: String,
}

impl Stage {
    /// Starts an actor that takes that method, and dies at that point, as do those it starts.
    pub(crate) fn new(method: &str, point: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: numbers need only differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let marker = format!("{}-{number}", std::process::id());
        let mut actor = Command::new("/proc/self/exe")
            .env(METHOD, method)
            .env(STAGE, &marker)
            .env("PROCSHARE_CRASH_AT", point)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(actor.stdout.take().unwrap());
        let at = format!("{method}, {point}");
        Stage {
            actor,
            stdout,
            marker,
            at,
        }
    }

    /// Listens to the end, kills the actor, and waits for all that it has started.
    pub(crate) fn finish(mut self, expected: Expected) -> Said {
        let said = self.listen();
        assert_eq!(said.waits, expected == Expected::Lives, "{}: {said:?}", self.at);
        let _ = self.actor.kill();
        let status = self.actor.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{}: {status}", self.at);
        let killed = Instant::now();
        while let Some(pid) = self.left().first() {
            assert!(killed.elapsed() < PROMISED, "{}: process {pid} lives on", self.at);
            std::thread::yield_now();
        }
        said
    }

    fn listen(&mut self) -> Said {
        let mut said = Said::default();
        let mut line = String::new();
        while !said.waits {
            line.clear();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                break;
            }
            let line = line.trim_end();
            let number = |text: &str| text.parse().unwrap();
            match line.split_once(' ') {
                Some(("zombies", count)) => said.zombies = number(count),
                Some(("servers", count)) => said.servers = number(count),
                Some(("threads", count)) => said.server_threads = number(count),
                _ if line == "waits" => said.waits = true,
                _ => said.outcomes.push(line.to_owned()),
            }
        }
        said
    }

    /// The processes of this stage that still run.
    fn left(&self) -> Vec<u32> {
        let marker = format!("{STAGE}={}", self.marker).into_bytes();
        let processes = std::fs::read_dir("/proc").unwrap();
        let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let is_of_stage = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|line| line == marker)
        };
        ids.filter(is_of_stage).collect()
    }
}

/// Ends the program if the tests do not end in time.
pub(crate) fn watchdog() -> Sender<()> {
    let (alive, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(300)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the tests take longer than five minutes");
            std::process::abort();
        }
    });
    alive
}
