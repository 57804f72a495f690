//! A closure with what it owns, or with a handle, cannot be sent: those are arguments.

use procshare::{Pool, Process, SharedQueue};

fn main() {
    let queue = SharedQueue::<u32>::new(4).unwrap();
    let _ = Process::spawn(move || queue.put(1).is_ok(), ());
    let names = vec![String::new()];
    let pool = Pool::new(1).unwrap();
    let _ = pool.map(move |at: usize| names[at].len(), 0..1);
}
