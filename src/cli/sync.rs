//! `synctop sync PIPELINE` and `synctop task PROFILE`

use super::remote_args::{SyncArgs, TaskArgs};
use super::service::{client, failure, may_act, place, print_json, until_signal};
use super::task_poll::{Farewell, Usual, see_through};
use super::{CommandError, exit, print, sentence, text_of};
use crate::net::lock;
use crate::net::remote::profile::{Description, Profile, SAMPLES};
use crate::net::remote::tasks::{Runs, TaskApi};
use crate::net::remote::{Client, untracked_runs};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use synctop_core::protocol::clean::typed;

pub(super) fn sync(args: &SyncArgs) -> Result<u8, CommandError> {
    let place = place(None, &args.of)?;
    if args.how.task_id.is_none() {
        may_act(&place)?;
    }
    let client = client(place)?;
    let pipeline = args.pipeline.clone().unwrap_or_default();
    let named = if pipeline.is_empty() { String::new() } else { format!(" {}", typed(&pipeline)) };
    let command = format!("synctop sync{named} {}", client.place.argument());
    let left = Farewell::default();
    let work = async {
        let capabilities = client.capabilities().await.map_err(|trouble| failure(&trouble, &client.place))?;
        if !capabilities.tasks {
            return without_tasks(&client, &pipeline, args, &left).await;
        }
        let api = TaskApi::Runs(Runs { client, pipeline: pipeline.clone() });
        let what = format!("a run of pipeline {pipeline}");
        let usual = Usual { strict: args.strict, ..Usual::default() };
        see_through(&api, &args.how, &usual, &command, &what, &left).await
    };
    until_signal(work, || lock(&left).clone())
}

/// A service that has no tasks: the run lasts as long as the call.
async fn without_tasks(
    client: &Arc<Client>,
    pipeline: &str,
    args: &SyncArgs,
    left: &Farewell,
) -> Result<u8, CommandError> {
    let how = &args.how;
    if how.submit_only || how.task_id.is_some() {
        return Err(CommandError::usage(format!(
            "{} has no tasks: a run there lasts as long as its call. Without --submit-only and --task-id it is made and seen through.",
            client.place.shown()
        )));
    }
    let begun = Instant::now();
    let timeout = how.timeout.unwrap_or(crate::net::remote::tasks::TIMEOUT);
    let interval = how.poll_interval.unwrap_or(crate::net::remote::tasks::INTERVAL);
    "left: this service keeps nothing of a call whose caller leaves.".clone_into(&mut lock(left));
    let say = |text: &str| {
        if !how.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    };
    say("Expected wait: unknown: this service keeps no past runs");
    let mut kept = match &how.output {
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
            say(&format!("  [{}s] pipeline={pipeline} status=RUNNING  records={records}", begun.elapsed().as_secs()));
        }
    };
    let called =
        tokio::time::timeout(timeout, untracked_runs::until_over(client, pipeline, false, kept.as_mut(), &mut seen))
            .await;
    let progress = match called {
        Err(_) => {
            say(&format!(
                "Not finished after {}: left. This service keeps nothing of a call whose caller leaves.",
                synctop_core::format::duration(u64::try_from(timeout.as_millis()).unwrap_or(0))
            ));
            return Ok(2);
        }
        Ok(called) => called.map_err(|trouble| failure(&trouble, &client.place))?,
    };
    let summary = serde_json::to_value(synctop_core::report::summary(&progress)).unwrap_or_default();
    if let Some(folder) = &how.output {
        let path = folder.join("response.json");
        let pretty = serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n";
        std::fs::write(&path, pretty).map_err(|error| CommandError::unwritable(&path, "--output", &error))?;
    }
    if how.print_response {
        print_json(&summary)?;
    }
    let verdict = synctop_core::report::verdict(&progress);
    let code = exit::of_outcome(&progress, args.strict);
    if code == 0 {
        say(&verdict.headline);
    } else {
        super::complain(&format!(
            "{}{}",
            verdict.headline,
            verdict.why.map(|why| format!(": {why}")).unwrap_or_default()
        ));
        if let Some(next) = verdict.next {
            super::complain(&format!("possible fix: {next}"));
        }
    }
    Ok(code)
}

pub(super) fn task(args: &TaskArgs) -> Result<u8, CommandError> {
    if let Some(name) = &args.print {
        let Some((_, text)) = SAMPLES.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = SAMPLES.iter().map(|(name, _)| *name).collect();
            return Err(CommandError::usage(format!("There is no profile {name}: there is {}.", known.join(", "))));
        };
        print(text)?;
        return Ok(0);
    }
    let path = args.profile.clone().unwrap_or_default();
    let bad = |what: String| CommandError { sentence: what, code: exit::NOT_UNDERSTOOD };
    let about = Description::read(&text_of(&path, "profile")?)
        .map_err(|why| bad(format!("The profile {} cannot be read: {why}", path.display())))?;
    if args.request.is_none() && args.how.task_id.is_none() {
        return Err(CommandError::usage(
            "No request. Pass --request JSON, or --task-id ID for a task submitted before.",
        ));
    }
    let request = match &args.request {
        None => Value::Null,
        Some(text) => {
            let text = given(text)?;
            serde_json::from_str::<Value>(&text)
                .ok()
                .filter(Value::is_object)
                .ok_or_else(|| bad("--request is no JSON object, such as '{\"prompt\":\"a harbour\"}'.".into()))?
        }
    };
    let profile = Profile::new(about, request).map_err(|why| CommandError::usage(sentence(&why)))?;
    let paces = profile.paces();
    let usual = Usual { interval: paces.interval, timeout: paces.timeout, expected: paces.expected, strict: false };
    let what = profile.client.place.name();
    let command = format!("synctop task {}", typed(&path.to_string_lossy()));
    let (api, what, left) = (TaskApi::Profile(Box::new(profile)), format!("a task of {what}"), Farewell::default());
    until_signal(see_through(&api, &args.how, &usual, &command, &what, &left), || lock(&left).clone())
}

/// `@FILE`, `-`, or the text itself.
fn given(text: &str) -> Result<String, CommandError> {
    match (text.strip_prefix('@'), text) {
        (Some(path), _) => text_of(Path::new(path), "request"),
        (None, "-") => {
            let mut all = String::new();
            std::io::stdin().read_to_string(&mut all)?;
            Ok(all)
        }
        (None, text) => Ok(text.to_owned()),
    }
}
