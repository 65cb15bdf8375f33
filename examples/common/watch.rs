//! The report of a run while it goes on: written anew after every epoch.

use super::Result;
use super::report::{EpochReport, ModelReport, Neighbours, REPORT, Report, html, known_runs};
use super::results::Epoch;
use dpq::io::write_whole;
use dpq::pq::{SilentCodebooks, Usage, nearest_rows};
use dpq::{CodeTable, Tensor, parallel};
use std::fs;
use std::path::{Path, PathBuf};

/// How many words are shown with their neighbours, and how many neighbours each.
const WORDS: usize = 20;
const NEIGHBOURS: usize = 5;

/// A group that uses a smaller share of its codewords than this is warned of.
const FEW: f64 = 0.25;

/// A report that is filled in as models are trained.
pub struct Watch {
    report: Report,
    out: PathBuf,
    words: Vec<String>,
}

impl Watch {
    /// For a run into `out`, whose embeddings are of these words. Of the report it needs what is known
    /// before any model is trained.
    pub fn new(out: &Path, words: &[String], report: Report) -> Watch {
        let report = Report { machine: machine(), ..report };
        Watch { report, out: out.to_path_buf(), words: words.to_vec() }
    }

    /// A model begins, whose table has so many bytes, and as a full one so many.
    pub fn begin(&mut self, name: &str, table_bytes: usize, full_bytes: usize) {
        let name = name.into();
        self.report.models.push(ModelReport {
            name,
            table_bytes,
            full_bytes,
            ..Default::default()
        });
    }

    /// What the model has come to: its epochs, the rows of all words, their codes if there are any, and
    /// the codebooks that the last epoch did not train. The file is written.
    ///
    /// # Errors
    /// If it cannot be, or a number of the rows is not finite.
    pub fn update(
        &mut self,
        epochs: &[Epoch],
        rows: &Tensor<f32>,
        codes: Option<&CodeTable>,
        silent: &[SilentCodebooks],
    ) -> Result<()> {
        let word = |id: u32| self.words[id as usize].clone();
        let mut neighbours = Vec::new();
        for id in shown(self.words.len()) {
            let by_code = match codes {
                Some(codes) => codes.nearest(id, NEIGHBOURS)?,
                None => Vec::new(),
            };
            let by_vector = nearest_rows(rows, id, NEIGHBOURS)?;
            neighbours.push(Neighbours {
                word: word(id),
                by_code: by_code.into_iter().map(|(id, _)| word(id)).collect(),
                by_vector: by_vector.into_iter().map(|(id, _)| word(id)).collect(),
            });
        }
        let model = self.report.models.last_mut().expect("a model that began");
        model.neighbours = neighbours;
        model.epochs = epochs.iter().map(epoch).collect();
        model.usage = codes.map(Usage::of);
        model.warnings = silent.iter().map(SilentCodebooks::to_string).collect();
        model.warnings.extend(model.usage.iter().flat_map(warnings));
        self.write()
    }

    /// The model is done, with further sections; the file is written.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn finish(&mut self, test: f64, sections: Vec<(String, String)>) -> Result<()> {
        let model = self.report.models.last_mut().expect("a model that began");
        model.sections = sections;
        (model.test, model.finished) = (Some(test), true);
        self.write()
    }

    /// Writes the report again, with what the folder knows by now.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self) -> Result<()> {
        (self.report.runs, self.report.warnings) = known_runs(&self.out, self.report.measure);
        Ok(write_whole(&self.out.join(REPORT), html(&self.report).as_bytes())?)
    }
}

/// Ids of words from frequent to rare, each once.
fn shown(vocabulary: usize) -> Vec<u32> {
    let id = |i: usize| (vocabulary * (i + 1) * (i + 1) / (2 * WORDS * WORDS)) as u32;
    let mut ids: Vec<u32> = (0..WORDS).map(id).collect();
    ids.dedup();
    ids
}

fn epoch(epoch: &Epoch) -> EpochReport {
    EpochReport {
        epoch: epoch.epoch,
        train: epoch.train,
        valid: epoch.valid,
        codes_changed: epoch.codes_changed,
        seconds: epoch.training_seconds,
        tokens_per_second: epoch.tokens_per_second,
    }
}

/// Groups that use few of their codewords.
fn warnings(usage: &Usage) -> Vec<String> {
    let size = usage.codebook_size();
    let few = usage.of_groups().enumerate().filter(|(_, of)| (of.used as f64) < FEW * size as f64);
    few.map(|(group, of)| format!("group {}: {} of {size} codewords are used", group + 1, of.used))
        .collect()
}

/// What the system tells of the machine.
fn machine() -> Vec<(String, String)> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let flags = field("flags").unwrap_or_default();
    let has = |name: &str| flags.split(' ').any(|flag| flag == name);
    let vectors = ["avx512f", "avx2"].into_iter().find(|name| has(name));
    let known = [
        ("system", Some(format!("{}, {}", std::env::consts::OS, std::env::consts::ARCH))),
        ("processor", field("model name")),
        ("vectors", vectors.map(String::from)),
        ("threads", Some(parallel::threads().to_string())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
}
