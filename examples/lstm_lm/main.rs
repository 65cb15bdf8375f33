//! Trains LSTM language models that differ only in their embedding, and compares them: a full
//! table with ones that learn their own compression.
//!
//! Without arguments it trains three small models on a made-up language. `--data DIR` takes a real
//! text, `--help` lists all flags. [`Training`] is the part to read.

mod after_training;
mod arguments;
#[path = "../common/mod.rs"]
mod common;
mod text;

use arguments::{Arguments, Sizes};
use clap::Parser;
use common::arguments::{Kind, Settings};
use common::embeddings::{Compact, Named, SLOW, embedding, is_temperature};
use common::progress::{Progress, thousands};
use common::report::{Measure, Report};
use common::results::{Model, Yardstick};
use common::run::{Begun, Experiment};
use common::{Result, run};
use dpq::data::Batches;
use dpq::nn::{LanguageModel, LstmState};
use dpq::optim::Sgd;
use dpq::train::{Task, Trainer};
use dpq::{Bound, Embedding, Error, Grads, Init, Params, Tape, Tensor, Var, parallel};
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;
use text::Text;

fn main() -> ExitCode {
    run::main(LanguageModels::new(&Arguments::parse()))
}

/// A language model in training: the part of this program to read. The loop around it is the library's.
struct Training {
    model: LanguageModel<f32>,
    text: Arc<Text>,
    batch: usize,
    /// The streams of text go on from window to window, and so does the network's state.
    state: LstmState<f32>,
}

impl Task<f32> for Training {
    fn steps(&self) -> usize {
        self.text.train.len()
    }

    /// The objective of a window of text: cross-entropy, and the embedding's regulariser if it has one.
    fn loss<'t>(&mut self, p: &Bound<'t, f32>, _: usize, step: usize) -> (Var<'t, f32>, f64) {
        if step == 0 {
            self.state = self.model.start(self.batch);
        }
        let pass = self.model.forward(p, &self.text.train.window(step), &self.state);
        self.state = pass.state;
        (pass.objective, f64::from(pass.cross_entropy))
    }

    fn after_step(&mut self, params: &mut Params<f32>, _: &Grads<f32>) -> dpq::Result<()> {
        self.model.embedding().update(params)
    }

    fn validate(
        &mut self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
    ) -> dpq::Result<Vec<(&'static str, f64)>> {
        Ok(vec![("valid_perplexity", perplexity(&self.model, params, tape, &self.text.valid)?)])
    }

    /// The network's state.
    fn carried(&self) -> Vec<(String, Tensor<f32>)> {
        self.state.tensors()
    }

    fn carry(&mut self, tensors: Vec<(String, Tensor<f32>)>) -> dpq::Result<()> {
        self.state = LstmState::from_tensors(tensors);
        Ok(())
    }
}

/// The perplexity of a text: the exponential of the mean cross-entropy of its words.
fn perplexity(
    model: &LanguageModel<f32>,
    params: &Params<f32>,
    tape: &mut Tape<f32>,
    text: &Batches,
) -> dpq::Result<f64> {
    let mut batch = text.window(0).batch;
    let mut state = model.start(batch);
    let (mut nats, mut words) = (0.0, 0.0);
    for window in text.windows() {
        if window.batch < batch {
            // The last stream goes on alone.
            state = state.stream(batch - 1);
            batch = window.batch;
        }
        let (cross_entropy, after) = tape.value(params, |p| {
            let pass = model.forward(p, &window, &state);
            (pass.cross_entropy, pass.state)
        })?;
        state = after;
        let count = window.targets.len() as f64;
        nats += count * f64::from(cross_entropy);
        words += count;
    }
    let perplexity = (nats / words).exp();
    if !perplexity.is_finite() {
        return Err(Error::NotFinite { what: "the perplexity".into(), value: perplexity });
    }
    Ok(perplexity)
}

/// All models of a run.
struct LanguageModels {
    sizes: Sizes,
    settings: Settings,
    text: Arc<Text>,
}

impl LanguageModels {
    fn new(arguments: &Arguments) -> Result<Self> {
        let (sizes, settings) = arguments.settings()?;
        let text = Arc::new(Text::new(arguments.data.as_deref(), &sizes, settings.seed)?);
        Ok(LanguageModels { sizes, settings, text })
    }

    /// A model with its embedding, at the start of the text.
    fn training(&self, params: &mut Params<f32>, embedding: Box<dyn Embedding<f32>>) -> Training {
        let scope = params.root().init(Init::Uniform(self.sizes.init));
        let model = LanguageModel::new(scope, embedding, self.sizes.model);
        let (text, batch) = (self.text.clone(), self.sizes.batch);
        let state = model.start(batch);
        Training { model, text, batch, state }
    }
}

/// A full model after training.
struct Trained {
    params: Params<f32>,
    model: LanguageModel<f32>,
}

impl Experiment for LanguageModels {
    type Task = Training;
    type Optimizer = Sgd<f32>;
    type Trained = Trained;
    const MAKES_TABLES: bool = true;

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn report(&self) -> Report {
        let sizes = [
            ("vocabulary", self.text.words.len().to_string()),
            ("width", self.settings.width.to_string()),
            ("layers", self.sizes.model.layers.to_string()),
            ("hidden units", self.sizes.model.hidden.to_string()),
            ("dropout", self.sizes.model.dropout.to_string()),
            ("epochs", self.settings.epochs.to_string()),
        ];
        Report {
            title: "Language models that differ in their embedding".into(),
            measure: Measure::Perplexity,
            settings: sizes.map(|(name, value)| (name.into(), value)).into(),
            data: Some(self.text.fingerprint.clone()),
            ..Report::default()
        }
    }

    fn yardsticks(&self) -> &[Yardstick] {
        &self.text.yardsticks
    }

    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![("preset", self.sizes.preset.into())]
    }

    fn headline(&self) -> String {
        format!(
            "vocabulary {}; preset {}: width {}, epochs {} of {} steps; threads {}",
            thousands(self.text.words.len()),
            self.sizes.preset,
            self.settings.width,
            self.settings.epochs,
            thousands(self.text.train.len()),
            parallel::threads()
        )
    }

    fn words(&self) -> &[String] {
        &self.text.words
    }

    fn other_bytes(&self) -> usize {
        let (width, model) = (self.settings.width, self.sizes.model);
        let recurrent = 4 * model.hidden * (width.max(model.hidden) + model.hidden + 1);
        4 * (self.text.words.len() * (model.hidden + 1) + model.layers * recurrent)
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        vec![
            ("preset", self.sizes.preset.into()),
            ("learning-rate", self.sizes.schedule.learning_rate.to_string()),
            ("constant-epochs", self.sizes.schedule.constant.to_string()),
            ("decay", self.sizes.schedule.decay.to_string()),
        ]
    }

    fn tokens(&self) -> f64 {
        (self.sizes.batch * self.sizes.steps) as f64
    }

    fn begin(&self, kind: Kind) -> Result<Begun<Training, Sgd<f32>>> {
        let mut params = Params::seeded(self.settings.seed);
        let (init, words) = (Init::Uniform(self.sizes.init), self.text.words.len());
        let (embedding, table) =
            embedding(kind, &mut params, "embedding", init, words, None, &self.settings)?;
        let task = self.training(&mut params, embedding);
        let optimizer = Sgd::new(self.sizes.schedule.learning_rate(0)).group(is_temperature, SLOW);
        Ok(Begun { params, task, tables: vec![table], optimizer })
    }

    fn trainer<'a>(&'a self, trainer: Trainer<'a, f32, Sgd<f32>>) -> Trainer<'a, f32, Sgd<f32>> {
        trainer.schedule(|epoch| self.sizes.schedule.learning_rate(epoch)).clip(self.sizes.clip)
    }

    fn tests_best(&self) -> bool {
        false
    }

    fn embedding<'a>(&self, task: &'a Training, _: &str) -> &'a dyn Embedding<f32> {
        task.model.embedding()
    }

    fn test(&self, task: &mut Training, params: &Params<f32>) -> Result<f64> {
        Ok(perplexity(&task.model, params, &mut Tape::new(), &self.text.test)?)
    }

    fn test_exported(
        &self,
        task: &mut Training,
        params: &Params<f32>,
        tables: Vec<(&'static str, Compact)>,
    ) -> Result<f64> {
        for (_, table) in tables {
            task.model.replace_embedding(Box::new(table));
        }
        self.test(task, params)
    }

    fn finish(
        &self,
        kind: Kind,
        task: Training,
        _: &[Named],
        params: Params<f32>,
    ) -> Result<Option<Trained>> {
        Ok((kind == Kind::Full).then_some(Trained { params, model: task.model }))
    }

    fn make(&self, kind: Kind, full: &mut Trained, progress: &Progress) -> Result<Option<Model>> {
        self.after_training(kind, full, progress)
    }
}
