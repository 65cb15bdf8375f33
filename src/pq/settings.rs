//! What the settings of a layer are made of, and how they are written on a command line and in a file.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The codewords that a code may choose from.
pub(crate) const CODEBOOK_SIZES: std::ops::RangeInclusive<usize> = 2..=65536;

/// ceil(log2 K): the bits of a code below K.
///
/// # Panics
/// If K is less than 2.
#[track_caller]
pub fn bits(codebook_size: usize) -> u32 {
    assert!(codebook_size >= 2, "bits: codebook size {codebook_size}: expected at least 2");
    (codebook_size - 1).ilog2() + 1
}

/// How codes get their gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Softmax: the best score against keys, values apart, the gradient of a softmax.
    Sx,
    /// Vector quantisation: the nearest centroid, the gradient passed straight through.
    Vq,
}

/// How a query is scored against a codeword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Score {
    /// < q, C >: SX by default.
    Dot,
    /// -||q - C||^2: VQ always, since its codeword takes the query's place. For SX where the length of a
    /// query should not decide how sure a choice is.
    SquaredDistance,
    /// < q, C > of unit vectors, x / sqrt(max(||x||^2, 1e-12)): for SX without batch normalisation, where
    /// long queries or codewords would win too often.
    Cosine,
}

/// tau, what SX divides scores by before the softmax. The value of a row does not depend on it, its
/// gradient does: a low one concentrates it on the codewords that score nearly as well as the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Temperature {
    /// The same all the time: 1 by default.
    Fixed(f64),
    /// A parameter, `temperature`, that starts here and learns with all others. A step to 0 or below is
    /// an error of the next pass.
    Learnable(f64),
    /// `start (end / start)^(step / steps)`, then `end`: to explore first and to settle later. Steps of the
    /// optimiser are counted in the statistic `temperature_step`.
    Annealed {
        /// Before the first step.
        start: f64,
        /// After the last one.
        end: f64,
        /// How many steps it takes.
        steps: usize,
    },
}

impl Temperature {
    /// Before the first step.
    pub fn start(self) -> f64 {
        match self {
            Temperature::Fixed(start)
            | Temperature::Learnable(start)
            | Temperature::Annealed { start, .. } => start,
        }
    }
}

/// Codebooks of VQ as moving averages of the queries that chose them, instead of the regulariser's
/// first term: they follow the queries without a learning rate.
///
/// For every codeword j with n\[j\] queries of the batch, in every step that trains:
///
/// ```text
/// N[j] <- decay N[j] + (1 - decay) n[j]
/// m[j] <- decay m[j] + (1 - decay) (sum of its queries)
/// C[j] =  m[j] / ((N[j] + smoothing) / (sum N + K smoothing) sum N)
/// ```
///
/// C is set by [`update`](crate::Embedding::update), which has to be called after each of the optimiser's
/// steps: without it codebooks stay as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MovingAverage {
    /// In (0, 1); 0.99 by default.
    pub decay: f64,
    /// Laplace smoothing, positive; 1e-5 by default.
    pub smoothing: f64,
    /// A codeword with N below this becomes a random query of the batch, with N at this number. 0, never,
    /// by default; 1 revives what fewer than one query of a batch chooses.
    pub revive_below: f64,
}

impl Default for MovingAverage {
    fn default() -> Self {
        MovingAverage { decay: 0.99, smoothing: 1e-5, revive_below: 0.0 }
    }
}

pub(super) fn refuse<R>(name: &'static str, value: String, expected: &str) -> Result<R> {
    Err(Error::Config { name, value, expected: expected.into() })
}

/// Whether a number is positive, in single precision too.
pub(super) fn is_held(x: f64) -> bool {
    x > 0.0 && (x as f32).is_normal()
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Score::Dot => "dot",
            Score::SquaredDistance => "squared-distance",
            Score::Cosine => "cosine",
        })
    }
}

/// `1`, `learnable:1` or `annealed:1:0.1:2000`.
impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Temperature::Fixed(tau) => write!(f, "{tau}"),
            Temperature::Learnable(tau) => write!(f, "learnable:{tau}"),
            Temperature::Annealed { start, end, steps } => {
                write!(f, "annealed:{start}:{end}:{steps}")
            }
        }
    }
}

impl FromStr for Score {
    type Err = Error;

    fn from_str(text: &str) -> Result<Score> {
        let all = [Score::Dot, Score::SquaredDistance, Score::Cosine];
        let found = all.into_iter().find(|score| score.to_string() == text);
        let expected = "dot, squared-distance or cosine";
        found.map_or_else(|| refuse("score", text.into(), expected), Ok)
    }
}

impl FromStr for Temperature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Temperature> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |text: &str| text.parse::<f64>().ok();
        let parsed = match parts[..] {
            [tau] => number(tau).map(Temperature::Fixed),
            ["learnable", tau] => number(tau).map(Temperature::Learnable),
            ["annealed", start, end, steps] => (|| {
                let (start, end) = (number(start)?, number(end)?);
                Some(Temperature::Annealed { start, end, steps: steps.parse().ok()? })
            })(),
            _ => None,
        };
        let expected = "TAU, learnable:TAU or annealed:TAU:TAU:STEPS";
        parsed.map_or_else(|| refuse("temperature", text.into(), expected), Ok)
    }
}

/// `0.99:0.00001:0`: decay, smoothing, and the count below which a codeword is revived.
impl fmt::Display for MovingAverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.decay, self.smoothing, self.revive_below)
    }
}

impl FromStr for MovingAverage {
    type Err = Error;

    fn from_str(text: &str) -> Result<MovingAverage> {
        let numbers: Vec<Option<f64>> = text.split(':').map(|part| part.parse().ok()).collect();
        match numbers[..] {
            [Some(decay), Some(smoothing), Some(revive_below)] => {
                Ok(MovingAverage { decay, smoothing, revive_below })
            }
            _ => refuse("moving average", text.into(), "DECAY:SMOOTHING:REVIVE_BELOW"),
        }
    }
}

/// A number as a message has it: 0.5, but 1e-39.
pub(super) fn shown(x: f64) -> String {
    let moderate = x == 0.0 || (1e-4..1e15).contains(&x.abs());
    if moderate { x.to_string() } else { format!("{x:e}") }
}
