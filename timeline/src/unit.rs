//! Numbers as words: times in a unit that suits them, and steps of an axis.

use std::time::Duration;

/// A unit of the time axis, and how many of it make a second.
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    per_second: f64,
}

impl Unit {
    /// The unit in which this span is a number of few digits.
    pub(crate) fn of(span: Duration) -> Self {
        let (name, per_second) = match span.as_secs_f64() {
            ..2e-6 => ("ns", 1e9),
            ..2e-3 => ("µs", 1e6),
            ..2.0 => ("ms", 1e3),
            ..300.0 => ("s", 1.0),
            ..18_000.0 => ("min", 1.0 / 60.0),
            _ => ("h", 1.0 / 3600.0),
        };
        Unit { name, per_second }
    }

    pub(crate) fn count(&self, time: Duration) -> f64 {
        time.as_secs_f64() * self.per_second
    }
}

/// The smallest number of the form 1, 2, 5, 10 … that is at least `least`.
pub(crate) fn step_of(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= least);
    found.unwrap_or(10.0) * power
}

/// Three digits, without trailing zeros.
pub(crate) fn rounded(number: f64) -> String {
    let digits = if number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
