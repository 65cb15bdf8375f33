//! Text as ids: vocabularies, corpora, batches, and a corpus that needs no files.
//!
//! [`Corpus::read`] turns a folder or a file of text into ids under a [`Vocabulary`];
//! [`SyntheticLanguage`] makes up a corpus whose true entropy is known. [`Batches`] cuts either
//! into windows for a recurrent network, and two count models, [`unigram_perplexity`] and
//! [`bigram_perplexity`], say what a network must beat.
//!
//! ```
//! use dpq::data::{Batches, SyntheticLanguage};
//!
//! let language = SyntheticLanguage::new(0);
//! let corpus = language.corpus();
//! let batches = Batches::new(&corpus.train, 20, 35)?;
//! let window = batches.window(0);
//! assert_eq!(window.inputs.len(), 20 * 35);
//! assert_eq!(window.inputs[20], window.targets[0]);
//! # Ok::<(), dpq::error::Error>(())
//! ```

mod discrete;
mod vocabulary;
mod corpus;
mod batches;
mod counts;
mod synthetic;
mod texts;

pub use batches::{Batches, Window};
pub use corpus::Corpus;
pub use counts::{bigram_perplexity, unigram_perplexity};
pub use synthetic::SyntheticLanguage;
pub use texts::{Bags, Texts, words_and_marks};
pub use vocabulary::Vocabulary;
