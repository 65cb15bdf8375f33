//! Figures over epochs.

use super::axis::Axis;
use super::picture::{HEIGHT, Series, WIDTH, chart, legend, picture};
use super::text::{figure, note_left_out, or_dash, percent, section, short, table};
use super::{EpochReport, Measure, Report, Training};
use plotters::prelude::*;
use std::collections::BTreeSet;

/// A line has no more markers.
const MARKERS: usize = 25;

pub fn curves(report: &Report, names: &[&str]) -> String {
    let html = if report.models.iter().all(|model| model.epochs.is_empty()) {
        "<p>No epoch is finished yet.</p>\n".into()
    } else {
        let (measure, training) = (report.measure, report.measure.of_training());
        let train = format!("train {}", training.name());
        let valid = format!("valid {}", measure.name());
        let train = over_epochs(report, names, &train, |epoch| Some(epoch.train));
        let valid = over_epochs(report, names, &valid, |epoch| Some(epoch.valid));
        let y = if training == Training::Loss {
            Axis::around(train.values(), 7, short)
        } else {
            Measure::Perplexity.axis(train.values().filter(|&value| value > 0.0))
        };
        let of_training = |x| training.text(x);
        let sentence = best("training data", training.name(), false, &train, of_training);
        let mut pictures = train.figure(&y, &sentence, of_training);
        let positive = |&value: &f64| value > 0.0 || !measure.is_logarithmic();
        let y = measure.axis(valid.values().filter(positive));
        let (higher, text) = (measure.higher_is_better(), |x| measure.text(x));
        let sentence = best("validation data", measure.name(), higher, &valid, text);
        pictures += &valid.figure(&y, &sentence, text);
        let legend = legend(report.models.iter().map(|model| model.name.as_str()), names);
        format!("{legend}<div class=\"pair\">\n{pictures}</div>\n")
    };
    let name = report.measure.name();
    section(&format!("{}{} over epochs", name[..1].to_uppercase(), &name[1..]), &html)
}

/// What the best figure so far is.
fn best(
    data: &str,
    name: &str,
    higher_is_better: bool,
    curves: &Curves<'_>,
    text: impl Fn(f64) -> String,
) -> String {
    let points = curves
        .lines
        .iter()
        .flat_map(|line| line.points.iter().map(|&(epoch, value)| (line.name, epoch, value)))
        .filter(|(_, _, value)| value.is_finite() && *value > 0.0);
    let (better, found) = match higher_is_better {
        true => (["Higher", "highest"], points.max_by(|(_, _, a), (_, _, b)| a.total_cmp(b))),
        false => (["Lower", "lowest"], points.min_by(|(_, _, a), (_, _, b)| a.total_cmp(b))),
    };
    let [higher, highest] = better;
    match found {
        None => format!("{higher} is better: the {name} of the {data}."),
        Some((model, epoch, value)) => format!(
            "{higher} is better: of the {data}, {model} has the {highest} {name} so far, {} after \
             epoch {epoch}.",
            text(value)
        ),
    }
}

pub fn changes(report: &Report, names: &[&str]) -> String {
    let mut curves = over_epochs(report, names, "share of codes changed", |e| e.codes_changed);
    curves.lines.retain(|line| !line.points.is_empty());
    if curves.lines.is_empty() {
        return String::new();
    }
    let last: Vec<_> = curves
        .lines
        .iter()
        .filter_map(|line| {
            let (_, value) = line.points.last().filter(|(_, value)| value.is_finite())?;
            Some(format!("{} {}", line.name, percent(*value)))
        })
        .collect();
    let last = if last.is_empty() { String::new() } else { format!(": last {}", last.join(", ")) };
    let sentence = format!(
        "Codes settle when the share that is another than an epoch before falls towards 0{last}."
    );
    let legend = legend(curves.lines.iter().map(|line| line.name), names);
    let most = curves.values().filter(|&share| share <= 1.0).fold(0.0, f64::max);
    let y = Axis::linear(0.0..most.max(0.01) * 1.05, 6, |x| format!("{}%", short(100.0 * x)));
    let figure = curves.figure(&y, &sentence, percent);
    section("Codes changed in an epoch", &format!("{legend}<div class=\"pair\">{figure}</div>\n"))
}

/// A figure of all models over epochs.
struct Curves<'a> {
    /// What the figure is.
    what: String,
    lines: Vec<Line<'a>>,
    names: &'a [&'a str],
}

struct Line<'a> {
    name: &'a str,
    points: Vec<(usize, f64)>,
}

fn over_epochs<'a>(
    report: &'a Report,
    names: &'a [&'a str],
    what: &str,
    value: impl Fn(&EpochReport) -> Option<f64>,
) -> Curves<'a> {
    let lines = report.models.iter().map(|model| {
        let point = |epoch: &EpochReport| Some((epoch.epoch, value(epoch)?));
        Line { name: &model.name, points: model.epochs.iter().filter_map(point).collect() }
    });
    Curves { what: what.into(), lines: lines.collect(), names }
}

impl Curves<'_> {
    fn points(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.lines.iter().flat_map(|line| line.points.iter().copied())
    }

    /// The finite ones.
    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points().map(|(_, value)| value).filter(|value| value.is_finite())
    }

    fn figure(&self, y: &Axis, sentence: &str, text: impl Fn(f64) -> String) -> String {
        let epochs: BTreeSet<usize> = self.points().map(|(epoch, _)| epoch).collect();
        let first = epochs.first().copied().unwrap_or(1) as f64;
        let last = epochs.last().copied().unwrap_or(1) as f64;
        let margin = if first == last { 0.5 } else { 0.02 * (last - first) };
        let mut x = Axis::linear(first - margin..last + margin, 8, short);
        x.ticks.retain(|tick| tick.fract() == 0.0);

        let svg = picture((WIDTH, HEIGHT), &format!("{} over epochs", self.what), |area| {
            let place = chart(area, &x, y, "epoch", &self.what)?;
            for line in &self.lines {
                let series = Series::of(line.name, self.names);
                let shown = |&&(_, value): &&(usize, f64)| y.shows(value);
                let places: Vec<(i32, i32)> = line
                    .points
                    .iter()
                    .filter(shown)
                    .map(|&(epoch, value)| place(epoch as f64, value))
                    .collect();
                // What is left out breaks the line.
                for part in line.points.split(|&(_, value)| !y.shows(value)) {
                    let part = part.iter().map(|&(epoch, value)| place(epoch as f64, value));
                    area.draw(&PathElement::new(part.collect::<Vec<_>>(), series.line()))?;
                }
                let step = places.len().div_ceil(MARKERS).max(1);
                for &place in places.iter().rev().step_by(step) {
                    series.mark(area, place, 9, true)?;
                }
            }
            Ok(())
        });
        let left_out = self.points().filter(|&(_, value)| !y.shows(value)).count();
        let notes = note_left_out(left_out);

        let mut titles = vec!["epoch"];
        titles.extend(self.lines.iter().map(|line| line.name));
        let rows: Vec<Vec<String>> = epochs
            .iter()
            .map(|&epoch| {
                let value = |line: &Line<'_>| {
                    line.points.iter().find(|point| point.0 == epoch).map(|point| point.1)
                };
                let cells = self.lines.iter().map(|line| or_dash(value(line), &text));
                std::iter::once(epoch.to_string()).chain(cells).collect()
            })
            .collect();
        figure(&svg, sentence, &notes, "", &table(&titles, 0..titles.len(), &rows))
    }
}
