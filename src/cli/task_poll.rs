//! Submission and polling of tasks in four modes, for pipeline runs and for tasks of other APIs.

use crate::app::term::output::err_line;
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::output::print_error;
use crate::cli::remote_args::PollingArgs;
use crate::cli::service::print_json;
use crate::net::client::ClientError;
use crate::net::client::tasks::{INTERVAL, Polled, Submitted, TIMEOUT, TaskApi};
use crate::util::sys::{lock, random_id};
use std::sync::Mutex;
use std::time::Duration;
use synctop_core::ResultClass;
use synctop_core::fleet::task::{RemoteTask, expected};
use synctop_core::format::duration;
use synctop_core::protocol::clean;
use synctop_core::protocol::clean::typed;
use synctop_core::report::{Advice, Audience};

/// Defaults for polling: interval, timeout and expected duration.
#[derive(Default)]
pub(super) struct PollDefaults {
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub expected: Option<Duration>,
    /// Exit with 1 instead of 0 if there is a doubt.
    pub strict: bool,
}

/// Text printed if a signal ends the command.
pub(super) type SignalMessage = Mutex<String>;

/// Submits a task unless its id is known, polls it to its end, and returns the exit code. `command`
/// is the command line shown in hints; `left` receives the message for a signal.
pub(super) async fn follow_task(
    api: &TaskApi,
    poll_args: &PollingArgs,
    poll_defaults: &PollDefaults,
    command: &str,
    what: &str,
    left: &SignalMessage,
) -> Result<u8, CommandError> {
    let follow_hint =
        |id: &str| format!("stopped waiting: the task may continue. To follow it: {command} --task-id {}", typed(id));
    *lock(left) = match &poll_args.task_id {
        Some(id) => follow_hint(id),
        None => "stopped before it was known whether the task was submitted.".into(),
    };
    let say = |text: &str| {
        if !poll_args.quiet {
            err_line(text);
        }
    };
    // An unusable output folder is reported before the wait, not after it.
    if let Some(folder) = &poll_args.output {
        std::fs::create_dir_all(folder).map_err(|error| CommandError::unwritable(folder, "--output", &error))?;
    }
    let first = match &poll_args.task_id {
        Some(id) => task_of_pipeline(api, id).await?,
        None => None,
    };
    if let (Some(id), true) = (&poll_args.task_id, poll_args.poll_once) {
        let task = match first {
            Some(task) => task,
            None => api.status(id).await.map_err(|trouble| crate::cli::service::failure(&trouble, api.place()))?,
        };
        say(&clean::line(&task.line(0)));
        print_json(&task.told)?;
        if task.state.is_finished() {
            return end(api, poll_args, &task, true, poll_defaults.strict).await;
        }
        save_unfinished(poll_args, Some(&task))?;
        return Ok(exit::code(task.state.class()));
    }
    let mut submitted = None;
    let id = if let Some(id) = &poll_args.task_id {
        id.clone()
    } else {
        if !poll_args.submit_only {
            let failed = |trouble: ClientError| crate::cli::service::failure(&trouble, api.place());
            let past = if let Some(expected) = poll_defaults.expected {
                format!("about {} (from the profile)", duration(millis(expected)))
            } else {
                expected(api.past().await.map_err(failed)?)
            };
            say(&format!("Expected wait: {past}"));
        }
        let task = submit(api, poll_args, poll_defaults, command).await?;
        *lock(left) = follow_hint(&task.id);
        if poll_args.submit_only {
            say(&clean::line(&format!("Task submitted: {}", task.id)));
            let once = format!("{command} --task-id {} --poll-once", typed(&task.id));
            say(&clean::line(&format!("It is {what}. To see its result: {once}")));
            print(&format!("{}\n", clean::line(&task.id)))?;
            return Ok(exit::DONE);
        }
        say(&clean::line(&format!("Task submitted: {}", task.id)));
        let id = task.id.clone();
        submitted = Some(task);
        id
    };
    let interval = poll_args.poll_interval.or(poll_defaults.interval).unwrap_or(INTERVAL);
    let timeout = poll_args.timeout.or(poll_defaults.timeout).unwrap_or(TIMEOUT);
    let polled = api
        .poll(&id, submitted, interval, timeout, |answer, seconds| match answer {
            Ok(task) => say(&clean::line(&task.line(seconds))),
            Err(trouble) => say(&format!("  [{seconds}s] task={id} no answer: {}", clean::line(&trouble.to_string()))),
        })
        .await;
    match polled {
        Polled::Over(task) => end(api, poll_args, &task, false, poll_defaults.strict).await,
        Polled::NotYet(task) => {
            let time = duration(millis(timeout));
            let status = task.as_ref().map_or("unknown", |task| task.word.as_str());
            say(&clean::line(&format!("Not finished after {time} (status {status}): the task may still be running.")));
            say(&format!("To follow it: {command} --task-id {}", typed(&id)));
            save_unfinished(poll_args, task.as_ref())?;
            if let Some(task) = task.filter(|_| poll_args.print_response) {
                print_json(&task.told)?;
            }
            Ok(exit::code(ResultClass::Unfinished))
        }
        Polled::Failed(trouble) => {
            let mut failure = crate::cli::service::failure(&trouble, api.place());
            if !trouble.absent() {
                failure
                    .sentence
                    .push_str(&format!(" The task may continue. To follow it: {command} --task-id {}", typed(&id)));
            }
            Err(failure)
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn submit(
    api: &TaskApi,
    poll_args: &PollingArgs,
    poll_defaults: &PollDefaults,
    command: &str,
) -> Result<RemoteTask, CommandError> {
    let within = poll_args.timeout.or(poll_defaults.timeout).unwrap_or(TIMEOUT);
    match api.submit(&random_id("submit"), within).await {
        Submitted::Task(task) => Ok(task),
        Submitted::Refused(trouble) => {
            let mut failure = crate::cli::service::failure(&trouble, api.place());
            if let ClientError::Refused { status: 409, json, code, .. } = &trouble {
                if let Some(id) = json.get("task_id").and_then(serde_json::Value::as_str) {
                    failure.sentence.push_str(&format!(" To follow that task: {command} --task-id {}", typed(id)));
                } else if let (TaskApi::Runs(runs), true) = (api, code.contains("parked") || code.contains("paused")) {
                    let resume =
                        format!("synctop pipelines resume {} {}", typed(&runs.pipeline), api.place().argument());
                    failure.sentence.push_str(&format!(" To resume it: {resume}"));
                }
            }
            Err(failure)
        }
        Submitted::Unknown(trouble, sent) => Err(CommandError {
            sentence: format!(
                "It is unknown whether it was submitted: {} {trouble}. {}; check there before you retry.",
                api.place().shown(),
                match sent {
                    1 => "It was sent once".to_owned(),
                    many => format!("It was sent {many} times with one key, which is one submission"),
                }
            ),
            class: ResultClass::Unavailable,
        }),
    }
}

/// Checks that a task belongs to the named pipeline. Returns `None` if no pipeline was named or the
/// task cannot be read.
///
/// # Errors
///
/// Returns a usage error if the task belongs to another pipeline.
async fn task_of_pipeline(api: &TaskApi, id: &str) -> Result<Option<RemoteTask>, CommandError> {
    let TaskApi::Runs(runs) = api else { return Ok(None) };
    if runs.pipeline.is_empty() {
        return Ok(None);
    }
    // A failure is not reported here: the poll that follows reports it.
    let Ok(task) = api.status(id).await else { return Ok(None) };
    match task.pipeline() {
        Some(of) if of != runs.pipeline => {
            Err(CommandError::usage(format!("Task {id} belongs to pipeline {of}, not to {}.", runs.pipeline)))
        }
        _ => Ok(Some(task)),
    }
}

/// Stores the latest answer of an unfinished task in the output folder, and reports that its result
/// is missing.
fn save_unfinished(poll_args: &PollingArgs, task: Option<&RemoteTask>) -> Result<(), CommandError> {
    let Some(folder) = &poll_args.output else { return Ok(()) };
    let kept = match task {
        Some(task) => {
            let path = TaskApi::save_answer(task, folder).map_err(|why| CommandError {
                sentence: format!("The answer cannot be saved: {why}."),
                class: ResultClass::Output,
            })?;
            format!("saved {}", path.display())
        }
        None => "nothing is saved".into(),
    };
    if !poll_args.quiet {
        print_error(&format!("{kept}: the task has not ended, so there is no result yet"));
    }
    Ok(())
}

/// Reports and stores the result of a finished task.
async fn end(
    api: &TaskApi,
    poll_args: &PollingArgs,
    task: &RemoteTask,
    told: bool,
    strict: bool,
) -> Result<u8, CommandError> {
    let code = exit::code(task.state.class());
    let doubts = task.totals().map_or(&[][..], |totals| &totals.doubts);
    if let (0, Some(first), false) = (code, doubts.first(), poll_args.quiet) {
        let first = first.message.as_deref();
        let first = first.map(|text| format!(": {}", clean::line(text))).unwrap_or_default();
        err_line(&format!("Done, with {}{first}", synctop_core::format::plural(doubts.len(), "doubt")));
    }
    if let Some(folder) = &poll_args.output {
        let files = api.save(task, folder).await.map_err(|why| CommandError {
            sentence: format!("The task is over ({}), but its result cannot be stored: {why}.", task.word),
            class: ResultClass::Output,
        })?;
        if !poll_args.quiet {
            for file in files {
                err_line(&format!("saved {}", file.display()));
            }
        }
    }
    if poll_args.print_response && !told {
        print_json(&task.told)?;
    }
    if code == 0 {
        if !poll_args.quiet && doubts.is_empty() {
            let result = task
                .result_url
                .as_ref()
                .filter(|_| poll_args.output.is_none())
                .map(|url| format!(": {}", clean::line(url)))
                .unwrap_or_default();
            err_line(&format!("Done{result}"));
        }
        return Ok(u8::from(strict && !doubts.is_empty()));
    }
    let message = task.message.clone().unwrap_or_else(|| "its service reports no reason".into());
    print_error(&clean::line(&format!("task {} failed (status {}): {message}", task.id, task.word)));
    let parked = api.parked(task).await;
    let audience = if parked.is_some() { Audience::ParkedPipeline } else { Audience::Shell };
    let fix = task.fix.clone().unwrap_or_else(|| suggested_fix(task, &message, audience));
    match parked {
        Some(pipeline) => print_error(&format!(
            "possible fix: {}: synctop pipelines resume {} {}",
            clean::line(&fix),
            typed(&pipeline),
            api.place().argument()
        )),
        None => print_error(&format!("possible fix: {}", clean::line(&fix))),
    }
    Ok(code)
}

/// Returns the next step to suggest, worded as on the screen.
fn suggested_fix(task: &RemoteTask, message: &str, audience: Audience) -> String {
    if task.word == "CANCELED" {
        return "it was canceled: submit it again if that was unintended".into();
    }
    let first = task.totals().and_then(|totals| totals.errors.first());
    let kind = first.and_then(|error| error.failure_type.as_deref());
    let message = first.and_then(|error| error.message.as_deref()).unwrap_or(message);
    Advice::for_message(kind, message, false).text(audience)
}
