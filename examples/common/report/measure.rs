//! What models are measured by.

use super::axis::Axis;
use super::text::{percent, short};

/// The figure that tells how good a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The exponential of the mean cross-entropy.
    #[default]
    Perplexity,
    /// The share of texts whose class is found.
    Accuracy,
    /// Of translations beside those of people, 0 to 100 (Papineni et al. 2002).
    Bleu,
}

impl Measure {
    /// In sentences and titles.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Perplexity => "perplexity",
            Measure::Accuracy => "accuracy",
            Measure::Bleu => "BLEU",
        }
    }

    /// In files, behind `valid_` and `test_`.
    pub fn key(self) -> &'static str {
        if self == Measure::Bleu { "bleu" } else { self.name() }
    }

    /// On the terminal.
    pub fn short(self) -> &'static str {
        if self == Measure::Perplexity { "ppl" } else { self.name() }
    }

    pub fn higher_is_better(self) -> bool {
        self != Measure::Perplexity
    }

    /// Whether its axis is logarithmic.
    pub fn is_logarithmic(self) -> bool {
        self == Measure::Perplexity
    }

    /// An axis that holds all values.
    pub fn axis(self, values: impl Iterator<Item = f64>) -> Axis {
        match self {
            Measure::Perplexity => Axis::log(values, 7, short),
            Measure::Accuracy => Axis::around(values, 7, percent),
            Measure::Bleu => Axis::around(values, 7, short),
        }
    }

    /// What an epoch of training reports: the mean cross-entropy, or what is made of it.
    pub fn of_training(self) -> Training {
        if self == Measure::Accuracy { Training::Loss } else { Training::Perplexity }
    }

    /// The first figure of a validation, by which the best model is chosen: the lower the better.
    pub fn figure(self, value: f64) -> f64 {
        if self.higher_is_better() { -value } else { value }
    }

    /// How far b is from a: of a perplexity a share of it.
    pub fn difference(self, a: f64, b: f64) -> String {
        match self {
            Measure::Perplexity => format!("{:.1}%", 100.0 * (b / a - 1.0).abs()),
            Measure::Accuracy => format!("{:.2} points", 100.0 * (b - a).abs()),
            Measure::Bleu => format!("{:.2}", (b - a).abs()),
        }
    }

    /// In tables.
    pub fn text(self, value: f64) -> String {
        match self {
            _ if !value.is_finite() => "not finite".into(),
            Measure::Accuracy => format!("{:.2}%", 100.0 * value),
            _ if value.abs() >= 1e6 => format!("{value:.2e}"),
            _ => format!("{value:.2}"),
        }
    }
}

/// What an epoch of training reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Training {
    /// The mean cross-entropy, in nats.
    Loss,
    /// Its exponential.
    Perplexity,
}

impl Training {
    /// In titles, and in files behind `train_`.
    pub fn name(self) -> &'static str {
        if self == Training::Loss { "loss" } else { "perplexity" }
    }

    /// On the terminal.
    pub fn short(self) -> &'static str {
        if self == Training::Loss { "loss" } else { "ppl" }
    }

    /// Of an epoch's mean cross-entropy.
    pub fn of(self, nats: f64) -> f64 {
        if self == Training::Loss { nats } else { nats.exp() }
    }

    /// In tables.
    pub fn text(self, value: f64) -> String {
        match self {
            Training::Loss if value.is_finite() => format!("{value:.4}"),
            _ => Measure::Perplexity.text(value),
        }
    }
}
