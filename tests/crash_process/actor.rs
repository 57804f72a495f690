//! What the program does as an actor.

use procshare::Process;
use procshare::process::{Builder, StartMethod};
use std::io::Read;
use std::time::Duration;

/// Holds the start method.
pub(crate) const METHOD: &str = "PROCSHARE_TEST_METHOD";
/// No start takes nearly as long.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn was_asked() -> bool {
    std::env::var(METHOD).is_ok()
}

fn stay() {
    loop {
        std::thread::park();
    }
}

/// Starts children and tells how that went; then has one stay, and waits to be killed.
pub(crate) fn act() {
    let method = std::env::var(METHOD).unwrap();
    // SAFETY: asks for a signal at a time; no memory is involved.
    unsafe { libc::alarm(120) };
    let builder: Builder = match method.as_str() {
        "copied-server" => match procshare::__private::template() {
            Ok(builder) => builder,
            Err(error) => return println!("no server: {error:?}"),
        },
        method => Process::builder().start_method(method.parse::<StartMethod>().unwrap()),
    };
    let builder = builder.daemon(true);
    for number in 0..3_u32 {
        match builder.clone().spawn(|number: u32| number, (number,)) {
            Err(error) => println!("refused: {error:?}"),
            Ok(mut child) => match child.join_timeout(LIMIT) {
                Ok(number) => println!("result {number}"),
                Err(error) => println!("ended: {error}"),
            },
        }
    }
    let children = children();
    println!(
        "zombies {}",
        children.iter().filter(|(_, state, _)| *state == 'Z').count()
    );
    println!(
        "servers {}",
        children.iter().filter(|(_, state, _)| *state != 'Z').count()
    );
    println!(
        "threads {}",
        children.iter().map(|(_, _, threads)| threads).sum::<usize>()
    );
    let _ = builder.spawn(stay, ()).map(std::mem::forget);
    println!("waits");
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}

/// This process's children, their states and numbers of threads.
fn children() -> Vec<(u32, char, usize)> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let own = std::process::id().to_string();
    let of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut parts = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (parts.next()?.chars().next()?, parts.next()?);
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
        let threads = if state == 'Z' { 0 } else { threads };
        (parent == own).then_some((pid, state, threads))
    };
    ids.filter_map(of).collect()
}
