use super::*;
use crate::unit::{Unit, rounded, step_of};

const MS: u64 = 1_000_000;

fn bar(job: u64, worker: usize, start: u64, end: u64, ending: Ending) -> Bar {
    let [start, end] = [start, end].map(Duration::from_nanos);
    Bar {
        job,
        worker,
        start,
        end,
        ending,
    }
}

fn span<'a>(row: &'a str, name: &'a str, start: u64, end: u64) -> Span<'a> {
    let [start, end] = [start, end].map(Duration::from_millis);
    Span { row, name, start, end }
}

fn picture(bars: Vec<Bar>, workers: usize) -> String {
    let spans = vec![];
    drawn(&Timeline { workers, bars, spans })
}

fn drawn(timeline: &Timeline<'_>) -> String {
    let text = timeline.to_svg().unwrap();
    if let Some(folder) = std::env::var_os("LOOK") {
        let name = std::thread::current().name().unwrap().replace(':', "_");
        let name = format!("{name}-{}-{}.svg", timeline.workers, text.len());
        std::fs::write(std::path::Path::new(&folder).join(name), &text).unwrap();
    }
    assert!(
        text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
        "{text}"
    );
    assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
    text
}

/// The words in a picture.
fn words(picture: &str) -> Vec<&str> {
    let texts = picture.split("<text").skip(1);
    texts
        .map(|text| text.split(['<', '>']).nth(1).unwrap().trim())
        .collect()
}

#[test]
fn a_picture_of_nothing_says_so() {
    for workers in [0, 1, 2] {
        let picture = picture(vec![], workers);
        assert!(words(&picture)[0].contains("no finished jobs"), "{picture}");
    }
}

#[test]
fn bars_have_the_numbers_of_their_jobs_where_there_is_room() {
    let long = (0..6).map(|job| {
        bar(
            job,
            job as usize % 2,
            job / 2 * 100 * MS,
            (job / 2 + 1) * 100 * MS,
            Ending::Done,
        )
    });
    let short = bar(6, 0, 301 * MS, 302 * MS, Ending::Done);
    let picture = picture(long.chain([short]).collect(), 2);
    let words = words(&picture);
    assert_eq!(words[0], "7 jobs, 2 workers: 302 ms, busy 100 %");
    for label in [
        "worker 0",
        "worker 1",
        "0",
        "5",
        "50",
        "300",
        "ms since the first job began",
    ] {
        assert!(words.contains(&label), "{label}: {words:?}");
    }
    assert!(!words.contains(&"6") && !words.contains(&"failed"), "{words:?}");
}

#[test]
fn what_went_wrong_looks_otherwise_and_has_a_legend() {
    let bars = vec![
        bar(0, 0, 0, 900 * MS, Ending::Done),
        bar(1, 1, 0, 300 * MS, Ending::Died),
        bar(1, 1, 310 * MS, 700 * MS, Ending::Done),
        bar(2, 1, 700 * MS, 1000 * MS, Ending::Failed),
    ];
    let picture = picture(bars, 2);
    let words = words(&picture);
    for text in [
        "done",
        "failed",
        "worker died",
        "3 (2): the second run of job 3",
        "1 (2)",
    ] {
        assert!(words.contains(&text), "{text}: {words:?}");
    }
    assert_eq!(words[0], "3 jobs, 2 workers: 1000 ms, busy 94 %");
}

#[test]
fn ten_thousand_bars_make_a_small_picture() {
    let ending = |job| match job % 1000 {
        500 => Ending::Failed,
        750 => Ending::Died,
        _ => Ending::Done,
    };
    let bars = (0..10_000).map(|job| bar(job, job as usize % 4, job * MS, (job + 3) * MS, ending(job)));
    let picture = picture(bars.collect(), 4);
    assert!(picture.len() < 50_000, "{}", picture.len());
    let bars = (0..10_000).map(|job| bar(job, job as usize, job % 7 * MS, (job % 7 + 3) * MS, ending(job)));
    let picture = self::picture(bars.collect(), 10_000);
    assert!(picture.len() < 500_000, "{}", picture.len());
    assert!(words(&picture).contains(&"0 to 49"));
}

#[test]
fn times_have_units_that_suit_them() {
    for (span, unit) in [
        (1, "ns"),
        (1_500, "ns"),
        (90_000, "µs"),
        (MS * 90, "ms"),
        (MS * 9_000, "s"),
    ] {
        let picture = picture(vec![bar(0, 0, 5, 5 + span, Ending::Done)], 1);
        let wanted = format!("{unit} since the first job began");
        assert!(
            words(&picture).contains(&wanted.as_str()),
            "{unit}: {:?}",
            words(&picture)
        );
    }
    let name = |seconds| Unit::of(Duration::from_secs(seconds)).name;
    assert_eq!((name(200), name(2_000), name(20_000)), ("s", "min", "h"));
    assert_eq!([0.001, 1.0, 1.1, 4.0, 60.0].map(step_of), [0.001, 1.0, 2.0, 5.0, 100.0]);
    assert_eq!(
        [0.5, 12.34, 100.0, 1234.0, 0.0].map(rounded),
        ["0.5", "12.3", "100", "1234", "0"]
    );
}

#[test]
fn what_a_program_adds_has_rows_and_names_of_its_own() {
    let spans = vec![
        span("reader", "first <half>", 0, 400),
        span("writer & sorter of everything that was read before", "sort", 100, 900),
        span("reader", "second", 500, 1000),
        span("reader", "instant", 700, 700),
    ];
    let timeline = Timeline {
        spans,
        ..Timeline::default()
    };
    let picture = drawn(&timeline);
    let texts = words(&picture);
    assert_eq!(texts[0], "4 spans in 2 rows: 1000 ms");
    for text in [
        "reader",
        "first &lt;half&gt;",
        "sort",
        "second",
        "ms since the first span began",
    ] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("writer &amp; sorter") && text.ends_with('…'))
    );
    assert!(
        !texts.iter().any(|text| text.contains("worker") || *text == "instant"),
        "{texts:?}"
    );
    let beside = Timeline {
        workers: 2,
        bars: vec![bar(0, 1, 0, 300 * MS, Ending::Done)],
        spans: vec![span("parent", "waits", 300, 600)],
    };
    let picture = drawn(&beside);
    let texts = words(&picture);
    assert_eq!(texts[0], "1 job, 2 workers, 1 span: 600 ms");
    for text in ["worker 0", "worker 1", "parent", "waits", "0"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
}
