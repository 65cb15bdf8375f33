//! An exported embedding reads back as the model evaluates, to the bit, and a file that is anything
//! else is refused with an error that names it.
#![cfg(feature = "io")]

use dpq::optim::{Optimizer, Sgd};
use dpq::{
    CompactEmbedding, DpqConfig, DpqEmbedding, Embedding, Error, Init, Params, Tape, Tensor, rng,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;
use tempfile::TempDir;

const VOCABULARY: usize = 37;
const WIDTH: usize = 12;

/// SX and VQ, shared and not, with codes of 3 bits that reach only to 4.
fn configs() -> [DpqConfig; 4] {
    let (sx, vq) = (DpqConfig::sx(4, 5), DpqConfig::vq(4, 5));
    [sx, vq, DpqConfig { shared: true, ..sx }, DpqConfig { shared: true, batch_norm: false, ..vq }]
}

/// Trained towards random rows.
fn trained(config: DpqConfig) -> (DpqEmbedding, Params<f32>) {
    let mut params = Params::<f32>::seeded(1);
    let embedding = DpqEmbedding::new(
        params.scope("embedding").init(Init::Uniform(0.5)),
        VOCABULARY,
        WIDTH,
        config,
    )
    .unwrap();
    let targets = Tensor::uniform([VOCABULARY, WIDTH], 1.0, &mut rng::stream(1, "targets", 0));
    let before = embedding.codes(&params).unwrap();
    let mut tape = Tape::new();
    for step in 0..40 {
        let ids: Vec<u32> = (0..24).map(|i| (i * 5 + step * 7) % VOCABULARY as u32).collect();
        let embedded = embedding.forward(&tape.train(&params), &ids);
        let off = embedded.rows - tape.constant(targets.clone()).gather_rows(&ids);
        let loss = (off * off).mean();
        let loss = embedded.regulariser.map_or(loss, |regulariser| loss + regulariser);
        let grads = tape.backward_and_free(loss).unwrap();
        tape.reset();
        Sgd::new(0.5).step(&mut params, &grads).unwrap();
    }
    assert!(embedding.codes(&params).unwrap().changed(&before) > 0.0, "nothing was learnt");
    (embedding, params)
}

fn bits(tensor: &Tensor<f32>) -> Vec<u32> {
    tensor.data().iter().map(|x| x.to_bits()).collect()
}

struct Exported {
    folder: TempDir,
    bytes: Vec<u8>,
}

fn exported(config: DpqConfig) -> Exported {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good");
    let (embedding, params) = trained(config);
    embedding.to_compact(&params).unwrap().save(&path).unwrap();
    Exported { bytes: std::fs::read(path).unwrap(), folder }
}

impl Exported {
    /// The error of reading `bytes`, without the file's name that it begins with.
    fn refused(&self, bytes: &[u8]) -> String {
        let path = self.folder.path().join("bad");
        std::fs::write(&path, bytes).unwrap();
        let fault = CompactEmbedding::<f32>::load(&path).expect_err("a bad file");
        assert!(matches!(fault, Error::File { .. } | Error::NotFinite { .. }), "{fault:?}");
        let (text, name) = (fault.to_string(), format!("{}: ", path.display()));
        text.strip_prefix(&name).unwrap_or_else(|| panic!("{text} names no file")).to_string()
    }

    /// The file with other tensors or metadata.
    fn edited(
        &self,
        edit: impl FnOnce(&mut HashMap<String, String>, &mut Vec<u8>, &mut Vec<f32>),
    ) -> Vec<u8> {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let mut metadata = header.metadata().clone().unwrap();
        let (codes, values) = (file.tensor("codes").unwrap(), file.tensor("values").unwrap());
        let mut bytes = codes.data().to_vec();
        let number = |x: &[u8]| f32::from_le_bytes(x.try_into().unwrap());
        let mut numbers: Vec<f32> = values.data().chunks(4).map(number).collect();
        edit(&mut metadata, &mut bytes, &mut numbers);
        let numbers: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes);
        let tensors = [
            ("codes", view(Dtype::U8, &[bytes.len()], &bytes).unwrap()),
            ("values", view(Dtype::F32, values.shape(), &numbers).unwrap()),
        ];
        safetensors::serialize(tensors, Some(metadata)).unwrap()
    }

    /// The error for a file whose metadata say `value` under `name`.
    fn refused_with(&self, name: &str, value: &str) -> String {
        self.refused(&self.edited(|metadata, _, _| {
            let before = metadata.insert(name.into(), value.into());
            assert!(before.is_some_and(|before| before != value), "{name} is {value} already");
        }))
    }
}

#[test]
fn a_file_reads_back_as_the_model_evaluates_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embedding.safetensors");
    for config in configs() {
        let (embedding, params) = trained(config);
        let compact = embedding.to_compact(&params).unwrap();
        compact.save(&path).unwrap();
        let read = CompactEmbedding::<f32>::load(&path).unwrap();
        assert_eq!(read, compact);
        let sizes = |e: &dyn Embedding<f32>| (e.vocabulary(), e.width());
        assert_eq!(sizes(&read), sizes(&embedding));
        for id in 0..VOCABULARY as u32 {
            let tape = Tape::new();
            let p = tape.evaluate(&params);
            let expected = bits(&embedding.forward(&p, &[id]).rows.value());
            assert_eq!(bits(&read.lookup(&[id]).unwrap()), expected, "id {id}, {config:?}");
            assert_eq!(bits(&read.forward(&p, &[id]).rows.value()), expected);
            tape.check().unwrap();
        }
    }
}

#[test]
fn other_readers_find_packed_codes_values_and_the_settings() {
    for config in configs() {
        let (embedding, params) = trained(config);
        let compact = embedding.to_compact(&params).unwrap();
        let bytes = exported(config).bytes;
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let expected = [
            ("format", "dpq compact embedding 2"),
            ("form", if config.form == dpq::pq::Form::Sx { "sx" } else { "vq" }),
            ("rows", "37"),
            ("groups", "4"),
            ("codebook_size", "5"),
            ("bits", "3"),
            ("shared", if config.shared { "true" } else { "false" }),
            ("batch_norm", if config.batch_norm { "true" } else { "false" }),
            ("temperature", "1"),
            ("beta", "0"),
            ("additive", "false"),
            ("bands", "none"),
            ("score", if config.form == dpq::pq::Form::Sx { "dot" } else { "squared-distance" }),
            ("sampling", "false"),
            ("moving_average", "none"),
        ];
        for (name, value) in expected {
            assert_eq!(metadata[name], value, "{name}");
        }
        assert_eq!(metadata.len(), expected.len());

        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), 2);
        let (codes, values) = (file.tensor("codes").unwrap(), file.tensor("values").unwrap());
        assert_eq!((codes.dtype(), values.dtype()), (Dtype::U8, Dtype::F32));
        assert_eq!(codes.shape(), [(VOCABULARY * 4 * 3).div_ceil(8)]);
        assert_eq!(values.shape(), [if config.shared { 1 } else { 4 }, 5, WIDTH / 4]);
        let stored: Vec<u8> =
            params.get(embedding.values()).data().iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(values.data(), stored);
        assert_eq!(compact.bytes(), codes.data().len() + values.data().len());

        // As the documentation reads them: lowest bit first, without gaps.
        let bit = |i: usize| u32::from(codes.data()[i / 8] >> (i % 8) & 1);
        let unpacked: Vec<u32> =
            (0..VOCABULARY * 4).map(|c| (0..3).map(|b| bit(3 * c + b) << b).sum()).collect();
        assert_eq!(unpacked, embedding.codes(&params).unwrap().unpack());
    }
}

#[test]
fn the_compression_ratio_is_the_formula_but_for_the_last_byte() {
    for config in configs() {
        let (embedding, params) = trained(config);
        let compact = embedding.to_compact(&params).unwrap();
        // V D ceil(log2 K) + 32 G K s
        let codebooks = if config.shared { 1 } else { 4 };
        let formula = VOCABULARY * 4 * 3 + 32 * codebooks * 5 * (WIDTH / 4);
        let full = 32 * VOCABULARY * WIDTH;
        assert_eq!(config.compact_bits(VOCABULARY, WIDTH), formula);
        assert_eq!(config.compression_ratio(VOCABULARY, WIDTH), full as f64 / formula as f64);
        assert_eq!(8 * compact.full_bytes(), full);
        assert_eq!(compact.bytes(), formula.div_ceil(8));
        assert_eq!(compact.compression_ratio(), full as f64 / (8 * compact.bytes()) as f64);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let good = exported(configs()[0]);
    for length in 0..good.bytes.len() {
        good.refused(&good.bytes[..length]);
    }
    let longer = [&good.bytes[..], &[0]].concat();
    good.refused(&longer);
}

#[test]
fn a_tensor_of_more_bits_than_can_be_counted_is_refused() {
    let good = exported(configs()[0]);
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,2305843009213693952]}"#;
    let header = format!("{{\"codes\":{entry}}}");
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let expected = format!("found tensor codes with {entry}, expected a safetensors file");
    assert_eq!(good.refused(&bytes), expected);
}

#[test]
fn a_value_that_is_not_finite_is_refused() {
    let good = exported(configs()[0]);
    for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-f32::INFINITY, "-inf")] {
        let bytes = good.edited(|_, _, values| *values.last_mut().unwrap() = bad);
        let expected = format!("a value of the codebook is {name}: expected a finite number");
        assert_eq!(good.refused(&bytes), expected);
    }
}

#[test]
fn a_code_beyond_the_codebook_is_refused() {
    let good = exported(configs()[0]);
    // Bits 3 to 5: the second code becomes 7.
    let bytes = good.edited(|_, codes, _| codes[0] |= 0b11_1000);
    assert_eq!(good.refused(&bytes), "found code = 7: expected 0..5, expected a compact embedding");
}

#[test]
fn metadata_that_contradict_the_tensors_or_themselves_are_refused() {
    let separate = exported(configs()[0]);
    let shared = exported(configs()[2]);
    for good in [&separate, &shared] {
        let cases = [
            ("format", "dpq compact embedding 4", "format Some(\"dpq compact embedding 4\")"),
            ("form", "pq", "form \"pq\""),
            ("codebook_size", "1", "codebook_size = 1"),
            ("codebook_size", "70000", "codebook_size = 70000"),
            ("codebook_size", "6", "codebook_size = 6"),
            ("codebook_size", "9", "codebook_size = 9"),
            ("groups", "0", "groups = 0"),
            ("groups", "5", "groups = 5"),
            ("groups", "18446744073709551615", "groups = 18446744073709551615"),
            ("groups", "-4", "groups = Some(\"-4\")"),
            ("rows", "38", "rows = 38"),
            ("rows", "1099511627776", "rows = 1099511627776"),
            ("rows", "18446744073709551615", "rows = 18446744073709551615"),
            ("rows", "99999999999999999999999", "rows = Some("),
            ("rows", "", "rows = Some(\"\")"),
            ("temperature", "0", "temperature = 0: expected a positive number"),
            ("temperature", "NaN", "temperature = NaN: expected a positive number"),
            ("beta", "-1", "beta = -1: expected 0, or a positive number"),
            ("batch_norm", "yes", "batch_norm = Some(\"yes\")"),
            ("bands", "5:3", "codes that do not fit"),
            ("bands", "5:9", "fewer codewords than the codebook's 5"),
        ];
        for (name, value, expected) in cases {
            let text = good.refused_with(name, value);
            assert!(text.contains(expected), "{name} = {value}: {text}");
        }
    }
    for (good, value) in [(separate, "true"), (shared, "false")] {
        let text = good.refused_with("shared", value);
        assert!(text.contains(&format!("shared = {value}")), "{text}");
    }
}

/// Values that no field has, whatever it stands for.
const NONSENSE: [&str; 12] =
    ["", " ", "-1", "1.5x", "0x10", "null", "[]", "1e999", "\u{e9}", "12 34", "0 ", "tru"];

#[test]
fn two_hundred_corruptions_of_a_single_field_are_each_refused_by_its_name() {
    let good = exported(configs()[0]);
    let mut tried = 0;
    let mut refused = |field: &str, value: &str, text: String| {
        assert!(text.contains(field), "{field} = {value:?}: {text}");
        tried += 1;
    };
    let numbers: &[&str] =
        &["0", "1", "2", "36", "38", "1000000007", "18446744073709551615", "99999999999999999999"];
    let fields: [(&str, &[&str]); 14] = [
        ("format", &["dpq compact embedding", "dpq compact embedding 0", "dpq parameters 1"]),
        ("form", &["SX", "sx ", "sxvq", "dpq", "1"]),
        ("rows", numbers),
        ("groups", numbers),
        ("codebook_size", numbers),
        ("bits", numbers),
        ("shared", &["True", "1", "0", "yes", "falsetrue"]),
        ("batch_norm", &["False", "1", "0", "no", "truefalse"]),
        ("temperature", &["0", "-0", "-2.5", "NaN", "inf", "-inf", "1e-50", "1e300", "one"]),
        ("beta", &["-0.5", "NaN", "inf", "-inf", "1e-60", "1e300", "none"]),
        ("additive", &["True", "1"]),
        ("bands", &["1", "0:2", "5:5", "5:9", "5:1", "5:4,4:3"]),
        ("sampling", &["True", "1"]),
        ("moving_average", &["None", "0.9", "0.99:1e-5"]),
    ];
    for (field, values) in fields {
        for value in values.iter().chain(&NONSENSE) {
            refused(field, value, good.refused_with(field, value));
        }
    }
    // The entries of the two tensors, as text of the same length: nothing else moves.
    let header = String::from_utf8_lossy(&good.bytes).into_owned();
    for (tensor, place, values) in [
        ("codes", r#""dtype":"U8""#, [r#""dtype":"I8""#, r#""dtype":"X8""#, r#""dtype":"  ""#]),
        ("codes", r#""shape":[56]"#, [r#""shape":[55]"#, r#""shape":[-6]"#, r#""shape":[99]"#]),
        ("codes", "[240,296]", ["[240,295]", "[239,296]", "[240,999]"]),
        (
            "values",
            r#""dtype":"F32""#,
            [r#""dtype":"I32""#, r#""dtype":"F64""#, r#""dtype":"f32""#],
        ),
        ("values", "[4,5,3]", ["[5,4,3]", "[4,5,2]", "[4,5,9]"]),
        ("values", "[0,240]", ["[1,240]", "[0,236]", "[0,999]"]),
    ] {
        assert_eq!(header.matches(place).count(), 1, "{place} in {header}");
        let at = good.bytes.windows(place.len()).position(|w| w == place.as_bytes()).unwrap();
        for value in values {
            assert_eq!(value.len(), place.len());
            let mut bytes = good.bytes.clone();
            bytes[at..at + value.len()].copy_from_slice(value.as_bytes());
            refused(tensor, value, good.refused(&bytes));
        }
    }
    assert!(tried >= 200, "{tried}");
    println!("{tried} corruptions refused by name");
}

#[test]
fn bits_that_are_not_those_of_the_codebook_size_are_refused() {
    // Readers that unpack by `bits`, as the documentation does, would find other codes.
    let text = exported(configs()[0]).refused_with("bits", "4");
    assert!(text.contains("bits"), "{text}");
}

#[test]
fn groups_that_do_not_divide_are_refused() {
    // As many codes, in rows of another length: 74 rows of 2, 148 of 1.
    let good = exported(configs()[0]);
    for (groups, rows) in [("2", "74"), ("1", "148"), ("3", "49")] {
        let bytes = good.edited(|metadata, _, _| {
            metadata.insert("groups".into(), groups.into());
            metadata.insert("rows".into(), rows.into());
        });
        let text = good.refused(&bytes);
        assert!(text.contains("rows = ") || text.contains("values of shape"), "{text}");
    }
}

#[test]
fn a_missing_field_or_tensor_or_another_type_is_refused() {
    let good = exported(configs()[0]);
    let fields = ["form", "rows", "groups", "codebook_size", "shared", "batch_norm", "additive"];
    let others = ["format", "temperature", "beta", "bands", "score", "sampling", "moving_average"];
    for name in fields.into_iter().chain(others) {
        let text = good.refused(&good.edited(|metadata, _, _| {
            metadata.remove(name).unwrap();
        }));
        assert!(text.contains(name), "{name}: {text}");
    }
    let metadata = SafeTensors::read_metadata(&good.bytes).unwrap().1.metadata().clone();
    let zeros = [0; 4];
    let view = |dtype, shape: &[usize]| TensorView::new(dtype, shape.to_vec(), &zeros).unwrap();
    let files = [
        (vec![], "codes"),
        (vec![("codes", view(Dtype::U8, &[4]))], "values"),
        (
            vec![("codes", view(Dtype::F32, &[1])), ("values", view(Dtype::F32, &[1, 1, 1]))],
            "codes",
        ),
        (
            vec![("codes", view(Dtype::U8, &[4])), ("values", view(Dtype::I32, &[1, 1, 1]))],
            "values",
        ),
        (vec![("codes", view(Dtype::U8, &[4])), ("values", view(Dtype::F32, &[1]))], "values"),
    ];
    for (tensors, name) in files {
        let text = good.refused(&safetensors::serialize(tensors, metadata.clone()).unwrap());
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn an_id_outside_the_vocabulary_is_refused_on_lookup() {
    let good = exported(configs()[0]);
    let read = CompactEmbedding::<f32>::load(good.folder.path().join("good")).unwrap();
    for id in [37, u32::MAX] {
        let fault = read.lookup(&[0, id]).unwrap_err();
        assert_eq!(fault.to_string(), format!("id {id} is outside the vocabulary: expected 0..37"));
    }
    assert_eq!(read.lookup(&[]).unwrap().shape()[..], [0, WIDTH]);
}

fn names(folder: &Path) -> Vec<String> {
    let entry = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| entry(e).into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn saving_where_it_cannot_be_is_an_error_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (embedding, params) = trained(configs()[0]);
    let compact = embedding.to_compact(&params).unwrap();
    let missing = folder.path().join("nowhere").join("embedding");
    let fault = compact.save(&missing).unwrap_err();
    assert!(matches!(&fault, Error::Io { path, .. } if *path == missing), "{fault:?}");
    assert!(names(folder.path()).is_empty());

    // A folder stands where the file should.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    let fault = compact.save(&taken).unwrap_err();
    assert!(matches!(&fault, Error::File { path, .. } if *path == taken), "{fault:?}");
    assert_eq!(names(folder.path()), ["taken"]);

    let fault = CompactEmbedding::<f32>::load(&missing).unwrap_err();
    assert!(matches!(&fault, Error::Io { path, .. } if *path == missing), "{fault:?}");
}

#[test]
fn saving_over_a_file_replaces_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embedding");
    let [(large, large_params), (small, small_params)] =
        [trained(configs()[0]), trained(configs()[2])];
    large.to_compact(&large_params).unwrap().save(&path).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    let compact = small.to_compact(&small_params).unwrap();
    compact.save(&path).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < before);
    assert_eq!(CompactEmbedding::<f32>::load(&path).unwrap(), compact);
    assert_eq!(names(folder.path()), ["embedding"]);
}

#[test]
fn a_failed_save_keeps_the_file_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embedding");
    let (embedding, params) = trained(configs()[0]);
    let compact = embedding.to_compact(&params).unwrap();
    compact.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    let (other, other_params) = trained(configs()[2]);
    other.to_compact(&other_params).unwrap().save(&path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_table_in_double_precision_keeps_it_and_is_not_rounded_in_silence() {
    let config = DpqConfig::sx(1, 2);
    let table = |value: f64| {
        let codes = dpq::CodeTable::pack(&[0, 1], 1, 2);
        CompactEmbedding::<f64>::new(config, codes, Tensor::from([[[value], [0.1]]])).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    for value in [1.0 / 3.0, 1e39] {
        table(value).save(&path).unwrap();
        assert_eq!(CompactEmbedding::<f64>::load(&path).unwrap(), table(value));
        assert_eq!(table(value).bytes(), 1 + 16);
        let error = CompactEmbedding::<f32>::load(&path).unwrap_err().to_string();
        assert!(error.contains("values of shape [1, 2, 1] and type F64"), "{error}");
    }
    assert_eq!(table(0.5).cast::<f32>().unwrap().values().data(), [0.5, 0.1]);
    let error = table(1e39).cast::<f32>().unwrap_err().to_string();
    assert_eq!(error, "a value of the codebook is inf: expected a finite number");
    // And a table in single precision can be read in double.
    let single = table(0.5).cast::<f32>().unwrap();
    let double = CompactEmbedding::<f64>::from_bytes(&single.to_bytes()).unwrap();
    assert_eq!(double.values(), &single.values().cast());
}
