//! The settings of a DPQ layer.

use super::bands::Bands;
use super::settings::{
    CODEBOOK_SIZES, Form, MovingAverage, Score, Temperature, is_held, refuse, shown,
};
use crate::error::Result;

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
    /// [`Error::Config`](crate::Error::Config) with the first setting that cannot be.
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
