//! Results of jobs and children are not to be dropped unseen.

#![deny(unused_must_use)]

use procshare::{Pool, Process};

fn main() -> procshare::Result<()> {
    let pool = Pool::new(1)?;
    pool.map(|a: u8| a, 0..3);
    pool.starmap(|a: u8, b: u8| a + b, [(1, 2)]);
    pool.imap(|a: u8| a, 0..3);
    pool.imap_unordered(|a: u8| a, 0..3);
    pool.map_async(|a: u8| a, 0..3);
    pool.starmap_async(|a: u8, b: u8| a + b, [(1, 2)]);
    pool.submit(|a: u8| a, (1,));
    pool.apply_async(|a: u8| a, (1,));
    pool.apply(|a: u8| a, (1,));
    Process::spawn(|| 1, ())?.join();
    Ok(())
}
