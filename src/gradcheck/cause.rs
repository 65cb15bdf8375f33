//! Likely causes of a wrong rule, read off its Jacobian beside the numeric one.

/// How far two entries may be apart and still count as equal, relative to the largest.
const ALIKE: f64 = 1e-5;

/// What the rule says of one input and what differences say: a row for every output element.
pub(super) struct Jacobians<'a> {
    pub(super) analytic: Vec<f64>,
    pub(super) numeric: Vec<f64>,
    /// The input's shape.
    pub(super) input: &'a [usize],
    /// How many output elements there are.
    pub(super) outputs: usize,
}

impl Jacobians<'_> {
    /// One sentence, if the two differ by a pattern that is known.
    pub(super) fn likely_cause(&self) -> Option<String> {
        let pairs = || self.analytic.iter().copied().zip(self.numeric.iter().copied());
        if pairs().any(|(a, _)| !a.is_finite()) {
            return Some("the rule's gradient is not finite".into());
        }
        if pairs().all(|(a, _)| a == 0.0) {
            return Some("the rule gives this input no gradient at all".into());
        }
        if let Some(sentence) = self.common_factor() {
            return Some(sentence);
        }
        let is_numeric_at = |place: &dyn Fn(usize) -> usize| {
            self.alike((0..self.numeric.len()).map(|i| (self.analytic[i], self.numeric[place(i)])))
        };
        let elements = self.numeric.len() / self.outputs.max(1);
        if let &[rows, columns] = self.input
            && rows == columns
            && is_numeric_at(&|i| {
                let (k, at) = (i / elements, i % elements);
                k * elements + at % columns * columns + at / columns
            })
        {
            return Some("the gradient is transposed".into());
        }
        if elements == self.outputs && is_numeric_at(&|i| i % elements * elements + i / elements) {
            return Some("the Jacobian is transposed: J dy in place of J' dy".into());
        }
        for shift in 1..elements.min(64) {
            if is_numeric_at(&|i| i / elements * elements + (i + shift) % elements) {
                return Some(format!(
                    "every element has the gradient of the one {shift} further on"
                ));
            }
        }
        let each_is = |factors: [f64; 2]| {
            pairs().all(|(a, n)| factors.iter().any(|factor| self.is_close(a, factor * n)))
        };
        let patterns = [
            (
                0.0,
                "some contributions are missing: a sum over a broadcast axis, an index that occurs \
                   twice and is overwritten, or a branch without its gradient",
            ),
            (2.0, "some contributions are counted twice"),
            (-1.0, "some signs are wrong"),
        ];
        let found = patterns.into_iter().find(|(factor, _)| each_is([1.0, *factor]));
        found.map(|(_, sentence)| sentence.into())
    }

    /// The analytic Jacobian is the numeric one times a number.
    fn common_factor(&self) -> Option<String> {
        let pairs = || self.analytic.iter().zip(&self.numeric);
        let (_, largest) = pairs().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
        let (analytic, _) = pairs().find(|(_, n)| *n == largest)?;
        let factor = analytic / largest;
        if !factor.is_finite() || !self.alike(pairs().map(|(&a, &n)| (a, factor * n))) {
            return None;
        }
        let is = |number: f64| (factor - number).abs() <= 1e-4 * number.abs();
        let lengths = || {
            self.input
                .iter()
                .copied()
                .chain([self.outputs, self.numeric.len() / self.outputs.max(1)])
        };
        Some(if is(-1.0) {
            "the sign is wrong".into()
        } else if is(2.0) || is(0.5) {
            format!(
                "the gradient is {factor:.3} times what it should be: a square's or a mean's factor of 2"
            )
        } else if let Some(n) = lengths().find(|&n| n > 1 && is(n as f64)) {
            format!(
                "the gradient is {n} times what it should be: a sum where the function has a mean"
            )
        } else if let Some(n) = lengths().find(|&n| n > 1 && is(1.0 / n as f64)) {
            format!(
                "the gradient is 1/{n} of what it should be: a mean where the function has a sum"
            )
        } else {
            format!("the gradient is {factor:.9} times what it should be, at every element")
        })
    }

    /// Whether the pairs are equal.
    fn alike(&self, pairs: impl Iterator<Item = (f64, f64)>) -> bool {
        let mut pairs = pairs.peekable();
        pairs.peek().is_some() && pairs.all(|(a, b)| self.is_close(a, b))
    }

    /// Whether two entries are equal, but for a difference that is small beside the largest entry.
    fn is_close(&self, a: f64, b: f64) -> bool {
        let size = self.numeric.iter().fold(0.0, |m: f64, n| m.max(n.abs()));
        (a - b).abs() <= ALIKE * size
    }
}
