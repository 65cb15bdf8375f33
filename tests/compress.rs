//! The command `dpq` as its users run it.

use dpq::{CompactEmbedding, Tensor, rng};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder, and the command in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.at(name), bytes).unwrap();
    }

    /// Runs `dpq` with these arguments, which names of files must not have blanks in.
    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dpq"));
        command.current_dir(self.0.path()).args(arguments.split(' ')).output().unwrap()
    }

    /// Runs it, and returns what it prints.
    #[track_caller]
    fn out(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let fault = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {fault}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{arguments} --json --quiet"))).unwrap()
    }

    /// Runs it, and returns the fault, in one line, that it ends with.
    #[track_caller]
    fn fault(&self, arguments: &str) -> String {
        let output = self.run(&format!("{arguments} --quiet"));
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        let fault = String::from_utf8(output.stderr).unwrap();
        assert_eq!(fault.trim_end().lines().count(), 1, "{fault}");
        fault.trim_end().strip_prefix("error: ").unwrap().into()
    }
}

fn table(rows: usize, width: usize) -> Tensor<f32> {
    let factors = Tensor::<f32>::normal([rows, 3], 1.0, &mut rng::stream(0, "factors", 0));
    let noise = Tensor::<f32>::normal([rows, width], 0.5, &mut rng::stream(0, "noise", 0));
    Tensor::from_fn([rows, width], |i| {
        let of_row = &factors.data()[i / width * 3..][..3];
        of_row.iter().enumerate().map(|(j, x)| x * ((i % width * 3 + j) as f32).sin()).sum::<f32>()
            + noise.data()[i]
    })
}

/// An `.npy` file.
fn npy(table: &Tensor<f32>, kind: &str, by_columns: bool) -> Vec<u8> {
    let [rows, width] = table.shape()[..] else { panic!("a matrix") };
    let order = if by_columns { "True" } else { "False" };
    let header =
        format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({rows}, {width}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{header:<117}\n");
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    let place = |i: usize| if by_columns { i % rows * width + i / rows } else { i };
    for i in 0..rows * width {
        let x = table.data()[place(i)];
        match kind {
            "<f2" => bytes.extend(half::f16::from_f32(x).to_le_bytes()),
            "<f4" => bytes.extend(x.to_le_bytes()),
            ">f4" => bytes.extend(x.to_be_bytes()),
            "<f8" => bytes.extend(f64::from(x).to_le_bytes()),
            other => panic!("{other}"),
        }
    }
    bytes
}

fn word(row: usize) -> String {
    if row == 3 { "two words".into() } else { format!("w{row}") }
}

/// A word and its numbers a line.
fn text(table: &Tensor<f32>, header: bool) -> String {
    let [rows, width] = table.shape()[..] else { panic!("a matrix") };
    let mut text = if header { format!("{rows} {width}\n") } else { String::new() };
    for (i, row) in table.rows().enumerate() {
        let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
        text += &format!("{} {}\n", word(i), numbers.join(" "));
    }
    text
}

/// word2vec's binary form.
fn word2vec(table: &Tensor<f32>) -> Vec<u8> {
    let [rows, width] = table.shape()[..] else { panic!("a matrix") };
    let mut bytes = format!("{rows} {width}\n").into_bytes();
    for (i, row) in table.rows().enumerate() {
        bytes.extend(format!("w{i} ").as_bytes());
        bytes.extend(row.iter().flat_map(|x| x.to_le_bytes()));
        bytes.push(b'\n');
    }
    bytes
}

fn safetensors(tensors: &[(&str, &Tensor<f32>, safetensors::Dtype)]) -> Vec<u8> {
    use safetensors::Dtype;
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, table, dtype)| match dtype {
            Dtype::F32 => table.data().iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::F64 => table.data().iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
            Dtype::F16 => {
                table.data().iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()
            }
            _ => table.data().iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, table, dtype), bytes)| {
        let shape = table.shape().to_vec();
        (name.to_string(), safetensors::tensor::TensorView::new(*dtype, shape, bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

const SMALL: &str = "--groups 4 --codebook-size 16 --parts 2";

#[test]
fn every_format_gives_the_same_table() {
    use safetensors::Dtype;
    let folder = Folder::new();
    let table = table(300, 12);
    folder.write("c.npy", npy(&table, "<f4", false));
    let compress = |name: &str, flags: &str| {
        let run = format!("compress {name} out {SMALL} --no-words --quiet {flags}");
        folder.out(run.trim_end());
        fs::read(folder.at("out")).unwrap()
    };
    let expected = compress("c.npy", "");
    for (name, bytes) in [
        ("fortran.npy", npy(&table, "<f4", true)),
        ("big", npy(&table, ">f4", false)),
        ("double.npy", npy(&table, "<f8", true)),
        ("one.safetensors", safetensors(&[("x", &table, Dtype::F32)])),
        ("double.safetensors", safetensors(&[("x", &table, Dtype::F64)])),
        ("header.txt", text(&table, true).into_bytes()),
        ("glove.txt", text(&table, false).into_bytes()),
        ("crlf.txt", text(&table, false).replace('\n', "\r\n").into_bytes()),
        ("marked.txt", format!("\u{feff}{}", text(&table, true)).into_bytes()),
        ("vectors.bin", word2vec(&table)),
    ] {
        folder.write(name, bytes);
        assert!(compress(name, "") == expected, "{name}");
    }
    let two = [("a", &table, Dtype::F32), ("b", &Tensor::zeros([2, 3]), Dtype::F32)];
    folder.write("two.safetensors", safetensors(&two));
    assert!(compress("two.safetensors", "--tensor a") == expected);
    let fault = folder.fault("compress two.safetensors out");
    assert!(
        fault.ends_with("found 2 matrices, expected --tensor with one of [\"a\", \"b\"]"),
        "{fault}"
    );

    // Numbers of 16 bits are other numbers, the same ones in both formats.
    let half = Tensor::from_fn([300, 12], |i| half::f16::from_f32(table.data()[i]).to_f32());
    folder.write("half.npy", npy(&table, "<f2", false));
    folder.write("half.safetensors", safetensors(&[("x", &table, Dtype::F16)]));
    folder.write("rounded.npy", npy(&half, "<f4", false));
    let expected = compress("rounded.npy", "");
    assert!(compress("half.npy", "") == expected);
    assert!(compress("half.safetensors", "") == expected);
    let brain = Tensor::from_fn([300, 12], |i| half::bf16::from_f32(table.data()[i]).to_f32());
    folder.write("brain.safetensors", safetensors(&[("x", &table, Dtype::BF16)]));
    folder.write("rounded.npy", npy(&brain, "<f4", false));
    assert!(compress("brain.safetensors", "") == compress("rounded.npy", ""));
}

#[test]
fn words_are_kept_and_found() {
    let folder = Folder::new();
    let table = table(100, 8);
    folder.write("glove.txt", text(&table, false));
    folder.out(&format!("compress glove.txt out {SMALL} --quiet"));
    let compact = CompactEmbedding::<f32>::load(folder.at("out")).unwrap();
    assert_eq!(compact.names().unwrap().id("two words"), Some(3));
    let line = |row: u32, name: &str| {
        let numbers = compact.lookup(&[row]).unwrap();
        let numbers: Vec<String> = numbers.data().iter().map(f32::to_string).collect();
        format!("{name} {}\n", numbers.join(" "))
    };
    assert_eq!(folder.out("lookup out w7 12"), line(7, "w7") + &line(12, "w12"));
    let found = folder.out("neighbours out w7 --count 3");
    assert_eq!(found.lines().count(), 3);
    assert!(found.lines().all(|line| line.split_once("  w").is_some()), "{found}");
    let fault = String::from_utf8(folder.run("lookup out nobody").stderr).unwrap();
    assert_eq!(fault, "error: word = nobody: expected a word of the table, or a row of 0..100\n");
    let shown = folder.out("inspect out");
    assert!(
        shown.starts_with("100 rows of width 8\n4 codes below 16 a row, 2 to each of 2 parts"),
        "{shown}"
    );
    let bytes = fs::metadata(folder.at("out")).unwrap().len();
    assert!(shown.contains(&format!("{bytes:>12} bytes\n")), "{shown}");

    // Words from a file of their own, for a table that has none.
    folder.write("table.npy", npy(&table, "<f4", false));
    let words: String = (0..100).map(|row| word(row) + "\n").collect();
    folder.write("words.txt", words.trim_end());
    folder.out(&format!("compress table.npy other {SMALL} --words words.txt --quiet"));
    assert!(fs::read(folder.at("other")).unwrap() == fs::read(folder.at("out")).unwrap());
    folder.write("words.txt", "one\ntwo");
    let fault = folder.fault(&format!("compress table.npy other {SMALL} --words words.txt"));
    assert_eq!(fault, "words.txt: found 2 lines, expected 100, a word for each row of table.npy");
}

#[test]
fn sizes_are_kept_and_figures_are_those_of_the_file() {
    let folder = Folder::new();
    let table = table(2000, 24);
    folder.write("table.npy", npy(&table, "<f4", false));
    folder.write("table.txt", text(&table, true));
    let full = 4 * 2000 * 24;
    for (input, size) in [
        ("table.npy", "--ratio 12"),
        ("table.npy", "--bytes 15000"),
        ("table.txt", "--bytes 30000"),
        ("table.txt", "--ratio 12 --method pq"),
        ("table.npy", "--ratio 5 --method scalar"),
        ("table.npy", "--ratio 5 --method low-rank"),
        ("table.npy", ""),
    ] {
        let found = folder.json(format!("compress {input} out {size}").trim_end());
        let bytes = fs::metadata(folder.at("out")).unwrap().len();
        assert_eq!(found["bytes"].as_u64(), Some(bytes), "{size}");
        let parts = found["parts"].as_object().unwrap();
        assert_eq!(parts.values().map(|part| part.as_u64().unwrap()).sum::<u64>(), bytes, "{size}");
        let words = parts.get("words").map_or(0, |words| words.as_u64().unwrap());
        assert_eq!(words > 0, input == "table.txt");
        let ratio = found["ratio"].as_f64().unwrap();
        assert!((ratio - full as f64 / (bytes - words) as f64).abs() < 1e-9);
        match size.split(' ').collect::<Vec<_>>()[..] {
            ["--ratio", least, ..] => assert!(ratio >= least.parse().unwrap(), "{size}: {ratio}"),
            ["--bytes", most, ..] => assert!(bytes <= most.parse().unwrap(), "{size}: {bytes}"),
            _ => assert!(ratio >= 20.0, "{ratio}"),
        }
        let again = folder.json(&format!("evaluate {input} out"));
        for key in ["bytes", "ratio", "relative_squared_error", "mean_cosine", "neighbours_at_10"] {
            assert_eq!(again[key], found[key], "{size}: {key}");
        }
        assert_eq!(again["parts"], found["parts"]);
        let beside = found["beside"].as_array().unwrap();
        assert_eq!(beside.len(), 2);
        assert!(
            beside[0]["relative_squared_error"].as_f64()
                < beside[1]["relative_squared_error"].as_f64()
        );
    }
    let small = folder.fault("compress table.npy out --bytes 900");
    assert!(small.starts_with("bytes of codes and codewords = 100: expected at least "), "{small}");
    let words = folder.fault("compress table.txt out --bytes 900");
    assert!(words.starts_with("bytes = 900: expected a file of more than "), "{words}");
}

#[test]
fn training_codes_together_is_the_best_of_the_methods() {
    let folder = Folder::new();
    folder.write("table.npy", npy(&table(3000, 24), "<f4", false));
    let error = |method: &str| {
        let found = folder.json(&format!("compress table.npy out --ratio 16 --method {method}"));
        found["relative_squared_error"].as_f64().unwrap()
    };
    let [dpq, additive, pq, low_rank] = ["dpq", "additive", "pq", "low-rank"].map(error);
    assert!(dpq < additive && dpq < pq && dpq < low_rank, "{dpq} {additive} {pq} {low_rank}");
    let restarts = folder.json("compress table.npy out --ratio 16 --method pq --restarts 3");
    assert!(restarts["relative_squared_error"].as_f64().unwrap() <= pq);
    // The factors of a table are found.
    let thin = Tensor::from_fn([200, 10], |i| ((i / 10) as f32).sin() * ((i % 10) as f32).cos());
    folder.write("thin.npy", npy(&thin, "<f4", false));
    let found = folder.json("compress thin.npy out --method low-rank --rank 1");
    assert!(found["relative_squared_error"].as_f64().unwrap() < 1e-12);
    assert_eq!(folder.out("lookup out 5").split(' ').count(), 11);
}

#[test]
fn results_depend_on_the_seed_alone() {
    let folder = Folder::new();
    folder.write("table.npy", npy(&table(3000, 8), "<f4", false));
    let run = |flags: &str| {
        folder.out(&format!("compress table.npy out --ratio 8 --quiet {flags}"));
        fs::read(folder.at("out")).unwrap()
    };
    let first = run("--threads 1");
    assert!(first == run("--threads 3"));
    assert!(first != run("--seed 1"));
    // Trained on some of the rows, and all of them encoded.
    let sampled = run("--sample 500");
    assert!(sampled == run("--sample 500 --threads 3") && sampled != first);
    let compact = CompactEmbedding::<f32>::load(folder.at("out")).unwrap();
    assert_eq!(compact.vocabulary(), 3000);
    let all = folder.json("compress table.npy out --ratio 8");
    let some = folder.json("compress table.npy out --ratio 8 --sample 1500");
    let error = |found: &Value| found["relative_squared_error"].as_f64().unwrap();
    assert!(error(&all) < error(&some) && error(&some) < 1.5 * error(&all), "{all} {some}");
    // Without time the start is the result.
    let given = |flags: &str| {
        folder.out(&format!("compress table.npy out {SMALL} --quiet {flags}"));
        fs::read(folder.at("out")).unwrap()
    };
    assert!(given("--time 0") == given("--method additive"));
    assert!(given("--time 0") != given("--time 60"));
}

#[test]
fn heavy_rows_are_kept_better_and_light_ones_may_share() {
    let folder = Folder::new();
    let table = table(1000, 8);
    folder.write("table.txt", text(&table, false));
    let weights: String = (0..1000)
        .rev()
        .map(|row| format!("{} {}\n", word(row), 1 + 99 * u32::from(row < 50)))
        .collect();
    folder.write("weights.txt", weights + "unknown 7\n");
    let error_of_first = |flags: &str| {
        folder.out(format!("compress table.txt out --ratio 8 --quiet {flags}").trim_end());
        let rows = CompactEmbedding::<f32>::load(folder.at("out")).unwrap();
        let rows = rows.lookup(&(0..50).collect::<Vec<_>>()).unwrap();
        rows.data().iter().zip(table.data()).map(|(y, x)| (y - x).powi(2)).sum::<f32>()
    };
    let plain = error_of_first("");
    assert!(error_of_first("--weights weights.txt") < 0.8 * plain);
    folder.write("weights.txt", "w1 many\n");
    let fault = folder.fault("compress table.txt out --weights weights.txt");
    assert_eq!(
        fault,
        "weights.txt: found line 1: \"many\", expected a weight: 0, or 1e-10 to 1e15"
    );

    folder.out(&format!("compress table.txt out {SMALL} --keep 200 --quiet"));
    let compact = CompactEmbedding::<f32>::load(folder.at("out")).unwrap();
    assert_eq!((compact.vocabulary(), compact.codes().rows()), (1000, 200));
    let rows = compact.row_of_ids().unwrap();
    assert!(rows[..200].iter().copied().eq(0..200));
    let distance = |a: usize, b: usize| -> f32 {
        let row = |i: usize| &table.data()[i * 8..][..8];
        row(a).iter().zip(row(b)).map(|(x, y)| (x - y).powi(2)).sum()
    };
    for row in [200, 555, 999] {
        let nearest = (0..200).min_by(|&a, &b| distance(row, a).total_cmp(&distance(row, b)));
        assert_eq!(Some(rows[row] as usize), nearest);
    }
    assert_eq!(folder.out("lookup out w555").split_once(' ').unwrap().0, "w555");
    assert!(folder.out("inspect out").contains("shared rows"));
    let fault = folder.fault("compress table.txt out --keep 1001");
    assert_eq!(fault, "keep = 1001: expected 1 to 1000");
}

#[test]
fn a_page_shows_what_was_tried() {
    let folder = Folder::new();
    folder.write("table.npy", npy(&table(500, 12), "<f4", false));
    folder.out("compress table.npy out --ratio 8 --report page.html --quiet");
    let page = fs::read_to_string(folder.at("page.html")).unwrap();
    for expected in [
        "<svg",
        "relative squared error",
        "Use of codewords",
        "error when tried",
        "4 bits an element",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    // Complete in itself: nothing is fetched.
    let addresses = page.matches("http").count();
    assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    folder.write("table.npy", npy(&table(20, 8), "<f4", false));
    for (arguments, expected) in [
        ("compress table.npy table.npy", "expected another file to write"),
        ("compress table.npy out --report out", "expected another file for it"),
        ("compress table.npy out --report table.npy", "expected another file to write"),
        (
            "compress table.npy out --method pq --parts 2 --groups 2 --codebook-size 4",
            "method = pq: expected one that has --parts",
        ),
        (
            "compress table.npy out --method scalar --sample 3",
            "method = scalar: expected one that has --sample",
        ),
        (
            "compress table.npy out --groups 1000000000000 --codebook-size 256 --parts 1",
            "groups = 1000000000000: expected at most",
        ),
        ("compress nothing.npy out", "nothing.npy: No such file"),
        ("compress . out", "a folder"),
        ("compress table.npy out --ratio 0.5", "ratio = 0.5: expected more than 1"),
        (
            "compress table.npy out --groups 3 --codebook-size 16 --parts 2",
            "groups = 3: expected a multiple of the 2 parts",
        ),
        (
            "compress table.npy out --groups 3 --codebook-size 16 --method pq",
            "parts = 3: expected a divisor of the width 8",
        ),
        (
            "compress table.npy out --groups 2 --codebook-size 70000",
            "codebook size = 70000: expected 2 to 65536",
        ),
        ("compress table.npy out --bits 3 --method scalar", "bits = 3: expected 8, 4 or 2"),
        ("compress table.npy out --rank 9 --method low-rank", "rank = 9: expected 1 to 8"),
        ("compress table.npy out --bits 4", "method = dpq: expected one that has --bits"),
        ("compress table.npy out --threads 0", "threads = 0: expected at least 1"),
        ("compress table.npy none/out", "none"),
        ("evaluate table.npy table.npy", "table.npy: found"),
    ] {
        let fault = folder.fault(arguments);
        assert!(fault.contains(expected), "{arguments}: {fault}");
        assert!(!folder.at("out").exists(), "{arguments}");
    }
    let both = folder.run("compress table.npy out --ratio 8 --bytes 900");
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

/// Two hundred damaged tables of all formats.
#[test]
fn damaged_tables_are_told_with_file_and_place() {
    let folder = Folder::new();
    let table = table(12, 4);
    let lines = |change: &dyn Fn(usize, &str) -> String, header: bool| {
        let text = text(&table, header);
        let changed: Vec<String> =
            text.lines().enumerate().map(|(i, line)| change(i, line)).collect();
        changed.join("\n").into_bytes()
    };
    let mut damaged: Vec<(&str, Vec<u8>, String)> = Vec::new();
    for at in 0..12 {
        let on = |found: String| {
            move |i: usize, line: &str| if i == at { found.clone() } else { line.to_string() }
        };
        for header in [false, true] {
            if header && at == 0 {
                continue;
            }
            let number = at + 1;
            let line = move |what: &str| format!("line {number}: {what}");
            let short = "w 1 2 3".to_string();
            if at > 0 {
                damaged.push(("t.txt", lines(&on(short), header), line("3 numbers")));
            }
            damaged.push((
                "t.txt",
                lines(&on("w 1 2 x 4".into()), header),
                if at == 0 { "line".into() } else { line("\"x\" as number 3") },
            ));
            damaged.push((
                "t.txt",
                lines(&on("w 1 2 nan 4".into()), header),
                line("NaN as number 3"),
            ));
            damaged.push((
                "t.txt",
                lines(&on("w 1e60 2 3 4".into()), header),
                line("inf as number 1"),
            ));
            if (1..11).contains(&at) {
                damaged.push(("t.txt", lines(&on(String::new()), header), line("0 numbers")));
                damaged.push(("t.txt", lines(&on("1 2 3 4".into()), header), line("3 numbers")));
            }
        }
        let twice = |i: usize, line: &str| {
            if i == at { line.replacen(&word(i), "w5", 1) } else { line.to_string() }
        };
        if at != 5 {
            damaged.push(("t.txt", lines(&twice, false), "w5".into()));
        }
    }
    damaged.push((
        "t.txt",
        lines(&|i, line| if i == 0 { "13 4".into() } else { line.into() }, true),
        "12 rows".into(),
    ));
    damaged.push(("t.txt", b"\n\n".to_vec(), "line 1".into()));
    damaged.push(("t.txt", Vec::new(), "no rows".into()));
    damaged.push(("t.txt", b"just a sentence\n".to_vec(), "no numbers".into()));
    damaged.push(("t.txt", b"w\xff 1 2\n".to_vec(), "line 1".into()));
    let npy = npy(&table, "<f4", false);
    for at in (0..npy.len()).step_by(7) {
        damaged.push(("t.npy", npy[..at].to_vec(), String::new()));
    }
    let infinite = {
        let mut bytes = npy.clone();
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&[0x80, 0x7f]);
        bytes
    };
    damaged.push(("t.npy", infinite, "in row 11, column 3".into()));
    let text = |old: &str, new: &str| {
        let text: Vec<u8> = npy.clone();
        let at = text.windows(old.len()).position(|w| w == old.as_bytes()).unwrap();
        [&text[..at], new.as_bytes(), &text[at + old.len()..]].concat()
    };
    damaged.push(("t.npy", text("<f4", "<i4"), "numbers of type <i4".into()));
    damaged.push(("t.npy", text("(12, 4)", "(48,  )"), "an array of shape (48,  )".into()));
    damaged.push(("t.npy", text("(12, 4)", "(99, 4)"), "those of 99 x 4".into()));
    let bin = word2vec(&table);
    for at in (0..bin.len()).step_by(13) {
        damaged.push(("t.bin", bin[..at].to_vec(), String::new()));
    }
    damaged.push(("t.bin", [&bin[..], b"more"].concat(), "bytes after row 11".into()));
    let st = safetensors(&[("x", &table, safetensors::Dtype::F32)]);
    for at in (0..st.len()).step_by(9) {
        damaged.push(("t.safetensors", st[..at].to_vec(), String::new()));
    }
    assert!(damaged.len() >= 200, "{}", damaged.len());
    for (name, bytes, place) in damaged {
        // A shorter text may be a table; one whose first row is cut is not.
        folder.write(name, &bytes);
        let output = folder.run(&format!("compress {name} out {SMALL} --quiet"));
        let fault = String::from_utf8_lossy(&output.stderr).to_string();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).to_string();
        assert_eq!(output.status.code(), Some(1), "{name} {shown:?} {}: {fault}", bytes.len());
        assert!(fault.starts_with(&format!("error: {name}: found ")), "{shown:?}: {fault}");
        assert!(
            fault.contains(&place) && fault.contains("expected"),
            "{shown:?}: {fault}, not {place}"
        );
        assert!(!Path::new(&folder.at("out")).exists());
    }
}

/// The lines of Python that stand in the README, as they are.
#[test]
fn lines_for_python_in_the_readme_run() {
    let python = std::env::var("DPQ_PYTHON").unwrap_or_else(|_| "python3".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let file = |name: &str| fs::read_to_string(root.join("examples/readers").join(name)).unwrap();
    let reader = file("read_numpy.py");
    let folder = Folder::new();
    folder.write("table.npy", npy(&table(3000, 12), "<f4", false));
    folder.out("compress table.npy table.dpq --ratio 6 --quiet");
    let check = "\nassert abs(found - read_table('vectors.dpq')).max() == 0\n\
                 error = ((found - table) ** 2).sum() / (table ** 2).sum()\nassert 0 < error < 0.9, error\n";
    let gensim =
        format!("found = vectors.vectors{check}assert len(vectors.most_similar('w7')) == 10\n");
    let spacy = format!(
        "found = nlp.vocab.vectors.data{check}assert (nlp('w7').vector == found[7]).all()\n"
    );
    let torch = "
table = read_table('table.dpq')
layer = CompactEmbedding('table.dpq')
found = layer(torch.tensor([[3, 1], [4, 2999]]))
assert found.shape == (2, 2, 12)
assert abs(found.detach().numpy() - table[[[3, 1], [4, 2999]]]).max() < 1e-5
optimizer = torch.optim.SGD(layer.parameters(), 50.0)
losses = []
for _ in range(20):
    loss = (layer(torch.arange(50)) ** 2).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    losses.append(loss.item())
assert losses[-1] < 0.5 * losses[0], losses
";
    let start =
        "import numpy\ntable = numpy.load('table.npy')\nwords = [f'w{i}' for i in range(3000)]\n";
    let of_gensim = "from gensim.models import KeyedVectors\nvectors = KeyedVectors(12)\nvectors.add_vectors(words, table)\n";
    let of_spacy = "import spacy\nnlp = spacy.blank('en')\nfor word, row in zip(words, table): nlp.vocab.set_vector(word, row)\ntable = nlp.vocab.vectors.data[:3000].copy()\nnlp.vocab.vectors.resize((3000, 12))\n";
    for (module, name, before, after) in [
        ("torch", "compact_torch.py", "", torch),
        ("gensim", "gensim_vectors.py", of_gensim, &gensim[..]),
        ("spacy", "spacy_vectors.py", of_spacy, &spacy[..]),
    ] {
        let lines = file(name);
        assert!(readme.contains(&format!("```python\n{lines}```")), "{name} is not in the README");
        let import = format!("import numpy, safetensors, {module}");
        let tried = Command::new(&python).args(["-c", &import]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            println!("skipped {name}: {python} has no {module} with numpy and safetensors");
            continue;
        }
        let path = Path::new(env!("CARGO_BIN_EXE_dpq")).parent().unwrap().display().to_string();
        let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
        let source = format!("{reader}\n{start}{before}{lines}{after}");
        let run = Command::new(&python)
            .args(["-c", &source])
            .env("PATH", path)
            .current_dir(folder.0.path())
            .output();
        let run = run.unwrap();
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        println!("{name}: run");
    }
}
