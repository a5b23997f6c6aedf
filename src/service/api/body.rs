//! Request parsing: JSON body and query. `synctop_core::fleet::requests` reads the fields of a
//! body.

use crate::service::problem::Problem;
use crate::service::registry::Service;
use crate::service::slot::Slot;
use axum::body::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use synctop_core::fleet::requests::{BodyError, read_body, validate_id};

/// Parses the body as a JSON object; an empty body is an empty object.
pub fn json(body: &Bytes) -> Result<Map<String, Value>, Problem> {
    read_body(body).map_err(|error| {
        let code = match error {
            BodyError::Nested => "nested_too_deeply",
            BodyError::NoObject => return Problem::invalid(&[], "expected a JSON object"),
            BodyError::Malformed(_) => "malformed_json",
        };
        Problem::new(400, code, error.to_string())
    })
}

/// Parsed query of a request. Parameters that the route does not know are errors.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut all = Vec::new();
        // Parameters are form-encoded, which the URL parser decodes.
        let base = format!("http://x/?{}", query.unwrap_or_default());
        let parsed = reqwest::Url::parse(&base).map_err(|_| Problem::invalid(&[], "the query cannot be read"))?;
        for (key, value) in parsed.query_pairs() {
            if !known.contains(&key.as_ref()) {
                let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::invalid(&[&key], format!("there is no such parameter (there is {has})")));
            }
            all.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(all))
    }

    /// Returns the last value of a parameter.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    /// Returns a Boolean parameter; false if absent, true if it has no value.
    pub fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.text(key) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(Problem::invalid(&[key], "expected true or false")),
        }
    }

    /// Returns a number within bounds; a value outside them is an error.
    pub fn number(&self, key: &str, within: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| within.contains(number));
        number.map(Some).ok_or_else(|| {
            Problem::invalid(&[key], format!("expected a whole number from {} to {}", within.start(), within.end()))
        })
    }

    /// Returns the option with this name; any other value is an error.
    pub fn one_of<T: Copy + Into<&'static str>>(&self, key: &str, options: &[T]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let found = options.iter().copied().find(|option| (*option).into() == text);
        found.map(Some).ok_or_else(|| {
            let words: Vec<_> = options.iter().map(|option| format!("\"{}\"", (*option).into())).collect();
            Problem::invalid(&[key], format!("Invalid option: expected one of {}", words.join("|")))
        })
    }
}

/// Returns the pipeline with this id.
pub async fn pipeline(service: &Arc<Service>, id: &str) -> Result<Arc<Slot>, Problem> {
    validate_id(id)?;
    service.read_slot(id).await?.ok_or_else(|| match service.broken(id) {
        Some(broken) => broken.problem(),
        None => Problem::no_pipeline(id),
    })
}
