//! Metrics of the service for Prometheus. A pipeline's series come from the node that runs it, or
//! from the first one if none does, so that no series has two sources. Labels are ids and words of
//! fixed sets; no text is a label.

use crate::service::model::StoredPipeline;
use crate::service::registry::Service;
use crate::service::slot::Slot;
use crate::service::store::StoreError;
use crate::util::sys::{lock, now};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use strum::VariantArray as _;
use synctop_core::fleet::PipelineStatus;
use synctop_core::protocol::Millis;
use synctop_core::report::prometheus::{MetricType, MetricsText, metric};

fn seconds(millis: Millis) -> f64 {
    u64::try_from(millis).map_or(0.0, metric) / 1000.0
}

/// Load of the API, which the service itself does not know.
#[derive(Debug, Clone, Copy)]
pub struct ApiLoad {
    pub waits: usize,
    pub readers: usize,
}

/// Returns all metrics of this node.
///
/// # Errors
/// Returns a [`StoreError`] if the list of nodes cannot be read.
pub async fn metrics(service: &Arc<Service>, load: ApiLoad) -> Result<String, StoreError> {
    let nodes = match &service.peers {
        Some(peers) => Some(peers.nodes().await?),
        None => None,
    };
    let mut text = MetricsText::default();
    text.family("synctop_build_info", MetricType::Gauge, "Version of the program");
    text.series("synctop_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let all: Vec<(Arc<Slot>, Arc<StoredPipeline>)> = service
        .slots_after("")
        .into_iter()
        .filter_map(|slot| slot.pipeline().map(|pipeline| (slot, pipeline)))
        .collect();
    let gauge = MetricType::Gauge;
    text.family("synctop_pipelines", gauge, "Pipelines of the service by status, of all nodes");
    for &status in PipelineStatus::VARIANTS {
        let count = all.iter().filter(|(_, it)| it.life.status() == status).count();
        text.series("synctop_pipelines", &[("status", status.as_str())], metric(count as u64));
    }
    let damaged = metric(service.all_broken().len() as u64);
    text.single("synctop_pipelines_damaged", gauge, "Pipelines whose stored data cannot be read", Some(damaged));
    let late = |it: &StoredPipeline| it.late_at().is_some_and(|late_at| now() >= late_at);
    let all_late = all.iter().filter(|(_, it)| late(it)).count();
    text.single("synctop_pipelines_late", gauge, "Pipelines without a run in time", Some(metric(all_late as u64)));
    if let Some(peers) = &service.peers {
        let free = all.iter().filter(|(slot, _)| peers.name_of(slot).is_none()).count();
        let help = "Pipelines that no living node runs";
        text.single("synctop_pipelines_without_node", gauge, help, Some(metric(free as u64)));
    }
    let own: Vec<_> = all.iter().filter(|(slot, _)| service.watches(slot)).collect();
    pipelines(&mut text, &own);
    let runs = service.config.limits.runs;
    let running = runs.saturating_sub(service.permits.available_permits());
    text.single("synctop_engines_running", gauge, "Engine calls of this node", Some(metric(running as u64)));
    text.single("synctop_engines_limit", gauge, "Maximum engine calls of this node", Some(metric(runs as u64)));
    text.single("synctop_waits_open", gauge, "Open waits of this node", Some(metric(load.waits as u64)));
    text.single("synctop_event_readers", gauge, "Open readers of events", Some(metric(load.readers as u64)));
    let missed = metric(service.missed.load(Ordering::Relaxed));
    let help = "Changes that a poll saw before their notification";
    text.single("synctop_missed_changes_total", MetricType::Counter, help, Some(missed));
    if let Some(nodes) = nodes {
        text.family("synctop_nodes", gauge, "Nodes of the service by status");
        let draining = nodes.iter().filter(|it| it.is_alive && it.is_draining).count();
        let alive = nodes.iter().filter(|it| it.is_alive).count() - draining;
        for (status, count) in [("alive", alive), ("draining", draining), ("gone", nodes.len() - alive - draining)] {
            text.series("synctop_nodes", &[("status", status)], metric(count as u64));
        }
        let leases = metric(own.iter().filter(|(slot, _)| slot.fence().is_some()).count() as u64);
        text.single("synctop_leases", gauge, "Pipelines that this node runs", Some(leases));
    }
    alerts(&mut text, service).await?;
    store(&mut text, service);
    Ok(text.finish())
}

/// Writes the series of the pipelines that this node runs, family by family.
fn pipelines(text: &mut MetricsText, own: &[&(Arc<Slot>, Arc<StoredPipeline>)]) {
    let mut family = |name: &str, help: &str, value: &dyn Fn(&Slot, &StoredPipeline) -> Option<f64>| {
        text.family(name, MetricType::Gauge, help);
        for (slot, it) in own {
            text.known(name, &[("pipeline", &it.id)], value(slot, it));
        }
    };
    family("synctop_pipeline_last_success_timestamp_seconds", "End of the last run that succeeded", &|_, it| {
        it.last_success.map(seconds)
    });
    family("synctop_pipeline_last_progress_timestamp_seconds", "Last output of the engine", &|slot, _| {
        // A node that has taken a pipeline over knows the end of its last run.
        let moved = Some(slot.moved_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        moved.or(lock(&slot.measures).ended_at).map(seconds)
    });
    family("synctop_pipeline_next_run_timestamp_seconds", "Planned begin of the next scheduled run", &|_, it| {
        it.schedule().map(|(schedule, plan)| seconds(schedule.next_begin(&it.id, plan)))
    });
    family("synctop_pipeline_late", "1 if no run has succeeded in time", &|_, it| {
        it.late_at().map(|late_at| f64::from(u8::from(now() >= late_at)))
    });
    family("synctop_pipeline_run_records", "Records of the current or last run", &|slot, it| {
        let facts = slot.facts.borrow();
        let open = facts.of(it.task.as_ref()).map(|progress| progress.cumulative_records());
        open.unwrap_or_else(|| lock(&slot.measures).records).map(metric)
    });
    family("synctop_pipeline_run_coverage_ratio", "Share of the ranges that were read, 0 to 1", &|slot, it| {
        let facts = slot.facts.borrow();
        let open = facts.of(it.task.as_ref()).map(|progress| progress.coverage());
        open.unwrap_or_else(|| lock(&slot.measures).coverage)
    });
    family("synctop_pipeline_run_duration_seconds", "Duration of the last finished run", &|slot, _| {
        lock(&slot.measures).duration_ms.map(seconds)
    });
    family("synctop_pipeline_checkpoints", "Checkpoints of the pipeline so far", &|slot, _| {
        Some(metric(slot.facts.borrow().checkpoints))
    });
    text.family("synctop_pipeline_run_errors", MetricType::Gauge, "Unresolved errors of the last run by class");
    for (slot, it) in own {
        for (class, count) in &lock(&slot.measures).errors {
            let labels = [("pipeline", it.id.as_str()), ("class", class)];
            text.series("synctop_pipeline_run_errors", &labels, metric(*count));
        }
    }
    text.family("synctop_pipeline_status", MetricType::Gauge, "1 for the current status");
    for (_, it) in own {
        let labels = [("pipeline", it.id.as_str()), ("status", it.life.status().as_str())];
        text.series("synctop_pipeline_status", &labels, 1.0);
    }
}

/// Writes the state of the alerts, if there are any.
async fn alerts(text: &mut MetricsText, service: &Service) -> Result<(), StoreError> {
    if service.config.alert.is_empty() {
        return Ok(());
    }
    let incidents = service.store.read(|it| it.incidents()).await?;
    let waiting: usize = incidents.iter().map(|(_, it)| it.messages.len()).sum();
    let help = "Messages of alerts that are not delivered yet, of all nodes";
    text.single("synctop_alert_messages_waiting", MetricType::Gauge, help, Some(metric(waiting as u64)));
    text.family("synctop_alert_attempts_total", MetricType::Counter, "Attempts of this node to deliver alerts");
    for (result, count) in service.alert_attempts.all() {
        text.series("synctop_alert_attempts_total", &[("result", result)], metric(count));
    }
    Ok(())
}

/// Writes the latency of the store.
fn store(text: &mut MetricsText, service: &Service) {
    let name = "synctop_store_operation_duration_seconds";
    text.family(name, MetricType::Histogram, "Time of an operation of the store, with its wait");
    for (operation, latency) in service.store.latency() {
        for (bound, count) in latency.buckets() {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            text.series(&format!("{name}_bucket"), &[("operation", operation), ("le", &bound)], metric(count));
        }
        text.series(&format!("{name}_sum"), &[("operation", operation)], latency.seconds());
        text.series(&format!("{name}_count"), &[("operation", operation)], metric(latency.count()));
    }
}
