//! Prints who is who: the names and ids of a program's processes, as each sees itself.
//!
//! Try `cargo run --release --example hello_process`.

use procshare::process::{active_children, current};
use procshare::{Process, Result};
use std::thread;

/// What a process says of itself: its name, its id and its parent's.
fn introduce(greeting: String) -> (String, u32, u32) {
    let own = current();
    assert!(own.is_child());
    println!(
        "{greeting}, I am {}, process {}, child of {}",
        own.name(),
        own.id(),
        own.parent_id()
    );
    (own.name().to_owned(), own.id(), own.parent_id())
}

#[procshare::main]
fn main() -> Result<()> {
    let own = current();
    println!("hello, I am {}, process {}", own.name(), own.id());
    assert!(own.name() == "MainProcess" && !own.is_child());

    // One after the other, so that they do not talk at once.
    for name in ["anna", "otto"] {
        let child = Process::builder().name(name).spawn(introduce, ("hello".to_owned(),))?;
        let (id, seen) = (child.id(), child.join()?);
        assert_eq!(seen, (name.to_owned(), id, own.id()));
    }

    let child = Process::spawn(introduce, ("good day".to_owned(),))?;
    assert!(child.name().starts_with("Process-"), "unnamed processes are numbered");
    child.join()?;

    // A daemon ends with this process, whatever it is doing.
    let forever = || loop {
        thread::park();
    };
    let daemon = Process::builder().name("guardian").daemon(true);
    let daemon: Process<()> = daemon.spawn(forever, ())?;
    let children = active_children();
    println!("{} is still running, and ends with this process", children[0].name());
    assert_eq!((children.len(), children[0].id()), (1, daemon.id()));
    assert!(daemon.is_alive());
    Ok(())
}
