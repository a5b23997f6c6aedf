//! Interface of a protocol: the decoded message, the traits of a protocol, and the adapter that
//! decodes its lines.
//!
//! A protocol is one folder with a [`Protocol`] and one line in `table.rs`. Users of the
//! library add one with [`super::Decoder::with_adapter`].

use super::head::Head;
use super::message::{Kind, Level, Side};
use super::remedy::Remedy;
use super::time::Millis;
use std::borrow::Cow;
use std::fmt;

// A larger one would be moved by a call: the fast path moves each message several times.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Message>() <= 128);

/// Decoded line. Borrows from the line it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// Time of emission: `_ts`, `trace.emitted_at`, `time_extracted`, else `record.emitted_at`.
    pub at: Option<Millis>,
    /// Emitter (`_emitted_by`, the logger's name, or the name of a Meltano plugin).
    pub from: Option<Cow<'a, str>>,
    /// Protocol of the line, set by the decoder; `None` if feeds of any protocol may have such a
    /// line.
    pub dialect: Option<Dialect>,
    /// Evidence of the line for the protocol of its feed.
    pub origin: Origin,
    /// True if the engine stamped the line itself (`_ts`). Otherwise the clock of an envelope or a
    /// prefix outranks `at`.
    pub is_stamped: bool,
    /// Claim that the line makes.
    pub kind: Kind<'a>,
}

impl<'a> Message<'a> {
    /// Creates a message of the protocol itself.
    #[must_use]
    pub fn new(at: Option<Millis>, from: Option<Cow<'a, str>>, kind: Kind<'a>) -> Self {
        Self { at, from, dialect: None, origin: Origin::Protocol, is_stamped: false, kind }
    }

    /// Creates a log line, which a shared library may have written.
    #[must_use]
    pub fn logged(at: Option<Millis>, from: Option<Cow<'a, str>>, kind: Kind<'a>) -> Self {
        Self { at, from, dialect: None, origin: Origin::Log, is_stamped: false, kind }
    }

    /// Creates a line that feeds of any protocol may have.
    #[must_use]
    pub fn shared(at: Option<Millis>, from: Option<Cow<'a, str>>, kind: Kind<'a>) -> Self {
        Self { at, from, dialect: None, origin: Origin::Shared, is_stamped: false, kind }
    }

    /// Marks the time as stamped by the engine.
    #[must_use]
    pub fn stamped(mut self, is_stamped: bool) -> Self {
        self.is_stamped = is_stamped;
        self
    }

    /// Sets the protocol, unless feeds of any may have the line.
    #[inline]
    pub(crate) fn set_protocol(&mut self, protocol: &'static Protocol) {
        if self.origin != Origin::Shared {
            self.dialect = Some(Dialect(protocol));
        }
    }
}

/// Evidence of a line for the protocol of its feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Only this protocol has such a line.
    Protocol,
    /// Log line of the protocol. A library that other programs share may have written it.
    Log,
    /// Feeds of any protocol may have such a line.
    Shared,
}

/// A protocol: its name, its traits and its adapter.
pub struct Protocol {
    /// Name in `--dialect` and in the JSON.
    pub name: &'static str,
    /// Protocols of one family may share a feed.
    pub family: &'static str,
    /// Traits that hold for every feed of the protocol.
    pub traits: ProtocolTraits,
    /// Adapter for the whole protocol, with all generations of its engine.
    pub adapter: &'static dyn Adapter,
    /// Further names for `--dialect`: adapters for a part of the protocol.
    pub variants: &'static [(&'static str, &'static dyn Adapter)],
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.name == other.name
    }
}

impl Eq for Protocol {}

/// Protocol of a line or feed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dialect(&'static Protocol);

impl Dialect {
    /// Creates the dialect of a protocol.
    #[must_use]
    pub const fn of(protocol: &'static Protocol) -> Self {
        Self(protocol)
    }

    /// Returns the name of the protocol, as in `--dialect` and in the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// Returns the traits that hold for every feed of the protocol.
    #[must_use]
    pub fn traits(self) -> &'static ProtocolTraits {
        &self.0.traits
    }

    /// True if one feed may have lines of both: Meltano's log contains those of taps and targets.
    #[must_use]
    #[inline]
    pub fn is_compatible_with(self, other: Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0.family == other.0.family
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// Traits that hold for every feed of a protocol. The reducer asks these, never the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a protocol")]
pub struct ProtocolTraits {
    /// There is no end message: the end of the process is the end.
    pub ends_with_process: bool,
    /// The first terminal status of a stream counts.
    pub first_status_is_final: bool,
    /// Checkpoints may follow a stream's "complete".
    pub states_may_follow_complete: bool,
    /// A run that is stopped from outside exits with 0, its open streams failed.
    pub stopped_exits_zero: bool,
    /// Errors are reported on stderr.
    pub errors_on_stderr: bool,
    /// Records may have `NaN` and `Infinity`, as Python's `json` writes them. Strict readers refuse
    /// such lines.
    pub has_not_numbers: bool,
    /// The log reports the end: a log without one is cut, unless the exit of the process decides.
    pub reports_end: bool,
}

impl ProtocolTraits {
    /// Traits of a protocol with an end message, and of a feed whose protocol is not known yet.
    pub const DEFAULT: Self = Self {
        ends_with_process: false,
        first_status_is_final: false,
        states_may_follow_complete: false,
        stopped_exits_zero: false,
        errors_on_stderr: false,
        has_not_numbers: false,
        reports_end: false,
    };
}

/// Log of a platform that is not a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformLog {
    /// Name of the log, as a noun phrase.
    pub name: &'static str,
    /// Way to get a feed, as a clause.
    pub advice: &'static str,
}

/// Decoder of one protocol. It has no state, so that lines may be decoded in parallel: facts that
/// depend on earlier lines are claimed in general terms, and the reducer resolves them.
pub trait Adapter: Send + Sync {
    /// True if the protocol has messages of this type. A line of a known type that cannot be
    /// decoded is unknown, not raw.
    fn has_type(&self, kind: &str) -> bool;

    /// Decodes a line that is one JSON value; `None` if it is not a message of this protocol.
    fn decode<'a>(&self, line: &'a str) -> Option<Message<'a>>;

    /// Decodes a usual line in one pass; `None` leaves it to [`Self::decode`], which must return
    /// the same message.
    fn decode_fast<'a>(&self, _line: &'a str) -> Option<Message<'a>> {
        None
    }

    /// Decodes a line over the size limit from its head. `length`: bytes of the whole line.
    fn decode_head<'a>(&self, _head: &Head<'a>, _length: u64) -> Option<Message<'a>> {
        None
    }

    /// Decodes a line of text in the feed.
    fn decode_text<'a>(&self, _line: &'a str) -> Option<Message<'a>> {
        None
    }

    /// Decodes a line that the engine wrote to stderr.
    fn decode_stderr<'a>(&self, _line: &'a str) -> Option<Message<'a>> {
        None
    }

    /// True if a JSON object with these fields is a log line of the protocol, and not of another
    /// program.
    fn owns_log_object(&self, _has_text: &dyn Fn(&str) -> bool) -> bool {
        false
    }

    /// Level of a line of text.
    fn text_level(&self, _line: &str) -> Option<Level> {
        None
    }

    /// Side of a logger, if its name shows it.
    fn logger_side(&self, _logger: &str) -> Option<Side> {
        None
    }

    /// Stream in a logger's name.
    fn logger_stream<'a>(&self, _logger: &'a str) -> Option<&'a str> {
        None
    }

    /// Core of an error message for an operator, if the message has a form of this protocol.
    fn error_core(&self, _message: &str) -> Option<String> {
        None
    }

    /// Cause in an error message, without the details that this protocol appends to it.
    fn error_cause<'a>(&self, _message: &'a str) -> Option<&'a str> {
        None
    }

    /// True if an error message of this protocol is generic, so that the cause is elsewhere.
    fn is_generic_error(&self, _message: &str) -> bool {
        false
    }

    /// HTTP status in an error message.
    fn http_status(&self, _message: &str) -> Option<u16> {
        None
    }

    /// Log of the protocol's platform around its messages, which has none, if a line has its form.
    fn platform_log(&self, _line: &str) -> Option<PlatformLog> {
        None
    }

    /// Remedy for an error, if its text has a form of this protocol.
    fn remedy(&self, _message: &str) -> Option<Remedy> {
        None
    }
}
