//! Imports point one way, between layers and between files; the core is pure; `unsafe` stands in
//! one file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Layers of `synctop` from the top down, and the layers that each may use.
const LAYERS: [(&str, &[&str]); 8] = [
    ("cli", &["app", "views", "demo", "service", "net", "engine", "util"]),
    ("demo", &["service", "net", "engine", "util"]),
    ("app", &["views", "net", "util"]),
    ("views", &[]),
    ("service", &["engine", "net", "util"]),
    ("engine", &["net", "util"]),
    ("net", &["util"]),
    ("util", &[]),
];

/// The same of `synctop-core`.
const CORE_LAYERS: [(&str, &[&str]); 5] = [
    ("fleet", &["report", "reduce", "protocol", "format"]),
    ("report", &["reduce", "protocol", "format"]),
    ("reduce", &["protocol", "format"]),
    ("format", &["protocol"]),
    ("protocol", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn src() -> PathBuf {
    root().join("src")
}

fn core_src() -> PathBuf {
    root().join("crates/synctop-core/src")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Code of a file without comments, strings and its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut code = String::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap();
        let mut quoted = false;
        let mut escaped = false;
        code.extend(line.chars().filter(|c| {
            let keep = !quoted;
            quoted ^= *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            keep
        }));
        code.push('\n');
    }
    code
}

fn check_layers(folder: &Path, layers: &[(&str, &[&str])]) {
    let mut wrong = Vec::new();
    for (layer, may_use) in layers {
        let mut files = sources(&folder.join(layer));
        files.extend(Some(folder.join(format!("{layer}.rs"))).filter(|file| file.is_file()));
        for path in files {
            for path_in_use in code(&path).split("crate::").skip(1) {
                let used: String = path_in_use.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = layers.iter().any(|(name, _)| *name == used);
                if known && used != *layer && !may_use.contains(&used.as_str()) {
                    wrong.push(format!("{}: {layer} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_point_one_way() {
    check_layers(&src(), &LAYERS);
    check_layers(&core_src(), &CORE_LAYERS);
}

#[test]
fn every_layer_is_in_the_table() {
    for (folder, layers) in [(src(), &LAYERS[..]), (core_src(), &CORE_LAYERS[..])] {
        let found = std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let found: BTreeSet<_> = found.map(|entry| entry.file_name().into_string().unwrap()).collect();
        let known: BTreeSet<_> =
            layers.iter().map(|(name, _)| (*name).to_owned()).filter(|name| folder.join(name).is_dir()).collect();
        assert_eq!(found, known);
    }
}

/// Decisions of the service are as pure as the core.
#[test]
fn lifecycle_and_run_verdict_use_no_clock_and_no_io() {
    for name in ["lifecycle", "run_verdict"] {
        let code = code(&src().join(format!("service/{name}.rs")));
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
    for path in sources(&core_src()) {
        let code = code(&path);
        for word in outside {
            assert!(!code.contains(word), "{} reaches outside: {word}", path.display());
        }
    }
}

/// Reducer, reports and fleet ask adapters and traits, never a protocol by its name.
#[test]
fn only_adapters_know_protocols() {
    for path in ["reduce", "report", "fleet"].into_iter().flat_map(|layer| sources(&core_src().join(layer))) {
        let code = code(&path).to_ascii_lowercase();
        let names = synctop_core::protocol::PROTOCOLS.iter().map(|protocol| protocol.name);
        for word in names.chain(["python"]) {
            let uses =
                code.matches(word).count() - code.matches("protocol::python").count() * usize::from(word == "python");
            assert_eq!(uses, 0, "{} names {word}", path.display());
        }
    }
}

/// The SIMD scanner alone has `unsafe`, behind one `#[allow]`.
#[test]
fn unsafe_code_stands_in_one_file() {
    let mut allowed = Vec::new();
    for path in sources(&src()).into_iter().chain(sources(&core_src())) {
        let code = code(&path);
        if code.contains("allow(unsafe_code") || code.contains("unsafe {") || code.contains("unsafe fn") {
            allowed.push(path.strip_prefix(root()).unwrap().display().to_string());
        }
    }
    assert_eq!(allowed, ["crates/synctop-core/src/protocol/scan/simd.rs"]);
}

#[test]
fn core_has_few_dependencies() {
    let manifest = std::fs::read_to_string(root().join("crates/synctop-core/Cargo.toml")).unwrap();
    let table = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let lines: Vec<_> = table.lines().filter(|line| line.contains('=')).collect();
    assert!(lines.len() <= 13, "{lines:?}");
    let commented = table.lines().filter(|line| line.starts_with('#')).count();
    assert!(commented >= 8, "each dependency has its reason");
}

type Module = Vec<String>;

/// Modules of a crate with their code, imports and dependencies.
struct Modules {
    code: BTreeMap<Module, String>,
    /// Imported names of each module: name and full path.
    imports: HashMap<Module, HashMap<String, Vec<String>>>,
}

/// Expands `a::{b, c::d as e}` into the paths and the names that they have here.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((before, inner)) = tree.split_once('{') {
        let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
        let before: Vec<_> = before.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
        for c in inner.chars() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if c == ',' && depth == 0 {
                parts.push(std::mem::take(&mut part));
            } else {
                part.push(c);
            }
        }
        parts.push(part);
        let parts = parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|part| expand(part));
        return parts
            .map(|(path, name)| {
                let itself = path.len() == 1 && path[0] == "self";
                let name = if itself { before.last().cloned().unwrap_or_default() } else { name };
                let path = if itself { Vec::new() } else { path };
                ([before.clone(), path].concat(), name)
            })
            .collect();
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree.rsplit("::").next().unwrap()));
    vec![(path.split("::").map(|part| part.trim().to_owned()).collect(), name.trim().to_owned())]
}

impl Modules {
    fn of(folder: &Path) -> Self {
        let mut all = Self { code: BTreeMap::new(), imports: HashMap::new() };
        for path in sources(folder) {
            let relative = path.strip_prefix(folder).unwrap().with_extension("");
            let mut module: Module = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                module.pop();
            }
            let code = code(&path);
            let mut imports = HashMap::new();
            for statement in code.split("use ").skip(1).filter_map(|rest| rest.split(';').next()) {
                for (path, name) in expand(&statement.split_whitespace().collect::<Vec<_>>().join(" ")) {
                    imports.entry(name).or_insert(path);
                }
            }
            all.imports.insert(module.clone(), imports);
            all.code.insert(module, code);
        }
        all
    }

    /// Module that defines what a path names, seen from `module`; through re-exports.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        if depth > 12 {
            return None;
        }
        let (mut here, mut rest) = (module.clone(), path);
        match rest.first()?.as_str() {
            "crate" => (here, rest) = (Module::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                let child = [here.clone(), vec![first.to_owned()]].concat();
                if !self.code.contains_key(&child) {
                    let import = self.imports[module].get(first)?;
                    if import == path || import.first().is_some_and(|it| it == first) {
                        return None;
                    }
                    return self.resolve(module, &[import.clone(), rest[1..].to_vec()].concat(), depth + 1);
                }
            }
        }
        for (at, part) in rest.iter().enumerate() {
            let child = [here.clone(), vec![part.clone()]].concat();
            if self.code.contains_key(&child) {
                here = child;
                continue;
            }
            let import = self.imports.get(&here).and_then(|imports| imports.get(part));
            return match import {
                Some(import) if here != *module || at > 0 => {
                    let path = [import.clone(), rest[at + 1..].to_vec()].concat();
                    self.resolve(&here, &path, depth + 1).or(Some(here))
                }
                _ => Some(here),
            };
        }
        Some(here)
    }

    /// Modules that a file uses. A file of `mod` and `use` alone passes names on and uses none.
    fn used(&self, module: &Module) -> BTreeSet<Module> {
        let code = &self.code[module];
        let body: String = code
            .split_inclusive(';')
            .filter(|statement| !statement.trim_start().trim_start_matches("pub ").starts_with("use "))
            .collect();
        let defines = ["fn ", "struct ", "enum ", "impl ", "trait ", "const ", "static ", "type "];
        if !defines.iter().any(|word| body.contains(word)) {
            return BTreeSet::new();
        }
        let mut paths: Vec<Vec<String>> = self.imports[module].values().cloned().collect();
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in body.split(|c| !is_path(c)).filter(|word| word.contains("::")) {
            let parts: Vec<String> = word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            let first = parts.first().map(String::as_str).unwrap_or_default();
            let child = [module.clone(), vec![first.to_owned()]].concat();
            let known = ["crate", "super", "self"].contains(&first)
                || self.code.contains_key(&child)
                || (first.chars().next().is_some_and(char::is_lowercase) && self.imports[module].contains_key(first));
            if known && parts.len() > 1 {
                paths.push(parts);
            }
        }
        let used = paths.iter().filter_map(|path| self.resolve(module, path, 0));
        used.filter(|used| used != module && self.code.contains_key(used)).collect()
    }
}

/// Modules that reach themselves by their imports.
fn cycles(folder: &Path) -> Vec<String> {
    let modules = Modules::of(folder);
    let used: BTreeMap<_, _> = modules.code.keys().map(|module| (module.clone(), modules.used(module))).collect();
    let reach = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            next.extend(used[&module].iter().filter(|used| seen.insert((*used).clone())).cloned());
        }
        seen
    };
    let reached: BTreeMap<_, _> = used.keys().map(|module| (module.clone(), reach(module))).collect();
    let name = |module: &Module| module.join("::");
    let in_cycle = used.keys().filter(|module| reached[*module].contains(*module));
    in_cycle
        .map(|module| {
            let back: Vec<_> = used[module].iter().filter(|it| reached[*it].contains(module)).map(name).collect();
            format!("{} uses {}", name(module), back.join(", "))
        })
        .collect()
}

#[test]
fn files_import_each_other_without_a_cycle() {
    for folder in [src(), core_src()] {
        let found = cycles(&folder);
        assert!(found.is_empty(), "{}:\n{}", folder.display(), found.join("\n"));
    }
}

/// The search for cycles finds one: between two files, through a re-export.
#[test]
fn a_cycle_through_a_re_export_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("part")).unwrap();
    write("lib.rs", "mod part;\nmod other;\n");
    write("part/mod.rs", "mod one;\npub use one::One;\n");
    write("part/one.rs", "use crate::other::Other;\npub struct One(Other);\n");
    write("other.rs", "pub struct Other;\n");
    assert!(cycles(folder.path()).is_empty());
    write("other.rs", "use crate::part::One;\npub struct Other(Box<One>);\n");
    assert_eq!(cycles(folder.path()), ["other uses part::one", "part::one uses other"]);
}

/// Text on stdout and stderr has one writer, which makes it safe for a terminal. Only files that pass
/// on feeds byte for byte, or that draw pictures, write by themselves.
#[test]
fn terminal_text_has_one_writer() {
    const ALLOWED: [&str; 10] = [
        "app/term/output.rs",
        "app/term/session.rs",
        "app/inline.rs",
        "net/source/pipe.rs",
        "net/source/tee.rs",
        "cli/track.rs",
        "cli/run.rs",
        "cli/backfill.rs",
        "cli/simulate.rs",
        "cli/store.rs",
    ];
    const WRITERS: [&str; 7] =
        ["io::stdout()", "io::stderr()", "stdio::stdout()", "stdio::stderr()", "println!", "eprint!", " print!("];
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        let name = path.strip_prefix(src()).unwrap().display().to_string();
        if ALLOWED.contains(&name.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let is_question = line.contains("is_terminal()") || line.contains("tcget");
            if !is_question && !line.trim_start().starts_with("//") && WRITERS.iter().any(|it| line.contains(it)) {
                wrong.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
