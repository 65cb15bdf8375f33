//! Windows of parallel streams, for training a recurrent network.

use crate::error::{Error, Result};

/// A token sequence as `batch` parallel streams, cut into windows of `steps` tokens.
///
/// Stream `b` is `tokens[b * len..(b + 1) * len]` with `len = tokens.len() / batch`, and window
/// `i + 1` goes on where window `i` ended, in every stream: a network may carry its state over.
///
/// ```
/// use dpq::data::Batches;
///
/// let batches = Batches::new(&[0, 1, 2, 3, 10, 11, 12, 13], 2, 3)?;
/// let window = batches.window(0);
/// assert_eq!(window.inputs, [0, 10, 1, 11, 2, 12]);
/// assert_eq!(window.targets, [1, 11, 2, 12, 3, 13]);
/// # Ok::<(), dpq::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    tokens: Vec<u32>,
    batch: usize,
    steps: usize,
    stream: usize,
    windows: usize,
}

/// The tokens of some time steps in all streams, and those that follow them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// `steps * batch` ids, time-major: stream `b` at time `t` is `inputs[t * batch + b]`.
    pub inputs: Vec<u32>,
    /// The same, one step later.
    pub targets: Vec<u32>,
    /// The number of time steps.
    pub steps: usize,
    /// The number of streams.
    pub batch: usize,
}

impl Batches {
    /// Whole windows only, as for training: `(tokens.len() / batch - 1) / steps` of them. What
    /// fills no window is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if `batch` or `steps` is zero, or `tokens` too few for one window.
    pub fn new(tokens: &[u32], batch: usize, steps: usize) -> Result<Batches> {
        let mut batches = Batches::with_tail(tokens, batch, steps)?;
        batches.windows = (batches.stream - 1) / steps;
        if batches.windows == 0 {
            return Err(Error::Config {
                name: "steps",
                value: steps.to_string(),
                expected: format!(
                    "at most {}, as {} tokens in a batch of {batch} allow",
                    batches.stream - 1,
                    tokens.len()
                ),
            });
        }
        Ok(batches)
    }

    /// Whole windows, then a shorter one with what is left of the streams, as for evaluation:
    /// with `batch` 1 the targets are all of `tokens` but the first.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if `batch` or `steps` is zero, or a stream has fewer than two tokens.
    pub fn with_tail(tokens: &[u32], batch: usize, steps: usize) -> Result<Batches> {
        let stream = stream_length(tokens.len(), batch)?;
        if steps == 0 {
            return Err(Error::Config {
                name: "steps",
                value: steps.to_string(),
                expected: "at least 1".into(),
            });
        }
        let tokens = tokens[..batch * stream].to_vec();
        Ok(Batches { tokens, batch, steps, stream, windows: (stream - 1).div_ceil(steps) })
    }

    /// The number of windows in an epoch, at least 1.
    pub fn len(&self) -> usize {
        self.windows
    }

    /// Always false: there is at least one window.
    pub fn is_empty(&self) -> bool {
        self.windows == 0
    }

    /// The window `i`, which begins at time `i * steps`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`len`](Self::len).
    #[track_caller]
    pub fn window(&self, i: usize) -> Window {
        assert!(i < self.windows, "window {i} of {}", self.windows);
        let start = i * self.steps;
        let steps = self.steps.min(self.stream - 1 - start);
        Window {
            inputs: self.gather(start, steps),
            targets: self.gather(start + 1, steps),
            steps,
            batch: self.batch,
        }
    }

    /// All windows in order.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = Window> {
        (0..self.windows).map(|i| self.window(i))
    }

    /// `steps` tokens of each stream from time `start` on, time-major.
    fn gather(&self, start: usize, steps: usize) -> Vec<u32> {
        let streams = |time| self.tokens[time..].iter().step_by(self.stream);
        (start..start + steps).flat_map(streams).copied().collect()
    }
}

/// The tokens in each of `batch` streams, at least two: one to read, one to predict.
fn stream_length(tokens: usize, batch: usize) -> Result<usize> {
    match tokens.checked_div(batch) {
        Some(stream) if stream >= 2 => Ok(stream),
        _ => Err(Error::Config {
            name: "batch",
            value: batch.to_string(),
            expected: format!("at least 1, and 2 tokens or more for each stream out of {tokens}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eleven tokens in two streams of five, `0 1 2 3 4` and `5 6 7 8 9`.
    fn tokens() -> Vec<u32> {
        (0..11).collect()
    }

    #[test]
    fn windows_are_time_major_and_carry_on() {
        let batches = Batches::new(&tokens(), 2, 2).unwrap();
        let windows: Vec<Window> = batches.windows().collect();
        let expected = [
            Window { inputs: vec![0, 5, 1, 6], targets: vec![1, 6, 2, 7], steps: 2, batch: 2 },
            Window { inputs: vec![2, 7, 3, 8], targets: vec![3, 8, 4, 9], steps: 2, batch: 2 },
        ];
        assert_eq!(windows, expected);
        assert_eq!(batches.len(), 2);
    }

    #[test]
    fn a_tail_that_fills_no_window_is_dropped() {
        let batches = Batches::new(&tokens(), 2, 3).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!(batches.window(0).targets, [1, 6, 2, 7, 3, 8]);
    }

    #[test]
    fn a_kept_tail_predicts_all_tokens_but_the_first() {
        for steps in 1..15 {
            let batches = Batches::with_tail(&tokens(), 1, steps).unwrap();
            let inputs: Vec<u32> = batches.windows().flat_map(|window| window.inputs).collect();
            let targets: Vec<u32> = batches.windows().flat_map(|window| window.targets).collect();
            assert_eq!(inputs, tokens()[..10], "{steps} steps");
            assert_eq!(targets, tokens()[1..], "{steps} steps");
        }
    }

    #[test]
    fn a_kept_tail_is_shorter() {
        let batches = Batches::with_tail(&tokens(), 2, 3).unwrap();
        let tail = Window { inputs: vec![3, 8], targets: vec![4, 9], steps: 1, batch: 2 };
        assert_eq!((batches.len(), batches.window(1)), (2, tail));
    }

    #[test]
    fn the_epoch_length_is_that_of_the_penn_treebank() {
        let tokens = vec![0; 929_589];
        assert_eq!(Batches::new(&tokens, 20, 35).unwrap().len(), 1327);
    }

    #[test]
    fn too_few_tokens_are_an_error() {
        let text = |result: Result<Batches>| result.unwrap_err().to_string();
        assert_eq!(
            text(Batches::new(&tokens(), 2, 5)),
            "steps = 5: expected at most 4, as 11 tokens in a batch of 2 allow"
        );
        assert_eq!(
            text(Batches::new(&tokens(), 6, 1)),
            "batch = 6: expected at least 1, and 2 tokens or more for each stream out of 11"
        );
        assert!(text(Batches::new(&tokens(), 0, 1)).starts_with("batch = 0: "));
        assert_eq!(text(Batches::new(&tokens(), 1, 0)), "steps = 0: expected at least 1");
        assert!(text(Batches::with_tail(&[], 1, 1)).starts_with("batch = 1: "));
    }

    #[test]
    #[should_panic(expected = "window 2 of 2")]
    fn a_window_past_the_end_panics() {
        Batches::new(&tokens(), 2, 2).unwrap().window(2);
    }
}
