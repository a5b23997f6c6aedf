//! Recorded exchanges with the published pipeline service (corpus/stripe-service; small copies in
//! tests/fixtures).
#![allow(dead_code, reason = "each test uses a part")]

use std::path::Path;

/// Recorded request and answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub request: String,
    pub status: u16,
    pub kind: String,
    pub body: String,
}

/// Parses the exchanges of a recording.
pub fn exchanges(text: &str) -> Vec<Exchange> {
    let mut all = Vec::new();
    for part in text.split("\n##### ").map(|part| part.trim_start_matches("##### ")) {
        let Some((asked, answered)) = part.split_once("<<< RESPONSE\n") else { continue };
        let Some((_, asked)) = asked.split_once(">>> REQUEST\n") else { continue };
        let (head, request) = asked.split_once("\n\n").unwrap_or((asked, ""));
        let mut first = head.lines().next().unwrap().split(' ');
        let (head, body) = answered.split_once("\n\n").unwrap();
        let kind = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-type: ").map(str::to_owned));
        all.push(Exchange {
            method: first.next().unwrap().to_owned(),
            path: first.next().unwrap().to_owned(),
            request: request.trim().to_owned(),
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            kind: kind.unwrap_or_default().split(';').next().unwrap().to_owned(),
            body: body.trim().to_owned(),
        });
    }
    all
}

/// Reads a recording of the fixtures.
pub fn recording(name: &str) -> Vec<Exchange> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Both packages read the fixtures at the root of the clone.
    let root = if package.ends_with("crates/synctop-core") { package.join("../..") } else { package.to_owned() };
    let path = root.join("tests/fixtures/stripe-service").join(name);
    exchanges(&std::fs::read_to_string(path).unwrap())
}

/// Bodies of the successful answers to a method and path, in order.
pub fn answers(all: &[Exchange], method: &str, path: &str) -> Vec<serde_json::Value> {
    let fits = |it: &&Exchange| it.method == method && it.path == path && it.status < 300;
    all.iter().filter(fits).map(|it| serde_json::from_str(&it.body).unwrap()).collect()
}
