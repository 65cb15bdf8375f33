//! `dpq compress`

use crate::Fault;
use crate::input::{Input, Reading, misfit};
use crate::inspect::bytes;
use crate::low_rank;
use crate::quality::{Quality, measure};
use crate::report::{self, Tried};
use crate::table::{Kind, Table};
use crate::weights;
use clap::{ArgGroup, Args, ValueEnum};
use dpq::embedding::ScalarTable;
use dpq::io::{check_writable, write_whole};
use dpq::pq::{Compression, KMeans, nearest_of};
use dpq::{CodeTable, CompactEmbedding, Error, Tensor, parallel, rng};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Numbers of the rows that are trained on, at most: 134 MB.
const SAMPLE: usize = 1 << 25;

/// Bytes of a header, at most.
const HEADER: usize = 800;

/// The most codes of a part.
const EACH: usize = 16;

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
    ratio: Option<f64>,
    /// The most bytes of the whole file
    #[arg(long, value_name = "N")]
    bytes: Option<usize>,
    /// Codes of a row
    #[arg(long, value_name = "D", requires = "codebook_size")]
    groups: Option<usize>,
    /// Codewords that a code chooses from
    #[arg(long, value_name = "K", requires = "groups")]
    codebook_size: Option<usize>,
    /// Parts of a row, of D/P codes each; the best by trial if it is not given
    #[arg(long, value_name = "P", requires = "groups")]
    parts: Option<usize>,
    /// Bits of an element, for --method scalar: 8, 4 or 2
    #[arg(long, value_name = "BITS")]
    bits: Option<u32>,
    /// Numbers of a row, for --method low-rank
    #[arg(long, value_name = "R")]
    rank: Option<usize>,
    /// A weight a line, as the frequencies of words: heavy rows are kept better. Or a word and its weight
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Give codes to N rows only, the heaviest or else the first; each of the others shares those of the
    /// nearest of them
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Train on so many rows at most; by default on as many as have 33 million numbers
    #[arg(long, value_name = "ROWS")]
    sample: Option<usize>,
    /// Starts of k-means, of which the best is kept
    #[arg(long, value_name = "N", default_value_t = 1)]
    restarts: usize,
    /// Store codewords in 32 bits and not in 8
    #[arg(long)]
    precise: bool,
    /// Threads to work with; as many as there are processors by default. The result does not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Decides the starts and the rows that are trained on
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Stop training after so many minutes; the result then depends on how fast the machine is
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
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Method {
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

/// A line of the figures.
pub struct Row {
    pub name: String,
    pub bytes: usize,
    pub ratio: f64,
    pub quality: Quality,
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
        let mut work = Work { settings: self, input, weights, deadline, tried: Vec::new() };
        let kind = match self.method {
            Method::Scalar => work.scalar()?,
            Method::LowRank => work.low_rank()?,
            Method::Pq | Method::Additive | Method::Dpq => Kind::Compact(work.codes()?.into()),
        };
        let Work { input, tried, .. } = work;
        let table = Table { kind, names: input.words.clone() };
        let file = table.to_bytes()?;
        write_whole(&self.output, &file)?;
        let rows = self.figures(&input, &table, file.len())?;
        if let Some(path) = &self.report {
            let page = report::page(&self.input, &table, file.len(), &rows, &tried)?;
            write_whole(path, page.as_bytes())?;
        }
        print(&table, file.len(), &rows, self.json)
    }

    /// Refuses what cannot be, before any work.
    fn check(&self) -> Result<(), Fault> {
        check_writable(&self.output)?;
        if let Some(report) = &self.report {
            check_writable(report)?;
        }
        let same = |a: &PathBuf, b: &PathBuf| {
            a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
        };
        if same(&self.input, &self.output) {
            return Err(
                misfit(&self.output, "the table that is read", "another file to write").into()
            );
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
        for (name, given, own) in [
            ("groups", self.groups.is_some(), codes),
            ("bits", self.bits.is_some(), self.method == Method::Scalar),
            ("rank", self.rank.is_some(), self.method == Method::LowRank),
            ("keep", self.keep.is_some(), codes),
        ] {
            if given && !own {
                let method = format!("{:?}", self.method).to_lowercase();
                return Err(refuse("method", method, &format!("one that has --{name}")));
            }
        }
        Ok(())
    }

    /// What the table keeps, beside 8 and 4 bits an element.
    fn figures(&self, input: &Input, table: &Table, file: usize) -> Result<Vec<Row>, Fault> {
        let bar = bar("measuring", input.rows, self.quiet);
        let ids =
            |first: usize, n: usize| (first..first + n).map(|id| id as u32).collect::<Vec<_>>();
        let own = |first: usize, rows: &Tensor<f32>| table.lookup(&ids(first, rows.shape()[0]));
        let scalar = |bits| {
            move |_: usize, rows: &Tensor<f32>| {
                let table = ScalarTable::quantize(rows, bits)?;
                Ok(table.lookup(&(0..rows.shape()[0] as u32).collect::<Vec<_>>())?)
            }
        };
        let (eight, four) = (scalar(8), scalar(4));
        let quality = measure(input, &[&own, &eight, &four], |rows| bar.set_position(rows as u64))?;
        bar.finish_and_clear();
        let full = 4 * input.rows * input.width;
        let scalar = |bits: usize| (format!("{bits} bits an element"), scalar_bytes(input, bits));
        let [eight, four] = [scalar(8), scalar(4)];
        let lines = [(table.settings(), file), eight, four];
        let lines = lines.into_iter().zip(quality).enumerate();
        let row = |(i, ((name, bytes), quality))| {
            let ratio = if i == 0 { table.ratio(file) } else { full as f64 / bytes as f64 };
            Row { name, bytes, ratio, quality }
        };
        Ok(lines.map(row).collect())
    }
}

/// Bytes of integers and scales.
fn scalar_bytes(input: &Input, bits: usize) -> usize {
    input.rows * ((input.width * bits).div_ceil(8) + 4)
}

/// A compression under way.
struct Work<'a> {
    settings: &'a Compress,
    input: Input,
    weights: Option<Vec<f64>>,
    deadline: Option<Instant>,
    tried: Vec<Tried>,
}

impl Work<'_> {
    /// The most bytes of numbers.
    fn budget(&self) -> Result<usize, Fault> {
        let Input { rows, width, words, .. } = &self.input;
        let (name, most, words) = match self.settings.bytes {
            Some(bytes) => ("bytes", bytes, words.as_ref().map_or(0, |names| names.text().len())),
            None => {
                let ratio = self.settings.ratio.unwrap_or(20.0);
                ("ratio", ((4 * rows * width) as f64 / ratio) as usize, 0)
            }
        };
        let shared = if self.settings.keep.is_some() { 4 * rows } else { 0 };
        let other = words + shared + HEADER;
        most.checked_sub(other).filter(|left| *left > 0).ok_or_else(|| {
            let expected = format!("a file of more than {other} bytes, as words and header take");
            refuse(
                name,
                self.settings.bytes.map_or(self.settings.ratio.unwrap_or(20.0), |n| n as f64),
                &expected,
            )
        })
    }

    /// Integers of as many bits as fit.
    fn scalar(&self) -> Result<Kind, Fault> {
        let bits = match self.settings.bits {
            Some(bits) => bits,
            None => {
                let budget = self.budget()?;
                let fits = |bits: &u32| scalar_bytes(&self.input, *bits as usize) <= budget;
                [8, 4, 2].into_iter().find(fits).ok_or_else(|| {
                    let least = scalar_bytes(&self.input, 2) + HEADER;
                    refuse("size", budget, &format!("at least {least} bytes for 2 bits an element"))
                })?
            }
        };
        let (mut scales, mut codes) = (Vec::new(), Vec::new());
        self.input.for_each(|_, rows| {
            let table = ScalarTable::quantize(&rows, bits)?;
            scales.extend_from_slice(table.scales());
            codes.extend_from_slice(table.codes());
            Ok(())
        })?;
        Ok(Kind::Scalar(ScalarTable::new(self.input.width, bits, scales, codes)?))
    }

    /// Two thin tables of as many columns as fit.
    fn low_rank(&self) -> Result<Kind, Fault> {
        let Input { rows, width, .. } = self.input;
        let rank = match self.settings.rank {
            Some(rank) if (1..=width).contains(&rank) => rank,
            Some(rank) => return Err(refuse("rank", rank, &format!("1 to {width}"))),
            None => {
                let each = 4 * (rows + width);
                let budget = self.budget()?;
                if budget < each {
                    return Err(refuse(
                        "size",
                        budget,
                        &format!("at least {each} bytes for rank 1"),
                    ));
                }
                (budget / each).min(width)
            }
        };
        let progress = bar("directions", rows, self.settings.quiet);
        let weights = self.weights.as_deref();
        let right = low_rank::directions(&self.input, weights, rank, |rows| {
            progress.set_position(rows as u64);
        })?;
        progress.finish_and_clear();
        let mut left = Vec::with_capacity(rows * rank);
        self.input.for_each(|_, rows| {
            left.extend_from_slice(low_rank::coordinates(&rows, &right).data());
            Ok(())
        })?;
        Ok(Kind::LowRank(Tensor::new([rows, rank], left)?, right))
    }

    /// A compact table.
    fn codes(&mut self) -> Result<CompactEmbedding<f32>, Fault> {
        let kept = self.kept()?;
        let rows = kept.as_ref().map_or(self.input.rows, Vec::len);
        let (sample, weights) = self.sample(kept.as_deref())?;
        let settings = self.split(&sample, weights.as_deref(), rows)?;

        let rounds = if settings.parts == settings.groups { 0 } else { settings.rounds };
        let bar = bar("training", rounds, self.settings.quiet);
        let deadline = self.deadline;
        let go_on = |round: usize| {
            bar.set_position(round as u64);
            deadline.is_none_or(|deadline| Instant::now() < deadline)
        };
        let trained =
            CompactEmbedding::from_table_while(&sample, &settings, weights.as_deref(), go_on)?;
        bar.finish_and_clear();
        if sample.shape()[0] == self.input.rows {
            return Ok(trained);
        }
        drop(sample);
        self.encode(trained, settings.beam, kept)
    }

    /// The rows that have codes of their own, if not all.
    fn kept(&self) -> Result<Option<Vec<u32>>, Fault> {
        let rows = self.input.rows;
        let Some(keep) = self.settings.keep else { return Ok(None) };
        if !(1..=rows).contains(&keep) {
            return Err(refuse("keep", keep, &format!("1 to {rows}")));
        }
        if keep == rows {
            return Ok(None);
        }
        let mut order: Vec<u32> = (0..rows as u32).collect();
        if let Some(weights) = &self.weights {
            let weight = |row: u32| weights[row as usize];
            order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
        }
        order.truncate(keep);
        order.sort_unstable();
        Ok(Some(order))
    }

    /// Rows to train on, with their weights: all of them, or if they are too many half of them the
    /// heaviest, if there are weights, and the others at random.
    fn sample(&self, kept: Option<&[u32]>) -> Result<(Tensor<f32>, Option<Vec<f64>>), Fault> {
        let mut rows: Vec<u32> = match kept {
            Some(kept) => kept.to_vec(),
            None => (0..self.input.rows as u32).collect(),
        };
        let most = self.settings.sample.unwrap_or(SAMPLE / self.input.width).max(1);
        let mut stream = rng::stream(self.settings.seed, "sample", 0);
        let Some(weights) = &self.weights else {
            if rows.len() > most {
                let order = rng::shuffled(rows.len(), &mut stream);
                rows = order[..most].iter().map(|&i| rows[i as usize]).collect();
                rows.sort_unstable();
            }
            return Ok((self.input.some(&rows)?, None));
        };
        let weight = |row: u32| weights[row as usize];
        let mut drawn: Vec<(u32, f64)> = rows.iter().map(|&row| (row, weight(row))).collect();
        if rows.len() > most {
            rows.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
            let (heavy, others) = rows.split_at(most / 2);
            let order = rng::shuffled(others.len(), &mut stream);
            let taken = &order[..most - heavy.len()];
            // Each stands for as many as were not drawn.
            let times = others.len() as f64 / taken.len() as f64;
            drawn = heavy.iter().map(|&row| (row, weight(row))).collect();
            drawn.extend(
                taken.iter().map(|&i| (others[i as usize], times * weight(others[i as usize]))),
            );
            drawn.sort_unstable_by_key(|(row, _)| *row);
        }
        let (rows, weights): (Vec<u32>, Vec<f64>) = drawn.into_iter().unzip();
        Ok((self.input.some(&rows)?, Some(weights)))
    }

    /// The settings: those that were asked for, or the best by trial.
    fn split(
        &mut self,
        sample: &Tensor<f32>,
        weights: Option<&[f64]>,
        rows: usize,
    ) -> Result<Compression, Fault> {
        let Compress { method, groups, codebook_size, parts, restarts, seed, .. } = *self.settings;
        let width = self.input.width;
        let kmeans = KMeans { restarts, seed, ..KMeans::default() };
        let base =
            Compression { kmeans, eight_bits: !self.settings.precise, ..Compression::dpq(1, 1, 2) };
        let base = if method == Method::Dpq { base } else { Compression { rounds: 0, ..base } };
        let each = match method {
            Method::Pq => 1..=1,
            _ => 1..=EACH,
        };
        let splits = match (groups, codebook_size) {
            (Some(groups), Some(codebook_size)) => {
                let with = |parts| Compression { parts, groups, codebook_size, ..base.clone() };
                with(1).check(width)?;
                let given = match (parts, method) {
                    (Some(parts), _) => vec![with(parts)],
                    (None, Method::Pq) => vec![with(groups)],
                    (None, _) => {
                        let fits = |parts: &usize| {
                            let split = with(*parts);
                            split.check(width).is_ok() && each.contains(&(groups / parts))
                        };
                        (1..=groups.min(width)).filter(fits).map(with).collect()
                    }
                };
                if given.is_empty() {
                    let expected = format!("a multiple of a divisor of the width {width}");
                    return Err(refuse("groups", groups, &expected));
                }
                given.iter().try_for_each(|split| split.check(width))?;
                given
            }
            _ => {
                let words = self.input.words.as_ref().map_or(0, |names| names.text().len());
                let other = HEADER + if self.settings.bytes.is_some() { words } else { 0 };
                base.splits(rows, width, self.budget()?, each).map_err(|fault| match fault {
                    Error::Config { value, expected, .. } => {
                        let expected = format!("{expected}, and {other} for header and words");
                        refuse("bytes of codes and codewords", value, &expected)
                    }
                    other => other.into(),
                })?
            }
        };
        if let [only] = &splits[..] {
            return Ok(only.clone());
        }
        let bar = bar("trials", splits.len(), self.settings.quiet);
        let mut best: Option<(f64, Compression)> = None;
        for split in splits {
            let error = split.trial(sample, weights)?;
            let bytes = split.bytes(rows, width) + HEADER;
            self.tried.push(Tried { split: split.clone(), bytes, error });
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, split));
            }
            bar.inc(1);
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        bar.finish_and_clear();
        Ok(best.expect("at least one split").1)
    }

    /// Gives all rows their codes.
    fn encode(
        &self,
        trained: CompactEmbedding<f32>,
        beam: usize,
        kept: Option<Vec<u32>>,
    ) -> Result<CompactEmbedding<f32>, Fault> {
        let bar = bar("encoding", self.input.rows, self.settings.quiet);
        let (groups, k) = (trained.config().groups, trained.config().codebook_size);
        let mut codes: Vec<u32> = Vec::new();
        let Some(kept) = kept else {
            self.input.for_each(|first, rows| {
                codes.extend(trained.encode(&rows, beam)?.unpack());
                bar.set_position((first + rows.shape()[0]) as u64);
                Ok(())
            })?;
            bar.finish_and_clear();
            return Ok(trained.with_codes(CodeTable::pack(&codes, groups, k))?);
        };
        let own = self.input.some(&kept)?;
        let table = trained.encode(&own, beam)?;
        let mut row_of_ids = Vec::with_capacity(self.input.rows);
        self.input.for_each(|first, rows| {
            let nearest = nearest_of(&rows, &own)?;
            row_of_ids.extend(nearest.into_iter().enumerate().map(|(i, nearest)| {
                // Of equal rows each has its own codes.
                kept.binary_search(&((first + i) as u32)).map_or(nearest, |own| own as u32)
            }));
            bar.set_position((first + rows.shape()[0]) as u64);
            Ok(())
        })?;
        bar.finish_and_clear();
        Ok(trained.with_codes(table)?.with_rows(&row_of_ids)?)
    }
}

/// A progress bar on standard error.
pub fn bar(what: &'static str, steps: usize, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
    let style = if steps == 0 { "{msg} {spinner}" } else { "{msg:>10} {bar:40} {percent}%" };
    bar.set_style(ProgressStyle::with_template(style).expect("a sound template"));
    bar.set_message(what);
    bar
}

fn refuse(name: &'static str, value: impl ToString, expected: &str) -> Fault {
    Error::Config { name, value: value.to_string(), expected: expected.into() }.into()
}

/// Prints the figures, the small table's first.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(table: &Table, file: usize, rows: &[Row], as_json: bool) -> Result<(), Fault> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if as_json {
        let mut figures = json(&rows[0]);
        let parts = table.parts(file).into_iter().map(|(name, bytes)| (name.into(), bytes.into()));
        figures.insert("parts".into(), Value::Object(parts.collect()));
        figures.insert("rows".into(), table.vocabulary().into());
        figures.insert("width".into(), table.width().into());
        let beside = rows[1..].iter().map(|row| Value::Object(json(row))).collect();
        figures.insert("beside".into(), Value::Array(beside));
        writeln!(out, "{}", serde_json::to_string_pretty(&figures)?)?;
        return Ok(());
    }
    writeln!(out, "{} rows of width {}\n", table.vocabulary(), table.width())?;
    writeln!(
        out,
        "{:>12} {:>6} {:>8} {:>8} {:>11}",
        "bytes", "ratio", "error", "cosine", "neighbours"
    )?;
    for Row { name, bytes, ratio, quality } in rows {
        let Quality { relative_squared_error: error, mean_cosine: cosine, .. } = quality;
        let neighbours = quality.neighbours_at_10.map_or("-".into(), |share| format!("{share:.3}"));
        writeln!(
            out,
            "{bytes:>12} {ratio:>6.1} {error:>8.4} {cosine:>8.4} {neighbours:>11}  {name}"
        )?;
    }
    writeln!(out, "\n{}", bytes(table, file).trim_end())?;
    Ok(())
}

fn json(row: &Row) -> Map<String, Value> {
    let Row { name, bytes, ratio, quality } = row;
    let Value::Object(mut figures) = quality.json() else { unreachable!("an object") };
    figures.insert("settings".into(), name.as_str().into());
    figures.insert("bytes".into(), (*bytes).into());
    figures.insert("ratio".into(), json!(ratio));
    figures
}
