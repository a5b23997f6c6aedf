//! Plain language: counts of words and openers that hide the subject of a sentence, over comments,
//! documents, help and assets.
//!
//! `cargo test --test prose -- --nocapture` prints the counts. A count above its bound fails;
//! bounds only go down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Upper bound of each measure.
const BOUNDS: [(&str, f64); 8] = [
    ("doc comments that open with a question word, percent", 0.0),
    ("\"what\" per 1,000 comment words", 0.1),
    ("\"tell\" and \"say\" per 1,000 comment words", 0.3),
    ("\"somebody\", \"nobody\", \"whoever\" in comments", 0.0),
    ("\"what\" per 1,000 words of documents and assets", 0.4),
    ("\"tell\" and \"say\" per 1,000 words of documents and assets", 0.5),
    ("type names with two or more definitions, percent", 0.7),
    ("Result<_, String>", 0.0),
];

const QUESTION_WORDS: [&str; 9] = ["What", "How", "Who", "Whether", "Where", "That", "Which", "When", "Why"];
const TELLING: [&str; 6] = ["tell", "tells", "told", "say", "says", "said"];
const PRONOUNS: [&str; 3] = ["somebody", "nobody", "whoever"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Source files of both crates, with their examples.
fn sources() -> Vec<PathBuf> {
    ["src", "crates/synctop-core/src", "crates/synctop-core/examples"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), &["rs"]))
        .collect()
}

fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[derive(Default)]
struct Prose {
    words: usize,
    what: usize,
    telling: usize,
    pronouns: usize,
}

impl Prose {
    fn add(&mut self, text: &str) {
        for word in text.split(|c: char| !c.is_ascii_alphabetic() && c != '\'').filter(|word| !word.is_empty()) {
            let word = word.to_ascii_lowercase();
            self.words += 1;
            self.what += usize::from(word == "what");
            self.telling += usize::from(TELLING.contains(&word.as_str()));
            self.pronouns += usize::from(PRONOUNS.contains(&word.as_str()));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few thousand words")]
    fn per_thousand(&self, count: usize) -> f64 {
        1000.0 * count as f64 / self.words.max(1) as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// Comments of the sources, and their doc comments: all, and those that open with a question word.
fn comments() -> (Prose, usize, Vec<String>) {
    let (mut prose, mut docs, mut questions) = (Prose::default(), 0, Vec::new());
    for path in sources() {
        let mut before = "";
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let line = line.trim_start();
            let kind = ["///", "//!", "//"].into_iter().find(|kind| line.starts_with(kind)).unwrap_or_default();
            if !kind.is_empty() {
                let text = line[kind.len()..].trim();
                prose.add(text);
                if kind != "//" && before != kind {
                    docs += 1;
                    let first = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
                    if QUESTION_WORDS.contains(&first) {
                        questions.push(format!("{}:{}: {text}", path.display(), number + 1));
                    }
                }
            }
            before = kind;
        }
    }
    (prose, docs, questions)
}

/// Markdown, comments of configuration files, descriptions of the API.
fn documents() -> Prose {
    let mut prose = Prose::default();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        prose.add(&std::fs::read_to_string(root().join(name)).unwrap_or_default());
    }
    for path in files(&root().join("docs"), &["md"]) {
        prose.add(&std::fs::read_to_string(path).unwrap());
    }
    for path in files(&root().join("assets"), &["toml", "json"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            if path.extension().is_some_and(|extension| extension == "toml") {
                prose.add(line.split_once('#').map_or("", |(_, comment)| comment));
            } else if let Some((_, description)) = line.split_once("\"description\":") {
                prose.add(description);
            }
        }
    }
    prose
}

/// Names of types, and those with several definitions.
fn types() -> (usize, Vec<String>) {
    let mut defined = BTreeMap::<String, usize>::new();
    for path in sources() {
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub") || word.ends_with(')'));
            if !line.trim_start().starts_with("pub")
                || !matches!(words.next(), Some("struct" | "enum" | "trait" | "type"))
            {
                continue;
            }
            let name = words.next().unwrap_or_default();
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            *defined.entry(name).or_default() += 1;
        }
    }
    let all = defined.len();
    (all, defined.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect())
}

/// Results whose error is a string: `Result<T, String>`, also over several lines.
fn string_errors() -> usize {
    let errors = regex::Regex::new(r"Result<[^;{}]*?,\s*String>\s*([;,{)]|where)").expect("a pattern");
    let count = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        errors.find_iter(&text).filter(|found| !found.as_str().contains("Map<")).count()
    };
    sources().iter().map(count).sum()
}

#[test]
fn prose_stays_within_its_bounds() {
    let (comments, docs, questions) = comments();
    let documents = documents();
    let (all, twice) = types();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let (pronouns, string_errors) = (comments.pronouns as f64, string_errors() as f64);
    let values = [
        percent(questions.len(), docs),
        comments.per_thousand(comments.what),
        comments.per_thousand(comments.telling),
        pronouns,
        documents.per_thousand(documents.what),
        documents.per_thousand(documents.telling),
        percent(twice.len(), all),
        string_errors,
    ];
    let mut above = Vec::new();
    for ((name, bound), value) in BOUNDS.iter().zip(values) {
        println!("{value:>7.1}  (at most {bound})  {name}");
        if value > *bound {
            above.push(format!("{name}: {value:.1}, at most {bound}"));
        }
    }
    println!("{docs} doc comments; {} comment words; types defined twice: {}", comments.words, twice.join(", "));
    for line in questions.iter().take(20) {
        println!("{line}");
    }
    assert!(above.is_empty(), "{}", above.join("\n"));
}

/// A document that names a moved file sends its reader nowhere.
#[test]
fn documents_name_source_files_that_exist() {
    let sources: Vec<PathBuf> = ["src", "crates", "tests", "benches", "fuzz", "examples"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), &["rs"]))
        .collect();
    let mut documents = files(&root().join("docs"), &["md"]);
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "crates/synctop-core/README.md"] {
        documents.push(root().join(name));
    }
    let name = regex::Regex::new(r"[\w*/.-]+\.rs\b").expect("a pattern");
    let (mut named, mut missing) = (0, Vec::new());
    for path in documents {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for found in name.find_iter(&text).map(|found| found.as_str()).filter(|found| !found.contains("docs.rs")) {
            named += 1;
            let ending = format!("/{}", found.trim_start_matches(['/', '-']));
            let exists = match ending.split_once('*') {
                Some((before, after)) => sources.iter().any(|source| {
                    let source = source.to_string_lossy();
                    source.contains(before) && source.ends_with(after)
                }),
                None => sources.iter().any(|source| source.to_string_lossy().ends_with(&ending)),
            };
            if !exists {
                missing.push(format!("{}: {found}", path.display()));
            }
        }
    }
    assert!(named > 50, "only {named} files are named");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
