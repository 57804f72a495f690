//! A ring passes values as they are; text goes through a pipe or a queue.

fn main() {
    let _ = procshare::ring::<String>(4);
}
