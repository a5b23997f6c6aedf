//! `POST /webhooks/{id}`: live events, stored until the pipeline's engine has read them.

use crate::service::api::access::Permission;
use crate::service::api::app::{ApiResult, Shared, answer};
use crate::service::api::body;
use crate::service::api::pipelines::digest;
use crate::service::model::StoredPipeline;
use crate::service::problem::Problem;
use crate::service::secrets::{self, References};
use crate::util::sys::now;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use ring::hmac;
use serde_json::{Value, json};

/// Maximum difference in seconds between a signature's time and the clock; the default of Stripe's
/// libraries.
const TOLERANCE: u64 = 300;

/// Maximum bytes of one pipeline's queued live events.
const MAX_QUEUE_BYTES: u64 = 64 << 20;

/// `POST /webhooks/{id}`: verifies and stores one live event.
pub async fn receive(State(app): Shared, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> ApiResult {
    // An unauthorized client does not learn whether the pipeline exists.
    let slot = body::pipeline(&app.service, &id).await;
    let pipeline = slot.as_ref().ok().and_then(|slot| slot.pipeline());
    let secret = match &pipeline {
        Some(pipeline) => secret(pipeline, &app.service.config.secrets).await?,
        None => None,
    };
    match secret {
        Some(secret) => signed(&secret, &headers, &body, now() / 1000)?,
        None => app.access.authorize(&headers, Permission::Write)?,
    }
    let slot = slot?;
    let is_signed = pipeline.as_ref().is_some_and(|it| it.signs_events());
    if body.is_empty() {
        return Err(Problem::invalid(&[], "expected the event as a JSON object"));
    }
    let event = Value::Object(body::json(&body)?);
    let most = app.service.config.limits.inputs;
    let event_id =
        event.get("id").and_then(Value::as_str).filter(|_| is_signed).map(|id| digest(&format!("event {id}")));
    let event_id = event_id.or_else(|| is_signed.then(|| digest(&String::from_utf8_lossy(&body))));
    let input = json!({"type": "source_input", "source_input": event}).to_string();
    let own = slot.clone();
    let waiting = app
        .service
        .store
        .write(move |tx| {
            let pipeline = tx.this_pipeline(&own.id, own.incarnation)?;
            let pipeline = pipeline.ok_or_else(|| Problem::no_pipeline(&own.id))?;
            if pipeline.life.desired == synctop_core::fleet::DesiredStatus::Deleted {
                return Err(Problem::refused(&own.id, crate::service::lifecycle::Refusal::Deleted));
            }
            // A signature may be sent again while its time is recent: an event counts once.
            if let Some(id) = &event_id {
                let scope = format!("webhook {} {}", own.id, own.incarnation);
                if tx.stored_answer(id, &scope)?.is_some() {
                    return Ok(None);
                }
                tx.put_answer(id, &scope, "", "")?;
            }
            let (waiting, bytes) = tx.put_input(&own.id, &input)?;
            if waiting > most || bytes > MAX_QUEUE_BYTES {
                let sentence =
                    format!("the queue of live events is full: {} events of pipeline {} wait", waiting - 1, own.id);
                return Err(Problem::new(429, "queue_full", sentence).after(30));
            }
            tx.on_commit(move || own.inputs.notify_one());
            Ok(Some(waiting))
        })
        .await?;
    Ok(match waiting {
        Some(waiting) => answer(StatusCode::ACCEPTED, &json!({"received": true, "waiting": waiting})),
        None => answer(StatusCode::OK, &json!({"received": true, "duplicate": true})),
    })
}

/// Returns the secret that signs the events of a pipeline; `None` if it has none.
async fn secret(pipeline: &StoredPipeline, allowed: &References) -> Result<Option<String>, Problem> {
    let source = &pipeline.config.source;
    let found = source.get(pipeline.config.engine()).and_then(|it| it.get("webhook_secret")).cloned();
    let found = secrets::resolve(json!({"webhook_secret": found}), allowed, &[])
        .await
        .map_err(|why| Problem::new(503, "secret_missing", why))?;
    let found = found.get("webhook_secret").and_then(Value::as_str).map(str::to_owned);
    if found.as_ref().is_some_and(String::is_empty) {
        return Err(Problem::new(503, "secret_missing", "the webhook_secret of this pipeline is empty"));
    }
    Ok(found)
}

/// Verifies Stripe's signature: `Stripe-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 over `t.body`.
fn signed(secret: &str, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), Problem> {
    let bad =
        |why: &str| Err(Problem::new(400, "bad_signature", format!("the signature of the event is invalid: {why}")));
    let Some(given) = headers.get("stripe-signature").and_then(|it| it.to_str().ok()) else {
        return bad("it has no Stripe-Signature");
    };
    let parts: Vec<_> = given.split(',').filter_map(|part| part.trim().split_once('=')).collect();
    let part = |name: &'static str| parts.iter().filter(move |(it, _)| *it == name).map(|(_, value)| *value);
    let Some(at) = part("t").next().filter(|at| at.parse::<i64>().is_ok()) else { return bad("it has no time") };
    if at.parse::<i64>().is_ok_and(|at| now.abs_diff(at) > TOLERANCE) {
        return bad("its time differs from the clock of the service by more than 5 minutes");
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [at.as_bytes(), b".", body].concat();
    // `verify` compares in constant time.
    let fits = |hex: &str| unhex(hex).is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok());
    if part("v1").any(fits) { Ok(()) } else { bad("the signature does not fit") }
}

/// Decodes hexadecimal text.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_events_signed_with_the_secret_are_accepted() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_x");
        let tag = hmac::sign(&key, b"1000.{}");
        let hex = crate::util::sys::hex(tag.as_ref());
        let check = |signature: &str, body: &[u8], now| {
            let mut headers = HeaderMap::new();
            headers.insert("stripe-signature", signature.parse().unwrap());
            signed("whsec_x", &headers, body, now).is_ok()
        };
        let good = format!("t=1000,v1=00,v1={hex}");
        assert!(check(&good, b"{}", 1010));
        assert!(!check(&good, b"{ }", 1010));
        assert!(!check(&good, b"{}", 2000));
        assert!(!check(&good.replace("1000", "1001"), b"{}", 1010));
        assert!(!check("v1=zz,t=x", b"{}", 1010));
        assert!(signed("whsec_x", &HeaderMap::new(), b"{}", 1).is_err());
    }
}
