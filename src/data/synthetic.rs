//! A made-up language whose true entropy is known.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1};

use super::corpus::Corpus;
use super::counts::perplexity;
use super::discrete::Discrete;
use super::vocabulary::Vocabulary;
use crate::rng::stream;

const WORDS: usize = 2000;
const CLASSES: usize = 50;
/// The classes that usually follow a class.
const SUCCESSORS: usize = 4;
/// The probability that any class at all follows.
const STRAY: f64 = 0.02;
const TRAIN: usize = 300_000;
const HELD_OUT: usize = 20_000;
/// Far more steps than the chain of classes takes to forget where it began: it forgets at least
/// [`STRAY`] a step, and 0.98^2000 is below rounding.
const MIXING: usize = 2000;

/// A small artificial language: what a good model could reach on it is known exactly.
///
/// 2,000 words of Zipf's law (the weight of the word of rank r is 1/r) fall at random into 50
/// hidden classes. Each class is followed by 4 others, with probabilities drawn evenly from all that sum
/// to one (Dirichlet with parameters 1), except that one time in 50 it is followed by any class at
/// all. A class says its words in proportion to their weights. The class of the previous word is
/// thus all there is to know about the next, and a model that shares what it learns about words of
/// a class does far better than counts of word pairs.
///
/// ```
/// use dpq::data::{SyntheticLanguage, bigram_perplexity};
///
/// let language = SyntheticLanguage::new(0);
/// let corpus = language.corpus();
/// let floor = language.true_perplexity(&corpus.test);
/// let counts = bigram_perplexity(&corpus.train, &corpus.test, corpus.vocabulary.len());
/// assert!(counts > 1.5 * floor);
/// ```
#[derive(Clone, Debug)]
pub struct SyntheticLanguage {
    seed: u64,
    /// The class of each word.
    classes: Vec<usize>,
    /// The words of each class.
    members: Vec<Vec<u32>>,
    /// For each class, which of its members it says.
    says: Vec<Discrete>,
    /// For each class, which class follows it.
    follows: Vec<Discrete>,
    /// How often each class comes in the long run.
    stationary: Discrete,
}

impl SyntheticLanguage {
    /// The language of this `seed`.
    pub fn new(seed: u64) -> SyntheticLanguage {
        let classes = draw_classes(&mut stream(seed, "language.classes", 0));
        let members: Vec<Vec<u32>> = (0..CLASSES).map(|class| members(&classes, class)).collect();
        let says = members.iter().map(|members| zipf(members)).collect();
        let grammar = &mut stream(seed, "language.grammar", 0);
        let follows: Vec<Discrete> =
            (0..CLASSES).map(|class| draw_successors(class, grammar)).collect();
        let stationary = stationary(&follows);
        SyntheticLanguage { seed, classes, members, says, follows, stationary }
    }

    /// 300,000 training words and 20,000 each to validate and test, all independent draws.
    ///
    /// The vocabulary has the words `w0001` to `w2000`, whose ids are 0 to 1999, then `<unk>` and
    /// `<eos>`, which the text never uses: it is one long sentence.
    pub fn corpus(&self) -> Corpus {
        Corpus {
            vocabulary: vocabulary(),
            train: self.sample(TRAIN, 0),
            valid: self.sample(HELD_OUT, 1),
            test: self.sample(HELD_OUT, 2),
        }
    }

    /// A text of `words` ids; each `text` number gives another. The corpus is of texts 0, 1 and 2.
    pub fn sample(&self, words: usize, text: u64) -> Vec<u32> {
        let rng = &mut stream(self.seed, "language.text", text);
        let mut class = self.stationary.draw(rng);
        (0..words)
            .map(|_| {
                let word = self.members[class][self.says[class].draw(rng)];
                class = self.follows[class].draw(rng);
                word
            })
            .collect()
    }

    /// The entropy rate in nats per word: what is left to guess about the next word when all
    /// words before it are known.
    pub fn entropy(&self) -> f64 {
        self.stationary.mean(|class| {
            let next = &self.follows[class];
            next.entropy() + next.mean(|next| self.says[next].entropy())
        })
    }

    /// The perplexity that no model can beat in the long run: the exponential of
    /// [`entropy`](Self::entropy).
    pub fn floor_perplexity(&self) -> f64 {
        self.entropy().exp()
    }

    /// The perplexity on `tokens`, from the second on, of the model that knows the language: the
    /// floor for just this sample.
    ///
    /// Infinite if `tokens` has something that is no word of the language, such as `<unk>`; NaN
    /// if it has fewer than two tokens.
    pub fn true_perplexity(&self, tokens: &[u32]) -> f64 {
        perplexity(tokens.windows(2).map(|pair| self.probability(pair[0], pair[1]).unwrap_or(0.0)))
    }

    /// The probability of `word` after `previous`, if both are words of the language.
    fn probability(&self, previous: u32, word: u32) -> Option<f64> {
        let &from = self.classes.get(previous as usize)?;
        let &to = self.classes.get(word as usize)?;
        let place = self.members[to].binary_search(&word).ok()?;
        Some(self.follows[from].probabilities()[to] * self.says[to].probabilities()[place])
    }
}

/// A class for each word. That a class goes without words has a probability of 1e-16.
fn draw_classes(rng: &mut impl Rng) -> Vec<usize> {
    (0..WORDS).map(|_| draw_class(rng)).collect()
}

fn draw_class(rng: &mut impl Rng) -> usize {
    rng.random_range(0..CLASSES as u32) as usize
}

/// The words of `class`, in order.
fn members(classes: &[usize], class: usize) -> Vec<u32> {
    (0..).zip(classes).filter(|&(_, &its)| its == class).map(|(word, _)| word).collect()
}

/// Zipf's law over some words, whose ids are their ranks less one.
fn zipf(words: &[u32]) -> Discrete {
    let weights: Vec<f64> = words.iter().map(|&word| 1.0 / (f64::from(word) + 1.0)).collect();
    Discrete::new(&weights)
}

/// What follows `class`: some other classes with random probabilities, and rarely any class.
fn draw_successors(class: usize, rng: &mut impl Rng) -> Discrete {
    let others = draw_others(class, rng);
    // Normalized exponentials are Dirichlet with parameters 1.
    let weights: [f64; SUCCESSORS] = std::array::from_fn(|_| Exp1.sample(rng));
    let total: f64 = weights.iter().sum();
    let mut probabilities = [STRAY / CLASSES as f64; CLASSES];
    for (other, weight) in others.into_iter().zip(weights) {
        probabilities[other] += (1.0 - STRAY) * weight / total;
    }
    Discrete::new(&probabilities)
}

/// Different classes, none of them `class`.
fn draw_others(class: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut others = Vec::with_capacity(SUCCESSORS);
    while others.len() < SUCCESSORS {
        let other = draw_class(rng);
        if other != class && !others.contains(&other) {
            others.push(other);
        }
    }
    others
}

/// How often each class comes in the long run, by letting the chain run.
fn stationary(follows: &[Discrete]) -> Discrete {
    let step = |now: Discrete| {
        let next: Vec<f64> =
            (0..CLASSES).map(|to| now.mean(|from| follows[from].probabilities()[to])).collect();
        Discrete::new(&next)
    };
    (0..MIXING).fold(Discrete::new(&[1.0; CLASSES]), |now, _| step(now))
}

/// `w0001` to `w2000` with ids 0 to 1999: words of equal count keep their order.
fn vocabulary() -> Vocabulary {
    let words: Vec<String> = (1..=WORDS).map(|rank| format!("w{rank:04}")).collect();
    Vocabulary::from_words(words.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{bigram_perplexity, unigram_perplexity};

    #[test]
    fn the_true_model_reaches_the_floor_on_a_long_sample() {
        for seed in 0..3 {
            let language = SyntheticLanguage::new(seed);
            let floor = language.floor_perplexity();
            let sample = language.true_perplexity(&language.sample(1_000_000, 9));
            assert!((sample / floor - 1.0).abs() < 0.02, "seed {seed}: {sample}, floor {floor}");
        }
    }

    #[test]
    fn count_models_stay_above_the_floor() {
        for seed in 0..3 {
            let language = SyntheticLanguage::new(seed);
            let Corpus { vocabulary, train, test, .. } = language.corpus();
            let floor = language.true_perplexity(&test);
            let bigram = bigram_perplexity(&train, &test, vocabulary.len());
            let unigram = unigram_perplexity(&train, &test, vocabulary.len());
            println!(
                "seed {seed}: floor {:.1}, on test {floor:.1}, bigram {bigram:.1}, unigram {unigram:.1}",
                language.floor_perplexity()
            );
            assert!(1.5 * floor < bigram && 3.0 * bigram < unigram);
            assert!((35.0..60.0).contains(&floor), "{floor}");
        }
    }

    #[test]
    fn probabilities_after_a_word_sum_to_one() {
        let language = SyntheticLanguage::new(3);
        for previous in [0, 17, 1999] {
            let words = 0..WORDS as u32;
            let sum: f64 = words.map(|word| language.probability(previous, word).unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }

    #[test]
    fn the_stationary_distribution_stays() {
        let SyntheticLanguage { follows, stationary, .. } = SyntheticLanguage::new(4);
        for (class, &probability) in stationary.probabilities().iter().enumerate() {
            let next = stationary.mean(|from| follows[from].probabilities()[class]);
            assert!((next - probability).abs() < 1e-12, "{next} is not {probability}");
        }
    }

    #[test]
    fn each_class_has_four_usual_successors_besides_itself() {
        let language = SyntheticLanguage::new(5);
        for (class, follows) in language.follows.iter().enumerate() {
            let stray = STRAY / CLASSES as f64 + 1e-12;
            let usual =
                follows.probabilities().iter().filter(|&&probability| probability > stray).count();
            assert_eq!(usual, SUCCESSORS);
            assert!(follows.probabilities()[class] < stray);
        }
    }

    #[test]
    fn the_corpus_has_its_sizes_and_words() {
        let corpus = SyntheticLanguage::new(6).corpus();
        let sizes = [&corpus.train, &corpus.valid, &corpus.test].map(Vec::len);
        assert_eq!(sizes, [300_000, 20_000, 20_000]);
        assert!(corpus.train.iter().all(|&id| id < 2000));
        assert_ne!(corpus.valid, corpus.test);
        assert_eq!(corpus.vocabulary.len(), 2002);
        assert_eq!(corpus.vocabulary.word(0).unwrap(), "w0001");
        assert_eq!(corpus.vocabulary.id("w2000"), Some(1999));
        assert_eq!(corpus.vocabulary.unknown(), 2000);
    }

    #[test]
    fn the_seed_decides_all() {
        let corpus = |seed| SyntheticLanguage::new(seed).corpus();
        assert_eq!(corpus(7), corpus(7));
        assert_ne!(corpus(7).train, corpus(8).train);
        let entropy = |seed| SyntheticLanguage::new(seed).entropy();
        assert_eq!(entropy(7).to_bits(), entropy(7).to_bits());
        assert_ne!(entropy(7), entropy(8));
    }

    #[test]
    fn foreign_words_are_impossible() {
        let language = SyntheticLanguage::new(0);
        assert_eq!(language.true_perplexity(&[0, 2000, 1]), f64::INFINITY);
        assert!(language.true_perplexity(&[0]).is_nan());
    }
}
