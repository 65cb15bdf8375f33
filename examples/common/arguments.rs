//! The command line, and the settings that come of it.

use super::Result;
use clap::{Parser, ValueEnum};
use dpq::nn::LanguageModelConfig;
use dpq::optim::Schedule;
use dpq::pq::{Bands, MovingAverage, Score, Temperature};
use dpq::train::Which;
use dpq::{DpqConfig, Error};
use std::path::PathBuf;
use std::time::Duration;

/// A larger number is almost certainly a typo.
const MAX_THREADS: usize = 1024;

/// Trains LSTM language models that differ only in their embedding, and compares perplexity and size.
///
/// Without --data, on a small made-up language whose best possible perplexity is known.
#[derive(Parser)]
pub struct Arguments {
    /// Folder with train.txt, valid.txt and test.txt, or one file to split 90/5/5; a sentence a line
    #[arg(long, value_name = "DIR|FILE")]
    pub data: Option<PathBuf>,
    /// Sizes and schedule [default: tiny, or small with --data]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Which models to train, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "full,sx,vq")]
    pub embedding: Vec<Kind>,
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
    /// Passes over the training text [default: the preset's]
    #[arg(long)]
    epochs: Option<usize>,
    /// The learning rate of the first epochs [default: the preset's]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// How many epochs keep that rate [default: the preset's]
    #[arg(long, value_name = "EPOCHS")]
    constant_epochs: Option<usize>,
    /// What the rate is multiplied by in each epoch after them [default: the preset's]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    decay: Option<f64>,
    /// Decides every random number, the made-up language included
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads to work with; the results are the same with any number [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Folder for results: report.html, result.json, and for each model metrics.jsonl,
    /// embedding.safetensors and checkpoints
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
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
    pub resume: Option<Resume>,
    /// How often a checkpoint is written to --out
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0, allow_negative_numbers = true)]
    save_every: f64,
    /// No progress, only the table
    #[arg(long)]
    pub quiet: bool,
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
        }
    }

    /// Whether it is trained with its model, and not made of the full table afterwards.
    pub fn is_trained(self) -> bool {
        matches!(self, Kind::Full | Kind::Sx | Kind::Vq | Kind::Random | Kind::LowRank)
    }
}

/// Which checkpoint to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resume {
    /// The last one
    Latest,
    /// The one before it
    Previous,
}

impl Resume {
    /// As the library has it.
    pub fn which(self) -> Which {
        match self {
            Resume::Latest => Which::Latest,
            Resume::Previous => Which::Previous,
        }
    }
}

/// Sizes and schedule of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Width 64, 1 layer, 3 epochs
    Tiny,
    /// Width 200, 2 layers, 15 epochs
    Small,
    /// Width 650, 2 layers, 35 epochs
    Medium,
    /// Width 1500, 2 layers, 35 epochs
    Large,
}

/// All that a run is set to, checked.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub preset: &'static str,
    /// Width of the embedding.
    pub width: usize,
    pub model: LanguageModelConfig,
    /// Weights start uniform in +- this.
    pub init: f64,
    pub batch: usize,
    /// Time steps of a window.
    pub steps: usize,
    pub epochs: usize,
    pub schedule: Schedule,
    /// Largest norm of a step's gradient.
    pub clip: f64,
    /// Of sx.
    pub sx: DpqConfig,
    /// Of vq.
    pub vq: DpqConfig,
    /// Of low-rank; `None` for that of as many bytes as sx has.
    pub rank: Option<usize>,
    /// Whether codebooks start by k-means.
    pub kmeans_start: bool,
    pub seed: u64,
    pub threads: usize,
    pub save_every: Duration,
}

impl Preset {
    /// Sizes and schedules of Zaremba et al. (2014), but for `tiny`, which is ours.
    fn settings(self) -> Settings {
        let tiny = Settings {
            preset: "tiny",
            width: 64,
            model: LanguageModelConfig { layers: 1, hidden: 64, dropout: 0.0 },
            init: 0.1,
            batch: 20,
            steps: 20,
            epochs: 3,
            schedule: Schedule::new(1.0, 2, 0.5),
            clip: 5.0,
            sx: DpqConfig::sx(8, 16),
            vq: DpqConfig::vq(8, 16),
            rank: None,
            kmeans_start: false,
            seed: 0,
            threads: 1,
            save_every: Duration::from_secs(300),
        };
        let small = Settings {
            preset: "small",
            width: 200,
            model: LanguageModelConfig { layers: 2, hidden: 200, dropout: 0.0 },
            epochs: 15,
            schedule: Schedule::new(1.0, 4, 0.5),
            clip: 3.0,
            sx: DpqConfig::sx(25, 32),
            vq: DpqConfig::vq(25, 32),
            ..tiny
        };
        let medium = Settings {
            preset: "medium",
            width: 650,
            model: LanguageModelConfig { layers: 2, hidden: 650, dropout: 0.5 },
            init: 0.05,
            steps: 35,
            epochs: 35,
            schedule: Schedule::new(1.0, 6, 0.8),
            clip: 5.0,
            ..small
        };
        let large = Settings {
            preset: "large",
            width: 1500,
            model: LanguageModelConfig { layers: 2, hidden: 1500, dropout: 0.65 },
            init: 0.04,
            schedule: Schedule::new(1.0, 14, 1.0 / 1.15),
            clip: 10.0,
            sx: DpqConfig::sx(50, 16),
            vq: DpqConfig::vq(50, 16),
            ..medium
        };
        match self {
            Preset::Tiny => tiny,
            Preset::Small => small,
            Preset::Medium => medium,
            Preset::Large => large,
        }
    }
}

impl Arguments {
    /// The preset's settings with the flags applied.
    ///
    /// # Errors
    /// The first flag whose value cannot be.
    pub fn settings(&self) -> Result<Settings> {
        let default = if self.data.is_some() { Preset::Small } else { Preset::Tiny };
        let preset = self.preset.unwrap_or(default).settings();
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let common = |of_preset: DpqConfig| DpqConfig {
            groups: self.groups.unwrap_or(of_preset.groups),
            codebook_size: self.codebook_size.unwrap_or(of_preset.codebook_size),
            shared: self.shared,
            batch_norm: !self.no_batch_norm,
            beta: self.beta,
            additive: self.additive,
            bands: self.bands.unwrap_or(Bands::NONE),
            ..of_preset
        };
        let Arguments { score, temperature, sampling, moving_average, .. } = *self;
        let sx = DpqConfig { score, temperature, sampling, ..common(preset.sx) };
        let vq = DpqConfig { moving_average, ..common(preset.vq) };
        sx.check(preset.width)?;
        vq.check(preset.width)?;
        let own = |config: DpqConfig| (config.score, config.temperature, config.sampling);
        let has = |kinds: &[Kind]| kinds.iter().any(|kind| self.embedding.contains(kind));
        let both = self.beta != 0.0 || self.no_batch_norm || self.kmeans_start;
        let cut = [Kind::Kmeans, Kind::KmeansTuned, Kind::Reconstructed];
        for (wrong, expected) in [
            (
                own(sx) != own(preset.sx) && !has(&[Kind::Sx]),
                "sx, the only one with --score, --temperature and --sampling",
            ),
            (
                vq.moving_average.is_some() && !has(&[Kind::Vq]),
                "vq, the only one with --moving-average",
            ),
            (
                both && !has(&[Kind::Sx, Kind::Vq]),
                "sx or vq, which have --beta, --no-batch-norm and --kmeans-start",
            ),
            (self.rank.is_some() && !has(&[Kind::LowRank]), "low-rank, the only one with --rank"),
            (
                (self.additive || self.bands.is_some()) && has(&cut),
                "none made by k-means with --additive or --bands",
            ),
        ] {
            if wrong {
                return Err(refuse("embedding", self.names(), expected).into());
            }
        }
        let epochs = self.epochs.unwrap_or(preset.epochs);
        if epochs == 0 {
            return Err(refuse("epochs", epochs.to_string(), "at least 1").into());
        }
        let schedule = Schedule {
            learning_rate: self.learning_rate.unwrap_or(preset.schedule.learning_rate),
            constant: self.constant_epochs.unwrap_or(preset.schedule.constant),
            decay: self.decay.unwrap_or(preset.schedule.decay),
        };
        schedule.check()?;
        let threads = self.threads.unwrap_or_else(cores);
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(
                refuse("threads", threads.to_string(), &format!("1 to {MAX_THREADS}")).into()
            );
        }
        if (1..self.embedding.len()).any(|i| self.embedding[..i].contains(&self.embedding[i])) {
            return Err(refuse("embedding", self.names(), "each one once").into());
        }
        let seconds = self.save_every * 60.0;
        let Ok(save_every) = Duration::try_from_secs_f64(seconds) else {
            return Err(refuse("save-every", self.save_every.to_string(), "minutes").into());
        };
        let made = self.embedding.iter().position(|kind| !kind.is_trained());
        let full = self.embedding.iter().position(|&kind| kind == Kind::Full);
        if made.is_some_and(|made| full.is_none_or(|full| full > made)) {
            let expected = "full before what is made of it";
            return Err(refuse("embedding", self.names(), expected).into());
        }
        let (rank, kmeans_start, seed) = (self.rank, self.kmeans_start, self.seed);
        Ok(Settings {
            sx,
            vq,
            rank,
            kmeans_start,
            epochs,
            schedule,
            seed,
            threads,
            save_every,
            ..preset
        })
    }

    /// The embeddings as they were asked for.
    fn names(&self) -> String {
        let names: Vec<_> = self.embedding.iter().map(|kind| kind.name()).collect();
        names.join(",")
    }
}

impl Settings {
    /// Bytes of a model's parameters, about: of the embedding, the LSTM and the output layer.
    pub fn parameter_bytes(&self, vocabulary: usize) -> usize {
        let LanguageModelConfig { layers, hidden, .. } = self.model;
        let recurrent = 4 * hidden * (self.width.max(hidden) + hidden + 1);
        let DpqConfig { groups, codebook_size, additive, .. } = self.sx;
        let codebooks = 2 * codebook_size * self.sx.query_width(self.width);
        let queries = if additive { vocabulary * (groups - 1) * self.width } else { 0 };
        4 * (vocabulary * (self.width + hidden + 1) + layers * recurrent + codebooks + queries)
    }

    /// The settings that a model depends on, by the flags that set them: they have to be the same when
    /// its training goes on.
    pub fn of(&self, kind: Kind) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("preset", self.preset.into()),
            ("seed", self.seed.to_string()),
            ("learning-rate", self.schedule.learning_rate.to_string()),
            ("constant-epochs", self.schedule.constant.to_string()),
            ("decay", self.schedule.decay.to_string()),
        ];
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

    /// The settings of all models, each once.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<(&'static str, String)> = Vec::new();
        for &kind in Kind::value_variants() {
            for (name, value) in self.of(kind) {
                if all.iter().all(|(known, _)| *known != name) {
                    all.push((name, value));
                }
            }
        }
        all
    }
}

fn refuse(name: &'static str, value: String, expected: &str) -> Error {
    Error::Config { name, value, expected: expected.into() }
}
