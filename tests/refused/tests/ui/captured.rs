//! A child is another process: what a closure captures is not there.

use procshare::{Pool, Process};

fn spawn(factor: u32) {
    let _ = Process::spawn(move |number: u32| number * factor, (21_u32,));
    let _ = Process::builder().spawn(move |number: u32| number * factor, (21_u32,));
    let _ = procshare::process::scope(|scope| {
        scope.spawn(move |number: u32| number * factor, (21_u32,))?;
        scope.start(Process::builder(), move |number: u32| number * factor, (21_u32,))
    });
}

fn pool(pool: &Pool, factor: u32) {
    let _ = pool.apply(move |number: u32| number * factor, (21_u32,));
    let _ = pool.apply_async(move |number: u32| number * factor, (21_u32,));
    let _ = pool.submit(move |number: u32| number * factor, (21_u32,));
    let _ = pool.map(move |number: u32| number * factor, 0..2_u32);
    let _ = pool.map_async(move |number: u32| number * factor, 0..2_u32);
    let _ = pool.starmap(move |number: u32| number * factor, [(21_u32,)]);
    let _ = pool.starmap_async(move |number: u32| number * factor, [(21_u32,)]);
    let _ = pool.imap(move |number: u32| number * factor, 0..2_u32);
    let _ = pool.imap_unordered(move |number: u32| number * factor, 0..2_u32);
    let _ = Pool::builder().initializer(move |number: u32| number * factor, (21_u32,));
}

fn pointer(function: fn(u32) -> u32) {
    let _ = Process::spawn(function, (21_u32,));
}

fn main() {
    spawn(2);
    pool(&Pool::new(1).unwrap(), 2);
    pointer(|number| number * 2);
}
