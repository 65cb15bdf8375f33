//! What `translation` writes: a translator that can be read translates, or says that a number is not finite.
#![no_main]

use dpq_fuzz::translator_file::Saved;
use dpq_fuzz::{file_of, mutate_file};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_file(bytes, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(translator) = Saved::load(&file_of(bytes)) else { return };
    for sentence in ["", "a", "b a unknown"] {
        let words: Vec<String> = sentence.split_whitespace().map(String::from).collect();
        for beam in [1, 2] {
            // Numbers that are finite may give some that are not, which is an error.
            let Ok(found) = translator.translate(&words, beam) else { continue };
            assert!(!words.is_empty() || found.is_empty());
        }
    }
});
