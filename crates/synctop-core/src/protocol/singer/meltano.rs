//! Meltano's structured log (`--log-format json`), entirely on stderr: Meltano's own lines, and
//! those of its tap (`producer`) and target (`consumer`). Tap and target count the same records, so
//! their counts are kept apart.

use super::loggers::is_destination_logger;
use super::logs::{Exception, Metric, log_kind, metric};
use crate::protocol::adapter::Message;
use crate::protocol::lenient::{Flag, LenientInstant, Maybe, Seq, Text};
use crate::protocol::message::{
    Checkpoint, EmittedState, End, EndReason, ErrorLevel, Failure, Kind, Level, LogContext, Metered, ProgramExit,
    Relayed, Side,
};
use crate::protocol::python::is_broken_pipe;
use serde::Deserialize;
use serde_json::value::RawValue;
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
    /// Exceptions of Meltano itself, the outermost first, or the text of a traceback.
    #[serde(borrow)]
    exception: Option<&'a RawValue>,
    #[serde(borrow)]
    block_type: Text<'a>,
    #[serde(borrow)]
    cmd_type: Text<'a>,
    #[serde(borrow)]
    state_id: Text<'a>,
    success: Flag,
    #[serde(borrow)]
    err: Text<'a>,
    exit_codes: Maybe<ExitCodes>,
    code: Option<Code>,
}

/// Exit codes of a block's programs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExitCodes {
    extractors: Option<Code>,
    mappers: Option<Code>,
    loaders: Option<Code>,
}

/// Exit code; negative after a signal.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Code {
    Number(i64),
    Other(serde::de::IgnoredAny),
}

impl Code {
    fn number(code: Option<Self>) -> Option<i64> {
        match code? {
            Self::Number(code) => Some(code),
            Self::Other(_) => None,
        }
    }
}

/// Exception, as Meltano's own structured log has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OwnException<'a> {
    #[serde(borrow)]
    exc_type: Text<'a>,
    #[serde(borrow)]
    exc_value: Text<'a>,
}

/// Lines of Meltano about the whole run, which older versions log without a logger.
pub(super) const OWN_EVENTS: [&str; 9] = [
    "Environment '",
    "Block run completed",
    "Run completed",
    "Running extract & load",
    "Incremental state has been updated",
    "Extraction failed",
    "Loading failed",
    "ELT could not be completed",
    "Extract & load ",
];

/// Decodes a line logged by Meltano. Other programs log `event`, `level` and `timestamp` too, so
/// the line also needs Meltano's logger, text or fields.
pub(super) fn message(text: &str) -> Option<Message<'_>> {
    let line = serde_json::from_str::<Line>(text).ok()?;
    let event = line.event.0?;
    let level = Level::from(&*line.level.0?);
    let at = Some(line.timestamp.0?);
    let is_meltano = line.logger.0.as_deref().is_some_and(|logger| logger.contains("meltano"))
        || event.starts_with("Meltano ")
        || matches!(event.trim_end_matches('.'), "Loader failed" | "Extractor failed")
        || (line.run_id.0.is_some()
            && (line.stdio.0.is_some()
                || line.block_type.0.is_some()
                || line.cmd_type.0.is_some()
                || line.state_id.0.is_some()
                || line.exception.is_some_and(|exception| exception.get() != "null")
                || OWN_EVENTS.iter().any(|own| event.starts_with(own))));
    if !is_meltano {
        return None;
    }
    let is_target = line.consumer.0.or(line.name.0.as_deref().and_then(is_destination_logger));
    let own = line.exception.and_then(|exception| own_exception(exception.get()));
    let kind = if let Some(metric) = line.metric_info.0 {
        metric.kind(is_target, line.run_id.0)?
    } else if let Some(failure) = line.plugin_exception.0.map(Exception::failure) {
        Kind::Failure(Box::new(failure))
    } else if let Some(text) = own {
        // Meltano's own broken pipe only follows the death of a plugin.
        if is_broken_pipe(&text) {
            let text = format!("a plugin stopped reading before its input ended: it was killed, or it failed ({text})");
            Kind::Relayed(Box::new(Relayed { text: text.into(), side: None, run_id: line.run_id.0 }))
        } else {
            Kind::Failure(Box::new(Failure::of(ErrorLevel::Global, None, text.into())))
        }
    } else if let Some(exit) = program_exit(&event, &line.exit_codes, line.code, line.success.0) {
        let text = line.err.0.filter(|text| !text.trim().is_empty());
        Kind::ProgramExit(Box::new(ProgramExit { text, run_id: line.run_id.0, ..exit }))
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
            handed: Some(EmittedState { committed: true, ..EmittedState::default() }.into()),
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
    } else if line.stdio.0.as_deref() == Some("stderr") && line.name.0.as_deref().is_some_and(|name| name != "meltano")
    {
        let side = is_target.map(|is_target| if is_target { Side::Destination } else { Side::Source });
        match log_kind(level, event) {
            // The start of a stream, or of a shutdown.
            Kind::Log(log) => Kind::Relayed(Box::new(Relayed { text: log.message, side, run_id: line.run_id.0 })),
            other => other,
        }
    } else {
        with_run_id(log_kind(level, event), line.run_id.0)
    };
    Some(Message::new(at, line.name.0, kind))
}

/// Returns class and text of an exception of Meltano itself: of a list the outermost, of a traceback
/// its last line.
fn own_exception(json: &str) -> Option<String> {
    if json.starts_with('"') {
        let text = serde_json::from_str::<Text>(json).ok()?.0?;
        return text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    }
    let all = serde_json::from_str::<Seq<Maybe<OwnException>>>(json).ok()?.0?;
    let own = all.into_iter().find_map(|exception| exception.0)?;
    let kind = own.exc_type.0.unwrap_or(Cow::Borrowed("exception"));
    let value = own.exc_value.0.filter(|value| !value.trim().is_empty());
    Some(value.map_or_else(|| kind.to_string(), |value| format!("{kind}: {value}")))
}

/// Reads the exit of a program: the codes of a block, or the line of `elt`.
fn program_exit(
    event: &str,
    codes: &Maybe<ExitCodes>,
    code: Option<Code>,
    success: Option<bool>,
) -> Option<ProgramExit<'static>> {
    let exit = |program: &'static str, side: Option<Side>, code: Option<i64>| ProgramExit {
        program: program.into(),
        side,
        code,
        ..ProgramExit::default()
    };
    match event.trim_end_matches('.') {
        "Loader failed" => return Some(exit("loader", Some(Side::Destination), None)),
        "Extractor failed" => return Some(exit("extractor", Some(Side::Source), None)),
        _ => {}
    }
    if event.starts_with("Extraction failed") {
        return Some(exit("extractor", Some(Side::Source), Code::number(code)));
    }
    if event.starts_with("Loading failed") {
        return Some(exit("loader", Some(Side::Destination), Code::number(code)));
    }
    if !event.starts_with("Block run completed") || success != Some(false) {
        return None;
    }
    let Some(codes) = &codes.0 else { return Some(exit("block", None, None)) };
    // An extractor ends with a broken pipe when its loader has died.
    let all = [
        ("loader", Some(Side::Destination), Code::number(codes.loaders)),
        ("mapper", None, Code::number(codes.mappers)),
        ("extractor", Some(Side::Source), Code::number(codes.extractors)),
    ];
    let failed = all.into_iter().find(|(.., code)| code.is_some_and(|code| code != 0));
    let (program, side, code) = failed.unwrap_or(("block", None, None));
    Some(exit(program, side, code))
}

/// Replaces the context of a log line by its run id. This drops a plugin's "Starting sync": several
/// plugins may start in one run.
fn with_run_id<'a>(kind: Kind<'a>, run_id: Option<Cow<'a, str>>) -> Kind<'a> {
    let Kind::Log(mut log) = kind else { return kind };
    log.context = run_id.is_some().then(|| Box::new(LogContext { run_id, ..LogContext::default() }));
    Kind::Log(log)
}
