//! What a report needs to know of files.

use super::{KnownRun, Measure, THIS_RUN};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The models of `result.json` in `out` and in the folders of `out/earlier`, and what could not be
/// read.
pub fn known_runs(out: &Path, measure: Measure) -> (Vec<KnownRun>, Vec<String>) {
    let mut folders: Vec<_> = fs::read_dir(out.join("earlier"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (format!("earlier/{}", entry.file_name().to_string_lossy()), entry.path()))
        .collect();
    // 10 comes after 9.
    folders.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    folders.insert(0, (THIS_RUN.into(), out.to_path_buf()));
    let (mut runs, mut warnings) = (Vec::new(), Vec::new());
    for (label, folder) in folders {
        let path = folder.join("result.json");
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        match text.and_then(|text| models_of(&text, &label, measure)) {
            Ok(models) => runs.extend(models),
            Err(error) => warnings.push(format!("{label}, result.json: {error}")),
        }
    }
    (runs, warnings)
}

/// The models of a `result.json`.
fn models_of(text: &str, label: &str, measure: Measure) -> Result<Vec<KnownRun>, String> {
    let run: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let models = run["models"].as_array().ok_or("no list of models")?;
    let known = |model: &Value| {
        let bytes = model["table_bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
        let figure = |part: &str| model[format!("{part}_{}", measure.key())].as_f64();
        Some(KnownRun {
            label: label.into(),
            embedding: model["embedding"].as_str()?.into(),
            table_bytes: bytes?,
            valid: figure("valid"),
            test: figure("test"),
            data: run["data"].as_str().map(String::from),
        })
    };
    let known: Option<_> = models.iter().map(known).collect();
    known.ok_or_else(|| "a model without embedding or table_bytes".into())
}
