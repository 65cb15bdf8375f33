//! The command line, and the settings that come of it.

use crate::checks::{check_learning_rate, check_probability};
use crate::common::Result;
use crate::common::arguments::{self, Defaults, refuse};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A wider beam is almost certainly a typo.
const MOST_BEAM: usize = 1000;

/// Trains translators that differ only in their embedding, and compares BLEU and size.
///
/// Without --data, on made-up phrases. `translate FILE` translates lines of standard input by what a run
/// saved as translator.safetensors.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Folder with train.en, train.de and so on, and for valid (or val) and test: a sentence a line, words
    /// separated by spaces
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The language to translate from: the end of its files' names [default: en]
    #[arg(long, value_name = "LANGUAGE", requires = "data")]
    from: Option<String>,
    /// The language to translate into [default: de]
    #[arg(long, value_name = "LANGUAGE", requires = "data")]
    into: Option<String>,
    /// Whose table is compressed, and counted
    #[arg(long, value_enum, default_value = "source")]
    pub compress: Compressed,
    /// Units of every layer, and the width of words [default: 64, or 256 with --data]
    #[arg(long, value_name = "N")]
    units: Option<usize>,
    /// Sentence pairs of a step
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch: usize,
    /// The probability with which an element of an LSTM layer's inputs is dropped in training [default: 0, or
    /// 0.2 with --data]
    #[arg(long, value_name = "PROBABILITY")]
    dropout: Option<f64>,
    /// What trains the models
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Method,
    /// The learning rate, halved every twelfth of the steps from two thirds on [default: 0.001 with adam, 1
    /// with sgd]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// How many beginnings a search keeps when the test sentences are translated; 1 is greedy
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub beam: usize,
    #[command(flatten)]
    common: arguments::Flags,
}

#[derive(Subcommand)]
pub enum Command {
    /// Translates each line of standard input
    Translate {
        /// The translator.safetensors of a run
        file: PathBuf,
        /// How many beginnings the search keeps; 1 is greedy
        #[arg(long, value_name = "N", default_value_t = 1)]
        beam: usize,
    },
}

/// Whose table is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compressed {
    /// That of the language to translate from
    Source,
    /// That of the language to translate into
    Target,
    /// Both
    Both,
}

impl Compressed {
    pub fn name(self) -> &'static str {
        match self {
            Compressed::Source => "source",
            Compressed::Target => "target",
            Compressed::Both => "both",
        }
    }

    /// Whether it includes the table of this name.
    pub fn includes(self, name: &str) -> bool {
        self == Compressed::Both || self.name() == name
    }
}

/// What trains the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Adam, row by row where a gradient is row-sparse
    Adam,
    /// Plain gradient descent
    Sgd,
}

/// What a model is set to.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub units: usize,
    pub batch: usize,
    pub dropout: f64,
    pub method: Method,
    pub learning_rate: f64,
}

/// Refuses a beam that cannot be, or is too wide.
///
/// # Errors
/// If it is.
pub fn check_beam(beam: usize) -> Result<()> {
    if (1..=MOST_BEAM).contains(&beam) {
        return Ok(());
    }
    Err(refuse("beam", beam.to_string(), &format!("1 to {MOST_BEAM}")).into())
}

impl Arguments {
    /// The languages to translate from and into.
    ///
    /// # Errors
    /// If they are the same.
    pub fn languages(&self) -> Result<[&str; 2]> {
        let from = self.from.as_deref().unwrap_or("en");
        let into = self.into.as_deref().unwrap_or("de");
        if from == into {
            return Err(refuse("into", into.into(), "another language than --from").into());
        }
        Ok([from, into])
    }

    /// The seed, which the made-up phrases depend on too.
    pub fn seed(&self) -> u64 {
        self.common.seed
    }

    /// The settings with the flags applied.
    ///
    /// # Errors
    /// The first flag whose value cannot be.
    pub fn settings(&self) -> Result<(Sizes, arguments::Settings)> {
        let real = self.data.is_some();
        let units = self.units.unwrap_or(if real { 256 } else { 64 });
        for (name, value) in [("units", units), ("batch", self.batch)] {
            if value == 0 {
                return Err(refuse(name, value.to_string(), "at least 1").into());
            }
        }
        check_beam(self.beam)?;
        let dropout = self.dropout.unwrap_or(if real { 0.2 } else { 0.0 });
        check_probability("dropout", dropout)?;
        let usual = if self.optimizer == Method::Adam { 0.001 } else { 1.0 };
        let learning_rate = self.learning_rate.unwrap_or(usual);
        check_learning_rate(learning_rate)?;
        let (groups, epochs) = if real { (32, 9) } else { (16, 12) };
        let defaults = Defaults { width: units, groups, codebook_size: 32, epochs };
        let sizes =
            Sizes { units, batch: self.batch, dropout, method: self.optimizer, learning_rate };
        Ok((sizes, self.common.settings(&defaults)?))
    }
}
