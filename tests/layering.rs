//! Imports point one way: cli -> app -> views; net -> fleet; cli -> service -> engine -> net ->
//! progress -> protocol; the pure core reaches outside for nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::path::{Path, PathBuf};

/// Rooms from the top down, and the rooms each may use.
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
    for (room, may_use) in MAY_USE {
        for path in sources(&src().join(room)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            for (number, line) in code {
                for (at, _) in line.match_indices("crate::") {
                    let rest = &line[at + "crate::".len()..];
                    let used: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let a_room = MAY_USE.iter().any(|(name, _)| *name == used);
                    if a_room && used != room && !may_use.contains(&used.as_str()) {
                        wrong.push(format!("{}:{}: {room} uses {used}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let mut rooms: Vec<_> = std::fs::read_dir(src())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|e| e.file_name())
        .collect();
    rooms.sort();
    let mut known: Vec<_> = MAY_USE.iter().map(|(name, _)| std::ffi::OsString::from(name)).collect();
    known.sort();
    assert_eq!(rooms, known);
}

/// Decisions of the service are as pure as the core.
#[test]
fn the_lifecycle_and_the_verdict_know_no_clock_and_no_io() {
    for name in ["lifecycle", "run_verdict"] {
        let text = std::fs::read_to_string(src().join(format!("service/{name}.rs"))).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["tokio::", "std::fs", "std::time", "now()", "rusqlite", "axum", "net::"] {
            assert!(!code.contains(word), "service/{name}.rs reaches outside: {word}");
        }
    }
}

#[test]
fn the_core_knows_no_clock_no_io_and_no_screen() {
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
    for path in ["protocol", "progress", "fleet"].into_iter().flat_map(|room| sources(&src().join(room))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for word in outside {
            assert!(!code.contains(word), "{} reaches outside: {word}", path.display());
        }
    }
}
