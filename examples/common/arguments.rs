//! The flags that all programs have, and the settings that come of them.

use super::Result;
use clap::{Args, ValueEnum};
use dpq::pq::{Bands, MovingAverage, Score, Temperature};
use dpq::train::Which;
use dpq::{DpqConfig, Error};
use std::path::PathBuf;
use std::time::Duration;

/// A larger number is almost certainly a typo.
const MAX_THREADS: usize = 1024;

/// Flags that all programs have.
#[derive(Args)]
pub struct Flags {
    /// Which models to train, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "full,sx,vq")]
    embedding: Vec<Kind>,
    /// D, the codes of a word [default: the preset's]
    #[arg(long, value_name = "D")]
    groups: Option<usize>,
    /// K, the codewords that a code chooses from [default: the preset's]
    #[arg(long, value_name = "K")]
    codebook_size: Option<usize>,
    /// Whether all groups share one codebook
    #[arg(
        long,
        action = clap::ArgAction::Set,
        value_name = "true|false",
        num_args = 0..=1,
        default_value_t = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    shared: bool,
    /// The rank of low-rank [default: that of as many bytes as sx has]
    #[arg(long, value_name = "R")]
    rank: Option<usize>,
    /// Start the codebooks of sx and vq by k-means of the queries
    #[arg(long)]
    kmeans_start: bool,
    /// Leave out the batch normalisation of scores
    #[arg(long)]
    no_batch_norm: bool,
    /// Codewords as wide as a row, of which a row is the mean
    #[arg(long)]
    additive: bool,
    /// Rare words choose from fewer codewords: from word 1000 on from 16, from word 5000 on from 4
    #[arg(long, value_name = "1000:16,5000:4")]
    bands: Option<Bands>,
    /// How sx scores codewords: dot, squared-distance or cosine
    #[arg(long, default_value = "dot")]
    score: Score,
    /// tau, the temperature of the softmax of sx: TAU, learnable:TAU (at a hundredth of the learning rate),
    /// or annealed:TAU:TAU:STEPS
    #[arg(long, value_name = "TAU", default_value = "1", allow_negative_numbers = true)]
    temperature: Temperature,
    /// Sample the codes of sx in training
    #[arg(long)]
    sampling: bool,
    /// Codebooks of vq as moving averages
    #[arg(
        long,
        value_name = "DECAY:SMOOTHING:REVIVE_BELOW",
        num_args = 0..=1,
        default_missing_value = "0.99:0.00001:0"
    )]
    moving_average: Option<MovingAverage>,
    /// beta, the weight of the entropy term of sx or the commitment term of vq
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    beta: f64,
    /// Passes over the training data [default: the preset's]
    #[arg(long)]
    epochs: Option<usize>,
    /// Decides every random number, made-up data included
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads to work with; the results are the same with any number [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Folder for results: report.html, result.json, and for each model metrics.jsonl,
    /// embedding.safetensors and checkpoints
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the checkpoints in --out, with the same flags as before: from the latest, or from the
    /// one before it
    #[arg(
        long,
        value_enum,
        value_name = "latest|previous",
        num_args = 0..=1,
        default_missing_value = "latest",
        hide_possible_values = true,
        requires = "out"
    )]
    resume: Option<Resume>,
    /// How often a checkpoint is written to --out
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, allow_negative_numbers = true)]
    save_every: f64,
    /// No progress, only the table
    #[arg(long)]
    quiet: bool,
}

/// The embedding of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The full table
    Full,
    /// DPQ, softmax form
    Sx,
    /// DPQ, centroid form
    Vq,
    /// Random codes that are never learnt
    Random,
    /// A product of two thin tables, of as many bytes as sx
    LowRank,
    /// The full table after training, in 8 bits an element
    Int8,
    /// The full table after training, in 4 bits an element
    Int4,
    /// The full table after training, in 2 bits an element
    Int2,
    /// The full table after training, by product quantisation with k-means, as large as sx
    Kmeans,
    /// The same with its codebook trained for another epoch
    KmeansTuned,
    /// The full table after training, with codes that learn to reconstruct it, as large as sx
    Reconstructed,
    /// The full table after training, compressed as `dpq compress` does it, at most as large as sx
    Compressed,
    /// The same with its codebook trained for another epoch
    CompressedTuned,
}

impl Kind {
    /// In files and tables, and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::Sx => "sx",
            Kind::Vq => "vq",
            Kind::Random => "random",
            Kind::LowRank => "low-rank",
            Kind::Int8 => "int8",
            Kind::Int4 => "int4",
            Kind::Int2 => "int2",
            Kind::Kmeans => "kmeans",
            Kind::KmeansTuned => "kmeans-tuned",
            Kind::Reconstructed => "reconstructed",
            Kind::Compressed => "compressed",
            Kind::CompressedTuned => "compressed-tuned",
        }
    }

    /// Whether it is trained with its model, and not made of the full table afterwards.
    pub fn is_trained(self) -> bool {
        matches!(self, Kind::Full | Kind::Sx | Kind::Vq | Kind::Random | Kind::LowRank)
    }
}

/// Which checkpoint to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Resume {
    /// The last one
    Latest,
    /// The one before it
    Previous,
}

/// What a program takes where a flag is not given.
pub struct Defaults {
    /// Width of the embedding.
    pub width: usize,
    /// D
    pub groups: usize,
    /// K
    pub codebook_size: usize,
    pub epochs: usize,
}

/// What the flags come to, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub kinds: Vec<Kind>,
    /// Width of the embedding.
    pub width: usize,
    /// Of sx.
    pub sx: DpqConfig,
    /// Of vq.
    pub vq: DpqConfig,
    /// Of low-rank; `None` for that of as many bytes as sx has.
    pub rank: Option<usize>,
    /// Whether codebooks start by k-means.
    pub kmeans_start: bool,
    pub epochs: usize,
    pub seed: u64,
    pub threads: usize,
    pub out: Option<PathBuf>,
    pub resume: Option<Which>,
    pub save_every: Duration,
    pub quiet: bool,
}

impl Flags {
    /// The settings, with the program's own values where a flag is not given.
    ///
    /// # Errors
    /// The first flag whose value cannot be.
    pub fn settings(&self, defaults: &Defaults) -> Result<Settings> {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let common = |form: fn(usize, usize) -> DpqConfig| {
            let groups = self.groups.unwrap_or(defaults.groups);
            DpqConfig {
                shared: self.shared,
                batch_norm: !self.no_batch_norm,
                beta: self.beta,
                additive: self.additive,
                bands: self.bands.unwrap_or(Bands::NONE),
                ..form(groups, self.codebook_size.unwrap_or(defaults.codebook_size))
            }
        };
        let Flags { score, temperature, sampling, moving_average, .. } = *self;
        let sx = DpqConfig { score, temperature, sampling, ..common(DpqConfig::sx) };
        let vq = DpqConfig { moving_average, ..common(DpqConfig::vq) };
        sx.check(defaults.width)?;
        vq.check(defaults.width)?;
        self.check_kinds(&sx)?;
        let epochs = self.epochs.unwrap_or(defaults.epochs);
        if epochs == 0 {
            return Err(refuse("epochs", epochs.to_string(), "at least 1").into());
        }
        let threads = self.threads.unwrap_or_else(cores);
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(
                refuse("threads", threads.to_string(), &format!("1 to {MAX_THREADS}")).into()
            );
        }
        let seconds = self.save_every * 60.0;
        let Ok(save_every) = Duration::try_from_secs_f64(seconds) else {
            return Err(refuse("save-every", self.save_every.to_string(), "minutes").into());
        };
        let resume = self.resume.map(|resume| match resume {
            Resume::Latest => Which::Latest,
            Resume::Previous => Which::Previous,
        });
        Ok(Settings {
            kinds: self.embedding.clone(),
            width: defaults.width,
            sx,
            vq,
            rank: self.rank,
            kmeans_start: self.kmeans_start,
            epochs,
            seed: self.seed,
            threads,
            out: self.out.clone(),
            resume,
            save_every,
            quiet: self.quiet,
        })
    }

    /// Refuses flags of an embedding that is not among those to train, and embeddings that cannot be.
    fn check_kinds(&self, sx: &DpqConfig) -> Result<()> {
        let own = |config: &DpqConfig| (config.score, config.temperature, config.sampling);
        let plain = DpqConfig::sx(sx.groups, sx.codebook_size);
        let has = |kinds: &[Kind]| kinds.iter().any(|kind| self.embedding.contains(kind));
        let both = self.beta != 0.0 || self.no_batch_norm || self.kmeans_start;
        let cut = [
            Kind::Kmeans,
            Kind::KmeansTuned,
            Kind::Reconstructed,
            Kind::Compressed,
            Kind::CompressedTuned,
        ];
        let made = self.embedding.iter().position(|kind| !kind.is_trained());
        let full = self.embedding.iter().position(|&kind| kind == Kind::Full);
        let twice =
            (1..self.embedding.len()).any(|i| self.embedding[..i].contains(&self.embedding[i]));
        for (wrong, expected) in [
            (
                own(sx) != own(&plain) && !has(&[Kind::Sx]),
                "sx, the only one with --score, --temperature and --sampling",
            ),
            (
                self.moving_average.is_some() && !has(&[Kind::Vq]),
                "vq, the only one with --moving-average",
            ),
            (
                both && !has(&[Kind::Sx, Kind::Vq]),
                "sx or vq, which have --beta, --no-batch-norm and --kmeans-start",
            ),
            (self.rank.is_some() && !has(&[Kind::LowRank]), "low-rank, the only one with --rank"),
            (
                (self.additive || self.bands.is_some()) && has(&cut),
                "none that is cut into groups after training with --additive or --bands",
            ),
            (twice, "each one once"),
            (
                made.is_some_and(|made| full.is_none_or(|full| full > made)),
                "full before what is made of it",
            ),
        ] {
            if wrong {
                return Err(refuse("embedding", names(&self.embedding), expected).into());
            }
        }
        Ok(())
    }
}

/// As they were asked for.
fn names(kinds: &[Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    names.join(",")
}

impl Settings {
    /// Refuses embeddings that a program does not make after training, and bands that a vocabulary does
    /// not reach.
    ///
    /// # Errors
    /// If there are any.
    pub fn check(&self, makes_tables: bool, vocabularies: &[usize]) -> Result<()> {
        let vocabulary = vocabularies.iter().copied().min().unwrap_or(0);
        if !makes_tables && !self.kinds.iter().all(|kind| kind.is_trained()) {
            let expected = "full, sx, vq, random or low-rank";
            return Err(refuse("embedding", names(&self.kinds), expected).into());
        }
        match self.sx.bands.as_slice().last() {
            Some(last) if last.first as usize >= vocabulary => {
                let expected = format!("first words below the vocabulary of {vocabulary}");
                Err(refuse("bands", self.sx.bands.to_string(), &expected).into())
            }
            _ => Ok(()),
        }
    }

    /// The settings that an embedding depends on, by the flags that set them: they have to be the same
    /// when its training goes on.
    pub fn of(&self, kind: Kind) -> Vec<(&'static str, String)> {
        let mut all = vec![("embedding", kind.name().to_string()), ("seed", self.seed.to_string())];
        let dpq = if kind == Kind::Vq { &self.vq } else { &self.sx };
        if kind != Kind::Full {
            all.push(("groups", dpq.groups.to_string()));
            all.push(("codebook-size", dpq.codebook_size.to_string()));
            all.push(("shared", dpq.shared.to_string()));
            all.push(("additive", dpq.additive.to_string()));
            all.push(("bands", dpq.bands.to_string()));
        }
        if kind == Kind::LowRank {
            all.push(("rank", self.rank.map_or("of sx's bytes".into(), |rank| rank.to_string())));
        }
        if kind == Kind::Sx || kind == Kind::Vq {
            all.push(("no-batch-norm", (!dpq.batch_norm).to_string()));
            all.push(("kmeans-start", self.kmeans_start.to_string()));
            all.push(("beta", dpq.beta.to_string()));
        }
        if kind == Kind::Sx {
            all.push(("score", dpq.score.to_string()));
            all.push(("temperature", dpq.temperature.to_string()));
            all.push(("sampling", dpq.sampling.to_string()));
        }
        if kind == Kind::Vq {
            let settings = dpq.moving_average.map_or("none".into(), |m| m.to_string());
            all.push(("moving-average", settings));
        }
        all
    }
}

/// A flag whose value cannot be.
pub fn refuse(name: &'static str, value: String, expected: &str) -> Error {
    Error::Config { name, value, expected: expected.into() }
}
