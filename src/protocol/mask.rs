//! Secrets are masked before anything is kept, so that no screen, log, JSON or export can show them.

use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::LazyLock;

/// What stands for a secret.
pub const MASK: &str = "***";

/// API keys and webhook secrets, bearer and basic credentials, passwords in URLs, and values of fields named like a secret
/// in JSON or `key=value` text (also with the quotes escaped, as in a log that quotes JSON).
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?P<key>\b(?:(?:sk|rk|ek)_(?:live|test)_|whsec_|(?:sk|rk)_))[A-Za-z0-9_*+/=-]+",
        r"|(?P<bearer>(?i:\b(?:bearer|basic)\s+))(?:[A-Za-z0-9._~+/-]{8,}=*)",
        r"|(?P<url>://[^\s/:@]*:)[^\s/@]+@",
        r#"|(?P<field>(?i:\\?"?\b(?:[a-z0-9]+[_-])*(?:api[_-]?key|password|passwd|secret|token|private[_-]?key|credentials?|authorization)\\?"?\s*[:=]\s*))"#,
        r#"(?:\\"(?:[^"\\]|\\[^"])*\\"|"(?:[^"\\]|\\.)*"|(?i:(?:bearer|basic)\s+)?[^\s"',;&})\]]+)"#,
    ))
    .ok()
});

/// The text with every secret in it masked.
#[must_use]
pub fn secrets(text: &str) -> Cow<'_, str> {
    let Some(secret) = SECRET.as_ref() else { return Cow::Borrowed(MASK) };
    secret.replace_all(text, |found: &Captures| {
        let part = |name| found.name(name).map(|part| part.as_str());
        if let Some(key) = part("key") {
            let whole = found.get(0).map_or("", |whole| whole.as_str());
            // An engine masked it already: what it left tells which key it was.
            if whole.contains("**") { whole.to_owned() } else { format!("{key}{MASK}") }
        } else if let Some(bearer) = part("bearer") {
            format!("{bearer}{MASK}")
        } else if let Some(url) = part("url") {
            format!("{url}{MASK}@")
        } else {
            let field = part("field").unwrap_or_default();
            let value = found.get(0).map_or("", |whole| &whole.as_str()[field.len()..]);
            match value {
                "null" | "true" | "false" | "\"\"" => format!("{field}{value}"),
                _ if value.starts_with("\\\"") => format!("{field}\\\"{MASK}\\\""),
                _ if value.starts_with('"') => format!("{field}\"{MASK}\""),
                _ => format!("{field}{MASK}"),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_compiles() {
        assert!(SECRET.is_some());
    }

    #[test]
    fn secrets_go_and_words_about_them_stay() {
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
        ] {
            assert_eq!(secrets(text), masked);
        }
    }
}
