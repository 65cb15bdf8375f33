//! How long does product quantisation of a finished table take, k-means and codes together?
//!
//! `cargo bench --bench compress -- --table FILE --rows V --width d --groups D --codebook-size K` prints a
//! JSON line for a file of V d numbers of four bytes. Without `--table` it takes 100,000 x 64 made-up ones.

mod common;

use common::{Options, report};
use dpq::pq::KMeans;
use dpq::{CompactEmbedding, DpqConfig, Tensor, parallel};

fn main() {
    let options = Options::parse();
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1);
    let number = |flag: &str, usual: usize| {
        value(flag).map_or(usual, |text| text.parse().expect("a whole number"))
    };
    let (rows, width) = (number("--rows", 100_000), number("--width", 64));
    let config = DpqConfig::vq(number("--groups", 8), number("--codebook-size", 256));
    let table = match value("--table") {
        Some(path) => {
            let bytes = std::fs::read(path).expect("the table's file");
            let numbers = bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
            Tensor::new([rows, width], numbers).expect("rows x width numbers")
        }
        None => Tensor::normal([rows, width], 1.0, &mut dpq::rng::stream(0, "table", 0)),
    };
    for &threads in &options.threads {
        parallel::with_threads(threads, || {
            let times = common::in_turn(options.repeats, &mut [()], |()| {
                let compact = CompactEmbedding::by_kmeans(&table, config, &KMeans::default());
                std::hint::black_box(compact.expect("finite numbers"));
            });
            report("compress", "pq", threads, &times[0], None);
        });
    }
}
