//! Wire types, named as connectors print their fields. Unknown fields are ignored, because the
//! protocol allows additional properties.

use crate::protocol::lenient::{LenientInstant, Maybe, Num, Seq, Text};
use crate::protocol::scan::identity::Identity;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AirbyteEnvelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) record: Maybe<RecordMessage<'a>>,
    #[serde(borrow)]
    pub(super) state: Maybe<StateMessage<'a>>,
    #[serde(borrow, rename = "sourceStatus")]
    pub(super) source_status: Maybe<SourceStatus<'a>>,
    #[serde(borrow)]
    pub(super) log: Maybe<AirbyteLog<'a>>,
    #[serde(borrow)]
    pub(super) trace: Maybe<AirbyteTrace<'a>>,
    pub(super) control: Maybe<Control>,
    pub(super) spec: Maybe<Empty>,
    #[serde(borrow)]
    pub(super) catalog: Maybe<DiscoveredCatalog<'a>>,
    #[serde(borrow, rename = "connectionStatus")]
    pub(super) connection: Maybe<ConnectionStatus<'a>>,
    pub(super) destination_catalog: Maybe<Empty>,
}

/// Any object; its fields are not needed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Empty {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordMessage<'a> {
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    #[serde(borrow)]
    pub(super) namespace: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) emitted_at: LenientInstant,
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
pub(super) struct StateMessage<'a> {
    #[serde(borrow)]
    pub(super) stream: Maybe<DescribedState<'a>>,
    #[serde(borrow)]
    pub(super) global: Maybe<Global<'a>>,
    /// Opaque state of the legacy format, for all streams.
    pub(super) data: Option<Identity>,
    #[serde(rename = "sourceStats")]
    pub(super) source: Maybe<Stats>,
    #[serde(rename = "destinationStats")]
    pub(super) destination: Maybe<Stats>,
}

/// Status of a source beside its state (Faros' kit).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SourceStatus<'a> {
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Maybe<StatusMessage<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusMessage<'a> {
    #[serde(borrow)]
    pub(super) summary: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DescribedState<'a> {
    #[serde(borrow)]
    pub(super) stream_descriptor: Maybe<Descriptor<'a>>,
    pub(super) stream_state: Identity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Global<'a> {
    #[serde(borrow)]
    pub(super) stream_states: Seq<Maybe<DescribedState<'a>>>,
    pub(super) shared_state: Identity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    /// Printed as a float.
    #[serde(rename = "recordCount")]
    pub(super) record_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AirbyteLog<'a> {
    #[serde(borrow)]
    pub(super) level: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) stack_trace: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AirbyteTrace<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    /// Milliseconds, with or without a fraction.
    pub(super) emitted_at: LenientInstant,
    #[serde(borrow)]
    pub(super) error: Maybe<ErrorTrace<'a>>,
    #[serde(borrow)]
    pub(super) stream_status: Maybe<StatusTrace<'a>>,
    #[serde(borrow)]
    pub(super) estimate: Maybe<EstimateTrace<'a>>,
    #[serde(borrow)]
    pub(super) analytics: Maybe<Analytics<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorTrace<'a> {
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
pub(super) struct StatusTrace<'a> {
    #[serde(borrow)]
    pub(super) stream_descriptor: Maybe<Descriptor<'a>>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) reasons: Seq<Maybe<StatusReason<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusReason<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) rate_limited: Maybe<RateLimited>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimited {
    pub(super) quota_reset: LenientInstant,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EstimateTrace<'a> {
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

/// Control message. Its configuration is not read, because it has secrets.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Control {
    pub(super) emitted_at: LenientInstant,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DiscoveredCatalog<'a> {
    #[serde(borrow)]
    pub(super) streams: Seq<Maybe<Descriptor<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ConnectionStatus<'a> {
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
}
