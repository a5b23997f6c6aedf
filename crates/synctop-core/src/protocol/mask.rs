//! Masks secrets before texts are stored, so that no screen, log, JSON or export can show them.

use super::clean;
use regex::{Captures, Regex};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Replacement of a secret.
pub const MASK: &str = "***";

/// Pattern of API keys and webhook secrets, bearer and basic credentials, credentials in URLs,
/// private keys, and values of fields with secret-like names in JSON, `key=value` or header text
/// (also with escaped quotes, as in a log that quotes JSON).
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        // A connector's configuration is masked completely, to the end of the text.
        r"(?P<whole>(?i:connectorConfig))(?s:.+)",
        r"|(?P<key>(?i:(?:sk|rk|ek)[_-](?:live|test)[_-]|whsec_)|\b(?:sk|rk)_)(?P<body>[A-Za-z0-9_*+/=-]+)",
        r"|(?P<shape>\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}",
        r"|AKIA[0-9A-Z]{12,}|eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*))",
        r"|(?P<pem>-----BEGIN [A-Z ]*PRIVATE KEY-----)(?s:.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z))",
        r"|(?P<header>(?i:\b(?:authorization|cookie)\s*[:=]\s*))[^\s\x22'\\][^\r\n]*",
        r"|(?P<bearer>(?i:\b(?:bearer|basic)[\s:]+))[\x22']?(?:[A-Za-z0-9._~+/-]{8,}=*)",
        r"|(?P<url>://[^\s/:@\x22'<>]*:)(?:[^\s\x22<>]+@|[^\s/@\x22'<>]*[^\s/@\x22'<>0-9][^\s/@\x22'<>]*\z)",
        r"|(?P<user>://)[A-Za-z0-9._~%+-]{16,}@",
        r"|(?P<field>(?i:(?:\\*[\x22'])?[a-z0-9_.-]*(?:api[ _-]?key|password|passwd|passphrase|pwd|secret|token|private[_-]?key",
        r"|access[_-]?key|credentials?|authorization|cookie|[?&](?:key|sig|signature|auth|pass))(?:[_-][a-z0-9_-]+|s)?",
        r"(?:\\*[\x22'])?\s*(?:=>|->|[:=>]|%3d)\s*))",
        r"(?P<value>(?i:(?:bearer|basic|token|digest|negotiate)\s+)?(?:\\\x22(?:[^\x22\\]|\\\\\\\x22|\\[^\x22\\])*\\\x22",
        r"|\\+\x22(?:[^\x22\\]|\\[^\x22])*\\+\x22|\x22(?:[^\x22\\]|\\.)*(?:\x22|\z)|'(?:[^'\\]|\\.)*(?:'|\z)",
        r"|\[[^\]]*(?:\]|\z)|\{[^}]*(?:\}|\z)|[^\s\x22',;&})\]<]+))",
    ))
    .ok()
});

/// Pattern of substrings, of which every secret has one. Most texts have none and skip [`SECRET`].
static HINT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u:key|passw|pwd|passphrase|secret|token|credential|authoriz|cookie|sk_|rk_|ek_|sk-|rk-|ek-|whsec|bearer|basic",
        r"|connectorconfig|://|gh[pousr]_|github_pat|glpat|xox|akia|eyj|[?&](?:sig|auth|pass))",
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
    if hides {
        let visible = clean::lines(text);
        return Cow::Owned(secret.replace_all(&visible, replacement).into_owned());
    }
    secret.replace_all(text, replacement)
}

/// Returns the masked text of a match of [`SECRET`].
fn replacement(found: &Captures) -> String {
    let part = |name| found.name(name).map(|part| part.as_str());
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
        return format!("{header}{MASK}");
    }
    if let Some(pem) = part("pem") {
        return format!("{pem}{MASK}");
    }
    if let Some(bearer) = part("bearer") {
        return format!("{bearer}{MASK}");
    }
    if let Some(url) = part("url").or(part("user")) {
        return format!("{url}{MASK}@");
    }
    let (field, value) = (part("field").unwrap_or_default(), part("value").unwrap_or_default());
    let bare = value.trim_matches(['"', '\'', '\\']);
    let is_no_secret = matches!(bare, "" | "null" | "true" | "false" | MASK);
    let is_count = field.to_ascii_lowercase().contains("token") && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_no_secret || (is_count && value.len() <= MAX_COUNT_DIGITS) {
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
