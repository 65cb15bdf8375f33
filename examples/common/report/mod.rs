//! `report.html`: a run in pictures and tables, in one file that needs nothing else.
//!
//! [`html`] makes it of plain data, [`Report`]. Pictures are drawn in the colours of the light scheme;
//! the style sheet changes them in the dark one by what they are drawn with.

pub mod text;
mod style;
mod axis;
mod measure;
mod gather;
mod picture;
mod curves;
mod quality;
mod codewords;

pub use gather::known_runs;
pub use measure::{Measure, Training};

use dpq::pq::Usage;
use std::fmt::Write;
use text::{details, escape, or_dash, seconds, section, table, thousands};

/// The report, in `--out`.
pub const REPORT: &str = "report.html";

/// The label of this run among the known ones.
pub const THIS_RUN: &str = "this run";

/// All that a report shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub title: String,
    pub measure: Measure,
    /// Names and values, in the order in which they are shown.
    pub settings: Vec<(String, String)>,
    pub machine: Vec<(String, String)>,
    pub models: Vec<ModelReport>,
    /// The figures on the test data of models that need no network.
    pub yardsticks: Vec<(String, f64)>,
    /// What the data are known by: runs on others are left out.
    pub data: Option<String>,
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
    /// On the test data.
    pub test: Option<f64>,
    /// Bytes of its table of embeddings, compressed if it is.
    pub table_bytes: usize,
    /// What a full table has.
    pub full_bytes: usize,
    /// How its words use the codewords.
    pub usage: Option<Usage>,
    pub neighbours: Vec<Neighbours>,
    /// What else a program shows of it: titles, and what stands below them.
    pub sections: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// An epoch of a model.
#[derive(Clone, Debug, Default)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    pub train: f64,
    pub valid: f64,
    /// Share of all codes that are others than an epoch ago.
    pub codes_changed: Option<f64>,
    pub seconds: f64,
    pub tokens_per_second: f64,
}

/// The words that are nearest to one, the nearest first.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    pub word: String,
    /// By the number of codes that differ.
    pub by_code: Vec<String>,
    /// By the angle between their vectors.
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
    /// What its data are known by.
    pub data: Option<String>,
}

/// The whole page. The same report gives the same bytes.
pub fn html(report: &Report) -> String {
    let title = escape(&report.title);
    let names = names(report);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n",
        style::colours(),
        style::STYLE
    );
    page += &overview(report);
    page += &curves::curves(report, &names);
    page += &quality::quality(report, &names);
    page += &curves::changes(report, &names);
    page += &codewords::usages(report);
    page += &sections(report);
    page += &neighbours(report);
    page += &facts(report);
    page += "</main>\n</body>\n</html>\n";
    page
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
    let measure = report.measure;
    let text = |x| measure.text(x);
    let of_training = |last: &EpochReport| measure.of_training().text(last.train);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for model in &report.models {
        let last = model.epochs.last();
        let state = match last {
            _ if model.finished => "finished".into(),
            Some(last) => format!("epoch {}", last.epoch),
            None => "no epoch".into(),
        };
        let ratio = model.full_bytes as f64 / model.table_bytes.max(1) as f64;
        rows.push(vec![
            model.name.clone(),
            or_dash(model.test, text),
            or_dash(last, |last| text(last.valid)),
            or_dash(last, of_training),
            thousands(model.table_bytes),
            format!("{ratio:.1}"),
            state,
        ]);
    }
    for (name, test) in &report.yardsticks {
        let mut row = vec![name.clone(), text(*test)];
        row.extend(["–", "–", "–", "–", "yardstick"].map(String::from));
        rows.push(row);
    }
    if !rows.is_empty() {
        let titles = [
            "model",
            &format!("test {}", measure.name()),
            &format!("valid {}", measure.name()),
            &format!("train {}", measure.of_training().name()),
            "bytes of the table",
            "times smaller",
            "state",
        ];
        html += &table(&titles, 1..6, &rows);
    }
    html + &warnings(report)
}

/// The programs' own sections, each with all models.
fn sections(report: &Report) -> String {
    let models = || report.models.iter();
    let mut titles: Vec<&str> = Vec::new();
    for (title, _) in models().flat_map(|model| &model.sections) {
        if !titles.contains(&title.as_str()) {
            titles.push(title);
        }
    }
    let of_title = |&title: &&str| {
        let mut html = String::new();
        for model in models() {
            for (_, part) in model.sections.iter().filter(|(own, _)| own == title) {
                html += &details(&model.name, html.is_empty(), part);
            }
        }
        section(title, &html)
    };
    titles.iter().map(of_title).collect()
}

fn neighbours(report: &Report) -> String {
    let (mut html, mut any_open) = (String::new(), false);
    for model in report.models.iter().filter(|model| !model.neighbours.is_empty()) {
        let has_codes = model.neighbours.iter().any(|word| !word.by_code.is_empty());
        let mut rows = String::from(
            "<div class=\"scroll\" tabindex=\"0\">\n<table class=\"words\">\n<thead>\n<tr>\
             <th scope=\"col\">word</th>",
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
        // The first that shows both.
        let open = (has_codes || report.models.len() == 1) && !any_open;
        any_open |= open;
        html += &details(&model.name, open, &rows);
    }
    if html.is_empty() {
        return html;
    }
    let sentence = "<p>Words whose codes differ least, and words whose vectors differ least in \
                    direction: where both lists agree, the codes hold the meaning.</p>\n";
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
        html += &section("Times", &table(&titles, 1..5, &rows));
    }
    let mut lists = String::new();
    for (title, facts) in [("Settings", &report.settings), ("Machine", &report.machine)] {
        if !facts.is_empty() {
            let rows: Vec<_> =
                facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
            lists += &section(title, &table(&["name", "value"], 0..0, &rows));
        }
    }
    html + &format!("<div class=\"facts\">\n{lists}</div>\n")
}
