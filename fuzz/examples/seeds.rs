//! Writes seeds/: small valid files of every kind, and texts that a reader meets.

use dpq::nn::{TextClassifier, TextClassifierConfig, Translator, TranslatorConfig};
use dpq::pq::{Compression, Form};
use dpq::{CodeTable, CompactEmbedding, DpqConfig, FullEmbedding, Params, Real, Tensor};
use dpq_fuzz::classifier_file::Classifier;
use dpq_fuzz::common::embeddings::{Named, Rows, Table};
use dpq_fuzz::features::Features;
use dpq_fuzz::sentences::Words;
use dpq_fuzz::translator_file;
use std::fs;
use std::path::Path;
use std::rc::Rc;

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

    let finished = Tensor::from_fn([5, 4], |i| (i as f32).sin());
    for (name, settings) in [
        ("integers", Compression::dpq(2, 4, 3)),
        ("parts", Compression { eight_bits: false, ..Compression::additive(2, 4, 2) }),
    ] {
        let table = CompactEmbedding::from_table(&finished, &settings, None).expect("a table");
        write("compact", name, &table.to_bytes());
        write(
            "compact",
            &format!("{name}-shared"),
            &table.with_row_of_ids(&[4, 0, 0]).expect("rows").to_bytes(),
        );
    }
    for (name, bytes) in tables() {
        write("tables", name, &bytes);
    }
    let path = std::env::temp_dir().join("dpq-seeds");
    for (name, buckets) in [("words", 0), ("pairs", 2)] {
        classifier(buckets).save(&path).expect("a file");
        write("classifier", name, &fs::read(&path).expect("a file"));
    }
    for (name, compact) in [("compact", true), ("full", false)] {
        save_translator(&path, compact);
        write("translator", name, &fs::read(&path).expect("a file"));
    }
    fs::remove_file(path).expect("a file");

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

/// A table of 3 x 2 in every format.
fn tables() -> Vec<(&'static str, Vec<u8>)> {
    let numbers = [0.5_f32, -1.0, 2.0, 3.0, 4.0, 5.5];
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let npy = |order: &str, kind: &str| {
        let header =
            format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': (3, 2), }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &bytes].concat()
    };
    let mut params = Params::<f32>::new();
    params.add("x", Tensor::from_fn([3, 2], |i| numbers[i]));
    let rows = numbers.chunks(2).enumerate();
    let text: String =
        rows.clone().map(|(i, row)| format!("w {i}é {} {}\n", row[0], row[1])).collect();
    let binary = rows.flat_map(|(i, row)| {
        let numbers = row.iter().flat_map(|x| x.to_le_bytes());
        format!("w{i} ").into_bytes().into_iter().chain(numbers).chain(*b"\n").collect::<Vec<_>>()
    });
    let binary = b"3 2\n".iter().copied().chain(binary).collect();
    vec![
        ("rows", npy("False", "<f4")),
        ("columns", npy("True", "<f4")),
        ("half", npy("False", ">f2")),
        ("safetensors", params.to_bytes()),
        ("glove", text.clone().into_bytes()),
        ("word2vec-text", format!("3 2\n{text}").into_bytes()),
        ("word2vec", binary),
    ]
}

/// A classifier of three features, two of which are buckets of pairs or else words.
fn classifier(buckets: u32) -> Classifier {
    let words = ["cat", "dog"].map(String::from).into_iter().skip(buckets as usize).collect();
    let (table, mut trained) = (table::<f32>(DpqConfig::sx(2, 5)), Params::new());
    let config = TextClassifierConfig { classes: 2, hidden: true, dropout: 0.0, word_dropout: 0.0 };
    TextClassifier::new(trained.root(), Box::new(table.clone()), config);
    let labels = ["animals", "other"].map(String::from).to_vec();
    Classifier::new(Features::new(words, buckets), labels, table, &trained)
}

/// A translator of two units, of three words and four.
fn save_translator(path: &Path, compact: bool) {
    let words = |more: &[&str]| {
        let special = ["<s>", "</s>", "<unk>"].into_iter();
        Words::new(special.chain(more.iter().copied()).map(String::from).collect())
    };
    let [source, target] = [words(&[]), words(&["a"])];
    let mut params = Params::new();
    let mut full = |name: &'static str, vocabulary, width| {
        let table = FullEmbedding::new(params.scope(name), vocabulary, width);
        let id = table.table();
        let rows: Rows = Rc::new(move |params: &Params<f32>| params.get(id).clone());
        (Box::new(table), Named { name, vocabulary, table: Table::Rows(rows, 0) })
    };
    let ((a, mut first), (b, second)) = (full("source", 3, 4), full("target", 4, 2));
    if compact {
        first.table = Table::Compact(Rc::new(|_| Ok(table(DpqConfig::vq(2, 5)))));
    }
    let config = TranslatorConfig { units: 2, dropout: 0.0, start: Words::START, end: Words::END };
    Translator::new(params.root(), a, b, config);
    translator_file::save(path, [&source, &target], &[first, second], &params).expect("a file");
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
