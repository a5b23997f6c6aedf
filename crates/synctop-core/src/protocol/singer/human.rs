//! Meltano's log for people (its default): `2023-06-05T15:01:00.000000Z [info     ] text`, with the
//! fields behind the text (before version 3.8), or the plugin in front of it.

use super::loggers::is_destination_logger;
use super::logs::{TERMINATED, log_kind, metric};
use super::meltano::OWN_EVENTS;
use crate::protocol::adapter::Message;
use crate::protocol::clean;
use crate::protocol::message::{
    Checkpoint, EmittedState, End, EndReason, Kind, Level, Log, ProgramExit, Relayed, Side,
};
use crate::protocol::time::{self, Millis};
use std::borrow::Cow;

/// Parts of a line.
struct Line<'a> {
    at: Millis,
    level: &'a str,
    text: &'a str,
}

/// True if a line has the form of this log.
pub(super) fn is_line(line: &str) -> bool {
    let plain = clean::line(line);
    parts(&plain).is_some()
}

fn parts(line: &str) -> Option<Line<'_>> {
    let (instant, rest) = line.split_once(" [")?;
    let at = time::parse(instant).filter(|_| instant.ends_with('Z') && instant.as_bytes().get(10) == Some(&b'T'))?;
    let (level, text) = rest.split_once("] ")?;
    let known = ["info", "error", "warning", "debug", "critical"].contains(&level.trim_end());
    known.then_some(Line { at, level: level.trim_end(), text })
}

/// Decodes a line; `None` if it is not certainly Meltano's.
pub(super) fn message(line: &str) -> Option<Message<'static>> {
    let plain = clean::line(line);
    let Line { at, level, text } = parts(&plain)?;
    let (text, fields) = split_fields(text);
    let field = |name: &str| fields.split_whitespace().find_map(|pair| pair.strip_prefix(name));
    let (plugin, text) = match field("name=") {
        Some(name) => (Some(name), text),
        None => split_plugin(text),
    };
    let kind = match plugin {
        Some("meltano") | None => {
            let is_own = plugin.is_some()
                || OWN_EVENTS.iter().any(|own| text.starts_with(own))
                || failed_program(text).is_some();
            own_kind(level, text, fields, is_own)?
        }
        Some(plugin) => plugin_kind(plugin, level, text),
    };
    Some(Message::new(Some(at), plugin.map(|name| Cow::Owned(name.to_owned())), kind))
}

/// Splits the fields behind a text: `text cmd_type=elb name=tap-x stdio=stderr`.
fn split_fields(text: &str) -> (&str, &str) {
    const FIRST: [&str; 3] = [" cmd_type=", " block_type=", " consumer="];
    let at = FIRST.iter().filter_map(|field| text.find(field)).min();
    at.and_then(|at| text.split_at_checked(at)).map_or((text, ""), |(text, fields)| (text.trim_end(), fields))
}

/// Splits the plugin in front of a text: `tap-jsonl    text`.
fn split_plugin(whole: &str) -> (Option<&str>, &str) {
    let (name, rest) = whole.split_once(' ').unwrap_or((whole, ""));
    let is_plugin = name == "meltano" || is_destination_logger(name).is_some();
    // Names are padded to twelve characters; spaces behind that are of the text.
    let padding = 12_usize.saturating_sub(name.len());
    let text = rest.get(..padding).filter(|spaces| spaces.trim().is_empty()).and_then(|_| rest.get(padding..));
    if is_plugin { (Some(name), text.unwrap_or(rest)) } else { (None, whole) }
}

/// Returns program and side of `Loader failed`.
fn failed_program(text: &str) -> Option<(&'static str, Side)> {
    match text.trim_end_matches('.') {
        "Loader failed" => Some(("loader", Side::Destination)),
        "Extractor failed" => Some(("extractor", Side::Source)),
        _ => None,
    }
}

fn own_kind(level: &str, text: &str, fields: &str, is_own: bool) -> Option<Kind<'static>> {
    if let Some((program, side)) = failed_program(text) {
        let exit = ProgramExit { program: program.into(), side: Some(side), ..ProgramExit::default() };
        return Some(Kind::ProgramExit(Box::new(exit)));
    }
    if text.starts_with("Block run completed") && level == "error" {
        return Some(Kind::ProgramExit(Box::new(block_exit(fields))));
    }
    if text.starts_with("Run completed") {
        let word = if level == "error" { EndReason::Failed } else { EndReason::Complete };
        let has_more = (word == EndReason::Complete).then_some(false);
        return Some(Kind::End(Box::new(End { has_more, ..End::of(word, "Run completed") })));
    }
    if text.starts_with("Incremental state has been updated") {
        let handed = Some(EmittedState { committed: true, ..EmittedState::default() }.into());
        return Some(Kind::Checkpoint(Box::new(Checkpoint { handed, ..Checkpoint::default() })));
    }
    if text == TERMINATED {
        return Some(Kind::Stopping);
    }
    let log = Log { level: Level::from(level), message: Cow::Owned(text.to_owned()), ..Log::default() };
    is_own.then(|| Kind::Log(Box::new(log)))
}

/// Reads `exit_codes={<PluginType.LOADERS: 'loaders'>: 1}` behind the end of a block.
fn block_exit(fields: &str) -> ProgramExit<'static> {
    let code = |plural: &str| {
        let (_, rest) = fields.split_once(&format!("'{plural}'"))?;
        let rest = rest.split_once(':')?.1.trim_start();
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse::<i64>().ok().filter(|code| *code != 0)
    };
    let all =
        [("loader", Some(Side::Destination), code("loaders")), ("extractor", Some(Side::Source), code("extractors"))];
    let (program, side, code) = all.into_iter().find(|(.., code)| code.is_some()).unwrap_or(("block", None, None));
    let text = fields.split_once("err=").map(|(_, rest)| {
        let end = rest.find(" exit_codes=").or_else(|| rest.find(" set_number=")).unwrap_or(rest.len());
        Cow::Owned(rest.get(..end).unwrap_or(rest).to_owned())
    });
    ProgramExit { program: program.into(), side, code, text, run_id: None }
}

fn plugin_kind(plugin: &str, level: &str, text: &str) -> Kind<'static> {
    let is_target = is_destination_logger(plugin);
    if let Some(kind) = metric(text).map(|message| message.kind) {
        return match kind {
            Kind::Metered(metered) => Kind::Metered(Box::new(metered.into_owned(is_target))),
            Kind::Stream(claim) if is_target != Some(true) => Kind::Stream(Box::new(claim.into_owned())),
            _ => Kind::Note("metric"),
        };
    }
    match log_kind(Level::from(level), Cow::Owned(text.to_owned())) {
        Kind::Log(log) => {
            let side = is_target.map(|is_target| if is_target { Side::Destination } else { Side::Source });
            Kind::Relayed(Box::new(Relayed { text: log.message, side, run_id: None }))
        }
        other => other,
    }
}
