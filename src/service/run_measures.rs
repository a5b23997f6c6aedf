//! Measures of a finished run.

use crate::service::model::Task;
use serde_json::Value;
use std::collections::BTreeMap;
use synctop_core::protocol::Millis;

/// Failure types with series of their own; others are `other`.
const CLASSES: [&str; 5] = ["config_error", "auth_error", "system_error", "transient_error", "other"];

/// Facts of a pipeline's last run, kept when it ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunMeasures {
    pub records: Option<u64>,
    pub coverage: Option<f64>,
    pub duration_ms: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// Unresolved errors by class.
    pub errors: BTreeMap<&'static str, u64>,
}

impl RunMeasures {
    /// Reads the result of a finished run.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        let result = task.result.as_ref();
        let field = |path: &str| result.and_then(|result| result.pointer(path));
        let mut errors = BTreeMap::new();
        for error in field("/errors").and_then(Value::as_array).into_iter().flatten() {
            if error.get("cleared").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            let class = error.get("failure_type").and_then(Value::as_str).unwrap_or_default();
            *errors.entry(class_of(class)).or_default() += 1;
        }
        Self {
            records: field("/records/cumulative").and_then(Value::as_u64),
            coverage: field("/coverage").and_then(Value::as_f64),
            ended_at: task.ended_at,
            duration_ms: task.started_at.zip(task.ended_at).map(|(started, ended)| (ended - started).max(0)),
            errors,
        }
    }
}

fn class_of(text: &str) -> &'static str {
    CLASSES.into_iter().find(|class| *class == text).unwrap_or("other")
}
