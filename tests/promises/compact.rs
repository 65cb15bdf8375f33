//! The compact table in all its forms: it decodes to what the model evaluates, to the bit, from memory,
//! from its file and row by row; every byte of the file is accounted for.
#![cfg(feature = "io")]

use dpq::pq::codes::CodeTable;
use dpq::pq::{Bands, Compression, Form, Names};
use dpq::{
    CompactEmbedding, DpqConfig, DpqEmbedding, Embedding, Error, Init, Params, Tape, Tensor,
};
use std::path::Path;

const SIZES: [usize; 13] = [2, 3, 5, 8, 16, 17, 32, 100, 128, 256, 257, 1024, 65536];

/// A table of more rows than fill whole bytes, with random parameters.
fn layer(config: DpqConfig, rows: usize, width: usize) -> (DpqEmbedding, Params<f32>) {
    let mut params = Params::seeded(5);
    let scope = params.scope("words").init(Init::Uniform(1.0));
    let layer = DpqEmbedding::new(scope, rows, width, config).unwrap();
    (layer, params)
}

fn evaluated(layer: &DpqEmbedding, params: &Params<f32>) -> Tensor<f32> {
    let ids: Vec<u32> = (0..Embedding::<f32>::vocabulary(layer) as u32).collect();
    Tape::new().value(params, |p| layer.forward(p, &ids).rows.value()).unwrap()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Concatenated, additive, and with two bands, where the codebook has room for them.
fn layouts(base: DpqConfig) -> Vec<DpqConfig> {
    let k = base.codebook_size as u32;
    let mut all = vec![base, DpqConfig { additive: true, ..base }];
    if k > 5 {
        let bands = Bands::new(&[(5, k / 2), (14, 2)]).unwrap();
        all.push(DpqConfig { bands, ..base });
        all.push(DpqConfig { bands, additive: true, ..base });
    }
    all
}

#[test]
fn a_table_decodes_to_what_the_model_evaluates_whatever_its_sizes() {
    let mut tried = 0;
    for k in SIZES {
        for groups in [1, 2, 7, 25, 50] {
            for (shared, form) in [(false, Form::Sx), (true, Form::Vq)] {
                for config in layouts(DpqConfig { shared, ..DpqConfig::new(form, groups, k) }) {
                    let width = if config.additive { 3 } else { 2 * groups };
                    let (layer, params) = layer(config, 19, width);
                    let (rows, compact) =
                        (evaluated(&layer, &params), layer.to_compact(&params).unwrap());
                    let read = CompactEmbedding::<f32>::from_bytes(&compact.to_bytes()).unwrap();
                    assert!(read == compact, "{config:?}");
                    let ids: Vec<u32> = (0..19).collect();
                    let found = read.lookup(&ids).unwrap();
                    assert_eq!(bits(found.data()), bits(rows.data()), "{config:?}");
                    assert_eq!(
                        8 * compact.codes().bytes().len(),
                        (config.compact_bits(19, width) - 32 * compact.values().data().len())
                            .next_multiple_of(8)
                    );
                    tried += 1;
                }
            }
        }
    }
    println!("{tried} tables, each row with the bits of the model's evaluation");
}

#[test]
fn rows_of_an_open_file_have_the_same_bits_and_errors_name_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    // More codes a row than are read at a time, too.
    for (groups, k) in [(7, 33), (1300, 1024), (3, 65536)] {
        for config in layouts(DpqConfig::sx(groups, k)) {
            let (layer, params) = layer(config, 40, if config.additive { 3 } else { groups });
            let compact = layer.to_compact(&params).unwrap();
            compact.save(&path).unwrap();
            let open = CompactEmbedding::<f32>::open(&path).unwrap();
            assert_eq!((open.vocabulary(), open.config()), (40, &config));
            let ids = [39, 0, 13, 14, 5, 4, 5];
            let mut rows = vec![0.0; ids.len() * open.width()];
            open.lookup_into(&ids, &mut rows).unwrap();
            assert_eq!(bits(&rows), bits(compact.lookup(&ids).unwrap().data()), "{config:?}");
            let error = open.lookup_into(&[1, 40], &mut rows[..2 * open.width()]).unwrap_err();
            assert!(matches!(error, Error::Id { id: 40, vocabulary: 40 }));
            assert!(open.names().unwrap().is_none());
        }
    }
    // A code that is none, in a row that is read and in one that is not.
    let config = DpqConfig::sx(2, 3);
    let (layer, params) = layer(config, 8, 2);
    let mut bytes = layer.to_compact(&params).unwrap().to_bytes();
    let first = bytes.len() - 4 - 4 * 6;
    assert_eq!(bytes.len() - first, 4 + 4 * 6, "four bytes of codes before or after the values");
    let codes = bytes.windows(4).position(|w| w == layer.codes(&params).unwrap().bytes()).unwrap();
    bytes[codes] |= 0b11;
    std::fs::write(&path, &bytes).unwrap();
    assert!(CompactEmbedding::<f32>::load(&path).is_err());
    let open = CompactEmbedding::<f32>::open(&path).unwrap();
    let error = open.lookup_into(&[0], &mut [0.0; 2]).unwrap_err().to_string();
    assert!(error.contains("code 3 of row 0, below 3 expected"), "{error}");
    open.lookup_into(&[7], &mut [0.0; 2]).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = CompactEmbedding::<f32>::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
}

#[test]
fn names_go_with_the_table_and_every_byte_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    let names: Vec<String> = (0..40).map(|i| format!("word {i}")).collect();
    for config in layouts(DpqConfig::vq(4, 9)) {
        let (layer, params) = layer(config, 40, 8);
        let bare = layer.to_compact(&params).unwrap();
        let named = bare.clone().with_names(Names::new(&names).unwrap()).unwrap();
        for table in [&bare, &named] {
            table.save(&path).unwrap();
            let (sizes, file) = (table.sizes(), std::fs::metadata(&path).unwrap().len());
            assert_eq!(sizes.total() as u64, file);
            assert_eq!((sizes.codes, sizes.values), {
                let codes = table.codes().bytes().len();
                (codes, table.bytes() - codes)
            });
            assert!(sizes.header > 8 && sizes.to_string().ends_with(&format!("{file:>12} bytes")));
            assert!(CompactEmbedding::<f32>::load(&path).unwrap() == *table);
        }
        let open = CompactEmbedding::<f32>::open(&path).unwrap();
        let found = open.names().unwrap().unwrap();
        assert_eq!((found.id("word 17"), found.name(17)), (Some(17), Some("word 17")));
    }
    let (layer, params) = layer(DpqConfig::vq(4, 9), 40, 8);
    let few = layer.to_compact(&params).unwrap().with_names(Names::new(&["a"]).unwrap());
    assert_eq!(few.unwrap_err().to_string(), "names = 1: expected 40, one for each row");
}

#[test]
fn a_file_of_the_first_version_is_still_read() {
    for form in [Form::Sx, Form::Vq] {
        read_first_version(DpqConfig { shared: true, ..DpqConfig::new(form, 4, 9) });
    }
}

fn read_first_version(config: DpqConfig) {
    let (layer, params) = layer(config, 40, 8);
    let compact = layer.to_compact(&params).unwrap();
    let bytes = compact.to_bytes();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let metadata = header["__metadata__"].as_object_mut().unwrap();
    metadata.insert("format".into(), "dpq compact embedding 1".into());
    if config.form == Form::Vq {
        // It had one, without a meaning.
        metadata.insert("temperature".into(), "0.5".into());
    }
    for newer in ["additive", "bands", "score", "sampling", "moving_average"] {
        metadata.remove(newer).unwrap();
    }
    let header = header.to_string();
    let old = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + length..]];
    assert!(CompactEmbedding::<f32>::from_bytes(&old.concat()).unwrap() == compact);
}

#[test]
fn codes_of_bands_survive_packing_and_wrong_ones_are_refused() {
    let bands = Bands::new(&[(2, 5), (4, 2)]).unwrap();
    let codes = [8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 1, 0];
    let table = CodeTable::pack_in_bands(&codes, 2, 9, bands);
    assert_eq!(table.bytes().len(), (2_usize * (2 * 4 + 2 * 3 + 2)).div_ceil(8));
    assert_eq!(table.unpack(), codes);
    let read = |bytes: &[u8]| CodeTable::from_bytes_in_bands(bytes, 6, 2, 9, bands);
    assert_eq!(read(table.bytes()).unwrap(), table);
    let mut wrong = table.bytes().to_vec();
    wrong[2] |= 0b111;
    assert_eq!(read(&wrong).unwrap_err().to_string(), "code = 7: expected 0..5");
}

/// Finished tables, compressed: with several codes to a part, integers for values, and rows that share
/// codes.
fn compressed() -> Vec<(String, CompactEmbedding<f32>)> {
    let table = Tensor::<f32>::normal([300, 12], 1.0, &mut dpq::rng::stream(0, "table", 0));
    let mut all = Vec::new();
    for (parts, groups, k) in [(4, 4, 16), (1, 5, 3), (3, 6, 33), (6, 12, 256), (12, 12, 7)] {
        for eight_bits in [false, true] {
            let rounds = 1;
            let settings = Compression { rounds, eight_bits, ..Compression::dpq(parts, groups, k) };
            let compact = CompactEmbedding::from_table(&table, &settings, None).unwrap();
            let rows: Vec<u32> = (0..1000).map(|i| i * 7 % 300).collect();
            let shared = compact.clone().with_row_of_ids(&rows).unwrap();
            all.push((format!("{settings:?}"), compact));
            all.push((format!("{settings:?}, shared rows"), shared));
        }
    }
    all
}

/// Both ways of reading, and the bytes of every part.
#[test]
fn files_of_compressed_tables_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, table) in compressed() {
        let path = folder.path().join("table.safetensors");
        table.save(&path).unwrap();
        let all: Vec<u32> = (0..table.vocabulary() as u32).collect();
        let expected = bits(table.lookup(&all).unwrap().data());
        let loaded = CompactEmbedding::<f32>::load(&path).unwrap();
        assert_eq!(loaded, table, "{name}");
        assert_eq!(loaded.to_bytes(), std::fs::read(&path).unwrap(), "{name}");
        let sizes = table.sizes();
        assert_eq!(sizes.total(), loaded.to_bytes().len(), "{name}");
        assert_eq!(sizes.codes + sizes.values + sizes.rows, table.bytes(), "{name}");
        let reader = CompactEmbedding::<f32>::open(&path).unwrap();
        assert_eq!([reader.vocabulary(), reader.width()], [table.vocabulary(), table.width()]);
        let mut rows = vec![0.0_f32; all.len() * reader.width()];
        reader.lookup_into(&all, &mut rows).unwrap();
        assert!(bits(&rows) == expected, "{name}");
        // In double precision a number is the product of its integer and scale, not of single precision.
        let double = CompactEmbedding::<f64>::load(&path).unwrap();
        let off = |(x, y): (&f64, &f32)| (x - f64::from(*y)).abs() <= 1e-5;
        let double = double.lookup(&all).unwrap();
        assert!(double.data().iter().zip(&rows).all(off), "{name}");
    }
}

#[test]
fn an_integer_that_is_never_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.safetensors");
    let (_, table) = compressed().into_iter().find(|(_, table)| table.scales().is_some()).unwrap();
    table.save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let values = file.tensor("values").unwrap();
        values.data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[at] = 0x80;
    std::fs::write(&path, bytes).unwrap();
    let fault = CompactEmbedding::<f32>::load(&path).unwrap_err().to_string();
    assert!(fault.contains("expected integers from -127 to 127"), "{fault}");
}

/// The readers in Python that stand in the documentation of `CompactEmbedding`, as they are.
#[test]
fn readers_in_python_give_the_same_bits() {
    let python = std::env::var("DPQ_PYTHON").unwrap_or_else(|_| "python3".into());
    let readers =
        [("numpy", "read_numpy.py", "table"), ("torch", "read_torch.py", "table.numpy()")];
    for (module, file, array) in readers {
        let has = |module: &str| {
            let import = format!("import safetensors, {module}");
            let tried = std::process::Command::new(&python).args(["-c", &import]).output();
            tried.is_ok_and(|output| output.status.success())
        };
        if !has(module) {
            println!("skipped {file}: {python} has no {module} with safetensors");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for k in [2, 3, 33, 256, 1024] {
            for groups in [1, 7, 50] {
                for shared in [false, true] {
                    for config in layouts(DpqConfig { shared, ..DpqConfig::sx(groups, k) }) {
                        let width = if config.additive { 3 } else { 2 * groups };
                        let (layer, params) = layer(config, 19, width);
                        let table = layer.to_compact(&params).unwrap();
                        table.save(folder.path().join(expected.len().to_string())).unwrap();
                        let expects = bits(evaluated(&layer, &params).data());
                        expected.push((format!("{config:?}"), expects));
                    }
                }
            }
        }
        for (name, table) in compressed() {
            table.save(folder.path().join(expected.len().to_string())).unwrap();
            let all: Vec<u32> = (0..table.vocabulary() as u32).collect();
            expected.push((name, bits(table.lookup(&all).unwrap().data())));
        }
        let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/readers").join(file);
        let source = std::fs::read_to_string(reader).unwrap();
        assert!(source.lines().count() <= 20, "{file} has {} lines", source.lines().count());
        let run = format!(
            "{source}\nimport sys\nfor i in range({}):\n    table = read_table(sys.argv[1] + '/' + str(i))\n    {array}.tofile(sys.argv[1] + '/' + str(i) + '.raw')\n",
            expected.len()
        );
        let output =
            std::process::Command::new(&python).args(["-c", &run]).arg(folder.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (i, (config, bits)) in expected.iter().enumerate() {
            let raw = std::fs::read(folder.path().join(format!("{i}.raw"))).unwrap();
            let found: Vec<u32> =
                raw.as_chunks().0.iter().map(|&x| u32::from_le_bytes(x)).collect();
            assert!(found == *bits, "{file}: {config}");
        }
        println!("{file}: {} tables to the last bit", expected.len());
    }
}
