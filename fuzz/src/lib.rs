//! What the targets share: how much memory a call takes, a file to read, how a binary one is mutated, and
//! the readers of the examples.

#[path = "../../examples/text_classification/classifier_file.rs"]
pub mod classifier_file;
#[path = "../../examples/common"]
pub mod common {
    pub mod arguments;
    pub mod embeddings;
    pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
}
#[path = "../../examples/text_classification/features.rs"]
pub mod features;
#[path = "../../examples/common/input.rs"]
pub mod input;
#[path = "../../examples/translation/sentences.rs"]
pub mod sentences;
#[path = "../../examples/translation/translator_file.rs"]
pub mod translator_file;

/// Texts that a classifier labels at a time.
const BATCH: usize = 2;

use libfuzzer_sys::fuzzer_mutate;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting. What grows is a new block beside the old one, at worst.
struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        LARGEST.fetch_max(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a call took, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The most that was in use at a time, beyond what was before.
    pub peak: usize,
    /// The largest single allocation.
    pub largest: usize,
}

/// What `call` gives, and what it took. For one thread.
pub fn measured<R>(call: impl FnOnce() -> R) -> (R, Taken) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    let result = call();
    let (peak, largest) = (PEAK.load(Relaxed) - before, LARGEST.load(Relaxed));
    (result, Taken { peak, largest })
}

/// What `read` makes of a file. It takes at most so many copies of the file and, for each byte of the
/// header, 62 bytes more: safetensors reads that into a tree, which has a vector of 128 bytes for the two
/// bytes of every pair of brackets in `[[[0]]]`.
pub fn read_file<'a, R>(file: &'a [u8], copies: usize, read: impl FnOnce(&'a [u8]) -> R) -> R {
    let (result, taken) = measured(|| read(file));
    let stated = file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let header = if stated < file.len() as u64 { stated as usize } else { 0 };
    assert!(taken.peak <= copies * file.len() + 62 * header + 1024, "{taken:?} for {}", file.len());
    result
}

/// What `read` makes of a text. A word of two letters and a space is three bytes, and has entries in
/// the table that counts words, in both directions of the vocabulary, and in the list of lines. At one
/// word more than a power of two these are half empty, and some are there twice while they grow: 79
/// bytes for each byte of the text.
pub fn read_text<'a, R>(text: &'a [u8], read: impl FnOnce(&'a [u8]) -> R) -> R {
    let (result, taken) = measured(|| read(text));
    assert!(taken.peak <= 80 * text.len() + 10240, "{taken:?} for {}", text.len());
    result
}

/// A file that holds these bytes, until the next call; in memory, where the system has such a folder.
pub fn file_of(bytes: &[u8]) -> PathBuf {
    let folder = PathBuf::from("/dev/shm");
    let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
    let path = folder.join(format!("dpq-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Mutates a binary file in the first `size` of `bytes`. Mostly the length of its header is then made to
/// fit, without which few files would be read further.
pub fn mutate_file(bytes: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let size = fuzzer_mutate(bytes, size, max_size);
    if let Some((length, rest)) = bytes[..size].split_first_chunk_mut()
        && let Some(end) = rest.windows(2).position(|pair| pair == b"}}")
        && !seed.is_multiple_of(8)
    {
        let spaces = rest[end + 2..].iter().take_while(|&&byte| byte == b' ').count();
        *length = ((end + 2 + spaces) as u64).to_le_bytes();
    }
    size
}
