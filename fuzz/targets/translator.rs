//! What `translation` writes: a translator that can be read translates, or says that a number is not finite.
#![no_main]

#[path = "../../examples/common"]
#[allow(dead_code, reason = "the examples use all of it")]
mod common {
    pub mod arguments;
    pub mod embeddings;
    pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
}
#[path = "../../examples/common/input.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod input;
#[path = "../../examples/translation/sentences.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod sentences;
#[path = "../../examples/translation/translator_file.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod translator_file;

use dpq_fuzz::{file_of, mutate_file};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use translator_file::Saved;

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_file(bytes, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(translator) = Saved::load(&file_of(bytes)) else { return };
    for sentence in ["", "a", "b a unknown"] {
        let words: Vec<String> = sentence.split_whitespace().map(String::from).collect();
        for beam in [1, 2] {
            // Numbers that are finite may give some that are not, which is an error.
            let found = translator.translate(&words, beam);
            assert!(found.is_err() || !words.is_empty() || found.is_ok_and(|all| all.is_empty()));
        }
    }
});
