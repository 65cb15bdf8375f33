//! Training that survives: a loop with checkpoints, for a model and data of one's own.
//!
//! A program writes a [`Task`]: the loss of a step, and figures on the validation data. A [`Trainer`]
//! does the rest: it steps, validates, keeps the best model, stops early, and writes checkpoints, from
//! which a run goes on to the same bits as if nothing had happened.
//!
//! For that a task may depend on nothing but the parameters, the tape's noise and what it
//! [carries](Task::carried): who shuffles the data, shuffles by a stream that depends on the epoch,
//! `rng::stream(seed, "order", epoch)`. The folder of checkpoints must exist; whether to
//! [`resume`](Trainer::resume), [`Which::is_in`] knows. A program that watches gives `run` a closure for
//! its [`Event`]s, and tells its user of [`Event::NotSaved`].
//!
//! A classifier of short texts, the mean of their words' rows before a linear layer:
//!
//! ```
//! use dpq::nn::Linear;
//! use dpq::optim::Adam;
//! use dpq::train::{Ending, Task, Trainer, Which};
//! use dpq::{Bound, DpqConfig, DpqEmbedding, Embedding, Params, Result, Tape, Var};
//! use std::time::Duration;
//!
//! /// Texts of a step.
//! const BATCH: usize = 10;
//!
//! struct Classifier {
//!     words: DpqEmbedding,
//!     out: Linear,
//!     texts: Vec<([u32; 4], u32)>,
//! }
//!
//! impl Classifier {
//!     /// The cross-entropy of some of the texts.
//!     fn cross_entropy<'t>(&self, p: &Bound<'t, f32>, texts: &[([u32; 4], u32)]) -> Var<'t, f32> {
//!         let ids: Vec<u32> = texts.iter().flat_map(|(words, _)| *words).collect();
//!         let classes: Vec<u32> = texts.iter().map(|(_, class)| *class).collect();
//!         let rows = self.words.forward(p, &ids).rows.reshape([texts.len(), 4, 8]);
//!         self.out.forward(p, rows.mean_axis(1)).cross_entropy(&classes)
//!     }
//! }
//!
//! impl Task<f32> for Classifier {
//!     fn steps(&self) -> usize {
//!         self.texts.len() / BATCH - 1 // the last ones are for validation
//!     }
//!     fn loss<'t>(&mut self, p: &Bound<'t, f32>, _epoch: usize, step: usize) -> (Var<'t, f32>, f64) {
//!         let loss = self.cross_entropy(p, &self.texts[step * BATCH..][..BATCH]);
//!         (loss, f64::from(loss.value().item()))
//!     }
//!     fn validate(
//!         &mut self,
//!         tape: &mut Tape<f32>,
//!         params: &Params<f32>,
//!     ) -> Result<Vec<(&'static str, f64)>> {
//!         let held_out = &self.texts[self.texts.len() - BATCH..];
//!         let loss = tape.value(params, |p| self.cross_entropy(p, held_out).value().item())?;
//!         Ok(vec![("valid_loss", f64::from(loss))])
//!     }
//! }
//!
//! /// A text's class is whether its words are even or odd.
//! fn classifier() -> Result<(Params<f32>, Classifier)> {
//!     let mut params = Params::seeded(1);
//!     let words = DpqEmbedding::new(params.scope("words"), 50, 8, DpqConfig::sx(4, 8))?;
//!     let out = Linear::new(params.scope("out"), 8, 2);
//!     let word = |i: u32, k: u32| (i * 7 + k * 5) % 25 * 2 + i % 2;
//!     let texts = (0..60).map(|i| (std::array::from_fn(|k| word(i, k as u32)), i % 2)).collect();
//!     Ok((params, Classifier { words, out, texts }))
//! }
//!
//! # let temporary = tempfile::tempdir().expect("a folder");
//! # let folder = temporary.path();
//! let trainer = |params| Trainer::new(params, Adam::new(0.01)).epochs(6).clip(5.0).early_stopping(3);
//! let straight = {
//!     let (params, mut task) = classifier()?;
//!     let mut trainer = trainer(params);
//!     trainer.run(&mut task, |_| ())?;
//!     trainer.history().to_vec()
//! };
//!
//! // The same, stopped after a few steps, and gone on with.
//! let (params, mut task) = classifier()?;
//! let count = std::cell::Cell::new(0);
//! let stop = || { count.set(count.get() + 1); count.get() > 8 };
//! let minutes = Duration::from_secs(300);
//! let mut first = trainer(params).checkpoints(folder, minutes).stop_when(stop);
//! assert_eq!(first.run(&mut task, |_| ())?, Ending::Stopped);
//!
//! let (params, mut task) = classifier()?;
//! let mut second = trainer(params).checkpoints(folder, minutes);
//! second.resume(&mut task, Which::Latest)?;
//! assert_eq!(second.run(&mut task, |_| ())?, Ending::Finished);
//! let losses = |history: &[dpq::train::Epoch]| {
//!     history.iter().map(|epoch| epoch.figure("valid_loss").unwrap().to_bits()).collect::<Vec<_>>()
//! };
//! assert_eq!(losses(second.history()), losses(&straight));
//! # Ok::<(), dpq::Error>(())
//! ```

mod checkpoint;
mod history;
mod found;
mod task;
mod trainer;

pub use checkpoint::{LATEST, PREVIOUS, Which, check};
pub use history::Epoch;
pub use task::{Ending, Event, Task};
pub use trainer::{BEST, Trainer};
