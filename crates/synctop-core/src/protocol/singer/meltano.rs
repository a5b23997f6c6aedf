//! Meltano's structured log (`--log-format json`), entirely on stderr: Meltano's own lines, and
//! those of its tap (`producer`) and target (`consumer`). Tap and target count the same records, so
//! their counts are kept apart.

use super::logs::{Exception, Metric, log_kind, metric};
use crate::protocol::adapter::Message;
use crate::protocol::lenient::{Flag, LenientInstant, Maybe, Text};
use crate::protocol::message::{Checkpoint, EmittedState, End, EndReason, Kind, Level, LogContext, Metered};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    level: Text<'a>,
    timestamp: LenientInstant,
    #[serde(borrow, rename = "_logger")]
    logger: Text<'a>,
    #[serde(borrow)]
    run_id: Text<'a>,
    #[serde(borrow)]
    stdio: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    consumer: Flag,
    #[serde(borrow)]
    metric_info: Maybe<Metric<'a>>,
    #[serde(borrow)]
    plugin_exception: Maybe<Exception<'a>>,
}

/// Decodes a line logged by Meltano. Other programs log `event`, `level` and `timestamp` too, so
/// the line also needs Meltano's logger, text or fields.
pub(super) fn message(text: &str) -> Option<Message<'_>> {
    let line = serde_json::from_str::<Line>(text).ok()?;
    let event = line.event.0?;
    let level = Level::from(&*line.level.0?);
    let at = Some(line.timestamp.0?);
    let is_meltano = line.logger.0.as_deref().is_some_and(|logger| logger.contains("meltano"))
        || event.starts_with("Meltano ")
        || (line.run_id.0.is_some() && line.stdio.0.is_some());
    if !is_meltano {
        return None;
    }
    let is_target = line.consumer.0;
    let kind = if let Some(metric) = line.metric_info.0 {
        metric.kind(is_target, line.run_id.0)?
    } else if let Some(failure) = line.plugin_exception.0.map(Exception::failure) {
        Kind::Failure(Box::new(failure))
    } else if event == "Run completed"
        && let Some(status) = line.status.0
    {
        let word = match status.as_ref() {
            "success" => EndReason::Complete,
            "failure" => EndReason::Failed,
            _ => EndReason::Unknown,
        };
        Kind::End(Box::new(End {
            has_more: (word == EndReason::Complete).then_some(false),
            run_id: line.run_id.0,
            ..End::of(word, status)
        }))
    } else if event.starts_with("Incremental state has been updated") {
        // Meltano stored a state that the target printed on stdout.
        Kind::Checkpoint(Box::new(Checkpoint {
            handed: Some(EmittedState { committed: true, ..EmittedState::default() }),
            ..Checkpoint::default()
        }))
    } else if line.stdio.0.as_deref() == Some("stdout") {
        // With --log-level debug each message of a tap is logged as well. Records are counted by
        // the metrics, so it is not counted again.
        Kind::Note("wrapped")
    } else if let Some(kind) = metric(&event).map(|message| message.kind) {
        match kind {
            // Borrows from `event`, which is a local string if it had escapes: copied.
            Kind::Metered(metered) => {
                Kind::Metered(Box::new(Metered { run_id: line.run_id.0, ..metered.into_owned(is_target) }))
            }
            Kind::Stream(claim) if is_target != Some(true) => Kind::Stream(Box::new(claim.into_owned())),
            _ => Kind::Note("metric"),
        }
    } else {
        with_run_id(log_kind(level, event), line.run_id.0)
    };
    Some(Message::new(at, line.name.0, kind))
}

/// Replaces the context of a log line by its run id. This drops a plugin's "Starting sync": several
/// plugins may start in one run.
fn with_run_id<'a>(kind: Kind<'a>, run_id: Option<Cow<'a, str>>) -> Kind<'a> {
    let Kind::Log(mut log) = kind else { return kind };
    log.context = run_id.is_some().then(|| Box::new(LogContext { run_id, ..LogContext::default() }));
    Kind::Log(log)
}
