//! Imports point one way: cli -> app -> views; net -> fleet; cli -> service -> engine -> net ->
//! progress -> protocol. The pure core uses no clock, no I/O and no screen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::path::{Path, PathBuf};

/// Layers (folders of src) from top to bottom, each with the layers that it may import.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("cli", &["app", "views", "service", "net", "engine", "fleet", "progress", "protocol"]),
    ("app", &["views", "net", "fleet", "progress", "protocol"]),
    ("views", &["fleet", "progress", "protocol"]),
    ("net", &["fleet", "progress", "protocol"]),
    ("service", &["engine", "net", "progress", "protocol"]),
    ("engine", &["net", "progress", "protocol"]),
    ("fleet", &["progress", "protocol"]),
    ("progress", &["protocol"]),
    ("protocol", &[]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (layer, may_use) in MAY_USE {
        for path in sources(&src().join(layer)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            for (number, line) in code {
                for (at, _) in line.match_indices("crate::") {
                    let rest = &line[at + "crate::".len()..];
                    let used: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let is_layer = MAY_USE.iter().any(|(name, _)| *name == used);
                    if is_layer && used != layer && !may_use.contains(&used.as_str()) {
                        wrong.push(format!("{}:{}: {layer} uses {used}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_layer_is_in_the_table() {
    let mut layers: Vec<_> = std::fs::read_dir(src())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|e| e.file_name())
        .collect();
    layers.sort();
    let mut known: Vec<_> = MAY_USE.iter().map(|(name, _)| std::ffi::OsString::from(name)).collect();
    known.sort();
    assert_eq!(layers, known);
}

/// The lifecycle and the run verdict of the service are pure functions.
#[test]
fn lifecycle_and_run_verdict_use_no_clock_and_no_io() {
    for name in ["lifecycle", "run_verdict"] {
        let text = std::fs::read_to_string(src().join(format!("service/{name}.rs"))).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["tokio::", "std::fs", "std::time", "now()", "rusqlite", "axum", "net::"] {
            assert!(!code.contains(word), "service/{name}.rs reaches outside: {word}");
        }
    }
}

#[test]
fn core_uses_no_clock_no_io_and_no_screen() {
    let outside = [
        "tokio::",
        "ratatui::",
        "crossterm::",
        "reqwest::",
        "tui_logger::",
        "tracing::",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::io",
        "std::time",
        "std::env",
        "Instant::now",
        "SystemTime::now",
        "println!",
        "eprintln!",
    ];
    for path in ["protocol", "progress", "fleet"].into_iter().flat_map(|layer| sources(&src().join(layer))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for word in outside {
            assert!(!code.contains(word), "{} reaches outside: {word}", path.display());
        }
    }
}
