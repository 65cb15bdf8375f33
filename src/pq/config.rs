//! The settings of a DPQ layer.

use super::bands::{Bands, CODEBOOK_SIZES};
use crate::error::{Error, Result};

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

/// The settings of a DPQ layer.
///
/// ```
/// use dpq::DpqConfig;
/// let config = DpqConfig { shared: true, ..DpqConfig::sx(25, 32) };
/// assert!(config.check(200).is_ok());
/// assert_eq!(config.check(201).unwrap_err().to_string(), "groups = 25: expected a divisor of the width 201");
/// // 10,000 words of width 200: 25 codes of 5 bits each, and 32 codewords of 8 elements.
/// assert_eq!(config.compression_ratio(10_000, 200).round(), 51.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpqConfig {
    /// SX or VQ.
    pub form: Form,
    /// D, the codes per id. Divides the width, unless groups are additive.
    pub groups: usize,
    /// K, the codewords that a code chooses from: 2 to 65536.
    pub codebook_size: usize,
    /// One codebook for all groups instead of one each. Off by default.
    pub shared: bool,
    /// Scores are batch-normalised: codewords win about equally often, which keeps them in use. On by
    /// default.
    pub batch_norm: bool,
    /// What scores are.
    pub score: Score,
    /// tau, the temperature of SX's softmax.
    pub temperature: Temperature,
    /// Codes of SX are sampled from its softmax in training, as by Gumbel noise on the logarithms of its
    /// chances; evaluation takes the best. For exploration, where codes settle too early. Off by default.
    pub sampling: bool,
    /// beta, the weight of SX's entropy term, which makes choices surer, or of VQ's commitment term, which
    /// keeps queries near their codewords. 0 by default.
    pub beta: f64,
    /// VQ's codebooks follow the queries as moving averages. Off by default.
    pub moving_average: Option<MovingAverage>,
    /// Codewords are as wide as a row, and a row is the mean of its D codewords instead of one after the
    /// other: more values for a code to say, at D times their size. Off by default.
    pub additive: bool,
    /// Rare ids choose from fewer codewords, in fewer bits. None by default.
    pub bands: Bands,
}

impl DpqConfig {
    /// A form with the authors' defaults.
    pub fn new(form: Form, groups: usize, codebook_size: usize) -> Self {
        DpqConfig {
            form,
            groups,
            codebook_size,
            shared: false,
            batch_norm: true,
            score: match form {
                Form::Sx => Score::Dot,
                Form::Vq => Score::SquaredDistance,
            },
            temperature: Temperature::Fixed(1.0),
            sampling: false,
            beta: 0.0,
            moving_average: None,
            additive: false,
            bands: Bands::NONE,
        }
    }

    /// The softmax form with the authors' defaults.
    pub fn sx(groups: usize, codebook_size: usize) -> Self {
        DpqConfig::new(Form::Sx, groups, codebook_size)
    }

    /// The centroid form with the authors' defaults.
    pub fn vq(groups: usize, codebook_size: usize) -> Self {
        DpqConfig::new(Form::Vq, groups, codebook_size)
    }

    /// Checks the settings for rows of `width` elements.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that cannot be.
    pub fn check(&self, width: usize) -> Result<()> {
        let (groups, size) = (self.groups, self.codebook_size);
        if width == 0 || groups == 0 || !(self.additive || width.is_multiple_of(groups)) {
            let expected = match self.additive {
                true => "at least 1".into(),
                false => format!("a divisor of the width {width}"),
            };
            return refuse("groups", groups.to_string(), &expected);
        }
        let most = isize::MAX as usize / 8;
        if self.additive && groups.checked_mul(width).is_none_or(|all| all > most) {
            let expected = format!("at most {} of width {width}", most / width);
            return refuse("groups", groups.to_string(), &expected);
        }
        if !CODEBOOK_SIZES.contains(&size) {
            return refuse("codebook size", size.to_string(), "2 to 65536");
        }
        if self.score == Score::Cosine && self.group_width(width) < 2 {
            let expected = "another score for groups of width 1, where it is only a sign";
            return refuse("score", self.score.to_string(), expected);
        }
        self.check_temperature()?;
        if !(self.beta == 0.0 || is_held(self.beta)) {
            let expected = "0, or a positive number that single precision holds";
            return refuse("beta", shown(self.beta), expected);
        }
        self.check_form()?;
        self.bands.check(size)
    }

    fn check_temperature(&self) -> Result<()> {
        // Single precision has to hold the temperature and its reciprocal.
        let sound = |x: f64| is_held(x) && is_held(1.0 / x);
        let ends = match self.temperature {
            Temperature::Annealed { start, end, .. } => [start, end],
            other => [other.start(); 2],
        };
        if let Some(&wrong) = ends.iter().find(|&&x| !sound(x)) {
            let expected = "a positive number that single precision holds, with its reciprocal";
            return refuse("temperature", shown(wrong), expected);
        }
        match self.temperature {
            // Single precision counts the steps.
            Temperature::Annealed { steps, .. } if !(1..=1 << 24).contains(&steps) => {
                refuse("steps of the temperature", steps.to_string(), "1 to 16777216")
            }
            _ => Ok(()),
        }
    }

    /// What only one of the forms has.
    fn check_form(&self) -> Result<()> {
        if self.form == Form::Sx {
            return match self.moving_average {
                Some(settings) => refuse(
                    "moving average",
                    settings.to_string(),
                    "none for SX, whose values learn from the task",
                ),
                None => Ok(()),
            };
        }
        if self.score != Score::SquaredDistance {
            let expected = "squared distance for VQ, whose codeword takes the query's place";
            return refuse("score", self.score.to_string(), expected);
        }
        if self.temperature != Temperature::Fixed(1.0) {
            let expected = "fixed at 1 for VQ, which has no softmax";
            return refuse("temperature", self.temperature.to_string(), expected);
        }
        if self.sampling {
            return refuse("sampling", "true".into(), "false for VQ, which has no chances");
        }
        let Some(MovingAverage { decay, smoothing, revive_below }) = self.moving_average else {
            return Ok(());
        };
        if !(decay > 0.0 && (decay as f32) < 1.0 && is_held(decay)) {
            return refuse("decay", shown(decay), "a number between 0 and 1");
        }
        if !is_held(smoothing) {
            let expected = "a positive number that single precision holds";
            return refuse("smoothing", shown(smoothing), expected);
        }
        // Below the smoothing a revived codeword would not be the query that it is set to.
        let revives = is_held(revive_below) && revive_below >= 100.0 * smoothing;
        if !(revive_below == 0.0 || revives) {
            let expected = "0, or a number of at least 100 times the smoothing";
            return refuse("revive below", shown(revive_below), expected);
        }
        Ok(())
    }

    /// s, the width of a codeword: d / D, or d where groups are additive.
    ///
    /// # Panics
    /// If there are no groups.
    pub fn group_width(&self, width: usize) -> usize {
        if self.additive { width } else { width / self.groups }
    }

    /// D s, the width of a query: d, or D d where groups are additive.
    ///
    /// # Panics
    /// If there are no groups.
    pub fn query_width(&self, width: usize) -> usize {
        self.groups * self.group_width(width)
    }

    /// The same sizes with nothing that only training has: of tables that no scores were trained for.
    pub(super) fn sizes_only(self) -> DpqConfig {
        let DpqConfig { form, groups, codebook_size, shared, additive, bands, .. } = self;
        let plain = DpqConfig::new(form, groups, codebook_size);
        DpqConfig { shared, additive, bands, batch_norm: false, ..plain }
    }

    /// G, the codebooks kept.
    pub fn codebooks(&self) -> usize {
        if self.shared { 1 } else { self.groups }
    }

    /// Bits of the compact form of V rows of width d: V D ceil(log2 K) for the codes, of a band by its own
    /// K, and 32 G K s for the values.
    ///
    /// # Panics
    /// If the settings do not [fit](Self::check) the width, or the bits are more than a `usize` counts.
    #[track_caller]
    pub fn compact_bits(&self, vocabulary: usize, width: usize) -> usize {
        if let Err(error) = self.check(width) {
            panic!("compact_bits: {error}");
        }
        let product = |factors: [usize; 4]| {
            factors.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
        };
        let codes = self.bands.code_bits(vocabulary, self.groups, self.codebook_size);
        let values = product([32, self.codebooks(), self.codebook_size, self.group_width(width)]);
        match codes.zip(values).and_then(|(codes, values)| codes.checked_add(values)) {
            Some(bits) => bits,
            None => {
                panic!("compact_bits: {vocabulary} rows of width {width} are too many to count")
            }
        }
    }

    /// Bits of the full table, 32 V d, over those of the compact form.
    ///
    /// # Panics
    /// As [`compact_bits`](Self::compact_bits).
    #[track_caller]
    pub fn compression_ratio(&self, vocabulary: usize, width: usize) -> f64 {
        32.0 * vocabulary as f64 * width as f64 / self.compact_bits(vocabulary, width) as f64
    }
}

fn refuse<R>(name: &'static str, value: String, expected: &str) -> Result<R> {
    Err(Error::Config { name, value, expected: expected.into() })
}

/// Whether a number is positive, in single precision too.
fn is_held(x: f64) -> bool {
    x > 0.0 && (x as f32).is_normal()
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Score::Dot => "dot",
            Score::SquaredDistance => "squared-distance",
            Score::Cosine => "cosine",
        })
    }
}

/// `1`, `learnable:1` or `annealed:1:0.1:2000`.
impl std::fmt::Display for Temperature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Temperature::Fixed(tau) => write!(f, "{tau}"),
            Temperature::Learnable(tau) => write!(f, "learnable:{tau}"),
            Temperature::Annealed { start, end, steps } => {
                write!(f, "annealed:{start}:{end}:{steps}")
            }
        }
    }
}

impl std::str::FromStr for Score {
    type Err = Error;

    fn from_str(text: &str) -> Result<Score> {
        let all = [Score::Dot, Score::SquaredDistance, Score::Cosine];
        let found = all.into_iter().find(|score| score.to_string() == text);
        let expected = "dot, squared-distance or cosine";
        found.map_or_else(|| refuse("score", text.into(), expected), Ok)
    }
}

impl std::str::FromStr for Temperature {
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
impl std::fmt::Display for MovingAverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.decay, self.smoothing, self.revive_below)
    }
}

impl std::str::FromStr for MovingAverage {
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
fn shown(x: f64) -> String {
    let moderate = x == 0.0 || (1e-4..1e15).contains(&x.abs());
    if moderate { x.to_string() } else { format!("{x:e}") }
}
