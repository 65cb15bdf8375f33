//! `dpq compress`

use crate::Fault;
use crate::figures::{figures, print};
use crate::input::{Input, Reading, misfit};
use crate::progress::bar;
use crate::report;
use crate::table::Table;
use crate::weights;
use crate::work::Work;
use clap::{ArgGroup, Args, ValueEnum};
use dpq::io::{check_writable, write_whole};
use dpq::{Error, parallel};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Makes a finished table small
///
/// Without a size the result is 20 times smaller than the table in 32 bits.
#[derive(Args)]
#[command(
    after_help = "Examples:
  dpq compress glove.6B.50d.txt glove.dpq
  dpq compress vectors.npy small.dpq --words words.txt --ratio 30 --report report.html
  dpq compress model.safetensors small.dpq --tensor embedding.weight --bytes 1000000
  dpq compress vectors.npy small.dpq --method pq --groups 50 --codebook-size 256",
    group = ArgGroup::new("size").args(["ratio", "bytes", "groups", "bits", "rank"])
)]
pub struct Compress {
    /// The finished table: .npy, safetensors, word2vec's or GloVe's files
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// How
    #[arg(long, value_enum, default_value = "dpq")]
    method: Method,
    /// How many times smaller than in 32 bits, words aside
    #[arg(long, value_name = "R")]
    pub ratio: Option<f64>,
    /// The most bytes of the whole file
    #[arg(long, value_name = "N")]
    pub bytes: Option<usize>,
    /// Codes of a row
    #[arg(long, value_name = "D", requires = "codebook_size")]
    pub groups: Option<usize>,
    /// Codewords that a code chooses from
    #[arg(long, value_name = "K", requires = "groups")]
    pub codebook_size: Option<usize>,
    /// Parts of a row, of D/P codes each; the best by trial if it is not given
    #[arg(long, value_name = "P", requires = "groups")]
    pub parts: Option<usize>,
    /// Bits of an element, for --method scalar: 8, 4 or 2
    #[arg(long, value_name = "BITS")]
    pub bits: Option<u32>,
    /// Numbers of a row, for --method low-rank
    #[arg(long, value_name = "R")]
    pub rank: Option<usize>,
    /// A weight a line, as the frequencies of words: heavy rows are kept better. Or a word and its weight a
    /// line; words that are missing weigh as little as the lightest that is there
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Give codes to N rows only, the heaviest or else the first; each of the others shares those of the
    /// nearest of them
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// Train on so many rows at most; by default on as many as have 33 million numbers
    #[arg(long, value_name = "ROWS")]
    pub sample: Option<usize>,
    /// Starts of k-means, of which the best is kept
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub restarts: usize,
    /// Store codewords in 32 bits and not in 8
    #[arg(long)]
    pub precise: bool,
    /// Threads to work with; as many as there are processors by default. The result does not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Decides the starts and the rows that are trained on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Try and train for about so many minutes, half of them for trials; the result then depends on how
    /// fast the machine is
    #[arg(long, value_name = "MINUTES")]
    time: Option<f64>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Write a page with what was tried, and how codewords are used
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Method {
    /// Codes of additive groups, trained together with their codewords: the best
    Dpq,
    /// The same without training
    Additive,
    /// Product quantisation by k-means: one code to a part of the columns
    Pq,
    /// 8, 4 or 2 bits an element
    Scalar,
    /// A product of two thin tables
    LowRank,
}

/// Runs some work with a number of threads.
///
/// # Errors
/// If it is 0, and those of the work.
pub fn with_threads(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<(), Fault> + Send,
) -> Result<(), Fault> {
    match threads {
        None => work(),
        Some(0) => Err(refuse("threads", 0, "at least 1")),
        Some(threads) => parallel::with_threads(threads, work),
    }
}

impl Compress {
    pub fn run(&self) -> Result<(), Fault> {
        with_threads(self.threads, || self.compress())
    }

    fn compress(&self) -> Result<(), Fault> {
        self.check()?;
        let deadline =
            self.time.map(|minutes| Instant::now() + Duration::from_secs_f64(60.0 * minutes));
        let bar = bar("reading", 0, self.quiet);
        let input = Input::open(&self.input, &self.reading)?;
        bar.finish_and_clear();
        let weights = match &self.weights {
            Some(path) => Some(weights::read(path, input.rows, input.words.as_ref())?),
            None => None,
        };
        let weights = weights.as_deref();
        let mut work = Work { settings: self, input: &input, weights, deadline, tried: Vec::new() };
        let named = |kind| -> Result<(Table, Vec<u8>), Fault> {
            let table = Table { kind, names: input.words.clone() };
            let bytes = table.to_bytes()?;
            Ok((table, bytes))
        };
        let (table, bytes) = named(work.by(self.method)?)?;
        let file = bytes.len();
        write_whole(&self.output, &bytes)?;
        let Some(path) = &self.report else {
            let rows = figures(&input, &[(&table, file)], &[8, 4], self.quiet)?;
            return print(&table, file, &rows, self.json);
        };
        // The page has what other methods make of as many bytes, too, where they can.
        let tried = std::mem::take(&mut work.tried);
        work.deadline = None;
        let mut others = Vec::new();
        for method in [Method::Pq, Method::LowRank] {
            if method == self.method || !self.has_free_size() {
                continue;
            }
            match work.by(method) {
                Ok(kind) => {
                    let (table, bytes) = named(kind)?;
                    others.push((table, bytes.len()));
                }
                Err(fault) if is_setting(&*fault) => {}
                Err(fault) => return Err(fault),
            }
        }
        let all =
            [(&table, file)].into_iter().chain(others.iter().map(|(table, file)| (table, *file)));
        let mut rows = figures(&input, &all.collect::<Vec<_>>(), &[8, 4, 2], self.quiet)?;
        let page = report::page(&self.input, &table, file, &rows, &tried)?;
        write_whole(path, page.as_bytes())?;
        rows.drain(1..=others.len());
        print(&table, file, &rows[..3], self.json)
    }

    /// Whether it is bytes that are given, which any method can have.
    fn has_free_size(&self) -> bool {
        self.groups.is_none() && self.bits.is_none() && self.rank.is_none()
    }

    /// Refuses what cannot be, before any work.
    fn check(&self) -> Result<(), Fault> {
        check_writable(&self.output)?;
        if let Some(report) = &self.report {
            check_writable(report)?;
        }
        let same = |a: &Path, b: &Path| {
            a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
        };
        let read = [Some(&self.input), self.reading.words.as_ref(), self.weights.as_ref()];
        for written in [Some(&self.output), self.report.as_ref()].into_iter().flatten() {
            if read.iter().flatten().any(|read| same(written, read)) {
                let expected = "another file to write";
                return Err(misfit(written, "a file that is read", expected).into());
            }
        }
        if self.report.as_ref().is_some_and(|report| same(report, &self.output)) {
            return Err(misfit(&self.output, "the report", "another file for it").into());
        }
        if let Some(ratio) = self.ratio.filter(|ratio| !(*ratio > 1.0 && ratio.is_finite())) {
            return Err(refuse("ratio", ratio, "more than 1"));
        }
        if self.sample == Some(0) {
            return Err(refuse("sample", 0, "at least 1"));
        }
        if let Some(minutes) = self.time.filter(|minutes| !(0.0..=1e6).contains(minutes)) {
            return Err(refuse("time", minutes, "0 to 1000000 minutes"));
        }
        let codes = matches!(self.method, Method::Dpq | Method::Additive | Method::Pq);
        let additive = codes && self.method != Method::Pq;
        for (name, given, own) in [
            ("groups", self.groups.is_some(), codes),
            ("parts", self.parts.is_some(), additive),
            ("bits", self.bits.is_some(), self.method == Method::Scalar),
            ("rank", self.rank.is_some(), self.method == Method::LowRank),
            ("weights", self.weights.is_some(), self.method != Method::Scalar),
            ("keep", self.keep.is_some(), codes),
            ("sample", self.sample.is_some(), codes),
            ("restarts", self.restarts != 1, codes),
            ("precise", self.precise, codes),
            ("time", self.time.is_some(), self.method == Method::Dpq),
        ] {
            if given && !own {
                let method = self.method.to_possible_value().expect("a method of the command line");
                return Err(refuse("method", method.get_name(), &format!("one that has --{name}")));
            }
        }
        Ok(())
    }
}

/// Whether a fault is that of a setting, as a size that a method cannot have.
fn is_setting(fault: &(dyn std::error::Error + 'static)) -> bool {
    matches!(fault.downcast_ref::<Error>(), Some(Error::Config { .. }))
}

/// The error of a setting.
pub fn refuse(name: &'static str, value: impl ToString, expected: &str) -> Fault {
    Error::Config { name, value: value.to_string(), expected: expected.into() }.into()
}
