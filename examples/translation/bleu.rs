//! BLEU of a corpus (Papineni et al. 2002), of words as they stand, without smoothing.

use std::collections::HashMap;

/// The longest sequences of words that are compared.
const LONGEST: usize = 4;

/// BLEU of translations beside one reference for each, 0 to 100:
///
/// ```text
/// 100 min(1, e^(1 - r / t)) (p_1 p_2 p_3 p_4)^(1/4)
/// ```
///
/// with t and r the words of all translations and references, and p_n the share of the translations'
/// n-grams that their references have too, each counted no more often than there.
pub fn bleu<W: AsRef<str>>(translations: &[Vec<W>], references: &[Vec<W>]) -> f64 {
    let [mut matches, mut totals] = [[0; LONGEST]; 2];
    for (translation, reference) in translations.iter().zip(references) {
        for n in 1..=LONGEST {
            let (found, expected) = (grams(translation, n), grams(reference, n));
            let shared = found
                .iter()
                .map(|(gram, &count)| count.min(expected.get(gram).copied().unwrap_or(0)));
            matches[n - 1] += shared.sum::<usize>();
            totals[n - 1] += translation.len().saturating_sub(n - 1);
        }
    }
    if matches.contains(&0) {
        return 0.0;
    }
    let words = |sentences: &[Vec<W>]| sentences.iter().map(Vec::len).sum::<usize>() as f64;
    let brevity = (1.0 - words(references) / words(translations)).min(0.0);
    let precisions = matches.iter().zip(totals).map(|(&m, t)| (m as f64 / t as f64).ln());
    100.0 * (brevity + precisions.sum::<f64>() / LONGEST as f64).exp()
}

/// How often each sequence of n words comes.
fn grams<W: AsRef<str>>(words: &[W], n: usize) -> HashMap<Vec<&str>, usize> {
    let mut grams = HashMap::new();
    for gram in words.windows(n) {
        *grams.entry(gram.iter().map(AsRef::as_ref).collect()).or_default() += 1;
    }
    grams
}
