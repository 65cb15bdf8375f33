//! Vocabularies: words and ids are inverse.
#![no_main]

use dpq::data::Vocabulary;
use dpq_fuzz::read_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(text) = str::from_utf8(text) else { return };
    let read = |read: fn(&str) -> Vocabulary| read_text(text.as_bytes(), |_| read(text));
    let all = read(|text| Vocabulary::from_words(text.split_whitespace()));
    let repeated = read(|text| Vocabulary::from_repeated_words(text.split_whitespace()));
    for vocabulary in [&all, &repeated] {
        for (word, id) in vocabulary.words().zip(0..) {
            assert_eq!(vocabulary.id(word), Some(id));
            assert_eq!(vocabulary.word(id).unwrap(), word);
        }
        assert!(vocabulary.word(vocabulary.len() as u32).is_err());
        assert_eq!(vocabulary.id(Vocabulary::UNKNOWN), Some(vocabulary.unknown()));
        assert_eq!(vocabulary.id(Vocabulary::END_OF_SENTENCE), Some(vocabulary.end_of_sentence()));
    }
    for word in text.split_whitespace() {
        assert_eq!(all.word(all.encode(word)).unwrap(), word);
        let read = repeated.word(repeated.encode(word)).unwrap();
        assert!(read == word || read == Vocabulary::UNKNOWN);
    }
});
