//! What lies in which row: names of rows, and marks in them.

use crate::{Bar, Ending, Timeline};
use std::collections::HashMap;
use std::time::Duration;

/// What is drawn in a row from one time to another: one bar, or several.
pub(crate) struct Mark {
    pub(crate) row: usize,
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) ending: Ending,
    pub(crate) label: String,
}

/// The names of the workers' rows; one without a name if there is nothing to draw at all.
pub(crate) fn worker_names(timeline: &Timeline<'_>, per_row: usize) -> Vec<String> {
    let workers = timeline.workers;
    let least = usize::from(timeline.spans.is_empty() || !timeline.bars.is_empty());
    let rows = workers.div_ceil(per_row).max(least);
    let name = |row: usize| {
        let first = row * per_row;
        let last = (first + per_row).min(workers).max(first + 1) - 1;
        match (per_row, rows) {
            (1, 1..=30) => format!("worker {first}"),
            (1, _) => first.to_string(),
            _ => format!("{first} to {last}"),
        }
    };
    (0..rows).map(name).collect()
}

pub(crate) fn marks_of_jobs(timeline: &Timeline<'_>, runs: &[u32], per_row: usize, rows: usize) -> Vec<Mark> {
    let bars = timeline.bars.iter().zip(runs);
    let mark = |(bar, run): (&Bar, &u32)| Mark {
        row: (bar.worker / per_row).min(rows - 1),
        start: bar.start,
        end: bar.end,
        ending: bar.ending,
        label: match run {
            1 => bar.job.to_string(),
            run => format!("{} ({run})", bar.job),
        },
    };
    bars.map(mark).collect()
}

/// The bars that were added; their rows come after the existing names.
pub(crate) fn marks_of_spans(timeline: &Timeline<'_>, names: &mut Vec<String>) -> Vec<Mark> {
    let mut rows: HashMap<&str, usize> = HashMap::new();
    let marks = timeline.spans.iter().map(|span| Mark {
        row: *rows.entry(span.row).or_insert_with(|| {
            names.push(span.row.to_owned());
            names.len() - 1
        }),
        start: span.start,
        end: span.end,
        ending: Ending::Done,
        label: span.name.to_owned(),
    });
    marks.collect()
}

/// For each bar, the number of the run of its job, from 1.
pub(crate) fn numbers_of_runs(bars: &[Bar]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..bars.len()).collect();
    order.sort_by_key(|at| bars[*at].start);
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut runs = vec![1; bars.len()];
    for at in order {
        let count = seen.entry(bars[at].job).or_default();
        *count += 1;
        runs[at] = *count;
    }
    runs
}
