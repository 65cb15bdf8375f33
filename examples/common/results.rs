//! What a run found: the table on the terminal, and the files in `--out`.

use super::Result;
use super::output::{METRICS, RESULT};
use super::progress::thousands;
use super::report::Measure;
use super::watched::{CODES_CHANGED, CODES_USED};
use dpq::io::write_whole;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// An epoch, as `metrics.jsonl` has it.
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Steps since the start of training.
    pub step: usize,
    /// What [training reports](Measure::of_training).
    pub train: f64,
    /// The measure on the validation data.
    pub valid: f64,
    pub learning_rate: f64,
    /// In training, validation left out.
    pub tokens_per_second: f64,
    pub training_seconds: f64,
    /// Share of all D x K codewords that some word uses.
    pub codes_used: Option<f64>,
    /// Share of all codes that are others than an epoch ago.
    pub codes_changed: Option<f64>,
}

impl Epoch {
    /// Of the library's; `tokens` of a step, of which an epoch has `steps`.
    pub fn of(measure: Measure, epoch: &dpq::train::Epoch, steps: usize, tokens: f64) -> Epoch {
        let (_, figure) = epoch.figures.first().expect("a task that validates");
        Epoch {
            epoch: epoch.epoch,
            step: epoch.epoch * steps,
            train: measure.of_training().of(epoch.train),
            // From figure to value, as from value to figure.
            valid: measure.figure(*figure),
            learning_rate: epoch.learning_rate,
            tokens_per_second: steps as f64 * tokens / epoch.seconds,
            training_seconds: epoch.seconds,
            codes_used: epoch.figure(CODES_USED),
            codes_changed: epoch.figure(CODES_CHANGED),
        }
    }

    /// The line that the terminal gets.
    pub fn line(&self, measure: Measure, name: &str, epochs: usize) -> String {
        let training = measure.of_training();
        let mut line = format!(
            "{name:<6}  epoch {}/{epochs}  train {} {}  valid {} {}  {} tokens/s",
            self.epoch,
            training.short(),
            training.text(self.train),
            measure.short(),
            measure.text(self.valid),
            thousands(self.tokens_per_second as usize)
        );
        if let (Some(used), Some(changed)) = (self.codes_used, self.codes_changed) {
            let [used, changed] = [used, changed].map(|share| 100.0 * share);
            line += &format!("  codewords used {used:.0}%, codes changed {changed:.0}%");
        }
        line
    }

    fn json(&self, measure: Measure) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.into(), value);
        put("epoch", json!(self.epoch));
        put("step", json!(self.step));
        put(&format!("train_{}", measure.of_training().name()), json!(self.train));
        put(&format!("valid_{}", measure.key()), json!(self.valid));
        put("learning_rate", json!(self.learning_rate));
        put("tokens_per_second", json!(self.tokens_per_second));
        put("codes_used", json!(self.codes_used));
        put("codes_changed", json!(self.codes_changed));
        object.into()
    }
}

/// One model of `result.json`.
pub struct Model {
    pub embedding: &'static str,
    pub seed: u64,
    pub epochs: usize,
    pub valid: f64,
    pub test: f64,
    pub compression_ratio: f64,
    pub table_bytes_full: usize,
    pub table_bytes: usize,
    /// In training, over all epochs.
    pub tokens_per_second: f64,
    /// For everything: training, validation, export, test.
    pub seconds: f64,
    /// The largest resident size of the process meanwhile; what the allocator still holds from the
    /// model before counts.
    pub peak_rss_bytes: Option<usize>,
}

impl Model {
    fn json(&self, measure: Measure) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.into(), value);
        put("embedding", json!(self.embedding));
        put("seed", json!(self.seed));
        put("epochs", json!(self.epochs));
        put(&format!("valid_{}", measure.key()), json!(self.valid));
        put(&format!("test_{}", measure.key()), json!(self.test));
        put("compression_ratio", json!(self.compression_ratio));
        put("table_bytes_full", json!(self.table_bytes_full));
        put("table_bytes", json!(self.table_bytes));
        put("tokens_per_second", json!(self.tokens_per_second));
        put("seconds", json!(self.seconds));
        put("peak_rss_bytes", json!(self.peak_rss_bytes));
        object.into()
    }
}

/// The figures on the validation and the test data of a model that needs no network.
#[derive(Clone, Debug)]
pub struct Yardstick {
    pub name: &'static str,
    pub valid: f64,
    pub test: f64,
}

/// A whole run.
pub struct Run<'a> {
    pub measure: Measure,
    pub models: &'a [Model],
    pub yardsticks: &'a [Yardstick],
    /// Other facts, such as the size of the vocabulary.
    pub facts: &'a [(&'static str, Value)],
}

impl Run<'_> {
    /// Writes `result.json` into a folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        let mut object = Map::new();
        let models = self.models.iter().map(|model| model.json(self.measure));
        object.insert("models".into(), models.collect());
        for (name, value) in self.facts {
            object.insert((*name).into(), value.clone());
        }
        for Yardstick { name, test, .. } in self.yardsticks {
            let name = format!("{}_{}", name.replace(' ', "_"), self.measure.key());
            object.insert(name, json!(test));
        }
        let mut json = serde_json::to_string_pretty(&Value::Object(object))?;
        json.push('\n');
        Ok(write_whole(&out.join(RESULT), json.as_bytes())?)
    }

    /// The table that the terminal gets.
    pub fn table(&self) -> String {
        let measure = self.measure;
        let [valid, test] = ["valid", "test"].map(|part| format!("{part} {}", measure.short()));
        let titles = ["embedding", &valid, &test, "ratio", "bytes before", "after", "tokens/s"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows[0].push("peak memory".into());
        rows.extend(self.models.iter().map(|model| {
            let memory = |bytes: usize| format!("{} MiB", thousands(bytes >> 20));
            vec![
                model.embedding.into(),
                measure.text(model.valid),
                measure.text(model.test),
                format!("{:.1}", model.compression_ratio),
                thousands(model.table_bytes_full),
                thousands(model.table_bytes),
                thousands(model.tokens_per_second as usize),
                model.peak_rss_bytes.map_or("-".into(), memory),
            ]
        }));
        rows.extend(self.yardsticks.iter().map(|&Yardstick { name, valid, test }| {
            vec![name.into(), measure.text(valid), measure.text(test)]
        }));
        // A rule below the titles, and one between models and yardsticks.
        let rules = [0, if self.yardsticks.is_empty() { 0 } else { self.models.len() }];
        aligned(&rows, &rules)
    }
}

/// Rows of cells, the first column to the left and the others to the right, with rules below some rows.
fn aligned(rows: &[Vec<String>], rules: &[usize]) -> String {
    let cell = |row: &Vec<String>, c: usize| row.get(c).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|c| rows.iter().map(|row| cell(row, c)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &format!("  {cell:>width$}");
        }
        text += line.trim_end();
        text.push('\n');
        if rules.contains(&i) {
            text += &"-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
            text.push('\n');
        }
    }
    text
}

/// Writes `metrics.jsonl` into a model's folder.
///
/// # Errors
/// If the file cannot be written.
pub fn write_epochs(folder: &Path, measure: Measure, epochs: &[Epoch]) -> Result<()> {
    let lines: String = epochs.iter().map(|epoch| epoch.json(measure).to_string() + "\n").collect();
    Ok(write_whole(&folder.join(METRICS), lines.as_bytes())?)
}

/// Starts a new measurement of [`peak_memory`], where the system allows it.
pub fn reset_peak_memory() {
    // Where it is refused the peak is that of the process so far.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident size of the process in bytes, where the system tells it (Linux).
pub fn peak_memory() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
