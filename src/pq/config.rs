//! The settings of a DPQ layer.

use crate::error::{Error, Result};

/// How codes get their gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Softmax: dot products with keys, values apart, the gradient of a softmax.
    Sx,
    /// Vector quantisation: the nearest centroid, the gradient passed straight through.
    Vq,
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
    /// D, the codes per id. Divides the width.
    pub groups: usize,
    /// K, the codewords that a code chooses from: 2 to 65536.
    pub codebook_size: usize,
    /// One codebook for all groups instead of one each. Off by default.
    pub shared: bool,
    /// Scores are batch-normalised. On by default.
    pub batch_norm: bool,
    /// tau, the temperature of SX's softmax. 1 by default.
    pub temperature: f64,
    /// beta, the weight of SX's entropy term or of VQ's commitment term. 0 by default.
    pub beta: f64,
}

impl DpqConfig {
    /// The softmax form with the authors' defaults.
    pub fn sx(groups: usize, codebook_size: usize) -> Self {
        DpqConfig {
            form: Form::Sx,
            groups,
            codebook_size,
            shared: false,
            batch_norm: true,
            temperature: 1.0,
            beta: 0.0,
        }
    }

    /// The centroid form with the authors' defaults.
    pub fn vq(groups: usize, codebook_size: usize) -> Self {
        DpqConfig { form: Form::Vq, ..Self::sx(groups, codebook_size) }
    }

    /// Checks the settings for rows of `width` elements.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that cannot be.
    pub fn check(&self, width: usize) -> Result<()> {
        let refuse = |name, value: String, expected: &str| {
            Err(Error::Config { name, value, expected: expected.into() })
        };
        if self.groups == 0 || !width.is_multiple_of(self.groups) || width == 0 {
            return refuse(
                "groups",
                self.groups.to_string(),
                &format!("a divisor of the width {width}"),
            );
        }
        if !CODEBOOK_SIZES.contains(&self.codebook_size) {
            return refuse("codebook size", self.codebook_size.to_string(), "2 to 65536");
        }
        // Single precision has to hold the settings and the temperature's reciprocal.
        let held = |x: f64| x > 0.0 && (x as f32).is_normal();
        if !(held(self.temperature) && held(1.0 / self.temperature)) {
            let expected = "a positive number that single precision holds, with its reciprocal";
            return refuse("temperature", shown(self.temperature), expected);
        }
        if !(self.beta == 0.0 || held(self.beta)) {
            let expected = "0, or a positive number that single precision holds";
            return refuse("beta", shown(self.beta), expected);
        }
        Ok(())
    }

    /// G, the codebooks kept.
    pub fn codebooks(&self) -> usize {
        if self.shared { 1 } else { self.groups }
    }

    /// Bits of the compact form of V rows of width d: V D ceil(log2 K) for the codes and 32 G K s
    /// for the values.
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
        let codes = product([vocabulary, self.groups, bits(self.codebook_size) as usize, 1]);
        let values = product([32, self.codebooks(), self.codebook_size, width / self.groups]);
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

/// A number as a message has it: 0.5, but 1e-39.
fn shown(x: f64) -> String {
    let moderate = x == 0.0 || (1e-4..1e15).contains(&x.abs());
    if moderate { x.to_string() } else { format!("{x:e}") }
}

/// The codewords that a code may choose from.
pub(super) const CODEBOOK_SIZES: std::ops::RangeInclusive<usize> = 2..=65536;

/// ceil(log2 K): the bits of a code below K.
///
/// # Panics
/// If K is less than 2.
#[track_caller]
pub fn bits(codebook_size: usize) -> u32 {
    assert!(codebook_size >= 2, "bits: codebook size {codebook_size}: expected at least 2");
    (codebook_size - 1).ilog2() + 1
}
