//! Writes seeds/: small valid files of every kind, and texts that a reader meets.

use dpq::pq::Form;
use dpq::{CodeTable, CompactEmbedding, DpqConfig, Params, Real, Tensor};
use std::fs;
use std::path::Path;

fn main() {
    for form in [Form::Sx, Form::Vq] {
        for (codebook_size, shared) in [(2, false), (2, true), (5, false), (5, true), (256, true)] {
            let config = DpqConfig { shared, ..DpqConfig::new(form, 2, codebook_size) };
            let name = format!("{form:?}-{codebook_size}-{shared}").to_lowercase();
            write("compact", &name, &table::<f32>(config).to_bytes());
            if codebook_size == 5 {
                write("compact", &format!("{name}-f64"), &table::<f64>(config).to_bytes());
            }
        }
    }

    let mut params = Params::<f32>::new();
    params.add("a.weight", Tensor::from([[0.5, 1.5], [2.5, 3.5]]));
    params.add("b.weight", Tensor::from([4.5]));
    params.add_statistic("b.mean", Tensor::from([5.5]));
    write("params", "f32", &params.to_bytes());
    write("params", "f64", &params.cast::<f64>().to_bytes());
    write("tensors", "params", &params.to_bytes());
    write("tensors", "compact", &table::<f32>(DpqConfig::vq(2, 2)).to_bytes());
    write("tensors", "none", &Params::<f32>::new().to_bytes());

    // What takes the most memory for its length, if it has to be read to be refused.
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(125), "]".repeat(125));
    let nested = [&(nested.len() as u64).to_le_bytes(), nested.as_bytes()].concat();
    for target in ["compact", "params", "tensors"] {
        write(target, "nested", &nested);
    }
    let letters = || '!'..='~';
    let pairs = letters().flat_map(|a| letters().map(move |b| format!(" {a}{b}")));
    let short = letters().map(|a| format!(" {a}"));
    let words: String = short.chain(pairs).take(512).collect();
    write("vocabulary", "distinct", format!("<unk>{words}").as_bytes());
    write("corpus", "distinct", format!("{}\x0ca\x0ca", words.replace(' ', "\n")).as_bytes());

    // 40 lines, so that there is something to validate and test on.
    let lines: String = (0..40).map(|i| format!("the {} é {i}\n", ["cat", "dog"][i % 2])).collect();
    let wide: Vec<u8> = "a few words\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let texts = [
        ("lines", lines.clone().into_bytes()),
        ("crlf", lines.replace('\n', "\r\n").into_bytes()),
        ("mark", format!("\u{feff}{lines}").into_bytes()),
        ("empty-lines", lines.replace('\n', "\n\n \n").into_bytes()),
        ("three", b"a b a\n<unk> <eos>\n\x0cb\na\n\x0ca c\n".to_vec()),
        ("utf-16", wide.clone()),
        ("utf-16-marked", [vec![0xff, 0xfe], wide].concat()),
    ];
    for (name, text) in texts {
        write("corpus", name, &text);
        write("vocabulary", name, &text);
    }
}

/// Three rows of four elements.
fn table<T: Real>(config: DpqConfig) -> CompactEmbedding<T> {
    let size = config.codebook_size;
    let codes: Vec<u32> = (0..6).map(|i| i * 7 % size as u32).collect();
    let codes = CodeTable::pack(&codes, config.groups, size);
    let width = if size < 256 { 2 } else { 1 };
    let values =
        Tensor::from_fn([config.codebooks(), size, width], |i| T::from_f64(i as f64 / 4.0));
    CompactEmbedding::new(config, codes, values).expect("a table")
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a file");
}
