//! Secrets of a pipeline: references (`env:NAME`, `file:PATH`) or stored values, resolved for the
//! engine and never shown.

use crate::util::secret_ref::{SecretRef, SecretRefError};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
pub use synctop_core::protocol::mask::json as mask;
use synctop_core::protocol::mask::{self as text, is_secret_field};

/// Minimum length of a secret that is masked in an engine's output. Shorter values are too common.
const MIN_LENGTH: usize = 8;

/// References that a request may use.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct References {
    /// Allowed variables: names, or prefixes followed by `*`; all by default.
    pub env: Option<Vec<String>>,
    /// Folders of allowed files; all by default.
    pub files: Option<Vec<std::path::PathBuf>>,
}

impl References {
    /// True if a reference may name this variable.
    fn env(&self, name: &str) -> bool {
        // The service's own variables are withheld.
        !name.starts_with("SYNCTOP_")
            && self.env.as_ref().is_none_or(|allowed| {
                allowed.iter().any(|it| it.strip_suffix('*').map_or(it == name, |begin| name.starts_with(begin)))
            })
    }

    /// True if a reference may name this file.
    fn file(&self, path: &Path) -> bool {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.files.as_ref().is_none_or(|allowed| {
            allowed.iter().any(|it| path.starts_with(std::fs::canonicalize(it).unwrap_or_else(|_| it.clone())))
        })
    }
}

/// Reference that cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("references to the variable {0} are not allowed: see secrets.env of the configuration")]
    VariableNotAllowed(String),
    #[error("references to the file {} are not allowed: see secrets.files of the configuration", .0.display())]
    FileNotAllowed(PathBuf),
    #[error("{}: it is no file", .0.display())]
    NoFile(PathBuf),
    #[error("the service cannot read a secret: {0}")]
    Secret(#[from] SecretRefError),
    /// Field with a relative path.
    #[error("{0}: a file is named by its whole path, such as file:/run/secrets/key")]
    RelativePath(String),
}

/// Resolves a reference; `None` if the value is not a reference.
fn reference(value: &str, allowed: &References) -> Option<Result<String, ReferenceError>> {
    let secret = SecretRef::parse(value)?;
    let refused = match &secret {
        SecretRef::Env(name) => (!allowed.env(name)).then(|| ReferenceError::VariableNotAllowed(name.clone())),
        SecretRef::File(path) if !allowed.file(path) => Some(ReferenceError::FileNotAllowed(path.clone())),
        // A pipe or a device would block the read.
        SecretRef::File(path) if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
            Some(ReferenceError::NoFile(path.clone()))
        }
        SecretRef::File(_) => None,
    };
    Some(refused.map_or_else(|| Ok(secret.read()?), Err))
}

/// Replaces all references in a value by their secrets.
///
/// # Errors
/// Returns the [`ReferenceError`] of the first reference that cannot be resolved.
pub fn resolve(value: &mut Value, allowed: &References) -> Result<(), ReferenceError> {
    match value {
        Value::String(text) => {
            if let Some(found) = reference(text, allowed) {
                *text = found?;
            }
        }
        Value::Array(all) => all.iter_mut().try_for_each(|value| resolve(value, allowed))?,
        Value::Object(all) => {
            for (key, value) in all.iter_mut() {
                if is_secret_field(key)
                    && value.as_str().is_some_and(|it| it.starts_with("file:") && !it.starts_with("file:/"))
                {
                    return Err(ReferenceError::RelativePath(key.clone()));
                }
                resolve(value, allowed)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Restores the secrets of `old` in a masked copy that a client sent back.
pub fn unmask(new: &mut Value, old: &Value) {
    let mut shown = old.clone();
    mask(&mut shown);
    restore(new, &shown, old);
}

/// Replaces each value of `new` that equals its masked form by the original.
fn restore(new: &mut Value, shown: &Value, old: &Value) {
    match new {
        Value::Object(all) => {
            for (key, value) in all.iter_mut() {
                if let (Some(shown), Some(old)) = (shown.get(key), old.get(key)) {
                    restore(value, shown, old);
                }
            }
        }
        Value::Array(all) => {
            for (at, value) in all.iter_mut().enumerate() {
                if let (Some(shown), Some(old)) = (shown.get(at), old.get(at)) {
                    restore(value, shown, old);
                }
            }
        }
        value if *value == *shown && shown != old => *value = old.clone(),
        _ => {}
    }
}

/// Values of a pipeline's secrets, to be masked in its engine's output.
#[derive(Debug, Default, Clone)]
pub struct KnownSecrets(BTreeSet<String>);

impl KnownSecrets {
    /// Collects the secrets of a resolved configuration. `config` is the same with references.
    #[must_use]
    pub fn of(resolved: &Value, config: &Value) -> Self {
        let mut known = BTreeSet::new();
        collect(resolved, config, false, &mut known);
        Self(known)
    }

    /// Returns the longest secrets first, because one may contain another.
    fn longest_first(&self) -> impl Iterator<Item = &String> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.into_iter()
    }

    /// Masks these secrets in a text, and everything that looks like a secret.
    #[must_use]
    pub fn mask(&self, said: &str) -> String {
        let mut found = said.to_owned();
        for secret in self.longest_first() {
            found = found.replace(secret.as_str(), text::MASK);
        }
        text::secrets(&found).into_owned()
    }

    /// Masks these secrets in a line, and everything that looks like a secret unless the line has a
    /// state. A line without secrets stays unchanged, byte for byte.
    #[must_use]
    pub fn masked<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let says = |word: &str| memchr::memmem::find(line, word.as_bytes()).is_some();
        let has = self.0.iter().any(|secret| says(secret));
        // A state belongs to the source; a position in it may look like a token.
        let state = says("\"source_state\"") || says("\"ending_state\"") || says("\"eof\"");
        if !has && state {
            return Cow::Borrowed(line);
        }
        let mut found = String::from_utf8_lossy(line).into_owned();
        for secret in self.longest_first() {
            found = found.replace(secret.as_str(), text::MASK);
        }
        if state {
            return Cow::Owned(found.into_bytes());
        }
        if let Cow::Borrowed(_) = text::secrets(&found) {
            return if has { Cow::Owned(found.into_bytes()) } else { Cow::Borrowed(line) };
        }
        let masked = match serde_json::from_str::<Value>(&found) {
            Ok(mut value) => {
                mask(&mut value);
                value.to_string()
            }
            Err(_) => text::secrets(&found).into_owned(),
        };
        if masked == found && !has { Cow::Borrowed(line) } else { Cow::Owned(masked.into_bytes()) }
    }
}

/// Adds a secret as it is, escaped for JSON, and escaped for JSON within JSON.
fn add(secret: &str, known: &mut BTreeSet<String>) {
    let quoted = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
    };
    let once = quoted(secret);
    known.insert(quoted(&once));
    known.insert(once);
    known.insert(secret.to_owned());
}

/// Collects secrets: values of secret fields, resolved references, values that look like secrets,
/// and passwords in URLs.
fn collect(resolved: &Value, config: &Value, secret: bool, known: &mut BTreeSet<String>) {
    match resolved {
        Value::String(found) => {
            let from_reference = config.as_str().is_some_and(|text| text != found);
            if (secret || from_reference || text::secrets(found).contains(text::MASK)) && found.len() >= MIN_LENGTH {
                add(found, known);
            }
            // Password in a URL.
            if let Some((_, rest)) = found.split_once("://")
                && let Some((user, _)) = rest.split_once('@')
                && let Some((_, password)) = user.split_once(':')
                && password.len() >= MIN_LENGTH
            {
                add(password, known);
            }
        }
        Value::Array(all) => {
            for (at, value) in all.iter().enumerate() {
                collect(value, config.get(at).unwrap_or(&Value::Null), secret, known);
            }
        }
        Value::Object(all) => {
            for (key, value) in all {
                collect(value, config.get(key).unwrap_or(&Value::Null), secret || is_secret_field(key), known);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_masked_value_has_no_secret_and_can_be_sent_back() {
        let config = json!({
            "type": "stripe",
            "stripe": {"api_key": "sk_test_fake_ok", "account_id": "acct_1", "password": "env:PASS", "pin": {"token": 12_345}},
            "url": "postgres://me:hunter22@db/x",
            "keys": ["none"],
        });
        let mut shown = config.clone();
        mask(&mut shown);
        let text = shown.to_string();
        for secret in ["fake_ok", "hunter22", "12345"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(shown["stripe"]["api_key"], "sk_test_***");
        assert_eq!(shown["stripe"]["password"], "env:PASS");
        assert_eq!(shown["stripe"]["account_id"], "acct_1");
        let mut back = shown.clone();
        back["stripe"]["account_id"] = "acct_2".into();
        unmask(&mut back, &config);
        assert_eq!(back["stripe"]["api_key"], "sk_test_fake_ok");
        assert_eq!(back["url"], "postgres://me:hunter22@db/x");
        assert_eq!(back["stripe"]["account_id"], "acct_2");
        let mut other = json!({"stripe": {"api_key": "sk_test_another"}});
        unmask(&mut other, &config);
        assert_eq!(other["stripe"]["api_key"], "sk_test_another");
    }

    #[test]
    fn output_is_masked_and_otherwise_unchanged() {
        let config = json!({"source": {"stripe": {"api_key": "file:/x", "base_url": "http://a"}}});
        let resolved = json!({"source": {"stripe": {"api_key": "abcdef123456", "base_url": "http://a"}}});
        let known = KnownSecrets::of(&resolved, &config);
        let same = br#"{"type":"source_state","source_state":{"data":{"next_page_token":"tok","n":1.50}}}"#;
        assert!(matches!(known.masked(same), Cow::Borrowed(_)));
        let plain = br#"{"type":"log","log":{"level":"info","message":"all is well"} }"#;
        assert!(matches!(known.masked(plain), Cow::Borrowed(_)));
        let log = br#"{"type":"log","log":{"message":"key abcdef123456 is bad"}}"#;
        assert_eq!(&*known.masked(log), br#"{"type":"log","log":{"message":"key *** is bad"}}"#);
        let control = br#"{"type":"control","control":{"control_type":"source_config","source_config":{"api_key":"sk_test_other","n":1}}}"#;
        let masked = String::from_utf8(known.masked(control).into_owned()).unwrap();
        assert!(!masked.contains("other") && masked.contains("sk_test_***") && masked.contains("\"n\":1"), "{masked}");
    }
}
