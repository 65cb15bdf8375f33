//! Large buffers are used again: from the third step on, training asks the allocator for nothing
//! above 4 KiB. A file of its own, since it replaces the allocator.

use dpq::data::Window;
use dpq::nn::{LanguageModel, LanguageModelConfig};
use dpq::optim::{Adam, Optimizer, Sgd};
use dpq::pq::CodebookWatch;
use dpq::{DpqConfig, DpqEmbedding, Embedding, FullEmbedding, ParamId, Params, Tape, parallel};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which notes the large requests.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// All requests of a thread.
    static ALL: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > 4096 {
            LARGE.fetch_add(1, Ordering::Relaxed);
        }
        ALL.set(ALL.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VOCABULARY: usize = 2000;
const WIDTH: usize = 288;

/// Large requests in each of six steps of training.
fn requests(
    embedding: fn(&mut Params<f32>) -> Box<dyn Embedding<f32>>,
    mut optimizer: Box<dyn Optimizer<f32>>,
) -> Vec<usize> {
    let mut params = Params::new();
    let table = embedding(&mut params);
    let config = LanguageModelConfig { layers: 2, hidden: WIDTH, dropout: 0.2 };
    let model = LanguageModel::new(params.root(), table, config);
    let (steps, batch) = (20, 20);
    let (mut tape, mut state) = (Tape::new(), model.start(batch));
    let codebooks = ["embedding.keys", "embedding.values"].map(|name| params.find(name));
    let codebooks: Vec<ParamId> = codebooks.into_iter().flatten().collect();
    let mut watch = CodebookWatch::new(&params, &codebooks);
    let step = |step: u32| {
        // Other words, and another number of distinct ones, at every step.
        let words = |k: u32| (0..400).map(|i| (i * i * k + step * 7) % VOCABULARY as u32).collect();
        let window = Window { inputs: words(3), targets: words(5), steps, batch };
        LARGE.store(0, Ordering::Relaxed);
        tape.set_noise(0, u64::from(step));
        let (_, mut grads, after) = tape
            .value_and_grad(&params, |p| {
                let pass = model.forward(p, &window, &state);
                (pass.objective, pass.state)
            })
            .unwrap();
        state = after;
        grads.clip_global_norm(5.0);
        optimizer.step(&mut params, &grads).unwrap();
        watch.restart();
        watch.see(&grads);
        drop(grads);
        LARGE.load(Ordering::Relaxed)
    };
    (0..6).map(step).collect()
}

#[test]
fn from_the_third_step_on_nothing_large_is_allocated() {
    let full = |params: &mut Params<f32>| -> Box<dyn Embedding<f32>> {
        Box::new(FullEmbedding::new(params.scope("embedding"), VOCABULARY, WIDTH))
    };
    let sx = |params: &mut Params<f32>| -> Box<dyn Embedding<f32>> {
        let config = DpqConfig::sx(16, 32);
        Box::new(DpqEmbedding::new(params.scope("embedding"), VOCABULARY, WIDTH, config).unwrap())
    };
    let vq = |params: &mut Params<f32>| -> Box<dyn Embedding<f32>> {
        let config = DpqConfig::vq(16, 32);
        Box::new(DpqEmbedding::new(params.scope("embedding"), VOCABULARY, WIDTH, config).unwrap())
    };
    let new = |name: &str| -> Box<dyn Optimizer<f32>> {
        if name == "sgd" { Box::new(Sgd::new(0.5)) } else { Box::new(Adam::new(1e-3)) }
    };
    for (name, embedding) in [("full", full as fn(&mut _) -> _), ("sx", sx), ("vq", vq)] {
        for optimizer in ["sgd", "adam"] {
            let found = parallel::with_threads(1, || requests(embedding, new(optimizer)));
            println!("{name}, {optimizer}, 1 thread: large requests a step {found:?}");
            assert!(found[0] > 0, "the counter counts");
            assert_eq!(
                found[2..],
                [0; 4],
                "{name}, {optimizer}: requests above 4 KiB at every step"
            );
            // Whether two threads are ever at the same piece of work at once is chance: what they
            // need there may be asked for late, but only once.
            let found = parallel::with_threads(2, || requests(embedding, new(optimizer)));
            println!("{name}, {optimizer}, 2 threads: large requests a step {found:?}");
            assert!(found[2..].iter().sum::<usize>() <= 12, "{name}, {optimizer}: {found:?}");
        }
    }
}

#[cfg(feature = "io")]
#[test]
fn looking_up_rows_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    for config in [
        DpqConfig::sx(72, 32),
        DpqConfig { additive: true, ..DpqConfig::vq(5, 256) },
        DpqConfig { bands: "500:8,1000:2".parse().unwrap(), ..DpqConfig::sx(16, 300) },
    ] {
        let mut params = Params::<f32>::new();
        let layer =
            DpqEmbedding::new(params.scope("embedding"), VOCABULARY, WIDTH, config).unwrap();
        let compact = layer.to_compact(&params).unwrap();
        compact.save(&path).unwrap();
        let open = dpq::CompactEmbedding::<f32>::open(&path).unwrap();
        let ids: Vec<u32> = (0..100).map(|i| i * 19 % VOCABULARY as u32).collect();
        let mut rows = vec![0.0; ids.len() * WIDTH];
        let before = ALL.get();
        compact.lookup_into(&ids, &mut rows).unwrap();
        assert_eq!(ALL.get() - before, 0, "in memory, {config:?}");
        open.lookup_into(&ids, &mut rows).unwrap();
        assert_eq!(ALL.get() - before, 0, "from the file, {config:?}");
    }
}
