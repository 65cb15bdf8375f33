//! What a small table keeps of a finished one.

use crate::Fault;
use crate::input::Input;
use dpq::rng;
use dpq::{Tape, Tensor};
use serde_json::{Value, json};

/// Rows whose nearest neighbours are compared, and how many of them.
const QUERIES: usize = 300;
const NEIGHBOURS: usize = 10;

/// Of the rows x of a table and those y that another has in their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// sum ||x - y||^2 / sum ||x||^2
    pub relative_squared_error: f64,
    /// The mean cosine of the angle between x and y, of the rows that are not 0.
    pub mean_cosine: f64,
    /// How many of the ten nearest neighbours of a row, by cosine, are the same: the mean share of a
    /// sample of rows. None for a table of one row.
    pub neighbours_at_10: Option<f64>,
}

impl Quality {
    pub fn json(&self) -> Value {
        json!({
            "relative_squared_error": self.relative_squared_error,
            "mean_cosine": self.mean_cosine,
            "neighbours_at_10": self.neighbours_at_10,
        })
    }
}

/// Gives what another table has in place of these rows, of which the first one has this number.
pub type Other<'a> = dyn Fn(usize, &Tensor<f32>) -> Result<Tensor<f32>, Fault> + 'a;

/// The quality of several tables, by one pass over the original, and a short one before.
///
/// # Errors
/// If it cannot be read, and those of the tables.
pub fn measure(
    input: &Input,
    others: &[&Other<'_>],
    mut progress: impl FnMut(usize),
) -> Result<Vec<Quality>, Fault> {
    let mut stream = rng::stream(0, "queries", 0);
    let mut queries = rng::shuffled(input.rows, &mut stream);
    queries.truncate(QUERIES);
    queries.sort_unstable();
    let count = NEIGHBOURS.min(input.rows - 1);

    // The sampled rows of every table, the original first.
    let originals = input.some(&queries)?;
    let mut sampled = vec![normalised(&originals)];
    for other in others {
        let mut rows = Vec::with_capacity(originals.data().len());
        for (&id, row) in queries.iter().zip(originals.rows()) {
            let row = Tensor::new([1, input.width], row.to_vec())?;
            rows.extend_from_slice(other(id as usize, &row)?.data());
        }
        sampled.push(normalised(&Tensor::new([queries.len(), input.width], rows)?));
    }
    let mut nearest = vec![vec![Nearest::new(count); queries.len()]; sampled.len()];
    let mut sums = vec![Sums::default(); others.len()];
    input.for_each(|first, rows| {
        let mut tables = vec![rows.clone()];
        for (other, sums) in others.iter().zip(&mut sums) {
            let found = other(first, &rows)?;
            sums.add(&rows, &found);
            tables.push(found);
        }
        for ((rows, sampled), nearest) in tables.iter().zip(&sampled).zip(&mut nearest) {
            let tape = Tape::new();
            let cosines = tape.constant(normalised(rows)).matmul_t(tape.constant(sampled.clone()));
            for (i, row) in cosines.value().rows().enumerate() {
                let id = (first + i) as u32;
                for ((nearest, &query), &cosine) in nearest.iter_mut().zip(&queries).zip(row) {
                    if id != query {
                        nearest.add(cosine, id);
                    }
                }
            }
        }
        progress(first + rows.shape()[0]);
        Ok(())
    })?;
    let (own, found) = nearest.split_first().expect("the original");
    let overlap = |found: &[Nearest]| -> Option<f64> {
        let shared = |(a, b): (&Nearest, &Nearest)| a.shared(b) as f64 / count as f64;
        let sum: f64 = own.iter().zip(found).map(shared).sum();
        (count > 0).then(|| sum / queries.len() as f64)
    };
    let quality = |(sums, found): (&Sums, &Vec<Nearest>)| sums.quality(overlap(found));
    Ok(sums.iter().zip(found).map(quality).collect())
}

/// Every row over its length.
fn normalised(rows: &Tensor<f32>) -> Tensor<f32> {
    let mut unit = rows.deep_copy();
    let width = rows.shape()[1];
    for row in unit.data_mut().chunks_exact_mut(width) {
        let length = length(row).max(1e-12) as f32;
        row.iter_mut().for_each(|x| *x /= length);
    }
    unit
}

fn length(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Sums over rows.
#[derive(Clone, Default)]
struct Sums {
    off: f64,
    squares: f64,
    cosines: f64,
    /// Rows that are not 0.
    counted: f64,
}

impl Sums {
    fn add(&mut self, rows: &Tensor<f32>, found: &Tensor<f32>) {
        for (x, y) in rows.rows().zip(found.rows()) {
            let (mut off, mut product) = (0.0, 0.0);
            for (&x, &y) in x.iter().zip(y) {
                off += (f64::from(x) - f64::from(y)).powi(2);
                product += f64::from(x) * f64::from(y);
            }
            let (own, other) = (length(x), length(y));
            self.off += off;
            self.squares += own * own;
            if own > 0.0 {
                self.counted += 1.0;
                self.cosines += if other > 0.0 { product / (own * other) } else { 0.0 };
            }
        }
    }

    fn quality(&self, neighbours_at_10: Option<f64>) -> Quality {
        let over = |a: f64, b: f64, none: f64| if b > 0.0 { a / b } else { none };
        Quality {
            relative_squared_error: over(self.off, self.squares, self.off),
            mean_cosine: over(self.cosines, self.counted, 1.0),
            neighbours_at_10,
        }
    }
}

/// The rows that are nearest to one, the best first; of equals the first.
#[derive(Clone)]
struct Nearest {
    count: usize,
    best: Vec<(f32, u32)>,
}

impl Nearest {
    fn new(count: usize) -> Nearest {
        Nearest { count, best: Vec::with_capacity(count + 1) }
    }

    fn add(&mut self, cosine: f32, id: u32) {
        if self.best.len() == self.count
            && self.best.last().is_none_or(|(worst, _)| cosine <= *worst)
        {
            return;
        }
        let at = self.best.partition_point(|(better, _)| *better >= cosine);
        self.best.insert(at, (cosine, id));
        self.best.truncate(self.count);
    }

    fn shared(&self, other: &Nearest) -> usize {
        let has = |id: u32| other.best.iter().any(|(_, other)| *other == id);
        self.best.iter().filter(|(_, id)| has(*id)).count()
    }
}
