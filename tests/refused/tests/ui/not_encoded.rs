//! What travels to another process and back is encoded, so that every type of it must know how.

use procshare::{Pool, Process};
use std::time::Instant;

struct Plain;

fn since(start: Instant) -> u128 {
    start.elapsed().as_millis()
}

fn take(_: Plain, _: u32) {}

fn length(text: &String) -> usize {
    text.len()
}

fn main() {
    let text = String::from("bob");
    let _ = Process::spawn(since, (Instant::now(),));
    let _ = Process::spawn(take, (Plain, 7));
    let _ = Process::spawn(length, (&text,));
    let _ = Process::spawn(Instant::now, ());
    let _ = Process::fork(|| Plain);
    let pool = Pool::new(1).unwrap();
    let _ = pool.map(since, [Instant::now()]);
    let _ = pool.imap_unordered(|number: u32| Some(Plain).filter(|_| number > 0), 0..3);
}
