//! The work of `dpq compress`: from a table in a file to a small one.

use crate::Fault;
use crate::compress::{Compress, Method, refuse};
use crate::figures::scalar_bytes;
use crate::input::Input;
use crate::low_rank;
use crate::progress::bar;
use crate::report::Tried;
use crate::table::Kind;
use dpq::embedding::ScalarTable;
use dpq::pq::{Compression, KMeans, nearest_of};
use dpq::{CodeTable, CompactEmbedding, Error, Tensor, rng};
use std::time::Instant;

/// Numbers of the rows that are trained on, at most: 134 MB.
const SAMPLE: usize = 1 << 25;

/// Bytes of a header, at most.
const HEADER: usize = 800;

/// The most codes of a part.
const EACH: usize = 16;

/// A compression under way.
pub struct Work<'a> {
    pub settings: &'a Compress,
    pub input: &'a Input,
    pub weights: Option<&'a [f64]>,
    pub deadline: Option<Instant>,
    /// Splits that were tried.
    pub tried: Vec<Tried>,
}

impl Work<'_> {
    /// The small table by a method.
    ///
    /// # Errors
    /// If the original cannot be read, or the settings do not fit it.
    pub fn by(&mut self, method: Method) -> Result<Kind, Fault> {
        match method {
            Method::Scalar => self.scalar(),
            Method::LowRank => self.low_rank(),
            _ => Ok(Kind::Compact(self.codes(method)?.into())),
        }
    }

    /// The most bytes of numbers.
    fn budget(&self) -> Result<usize, Fault> {
        let Input { rows, width, .. } = self.input;
        let (name, value, most, words) = match self.settings.bytes {
            Some(bytes) => ("bytes", bytes as f64, bytes, self.input.word_bytes()),
            None => {
                let ratio = self.settings.ratio.unwrap_or(20.0);
                ("ratio", ratio, ((4 * rows * width) as f64 / ratio) as usize, 0)
            }
        };
        let shared = if self.settings.keep.is_some() { 4 * rows } else { 0 };
        let other = words + shared + HEADER;
        most.checked_sub(other).filter(|left| *left > 0).ok_or_else(|| {
            let expected = format!("a file of more than the {other} bytes of header and words");
            refuse(name, value, &expected)
        })
    }

    /// Integers of as many bits as fit.
    fn scalar(&self) -> Result<Kind, Fault> {
        let bits = match self.settings.bits {
            Some(bits) => bits,
            None => {
                let budget = self.budget()?;
                let fits = |bits: &u32| scalar_bytes(self.input, *bits) <= budget;
                [8, 4, 2].into_iter().find(fits).ok_or_else(|| {
                    let least = scalar_bytes(self.input, 2) + HEADER;
                    refuse("size", budget, &format!("at least {least} bytes for 2 bits an element"))
                })?
            }
        };
        let (mut scales, mut codes) = (Vec::new(), Vec::new());
        self.input.for_each(|_, rows| {
            let table = ScalarTable::quantize(&rows, bits)?;
            scales.extend_from_slice(table.scales());
            codes.extend_from_slice(table.codes());
            Ok(())
        })?;
        Ok(Kind::Scalar(ScalarTable::new(self.input.width, bits, scales, codes)?))
    }

    /// Two thin tables of as many columns as fit.
    fn low_rank(&self) -> Result<Kind, Fault> {
        let Input { rows, width, .. } = *self.input;
        let rank = match self.settings.rank {
            Some(rank) if (1..=width).contains(&rank) => rank,
            Some(rank) => return Err(refuse("rank", rank, &format!("1 to {width}"))),
            None => {
                let each = 4 * (rows + width);
                let budget = self.budget()?;
                if budget < each {
                    return Err(refuse(
                        "size",
                        budget,
                        &format!("at least {each} bytes for rank 1"),
                    ));
                }
                (budget / each).min(width)
            }
        };
        let progress = bar("directions", rows, self.settings.quiet);
        let weights = self.weights;
        let right = low_rank::directions(self.input, weights, rank, |rows| {
            progress.set_position(rows as u64);
        })?;
        progress.finish_and_clear();
        let mut left = Vec::with_capacity(rows * rank);
        self.input.for_each(|_, rows| {
            left.extend_from_slice(low_rank::coordinates(&rows, &right).data());
            Ok(())
        })?;
        Ok(Kind::LowRank(Tensor::new([rows, rank], left)?, right))
    }

    /// A compact table.
    fn codes(&mut self, method: Method) -> Result<CompactEmbedding<f32>, Fault> {
        let kept = self.kept()?;
        let rows = kept.as_ref().map_or(self.input.rows, Vec::len);
        let (sample, weights) = self.sample(kept.as_deref())?;
        let settings = self.split(method, &sample, weights.as_deref(), rows)?;

        let rounds = if settings.parts == settings.groups { 0 } else { settings.rounds };
        let bar = bar("training", rounds, self.settings.quiet);
        let deadline = self.deadline;
        let mut done = 0;
        let go_on = |round: usize| {
            bar.set_position(round as u64);
            let more = deadline.is_none_or(|deadline| Instant::now() < deadline);
            done = round + usize::from(more);
            more
        };
        let trained =
            CompactEmbedding::from_table_while(&sample, &settings, weights.as_deref(), go_on)?;
        bar.finish_and_clear();
        if done < rounds && !self.settings.quiet {
            eprintln!("time is up after {done} of {rounds} rounds of training");
        }
        if sample.shape()[0] == self.input.rows {
            return Ok(trained);
        }
        drop(sample);
        self.encode(trained, settings.beam, kept)
    }

    /// The rows that have codes of their own, if not all.
    fn kept(&self) -> Result<Option<Vec<u32>>, Fault> {
        let rows = self.input.rows;
        let Some(keep) = self.settings.keep else { return Ok(None) };
        if !(1..=rows).contains(&keep) {
            return Err(refuse("keep", keep, &format!("1 to {rows}")));
        }
        if keep == rows {
            return Ok(None);
        }
        let mut order: Vec<u32> = (0..rows as u32).collect();
        if let Some(weights) = self.weights {
            let weight = |row: u32| weights[row as usize];
            order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
        }
        order.truncate(keep);
        order.sort_unstable();
        Ok(Some(order))
    }

    /// Rows to train on, with their weights: all of them, or if they are too many half of them the
    /// heaviest, if there are weights, and the others at random.
    fn sample(&self, kept: Option<&[u32]>) -> Result<(Tensor<f32>, Option<Vec<f64>>), Fault> {
        let mut rows: Vec<u32> = match kept {
            Some(kept) => kept.to_vec(),
            None => (0..self.input.rows as u32).collect(),
        };
        let most = self.settings.sample.unwrap_or(SAMPLE / self.input.width).max(1);
        let mut stream = rng::stream(self.settings.seed, "sample", 0);
        let Some(weights) = self.weights else {
            if rows.len() > most {
                let order = rng::shuffled(rows.len(), &mut stream);
                rows = order[..most].iter().map(|&i| rows[i as usize]).collect();
                rows.sort_unstable();
            }
            return Ok((self.input.some(&rows)?, None));
        };
        let weight = |row: u32| weights[row as usize];
        let mut drawn: Vec<(u32, f64)> = rows.iter().map(|&row| (row, weight(row))).collect();
        if rows.len() > most {
            rows.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
            let (heavy, others) = rows.split_at(most / 2);
            let order = rng::shuffled(others.len(), &mut stream);
            let taken = &order[..most - heavy.len()];
            // Each stands for as many as were not drawn.
            let times = others.len() as f64 / taken.len() as f64;
            drawn = heavy.iter().map(|&row| (row, weight(row))).collect();
            drawn.extend(
                taken.iter().map(|&i| (others[i as usize], times * weight(others[i as usize]))),
            );
            drawn.sort_unstable_by_key(|(row, _)| *row);
        }
        let (rows, weights): (Vec<u32>, Vec<f64>) = drawn.into_iter().unzip();
        Ok((self.input.some(&rows)?, Some(weights)))
    }

    /// The settings: those that were asked for, or the best by trial.
    fn split(
        &mut self,
        method: Method,
        sample: &Tensor<f32>,
        weights: Option<&[f64]>,
        rows: usize,
    ) -> Result<Compression, Fault> {
        let Compress { groups, codebook_size, parts, restarts, seed, .. } = *self.settings;
        let width = self.input.width;
        let kmeans = KMeans { restarts, seed, ..KMeans::default() };
        let base =
            Compression { kmeans, eight_bits: !self.settings.precise, ..Compression::dpq(1, 1, 2) };
        let base = if method == Method::Dpq { base } else { Compression { rounds: 0, ..base } };
        let each = match method {
            Method::Pq => 1..=1,
            _ => 1..=EACH,
        };
        let splits = match (groups, codebook_size) {
            (Some(groups), Some(codebook_size)) => {
                let with = |parts| Compression { parts, groups, codebook_size, ..base.clone() };
                with(1).check(width)?;
                let given = match (parts, method) {
                    (Some(parts), _) => vec![with(parts)],
                    (None, Method::Pq) => vec![with(groups)],
                    (None, _) => {
                        let fits = |parts: &usize| {
                            let split = with(*parts);
                            split.check(width).is_ok() && each.contains(&(groups / parts))
                        };
                        (1..=groups.min(width)).filter(fits).map(with).collect()
                    }
                };
                if given.is_empty() {
                    let expected = format!("a multiple of a divisor of the width {width}");
                    return Err(refuse("groups", groups, &expected));
                }
                given.iter().try_for_each(|split| split.check(width))?;
                given
            }
            _ => {
                let words = self.settings.bytes.map_or(0, |_| self.input.word_bytes());
                let other = HEADER + words;
                base.splits(rows, width, self.budget()?, each).map_err(|fault| match fault {
                    Error::Config { value, expected, .. } => {
                        let expected = format!("{expected}, and {other} for header and words");
                        refuse("bytes of codes and codewords", value, &expected)
                    }
                    other => other.into(),
                })?
            }
        };
        let bar = bar("trials", splits.len(), self.settings.quiet);
        // Half of the time is for training.
        let now = Instant::now();
        let until = self.deadline.map(|deadline| now + deadline.saturating_duration_since(now) / 2);
        let words = self.input.word_bytes();
        let tried = &mut self.tried;
        let best = Compression::best_of(splits, sample, weights, |split, error| {
            let bytes = split.bytes(rows, width) + HEADER + words;
            tried.push(Tried { split: split.clone(), bytes, error });
            bar.inc(1);
            until.is_none_or(|until| Instant::now() < until)
        })?;
        bar.finish_and_clear();
        Ok(best)
    }

    /// Gives all rows their codes.
    fn encode(
        &self,
        trained: CompactEmbedding<f32>,
        beam: usize,
        kept: Option<Vec<u32>>,
    ) -> Result<CompactEmbedding<f32>, Fault> {
        let bar = bar("encoding", self.input.rows, self.settings.quiet);
        let (groups, k) = (trained.config().groups, trained.config().codebook_size);
        let Some(kept) = kept else {
            // Packed: those of a piece end with a whole byte.
            let mut codes = Vec::new();
            self.input.for_each(|first, rows| {
                codes.extend_from_slice(trained.encode(&rows, beam)?.bytes());
                bar.set_position((first + rows.shape()[0]) as u64);
                Ok(())
            })?;
            bar.finish_and_clear();
            let codes = CodeTable::from_bytes(&codes, self.input.rows, groups, k)?;
            return Ok(trained.with_codes(codes)?);
        };
        let own = self.input.some(&kept)?;
        let table = trained.encode(&own, beam)?;
        let mut row_of_ids = Vec::with_capacity(self.input.rows);
        self.input.for_each(|first, rows| {
            let nearest = nearest_of(&rows, &own)?;
            row_of_ids.extend(nearest.into_iter().enumerate().map(|(i, nearest)| {
                // Of equal rows each has its own codes.
                kept.binary_search(&((first + i) as u32)).map_or(nearest, |own| own as u32)
            }));
            bar.set_position((first + rows.shape()[0]) as u64);
            Ok(())
        })?;
        bar.finish_and_clear();
        Ok(trained.with_codes(table)?.with_row_of_ids(&row_of_ids)?)
    }
}
