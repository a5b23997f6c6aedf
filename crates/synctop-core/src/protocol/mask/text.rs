//! Secrets in a text: general shapes here, those of issuers in `rules.rs`.

use super::pattern::{MASK, Match, Pattern};
use super::rules;
use crate::protocol::clean;
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Pattern of API keys and webhook secrets, bearer and basic credentials, credentials in URLs,
/// private keys, and values of fields with secret-like names in JSON, `key=value` or header text
/// (also with escaped quotes, as in a log that quotes JSON).
static SECRET: LazyLock<Option<Pattern>> = LazyLock::new(|| {
    Pattern::new(concat!(
        // A connector's configuration is masked completely, to the end of the text.
        r"(?P<whole>(?i:connectorConfig)[\x22'\\]*(?u:\s)*[:=({\[])(?s:.+)",
        r"|(?P<key>(?i:(?:sk|rk|ek)[_-](?:live|test)[_-]|whsec_)|\b(?:sk|rk)_)(?P<body>[A-Za-z0-9_*+/=-]+)",
        r"|(?P<shape>\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|xox[abprs]-[\w-]{10,}",
        r"|eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*))",
        r"|(?P<pem>-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----)(?s:.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z))",
        r"|(?P<header>(?i:\b(?:authorization|cookie)(?u:\s)*[:=](?u:\s)*))[^\s\x22'\\][^\r\n]*",
        r"|(?P<bearer>(?i:\b(?:bearer|basic)(?:(?u:\s)|:)+))[\x22']?(?P<credential>[A-Za-z0-9._~+/-]{6,}=*)",
        r"|(?P<url>://[^\s/:@\x22'<>]*:)(?:[^\s\x22<>]+@|[^\s/@\x22'<>]*[^\s/@\x22'<>0-9][^\s/@\x22'<>]*\z)",
        r"|(?P<user>://)[A-Za-z0-9._~%+-]{16,}@",
        r"|(?P<field>(?i:(?:\\*[\x22'])?[a-z0-9_.-]*(?:api[ _-]?key|password|passwd|passphrase|pwd|secret|token|private[_-]?key",
        r"|access[_-]?key|credentials?|authorization|cookie|[?&;](?:key|sig|signature|auth|pass))(?:[_-][a-z0-9_-]+|s)?",
        r"(?:\\*[\x22'])?(?u:\s)*(?:=>|->|[:=>]|＝|：|%3d)(?u:\s)*))",
        r"(?P<value>(?i:(?:bearer|basic|token|digest|negotiate)(?u:\s)+)?(?:\\\x22(?:[^\x22\\]|\\\\\\\x22|\\[^\x22\\])*\\\x22",
        r"|\\+\x22(?:[^\x22\\]|\\[^\x22])*\\+\x22|\x22(?:[^\x22\\]|\\.)*(?:\x22|\z)|'(?:[^'\\]|\\.)*(?:'|\z)",
        r"|\[[^\]]*(?:\]|\z)|\{[^}]*(?:\}|\z)|[^\s\x22',;&})\]<]+))",
    ))
});

/// Pattern of substrings, of which every secret has one. Most texts have none and skip [`SECRET`].
static HINT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let keywords: Vec<_> = rules::keywords().filter(|word| word.len() > 2).map(regex::escape).collect();
    let encoded: Vec<_> = ENCODED.iter().map(|form| regex::escape(form)).collect();
    Regex::new(&format!(
        "{}|(?i-u:{})|{}",
        concat!(
            r"(?i-u:key|passw|pwd|passphrase|secret|token|credential|authoriz|cookie|sk_|rk_|ek_|sk-|rk-|ek-|whsec|bearer",
            r"|basic|connectorconfig|://|gh[pousr]_|github_pat|xox|eyj|[?&;](?:sig|auth|pass|key)|\\\\u00)",
            r"|(?-u:\b)(?:SK|AC)[0-9a-f]{32}",
        ),
        keywords.join("|"),
        encoded.join("|")
    ))
    .ok()
});

/// Maximum digits of a value of a `token` field that is taken for a count: `token: 47 rows`.
const MAX_COUNT_DIGITS: usize = 9;

/// Masks every secret in a text. If the text has characters that could conceal a part of a secret,
/// it is cleaned first ([`clean::lines`]).
#[must_use]
pub fn secrets(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| clean::is_hidden(c) || (c.is_control() && !matches!(c, '\n' | '\t' | '\r'));
    // Most texts are printable ASCII, which hides nothing. `fold` without an early exit lets the
    // compiler check many bytes at once.
    let printable = text.bytes().fold(true, |all, byte| all & (byte.wrapping_sub(b' ') <= b'~' - b' '));
    let hides = !printable && text.chars().any(hidden);
    if !hides && HINT.as_ref().is_some_and(|hint| !hint.is_match(text)) {
        return Cow::Borrowed(text);
    }
    // Compiled on first use, because it takes most of the memory of a small log. Without it,
    // everything is masked.
    let Some(secret) = SECRET.as_ref() else { return Cow::Borrowed(MASK) };
    let mut visible = if hides { Cow::Owned(clean::lines(text)) } else { Cow::Borrowed(text) };
    if let Some(plain) = without_escapes(&visible) {
        visible = Cow::Owned(plain);
    }
    if let Some(masked) = nested(&visible) {
        visible = Cow::Owned(masked);
    }
    let visible = rules::apply(visible, true);
    let found = match secret.replace_all(&visible, replacement) {
        Cow::Borrowed(_) => visible,
        Cow::Owned(masked) => Cow::Owned(masked),
    };
    encoded(rules::apply(found, false))
}

/// Replaces the escapes of ASCII letters (`pass\u0077ord`), which no writer of JSON needs, if they
/// would conceal the name of a field.
fn without_escapes(text: &str) -> Option<String> {
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = rest.find("\\u00") {
        let (before, escape) = rest.split_at(at);
        let letter = escape.get(4..6).and_then(|hex| u8::from_str_radix(hex, 16).ok()).map(char::from);
        out.push_str(before);
        if let Some(letter) = letter.filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            out.push(letter);
        } else {
            out.push_str(escape.get(..6).unwrap_or(escape));
        }
        rest = escape.get(6..).unwrap_or_default();
    }
    (!out.is_empty()).then(|| out + rest).filter(|plain| plain != text)
}

/// Names of fields that may hold a list or an object of secrets, in front of it.
static NESTED: LazyLock<Option<Pattern>> = LazyLock::new(|| {
    Pattern::new(r#"(?i:"[a-z0-9_-]*(?:secrets?|tokens?|passwords?|credentials?|api_?keys)"\s*:\s*)[\[{]"#)
});

/// Masks a whole list or object in a secret field, with all that is nested in it.
fn nested(text: &str) -> Option<String> {
    let starts = NESTED.as_ref()?;
    let (mut out, mut from) = (String::new(), 0);
    while let Some(found) = starts.find_at(text, from) {
        let open = found.end - 1;
        let end = end_of_value(text, open);
        out.push_str(text.get(from..open)?);
        out.push_str(MASK);
        from = end;
    }
    (from > 0).then(|| out + text.get(from..).unwrap_or_default())
}

/// Returns the end of the list or object that starts at `open`, or of the text.
fn end_of_value(text: &str, open: usize) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Words whose base64 form shows that an encoded text has a secret.
const ENCODED_WORDS: [&str; 9] =
    ["sk_live_", "sk_test_", "password", "secret", "token\"", "api_key", "Bearer ", "private_key", "PRIVATE KEY"];

/// Base64 (RFC 4648) of [`ENCODED_WORDS`] at each offset in a text.
static ENCODED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let forms = |word: &&str| {
        let word = word.as_bytes().to_vec();
        (0..3_usize).map(move |offset| {
            let padded = [vec![0; offset], word.clone()].concat();
            let text = base64(&padded);
            text.get((offset * 8).div_ceil(6)..padded.len() * 8 / 6).unwrap_or_default().to_owned()
        })
    };
    ENCODED_WORDS.iter().flat_map(forms).collect()
});

/// Encodes bytes in base64 without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |number: u32| LETTERS.get(number as usize & 63).map_or('?', |byte| char::from(*byte));
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        out.extend((0..=chunk.len()).map(|at| letter(number >> (18 - 6 * at))));
    }
    out
}

/// Masks base64 texts that contain a secret.
fn encoded(text: Cow<'_, str>) -> Cow<'_, str> {
    if !ENCODED.iter().any(|form| text.contains(form.as_str())) {
        return text;
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let mut out = String::new();
    for part in text.split_inclusive(|c| !is_letter(c)) {
        let word = part.trim_end_matches(|c| !is_letter(c));
        if ENCODED.iter().any(|form| word.contains(form.as_str())) {
            out.push_str(MASK);
            out.push_str(part.get(word.len()..).unwrap_or_default());
        } else {
            out.push_str(part);
        }
    }
    Cow::Owned(out)
}

/// Returns the masked text of a match of [`SECRET`].
fn replacement(found: &Match) -> String {
    let part = |name| found.group(name);
    if let (Some(key), Some(body)) = (part("key"), part("body")) {
        // The engine has masked the key already. The few characters left identify it.
        let stars = body.bytes().filter(|byte| *byte == b'*').count();
        return if stars >= 3 && body.len() - stars <= 4 { format!("{key}{body}") } else { format!("{key}{MASK}") };
    }
    if let Some(whole) = part("whole") {
        return format!("{whole} {MASK}");
    }
    if part("shape").is_some() {
        return MASK.to_owned();
    }
    if let Some(header) = part("header") {
        let whole = found.as_str();
        let value = whole.get(header.len()..).unwrap_or_default();
        return if rules::is_harmless(value) { whole.to_owned() } else { format!("{header}{MASK}") };
    }
    if let Some(pem) = part("pem") {
        return format!("{pem}{MASK}");
    }
    if let Some(bearer) = part("bearer") {
        let credential = part("credential").unwrap_or_default();
        // A word of the language is no credential.
        let is_word = credential.chars().all(|c| c.is_ascii_lowercase() || !c.is_ascii_alphanumeric());
        let whole = found.as_str();
        return if is_word { whole.to_owned() } else { format!("{bearer}{MASK}") };
    }
    if let Some(url) = part("url").or(part("user")) {
        return format!("{url}{MASK}@");
    }
    let (field, value) = (part("field").unwrap_or_default(), part("value").unwrap_or_default());
    let bare = value.trim_matches(['"', '\'', '\\']);
    let is_no_secret = matches!(bare, "" | "null" | "true" | "false" | MASK);
    let is_count = field.to_ascii_lowercase().contains("token") && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_bare = bare.len() == value.len();
    let is_number = is_bare && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) && value.len() < 4;
    let tells = is_bare && (rules::is_harmless(value) || rules::is_describing(field));
    if is_no_secret || tells || is_number || (is_count && value.len() <= MAX_COUNT_DIGITS) {
        return format!("{field}{value}");
    }
    let quote = value.find(|c| c != '\\' && c != '"' && c != '\'').and_then(|at| value.get(..at)).unwrap_or_default();
    format!("{field}{quote}{MASK}{quote}")
}

/// True if the name of a field shows that its value is a secret.
#[must_use]
pub fn is_secret_field(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    ["key", "pass", "auth", "bearer", "jwt", "dsn", "connection_string", "session", "sas"].contains(&lower.as_str())
        || lower.ends_with("_key")
        || key.ends_with("Key")
        || secrets(&format!("\"{key}\":\"x\"")).contains(MASK)
}

/// Masks values of fields with secret-like names, and texts that look like secrets. References
/// (`env:`, `file:`) remain, because they reveal nothing.
pub fn json(value: &mut Value) {
    match value {
        Value::String(found) => {
            if let Cow::Owned(masked) = secrets(found) {
                *found = masked;
            }
        }
        Value::Array(all) => all.iter_mut().for_each(json),
        Value::Object(all) => {
            for (key, value) in all.iter_mut() {
                if is_secret_field(key) { mask_all(value) } else { json(value) }
            }
        }
        _ => {}
    }
}

/// Masks all texts and numbers in a value, except references.
fn mask_all(value: &mut Value) {
    match value {
        Value::String(found) if found.is_empty() || found.starts_with("env:") || found.starts_with("file:/") => {}
        Value::String(found) => {
            let masked = secrets(found);
            // `sk_test_***` is more useful than `***`, and reveals no secret.
            *found = if masked.contains(MASK) { masked.into_owned() } else { MASK.to_owned() };
        }
        Value::Number(_) => *value = MASK.into(),
        Value::Array(all) => all.iter_mut().for_each(mask_all),
        Value::Object(all) => all.values_mut().for_each(mask_all),
        Value::Bool(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_compiles() {
        assert!(SECRET.is_some() && HINT.is_some());
    }

    #[test]
    fn secrets_are_masked_and_other_text_remains() {
        for (text, masked) in [
            ("key sk_live_51Habcdef, then", "key sk_live_***, then"),
            ("rk_test_abc whsec_1234", "rk_test_*** whsec_***"),
            ("the provided key 'sk_test_*****_ok' does", "the provided key 'sk_test_*****_ok' does"),
            ("Invalid API Key provided: sk_test_****0000", "Invalid API Key provided: sk_test_****0000"),
            ("Authorization: Bearer eyJhbGciOi.abc-def", "Authorization: ***"),
            ("got bearer abcdefgh12345678 from", "got bearer *** from"),
            ("postgres://user:hunter2@db:5432/x", "postgres://user:***@db:5432/x"),
            (r#"{"api_key":"abc\"def","n":1}"#, r#"{"api_key":"***","n":1}"#),
            (r#"said {\"client_secret\":\"abc\"} to"#, r#"said {\"client_secret\":\"***\"} to"#),
            ("password=hunter2&user=me", "password=***&user=me"),
            (r#"{"token":null}"#, r#"{"token":null}"#),
            ("Invalid API Key provided", "Invalid API Key provided"),
            ("the password is wrong", "the password is wrong"),
            ("http://127.0.0.1:12111/v1", "http://127.0.0.1:12111/v1"),
            ("task_force risk_level", "task_force risk_level"),
            ("**sk_live_51Habcdefgh**", "**sk_live_***"),
            ("\u{1b}[31msk_live_51Habcdef", "sk_live_***"),
            ("sk_live_51H\u{200b}abcdef", "sk_live_***"),
            ("apikey_sk_live_51Habcdef", "apikey_sk_live_***"),
            ("at postgres://u:p/w@x@db/name", "at postgres://u:***@db/name"),
            ("https://ghp0123456789abcdef@host/x", "https://***@host/x"),
            (
                r#"{"clientSecret":"a b","secret_key":"x","accessToken":"y"}"#,
                r#"{"clientSecret":"***","secret_key":"***","accessToken":"***"}"#,
            ),
            ("aws_secret_access_key = 'a b c' PGPASSWORD=x", "aws_secret_access_key = '***' PGPASSWORD=***"),
            (r#"said {\\\"password\\\":\\\"abc\\\"}"#, r#"said {\\\"password\\\":\\\"***\\\"}"#),
            (r#"{"api_keys":["a","b"],"credentials":{"x":"y"}}"#, r#"{"api_keys":***,"credentials":***}"#),
            (r#"{"password":"never closed"#, r#"{"password":"***""#),
            ("password=12345678 ok", "password=*** ok"),
            ("sk_live_***SECRET12", "sk_live_***"),
            ("api key: abc", "api key: ***"),
            ("Cookie: sid=a; csrf=b", "Cookie: ***"),
            ("Bearer 'abcdefgh12'", "Bearer ***'"),
            ("ghp_abcdefghijklmnopqrstuvwxyz and AKIAIOSFODNN7EXAMPLE", "*** and ***"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.abc", "***"),
            ("https://host/x?key=abc&n=1", "https://host/x?key=***&n=1"),
            ("<password>abc</password>", "<password>***</password>"),
            ("secret -> abc, token => def", "secret -> ***, token => ***"),
            ("Authorization: token abc", "Authorization: ***"),
            ("cookie: session=abc", "cookie: ***"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- after",
                "-----BEGIN RSA PRIVATE KEY-----*** after",
            ),
            ("issuing_token: 47 rows", "issuing_token: 47 rows"),
        ] {
            assert_eq!(secrets(text), masked);
        }
    }
}
