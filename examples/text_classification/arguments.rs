//! The command line, and the settings that come of it.

use crate::checks::{check_learning_rate, check_probability};
use crate::common::Result;
use crate::common::arguments::{self, Defaults, refuse};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Steps that are trained for unless --epochs says otherwise.
const STEPS: usize = 5000;

/// More buckets than this are almost certainly a typo.
const MOST_PAIRS: u32 = 1 << 24;

/// Epochs with --max-bytes.
const SMALL_EPOCHS: usize = 15;

/// Trains classifiers of texts that differ only in their embedding, and compares accuracy and size.
///
/// Without --data, on a small made-up set. With --max-bytes, builds the best classifier whose whole file
/// has at most so many bytes; `predict FILE` then labels lines of standard input.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Folder with train.tsv and perhaps valid.tsv and test.tsv (or .csv, .txt), or one file to split:
    /// label<TAB>text, __label__x text, or CSV of class and texts
    #[arg(long, value_name = "DIR|FILE")]
    pub data: Option<PathBuf>,
    /// Sizes [default: tiny, or paper with --data]
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Buckets for pairs of neighbouring words, which become features by their hash
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub pairs: u32,
    /// Build the best classifier whose whole file, classifier.safetensors in --out, has at most so many
    /// bytes
    #[arg(
        long,
        value_name = "N",
        requires = "out",
        conflicts_with_all = [
            "embedding", "groups", "codebook_size", "shared", "rank", "kmeans_start", "no_batch_norm",
            "additive", "bands", "score", "temperature", "sampling", "moving_average", "beta", "resume",
            "save_every", "preset", "pairs"
        ]
    )]
    pub max_bytes: Option<usize>,
    /// The probability with which what the output layer reads is dropped in training
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0)]
    dropout: f64,
    /// The probability with which a word is left out of its text in training [default: 0; with
    /// --max-bytes, 0.2 and 0.6 are tried]
    #[arg(long, value_name = "PROBABILITY")]
    word_dropout: Option<f64>,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE", default_value_t = 0.001, allow_negative_numbers = true)]
    learning_rate: f64,
    /// How the learning rate goes on from there [default: constant, or linear with --max-bytes]
    #[arg(long, value_enum)]
    schedule: Option<Schedule>,
    #[command(flatten)]
    common: arguments::Flags,
}

#[derive(Subcommand)]
pub enum Command {
    /// Labels each line of standard input
    Predict {
        /// What --max-bytes wrote
        file: PathBuf,
    },
}

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Width 64
    Tiny,
    /// Width 300
    Paper,
}

/// How the learning rate goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Schedule {
    /// It stays
    Constant,
    /// It falls linearly to 0
    Linear,
}

/// What a model is set to.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub preset: &'static str,
    pub batch: usize,
    pub dropout: f64,
    /// `None` where it was not asked for.
    pub word_dropout: Option<f64>,
    pub learning_rate: f64,
    pub schedule: Schedule,
}

impl Sizes {
    /// The learning rate of a step of so many.
    pub fn learning_rate(&self, step: usize, steps: usize) -> f64 {
        match self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Linear => self.learning_rate * (1.0 - step as f64 / steps as f64),
        }
    }
}

impl Arguments {
    /// The seed, which the made-up set depends on too.
    pub fn seed(&self) -> u64 {
        self.common.seed
    }

    /// The preset's settings with the flags applied, for so many texts to train on.
    ///
    /// # Errors
    /// The first flag whose value cannot be.
    pub fn settings(&self, texts: usize) -> Result<(Sizes, arguments::Settings)> {
        let default = if self.data.is_some() { Preset::Paper } else { Preset::Tiny };
        let batch = texts.min(64);
        let (preset, width, groups, steps) = match self.preset.unwrap_or(default) {
            Preset::Tiny => ("tiny", 64, 16, 1000),
            Preset::Paper => ("paper", 300, 50, STEPS),
        };
        let epochs = match self.max_bytes {
            Some(_) => SMALL_EPOCHS,
            None => steps.div_ceil(texts / batch),
        };
        let defaults = Defaults { width, groups, codebook_size: 16, epochs };
        let Arguments { dropout, word_dropout, learning_rate, .. } = *self;
        let probabilities = [("dropout", Some(dropout)), ("word-dropout", word_dropout)];
        for (name, probability) in probabilities.into_iter().filter_map(|(n, p)| Some((n, p?))) {
            check_probability(name, probability)?;
        }
        check_learning_rate(learning_rate)?;
        if self.pairs > MOST_PAIRS {
            let expected = format!("at most {MOST_PAIRS}");
            return Err(refuse("pairs", self.pairs.to_string(), &expected).into());
        }
        let small = self.max_bytes.is_some();
        let usual = if small { Schedule::Linear } else { Schedule::Constant };
        let schedule = self.schedule.unwrap_or(usual);
        let sizes = Sizes { preset, batch, dropout, word_dropout, learning_rate, schedule };
        Ok((sizes, self.common.settings(&defaults)?))
    }
}
