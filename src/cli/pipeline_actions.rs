//! Actions of `synctop pipelines pause|resume|sync|retry|delete`: targets, confirmation, bulk,
//! results.

use crate::app::term::output::{err, err_line};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::remote_args::{ActArgs, PipelinesArgs};
use crate::cli::service::{self, failure, print_json, print_text};
use crate::net::client::Client;
use crate::net::client::actions::{ActionStage, Actor, act_on_many};
use crate::net::client::state_db::who;
use crate::util::sys::now;
use synctop_core::ResultClass;
use synctop_core::fleet::bulk::{Bulk, BulkStep, MAX_UNCONFIRMED};
use synctop_core::fleet::verify::{ActionResult, PipelineAction};
use synctop_core::fleet::{Fleet, Watched};
use synctop_core::format::short;
use synctop_core::protocol::clean::typed;

use serde_json::json;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex};

pub(super) async fn read_fleet(client: &Client) -> Result<Fleet, CommandError> {
    let told = async { client.list(client.capabilities().await?).await };
    let list = told.await.map_err(|trouble| failure(&trouble, &client.place))?;
    let mut fleet = Fleet::default();
    fleet.take_list(&list, 0, now());
    Ok(fleet)
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

pub(super) async fn many(
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
    err_line(text);
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
    err(&format!("Type {word} to confirm: "));
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
