//! What a report needs to know of files and tables.

use super::{KnownRun, THIS_RUN, Usage};
use dpq::{CodeTable, Tensor};
use serde_json::Value;
use std::fs;
use std::path::Path;

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
        let sum: f32 = sums.iter().sum();
        // Nothing is farther than what is no number.
        if sum.is_nan() { f32::INFINITY } else { sum }
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
