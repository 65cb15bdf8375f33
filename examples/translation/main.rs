//! Trains translators that differ only in their embedding, and compares them.
//!
//! Without arguments it trains three small models on made-up phrases. `--data DIR` takes real sentences,
//! `--help` lists all flags. [`Training`] is the part to read.

mod arguments;
mod attention;
mod bleu;
#[path = "../common/checks.rs"]
mod checks;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/input.rs"]
mod input;
mod made_up;
mod sentences;
mod translator_file;

use arguments::{Arguments, Command, Method, Sizes};
use bleu::bleu;
use clap::Parser;
use common::arguments::{Kind, Settings};
use common::embeddings::{Compact, Named, SLOW, embedding, is_temperature};
use common::progress::{tell, thousands};
use common::report::{Measure, Report};
use common::run::{Begun, Experiment};
use common::{Result, fingerprint, run};
use dpq::nn::{Translation, Translator, TranslatorConfig};
use dpq::optim::{Adam, Optimizer, Sgd};
use dpq::train::{Task, Trainer};
use dpq::{Bound, Embedding, FullEmbedding, Grads, Init, Params, Tape, Var, parallel};
use sentences::{Encoded, Pairs, Parts, Sentences, Words};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use translator_file::Saved;

/// Sentences that are translated at a time, which bounds memory.
const BATCH: usize = 64;

/// Gradients are clipped to this norm.
const CLIP: f64 = 5.0;

/// Weights start uniform in +- this.
const INIT: Init = Init::Uniform(0.1);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Translate { file, beam }) => match translate(file, *beam) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tell(&format!("error: {error}"));
                ExitCode::FAILURE
            }
        },
        None => run::main(Translators::new(&arguments)),
    }
}

/// Translates each line of standard input.
fn translate(file: &Path, beam: usize) -> Result<()> {
    arguments::check_beam(beam)?;
    let saved = Saved::load(file)?;
    let mut out = std::io::stdout().lock();
    for line in input::lines() {
        writeln!(out, "{}", saved.translate(&sentences::words(&line?), beam)?.join(" "))?;
        out.flush()?;
    }
    Ok(())
}

/// A translator in training: the part of this program to read. The loop around it is the library's.
struct Training {
    model: Translator<f32>,
    data: Arc<Data>,
    sizes: Sizes,
    seed: u64,
    /// How many batches an epoch has.
    steps: usize,
    /// The batches of the epoch.
    order: (usize, Vec<Vec<u32>>),
}

impl Task<f32> for Training {
    fn steps(&self) -> usize {
        self.steps
    }

    /// The objective of a batch of sentence pairs: cross-entropy, and the embeddings' regularisers.
    fn loss<'t>(&mut self, p: &Bound<'t, f32>, epoch: usize, step: usize) -> (Var<'t, f32>, f64) {
        if self.order.0 != epoch || self.order.1.is_empty() {
            self.order = (epoch, self.data.train.order(self.sizes.batch, self.seed, epoch));
        }
        let (sources, targets) = self.data.train.pairs(&self.order.1[step]);
        let found = self.model.forward(p, &sources, &targets);
        (found.objective, f64::from(found.cross_entropy))
    }

    fn after_step(&mut self, params: &mut Params<f32>, _: &Grads<f32>) -> dpq::Result<()> {
        self.model.embeddings().into_iter().try_for_each(|embedding| embedding.update(params))
    }

    fn validate(
        &mut self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
    ) -> dpq::Result<Vec<(&'static str, f64)>> {
        let found = self.bleu(tape, params, &self.data.valid, &self.data.valid_references, 1)?;
        Ok(vec![("valid_bleu", Measure::Bleu.figure(found))])
    }
}

impl Training {
    /// The translations of sentences.
    fn translate(
        &self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
        sources: &[Vec<u32>],
        beam: usize,
    ) -> dpq::Result<Vec<Translation>> {
        // Those of similar length together.
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|&i| sources[i].len());
        let mut all: Vec<Option<Translation>> = vec![None; sources.len()];
        for batch in order.chunks(BATCH.div_ceil(beam)) {
            let of_batch: Vec<&[u32]> = batch.iter().map(|&i| &sources[i][..]).collect();
            let found = self.model.translate(tape, params, &of_batch, beam)?;
            batch.iter().zip(found).for_each(|(&i, found)| all[i] = Some(found));
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// BLEU of the translations of sentences.
    fn bleu(
        &self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
        pairs: &Encoded,
        references: &Sentences,
        beam: usize,
    ) -> dpq::Result<f64> {
        let found = self.translate(tape, params, &pairs.sources, beam)?;
        Ok(self.bleu_of(&found, references))
    }

    /// BLEU of translations.
    fn bleu_of(&self, found: &[Translation], references: &Sentences) -> f64 {
        let words = |found: &Translation| self.data.target.decode(&found.words);
        bleu(&found.iter().map(words).collect::<Sentences>(), references)
    }
}

/// The sentences as ids.
struct Data {
    source: Words,
    target: Words,
    fingerprint: String,
    train: Encoded,
    valid: Encoded,
    test: Encoded,
    valid_references: Sentences,
    test_references: Sentences,
}

impl Data {
    fn new(parts: Parts) -> Data {
        let (source, target) = (Words::of(&parts.train.sources), Words::of(&parts.train.targets));
        let encode = |pairs: &Pairs| Encoded::new(pairs, &source, &target);
        let (valid, test) = (encode(&parts.valid), encode(&parts.test));
        let train = encode(&parts.train).cut();
        let all = [&train, &valid, &test].map(|part| [&part.sources, &part.targets]);
        let mut numbers = Vec::new();
        for sentences in all.as_flattened() {
            numbers.push(sentences.iter().map(|ids| ids.len() as u32).collect::<Vec<u32>>());
            numbers.push(sentences.concat());
        }
        let numbers: Vec<&[u32]> = numbers.iter().map(Vec::as_slice).collect();
        // Unknown words of the references count in BLEU.
        let references = parts.valid.targets.iter().chain(&parts.test.targets).flatten();
        let words = source.all().iter().chain(target.all()).chain(references);
        let what = format!("{} pairs", thousands(train.len() + valid.len() + test.len()));
        let fingerprint = fingerprint(&what, words.map(String::as_str), &numbers);
        Data {
            source,
            target,
            fingerprint,
            train,
            valid,
            test,
            valid_references: parts.valid.targets,
            test_references: parts.test.targets,
        }
    }
}

/// All models of a run.
struct Translators {
    arguments: Chosen,
    sizes: Sizes,
    settings: Settings,
    data: Arc<Data>,
}

/// Flags of this program that are no sizes.
struct Chosen {
    compress: arguments::Compressed,
    beam: usize,
}

impl Translators {
    fn new(arguments: &Arguments) -> Result<Self> {
        let (sizes, settings) = arguments.settings()?;
        let parts = match &arguments.data {
            Some(path) => {
                let [from, into] = arguments.languages()?;
                Parts::read(path, from, into)?
            }
            None => made_up::parts(arguments.seed()),
        };
        let chosen = Chosen { compress: arguments.compress, beam: arguments.beam };
        let data = Arc::new(Data::new(parts));
        Ok(Translators { arguments: chosen, sizes, settings, data })
    }

    fn steps(&self) -> usize {
        self.settings.epochs * self.data.train.batches(self.sizes.batch)
    }

    /// The words of the first table that is compared.
    fn compared(&self) -> &Words {
        let data = &self.data;
        if self.arguments.compress.includes("source") { &data.source } else { &data.target }
    }
}

impl Experiment for Translators {
    type Task = Training;
    type Optimizer = Box<dyn Optimizer<f32>>;
    type Trained = ();

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn report(&self) -> Report {
        let sizes = [
            ("tables that are counted", self.arguments.compress.name().to_string()),
            ("pairs to train on", self.data.train.len().to_string()),
            ("source words", self.data.source.all().len().to_string()),
            ("target words", self.data.target.all().len().to_string()),
            ("units", self.sizes.units.to_string()),
            ("beam", self.arguments.beam.to_string()),
            ("epochs", self.settings.epochs.to_string()),
        ];
        Report {
            title: "Translators that differ in their embedding".into(),
            measure: Measure::Bleu,
            settings: sizes.map(|(name, value)| (name.into(), value)).into(),
            data: Some(self.data.fingerprint.clone()),
            ..Report::default()
        }
    }

    fn facts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("compress", self.arguments.compress.name().into()),
            ("units", self.sizes.units.into()),
            ("beam", self.arguments.beam.into()),
        ]
    }

    fn headline(&self) -> String {
        let Data { train, valid, test, source, target, .. } = &*self.data;
        format!(
            "{} pairs to train on, {} to validate, {} to test; words {} and {}; units {}, epochs {} of \
             {} steps; threads {}",
            thousands(train.len()),
            thousands(valid.len()),
            thousands(test.len()),
            thousands(source.all().len()),
            thousands(target.all().len()),
            self.sizes.units,
            self.settings.epochs,
            thousands(train.batches(self.sizes.batch)),
            parallel::threads()
        )
    }

    fn words(&self) -> &[String] {
        self.compared().all()
    }

    fn vocabularies(&self) -> Vec<usize> {
        let tables = [("source", &self.data.source), ("target", &self.data.target)];
        let counted = tables.iter().filter(|(name, _)| self.arguments.compress.includes(name));
        counted.map(|(_, words)| words.all().len()).collect()
    }

    fn other_bytes(&self) -> usize {
        let (units, data) = (self.sizes.units, &self.data);
        let tables = (data.source.all().len() + 2 * data.target.all().len()) * units;
        let own = tables + 4 * units * (2 * 2 * units + 3 * units + 2 * units) + 5 * units * units;
        // Adam keeps two numbers for each.
        4 * 3 * own
    }

    fn fixed(&self) -> Vec<(&'static str, String)> {
        let method = if self.sizes.method == Method::Adam { "adam" } else { "sgd" };
        vec![
            ("compress", self.arguments.compress.name().into()),
            ("units", self.sizes.units.to_string()),
            ("batch", self.sizes.batch.to_string()),
            ("dropout", self.sizes.dropout.to_string()),
            ("optimizer", method.into()),
            ("learning-rate", self.sizes.learning_rate.to_string()),
            // The learning rate falls by them.
            ("epochs", self.settings.epochs.to_string()),
        ]
    }

    /// Target words, their ends among them.
    fn tokens(&self) -> f64 {
        let words: usize = self.data.train.targets.iter().map(|target| target.len() + 1).sum();
        words as f64 / self.data.train.batches(self.sizes.batch) as f64
    }

    fn begin(&self, kind: Kind) -> Result<Begun<Training, Box<dyn Optimizer<f32>>>> {
        let mut params = Params::seeded(self.settings.seed);
        let (mut tables, mut both) = (Vec::new(), Vec::new());
        for (name, words) in [("source", &self.data.source), ("target", &self.data.target)] {
            let (words, padding) = (words.all().len(), Words::END);
            if self.arguments.compress.includes(name) {
                let settings = &self.settings;
                let padding = Some(padding);
                let (embedding, table) =
                    embedding(kind, &mut params, name, INIT, words, padding, settings)?;
                both.push(embedding);
                tables.push(table);
            } else {
                let scope = params.scope(name).init(INIT);
                let full = FullEmbedding::new(scope, words, self.settings.width).padding(padding);
                both.push(Box::new(full));
            }
        }
        let target = both.pop().expect("two embeddings");
        let source = both.pop().expect("two embeddings");
        let Sizes { units, dropout, learning_rate, .. } = self.sizes;
        let config = TranslatorConfig { units, dropout, start: Words::START, end: Words::END };
        let model = Translator::new(params.root().init(INIT), source, target, config);
        let (data, sizes, seed) = (self.data.clone(), self.sizes, self.settings.seed);
        let steps = data.train.batches(sizes.batch);
        let task = Training { model, data, sizes, seed, steps, order: (0, Vec::new()) };
        let optimizer: Box<dyn Optimizer<f32>> = match self.sizes.method {
            Method::Adam => Box::new(Adam::new(learning_rate).group(is_temperature, SLOW)),
            Method::Sgd => Box::new(Sgd::new(learning_rate).group(is_temperature, SLOW)),
        };
        Ok(Begun { params, task, tables, optimizer })
    }

    /// Luong's schedule: from two thirds of the steps on the learning rate is halved every twelfth.
    fn trainer<'a>(
        &'a self,
        trainer: Trainer<'a, f32, Box<dyn Optimizer<f32>>>,
    ) -> Trainer<'a, f32, Box<dyn Optimizer<f32>>> {
        let steps = self.steps();
        let halvings = move |step: usize| (12 * step / steps).saturating_sub(7) as i32;
        let rate = move |step| self.sizes.learning_rate * 0.5_f64.powi(halvings(step));
        trainer.schedule_by_step(rate).clip(CLIP)
    }

    fn tests_best(&self) -> bool {
        true
    }

    fn embedding<'a>(&self, task: &'a Training, name: &str) -> &'a dyn Embedding<f32> {
        task.model.embeddings()[usize::from(name == "target")]
    }

    fn test(&self, task: &mut Training, params: &Params<f32>) -> Result<f64> {
        let Data { test, test_references, .. } = &*self.data;
        Ok(task.bleu(&mut Tape::new(), params, test, test_references, self.arguments.beam)?)
    }

    fn test_exported(
        &self,
        task: &mut Training,
        params: &Params<f32>,
        tables: Vec<(&'static str, Compact)>,
    ) -> Result<f64> {
        let translations = |task: &Training| {
            task.translate(&mut Tape::new(), params, &self.data.test.sources, self.arguments.beam)
        };
        let own = translations(task)?;
        for (name, table) in tables {
            task.model.replace_embedding(name == "target", Box::new(table));
        }
        let found = translations(task)?;
        if let Some(i) = (0..own.len()).find(|&i| own[i].words != found[i].words) {
            return Err(format!(
                "test sentence {} has another translation by the saved table",
                i + 1
            )
            .into());
        }
        Ok(task.bleu_of(&found, &self.data.test_references))
    }

    /// The attention of three sentences.
    fn sections(&self, task: &Training, params: &Params<f32>) -> Result<Vec<(String, String)>> {
        let sources = attention::shown(&self.data.test.sources);
        let found = task.translate(&mut Tape::new(), params, &sources, 1)?;
        let pictures = sources.iter().zip(&found).map(|(source, found)| {
            let (source, target) =
                (self.data.source.decode(source), self.data.target.decode(&found.words));
            attention::html(&source, &target, &found.attention)
        });
        Ok(vec![("Attention".into(), pictures.collect())])
    }

    /// Saves the whole translator.
    fn finish(
        &self,
        kind: Kind,
        _: Training,
        tables: &[Named],
        params: Params<f32>,
    ) -> Result<Option<()>> {
        if let Some(out) = &self.settings.out {
            let path = out.join(kind.name()).join("translator.safetensors");
            translator_file::save(&path, [&self.data.source, &self.data.target], tables, &params)?;
        }
        Ok(None)
    }
}
