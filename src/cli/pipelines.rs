//! `synctop pipelines list|show|create|setup|pause|resume|sync|retry|delete`: manages pipelines
//! without a screen.

use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::{print, read_text_file};
use crate::cli::remote_args::{ActArgs, PipelinesArgs, PipelinesVerb};
use crate::cli::service::{
    self, client, failure, print_json, print_text, require_writable, service_address, until_signal,
};
use crate::net::client::actions::{ActionStage, Actor, act_on_many};
use crate::net::client::http::chunk;
use crate::net::client::state_db::who;
use crate::net::client::{Client, ServiceRequest};
use crate::util::sys::{now, random_id};
use synctop_core::ResultClass;
use synctop_core::fleet::bulk::{Bulk, BulkStep, MAX_UNCONFIRMED};
use synctop_core::fleet::verify::{ActionResult, PipelineAction};
use synctop_core::fleet::{Fleet, PipelineGroup, Watched};
use synctop_core::format::{count, short};
use synctop_core::protocol::clean::typed;
use synctop_core::protocol::{Decoder, time};
use synctop_core::reduce::Reducer;
use synctop_core::reduce::{Exit, Outcome, outcome};
use synctop_core::report::verdict;

use reqwest::Method;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};

pub(super) fn pipelines(args: &PipelinesArgs) -> Result<u8, CommandError> {
    let place = service_address(None, &args.of)?;
    let acts = match &args.verb {
        PipelinesVerb::List { .. } | PipelinesVerb::Show { .. } => false,
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

async fn read_fleet(client: &Client) -> Result<Fleet, CommandError> {
    let told = async { client.list(client.capabilities().await?).await };
    let list = told.await.map_err(|trouble| failure(&trouble, &client.place))?;
    let mut fleet = Fleet::default();
    fleet.take_list(list, 0, now());
    Ok(fleet)
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
            &json!({"service": client.place.shown(), "pipelines": all, "of": fleet.pipelines.len(), "odd": fleet.odd}),
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
    for odd in &fleet.odd {
        crate::cli::output::print_error(&format!("an entry of the list is not a pipeline: {odd}."));
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
            all.insert("told".into(), watched.pipeline.told.as_ref().clone());
        }
        print_json(&all)?;
        return Ok(exit::DONE);
    }
    let it = &watched.pipeline;
    let mut text = format!("{}  {} -> {}\n", it.id, it.source, it.destination);
    let mut fact = |name: &str, value: String| {
        text.push_str(&format!("  {name:<12} {}\n", synctop_core::protocol::clean::line(&value)));
    };
    fact(
        "status",
        format!(
            "{} (desired {}), {}",
            it.status.as_str(),
            it.desired.as_str(),
            watched.group(now).as_str().to_lowercase()
        ),
    );
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

/// Returns the target pipelines with their errors, and the pipelines that would refuse the action.
/// A single target is always included, because its refusal has a reason that can be shown.
async fn targets(
    client: &Client,
    action: PipelineAction,
    args: &ActArgs,
) -> Result<(Vec<Target>, Vec<Arc<str>>), CommandError> {
    if args.pipelines.is_empty() && args.group.is_none() && args.fingerprint.is_none() {
        return Err(CommandError::usage(
            "No pipelines given. Name them, or pass --group parked or --fingerprint FINGERPRINT.",
        ));
    }
    let fleet = read_fleet(client).await?;
    let now = now();
    let mut found = Vec::new();
    let mut take = |watched: &Watched| {
        let id = &watched.pipeline.id;
        if found.iter().all(|(known, _)| known != id) {
            found.push((Arc::clone(id), watched.pipeline.faults.first().map(|it| Arc::clone(&it.fingerprint))));
        }
    };
    for id in &args.pipelines {
        let Some(watched) = fleet.pipelines.get(id.as_str()) else {
            let near = fleet
                .pipelines
                .keys()
                .filter(|known| known.contains(id.as_str()))
                .take(3)
                .map(AsRef::as_ref)
                .collect::<Vec<_>>();
            let near = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
            return Err(CommandError {
                sentence: format!(
                    "{} has no pipeline {id}.{near} See synctop pipelines list {}.",
                    client.place.shown(),
                    client.place.argument()
                ),
                class: ResultClass::NotFound,
            });
        };
        take(watched);
    }
    if args.group.is_some() || args.fingerprint.is_some() {
        for watched in fleet.pipelines.values() {
            let group = args.group.is_none_or(|group| watched.group(now) == group);
            let fault = |wanted: &String| watched.pipeline.faults.iter().any(|it| *it.fingerprint == **wanted);
            if group && args.fingerprint.as_ref().is_none_or(fault) {
                take(watched);
            }
        }
    }
    if let (Some(wanted), None, true) = (&args.fingerprint, args.group, found.is_empty()) {
        let mut known: Vec<_> = fleet.pipelines.values().filter_map(|it| it.pipeline.faults.first()).collect();
        known.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        known.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        let known: Vec<_> =
            known.iter().take(5).map(|it| format!("{} ({})", it.fingerprint, short(&it.core(), 60))).collect();
        let there =
            if known.is_empty() { "There is none now".to_owned() } else { format!("There is {}", known.join(", ")) };
        return Err(CommandError {
            sentence: format!("No pipeline of {} has an error {wanted}. {there}.", client.place.shown()),
            class: ResultClass::NotFound,
        });
    }
    if found.len() < 2 && !args.dry_run {
        return Ok((found, Vec::new()));
    }
    let tasks = client.capabilities().await.is_ok_and(|capabilities| capabilities.tasks);
    let possible = |id: &Arc<str>| fleet.pipelines.get(id).is_none_or(|it| action.is_possible(&it.pipeline, tasks));
    let (found, left_out): (Vec<_>, Vec<_>) = found.into_iter().partition(|(id, _)| possible(id));
    Ok((found, left_out.into_iter().map(|(id, _)| id).collect()))
}

/// Id of a pipeline, and the fingerprint of its first error.
type Target = (Arc<str>, Option<Arc<str>>);

async fn many(
    client: &Arc<Client>,
    action: PipelineAction,
    args: &ActArgs,
    all: &PipelinesArgs,
    sent: &Mutex<bool>,
) -> Result<u8, CommandError> {
    let (found, left_out) = targets(client, action, args).await?;
    if !left_out.is_empty() {
        let names: Vec<_> = left_out.iter().map(AsRef::as_ref).collect();
        crate::cli::output::print_error(&format!(
            "skipped, because a parked or paused pipeline does not run: {}. To resume: synctop pipelines resume {} {}",
            names.join(", "),
            names.iter().map(|name| typed(name)).collect::<Vec<_>>().join(" "),
            client.place.argument()
        ));
    }
    if found.is_empty() {
        crate::cli::output::print_error("no pipeline is selected: nothing was done.");
        print(&if all.json {
            let done = json!({"action": action.as_str(), "pipelines": [], "stopped": null, "left_out": left_out});
            done.to_string() + "\n"
        } else {
            String::new()
        })?;
        return Ok(exit::DONE);
    }
    let bulk = Bulk::new(action, found);
    if args.dry_run {
        return plan(client, &bulk, &left_out, all.json);
    }
    confirm_action(client, &bulk, args).await?;
    let actor = Actor {
        client: Arc::clone(client),
        memory: service::open_state_db(all.of.data_dir.as_ref(), &client.place)?,
        watcher: None,
        who: who(),
        patience: args.timeout,
    };
    *crate::util::sys::lock(sent) = true;
    let done = if let [only] = bulk.items.as_slice() {
        let id = Arc::clone(&only.id);
        let tell = |stage: ActionStage| match stage {
            ActionStage::Baseline(words) => note(&format!("{id}: {words}")),
            ActionStage::MaybeSent(why) => {
                note(&format!("{id}: no answer yet ({why}): checking whether it took effect"));
            }
            ActionStage::Accepted(words) => {
                note(&format!("{id}: accepted{}", if words.is_empty() { String::new() } else { format!(": {words}") }));
            }
        };
        let verdict = actor.act(action, &only.id, args.why.as_deref(), tell).await;
        let mut bulk = bulk.clone();
        if let Some(item) = bulk.items.first_mut() {
            item.step = BulkStep::Done(verdict);
        }
        bulk
    } else {
        act_and_report(actor, bulk, args).await
    };
    // On a terminal, `act_and_report` has already printed the results.
    let told = done.items.len() > 1 && std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    print_results(&done, &left_out, all.json, told)?;
    Ok(match done.items.as_slice() {
        [only] => match &only.step {
            BulkStep::Done(verdict) => exit::code(verdict.class()),
            _ => exit::code(ResultClass::Unfinished),
        },
        _ => exit::code(done.class()),
    })
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", synctop_core::protocol::clean::line(text));
}

/// Performs a bulk action and prints one line for each result as it arrives.
async fn act_and_report(actor: Actor, bulk: Bulk, args: &ActArgs) -> Bulk {
    note(&format!("{} {} pipelines: {}", bulk.action.as_str(), bulk.items.len(), bulk.plan()));
    let (sender, mut seen) = tokio::sync::watch::channel(bulk.clone());
    let (_stop, stop) = tokio::sync::watch::channel(false);
    let work = tokio::spawn(act_on_many(actor, bulk.clone(), args.why.clone(), sender, stop, None));
    let mut told = vec![false; bulk.items.len()];
    let mut stopped = false;
    while seen.changed().await.is_ok() {
        let now = seen.borrow_and_update().clone();
        for (item, told) in now.items.iter().zip(&mut told) {
            if let (BulkStep::Done(verdict), false) = (&item.step, *told) {
                *told = true;
                note(&format!("{}: {}", item.id, verdict));
                if let Some(next) = next(&item.step) {
                    note(&format!("  next: {next}"));
                }
            }
        }
        if let (Some(why), false) = (&now.stopped, stopped) {
            stopped = true;
            note(&format!("stopped, the rest is skipped: {why}"));
        }
    }
    work.await.unwrap_or(bulk)
}

/// Returns the next step for a pipeline that was parked again.
fn next(step: &BulkStep) -> Option<&str> {
    match step {
        BulkStep::Done(ActionResult::ParkedSame(fault, _) | ActionResult::ParkedNew(fault, _)) => fault.next.as_deref(),
        _ => None,
    }
}

fn step_text(step: &BulkStep) -> (&'static str, String) {
    match step {
        BulkStep::Done(verdict) => (verdict.as_str(), verdict.to_string()),
        BulkStep::HeldBack => ("held_back", "skipped: not touched".into()),
        BulkStep::Waiting => ("waiting", "not sent yet".into()),
        BulkStep::Sent(_) => ("sent", "sent".into()),
    }
}

fn print_results(bulk: &Bulk, left_out: &[Arc<str>], as_json: bool, told: bool) -> Result<(), CommandError> {
    if as_json {
        let all: Vec<_> = bulk
            .items
            .iter()
            .map(|item| {
                let (word, sentence) = step_text(&item.step);
                let fault = match &item.step {
                    BulkStep::Done(verdict) => verdict.fault().map(|it| Arc::clone(&it.fingerprint)),
                    _ => None,
                };
                json!({"target": item.id, "verdict": word, "sentence": sentence, "fingerprint": fault, "fingerprint_before": item.fingerprint})
            })
            .collect();
        return print_json(
            &json!({"action": bulk.action.as_str(), "pipelines": all, "stopped": bulk.stopped, "left_out": left_out}),
        );
    }
    let mut text = String::new();
    for item in bulk.items.iter().filter(|item| !(told && matches!(item.step, BulkStep::Done(_)))) {
        text.push_str(&format!("{}: {}\n", item.id, synctop_core::protocol::clean::line(&step_text(&item.step).1)));
        if let Some(next) = next(&item.step) {
            text.push_str(&format!("  next: {next}\n"));
        }
    }
    print_text(&text)
}

/// Prints the plan of a dry run.
fn plan(client: &Client, bulk: &Bulk, left_out: &[Arc<str>], as_json: bool) -> Result<u8, CommandError> {
    if as_json {
        let all: Vec<_> = bulk
            .items
            .iter()
            .enumerate()
            .map(|(at, item)| json!({"target": item.id, "stage": Bulk::stage(at) + 1, "fingerprint": item.fingerprint}))
            .collect();
        let plan = json!({"dry_run": true, "action": bulk.action.as_str(), "service": client.place.shown(), "plan": bulk.plan(), "pipelines": all, "left_out": left_out});
        print_json(&plan)?;
        return Ok(exit::DONE);
    }
    let mut text = format!(
        "would {} {} of {}: {}\n{}\n",
        bulk.action.as_str(),
        synctop_core::format::plural(bulk.items.len(), "pipeline"),
        client.place.shown(),
        bulk.plan(),
        bulk.action.consequence()
    );
    for (at, item) in bulk.items.iter().enumerate() {
        let error = item.fingerprint.as_ref().map(|it| format!("  error {it}")).unwrap_or_default();
        text.push_str(&format!("  {}  {}{error}\n", Bulk::stage(at) + 1, item.id));
    }
    print_text(&text)?;
    Ok(exit::DONE)
}

/// Asks for confirmation of a deletion, and of an action on more than [`MAX_UNCONFIRMED`]
/// pipelines.
///
/// # Errors
///
/// Returns a usage error if there is no terminal or the confirmation does not match.
async fn confirm_action(client: &Client, bulk: &Bulk, args: &ActArgs) -> Result<(), CommandError> {
    let all = bulk.items.len();
    let delete = bulk.action == PipelineAction::Delete;
    if args.yes || (!delete && all <= MAX_UNCONFIRMED) {
        return Ok(());
    }
    let word = match bulk.items.as_slice() {
        [only] => only.id.to_string(),
        _ => client.place.name(),
    };
    let what = synctop_core::format::plural(all, "pipeline");
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(CommandError::usage(format!(
            "{} {what} of {}: no terminal for the confirmation. Pass --yes, or try --dry-run first.",
            bulk.action.as_str(),
            client.place.shown()
        )));
    }
    note(&format!("{} {what} of {} ({}).", bulk.action.as_str(), client.place.name(), client.place.shown()));
    let names: Vec<_> = bulk.items.iter().take(20).map(|item| item.id.as_ref()).collect();
    let more = bulk.items.len().saturating_sub(names.len());
    note(&format!("{}{}", names.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() }));
    note(bulk.action.consequence());
    let _ = write!(std::io::stderr(), "Type {word} to confirm: ");
    // A blocking thread, so that a signal is still handled while the user types.
    let typed = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = typed.await.map_err(std::io::Error::other)??;
    if line.trim() == word {
        Ok(())
    } else {
        Err(CommandError::usage("The confirmation does not match: nothing was done."))
    }
}
