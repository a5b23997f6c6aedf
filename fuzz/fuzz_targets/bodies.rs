//! Bodies of requests to the service: what is accepted can be stored and read back.
#![no_main]

use serde_json::{Value, json};
use synctop_core::fleet::requests::{CreatePipeline, StartRun, UpdatePipeline, read_body};

/// Stores a value inside a document as deep as the store does, and reads it back.
fn assert_stored(value: &Value) {
    let text = json!({"config": {"of": [value]}}).to_string();
    let again: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(again["config"]["of"][0], *value);
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(fields) = read_body(bytes) else { return };
    if let Ok(made) = CreatePipeline::read(fields.clone()) {
        assert_stored(&made.source);
        assert_stored(&made.destination);
        made.streams.iter().for_each(assert_stored);
    }
    if let Ok(update) = UpdatePipeline::read(fields.clone(), "pipe_a") {
        assert_stored(&serde_json::to_value(&update).unwrap());
    }
    if let Ok(run) = StartRun::read(fields) {
        assert!(run.time_limit.is_none_or(|limit| limit > 0.0 && limit.is_finite()));
        assert_stored(&serde_json::to_value(&run).unwrap());
    }
});
