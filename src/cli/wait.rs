//! `synctop wait PIPELINE... --for CONDITION`

use super::remote_args::WaitArgs;
use super::service::{client, place, print_json};
use super::{CommandError, complain, exit};
use crate::net::lock;
use crate::net::remote::Client;
use crate::net::remote::wait::{News, WaitOptions, WaitResult, Waited, wait as wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::fleet::Pipeline;
use synctop_core::fleet::condition::Condition;
use synctop_core::format::{count, duration};
use synctop_core::protocol::clean::typed;

/// Interval of reminders while nothing changes.
const REMIND: Duration = Duration::from_secs(60);

/// Between two lines that differ in counts only.
const BETWEEN_COUNTS: Duration = Duration::from_secs(5);

/// So many streams are named where the one that is waited for is not there.
const STREAMS: usize = 20;

/// Latest state of each target, for a result on interruption.
type Known = Arc<Mutex<BTreeMap<String, Pipeline>>>;

pub(super) fn wait(args: &WaitArgs) -> Result<u8, CommandError> {
    let place = place(None, &args.of)?;
    if args.cursor.is_some() && args.pipelines.len() > 1 {
        return Err(CommandError::usage("A cursor is of one pipeline: name only that one."));
    }
    let mut targets: Vec<String> = Vec::new();
    for id in &args.pipelines {
        if !targets.contains(id) {
            targets.push(id.clone());
        }
    }
    let wish = wish(args)?;
    let where_ = place.argument();
    let hint = |target: &str, cursor: Option<&str>| {
        let mut words = vec!["synctop wait".to_owned(), typed(target)];
        words.extend(args.conditions.iter().map(|it| format!("--for {}", typed(it))));
        words.extend(args.any.then(|| "--any".to_owned()));
        words.extend(asked_for(args));
        words.extend(cursor.map(|it| format!("--cursor {}", typed(it))));
        words.push(where_.clone());
        words.join(" ")
    };
    let client = client(place)?;
    let known = Known::default();
    let begun = Instant::now();
    super::service::until_signal(
        async {
            let done = wait_all(&client, &targets, &wish, args.quiet, begun, &known).await?;
            let not_yet = |one: &Waited| matches!(one.came, WaitResult::TimedOut | WaitResult::Stalled(_));
            let open = |one: &Waited| {
                not_yet(one) || matches!(&one.came, WaitResult::Failed(trouble) if trouble.is_retryable())
            };
            let hints: Vec<_> = done.iter().map(|one| open(one).then(|| hint(&one.target, one.cursor()))).collect();
            for (one, hint) in done.iter().zip(&hints) {
                say(one, hint.as_deref(), args.quiet, &client.place);
            }
            let all: Vec<_> = done.iter().zip(&hints).map(|(one, hint)| one.json(&wish, hint.as_deref())).collect();
            let reached = done.iter().all(|it| it.came == WaitResult::Reached);
            print_all(&all, reached, done.iter().any(not_yet), begun)?;
            let mut codes: Vec<_> = done.iter().map(|one| one.exit_code(args.strict)).collect();
            codes.sort_unstable();
            codes.dedup();
            Ok(match codes.as_slice() {
                [2] => args.timeout_exit_code.unwrap_or(2),
                [one] => *one,
                _ => 3,
            })
        },
        || {
            let known = lock(&known);
            let mut text = "detached: the pipelines go on as they are. To wait on:".to_owned();
            let mut all = Vec::new();
            for target in &targets {
                let last = known.get(target).cloned();
                let hint = hint(target, last.as_ref().and_then(|it| it.cursor.as_deref()));
                text.push_str(&format!("\n  {hint}"));
                let left = Waited {
                    target: target.clone(),
                    came: WaitResult::Detached,
                    last,
                    waited: begun.elapsed(),
                    inferred: false,
                    streams: None,
                };
                all.push(left.json(&wish, Some(&hint)));
            }
            let _ = print_all(&all, false, false, begun);
            text
        },
    )
}

/// Requested conditions, as typed.
fn asked_for(args: &WaitArgs) -> Vec<String> {
    let mut words = Vec::new();
    match args.timeout.0 {
        None => words.push("--timeout never".into()),
        // A single look is no wait; and it is a minute anyway.
        Some(time) if time.is_zero() || time == Duration::from_secs(60) => {}
        Some(time) => words.push(format!("--timeout {}s", time.as_secs_f64())),
    }
    words.extend(args.stall_timeout.map(|time| format!("--stall-timeout {}s", time.as_secs_f64())));
    words.extend(args.wait_for_create.map(|time| format!("--wait-for-create {}s", time.as_secs_f64())));
    words.extend(args.timeout_exit_code.map(|code| format!("--timeout-exit-code {code}")));
    words.extend(args.strict.then(|| "--strict".to_owned()));
    words.extend(args.quiet.then(|| "--quiet".to_owned()));
    words
}

/// One object: of one target its own, of several all of them.
fn print_all(all: &[Value], reached: bool, timed_out: bool, begun: Instant) -> Result<(), CommandError> {
    match all {
        [only] => print_json(only),
        several => {
            let waited = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            print_json(&json!({"targets": several, "reached": reached, "timed_out": timed_out, "waited_ms": waited}))
        }
    }
}

fn wish(args: &WaitArgs) -> Result<WaitOptions, CommandError> {
    let read =
        |text: &String| text.parse::<Condition>().map_err(|why| CommandError::usage(format!("--for {text}: {why}.")));
    Ok(WaitOptions {
        conditions: args.conditions.iter().map(read).collect::<Result<_, _>>()?,
        any: args.any,
        timeout: args.timeout.0,
        stall: args.stall_timeout,
        create_within: args.wait_for_create.unwrap_or_default(),
        after: args.cursor.clone(),
    })
}

/// Waits for all of them at once; in the order in which they were named.
async fn wait_all(
    client: &Arc<Client>,
    targets: &[String],
    wish: &WaitOptions,
    quiet: bool,
    begun: Instant,
    known: &Known,
) -> Result<Vec<Waited>, CommandError> {
    let deadline = wish.timeout.map(|timeout| begun + timeout);
    let mut running = tokio::task::JoinSet::new();
    for target in targets {
        let (client, wish, target, known) = (Arc::clone(client), wish.clone(), target.clone(), Arc::clone(known));
        running.spawn(async move {
            let name = target.clone();
            let mut last: Option<(String, String, Instant)> = None;
            wait_for(client, target, wish, deadline, move |news| {
                let pipeline = match news {
                    News::Seen(pipeline) => pipeline,
                    News::Silent(_) if quiet => return,
                    News::Silent(trouble) => {
                        last = None;
                        return note(begun, &format!("{name}: {}; asked again until it answers", trouble.words()));
                    }
                };
                lock(&known).insert(name.clone(), pipeline.clone());
                let (key, line) = (what_counts(pipeline), line_of(pipeline));
                // Changes of counts alone are reported at intervals.
                let old = last
                    .as_ref()
                    .is_none_or(|(known, text, at)| *known != key || (*text != line && at.elapsed() >= BETWEEN_COUNTS));
                if !quiet && old {
                    note(begun, &format!("{name}: {line}"));
                    last = Some((key, line, Instant::now()));
                }
            })
            .await
        });
    }
    let mut done: Vec<Waited> = Vec::new();
    let mut reminded = Instant::now();
    loop {
        tokio::select! {
            one = running.join_next() => match one {
                Some(Ok(one)) => done.push(one),
                Some(Err(_)) => {
                    return Err(CommandError { sentence: "a part of synctop panicked.".into(), code: exit::PANICKED });
                }
                None => break,
            },
            () = tokio::time::sleep(REMIND.saturating_sub(reminded.elapsed())) => {
                reminded = Instant::now();
                if !quiet {
                    note(begun, &format!("waiting for {} of {}", targets.len() - done.len(), targets.len()));
                }
            }
        }
    }
    done.sort_by_key(|one| targets.iter().position(|it| *it == one.target));
    Ok(done)
}

/// Facts whose change is reported.
fn what_counts(pipeline: &Pipeline) -> String {
    let share = pipeline.run.as_ref().and_then(|run| run.share.as_deref()).unwrap_or_default();
    let fault = pipeline.faults.first().map_or("", |it| it.fingerprint.as_ref());
    format!("{} {share} {fault}", pipeline.status.as_str())
}

fn line_of(pipeline: &Pipeline) -> String {
    let mut text = pipeline.status.as_str().to_owned();
    if let Some(share) = pipeline.run.as_ref().filter(|run| run.open).and_then(|run| run.share.as_ref()) {
        text.push_str(&format!("  streams {share}"));
    }
    if let Some(records) = pipeline.found.records {
        text.push_str(&format!("  records {}", count(records)));
    }
    if let Some(fault) = pipeline.reason.as_ref().or(pipeline.faults.first()) {
        text.push_str(&format!("  {}: {}", fault.kind(), fault.core()));
    }
    text
}

fn note(begun: Instant, text: &str) {
    let _ =
        writeln!(std::io::stderr(), "  [{}s] {}", begun.elapsed().as_secs(), synctop_core::protocol::clean::line(text));
}

fn say(one: &Waited, hint: Option<&str>, quiet: bool, place: &crate::net::remote::ServiceAddress) {
    let target = &one.target;
    let waited = duration(u64::try_from(one.waited.as_millis()).unwrap_or(0));
    let status = one.last.as_ref().map_or("unknown", |it| it.status.as_str());
    if let (Some(streams), false) = (&one.streams, one.came == WaitResult::Reached) {
        let some = streams.iter().take(STREAMS).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = streams.len().checked_sub(STREAMS + 1).map(|more| format!(" and {} more", more + 1));
        complain(&format!("{target}: its last run has no such stream; it has {some}{}.", more.unwrap_or_default()));
    }
    match &one.came {
        WaitResult::Reached | WaitResult::Elsewhere | WaitResult::TimedOut | WaitResult::Stalled(_) if quiet => {}
        WaitResult::Detached => {}
        WaitResult::Reached => {
            let faults = one.last.as_ref().map(|last| last.faults.as_slice()).unwrap_or_default();
            let beside = match faults {
                [] => String::new(),
                [only] => format!(", with an error: {}: {}", only.kind(), only.core()),
                [first, ..] => format!(", with {} errors: {}: {}", faults.len(), first.kind(), first.core()),
            };
            let mut text = format!("{target}: reached after {waited}{beside}");
            for doubt in one.doubts() {
                text.push_str(&format!("\n  ? {doubt}"));
            }
            let _ = writeln!(std::io::stderr(), "{}", synctop_core::protocol::clean::lines(&text));
        }
        WaitResult::Elsewhere => complain(&match &one.last {
            Some(last) => format!(
                "{target}: it is {}: it will not get there without action{}.",
                match status {
                    _ if one.inferred => "parked (inferred)",
                    "error" => "parked",
                    status => status,
                },
                last.reason.as_ref().or(last.faults.first()).map(|it| format!(": {}", it.core())).unwrap_or_default()
            ),
            None => format!("{target}: it was deleted."),
        }),
        WaitResult::TimedOut => complain(&format!(
            "{target}: not so after {waited} (it is {status}). Nothing was stopped. To wait on:\n  {}",
            hint.unwrap_or_default()
        )),
        WaitResult::Stalled(stall) => complain(&format!(
            "{target}: nothing moved for {} (it is {status}). Nothing was stopped. To wait on:\n  {}",
            duration(u64::try_from(stall.as_millis()).unwrap_or(0)),
            hint.unwrap_or_default()
        )),
        WaitResult::Absent => {
            complain(&format!(
                "there is no pipeline {target} (after {waited}). With a longer --wait-for-create TIME it is waited for."
            ));
        }
        WaitResult::Failed(trouble) => {
            let on = hint.map(|hint| format!(" To wait on:\n  {hint}")).unwrap_or_default();
            complain(&format!("{}{on}", trouble.message(place)));
        }
    }
}
