//! Masking by shape, against texts with secrets that a script makes at random: at most one in twenty
//! leaks, and at most one harmless text is masked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use synctop_core::protocol::mask;

/// Number of random sets of texts.
const SEEDS: u64 = 20;

/// Largest share of leaks.
const MAX_LEAKS: f64 = 0.05;

#[test]
fn random_shapes_are_masked_and_harmless_texts_are_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/secrets");
    if !folder.is_dir() {
        return;
    }
    let (mut all, mut leaked) = (0_u32, std::collections::BTreeMap::<String, u32>::new());
    let mut harmed = std::collections::BTreeSet::new();
    for seed in 1..=SEEDS {
        let output = Command::new("python3")
            .args(["-c", "import json, shapes; print(json.dumps([shapes.S, shapes.OK]))"])
            .current_dir(&folder)
            .env("SEED", seed.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        for shape in made[0].as_array().unwrap() {
            let (name, text) = (shape[0].as_str().unwrap(), shape[1].as_str().unwrap());
            let masked = mask::secrets(text);
            all += 1;
            if shape[2].as_array().unwrap().iter().any(|part| masked.contains(part.as_str().unwrap())) {
                *leaked.entry(name.to_owned()).or_default() += 1;
            }
        }
        for text in made[1].as_array().unwrap() {
            let text = text.as_str().unwrap();
            if mask::secrets(text) != text {
                harmed.insert(format!("{text} -> {}", mask::secrets(text)));
            }
        }
    }
    let leaks = leaked.values().sum::<u32>();
    let share = f64::from(leaks) / f64::from(all);
    println!("{leaks} of {all} leak ({:.1} %): {leaked:#?}; masked without need: {harmed:#?}", share * 100.0);
    assert!(share <= MAX_LEAKS, "{:.1} % leak: {leaked:#?}", share * 100.0);
    assert!(harmed.len() <= 1, "{harmed:#?}");
}
