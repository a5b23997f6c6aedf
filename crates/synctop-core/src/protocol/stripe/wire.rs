//! Wire types, named as the engines print their fields.

use super::state::StateData;
use crate::protocol::lenient::{
    Entries, Flag, LenientInstant, LenientRange, LenientRanges, Logged, Maybe, Num, Seq, Text,
};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::protocol) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(in crate::protocol) kind: Text<'a>,
    #[serde(rename = "_ts")]
    pub(super) at: LenientInstant,
    #[serde(borrow, rename = "_emitted_by")]
    pub(super) from: Text<'a>,
    #[serde(borrow)]
    pub(super) record: Maybe<RecordLine<'a>>,
    #[serde(borrow)]
    pub(super) source_state: Maybe<SourceState<'a>>,
    #[serde(borrow)]
    pub(super) trace: Maybe<Trace<'a>>,
    #[serde(borrow)]
    pub(super) stream_status: Maybe<StreamStatus<'a>>,
    #[serde(borrow)]
    pub(super) progress: Maybe<ProgressLine<'a>>,
    #[serde(borrow)]
    pub(super) connection_status: Maybe<Connection<'a>>,
    #[serde(borrow)]
    pub(super) log: Maybe<LogLine<'a>>,
    #[serde(borrow)]
    pub(super) catalog: Maybe<CatalogLine<'a>>,
    #[serde(borrow)]
    pub(super) eof: Maybe<Eof<'a>>,
    #[serde(borrow)]
    pub(super) start: Maybe<StartLine<'a>>,
    #[serde(borrow)]
    pub(super) end: Maybe<Eof<'a>>,
    pub(super) control: Maybe<Nothing>,
    pub(super) spec: Maybe<Nothing>,
    pub(super) source_input: Maybe<Nothing>,
    /// Stream at the top level, which only other protocols have.
    #[serde(borrow)]
    pub(in crate::protocol) stream: Text<'a>,
}

/// Any object; its fields are not needed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Nothing {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordLine<'a> {
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    pub(super) emitted_at: LenientInstant,
    /// True if the object was deleted at the source. Such a line does not count as a record.
    #[serde(rename = "recordDeleted")]
    pub(super) deleted: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SourceState<'a> {
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Maybe<StateData<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trace<'a> {
    #[serde(borrow)]
    pub(super) trace_type: Text<'a>,
    #[serde(borrow)]
    pub(super) stream_status: Maybe<StreamStatus<'a>>,
    pub(super) global_progress: Maybe<TotalsLine>,
    /// Name of `global_progress` in the generation before `trace`.
    pub(super) progress: Maybe<TotalsLine>,
    #[serde(borrow)]
    pub(super) error: Maybe<TraceError<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TraceError<'a> {
    #[serde(borrow)]
    pub(super) failure_type: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) stack_trace: Text<'a>,
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamStatus<'a> {
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    pub(super) cumulative_record_count: Num,
    pub(super) run_record_count: Num,
    pub(super) time_range: Maybe<LenientRange>,
    pub(super) range_complete: Maybe<LenientRange>,
    #[serde(borrow)]
    pub(super) error: Text<'a>,
    #[serde(borrow)]
    pub(super) reason: Text<'a>,
    #[serde(borrow)]
    pub(super) errors: Seq<Maybe<TraceError<'a>>>,
}

/// `global_progress` of the trace generation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TotalsLine {
    pub(super) elapsed_ms: Num,
    pub(super) cumulative_elapsed_ms: Num,
    pub(super) run_record_count: Num,
    pub(super) cumulative_record_count: Num,
    pub(super) request_count: Num,
    pub(super) cumulative_request_count: Num,
    pub(super) state_checkpoint_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProgressLine<'a> {
    pub(super) started_at: LenientInstant,
    pub(super) elapsed_ms: Num,
    pub(super) derived: Maybe<Derived>,
    #[serde(borrow)]
    pub(super) streams: Entries<'a, Maybe<ProgressStream<'a>>>,
    #[serde(borrow)]
    pub(super) errors: Seq<Maybe<ListedError<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Derived {
    pub(super) total_record_count: Num,
    pub(super) total_state_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProgressStream<'a> {
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    pub(super) state_count: Num,
    pub(super) record_count: Num,
    pub(super) total_range: Maybe<LenientRange>,
    pub(super) completed_ranges: LenientRanges,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    pub(super) terminal: Flag,
    pub(super) insert_count: Num,
    pub(super) update_count: Num,
    pub(super) delete_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListedError<'a> {
    #[serde(borrow)]
    pub(super) error_level: Text<'a>,
    #[serde(borrow)]
    pub(super) failure_type: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection<'a> {
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogLine<'a> {
    #[serde(borrow)]
    pub(super) level: Text<'a>,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Maybe<LogData<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogData<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    #[serde(borrow)]
    pub(super) label: Text<'a>,
    pub(super) attempt: Num,
    pub(super) max_retries: Num,
    pub(super) delay_ms: Num,
    pub(super) status: Num,
    #[serde(borrow)]
    pub(super) error_message: Text<'a>,
    /// Error as text, or as an object with a message.
    #[serde(borrow)]
    pub(super) err: Logged<'a>,
    #[serde(borrow)]
    pub(super) error: Logged<'a>,
    #[serde(borrow)]
    pub(super) failed_streams: Seq<Text<'a>>,
    #[serde(borrow)]
    pub(super) run_id: Text<'a>,
    /// Only in lines of synctop's own client and service.
    #[serde(borrow)]
    pub(super) at_risk: Seq<Maybe<RiskLine<'a>>>,
    #[serde(borrow, rename = "configuredStreams")]
    pub(super) configured_streams: Seq<Text<'a>>,
}

/// Stream whose rows may be missing, as reported in log lines of `backfill` and the service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RiskLine<'a> {
    #[serde(borrow)]
    pub(super) stream: Text<'a>,
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    pub(super) rows: Num,
    pub(super) kept: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CatalogLine<'a> {
    #[serde(borrow)]
    pub(super) streams: Seq<Maybe<CatalogStream<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CatalogStream<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) stream: Maybe<InnerStream<'a>>,
}

/// Wrapped stream of a configured catalog.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InnerStream<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StartLine<'a> {
    #[serde(borrow)]
    pub(super) configured_catalog: Maybe<CatalogLine<'a>>,
}

/// `eof` of both generations, and `end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Eof<'a> {
    #[serde(borrow)]
    pub(super) reason: Text<'a>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    pub(super) has_more: Flag,
    pub(super) elapsed_ms: Num,
    #[serde(borrow)]
    pub(super) state: Maybe<Returned<'a>>,
    #[serde(borrow)]
    pub(super) ending_state: Maybe<Returned<'a>>,
    pub(super) global_progress: Maybe<TotalsLine>,
    #[serde(borrow)]
    pub(super) stream_progress: Entries<'a, Maybe<StreamStatus<'a>>>,
    #[serde(borrow)]
    pub(super) run_progress: Maybe<ProgressLine<'a>>,
    #[serde(borrow)]
    pub(super) request_progress: Maybe<ProgressLine<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Returned<'a> {
    #[serde(borrow)]
    pub(super) source: Maybe<ReturnedSource<'a>>,
    #[serde(borrow)]
    pub(super) sync_run: Maybe<RunIdentity<'a>>,
    #[serde(borrow)]
    pub(super) engine: Maybe<ReturnedEngine<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReturnedEngine<'a> {
    #[serde(borrow)]
    pub(super) global: Maybe<RunIdentity<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunIdentity<'a> {
    #[serde(borrow)]
    pub(super) run_id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReturnedSource<'a> {
    #[serde(borrow)]
    pub(super) streams: Entries<'a, Maybe<StateData<'a>>>,
}
