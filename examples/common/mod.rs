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

/// What data are known by: what they are, and a hash (FNV-1a) of their words and of all numbers, part by
/// part.
pub fn fingerprint<'a>(
    what: &str,
    words: impl Iterator<Item = &'a str>,
    parts: &[&[u32]],
) -> String {
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
    format!("{what}, hash {hash:016x}")
}
