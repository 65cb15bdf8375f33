//! Trains LSTM language models that differ only in their embedding, and compares them: a full
//! table with ones that learn their own compression.
//!
//! Without arguments it trains three small models on a made-up language. `--data DIR` takes a real
//! text, `--help` lists all flags. [`Training`] is the part to read.

mod common;

use clap::Parser;
use common::after_training::{by_kmeans, make};
use common::arguments::{Arguments, Kind, Resume, Settings};
use common::progress::{Faults, Progress, tell, thousands};
use common::results::{self, Epoch, Model, Run, Yardsticks};
use common::text::Text;
use common::watch::Watch;
use common::{Result, interrupt, output};
use dpq::data::Batches;
use dpq::embedding::LowRank;
use dpq::nn::{LanguageModel, LstmState};
use dpq::optim::{Group, Sgd};
use dpq::pq::{CodebookWatch, FixedCodes, KMeans, SilentCodebooks, Usage};
use dpq::train::{Ending, Event, Task, Trainer};
use dpq::{
    Bound, CodeTable, CompactEmbedding, DpqEmbedding, Embedding, Error, FullEmbedding, Grads, Init,
    ParamId, Params, Tape, Tensor, Var, parallel,
};
use indicatif::ProgressBar;
use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

/// Rows compared at a time, which bounds memory too.
const ROWS: usize = 1000;

fn main() -> ExitCode {
    let faults = run(&Arguments::parse()).unwrap_or_else(|error| vec![error.to_string()]);
    faults.iter().for_each(|fault| tell(&format!("error: {fault}")));
    match faults.is_empty() {
        _ if interrupt::was_asked_for() => ExitCode::from(interrupt::EXIT_CODE),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Whatever can be refused is refused here, before any training. What goes wrong later stops nothing
/// else: it is returned.
fn run(arguments: &Arguments) -> Result<Vec<String>> {
    let mut settings = arguments.settings()?;
    let text = Text::new(arguments.data.as_deref(), &settings)?;
    if let Some(last) = settings.sx.bands.as_slice().last()
        && last.first as usize >= text.vocabulary
    {
        let expected = format!("first words below the vocabulary of {}", text.vocabulary);
        let value = settings.sx.bands.to_string();
        return Err(Error::Config { name: "bands", value, expected }.into());
    }
    if arguments.embedding.contains(&Kind::LowRank) {
        settings.rank = Some(rank(&settings, text.vocabulary)?);
    }
    let progress = Progress::new(arguments.quiet);
    let _lock;
    if let Some(out) = &arguments.out {
        let table = settings.sx.compact_bits(text.vocabulary, settings.width).div_ceil(8);
        // Two checkpoints, and a third while it is written.
        let checkpoints = 3 * settings.parameter_bytes(text.vocabulary);
        let size = |&kind| (kind, checkpoints + if kind == Kind::Full { 0 } else { table });
        let trained = arguments.embedding.iter().filter(|kind| kind.is_trained());
        let models: Vec<_> = trained.map(size).collect();
        _lock = output::lock(out)?;
        match arguments.resume {
            Some(resume) => {
                let fixed = |kind| fixed(kind, &settings, &text);
                output::reopen(out, &models, settings.epochs, resume.which(), fixed)?;
            }
            None => {
                if let Some(earlier) = output::prepare(out, &models, settings.epochs)? {
                    progress.line(&format!("earlier results moved to {}", earlier.display()));
                }
            }
        }
    }
    interrupt::listen()?;
    parallel::with_threads(settings.threads, || {
        Ok(train_all(arguments, &settings, &text, &progress).0)
    })
}

/// One model after the other.
fn train_all(
    arguments: &Arguments,
    settings: &Settings,
    text: &Text,
    progress: &Progress,
) -> Faults {
    progress.line(&format!(
        "vocabulary {}; preset {}: width {}, epochs {} of {} steps; threads {}",
        thousands(text.vocabulary),
        settings.preset,
        settings.width,
        settings.epochs,
        thousands(text.train.len()),
        parallel::threads()
    ));
    let (mut models, mut faults) = (Vec::new(), Faults::default());
    let out = arguments.out.as_deref();
    let mut watch = out.map(|out| Watch::new(out, settings, &text.words, &text.yardsticks));
    let mut full = None;
    for &kind in &arguments.embedding {
        let named = |error| format!("{}: {error}", kind.name());
        if kind.is_trained() {
            let folder = out.map(|out| out.join(kind.name()));
            let outputs = Outputs { progress, faults: &mut faults, folder, watch: watch.as_mut() };
            let trained = train(kind, arguments, settings, text, outputs).map_err(named);
            if let Some((model, trained)) = faults.note(trained).flatten() {
                models.push(model);
                full = full.or(trained.filter(|_| kind == Kind::Full));
            }
        } else if let Some(full) = &mut full {
            let made = after_training(kind, full, settings, text, progress).map_err(named);
            models.extend(faults.note(made).flatten());
        }
        if let Some(out) = out.filter(|_| !models.is_empty()) {
            let Yardsticks { floor, bigram: [_, bigram], unigram: [_, unigram] } = text.yardsticks;
            let run = Run {
                models: &models,
                preset: settings.preset,
                threads: parallel::threads(),
                vocabulary: text.vocabulary,
                floor_perplexity: floor.map(|[_, test]| test),
                bigram_perplexity: bigram,
                unigram_perplexity: unigram,
            };
            faults.note(results::write_run(out, &run));
            if let Some(watch) = watch.as_mut().filter(|_| !kind.is_trained()) {
                faults.note(watch.write());
            }
        }
        if interrupt::was_asked_for() {
            tell(match out {
                Some(_) => "the same command with --resume goes on from here",
                None => "nothing is saved without --out",
            });
            break;
        }
    }
    if !models.is_empty() {
        let table = results::table(&models, &text.yardsticks);
        let mut stdout = std::io::stdout();
        let printed = stdout.write_all(table.as_bytes()).and_then(|()| stdout.flush());
        faults.note(printed.map_err(|error| format!("the table could not be printed: {error}")));
    }
    faults
}

type Compact = CompactEmbedding<f32>;

/// Takes the compact table out of the trained parameters.
type Compress = Rc<dyn Fn(&Params<f32>) -> dpq::Result<Compact>>;

/// Takes the rows out of the trained parameters.
type Rows = Rc<dyn Fn(&Params<f32>) -> Tensor<f32>>;

/// What a trained embedding comes to.
#[derive(Clone)]
enum Table {
    /// Rows of numbers, and the bytes of what they are made of.
    Rows(Rows, usize),
    /// A compact table.
    Compact(Compress),
}

/// The embedding, all in which the models differ, and its table.
fn embedding(
    kind: Kind,
    params: &mut Params<f32>,
    vocabulary: usize,
    settings: &Settings,
) -> Result<(Box<dyn Embedding<f32>>, Table)> {
    let &Settings { width, sx, vq, .. } = settings;
    let scope = params.scope("embedding").init(Init::Uniform(settings.init));
    Ok(match kind {
        Kind::Sx | Kind::Vq => {
            let config = if kind == Kind::Vq { vq } else { sx };
            let embedding = DpqEmbedding::new(scope, vocabulary, width, config)?;
            if settings.kmeans_start {
                let kmeans = KMeans { seed: settings.seed, ..KMeans::default() };
                embedding.start_by_kmeans(params, &kmeans)?;
            }
            let compress = embedding.clone();
            let compress: Compress = Rc::new(move |params| compress.to_compact(params));
            (Box::new(embedding), Table::Compact(compress))
        }
        Kind::Random => {
            let embedding = FixedCodes::random(scope, vocabulary, width, sx)?;
            let compress = embedding.clone();
            let compress: Compress = Rc::new(move |params| compress.to_compact(params));
            (Box::new(embedding), Table::Compact(compress))
        }
        Kind::LowRank => {
            let embedding = LowRank::new(scope, vocabulary, width, rank(settings, vocabulary)?)?;
            let [left, right] = [embedding.left(), embedding.right()];
            let rows = move |params: &Params<f32>| {
                let tape = Tape::new();
                let [left, right] = [left, right].map(|id| tape.constant(params.get(id).clone()));
                left.matmul(right).value()
            };
            let bytes = embedding.bytes();
            (Box::new(embedding), Table::Rows(Rc::new(rows), bytes))
        }
        _ => {
            let embedding = FullEmbedding::new(scope, vocabulary, width);
            let table = embedding.table();
            let rows = move |params: &Params<f32>| params.get(table).clone();
            let bytes = size_of::<f32>() * vocabulary * width;
            (Box::new(embedding), Table::Rows(Rc::new(rows), bytes))
        }
    })
}

/// The rank of low-rank: the one asked for, or that of as many bytes as sx has.
fn rank(settings: &Settings, vocabulary: usize) -> dpq::Result<usize> {
    let Settings { width, sx, rank, .. } = *settings;
    let Some(rank) = rank else {
        let bytes = sx.compact_bits(vocabulary, width).div_ceil(8);
        return LowRank::rank_for(bytes, vocabulary, width);
    };
    let most = vocabulary.min(width);
    if (1..=most).contains(&rank) {
        return Ok(rank);
    }
    let expected = format!("1 to {most}");
    Err(Error::Config { name: "rank", value: rank.to_string(), expected })
}

/// A language model in training: the part of this program to read. The loop around it is the library's.
struct Training<'a> {
    model: LanguageModel<f32>,
    text: &'a Text,
    batch: usize,
    /// The streams of text go on from window to window, and so does the network's state.
    state: LstmState<f32>,
    table: Table,
    /// The codes after the last epoch, at first those of the start values.
    codes: Option<CodeTable>,
    codebooks: CodebookWatch,
    /// Those that the last epoch did not train, for who watches.
    silent: Rc<RefCell<Vec<SilentCodebooks>>>,
}

impl Task<f32> for Training<'_> {
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

    fn after_step(&mut self, params: &mut Params<f32>, grads: &Grads<f32>) -> dpq::Result<()> {
        self.codebooks.see(grads);
        self.model.embedding().update(params)
    }

    fn validate(
        &mut self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
    ) -> dpq::Result<Vec<(&'static str, f64)>> {
        // Nothing is said of an epoch that was resumed, since the steps before were not watched.
        let whole = self.codebooks.steps() == self.steps();
        self.silent.replace(if whole { self.codebooks.silent() } else { Vec::new() });
        self.codebooks.restart();
        let mut figures =
            vec![(VALID_PERPLEXITY, perplexity(&self.model, params, tape, &self.text.valid)?)];
        if let Table::Compact(compress) = &self.table {
            let now = compress(params)?.codes().clone();
            figures.push((CODES_USED, share_used(&now)));
            if let Some(before) = self.codes.replace(now.clone()) {
                figures.push((CODES_CHANGED, now.changed(&before)));
            }
        }
        Ok(figures)
    }

    /// The network's state, and the codes that those after the next epoch are compared with.
    fn carried(&self) -> Vec<(String, Tensor<f32>)> {
        let codes = |table: &CodeTable| {
            let codes = table.unpack();
            let shape = [table.rows(), table.groups()];
            ("codes".to_string(), Tensor::from_fn(shape, |i| codes[i] as f32))
        };
        self.state.tensors().into_iter().chain(self.codes.as_ref().map(codes)).collect()
    }

    fn carry(&mut self, mut tensors: Vec<(String, Tensor<f32>)>) -> dpq::Result<()> {
        if let Some(table) = &mut self.codes
            && let Some((_, codes)) = tensors.pop()
        {
            let size = table.codebook_size();
            if let Some(&wrong) =
                codes.data().iter().find(|&&code| !(0.0..size as f32).contains(&code))
            {
                let expected = format!("0..{size}");
                return Err(Error::Config { name: "code", value: wrong.to_string(), expected });
            }
            let codes: Vec<u32> = codes.data().iter().map(|&code| code as u32).collect();
            *table = CodeTable::pack(&codes, table.groups(), size);
        }
        self.state = LstmState::from_tensors(tensors);
        Ok(())
    }
}

/// Names of the figures of an epoch.
const VALID_PERPLEXITY: &str = "valid_perplexity";
const CODES_USED: &str = "codes_used";
const CODES_CHANGED: &str = "codes_changed";

/// What has to be the same when training of a model goes on.
fn fixed(kind: Kind, settings: &Settings, text: &Text) -> Vec<(String, String)> {
    let own = [("embedding", kind.name().to_string()), ("data", text.fingerprint.clone())];
    let all = own.into_iter().chain(settings.of(kind));
    all.map(|(name, value)| (name.to_string(), value)).collect()
}

/// What a run writes to, and tells.
struct Outputs<'a> {
    progress: &'a Progress,
    faults: &'a mut Faults,
    folder: Option<PathBuf>,
    watch: Option<&'a mut Watch>,
}

/// A model after training, with its embedding where that was not exported.
struct Trained {
    params: Params<f32>,
    model: LanguageModel<f32>,
}

/// Trains and tests one model; `None` if the user stopped it. If a file cannot be written, that is
/// noted and training goes on.
fn train(
    kind: Kind,
    arguments: &Arguments,
    settings: &Settings,
    text: &Text,
    outputs: Outputs<'_>,
) -> Result<Option<(Model, Option<Trained>)>> {
    results::reset_peak_memory();
    let start = Instant::now();
    let (name, Outputs { progress, faults, folder, mut watch }) = (kind.name(), outputs);
    let mut params = Params::seeded(settings.seed);
    let (embedding, table) = embedding(kind, &mut params, text.vocabulary, settings)?;
    let scope = params.root().init(Init::Uniform(settings.init));
    let model = LanguageModel::new(scope, embedding, settings.model);
    let codes = match &table {
        Table::Compact(compress) => Some(compress(&params)?.codes().clone()),
        Table::Rows(..) => None,
    };
    let state = model.start(settings.batch);
    let books = ["embedding.keys", "embedding.values"].map(|name| params.find(name));
    let books: Vec<ParamId> = books.into_iter().flatten().collect();
    let codebooks = CodebookWatch::new(&params, &books);
    let silent = Rc::new(RefCell::new(Vec::new()));
    let mut task = Training {
        model,
        text,
        batch: settings.batch,
        state,
        table: table.clone(),
        codes,
        codebooks,
        silent: silent.clone(),
    };

    // A single number that all tokens pull at would soon be out of its range.
    let slow = Group { learning_rate: 0.01, ..Group::default() };
    let sgd = Sgd::new(settings.schedule.learning_rate(0))
        .group(|name| name.ends_with(".temperature"), slow);
    let mut trainer = Trainer::new(params, sgd)
        .epochs(settings.epochs)
        .schedule(|epoch| settings.schedule.learning_rate(epoch))
        .clip(settings.clip)
        .stop_when(interrupt::was_asked_for);
    for (name, value) in fixed(kind, settings, text) {
        trainer = trainer.setting(&name, value);
    }
    if let Some(folder) = &folder {
        trainer = trainer.checkpoints(folder, settings.save_every);
        if let Some(which) = arguments.resume.map(Resume::which)
            && which.is_in(folder)
        {
            trainer.resume(&mut task, which)?;
            let (epochs, step) = trainer.position();
            progress.line(&format!("{name:<6}  goes on after {epochs} epochs and {step} steps"));
        }
    }

    let full_bytes = size_of::<f32>() * text.vocabulary * settings.width;
    if let Some(watch) = &mut watch {
        let bits = settings.sx.compact_bits(text.vocabulary, settings.width);
        watch.begin(name, if let Table::Rows(_, bytes) = table { bytes } else { bits.div_ceil(8) });
    }
    let tokens = (settings.batch * settings.steps) as f64;
    let describe = |epochs: &[dpq::train::Epoch]| describe(epochs, text.train.len(), tokens);
    let mut bar = ProgressBar::hidden();
    let ending = trainer.run(&mut task, |event| match event {
        Event::Step { epoch, done, mean, seconds } => {
            if bar.position() == 0 || bar.is_finished() {
                let title = format!("{name:<6}  epoch {}/{}", epoch + 1, settings.epochs);
                bar = progress.bar(title, text.train.len());
            }
            let speed = done as f64 * tokens / seconds;
            bar.set_message(format!("train ppl {:.2}  {speed:.0} tokens/s", mean.exp()));
            bar.set_position(done as u64);
        }
        Event::Epoch(epochs, params) => {
            bar.finish_and_clear();
            let metrics = describe(epochs);
            let last = metrics.last().expect("an epoch");
            progress.line(&results::epoch_line(name, settings.epochs, last));
            for codebooks in &*silent.borrow() {
                tell(&format!("warning: {name}: {codebooks}"));
            }
            if let Some(folder) = &folder {
                faults.note(results::write_epochs(folder, &metrics));
            }
            if let Some(watch) = &mut watch {
                faults.note(show(watch, &metrics, &table, params, &silent.borrow()));
            }
        }
        Event::NotSaved(error) => {
            faults.note::<(), _>(Err(error));
        }
    })?;
    bar.finish_and_clear();
    if ending == Ending::Stopped {
        let (epochs, step) = trainer.position();
        tell(&format!("{name}: stopped after {epochs} epochs and {step} steps"));
        return Ok(None);
    }

    let metrics = describe(trainer.history());
    if let Some(folder) = &folder {
        faults.note(results::write_epochs(folder, &metrics));
    }
    let (mut tape, params) = (Tape::new(), trainer.into_params());
    let Training { model, .. } = task;
    let test_perplexity = perplexity(&model, &params, &mut tape, &text.test)?;
    if let Some(watch) = watch {
        faults.note(show(watch, &metrics, &table, &params, &silent.borrow()));
        faults.note(watch.finish(test_perplexity));
    }
    let (bytes, trained) = match table {
        Table::Rows(_, bytes) => (bytes, Some(Trained { params, model })),
        Table::Compact(compress) => {
            let (compact, folder) = (compress(&params)?, folder.as_deref());
            let exported = export(&compact, folder, model, &params, &mut tape, &text.test);
            let same = exported.and_then(|exported| {
                if exported.to_bits() == test_perplexity.to_bits() {
                    return Ok(());
                }
                let own = test_perplexity;
                Err(format!("test perplexity {own}, but {exported} from the saved table").into())
            });
            faults.note(same.map_err(|error| format!("{name}: {error}")));
            (compact.bytes(), None)
        }
    };
    let seconds: f64 = metrics.iter().map(|epoch| epoch.training_seconds).sum();
    let model = Model {
        embedding: name,
        seed: settings.seed,
        epochs: settings.epochs,
        valid_perplexity: metrics.last().map_or(f64::NAN, |epoch| epoch.valid_perplexity),
        test_perplexity,
        compression_ratio: full_bytes as f64 / bytes as f64,
        table_bytes_full: full_bytes,
        table_bytes: bytes,
        tokens_per_second: (metrics.len() * text.train.len()) as f64 * tokens / seconds,
        seconds: start.elapsed().as_secs_f64(),
        peak_rss_bytes: results::peak_memory(),
    };
    Ok(Some((model, trained)))
}

/// Makes a table of the full one, and tests the model with it; `None` if the user stopped it.
fn after_training(
    kind: Kind,
    full: &mut Trained,
    settings: &Settings,
    text: &Text,
    progress: &Progress,
) -> Result<Option<Model>> {
    results::reset_peak_memory();
    let start = Instant::now();
    let Trained { params, model } = full;
    let table = params.find("embedding.weight").expect("the full table");
    let table = params.get(table).deep_copy();
    let tuned = kind == Kind::KmeansTuned;
    let compact = if tuned { Some(by_kmeans(&table, settings)?) } else { None };
    let (embedding, bytes) = match compact {
        None => make(kind, &table, settings)?,
        Some(compact) => match tune(&compact, params, settings, text)? {
            Some(tuned) => (Box::new(tuned) as Box<dyn Embedding<f32>>, compact.bytes()),
            None => return Ok(None),
        },
    };
    let full_bytes = size_of_val(table.data());
    model.replace_embedding(embedding);
    let mut tape = Tape::new();
    let [valid_perplexity, test_perplexity] = [
        perplexity(model, params, &mut tape, &text.valid)?,
        perplexity(model, params, &mut tape, &text.test)?,
    ];
    progress.line(&format!("{:<6}  valid ppl {valid_perplexity:.2}", kind.name()));
    Ok(Some(Model {
        embedding: kind.name(),
        seed: settings.seed,
        epochs: if tuned { settings.epochs + 1 } else { settings.epochs },
        valid_perplexity,
        test_perplexity,
        compression_ratio: full_bytes as f64 / bytes as f64,
        table_bytes_full: full_bytes,
        table_bytes: bytes,
        tokens_per_second: 0.0,
        seconds: start.elapsed().as_secs_f64(),
        peak_rss_bytes: results::peak_memory(),
    }))
}

/// Trains the codebook of a compact table for an epoch, at a tenth of the first learning rate, and
/// nothing else; `None` if the user stopped it.
fn tune(
    compact: &Compact,
    full: &Params<f32>,
    settings: &Settings,
    text: &Text,
) -> Result<Option<Compact>> {
    let mut params = Params::seeded(settings.seed);
    let embedding = FixedCodes::from_compact(params.scope("embedding"), compact);
    let codes = embedding.clone();
    let model = LanguageModel::new(params.root(), Box::new(embedding), settings.model);
    for id in params.ids() {
        if let Some(trained) = full.find(params.name(id)) {
            params.set(id, full.get(trained).deep_copy());
        }
    }
    let still = Group { learning_rate: 0.0, ..Group::default() };
    let sgd = Sgd::new(0.1 * settings.schedule.learning_rate(0))
        .group(|name| !name.starts_with("embedding."), still);
    let state = model.start(settings.batch);
    let mut task = Training {
        model,
        text,
        batch: settings.batch,
        state,
        table: Table::Rows(Rc::new(|_| unreachable!("nothing is shown")), 0),
        codes: None,
        codebooks: CodebookWatch::new(&params, &[]),
        silent: Rc::default(),
    };
    let mut trainer =
        Trainer::new(params, sgd).clip(settings.clip).stop_when(interrupt::was_asked_for);
    let ending = trainer.run(&mut task, |_| ())?;
    let tuned = codes.to_compact(&trainer.into_params())?;
    Ok((ending != Ending::Stopped).then_some(tuned))
}

/// Shows what a model has come to: of the full table its rows, of others also the codes.
fn show(
    watch: &mut Watch,
    epochs: &[Epoch],
    table: &Table,
    params: &Params<f32>,
    silent: &[SilentCodebooks],
) -> Result<()> {
    let compress = match table {
        Table::Compact(compress) => compress,
        Table::Rows(rows, _) => return watch.update(epochs, &rows(params), None, silent),
    };
    let compact = compress(params)?;
    let all: Vec<u32> = (0..compact.codes().rows() as u32).collect();
    watch.update(epochs, &compact.lookup(&all)?, Some(compact.codes()), silent)
}

/// The history of a model as `metrics.jsonl` has it; `tokens` of a step, of which an epoch has `steps`.
fn describe(epochs: &[dpq::train::Epoch], steps: usize, tokens: f64) -> Vec<Epoch> {
    let line = |epoch: &dpq::train::Epoch| Epoch {
        epoch: epoch.epoch,
        step: epoch.epoch * steps,
        train_perplexity: epoch.train.exp(),
        valid_perplexity: epoch.figure(VALID_PERPLEXITY).unwrap_or(f64::NAN),
        learning_rate: epoch.learning_rate,
        tokens_per_second: steps as f64 * tokens / epoch.seconds,
        training_seconds: epoch.seconds,
        codes_used: epoch.figure(CODES_USED),
        codes_changed: epoch.figure(CODES_CHANGED),
    };
    epochs.iter().map(line).collect()
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

/// Saves the compact table (in memory where there is no `--out`) and reads it back: its rows must be the model's own, and the perplexity
/// that it gives on a text is returned.
fn export(
    compact: &Compact,
    folder: Option<&Path>,
    model: LanguageModel<f32>,
    params: &Params<f32>,
    tape: &mut Tape<f32>,
    text: &Batches,
) -> Result<f64> {
    let reread = match folder {
        Some(folder) => save_and_read(compact, folder)?,
        None => Compact::from_bytes(&compact.to_bytes())?,
    };
    compare_rows(&model, params, tape, &reread)?;
    Ok(perplexity(&model.with_embedding(Box::new(reread)), params, tape, text)?)
}

fn save_and_read(compact: &Compact, folder: &Path) -> Result<Compact> {
    let path = folder.join(output::TABLE);
    compact.save(&path)?;
    Ok(Compact::load(&path)?)
}

/// Every row of the exported table must have the very bits of the model's own.
fn compare_rows(
    model: &LanguageModel<f32>,
    params: &Params<f32>,
    tape: &mut Tape<f32>,
    exported: &Compact,
) -> Result<()> {
    let ids: Vec<u32> = (0..model.embedding().vocabulary() as u32).collect();
    for ids in ids.chunks(ROWS) {
        let own = tape.value(params, |p| model.embedding().forward(p, ids).rows.value())?;
        let read = exported.lookup(ids)?;
        let differ = |(own, read): (&f32, &f32)| own.to_bits() != read.to_bits();
        if let Some(i) = own.data().iter().zip(read.data()).position(differ) {
            let (row, column) = (ids[i / own.shape()[1]], i % own.shape()[1]);
            let (own, read) = (own.data()[i], read.data()[i]);
            return Err(format!(
                "row {row}, column {column} of the saved table is {read}, the model's own {own}"
            )
            .into());
        }
    }
    Ok(())
}

/// The share of all D x K codewords that some word uses.
fn share_used(codes: &CodeTable) -> f64 {
    let usage = Usage::of(codes);
    usage.used() as f64 / usage.counts().len() as f64
}
