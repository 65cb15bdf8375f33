//! Quality beside the size of the table, for all known runs.

use super::axis::Axis;
use super::picture::{
    HEIGHT, Label, MARGIN, MUTED, Series, TEXT, WIDTH, around, chart, legend, picture, rule,
    shorten,
};
use super::text::{bytes, figure, note_left_out, or_dash, section, table, thousands};
use super::{KnownRun, Measure, Report, THIS_RUN};
use plotters::prelude::*;

/// Where the label of a mark may be, the best place first.
const AROUND: [(i32, i32); 8] =
    [(24, 0), (-24, 0), (0, -32), (0, 32), (20, -30), (20, 30), (-20, -30), (-20, 30)];

/// A model beside others in quality and size.
struct Known<'a> {
    label: &'a str,
    name: &'a str,
    this_run: bool,
    table_bytes: usize,
    valid: Option<f64>,
    test: Option<f64>,
}

impl Known<'_> {
    /// The figure on the test data, or the one on the validation data where there is none yet.
    fn figure(&self) -> Option<f64> {
        self.test.or(self.valid)
    }

    fn has_place(&self) -> bool {
        let figure = self.figure().unwrap_or(f64::NAN);
        figure.is_finite() && figure > 0.0 && self.table_bytes > 0
    }
}

/// This run's models, then others on the same text; and how many are on another one.
fn known<'a>(report: &'a Report) -> (Vec<Known<'a>>, usize) {
    let mut known: Vec<_> = report
        .models
        .iter()
        .map(|model| Known {
            label: THIS_RUN,
            name: &model.name,
            this_run: true,
            table_bytes: model.table_bytes,
            valid: model.epochs.last().map(|last| last.valid),
            test: model.test,
        })
        .filter(|known| known.figure().is_some())
        .collect();
    let same_data = |run: &&KnownRun| match (&run.data, &report.data) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    let in_models = |run: &KnownRun| {
        run.label == THIS_RUN && report.models.iter().any(|model| model.name == run.embedding)
    };
    let others: Vec<_> = report.runs.iter().filter(|run| !in_models(run)).collect();
    let all = others.len();
    let others: Vec<_> = others.into_iter().filter(same_data).collect();
    let elsewhere = all - others.len();
    known.extend(others.into_iter().map(|run| Known {
        label: &run.label,
        name: &run.embedding,
        this_run: run.label == THIS_RUN,
        table_bytes: run.table_bytes,
        valid: run.valid,
        test: run.test,
    }));
    (known, elsewhere)
}

pub fn quality(report: &Report, names: &[&str]) -> String {
    let (known, elsewhere) = known(report);
    if known.is_empty() {
        return String::new();
    }
    let placed: Vec<_> = known.iter().filter(|known| known.has_place()).collect();
    let quality = |known: &Known<'_>| known.figure().unwrap_or(f64::NAN);
    let values = || placed.iter().map(|known| quality(known));
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    let near = |&&(_, test): &&(String, f64)| (low / 1.3..high * 1.3).contains(&test);
    let yardsticks: Vec<_> = report.yardsticks.iter().filter(near).collect();

    let x = Axis::log(placed.iter().map(|known| known.table_bytes as f64), 5, bytes);
    let all = values().chain(yardsticks.iter().map(|(_, test)| *test));
    let (measure, name) = (report.measure, report.measure.name());
    let y = measure.axis(all);
    let tested = placed.iter().any(|known| known.test.is_some());
    let y_title = format!("{} {name}", if tested { "test" } else { "valid" });
    let title = format!("{name} and bytes of the table of all known runs");
    let mut all_labelled = true;
    let svg = picture((WIDTH, HEIGHT), &title, |area| {
        let place = chart(area, &x, &y, "bytes of the table", &y_title)?;
        let at = |known: &Known<'_>| place(known.table_bytes as f64, quality(known));
        let mut taken = placed.iter().map(|known| around(at(known), 12, 12)).collect();
        for (name, test) in &yardsticks {
            let (left, y) = place(x.range().start, *test);
            let at = (WIDTH as i32 - MARGIN, y);
            area.draw(&PathElement::new([(left, y), at], rule(&MUTED)))?;
            let label = Label { text: shorten(name), at, offsets: &[(0, -18), (0, 18)], end: true };
            label.draw(area, &mut taken, &MUTED)?;
        }
        // This run's models last, so that they are on top, but labelled first.
        for known in placed.iter().rev() {
            let size = if known.this_run { 14 } else { 10 };
            Series::of(known.name, names).mark(area, at(known), size, known.test.is_some())?;
        }
        for known in &placed {
            let (text, colour) = match known.this_run {
                true => (known.name, &TEXT),
                false => (known.label, &MUTED),
            };
            let offsets = &AROUND;
            let label = Label { text: shorten(text), at: at(known), offsets, end: false };
            all_labelled &= label.draw(area, &mut taken, colour)?;
        }
        Ok(())
    });

    let mut notes = note_left_out(known.len() - placed.len());
    if !all_labelled {
        notes.push("Where marks are close, not all have room for a label.".into());
    }
    if placed.iter().any(|known| known.test.is_none()) {
        notes.push(format!("Hollow: {name} of the validation data, until the model is tested."));
    }
    if yardsticks.len() < report.yardsticks.len() {
        notes.push("Yardsticks far from all models are only in the first table.".into());
    }
    if elsewhere > 0 {
        let runs = if elsewhere == 1 { "1 model" } else { &format!("{elsewhere} models") };
        notes.push(format!("{runs} of earlier runs on other data left out."));
    }
    let rows: Vec<_> = known
        .iter()
        .map(|known| {
            vec![
                known.label.into(),
                known.name.into(),
                thousands(known.table_bytes),
                or_dash(known.valid, |x| measure.text(x)),
                or_dash(known.test, |x| measure.text(x)),
            ]
        })
        .collect();
    let [valid, test] = ["valid", "test"].map(|part| format!("{part} {name}"));
    let titles = ["run", "model", "bytes of the table", &valid, &test];
    let key = legend(known.iter().map(|known| known.name), names);
    let table = table(&titles, 2..5, &rows);
    let html = figure(&svg, &compared(measure, &placed), &notes, &key, &table);
    section("Quality and size", &format!("<div class=\"wide\">\n{html}</div>\n"))
}

/// What the smallest table of this run costs or gains beside its largest one.
fn compared(measure: Measure, placed: &[&Known<'_>]) -> String {
    let up = if measure.higher_is_better() { "up" } else { "down" };
    let start = format!("Further {up} is better, further left is smaller");
    let mine = || placed.iter().filter(|known| known.this_run);
    let largest = mine().max_by_key(|known| known.table_bytes);
    let smallest = mine().min_by_key(|known| known.table_bytes);
    let (Some(largest), Some(smallest)) = (largest, smallest) else {
        return format!("{start}.");
    };
    let same_data = largest.test.is_some() == smallest.test.is_some();
    let (Some(a), Some(b), true) = (largest.figure(), smallest.figure(), same_data) else {
        return format!("{start}.");
    };
    let ratio = largest.table_bytes as f64 / smallest.table_bytes as f64;
    if ratio < 1.05 {
        return format!("{start}.");
    }
    let than = if b <= a { "lower" } else { "higher" };
    let by = measure.difference(a, b);
    format!(
        "{start}: the table of {} is {ratio:.1} times smaller than that of {}, its {} {by} {than}.",
        smallest.name,
        largest.name,
        measure.name()
    )
}
