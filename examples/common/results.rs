//! What a run found: the table on the terminal, and the files in `--out`.

use super::Result;
use super::output::{METRICS, RESULT};
use super::progress::thousands;
use dpq::io::write_whole;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Steps since the start of training.
    pub step: usize,
    pub train_perplexity: f64,
    pub valid_perplexity: f64,
    pub learning_rate: f64,
    /// In training, validation left out.
    pub tokens_per_second: f64,
    #[serde(skip)]
    pub training_seconds: f64,
    /// Share of all D x K codewords that some word uses.
    pub codes_used: Option<f64>,
    /// Share of all codes that are others than an epoch ago.
    pub codes_changed: Option<f64>,
}

/// The line that the terminal gets of an epoch.
pub fn epoch_line(name: &str, epochs: usize, metrics: &Epoch) -> String {
    let mut line = format!(
        "{name:<6}  epoch {}/{epochs}  train ppl {:.2}  valid ppl {:.2}  {} tokens/s",
        metrics.epoch,
        metrics.train_perplexity,
        metrics.valid_perplexity,
        thousands(metrics.tokens_per_second as usize)
    );
    if let (Some(used), Some(changed)) = (metrics.codes_used, metrics.codes_changed) {
        line += &format!(
            "  codewords used {:.0}%, codes changed {:.0}%",
            100.0 * used,
            100.0 * changed
        );
    }
    line
}

/// One model of `result.json`.
#[derive(Serialize)]
pub struct Model {
    pub embedding: &'static str,
    pub seed: u64,
    pub epochs: usize,
    pub valid_perplexity: f64,
    pub test_perplexity: f64,
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

/// Perplexities on the validation and the test text of models that need no network.
pub struct Yardsticks {
    /// The model that the text was drawn from.
    pub floor: Option<[f64; 2]>,
    /// Counts of word pairs.
    pub bigram: [f64; 2],
    /// Counts of words.
    pub unigram: [f64; 2],
}

/// `result.json`; perplexities outside `models` are of the test text.
#[derive(Serialize)]
pub struct Run<'a> {
    pub models: &'a [Model],
    pub preset: &'a str,
    pub threads: usize,
    pub vocabulary: usize,
    pub floor_perplexity: Option<f64>,
    pub bigram_perplexity: f64,
    pub unigram_perplexity: f64,
}

/// Writes `result.json` into a folder.
///
/// # Errors
/// If the file cannot be written.
pub fn write_run(out: &Path, run: &Run<'_>) -> Result<()> {
    let mut json = serde_json::to_string_pretty(run)?;
    json.push('\n');
    Ok(write_whole(&out.join(RESULT), json.as_bytes())?)
}

/// Writes `metrics.jsonl` into a model's folder.
///
/// # Errors
/// If the file cannot be written.
pub fn write_epochs(folder: &Path, epochs: &[Epoch]) -> Result<()> {
    let mut lines = String::new();
    for epoch in epochs {
        lines += &serde_json::to_string(epoch)?;
        lines.push('\n');
    }
    Ok(write_whole(&folder.join(METRICS), lines.as_bytes())?)
}

/// The table that the terminal gets.
pub fn table(models: &[Model], yardsticks: &Yardsticks) -> String {
    let titles = [
        "embedding",
        "valid ppl",
        "test ppl",
        "ratio",
        "bytes before",
        "after",
        "tokens/s",
        "peak memory",
    ];
    let mut rows = vec![titles.map(String::from)];
    rows.extend(models.iter().map(|model| {
        [
            model.embedding.into(),
            format!("{:.2}", model.valid_perplexity),
            format!("{:.2}", model.test_perplexity),
            format!("{:.1}", model.compression_ratio),
            thousands(model.table_bytes_full),
            thousands(model.table_bytes),
            thousands(model.tokens_per_second as usize),
            model
                .peak_rss_bytes
                .map_or("-".into(), |bytes| format!("{} MiB", thousands(bytes >> 20))),
        ]
    }));
    let known = [
        ("unigram counts", Some(yardsticks.unigram)),
        ("bigram counts", Some(yardsticks.bigram)),
        ("true model", yardsticks.floor),
    ];
    for (name, perplexities) in known {
        if let Some([valid, test]) = perplexities {
            let mut row = [const { String::new() }; 8];
            row[..3].clone_from_slice(&[name.into(), format!("{valid:.2}"), format!("{test:.2}")]);
            rows.push(row);
        }
    }
    let widths: Vec<usize> =
        (0..titles.len()).map(|c| rows.iter().map(|row| row[c].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &format!("  {cell:>width$}");
        }
        text += line.trim_end();
        text.push('\n');
        // A rule below the titles, and one between models and yardsticks.
        if i == 0 || i == models.len() {
            text += &"-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
            text.push('\n');
        }
    }
    text
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
