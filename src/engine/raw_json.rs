//! JSON objects with opaque values: kept as received, number for number and escape for escape.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// Fields of a JSON object by key.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Returns the fields of a JSON object; `None` for any other value.
#[must_use]
pub fn fields(raw: &RawValue) -> Option<Fields> {
    serde_json::from_str(raw.get()).ok()
}

/// Removes a field that must be an object. An absent or `null` field gives an empty object, any
/// other value `None`.
#[must_use]
pub fn take_object(from: &mut Fields, key: &str) -> Option<Fields> {
    match from.remove(key) {
        None => Some(Fields::new()),
        Some(raw) if raw.get() == "null" => Some(Fields::new()),
        Some(raw) => fields(&raw),
    }
}

/// Removes and deserializes a field. A value of another type counts as absent.
#[must_use]
pub fn take<T: serde::de::DeserializeOwned>(from: &mut Fields, key: &str) -> Option<T> {
    serde_json::from_str(from.remove(key)?.get()).ok()
}

/// Serializes a value of synctop's own types.
#[must_use]
pub fn raw<T: Serialize>(value: &T) -> Box<RawValue> {
    // Only maps with keys other than strings fail, and synctop's own types have none.
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Returns the raw JSON value at a path of keys in `text`.
#[must_use]
pub fn find(text: &str, path: &[&str]) -> Option<Box<RawValue>> {
    let mut at: Box<RawValue> = serde_json::from_str(text).ok()?;
    for key in path {
        at = fields(&at)?.remove(*key)?;
    }
    Some(at)
}
