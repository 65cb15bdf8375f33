//! What `text_classification --max-bytes` writes: a classifier that can be read labels every text.
#![no_main]

use dpq_fuzz::classifier_file::Classifier;
use dpq_fuzz::{file_of, mutate_file};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_file(bytes, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(classifier) = Classifier::load(&file_of(bytes)) else { return };
    // Numbers that are finite may give some that are not, which is an error.
    if let Ok(classes) = classifier.classify(&["", "the cat", "a dog !"]) {
        assert_eq!(classes.len(), 3);
        assert!(classes.iter().all(|&class| (class as usize) < classifier.labels().len()));
    }
});
