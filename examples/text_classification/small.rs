//! The best classifier whose whole file has at most so many bytes.

use crate::arguments::Sizes;
use crate::classifier_file::{Classifier, packed};
use crate::common::arguments::{Settings, refuse};
use crate::common::progress::{Progress, thousands};
use crate::common::report::Measure;
use crate::common::{Result, interrupt, output};
use crate::features::Features;
use crate::read::{Example, Parts};
use crate::{Data, Training};
use dpq::data::words_and_marks;
use dpq::nn::{TextClassifier, TextClassifierConfig};
use dpq::optim::Adam;
use dpq::train::{Ending, Task, Trainer};
use dpq::{DpqConfig, DpqEmbedding, Init, Params};
use std::sync::Arc;

/// Width of the embedding.
const WIDTH: usize = 64;

/// Codewords of a group: codes of 4 bits.
const CODEWORDS: usize = 16;

/// More than the parts of a file take that say what the others are.
const HEADERS: usize = 4096;

/// What is tried: codes of a feature, and buckets of pairs of words for each word.
const TABLES: [(usize, f64); 4] = [(16, 0.0), (32, 0.0), (8, 1.0), (16, 1.0)];

/// The probabilities of leaving words out that are tried with each.
const WORD_DROPOUTS: [f64; 2] = [0.2, 0.6];

/// Trains what is tried, and chooses by the validation texts. If those were held out of the training
/// texts, what is chosen is trained again on all of them. It is written to `classifier.safetensors` in
/// `--out`, and tested as it is read back. Returns what the terminal gets.
///
/// # Errors
/// If nothing fits into so many bytes, or the file cannot be written.
pub fn build(
    max_bytes: usize,
    parts: &Parts,
    sizes: &Sizes,
    settings: &Settings,
) -> Result<String> {
    let out = settings.out.as_ref().expect("--max-bytes requires it");
    let path = out.join("classifier.safetensors");
    let _lock = output::lock(out)?;
    dpq::io::check_writable(&path)?;
    interrupt::listen()?;
    let progress = Progress::new(settings.quiet);
    let texts = || parts.train.iter().map(|example| example.text.as_str());
    let ranked = Features::ranked(texts());
    // No more buckets than there are pairs.
    let pairs_there = texts().map(|text| words_and_marks(text).count()).sum();
    let labels = &parts.labels;
    let word_dropouts = match sizes.word_dropout {
        Some(given) => vec![given],
        None => WORD_DROPOUTS.to_vec(),
    };
    let mut best: Option<(Trained, Arc<Data>, Tried)> = None;
    for (groups, pairs) in TABLES {
        let Some(features) = fitting(max_bytes, (&ranked, pairs_there), labels, groups, pairs)
        else {
            continue;
        };
        let data = Arc::new(Data::new(parts, features));
        for &word_dropout in &word_dropouts {
            let tried = Tried { groups, word_dropout };
            let Some(trained) = train(&data, tried, sizes, settings)? else { break };
            let (valid, bytes) = (trained.valid, trained.classifier.bytes());
            progress.line(&format!(
                "{groups:>2} codes  {:>6} words  {:>6} buckets of pairs  words left out {:>2.0}%  \
                 {:>9} bytes  valid accuracy {}",
                thousands(data.features.words().len()),
                thousands(data.features.buckets() as usize),
                100.0 * word_dropout,
                thousands(bytes),
                Measure::Accuracy.text(valid)
            ));
            let better = best.as_ref().is_none_or(|(best, ..)| valid > best.valid);
            if bytes <= max_bytes && better {
                best = Some((trained, data.clone(), tried));
            }
        }
    }
    if interrupt::was_asked_for() {
        return Err("stopped; nothing is written".into());
    }
    let Some((Trained { valid, mut classifier }, data, tried)) = best else {
        let expected = "enough for the layers and a few words";
        return Err(refuse("max-bytes", max_bytes.to_string(), expected).into());
    };
    if parts.held_out {
        let mut all = parts.clone();
        all.train.extend(parts.valid.iter().cloned());
        let data = Arc::new(Data::new(&all, data.features.clone()));
        let again = train(&data, tried, sizes, settings)?;
        classifier = again.ok_or("stopped; nothing is written")?.classifier;
    }
    let bytes = classifier.bytes();
    assert!(bytes <= max_bytes, "a file of {bytes} bytes, expected at most {max_bytes}");
    classifier.save(&path)?;
    let reread = Classifier::load(&path)?;
    let test: Vec<&str> = parts.test.iter().map(|example| example.text.as_str()).collect();
    let found = reread.classify(&test)?;
    if found != classifier.classify(&test)? {
        return Err("the saved classifier gives other labels than the trained one".into());
    }
    let right = |(class, Example { label, .. }): &(&u32, &Example)| {
        reread.labels()[**class as usize] == *label
    };
    let right = found.iter().zip(&parts.test).filter(right).count();
    let test = right as f64 / test.len() as f64;
    let before = if parts.held_out { " before it was trained on those texts too" } else { "" };
    Ok(format!(
        "{}: {} bytes, valid accuracy {}{before}, test accuracy {}\n",
        path.display(),
        thousands(bytes),
        Measure::Accuracy.text(valid),
        Measure::Accuracy.text(test)
    ))
}

/// The most frequent words, and as many buckets for each, whose file has at most so many bytes.
fn fitting(
    max_bytes: usize,
    (ranked, pairs_there): (&[String], usize),
    labels: &[String],
    groups: usize,
    pairs: f64,
) -> Option<Features> {
    let codes = groups * CODEWORDS.ilog2() as usize / 8;
    let classes = labels.len();
    let layers = 4 * (WIDTH * (WIDTH + 1) + 8 * WIDTH + (WIDTH + 1) * classes);
    let named: usize = labels.iter().map(|label| label.len() + 8).sum();
    let fixed = layers + 4 * CODEWORDS * WIDTH + named + HEADERS;
    let buckets = |words: usize| (pairs * words as f64) as usize;
    let features = |words: usize| {
        let mut first = ranked[..words].to_vec();
        first.sort();
        first
    };
    let fits = |words: usize| {
        let rows = words + 1 + buckets(words);
        fixed + rows * codes + packed(&features(words)).len() <= max_bytes
    };
    let (mut few, mut many) = (1, ranked.len() + 1);
    if many == 1 || !fits(few) {
        return None;
    }
    while many - few > 1 {
        let middle = few.midpoint(many);
        if fits(middle) { few = middle } else { many = middle }
    }
    // Where all words fit, buckets take the rest.
    let rest = (max_bytes - fixed - packed(&features(few)).len()) / codes - few - 1;
    let buckets = if few == ranked.len() && pairs > 0.0 { rest } else { buckets(few) };
    Some(Features::new(features(few), buckets.min(pairs_there) as u32))
}

/// What is tried.
#[derive(Clone, Copy)]
struct Tried {
    groups: usize,
    word_dropout: f64,
}

/// A classifier, and its accuracy on the validation texts.
struct Trained {
    valid: f64,
    classifier: Classifier,
}

/// Trains a classifier; `None` if the user stopped it.
fn train(
    data: &Arc<Data>,
    Tried { groups, word_dropout }: Tried,
    sizes: &Sizes,
    settings: &Settings,
) -> Result<Option<Trained>> {
    let mut params = Params::seeded(settings.seed);
    let config = DpqConfig { shared: false, ..DpqConfig::vq(groups, CODEWORDS) };
    let scope = params.scope("embedding").init(Init::Glorot);
    let embedding = DpqEmbedding::new(scope, data.features.len(), WIDTH, config)?;
    let table = embedding.clone();
    let (classes, dropout) = (data.labels.len(), sizes.dropout);
    let config = TextClassifierConfig { classes, hidden: true, dropout, word_dropout };
    let model = TextClassifier::new(params.root(), Box::new(embedding), config);
    let mut task = Training::new(model, data.clone(), sizes.batch, settings.seed);
    let steps = settings.epochs * task.steps();
    let mut trainer = Trainer::new(params, Adam::new(sizes.learning_rate))
        .epochs(settings.epochs)
        .schedule_by_step(|step| sizes.learning_rate(step, steps))
        .stop_when(interrupt::was_asked_for);
    if trainer.run(&mut task, |_| ())? == Ending::Stopped {
        return Ok(None);
    }
    let (_, figure) = trainer.history().last().expect("an epoch").figures[0];
    let params = trainer.into_params();
    let table = table.to_compact(&params)?;
    let (features, labels) = (data.features.clone(), data.labels.clone());
    let classifier = Classifier::new(features, labels, table, &params);
    Ok(Some(Trained { valid: Measure::Accuracy.figure(figure), classifier }))
}
