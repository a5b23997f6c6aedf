//! JSON objects with opaque values: kept as received, number for number and escape for escape.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// An object by its keys.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// The fields of an object; nothing where it is none.
#[must_use]
pub fn fields(raw: &RawValue) -> Option<Fields> {
    serde_json::from_str(raw.get()).ok()
}

/// Takes a field that is an object; one that is not there, or null, is an empty one. `None`: it is
/// something else.
#[must_use]
pub fn take_object(from: &mut Fields, key: &str) -> Option<Fields> {
    match from.remove(key) {
        None => Some(Fields::new()),
        Some(raw) if raw.get() == "null" => Some(Fields::new()),
        Some(raw) => fields(&raw),
    }
}

/// Takes a field of a known shape; another shape counts as absent.
#[must_use]
pub fn take<T: serde::de::DeserializeOwned>(from: &mut Fields, key: &str) -> Option<T> {
    serde_json::from_str(from.remove(key)?.get()).ok()
}

/// Something of ours as JSON.
#[must_use]
pub fn raw<T: Serialize>(value: &T) -> Box<RawValue> {
    // Nothing of ours has a key that is no string, which is all that can fail.
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Raw JSON value at a path of keys in `text`.
#[must_use]
pub fn find(text: &str, path: &[&str]) -> Option<Box<RawValue>> {
    let mut at: Box<RawValue> = serde_json::from_str(text).ok()?;
    for key in path {
        at = fields(&at)?.remove(*key)?;
    }
    Some(at)
}
