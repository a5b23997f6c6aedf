//! Lines behind prefixes and in envelopes: a batch equals the lines one by one, and each line is in
//! one class.
#![no_main]

#[path = "../oracle.rs"]
mod oracle;

/// Starts of lines, each with the text that ends it.
const WRAPPERS: [(&str, &str); 9] = [
    ("2024-06-01T10:00:00.000000001Z ", ""),
    ("2024-06-01T10:00:00.123456789Z stdout P ", ""),
    ("2024-06-01T10:00:00.123456789Z stdout F ", ""),
    ("[2024-06-01T10:00:00.123+0000] {pod_manager.py:472} INFO - [base] ", ""),
    ("tap-1  | ", ""),
    ("Jun  1 10:00:00 etl1 tap-shop[812]: ", ""),
    ("{\"log\":\"", "\\n\",\"stream\":\"stderr\",\"time\":\"2024-06-01T10:00:00.1Z\"}"),
    ("{\"__REALTIME_TIMESTAMP\":\"1717236000000000\",\"MESSAGE\":\"", "\"}"),
    ("", ""),
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut log = Vec::new();
    // The first byte of a line selects its wrapper.
    for line in bytes.split(|byte| *byte == b'\n') {
        let (kind, body) = line.split_first().unwrap_or((&0, &[]));
        let (start, end) = WRAPPERS[usize::from(*kind) % WRAPPERS.len()];
        log.extend_from_slice(start.as_bytes());
        if end.is_empty() {
            log.extend_from_slice(body);
        } else {
            let text = serde_json::to_string(&String::from_utf8_lossy(body)).unwrap();
            log.extend_from_slice(text.trim_matches('"').as_bytes());
        }
        log.extend_from_slice(end.as_bytes());
        log.push(b'\n');
    }
    oracle::assert_decoders_agree(&log);
});
