//! Task that opens and closes incidents of the pipelines that this node runs or watches.

use crate::service::alerts::cause::{AlertCause, AlertEvent, AlertTarget, Incident, causes};
use crate::service::model::StoredPipeline;
use crate::service::registry::Service;
use crate::service::store::StoreError;
use crate::util::sys::now;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use synctop_core::protocol::Millis;

/// Interval of the looks at all pipelines.
const LOOK: Duration = Duration::from_secs(1);

/// Interval at which the stored incidents are read again: another node may have changed them.
const READ_AGAIN: u32 = 15;

/// Keys of the incidents of each pipeline, and the time since which it is affected.
type Known = BTreeMap<String, BTreeMap<String, Millis>>;

/// Watches the pipelines of a service until it ends. A service without alerts needs no watch.
pub async fn watch(service: Weak<Service>) {
    let mut known = Known::new();
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

/// Compares the pipelines with the stored incidents.
async fn look(service: &Arc<Service>, known: &mut Known, reads: bool) -> Result<(), StoreError> {
    if reads {
        let stored = service.store.read(|it| it.incidents()).await?;
        known.clear();
        for (key, incident) in stored {
            for (pipeline, since) in incident.pipelines {
                known.entry(pipeline).or_default().insert(key.clone(), since);
            }
        }
    }
    let at = now();
    for slot in service.slots_after("") {
        if !service.watches(&slot) {
            continue;
        }
        let Some(pipeline) = slot.pipeline() else { continue };
        let present = causes(&pipeline, at);
        let before = known.get(&slot.id);
        let is_new = |cause: &&AlertCause| before.is_none_or(|it| !it.contains_key(&cause.key()));
        let new: Vec<AlertCause> = present.iter().filter(is_new).cloned().collect();
        let is_over = |(key, since): &(&String, &Millis)| {
            // Resumed is not recovered: a run has to succeed.
            let ends =
                key.starts_with(AlertEvent::Late.as_str()) || pipeline.last_success.is_some_and(|at| at >= **since);
            ends && !present.iter().any(|cause| cause.key() == **key)
        };
        let over = before.into_iter().flatten().filter(is_over).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        if new.is_empty() && over.is_empty() {
            continue;
        }
        let keys: Vec<String> = new.iter().map(AlertCause::key).collect();
        change(service, &pipeline, new, over.clone(), at).await?;
        let own = known.entry(slot.id.clone()).or_default();
        own.extend(keys.into_iter().map(|key| (key, at)));
        own.retain(|key, _| !over.contains(key));
    }
    // A deleted pipeline has no node that looks at it.
    let gone: Vec<String> = known.keys().filter(|id| service.slot(id).is_none()).cloned().collect();
    for id in gone {
        let keys = known.remove(&id).unwrap_or_default();
        let targets = targets(service);
        service
            .store
            .write(move |tx| {
                // Another node may have created it a moment ago.
                if tx.pipeline(&id)?.is_some() {
                    return Ok(());
                }
                for key in keys.into_keys() {
                    let Some(mut incident) = tx.incident(&key)? else { continue };
                    incident.leave(&id, false, at, &targets);
                    tx.put_incident(&key, &incident)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    Ok(())
}

/// Returns the targets of the configuration.
pub(super) fn targets(service: &Service) -> Vec<AlertTarget> {
    service.config.alert.iter().map(|alert| AlertTarget { name: alert.target(), on: alert.on.clone() }).collect()
}

/// Adds a pipeline to the incidents of its new causes, and removes it from those that are over.
async fn change(
    service: &Arc<Service>,
    pipeline: &Arc<StoredPipeline>,
    new: Vec<AlertCause>,
    over: Vec<String>,
    at: Millis,
) -> Result<(), StoreError> {
    let (pipeline, targets) = (Arc::clone(pipeline), targets(service));
    service
        .store
        .write(move |tx| {
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
            }
            for key in over {
                let Some(mut incident) = tx.incident(&key)? else { continue };
                let since = incident.pipelines.get(&pipeline.id).copied();
                let succeeded = since.is_some_and(|since| pipeline.last_success.is_some_and(|at| at >= since));
                incident.leave(&pipeline.id, succeeded, at, &targets);
                tx.put_incident(&key, &incident)?;
            }
            Ok(())
        })
        .await
}
