//! Texts as ids, and the windows of those.
#![no_main]

use dpq::data::{Batches, Corpus};
use dpq_fuzz::read_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(corpus) = read_text(text, Corpus::from_text) {
        check(&corpus);
    }
    // Three texts, a form feed between them.
    let mut texts = text.splitn(3, |&byte| byte == 0x0c);
    let texts = [(); 3].map(|()| texts.next().unwrap_or_default());
    if let Ok(corpus) = read_text(text, |_| Corpus::from_texts(texts)) {
        check(&corpus);
    }
});

fn check(corpus: &Corpus) {
    for part in [&corpus.train, &corpus.valid, &corpus.test] {
        assert!(part.iter().all(|&id| (id as usize) < corpus.vocabulary.len()));
        let n = part.len();
        for (batch, steps) in
            [(1, 9), (3, 8), (20, 35), (n, 1), (n / 2, usize::MAX), (usize::MAX, n), (0, 1), (1, 0)]
        {
            if let Ok(batches) = Batches::new(part, batch, steps) {
                let whole = batches.windows().all(|window| window.targets.len() == batch * steps);
                assert!(whole && !batches.is_empty());
            }
            if let Ok(batches) = Batches::with_tail(part, batch, steps) {
                let targets: usize = batches.windows().map(|window| window.targets.len()).sum();
                assert_eq!(targets, n - 1);
            }
        }
    }
}
