//! A run: one model for each embedding, trained, tested, exported and compared.
//!
//! A program says what it trains by an [`Experiment`]; the loop around it is the library's.

use super::arguments::{Kind, Settings};
use super::embeddings::{Compact, Named, Table, compare_rows, parameter_bytes};
use super::progress::{Faults, Progress, tell};
use super::report::Report;
use super::results::{self, Epoch, Model, Run, Yardstick};
use super::watch::Watch;
use super::watched::{Silent, Watched};
use super::{Result, interrupt, output};
use dpq::optim::Optimizer;
use dpq::pq::SilentCodebooks;
use dpq::train::{Ending, Event, Task, Trainer};
use dpq::{Embedding, Params, parallel};
use indicatif::ProgressBar;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What a program trains: one model for each embedding, with the same data and settings.
pub trait Experiment: Sync {
    /// A model in training.
    type Task: Task<f32>;
    /// What trains it.
    type Optimizer: Optimizer<f32>;
    /// A model after training, if anything is to be made of it.
    type Trained;

    /// Whether tables are [made](Experiment::make) after training.
    const MAKES_TABLES: bool = false;

    /// The flags that all programs have.
    fn settings(&self) -> &Settings;

    /// The title of the report, what models are measured by, settings to be shown, yardsticks, and what
    /// the data are known by.
    fn report(&self) -> Report;

    fn yardsticks(&self) -> &[Yardstick] {
        &[]
    }

    /// Further facts for `result.json`.
    fn facts(&self) -> Vec<(&'static str, Value)>;

    /// The line that the terminal gets first.
    fn headline(&self) -> String;

    /// The words of the embedding.
    fn words(&self) -> &[String];

    /// How many words each table that is compared has.
    fn vocabularies(&self) -> Vec<usize> {
        vec![self.words().len()]
    }

    /// Bytes of a model's parameters besides its embedding, and of what the optimiser keeps.
    fn other_bytes(&self) -> usize;

    /// The program's own settings that have to be the same when training goes on.
    fn fixed(&self) -> Vec<(&'static str, String)>;

    /// Tokens of a step, on average.
    fn tokens(&self) -> f64;

    /// A model at the start.
    ///
    /// # Errors
    /// If the settings do not fit.
    fn begin(&self, kind: Kind) -> Result<Begun<Self::Task, Self::Optimizer>>;

    /// The program's own schedule, clipping and the like.
    fn trainer<'a>(
        &'a self,
        trainer: Trainer<'a, f32, Self::Optimizer>,
    ) -> Trainer<'a, f32, Self::Optimizer>;

    /// Whether the parameters of the best epoch are tested, and not those of the last.
    fn tests_best(&self) -> bool;

    /// The embedding of a model that has a table of this name.
    fn embedding<'a>(&self, task: &'a Self::Task, name: &str) -> &'a dyn Embedding<f32>;

    /// The measure on the test data.
    ///
    /// # Errors
    /// If it is not finite.
    fn test(&self, task: &mut Self::Task, params: &Params<f32>) -> Result<f64>;

    /// The same with exported tables, by name, in place of their embeddings: it must be the same figure.
    ///
    /// # Errors
    /// If it is not finite.
    fn test_exported(
        &self,
        task: &mut Self::Task,
        params: &Params<f32>,
        tables: Vec<(&'static str, Compact)>,
    ) -> Result<f64>;

    /// What else the report shows of a tested model: titles, and HTML to stand below them.
    ///
    /// # Errors
    /// Whatever goes wrong; the run goes on.
    fn sections(&self, _task: &Self::Task, _params: &Params<f32>) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    /// What else is to be done with a trained model, whose embeddings are by now its exported tables.
    ///
    /// # Errors
    /// Whatever goes wrong; the run goes on.
    fn finish(
        &self,
        _kind: Kind,
        _task: Self::Task,
        _tables: &[Named],
        _params: Params<f32>,
    ) -> Result<Option<Self::Trained>> {
        Ok(None)
    }

    /// A model that is made of a trained one; `None` if the user stopped it.
    ///
    /// # Errors
    /// If the settings do not fit.
    fn make(
        &self,
        _kind: Kind,
        _trained: &mut Self::Trained,
        _progress: &Progress,
    ) -> Result<Option<Model>> {
        unreachable!("refused on the command line")
    }
}

/// A model at the start.
pub struct Begun<K, O> {
    pub params: Params<f32>,
    pub task: K,
    /// Those that are compared; the first is the one that is watched.
    pub tables: Vec<Named>,
    pub optimizer: O,
}

/// Runs a program: prints what went wrong, and says so by the exit code.
pub fn main<E: Experiment>(experiment: Result<E>) -> ExitCode {
    let faults = experiment.and_then(|experiment| run(&experiment));
    let faults = faults.unwrap_or_else(|error| vec![error.to_string()]);
    faults.iter().for_each(|fault| tell(&format!("error: {fault}")));
    match faults.is_empty() {
        _ if interrupt::was_asked_for() => ExitCode::from(interrupt::EXIT_CODE),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Whatever can be refused is refused here, before any training. What goes wrong later stops nothing
/// else: it is returned.
fn run<E: Experiment>(experiment: &E) -> Result<Vec<String>> {
    let settings = experiment.settings();
    let vocabulary = experiment.words().len();
    settings.check(E::MAKES_TABLES, &experiment.vocabularies())?;
    if settings.kinds.contains(&Kind::LowRank) {
        for vocabulary in experiment.vocabularies() {
            super::embeddings::rank(settings, vocabulary)?;
        }
    }
    let progress = Progress::new(settings.quiet);
    let _lock;
    if let Some(out) = &settings.out {
        let table = settings.sx.compact_bits(vocabulary, settings.width).div_ceil(8);
        // Two checkpoints, and a third while it is written; or each with the best model, and that alone.
        let parameters = parameter_bytes(settings, vocabulary) + experiment.other_bytes();
        let checkpoints = if experiment.tests_best() { 7 } else { 3 } * parameters;
        let size = |&kind| (kind, checkpoints + if kind == Kind::Full { 0 } else { table });
        let trained = settings.kinds.iter().filter(|kind| kind.is_trained());
        let models: Vec<_> = trained.map(size).collect();
        _lock = output::lock(out)?;
        match settings.resume {
            Some(which) => {
                let fixed = |kind| fixed(experiment, kind);
                output::reopen(out, &models, settings.epochs, which, fixed)?;
            }
            None => {
                if let Some(earlier) = output::prepare(out, &models, settings.epochs)? {
                    progress.line(&format!("earlier results moved to {}", earlier.display()));
                }
            }
        }
    }
    interrupt::listen()?;
    parallel::with_threads(settings.threads, || Ok(train_all(experiment, &progress).0))
}

/// What has to be the same when training of a model goes on.
fn fixed<E: Experiment>(experiment: &E, kind: Kind) -> Vec<(String, String)> {
    let data = experiment.report().data.map(|data| ("data", data));
    let own = experiment.settings().of(kind).into_iter().chain(data).chain(experiment.fixed());
    own.map(|(name, value)| (name.to_string(), value)).collect()
}

/// One model after the other.
fn train_all<E: Experiment>(experiment: &E, progress: &Progress) -> Faults {
    let settings = experiment.settings();
    progress.line(&experiment.headline());
    let (mut models, mut faults) = (Vec::new(), Faults::default());
    let (out, report) = (settings.out.as_deref(), experiment.report());
    let mut facts = experiment.facts();
    facts.push(("threads", parallel::threads().into()));
    facts.push(("vocabulary", experiment.words().len().into()));
    facts.extend(report.data.as_ref().map(|data| ("data", data.clone().into())));
    let mut watch = out.map(|out| {
        let all = settings.kinds.iter().flat_map(|&kind| fixed(experiment, kind));
        let mut report = report.clone();
        for (name, value) in all.filter(|(name, _)| !["embedding", "data"].contains(&&name[..])) {
            if report.settings.iter().all(|(known, _)| *known != name) {
                report.settings.push((name, value));
            }
        }
        let counted = |yardstick: &Yardstick| (yardstick.name.to_string(), yardstick.test);
        report.yardsticks = experiment.yardsticks().iter().map(counted).collect();
        Watch::new(out, experiment.words(), report)
    });
    let mut full = None;
    for &kind in &settings.kinds {
        let named = |error| format!("{}: {error}", kind.name());
        if kind.is_trained() {
            let folder = out.map(|out| out.join(kind.name()));
            let outputs = Outputs { progress, faults: &mut faults, folder, watch: watch.as_mut() };
            let trained = train(experiment, kind, outputs).map_err(named);
            if let Some((model, trained)) = faults.note(trained).flatten() {
                models.push(model);
                full = full.or(trained.filter(|_| kind == Kind::Full));
            }
        } else if let Some(full) = &mut full {
            let made = experiment.make(kind, full, progress).map_err(named);
            models.extend(faults.note(made).flatten());
        }
        if let Some(out) = out.filter(|_| !models.is_empty()) {
            faults.note(summary(experiment, &facts, &models).write(out));
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
        let table = summary(experiment, &facts, &models).table();
        let mut stdout = std::io::stdout();
        let printed = stdout.write_all(table.as_bytes()).and_then(|()| stdout.flush());
        faults.note(printed.map_err(|error| format!("the table could not be printed: {error}")));
    }
    faults
}

/// What a run found.
fn summary<'a, E: Experiment>(
    experiment: &'a E,
    facts: &'a [(&'static str, Value)],
    models: &'a [Model],
) -> Run<'a> {
    let measure = experiment.report().measure;
    Run { measure, models, yardsticks: experiment.yardsticks(), facts }
}

/// What a run writes to, and tells.
struct Outputs<'a> {
    progress: &'a Progress,
    faults: &'a mut Faults,
    folder: Option<PathBuf>,
    watch: Option<&'a mut Watch>,
}

/// Trains and tests one model; `None` if the user stopped it. If a file cannot be written, that is
/// noted and training goes on.
fn train<E: Experiment>(
    experiment: &E,
    kind: Kind,
    outputs: Outputs<'_>,
) -> Result<Option<(Model, Option<E::Trained>)>> {
    results::reset_peak_memory();
    let start = Instant::now();
    let (settings, measure) = (experiment.settings(), experiment.report().measure);
    let (name, Outputs { progress, faults, folder, mut watch }) = (kind.name(), outputs);
    let Begun { params, task, tables, optimizer } = experiment.begin(kind)?;
    let mut task = Watched::new(task, tables[0].clone(), &params)?;
    let table = &tables[0].table;
    let (silent, steps, tokens) = (task.silent(), task.steps(), experiment.tokens());

    let mut trainer =
        Trainer::new(params, optimizer).epochs(settings.epochs).stop_when(interrupt::was_asked_for);
    trainer = experiment.trainer(trainer);
    if experiment.tests_best() {
        trainer = trainer.keep_best();
    }
    for (name, value) in fixed(experiment, kind) {
        trainer = trainer.setting(&name, value);
    }
    if let Some(folder) = &folder {
        trainer = trainer.checkpoints(folder, settings.save_every);
        if let Some(which) = settings.resume
            && which.is_in(folder)
        {
            trainer.resume(&mut task, which)?;
            let (epochs, step) = trainer.position();
            progress.line(&format!("{name:<6}  goes on after {epochs} epochs and {step} steps"));
        }
    }

    let words: usize = tables.iter().map(|table| table.vocabulary).sum();
    let full_bytes = size_of::<f32>() * words * settings.width;
    let bytes_of = |Named { vocabulary, table, .. }: &Named| match table {
        Table::Rows(_, bytes) => *bytes,
        Table::Compact(_) => settings.sx.compact_bits(*vocabulary, settings.width).div_ceil(8),
    };
    let bytes = tables.iter().map(bytes_of).sum();
    if let Some(watch) = &mut watch {
        watch.begin(name, bytes, full_bytes);
    }
    let describe = |epochs: &[dpq::train::Epoch]| -> Vec<Epoch> {
        epochs.iter().map(|epoch| Epoch::of(measure, epoch, steps, tokens)).collect()
    };
    let training = measure.of_training();
    let mut bar = ProgressBar::hidden();
    let ending = trainer.run(&mut task, |event| match event {
        Event::Step { epoch, done, mean, seconds } => {
            if bar.position() == 0 || bar.is_finished() {
                let title = format!("{name:<6}  epoch {}/{}", epoch + 1, settings.epochs);
                bar = progress.bar(title, steps);
            }
            let (speed, figure) =
                (done as f64 * tokens / seconds, training.text(training.of(mean)));
            bar.set_message(format!("train {} {figure}  {speed:.0} tokens/s", training.short()));
            bar.set_position(done as u64);
        }
        Event::Epoch(epochs, params) => {
            bar.finish_and_clear();
            let metrics = describe(epochs);
            let last = metrics.last().expect("an epoch");
            progress.line(&last.line(measure, name, settings.epochs));
            for codebooks in &*silent.borrow() {
                tell(&format!("warning: {name}: {codebooks}"));
            }
            if let Some(folder) = &folder {
                faults.note(results::write_epochs(folder, measure, &metrics));
            }
            if let Some(watch) = &mut watch {
                faults.note(show(watch, &metrics, table, params, &silent));
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
        faults.note(results::write_epochs(folder, measure, &metrics));
    }
    let tested = match trainer.best() {
        Some(best) if experiment.tests_best() => best.epoch,
        _ => metrics.len(),
    };
    let valid = metrics.get(tested - 1).map_or(f64::NAN, |epoch| epoch.valid);
    let params = match experiment.tests_best() {
        true => trainer.into_best().expect("the best of all epochs"),
        false => trainer.into_params(),
    };
    let mut task = task.task;
    let test = experiment.test(&mut task, &params)?;
    if let Some(watch) = watch {
        faults.note(show(watch, &metrics, table, &params, &silent));
        let sections = faults.note(experiment.sections(&task, &params)).unwrap_or_default();
        faults.note(watch.finish(test, sections));
    }
    let same = export(experiment, &tables, folder.as_deref(), &mut task, &params, test);
    faults.note(same.map_err(|error| format!("{name}: {error}")));
    let trained =
        experiment.finish(kind, task, &tables, params).map_err(|error| format!("{name}: {error}"));
    let trained = faults.note(trained).flatten();
    let seconds: f64 = metrics.iter().map(|epoch| epoch.training_seconds).sum();
    let model = Model {
        embedding: name,
        seed: settings.seed,
        epochs: metrics.len(),
        valid,
        test,
        compression_ratio: full_bytes as f64 / bytes as f64,
        table_bytes_full: full_bytes,
        table_bytes: bytes,
        tokens_per_second: (metrics.len() * steps) as f64 * tokens / seconds,
        seconds: start.elapsed().as_secs_f64(),
        peak_rss_bytes: results::peak_memory(),
    };
    Ok(Some((model, trained)))
}

/// Shows what a model has come to: of the full table its rows, of others also the codes.
fn show(
    watch: &mut Watch,
    epochs: &[Epoch],
    table: &Table,
    params: &Params<f32>,
    silent: &Silent,
) -> Result<()> {
    let silent: &[SilentCodebooks] = &silent.borrow();
    let compress = match table {
        Table::Compact(compress) => compress,
        Table::Rows(rows, _) => return watch.update(epochs, &rows(params), None, silent),
    };
    let compact = compress(params)?;
    let all: Vec<u32> = (0..compact.vocabulary() as u32).collect();
    watch.update(epochs, &compact.lookup(&all)?, Some(compact.codes()), silent)
}

/// Saves the compact tables (in memory where there is no `--out`) and reads them back: their rows must be
/// the model's own, and the measure that they give the one that the model gave.
fn export<E: Experiment>(
    experiment: &E,
    tables: &[Named],
    folder: Option<&Path>,
    task: &mut E::Task,
    params: &Params<f32>,
    test: f64,
) -> Result<()> {
    let mut reread = Vec::new();
    for (i, Named { name, table, .. }) in tables.iter().enumerate() {
        let Table::Compact(compress) = table else { continue };
        let compact = compress(params)?;
        let read = match folder {
            Some(folder) => {
                let other = || format!("embedding.{name}.safetensors");
                let path = folder.join(if i == 0 { output::TABLE.into() } else { other() });
                compact.save(&path)?;
                Compact::load(&path)?
            }
            None => Compact::from_bytes(&compact.to_bytes())?,
        };
        compare_rows(experiment.embedding(task, name), params, &read)?;
        reread.push((*name, read));
    }
    if reread.is_empty() {
        return Ok(());
    }
    let exported = experiment.test_exported(task, params, reread)?;
    if exported.to_bits() == test.to_bits() {
        return Ok(());
    }
    let name = experiment.report().measure.name();
    Err(format!("test {name} {test}, but {exported} from the saved table").into())
}
