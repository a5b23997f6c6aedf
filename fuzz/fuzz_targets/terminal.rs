//! Text for a terminal: no control, bidirectional or invisible character remains.
#![no_main]

use synctop_core::protocol::clean;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let allowed = |c: char| matches!(c, '\n' | '\t');
    let cleaned = clean::text(&text);
    let bad = cleaned.chars().find(|c| clean::is_hidden(*c) || c.is_control() && !allowed(*c));
    assert_eq!(bad, None, "{cleaned:?}");
    assert_eq!(clean::text(&cleaned), cleaned, "cleaned twice");
    let line = clean::line(&text);
    let bad = line.chars().find(|c| clean::is_hidden(*c) || c.is_control());
    assert_eq!(bad, None, "{line:?}");
    // JSON keeps its meaning.
    let json = serde_json::to_string(&text).unwrap();
    let safe = clean::json(json.clone());
    assert!(!safe.chars().any(|c| clean::is_hidden(c) || c.is_control()), "{safe:?}");
    assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
});
