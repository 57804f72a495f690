//! A child cannot borrow from its parent.

use procshare::Process;

fn main() {
    let names = vec![String::new()];
    let _ = Process::spawn(|| names.len(), ());
}
