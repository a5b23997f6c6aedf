//! `GET /nodes`: nodes of the service, and the pipelines that each one runs.

use crate::service::api::app::{ApiResult, Shared, page};
use crate::service::store::postgres::leases::NodeRow;
use axum::extract::State;
use synctop_core::fleet::wire::{NodeBody, NodeStatus};

/// `GET /nodes`
pub async fn list(State(app): Shared) -> ApiResult {
    let service = &app.service;
    let Some(peers) = &service.peers else {
        let slots = service.slots_after("");
        let running = slots.iter().filter_map(|slot| slot.pipeline()).filter(|it| it.task.is_some()).count() as u64;
        let body = NodeBody {
            name: Some(rustix::system::uname().nodename().to_string_lossy().into()),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            status: Some(NodeStatus::Alive.as_str().into()),
            seen_at: Some(crate::util::sys::now()),
            pipelines: Some(slots.len() as u64),
            running: Some(running),
            ..NodeBody::default()
        };
        return Ok(page(vec![body], None));
    };
    Ok(page(peers.nodes().await?.into_iter().map(body).collect(), None))
}

fn body(node: NodeRow) -> NodeBody {
    let status = match (node.is_alive, node.is_draining) {
        (false, _) => NodeStatus::Gone,
        (true, true) => NodeStatus::Draining,
        (true, false) => NodeStatus::Alive,
    };
    NodeBody {
        id: Some(node.id.into()),
        name: Some(node.name.into()),
        address: Some(node.address.into()),
        version: Some(node.version.into()),
        status: Some(status.as_str().into()),
        labels: Some(node.labels),
        started_at: Some(node.started_at),
        seen_at: Some(node.seen_at),
        pipelines: Some(node.pipelines),
        running: Some(node.running),
    }
}
