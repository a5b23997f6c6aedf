//! Comparison of summaries with their goldens.

use crate::logs::root;
use std::fs;
use synctop_core::report::Summary;

/// Compares the summary of the log `folder/name` with its golden; `UPDATE_GOLDENS=1` rewrites it.
pub fn compare(folder: &str, name: &str, summary: &Summary) -> Result<(), String> {
    let file = format!("{}__{}.json", folder.replace('/', "__"), name.trim_end_matches(".zst"));
    let golden = root().join("tests/goldens").join(file);
    let found = serde_json::to_string_pretty(summary).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let wanted = fs::read_to_string(&golden).map_err(|error| format!("{}: {error}", golden.display()))?;
    if wanted == found {
        return Ok(());
    }
    let at = wanted.lines().zip(found.lines()).position(|(a, b)| a != b).unwrap_or(0);
    let line = |text: &str| text.lines().nth(at).unwrap_or_default().to_owned();
    Err(format!("{folder}/{name}: line {}: wanted {} found {}", at + 1, line(&wanted), line(&found)))
}

/// Panics unless every summary equals its golden.
pub fn check<T>(all: &[T], one: impl Fn(&T) -> Result<(), String>) {
    let wrong: Vec<String> = all.iter().filter_map(|it| one(it).err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}
