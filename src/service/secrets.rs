//! Secrets of a pipeline: references (`env:NAME`, `file:PATH`) or stored values, resolved for the
//! engine and never shown.

use crate::util::secret_ref::{self, SecretRef, SecretRefError};
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
pub use synctop_core::protocol::mask::json as mask;
use synctop_core::protocol::mask::{self as text, is_secret_field};
use tokio::sync::Semaphore;

/// Maximum references of one configuration.
const MAX_REFERENCES: usize = 32;

/// Maximum duration of reading all secrets of a configuration. A network file system may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads of secrets at the same time, in the whole process. A read that hangs keeps its permit.
static READS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(4)));

/// References that a request may use, and the fields that may hold one.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct References {
    /// Allowed variables: names, or prefixes followed by `*`; none by default.
    pub env: Vec<String>,
    /// Folders of allowed files; none by default.
    #[serde(alias = "files")]
    pub dirs: Vec<PathBuf>,
}

impl References {
    /// True if a reference may name this variable.
    fn allows_variable(&self, name: &str) -> bool {
        // The service's own variables are withheld.
        !name.starts_with("SYNCTOP_")
            && self.env.iter().any(|it| it.strip_suffix('*').map_or(it == name, |begin| name.starts_with(begin)))
    }

    /// Reads the secret of a reference.
    fn read(&self, reference: &SecretRef) -> Result<String, ReadError> {
        match reference {
            SecretRef::Env(name) if self.allows_variable(name) => Ok(reference.read()?),
            SecretRef::Env(_) => Err(ReadError::NotAllowed),
            SecretRef::File(path) => {
                let folder = self.dirs.iter().find(|folder| path.starts_with(folder)).ok_or(ReadError::NotAllowed)?;
                Ok(secret_ref::read_below(folder, path)?)
            }
        }
    }
}

/// Reason of a reference that cannot be read, for the log of the service alone.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("[secrets] of the configuration does not allow it")]
    NotAllowed,
    #[error(transparent)]
    Secret(#[from] SecretRefError),
    #[error("reading takes longer than {} s", READ_TIMEOUT.as_secs())]
    Timeout,
}

/// Reference that cannot be resolved. It does not tell which files and variables exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Field of the reference.
    #[error(
        "{0}: the service cannot use this reference: [secrets] of its configuration lists the allowed variables and folders, and its log has the reason"
    )]
    NotUsable(String),
    #[error("the configuration has more than {MAX_REFERENCES} references to secrets")]
    TooMany,
    /// Field with a relative path.
    #[error("{0}: a file is named by its whole path, such as file:/run/secrets/key")]
    RelativePath(String),
}

/// Reference in a configuration, with the names of the fields that lead to it.
struct Found {
    path: Vec<String>,
    reference: SecretRef,
}

/// Collects the references in the secret fields of a configuration. Text elsewhere, such as the
/// name of a stream, is never a reference.
fn references(
    value: &Value,
    fields: &[String],
    path: &mut Vec<String>,
    all: &mut Vec<Found>,
) -> Result<(), ReferenceError> {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                path.push(key.clone());
                match value {
                    Value::String(text) if is_secret_field(key) || fields.contains(key) => {
                        if text.starts_with("file:") && !text.starts_with("file:/") {
                            return Err(ReferenceError::RelativePath(path.join(".")));
                        }
                        if let Some(reference) = SecretRef::parse(text) {
                            all.push(Found { path: path.clone(), reference });
                        }
                    }
                    _ => references(value, fields, path, all)?,
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                path.push(at.to_string());
                references(value, fields, path, all)?;
                path.pop();
            }
        }
        _ => {}
    }
    Ok(())
}

/// Replaces the references in the secret fields of a configuration by their secrets. `fields` are
/// those that the engine declares as secret, besides the fields that say so by their name.
///
/// # Errors
/// Returns [`ReferenceError::NotUsable`] for the first reference that is not allowed or cannot be
/// read.
pub async fn resolve(mut value: Value, allowed: &References, fields: &[String]) -> Result<Value, ReferenceError> {
    let mut all = Vec::new();
    references(&value, fields, &mut Vec::new(), &mut all)?;
    if all.is_empty() {
        return Ok(value);
    }
    if all.len() > MAX_REFERENCES {
        return Err(ReferenceError::TooMany);
    }
    let (paths, wanted): (Vec<_>, Vec<_>) = all.into_iter().map(|found| (found.path, found.reference)).unzip();
    let allowed = allowed.clone();
    let shown: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let read = async {
        let permit = Arc::clone(&READS).acquire_owned().await;
        // Files are read off the threads that serve requests.
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            wanted.iter().map(|reference| allowed.read(reference)).collect::<Vec<_>>()
        });
        read.await.unwrap_or_default()
    };
    let mut secrets = tokio::time::timeout(READ_TIMEOUT, read).await.unwrap_or_default().into_iter();
    for (path, shown) in paths.iter().zip(shown) {
        let field = path.join(".");
        match secrets.next().unwrap_or(Err(ReadError::Timeout)) {
            Ok(secret) => {
                if let Some(slot) = value.pointer_mut(&pointer(path)) {
                    *slot = secret.into();
                }
            }
            Err(why) => {
                tracing::warn!(target: "service", "the reference {shown} in {field}: {why}");
                return Err(ReferenceError::NotUsable(field));
            }
        }
    }
    Ok(value)
}

/// Returns the JSON pointer (RFC 6901) of a path.
fn pointer(path: &[String]) -> String {
    path.iter().flat_map(|part| ["/".to_owned(), part.replace('~', "~0").replace('/', "~1")]).collect()
}

/// Change of an endpoint without the secrets that would be sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint} changes: send {secret} again, because it would be sent to the new address")]
pub struct SecretNeeded {
    /// Changed field.
    pub endpoint: String,
    /// Masked field.
    pub secret: String,
}

/// Masks the secrets of a configuration: those of [`mask`], and the fields that the engine declares.
pub fn mask_config(config: &mut Value, fields: &[String]) {
    mask_declared(config, fields, false);
    mask(config);
}

/// Masks the declared fields with all that is nested in them, except references.
fn mask_declared(value: &mut Value, fields: &[String], is_declared: bool) {
    match value {
        Value::Object(all) => {
            for (key, value) in all.iter_mut() {
                mask_declared(value, fields, is_declared || fields.contains(key));
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| mask_declared(value, fields, is_declared)),
        Value::String(text) if is_declared && !text.is_empty() && SecretRef::parse(text).is_none() => {
            *value = text::MASK.into();
        }
        Value::Number(_) if is_declared => *value = text::MASK.into(),
        _ => {}
    }
}

/// Restores the secrets of `old` in a masked copy that a client sent back. `fields` are those that
/// the engine declares as secret.
///
/// # Errors
/// Returns [`SecretNeeded`] if the copy changes an endpoint: a client that cannot read a secret must
/// not send it elsewhere.
pub fn unmask(new: &mut Value, old: &Value, fields: &[String]) -> Result<(), SecretNeeded> {
    let mut shown = old.clone();
    mask_config(&mut shown, fields);
    let endpoint = changed_endpoint(new, &shown, "");
    let mut restored = None;
    restore(new, &shown, old, "", &mut restored);
    match (endpoint, restored) {
        (Some(endpoint), Some(secret)) => Err(SecretNeeded { endpoint, secret }),
        _ => Ok(()),
    }
}

/// True for a field that decides where a secret is sent.
fn is_endpoint(key: &str, value: &Value) -> bool {
    const WORDS: [&str; 12] =
        ["url", "uri", "host", "endpoint", "server", "address", "domain", "proxy", "port", "dsn", "region", "path"];
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word)) || value.as_str().is_some_and(|text| text.contains("://"))
}

fn field(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns the first endpoint that differs from the shown configuration, or that is new in it.
fn changed_endpoint(new: &Value, shown: &Value, path: &str) -> Option<String> {
    match new {
        Value::Object(all) => all.iter().find_map(|(key, value)| {
            let before = shown.get(key).unwrap_or(&Value::Null);
            let changed = || value != before && (is_endpoint(key, value) || is_endpoint(key, before));
            match value {
                Value::Object(_) | Value::Array(_) => changed_endpoint(value, before, &field(path, key)),
                _ => changed().then(|| field(path, key)),
            }
        }),
        Value::Array(all) => all.iter().enumerate().find_map(|(at, value)| {
            let before = shown.get(at).unwrap_or(&Value::Null);
            let changed = || value != before && (is_endpoint("", value) || is_endpoint("", before));
            match value {
                Value::Object(_) | Value::Array(_) => changed_endpoint(value, before, &field(path, &at.to_string())),
                _ => changed().then(|| field(path, &at.to_string())),
            }
        }),
        _ => None,
    }
}

/// Replaces each value of `new` that equals its masked form by the original, and notes the first.
fn restore(new: &mut Value, shown: &Value, old: &Value, path: &str, restored: &mut Option<String>) {
    match new {
        Value::Object(all) => {
            for (key, value) in all.iter_mut() {
                if let (Some(shown), Some(old)) = (shown.get(key), old.get(key)) {
                    restore(value, shown, old, &field(path, key), restored);
                }
            }
        }
        Value::Array(all) => {
            for (at, value) in all.iter_mut().enumerate() {
                if let (Some(shown), Some(old)) = (shown.get(at), old.get(at)) {
                    restore(value, shown, old, &field(path, &at.to_string()), restored);
                }
            }
        }
        value if *value == *shown && shown != old => {
            *value = old.clone();
            restored.get_or_insert_with(|| path.to_owned());
        }
        _ => {}
    }
}

/// Minimum length of a secret, of an encoded form or of one of its lines that is masked. Shorter
/// texts are too common.
const MIN_LENGTH: usize = 6;

/// Length of the head by which the beginning of a secret is recognized, because a program may cut
/// it.
const HEAD_LENGTH: usize = 12;

/// Maximum number of masked forms of one pipeline.
const MAX_FORMS: usize = 4_096;

/// Values of a pipeline's secrets in all their forms, to be masked in everything that leaves the
/// service.
#[derive(Debug, Default, Clone)]
pub struct KnownSecrets {
    /// Forms of the secrets: as they are, escaped, encoded, line by line.
    forms: BTreeSet<String>,
    /// Search for the forms, and for the heads of long ones; `None` without secrets.
    search: Option<AhoCorasick>,
    /// Texts of the search, by the number of their pattern.
    patterns: Vec<String>,
}

impl KnownSecrets {
    /// Collects the secrets of a resolved configuration. `config` is the same with references, and
    /// `fields` are those that the engine declares as secret.
    #[must_use]
    pub fn of(resolved: &Value, config: &Value, fields: &[String]) -> Self {
        let mut forms = BTreeSet::new();
        collect(resolved, config, fields, false, &mut forms);
        Self::of_forms(forms)
    }

    fn of_forms(forms: BTreeSet<String>) -> Self {
        let heads = forms.iter().filter(|form| form.len() > HEAD_LENGTH).filter_map(|form| form.get(..HEAD_LENGTH));
        let mut patterns: Vec<String> = forms.iter().cloned().chain(heads.map(str::to_owned)).collect();
        patterns.sort();
        patterns.dedup();
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns);
        Self { search: search.ok().filter(|_| !patterns.is_empty()), forms, patterns }
    }

    /// Adds the secrets of an earlier configuration: its values may still be in states and logs.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        if other.forms.is_subset(&self.forms) {
            return self.clone();
        }
        Self::of_forms(self.forms.union(&other.forms).take(MAX_FORMS).cloned().collect())
    }

    /// Masks these secrets in a text, whole or from their beginning.
    #[must_use]
    pub fn mask_values<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(search) = &self.search else { return Cow::Borrowed(text) };
        let mut found = String::new();
        let mut from = 0;
        for hit in search.find_iter(text) {
            if hit.start() < from {
                continue;
            }
            let mut end = hit.end();
            // The head of a secret that was cut: all of it that is there.
            let pattern = self.patterns.get(hit.pattern().as_usize()).map_or("", String::as_str);
            if !self.forms.contains(pattern) {
                let rest = text.get(hit.start()..).unwrap_or_default();
                let longest = self.forms.range(pattern.to_owned()..).take_while(|form| form.starts_with(pattern));
                end = hit.start() + longest.map(|form| common_length(form, rest)).max().unwrap_or(0).max(pattern.len());
            }
            found.push_str(text.get(from..hit.start()).unwrap_or_default());
            found.push_str(text::MASK);
            from = end;
        }
        if from == 0 {
            return Cow::Borrowed(text);
        }
        found.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(found)
    }

    /// Masks these secrets in a text, which may be cut inside one, and everything that looks like a
    /// secret.
    #[must_use]
    pub fn mask(&self, said: &str) -> String {
        let found = self.mask_values(said);
        let (body, end) = match found.strip_suffix('…') {
            Some(body) => (body, "…"),
            None => (&*found, ""),
        };
        let cut = |form: &String| {
            (MIN_LENGTH..HEAD_LENGTH)
                .rev()
                .filter_map(|length| form.get(..length))
                .find(|head| body.ends_with(head))
                .map(str::len)
        };
        match self.forms.iter().filter_map(cut).max() {
            Some(length) => {
                let kept = body.get(..body.len() - length).unwrap_or_default();
                text::secrets(&format!("{kept}{}{end}", text::MASK)).into_owned()
            }
            None => text::secrets(&found).into_owned(),
        }
    }

    /// Masks these secrets in a line, and everything that looks like a secret unless the line has a
    /// state. A line without secrets stays unchanged, byte for byte.
    #[must_use]
    pub fn masked<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let says = |word: &str| memchr::memmem::find(line, word.as_bytes()).is_some();
        let has = self.search.as_ref().is_some_and(|search| search.is_match(line));
        // A state belongs to the source; a position in it may look like a token.
        let state = says("\"source_state\"") || says("\"ending_state\"") || says("\"eof\"");
        if !has && state {
            return Cow::Borrowed(line);
        }
        let whole = String::from_utf8_lossy(line);
        let found = self.mask_values(&whole);
        if state {
            return Cow::Owned(found.into_owned().into_bytes());
        }
        if let Cow::Borrowed(_) = text::secrets(&found) {
            return if has { Cow::Owned(found.into_owned().into_bytes()) } else { Cow::Borrowed(line) };
        }
        let masked = match serde_json::from_str::<Value>(&found) {
            Ok(mut value) => {
                mask(&mut value);
                value.to_string()
            }
            Err(_) => text::secrets(&found).into_owned(),
        };
        if masked == *found && !has { Cow::Borrowed(line) } else { Cow::Owned(masked.into_bytes()) }
    }
}

/// Characters that percent encoding changes, as RFC 3986 recommends.
const UNRESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns the length of the common beginning of two texts.
fn common_length(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8()).sum()
}

/// Adds a secret in all forms in which programs print it: as it is and escaped for JSON, once and
/// twice, each of its lines, in base64 at any offset, in hexadecimal digits and in percent encoding.
fn add(secret: &str, forms: &mut BTreeSet<String>) {
    let quoted = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
    };
    let mut keep = |form: String| {
        if form.len() >= MIN_LENGTH && forms.len() < MAX_FORMS {
            forms.insert(form);
        }
    };
    let once = quoted(secret);
    keep(quoted(&once));
    keep(once);
    for text in secret.lines().map(str::trim).chain([secret]) {
        if text.len() < MIN_LENGTH {
            continue;
        }
        keep(text.to_owned());
        for form in base64_forms(text.as_bytes()) {
            keep(form.replace('+', "-").replace('/', "_"));
            keep(form);
        }
        let hex = crate::util::sys::hex(text.as_bytes());
        keep(hex.to_uppercase());
        keep(hex);
        let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        keep(encoded.to_lowercase());
        keep(encoded);
        keep(percent_encoding::utf8_percent_encode(text, UNRESERVED).to_string());
    }
}

/// Returns the characters in which base64 (RFC 4648) writes these bytes alone, wherever they stand
/// in the encoded text.
fn base64_forms(bytes: &[u8]) -> impl Iterator<Item = String> {
    (0..3_usize).filter_map(move |offset| {
        let padded = [vec![0; offset], bytes.to_vec()].concat();
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&padded);
        // Characters at both ends also encode bits of the neighbors.
        let start = (offset * 8).div_ceil(6);
        let end = padded.len() * 8 / 6;
        text.get(start..end).map(str::to_owned)
    })
}

/// Collects secrets: values of secret fields, resolved references, values that look like secrets,
/// and passwords in URLs.
fn collect(resolved: &Value, config: &Value, fields: &[String], secret: bool, known: &mut BTreeSet<String>) {
    match resolved {
        Value::String(found) => {
            let from_reference = config.as_str().is_some_and(|text| text != found);
            if secret || from_reference || text::secrets(found).contains(text::MASK) {
                add(found, known);
            }
            // Password in a URL.
            if let Some((_, rest)) = found.split_once("://")
                && let Some((user, _)) = rest.split_once('@')
                && let Some((_, password)) = user.split_once(':')
            {
                add(password, known);
            }
        }
        Value::Array(all) => {
            for (at, value) in all.iter().enumerate() {
                collect(value, config.get(at).unwrap_or(&Value::Null), fields, secret, known);
            }
        }
        Value::Object(all) => {
            for (key, value) in all {
                let secret = secret || is_secret_field(key) || fields.contains(key);
                collect(value, config.get(key).unwrap_or(&Value::Null), fields, secret, known);
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
        unmask(&mut back, &config, &[]).unwrap();
        assert_eq!(back["stripe"]["api_key"], "sk_test_fake_ok");
        assert_eq!(back["url"], "postgres://me:hunter22@db/x");
        assert_eq!(back["stripe"]["account_id"], "acct_2");
        let mut other = json!({"stripe": {"api_key": "sk_test_another"}});
        unmask(&mut other, &config, &[]).unwrap();
        assert_eq!(other["stripe"]["api_key"], "sk_test_another");
    }

    #[test]
    fn output_is_masked_and_otherwise_unchanged() {
        let config = json!({"source": {"stripe": {"api_key": "file:/x", "base_url": "http://a"}}});
        let resolved = json!({"source": {"stripe": {"api_key": "abcdef123456", "base_url": "http://a"}}});
        let known = KnownSecrets::of(&resolved, &config, &[]);
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

    #[test]
    fn changed_endpoint_needs_its_secret_again() {
        let config =
            json!({"stripe": {"api_key": "sk_test_fake_ok", "base_url": "https://api.example.com", "account": "a"}});
        let mut shown = config.clone();
        mask(&mut shown);
        for (field, value) in
            [("base_url", json!("https://evil.example.com")), ("proxy", json!("evil:1")), ("port", json!(1))]
        {
            let mut moved = shown.clone();
            moved["stripe"][field] = value;
            let refused = unmask(&mut moved.clone(), &config, &[]).unwrap_err();
            assert_eq!((refused.endpoint, refused.secret), (format!("stripe.{field}"), "stripe.api_key".to_owned()));
            moved["stripe"]["api_key"] = "sk_test_mine".into();
            unmask(&mut moved, &config, &[]).unwrap();
            assert_eq!(moved["stripe"]["api_key"], "sk_test_mine");
        }
        let mut renamed = shown;
        renamed["stripe"]["account"] = "b".into();
        unmask(&mut renamed, &config, &[]).unwrap();
        assert_eq!(renamed["stripe"]["api_key"], "sk_test_fake_ok");
    }

    #[test]
    fn secrets_are_masked_in_every_form() {
        let secret = "tr0ub4dor&3-zw\u{e9}i/x=";
        let lines = "-----FIRST LINE-----\nsecond+line/of=it\nthird one";
        let config = json!({"source": {"password": "env:A", "private_key": "file:/b"}});
        let resolved = json!({"source": {"password": secret, "private_key": lines}});
        let known = KnownSecrets::of(&resolved, &config, &[]);
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let hex = crate::util::sys::hex(secret.as_bytes());
        let quoted = Value::from(secret).to_string();
        let texts = [
            format!("refused: {secret}"),
            format!("Authorization: Basic {}", encode(&format!("user:{secret}"))),
            format!("x {}", encode(&format!("a:{secret}:b"))),
            format!("x {}", encode(&format!("{secret}:tail"))),
            format!("hex {hex} HEX {}", hex.to_uppercase()),
            format!("url?key={}", percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC)),
            format!("json {quoted} and {}", Value::from(quoted.as_str())),
            format!("cut {}", &secret[..14]),
            format!("cut short {}…", &secret[..8]),
            "line: second+line/of=it".to_owned(),
        ];
        for text in texts {
            let masked = known.mask(&text);
            assert!(masked.contains("***"), "{text} -> {masked}");
            for leak in ["ub4dor", "dHIwdWI0", "74723075", "second+line", "wdWI0ZG9y"] {
                assert!(!masked.contains(leak), "{leak} in {masked}");
            }
        }
        assert_eq!(known.mask("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn only_secret_fields_hold_references() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "the-secret\n").unwrap();
        let reference = format!("file:{}/key", folder.path().display());
        let allowed = References { env: vec!["CARGO_*".to_owned()], dirs: vec![folder.path().to_owned()] };
        let resolve = |value: Value, allowed: &References, fields: &[String]| {
            runtime.block_on(super::resolve(value, allowed, fields))
        };
        let config = json!({"streams": [{"name": reference}], "source": {"api_key": reference, "account": reference}});
        let found = resolve(config.clone(), &allowed, &[]).unwrap();
        assert_eq!(found["source"], json!({"api_key": "the-secret", "account": reference}));
        assert_eq!(found["streams"], config["streams"]);
        // A field that the engine declares.
        let found = resolve(config.clone(), &allowed, &["account".to_owned()]).unwrap();
        assert_eq!(found["source"]["account"], "the-secret");
        assert!(resolve(json!({"password": "env:CARGO_MANIFEST_DIR"}), &allowed, &[]).is_ok());
        // Nothing is allowed by default, and every refusal has the same words.
        for value in
            [reference.as_str(), "file:/etc/passwd", "file:/nonexistent", "env:PATH", "env:NO_SUCH", "file:/proc/kmsg"]
        {
            let refused = resolve(json!({"api_key": value}), &References::default(), &[]);
            assert_eq!(refused, Err(ReferenceError::NotUsable("api_key".to_owned())), "{value}");
        }
        let many: Vec<Value> = (0..33).map(|_| json!({"token": reference})).collect();
        assert_eq!(resolve(json!({"all": many}), &allowed, &[]), Err(ReferenceError::TooMany));
    }

    #[test]
    fn declared_fields_are_masked_and_restored() {
        let fields = ["connection".to_owned()];
        let config = json!({"connection": "abc def ghi", "other": "env:X", "n": {"connection": {"pin": 12_345}}});
        let mut shown = config.clone();
        mask_config(&mut shown, &fields);
        assert_eq!(shown, json!({"connection": "***", "other": "env:X", "n": {"connection": {"pin": "***"}}}));
        unmask(&mut shown, &config, &fields).unwrap();
        assert_eq!(shown, config);
        assert_eq!(KnownSecrets::of(&config, &config, &fields).mask("bad abc def ghi"), "bad ***");
    }
}
