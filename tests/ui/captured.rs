//! A child is another process: what a closure captures is not there.

use procshare::Process;

fn main() {
    let factor = 2_u32;
    let _ = Process::spawn(move |number: u32| number * factor, (21_u32,));
}
