//! What travels to another process and back owns its data: the compiler names a trait that says so.

use procshare::{Pool, Process};
use serde::{Deserialize, Serialize};

fn greet(name: &str) {
    println!("hello {name}");
}

fn name() -> &'static str {
    "bob"
}

#[derive(Serialize, Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
}

fn take(borrowed: Borrowed<'_>) {
    greet(borrowed.name);
}

fn count(bytes: &[u8], times: usize) -> usize {
    bytes.len() * times
}

fn spawn() {
    let owned = String::from("bob");
    let _ = Process::spawn(greet, ("bob",));
    let _ = Process::spawn(greet, (&*owned,));
    let _ = Process::spawn(|name: &str| println!("hello {name}"), ("bob",));
    let _ = Process::spawn(take, (Borrowed { name: "bob" },));
    let _ = Process::spawn(count, (&b"bob"[..], 2));
    let _ = Process::spawn(name, ());
    let _ = Process::builder().spawn(greet, ("bob",));
    let _ = Process::fork(|| "bob");
}

fn scope() {
    let _ = procshare::process::scope(|scope| {
        scope.spawn(greet, ("bob",))?;
        scope.start(Process::builder(), name, ())?;
        scope.fork(|| "bob")
    });
}

fn pool(pool: Pool) {
    let _ = pool.map(greet, ["bob"]);
    let _ = pool.starmap_async(count, [(&b"bob"[..], 2)]);
    let _ = pool.imap(str::len, ["bob"]);
    let _ = pool.apply(greet, ("bob",));
    let _ = pool.submit(name, ());
    let _ = Pool::builder().initializer(greet, ("bob",));
}

fn main() {}
