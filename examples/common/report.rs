//! `report.html`: a run in pictures and tables, in one file that needs nothing else.
//!
//! [`html`] makes it of plain data, [`Report`]. Pictures are drawn in the colours of the light scheme;
//! the style sheet changes them in the dark one by what they are drawn with.

use dpq::{CodeTable, Tensor};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// The report, in `--out`.
pub const REPORT: &str = "report.html";

/// The label of this run among the known ones.
pub const THIS_RUN: &str = "this run";

/// All that a report shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub title: String,
    /// Names and values, in the order in which they are shown.
    pub settings: Vec<(String, String)>,
    pub machine: Vec<(String, String)>,
    pub models: Vec<ModelReport>,
    /// Perplexities on the test text of models that need no network.
    pub yardsticks: Vec<(String, f64)>,
    /// The perplexity of word counts on the test text, which tells texts apart: runs that have another
    /// are left out.
    pub unigram: Option<f64>,
    /// What is known of this run and of earlier ones. Of this run, `models` knows better.
    pub runs: Vec<KnownRun>,
    /// What is to be said of the run as a whole.
    pub warnings: Vec<String>,
}

/// A model of the run, finished or not.
#[derive(Clone, Debug, Default)]
pub struct ModelReport {
    pub name: String,
    pub finished: bool,
    pub epochs: Vec<EpochReport>,
    /// Perplexity on the test text.
    pub test: Option<f64>,
    /// Bytes of its table of embeddings, compressed if it is.
    pub table_bytes: usize,
    pub usage: Option<Usage>,
    pub neighbours: Vec<Neighbours>,
    pub warnings: Vec<String>,
}

/// An epoch of a model.
#[derive(Clone, Debug, Default)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    pub train_perplexity: f64,
    pub valid_perplexity: f64,
    /// Share of all codes that are others than an epoch ago.
    pub codes_changed: Option<f64>,
    pub seconds: f64,
    pub tokens_per_second: f64,
}

/// How many words use a codeword.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// D
    pub groups: usize,
    /// K
    pub codebook_size: usize,
    /// D x K
    pub counts: Vec<u32>,
}

/// The words that are nearest to one, the nearest first.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    pub word: String,
    /// By the number of codes that differ.
    pub by_code: Vec<String>,
    /// By the distance of their vectors.
    pub by_vector: Vec<String>,
}

/// A model of this run or of another one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownRun {
    /// [`THIS_RUN`], or the folder that the run was moved to.
    pub label: String,
    pub embedding: String,
    pub table_bytes: usize,
    pub valid: Option<f64>,
    pub test: Option<f64>,
    /// The perplexity of word counts on its test text.
    pub unigram: Option<f64>,
}

/// The models of `result.json` in `out` and in the folders of `out/earlier`, and what could not be
/// read.
pub fn known_runs(out: &Path) -> (Vec<KnownRun>, Vec<String>) {
    let mut folders: Vec<_> = fs::read_dir(out.join("earlier"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (format!("earlier/{}", entry.file_name().to_string_lossy()), entry.path()))
        .collect();
    // 10 comes after 9.
    folders.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    folders.insert(0, (THIS_RUN.into(), out.to_path_buf()));
    let (mut runs, mut warnings) = (Vec::new(), Vec::new());
    for (label, folder) in folders {
        let path = folder.join("result.json");
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        match text.and_then(|text| models_of(&text, &label)) {
            Ok(models) => runs.extend(models),
            Err(error) => warnings.push(format!("{label}, result.json: {error}")),
        }
    }
    (runs, warnings)
}

/// The models of a `result.json`.
fn models_of(text: &str, label: &str) -> Result<Vec<KnownRun>, String> {
    let run: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let models = run["models"].as_array().ok_or("no list of models")?;
    let known = |model: &Value| {
        let bytes = model["table_bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
        Some(KnownRun {
            label: label.into(),
            embedding: model["embedding"].as_str()?.into(),
            table_bytes: bytes?,
            valid: model["valid_perplexity"].as_f64(),
            test: model["test_perplexity"].as_f64(),
            unigram: run["unigram_perplexity"].as_f64(),
        })
    };
    let known: Option<_> = models.iter().map(known).collect();
    known.ok_or_else(|| "a model without embedding or table_bytes".into())
}

/// Counts the words that use each codeword.
pub fn usage(codes: &CodeTable) -> Usage {
    let (groups, codebook_size) = (codes.groups(), codes.codebook_size());
    let mut counts = vec![0; groups * codebook_size];
    for row in codes.unpack().chunks_exact(groups) {
        for (counts, &code) in counts.chunks_exact_mut(codebook_size).zip(row) {
            counts[code as usize] += 1;
        }
    }
    Usage { groups, codebook_size, counts }
}

/// For each of `words` the `count` others with the fewest codes that differ, of equally near ones those
/// with the smaller id.
///
/// # Panics
/// If the table has no such word.
pub fn nearest_by_code(codes: &CodeTable, words: &[u32], count: usize) -> Vec<Vec<u32>> {
    let all = codes.unpack();
    let row = |word: usize| &all[word * codes.groups()..][..codes.groups()];
    let distance = |a: usize, b: usize| {
        let differ = row(a).iter().zip(row(b)).filter(|(a, b)| a != b).count();
        differ as f32
    };
    words.iter().map(|&word| nearest(codes.rows(), word, count, distance)).collect()
}

/// For each of `words` the `count` other rows of `table`, V x d, at the smallest Euclidean distance, of
/// equally near ones those with the smaller id.
///
/// # Panics
/// If the table has no such row.
pub fn nearest_by_vector(table: &Tensor<f32>, words: &[u32], count: usize) -> Vec<Vec<u32>> {
    /// As many sums as a register takes.
    const LANES: usize = 16;
    let (rows, width) = (table.shape()[0], table.shape()[1]);
    let row = |word: usize| &table.data()[word * width..][..width];
    let distance = |a: usize, b: usize| {
        let (a, b) = (row(a), row(b));
        let mut sums = [0.0; LANES];
        for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
            sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += (a - b) * (a - b));
        }
        sums.iter().sum()
    };
    words.iter().map(|&word| nearest(rows, word, count, distance)).collect()
}

fn nearest(
    rows: usize,
    word: u32,
    count: usize,
    distance: impl Fn(usize, usize) -> f32,
) -> Vec<u32> {
    let others = (0..rows).filter(|&other| other != word as usize);
    let mut others: Vec<(f32, u32)> =
        others.map(|other| (distance(word as usize, other), other as u32)).collect();
    let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if count < others.len() {
        others.select_nth_unstable_by(count, order);
        others.truncate(count);
    }
    others.sort_unstable_by(order);
    others.into_iter().map(|(_, other)| other).collect()
}

/// The whole page. The same report gives the same bytes.
pub fn html(report: &Report) -> String {
    let title = escape(&report.title);
    let names = names(report);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n",
        colours()
    );
    page += &overview(report);
    page += &curves(report, &names);
    page += &quality(report, &names);
    page += &changes(report, &names);
    page += &usages(report);
    page += &neighbours(report);
    page += &facts(report);
    page += "</main>\n</body>\n</html>\n";
    page
}

// ---- Text ----

/// Text as HTML and XML take it, also in quotes. What they cannot hold becomes a replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

/// 1234567 as 1,234,567.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A perplexity in a table.
fn perplexity(x: f64) -> String {
    match x {
        x if !x.is_finite() => "not finite".into(),
        x if x.abs() < 1e6 => format!("{x:.2}"),
        x => format!("{x:.2e}"),
    }
}

fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}%", 100.0 * share) } else { "not finite".into() }
}

fn seconds(x: f64) -> String {
    match x {
        x if !x.is_finite() => "not finite".into(),
        x if x < 100.0 => format!("{x:.1} s"),
        x if x < 6000.0 => format!("{:.0} min {:02.0} s", (x / 60.0).floor(), (x % 60.0).floor()),
        x => format!("{:.0} h {:02.0} min", (x / 3600.0).floor(), (x % 3600.0 / 60.0).floor()),
    }
}

fn or_dash<T>(x: Option<T>, text: impl Fn(T) -> String) -> String {
    x.map_or("–".into(), text)
}

/// At most four digits that count, on an axis.
fn short(x: f64) -> String {
    if !(1e-3..1e6).contains(&x) {
        return if x == 0.0 { "0".into() } else { format!("{x:.0e}") };
    }
    let digits = (3.0 - x.log10().floor()).max(0.0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

fn bytes(x: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(size, _)| x >= 0.9999 * size) {
        Some((size, unit)) => format!("{} {unit}", short(x / size)),
        None => format!("{} B", short(x)),
    }
}

// ---- Parts of the page ----

/// A table; `text` is the number of leading columns that hold text, not figures.
fn table(titles: &[&str], text: usize, rows: &[Vec<String>]) -> String {
    let class = |i: usize| if i < text { "" } else { " class=\"n\"" };
    let mut html = String::from("<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead>\n<tr>");
    for (i, title) in titles.iter().enumerate() {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(i), escape(title));
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    for row in rows {
        html += "<tr>";
        for (i, cell) in row.iter().enumerate() {
            let _ = match i {
                0 => write!(html, "<th scope=\"row\"{}>{}</th>", class(i), escape(cell)),
                _ => write!(html, "<td{}>{}</td>", class(i), escape(cell)),
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table>\n</div>\n"
}

fn details(summary: &str, open: bool, html: &str) -> String {
    let open = if open { " open=\"open\"" } else { "" };
    format!("<details{open}>\n<summary>{}</summary>\n{html}</details>\n", escape(summary))
}

/// A picture with the sentence that says what to see, notes, and the table behind it.
fn figure(svg: &str, sentence: &str, notes: &[String], key: &str, table: &str) -> String {
    let notes: String = notes.iter().map(|note| format!("<p>{}</p>\n", escape(note))).collect();
    format!(
        "<figure>\n<figcaption>\n<p>{}</p>\n{notes}</figcaption>\n{key}{svg}{}</figure>\n",
        escape(sentence),
        details("The figures as a table", false, table)
    )
}

fn section(title: &str, html: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{html}</section>\n", escape(title))
}

fn warnings(report: &Report) -> String {
    let own = report.warnings.iter().map(|warning| escape(warning));
    let of_models = report.models.iter().flat_map(|model| {
        let name = escape(&model.name);
        model.warnings.iter().map(move |warning| format!("<b>{name}</b>: {}", escape(warning)))
    });
    let items: String = own.chain(of_models).map(|item| format!("<li>{item}</li>\n")).collect();
    if items.is_empty() {
        return items;
    }
    format!("<div class=\"warnings\">\n<h2>Warnings</h2>\n<ul>\n{items}</ul>\n</div>\n")
}

/// Where the run stands, in a sentence and a table.
fn overview(report: &Report) -> String {
    let finished = report.models.iter().filter(|model| model.finished).count();
    let mut html = match report.models.len() {
        0 => "<p>There is no model yet.</p>\n".into(),
        1 if finished == 1 => "<p>The model is finished.</p>\n".into(),
        1 => "<p>The model is in training.</p>\n".into(),
        all => format!("<p>{finished} of {all} models are finished.</p>\n"),
    };
    let largest = report.models.iter().map(|model| model.table_bytes).max().unwrap_or(0);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for model in &report.models {
        let last = model.epochs.last();
        let state = match last {
            _ if model.finished => "finished".into(),
            Some(last) => format!("after epoch {}", last.epoch),
            None => "no epoch yet".into(),
        };
        let ratio = largest as f64 / model.table_bytes.max(1) as f64;
        rows.push(vec![
            model.name.clone(),
            state,
            or_dash(last, |last| perplexity(last.train_perplexity)),
            or_dash(last, |last| perplexity(last.valid_perplexity)),
            or_dash(model.test, perplexity),
            thousands(model.table_bytes),
            format!("{ratio:.1}"),
        ]);
    }
    for (name, test) in &report.yardsticks {
        let mut row = vec![name.clone(), "yardstick".into()];
        row.extend(["–".into(), "–".into(), perplexity(*test), "–".into(), "–".into()]);
        rows.push(row);
    }
    if !rows.is_empty() {
        let titles = [
            "model",
            "state",
            "train perplexity",
            "valid perplexity",
            "test perplexity",
            "bytes of the table",
            "times smaller",
        ];
        html += &table(&titles, 2, &rows);
    }
    html + &warnings(report)
}

fn curves(report: &Report, names: &[&str]) -> String {
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
                .filter(|(_, _, value)| value.is_finite())
                .min_by(|(_, _, a), (_, _, b)| a.total_cmp(b))
            {
                sentence = format!(
                    "Lower is better: of {text}, {name} has the lowest perplexity so far, {} \
                     after epoch {epoch}.",
                    perplexity(value)
                );
            }
            let values = curves.values().filter(|&value| value > 0.0);
            let y = Axis::log(values, 6, short);
            curves.figure(&y, &sentence, perplexity)
        });
        let legend = legend(report.models.iter().map(|model| model.name.as_str()), names);
        format!("{legend}<div class=\"pair\">\n{}</div>\n", pictures.collect::<String>())
    };
    section("Perplexity over epochs", &html)
}

fn changes(report: &Report, names: &[&str]) -> String {
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
        figure(&svg, sentence, &notes, "", &table(&titles, 0, &rows))
    }
}

fn note_left_out(count: usize) -> Vec<String> {
    match count {
        0 => vec![],
        1 => vec!["1 figure that has no place on the axis is left out.".into()],
        _ => vec![format!("{count} figures that have no place on the axis are left out.")],
    }
}

/// A model beside others in perplexity and size.
struct Known<'a> {
    label: &'a str,
    name: &'a str,
    this_run: bool,
    table_bytes: usize,
    valid: Option<f64>,
    test: Option<f64>,
}

impl Known<'_> {
    /// The test perplexity, or the one on the validation text where there is none yet.
    fn perplexity(&self) -> Option<f64> {
        self.test.or(self.valid)
    }

    fn has_place(&self) -> bool {
        let perplexity = self.perplexity().unwrap_or(f64::NAN);
        perplexity.is_finite() && perplexity > 0.0 && self.table_bytes > 0
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
            valid: model.epochs.last().map(|last| last.valid_perplexity),
            test: model.test,
        })
        .filter(|known| known.perplexity().is_some())
        .collect();
    // What was written to a file and read again may differ in the last digit.
    let same_text = |run: &&KnownRun| match (run.unigram, report.unigram) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs(),
        _ => true,
    };
    let in_models = |run: &KnownRun| {
        run.label == THIS_RUN && report.models.iter().any(|model| model.name == run.embedding)
    };
    let others: Vec<_> = report.runs.iter().filter(|run| !in_models(run)).collect();
    let all = others.len();
    let others: Vec<_> = others.into_iter().filter(same_text).collect();
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

fn quality(report: &Report, names: &[&str]) -> String {
    let (known, elsewhere) = known(report);
    if known.is_empty() {
        return String::new();
    }
    let placed: Vec<_> = known.iter().filter(|known| known.has_place()).collect();
    let quality = |known: &Known<'_>| known.perplexity().unwrap_or(f64::NAN);
    let values = || placed.iter().map(|known| quality(known));
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    let near = |&&(_, test): &&(String, f64)| (low / 1.3..high * 1.3).contains(&test);
    let yardsticks: Vec<_> = report.yardsticks.iter().filter(near).collect();

    let x = Axis::log(placed.iter().map(|known| known.table_bytes as f64), 5, bytes);
    let y = Axis::log(values().chain(yardsticks.iter().map(|(_, test)| *test)), 6, short);
    let title = "perplexity and bytes of the table of all known runs";
    let svg = picture((WIDTH, HEIGHT), title, |area| {
        let place = chart(area, &x, &y, "bytes of the table", "test perplexity")?;
        let mut taken = Vec::new();
        for (name, test) in &yardsticks {
            let at = (WIDTH as i32 - MARGIN, place(x.range().start, *test).1);
            area.draw(&PathElement::new(
                vec![(place(x.range().start, *test).0, at.1), at],
                rule(&MUTED),
            ))?;
            let label = Label { text: shorten(name), at, offsets: &[(0, -18), (0, 18)], end: true };
            label.draw(area, &mut taken, &MUTED)?;
        }
        let at = |known: &Known<'_>| place(known.table_bytes as f64, quality(known));
        for known in &placed {
            taken.push(around(at(known), 16, 16));
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
            let offsets = &[(24, 0), (-24, 0), (0, -32), (0, 32), (24, -26), (24, 26)];
            let label = Label { text: shorten(text), at: at(known), offsets, end: false };
            label.draw(area, &mut taken, colour)?;
        }
        Ok(())
    });

    let mut notes = note_left_out(known.len() - placed.len());
    if placed.iter().any(|known| known.test.is_none()) {
        notes.push("Hollow: perplexity of the validation text, until the model is tested.".into());
    }
    if yardsticks.len() < report.yardsticks.len() {
        notes.push("Yardsticks far from all models are only in the first table.".into());
    }
    if elsewhere > 0 {
        let runs = if elsewhere == 1 { "1 model" } else { &format!("{elsewhere} models") };
        notes.push(format!("{runs} of earlier runs on other texts left out."));
    }
    let rows: Vec<_> = known
        .iter()
        .map(|known| {
            vec![
                known.label.into(),
                known.name.into(),
                thousands(known.table_bytes),
                or_dash(known.valid, perplexity),
                or_dash(known.test, perplexity),
            ]
        })
        .collect();
    let titles = ["run", "model", "bytes of the table", "valid perplexity", "test perplexity"];
    let key = legend(known.iter().map(|known| known.name), names);
    let table = table(&titles, 2, &rows);
    let html = figure(&svg, &compared(&placed), &notes, &key, &table);
    section("Quality and size", &format!("<div class=\"wide\">\n{html}</div>\n"))
}

/// What the smallest table of this run costs or gains beside its largest one.
fn compared(placed: &[&Known<'_>]) -> String {
    let start = "Further down is better, further left is smaller";
    let mine = || placed.iter().filter(|known| known.this_run);
    let largest = mine().max_by_key(|known| known.table_bytes);
    let smallest = mine().min_by_key(|known| known.table_bytes);
    let (Some(largest), Some(smallest)) = (largest, smallest) else {
        return format!("{start}.");
    };
    let same_text = largest.test.is_some() == smallest.test.is_some();
    let (Some(a), Some(b), true) = (largest.perplexity(), smallest.perplexity(), same_text) else {
        return format!("{start}.");
    };
    if largest.table_bytes == smallest.table_bytes {
        return format!("{start}.");
    }
    let ratio = largest.table_bytes as f64 / smallest.table_bytes as f64;
    let by = format!("{:.1}%", 100.0 * (b / a - 1.0).abs());
    let than = if b <= a { "lower" } else { "higher" };
    format!(
        "{start}: the table of {} is {ratio:.1} times smaller than that of {}, its perplexity {by} \
         {than}.",
        smallest.name, largest.name
    )
}

// ---- Codewords ----

/// A group of codewords, in figures.
struct Group {
    used: usize,
    /// The share of words that use the most used codeword.
    most: f64,
    /// So many equally used codewords would be as even: the exponential of the entropy.
    effective: f64,
}

impl Usage {
    fn fits(&self) -> bool {
        self.groups.checked_mul(self.codebook_size) == Some(self.counts.len())
            && !self.counts.is_empty()
    }

    fn group(&self, counts: &[u32]) -> Group {
        let (mut used, mut most, mut words, mut sum) = (0, 0, 0, 0.0);
        for &count in counts.iter().filter(|&&count| count > 0) {
            used += 1;
            most = most.max(count);
            words += u64::from(count);
            if count > 1 {
                sum += f64::from(count) * f64::from(count).ln();
            }
        }
        let words = (words as f64).max(1.0);
        let effective = if used == 0 { 0.0 } else { (words.ln() - sum / words).exp() };
        Group { used, most: f64::from(most) / words, effective }
    }

    /// The mean count of a piece of the map, as one of the [`HEAT`] classes.
    fn class(&self, groups: &Range<usize>, codewords: &Range<usize>, even: f64) -> usize {
        let rows = self.counts[groups.start * self.codebook_size..].chunks(self.codebook_size);
        let row = |row: &[u32]| row[codewords.clone()].iter().map(|&n| u64::from(n)).sum::<u64>();
        let words: u64 = rows.take(groups.len()).map(row).sum();
        if words == 0 {
            return 0;
        }
        let mean = words as f64 / (groups.len() * codewords.len()) as f64;
        CLASSES.iter().take_while(|(least, _)| mean >= least * even).count()
    }
}

/// Ranges of equal size, but for the last one, that cut `0..n` into at most `most`.
fn bins(n: usize, most: usize) -> Vec<Range<usize>> {
    let size = n.div_ceil(most).max(1);
    (0..n).step_by(size).map(|start| start..(start + size).min(n)).collect()
}

fn usages(report: &Report) -> String {
    let mut html = String::new();
    for model in &report.models {
        let Some(usage) = &model.usage else { continue };
        let name = &model.name;
        if usage.fits() {
            html += &usage_figure(name, usage);
        } else {
            let _ = writeln!(
                html,
                "<p>The counts of {} are not groups x codebook size, and left out.</p>",
                escape(name)
            );
        }
    }
    if html.is_empty() {
        return html;
    }
    let mut key = String::from("<p class=\"legend\">Words that use a codeword: ");
    let classes = std::iter::once("none").chain(CLASSES.iter().map(|(_, text)| *text));
    for (i, text) in classes.enumerate() {
        let _ = write!(
            key,
            "<span><i class=\"heat\" style=\"background:var(--h{i})\"></i>{}</span> ",
            escape(text)
        );
    }
    key += "</p>\n";
    section("Use of codewords", &format!("{key}<div class=\"pair\">\n{html}</div>\n"))
}

fn usage_figure(name: &str, usage: &Usage) -> String {
    let (groups, size) = (usage.groups, usage.codebook_size);
    let (rows, columns) = (bins(groups, MAP.0), bins(size, MAP.1));
    let all: u64 = usage.counts.iter().map(|&count| u64::from(count)).sum();
    let even = all as f64 / usage.counts.len() as f64;

    let height = (500 / rows.len()).clamp(8, 40) * rows.len();
    let (left, top, width) = (90, 50, WIDTH as usize - 90 - MARGIN as usize);
    let pixels = (WIDTH, (top + height + 60) as u32);
    let svg = picture(pixels, &format!("{name}: use of codewords by group"), |area| {
        let column = |j: usize| (left + j * width / columns.len()) as i32;
        let row = |g: usize| (top + g * height / rows.len()) as i32;
        for (g, groups) in rows.iter().enumerate() {
            // Neighbours of a class are one rectangle.
            let mut start = 0;
            let classes: Vec<_> =
                columns.iter().map(|codewords| usage.class(groups, codewords, even)).collect();
            for same in classes.chunk_by(|a, b| a == b) {
                let end = start + same.len();
                let corners = [(column(start), row(g)), (column(end), row(g + 1))];
                area.draw(&Rectangle::new(corners, rgb(HEAT[same[0]].0).filled()))?;
                start = end;
            }
        }
        let text = |text: &str, at: (i32, i32), h, v| {
            area.draw(&Text::new(text.to_string(), at, font(&TEXT).pos(Pos::new(h, v))))
        };
        let (bottom, right) = (row(rows.len()), column(columns.len()));
        text("group", (0, top as i32 - 12), HPos::Left, VPos::Bottom)?;
        text("1", (left as i32 - 12, row(0) + 12), HPos::Right, VPos::Center)?;
        if groups > 1 {
            let last = (left as i32 - 12, bottom - 12);
            text(&groups.to_string(), last, HPos::Right, VPos::Center)?;
        }
        text("1", (left as i32, bottom + 12), HPos::Left, VPos::Top)?;
        text("codeword", ((left as i32 + right) / 2, bottom + 12), HPos::Center, VPos::Top)?;
        text(&size.to_string(), (right, bottom + 12), HPos::Right, VPos::Top)
    });

    let figures: Vec<_> = usage.counts.chunks(size).map(|counts| usage.group(counts)).collect();
    let unused = usage.counts.len() - figures.iter().map(|group| group.used).sum::<usize>();
    let share = percent(unused as f64 / usage.counts.len() as f64);
    let sentence = format!(
        "{name}: {} of {} codewords ({share}) are used by no word; the more even a row, the more its \
         codes say.",
        thousands(unused),
        thousands(usage.counts.len())
    );
    let mut notes = Vec::new();
    if rows.len() < groups || columns.len() < size {
        notes.push(format!(
            "A field is the mean of {} x {} codewords.",
            rows[0].len(),
            columns[0].len()
        ));
    }
    let table_rows: Vec<_> = figures
        .iter()
        .enumerate()
        .map(|(g, group)| {
            vec![
                (g + 1).to_string(),
                thousands(group.used),
                format!("{:.1}", group.effective),
                percent(group.most),
            ]
        })
        .collect();
    let titles = ["group", "codewords used", "effective number", "words of the most used"];
    figure(&svg, &sentence, &notes, "", &table(&titles, 0, &table_rows))
}

// ---- Words ----

fn neighbours(report: &Report) -> String {
    let mut html = String::new();
    for model in report.models.iter().filter(|model| !model.neighbours.is_empty()) {
        let has_codes = model.neighbours.iter().any(|word| !word.by_code.is_empty());
        let mut rows = String::from(
            "<div class=\"scroll\" tabindex=\"0\">\n<table class=\"words\">\n<thead>\n<tr><th scope=\"col\">word</th>",
        );
        if has_codes {
            rows += "<th scope=\"col\">nearest by code</th>";
        }
        rows += "<th scope=\"col\">nearest by vector</th></tr>\n</thead>\n<tbody>\n";
        for word in &model.neighbours {
            let _ = write!(rows, "<tr><th scope=\"row\">{}</th>", bdi(&word.word));
            for list in has_codes.then_some(&word.by_code).into_iter().chain([&word.by_vector]) {
                let words: Vec<_> = list.iter().map(|word| bdi(word)).collect();
                let _ = write!(rows, "<td>{}</td>", words.join(" "));
            }
            rows += "</tr>\n";
        }
        rows += "</tbody>\n</table>\n</div>\n";
        html += &details(&model.name, has_codes || report.models.len() == 1, &rows);
    }
    if html.is_empty() {
        return html;
    }
    let sentence = "<p>Words whose codes differ least, and words whose vectors are nearest: where both \
                    lists agree, the codes hold the meaning.</p>\n";
    section("Neighbours of words", &format!("{sentence}{html}"))
}

/// A word of any script, whose direction leaves the words around it alone.
fn bdi(word: &str) -> String {
    format!("<bdi>{}</bdi>", escape(word))
}

/// Times, settings and machine.
fn facts(report: &Report) -> String {
    let mut html = String::new();
    let rows: Vec<Vec<String>> = report
        .models
        .iter()
        .filter(|model| !model.epochs.is_empty())
        .map(|model| {
            let count = model.epochs.len() as f64;
            let total: f64 = model.epochs.iter().map(|epoch| epoch.seconds).sum();
            let speed = model.epochs.iter().map(|epoch| epoch.tokens_per_second).sum::<f64>();
            let speed = Some(speed / count).filter(|speed| speed.is_finite());
            vec![
                model.name.clone(),
                model.epochs.len().to_string(),
                seconds(total / count),
                seconds(total),
                or_dash(speed, |speed| thousands(speed as usize)),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let titles = ["model", "epochs", "time of an epoch", "all epochs", "tokens per second"];
        html += &section("Times", &table(&titles, 1, &rows));
    }
    for (title, facts) in [("Settings", &report.settings), ("Machine", &report.machine)] {
        if !facts.is_empty() {
            let rows: Vec<_> =
                facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
            html += &section(title, &table(&["name", "value"], 2, &rows));
        }
    }
    format!("<div class=\"facts\">\n{html}</div>\n")
}

// ---- Pictures ----

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Units of a picture; a page shows it at half of that, more or less.
const WIDTH: u32 = 960;
const HEIGHT: u32 = 600;
const MARGIN: i32 = 24;
const FONT: i32 = 28;

/// A line has no more markers.
const MARKERS: usize = 25;

/// Most groups and codewords of a map of use; of more, means are shown.
const MAP: (usize, usize) = (50, 64);

const TEXT: RGBColor = RGBColor(0, 0, 0);
const MUTED: RGBColor = RGBColor(89, 99, 110);
const GRID: RGBColor = RGBColor(208, 215, 222);

type Hex = &'static str;

/// Colours that the colour-blind tell apart (Okabe and Ito), for light and dark, with dashes.
const SERIES: [(Hex, Hex, &str); 6] = [
    ("#0072B2", "#56B4E9", "none"),
    ("#D55E00", "#F0803C", "24 10"),
    ("#009E73", "#2CC295", "8 8"),
    ("#AA4499", "#E08FC4", "28 8 6 8"),
    ("#A6761D", "#E6B422", "16 6"),
    ("#555555", "#BBBBBB", "4 6"),
];

/// Of codewords that no word uses, then of the classes of use.
const HEAT: [(Hex, Hex); 7] = [
    ("#E69F00", "#E69F00"),
    ("#F1F6FB", "#18242F"),
    ("#CFE1F2", "#213F5C"),
    ("#9DC8E3", "#2F6191"),
    ("#5CA4D0", "#4F91C8"),
    ("#2373B4", "#8FC3EA"),
    ("#08407F", "#DCEEFC"),
];

/// From so many times the even use on.
const CLASSES: [(f64, &str); 6] = [
    (0.0, "below ¼ of even use"),
    (0.25, "¼ to ½"),
    (0.5, "½ to 1"),
    (1.0, "1 to 2"),
    (2.0, "2 to 4"),
    (4.0, "above 4 times"),
];

fn rgb(hex: Hex) -> RGBColor {
    let part = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

fn font(colour: &RGBColor) -> TextStyle<'static> {
    // The backend writes a font of size 1.24 as one of size 1.
    ("sans-serif", 1.24 * f64::from(FONT)).into_font().color(colour)
}

/// A line that is no curve.
fn rule(colour: &RGBColor) -> ShapeStyle {
    colour.stroke_width(2)
}

/// Draws a picture that has a title for those who do not see it.
fn picture(size: (u32, u32), title: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area).and_then(|()| area.present())
    };
    if let Err(error) = drawn {
        return format!("<p>The picture could not be drawn: {}</p>\n", escape(&error.to_string()));
    }
    // These are what an element has anyway.
    let svg = svg.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
    let title = format!("<svg role=\"img\" class=\"picture\" aria-label=\"{}\"", escape(title));
    svg.replacen("<svg", &title, 1)
}

/// The names that have a colour: this run's models, then others.
fn names(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let models = report.models.iter().map(|model| model.name.as_str());
    for name in models.chain(report.runs.iter().map(|run| run.embedding.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// How a model looks in all pictures.
struct Series {
    colour: RGBColor,
    shape: usize,
}

impl Series {
    fn of(name: &str, names: &[&str]) -> Series {
        let index = names.iter().position(|&other| other == name).unwrap_or(0);
        Series { colour: rgb(SERIES[index % SERIES.len()].0), shape: index % 5 }
    }

    /// Of curves alone: the style sheet knows them by this width, and dashes them.
    fn line(&self) -> ShapeStyle {
        self.colour.stroke_width(5)
    }

    fn mark(&self, area: &Area<'_>, (x, y): (i32, i32), r: i32, filled: bool) -> Drawn {
        let corners: &[(i32, i32)] = match self.shape {
            0 => {
                let circle = |style: ShapeStyle| Circle::new((x, y), r, style);
                if filled {
                    return area.draw(&circle(self.colour.filled()));
                }
                area.draw(&circle(WHITE.filled()))?;
                return area.draw(&circle(self.colour.stroke_width(4)));
            }
            1 => &[(-9, -9), (9, -9), (9, 9), (-9, 9)],
            2 => &[(0, -12), (11, 8), (-11, 8)],
            3 => &[(0, -13), (13, 0), (0, 13), (-13, 0)],
            _ => &[(0, 12), (11, -8), (-11, -8)],
        };
        let mut corners: Vec<_> =
            corners.iter().map(|(dx, dy)| (x + dx * r / 10, y + dy * r / 10)).collect();
        if filled {
            return area.draw(&Polygon::new(corners, self.colour.filled()));
        }
        area.draw(&Polygon::new(corners.clone(), WHITE.filled()))?;
        // The second side again, so that the last corner is as sharp as the others.
        corners.extend([corners[0], corners[1]]);
        area.draw(&PathElement::new(corners, self.colour.stroke_width(4)))
    }
}

fn legend<'a>(shown: impl Iterator<Item = &'a str>, names: &[&str]) -> String {
    let mut html = String::from("<p class=\"legend\">");
    let mut seen: Vec<&str> = Vec::new();
    for name in shown {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let series = Series::of(name, names);
        let svg = picture((120, 40), name, |area| {
            area.draw(&PathElement::new(vec![(4, 20), (116, 20)], series.line()))?;
            series.mark(area, (60, 20), 12, true)
        });
        // The name stands beside it.
        let svg = svg.replacen("role=\"img\" class=\"picture\"", "class=\"key\"", 1);
        let _ = write!(html, "<span>{}{}</span> ", svg.trim_end(), escape(name));
    }
    html + "</p>\n"
}

/// An axis; range and ticks are logarithms if it is logarithmic.
#[derive(Clone)]
struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
    logarithmic: bool,
    text: fn(f64) -> String,
}

impl Axis {
    fn linear(range: Range<f64>, most: usize, text: fn(f64) -> String) -> Axis {
        let ticks = even_ticks(&range, most);
        Axis { range, ticks, logarithmic: false, text }
    }

    /// Holds all positive values, or 1 to 10 if there are none.
    fn log(values: impl Iterator<Item = f64>, most: usize, text: fn(f64) -> String) -> Axis {
        let logs: Vec<f64> = values.map(f64::log10).filter(|log| log.is_finite()).collect();
        let low = logs.iter().copied().fold(f64::MAX, f64::min);
        let high = logs.iter().copied().fold(f64::MIN, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // At least 5% to either side.
        let margin = (0.06 * (high - low)).max(0.02);
        let range = low - margin..high + margin;
        let ticks = log_ticks(&range, most);
        Axis { range, ticks, logarithmic: true, text }
    }

    fn shows(&self, x: f64) -> bool {
        x.is_finite() && self.range.contains(&self.at(x))
    }

    fn at(&self, x: f64) -> f64 {
        if self.logarithmic { x.log10() } else { x }
    }

    fn value(&self, at: f64) -> f64 {
        if self.logarithmic { 10f64.powf(at) } else { at }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (self.at(*value) - self.range.start) / (self.range.end - self.range.start);
        // A tick may lie beyond all numbers.
        first + (share.clamp(-1.0, 2.0) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let ticks = if hint.weight().allow_light_points() { &[][..] } else { &self.ticks };
        ticks.iter().map(|&tick| self.value(tick)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.value(self.range.start)..self.value(self.range.end)
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.text)(*value)
    }
}

/// At most `most` round numbers at equal distances.
fn even_ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let length = range.end - range.start;
    let power = 10f64.powf((length / most as f64).log10().floor());
    for step in [1.0, 2.0, 5.0, 10.0, 20.0].map(|step| step * power) {
        let ticks = (range.start / step).ceil() as i64..=(range.end / step).floor() as i64;
        if (ticks.end() - ticks.start()) < most as i64 {
            // Divided where it can be, so that 0.3 is not 0.30000000000000004.
            let tick =
                |i: i64| if step < 1.0 { i as f64 / (1.0 / step).round() } else { i as f64 * step };
            return ticks.map(tick).collect();
        }
    }
    vec![]
}

/// At most `most` logarithms of round numbers.
fn log_ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let decades = range.start.floor() as i32..=range.end.ceil() as i32;
    for mantissas in [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0][..], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]] {
        let ticks: Vec<f64> = decades
            .clone()
            .flat_map(|decade| mantissas.iter().map(move |m| f64::log10(*m) + f64::from(decade)))
            .filter(|tick| range.contains(tick))
            .collect();
        if (4..=most).contains(&ticks.len()) {
            return ticks;
        }
    }
    if range.end - range.start > 1.5 {
        return even_ticks(range, most).into_iter().filter(|tick| tick.fract() == 0.0).collect();
    }
    let linear = 10f64.powf(range.start)..10f64.powf(range.end);
    even_ticks(&linear, most).into_iter().map(f64::log10).collect()
}

/// Draws axes, and returns where a pair of values belongs.
fn chart<'a>(
    area: &Area<'a>,
    x: &Axis,
    y: &Axis,
    x_title: &str,
    y_title: &str,
) -> Drawn<impl Fn(f64, f64) -> (i32, i32) + use<'a>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(2 * FONT)
        .margin_right(MARGIN)
        .x_label_area_size(3 * FONT)
        .y_label_area_size(100)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(rule(&GRID))
        .light_line_style(TRANSPARENT)
        .axis_style(rule(&MUTED))
        .label_style(font(&TEXT))
        .draw()?;
    let right = Pos::new(HPos::Right, VPos::Bottom);
    let at = (WIDTH as i32 - MARGIN, HEIGHT as i32 - 4);
    area.draw(&Text::new(x_title.to_string(), at, font(&TEXT).pos(right)))?;
    area.draw(&Text::new(y_title.to_string(), (4, 4), font(&TEXT)))?;
    Ok(move |a, b| chart.backend_coord(&(a, b)))
}

/// A text at one of some places around a point, or nowhere if none of them is free.
struct Label<'a> {
    text: String,
    at: (i32, i32),
    offsets: &'a [(i32, i32)],
    /// Whether the text ends at the point.
    end: bool,
}

/// Left, top, right, bottom.
type Frame = [i32; 4];

fn around((x, y): (i32, i32), width: i32, height: i32) -> Frame {
    [x - width, y - height, x + width, y + height]
}

impl Label<'_> {
    fn draw(&self, area: &Area<'_>, taken: &mut Vec<Frame>, colour: &RGBColor) -> Drawn {
        // Fonts differ; this is rather too wide.
        let width = self.text.chars().count() as i32 * FONT * 6 / 10;
        for &(dx, dy) in self.offsets {
            let (x, y) = (self.at.0 + dx, self.at.1 + dy);
            let (anchor, left) = match dx {
                _ if self.end => (HPos::Right, x - width),
                0 => (HPos::Center, x - width / 2),
                1.. => (HPos::Left, x),
                _ => (HPos::Right, x - width),
            };
            let frame = [left, y - FONT / 2, left + width, y + FONT / 2];
            let meets = |other: &Frame| {
                frame[0] < other[2]
                    && other[0] < frame[2]
                    && frame[1] < other[3]
                    && other[1] < frame[3]
            };
            let outside = frame[0] < 100 || frame[2] > WIDTH as i32 || frame[1] < 2 * FONT;
            if outside || taken.iter().any(meets) {
                continue;
            }
            taken.push(frame);
            let style = font(colour).pos(Pos::new(anchor, VPos::Center));
            return area.draw(&Text::new(self.text.clone(), (x, y), style));
        }
        Ok(())
    }
}

/// What a picture has room for, without what XML cannot hold.
fn shorten(text: &str) -> String {
    const MOST: usize = 20;
    let mut short: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    short
}

/// The part of the style sheet that knows colours.
fn colours() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    let mut rules = String::new();
    let mut add = |name: String, colours: (Hex, Hex)| {
        let _ = write!(light, "--{name}:{};", colours.0);
        let _ = write!(dark, "--{name}:{};", colours.1);
        let _ = writeln!(rules, "svg [fill=\"{}\"]{{fill:var(--{name})}}", colours.0);
        let _ = writeln!(rules, "svg [stroke=\"{}\"]{{stroke:var(--{name})}}", colours.0);
    };
    add("bg".into(), ("#FFFFFF", "#14171C"));
    add("fg".into(), ("#000000", "#E6E9EE"));
    add("muted".into(), ("#59636E", "#A0A8B4"));
    add("grid".into(), ("#D0D7DE", "#39414C"));
    for (i, &(light, dark, _)) in SERIES.iter().enumerate() {
        add(format!("s{i}"), (light, dark));
    }
    for (i, &colours) in HEAT.iter().enumerate() {
        add(format!("h{i}"), colours);
    }
    for (light, _, dashes) in SERIES {
        let _ = writeln!(
            rules,
            "svg polyline[stroke=\"{light}\"][stroke-width=\"5\"]{{stroke-dasharray:{dashes}}}"
        );
    }
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}"
    )
}

const STYLE: &str = "\
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:0 0 .5rem}
section{margin:2.2rem 0}
p{margin:.4rem 0;max-width:75ch}
figure{margin:0;min-width:0}
figcaption{overflow-wrap:anywhere}
figcaption p+p,figcaption p+p~p{color:var(--muted);font-size:.9rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:1.5rem 2rem}
.pair>figure{max-width:720px;display:flex;flex-direction:column}
.pair>figure>figcaption{flex:1 0 auto}
.wide{max-width:720px}
.picture{display:block;width:100%;height:auto;margin:.5rem 0}
.picture text,.key text{font-family:inherit}
.picture rect{shape-rendering:crispEdges}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;max-width:none}
.legend span{display:inline-flex;align-items:center;gap:.4rem;overflow-wrap:anywhere}
.key{width:60px;height:20px;flex:none}
.heat{width:1.1em;height:1.1em;border:1px solid var(--muted);print-color-adjust:exact;-webkit-print-color-adjust:exact}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
tbody th{font-weight:600}
.n{text-align:right;padding:.25rem 0 .25rem .8rem;white-space:nowrap}
thead .n{white-space:normal}
.words th:first-child{white-space:nowrap}
bdi{background:var(--grid);padding:0 .3em;border-radius:.25em}
details{margin:.5rem 0}
summary{cursor:pointer;color:var(--muted)}
.warnings{border-left:4px solid var(--h0);padding:.2rem 0 .2rem 1rem;margin:1.5rem 0;overflow-wrap:anywhere}
.warnings ul{margin:0;padding-left:1.2rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:0 2rem}
.facts section{min-width:0;margin:1rem 0}
.facts td{overflow-wrap:anywhere}
@media print{
body{font-size:10pt}
main{max-width:none;padding:0}
figure,tr,.warnings{break-inside:avoid}
h2{break-after:avoid}
.scroll{overflow:visible}
details::details-content{content-visibility:visible;block-size:auto}
}
";
