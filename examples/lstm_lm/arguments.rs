//! The command line, and the settings that come of it.

use crate::common::Result;
use crate::common::arguments::{self, Defaults};
use clap::{Parser, ValueEnum};
use dpq::nn::LanguageModelConfig;
use dpq::optim::Schedule;
use std::path::PathBuf;

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
    preset: Option<Preset>,
    /// The learning rate of the first epochs [default: the preset's]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// How many epochs keep that rate [default: the preset's]
    #[arg(long, value_name = "EPOCHS")]
    constant_epochs: Option<usize>,
    /// What the rate is multiplied by in each epoch after them [default: the preset's]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    decay: Option<f64>,
    #[command(flatten)]
    common: arguments::Flags,
}

/// Sizes and schedule of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Width 64, 1 layer, 3 epochs
    Tiny,
    /// Width 200, 2 layers, 15 epochs
    Small,
    /// Width 650, 2 layers, 35 epochs
    Medium,
    /// Width 1500, 2 layers, 35 epochs
    Large,
}

/// Sizes and schedule, with the flags applied.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub preset: &'static str,
    pub model: LanguageModelConfig,
    /// Weights start uniform in +- this.
    pub init: f64,
    pub batch: usize,
    /// Time steps of a window.
    pub steps: usize,
    pub schedule: Schedule,
    /// Largest norm of a step's gradient.
    pub clip: f64,
}

impl Preset {
    /// Sizes and schedules of Zaremba et al. (2014), but for `tiny`, which is ours.
    fn sizes(self) -> (Sizes, Defaults) {
        let tiny = Sizes {
            preset: "tiny",
            model: LanguageModelConfig { layers: 1, hidden: 64, dropout: 0.0 },
            init: 0.1,
            batch: 20,
            steps: 20,
            schedule: Schedule::new(1.0, 2, 0.5),
            clip: 5.0,
        };
        let small = Sizes {
            preset: "small",
            model: LanguageModelConfig { layers: 2, hidden: 200, dropout: 0.0 },
            schedule: Schedule::new(1.0, 4, 0.5),
            clip: 3.0,
            ..tiny
        };
        let medium = Sizes {
            preset: "medium",
            model: LanguageModelConfig { layers: 2, hidden: 650, dropout: 0.5 },
            init: 0.05,
            steps: 35,
            schedule: Schedule::new(1.0, 6, 0.8),
            clip: 5.0,
            ..small
        };
        let large = Sizes {
            preset: "large",
            model: LanguageModelConfig { layers: 2, hidden: 1500, dropout: 0.65 },
            init: 0.04,
            schedule: Schedule::new(1.0, 14, 1.0 / 1.15),
            clip: 10.0,
            ..medium
        };
        let (sizes, groups, codebook_size, epochs) = match self {
            Preset::Tiny => (tiny, 8, 16, 3),
            Preset::Small => (small, 25, 32, 15),
            Preset::Medium => (medium, 25, 32, 35),
            Preset::Large => (large, 50, 16, 35),
        };
        (sizes, Defaults { width: sizes.model.hidden, groups, codebook_size, epochs })
    }
}

impl Arguments {
    /// The preset's settings with the flags applied.
    ///
    /// # Errors
    /// The first flag whose value cannot be.
    pub fn settings(&self) -> Result<(Sizes, arguments::Settings)> {
        let default = if self.data.is_some() { Preset::Small } else { Preset::Tiny };
        let (sizes, defaults) = self.preset.unwrap_or(default).sizes();
        let settings = self.common.settings(&defaults)?;
        let schedule = Schedule {
            learning_rate: self.learning_rate.unwrap_or(sizes.schedule.learning_rate),
            constant: self.constant_epochs.unwrap_or(sizes.schedule.constant),
            decay: self.decay.unwrap_or(sizes.schedule.decay),
        };
        schedule.check()?;
        Ok((Sizes { schedule, ..sizes }, settings))
    }
}
