//! A task whose codes and codebooks are watched while it is trained.

use super::Result;
use super::embeddings::{Named, Table};
use dpq::pq::{CodebookWatch, SilentCodebooks, Usage};
use dpq::train::Task;
use dpq::{Bound, CodeTable, Error, Grads, ParamId, Params, Tape, Tensor, Var};
use std::cell::RefCell;
use std::rc::Rc;

/// Names of the figures of an epoch that a watched task adds to its own.
pub const CODES_USED: &str = "codes_used";
pub const CODES_CHANGED: &str = "codes_changed";

/// Codebooks that the last epoch did not train, for who watches.
pub type Silent = Rc<RefCell<Vec<SilentCodebooks>>>;

/// A task, and what is known of its first embedding.
pub struct Watched<K> {
    pub task: K,
    table: Table,
    /// The codes after the last epoch, at first those of the start values.
    codes: Option<CodeTable>,
    codebooks: CodebookWatch,
    silent: Silent,
}

impl<K: Task<f32>> Watched<K> {
    /// # Errors
    /// If the start values have no codes.
    pub fn new(task: K, Named { name, table, .. }: Named, params: &Params<f32>) -> Result<Self> {
        let codes = match &table {
            Table::Compact(compress) => Some(compress(params)?.codes().clone()),
            Table::Rows(..) => None,
        };
        let books = ["keys", "values"].map(|book| params.find(&format!("{name}.{book}")));
        let books: Vec<ParamId> = books.into_iter().flatten().collect();
        let codebooks = CodebookWatch::new(params, &books);
        Ok(Watched { task, table, codes, codebooks, silent: Silent::default() })
    }

    /// The codebooks that the last epoch did not train.
    pub fn silent(&self) -> Silent {
        self.silent.clone()
    }
}

impl<K: Task<f32>> Task<f32> for Watched<K> {
    fn steps(&self) -> usize {
        self.task.steps()
    }

    fn loss<'t>(&mut self, p: &Bound<'t, f32>, epoch: usize, step: usize) -> (Var<'t, f32>, f64) {
        self.task.loss(p, epoch, step)
    }

    fn after_step(&mut self, params: &mut Params<f32>, grads: &Grads<f32>) -> dpq::Result<()> {
        self.codebooks.see(grads);
        self.task.after_step(params, grads)
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
        let mut figures = self.task.validate(tape, params)?;
        if let Table::Compact(compress) = &self.table {
            let now = compress(params)?.codes().clone();
            figures.push((CODES_USED, share_used(&now)));
            if let Some(before) = self.codes.replace(now.clone()) {
                figures.push((CODES_CHANGED, now.changed(&before)));
            }
        }
        Ok(figures)
    }

    /// What the task carries, and the codes that those after the next epoch are compared with.
    fn carried(&self) -> Vec<(String, Tensor<f32>)> {
        let codes = |table: &CodeTable| {
            let codes = table.unpack();
            let shape = [table.rows(), table.groups()];
            ("codes".to_string(), Tensor::from_fn(shape, |i| codes[i] as f32))
        };
        self.task.carried().into_iter().chain(self.codes.as_ref().map(codes)).collect()
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
        self.task.carry(tensors)
    }
}

/// The share of all D x K codewords that some word uses.
fn share_used(codes: &CodeTable) -> f64 {
    let usage = Usage::of(codes);
    usage.used() as f64 / usage.counts().len() as f64
}
