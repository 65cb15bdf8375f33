//! What the example programs share: command line, the run of all models, results.

pub mod arguments;
pub mod embeddings;
pub mod interrupt;
pub mod output;
pub mod progress;
pub mod report;
pub mod results;
pub mod run;
pub mod watch;
pub mod watched;

/// `Result` with any error that can be shown.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// How many words, and a hash (FNV-1a) of the vocabulary and of all ids, part by part.
pub fn fingerprint<'a>(
    words: impl ExactSizeIterator<Item = &'a str>,
    parts: [&[u32]; 3],
) -> String {
    let (vocabulary, ids) = (words.len(), parts.iter().map(|part| part.len()).sum());
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |x: u64| hash = (hash ^ x).wrapping_mul(0x0100_0000_01b3);
    for word in words {
        word.bytes().for_each(|byte| add(byte.into()));
        add(256);
    }
    for part in parts {
        add(part.len() as u64);
        part.iter().for_each(|&id| add(id.into()));
    }
    format!(
        "{} words of {}, hash {hash:016x}",
        progress::thousands(ids),
        progress::thousands(vocabulary)
    )
}
