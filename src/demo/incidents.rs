//! Incidents of the demo: while it is open, the runs of healthy pipelines fail in turn by a simulated
//! cause. A person fixes it, or after some minutes the demo does, so that not all pipelines fail.

use crate::engine::simulator::scenario::Fault;
use crate::net::client::{Client, ServiceRequest};
use crate::service::registry::Service;
use crate::util::sys::jitter;
use reqwest::Method;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use synctop_core::fleet::requests::{StartRun, UpdatePipeline};
use synctop_core::fleet::{DesiredStatus, PipelineStatus};

/// Shortest time between two incidents.
const INTERVAL: Duration = Duration::from_secs(60);

/// Random addition to [`INTERVAL`].
const SPREAD: Duration = Duration::from_secs(30);

/// Maximum incidents at the same time; the oldest one is then fixed.
const MAX_OPEN: usize = 3;

/// Fixes the simulated causes of these pipelines: their next runs succeed.
pub fn fix(service: &Service, pipelines: &[Arc<str>]) {
    for id in pipelines {
        service.engines.set_faults(id, Vec::new());
    }
}

/// Starts incidents and ordinary runs until the task is aborted.
pub async fn run(service: Arc<Service>, client: Arc<Client>, incidents: Vec<Fault>) {
    let mut open = VecDeque::new();
    for fault in incidents.iter().cycle() {
        let wait = INTERVAL + SPREAD.mul_f64(jitter());
        tokio::time::sleep(wait / 2).await;
        if let Some(id) = healthy(&service, &open) {
            start_run(&client, &id).await;
        }
        tokio::time::sleep(wait / 2).await;
        if open.len() >= MAX_OPEN
            && let Some(oldest) = open.pop_front()
        {
            end(&service, &client, &oldest).await;
        }
        if let Some(id) = healthy(&service, &open) {
            service.engines.set_faults(&id, vec![fault.clone()]);
            start_run(&client, &id).await;
            open.push_back(id);
        }
    }
}

/// Returns a random ready pipeline without an incident.
fn healthy(service: &Service, open: &VecDeque<String>) -> Option<String> {
    let is_healthy = |id: &String| {
        let status = service.slot(id).and_then(|slot| slot.status.borrow().clone());
        status.is_some_and(|it| it.life.status() == PipelineStatus::Ready && it.task.is_none()) && !open.contains(id)
    };
    let ids: Vec<String> = service.slots_after("").into_iter().map(|slot| slot.id.clone()).filter(is_healthy).collect();
    fastrand::choice(ids)
}

/// Fixes the cause of an incident and lets the pipeline run again.
async fn end(service: &Service, client: &Client, id: &str) {
    service.engines.set_faults(id, Vec::new());
    let status = service.slot(id).and_then(|slot| slot.status.borrow().clone());
    match status.map(|it| it.life.status()) {
        Some(PipelineStatus::Error) => {
            let mut request = ServiceRequest::of(Method::PATCH, &["pipelines", id]);
            let resumed = UpdatePipeline { desired_status: Some(DesiredStatus::Active), ..UpdatePipeline::default() };
            request.body = Some(json!(resumed));
            send(client, request).await;
        }
        Some(PipelineStatus::Ready) => start_run(client, id).await,
        _ => {}
    }
}

/// Starts a run that reads everything again.
async fn start_run(client: &Client, id: &str) {
    let mut request = ServiceRequest::of(Method::POST, &["pipelines", id, "runs"]);
    request.body = Some(json!(StartRun { reset_state: true, ..StartRun::default() }));
    send(client, request).await;
}

/// Sends a request. A person may act on the pipeline at the same time: a refusal is no error.
async fn send(client: &Client, request: ServiceRequest) {
    if let Err(refused) = client.ask(request).await {
        tracing::debug!(target: "demo", "{refused}");
    }
}

#[cfg(test)]
mod tests {
    use crate::demo::DemoPlan;
    use crate::engine::simulator::call::{Call, Outlet, call};
    use crate::engine::simulator::list_api::Api;
    use crate::engine::simulator::scenario::Scenario;
    use std::sync::{Arc, Mutex};
    use synctop_core::protocol::Millis;
    use synctop_core::reduce::{Outcome, Reducer, outcome};

    struct Lines(Reducer);

    impl Outlet for Lines {
        fn write_lines(&mut self, _at: Millis, lines: &[u8]) -> std::io::Result<()> {
            self.0.push(lines);
            Ok(())
        }
    }

    fn run(api: &Arc<Mutex<Api>>) -> Reducer {
        let mut lines = Lines(Reducer::default());
        call(api, Call { begin: 1_795_161_600_000, ..Call::default() }, &mut lines).unwrap();
        lines.0.finish(None);
        lines.0
    }

    #[test]
    fn every_incident_fails_a_healthy_run_until_it_is_fixed() {
        let healthy = Scenario::read(Scenario::named("healthy").unwrap()).unwrap();
        for fault in DemoPlan::read().unwrap().incidents {
            let api = Arc::new(Mutex::new(Api::new(healthy.clone())));
            assert_eq!(outcome(&run(&api).progress), Outcome::Succeeded);
            api.lock().unwrap().set_faults(vec![fault.clone()]);
            let failed = run(&api);
            assert_ne!(outcome(&failed.progress), Outcome::Succeeded, "{fault:?}");
            let says = |text: &str| failed.progress.errors.groups().iter().any(|group| group.message.contains(text));
            assert!(fault.message.as_deref().is_none_or(|text| says(&text[..20])), "{fault:?}");
            // It strikes in the middle of the run, so that something led to it.
            assert!(fault.after.is_none() || failed.progress.counters.checkpoints > 0, "{fault:?}");
            api.lock().unwrap().set_faults(Vec::new());
            assert_eq!(outcome(&run(&api).progress), Outcome::Succeeded, "{fault:?}");
        }
    }
}
