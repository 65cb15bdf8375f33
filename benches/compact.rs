//! How fast are the finished table's two operations: rows from codes, and codes from rows?
//!
//! `cargo bench --bench compact` prints a JSON line for the lookup of 4096 random rows of a
//! 100,000 x 512 table (64 codes of 256), for copying as many rows from the full table, and for
//! encoding the whole table, every part by its nearest codeword.

mod common;

use common::{Options, report};
use dpq::pq::codes::CodeTable;
use dpq::{CompactEmbedding, DpqConfig, DpqEmbedding, Init, Params, Tensor, parallel};
use rand::Rng;

const ROWS: usize = 100_000;
const WIDTH: usize = 512;
const LOOKED_UP: usize = 4096;

fn main() {
    let options = Options::parse();
    let config = DpqConfig { batch_norm: false, ..DpqConfig::vq(64, 256) };
    let mut rng = dpq::rng::stream(0, "numbers", 0);
    let mut below = |n: usize| rng.next_u32() % n as u32;
    let codes: Vec<u32> = (0..ROWS * 64).map(|_| below(256)).collect();
    let ids: Vec<u32> = (0..LOOKED_UP).map(|_| below(ROWS)).collect();
    let values = Tensor::uniform([64, 256, 8], 1.0, &mut dpq::rng::stream(0, "values", 0));
    let compact = CompactEmbedding::<f32>::new(config, CodeTable::pack(&codes, 64, 256), values)
        .expect("codes and values that fit");
    let mut params = Params::<f32>::new();
    let embedding =
        DpqEmbedding::new(params.scope("embedding").init(Init::Uniform(1.0)), ROWS, WIDTH, config)
            .expect("a sound configuration");
    let mut rows = vec![0.0; LOOKED_UP * WIDTH];
    let table = params.get(embedding.queries()).data();
    for &threads in &options.threads {
        parallel::with_threads(threads, || {
            let names = ["lookup", "copy", "encode"];
            let mut wanted: Vec<_> = names.into_iter().filter(|name| options.wants(name)).collect();
            let times = common::in_turn(options.repeats, &mut wanted, |name| match *name {
                "lookup" => compact.lookup_into(&ids, &mut rows).expect("ids within the table"),
                "copy" => {
                    for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(WIDTH)) {
                        row.copy_from_slice(&table[id as usize * WIDTH..][..WIDTH]);
                    }
                }
                _ => {
                    std::hint::black_box(embedding.codes(&params).expect("finite scores"));
                }
            });
            for (name, times) in wanted.iter().zip(times) {
                report("compact", name, threads, &times, None);
            }
        });
    }
}
