//! Stripe's protocol and its adapter.

use super::claims::message;
use super::kinds::{Generation, KINDS};
use super::wire::Envelope;
use super::{fast, head};
use crate::protocol::adapter::{Adapter, Message, Protocol, ProtocolTraits};
use crate::protocol::head::Head;
use crate::protocol::remedy::Remedy;
use crate::protocol::shorten::first_statement;

/// Stripe's sync-engine.
pub static PROTOCOL: Protocol = Protocol {
    name: "stripe",
    family: "stripe",
    traits: ProtocolTraits::DEFAULT,
    adapter: &Stripe { generation: None },
    variants: &[
        ("stripe-trace", &Stripe { generation: Some(Generation::Trace) }),
        ("stripe-progress", &Stripe { generation: Some(Generation::Progress) }),
        ("stripe-start-end", &Stripe { generation: Some(Generation::StartEnd) }),
    ],
};

/// Adapter for all generations, or for one.
struct Stripe {
    generation: Option<Generation>,
}

/// Separator before the details that the destination appends to its errors.
const TABLE_DETAILS: &str = " (table=";

impl Adapter for Stripe {
    fn has_type(&self, kind: &str) -> bool {
        KINDS.contains(&kind) && self.generation.is_none_or(|generation| generation.has_kind(kind))
    }

    fn decode<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        // Kinds are lower case.
        let first_letter = line.strip_prefix("{\"type\":").map(str::trim_start).and_then(|rest| rest.as_bytes().get(1));
        if first_letter.is_some_and(u8::is_ascii_uppercase) {
            return None;
        }
        let envelope = serde_json::from_str::<Envelope>(line).ok()?;
        // A stream at the top level is Singer's, even if the type is lower case.
        let is_stripe = envelope.stream.0.is_none() && self.has_type(envelope.kind.0.as_deref()?);
        if is_stripe { message(envelope) } else { None }
    }

    fn decode_fast<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        // Byte 9 is the first letter after `{"type":"`.
        if line.as_bytes().get(9)?.is_ascii_uppercase() {
            return None;
        }
        fast::message(line, self.generation)
    }

    fn decode_head<'a>(&self, head: &Head<'a>, length: u64) -> Option<Message<'a>> {
        let kind = head.kind.as_ref().or(head.payload.as_ref())?;
        if head.top_stream.is_some() || !self.has_type(kind) {
            return None;
        }
        head::message_of_head(head, length)
    }

    /// `The provided key … Having the 'Disputes Read' permission … [GET /v1/disputes (403)]`.
    fn error_core(&self, message: &str) -> Option<String> {
        if let Some((_, rest)) = message.split_once("Having the '")
            && let Some((permission, _)) = rest.split_once('\'')
        {
            return Some(format!("the key lacks '{permission}'"));
        }
        let status = message.rfind(" [").and_then(|_| self.http_status(message))?;
        Some(format!("{} (HTTP {status})", first_statement(message).trim_end_matches('.')))
    }

    fn error_cause<'a>(&self, message: &'a str) -> Option<&'a str> {
        message.split_once(TABLE_DETAILS).map(|(cause, _)| cause)
    }

    /// `[GET /v1/charges (429)]`.
    fn http_status(&self, message: &str) -> Option<u16> {
        let (_, rest) = message.rsplit_once(" (")?;
        rest.split_once(")]")?.0.parse().ok()
    }

    fn remedy(&self, message: &str) -> Option<Remedy> {
        message.contains("Having the '").then_some(Remedy::GrantPermission)
    }
}
