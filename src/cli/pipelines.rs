//! `synctop pipelines list|show|create|setup|pause|resume|sync|retry|delete`: manages pipelines
//! without a screen.

use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::{print, read_text_file};
use crate::cli::pipeline_actions::{many, read_fleet};
use crate::cli::remote_args::{PipelinesArgs, PipelinesVerb};
use crate::cli::service::{client, failure, print_json, print_text, require_writable, service_address, until_signal};
use crate::net::client::http::chunk;
use crate::net::client::{Client, ServiceRequest};
use crate::util::sys::{now, random_id};
use synctop_core::ResultClass;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::wire::{NodeBody, Page, WhyBody};
use synctop_core::fleet::{Fleet, PipelineGroup, Watched};
use synctop_core::format::{count, short};
use synctop_core::protocol::clean::typed;
use synctop_core::protocol::{Decoder, time};
use synctop_core::reduce::Reducer;
use synctop_core::reduce::{Exit, Outcome, outcome};
use synctop_core::report::verdict;

use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

pub(super) fn pipelines(args: &PipelinesArgs) -> Result<u8, CommandError> {
    let place = service_address(None, &args.of)?;
    let acts = match &args.verb {
        PipelinesVerb::List { .. } | PipelinesVerb::Show { .. } | PipelinesVerb::Why { .. } | PipelinesVerb::Nodes => {
            false
        }
        PipelinesVerb::Create { .. } | PipelinesVerb::Setup { .. } => true,
        PipelinesVerb::Pause(act)
        | PipelinesVerb::Resume(act)
        | PipelinesVerb::Sync(act)
        | PipelinesVerb::Retry(act)
        | PipelinesVerb::Delete(act) => !act.dry_run,
    };
    if acts {
        require_writable(&place)?;
    }
    let client = client(place)?;
    let where_ = client.place.argument();
    let sent = Arc::new(Mutex::new(false));
    let told = Arc::clone(&sent);
    until_signal(
        async move {
            match &args.verb {
                PipelinesVerb::List { group, grep } => list(&client, *group, grep.as_deref(), args.json).await,
                PipelinesVerb::Show { pipeline } => show(&client, pipeline, args.json).await,
                PipelinesVerb::Why { pipeline } => why(&client, pipeline, args.json).await,
                PipelinesVerb::Nodes => nodes(&client, args.json).await,
                PipelinesVerb::Create { file, skip_check } => create(&client, file, *skip_check, args.json).await,
                PipelinesVerb::Setup { pipeline } => setup(&client, pipeline, args.json).await,
                PipelinesVerb::Pause(act) => many(&client, PipelineAction::Pause, act, args, &told).await,
                PipelinesVerb::Resume(act) => many(&client, PipelineAction::Resume, act, args, &told).await,
                PipelinesVerb::Sync(act) => many(&client, PipelineAction::Sync, act, args, &told).await,
                PipelinesVerb::Retry(act) => many(&client, PipelineAction::Retry, act, args, &told).await,
                PipelinesVerb::Delete(act) => many(&client, PipelineAction::Delete, act, args, &told).await,
            }
        },
        || {
            if *crate::util::sys::lock(&sent) {
                format!("left: sent actions continue unverified. See synctop pipelines list {where_}.")
            } else {
                String::new()
            }
        },
    )
}

/// Converts a pipeline to the JSON of `list` and `show`. Fields of the service keep their
/// names.
pub(super) fn pipeline_json(watched: &Watched, now: i64) -> Value {
    let it = &watched.pipeline;
    let fault = it.reason.as_ref().or(it.faults.first());
    json!({
        "id": it.id, "source": it.source, "destination": it.destination,
        "status": it.status.as_str(), "desired_status": it.desired.as_str(),
        "group": watched.group(now).as_str().to_lowercase(), "parked_inferred": watched.is_parking_inferred(now), "note": watched.note(now),
        "reason": fault.map(|fault| json!({
            "message": fault.message, "failure_type": fault.failure_type, "fingerprint": fault.fingerprint, "streams": fault.streams,
            "next": fault.next, "since": fault.since.or(watched.fault_since).map(time::iso),
        })),
        "run": it.run.as_ref().map(|run| json!({
            "task_id": run.task, "number": run.number, "status": run.state, "open": run.open, "progress": run.share,
            "started_at": run.started_at.map(time::iso), "ended_at": run.ended_at.filter(|_| !run.open).map(time::iso),
        })),
        "outcome": it.found.outcome, "records": it.found.records, "records_per_second": it.found.per_second,
        "coverage": it.found.coverage, "more_streams": it.found.more_streams, "checkpoints": it.found.checkpoints, "streams": it.found.by_status, "doubts": it.found.doubts,
        "node": it.node, "unassigned": it.unassigned, "next_run_at": it.next_run_at.map(time::iso), "late_at": it.late_at.map(time::iso),
        "revision": it.revision, "cursor": it.cursor, "updated_at": it.updated_at.map(time::iso),
    })
}

async fn list(
    client: &Client,
    group: Option<PipelineGroup>,
    grep: Option<&str>,
    as_json: bool,
) -> Result<u8, CommandError> {
    let fleet = read_fleet(client).await?;
    let now = now();
    let wanted = grep.map(str::to_lowercase);
    let is_match = |watched: &Watched| {
        let it = &watched.pipeline;
        let messages = it.faults.iter().map(|fault| fault.message.as_ref());
        let messages = messages.chain(it.found.doubts.iter().map(AsRef::as_ref));
        let all = [it.id.as_ref(), &it.source, &it.destination].into_iter().chain(messages);
        wanted.as_ref().is_none_or(|wanted| all.into_iter().any(|text| text.to_lowercase().contains(wanted)))
    };
    let mut found: Vec<_> = fleet
        .pipelines
        .values()
        .filter(|it| group.is_none_or(|group| it.group(now) == group) && is_match(it))
        .collect();
    found.sort_by_key(|it| (it.group(now), Arc::clone(&it.pipeline.id)));
    if as_json {
        let all: Vec<_> = found.iter().map(|it| pipeline_json(it, now)).collect();
        print_json(
            &json!({"service": client.place.shown(), "pipelines": all, "of": fleet.pipelines.len(), "odd": fleet.odd.values().collect::<Vec<_>>()}),
        )?;
        return Ok(exit::DONE);
    }
    let mut text = String::new();
    let wide = found.iter().map(|it| it.pipeline.id.len()).max().unwrap_or(8).clamp(8, 40);
    text.push_str(&format!(
        "{:<11} {:<wide$} {:<9} {:>12} {:>6}  WHY\n",
        "GROUP", "PIPELINE", "STATUS", "RUN RECORDS", "RANGES"
    ));
    for watched in &found {
        let it = &watched.pipeline;
        let records = it.found.records.map_or_else(|| "-".into(), count);
        let coverage = it.found.coverage_text("≤").unwrap_or_else(|| "-".into());
        let fault = it.reason.as_ref().or(it.faults.first()).map(|fault| format!("{}: {}", fault.kind(), fault.core()));
        let why: Vec<_> = watched.note(now).into_iter().chain(fault).chain(watched.doubt()).collect();
        let why = synctop_core::protocol::clean::line(&short(&why.join("; "), 160)).into_owned();
        let line = format!(
            "{:<11} {:<wide$} {:<9} {records:>12} {coverage:>6}  {why}",
            watched.group(now).as_str().to_lowercase(),
            it.id,
            it.status.as_str()
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if found.is_empty() {
        text = match fleet.pipelines.len() {
            0 => {
                let place = &client.place;
                format!(
                    "{} has no pipelines. Create one: synctop pipelines create FILE {}\n",
                    place.shown(),
                    place.argument()
                )
            }
            all => format!("none of the {all} pipelines matches\n"),
        };
    }
    for odd in fleet.odd.values() {
        crate::cli::output::print_error(&format!("an entry of the list is not a pipeline: {odd}."));
    }
    print_text(&text)?;
    Ok(exit::DONE)
}

/// Reads the body of an answer.
fn body<T: serde::de::DeserializeOwned>(client: &Client, answer: Value) -> Result<T, CommandError> {
    serde_json::from_value(answer).map_err(|why| odd(client, why))
}

async fn why(client: &Client, id: &str, as_json: bool) -> Result<u8, CommandError> {
    let answer = client.ask(ServiceRequest::get(&["pipelines", id, "why"])).await;
    let answer = answer.map_err(|trouble| failure(&trouble, &client.place))?;
    if as_json {
        print_json(&answer)?;
        return Ok(exit::DONE);
    }
    let WhyBody { reasons, .. } = body(client, answer)?;
    let mut text = String::new();
    for reason in reasons {
        // A sentence may have the time already.
        let until = reason.until.map(time::iso).filter(|at| !reason.message.contains(at.as_str()));
        let until = until.map(|at| format!(" (until {at})")).unwrap_or_default();
        let since = reason.since.map(|at| format!(" (since {})", time::iso(at))).unwrap_or_default();
        text.push_str(&format!("{}{since}{until}\n", synctop_core::protocol::clean::line(&reason.message)));
    }
    print_text(&text)?;
    Ok(exit::DONE)
}

async fn nodes(client: &Client, as_json: bool) -> Result<u8, CommandError> {
    let answer = client.ask(ServiceRequest::get(&["nodes"])).await;
    let answer = answer.map_err(|trouble| failure(&trouble, &client.place))?;
    if as_json {
        print_json(&answer)?;
        return Ok(exit::DONE);
    }
    let Page { data, .. } = body::<Page<NodeBody>>(client, answer)?;
    let mut text =
        format!("{:<20} {:<9} {:>9} {:>8}  {:<24} {}\n", "NODE", "STATUS", "PIPELINES", "RUNNING", "LABELS", "ADDRESS");
    for node in data {
        let word =
            |text: Option<Arc<str>>| synctop_core::protocol::clean::line(text.as_deref().unwrap_or("-")).into_owned();
        let labels = node.labels.unwrap_or_default().join(",");
        text.push_str(&format!(
            "{:<20} {:<9} {:>9} {:>8}  {:<24} {}\n",
            word(node.name),
            word(node.status),
            node.pipelines.map_or_else(|| "?".into(), count),
            node.running.map_or_else(|| "?".into(), count),
            if labels.is_empty() { "-".into() } else { synctop_core::protocol::clean::line(&labels).into_owned() },
            word(node.address),
        ));
    }
    print_text(&text)?;
    Ok(exit::DONE)
}

async fn show(client: &Client, id: &str, as_json: bool) -> Result<u8, CommandError> {
    let asked = async {
        client.capabilities().await?;
        client.pipeline(id, true).await
    };
    let told = asked.await.map_err(|trouble| failure(&trouble, &client.place))?;
    let mut fleet = Fleet::default();
    fleet.take_one(told, now()).map_err(|why| odd(client, why))?;
    let Some(watched) = fleet.pipelines.get(id) else { return Err(odd(client, "it answers with another pipeline")) };
    let now = now();
    if as_json {
        let mut all = pipeline_json(watched, now);
        if let Some(all) = all.as_object_mut() {
            all.insert("told".into(), watched.pipeline.report());
        }
        print_json(&all)?;
        return Ok(exit::DONE);
    }
    let it = &watched.pipeline;
    let mut text = format!("{}  {} -> {}\n", it.id, it.source, it.destination);
    let mut fact = |name: &str, value: String| {
        text.push_str(&format!("  {name:<12} {}\n", synctop_core::protocol::clean::line(&value)));
    };
    let group = watched.group(now).as_str().to_lowercase();
    let group = if group == it.status.as_str() { String::new() } else { format!(", {group}") };
    fact("status", format!("{} (desired {}){group}", it.status.as_str(), it.desired.as_str()));
    if let Some(node) = it.node.as_ref().or(it.unassigned.as_ref()) {
        fact("node", node.to_string());
    }
    if let Some(next) = it.next_run_at {
        fact("next run", time::iso(next));
    }
    if let Some(late_at) = it.late_at.filter(|late_at| now >= *late_at) {
        fact("late since", time::iso(late_at));
    }
    if let Some(note) = watched.note(now) {
        fact("note", note);
    }
    for fault in &it.faults {
        let streams: Vec<_> = fault.streams.iter().map(AsRef::as_ref).collect();
        let on = if streams.is_empty() { String::new() } else { format!(" ({})", short(&streams.join(", "), 80)) };
        let since =
            fault.since.or(watched.fault_since).map(|at| format!(" since {}", time::iso(at))).unwrap_or_default();
        fact("why", format!("{}{on}{since}: {}", fault.kind(), fault.message));
        if let Some(next) = &fault.next {
            fact("next", next.to_string());
        }
    }
    if let Some(run) = &it.run {
        let number = run.number.map(|number| format!("{number}, ")).unwrap_or_default();
        let state = run.state.as_deref().unwrap_or(if run.open { "open" } else { "over" });
        let share = run.share.as_ref().map(|share| format!(", streams {share}")).unwrap_or_default();
        let came = it.found.outcome.as_ref().map(|outcome| format!(", {outcome}")).unwrap_or_default();
        fact("run", format!("{number}{state}{came}{share}"));
    }
    for doubt in &it.found.doubts {
        fact("doubt", doubt.to_string());
    }
    fact("records", it.found.records.map_or_else(|| "-".into(), |number| format!("{} in this run", count(number))));
    fact("ranges", it.found.coverage_text("≤").unwrap_or_else(|| "-".into()));
    fact("checkpoints", it.found.checkpoints.map_or_else(|| "-".into(), count));
    print_text(&text)?;
    Ok(exit::DONE)
}

fn odd(client: &Client, why: impl std::fmt::Display) -> CommandError {
    CommandError {
        sentence: format!("{} does not answer as a pipeline service: {why}.", client.place.shown()),
        class: ResultClass::Unavailable,
    }
}

async fn create(client: &Client, file: &std::path::Path, skip_check: bool, as_json: bool) -> Result<u8, CommandError> {
    let (text, name) = if file.as_os_str() == "-" {
        let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
        (read.await.map_err(std::io::Error::other)??, "stdin".to_owned())
    } else {
        (read_text_file(file, "pipeline")?, file.display().to_string())
    };
    let body: Value = serde_json::from_str(&text).map_err(|error| CommandError {
        sentence: format!("{name} is not a pipeline: {error}. Expected a JSON object with id, source and destination."),
        class: ResultClass::BadData,
    })?;
    let capabilities = client.capabilities().await.map_err(|trouble| failure(&trouble, &client.place))?;
    let mut ask = ServiceRequest::of(Method::POST, &["pipelines"]).header("idempotency-key", random_id("create"));
    if skip_check && capabilities.pages {
        ask = ask.with("skip_check", "true");
    }
    ask.body = Some(body);
    // The service may check the connection with its engine before it answers.
    ask.within = std::time::Duration::from_secs(60);
    let mut made = client.ask(ask).await.map_err(|trouble| failure(&trouble, &client.place))?;
    synctop_core::protocol::mask::json(&mut made);
    if as_json {
        print_json(&made)?;
    } else {
        print(&format!("{}\n", made.get("id").and_then(Value::as_str).unwrap_or_default()))?;
    }
    Ok(exit::DONE)
}

/// Maximum length of the answer of a setup, in bytes.
const SETUP_MAX: usize = 4 * 1024 * 1024;

/// Sends `POST /pipelines/{id}/setup` and judges the engine's messages in its answer.
async fn setup(client: &Client, id: &str, as_json: bool) -> Result<u8, CommandError> {
    let mut ask = ServiceRequest { person: true, ..ServiceRequest::of(Method::POST, &["pipelines", id, "setup"]) };
    ask.within = std::time::Duration::from_secs(60);
    let within = ask.within;
    let mut response = client.follow(ask).await.map_err(|trouble| failure(&trouble, &client.place))?;
    let mut reducer = Reducer::new(Decoder::default());
    let mut length = 0;
    while let Some(bytes) = chunk(&mut response, within).await.map_err(|trouble| failure(&trouble, &client.place))? {
        length += bytes.len();
        if length > SETUP_MAX {
            return Err(CommandError {
                sentence: format!("{id}: its engine printed more than {SETUP_MAX} bytes."),
                class: ResultClass::Failed,
            });
        }
        reducer.push(&bytes);
    }
    reducer.finish(Some(Exit::Code(0)));
    let progress = &reducer.progress;
    let why = match outcome(progress) {
        Outcome::Succeeded => None,
        _ => Some(verdict(progress).why.unwrap_or_else(|| "its engine does not confirm the setup".into())),
    };
    if as_json {
        print_json(&json!({"id": id, "set_up": why.is_none(), "error": why}))?;
    }
    match why {
        None if as_json => Ok(exit::DONE),
        None => {
            let next = format!("synctop pipelines retry {} {}", typed(id), client.place.argument());
            print(&format!("{id}: set up. Its next run: {next}\n")).map(|()| 0)
        }
        Some(why) => Err(CommandError { sentence: format!("{id}: not set up: {why}"), class: ResultClass::Failed }),
    }
}
