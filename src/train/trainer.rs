//! The loop: steps, epochs, checkpoints, and going on from one.

use super::checkpoint::{SETTING, Which, check_settings, load, save, section};
use super::found::Found;
use super::history::{Epoch, to_tensors};
use super::task::{Ending, Event, Task};
use crate::communicator::Communicator;
use crate::error::{Error, Result};
use crate::io::{StoredTensor, TensorFile};
use crate::optim::Optimizer;
use crate::params::Params;
use crate::real::{Real, assert_held};
use crate::tape::{Part, Tape};
use crate::tensor::Tensor;
use std::any::type_name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the best model's parameters in the folder.
pub const BEST: &str = "best.safetensors";

/// A training loop with checkpoints. See the [module](super) for a whole program.
///
/// Every step is: the gradients of the task's loss, clipped if wanted, the optimiser's step, and what the
/// task does [after it](Task::after_step). The tape's noise is a function of the parameters' seed and of
/// the number of the step.
pub struct Trainer<'a, T: Real, O> {
    params: Params<T>,
    optimizer: O,
    tape: Tape<T>,
    epochs: usize,
    clip: Option<f64>,
    schedule: Option<Box<dyn Fn(usize) -> f64 + 'a>>,
    schedule_by_step: Option<Box<dyn Fn(usize) -> f64 + 'a>>,
    folder: Option<PathBuf>,
    save_every: Duration,
    settings: Vec<(String, String)>,
    keep_best: bool,
    /// Of the best epoch, where they are wanted.
    best: Option<Params<T>>,
    patience: Option<usize>,
    stop: Option<Box<dyn Fn() -> bool + 'a>>,
    /// All that train together, if there are several.
    ranks: Option<Arc<dyn Communicator>>,
    history: Vec<Epoch>,
    /// Steps done of the epoch after the history.
    step: usize,
    /// Sum over them of the task's number, and their seconds.
    sum: f64,
    seconds: f64,
    /// The checkpoint that this run wrote last or went on from.
    checkpoint: Option<Which>,
    /// Whether anything was trained since.
    changed: bool,
}

impl<'a, T: Real, O: Optimizer<T>> Trainer<'a, T, O> {
    /// A loop of one epoch without any options.
    pub fn new(params: Params<T>, optimizer: O) -> Self {
        Trainer {
            params,
            optimizer,
            tape: Tape::new(),
            epochs: 1,
            clip: None,
            schedule: None,
            schedule_by_step: None,
            folder: None,
            save_every: Duration::from_secs(300),
            settings: Vec::new(),
            keep_best: false,
            best: None,
            patience: None,
            stop: None,
            ranks: None,
            history: Vec::new(),
            step: 0,
            sum: 0.0,
            seconds: 0.0,
            checkpoint: None,
            changed: true,
        }
    }

    /// How many epochs, 1 by default.
    #[must_use]
    pub fn epochs(self, epochs: usize) -> Self {
        Trainer { epochs, ..self }
    }

    /// Gradients are clipped to this [norm](crate::Grads::clip_global_norm). They are not by default.
    ///
    /// # Panics
    /// If it is no positive number that the precision holds.
    #[must_use]
    #[track_caller]
    pub fn clip(self, norm: f64) -> Self {
        assert!(norm != 0.0, "clip 0: expected a positive number");
        assert_held::<T>(&format!("clip {norm:?}"), norm);
        Trainer { clip: Some(norm), ..self }
    }

    /// The learning rate of every epoch, counted from 0. By default it stays as it is.
    #[must_use]
    pub fn schedule(self, learning_rate: impl Fn(usize) -> f64 + 'a) -> Self {
        Trainer { schedule: Some(Box::new(learning_rate)), ..self }
    }

    /// The learning rate of every step of all epochs, counted from 0, in place of that of its epoch.
    #[must_use]
    pub fn schedule_by_step(self, learning_rate: impl Fn(usize) -> f64 + 'a) -> Self {
        Trainer { schedule_by_step: Some(Box::new(learning_rate)), ..self }
    }

    /// Keeps checkpoints in a folder, which must exist: one at the start, one every so often, one at the
    /// end.
    #[must_use]
    pub fn checkpoints(self, folder: impl Into<PathBuf>, every: Duration) -> Self {
        Trainer { folder: Some(folder.into()), save_every: every, ..self }
    }

    /// A setting of the program that has to be the same when training goes on, such as the learning
    /// rate or the file of the data. It is kept in checkpoints. Names and shapes of parameters, the
    /// optimiser's state, the seed, the clipping and the steps of an epoch are compared anyway.
    ///
    /// # Panics
    /// If a setting has that name already.
    #[must_use]
    #[track_caller]
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        let taken = self.settings.iter().any(|(own, _)| own == name);
        assert!(!taken, "setting {name}: given twice");
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// Keeps the parameters of the best epoch: in checkpoints, and in a folder with checkpoints in [`BEST`] by
    /// themselves too.
    #[must_use]
    pub fn keep_best(self) -> Self {
        Trainer { keep_best: true, ..self }
    }

    /// Ends if the first validation figure has not improved for so many epochs.
    ///
    /// # Panics
    /// If that is 0.
    #[must_use]
    #[track_caller]
    pub fn early_stopping(self, patience: usize) -> Self {
        assert!(patience > 0, "early_stopping: 0 epochs: expected at least 1");
        Trainer { patience: Some(patience), ..self }
    }

    /// Ends after the step during which `stop` becomes true, with a checkpoint if there is a folder.
    #[must_use]
    pub fn stop_when(self, stop: impl Fn() -> bool + 'a) -> Self {
        Trainer { stop: Some(Box::new(stop)), ..self }
    }

    /// Trains together with other ranks, which make the same calls with the same settings.
    ///
    /// The task's loss is that of this rank's [part](Tape::set_part) of the batch; without one, of an equal share.
    /// Gradients and the reported number are those of all parts together, and so are the statistics of a batch. What
    /// the task [carries](Task::carried) must be that of all ranks. Rank 0 writes the files, and when it stops
    /// all do.
    #[must_use]
    pub fn communicator(mut self, ranks: Arc<dyn Communicator>) -> Self {
        self.tape.set_communicator(ranks.clone());
        Trainer { ranks: Some(ranks), ..self }
    }

    /// The parameters as they are now.
    pub fn params(&self) -> &Params<T> {
        &self.params
    }

    /// The parameters of the best epoch; `None` if they were not to be [kept](Trainer::keep_best), or no
    /// epoch is done.
    pub fn into_best(self) -> Option<Params<T>> {
        self.best
    }

    /// The parameters, to keep.
    pub fn into_params(self) -> Params<T> {
        self.params
    }

    /// Epochs that are done, and steps of the next one.
    pub fn position(&self) -> (usize, usize) {
        (self.history.len(), self.step)
    }

    /// The epochs so far.
    pub fn history(&self) -> &[Epoch] {
        &self.history
    }

    /// The best epoch so far, by the first validation figure.
    pub fn best(&self) -> Option<&Epoch> {
        let scored = self.history.iter().filter(|epoch| epoch.score().is_some());
        scored.min_by(|a, b| a.score().partial_cmp(&b.score()).expect("numbers"))
    }

    /// Goes on from a checkpoint of the folder: what [`run`](Trainer::run) then does is what it would
    /// have done without the interruption, to the bit.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no checkpoint; [`Error::File`] if it is damaged, of a newer format, of
    /// another model, optimiser or task, or of another setting, with both values.
    ///
    /// # Panics
    /// If the trainer has no folder.
    #[track_caller]
    pub fn resume(&mut self, task: &mut impl Task<T>, which: Which) -> Result<()> {
        let Some(folder) = &self.folder else { panic!("resume: a trainer without a folder") };
        let (path, file) = load(folder, which)?;
        self.take(task, &path, &file)?;
        (self.checkpoint, self.changed) = (Some(which), false);
        Ok(())
    }

    fn take(
        &mut self,
        task: &mut impl Task<T>,
        path: &Path,
        (tensors, metadata): &TensorFile<'static>,
    ) -> Result<()> {
        let file = Found { path, tensors, metadata };
        check_settings(path, metadata, &self.fixed(task))?;
        let (epochs, step) = (file.number("epoch")?, file.number("step")?);
        if epochs > self.epochs || step >= task.steps() {
            let found = format!("{epochs} epochs and {step} steps done");
            let expected = format!("at most {} epochs of {} steps", self.epochs, task.steps());
            return file.refuse(found, expected);
        }
        let history = file.history(epochs)?;
        let [sum, seconds] = file.progress()?;
        let carried = file.carried(task.carried())?;
        let mut params = self.params.clone();
        params.take_all(path, section(tensors, "model."))?;
        let best = if self.keep_best && epochs > 0 {
            let mut best = self.params.clone();
            best.take_all(path, section(tensors, "best."))?;
            Some(best)
        } else {
            None
        };
        let state = section(tensors, "optimizer.");
        match self.optimizer.state(&self.params) {
            Some(own) => own.take_all(path, state)?,
            None if state.is_empty() => {}
            None => return file.refuse("the state of an optimiser".into(), "none".into()),
        }
        (self.params, self.history, self.best) = (params, history, best);
        (self.step, self.sum, self.seconds) = (step, sum, seconds);
        task.carry(carried)
    }

    /// What a checkpoint has to agree in.
    fn fixed(&self, task: &impl Task<T>) -> Vec<(String, String)> {
        let settings =
            self.settings.iter().map(|(name, value)| (format!("{SETTING}{name}"), value.clone()));
        let clip = self.clip.map_or("none".into(), |norm| norm.to_string());
        let own = [
            ("seed", self.params.seed().to_string()),
            ("steps", task.steps().to_string()),
            ("clip", clip),
            ("precision", type_name::<T>().to_string()),
        ];
        own.into_iter().map(|(name, value)| (name.to_string(), value)).chain(settings).collect()
    }

    /// Writes a checkpoint now.
    ///
    /// # Errors
    /// Those of [`write_whole`](crate::io::write_whole); what was there is kept.
    ///
    /// # Panics
    /// If the trainer has no folder, or the task carries two tensors of one name.
    #[track_caller]
    pub fn save(&mut self, task: &impl Task<T>) -> Result<()> {
        let Some(folder) = self.folder.clone() else { panic!("save: a trainer without a folder") };
        let carried = task.carried();
        if !self.writes() {
            (self.checkpoint, self.changed) = (Some(Which::Latest), false);
            return Ok(());
        }
        let mut tensors = BTreeMap::new();
        let mut add = |section: &str, name: &str, tensor| {
            let twice = tensors.insert(format!("{section}{name}"), tensor).is_some();
            assert!(!twice, "save: two tensors {section}{name}");
        };
        self.params.stored().for_each(|(name, tensor)| add("model.", name, tensor));
        if let Some(best) = &self.best {
            best.stored().for_each(|(name, tensor)| add("best.", name, tensor));
        }
        if let Some(state) = self.optimizer.state(&self.params) {
            state.stored().for_each(|(name, tensor)| add("optimizer.", name, tensor));
        }
        for (name, tensor) in carried {
            add("carried.", &name, StoredTensor::from_tensor(&tensor));
        }
        to_tensors(&self.history).into_iter().for_each(|(name, x)| add("history.", &name, x));
        let progress = Tensor::from([self.sum, self.seconds]);
        add("", "progress", StoredTensor::from_tensor(&progress));
        let mut metadata = self.fixed(task);
        metadata.push(("epoch".into(), self.history.len().to_string()));
        metadata.push(("step".into(), self.step.to_string()));
        // After going on from the one before it, the latest may be damaged: it is not kept.
        save(&folder, &tensors, &metadata, self.checkpoint == Some(Which::Previous))?;
        (self.checkpoint, self.changed) = (Some(Which::Latest), false);
        Ok(())
    }

    /// Trains until all epochs are done, or something ends it before. `on` is told what happens.
    ///
    /// # Errors
    /// [`Error::Training`] with the step and the last checkpoint if a step or a validation fails, such
    /// as by a loss or a gradient that is not finite. Before training: [`Error::File`] if the folder has
    /// a checkpoint that was not [gone on](Trainer::resume) from, [`Error::Io`] if none can be written.
    ///
    /// # Panics
    /// If the task has no steps, gives other figures than after the first epoch, or none where the best
    /// model is wanted; if the schedule gives no learning rate.
    #[track_caller]
    pub fn run(
        &mut self,
        task: &mut impl Task<T>,
        mut on: impl FnMut(Event<'_, T>),
    ) -> Result<Ending> {
        let steps = task.steps();
        assert!(steps > 0, "run: a task without steps");
        self.agree(task)?;
        if let Some(folder) = &self.folder
            && self.checkpoint.is_none()
        {
            for which in [Which::Latest, Which::Previous] {
                if which.is_in(folder) {
                    let (path, found) = (which.path(folder), "a checkpoint".into());
                    let expected = "none in the folder of a new run, or to go on from it".into();
                    return Err(Error::File { path, found, expected });
                }
            }
            // Only when all have looked is there one.
            self.ranks.as_ref().map_or(Ok(()), |ranks| ranks.barrier())?;
            self.save(task)?;
        }
        let mut saved = Instant::now();
        while self.history.len() < self.epochs {
            if self.waited_enough() {
                self.save_or_tell(task, &mut on);
                return Ok(Ending::NoImprovement);
            }
            let epoch = self.history.len();
            if let Some(schedule) = &self.schedule {
                self.optimizer.set_learning_rate(schedule(epoch));
            }
            while self.step < steps {
                let stop = self.stop.as_ref().is_some_and(|stop| stop());
                let save = self.folder.is_some() && saved.elapsed() >= self.save_every;
                let [stop, save] = self.as_first([stop, save])?;
                if stop {
                    self.save_or_tell(task, &mut on);
                    return Ok(Ending::Stopped);
                }
                if save {
                    self.save_or_tell(task, &mut on);
                    saved = Instant::now();
                }
                self.one_step(task, epoch)?;
                let (done, mean) = (self.step, self.sum / self.step as f64);
                on(Event::Step { epoch, done, mean, seconds: self.seconds });
            }
            self.end_epoch(task, epoch)?;
            on(Event::Epoch(&self.history, &self.params));
            if self.keep_best && self.best().map(|best| best.epoch) == Some(epoch + 1) {
                self.best = Some(self.params.deep_copy());
                if let Some(folder) = &self.folder
                    && self.writes()
                    && let Err(error) = self.params.save(folder.join(BEST))
                {
                    on(Event::NotSaved(error));
                }
            }
        }
        self.save_or_tell(task, &mut on);
        Ok(Ending::Finished)
    }

    fn save_or_tell(&mut self, task: &impl Task<T>, on: &mut impl FnMut(Event<'_, T>)) {
        if self.folder.is_some()
            && self.changed
            && let Err(error) = self.save(task)
        {
            on(Event::NotSaved(error));
        }
    }

    #[track_caller]
    fn one_step(&mut self, task: &mut impl Task<T>, epoch: usize) -> Result<()> {
        let began = Instant::now();
        let number = epoch * task.steps() + self.step;
        self.tape.set_noise(self.params.seed(), number as u64);
        if let Some(schedule) = &self.schedule_by_step {
            self.optimizer.set_learning_rate(schedule(number));
        }
        match self.try_step(task, epoch) {
            Ok(figure) => self.sum += figure,
            Err(error) => return Err(self.failed(epoch, self.step + 1, error)),
        }
        (self.step, self.changed) = (self.step + 1, true);
        self.seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    #[track_caller]
    fn try_step(&mut self, task: &mut impl Task<T>, epoch: usize) -> Result<f64> {
        let (step, ranks) = (self.step, self.ranks.clone());
        let (_, mut grads, mut figure) = self.tape.value_and_grad(&self.params, |p| {
            let (loss, figure) = task.loss(p, epoch, step);
            let Some(ranks) = &ranks else { return (loss, figure) };
            let share = p.tape.part().map_or(1.0 / ranks.size() as f64, Part::share);
            (loss * T::from_f64(share), figure * share)
        })?;
        if let Some(ranks) = &ranks {
            grads.sum_over_ranks(&**ranks)?;
            let mut sum = [figure];
            ranks.sum(&mut sum)?;
            [figure] = sum;
        }
        if let Some(norm) = self.clip {
            grads.clip_global_norm(norm);
        }
        check_figure("the reported number", figure)?;
        self.optimizer.step(&mut self.params, &grads)?;
        task.after_step(&mut self.params, &grads)?;
        Ok(figure)
    }

    #[track_caller]
    fn end_epoch(&mut self, task: &mut impl Task<T>, epoch: usize) -> Result<()> {
        let figures = match self.validate(task) {
            Ok(figures) => figures,
            Err(error) => return Err(self.failed(epoch, self.step, error)),
        };
        let last = (epoch + 1) * self.step - 1;
        let by_step = self.schedule_by_step.as_ref().map(|schedule| schedule(last));
        let by_epoch = || self.schedule.as_ref().map(|schedule| schedule(epoch));
        self.history.push(Epoch {
            epoch: epoch + 1,
            train: self.sum / self.step as f64,
            learning_rate: by_step.or_else(by_epoch).unwrap_or(f64::NAN),
            seconds: self.seconds,
            figures,
        });
        (self.step, self.sum, self.seconds) = (0, 0.0, 0.0);
        Ok(())
    }

    #[track_caller]
    fn validate(&mut self, task: &mut impl Task<T>) -> Result<Vec<(String, f64)>> {
        let figures = task.validate(&mut self.tape, &self.params)?;
        let figures: Vec<(String, f64)> =
            figures.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let names = |figures: &[(String, f64)]| {
            figures.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        if let Some(first) = self.history.first() {
            let (found, expected) = (names(&figures), names(&first.figures));
            assert!(found == expected, "run: figures {found:?} after an epoch with {expected:?}");
        }
        match figures.first() {
            Some((name, value)) => check_figure(name, *value)?,
            None => assert!(
                !self.keep_best && self.patience.is_none(),
                "run: no figure for the best model to go by"
            ),
        }
        Ok(figures)
    }

    /// Whether this rank is the one that writes files.
    fn writes(&self) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| ranks.rank() == 0)
    }

    /// What rank 0 has decided.
    fn as_first(&self, own: [bool; 2]) -> Result<[bool; 2]> {
        let Some(ranks) = &self.ranks else { return Ok(own) };
        let first = ranks.broadcast(own.map(u8::from).to_vec())?;
        Ok([0, 1].map(|i| first[i] == 1))
    }

    /// All ranks must have the same settings, and be as far.
    fn agree(&self, task: &impl Task<T>) -> Result<()> {
        let Some(ranks) = &self.ranks else { return Ok(()) };
        let position = format!("{:?}", self.position());
        let own = self.fixed(task).into_iter().chain([("position".to_string(), position)]);
        let own: Vec<String> = own.map(|(name, value)| format!("{name} {value}")).collect();
        let all = ranks.gather(own.join("\n").as_bytes())?;
        let first = String::from_utf8_lossy(&all[0]).into_owned();
        for (rank, given) in all.iter().enumerate() {
            let given = String::from_utf8_lossy(given);
            let mut lines = given.lines().zip(first.lines());
            if let Some((found, expected)) = lines.find(|(found, expected)| found != expected) {
                let what = format!("has the setting {found}, and rank 0 {expected}");
                return Err(Error::Rank { rank, what });
            }
        }
        Ok(())
    }

    fn failed(&self, epoch: usize, step: usize, error: Error) -> Error {
        let checkpoint = self.folder.as_ref().zip(self.checkpoint);
        Error::Training {
            epoch: epoch + 1,
            step,
            checkpoint: checkpoint.map(|(folder, which)| which.path(folder)),
            source: Box::new(error),
        }
    }

    fn waited_enough(&self) -> bool {
        let waited = self.best().map_or(0, |best| self.history.len() - best.epoch);
        self.patience.is_some_and(|patience| waited >= patience)
    }
}

fn check_figure(what: &str, value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::NotFinite { what: what.into(), value })
}
