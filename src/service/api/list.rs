//! Lists of pipelines and of actions, with filters and pages.

use crate::service::api::app::{ApiResult, App, Shared, ok, page};
use crate::service::api::body::Query;
use crate::service::api::pipelines;
use crate::service::changes::ListChanges;
use crate::service::problem::Problem;
use crate::service::store::StoredAction;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::fleet::wire::{ActionBody, PipelineBody};
use synctop_core::fleet::{DesiredStatus, PipelineStatus};

/// Default and maximum length of a page.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1_000;

/// `GET /pipelines`
pub async fn list(State(app): Shared, RawQuery(query): RawQuery) -> ApiResult {
    let known = ["limit", "after", "status", "desired_status", "engine", "fingerprint", "q", "state", "changes"];
    let query = Query::read(query.as_deref(), &known)?;
    let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(PAGE);
    app.service.read_changes().await?;
    if let Some(position) = query.text("changes") {
        return changes(&app, &query, position, limit).await;
    }
    // Before the entries are read: a change while they are is listed as a change again.
    let position = app.service.changes.position();
    let status = query.one_of("status", PipelineStatus::VARIANTS)?;
    let desired = query.one_of("desired_status", DesiredStatus::VARIANTS)?;
    let with_state = query.text("state").is_none() || query.flag("state")?;
    let wanted = query.text("q").map(str::to_lowercase);
    let mut listed = Vec::new();
    let mut last = None;
    let mut has_more = false;
    for slot in app.service.slots_after(query.text("after").unwrap_or_default()) {
        let Some(pipeline) = slot.pipeline() else { continue };
        let contains_text = |text: &str| wanted.as_ref().is_none_or(|wanted| text.to_lowercase().contains(wanted));
        let reason = pipeline.reason.as_ref();
        let fits = status.is_none_or(|it| pipeline.life.status() == it)
            && desired.is_none_or(|it| pipeline.life.desired == it)
            && query.text("engine").is_none_or(|it| pipeline.config.engine() == it)
            && query.text("fingerprint").is_none_or(|it| reason.is_some_and(|reason| reason.fingerprint == it))
            && (contains_text(&pipeline.id) || reason.is_some_and(|reason| contains_text(&reason.message)));
        if !fits {
            continue;
        }
        if listed.len() as u64 >= limit {
            has_more = true;
            break;
        }
        last = Some(pipeline.id.clone());
        listed.push((slot, pipeline));
    }
    let mut data = pipelines::pipeline_bodies(&app, &listed, with_state).await?;
    // Few pipelines are damaged, so they stand on the first page that they fit.
    let after = query.text("after").unwrap_or_default();
    let is_plain = desired.is_none() && query.text("engine").is_none() && query.text("fingerprint").is_none();
    for broken in app.service.all_broken() {
        let is_on_page = broken.id.as_str() > after && last.as_ref().is_none_or(|last| !has_more || broken.id <= *last);
        let fits = status.is_none_or(|it| it == PipelineStatus::Error)
            && wanted.as_ref().is_none_or(|wanted| broken.id.to_lowercase().contains(wanted));
        if is_on_page && is_plain && fits {
            let at = data.partition_point(|it| it.id.as_deref() < Some(broken.id.as_str()));
            data.insert(at, broken.body());
        }
    }
    let next = last.filter(|_| has_more).map(Value::from);
    Ok(ok(&ListBody { data, has_more, next, changes: position, removed: None }))
}

/// List of pipelines, or its changes.
#[derive(Serialize)]
struct ListBody {
    data: Vec<PipelineBody<Value, Value>>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Value>,
    /// Position in the changes of all pipelines.
    changes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Vec<Arc<str>>>,
}

/// Answers with the entries that have changed since a position.
async fn changes(app: &App, query: &Query, position: &str, limit: u64) -> ApiResult {
    let filters = ["after", "status", "desired_status", "engine", "fingerprint", "q"];
    if let Some(filter) = filters.into_iter().find(|filter| query.text(filter).is_some()) {
        return Err(Problem::invalid(&[filter], "changes are not filtered: leave out this parameter, or changes"));
    }
    let with_state = query.text("state").is_none() || query.flag("state")?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(found) = app.service.changes.since(position, limit) else {
        let sentence = "the position in the changes is unknown or too old: read the whole list, without changes";
        return Err(Problem::new(410, "changes_gone", sentence));
    };
    let (mut listed, mut broken) = (Vec::with_capacity(found.changed.len()), Vec::new());
    for id in &found.changed {
        let slot = app.service.slot(id);
        if let Some((slot, pipeline)) = slot.and_then(|slot| slot.pipeline().map(|pipeline| (slot, pipeline))) {
            listed.push((slot, pipeline));
        } else if let Some(found) = app.service.broken(id) {
            broken.push(found.body());
        }
    }
    let mut data = pipelines::pipeline_bodies(app, &listed, with_state).await?;
    data.extend(broken);
    let ListChanges { removed, position, has_more, .. } = found;
    Ok(ok(&ListBody { data, has_more, next: None, changes: position, removed: Some(removed) }))
}

/// `GET /actions`
pub async fn actions(State(app): Shared, RawQuery(query): RawQuery) -> ApiResult {
    let query = Query::read(query.as_deref(), &["limit", "before", "pipeline"])?;
    let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(PAGE);
    let before = query.number("before", 1..=u64::MAX)?.unwrap_or(u64::MAX);
    let most = usize::try_from(limit).unwrap_or(usize::MAX) + 1;
    let pipeline = query.text("pipeline").map(str::to_owned);
    let mut found = app.service.store.read(move |it| it.actions(pipeline.as_deref(), before, most)).await?;
    let has_more = found.len() as u64 > limit;
    found.truncate(most - 1);
    let next = found.last().map(|action| action.seq);
    let data: Vec<_> = found
        .into_iter()
        .map(|it| {
            let StoredAction { seq, at, client, action, pipeline, detail } = it;
            ActionBody { seq, at: Some(at), client, action, pipeline, detail }
        })
        .collect();
    Ok(page(data, next.filter(|_| has_more).map(Value::from)))
}
