//! Windows of parallel streams, for training a recurrent network.

use crate::error::{Error, Result};
use std::ops::Range;

/// A token sequence as `batch` parallel streams, cut into windows of `steps` tokens.
///
/// Window `i + 1` goes on where window `i` ended, in every stream: a network may carry its state
/// over.
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
    /// Tokens from the start of a stream to the start of the next.
    stream: usize,
    /// Tokens of a stream that are read and whose successors are predicted.
    predicted: usize,
    /// The same of the last window, in which the last stream goes on alone.
    rest: usize,
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

impl Window {
    /// Some of the streams.
    ///
    /// # Panics
    /// If there are not as many.
    #[track_caller]
    pub fn streams(&self, streams: Range<usize>) -> Window {
        assert!(
            streams.end <= self.batch,
            "streams {streams:?} of a window of {} streams",
            self.batch
        );
        let of = |ids: &[u32]| {
            ids.chunks_exact(self.batch).flat_map(|step| &step[streams.clone()]).copied().collect()
        };
        let (inputs, targets) = (of(&self.inputs), of(&self.targets));
        Window { inputs, targets, steps: self.steps, batch: streams.len() }
    }
}

impl Batches {
    /// Whole windows only, as for training: `(tokens.len() / batch - 1) / steps` of them. What
    /// fills no window is dropped. Stream `b` is `tokens[b * len..(b + 1) * len]` with
    /// `len = tokens.len() / batch`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if `batch` or `steps` is zero, or `tokens` too few for one window.
    pub fn new(tokens: &[u32], batch: usize, steps: usize) -> Result<Batches> {
        let stream = tokens.len().checked_div(batch).unwrap_or(0);
        if stream < 2 {
            let expected =
                format!("at least 1, and 2 tokens or more for each stream out of {}", tokens.len());
            return refuse("batch", batch, expected);
        }
        let Some(windows) = (stream - 1).checked_div(steps) else {
            return refuse("steps", steps, "at least 1");
        };
        if windows == 0 {
            let (most, tokens) = (stream - 1, tokens.len());
            let expected =
                format!("at most {most}, as {tokens} tokens in a batch of {batch} allow");
            return refuse("steps", steps, expected);
        }
        let tokens = tokens[..batch * stream].to_vec();
        Ok(Batches { tokens, batch, steps, stream, predicted: windows * steps, rest: 0 })
    }

    /// Every token but the first is a target exactly once, as for evaluation, whatever the batch.
    ///
    /// Stream `b` reads `tokens[b * len..(b + 1) * len]` with `len = (tokens.len() - 1) / batch`, in
    /// windows of `steps` and a shorter last one; its last target is the first token of the next
    /// stream. What is left, fewer than `batch` tokens, comes as one more window of batch 1, which
    /// goes on where the last stream ended: from `LstmState::stream(batch - 1)`, say. If there are
    /// fewer targets than streams, that is the only window.
    ///
    /// ```
    /// use dpq::data::Batches;
    ///
    /// let batches = Batches::with_tail(&[0, 1, 2, 3, 4, 5], 2, 3)?;
    /// let targets: Vec<_> = batches.windows().map(|window| window.targets).collect();
    /// assert_eq!(targets, [vec![1, 3, 2, 4], vec![5]]);
    /// # Ok::<(), dpq::error::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if `batch` or `steps` is zero, or there are fewer than two tokens.
    pub fn with_tail(tokens: &[u32], batch: usize, steps: usize) -> Result<Batches> {
        if batch == 0 {
            return refuse("batch", batch, "at least 1");
        }
        if steps == 0 {
            return refuse("steps", steps, "at least 1");
        }
        if tokens.len() < 2 {
            return refuse("tokens", tokens.len(), "at least 2: one to read, one to predict");
        }
        let targets = tokens.len() - 1;
        let stream = targets / batch;
        let tokens = tokens.to_vec();
        Ok(Batches { tokens, batch, steps, stream, predicted: stream, rest: targets % batch })
    }

    /// The number of windows in an epoch, at least 1.
    pub fn len(&self) -> usize {
        self.parallel() + usize::from(self.rest > 0)
    }

    /// Always false: there is at least one window.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The window `i`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`len`](Self::len).
    #[track_caller]
    pub fn window(&self, i: usize) -> Window {
        assert!(i < self.len(), "window {i} of {}", self.len());
        if i == self.parallel() {
            let left = &self.tokens[self.batch * self.stream..][..=self.rest];
            return Window {
                inputs: left[..self.rest].to_vec(),
                targets: left[1..].to_vec(),
                steps: self.rest,
                batch: 1,
            };
        }
        let start = i * self.steps;
        let steps = self.steps.min(self.predicted - start);
        Window {
            inputs: self.gather(start, steps),
            targets: self.gather(start + 1, steps),
            steps,
            batch: self.batch,
        }
    }

    /// All windows in order.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = Window> {
        (0..self.len()).map(|i| self.window(i))
    }

    /// The number of windows with all streams.
    fn parallel(&self) -> usize {
        self.predicted.div_ceil(self.steps)
    }

    /// `steps` tokens of each stream from time `start` on, time-major.
    fn gather(&self, start: usize, steps: usize) -> Vec<u32> {
        let streams = |time| self.tokens[time..].iter().step_by(self.stream).take(self.batch);
        (start..start + steps).flat_map(streams).copied().collect()
    }
}

fn refuse<T>(name: &'static str, value: usize, expected: impl Into<String>) -> Result<T> {
    Err(Error::Config { name, value: value.to_string(), expected: expected.into() })
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
    fn with_the_tail_every_token_but_the_first_is_predicted_once() {
        for (n, batch, steps) in
            (2..60).flat_map(|n| (1..8).flat_map(move |b| (1..9).map(move |s| (n, b, s))))
        {
            let tokens: Vec<u32> = (0..n).collect();
            let batches = Batches::with_tail(&tokens, batch, steps).unwrap();
            let case = format!("{n} tokens, batch {batch}, {steps} steps");
            let mut targets = Vec::new();
            // The token that each stream is to read next.
            let mut next: Vec<u32> = Vec::new();
            for window in batches.windows() {
                assert_eq!(window.inputs.len(), window.steps * window.batch, "{case}");
                if next.is_empty() {
                    next = window.inputs[..window.batch].to_vec();
                } else if window.batch < next.len() {
                    next = next[next.len() - 1..].to_vec();
                }
                for (&input, &target) in window.inputs.iter().zip(&window.targets) {
                    assert_eq!(input + 1, target, "{case}");
                }
                for inputs in window.inputs.chunks(window.batch) {
                    assert_eq!(inputs, next, "{case}");
                    next.iter_mut().for_each(|token| *token += 1);
                }
                targets.extend(window.targets);
            }
            targets.sort();
            assert_eq!(targets, tokens[1..], "{case}");
            assert_eq!(batches.len(), batches.windows().len(), "{case}");
        }
    }

    #[test]
    fn the_tail_goes_on_where_the_last_stream_ended() {
        let windows: Vec<Window> = Batches::with_tail(&tokens(), 3, 2).unwrap().windows().collect();
        let expected = [
            Window {
                inputs: vec![0, 3, 6, 1, 4, 7],
                targets: vec![1, 4, 7, 2, 5, 8],
                steps: 2,
                batch: 3,
            },
            Window { inputs: vec![2, 5, 8], targets: vec![3, 6, 9], steps: 1, batch: 3 },
            Window { inputs: vec![9], targets: vec![10], steps: 1, batch: 1 },
        ];
        assert_eq!(windows, expected);
    }

    #[test]
    fn fewer_targets_than_streams_come_in_one_stream() {
        let batches = Batches::with_tail(&[7, 8, 9], 20, 1).unwrap();
        let all = Window { inputs: vec![7, 8], targets: vec![8, 9], steps: 2, batch: 1 };
        assert_eq!(batches.windows().collect::<Vec<_>>(), [all]);
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
        assert_eq!(
            text(Batches::with_tail(&[1], 1, 1)),
            "tokens = 1: expected at least 2: one to read, one to predict"
        );
        assert_eq!(text(Batches::with_tail(&tokens(), 0, 1)), "batch = 0: expected at least 1");
        assert_eq!(text(Batches::with_tail(&tokens(), 1, 0)), "steps = 0: expected at least 1");
    }

    #[test]
    #[should_panic(expected = "window 2 of 2")]
    fn a_window_past_the_end_panics() {
        Batches::new(&tokens(), 2, 2).unwrap().window(2);
    }
}
