//! Codebooks that no gradient reaches: a mistake that training does not show by itself.

use super::codebook::Sizes;
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::tape::Grads;
use std::fmt;

/// Remembers which codebooks received a gradient since the last [`restart`](CodebookWatch::restart).
///
/// A codebook that receives none stays as it started, and the loss falls all the same, since the rest of
/// the model learns: such as VQ's if its regulariser was not added to the loss. A program lets the watch
/// [`see`](CodebookWatch::see) the gradients of every step, and after an epoch asks which codebooks were
/// [`silent`](CodebookWatch::silent).
///
/// ```
/// use dpq::pq::CodebookWatch;
/// use dpq::{DpqConfig, DpqEmbedding, Embedding, Params, Tape};
/// let mut params = Params::<f32>::new();
/// let embedding = DpqEmbedding::new(params.scope("words"), 100, 8, DpqConfig::vq(4, 16))?;
/// let mut watch = CodebookWatch::new(&params, &[embedding.keys(), embedding.values()]);
/// let mut tape = Tape::new();
///
/// let (_, grads, ()) = tape.value_and_grad(&params, |p| {
///     let embedded = embedding.forward(p, &[3, 1, 4]);
///     (embedded.rows.sum(), ()) // the regulariser is forgotten
/// })?;
/// watch.see(&grads);
/// let silent = watch.silent();
/// assert_eq!((silent[0].parameter.as_str(), &silent[0].codebooks[..]), ("words.keys", &[0, 1, 2, 3][..]));
/// let expected = "words.keys: all 4 codebooks received no gradient for a whole epoch";
/// assert_eq!(silent[0].to_string(), expected);
///
/// let (_, grads, ()) = tape.value_and_grad(&params, |p| {
///     let embedded = embedding.forward(p, &[3, 1, 4]);
///     (embedded.rows.sum() + embedded.regulariser.unwrap(), ())
/// })?;
/// watch.see(&grads);
/// assert!(watch.silent().is_empty());
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CodebookWatch {
    watched: Vec<Watched>,
    steps: usize,
}

/// A parameter of codebooks, G x K x s.
#[derive(Clone, Debug)]
struct Watched {
    id: ParamId,
    name: String,
    /// K s, the elements of a codebook.
    elements: usize,
    /// Whether each of the G codebooks received a gradient.
    reached: Vec<bool>,
}

/// The codebooks of a parameter that received no gradient.
///
/// It prints itself as a line, in which codebooks are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentCodebooks {
    /// The parameter's name.
    pub parameter: String,
    /// Which of its codebooks, counted from 0, in increasing order; at least one.
    pub codebooks: Vec<usize>,
    /// G, how many it has.
    pub of: usize,
}

impl CodebookWatch {
    /// Of parameters G x K x s each. One that is named twice, as VQ's keys, which are its values, is
    /// watched once; a statistic, as codebooks that are moving averages, gets no gradient and is not
    /// watched.
    ///
    /// # Panics
    /// If one has another number of axes.
    #[track_caller]
    pub fn new<T: Real>(params: &Params<T>, codebooks: &[ParamId]) -> CodebookWatch {
        let mut watched: Vec<Watched> = Vec::new();
        for &id in codebooks {
            let Sizes { books, size, width } = Sizes::of(params.get(id).shape());
            if params.is_trained(id) && watched.iter().all(|own| own.id != id) {
                let name = params.name(id).to_string();
                watched.push(Watched {
                    id,
                    name,
                    elements: size * width,
                    reached: vec![false; books],
                });
            }
        }
        CodebookWatch { watched, steps: 0 }
    }

    /// Takes note of the gradients of a step. A codebook received one if an element of its gradient is
    /// not 0. Scaling and clipping make no difference. Nothing is allocated, and of codebooks that were
    /// reached before nothing is read.
    ///
    /// # Panics
    /// If the gradients are of a pass without one of the parameters.
    #[track_caller]
    pub fn see<T: Real>(&mut self, grads: &Grads<T>) {
        self.steps += 1;
        for Watched { id, elements, reached, .. } in &mut self.watched {
            let Some(gradient) = grads.unscaled_of(*id) else { continue };
            // The gradient of what is no matrix is never of some rows alone.
            let books = gradient.stored().data().chunks_exact((*elements).max(1));
            for (reached, book) in reached.iter_mut().zip(books) {
                *reached = *reached || book.iter().any(|&dc| dc != T::ZERO);
            }
        }
    }

    /// Steps seen since the last restart.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The codebooks that received no gradient in any of these steps, parameter by parameter. After no
    /// steps nothing is known, and none are silent.
    pub fn silent(&self) -> Vec<SilentCodebooks> {
        let of = |watched: &Watched| {
            let reached = watched.reached.iter().enumerate();
            let codebooks: Vec<usize> =
                reached.filter(|(_, reached)| !**reached).map(|(book, _)| book).collect();
            let (parameter, of) = (watched.name.clone(), watched.reached.len());
            SilentCodebooks { parameter, codebooks, of }
        };
        let all = self.watched.iter().filter(|_| self.steps > 0).map(of);
        all.filter(|silent| !silent.codebooks.is_empty()).collect()
    }

    /// Forgets what it saw: a new epoch begins.
    pub fn restart(&mut self) {
        self.steps = 0;
        self.watched.iter_mut().for_each(|watched| watched.reached.fill(false));
    }
}

/// Of more silent codebooks than this the first are named and the others counted.
const NAMED: usize = 10;

impl fmt::Display for SilentCodebooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |book: &usize| (book + 1).to_string();
        let which = match &self.codebooks[..] {
            [_] if self.of == 1 => "the only codebook".into(),
            [book] => format!("codebook {}", number(book)),
            all if all.len() == self.of => format!("all {} codebooks", self.of),
            many => {
                let named = if many.len() > NAMED { NAMED } else { many.len() - 1 };
                let (named, others) = many.split_at(named);
                let named: Vec<String> = named.iter().map(number).collect();
                let others = match others {
                    [last] => number(last),
                    others => format!("{} others", others.len()),
                };
                format!("codebooks {} and {others}", named.join(", "))
            }
        };
        write!(f, "{}: {which} received no gradient for a whole epoch", self.parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;
    use crate::tensor::Tensor;

    /// Gradients that are 1 in the given elements of 3 x 2 x 2 codebooks.
    fn grads(params: &Params<f64>, id: ParamId, at: &[usize]) -> Grads<f64> {
        let weights = Tensor::from_fn([3, 2, 2], |i| f64::from(u8::from(at.contains(&i))));
        let loss = Tape::new().value_and_grad(params, |p| {
            let weights = p.tape.constant(weights);
            ((p[id] * weights).sum(), ())
        });
        loss.unwrap().1
    }

    #[test]
    fn a_codebook_is_silent_until_one_of_its_elements_has_a_gradient() {
        let mut params = Params::new();
        let keys = params.add("keys", Tensor::full([3, 2, 2], 0.5));
        let other = params.add("values", Tensor::full([1, 2, 2], 0.5));
        let mut watch = CodebookWatch::new(&params, &[keys, other, keys]);
        let books = |watch: &CodebookWatch| {
            watch.silent().into_iter().map(|silent| silent.codebooks).collect::<Vec<_>>()
        };
        assert_eq!((watch.steps(), books(&watch)), (0, vec![]));
        watch.see(&grads(&params, keys, &[]));
        assert_eq!((watch.steps(), books(&watch)), (1, vec![vec![0, 1, 2], vec![0]]));
        watch.see(&grads(&params, keys, &[7]));
        assert_eq!(books(&watch), [vec![0, 2], vec![0]]);
        // Clipped gradients count as any others.
        let mut clipped = grads(&params, keys, &[0, 8]);
        clipped.clip_global_norm(1e-3);
        watch.see(&clipped);
        assert_eq!(books(&watch), [[0]]);
        assert_eq!(watch.silent()[0].parameter, "values");
        watch.restart();
        watch.see(&grads(&params, keys, &[4]));
        assert_eq!(books(&watch), [vec![0, 2], vec![0]]);
    }

    #[test]
    fn silent_codebooks_are_named_in_a_short_line() {
        let line = |codebooks: &[usize], of| {
            let codebooks = codebooks.to_vec();
            let line = SilentCodebooks { parameter: "keys".into(), codebooks, of }.to_string();
            line.strip_suffix(" received no gradient for a whole epoch").unwrap().to_string()
        };
        assert_eq!(line(&[0], 1), "keys: the only codebook");
        assert_eq!(line(&[2], 9), "keys: codebook 3");
        assert_eq!(line(&[2, 6], 9), "keys: codebooks 3 and 7");
        assert_eq!(line(&[0, 2, 6], 9), "keys: codebooks 1, 3 and 7");
        let many: Vec<usize> = (0..10).collect();
        assert_eq!(line(&many, 10), "keys: all 10 codebooks");
        assert_eq!(line(&many, 50), "keys: codebooks 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10");
        let many: Vec<usize> = (0..40).collect();
        assert_eq!(line(&many, 50), "keys: codebooks 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 30 others");
    }

    #[test]
    #[should_panic(expected = "is no trained parameter of the pass")]
    fn gradients_of_another_model_are_refused() {
        let mut params = Params::new();
        let keys = params.add("keys", Tensor::full([3, 2, 2], 0.5));
        let mut other = Params::new();
        let other_keys = other.add("keys", Tensor::full([3, 2, 2], 0.5));
        CodebookWatch::new(&params, &[keys]).see(&grads(&other, other_keys, &[0]));
    }
}
