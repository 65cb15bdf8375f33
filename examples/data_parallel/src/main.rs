//! Trains a language model on several machines: `mpirun -n 4 lstm_lm_mpi --embedding sx`.
//!
//! Every rank reads its streams of the text; the losses are those of one rank. `mpi.rs` is what is particular
//! to MPI, `training.rs` the model; `bin/cost.rs` says what a step costs.

use clap::{Parser, ValueEnum};
use data_parallel::mpi;
use data_parallel::training::{Training, perplexity};
use dpq::communicator::Communicator;
use dpq::data::{Batches, Corpus, SyntheticLanguage};
use dpq::nn::{LanguageModel, LanguageModelConfig};
use dpq::optim::{Adam, Optimizer, Sgd};
use dpq::tape::Part;
use dpq::train::{Ending, Event, Trainer, Which};
use dpq::{DpqConfig, DpqEmbedding, Embedding, Error, FullEmbedding, Init, Params, Real, Tape};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Trains a language model on the ranks of mpirun, as one rank would.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder with train.txt, valid.txt and test.txt, or Penn Treebank's files [default: a made-up language]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which table
    #[arg(long, value_enum, default_value_t = Table::Sx)]
    embedding: Table,
    /// What trains it
    #[arg(long, value_enum, default_value_t = Rule::Sgd)]
    optimizer: Rule,
    /// The numbers that it computes with
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// The learning rate [default: 1 with sgd, 0.001 with adam]
    #[arg(long, value_name = "RATE", value_parser = positive_real)]
    learning_rate: Option<f64>,
    /// Epochs
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = positive)]
    epochs: usize,
    /// Steps of an epoch, if not all
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
    /// Streams of all ranks together
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive)]
    batch: usize,
    /// Time steps of a window
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive)]
    window: usize,
    /// Width of words and units of a layer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    width: usize,
    /// LSTM layers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    layers: usize,
    /// The probability with which elements are dropped in training
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0)]
    dropout: f64,
    /// D, the codes of a word
    #[arg(long, value_name = "D", default_value_t = 8)]
    groups: usize,
    /// K, the codewords that a code chooses from
    #[arg(long, value_name = "K", default_value_t = 16)]
    codebook_size: usize,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder for checkpoints; every rank must see it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seconds from checkpoint to checkpoint
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive_real)]
    save_every: f64,
    /// Go on from the folder's checkpoint, with any number of ranks
    #[arg(long)]
    resume: bool,
    /// A file for the mean loss after every step
    #[arg(long, value_name = "FILE")]
    losses: Option<PathBuf>,
    /// Seconds after which a rank that waits for the others gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    wait: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    Full,
    Sx,
    Vq,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Precision {
    F32,
    F64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rule {
    Sgd,
    Adam,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or("expected a positive whole number".into())
}

fn positive_real(text: &str) -> Result<f64, String> {
    let valid = |&x: &f64| x.is_finite() && x > 0.0;
    text.parse().ok().filter(valid).ok_or("expected a positive number".into())
}

fn main() -> ExitCode {
    // Parallel work may run on other threads than this one, but one at a time talks to MPI.
    let mpi = match ferrompi::Mpi::init_thread(ferrompi::ThreadLevel::Serialized) {
        Ok(mpi) => mpi,
        Err(error) => {
            eprintln!("lstm_lm_mpi: MPI does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let world = Arc::new(mpi::World::new(mpi.world()));
    // An mpirun of another MPI than the program's starts every rank as the only one.
    for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        if let Ok(started) = std::env::var(name)
            && started != world.size().to_string()
        {
            let found = world.size();
            eprintln!(
                "lstm_lm_mpi: {name} is {started}, but MPI knows of {found} ranks: expected the mpirun of the MPI that this program was built with"
            );
            return ExitCode::FAILURE;
        }
    }
    // Flags are read when all ranks are there: one that cannot go on must be able to say so.
    let arguments = match Arguments::try_parse() {
        Err(help) if !help.use_stderr() => {
            if world.rank() == 0 {
                print!("{help}");
            }
            return ExitCode::SUCCESS;
        }
        parsed => parsed.map_err(|error| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
        }),
    };
    match together(&world, arguments).and_then(|arguments| optimize(&arguments, &world)) {
        Ok(()) => ExitCode::SUCCESS,
        // All ranks have it, and one says it.
        Err(Failure::Common(message)) => {
            if world.rank() == 0 {
                eprintln!("lstm_lm_mpi: {message}");
            }
            ExitCode::FAILURE
        }
        Err(Failure::Own(message)) => {
            eprintln!("lstm_lm_mpi: rank {}: {message}", world.rank());
            world.abort()
        }
    }
}

fn optimize(arguments: &Arguments, world: &Arc<mpi::World>) -> Result<(), Failure> {
    world.give_up_after(Duration::from_secs(arguments.wait));
    match arguments.precision {
        Precision::F32 => optimize_in::<f32>(arguments, world),
        Precision::F64 => optimize_in::<f64>(arguments, world),
    }
}

fn optimize_in<T: Real>(arguments: &Arguments, world: &Arc<mpi::World>) -> Result<(), Failure> {
    let rate = |default: f64| arguments.learning_rate.unwrap_or(default);
    match arguments.optimizer {
        Rule::Sgd => run::<T, _>(arguments, world, Sgd::new(rate(1.0))),
        Rule::Adam => run::<T, _>(arguments, world, Adam::new(rate(1e-3))),
    }
}

/// Why a run ends early.
enum Failure {
    /// All ranks know it.
    Common(String),
    /// This rank alone may know it: the others must be stopped.
    Own(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Rank { .. } => Failure::Common(error.to_string()),
            error => Failure::Own(error.to_string()),
        }
    }
}

/// Goes on only if all ranks can; otherwise all end with what the first of the others says.
fn together<R>(world: &mpi::World, own: Result<R, String>) -> Result<R, Failure> {
    let said = own.as_ref().err().cloned().unwrap_or_default();
    let all = (world as &dyn Communicator).gather(said.as_bytes())?;
    let failed = all.iter().enumerate().find(|(_, said)| !said.is_empty());
    match (failed, own) {
        (None, Ok(own)) => Ok(own),
        (Some((rank, said)), _) => {
            Err(Failure::Common(format!("rank {rank}: {}", String::from_utf8_lossy(said))))
        }
        (None, Err(message)) => Err(Failure::Own(message)),
    }
}

/// The text in windows, and what tells it from another.
struct Text {
    train: Batches,
    valid: Batches,
    test: Batches,
    words: usize,
    hash: u64,
}

fn text(arguments: &Arguments) -> dpq::Result<Text> {
    let corpus = match &arguments.data {
        Some(folder) => Corpus::read(folder)?,
        None => SyntheticLanguage::new(arguments.seed).corpus(),
    };
    let (batch, window) = (arguments.batch, arguments.window);
    let mut tokens = &corpus.train[..];
    if let Some(steps) = arguments.steps {
        tokens = &tokens[..tokens.len().min(batch * (steps * window + 1))];
    }
    let mut hash = DefaultHasher::new();
    (&corpus.train, &corpus.valid, &corpus.test).hash(&mut hash);
    corpus.vocabulary.words().for_each(|word| word.hash(&mut hash));
    let held_out = |tokens: &[u32]| Batches::new(tokens, batch, window);
    Ok(Text {
        train: Batches::new(tokens, batch, window)?,
        valid: held_out(&corpus.valid)?,
        test: held_out(&corpus.test)?,
        words: corpus.vocabulary.len(),
        hash: hash.finish(),
    })
}

fn run<T: Real, O: Optimizer<T>>(
    arguments: &Arguments,
    world: &Arc<mpi::World>,
    optimizer: O,
) -> Result<(), Failure> {
    let text = text(arguments).map_err(|error| error.to_string());
    let text =
        together(world, text.and_then(|text| check(arguments, world.size()).map(|()| text)))?;
    let mut params = Params::seeded(arguments.seed);
    let task = together(world, task(arguments, world, &mut params, &text))?;
    let settings = [
        ("data", format!("{:x}", text.hash)),
        ("embedding", format!("{:?}", arguments.embedding)),
        ("optimizer", format!("{:?}", arguments.optimizer)),
        ("learning-rate", format!("{:?}", arguments.learning_rate)),
        ("batch", arguments.batch.to_string()),
        ("window", arguments.window.to_string()),
        ("model", format!("{} {} {}", arguments.width, arguments.layers, arguments.dropout)),
        ("codes", format!("{} {}", arguments.groups, arguments.codebook_size)),
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    // A second handler is refused; then the first one stops the run as well.
    let _ = ctrlc::set_handler(move || asked.store(true, Relaxed));
    let mut trainer = Trainer::new(params, optimizer)
        .epochs(arguments.epochs)
        .clip(5.0)
        .communicator(world.clone())
        .stop_when(move || stop.load(Relaxed));
    for (name, value) in settings {
        trainer = trainer.setting(name, value);
    }
    train(arguments, world, trainer, task, &text)
}

/// Flags that only make sense together.
fn check(arguments: &Arguments, ranks: usize) -> Result<(), String> {
    if arguments.batch < ranks {
        return Err(format!(
            "--batch {}: expected a stream for each of {ranks} ranks",
            arguments.batch
        ));
    }
    if arguments.resume && arguments.out.is_none() {
        return Err("--resume: expected --out, the folder of the checkpoint".into());
    }
    match &arguments.out {
        Some(folder) if !folder.is_dir() => {
            Err(format!("--out {}: no such folder", folder.display()))
        }
        _ => Ok(()),
    }
}

fn task<T: Real>(
    arguments: &Arguments,
    world: &Arc<mpi::World>,
    params: &mut Params<T>,
    text: &Text,
) -> Result<Training<T>, String> {
    let (words, width) = (text.words, arguments.width);
    let mut scope = params.root().init(Init::Uniform(0.1));
    let dpq = |config: DpqConfig| DpqConfig { shared: true, ..config };
    let (groups, size) = (arguments.groups, arguments.codebook_size);
    let table = scope.scope("embedding");
    let embedding: Box<dyn Embedding<T>> = match arguments.embedding {
        Table::Full => Box::new(FullEmbedding::new(table, words, width)),
        Table::Sx | Table::Vq => {
            let config = match arguments.embedding {
                Table::Vq => DpqConfig::vq(groups, size),
                _ => DpqConfig::sx(groups, size),
            };
            let made = DpqEmbedding::new(table, words, width, dpq(config));
            Box::new(made.map_err(|error| error.to_string())?)
        }
    };
    if !(0.0..1.0).contains(&arguments.dropout) {
        return Err(format!("--dropout {}: expected a number in [0, 1)", arguments.dropout));
    }
    let (layers, dropout) = (arguments.layers, arguments.dropout);
    let config = LanguageModelConfig { layers, hidden: width, dropout };
    let model = LanguageModel::new(scope, embedding, config);
    let (train, valid, batch) = (text.train.clone(), text.valid.clone(), arguments.batch);
    let state = model.start(Part::of_rank(world.rank(), world.size(), batch).own);
    Ok(Training { model, train, valid, batch, state, ranks: world.clone() })
}

fn train<T: Real, O: Optimizer<T>>(
    arguments: &Arguments,
    world: &Arc<mpi::World>,
    mut trainer: Trainer<'_, T, O>,
    mut task: Training<T>,
    text: &Text,
) -> Result<(), Failure> {
    let first = world.rank() == 0;
    if let Some(folder) = &arguments.out {
        let every = Duration::try_from_secs_f64(arguments.save_every);
        trainer = trainer.checkpoints(folder, every.unwrap_or(Duration::MAX));
        if arguments.resume {
            let resumed = trainer.resume(&mut task, Which::Latest);
            together(world, resumed.map_err(|error| error.to_string()))?;
        }
    }
    let mut losses = String::new();
    let (mut steps, before) = (0, world.sent());
    let ending = trainer.run(&mut task, |event| match event {
        Event::Step { epoch, done, mean, seconds } if first => {
            steps += 1;
            writeln!(losses, "{epoch} {done} {mean:.17e}").expect("memory");
            if done.is_multiple_of(100) {
                let tokens = (done * arguments.batch * arguments.window) as f64 / seconds;
                println!(
                    "epoch {} step {done}  train ppl {:.2}  {tokens:.0} tokens/s",
                    epoch + 1,
                    mean.exp()
                );
            }
        }
        Event::Epoch(history, _) if first => {
            if let Some(epoch) = history.last() {
                let valid = epoch.figure("valid_perplexity").unwrap_or(f64::NAN);
                println!(
                    "epoch {}  train ppl {:.2}  valid ppl {valid:.2}",
                    epoch.epoch,
                    epoch.train.exp()
                );
            }
        }
        Event::NotSaved(error) if first => eprintln!("lstm_lm_mpi: not saved: {error}"),
        _ => {}
    })?;
    if !first {
        return Ok(());
    }
    if let Some(file) = &arguments.losses {
        std::fs::write(file, losses)
            .map_err(|error| Failure::Own(format!("{}: {error}", file.display())))?;
    }
    if ending == Ending::Stopped {
        println!("stopped; go on with --resume");
        return Ok(());
    }
    let bytes = (world.sent() - before) / steps.max(1);
    let test = perplexity(&task.model, trainer.params(), &mut Tape::new(), &text.test)?;
    println!("{} ranks  test ppl {test:.4}  {bytes} bytes sent by a rank in a step", world.size());
    Ok(())
}
