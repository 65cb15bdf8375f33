//! What a step of training costs on several machines: `mpirun -n 2 cost`.
//!
//! The bytes of a step are counted in real models, sums are measured, and from both follows what a step would
//! take on other networks.

use clap::Parser;
use data_parallel::mpi::World;
use dpq::communicator::Communicator;
use dpq::data::{Bags, Batches, Corpus};
use dpq::nn::{LanguageModel, LanguageModelConfig, TextClassifier, TextClassifierConfig};
use dpq::rng::rand::RngExt;
use dpq::tape::{Gradient, Part};
use dpq::{Bound, DpqConfig, DpqEmbedding, Embedding, FullEmbedding, Init, Params, Tape, Var, rng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// Counts what ranks exchange in a step, measures sums, and predicts steps on other networks.
#[derive(Parser)]
struct Arguments {
    /// Folder of a text for the language model, such as Penn Treebank [default: 10,000 words drawn by Zipf's law]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Words of the classifier's table
    #[arg(long, value_name = "V", default_value_t = 1_000_000)]
    words: usize,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let mpi = ferrompi::Mpi::init_thread(ferrompi::ThreadLevel::Serialized)?;
    let world = Arc::new(World::new(mpi.world()));
    if world.size() == 1 {
        return Err("cost: expected at least two ranks: mpirun -n 2 cost".into());
    }
    let per_byte = measure_sums(&world)?;
    for table in [Table::Full, Table::Sx] {
        language_model(&world, arguments.data.as_deref(), table)?.print(&world, per_byte);
    }
    for table in [Table::Full, Table::Sx] {
        classifier(&world, arguments.words, table)?.print(&world, per_byte);
    }
    Ok(())
}

/// Seconds for each byte that leaves a rank, without a network: copied, handed over in memory, added. Fitted to
/// sums of many lengths, as seconds = those of a call + those of its bytes.
fn measure_sums(world: &Arc<World>) -> Result<f64, Failure> {
    let (ranks, says) = (&**world as &dyn Communicator, world.rank() == 0);
    if says {
        println!("sums over {} ranks of this machine, the least time of 9", world.size());
        println!("{:>12} {:>12} {:>10}", "numbers", "bytes sent", "ms");
    }
    // Least squares of relative errors: short sums count as much as long ones.
    let [mut w, mut wx, mut wxx, mut wy, mut wxy] = [0.0; 5];
    // The longest first: then memory stays with the process, as it does in training.
    for power in (8..=22).rev().step_by(2) {
        let mut numbers = vec![1.0_f32; 1 << power];
        let mut least = f64::INFINITY;
        let mut bytes = 0.0;
        for _ in 0..9 {
            ranks.barrier()?;
            let (start, before) = (Instant::now(), world.sent());
            ranks.sum(&mut numbers)?;
            least = least.min(start.elapsed().as_secs_f64());
            bytes = (world.sent() - before) as f64;
        }
        if says {
            println!("{:>12} {bytes:>12.0} {:>10.3}", numbers.len(), 1e3 * least);
        }
        let weight = least.powi(-2);
        w += weight;
        wx += weight * bytes;
        wxx += weight * bytes * bytes;
        wy += weight * least;
        wxy += weight * bytes * least;
    }
    let per_byte = (w * wxy - wx * wy) / (w * wxx - wx * wx);
    if says {
        let of_call = 1e6 * (wy - per_byte * wx) / w;
        println!("fitted: {of_call:.0} us, and {:.2} GB/s\n", 1e-9 / per_byte);
    }
    Ok(per_byte)
}

#[derive(Clone, Copy, Debug)]
enum Table {
    Full,
    Sx,
}

impl Table {
    fn embedding(
        self,
        params: &mut Params<f32>,
        words: usize,
        width: usize,
        dpq: DpqConfig,
    ) -> Result<Box<dyn Embedding<f32>>, Failure> {
        let scope = params.scope("embedding").init(Init::Uniform(0.1));
        Ok(match self {
            Table::Full => Box::new(FullEmbedding::new(scope, words, width)),
            Table::Sx => Box::new(DpqEmbedding::new(scope, words, width, dpq)?),
        })
    }
}

/// A word by Zipf's law: the chance of word i falls as 1 / (i + 1).
fn zipf(words: usize, rng: &mut rng::ChaCha8Rng) -> u32 {
    ((words as f64).powf(rng.random::<f64>()) as usize - 1).min(words - 1) as u32
}

/// The small language model of Zaremba et al. (2014): 200 units, 2 layers, 20 streams of 20 words a rank.
fn language_model(world: &Arc<World>, data: Option<&Path>, table: Table) -> Result<Step, Failure> {
    const STREAMS: usize = 20;
    let batch = STREAMS * world.size();
    let (text, words) = match data {
        Some(folder) => {
            let corpus = Corpus::read(folder)?;
            (corpus.train, corpus.vocabulary.len())
        }
        None => {
            let mut rng = rng::stream(0, "text", 0);
            ((0..batch * 21).map(|_| zipf(10_000, &mut rng)).collect(), 10_000)
        }
    };
    let part = Part::of_rank(world.rank(), world.size(), batch);
    let window = Batches::new(&text, batch, 20)?.window(0).streams(part.range());
    let mut params = Params::seeded(0);
    let dpq = DpqConfig { shared: true, ..DpqConfig::sx(25, 32) };
    let embedding = table.embedding(&mut params, words, 200, dpq)?;
    let config = LanguageModelConfig { layers: 2, hidden: 200, dropout: 0.0 };
    let model = LanguageModel::new(params.root().init(Init::Uniform(0.1)), embedding, config);
    let name = format!("language model, V {words}, d 200, {table:?} (D 25, K 32)");
    let state = model.start(STREAMS);
    Step::count(world, name, &params, |p, _| model.forward(p, &window, &state).objective)
}

/// A classifier of texts whose words are read from a large table: 64 texts of 40 words a rank.
fn classifier(world: &Arc<World>, words: usize, table: Table) -> Result<Step, Failure> {
    const TEXTS: usize = 64;
    let mut params = Params::seeded(0);
    let embedding = table.embedding(&mut params, words, 512, DpqConfig::sx(64, 32))?;
    let (dropout, word_dropout) = (0.0, 0.0);
    let config = TextClassifierConfig { classes: 4, hidden: true, dropout, word_dropout };
    let model = TextClassifier::new(params.root(), embedding, config);
    let mut rng = rng::stream(0, "texts", 0);
    let all = TEXTS * world.size();
    let ids = (0..40 * all).map(|_| zipf(words, &mut rng)).collect();
    let all = Bags { ids, lengths: vec![40; all] };
    let own = all.slice(Part::of_rank(world.rank(), world.size(), all.lengths.len()).range());
    let classes = [0, 1, 2, 3].repeat(TEXTS / 4);
    let name = format!("classifier, V {words}, d 512, {table:?} (D 64, K 32)");
    Step::count(world, name, &params, |p, alone| {
        let logits = model.forward(p, if alone { &own } else { &all });
        logits.logits.cross_entropy(&classes)
    })
}

/// What a rank sends in a step, and how long it works.
struct Step {
    name: String,
    /// Row-sparse gradients: rows of this rank, their width, and rows of the table.
    rows: Vec<[f64; 3]>,
    /// Numbers with dense gradients, by layer.
    dense: BTreeMap<String, f64>,
    /// Bytes of statistics and of everything, counted, and how often ranks wait for each other.
    statistics: f64,
    counted: f64,
    calls: f64,
    /// Seconds of the forward and the backward pass of one rank by itself.
    seconds: f64,
    /// With so many ranks.
    ranks: f64,
}

impl Step {
    /// Takes the gradients of a loss, alone and on all ranks.
    fn count(
        world: &Arc<World>,
        name: String,
        params: &Params<f32>,
        loss: impl for<'t> Fn(&Bound<'t, f32>, bool) -> Var<'t, f32>,
    ) -> Result<Step, Failure> {
        let (mut tape, mut seconds) = (Tape::new(), f64::INFINITY);
        for _ in 0..5 {
            let start = Instant::now();
            tape.value_and_grad(params, |p| (loss(p, true), ()))?;
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        let mut tape = Tape::new();
        tape.set_communicator(world.clone());
        let (sent, calls) = (world.sent(), world.calls());
        let (_, mut grads, ()) = tape.value_and_grad(params, |p| (loss(p, false), ()))?;
        let statistics = (world.sent() - sent) as f64;
        let rows_of = |gradient: &Gradient<f32>| match gradient {
            Gradient::Rows(rows) => rows.ids.len(),
            Gradient::Dense(_) => 0,
        };
        let own: BTreeMap<_, _> =
            grads.iter().map(|(id, gradient)| (id.index(), rows_of(&gradient))).collect();
        grads.sum_over_ranks(&**world)?;
        let (mut rows, mut dense) = (Vec::new(), BTreeMap::new());
        for (id, gradient) in grads.iter() {
            let (height, width) = params.get(id).shape().as_matrix();
            if let Gradient::Rows(_) = gradient {
                rows.push([own[&id.index()], width, height].map(|n| n as f64));
            } else {
                let layer = params.name(id).split('.').next().unwrap_or_default().to_string();
                *dense.entry(layer).or_default() += (height * width) as f64;
            }
        }
        let counted = (world.sent() - sent) as f64;
        let (calls, ranks) = ((world.calls() - calls) as f64, world.size() as f64);
        Ok(Step { name, rows, dense, statistics, counted, calls, seconds, ranks })
    }

    /// Bytes that leave a rank, by part: what is summed goes to and from the rank that adds it up, a row to
    /// each of the others. Where all rows are more than their table, it is summed whole.
    fn parts(&self, ranks: f64) -> Vec<(String, f64)> {
        let others = (ranks - 1.0) / ranks;
        let of_rows = |[rows, width, height]: &[f64; 3]| {
            let (gathered, summed) = (rows * ranks * (4.0 + 4.0 * width), 8.0 * width * height);
            others * gathered.min(summed)
        };
        let dense = |(layer, numbers): (&String, &f64)| (layer.clone(), 8.0 * numbers * others);
        let mut parts: Vec<_> = self.dense.iter().map(dense).collect();
        parts.insert(0, ("rows of the table".into(), self.rows.iter().map(of_rows).sum()));
        let here = (self.ranks - 1.0) / self.ranks;
        parts.push(("statistics".into(), self.statistics / here * others));
        parts
    }

    fn print(&self, world: &World, per_byte: f64) {
        if world.rank() > 0 {
            return;
        }
        println!("{}: {} ranks, bytes that rank 0 sends in a step", self.name, self.ranks);
        let parts = self.parts(self.ranks);
        let named: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
        for (part, bytes) in parts.iter().filter(|(_, bytes)| *bytes > 0.0) {
            println!("{part:>20} {bytes:>14.0} {:>6.2}%", 100.0 * bytes / self.counted);
        }
        let [rest, counted, calls] = [self.counted - named, self.counted, self.calls];
        println!("{:>20} {rest:>14.0}", "numbers of rows");
        println!("{:>20} {counted:>14.0} in {calls} calls", "counted");
        println!("predicted ms of a step, {:.1} of them without other ranks", 1e3 * self.seconds);
        println!("{:>8} {:>12} {:>12} {:>12}", "ranks", "1 Gbit/s", "10 Gbit/s", "100 Gbit/s");
        for ranks in [2.0_f64, 4.0, 8.0, 16.0, 32.0, 64.0] {
            let bytes: f64 = self.parts(ranks).iter().map(|(_, bytes)| bytes).sum();
            print!("{ranks:>8}");
            // Networks' bytes in a second, and the seconds until the first byte arrives.
            for (rate, latency) in [(1.25e8, 50e-6), (1.25e9, 20e-6), (1.25e10, 2e-6)] {
                let waits = self.calls * ranks.log2() * latency;
                let seconds = self.seconds + waits + bytes * (1.0 / rate + per_byte);
                print!(" {:>12.1}", 1e3 * seconds);
            }
            println!();
        }
        println!();
    }
}
