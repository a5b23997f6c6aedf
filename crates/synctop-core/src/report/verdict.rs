//! Wording of the verdict: outcome, cause, next step.

use super::text::headline;
use crate::format::{count, duration, names as text_names, plural, short};
use crate::protocol::error_text::{core, http_status};
use crate::protocol::{EndWord, Millis, Status, Where, clean};
use crate::reduce::{
    Doubt, DoubtKind, ErrorGroup, Exit, Outcome, Progress, Stream, doubts, has_unreported_ending, outcome,
    rows_may_be_missing, stall_verdict, standing,
};
use std::sync::Arc;

/// Verdict on one state of a run, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// `COMPLETED WITH ERRORS after 04:31 (engine says: complete, exit 0)`.
    pub headline: String,
    pub why: Option<String>,
    pub next: Option<String>,
}

/// Returns the verdict by the messages so far.
#[must_use]
pub fn verdict(progress: &Progress) -> Verdict {
    let outcome = outcome(progress);
    let mut headline = headline(progress);
    if let Some(words) = engine_words(progress) {
        headline.push_str(&format!("  ({words})"));
    }
    Verdict { outcome, headline, why: why(progress, outcome), next: next(progress, outcome) }
}

/// Returns the engine's own end reason and exit.
fn engine_words(progress: &Progress) -> Option<String> {
    let reason = progress.attempt.end.as_ref().and_then(|end| end.reason.as_deref());
    let reason = reason.map(|reason| format!("engine says: {}", clean::line(reason)));
    let exit = progress.exit.map(describe_exit);
    match (reason, exit) {
        (Some(reason), Some(exit)) => Some(format!("{reason}, {exit}")),
        (reason, exit) => reason.or(exit),
    }
}

/// Formats an exit as `exit 1` or `killed by 9`.
#[must_use]
pub fn describe_exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("killed by {signal}"),
    }
}

/// Formats the cause as `disputes: auth_error, the key lacks 'Disputes Read'`.
fn cause(progress: &Progress, group: &ErrorGroup) -> String {
    let streams: Vec<_> = group.streams().take(3).map(|name| clean::line(name).into_owned()).collect();
    let all = group.streams().count();
    let who = match (all, streams.join(", ")) {
        (0, _) => String::new(),
        (1..=3, names) => format!("{names}: "),
        (all, names) => format!("{names} and {} more: ", all - 3),
    };
    let kind = group.failure_type.as_deref().map(|kind| format!("{}, ", clean::line(kind))).unwrap_or_default();
    let share = if all > 1 && progress.streams.len() > 1 {
        format!(" ({} of {})", count(all as u64), plural(progress.streams.len(), "stream"))
    } else {
        String::new()
    };
    format!("{who}{kind}{}{share}", short(&core(&group.message), 200))
}

fn why(progress: &Progress, outcome: Outcome) -> Option<String> {
    let standing = standing(progress);
    let error = standing.first().map(|group| cause(progress, group));
    let also = |text: String| match standing.len() {
        0 | 1 => text,
        2 => format!("{text}; and one more kind of error"),
        n => format!("{text}; and {} more kinds of error", n - 1),
    };
    let end = progress.attempt.end.as_ref();
    match outcome {
        Outcome::Running => error.map(also),
        Outcome::Succeeded => {
            let doubts = doubts(progress);
            let whole = |doubt: &&Doubt| doubt.kind == DoubtKind::NothingSynced && doubt.stream.is_none();
            let missing = missing_rows(progress, &doubts);
            missing.or_else(|| doubts.iter().find(whole).map(|doubt| doubt.message.clone()))
        }
        // Only the raw lines can be quoted.
        Outcome::Failed if progress.input.messages == 0 && progress.evidence.last_log_error.is_none() => {
            Some(truncated(progress))
        }
        Outcome::Failed => {
            error.map(also).map(|text| with_roll_up_note(progress, text)).or_else(|| Some(unexplained(progress)))
        }
        Outcome::CompletedWithErrors => error.map(also).or_else(|| {
            let doubts = doubts(progress);
            let left = doubts.iter().find(|doubt| doubt.kind == DoubtKind::RangesLeft)?;
            Some(left.to_string())
        }),
        Outcome::CutOff => {
            let what = match end.map(|end| end.word) {
                Some(EndWord::Limit) => "a limit ended it",
                Some(EndWord::Unknown) => "it ended for an unknown reason",
                Some(EndWord::StillStarted) if end.is_some_and(|end| end.has_more != Some(true)) => {
                    "its end still reports started, and that nothing is left"
                }
                _ => "the engine has more to do",
            };
            let open = progress
                .streams
                .iter()
                .filter(|stream| stream.status != Status::Completed && stream.status != Status::Skipped)
                .count();
            let open = if open > 0 { format!(", {} not done", plural(open, "stream")) } else { String::new() };
            Some(also(format!("{what}{open}{}", error.map(|error| format!("; {error}")).unwrap_or_default())))
        }
        Outcome::Aborted if end.is_none() && !progress.attempt.stopping => {
            Some(format!("it exited with 0, and its metrics report a failure: {}", missing(progress)))
        }
        Outcome::Aborted if end.is_none() => {
            Some(format!("it was stopped{}: {}", exit_zero_clause(progress), missing(progress)))
        }
        Outcome::Aborted => Some("the engine reports that it was aborted".into()),
        Outcome::Unknown => Some(unknown(progress)),
        Outcome::Truncated => Some(match error {
            Some(error) => also(format!("{}; before that {error}", truncated(progress))),
            None => truncated(progress),
        }),
    }
}

/// Returns the first doubt about missing rows, with its streams.
fn missing_rows(progress: &Progress, doubts: &[Doubt]) -> Option<String> {
    if !rows_may_be_missing(progress) {
        return None;
    }
    let doubt = doubts.iter().find(|doubt| doubt.kind.loses_rows())?;
    Some(doubt.to_string())
}

/// Explains an input that ended with nothing open and an unknown ending.
fn unknown(progress: &Progress) -> String {
    if has_unreported_ending(progress) {
        return format!("unknown ending: its streams report no status{}", last_words_clause(progress));
    }
    if progress.input.lines == 0 || progress.input.messages == 0 {
        return truncated(progress);
    }
    if progress.attempt.connection == Some(true) {
        return "the connection succeeded; how the command ended is not known".into();
    }
    if progress.streams.iter().any(|stream| stream.took_part()) {
        return "every started stream is complete, and the ending of the run is unknown".into();
    }
    "no stream was synced, and its ending is unknown".into()
}

/// Returns a clause with the last words on stderr, to append to a sentence.
fn last_words_clause(progress: &Progress) -> String {
    progress.last_words().map(|line| format!("; its last words: {}", short(line, 160))).unwrap_or_default()
}

/// Appends that the engine's final error only repeats these causes.
fn with_roll_up_note(progress: &Progress, text: String) -> String {
    match progress.attempt.roll_up {
        Some(_) => format!("{text} (the engine's final error repeats these)"),
        None => text,
    }
}

/// Explains a failure without an error.
fn unexplained(progress: &Progress) -> String {
    match (progress.exit.filter(|exit| exit.failed()), progress.last_words()) {
        (Some(exit), Some(words)) => format!("{}; its last words: {}", describe_exit(exit), short(words, 160)),
        (Some(exit), None) => format!("{}, without a reason", describe_exit(exit)),
        (None, _) => "the engine reports a failure without an error".into(),
    }
}

/// Next step if a feed does not reveal its ending.
const UNKNOWN_ENDING_NEXT: &str = "Pass --exit-code N or --stderr FILE, or run the tap with `synctop run -- ...`";

fn exit_zero_clause(progress: &Progress) -> &'static str {
    if progress.exit == Some(Exit::Code(0)) { ", but exited with 0" } else { "" }
}

/// Lists unfinished work: `orders (137,249 records) was not finished; users never started`.
fn missing(progress: &Progress) -> String {
    let names = |streams: &[&Stream]| {
        let mut names: Vec<_> = streams.iter().take(3).map(|stream| named(stream)).collect();
        if streams.len() > 3 {
            names.push(format!("{} more", count(streams.len() as u64 - 3)));
        }
        names.join(", ")
    };
    let of = |wanted: &dyn Fn(&Stream) -> bool| -> Vec<&Stream> {
        progress.streams_by_name().map(AsRef::as_ref).filter(|stream| wanted(stream)).collect()
    };
    let begun = of(&|stream| matches!(stream.status, Status::Started | Status::Errored));
    let never = of(&|stream| stream.status == Status::NotStarted);
    let under_way = of(&|stream| stream.status == Status::Completed && !progress.is_delivered(stream));
    let be = |streams: &[&Stream], one: &'static str, many: &'static str| if streams.len() == 1 { one } else { many };
    let mut parts = Vec::new();
    if !begun.is_empty() {
        parts.push(format!("{} {} not finished", names(&begun), be(&begun, "was", "were")));
    }
    if !never.is_empty() {
        parts.push(format!("{} never started", names(&never)));
    }
    if !under_way.is_empty() {
        parts.push(format!("of {} not all is confirmed by the destination", names(&under_way)));
    }
    if parts.is_empty() { "its completion is not reported".into() } else { parts.join("; ") }
}

/// Formats a stream as `orders (137,249 records)`.
fn named(stream: &Stream) -> String {
    let name = clean::line(&stream.label).into_owned();
    match stream.records.cumulative.filter(|count| *count > 0) {
        Some(number) => format!("{name} ({})", plural(usize::try_from(number).unwrap_or(usize::MAX), "record")),
        None => name,
    }
}

fn truncated(progress: &Progress) -> String {
    if progress.traits().ends_with_process && progress.input.messages > 0 {
        let torn = if progress.input.truncated_line { ", in the middle of a line" } else { "" };
        let how = match progress.exit {
            Some(Exit::Code(0)) => "it exited with 0 without finishing".to_owned(),
            None if has_unreported_ending(progress) => "its ending is unknown".to_owned(),
            Some(exit) if exit.signal().is_some() => format!("it was killed by signal {}", exit.signal().unwrap_or(0)),
            _ => "it ended without a final status".to_owned(),
        };
        let said = progress.last_words().map(|line| format!("; its last words: {}", short(line, 160)));
        let missing =
            if has_unreported_ending(progress) { "its streams report no status".to_owned() } else { missing(progress) };
        return format!("{how}{torn}: {missing}{}", said.unwrap_or_default());
    }
    let said = progress.last_words().map(|line| format!("; its last words: {}", short(line, 160))).unwrap_or_default();
    let exit = progress.exit.map(|exit| format!(" ({})", describe_exit(exit))).unwrap_or_default();
    if progress.input.lines == 0 {
        return match progress.exit {
            Some(_) => format!("the engine ended{exit} and printed nothing{said}"),
            None => "the input is empty".into(),
        };
    }
    if progress.input.messages == 0 {
        return format!("{}, and none is a message of an engine{exit}{said}", lines_read(progress));
    }
    let torn = if progress.input.truncated_line { ", in the middle of a line" } else { "" };
    if let (Some(end), Some(exit)) = (&progress.attempt.end, progress.exit) {
        let word = end.reason.as_deref().unwrap_or("an end");
        return format!("the engine said \"{word}\", then it was {}{said}", describe_exit(exit));
    }
    format!("the input ended without an end message{torn}{exit}: the engine was stopped or died{said}")
}

fn lines_read(progress: &Progress) -> String {
    plural(usize::try_from(progress.input.lines).unwrap_or(usize::MAX), "line") + " read"
}

/// Next step if no line was understood.
pub const NO_MESSAGES_NEXT: &str = "check that this is the engine's NDJSON output; its logs may be on stderr";

/// Returns a warning if none of many lines, or of all lines of a quiet feed, was understood:
/// waiting does not help.
#[must_use]
pub fn unreadable_feed_warning(progress: &Progress, quiet: bool) -> Option<String> {
    let enough = progress.input.lines >= 20 || (quiet && progress.input.lines > 0);
    if progress.input.messages > 0 || !enough {
        return None;
    }
    let said = progress
        .evidence
        .last_raw_error
        .as_deref()
        .map(|line| format!("; the last error in them: {}", short(line, 160)));
    let read = lines_read(progress);
    Some(format!("{read}, and none is a message of an engine{}", said.unwrap_or_default()))
}

fn next(progress: &Progress, outcome: Outcome) -> Option<String> {
    let standing = standing(progress);
    let first = standing.first().copied();
    match outcome {
        Outcome::Running => None,
        Outcome::Succeeded => {
            let doubts = doubts(progress);
            let doubt = doubts.first()?;
            Some(match doubt.kind {
                _ if rows_may_be_missing(progress) => read_again(progress),
                DoubtKind::StateAhead => "nothing to do: the rows were read again from the last checkpoint".into(),
                DoubtKind::NothingSynced => "check the names of the streams that were asked for".into(),
                DoubtKind::RecountAfterResume => {
                    "nothing to do; compare row counts at the destination if they matter".into()
                }
                DoubtKind::ErrorsLogged => "look at the log for these errors, and at the row counts".into(),
                _ => format!("look at {}", plural(doubts.len(), "doubt")),
            })
        }
        Outcome::Failed | Outcome::CompletedWithErrors => Some(match first {
            Some(group) if rows_may_be_missing(progress) => {
                format!("{}; {}", remedy(progress, group), read_again(progress))
            }
            Some(group) => remedy(progress, group),
            None if rows_may_be_missing(progress) => read_again(progress),
            None if progress.exit.is_some_and(Exit::failed) => {
                "see its stderr or its log, fix the cause, then start it again".into()
            }
            None => "look at the ranges that are left, then start a new run".into(),
        }),
        Outcome::CutOff => Some(match progress.attempt.end.as_ref().map(|end| end.word) {
            Some(EndWord::Unknown) => {
                "look at the engine's own log, then call it again with the state it returned".into()
            }
            Some(EndWord::StillStarted) if progress.streams.is_empty() => {
                "check the names of the requested streams; another call would fail the same way".into()
            }
            _ if rows_may_be_missing(progress) => format!("call the engine again; {}", read_again(progress)),
            _ => "call the engine again with the state it returned".into(),
        }),
        Outcome::Aborted if progress.attempt.end.is_none() => Some(restart_advice(progress)),
        Outcome::Aborted => Some("start it again with the last state when you are ready".into()),
        Outcome::Truncated if progress.input.messages == 0 && !progress.stderr.tail.is_empty() => {
            Some("fix the cause and start it again; 5 shows its stderr".into())
        }
        Outcome::Truncated if progress.input.messages == 0 => Some(NO_MESSAGES_NEXT.into()),
        Outcome::Truncated if first.is_some() => first.map(|group| remedy(progress, group)),
        Outcome::Unknown if progress.input.messages == 0 && !progress.stderr.tail.is_empty() => {
            Some("fix that and start it again; 5 shows all it wrote to stderr".into())
        }
        Outcome::Unknown if progress.input.messages == 0 => Some(NO_MESSAGES_NEXT.into()),
        Outcome::Unknown if has_unreported_ending(progress) => Some(UNKNOWN_ENDING_NEXT.into()),
        Outcome::Unknown => Some("pass --exit-code N, or start the command with synctop run -- COMMAND".into()),
        Outcome::Truncated if progress.traits().ends_with_process => Some(restart_advice(progress)),
        Outcome::Truncated => Some("see the engine's stderr or log, then start it again".into()),
    }
}

/// Returns advice on streams whose rows may be missing: continue from a state before the doubt, or
/// read without a state.
fn read_again(progress: &Progress) -> String {
    let at_risk = |wanted: &dyn Fn(&Stream) -> bool| -> Vec<Arc<str>> {
        progress.streams_by_name().filter(|stream| wanted(stream)).map(|stream| Arc::clone(&stream.label)).collect()
    };
    let ahead = at_risk(&|stream| stream.ahead.is_some_and(|ahead| !ahead.kept));
    let cut = at_risk(&|stream| stream.resumed_after_cut && stream.ahead.is_none_or(|ahead| ahead.kept));
    let open = progress.attempt.end.as_ref().is_some_and(|end| !end.claims_complete());
    let mut parts = Vec::new();
    if !ahead.is_empty() && open {
        parts.push(format!("go on from the last checkpoint of {}, not from the state of the end", text_names(&ahead)));
    } else if !ahead.is_empty() {
        parts.push(format!("read {} again from the last checkpoint or without a state", text_names(&ahead)));
    }
    if !cut.is_empty() {
        parts.push(format!("read {} again without a state and without limits", text_names(&cut)));
    }
    parts.join("; ")
}

/// Returns the advice to start again, with its consequence.
pub(super) fn restart_advice(progress: &Progress) -> String {
    let unmarked: u64 = progress.streams.iter().map(|stream| stream.seen - stream.marked).sum();
    match (progress.counters.checkpoints, unmarked) {
        (0, _) => "start it again: it emitted no state, so it starts fresh".into(),
        (_, 0) => "start it again with its last state".into(),
        (_, unmarked) => {
            let unmarked = plural(usize::try_from(unmarked).unwrap_or(usize::MAX), "record");
            format!("start it again with its last state; {unmarked} behind that will be read again")
        }
    }
}

/// Returns the next step for an error.
#[must_use]
pub fn remedy(progress: &Progress, group: &ErrorGroup) -> String {
    let one_stream = group.level != Where::Global && group.streams().count() > 0 && progress.streams.len() > 1;
    // If each process is a run of its own, starting again is enough.
    let one_stream = one_stream && !progress.traits().ends_with_process;
    advice(group.failure_type.as_deref(), &group.message, one_stream)
}

/// Rewords advice for a parked pipeline: a resume starts a new run there, and failed streams are
/// retried.
#[must_use]
pub fn parked(advice: &str) -> String {
    resumed(&advice.replace("start a new run, not a resume", "resume it"))
}

/// Rewords advice for a run of a pipeline, which its service starts.
#[must_use]
pub fn resumed(advice: &str) -> String {
    advice.replace("start it again", "resume it")
}

/// Returns the next step for an error of this type with this message. `one_stream`: other streams
/// continued.
#[must_use]
pub fn advice(failure_type: Option<&str>, text: &str, one_stream: bool) -> String {
    let message = text.to_lowercase();
    // On a resume of the same run, engines leave out streams that failed.
    let again = if one_stream { "start a new run, not a resume" } else { "start it again" };
    let has = |word: &str| message.contains(word);
    if has("no such file") || has("filenotfound") || has("could not locate") {
        return format!("check the path, then {again}");
    }
    match (failure_type, http_status(text)) {
        (Some("config_error"), _) => format!("correct the configuration, then {again}"),
        _ if has("permission") => format!("give the key that permission, then {again}"),
        (Some("auth_error"), _) | (_, Some(401)) => format!("check the key, then {again}"),
        _ if has("api key") => format!("check the key, then {again}"),
        (_, Some(429)) => format!("wait, or lower the request rate, then {again}"),
        _ if has("rate limit") => format!("wait, or lower the request rate, then {again}"),
        (_, Some(404)) => "the source does not know this: leave the stream out, or see whether it is enabled".into(),
        (_, Some(500..)) => format!("the source itself failed: see its status page, then {again}"),
        (_, Some(400..)) => format!("the source refuses the request: see the message, then {again}"),
        _ if has("does not exist") && (has("relation") || has("table") || has("schema")) => {
            format!("restore the table at the destination (or run setup again), then {again}")
        }
        _ if has("econnrefused") || has("connect ") || has("etimedout") || has("enotfound") => {
            "see that the other side is up and can be reached, then start it again".into()
        }
        (Some("transient_error"), _) => {
            "it may pass: start it again, and look at the other side if it comes back".into()
        }
        _ => format!("open the error (Enter) for the full message; fix the cause; then {again}"),
    }
}

/// Returns the most important problem of a running sync, if there is one: stalls and standing
/// errors.
#[must_use]
pub fn trouble(progress: &Progress, now: Millis) -> Option<String> {
    let stalls: Vec<_> =
        progress.streams.iter().filter_map(|stream| Some((stream, stall_verdict(stream, now)?))).collect();
    let stalled = stalls.iter().max_by_key(|(_, stall)| stall.silent_ms).map(|(stream, stall)| {
        let silent = duration(u64::try_from(stall.silent_ms).unwrap_or(0) / 1000 * 1000);
        match stalls.len() {
            1 => format!("{} has been silent for {silent}", clean::line(&stream.label)),
            all => format!("{all} streams are stalled, {} for {silent}", clean::line(&stream.label)),
        }
    });
    let standing = standing(progress);
    let error = standing.first().map(|group| {
        let act = if group.permanent() || group.failure_type.is_none() { " (needs you)" } else { "" };
        let more = match standing.len() {
            0 | 1 => String::new(),
            2 => "; and one more kind of error".into(),
            all => format!("; and {} more kinds of error", all - 1),
        };
        format!("{}{act}{more}", cause(progress, group))
    });
    match (stalled, error) {
        (Some(stalled), Some(error)) => Some(format!("{stalled}; {error}")),
        (stalled, error) => stalled.or(error),
    }
}

/// Returns `31 of 2,242 lines not understood`, if there are any.
#[must_use]
pub fn not_understood(progress: &Progress) -> Option<String> {
    let input = progress.input;
    let odd = input.unknown + input.malformed;
    (odd > 0).then(|| format!("{} of {} lines not understood", count(odd), count(input.lines)))
}
