//! A run that stops and goes on is the run that did not stop, to the bit; and what can go wrong on the way
//! is told.
#![cfg(feature = "io")]

use crate::refusal::refusal;
use dpq::data::Batches;
use dpq::nn::{LanguageModel, LanguageModelConfig, LstmState};
use dpq::optim::{Adam, Optimizer, Sgd};
use dpq::train::{BEST, Ending, Event, LATEST, Task, Trainer, Which};
use dpq::{
    Bound, DpqConfig, DpqEmbedding, Embedding, Error, FullEmbedding, Grads, ParamId, Params,
    Result, Tape, Tensor, Var, parallel, rng,
};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

const VOCABULARY: usize = 200;
const WIDTH: usize = 16;
const BATCH: usize = 4;

/// A language model with dropout on a random text.
struct Words {
    model: LanguageModel<f32>,
    text: Batches,
    state: LstmState<f32>,
    bias: ParamId,
    mean: ParamId,
}

impl Task<f32> for Words {
    fn steps(&self) -> usize {
        self.text.len()
    }

    fn loss<'t>(&mut self, p: &Bound<'t, f32>, _: usize, step: usize) -> (Var<'t, f32>, f64) {
        if step == 0 {
            self.state = self.model.start(BATCH);
        }
        let pass = self.model.forward(p, &self.text.window(step), &self.state);
        self.state = pass.state;
        (pass.objective, f64::from(pass.cross_entropy))
    }

    /// The mean of the softmax's bias moves after it, and draws the bias back.
    fn after_step(&mut self, params: &mut Params<f32>, grads: &Grads<f32>) -> Result<()> {
        let bias = params.get(self.bias).deep_copy();
        let mean = params.write(self.mean);
        mean.iter_mut().zip(bias.data()).for_each(|(mean, b)| *mean += 0.1 * (b - *mean));
        let (mean, rate) = (params.get(self.mean).deep_copy(), 1e-3 * grads.norm() as f32);
        let bias = params.write(self.bias).iter_mut();
        bias.zip(mean.data()).for_each(|(b, mean)| *b += rate * (mean - *b));
        Ok(())
    }

    fn validate(
        &mut self,
        tape: &mut Tape<f32>,
        params: &Params<f32>,
    ) -> Result<Vec<(&'static str, f64)>> {
        let window = self.text.window(0);
        let start = self.model.start(BATCH);
        let loss = tape.value(params, |p| self.model.forward(p, &window, &start).cross_entropy)?;
        Ok(vec![("valid_loss", f64::from(loss)), ("twice", 2.0 * f64::from(loss))])
    }

    fn carried(&self) -> Vec<(String, Tensor<f32>)> {
        self.state.tensors()
    }

    fn carry(&mut self, tensors: Vec<(String, Tensor<f32>)>) -> Result<()> {
        self.state = LstmState::from_tensors(tensors);
        Ok(())
    }
}

/// What `DPQ_STEPS` says, or a few.
fn steps() -> usize {
    std::env::var("DPQ_STEPS").map_or(24, |steps| steps.parse().unwrap())
}

const EPOCHS: usize = 3;

fn words(quantized: Option<DpqConfig>) -> (Params<f32>, Words) {
    let mut params = Params::seeded(6);
    let scope = params.scope("words");
    let table: Box<dyn Embedding<f32>> = match quantized {
        Some(config) => Box::new(DpqEmbedding::new(scope, VOCABULARY, WIDTH, config).unwrap()),
        None => Box::new(FullEmbedding::new(scope, VOCABULARY, WIDTH)),
    };
    let config = LanguageModelConfig { layers: 2, hidden: 12, dropout: 0.3 };
    let model = LanguageModel::new(params.root(), table, config);
    let tokens = BATCH * (steps().div_ceil(EPOCHS) * 5 + 1);
    let draws = Tensor::<f64>::uniform([tokens], 1.0, &mut rng::stream(5, "text", 0));
    let ids: Vec<u32> =
        draws.data().iter().map(|x| (x * x * VOCABULARY as f64 * 0.999) as u32).collect();
    let text = Batches::new(&ids, BATCH, 5).unwrap();
    let state = model.start(BATCH);
    let bias = params.find("softmax.bias").unwrap();
    let mean = params.add_statistic("mean", params.get(bias).deep_copy());
    (params, Words { model, text, state, bias, mean })
}

/// Any optimiser, as a trainer takes it.
struct Boxed(Box<dyn Optimizer<f32>>);
impl Optimizer<f32> for Boxed {
    fn step(&mut self, params: &mut Params<f32>, grads: &Grads<f32>) -> Result<()> {
        self.0.step(params, grads)
    }
    fn set_learning_rate(&mut self, rate: f64) {
        self.0.set_learning_rate(rate);
    }
    fn state(&mut self, params: &Params<f32>) -> Option<&mut Params<f32>> {
        self.0.state(params)
    }
}

fn optimizers() -> [fn() -> Boxed; 3] {
    [
        || Boxed(Box::new(Sgd::new(0.5))),
        || Boxed(Box::new(Sgd::new(0.1).momentum(0.9).weight_decay(1e-3))),
        || Boxed(Box::new(Adam::new(0.01))),
    ]
}

fn trainer<'a>(params: Params<f32>, optimizer: Boxed) -> Trainer<'a, f32, Boxed> {
    Trainer::new(params, optimizer)
        .epochs(EPOCHS)
        .clip(3.0)
        .schedule(|epoch| 0.1 / (epoch + 1) as f64)
        .setting("width", WIDTH)
}

/// FNV-1a of the bits of all parameters and of the history but for its times.
fn hash(trainer: &Trainer<'_, f32, Boxed>) -> u64 {
    let params = trainer.params();
    let bits =
        params.ids().flat_map(|id| params.get(id).data().iter().map(|x| u64::from(x.to_bits())));
    let history = trainer.history().iter().flat_map(|epoch| {
        let figures = epoch.figures.iter().map(|(_, value)| value.to_bits());
        figures.chain([epoch.train.to_bits(), epoch.learning_rate.to_bits()])
    });
    bits.chain(history).fold(0xcbf2_9ce4_8422_2325, |h, x| (h ^ x).wrapping_mul(0x100_0000_01b3))
}

fn straight(quantized: Option<DpqConfig>, optimizer: Boxed) -> u64 {
    let (params, mut task) = words(quantized);
    let mut trainer = trainer(params, optimizer);
    assert_eq!(trainer.run(&mut task, |_| ()).unwrap(), Ending::Finished);
    hash(&trainer)
}

/// Stopped after `stops` steps in all, one after the other, and gone on with each time.
fn interrupted(quantized: Option<DpqConfig>, optimizer: fn() -> Boxed, stops: &[usize]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    for (i, &stop) in stops.iter().chain([&usize::MAX]).enumerate() {
        let (params, mut task) = words(quantized);
        let before = Cell::new(if i == 0 { 0 } else { stops[i - 1] });
        let now = || {
            let done = before.replace(before.get() + 1);
            done >= stop
        };
        let mut trainer = trainer(params, optimizer())
            .checkpoints(folder.path(), Duration::from_secs(300))
            .stop_when(now);
        if i > 0 {
            trainer.resume(&mut task, Which::Latest).unwrap();
            let (epochs, steps) = trainer.position();
            assert_eq!(epochs * task.steps() + steps, stops[i - 1]);
        }
        let ending = trainer.run(&mut task, |_| ()).unwrap();
        if stop == usize::MAX {
            assert_eq!(ending, Ending::Finished);
            return hash(&trainer);
        }
        assert_eq!(ending, Ending::Stopped);
    }
    unreachable!("the last part ends")
}

#[test]
fn straight_and_interrupted_runs_and_any_number_of_threads_give_the_same_bits() {
    let (sx, vq) = (DpqConfig::sx(4, 8), DpqConfig::vq(4, 8));
    for quantized in [None, Some(sx), Some(DpqConfig { beta: 0.2, shared: true, ..vq })] {
        for (number, optimizer) in optimizers().into_iter().enumerate() {
            let found =
                [1, 2, 4].map(|n| parallel::with_threads(n, || straight(quantized, optimizer())));
            assert!(
                found.iter().all(|hash| *hash == found[0]),
                "{quantized:?} {number}: {found:x?}"
            );
            // One run that is stopped ten times, at steps that nothing else depends on.
            let all = words(quantized).1.steps() * EPOCHS;
            let mut stops: Vec<usize> = (0..10).map(|i| (i * i * 7919 + 13) % all).collect();
            stops.sort_unstable();
            stops.dedup();
            let gone_on = interrupted(quantized, optimizer, &stops);
            assert_eq!(
                gone_on, found[0],
                "{quantized:?}, {number}, stopped after {stops:?} of {all}"
            );
            println!(
                "{:016x} after {all} steps, 1, 2, 4 threads, and stopped after {stops:?}",
                found[0]
            );
        }
    }
}

#[test]
fn a_checkpoint_of_another_model_optimiser_or_setting_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let with_folder = |quantized, optimizer: fn() -> Boxed| {
        let (params, task) = words(quantized);
        (trainer(params, optimizer()).checkpoints(path, Duration::MAX), task)
    };
    let [sgd, momentum, adam] = optimizers();
    let (mut own, mut task) = with_folder(None, momentum);
    own.run(&mut task, |_| ()).unwrap();
    let refused = |quantized, optimizer| {
        let (mut other, mut task) = with_folder(quantized, optimizer);
        let error = other.resume(&mut task, Which::Latest).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(Some(DpqConfig::sx(4, 8)), momentum).contains("tensor words.weight"));
    assert!(refused(None, sgd).contains("found the state of an optimiser, expected none"));
    assert!(refused(None, adam).contains("momentum."));

    let (params, mut task) = words(None);
    let mut other =
        trainer(params, momentum()).setting("hidden", 12).checkpoints(path, Duration::MAX);
    let error = other.resume(&mut task, Which::Latest).unwrap_err().to_string();
    assert!(error.ends_with("found hidden = nothing, expected hidden = 12"), "{error}");
    let (params, mut task) = words(None);
    let mut fewer = trainer(params, momentum()).epochs(2).checkpoints(path, Duration::MAX);
    let error = fewer.resume(&mut task, Which::Latest).unwrap_err().to_string();
    assert!(
        error.contains("found 3 epochs and 0 steps done, expected at most 2 epochs"),
        "{error}"
    );
    // More epochs than before go on.
    let (params, mut task) = words(None);
    let mut more = trainer(params, momentum()).epochs(4).checkpoints(path, Duration::MAX);
    more.resume(&mut task, Which::Latest).unwrap();
    more.run(&mut task, |_| ()).unwrap();
    assert_eq!(more.history().len(), 4);
    let (params, mut task) = words(None);
    assert!(
        refusal(|| trainer(params, momentum()).resume(&mut task, Which::Latest)).contains("folder")
    );
}

#[test]
fn a_step_that_fails_names_itself_the_parameter_and_the_last_checkpoint() {
    struct Diverges;
    impl Task<f32> for Diverges {
        fn steps(&self) -> usize {
            5
        }
        fn loss<'t>(
            &mut self,
            p: &Bound<'t, f32>,
            epoch: usize,
            step: usize,
        ) -> (Var<'t, f32>, f64) {
            let w = p[p.ids().next().unwrap()];
            let loss = (w * w).sum();
            // A finite loss whose gradient is not.
            let loss = if (epoch, step) == (1, 2) { loss + (w * 0.0).sqrt().sum() } else { loss };
            (loss, f64::from(loss.value().item()))
        }
        fn validate(
            &mut self,
            _: &mut Tape<f32>,
            _: &Params<f32>,
        ) -> Result<Vec<(&'static str, f64)>> {
            Ok(vec![])
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut params = Params::new();
    let w = params.add("w", Tensor::from([1.0_f32, 2.0]));
    let mut trainer =
        Trainer::new(params, Sgd::new(0.01)).epochs(3).checkpoints(folder.path(), Duration::MAX);
    let error = trainer.run(&mut Diverges, |_| ()).unwrap_err();
    let expected = format!(
        "epoch 2, step 3: the gradient of parameter w is NaN: expected a finite number; \
         the last checkpoint is {}",
        folder.path().join(LATEST).display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(trainer.params().get(w).not_finite().is_none());
}

#[test]
fn a_folder_that_is_removed_does_not_stop_training_and_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("run");
    std::fs::create_dir(&folder).unwrap();
    let (params, mut task) = words(None);
    let expected = straight(None, optimizers()[0]());
    let mut trainer = trainer(params, optimizers()[0]()).checkpoints(&folder, Duration::ZERO);
    let mut faults = Vec::new();
    let ending = trainer.run(&mut task, |event| match event {
        Event::Epoch([_], _) => std::fs::remove_dir_all(&folder).unwrap(),
        Event::NotSaved(error) => faults.push(error.to_string()),
        _ => {}
    });
    assert_eq!(ending.unwrap(), Ending::Finished);
    assert_eq!(hash(&trainer), expected);
    assert!(
        !faults.is_empty() && faults.iter().all(|fault| fault.contains("checkpoint")),
        "{faults:?}"
    );
}

#[test]
fn a_task_is_told_of_every_step_when_it_is_taken_and_before_it_counts() {
    /// Keeps w after every step; may fail in the third.
    struct Told(Vec<f32>, bool);
    impl Task<f32> for Told {
        fn steps(&self) -> usize {
            2
        }
        fn loss<'t>(&mut self, p: &Bound<'t, f32>, _: usize, _: usize) -> (Var<'t, f32>, f64) {
            (p[p.ids().next().unwrap()].sum() * 8.0, 0.0)
        }
        fn after_step(&mut self, params: &mut Params<f32>, grads: &Grads<f32>) -> Result<()> {
            let w = params.ids().next().unwrap();
            assert_eq!(grads.dense(w).data(), [2.0], "the clipped gradient");
            self.0.push(params.get(w).data()[0]);
            params.write(w)[0] *= 0.5;
            let (name, value, expected) = ("step", "3".into(), "less".into());
            let fails = self.1 && self.0.len() == 3;
            if fails { Err(Error::Config { name, value, expected }) } else { Ok(()) }
        }
        fn validate(
            &mut self,
            _: &mut Tape<f32>,
            params: &Params<f32>,
        ) -> Result<Vec<(&'static str, f64)>> {
            Ok(vec![("w", f64::from(params.get(params.ids().next().unwrap()).data()[0]))])
        }
    }
    let trainer = |folder: &Path| {
        let mut params = Params::new();
        params.add("w", Tensor::from([16.0_f32]));
        let trainer = Trainer::new(params, Sgd::new(1.0)).epochs(2).clip(2.0);
        trainer.checkpoints(folder, Duration::ZERO)
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut own, mut told) = (trainer(folder.path()), Told(vec![], false));
    own.run(&mut told, |_| ()).unwrap();
    assert_eq!(told.0, [14.0, 5.0, 0.5, -1.75]);
    let figures: Vec<_> = own.history().iter().map(|epoch| epoch.figure("w").unwrap()).collect();
    assert_eq!(figures, [2.5, -0.875]);

    let folder = tempfile::tempdir().unwrap();
    let (mut own, mut told) = (trainer(folder.path()), Told(vec![], true));
    let error = own.run(&mut told, |_| ()).unwrap_err().to_string();
    assert!(error.starts_with("epoch 2, step 1: step = 3: expected less; "), "{error}");
    assert_eq!(own.position(), (1, 0));
    // The last checkpoint is that of the second step, with what the task did after it.
    let mut again = trainer(folder.path());
    again.resume(&mut told, Which::Latest).unwrap();
    let w = again.params().ids().next().unwrap();
    assert_eq!((again.position(), again.params().get(w).data()[0]), ((1, 0), 2.5));
}

/// Whose validation figures are given.
struct Given(Vec<f64>, usize);
impl Task<f32> for Given {
    fn steps(&self) -> usize {
        1
    }
    fn loss<'t>(&mut self, p: &Bound<'t, f32>, _: usize, _: usize) -> (Var<'t, f32>, f64) {
        (p[p.ids().next().unwrap()].sum(), 0.0)
    }
    fn validate(&mut self, _: &mut Tape<f32>, _: &Params<f32>) -> Result<Vec<(&'static str, f64)>> {
        self.1 += 1;
        Ok(vec![("given", self.0[self.1 - 1])])
    }
}

#[test]
fn the_best_model_is_kept_and_waiting_for_a_better_one_has_an_end() {
    let best = |path: &Path| {
        let mut params = Params::new();
        let w = params.add("w", Tensor::from([0.0_f32]));
        params.load(path.join(BEST)).unwrap();
        params.get(w).data()[0]
    };
    let run = |figures: &[f64], patience| {
        let folder = tempfile::tempdir().unwrap();
        let mut params = Params::new();
        params.add("w", Tensor::from([0.0_f32]));
        let mut trainer = Trainer::new(params, Sgd::new(1.0))
            .epochs(figures.len())
            .checkpoints(folder.path(), Duration::MAX)
            .keep_best()
            .early_stopping(patience);
        let ending = trainer.run(&mut Given(figures.to_vec(), 0), |_| ()).unwrap();
        // w falls by 1 in every epoch.
        let (epochs, best_epoch) = (trainer.history().len(), trainer.best().unwrap().epoch);
        assert_eq!(best(folder.path()), -(best_epoch as f32));
        let kept = trainer.into_best().expect("the best of several epochs");
        assert_eq!(kept.get(kept.find("w").unwrap()).data(), [-(best_epoch as f32)]);
        (ending, epochs, best_epoch)
    };
    assert_eq!(run(&[3.0, 2.0, 2.5, 2.0, 1.0], 3), (Ending::Finished, 5, 5));
    assert_eq!(run(&[3.0, 2.0, 2.5, 2.0, 1.0], 2), (Ending::NoImprovement, 4, 2));
    assert_eq!(run(&[3.0, 4.0, 5.0], 1), (Ending::NoImprovement, 2, 1));
}

#[test]
fn what_a_run_cannot_begin_with_is_refused_before_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |path: &Path| {
        let (params, mut task) = words(None);
        let mut trainer = trainer(params, optimizers()[0]()).checkpoints(path, Duration::MAX);
        trainer.run(&mut task, |_| ()).map_err(|error| error.to_string())
    };
    let error = begin(&folder.path().join("nowhere")).unwrap_err();
    assert!(error.contains("nowhere"), "{error}");
    begin(folder.path()).unwrap();
    let error = begin(folder.path()).unwrap_err();
    assert!(
        error.ends_with("expected none in the folder of a new run, or to go on from it"),
        "{error}"
    );

    // The latest is damaged: what goes on from the one before it never puts it in its place.
    let latest = Which::Latest.path(folder.path());
    std::fs::write(&latest, "damaged").unwrap();
    let (params, mut task) = words(None);
    let mut trainer =
        trainer(params, optimizers()[0]()).epochs(4).checkpoints(folder.path(), Duration::MAX);
    let error = trainer.resume(&mut task, Which::Latest).unwrap_err().to_string();
    assert!(error.contains("checkpoint.previous.safetensors, can be read"), "{error}");
    trainer.resume(&mut task, Which::Previous).unwrap();
    trainer.save(&task).unwrap();
    for which in [Which::Latest, Which::Previous] {
        dpq::io::load_tensors(&which.path(folder.path())).unwrap();
    }

    let clip = refusal(|| Trainer::new(words(None).0, Sgd::new(0.1)).clip(1e-60));
    assert!(clip.contains("that the precision holds"), "{clip}");
    let plain = || Trainer::new(words(None).0, Sgd::new(0.1));
    assert!(refusal(|| plain().early_stopping(0)).contains("0 epochs"));
    assert!(refusal(|| plain().setting("a", 1).setting("a", 2)).contains("given twice"));
    let rate = refusal(|| plain().schedule(|_| f64::NAN).run(&mut words(None).1, |_| ()));
    assert!(rate.contains("learning rate NaN"), "{rate}");
}

#[test]
fn a_validation_figure_that_is_not_finite_ends_training_with_an_error() {
    let mut params = Params::new();
    params.add("w", Tensor::from([0.0_f32]));
    let mut trainer = Trainer::new(params, Sgd::new(1.0)).epochs(3);
    let error = trainer.run(&mut Given(vec![1.0, f64::NAN], 0), |_| ()).unwrap_err().to_string();
    assert_eq!(error, "epoch 2, step 1: given is NaN: expected a finite number");
}
