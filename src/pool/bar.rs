//! `Pool::show_progress`: a progress bar for the pool's jobs.

use super::handle::Pool;
use indicatif::ProgressBar;

impl Pool {
    /// Keeps a progress bar up to date.
    ///
    /// Its length is the number of jobs submitted, its position the number that have ended. The bar keeps the style the program
    /// gave it, and is hidden where standard error is no terminal. It replaces what was given to
    /// [`on_progress`](Self::on_progress). It lags slightly behind the results: finish it after [`join`](Self::join), or at any
    /// time, since a finished bar is left alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use indicatif::ProgressBar;
    /// use procshare::Pool;
    ///
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let (pool, bar) = (Pool::new(2)?, ProgressBar::new(0));
    ///     pool.show_progress(bar.clone());
    ///     assert!(pool.map(|a: u64| a * a, 0..100).iter().all(Result::is_ok));
    ///     pool.join();
    ///     assert_eq!((bar.length(), bar.position()), (Some(100), 100));
    ///     bar.finish();
    ///     Ok(())
    /// }
    /// ```
    pub fn show_progress(&self, bar: ProgressBar) {
        bar.set_length(self.progress().submitted);
        self.on_progress(move |progress| {
            if !bar.is_finished() {
                bar.set_length(progress.submitted);
                bar.set_position(progress.finished);
            }
        });
    }
}
