//! Task that opens and closes incidents of the pipelines that this node runs.

use crate::service::alerts::cause::{AlertCause, AlertEvent, AlertTarget, Incident, causes};
use crate::service::alerts::delivery::deliver_due;
use crate::service::model::StoredPipeline;
use crate::service::registry::Service;
use crate::service::store::StoreError;
use crate::util::sys::now;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use synctop_core::protocol::Millis;

/// Interval of the looks at all pipelines.
const LOOK: Duration = Duration::from_secs(1);

/// Interval at which the stored incidents are read again: another node may have changed them.
const READ_AGAIN: u32 = 15;

/// Watches the pipelines of a service until it ends. A service without alerts needs no watch.
pub async fn watch(service: Weak<Service>) {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut round = 0;
    loop {
        let Some(current) = service.upgrade() else { return };
        if current.config.alert.is_empty() {
            return;
        }
        let looked = look(&current, &mut known, round % READ_AGAIN == 0).await;
        round += 1;
        if let Err(error) = looked {
            tracing::warn!(target: "service", "alerts: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = current.ends() => return,
        }
    }
}

/// Compares the pipelines with the stored incidents, and sends due messages.
async fn look(
    service: &Arc<Service>,
    known: &mut BTreeMap<String, BTreeSet<String>>,
    reads: bool,
) -> Result<(), StoreError> {
    if reads {
        let stored = service.store.read(|it| it.incidents()).await?;
        known.clear();
        for (key, incident) in stored {
            for pipeline in incident.pipelines.keys() {
                known.entry(pipeline.clone()).or_default().insert(key.clone());
            }
        }
    }
    let at = now();
    for slot in service.slots_after("") {
        if slot.fence().is_none() {
            continue;
        }
        let Some(pipeline) = slot.pipeline() else { continue };
        let present = causes(&pipeline, at);
        let before = known.get(&slot.id);
        let new: Vec<AlertCause> =
            present.iter().filter(|cause| before.is_none_or(|it| !it.contains(&cause.key()))).cloned().collect();
        let over: Vec<String> = before
            .into_iter()
            .flatten()
            .filter(|key| !present.iter().any(|cause| cause.key() == **key))
            .cloned()
            .collect();
        if new.is_empty() && over.is_empty() {
            continue;
        }
        let changed = change(service, &pipeline, new, over, at).await?;
        if changed.is_empty() {
            known.remove(&slot.id);
        } else {
            known.insert(slot.id.clone(), changed);
        }
    }
    // A deleted pipeline has no node that looks at it.
    let gone: Vec<String> = known.keys().filter(|id| service.slot(id).is_none()).cloned().collect();
    for id in gone {
        let keys = known.remove(&id).unwrap_or_default();
        let targets = targets(service);
        service
            .store
            .write(move |tx| {
                for key in keys {
                    let Some(mut incident) = tx.incident(&key)? else { continue };
                    incident.leave(&id, false, at, &targets);
                    tx.put_incident(&key, &incident)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    deliver_due(service).await
}

/// Returns the targets of the configuration.
pub(super) fn targets(service: &Service) -> Vec<AlertTarget> {
    service.config.alert.iter().map(|alert| AlertTarget { name: alert.target(), on: alert.on.clone() }).collect()
}

/// Changes the incidents of a pipeline. Returns the keys of those that it still has.
async fn change(
    service: &Arc<Service>,
    pipeline: &Arc<StoredPipeline>,
    new: Vec<AlertCause>,
    over: Vec<String>,
    at: Millis,
) -> Result<BTreeSet<String>, StoreError> {
    let (pipeline, targets) = (Arc::clone(pipeline), targets(service));
    service
        .store
        .write(move |tx| {
            let mut keys: BTreeSet<String> = BTreeSet::new();
            for cause in new {
                let key = cause.key();
                let incident = match tx.incident(&key)? {
                    None => Incident::open(cause, &pipeline.id, at, &targets),
                    Some(mut incident) => {
                        incident.join(cause, &pipeline.id, at, &targets);
                        incident
                    }
                };
                tx.put_incident(&key, &incident)?;
                keys.insert(key);
            }
            for key in over {
                let Some(mut incident) = tx.incident(&key)? else { continue };
                let Some(since) = incident.pipelines.get(&pipeline.id).copied() else { continue };
                // Resumed is not recovered: a run has to succeed.
                let succeeded = pipeline.last_success.is_some_and(|at| at >= since);
                if !succeeded && incident.cause.kind != AlertEvent::Late {
                    keys.insert(key);
                    continue;
                }
                incident.leave(&pipeline.id, succeeded, at, &targets);
                tx.put_incident(&key, &incident)?;
            }
            Ok(keys)
        })
        .await
}
