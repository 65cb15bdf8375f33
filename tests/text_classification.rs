//! The example `text_classification` as its users see it: the forms that it reads, what it refuses, and
//! that what it saves labels as what it trained. `cargo test` builds it.

mod program;

use dpq::io::{StoredTensor, save_tensors};
use dpq::{CodeTable, CompactEmbedding, DpqConfig, Params, Tensor};
use program::{program, refusal, stdout};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::tempdir;

fn run(arguments: &str, paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(program("text_classification"));
    command.args(["--threads", "1"]).args(arguments.split_whitespace());
    if !arguments.contains("--max-bytes") {
        command.args(["--preset", "tiny"]);
    }
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    command.output().unwrap()
}

/// Texts whose label is told by one word, in one of the forms.
fn texts(count: usize, row: impl Fn(&str, &str) -> String) -> String {
    (0..count)
        .map(|i| {
            let (label, word) = [("cold", "snow"), ("warm", "sun")][i % 2];
            row(label, &format!("the {word} of day {}", i % 7))
        })
        .collect()
}

fn tabs(label: &str, text: &str) -> String {
    format!("{label}\t{text}\n")
}

#[test]
fn every_form_is_read_alike() {
    type Row = fn(&str, &str) -> String;
    let forms: [(&str, Row); 4] = [
        ("a.tsv", tabs),
        ("a.txt", |label, text| format!("__label__{label} {text}\n")),
        ("a.csv", |label, text| format!("\"{label}\",\"{text}\"\n")),
        ("b.csv", |label, text| {
            let (title, rest) = text.split_at(4);
            format!("{label},\"{title}\",{rest}\r\n")
        }),
    ];
    let folder = tempdir().unwrap();
    let figures = forms.map(|(name, row)| {
        let path = folder.path().join(name);
        fs::write(&path, texts(400, row)).unwrap();
        let out = stdout(&run("--embedding full,vq --epochs 4 --quiet", &[("--data", &path)]));
        // Times and memory differ.
        let figures =
            |line: &str| line.split_whitespace().take(5).map(String::from).collect::<Vec<_>>();
        out.lines().skip(2).take(2).map(figures).collect::<Vec<_>>()
    });
    assert!(figures.iter().all(|own| *own == figures[0]), "{figures:?}");
    assert_eq!(figures[0][0][1..3], ["100.00%", "100.00%"]);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let plain = |count| texts(count, tabs);
    let refused = |files: &[(&str, String)]| {
        let _ = fs::remove_dir_all(&data);
        fs::create_dir(&data).unwrap();
        for (name, text) in files {
            fs::write(data.join(name), text).unwrap();
        }
        refusal(&run("--embedding full --epochs 1 --quiet", &[("--data", &data)]), &folder)
    };
    for (files, expected) in [
        (
            vec![("train.tsv", plain(70) + "cold snow\n")],
            "error: data/train.tsv: found line 71: no tab in \"cold snow\", expected label<TAB>text",
        ),
        (
            vec![("train.tsv", plain(70) + "\tsnow\n")],
            "error: data/train.tsv: found line 71: an empty label, expected a label",
        ),
        (
            vec![("train.tsv", plain(70)), ("test.tsv", "mild\tfog\n".into())],
            "error: data/test.tsv: found line 1: label \"mild\", expected one of the training texts: \
             cold, warm",
        ),
        (
            vec![(
                "train.csv",
                texts(70, |a, b| format!("{a},\"{b}\"\n")) + "cold,\"no end\nof it\n",
            )],
            "error: data/train.csv: found line 71: a quoted field that never ends, expected its closing \
             quote",
        ),
        (
            vec![("train.csv", "cold\n".repeat(70))],
            "error: data/train.csv: found line 1: one column, \"cold\", expected class,text",
        ),
        (
            vec![("a.tsv", plain(70)), ("b.tsv", plain(70))],
            "error: data: found no file for train among a.tsv, b.tsv, expected train.tsv, train.csv or \
             train.txt",
        ),
        (
            vec![("train.tsv", "cold\tsnow\n".repeat(70))],
            "error: data: found 57 texts of 1 labels, expected at least 2 labels, and 20 texts to split",
        ),
        (
            vec![("train.tsv", plain(70)), ("train.csv", "a,b\n".into())],
            "error: data: found train.csv and train.tsv, expected one of them",
        ),
        (
            vec![("my_train.tsv", plain(70)), ("train_dev.tsv", plain(9))],
            "error: data/train_dev.tsv: found a name that fits two parts, expected train, valid or test in \
             it",
        ),
        (
            vec![("train.tsv", plain(70)), ("test.tsv", "\n".into())],
            "error: data/test.tsv: found no texts, expected a label and a text a line",
        ),
        (
            vec![("train.txt", "__label__a __label__b both\n".into())],
            "error: data/train.txt: found line 1: more than one label, expected one label a text",
        ),
    ] {
        assert_eq!(refused(&files), expected);
    }
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("train.tsv"), [&b"a\tb\n"[..], &[0xff], b"\n"].concat()).unwrap();
    let output = run("--quiet", &[("--data", &data)]);
    assert_eq!(
        refusal(&output, &folder),
        "error: data/train.tsv: found line 2: a byte that is no UTF-8, expected UTF-8 text"
    );
    let output = run("--embedding full,int8 --quiet", &[]);
    assert!(refusal(&output, &folder).ends_with("expected full, sx, vq, random or low-rank"));
    // A quote within a field, a label that is there once, names with part of a part's.
    let rare = texts(300, |a, b| format!("{a},{b}\n")) + "once,a 5\" pipe\n";
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("latest.csv"), rare).unwrap();
    stdout(&run("--embedding full --epochs 1 --quiet", &[("--data", &data)]));
    for (flags, expected) in [
        ("--learning-rate 1e-50", "a positive number that single precision holds"),
        ("--dropout 0.9999999999", "0 to below 1"),
        ("--pairs 4000000000", "at most 16777216"),
    ] {
        let message = refusal(&run(&format!("{flags} --quiet"), &[]), &folder);
        assert!(message.ends_with(expected), "{message}");
    }
    let output = run("--word-dropout 1 --quiet", &[]);
    assert_eq!(refusal(&output, &folder), "error: word-dropout = 1: expected 0 to below 1");
}

#[test]
fn texts_without_words_blank_lines_and_very_long_texts_work() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.tsv");
    let long = format!("warm\t{}\n", "sun ".repeat(100_000));
    fs::write(&path, texts(200, tabs) + "cold\t\n\n\nwarm\t   \n" + &long).unwrap();
    let out = stdout(&run("--embedding sx --epochs 2 --quiet", &[("--data", &path)]));
    assert!(out.contains("sx"), "{out}");
}

#[test]
fn a_small_file_labels_as_what_was_trained_and_is_refused_when_damaged() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let printed = stdout(&run("--max-bytes 60000 --epochs 3 --quiet", &[("--out", &out)]));
    let file = out.join("classifier.safetensors");
    assert!(fs::metadata(&file).unwrap().len() <= 60_000, "{printed}");
    let predict = |file: &Path, input: &str| {
        let mut command = Command::new(program("text_classification"));
        command.arg("predict").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let labels = stdout(&predict(&file, "w0001 w0002\n\nw2999\n"));
    assert_eq!(labels.lines().count(), 3);
    assert!(
        labels
            .lines()
            .all(|label| ["birds", "boats", "bread", "chess", "clouds", "trains"].contains(&label))
    );

    // What comes before a line that is no text is labelled.
    let mut command = Command::new(program("text_classification"));
    command.arg("predict").arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"w0001\nw\xff\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        refusal(&output, &folder),
        "error: standard input: found line 2: a byte that is no UTF-8, expected UTF-8 text"
    );
    assert_eq!(str::from_utf8(&output.stdout).unwrap().lines().count(), 1);

    let whole = fs::read(&file).unwrap();
    let damaged = folder.path().join("damaged");
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&damaged, &whole[..length]).unwrap();
        let message = refusal(&predict(&damaged, "a\n"), &folder);
        assert!(message.starts_with("error: damaged: found "), "{message}");
    }
    let ignored = run("--max-bytes 60000 --groups 4", &[("--out", &out)]);
    assert_eq!(ignored.status.code(), Some(2), "a flag that would count for nothing");
    let few = run("--max-bytes 5000 --quiet", &[("--out", &out)]);
    let message = refusal(&few, &folder);
    assert_eq!(message, "error: max-bytes = 5000: expected enough for the layers and a few words");
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn a_file_is_refused_before_room_is_made_for_what_it_does_not_hold() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("wide");
    // The row of the unknown word, so wide that the hidden layer above it would take 40 GB.
    let values = Tensor::<f32>::zeros([1, 2, 100_000]);
    let table = CompactEmbedding::new(DpqConfig::sx(1, 2), CodeTable::pack(&[0], 1, 2), values);
    let no_words = vec![3, 0];
    let tensors = BTreeMap::from([
        ("embedding".to_string(), StoredTensor::from_bytes(table.unwrap().to_bytes())),
        ("layers".to_string(), StoredTensor::from_bytes(Params::<f32>::new().to_bytes())),
        ("words".to_string(), StoredTensor::from_bytes(no_words)),
    ]);
    let metadata = [("format", "dpq text classifier 1"), ("labels", r#"["a"]"#), ("pairs", "0")];
    save_tensors(&file, &tensors, &metadata).unwrap();
    let mut command = Command::new(program("text_classification"));
    let message = refusal(&command.arg("predict").arg(&file).output().unwrap(), &folder);
    assert!(message.starts_with("error: wide: found layers: "), "{message}");
    assert!(
        message.ends_with("for width 100000, expected all layers of a classifier"),
        "{message}"
    );
}

#[test]
fn a_stopped_run_goes_on_to_the_same_figures() {
    let folder = tempdir().unwrap();
    let models = |out: &Path| -> Vec<Value> {
        let text = fs::read_to_string(out.join("result.json")).unwrap();
        let run: Value = serde_json::from_str(&text).unwrap();
        let figures = |model: &Value| {
            ["embedding", "valid_accuracy", "test_accuracy", "table_bytes"]
                .map(|key| model[key].clone())
                .into()
        };
        run["models"].as_array().unwrap().iter().map(figures).collect()
    };
    let [straight, stopped] = ["straight", "stopped"].map(|name| folder.path().join(name));
    let flags = "--embedding full,sx --quiet --word-dropout 0.3";
    stdout(&run(&format!("{flags} --epochs 4"), &[("--out", &straight)]));
    stdout(&run(&format!("{flags} --epochs 2"), &[("--out", &stopped)]));
    stdout(&run(&format!("{flags} --epochs 4 --resume"), &[("--out", &stopped)]));
    assert_eq!(models(&straight), models(&stopped));
    let report = fs::read_to_string(straight.join("report.html")).unwrap();
    assert!(report.contains("Accuracy over epochs") && report.contains("Labels of the test texts"));
}
