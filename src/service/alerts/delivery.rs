//! Delivery of alerts: an HTTP request or a command, retried until it succeeds or a day has passed.

use crate::net::source::engine_http;
use crate::service::alerts::attempts::AttemptResult;
use crate::service::alerts::cause::{AlertEvent, AlertMessage, Incident, MAX_NAMED};
use crate::service::config::AlertConfig;
use crate::service::registry::Service;
use crate::service::store::StoreError;
use crate::util::secret_ref::{SecretRef, SecretRefError};
use crate::util::sys::{hex, now};
use ring::hmac;
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;
use synctop_core::protocol::{Millis, time};
use tokio::io::AsyncWriteExt;

/// Timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum messages that are sent one after the other under one claim.
const MAX_CLAIMED: usize = 4;

/// Time in which no other node tries the same messages: longer than all their timeouts.
const CLAIM_MS: Millis = 150_000;

/// Age at which a message that cannot be delivered is given up.
const MAX_AGE_MS: Millis = 24 * 3_600_000;

/// Reason that an attempt failed.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("the answer is {0}")]
    Status(u16),
    #[error("{0}")]
    Http(String),
    #[error("the command ended with {0}")]
    Command(std::process::ExitStatus),
    #[error("the command cannot be started: {0}")]
    Start(std::io::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("the secret cannot be read: {0}")]
    Secret(#[from] SecretRefError),
    #[error("the configuration has no such target")]
    NoTarget,
}

/// Interval of the looks for due messages.
const LOOK: Duration = Duration::from_secs(1);

/// Delivers the messages of a service until it ends, beside the watch for new incidents.
pub async fn deliver(service: Weak<Service>) {
    loop {
        let Some(current) = service.upgrade() else { return };
        if current.config.alert.is_empty() {
            return;
        }
        let delivered = deliver_due(&current).await;
        match delivered {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(target: "service", "alerts: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = current.ends() => return,
        }
    }
}

/// Sends the messages of one incident that are due. A claim in the store keeps other nodes from
/// sending them too. False if none is due.
async fn deliver_due(service: &Arc<Service>) -> Result<bool, StoreError> {
    let at = now();
    if service.store.read(move |it| it.due_incidents(at)).await?.is_empty() {
        return Ok(false);
    }
    // One incident at a time: its claim has to outlast the attempts.
    let due = service.store.write(move |tx| claim(tx, at)).await?;
    for (key, incident, message) in due {
        let sent = match service.config.alert.iter().find(|alert| alert.target() == message.target) {
            Some(alert) => match tokio::time::timeout(TIMEOUT, send(alert, &incident, &message)).await {
                Ok(sent) => sent,
                Err(_) => Err(DeliveryError::Timeout),
            },
            None => Err(DeliveryError::NoTarget),
        };
        note(service, key, incident, message, sent).await?;
    }
    Ok(true)
}

/// Claims the messages that are due.
fn claim(tx: &mut crate::service::store::Tx, at: Millis) -> Result<Vec<(String, Incident, AlertMessage)>, StoreError> {
    let mut due = Vec::new();
    for key in tx.due_incidents(at)?.into_iter().take(1) {
        let Some(mut incident) = tx.incident(&key)? else { continue };
        let mut claimed = Vec::new();
        for message in incident.messages.iter_mut().filter(|message| message.due <= at).take(MAX_CLAIMED) {
            message.due = at + CLAIM_MS;
            message.attempts += 1;
            claimed.push(message.clone());
        }
        tx.put_incident(&key, &incident)?;
        due.extend(claimed.into_iter().map(|message| (key.clone(), incident.clone(), message)));
    }
    Ok(due)
}

/// Notes the result of an attempt in the incident and in the action log.
async fn note(
    service: &Arc<Service>,
    key: String,
    incident: Incident,
    message: AlertMessage,
    sent: Result<(), DeliveryError>,
) -> Result<(), StoreError> {
    let error = sent.err().map(|error| error.to_string());
    let is_over = error.is_none() || now() - message.at > MAX_AGE_MS;
    service.alert_attempts.count(match (&error, is_over) {
        (None, _) => AttemptResult::Delivered,
        (Some(_), false) => AttemptResult::Failed,
        (Some(_), true) => AttemptResult::GivenUp,
    });
    if let Some(error) = &error {
        tracing::warn!(target: "service", "alert to {}: {error}", message.target);
    }
    service
        .store
        .write(move |tx| {
            let Some(mut stored) = tx.incident(&key)? else { return Ok(()) };
            let same =
                |it: &AlertMessage| it.target == message.target && it.event == message.event && it.at == message.at;
            if is_over {
                stored.messages.retain(|it| !same(it));
                let (word, detail) = match &error {
                    None => ("alert", json!(null)),
                    Some(error) => ("alert given up", json!(error)),
                };
                let event: &str = message.event.into();
                let detail = json!({
                    "target": message.target, "event": event, "fingerprint": incident.cause.fingerprint,
                    "attempts": message.attempts, "error": detail,
                });
                let pipeline = incident.pipelines.keys().next().map(String::as_str);
                tx.log_action("service", word, pipeline, Some(&detail))?;
            } else {
                let wait = synctop_core::backoff::retry_delay(message.attempts, crate::util::sys::jitter());
                for it in stored.messages.iter_mut().filter(|it| same(it)) {
                    it.due = now() + Millis::try_from(wait.as_millis()).unwrap_or(CLAIM_MS);
                }
            }
            tx.put_incident(&key, &stored)
        })
        .await
}

/// Returns the body of a message: `text` for a chat, and the facts for programs.
fn body(incident: &Incident, message: &AlertMessage) -> Value {
    let event: &str = message.event.into();
    let kind: &str = incident.cause.kind.into();
    let pipelines: Vec<_> = match message.event {
        AlertEvent::Recovered => incident.named.iter().collect(),
        _ => incident.pipelines.keys().take(MAX_NAMED).collect(),
    };
    json!({
        "text": incident.text(message.event),
        "synctop": {
            "event": event, "kind": kind, "at": time::iso(message.at), "since": time::iso(incident.since),
            "cause": {
                "fingerprint": incident.cause.fingerprint, "message": incident.cause.message, "next": incident.cause.next,
            },
            "pipelines": pipelines,
            "count": if message.event == AlertEvent::Recovered { incident.most } else { incident.pipelines.len() },
            "attempt": message.attempts,
        },
    })
}

async fn send(alert: &AlertConfig, incident: &Incident, message: &AlertMessage) -> Result<(), DeliveryError> {
    let body = body(incident, message).to_string();
    if let Some(command) = &alert.command {
        return run(command, message.event, body).await;
    }
    let url = alert.webhook.as_deref().and_then(|url| reqwest::Url::parse(url).ok()).ok_or(DeliveryError::NoTarget)?;
    let http = |error: &dyn std::fmt::Display| DeliveryError::Http(error.to_string());
    let client = engine_http::client(&url, None).map_err(|error| http(&error))?;
    let mut request = client.post(url).header("content-type", "application/json").timeout(TIMEOUT);
    if let Some(reference) = &alert.secret {
        let secret = SecretRef::parse(reference).ok_or(DeliveryError::NoTarget)?.read()?;
        request = request.header("x-synctop-signature", signature(&secret, now() / 1000, &body));
    }
    let answer = request.body(body).send().await.map_err(|error| http(&error.without_url()))?;
    if answer.status().is_success() { Ok(()) } else { Err(DeliveryError::Status(answer.status().as_u16())) }
}

/// Signs a body as Stripe signs its webhooks: `t=SECONDS,v1=HEX`, HMAC-SHA256 over `t.body`.
fn signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("t={at},v1={}", hex(hmac::sign(&key, format!("{at}.{body}").as_bytes()).as_ref()))
}

async fn run(command: &[String], event: AlertEvent, body: String) -> Result<(), DeliveryError> {
    let Some((program, arguments)) = command.split_first() else { return Err(DeliveryError::NoTarget) };
    let word: &str = event.into();
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("SYNCTOP_EVENT", word)
        .env_remove("SYNCTOP_TOKEN")
        .env_remove("SYNCTOP_READ_TOKEN")
        .env_remove("PGPASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(DeliveryError::Start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command may ignore its stdin.
        let _ = stdin.write_all(format!("{body}\n").as_bytes()).await;
    }
    let status = child.wait().await.map_err(DeliveryError::Start)?;
    if status.success() { Ok(()) } else { Err(DeliveryError::Command(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_stripes_webhooks() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec");
        let expected = hex(hmac::sign(&key, b"1000.{}").as_ref());
        assert_eq!(signature("whsec", 1000, "{}"), format!("t=1000,v1={expected}"));
    }
}
