//! History of the demo: past runs with their logs in the folder of the service, and the errors and
//! actions that a screen would have recorded.

use crate::demo::{DemoError, DemoPlan, Ending, PlannedPipeline};
use crate::engine::simulator::call::{Call, Outlet, call};
use crate::engine::simulator::list_api::Api;
use crate::engine::simulator::rng::SeededRng;
use crate::engine::simulator::scenario::{Fault, Scenario};
use crate::engine::tracker::wire::WireGeneration;
use crate::net::client::StateDb;
use crate::net::timeline::segments::SegmentName;
use crate::service::engines::scenario_of;
use crate::service::lifecycle::{Hold, Life, Phase};
use crate::service::model::{CallLimits, Cursor, ParkReason, PipelineConfig, StoredPipeline, Task};
use crate::service::run::run_result;
use crate::service::run_verdict::{RunVerdict, verdict_of};
use crate::service::secrets::KnownSecrets;
use crate::service::slot::finished_streams;
use crate::service::store::{Store, StoredState};
use crate::util::sys::random_id;
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use synctop_core::fleet::wire::{TaskState, Trigger};
use synctop_core::fleet::{ActionRecord, DesiredStatus, Fleet, Inbox};
use synctop_core::protocol::Millis;
use synctop_core::reduce::{Outcome, Progress, Reducer, outcome};
use synctop_core::report::verdict;

/// Days of the history.
const DAYS: u32 = 14;

const MINUTE_MS: Millis = 60_000;
const DAY_MS: Millis = 86_400_000;

/// Size of a run: one record in `share` of the scenario, at most `most` of a stream, so that the
/// history is written in well under a second.
#[derive(Clone, Copy)]
struct RunSize {
    share: u64,
    most: u64,
}

const DAILY: RunSize = RunSize { share: 40, most: 400 };

/// The last run of a parked pipeline: large enough for a lead-up with many events.
const PARKED: RunSize = RunSize { share: 1, most: 20_000 };

/// Colleague who handled the errors of the history.
const COLLEAGUE: &str = "mira@ops";

/// Past run with its log and the state that it left.
struct PastRun {
    task: Task,
    log: Vec<u8>,
    /// Reason if the run parked the pipeline.
    reason: Option<ParkReason>,
    checkpoints: u64,
}

/// Pipeline of the history with its runs, oldest first.
struct PastPipeline {
    stored: StoredPipeline,
    runs: Vec<PastRun>,
}

/// Lines of a simulated call.
struct Lines(Vec<u8>);

impl Outlet for Lines {
    fn write_lines(&mut self, _at: Millis, lines: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(lines);
        Ok(())
    }
}

/// History that a thread simulates.
pub struct Simulation(JoinHandle<Result<Vec<PastPipeline>, DemoError>>);

/// Begins to simulate the history of the plan up to `now`.
///
/// # Errors
/// Returns an error if no thread can be started.
pub fn simulate(plan: &Arc<DemoPlan>, now: Millis) -> Result<Simulation, DemoError> {
    let plan = Arc::clone(plan);
    Ok(Simulation(std::thread::Builder::new().spawn(move || past_pipelines(&plan, now))?))
}

/// Writes a history into the new data folder of a service, and the errors and actions into `memory`.
///
/// # Errors
/// Returns an error if the plan is invalid or a file cannot be written.
pub async fn write(history: Simulation, folder: &Path, memory: &StateDb) -> Result<(), DemoError> {
    let all = history.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    remember(&all, memory)?;
    for past in &all {
        let logs = folder.join("logs").join(format!("{}.{}", past.stored.id, past.stored.incarnation));
        std::fs::create_dir_all(&logs)?;
        for run in &past.runs {
            let segment = SegmentName { run: run.task.number, begin: run.task.log.0, packed: false };
            std::fs::write(logs.join(segment.name()), &run.log)?;
        }
    }
    // Created last: a demo that was interrupted before has no store, and begins again.
    let store = Store::open(folder)?;
    let stored = store.write(move |tx| {
        for past in &all {
            tx.next_incarnation()?;
            tx.put_pipeline(&past.stored)?;
            for run in &past.runs {
                tx.put_task(&run.task)?;
            }
            let checkpoints = past.runs.iter().map(|run| run.checkpoints).sum();
            tx.put_state(&past.stored.id, &StoredState { checkpoints, ..StoredState::default() })?;
        }
        Ok::<_, DemoError>(())
    });
    let stored = stored.await;
    store.close();
    stored
}

/// Simulates the runs of all pipelines, a part of them on each core: the demo opens with them.
fn past_pipelines(plan: &DemoPlan, now: Millis) -> Result<Vec<PastPipeline>, DemoError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let simulate = |first: usize| -> Result<Vec<_>, DemoError> {
        let part = (1..).zip(&plan.pipelines).skip(first).step_by(workers);
        part.map(|(number, planned)| past_pipeline(planned, number, now)).collect()
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|first| scope.spawn(move || simulate(first))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Result<_, _>>()
    })?;
    let mut all: Vec<PastPipeline> = parts.into_iter().flatten().collect();
    all.sort_by_key(|past| past.stored.incarnation);
    Ok(all)
}

fn past_pipeline(planned: &PlannedPipeline, incarnation: u64, now: Millis) -> Result<PastPipeline, DemoError> {
    let source = json!({"type": "simulated", "simulated": serde_json::to_value(&planned.simulated)?});
    let scenario = scenario_of(&source).map_err(|error| DemoError::Source(planned.id.clone(), error))?;
    let last = now - Millis::from(planned.last_minutes) * MINUTE_MS;
    let mut rng = SeededRng::new(incarnation);
    let destination = json!({"type": "simulated"});
    let config = PipelineConfig { source, destination, ..PipelineConfig::default() };
    let mut stored = StoredPipeline {
        incarnation,
        created_at: last - Millis::from(DAYS) * DAY_MS - MINUTE_MS,
        updated_at: last,
        ..StoredPipeline::new(planned.id.clone(), config)
    };
    let mut runs = Vec::new();
    for days in (0..=DAYS).rev() {
        let begin = match days {
            0 => last,
            // Schedules drift by some minutes.
            days => last - Millis::from(days) * DAY_MS + Millis::try_from(rng.below(1_200_000)).unwrap_or(0),
        };
        let own = || scenario.faults.iter().cloned();
        let faults: Vec<Fault> = match days {
            0 if planned.ends == Ending::Parked || planned.failed_days.contains(&0) => own().collect(),
            0 => Vec::new(),
            days if planned.failed_days.contains(&days) => match &planned.past_fault {
                Some(fault) => vec![fault.clone()],
                None => own().collect(),
            },
            _ => Vec::new(),
        };
        let size = if days == 0 && planned.ends == Ending::Parked { PARKED } else { DAILY };
        let run = past_run(&stored, &runs, sized(&scenario, size, faults, begin, &mut rng), begin)?;
        stored.runs += 1;
        stored.last = Some(run.task.id.clone());
        stored.updated_at = run.task.ended_at.unwrap_or(begin);
        stored.reason.clone_from(&run.reason);
        runs.push(run);
    }
    let is_parked = stored.reason.is_some();
    if planned.ends == Ending::Running {
        stored.updated_at = now;
    }
    stored.life = match planned.ends {
        Ending::Running => Life { phase: Phase::Backfill, ..Life::default() },
        Ending::Paused => Life { desired: DesiredStatus::Paused, phase: Phase::Ready, hold: Hold::Paused },
        _ => life_after(is_parked),
    };
    Ok(PastPipeline { stored, runs })
}

fn life_after(is_parked: bool) -> Life {
    if is_parked {
        Life { phase: Phase::Backfill, hold: Hold::Parked, ..Life::default() }
    } else {
        Life { phase: Phase::Ready, ..Life::default() }
    }
}

/// Returns the scenario of one day's run: the objects of the day before it.
fn sized(scenario: &Scenario, size: RunSize, faults: Vec<Fault>, begin: Millis, rng: &mut SeededRng) -> Scenario {
    let mut daily = scenario.clone();
    (daily.range.gte, daily.range.lt) = (begin - DAY_MS, begin);
    daily.seed = rng.next();
    daily.record_size = 40;
    for stream in &mut daily.streams {
        let usual = (stream.records / size.share).min(size.most);
        stream.records = usual * (80 + rng.below(40)) / 100;
    }
    daily.faults = faults;
    for fault in &mut daily.faults {
        fault.after = fault.after.map(|after| after / size.share);
    }
    daily
}

/// Simulates a run that began at `begin`.
fn past_run(
    pipeline: &StoredPipeline,
    earlier: &[PastRun],
    scenario: Scenario,
    begin: Millis,
) -> Result<PastRun, DemoError> {
    let run_id = random_id("run");
    let mut lines = Lines(Vec::new());
    let api = Arc::new(Mutex::new(Api::new(scenario)));
    let options = Call { form: WireGeneration::Progress, run_id: Some(run_id.clone()), begin, ..Call::default() };
    let ended_at = call(&api, options, &mut lines)?.now;
    let mut reducer = Reducer::default();
    reducer.push(&lines.0);
    let progress = &reducer.progress;
    let reason = match verdict_of(progress, ended_at) {
        RunVerdict::Park(reason) => Some(reason),
        RunVerdict::Ready | RunVerdict::Again(_) => None,
    };
    let from = earlier.last().and_then(|run| run.task.log.1).unwrap_or(0);
    let checkpoints = progress.counters.checkpoints;
    let task = Task {
        id: random_id("task"),
        pipeline: pipeline.id.clone(),
        incarnation: pipeline.incarnation,
        number: pipeline.runs + 1,
        trigger: Trigger::Backfill,
        state: task_state(progress, reason.is_some()),
        created_at: begin,
        started_at: Some(begin),
        ended_at: Some(ended_at),
        run_id,
        limits: CallLimits::default(),
        reset: false,
        cancel: false,
        log: (from, Some(from + lines.0.len() as u64)),
        was_ready: true,
        checkpoints_before: earlier.iter().map(|run| run.checkpoints).sum(),
        calls: 1,
        progress: Some(finished_streams(progress)),
        message: Some(reason.as_ref().map_or_else(|| headline_of(progress), |reason| reason.message.clone())),
        result: Some(run_result(progress, None)),
        so_far: None,
    };
    Ok(PastRun { task, log: lines.0, reason, checkpoints })
}

fn task_state(progress: &Progress, is_parked: bool) -> TaskState {
    let mut closed = progress.clone();
    closed.close(None);
    if is_parked || outcome(&closed) == Outcome::Failed { TaskState::Failed } else { TaskState::Succeeded }
}

/// Returns the outcome of a run as a sentence.
fn headline_of(progress: &Progress) -> String {
    let mut closed = progress.clone();
    closed.close(None);
    verdict(&closed).headline.to_string()
}

/// Records the errors as a screen that was open all the time, and the actions of a colleague.
fn remember(all: &[PastPipeline], memory: &StateDb) -> Result<(), DemoError> {
    let mut runs: Vec<_> = all.iter().flat_map(|past| past.runs.iter().map(move |run| (&past.stored, run))).collect();
    runs.sort_by_key(|(_, run)| run.task.ended_at);
    let (mut fleet, mut inbox, mut actions) = (Fleet::default(), Inbox::default(), Vec::new());
    let mut failed = BTreeSet::new();
    for (stored, run) in runs {
        let at = run.task.ended_at.unwrap_or_default();
        let then = StoredPipeline {
            life: life_after(run.reason.is_some()),
            reason: run.reason.clone(),
            updated_at: at,
            ..stored.clone()
        };
        let cursor = Cursor { incarnation: stored.incarnation, revision: 1, position: 0, checkpoints: 0 };
        let body = then.body(None, &KnownSecrets::default(), &[], Some(&run.task), cursor);
        // A pipeline that cannot be read would be a mistake of the plan; its test finds it.
        let _ = fleet.take_one(serde_json::to_value(body)?, at);
        if let Some(watched) = fleet.pipelines.get(stored.id.as_str()) {
            inbox.observe(watched, at);
        }
        inbox.close_resolved(&fleet.pipelines, at);
        // The colleague resumed the pipelines that failed on the day before, which helped.
        if run.reason.is_some() {
            failed.insert(&stored.id);
        } else if failed.remove(&stored.id) {
            actions.push(resumed(&stored.id, run.task.started_at.unwrap_or(at), at));
        }
    }
    // The oldest open error is known and waits for its owner.
    let oldest = inbox.items.values().filter(|item| item.state().open()).min_by_key(|item| item.first_at);
    if let Some((fingerprint, at)) = oldest.map(|item| (Arc::clone(&item.fingerprint), item.first_at + DAY_MS / 12)) {
        inbox.acknowledge(&fingerprint, COLLEAGUE, Some("asked the customer for access, no answer yet"), at);
    }
    let items: Vec<_> = inbox.items.values().cloned().collect();
    memory.keep(&items, true)?;
    memory.import(&actions)?;
    Ok(())
}

/// Returns the record of a successful resume.
fn resumed(pipeline: &str, at: Millis, ended_at: Millis) -> ActionRecord {
    ActionRecord {
        seq: 0,
        at,
        who: COLLEAGUE.into(),
        action: "resume".into(),
        pipeline: pipeline.into(),
        why: Some("cause fixed by the database team".into()),
        before: Some("error".into()),
        after: Some("ready".into()),
        verdict: Some("took_effect".into()),
        sentence: Some("took effect: the run succeeded".into()),
        ended_at: Some(ended_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::sys::now;
    use synctop_core::fleet::inbox::InboxState;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn written(folder: &Path) -> (Arc<StateDb>, Store) {
        let memory = StateDb::open(folder, "http://demo.localhost").unwrap();
        let history = simulate(&Arc::new(DemoPlan::read().unwrap()), now()).unwrap();
        runtime().block_on(write(history, folder, &memory)).unwrap();
        (memory, Store::open(folder).unwrap())
    }

    #[test]
    fn each_pipeline_has_a_run_a_day_and_ends_as_planned() {
        let folder = tempfile::tempdir().unwrap();
        let (_, store) = written(folder.path());
        for planned in DemoPlan::read().unwrap().pipelines {
            let id = planned.id.clone();
            let stored = runtime().block_on(store.read(move |it| it.pipeline(&id))).unwrap().unwrap();
            let status = stored.life.status().as_str();
            let wanted = match planned.ends {
                Ending::Running => "backfill",
                Ending::Ready => "ready",
                Ending::Paused => "paused",
                Ending::Parked => "error",
            };
            assert_eq!(status, wanted, "{}", planned.id);
            assert_eq!(stored.reason.is_some(), planned.ends == Ending::Parked, "{}", planned.id);
            let id = planned.id.clone();
            let runs = store.read(move |it| it.tasks(&id, stored.incarnation, u64::MAX, 99));
            let runs = runtime().block_on(runs).unwrap();
            let runs: Vec<Task> = runs.into_iter().map(Result::unwrap).collect();
            assert_eq!(runs.len(), 15, "{}", planned.id);
            // Newest first, a day apart, each with its part of the log.
            for pair in runs.windows(2) {
                let apart = pair[0].created_at - pair[1].created_at;
                assert!((DAY_MS - 1_200_000..=DAY_MS + 1_200_000).contains(&apart), "{} {apart}", planned.id);
                assert_eq!(pair[1].log.1, Some(pair[0].log.0), "{}", planned.id);
            }
            let failed = |task: &&Task| {
                task.state == TaskState::Failed
                    || !task.result.as_ref().unwrap()["errors"].as_array().unwrap().is_empty()
            };
            let failures = planned.failed_days.len() + usize::from(planned.ends == Ending::Parked);
            assert_eq!(runs.iter().filter(failed).count(), failures, "{}", planned.id);
            let log = folder.path().join("logs").join(format!("{}.{}", planned.id, stored.incarnation));
            let bytes: u64 = std::fs::read_dir(log).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
            assert_eq!(Some(bytes), runs[0].log.1, "{}", planned.id);
        }
        store.close();
    }

    #[test]
    fn errors_have_returned_ended_and_been_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, store) = written(folder.path());
        store.close();
        let inbox = memory.inbox().unwrap();
        let states: Vec<_> = inbox.sorted().into_iter().map(|item| item.state()).collect();
        for state in [InboxState::Regressed, InboxState::New, InboxState::Acked, InboxState::Fixed] {
            assert!(states.contains(&state), "{states:?}");
        }
        assert!(inbox.items.values().any(|item| item.note.is_some()));
        let actions = memory.actions(99).unwrap();
        assert!(actions.len() >= 3 && actions.iter().all(|it| it.verdict.as_deref() == Some("took_effect")));
        assert!(actions.windows(2).all(|pair| pair[0].at > pair[1].at));
    }

    #[test]
    fn every_incident_fits_every_pipeline_that_can_be_ready() {
        let plan = DemoPlan::read().unwrap();
        for planned in plan.pipelines.iter().filter(|it| it.ends != Ending::Parked) {
            let source = json!({"type": "simulated", "simulated": planned.simulated});
            let scenario = scenario_of(&source).unwrap();
            for stream in plan.incidents.iter().filter_map(|fault| fault.stream.as_ref()) {
                assert!(scenario.streams.iter().any(|it| it.name == *stream), "{}: {stream}", planned.id);
            }
        }
    }
}
