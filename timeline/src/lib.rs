//! Draws a timeline as SVG: one row for each worker, one bar for each run of a job.
//!
//! Below them are rows and bars of the program's own, here called spans. Bars narrower than a pixel are joined with their
//! neighbours, so that a picture of very many jobs stays small. [`procshare`](https://docs.rs/procshare) uses it for
//! `Timeline::to_svg`.

mod chart;
mod row;
mod shape;
#[cfg(test)]
mod tests;
mod unit;

use std::io;
use std::time::Duration;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Done,
    /// With an error of its own.
    Failed,
    /// By the death of its worker.
    Died,
}

/// Describes one run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// The job's number; a job may have several runs.
    pub job: u64,
    /// The number of the worker that ran it, from 0.
    pub worker: usize,
    /// When the run began, on a clock that all bars and spans share.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// How it ended.
    pub ending: Ending,
}

/// Describes a bar in a named row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<'a> {
    /// The name of the row.
    pub row: &'a str,
    /// The text on the bar.
    pub name: &'a str,
    /// When it began.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
}

/// Holds what is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeline<'a> {
    /// How many workers there are; each has a row, unless there are too many.
    pub workers: usize,
    /// The runs of their jobs, in any order.
    pub bars: Vec<Bar>,
    /// What has rows of its own below, in the order in which these are first named.
    pub spans: Vec<Span<'a>>,
}

impl Timeline<'_> {
    /// Returns the picture, as SVG text.
    ///
    /// # Errors
    ///
    /// If the plotting library reports an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare_timeline::{Bar, Ending, Timeline};
    /// use std::time::Duration;
    ///
    /// let bar = Bar { job: 0, worker: 1, start: Duration::ZERO, end: Duration::from_millis(3), ending: Ending::Done };
    /// let picture = Timeline { workers: 2, bars: vec![bar], spans: vec![] }.to_svg()?;
    /// assert!(picture.starts_with("<svg") && picture.contains("1 job, 2 workers: 3 ms"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn to_svg(&self) -> io::Result<String> {
        let mut text = String::new();
        let drawn = chart::Chart::new(self).draw(&mut text);
        drawn.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(text)
    }
}
