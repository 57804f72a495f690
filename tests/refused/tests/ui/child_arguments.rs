//! What a child gets fits its function.

use procshare::Process;

fn double(number: u32) -> u32 {
    number * 2
}

fn main() {
    let _ = Process::spawn(double, 21_u32);
    let _ = Process::spawn(double, ("21".to_string(),));
}
