//! Trains LSTM language models that differ only in their embedding, and compares them: a full
//! table with ones that learn their own compression.
//!
//! Without arguments it trains three small models on a made-up language. `--data DIR` takes a real
//! text, `--help` lists all flags. [`train_epoch`] is the part to read.

mod common;

use clap::Parser;
use common::Result;
use common::arguments::{Arguments, Kind, Settings};
use common::output;
use common::progress::{Faults, Progress, tell, thousands};
use common::results::{self, Epoch, Model, Run, Yardsticks};
use dpq::data::{Batches, Corpus, SyntheticLanguage, bigram_perplexity, unigram_perplexity};
use dpq::nn::LanguageModel;
use dpq::optim::{Optimizer, Sgd};
use dpq::pq::{Form, RandomCodes};
use dpq::{
    CompactEmbedding, DpqConfig, DpqEmbedding, Embedding, Error, FullEmbedding, Init, Params, Tape,
    parallel,
};
use indicatif::ProgressBar;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time steps of a window of the test text. The state is carried over, so they only bound memory.
const TEST_STEPS: usize = 400;

/// Rows compared at a time, which bounds memory too.
const ROWS: usize = 1000;

fn main() -> ExitCode {
    let faults = run(&Arguments::parse()).unwrap_or_else(|error| vec![error.to_string()]);
    faults.iter().for_each(|fault| tell(&format!("error: {fault}")));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whatever can be refused is refused here, before any training. What goes wrong later stops nothing
/// else: it is returned.
fn run(arguments: &Arguments) -> Result<Vec<String>> {
    let settings = arguments.settings()?;
    let text = Text::new(arguments.data.as_deref(), &settings)?;
    let progress = Progress::new(arguments.quiet);
    if let Some(out) = &arguments.out {
        let table = settings.dpq.compact_bits(text.vocabulary, settings.width).div_ceil(8);
        let size = |&kind| (kind, if kind == Kind::Full { 0 } else { table });
        let models: Vec<_> = arguments.embedding.iter().map(size).collect();
        if let Some(earlier) = output::prepare(out, &models, settings.epochs)? {
            progress.line(&format!("earlier results moved to {}", earlier.display()));
        }
    }
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
    for &kind in &arguments.embedding {
        let folder = arguments.out.as_ref().map(|out| out.join(kind.name()));
        let trained = train(kind, settings, text, progress, folder.as_deref(), &mut faults)
            .map_err(|error| format!("{}: {error}", kind.name()));
        models.extend(faults.note(trained));
        if let Some(out) = arguments.out.as_ref().filter(|_| !models.is_empty()) {
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

/// A text, cut into windows.
struct Text {
    vocabulary: usize,
    train: Batches,
    valid: Batches,
    test: Batches,
    yardsticks: Yardsticks,
}

impl Text {
    fn new(data: Option<&Path>, settings: &Settings) -> Result<Text> {
        let (corpus, language) = match data {
            Some(path) => (Corpus::read(path)?, None),
            None => {
                let language = SyntheticLanguage::new(settings.seed);
                (language.corpus(), Some(language))
            }
        };
        let &Settings { batch, steps, preset, .. } = settings;
        let short = |_| {
            format!(
                "training text: {} words, expected at least {} for preset {preset} \
                 ({batch} streams of {} words)",
                thousands(corpus.train.len()),
                thousands(batch * (steps + 1)),
                steps + 1
            )
        };
        let held_out = [&corpus.valid, &corpus.test];
        let vocabulary = corpus.vocabulary.len();
        Ok(Text {
            vocabulary,
            train: Batches::new(&corpus.train, batch, steps).map_err(short)?,
            valid: Batches::with_tail(&corpus.valid, batch, steps)?,
            test: Batches::with_tail(&corpus.test, 1, TEST_STEPS)?,
            yardsticks: Yardsticks {
                floor: language.map(|language| held_out.map(|text| language.true_perplexity(text))),
                bigram: held_out.map(|text| bigram_perplexity(&corpus.train, text, vocabulary)),
                unigram: held_out.map(|text| unigram_perplexity(&corpus.train, text, vocabulary)),
            },
        })
    }
}

type Compact = CompactEmbedding<f32>;

/// Takes the compact table out of the trained parameters.
type Compress = Box<dyn Fn(&Params<f32>) -> dpq::Result<Compact>>;

/// The embedding, all in which the models differ, and its compact table if it has one.
fn embedding(
    kind: Kind,
    params: &mut Params<f32>,
    vocabulary: usize,
    settings: &Settings,
) -> Result<(Box<dyn Embedding<f32>>, Option<Compress>)> {
    let &Settings { width, dpq, .. } = settings;
    let scope = params.scope("embedding").init(Init::Uniform(settings.init));
    let form = if kind == Kind::Vq { Form::Vq } else { Form::Sx };
    Ok(match kind {
        Kind::Full => (Box::new(FullEmbedding::new(scope, vocabulary, width)), None),
        Kind::Sx | Kind::Vq => {
            let config = DpqConfig { form, ..dpq };
            let embedding = DpqEmbedding::new(scope, vocabulary, width, config)?;
            (
                Box::new(embedding.clone()),
                Some(Box::new(move |params| embedding.to_compact(params))),
            )
        }
        Kind::Random => {
            let embedding = RandomCodes::new(scope, vocabulary, width, dpq)?;
            (
                Box::new(embedding.clone()),
                Some(Box::new(move |params| embedding.to_compact(params))),
            )
        }
    })
}

/// Trains and tests one model. If a file cannot be written, that is noted and training goes on.
fn train(
    kind: Kind,
    settings: &Settings,
    text: &Text,
    progress: &Progress,
    folder: Option<&Path>,
    faults: &mut Faults,
) -> Result<Model> {
    results::reset_peak_memory();
    let start = Instant::now();
    let name = kind.name();
    let mut params = Params::seeded(settings.seed);
    let (embedding, compress) = embedding(kind, &mut params, text.vocabulary, settings)?;
    let scope = params.root().init(Init::Uniform(settings.init));
    let model = LanguageModel::new(scope, embedding, settings.model);
    let compress =
        |params: &Params<f32>| compress.as_ref().map(|compress| compress(params)).transpose();
    let mut tape = Tape::new();

    let tokens = (text.train.len() * settings.batch * settings.steps) as f64;
    let mut training = Duration::ZERO;
    let (mut epochs, mut compact) = (Vec::new(), compress(&params)?);
    for epoch in 0..settings.epochs {
        let bar = progress
            .bar(format!("{name:<6}  epoch {}/{}", epoch + 1, settings.epochs), text.train.len());
        let began = Instant::now();
        let train_perplexity =
            train_epoch(&model, &mut params, &mut tape, &text.train, settings, epoch, &bar)?;
        let elapsed = began.elapsed();
        training += elapsed;

        let valid_perplexity = perplexity(&model, &params, &mut tape, &text.valid)?;
        let before = std::mem::replace(&mut compact, compress(&params)?);
        let changed = |(now, before): (&Compact, &Compact)| now.codes().changed(before.codes());
        epochs.push(Epoch {
            epoch: epoch + 1,
            step: (epoch + 1) * text.train.len(),
            train_perplexity,
            valid_perplexity,
            learning_rate: settings.schedule.learning_rate(epoch),
            tokens_per_second: tokens / elapsed.as_secs_f64(),
            codes_used: compact.as_ref().map(share_used),
            codes_changed: compact.as_ref().zip(before.as_ref()).map(changed),
        });
        bar.finish_and_clear();
        progress.line(&epoch_line(name, settings.epochs, &epochs[epoch]));
        if let Some(folder) = folder {
            faults.note(results::write_epochs(folder, &epochs));
        }
    }

    let test_perplexity = perplexity(&model, &params, &mut tape, &text.test)?;
    let full_bytes = size_of::<f32>() * text.vocabulary * settings.width;
    let (ratio, bytes) =
        compact.as_ref().map_or((1.0, full_bytes), |c| (c.compression_ratio(), c.bytes()));
    if let Some(compact) = compact {
        let exported = export(&compact, folder, model, &params, &mut tape, &text.test);
        let same = exported.and_then(|exported| {
            if exported.to_bits() == test_perplexity.to_bits() {
                return Ok(());
            }
            let own = test_perplexity;
            Err(format!("test perplexity {own}, but {exported} from the saved table").into())
        });
        faults.note(same.map_err(|error| format!("{name}: {error}")));
    }
    Ok(Model {
        embedding: name,
        seed: settings.seed,
        epochs: settings.epochs,
        valid_perplexity: epochs[settings.epochs - 1].valid_perplexity,
        test_perplexity,
        compression_ratio: ratio,
        table_bytes_full: full_bytes,
        table_bytes: bytes,
        tokens_per_second: settings.epochs as f64 * tokens / training.as_secs_f64(),
        seconds: start.elapsed().as_secs_f64(),
        peak_rss_bytes: results::peak_memory(),
    })
}

/// One pass over the training text; returns the perplexity on the way.
fn train_epoch(
    model: &LanguageModel<f32>,
    params: &mut Params<f32>,
    tape: &mut Tape<f32>,
    text: &Batches,
    settings: &Settings,
    epoch: usize,
    bar: &ProgressBar,
) -> Result<f64> {
    let mut sgd = Sgd::new(settings.schedule.learning_rate(epoch));
    let began = Instant::now();
    let mut nats = 0.0;
    // The streams of text go on from window to window, and so does the network's state.
    let mut state = model.start(settings.batch);
    for (i, window) in text.windows().enumerate() {
        // Noise is a function of seed and step, whatever was drawn before.
        let step = epoch * text.len() + i;
        tape.set_noise(settings.seed, step as u64);

        // Forward: every op that `p` takes part in is written down on the tape. Backward: over the
        // tape from its end. An error of the forward pass comes out here.
        let found = tape.value_and_grad(params, |p| {
            let pass = model.forward(p, &window, &state);
            (pass.objective, (pass.cross_entropy, pass.state))
        });
        let at_step = |error| format!("step {}: {error}", step + 1);
        let (_, mut grads, (cross_entropy, after)) = found.map_err(at_step)?;
        nats += f64::from(cross_entropy);
        state = after;

        grads.clip_global_norm(settings.clip);
        sgd.step(params, &grads).map_err(at_step)?;

        let windows = (i + 1) as f64;
        let speed = windows * window.targets.len() as f64 / began.elapsed().as_secs_f64();
        bar.set_message(format!("train ppl {:.2}  {speed:.0} tokens/s", (nats / windows).exp()));
        bar.inc(1);
    }
    Ok((nats / text.len() as f64).exp())
}

/// The perplexity of a text: the exponential of the mean cross-entropy of its words.
fn perplexity(
    model: &LanguageModel<f32>,
    params: &Params<f32>,
    tape: &mut Tape<f32>,
    text: &Batches,
) -> Result<f64> {
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
        return Err(Error::NotFinite { what: "the perplexity".into(), value: perplexity }.into());
    }
    Ok(perplexity)
}

/// Saves the compact table, without `--out` in memory, and reads it back: its rows must be the model's own, and the perplexity
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
    perplexity(&model.with_embedding(Box::new(reread)), params, tape, text)
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
        tape.reset();
    }
    Ok(())
}

/// The share of all D x K codewords that some word uses.
fn share_used(compact: &Compact) -> f64 {
    let codes = compact.codes();
    codes.used() as f64 / (codes.groups() * codes.codebook_size()) as f64
}

fn epoch_line(name: &str, epochs: usize, metrics: &Epoch) -> String {
    let mut line = format!(
        "{name:<6}  epoch {}/{epochs}  train ppl {:.2}  valid ppl {:.2}  {} tokens/s",
        metrics.epoch,
        metrics.train_perplexity,
        metrics.valid_perplexity,
        thousands(metrics.tokens_per_second as usize)
    );
    if let (Some(used), Some(changed)) = (metrics.codes_used, metrics.codes_changed) {
        line += &format!(
            "  codewords used {:.0}%, codes changed {:.0}%",
            100.0 * used,
            100.0 * changed
        );
    }
    line
}
