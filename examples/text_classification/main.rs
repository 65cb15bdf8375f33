//! Trains classifiers of texts that differ only in their embedding, and compares them.
//!
//! Without arguments it trains three small models on a made-up set. `--data DIR` takes real texts,
//! `--help` lists all flags. [`Training`] is the part to read.

mod arguments;
#[path = "../common/checks.rs"]
mod checks;
mod classifier_file;
#[path = "../common/mod.rs"]
mod common;
mod confusion;
mod features;
#[path = "../common/input.rs"]
mod input;
mod made_up;
mod read;
mod small;

use arguments::{Arguments, Command, Schedule, Sizes};
use clap::Parser;
use classifier_file::Classifier;
use common::arguments::{Kind, Settings};
use common::embeddings::{Compact, SLOW, embedding, is_temperature};
use common::progress::{tell, thousands};
use common::report::{Measure, Report};
use common::results::Yardstick;
use common::run::{Begun, Experiment};
use common::{Result, fingerprint, interrupt, run};
use confusion::Confusion;
use dpq::data::Texts;
use dpq::nn::{TextClassifier, TextClassifierConfig};
use dpq::optim::Adam;
use dpq::train::{Task, Trainer};
use dpq::{Bound, Embedding, Grads, Init, Params, Tape, Var, parallel, rng};
use features::Features;
use read::{Example, Parts};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Texts that are evaluated at a time, which bounds memory.
const BATCH: usize = 256;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (&arguments.command, arguments.max_bytes) {
        (Some(Command::Predict { file }), _) => exit(predict(file)),
        (None, Some(max_bytes)) => exit(build_small(&arguments, max_bytes)),
        (None, None) => run::main(Classifiers::new(&arguments)),
    }
}

/// A report does not show which labels were taken for which of more than these.
const MOST_LABELS: usize = 50;

/// The exit code of what trains no models to compare; an error is printed.
fn exit(outcome: Result<()>) -> ExitCode {
    let failed = outcome.map_err(|error| tell(&format!("error: {error}"))).is_err();
    match failed {
        _ if interrupt::was_asked_for() => ExitCode::from(interrupt::EXIT_CODE),
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Labels each line of standard input.
fn predict(file: &Path) -> Result<()> {
    let classifier = Classifier::load(file)?;
    let mut out = std::io::stdout().lock();
    let mut lines = input::lines();
    loop {
        // What comes before a line that cannot be read is labelled all the same.
        let (mut texts, mut fault) = (Vec::new(), None);
        for line in lines.by_ref().take(BATCH) {
            match line {
                Ok(line) => texts.push(line),
                Err(error) => fault = Some(error),
            }
            if fault.is_some() {
                break;
            }
        }
        let of_batch: Vec<&str> = texts.iter().map(String::as_str).collect();
        for class in classifier.classify(&of_batch)? {
            writeln!(out, "{}", classifier.labels()[class as usize])?;
        }
        out.flush()?;
        match fault {
            Some(error) => return Err(error),
            None if texts.is_empty() => return Ok(()),
            None => {}
        }
    }
}

/// Builds the best classifier of a size, and prints what it comes to.
fn build_small(arguments: &Arguments, max_bytes: usize) -> Result<()> {
    let parts = parts(arguments)?;
    let (sizes, settings) = arguments.settings(parts.train.len())?;
    let line = parallel::with_threads(settings.threads, || {
        small::build(max_bytes, &parts, &sizes, &settings)
    })?;
    Ok(std::io::stdout().write_all(line.as_bytes())?)
}

/// The texts that were asked for.
fn parts(arguments: &Arguments) -> Result<Parts> {
    match &arguments.data {
        Some(path) => Parts::read(path),
        None => Ok(made_up::parts(arguments.seed())),
    }
}

/// A classifier in training: the part of this program to read. The loop around it is the library's.
struct Training {
    model: TextClassifier<f32>,
    data: Arc<Data>,
    batch: usize,
    seed: u64,
    /// The texts of the epoch, in the order in which they come.
    order: (usize, Vec<u32>),
}

impl Task<f32> for Training {
    fn steps(&self) -> usize {
        self.data.train.len() / self.batch
    }

    /// The cross-entropy of a batch of texts, and the embedding's regulariser if it has one.
    fn loss<'t>(&mut self, p: &Bound<'t, f32>, epoch: usize, step: usize) -> (Var<'t, f32>, f64) {
        if self.order.0 != epoch || self.order.1.is_empty() {
            let mut stream = rng::stream(self.seed, "order", epoch as u64);
            self.order = (epoch, rng::shuffled(self.data.train.len(), &mut stream));
        }
        let texts = &self.order.1[step * self.batch..][..self.batch];
        let (bags, classes) = self.data.train.batch(texts);
        let found = self.model.forward(p, &bags);
        let loss = found.logits.cross_entropy(&classes);
        let objective = found.regulariser.map_or(loss, |regulariser| loss + regulariser);
        (objective, f64::from(loss.value().item()))
    }

    fn after_step(&mut self, params: &mut Params<f32>, _: &Grads<f32>) -> dpq::Result<()> {
        self.model.embedding().update(params)
    }

    fn validate(
        &mut self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
    ) -> dpq::Result<Vec<(&'static str, f64)>> {
        let accuracy = self.accuracy(tape, params, &self.data.valid)?;
        Ok(vec![("valid_accuracy", Measure::Accuracy.figure(accuracy))])
    }
}

impl Training {
    fn new(model: TextClassifier<f32>, data: Arc<Data>, batch: usize, seed: u64) -> Training {
        Training { model, data, batch, seed, order: (0, Vec::new()) }
    }

    /// The class that each text is given.
    fn classify(
        &self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
        texts: &Texts,
    ) -> dpq::Result<Vec<u32>> {
        let all: Vec<u32> = (0..texts.len() as u32).collect();
        let mut classes = Vec::new();
        for texts_of_batch in all.chunks(BATCH) {
            let (bags, _) = texts.batch(texts_of_batch);
            classes.extend(tape.value(params, |p| self.model.forward(p, &bags).logits.argmax())?);
        }
        Ok(classes)
    }

    /// The share of texts that are given their class.
    fn accuracy(
        &self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
        texts: &Texts,
    ) -> dpq::Result<f64> {
        Ok(share_right(&self.classify(tape, params, texts)?, texts))
    }
}

/// The share of texts that were given their class.
fn share_right(found: &[u32], texts: &Texts) -> f64 {
    let right = found.iter().zip(texts.classes()).filter(|(found, class)| found == class);
    right.count() as f64 / texts.len() as f64
}

/// The texts as ids.
struct Data {
    features: Features,
    names: Vec<String>,
    labels: Vec<String>,
    fingerprint: String,
    train: Texts,
    valid: Texts,
    test: Texts,
    /// The class that most training texts have.
    majority: Vec<Yardstick>,
}

impl Data {
    fn new(parts: &Parts, features: Features) -> Data {
        let labels = parts.labels.clone();
        let encode = |examples: &[Example]| {
            let mut texts = Texts::new();
            for Example { label, text, .. } in examples {
                let class = labels.binary_search(label).expect("a label that was checked");
                texts.push(&features.encode(text), class as u32);
            }
            texts
        };
        let [train, valid, test] = [&parts.train, &parts.valid, &parts.test].map(|p| encode(p));
        let count = |texts: &Texts, class: u32| {
            texts.classes().iter().filter(|own| **own == class).count() as f64
        };
        let most = (0..labels.len() as u32)
            .max_by(|&a, &b| count(&train, a).total_cmp(&count(&train, b)))
            .expect("labels");
        let share = |texts: &Texts| count(texts, most) / texts.len() as f64;
        let majority =
            Yardstick { name: "most frequent label", valid: share(&valid), test: share(&test) };
        let names = features.names();
        let all = [&train, &valid, &test];
        let lengths = all
            .map(|texts| (0..texts.len()).map(|i| texts.ids(i).len() as u32).collect::<Vec<u32>>());
        let mut numbers: Vec<&[u32]> = lengths.iter().map(Vec::as_slice).collect();
        numbers.extend(all.iter().flat_map(|texts| [texts.all_ids(), texts.classes()]));
        let count = all.iter().map(|texts| texts.len()).sum();
        let what = format!("{} texts, {} features", thousands(count), thousands(names.len()));
        let words = names.iter().chain(&labels).map(String::as_str);
        let fingerprint = fingerprint(&what, words, &numbers);
        let majority = vec![majority];
        Data { features, names, labels, fingerprint, train, valid, test, majority }
    }
}

/// All models of a run.
struct Classifiers {
    sizes: Sizes,
    settings: Settings,
    data: Arc<Data>,
}

impl Classifiers {
    fn new(arguments: &Arguments) -> Result<Self> {
        let parts = parts(arguments)?;
        let (sizes, settings) = arguments.settings(parts.train.len())?;
        let words = Features::ranked(parts.train.iter().map(|example| example.text.as_str()));
        let features = Features::new(words, arguments.pairs);
        let data = Arc::new(Data::new(&parts, features));
        Ok(Classifiers { sizes, settings, data })
    }

    fn word_dropout(&self) -> f64 {
        self.sizes.word_dropout.unwrap_or(0.0)
    }
}

impl Experiment for Classifiers {
    type Task = Training;
    type Optimizer = Adam<f32>;
    type Trained = ();

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn report(&self) -> Report {
        let sizes = [
            ("labels", self.data.labels.len().to_string()),
            ("texts to train on", self.data.train.len().to_string()),
            ("features", self.data.features.len().to_string()),
            ("width", self.settings.width.to_string()),
            ("epochs", self.settings.epochs.to_string()),
        ];
        Report {
            title: "Classifiers of texts that differ in their embedding".into(),
            measure: Measure::Accuracy,
            settings: sizes.map(|(name, value)| (name.into(), value)).into(),
            data: Some(self.data.fingerprint.clone()),
            ..Report::default()
        }
    }

    fn yardsticks(&self) -> &[Yardstick] {
        &self.data.majority
    }

    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![("preset", self.sizes.preset.into()), ("labels", self.data.labels.clone().into())]
    }

    fn headline(&self) -> String {
        let Data { train, valid, test, features, labels, .. } = &*self.data;
        format!(
            "{} labels; {} texts to train on, {} to validate, {} to test; features {}; preset {}: \
             width {}, epochs {} of {} steps; threads {}",
            labels.len(),
            thousands(train.len()),
            thousands(valid.len()),
            thousands(test.len()),
            thousands(features.len()),
            self.sizes.preset,
            self.settings.width,
            self.settings.epochs,
            thousands(train.len() / self.sizes.batch),
            parallel::threads()
        )
    }

    fn words(&self) -> &[String] {
        &self.data.names
    }

    fn other_bytes(&self) -> usize {
        let (width, labels) = (self.settings.width, self.data.labels.len());
        let own = width * (width + labels + 10);
        // Adam keeps two numbers for each.
        4 * (3 * own + 2 * self.settings.width * self.data.names.len())
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        let schedule = match self.sizes.schedule {
            Schedule::Constant => "constant".into(),
            Schedule::Linear => format!("linear over {} epochs", self.settings.epochs),
        };
        vec![
            ("preset", self.sizes.preset.into()),
            ("pairs", self.data.features.buckets().to_string()),
            ("dropout", self.sizes.dropout.to_string()),
            ("word-dropout", self.word_dropout().to_string()),
            ("learning-rate", self.sizes.learning_rate.to_string()),
            ("schedule", schedule),
        ]
    }

    fn tokens(&self) -> f64 {
        let (ids, texts) = (self.data.train.all_ids().len(), self.data.train.len());
        (self.sizes.batch * ids) as f64 / texts as f64
    }

    fn begin(&self, kind: Kind) -> Result<Begun<Training, Adam<f32>>> {
        let mut params = Params::seeded(self.settings.seed);
        let (features, settings) = (self.data.features.len(), &self.settings);
        let (embedding, table) =
            embedding(kind, &mut params, "embedding", Init::Glorot, features, None, settings)?;
        let (dropout, word_dropout) = (self.sizes.dropout, self.word_dropout());
        let classes = self.data.labels.len();
        let config = TextClassifierConfig { classes, hidden: true, dropout, word_dropout };
        let model = TextClassifier::new(params.root(), embedding, config);
        let (batch, data) = (self.sizes.batch, self.data.clone());
        let task = Training::new(model, data, batch, self.settings.seed);
        let optimizer = Adam::new(self.sizes.learning_rate).group(is_temperature, SLOW);
        Ok(Begun { params, task, tables: vec![table], optimizer })
    }

    fn trainer<'a>(&'a self, trainer: Trainer<'a, f32, Adam<f32>>) -> Trainer<'a, f32, Adam<f32>> {
        let steps = self.settings.epochs * (self.data.train.len() / self.sizes.batch);
        trainer.schedule_by_step(move |step| self.sizes.learning_rate(step, steps))
    }

    fn tests_best(&self) -> bool {
        true
    }

    fn embedding<'a>(&self, task: &'a Training, _: &str) -> &'a dyn Embedding<f32> {
        task.model.embedding()
    }

    fn test(&self, task: &mut Training, params: &Params<f32>) -> Result<f64> {
        Ok(task.accuracy(&mut Tape::new(), params, &self.data.test)?)
    }

    fn test_exported(
        &self,
        task: &mut Training,
        params: &Params<f32>,
        tables: Vec<(&'static str, Compact)>,
    ) -> Result<f64> {
        let own = task.classify(&mut Tape::new(), params, &self.data.test)?;
        for (_, table) in tables {
            task.model.replace_embedding(Box::new(table));
        }
        let found = task.classify(&mut Tape::new(), params, &self.data.test)?;
        if let Some(i) = (0..own.len()).find(|&i| own[i] != found[i]) {
            let label = |class: u32| &self.data.labels[class as usize];
            let (own, found) = (label(own[i]), label(found[i]));
            return Err(
                format!("test text {}: {own}, but {found} from the saved table", i + 1).into()
            );
        }
        Ok(share_right(&found, &self.data.test))
    }

    /// Which labels were taken for which.
    fn sections(&self, task: &Training, params: &Params<f32>) -> Result<Vec<(String, String)>> {
        if self.data.labels.len() > MOST_LABELS {
            return Ok(Vec::new());
        }
        let found = task.classify(&mut Tape::new(), params, &self.data.test)?;
        let confusion = Confusion::new(&self.data.labels, self.data.test.classes(), &found);
        Ok(vec![("Labels of the test texts".into(), confusion.html())])
    }
}
