//! Figures over epochs.

use super::axis::Axis;
use super::picture::{HEIGHT, Series, WIDTH, chart, legend, picture};
use super::text::{figure, note_left_out, or_dash, percent, perplexity, section, short, table};
use super::{EpochReport, Report};
use plotters::prelude::*;
use std::collections::BTreeSet;

/// A line has no more markers.
const MARKERS: usize = 25;

pub fn curves(report: &Report, names: &[&str]) -> String {
    let html = if report.models.iter().all(|model| model.epochs.is_empty()) {
        "<p>No epoch is finished yet.</p>\n".into()
    } else {
        let train =
            over_epochs(report, names, "train perplexity", |epoch| Some(epoch.train_perplexity));
        let valid =
            over_epochs(report, names, "valid perplexity", |epoch| Some(epoch.valid_perplexity));
        let texts = ["the training text", "the validation text"];
        let pictures = [train, valid].into_iter().zip(texts).map(|(curves, text)| {
            let mut sentence = format!("Lower is better: the perplexity of {text}.");
            let points = curves.lines.iter().flat_map(|line| {
                line.points.iter().map(|&(epoch, value)| (line.name, epoch, value))
            });
            if let Some((name, epoch, value)) = points
                .filter(|(_, _, value)| value.is_finite() && *value > 0.0)
                .min_by(|(_, _, a), (_, _, b)| a.total_cmp(b))
            {
                sentence = format!(
                    "Lower is better: of {text}, {name} has the lowest perplexity so far, {} \
                     after epoch {epoch}.",
                    perplexity(value)
                );
            }
            let values = curves.values().filter(|&value| value > 0.0);
            let y = Axis::log(values, 7, short);
            curves.figure(&y, &sentence, perplexity)
        });
        let legend = legend(report.models.iter().map(|model| model.name.as_str()), names);
        format!("{legend}<div class=\"pair\">\n{}</div>\n", pictures.collect::<String>())
    };
    section("Perplexity over epochs", &html)
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
    what: &'static str,
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
    what: &'static str,
    value: impl Fn(&EpochReport) -> Option<f64>,
) -> Curves<'a> {
    let lines = report.models.iter().map(|model| {
        let point = |epoch: &EpochReport| Some((epoch.epoch, value(epoch)?));
        Line { name: &model.name, points: model.epochs.iter().filter_map(point).collect() }
    });
    Curves { what, lines: lines.collect(), names }
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
            let place = chart(area, &x, y, "epoch", self.what)?;
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
