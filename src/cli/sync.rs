//! `synctop sync PIPELINE` and `synctop task PROFILE`: submit work and wait for its result.

use crate::app::term::output::err_line;
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::{print, read_text_file};
use crate::cli::output::sentence;
use crate::cli::remote_args::{SyncArgs, TaskArgs};
use crate::cli::service::{client, failure, print_json, require_writable, service_address, until_signal};
use crate::cli::task_poll::{PollDefaults, SignalMessage, follow_task};
use crate::net::client::task_profile::{Profile, ProfileFile, SAMPLES};
use crate::net::client::tasks::{Runs, TaskApi};
use crate::net::client::{Client, untracked_runs};
use crate::util::sys::lock;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use synctop_core::ResultClass;
use synctop_core::protocol::clean::typed;
use synctop_core::report::Audience;

pub(super) fn sync(args: &SyncArgs) -> Result<u8, CommandError> {
    let place = service_address(None, &args.of)?;
    if args.poll_args.task_id.is_none() {
        require_writable(&place)?;
    }
    let client = client(place)?;
    let pipeline = args.pipeline.clone().unwrap_or_default();
    let named = if pipeline.is_empty() { String::new() } else { format!(" {}", typed(&pipeline)) };
    let command = format!("synctop sync{named} {}", client.place.argument());
    let left = SignalMessage::default();
    let work = async {
        let capabilities = client.capabilities().await.map_err(|trouble| failure(&trouble, &client.place))?;
        if !capabilities.tasks {
            return without_tasks(&client, &pipeline, args, &left).await;
        }
        let api = TaskApi::Runs(Runs { client, pipeline: pipeline.clone() });
        let what = format!("a run of pipeline {pipeline}");
        let poll_defaults = PollDefaults { strict: args.strict, ..PollDefaults::default() };
        follow_task(&api, &args.poll_args, &poll_defaults, &command, &what, &left).await
    };
    until_signal(work, || lock(&left).clone())
}

/// Runs a pipeline on a service without tasks, where a run lasts as long as its call.
async fn without_tasks(
    client: &Arc<Client>,
    pipeline: &str,
    args: &SyncArgs,
    left: &SignalMessage,
) -> Result<u8, CommandError> {
    let poll_args = &args.poll_args;
    if poll_args.submit_only || poll_args.task_id.is_some() {
        return Err(CommandError::usage(format!(
            "{} has no tasks: a run there lasts as long as its call. Omit --submit-only and --task-id to run the pipeline and wait for its result.",
            client.place.shown()
        )));
    }
    let started = Instant::now();
    let timeout = poll_args.timeout.unwrap_or(crate::net::client::tasks::TIMEOUT);
    let interval = poll_args.poll_interval.unwrap_or(crate::net::client::tasks::INTERVAL);
    "stopped waiting: this service stores nothing about a call whose caller disconnects.".clone_into(&mut lock(left));
    let say = |text: &str| {
        if !poll_args.quiet {
            err_line(text);
        }
    };
    say("Expected wait: unknown: this service keeps no past runs");
    let mut kept = match &poll_args.output {
        Some(folder) => {
            let path = folder.join("run.ndjson");
            let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::File::create(&path));
            Some(made.map_err(|error| CommandError::unwritable(&path, "--output", &error))?)
        }
        None => None,
    };
    let mut told: Option<Instant> = None;
    let mut seen = |progress: &synctop_core::reduce::Progress| {
        if told.is_none_or(|told| told.elapsed() >= interval) {
            told = Some(Instant::now());
            let records = progress.cumulative_records().map_or_else(|| "-".into(), synctop_core::format::count);
            say(&format!("  [{}s] pipeline={pipeline} status=RUNNING  records={records}", started.elapsed().as_secs()));
        }
    };
    let called = tokio::time::timeout(
        timeout,
        untracked_runs::call_until_done(client, pipeline, false, kept.as_mut(), &mut seen),
    )
    .await;
    let progress = match called {
        Err(_) => {
            say(&format!(
                "Not finished after {}: stopped waiting. This service stores nothing about a call whose caller disconnects.",
                synctop_core::format::duration(u64::try_from(timeout.as_millis()).unwrap_or(0))
            ));
            return Ok(exit::code(ResultClass::Unfinished));
        }
        Ok(called) => called.map_err(|trouble| failure(&trouble, &client.place))?,
    };
    let summary = serde_json::to_value(synctop_core::report::summary(&progress)).unwrap_or_default();
    if let Some(folder) = &poll_args.output {
        let path = folder.join("response.json");
        let pretty = serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n";
        std::fs::write(&path, pretty).map_err(|error| CommandError::unwritable(&path, "--output", &error))?;
    }
    if poll_args.print_response {
        print_json(&summary)?;
    }
    let verdict = synctop_core::report::verdict(&progress);
    let code = exit::of_outcome(&progress, args.strict);
    if code == 0 {
        say(&verdict.headline.to_string());
    } else {
        crate::cli::output::print_error(&format!(
            "{}{}",
            verdict.headline,
            verdict.why.map(|why| format!(": {why}")).unwrap_or_default()
        ));
        if let Some(next) = verdict.next {
            crate::cli::output::print_error(&format!("possible fix: {}", next.text(Audience::Shell)));
        }
    }
    Ok(code)
}

pub(super) fn task(args: &TaskArgs) -> Result<u8, CommandError> {
    if let Some(name) = &args.print {
        let Some((_, text)) = SAMPLES.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = SAMPLES.iter().map(|(name, _)| *name).collect();
            return Err(CommandError::usage(format!("There is no profile {name}. There are {}.", known.join(", "))));
        };
        print(text)?;
        return Ok(exit::DONE);
    }
    let path = args.profile.clone().unwrap_or_default();
    let bad = |what: String| CommandError { sentence: what, class: ResultClass::BadData };
    let about = ProfileFile::read(&read_text_file(&path, "profile")?)
        .map_err(|why| bad(format!("The profile {} cannot be read: {why}", path.display())))?;
    if args.request.is_none() && args.poll_args.task_id.is_none() {
        return Err(CommandError::usage(
            "No request. Pass --request JSON, or --task-id ID for a task submitted before.",
        ));
    }
    let request = match &args.request {
        None => Value::Null,
        Some(text) => {
            let text = read_request(text)?;
            serde_json::from_str::<Value>(&text)
                .ok()
                .filter(Value::is_object)
                .ok_or_else(|| bad("--request is no JSON object, such as '{\"prompt\":\"a harbor\"}'.".into()))?
        }
    };
    let profile = Profile::new(about, request).map_err(|why| CommandError::usage(sentence(&why.to_string())))?;
    let paces = profile.paces();
    let poll_defaults =
        PollDefaults { interval: paces.interval, timeout: paces.timeout, expected: paces.expected, strict: false };
    let what = profile.client.place.name();
    let command = format!("synctop task {}", typed(&path.to_string_lossy()));
    let (api, what, left) =
        (TaskApi::Profile(Box::new(profile)), format!("a task of {what}"), SignalMessage::default());
    until_signal(follow_task(&api, &args.poll_args, &poll_defaults, &command, &what, &left), || lock(&left).clone())
}

/// Reads the request: `@FILE` from a file, `-` from stdin, anything else is the request itself.
fn read_request(text: &str) -> Result<String, CommandError> {
    match (text.strip_prefix('@'), text) {
        (Some(path), _) => read_text_file(Path::new(path), "request"),
        (None, "-") => {
            let mut all = String::new();
            std::io::stdin().read_to_string(&mut all)?;
            Ok(all)
        }
        (None, text) => Ok(text.to_owned()),
    }
}
