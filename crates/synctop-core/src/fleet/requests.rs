//! Bodies of the requests to a pipeline service, read strictly: an unknown field, or a value of
//! another type, is an error that names the field, in the sentences of the published service.

use super::wire::DesiredStatus;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Length of a pipeline id in characters, as in the published service.
const ID_LENGTH: std::ops::RangeInclusive<usize> = 3..=64;

/// Fields of a pipeline that only the service sets. A client may send back what it read.
const READ_ONLY: [&str; 13] = [
    "status",
    "sync_state",
    "created_at",
    "updated_at",
    "revision",
    "cursor",
    "reason",
    "retry",
    "run",
    "node",
    "next_run_at",
    "late_at",
    "unassigned",
];

/// Field that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FieldError {
    /// Names from the body to the field; empty for the body itself.
    pub path: Vec<String>,
    /// Mistake in its value.
    pub problem: FieldProblem,
}

/// Mistake in the value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// A required object is absent.
    #[error("Invalid input: expected object, received undefined")]
    Missing,
    /// JSON type that is expected.
    #[error("Invalid input: expected {0}")]
    Type(&'static str),
    /// Value that is expected.
    #[error("expected {0}")]
    Value(&'static str),
    /// The value is none of the desired statuses.
    #[error("Invalid option: expected one of \"active\"|\"paused\"|\"deleted\"")]
    DesiredStatus,
    /// A new pipeline is to be deleted.
    #[error("a new pipeline cannot be deleted already")]
    DeletedAtOnce,
    /// The length of an id is out of bounds.
    #[error("a pipeline id has {} to {} characters", ID_LENGTH.start(), ID_LENGTH.end())]
    IdLength,
    /// An id has other characters.
    #[error("Pipeline id must start with a letter and contain only letters, numbers, underscores, or hyphens.")]
    IdCharacters,
    /// The id is not that of the pipeline.
    #[error("a pipeline keeps its id")]
    OtherId,
    /// Only the service sets the field.
    #[error("it cannot be set: set desired_status instead")]
    ReadOnly,
    /// No field has this name; the names of all fields.
    #[error("there is no such field (there is {0})")]
    Unknown(&'static str),
}

impl FieldError {
    fn of(path: &[&str], problem: FieldProblem) -> Self {
        Self { path: path.iter().map(|name| (*name).to_owned()).collect(), problem }
    }
}

/// Maximum depth of a body. It is stored inside other documents, and read with serde_json's own
/// limit of 128.
const MAX_DEPTH: usize = 64;

/// Returns the maximum nesting of objects and arrays, outside of strings.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut max, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                max = max.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    max
}

/// Reason that a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is nested too deeply to be stored and read back.
    #[error("the JSON is nested more than {MAX_DEPTH} levels deep")]
    Nested,
    /// It is JSON, and no object.
    #[error("expected a JSON object")]
    NoObject,
    /// Message of the JSON parser.
    #[error("Malformed JSON in request body: {0}")]
    Malformed(String),
}

/// Parses a body as a JSON object; an empty body is an empty object.
///
/// # Errors
/// Returns [`BodyError`] for another value, and for one that is nested too deeply.
pub fn read_body(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    if depth(body) > MAX_DEPTH {
        return Err(BodyError::Nested);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(BodyError::NoObject),
        Err(error) => Err(BodyError::Malformed(error.to_string())),
    }
}

/// Validates a pipeline id.
///
/// # Errors
/// Returns [`FieldProblem::IdLength`] or [`FieldProblem::IdCharacters`].
pub fn validate_id(id: &str) -> Result<(), FieldError> {
    if !ID_LENGTH.contains(&id.len()) {
        return Err(FieldError::of(&["id"], FieldProblem::IdLength));
    }
    let fine = id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if fine { Ok(()) } else { Err(FieldError::of(&["id"], FieldProblem::IdCharacters)) }
}

/// Body of `POST /pipelines`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatePipeline {
    /// Name; `None` for a random one.
    pub id: Option<String>,
    /// Source: `{"type": T, T: {...}}`.
    pub source: Value,
    /// Destination, in the same form.
    pub destination: Value,
    /// Requested streams; `None` for all.
    pub streams: Option<Value>,
    /// Labels of the nodes that may run it; none for all nodes.
    pub requires: Labels,
    /// Schedule of its runs; the service reads it.
    pub schedule: Option<Value>,
    /// Status that the operator wants.
    pub desired_status: DesiredStatus,
}

impl CreatePipeline {
    /// Reads the body.
    ///
    /// # Errors
    /// Returns the first field that cannot be read.
    pub fn read(mut fields: Map<String, Value>) -> Result<Self, FieldError> {
        let id = match fields.remove("id") {
            None => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err(FieldError::of(&["id"], FieldProblem::Type("string"))),
        };
        id.as_deref().map_or(Ok(()), validate_id)?;
        let required = |party: Option<Value>, name| party.ok_or_else(|| FieldError::of(&[name], FieldProblem::Missing));
        let source = required(party(&mut fields, "source")?, "source")?;
        let destination = required(party(&mut fields, "destination")?, "destination")?;
        let streams = streams(&mut fields)?.flatten();
        let requires = requires(&mut fields)?.unwrap_or_default();
        let schedule = schedule(&mut fields)?.flatten();
        let desired_status = desired_status(&mut fields)?.unwrap_or(DesiredStatus::Active);
        if desired_status == DesiredStatus::Deleted {
            return Err(FieldError::of(&["desired_status"], FieldProblem::DeletedAtOnce));
        }
        remove_read_only(&mut fields)?;
        Ok(Self { id, source, destination, streams, requires, schedule, desired_status })
    }
}

/// Body of `PATCH /pipelines/{id}`. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UpdatePipeline {
    /// New source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Value>,
    /// New destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Value>,
    /// New streams; `Some(None)` requests all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Option<Value>>,
    /// New labels of the nodes that may run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires: Option<Labels>,
    /// New schedule; `Some(None)` removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Option<Value>>,
    /// New desired status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_status: Option<DesiredStatus>,
}

impl UpdatePipeline {
    /// Reads the body of a request for the pipeline `id`.
    ///
    /// # Errors
    /// Returns the first field that cannot be read, and [`FieldProblem::ReadOnly`] if only
    /// read-only fields are present.
    pub fn read(mut fields: Map<String, Value>, id: &str) -> Result<Self, FieldError> {
        let desired_status = desired_status(&mut fields)?;
        let source = party(&mut fields, "source")?;
        let destination = party(&mut fields, "destination")?;
        let streams = streams(&mut fields)?;
        let requires = requires(&mut fields)?;
        let schedule = schedule(&mut fields)?;
        if fields.remove("id").is_some_and(|it| it != id) {
            return Err(FieldError::of(&["id"], FieldProblem::OtherId));
        }
        let read_only = remove_read_only(&mut fields)?;
        let update = Self { source, destination, streams, requires, schedule, desired_status };
        match read_only {
            Some(field) if update == Self::default() => Err(FieldError::of(&[field], FieldProblem::ReadOnly)),
            _ => Ok(update),
        }
    }

    /// True if the configuration changes.
    #[must_use]
    pub fn changes_config(&self) -> bool {
        self.source.is_some()
            || self.destination.is_some()
            || self.streams.is_some()
            || self.requires.is_some()
            || self.schedule.is_some()
    }
}

/// Body of `POST /pipelines/{id}/runs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StartRun {
    /// Maximum duration of each call in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
    /// Maximum number of checkpoints of each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_limit: Option<u64>,
    /// Run id that is sent to the engine; `None` for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// True to discard the stored state and read from the start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reset_state: bool,
}

impl StartRun {
    /// Reads the body.
    ///
    /// # Errors
    /// Returns the first field that cannot be read.
    pub fn read(mut fields: Map<String, Value>) -> Result<Self, FieldError> {
        let bad = |name: &str, wanted| FieldError::of(&[name], FieldProblem::Value(wanted));
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
        let mut run = Self::default();
        if let Some(limit) = take("time_limit") {
            let limit = limit.as_f64().filter(|limit| *limit > 0.0 && *limit <= 1e6);
            run.time_limit = Some(limit.ok_or_else(|| bad("time_limit", "a number of seconds above 0"))?);
        }
        if let Some(limit) = take("state_limit") {
            let limit = limit.as_u64().filter(|limit| *limit > 0);
            run.state_limit = Some(limit.ok_or_else(|| bad("state_limit", "a whole number above 0"))?);
        }
        match take("run_id") {
            None => {}
            Some(Value::String(id)) if (1..=128).contains(&id.len()) => run.run_id = Some(id),
            Some(_) => return Err(bad("run_id", "1 to 128 characters")),
        }
        match take("reset_state") {
            None => {}
            Some(Value::Bool(reset)) => run.reset_state = reset,
            Some(_) => return Err(bad("reset_state", "true or false")),
        }
        no_more(&fields, "time_limit, state_limit, run_id, reset_state")?;
        Ok(run)
    }
}

/// Removes and validates a source or destination: `{"type": T, T: {...}}`.
fn party(fields: &mut Map<String, Value>, name: &str) -> Result<Option<Value>, FieldError> {
    let Some(party) = fields.remove(name) else { return Ok(None) };
    let Some(inner) = party.as_object() else { return Err(FieldError::of(&[name], FieldProblem::Type("object"))) };
    let Some(kind) = inner.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty()) else {
        return Err(FieldError::of(&[name, "type"], FieldProblem::Type("string")));
    };
    if inner.get(kind).is_some_and(|config| !config.is_object()) {
        return Err(FieldError::of(&[name, kind], FieldProblem::Type("object")));
    }
    Ok(Some(party))
}

/// Removes and validates the streams: `[{"name": ...}]`. `Some(None)` is an explicit null.
fn streams(fields: &mut Map<String, Value>) -> Result<Option<Option<Value>>, FieldError> {
    let Some(streams) = fields.remove("streams") else { return Ok(None) };
    if streams.is_null() {
        return Ok(Some(None));
    }
    let Some(all) = streams.as_array() else {
        return Err(FieldError::of(&["streams"], FieldProblem::Type("array")));
    };
    match all.iter().position(|stream| !stream.get("name").is_some_and(Value::is_string)) {
        None => Ok(Some(Some(streams))),
        Some(at) => Err(FieldError::of(&["streams", &at.to_string(), "name"], FieldProblem::Type("string"))),
    }
}

/// Removes the schedule: an object. `Some(None)` is an explicit null.
fn schedule(fields: &mut Map<String, Value>) -> Result<Option<Option<Value>>, FieldError> {
    match fields.remove("schedule") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(schedule @ Value::Object(_)) => Ok(Some(Some(schedule))),
        Some(_) => Err(FieldError::of(&["schedule"], FieldProblem::Type("object"))),
    }
}

/// Labels by name, such as `region: eu`.
pub type Labels = BTreeMap<String, String>;

/// Maximum number of labels of a node or a pipeline.
const MAX_LABELS: usize = 16;

/// True for the name or the value of a label: 1 to 63 letters, digits, `-`, `_`, `.` and `/`, as in
/// Kubernetes.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    (1..=63).contains(&text.len()) && text.chars().all(fine)
}

fn requires(fields: &mut Map<String, Value>) -> Result<Option<Labels>, FieldError> {
    let Some(value) = fields.remove("requires") else { return Ok(None) };
    let Value::Object(all) = value else {
        return Err(FieldError::of(&["requires"], FieldProblem::Type("object")));
    };
    if all.len() > MAX_LABELS {
        return Err(FieldError::of(&["requires"], FieldProblem::Value("at most 16 labels")));
    }
    let mut labels = Labels::new();
    for (name, value) in all {
        match value {
            Value::String(value) if is_label(&name) && is_label(&value) => labels.insert(name, value),
            _ => {
                let expected = "1 to 63 letters, digits, -, _, . and / in the name and the value of a label";
                return Err(FieldError::of(&["requires", &name], FieldProblem::Value(expected)));
            }
        };
    }
    Ok(Some(labels))
}

fn desired_status(fields: &mut Map<String, Value>) -> Result<Option<DesiredStatus>, FieldError> {
    let Some(value) = fields.remove("desired_status") else { return Ok(None) };
    let known = value.as_str().and_then(|word| word.parse().ok());
    known.map(Some).ok_or_else(|| FieldError::of(&["desired_status"], FieldProblem::DesiredStatus))
}

/// Removes the read-only fields. Returns one that was present.
fn remove_read_only(fields: &mut Map<String, Value>) -> Result<Option<&'static str>, FieldError> {
    let mut found = None;
    for name in READ_ONLY {
        if fields.remove(name).is_some() {
            found = Some(name);
        }
    }
    no_more(fields, "id, source, destination, streams, requires, schedule, desired_status")?;
    Ok(found)
}

/// Refuses the fields that are left. `known`: the names of all fields.
fn no_more(fields: &Map<String, Value>, known: &'static str) -> Result<(), FieldError> {
    fields.keys().next().map_or(Ok(()), |odd| Err(FieldError::of(&[odd], FieldProblem::Unknown(known))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_stored_as_they_were() {
        let read = read_body(br#"{"a":947.2606246799796,"b":5e-324,"c":18446744073709551615,"d":-0.1}"#).unwrap();
        let again = read_body(Value::Object(read.clone()).to_string().as_bytes()).unwrap();
        assert_eq!(read, again);
        assert_eq!(read["a"].to_string(), "947.2606246799796");
    }

    fn fields(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn requests_read_what_clients_write() {
        let update = UpdatePipeline { desired_status: Some(DesiredStatus::Paused), ..UpdatePipeline::default() };
        let body = serde_json::to_value(&update).unwrap();
        assert_eq!(body, json!({"desired_status": "paused"}));
        assert_eq!(UpdatePipeline::read(fields(&body), "any").unwrap(), update);
        let run = StartRun { time_limit: Some(0.5), reset_state: true, ..StartRun::default() };
        assert_eq!(StartRun::read(fields(&serde_json::to_value(&run).unwrap())).unwrap(), run);
        assert_eq!(serde_json::to_value(StartRun::default()).unwrap(), json!({}));
    }

    #[test]
    fn unknown_fields_and_types_are_named() {
        let party = json!({"type": "t"});
        let valid = json!({"id": "abc", "source": party, "destination": party});
        assert!(CreatePipeline::read(fields(&valid)).is_ok());
        for (name, value, path, sentence) in [
            ("sources", json!(1), "sources", "there is no such field"),
            ("id", json!(1), "id", "expected string"),
            ("id", json!("1a-"), "id", "must start with a letter"),
            ("id", json!("a"), "id", "3 to 64 characters"),
            ("source", json!([]), "source", "expected object"),
            ("source", json!({"type": "t", "t": 1}), "source.t", "expected object"),
            ("destination", json!({}), "destination.type", "expected string"),
            ("streams", json!([{"name": "a"}, {}]), "streams.1.name", "expected string"),
            ("schedule", json!("daily"), "schedule", "expected object"),
            ("requires", json!({"region": "eu west"}), "requires.region", "letters, digits"),
            ("desired_status", json!("deleted"), "desired_status", "cannot be deleted already"),
            ("desired_status", json!("gone"), "desired_status", "expected one of"),
        ] {
            let mut body = fields(&valid);
            body.insert(name.into(), value);
            let error = CreatePipeline::read(body).unwrap_err();
            assert_eq!(error.path.join("."), path);
            assert!(error.to_string().contains(sentence), "{error}");
        }
        // A client may send back what it read, but not only that.
        let read_only = fields(&json!({"status": "ready", "revision": 3}));
        assert_eq!(UpdatePipeline::read(read_only, "abc").unwrap_err().problem, FieldProblem::ReadOnly);
        let error = StartRun::read(fields(&json!({"time_limit": 0}))).unwrap_err();
        assert_eq!(error.to_string(), "expected a number of seconds above 0");
    }
}
