//! Wire types, field by field as connectors print them; unknown fields are ignored (the protocol
//! allows further properties).

use crate::protocol::identity::Identity;
use crate::protocol::lenient::{Maybe, Num, Seq, Text, When};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) record: Maybe<Record<'a>>,
    #[serde(borrow)]
    pub(super) state: Maybe<State<'a>>,
    #[serde(borrow)]
    pub(super) log: Maybe<LogLine<'a>>,
    #[serde(borrow)]
    pub(super) trace: Maybe<Trace<'a>>,
    pub(super) control: Maybe<Control>,
    pub(super) spec: Maybe<Nothing>,
    #[serde(borrow)]
    pub(super) catalog: Maybe<Catalog<'a>>,
    #[serde(borrow, rename = "connectionStatus")]
    pub(super) connection: Maybe<Connection<'a>>,
    pub(super) destination_catalog: Maybe<Nothing>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Nothing {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    #[serde(borrow)]
    pub(super) namespace: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) emitted_at: When,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Descriptor<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) namespace: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State<'a> {
    #[serde(borrow)]
    pub(super) stream: Maybe<StreamState<'a>>,
    #[serde(borrow)]
    pub(super) global: Maybe<Global<'a>>,
    /// A legacy state is all opaque.
    pub(super) data: Option<Identity>,
    #[serde(rename = "sourceStats")]
    pub(super) source: Maybe<Stats>,
    #[serde(rename = "destinationStats")]
    pub(super) destination: Maybe<Stats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamState<'a> {
    #[serde(borrow)]
    pub(super) stream_descriptor: Maybe<Descriptor<'a>>,
    pub(super) stream_state: Identity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Global<'a> {
    #[serde(borrow)]
    pub(super) stream_states: Seq<Maybe<StreamState<'a>>>,
    pub(super) shared_state: Identity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    /// A float on the wire.
    #[serde(rename = "recordCount")]
    pub(super) record_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogLine<'a> {
    #[serde(borrow)]
    pub(super) level: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) stack_trace: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trace<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    /// Whole or fractional.
    pub(super) emitted_at: When,
    #[serde(borrow)]
    pub(super) error: Maybe<TraceError<'a>>,
    #[serde(borrow)]
    pub(super) stream_status: Maybe<StreamStatus<'a>>,
    #[serde(borrow)]
    pub(super) estimate: Maybe<Estimate<'a>>,
    #[serde(borrow)]
    pub(super) analytics: Maybe<Analytics<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TraceError<'a> {
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) internal_message: Text<'a>,
    #[serde(borrow)]
    pub(super) stack_trace: Text<'a>,
    #[serde(borrow)]
    pub(super) failure_type: Text<'a>,
    #[serde(borrow)]
    pub(super) stream_descriptor: Maybe<Descriptor<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamStatus<'a> {
    #[serde(borrow)]
    pub(super) stream_descriptor: Maybe<Descriptor<'a>>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) reasons: Seq<Maybe<Reason<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reason<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) rate_limited: Maybe<RateLimited>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimited {
    pub(super) quota_reset: When,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Estimate<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) namespace: Text<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) row_estimate: Num,
    pub(super) byte_estimate: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Analytics<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) value: Text<'a>,
}

/// Its configuration carries secrets: not even read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Control {
    pub(super) emitted_at: When,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Catalog<'a> {
    #[serde(borrow)]
    pub(super) streams: Seq<Maybe<Descriptor<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection<'a> {
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
}
