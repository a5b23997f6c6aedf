//! Repairs lines that are valid JSON but that `serde_json` refuses: an unpaired surrogate (a text
//! cut inside an emoji), a number out of range, a duplicate key. And lines with `NaN`, which Python
//! writes although it is no JSON.

/// Values that Python's `json` writes and JSON does not have.
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// JSON that `serde_json` accepts, and the number of values that were no JSON.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Repaired {
    pub(in crate::protocol) text: String,
    pub(in crate::protocol) not_numbers: u32,
}

/// True if a text may have values that are no JSON.
pub(in crate::protocol) fn may_have_not_numbers(text: &str) -> bool {
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    has("NaN") || has("Infinity")
}

/// Rewrites JSON: unpaired surrogates become U+FFFD, numbers beyond `f64` and values that are no
/// JSON become null, and the last of equal keys remains. `None` if the text is not JSON.
pub(in crate::protocol) fn repair_json(text: &str) -> Option<Repaired> {
    let mut not_numbers = 0;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => {
                quoted = !quoted;
                1
            }
            '\\' if quoted => {
                let (length, valid) = escape(rest);
                if !valid {
                    out.push_str("\\ufffd");
                    rest = rest.get(length..)?;
                    continue;
                }
                length
            }
            'N' | 'I' | '-' if !quoted && let Some(word) = NOT_NUMBERS.iter().find(|word| rest.starts_with(**word)) => {
                not_numbers += 1;
                out.push_str("null");
                rest = rest.get(word.len()..)?;
                continue;
            }
            '-' | '0'..='9' if !quoted => {
                let length =
                    rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
                if rest.get(..length)?.parse::<f64>().is_ok_and(f64::is_infinite) {
                    out.push_str("null");
                    rest = rest.get(length..)?;
                    continue;
                }
                length
            }
            c => c.len_utf8(),
        };
        out.push_str(rest.get(..length)?);
        rest = rest.get(length..)?;
    }
    let value: serde_json::Value = serde_json::from_str(&out).ok()?;
    Some(Repaired { text: serde_json::to_string(&value).ok()?, not_numbers })
}

/// Returns the length of the escape at the start of `text`, and true if it encodes a character:
/// false for an unpaired surrogate.
fn escape(text: &str) -> (usize, bool) {
    let unit = |text: Option<&str>| text.and_then(|text| u32::from_str_radix(text.strip_prefix("\\u")?, 16).ok());
    match unit(text.get(..6)) {
        Some(0xd800..=0xdbff) => match unit(text.get(6..12)) {
            Some(0xdc00..=0xdfff) => (12, true),
            _ => (6, false),
        },
        Some(0xdc00..=0xdfff) => (6, false),
        Some(_) => (6, true),
        None => (2.min(text.len()), true),
    }
}
