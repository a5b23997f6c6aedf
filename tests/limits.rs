//! The tables of docs/guide/limits.md name the constants of the code, with their values.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Constants that bound the work of a step or describe a format, but no input.
const NO_BOUNDS: [&str; 6] =
    ["MAX_CALLS_WITHOUT_PROGRESS", "MAX_UNCLASSIFIED_FAILURES", "MAX_STEP", "MAX_TIME", "MAX_SPEAKERS", "NAME_KEPT"];

/// Folders whose bounds are all in the tables.
const COMPLETE: [&str; 2] = ["crates/synctop-core/src/reduce", "src/service"];

/// Value of an expression of numbers, `*` and `<<`.
fn value(expression: &str) -> Option<u64> {
    if let Some((left, right)) = expression.split_once("<<") {
        return Some(value(left)? << value(right)?);
    }
    expression.split('*').map(|part| part.trim().replace('_', "").parse::<u64>().ok()).product()
}

/// Value of a bound such as `44 MiB`, `131,072 KiB` or `1,024 bytes`. KiB of a constant in kilobytes
/// are its number.
fn bound(text: &str, constant: &str) -> u64 {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number: u64 = number.replace(',', "").parse().unwrap_or_else(|_| panic!("{text}"));
    match unit {
        "GiB" => number << 30,
        "MiB" => number << 20,
        "KiB" if !constant.ends_with("_KB") => number << 10,
        _ => number,
    }
}

fn file(name: &str) -> PathBuf {
    let places = [root().join("src").join(name), root().join("crates/synctop-core/src").join(name)];
    places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no file {name}"))
}

#[test]
fn tables_of_limits_are_those_of_the_code() {
    let page = std::fs::read_to_string(root().join("docs/guide/limits.md")).unwrap();
    let mut named = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains("` in `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (constant, path) = cells[3].trim_matches('`').split_once("` in `").unwrap();
        let code = std::fs::read_to_string(file(path)).unwrap();
        let defined = code.lines().enumerate().find_map(|(at, line)| {
            let is_function = line.contains(&format!("fn {constant}("));
            let text = if is_function {
                code.lines().nth(at + 1)?
            } else {
                line.split_once(&format!("const {constant}: "))?.1
            };
            value(text.rsplit('=').next()?.trim().trim_end_matches(';'))
        });
        named.insert((constant.to_owned(), path.to_owned()));
        if defined != Some(bound(cells[1], constant)) {
            wrong.push(format!("{constant} in {path} is {defined:?}, and {} in the table", cells[1]));
        }
    }
    assert!(named.len() > 60, "{}", named.len());
    for folder in COMPLETE {
        for path in files(&root().join(folder)) {
            let code = std::fs::read_to_string(&path).unwrap();
            for line in code.lines().take_while(|line| !line.contains("#[cfg(test)]")) {
                let Some((_, rest)) = line.split_once("const ") else { continue };
                let Some((constant, kind)) = rest.split_once(": ") else { continue };
                let is_number = ["usize", "u64", "u32"].iter().any(|it| kind.starts_with(it));
                let is_bound = constant.starts_with("MAX_") || constant.ends_with("_KEPT");
                let is_named = named.iter().any(|(name, file)| name == constant && path.ends_with(file));
                if is_number && is_bound && !is_named && !NO_BOUNDS.contains(&constant) {
                    wrong.push(format!("{constant} in {} is not in the tables", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push(path);
        }
    }
    all
}
