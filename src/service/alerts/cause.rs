//! Causes of trouble and their incidents. Pure.

use crate::service::lifecycle::Life;
use crate::service::model::StoredPipeline;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use synctop_core::fleet::{DesiredStatus, PipelineStatus};
use synctop_core::format;
use synctop_core::protocol::Millis;
use synctop_core::protocol::mask;
use synctop_core::reduce::fingerprint;

/// Failures in a row before a retrying pipeline counts as failing: a single one is usual.
pub const FAILING_AFTER: u32 = 3;

/// Delay of the first message, in which further pipelines with the same cause join.
pub const GATHER_MS: Millis = 5_000;

/// Maximum pipelines that a message names.
pub const MAX_NAMED: usize = 20;

/// Kind of trouble, or its end.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertEvent {
    /// Stopped by an error until a person acts.
    Parked,
    /// Retried again and again.
    Failing,
    /// No run has succeeded in time.
    Late,
    /// All pipelines of an incident have succeeded again.
    Recovered,
}

impl AlertEvent {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Maximum messages of an incident that wait to be delivered; then the oldest are dropped.
pub const MAX_MESSAGES: usize = 100;

/// Cause of a pipeline's trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCause {
    pub kind: AlertEvent,
    /// Fingerprint of the error, or the id of a late pipeline.
    pub fingerprint: String,
    /// Error message with secrets masked.
    pub message: String,
    /// Next step for an operator.
    pub next: Option<String>,
}

impl AlertCause {
    /// Returns the key of the incident.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.kind, self.fingerprint)
    }
}

/// Returns the causes of a pipeline's present trouble.
#[must_use]
pub fn causes(pipeline: &StoredPipeline, now: Millis) -> Vec<AlertCause> {
    let mut all = Vec::new();
    let Life { desired, .. } = pipeline.life;
    if desired == DesiredStatus::Deleted {
        return all;
    }
    if pipeline.life.status() == PipelineStatus::Error
        && let Some(reason) = &pipeline.reason
    {
        all.push(AlertCause {
            kind: AlertEvent::Parked,
            fingerprint: reason.fingerprint.clone(),
            message: reason.message.clone(),
            next: Some(reason.next.clone()),
        });
    }
    if let Some(retry) = pipeline.retry.as_ref().filter(|retry| retry.attempt >= FAILING_AFTER)
        && desired == DesiredStatus::Active
    {
        all.push(AlertCause {
            kind: AlertEvent::Failing,
            fingerprint: format!("{:016x}", fingerprint::of_error(&retry.message, None)),
            message: mask::secrets(&retry.message).into_owned(),
            next: None,
        });
    }
    if pipeline.late_at().is_some_and(|late_at| now >= late_at) {
        let message = "no run has succeeded in time".to_owned();
        all.push(AlertCause { kind: AlertEvent::Late, fingerprint: pipeline.id.clone(), message, next: None });
    }
    all
}

/// Trouble of all pipelines with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub cause: AlertCause,
    pub since: Millis,
    /// Affected pipelines, and the time since which each is.
    pub pipelines: BTreeMap<String, Millis>,
    /// Number of pipelines that were affected at once, at most.
    pub most: usize,
    /// Pipelines that were affected since it began, for the message of its end: at most [`MAX_NAMED`].
    #[serde(default)]
    pub named: Vec<String>,
    /// Messages that are not delivered.
    pub messages: Vec<AlertMessage>,
    /// True once no pipeline is affected; removed when its messages are delivered.
    pub is_over: bool,
}

/// Message to one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertMessage {
    /// Name of the target.
    pub target: String,
    pub event: AlertEvent,
    /// Time of the transition.
    pub at: Millis,
    /// Time of the next attempt.
    pub due: Millis,
    pub attempts: u32,
}

/// Target of alerts, with its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertTarget {
    pub name: String,
    pub on: Vec<AlertEvent>,
}

impl Incident {
    /// Opens an incident.
    #[must_use]
    pub fn open(cause: AlertCause, pipeline: &str, now: Millis, targets: &[AlertTarget]) -> Self {
        let pipelines = BTreeMap::from([(pipeline.to_owned(), now)]);
        let kind = cause.kind;
        let named = vec![pipeline.to_owned()];
        let mut incident = Self { cause, since: now, pipelines, most: 1, named, messages: Vec::new(), is_over: false };
        incident.queue(kind, now, GATHER_MS, targets);
        incident
    }

    /// Adds a pipeline. True if the incident was over, and begins again.
    pub fn join(&mut self, cause: AlertCause, pipeline: &str, now: Millis, targets: &[AlertTarget]) -> bool {
        let begins = self.pipelines.is_empty();
        self.pipelines.entry(pipeline.to_owned()).or_insert(now);
        self.most = self.most.max(self.pipelines.len());
        if begins {
            self.since = now;
            self.most = 1;
            self.named.clear();
            self.is_over = false;
            self.cause = cause;
            self.queue(self.cause.kind, now, GATHER_MS, targets);
        }
        if self.named.len() < MAX_NAMED && !self.named.iter().any(|it| it == pipeline) {
            self.named.push(pipeline.to_owned());
        }
        begins
    }

    /// Removes a pipeline. The last one that has succeeded ends the incident with a message.
    pub fn leave(&mut self, pipeline: &str, succeeded: bool, now: Millis, targets: &[AlertTarget]) {
        if self.pipelines.remove(pipeline).is_none() || !self.pipelines.is_empty() {
            return;
        }
        self.is_over = true;
        if succeeded {
            self.queue(AlertEvent::Recovered, now, 0, targets);
        }
    }

    fn queue(&mut self, event: AlertEvent, now: Millis, delay: Millis, targets: &[AlertTarget]) {
        for target in targets.iter().filter(|target| target.on.contains(&event)) {
            let due = now.saturating_add(delay);
            self.messages.push(AlertMessage { target: target.name.clone(), event, at: now, due, attempts: 0 });
        }
        // A target that cannot be reached must not let them grow without bound.
        let excess = self.messages.len().saturating_sub(MAX_MESSAGES);
        self.messages.drain(..excess);
    }

    /// Returns the time of the next attempt of any message.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        self.messages.iter().map(|message| message.due).min()
    }

    /// True if nothing is left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.pipelines.is_empty() && self.messages.is_empty()
    }

    /// Returns the text of a message, for a chat.
    #[must_use]
    pub fn text(&self, event: AlertEvent) -> String {
        let names = format::names(&self.pipelines.keys().collect::<Vec<_>>());
        let message = chat_text(&format::short(&self.cause.message, 300));
        let next = self.cause.next.as_ref().map_or_else(String::new, |next| format!(". Next: {}", chat_text(next)));
        match event {
            AlertEvent::Recovered => {
                // An incident of an earlier version has no names.
                let count = self.most.max(self.named.len());
                let names = if self.named.is_empty() || count > self.named.len() {
                    format::plural(count, "pipeline")
                } else {
                    format::names(&self.named)
                };
                let verb = if count == 1 { "was" } else { "were" };
                format!("Recovered: {names} {verb} {}: {message}", self.cause.kind.as_str())
            }
            AlertEvent::Parked => format!("Parked: {names}: {message}{next}"),
            AlertEvent::Failing => format!("Failing: {names}: {message}{next}"),
            AlertEvent::Late => format!("Late: {names}: {message}{next}"),
        }
    }
}

/// Escapes the control characters of Slack's messages, so that an error can neither link nor mention.
fn chat_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> AlertCause {
        AlertCause {
            kind: AlertEvent::Parked,
            fingerprint: "f1".into(),
            message: "no access".into(),
            next: Some("rotate the key".into()),
        }
    }

    fn targets() -> Vec<AlertTarget> {
        vec![
            AlertTarget { name: "chat".into(), on: vec![AlertEvent::Parked, AlertEvent::Recovered] },
            AlertTarget { name: "pager".into(), on: vec![AlertEvent::Late] },
        ]
    }

    #[test]
    fn one_message_for_a_cause_and_one_for_its_end() {
        let targets = targets();
        let mut incident = Incident::open(cause(), "a", 1_000, &targets);
        assert!(!incident.join(cause(), "b", 2_000, &targets));
        assert!(!incident.join(cause(), "a", 3_000, &targets), "parked again by the same cause");
        assert_eq!(incident.messages.len(), 1);
        assert_eq!(incident.due(), Some(1_000 + GATHER_MS));
        assert_eq!(incident.text(AlertEvent::Parked), "Parked: a, b: no access. Next: rotate the key");
        incident.messages.clear();
        incident.leave("a", true, 4_000, &targets);
        assert!(incident.messages.is_empty() && !incident.is_over);
        incident.leave("b", true, 5_000, &targets);
        incident.leave("b", true, 6_000, &targets);
        let events: Vec<_> = incident.messages.iter().map(|it| (it.event, it.at)).collect();
        assert_eq!(events, [(AlertEvent::Recovered, 5_000)]);
        assert_eq!(incident.text(AlertEvent::Recovered), "Recovered: a, b were parked: no access");
        // The same cause again is another transition.
        assert!(incident.join(cause(), "c", 7_000, &targets));
        assert_eq!(incident.messages.last().map(|it| it.event), Some(AlertEvent::Parked));
    }

    #[test]
    fn an_error_cannot_mention_a_channel() {
        let cause = AlertCause { message: "<!channel> a & b".into(), next: None, ..cause() };
        let incident = Incident::open(cause, "a", 1, &[]);
        assert_eq!(incident.text(AlertEvent::Parked), "Parked: a: &lt;!channel&gt; a &amp; b");
    }

    #[test]
    fn undelivered_messages_are_bounded() {
        let targets = targets();
        let mut incident = Incident::open(cause(), "a", 0, &targets);
        for at in 1..500 {
            incident.leave("a", true, at, &targets);
            incident.join(cause(), "a", at, &targets);
        }
        assert_eq!(incident.messages.len(), MAX_MESSAGES);
        assert_eq!(incident.messages.last().map(|it| it.at), Some(499));
    }

    #[test]
    fn a_deleted_pipeline_ends_its_incident_in_silence() {
        let mut incident = Incident::open(cause(), "a", 1, &[]);
        incident.leave("a", false, 2, &targets());
        assert!(incident.is_done());
    }
}
