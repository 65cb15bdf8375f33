//! Runs of `mpirun`: the same losses on any number of ranks, ends that are clean, and one line where something is
//! wrong. Where there is no `mpirun` they say so and pass.

use dpq::train::LATEST;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lstm_lm_mpi");

/// `mpirun` with so many ranks, of which each may have flags of its own.
fn ranks(program: &str, flags: &[&[&str]]) -> Option<Command> {
    if Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("mpirun is missing: skipped");
        return None;
    }
    let mut command = Command::new("mpirun");
    // Open MPI starts more ranks than cores, and as root, only if it is told to.
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        command.env(name, "1");
    }
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1").env("RAYON_NUM_THREADS", "1");
    for (i, flags) in flags.iter().enumerate() {
        if i > 0 {
            command.arg(":");
        }
        command.args(["-n", "1", program]).args(*flags);
    }
    Some(command)
}

fn same(ranks_wanted: usize, flags: &[&str]) -> Option<Command> {
    ranks(PROGRAM, &vec![flags; ranks_wanted])
}

#[track_caller]
fn finished(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// The mean loss after every step, by epoch and step.
fn losses(file: &Path) -> BTreeMap<(usize, usize), f64> {
    let text = fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        ((words[0].parse().unwrap(), words[1].parse().unwrap()), words[2].parse().unwrap())
    };
    text.lines().map(line).collect()
}

#[track_caller]
fn agree(found: &BTreeMap<(usize, usize), f64>, expected: &BTreeMap<(usize, usize), f64>) {
    assert!(!found.is_empty());
    for (step, loss) in found {
        let other = expected[step];
        assert!((loss - other).abs() <= 1e-6 * other, "{step:?}: {loss} beside {other}");
    }
}

#[test]
fn losses_are_those_of_one_rank() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("losses");
    let path = file.to_str().unwrap();
    for embedding in ["full", "sx", "vq"] {
        let flags = ["--epochs", "1", "--steps", "40", "--optimizer", "adam", "--dropout", "0.2"];
        let flags = [&flags[..], &["--embedding", embedding, "--losses", path]].concat();
        let mut alone = None;
        for number in [1, 2, 4] {
            let Some(mut command) = same(number, &flags) else { return };
            let printed = finished(&mut command);
            print!("{embedding}: {}", printed.lines().last().unwrap_or_default());
            println!();
            let found = losses(&file);
            agree(&found, alone.get_or_insert_with(|| found.clone()));
        }
    }
}

#[test]
fn a_rank_that_dies_ends_all_and_the_run_goes_on_from_the_checkpoint() {
    let kills: u32 = std::env::var("DPQ_KILLS").map_or(2, |kills| kills.parse().expect("a number"));
    let straight = tempdir().unwrap();
    let file = straight.path().join("losses");
    let run = |folder: &Path, losses: &Path, more: &[&str]| -> Vec<String> {
        let flags =
            ["--epochs", "2", "--steps", "80", "--optimizer", "adam", "--save-every", "0.1"];
        let paths = ["--out", folder.to_str().unwrap(), "--losses", losses.to_str().unwrap()];
        [&flags[..], &paths, more].concat().into_iter().map(String::from).collect()
    };
    let start = |number: usize, flags: &[String]| {
        same(number, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let Some(mut command) = start(2, &run(straight.path(), &file, &[])) else { return };
    finished(&mut command);
    let expected = losses(&file);
    for kill in 0..kills {
        let folder = tempdir().unwrap();
        let file = folder.path().join("losses");
        let flags = run(folder.path(), &file, &[]);
        let mut command = start(2, &flags).unwrap();
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At moments after the first checkpoint, which is written before the first step.
        let began = Instant::now();
        while !folder.path().join(LATEST).is_file() {
            assert!(began.elapsed() < Duration::from_secs(60), "no checkpoint");
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(u64::from(kill) * 37 % 400));
        let rank = victim(folder.path(), kill % 2 == 0);
        let killed = Instant::now();
        let Some(rank) = rank else { panic!("no rank is running") };
        assert!(Command::new("kill").args(["-9", &rank]).status().unwrap().success());
        assert!(!running.wait().unwrap().success());
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
        assert!(victim(folder.path(), true).is_none(), "a rank is left");
        // Another number of ranks goes on.
        for number in [1, 4].into_iter().cycle().skip(kill as usize).take(1) {
            finished(&mut start(number, &run(folder.path(), &file, &["--resume"])).unwrap());
            agree(&losses(&file), &expected);
        }
    }
}

/// A running rank that was started with this folder: the first or the last.
fn victim(folder: &Path, first: bool) -> Option<String> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.starts_with(PROGRAM) && command.contains(folder) {
            found.push(entry.file_name().to_string_lossy().parse::<u32>().unwrap());
        }
    }
    found.sort_unstable();
    if first { found.first() } else { found.last() }.map(u32::to_string)
}

/// What a run that cannot start says, and that it says no more.
#[track_caller]
fn refusal(output: Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("lstm_lm_mpi")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_string()
}

#[test]
fn bad_starts_are_told_in_a_line() {
    let folder = tempdir().unwrap();
    let text = |name: &str, text: &str| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        for part in ["train", "valid", "test"] {
            fs::write(folder.join(format!("{part}.txt")), text.repeat(400)).unwrap();
        }
        folder.to_str().unwrap().to_string()
    };
    let (one, other) = (text("one", "a b c\n"), text("other", "a c b\n"));
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let out = out.to_str().unwrap();
    let short = ["--epochs", "1", "--batch", "4", "--window", "5"];
    let with = |more: &[&str]| -> Vec<String> {
        short.iter().chain(more).map(|flag| flag.to_string()).collect()
    };
    let said = |flags: [Vec<String>; 2]| {
        let flags =
            flags.each_ref().map(|flags| flags.iter().map(String::as_str).collect::<Vec<_>>());
        let mut command = ranks(PROGRAM, &flags.each_ref().map(Vec::as_slice))?;
        Some(refusal(command.output().unwrap()))
    };
    let Some(line) = said([with(&["--data", &one]), with(&["--data", &other])]) else { return };
    assert!(line.starts_with("lstm_lm_mpi: rank 1 has the setting setting.data "), "{line}");
    let line = said([with(&["--data", &one]), with(&["--data", "missing"])]).unwrap();
    assert!(line.starts_with("lstm_lm_mpi: rank 1: missing"), "{line}");
    let line = said([with(&["--groups", "8"]), with(&["--groups", "4"])]).unwrap();
    assert!(line.contains("rank 1 has the setting setting.codes 4 16"), "{line}");
    let line = said([with(&[]), with(&["--epochs", "1"])]).unwrap();
    assert!(line.contains("rank 1: the argument '--epochs <N>' cannot be used"), "{line}");
    let line = said([with(&["--resume"]), with(&["--resume"])]).unwrap();
    assert!(line.contains("rank 0: --resume: expected --out"), "{line}");

    let first = with(&["--data", &one, "--out", out]);
    let Some(mut command) = same(2, &first.iter().map(String::as_str).collect::<Vec<_>>()) else {
        return;
    };
    finished(&mut command);
    let other_model = with(&["--data", &one, "--out", out, "--resume", "--width", "32"]);
    let line = said([other_model.clone(), other_model]).unwrap();
    assert!(line.starts_with("lstm_lm_mpi: rank 0: ") && line.contains("checkpoint"), "{line}");
}

#[test]
fn what_a_step_costs_is_what_was_counted() {
    let flags: &[&str] = &["--words", "4000"];
    let Some(mut command) = ranks(env!("CARGO_BIN_EXE_cost"), &[flags; 2]) else { return };
    let printed = finished(&mut command);
    // What is left when all parts are taken away: eight bytes for each parameter.
    let rests = printed.lines().filter_map(|line| line.trim().strip_prefix("numbers of rows"));
    let rests: Vec<u64> = rests.map(|rest| rest.trim().parse().unwrap()).collect();
    assert_eq!(rests, [72, 88, 72, 88], "{printed}");
}
