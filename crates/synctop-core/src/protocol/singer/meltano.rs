//! Meltano's structured log (`--log-format json`), entirely on stderr: its own lines, and those of
//! its tap (`producer`) and target (`consumer`). Both count the same records, so their counts are
//! kept apart.

use super::logs::{Exception, Metric, metric, said};
use crate::protocol::lenient::{Flag, Maybe, Text, When};
use crate::protocol::message::{
    Checkpoint, Dialect, EmittedState, End, EndWord, Kind, Level, LogContext, Message, Metered, ProgressReport,
};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    level: Text<'a>,
    timestamp: When,
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

/// Line logged by Meltano. Other programs log `event`, `level` and `timestamp` too, so more
/// evidence is needed.
pub(in crate::protocol) fn message(text: &str) -> Option<Message<'_>> {
    let line = serde_json::from_str::<Line>(text).ok()?;
    let event = line.event.0?;
    let level = Level::from(&*line.level.0?);
    let at = Some(line.timestamp.0?);
    let its_own = line.logger.0.as_deref().is_some_and(|logger| logger.contains("meltano"))
        || event.starts_with("Meltano ")
        || (line.run_id.0.is_some() && line.stdio.0.is_some());
    if !its_own {
        return None;
    }
    let loaded = line.consumer.0;
    let kind = if let Some(metric) = line.metric_info.0 {
        metric.kind(loaded, line.run_id.0)?
    } else if let Some(failure) = line.plugin_exception.0.map(Exception::failure) {
        Kind::Failure(Box::new(failure))
    } else if event == "Run completed"
        && let Some(status) = line.status.0
    {
        let word = match status.as_ref() {
            "success" => EndWord::Complete,
            "failure" => EndWord::Failed,
            _ => EndWord::Unknown,
        };
        Kind::End(Box::new(End {
            word,
            reason: Some(status),
            has_more: (word == EndWord::Complete).then_some(false),
            states: None,
            progress: ProgressReport::default(),
            attempt: None,
            errors: Vec::new(),
            run_id: line.run_id.0,
            blind: false,
        }))
    } else if event.starts_with("Incremental state has been updated") {
        // A line of the target's stdout went to the state store.
        Kind::Checkpoint(Checkpoint {
            handed: Some(Box::new(EmittedState { committed: true, ..EmittedState::default() })),
            ..Checkpoint::default()
        })
    } else if line.stdio.0.as_deref() == Some("stdout") {
        // With --log-level debug each message of a tap is logged as well: its count is in the
        // metrics.
        Kind::Note("wrapped")
    } else if let Some(kind) = metric(&event).map(|message| message.kind) {
        match kind {
            // It borrows from a text that may be unescaped; the stored part is short.
            Kind::Metered(metered) => {
                Kind::Metered(Box::new(Metered { run_id: line.run_id.0, ..metered.into_owned(loaded) }))
            }
            Kind::Stream(claim) if loaded != Some(true) => Kind::Stream(Box::new(claim.into_owned())),
            _ => Kind::Note("metric"),
        }
    } else {
        of_run(said(level, event), line.run_id.0)
    };
    Some(Message { at, from: line.name.0, dialect: Some(Dialect::Meltano), firm: true, kind })
}

/// A log line of this run. A plugin's word that it starts is no start of a run here: one run may
/// have several.
fn of_run<'a>(kind: Kind<'a>, run_id: Option<Cow<'a, str>>) -> Kind<'a> {
    let Kind::Log(mut log) = kind else { return kind };
    log.context = run_id.is_some().then(|| Box::new(LogContext { run_id, ..LogContext::default() }));
    Kind::Log(log)
}
