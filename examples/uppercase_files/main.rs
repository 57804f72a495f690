//! Prints how many files of a folder it has put into capitals, and how long that took: one by one, or in a pool.
//! Try `cargo run --release --example uppercase_files --features progress-bar -- /tmp/letters --make 2000 --size 100000`,
//! and the same with `--serial`.

mod convert;

use clap::{Parser, value_parser};
use convert::{convert, list, make};
use indicatif::ProgressBar;
use procshare::Pool;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Puts every text file of a folder into capitals; folders in it and names that begin with a dot are left alone.
#[derive(Parser)]
struct Options {
    /// The folder.
    folder: PathBuf,
    /// How many processes convert, 1 to 64.
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Converts in this process alone.
    #[arg(long)]
    serial: bool,
    /// Makes the folder, if it is not there, and so many files of small letters in it first.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    make: Option<u32>,
    /// How long those files are, in bytes.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(..=100_000_000))]
    size: u64,
}

#[procshare::main]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    if let Some(count) = options.make {
        make(&options.folder, count, options.size)?;
    }
    let paths = list(&options.folder).map_err(|error| format!("{}: {error}", options.folder.display()))?;
    let bar = ProgressBar::new(paths.len() as u64); // hidden if standard error is no terminal

    let began = Instant::now();
    let results = if options.serial {
        paths.iter().cloned().inspect(|_| bar.inc(1)).map(convert).collect()
    } else {
        in_pool(options.workers, &paths, &bar)?
    };
    let time = began.elapsed();
    bar.finish_and_clear();

    let (mut files, mut bytes, mut failed) = (0, 0, 0);
    for (path, result) in paths.iter().zip(results) {
        match result {
            Ok(len) => (files, bytes) = (files + 1, bytes + len),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                failed += 1;
            }
        }
    }
    println!("{files} files of {bytes} bytes in {time:.3?}, {failed} failed");
    assert_eq!(files + failed, paths.len(), "every file is accounted for");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Has a pool convert the files; a worker that dies costs the file it was at, which stays as it was.
fn in_pool(workers: u16, paths: &[PathBuf], bar: &ProgressBar) -> procshare::Result<Vec<Result<u64, String>>> {
    let pool = Pool::new(workers.into())?;
    pool.show_progress(bar.clone());
    let results = pool.map(convert, paths.to_vec()).into_iter();
    Ok(results
        .map(|result| result.map_err(|error| error.to_string())?)
        .collect())
}
