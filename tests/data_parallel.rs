//! Several ranks train as one does: the same losses, whatever the embedding and the optimiser.

use dpq::communicator::{Communicator, Threads};
use dpq::data::{Bags, Batches, Window};
use dpq::nn::{
    LanguageModel, LanguageModelConfig, LstmState, TextClassifier, TextClassifierConfig,
};
use dpq::optim::{Adam, Optimizer, Sgd};
use dpq::pq::{Form, MovingAverage};
use dpq::rng::rand::Rng;
use dpq::tape::{Gradient, Part};
use dpq::train::{Event, Task, Trainer};
use dpq::{
    Bound, DpqConfig, DpqEmbedding, Embedding, FullEmbedding, Grads, Init, Params, Real, Result,
    Tape, Tensor, Var, rng,
};
use std::sync::Arc;
use std::thread;

const WORDS: usize = 20;
const WIDTH: usize = 12;
const BATCH: usize = 6;
const STEPS: usize = 200;
const CLIP: f64 = 5.0;

/// A language model on a made-up text; with ranks, one rank's streams of it.
struct Text<T: Real> {
    model: LanguageModel<T>,
    windows: Vec<Window>,
    part: Part,
    state: LstmState<T>,
}

impl<T: Real> Task<T> for Text<T> {
    fn steps(&self) -> usize {
        STEPS
    }

    fn loss<'t>(&mut self, p: &Bound<'t, T>, _epoch: usize, step: usize) -> (Var<'t, T>, f64) {
        p.tape.set_part(self.part);
        let window = self.windows[step].streams(self.part.range());
        let pass = self.model.forward(p, &window, &self.state);
        self.state = pass.state;
        (pass.objective, pass.cross_entropy.to_f64())
    }

    fn after_step(&mut self, params: &mut Params<T>, _: &Grads<T>) -> Result<()> {
        self.model.embedding().update(params)
    }

    fn validate(
        &mut self,
        _tape: &mut Tape<T>,
        _params: &Params<T>,
    ) -> Result<Vec<(&'static str, f64)>> {
        Ok(Vec::new())
    }
}

/// What is trained.
#[derive(Clone, Copy, Debug)]
enum Table {
    Full,
    Dpq(DpqConfig),
}

/// The mean loss after every step, on one of `ranks` or alone, and the parameters at the end.
fn losses<T: Real, O: Optimizer<T>>(
    table: Table,
    optimizer: O,
    rank: Option<Threads>,
    clip: f64,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut params = Params::<T>::seeded(3);
    let mut scope = params.scope("model").init(Init::Uniform(0.4));
    let embedding: Box<dyn Embedding<T>> = match table {
        Table::Full => Box::new(FullEmbedding::new(scope.scope("words"), WORDS, WIDTH)),
        Table::Dpq(config) => {
            Box::new(DpqEmbedding::new(scope.scope("words"), WORDS, WIDTH, config)?)
        }
    };
    let config = LanguageModelConfig { layers: 1, hidden: WIDTH, dropout: 0.2 };
    let model = LanguageModel::new(scope, embedding, config);
    let mut draw = rng::stream(0, "text", 0);
    let mut word = 0;
    let text: Vec<u32> = (0..BATCH * (5 * STEPS + 1))
        .map(|_| {
            word = (word * 7 + draw.next_u32() % 3) % WORDS as u32;
            word
        })
        .collect();
    let windows: Vec<Window> = Batches::new(&text, BATCH, 5)?.windows().collect();
    let part = rank
        .as_ref()
        .map_or(Part::of_rank(0, 1, BATCH), |rank| Part::of_rank(rank.rank(), rank.size(), BATCH));
    let state = model.start(part.own);
    let mut task = Text { model, windows, part, state };
    let mut trainer = Trainer::new(params, optimizer).clip(clip);
    if let Some(rank) = rank {
        trainer = trainer.communicator(Arc::new(rank));
    }
    let mut means = Vec::new();
    trainer.run(&mut task, |event| {
        if let Event::Step { mean, .. } = event {
            means.push(mean);
        }
    })?;
    let params = trainer.into_params();
    let numbers = params.ids().flat_map(|id| params.get(id).data().to_vec());
    Ok((means, numbers.map(|x| x.to_f64()).collect()))
}

/// What each of so many ranks has of some work.
fn on_each<R: Send>(ranks: usize, work: impl Fn(Threads) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let run = |rank| scope.spawn(move || work(rank));
        let running: Vec<_> = Threads::new(ranks).into_iter().map(run).collect();
        running.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// The same on so many threads; the results of every rank.
fn on_ranks<T: Real, O: Optimizer<T>>(
    table: Table,
    optimizer: impl Fn() -> O + Sync,
    ranks: usize,
) -> Vec<(Vec<f64>, Vec<f64>)> {
    on_each(ranks, |rank| losses::<T, O>(table, optimizer(), Some(rank), CLIP).unwrap())
}

/// Compares 1, 2 and 4 ranks, of which the last have unequal parts.
#[track_caller]
fn equal_to_one<T: Real, O: Optimizer<T>>(
    table: Table,
    optimizer: impl Fn() -> O + Sync,
    tolerance: f64,
) {
    let (alone, _) = losses::<T, O>(table, optimizer(), None, CLIP).unwrap();
    assert!(alone[STEPS - 1] < alone[0], "{table:?}: it learns nothing: {alone:?}");
    for ranks in [1, 2, 4] {
        let all = on_ranks::<T, O>(table, &optimizer, ranks);
        let far = alone.iter().zip(&all[0].0).map(|(a, b)| (a - b).abs() / a).fold(0.0, f64::max);
        assert!(far <= tolerance, "{table:?}, {ranks} ranks: {far:e} apart");
        assert!(all.iter().all(|rank| *rank == all[0]), "ranks differ");
    }
}

fn dpq(form: Form) -> DpqConfig {
    DpqConfig { shared: true, beta: 0.1, ..DpqConfig::new(form, 3, 8) }
}

/// Rates at which rounding errors do not grow from step to step.
fn sgd<T: Real>() -> Sgd<T> {
    Sgd::new(0.3)
}

fn adam<T: Real>() -> Adam<T> {
    Adam::new(3e-3)
}

#[test]
fn the_full_table() {
    equal_to_one::<f64, _>(Table::Full, sgd, 1e-12);
    equal_to_one::<f64, _>(Table::Full, adam, 1e-12);
    equal_to_one::<f32, _>(Table::Full, sgd, 1e-6);
    equal_to_one::<f32, _>(Table::Full, adam, 1e-6);
}

#[test]
fn both_forms_of_dpq() {
    for form in [Form::Sx, Form::Vq] {
        let table = Table::Dpq(dpq(form));
        equal_to_one::<f64, _>(table, sgd, 1e-12);
        equal_to_one::<f64, _>(table, adam, 1e-12);
        equal_to_one::<f32, _>(table, sgd, 1e-6);
        equal_to_one::<f32, _>(table, adam, 1e-6);
    }
}

/// Those that ranks have to agree in.
fn options() -> [DpqConfig; 3] {
    let sampled = DpqConfig { sampling: true, ..dpq(Form::Sx) };
    let averages = MovingAverage { decay: 0.9, revive_below: 8.0, ..MovingAverage::default() };
    let averages = DpqConfig { moving_average: Some(averages), ..dpq(Form::Vq) };
    // Wide groups with a tiny codebook: statistics are added up from the scores.
    let wide = DpqConfig { shared: false, ..DpqConfig::sx(1, 4) };
    [sampled, averages, wide]
}

#[test]
fn options_of_dpq() {
    for config in options() {
        equal_to_one::<f64, _>(Table::Dpq(config), sgd, 1e-12);
    }
}

/// A classifier of texts of very different length: every rank reads the batch, and takes its part.
struct Texts {
    model: TextClassifier<f64>,
    batches: Vec<(Bags, Vec<u32>)>,
}

impl Task<f64> for Texts {
    fn steps(&self) -> usize {
        self.batches.len()
    }

    fn loss<'t>(&mut self, p: &Bound<'t, f64>, _: usize, step: usize) -> (Var<'t, f64>, f64) {
        let (texts, classes) = &self.batches[step];
        let found = self.model.forward(p, texts);
        let own = p.tape.part().map_or(0..classes.len(), Part::range);
        let loss = found.logits.cross_entropy(&classes[own]);
        let loss = found.regulariser.map_or(loss, |regulariser| loss + regulariser);
        (loss, loss.value().item())
    }

    fn after_step(&mut self, params: &mut Params<f64>, _: &Grads<f64>) -> Result<()> {
        self.model.embedding().update(params)
    }

    fn validate(
        &mut self,
        _tape: &mut Tape<f64>,
        _params: &Params<f64>,
    ) -> Result<Vec<(&'static str, f64)>> {
        Ok(Vec::new())
    }
}

fn losses_of_texts(config: DpqConfig, rank: Option<Threads>) -> Result<Vec<f64>> {
    let mut params = Params::seeded(1);
    let mut scope = params.scope("model").init(Init::Uniform(0.4));
    let words = DpqEmbedding::new(scope.scope("words"), WORDS, WIDTH, config)?;
    let settings =
        TextClassifierConfig { classes: 3, hidden: true, dropout: 0.2, word_dropout: 0.1 };
    let model = TextClassifier::new(scope, Box::new(words), settings);
    let mut draw = rng::stream(0, "texts", 0);
    let mut below = |n: usize| draw.next_u32() as usize % n;
    let batches = (0..60).map(|_| {
        let lengths: Vec<usize> = [2, 30, 1, 5, 60, 9].map(&mut below).to_vec();
        let ids = (0..lengths.iter().sum()).map(|_| below(WORDS) as u32).collect();
        let classes = (0..lengths.len()).map(|_| below(3) as u32).collect();
        (Bags { ids, lengths }, classes)
    });
    let mut task = Texts { model, batches: batches.collect() };
    let mut trainer = Trainer::new(params, sgd()).clip(CLIP);
    if let Some(rank) = rank {
        trainer = trainer.communicator(Arc::new(rank));
    }
    let mut means = Vec::new();
    trainer.run(&mut task, |event| {
        if let Event::Step { mean, .. } = event {
            means.push(mean);
        }
    })?;
    Ok(means)
}

#[test]
fn texts_are_dealt_out_by_length() {
    for config in options().into_iter().chain([dpq(Form::Vq)]) {
        let alone = losses_of_texts(config, None).unwrap();
        for ranks in [2, 4, 6] {
            let all = on_each(ranks, |rank| losses_of_texts(config, Some(rank)).unwrap());
            let far = |(a, b): (&f64, &f64)| (a - b).abs() / a;
            let far = alone.iter().zip(&all[0]).map(far).fold(0.0, f64::max);
            assert!(far <= 1e-12, "{config:?}, {ranks} ranks: {far:e} apart");
            assert!(all.iter().all(|rank| *rank == all[0]), "ranks differ");
        }
    }
}

#[test]
fn sums_are_taken_in_the_order_of_the_ranks() {
    // The 1 is lost beside 1e16; taken last, it would be kept.
    let of_rank = [1e16, 1.0, -1e16];
    for length in [0, 1, 2, 5, (1 << 20) + 1] {
        let sums = on_each(3, |rank| {
            let mut numbers = vec![of_rank[rank.rank()]; length];
            (&rank as &dyn Communicator).sum(&mut numbers).map(|()| numbers).unwrap()
        });
        assert_eq!(sums, vec![vec![0.0_f64; length]; 3]);
    }
    let given = on_each(3, |rank| {
        let own = vec![7; 2 * rank.rank()];
        let ranks = &rank as &dyn Communicator;
        (ranks.gather(&own).unwrap(), ranks.broadcast(vec![rank.rank() as u8; 2]).unwrap())
    });
    assert_eq!(given, vec![(vec![vec![], vec![7; 2], vec![7; 4]], vec![0, 0]); 3]);
}

#[test]
fn rows_are_sent_until_the_table_has_fewer_bytes() {
    // A row and its id have 20 bytes; the table has 128, and as a sum is sent twice.
    for (rows, sparse) in [(6, true), (7, false)] {
        let found = on_each(2, |rank| {
            let (mut params, rank_1) = (Params::new(), rank.rank() == 1);
            let table = params.add("table", Tensor::from_fn([8, 2], |i| i as f64));
            let [one, none] = ["one", "none"].map(|name| params.add(name, Tensor::scalar(1.0)));
            let ids: Vec<u32> = (0..rows).map(|i| i + u32::from(rank_1)).collect();
            let (_, mut grads, ()) = Tape::new()
                .value_and_grad(&params, |p| {
                    let rows = p[table].gather_rows(&ids);
                    let loss = (rows * rows).sum();
                    (if rank_1 { loss + p[one] * 3.0 } else { loss }, ())
                })
                .unwrap();
            grads.sum_over_ranks(&rank).unwrap();
            let is_sparse = matches!(grads.get(table), Some(Gradient::Rows(_)));
            assert!(grads.get(none).is_none());
            (is_sparse, grads.dense(table), grads.dense(one).item())
        });
        let times = |row: usize| {
            (row < rows as usize) as usize + (1..=rows as usize).contains(&row) as usize
        };
        let sum = Tensor::from_fn([8, 2], |i| (2 * i * times(i / 2)) as f64);
        assert_eq!(found, vec![(sparse, sum, 3.0); 2]);
    }
}

#[test]
fn two_runs_have_the_same_bits() {
    let table = Table::Dpq(dpq(Form::Sx));
    let run = || on_ranks::<f32, _>(table, adam, 2);
    assert_eq!(run(), run());
}

#[test]
fn ranks_that_differ_are_told_so() {
    let told = on_each(2, |rank| {
        let clip = 1.0 + rank.rank() as f64;
        let ended = losses::<f64, _>(Table::Full, sgd(), Some(rank), clip);
        ended.err().map(|error| error.to_string())
    });
    let expected = "rank 1 has the setting clip 2, and rank 0 clip 1".to_string();
    assert_eq!(told, [Some(expected.clone()), Some(expected)]);
}
