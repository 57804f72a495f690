//! A timeline as a picture: what `procshare-timeline` draws, and the file it is written to.

use super::timeline::{Bar, Ending, Timeline};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering};
use crate::segment::os_error;
use crate::sys::file;
use procshare_timeline::Timeline as Drawing;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

impl Timeline {
    /// Returns a picture of the timeline, as SVG text.
    ///
    /// Each worker has a row, and each run of a job a bar with the job's number, if there is room for it. The bar of a failed job
    /// is half as high; the bar of a job whose worker died ends in a cross. Runs shorter than a pixel are drawn as one. Bars that
    /// were [added](Self::add) stand in rows of their own below.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) if the plotting library reports an error.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(2).timeline(true).build()?;
    ///     assert!(pool.map(|a: u64| a * a, 0..6).iter().all(Result::is_ok));
    ///     let picture = pool.timeline().to_svg()?;
    ///     assert!(picture.starts_with("<svg") && picture.contains("6 jobs"));
    ///     Ok(())
    /// }
    /// ```
    pub fn to_svg(&self) -> Result<String> {
        self.drawing()
            .to_svg()
            .map_err(|error| Error::new(ErrorKind::Io, format!("drawing the timeline failed: {error}")))
    }

    /// What is to be drawn, on the monotonic clock.
    fn drawing(&self) -> Drawing<'_> {
        let bar = |bar: &Bar| procshare_timeline::Bar {
            job: bar.job,
            worker: bar.worker,
            start: self.zero() + bar.start,
            end: self.zero() + bar.end,
            ending: match bar.ending {
                Ending::Done => procshare_timeline::Ending::Done,
                Ending::Failed => procshare_timeline::Ending::Failed,
                Ending::Died => procshare_timeline::Ending::Died,
            },
        };
        let spans = self.spans().iter().map(|span| procshare_timeline::Span {
            row: &span.row,
            name: &span.name,
            start: span.start.time(),
            end: span.end.time(),
        });
        Drawing {
            workers: self.workers(),
            bars: self.bars().iter().map(bar).collect(),
            spans: spans.collect(),
        }
    }

    /// Writes a picture of the timeline to a file: see [`to_svg`](Self::to_svg).
    ///
    /// Readers of the file see either the old or the new one, complete: it is written beside the old one, under a name that begins
    /// with a dot and ends in `.tmp`, and then renamed. Only if the process is killed meanwhile does that name remain.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the folder does not exist, [`PermissionDenied`](ErrorKind::PermissionDenied),
    /// [`OutOfMemory`](ErrorKind::OutOfMemory) if the disk is full, [`Io`](ErrorKind::Io).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(2).timeline(true).build()?;
    ///     assert!(pool.map(|a: u64| a * a, 0..6).iter().all(Result::is_ok));
    ///     let path = std::env::temp_dir().join(format!("timeline-{}.svg", std::process::id()));
    ///     pool.timeline().write_svg(&path)?;
    ///     assert!(path.exists());
    ///     # std::fs::remove_file(path).expect("it was just written");
    ///     Ok(())
    /// }
    /// ```
    pub fn write_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        replace(path, self.to_svg()?.as_bytes())
            .map_err(|error| os_error(&format!("writing {}", path.display()), error))
    }
}

/// Replaces a file, in one step for every reader.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    file::check_end(bytes.len() as u64)?;
    let file_name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = OsString::from(".");
    name.push(file_name);
    // Relaxed: numbers only need to differ.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside); // The first error is the one to report.
    }
    written
}

#[cfg(test)]
mod tests {
    use super::super::records::Times;
    use super::super::timeline::Timestamp;
    use super::*;
    use std::time::Duration;

    #[test]
    fn bars_and_spans_have_one_clock() {
        let start = Timestamp::now();
        let at = |ms| start + Duration::from_millis(ms);
        let zero = start.time().as_nanos() as u64;
        let times = Times {
            begun: zero,
            done: zero + 300_000_000,
        };
        let bars = vec![Bar::new(0, 1, 1, times, zero, Ending::Done)];
        let mut timeline = Timeline::of_pool(bars, 2, zero);
        timeline.add("parent", "waits", at(300), at(600));
        timeline.add("parent", "instant", at(400), at(350));
        assert_eq!(timeline.spans()[1].end, at(400));
        let picture = timeline.to_svg().unwrap();
        assert!(picture.contains("1 job, 2 workers, 2 spans: 600 ms"), "{picture}");
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("procshare-svg-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("timeline.svg");
        fs::write(&path, "old").unwrap();
        let timeline = Timeline::of_pool(vec![], 1, 0);
        timeline.write_svg(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), timeline.to_svg().unwrap());
        fs::create_dir(folder.join("taken")).unwrap();
        assert!(timeline.write_svg(folder.join("taken")).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something is left behind");
        let error = timeline.write_svg(folder.join("nowhere/timeline.svg")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        fs::remove_dir_all(&folder).unwrap();
    }
}
