//! Error responses: a sentence, a code for programs, and the HTTP status.

use crate::service::lifecycle::Refusal;
use crate::service::store::StoreError;
use serde_json::{Map, Value, json};
use synctop_core::fleet::requests::FieldError;
use synctop_core::fleet::wire::ErrorBody;

/// Error response to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub status: u16,
    pub code: &'static str,
    pub sentence: String,
    /// Additional fields for programs.
    pub more: Vec<(&'static str, Value)>,
    /// Seconds until a retry; also sent as `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// Creates an error without additional fields.
    #[must_use]
    pub fn new(status: u16, code: &'static str, sentence: impl ToString) -> Self {
        Self { status, code, sentence: sentence.to_string(), more: Vec::new(), retry_after: None }
    }

    /// Error for a malformed request in the format of the published service; `path` names it.
    #[must_use]
    pub fn invalid(path: &[&str], sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        let at = if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) };
        let issue = json!([{"path": path, "message": sentence}]);
        Self::new(400, "invalid_request", format!("{at}{sentence}")).with("issues", issue)
    }

    /// Adds a field for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((key, value.into()));
        self
    }

    /// Sets the seconds until a retry.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Error for an unknown pipeline.
    #[must_use]
    pub fn no_pipeline(id: &str) -> Self {
        Self::new(404, "pipeline_not_found", format!("Pipeline {id} not found"))
    }

    /// Returns the JSON body.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut more: Map<String, Value> =
            self.more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        more.extend(self.retry_after.map(|seconds| ("retry_after".to_owned(), seconds.into())));
        json!(ErrorBody { error: Some(self.sentence.as_str().into()), code: Some(self.code.into()), more })
    }

    /// Error for a request that the lifecycle refuses.
    #[must_use]
    pub fn refused(id: &str, refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Deleted => "pipeline_deleted",
            Refusal::Paused => "pipeline_paused",
            Refusal::Parked => "pipeline_parked",
            Refusal::NotSetUp => "pipeline_not_set_up",
        };
        Self::new(409, code, format!("Pipeline {id}: {refusal}"))
    }

    /// Error while the service shuts down, with a random retry delay for a restarted service.
    #[must_use]
    pub fn ending() -> Self {
        let seconds = 2 + crate::util::sys::random_below(6);
        Self::new(503, "shutting_down", "the service is shutting down: retry later").after(seconds)
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let path: Vec<_> = error.path.iter().map(String::as_str).collect();
        Self::invalid(&path, error.problem.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::ending(),
            error @ StoreError::Unreadable(_) => Self::new(400, "not_readable_again", error.to_string()),
            error => Self::new(503, "store_unavailable", error.to_string()).after(5),
        }
    }
}
