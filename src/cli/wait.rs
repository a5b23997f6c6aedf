//! `synctop wait PIPELINE... --for CONDITION`: waits until pipelines satisfy conditions.

use crate::app::term::output::err_line;
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::output::print_error;
use crate::cli::remote_args::WaitArgs;
use crate::cli::service::{client, print_json, service_address};
use crate::net::client::Client;
use crate::net::client::wait::{WaitOptions, WaitReport, WaitResult, Waited, wait as wait_for};
use crate::util::sys::lock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::fleet::Pipeline;
use synctop_core::fleet::condition::Condition;
use synctop_core::format::{count, duration};
use synctop_core::protocol::clean::typed;

/// Interval of reminders while nothing changes.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Minimum time between two lines that differ in counts only.
const COUNTS_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of existing streams that are listed if the requested stream does not exist.
const MAX_STREAMS_LISTED: usize = 20;

/// Latest state of each target, reported if a signal ends the wait.
type Known = Arc<Mutex<BTreeMap<String, Pipeline>>>;

pub(super) fn wait(args: &WaitArgs) -> Result<u8, CommandError> {
    let place = service_address(None, &args.of)?;
    if args.cursor.is_some() && args.pipelines.len() > 1 {
        return Err(CommandError::usage("A cursor belongs to one pipeline: name only that pipeline."));
    }
    let mut targets: Vec<String> = Vec::new();
    for id in &args.pipelines {
        if !targets.contains(id) {
            targets.push(id.clone());
        }
    }
    let wait_options = wait_options(args)?;
    let where_ = place.argument();
    let hint = |target: &str, cursor: Option<&str>| {
        let mut words = vec!["synctop wait".to_owned(), typed(target)];
        words.extend(args.conditions.iter().map(|it| format!("--for {}", typed(it))));
        words.extend(args.any.then(|| "--any".to_owned()));
        words.extend(repeated_options(args));
        words.extend(cursor.map(|it| format!("--cursor {}", typed(it))));
        words.push(where_.clone());
        words.join(" ")
    };
    let client = client(place)?;
    let known = Known::default();
    let started = Instant::now();
    crate::cli::service::until_signal(
        async {
            let done = wait_all(&client, &targets, &wait_options, args.quiet, started, &known).await?;
            let not_yet = |one: &Waited| matches!(one.result, WaitResult::TimedOut | WaitResult::Stalled(_));
            let open = |one: &Waited| {
                not_yet(one) || matches!(&one.result, WaitResult::Failed(trouble) if trouble.is_retryable())
            };
            let hints: Vec<_> = done.iter().map(|one| open(one).then(|| hint(&one.target, one.cursor()))).collect();
            for (one, hint) in done.iter().zip(&hints) {
                print_result(one, hint.as_deref(), args.quiet, &client.place);
            }
            let all: Vec<_> =
                done.iter().zip(&hints).map(|(one, hint)| one.json(&wait_options, hint.as_deref())).collect();
            let reached = done.iter().all(|it| it.result == WaitResult::Reached);
            print_all(&all, reached, done.iter().any(not_yet), started)?;
            let class = ResultClass::of_all(done.iter().map(|one| one.class(args.strict)));
            let timeout = args.timeout_exit_code.filter(|_| class == ResultClass::Unfinished);
            Ok(timeout.unwrap_or(exit::code(class)))
        },
        || {
            let known = lock(&known);
            let mut text = "detached: the pipelines continue. To wait again:".to_owned();
            let mut all = Vec::new();
            for target in &targets {
                let last = known.get(target).cloned();
                let hint = hint(target, last.as_ref().and_then(|it| it.cursor.as_deref()));
                text.push_str(&format!("\n  {hint}"));
                let left = Waited {
                    target: target.clone(),
                    result: WaitResult::Detached,
                    last,
                    waited: started.elapsed(),
                    inferred: false,
                    streams: None,
                };
                all.push(left.json(&wait_options, Some(&hint)));
            }
            let _ = print_all(&all, false, false, started);
            text
        },
    )
}

/// Returns the options that a repeated command needs, except conditions and cursor.
fn repeated_options(args: &WaitArgs) -> Vec<String> {
    let mut words = Vec::new();
    match args.timeout.0 {
        None => words.push("--timeout never".into()),
        // Zero means a single check, and a minute is the default: a repeated command omits both.
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

/// Prints the result of a single target, or one object with the results of all targets.
fn print_all(all: &[Value], reached: bool, timed_out: bool, started: Instant) -> Result<(), CommandError> {
    match all {
        [only] => print_json(only),
        several => {
            let waited = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            print_json(&json!({"targets": several, "reached": reached, "timed_out": timed_out, "waited_ms": waited}))
        }
    }
}

fn wait_options(args: &WaitArgs) -> Result<WaitOptions, CommandError> {
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

/// Waits for all targets concurrently. Returns the results in the order of `targets`.
async fn wait_all(
    client: &Arc<Client>,
    targets: &[String],
    wait_options: &WaitOptions,
    quiet: bool,
    started: Instant,
    known: &Known,
) -> Result<Vec<Waited>, CommandError> {
    let deadline = wait_options.timeout.map(|timeout| started + timeout);
    let mut running = tokio::task::JoinSet::new();
    for target in targets {
        let (client, wait_options, target, known) =
            (Arc::clone(client), wait_options.clone(), target.clone(), Arc::clone(known));
        running.spawn(async move {
            let name = target.clone();
            let mut last: Option<(String, String, Instant)> = None;
            wait_for(client, target, wait_options, deadline, move |news| {
                let pipeline = match news {
                    WaitReport::Seen(pipeline) => pipeline,
                    WaitReport::Silent(_) if quiet => return,
                    WaitReport::Silent(trouble) => {
                        last = None;
                        return note(started, &format!("{name}: {trouble}; retrying until it answers"));
                    }
                };
                lock(&known).insert(name.clone(), pipeline.clone());
                let (key, line) = (change_key(pipeline), status_line(pipeline));
                // Changes of counts alone are reported at intervals.
                let old = last.as_ref().is_none_or(|(known, text, at)| {
                    *known != key || (*text != line && at.elapsed() >= COUNTS_INTERVAL)
                });
                if !quiet && old {
                    note(started, &format!("{name}: {line}"));
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
                    return Err(CommandError { sentence: "a part of synctop panicked.".into(), class: ResultClass::Bug });
                }
                None => break,
            },
            () = tokio::time::sleep(REMINDER_INTERVAL.saturating_sub(reminded.elapsed())) => {
                reminded = Instant::now();
                if !quiet {
                    note(started, &format!("waiting for {} of {}", targets.len() - done.len(), targets.len()));
                }
            }
        }
    }
    done.sort_by_key(|one| targets.iter().position(|it| *it == one.target));
    Ok(done)
}

/// Returns a key that changes if the status, the share of streams or the first error changes.
fn change_key(pipeline: &Pipeline) -> String {
    let share = pipeline.run.as_ref().and_then(|run| run.share.as_deref()).unwrap_or_default();
    let fault = pipeline.faults.first().map_or("", |it| it.fingerprint.as_ref());
    format!("{} {share} {fault}", pipeline.status.as_str())
}

fn status_line(pipeline: &Pipeline) -> String {
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

fn note(started: Instant, text: &str) {
    err_line(&format!("  [{}s] {text}", started.elapsed().as_secs()));
}

fn print_result(one: &Waited, hint: Option<&str>, quiet: bool, place: &crate::net::client::ServiceAddress) {
    let target = &one.target;
    let waited = duration(u64::try_from(one.waited.as_millis()).unwrap_or(0));
    let status = one.last.as_ref().map_or("unknown", |it| it.status.as_str());
    if let (Some(streams), false) = (&one.streams, one.result == WaitResult::Reached) {
        let some = streams.iter().take(MAX_STREAMS_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = streams.len().checked_sub(MAX_STREAMS_LISTED + 1).map(|more| format!(" and {} more", more + 1));
        print_error(&format!("{target}: its last run has no such stream; it has {some}{}.", more.unwrap_or_default()));
    }
    match &one.result {
        WaitResult::Reached | WaitResult::EndedElsewhere | WaitResult::TimedOut | WaitResult::Stalled(_) if quiet => {}
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
            err_line(&text);
        }
        WaitResult::EndedElsewhere => print_error(&match &one.last {
            Some(last) => format!(
                "{target}: it is {} and will not reach the condition without action{}.",
                match status {
                    _ if one.inferred => "parked (inferred)",
                    "error" => "parked",
                    status => status,
                },
                last.reason.as_ref().or(last.faults.first()).map(|it| format!(": {}", it.core())).unwrap_or_default()
            ),
            None => format!("{target}: it was deleted."),
        }),
        WaitResult::TimedOut => print_error(&format!(
            "{target}: not reached after {waited} (it is {status}). Nothing was stopped. To wait again:\n  {}",
            hint.unwrap_or_default()
        )),
        WaitResult::Stalled(stall) => print_error(&format!(
            "{target}: no progress for {} (it is {status}). Nothing was stopped. To wait again:\n  {}",
            duration(u64::try_from(stall.as_millis()).unwrap_or(0)),
            hint.unwrap_or_default()
        )),
        WaitResult::Absent => {
            print_error(&format!(
                "there is no pipeline {target} (after {waited}). To wait for its creation, pass a longer --wait-for-create TIME."
            ));
        }
        WaitResult::Failed(trouble) => {
            let on = hint.map(|hint| format!(" To wait again:\n  {hint}")).unwrap_or_default();
            print_error(&format!("{}{on}", trouble.message(place)));
        }
    }
}
