//! Classification of a line as message, raw text, unknown envelope or malformed.

use super::adapter::{Adapter, Dialect, Message, Protocol};
use super::envelope::{self, Opened};
use super::head::read_head;
use super::lenient::{Entries, Text};
use super::message::{Kind, Level};
use super::scan::lines::{Line, LineEnd};
use super::scan::repair::{Repaired, may_have_not_numbers, repair_json};
use super::scan::validate::Validator;
use super::table::{PROTOCOL_COUNT, PROTOCOLS, text_level};
use super::time::Millis;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Protocols that a decoder accepts.
#[derive(Clone, Copy, Default)]
pub enum ProtocolSelection {
    /// All protocols, detected line by line. The first message decides the protocol of the feed.
    #[default]
    Auto,
    /// One protocol, and those that may share a feed with it. Messages of the others are unknown.
    Only(&'static Protocol),
    /// A part of one protocol, such as one generation of an engine.
    Variant(&'static Protocol, &'static dyn Adapter),
}

impl fmt::Debug for ProtocolSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(protocol) | Self::Variant(protocol, _) => f.write_str(protocol.name),
        }
    }
}

impl ProtocolSelection {
    /// Returns the names for `--dialect`.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        let protocols = PROTOCOLS
            .iter()
            .flat_map(|protocol| std::iter::once(protocol.name).chain(protocol.variants.iter().map(|(name, _)| *name)));
        std::iter::once("auto").chain(protocols).collect()
    }

    /// Returns the selection of one of [`Self::names`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "auto" {
            return Some(Self::Auto);
        }
        PROTOCOLS.iter().find_map(|protocol| {
            if protocol.name == name {
                return Some(Self::Only(protocol));
            }
            let (_, adapter) = protocol.variants.iter().find(|(variant, _)| *variant == name)?;
            Some(Self::Variant(protocol, *adapter))
        })
    }
}

/// Line that is not a message.
#[derive(Debug, Clone, PartialEq)]
pub struct RawLine<'a> {
    /// Level in the text or in the JSON field `level`; [`Level::Info`] if there is none.
    pub level: Level,
    /// Text of the line, the message and error of a JSON log line, or a note on an oversized line.
    pub text: Cow<'a, str>,
    /// Protocol whose log lines have this form. It is no proof: other programs log the same fields.
    pub of: Option<Dialect>,
}

/// Result of decoding one line.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded<'a> {
    /// Message of a protocol, alone on its line or after other text.
    Message {
        /// Decoded message, with its protocol unless feeds of any protocol may have the line.
        message: Message<'a>,
        /// Text before the JSON on the same line.
        glued: Option<Cow<'a, str>>,
    },
    /// Text, or JSON without an envelope.
    Raw(RawLine<'a>),
    /// Envelope of an unknown kind.
    Unknown {
        /// Type of the message, the field `type` as on the wire.
        kind: Cow<'a, str>,
    },
    /// Line in an envelope or behind a known prefix. Its text is decoded when it is applied,
    /// because long lines are split into several of them.
    Wrapped(Box<Opened<'a>>),
    /// Line that looks like JSON but does not parse.
    Malformed {
        /// True if the line ends with the input, without a newline.
        torn: bool,
    },
}

/// Decoder for the lines of one input. It has no state, so that lines may be decoded in parallel.
#[derive(Clone, Copy)]
pub struct Decoder {
    selection: ProtocolSelection,
    max_streams: usize,
    /// Protocol of the library's user, tried before all others.
    added: Option<&'static Protocol>,
    /// Selected protocols and their adapters, in the order of detection.
    adapters: [Option<(&'static Protocol, &'static dyn Adapter)>; PROTOCOL_COUNT + 1],
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selection, max_streams, added, .. } = self;
        f.debug_tuple("Decoder").field(selection).field(max_streams).field(added).finish()
    }
}

/// Maximum number of offsets, per kind of start, that are tried as the start of a message after
/// other text on its line.
const MAX_STARTS_TRIED: usize = 64;

/// Default of the maximum number of streams; messages about further ones are only counted.
pub const MAX_STREAMS: usize = 100_000;

/// Returns the selected protocols and their adapters in the order of detection, those of `added`
/// first.
fn selected(
    selection: ProtocolSelection,
    added: Option<&'static Protocol>,
) -> [Option<(&'static Protocol, &'static dyn Adapter)>; PROTOCOL_COUNT + 1] {
    let selected = PROTOCOLS.iter().filter_map(move |protocol| match selection {
        ProtocolSelection::Auto => Some((*protocol, protocol.adapter)),
        ProtocolSelection::Only(only) => (protocol.family == only.family).then_some((*protocol, protocol.adapter)),
        ProtocolSelection::Variant(only, adapter) => (**protocol == *only).then_some((*protocol, adapter)),
    });
    let mut all = added.map(|protocol| (protocol, protocol.adapter)).into_iter().chain(selected);
    std::array::from_fn(|_| all.next())
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(ProtocolSelection::default())
    }
}

impl Decoder {
    /// Creates a decoder for the selected protocols.
    #[must_use]
    pub fn new(selection: ProtocolSelection) -> Self {
        Self { selection, max_streams: MAX_STREAMS, added: None, adapters: selected(selection, None) }
    }

    /// Sets the maximum number of streams that the reducer of the input stores.
    #[must_use]
    pub fn with_max_streams(self, max_streams: usize) -> Self {
        Self { max_streams, ..self }
    }

    /// Returns the maximum number of streams.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        self.max_streams
    }

    /// Adds a protocol, which is tried before all others. A second one replaces the first.
    #[must_use]
    pub fn with_adapter(self, protocol: &'static Protocol) -> Self {
        Self { added: Some(protocol), adapters: selected(self.selection, Some(protocol)), ..self }
    }

    /// Returns the selected protocols and their adapters, in the order of detection.
    #[inline]
    fn adapters(&self) -> impl Iterator<Item = (&'static Protocol, &'static dyn Adapter)> {
        self.adapters.iter().map_while(|adapter| *adapter)
    }

    /// Returns the first message that an adapter makes of a line.
    #[inline]
    fn first<'a>(&self, mut decode: impl FnMut(&'static dyn Adapter) -> Option<Message<'a>>) -> Option<Message<'a>> {
        // Set in place: a message is moved as rarely as possible.
        for (protocol, adapter) in self.adapters() {
            if let Some(mut message) = decode(adapter) {
                message.set_protocol(protocol);
                return Some(message);
            }
        }
        None
    }

    /// True if any selected protocol has messages of this type.
    fn has_type(&self, kind: &str) -> bool {
        self.adapters().any(|(_, adapter)| adapter.has_type(kind))
    }

    /// Classifies one line. The result may borrow from `scratch`, which receives a repaired line.
    #[must_use]
    pub fn decode<'a>(&self, line: &Line<'a>, scratch: &'a mut String) -> Decoded<'a> {
        if let Some(decoded) = self.decode_in_place(line) {
            return decoded;
        }
        let Repaired { text, not_numbers } =
            std::str::from_utf8(line.bytes).ok().map(without_marks).and_then(repair_json).unwrap_or_default();
        *scratch = text;
        match self.message(scratch) {
            Some(mut message) => {
                if let Kind::Record(record) = &mut message.kind {
                    record.not_numbers = not_numbers;
                }
                Decoded::Message { message, glued: None }
            }
            None => Decoded::Malformed { torn: line.end == LineEnd::Input },
        }
    }

    /// Classifies one line; `None` if it needs a repair.
    #[must_use]
    pub fn decode_in_place<'a>(&self, line: &Line<'a>) -> Option<Decoded<'a>> {
        if line.huge.is_none()
            && let Ok(text) = simdutf8::basic::from_utf8(line.bytes)
            && let Some(message) = self.fast(text)
        {
            return Some(Decoded::Message { message, glued: None });
        }
        self.decode_slowly(line)
    }

    /// Passes every line of `bytes` to `each`, until `each` returns false, with its message if the
    /// fast path decodes it: other lines need [`Self::decode_slowly`]. Bytes after the last newline
    /// are the last line of the input. Returns the number of bytes of the passed lines.
    #[inline]
    pub fn each<'a>(&self, bytes: &'a [u8], mut each: impl FnMut(Line<'a>, Option<Message<'a>>) -> bool) -> usize {
        // UTF-8 is checked for all lines at once, and line by line only if that fails.
        let valid_text = simdutf8::basic::from_utf8(bytes).ok();
        let mut start = 0;
        let newlines = memchr::memchr_iter(b'\n', bytes).map(|at| (at, LineEnd::Newline));
        for (stop, end) in newlines.chain(std::iter::once((bytes.len(), LineEnd::Input))) {
            if end == LineEnd::Input && start == stop {
                break;
            }
            let line = Line::whole(bytes.get(start..stop).unwrap_or_default(), end);
            let text = match valid_text {
                _ if line.huge.is_some() => None,
                Some(text) => text.get(start..stop),
                None => simdutf8::basic::from_utf8(line.bytes).ok(),
            };
            start = stop + 1;
            if !each(line, text.and_then(|text| self.fast(text))) {
                return start.min(bytes.len());
            }
        }
        bytes.len()
    }

    /// Decodes a line by the fast path; `None` if it needs the slow path.
    #[must_use]
    #[inline]
    pub fn fast<'a>(&self, text: &'a str) -> Option<Message<'a>> {
        self.first(|adapter| adapter.decode_fast(text))
    }

    /// Classifies one line as [`Self::decode_in_place`] does, but without the fast path. It is the
    /// reference that the fast path must match.
    #[must_use]
    pub fn decode_slowly<'a>(&self, line: &Line<'a>) -> Option<Decoded<'a>> {
        let torn = line.end == LineEnd::Input;
        if let Some(valid) = line.huge {
            return Some(self.decode_huge(line, valid, torn));
        }
        let Ok(text) = simdutf8::basic::from_utf8(line.bytes) else {
            let json = looks_like_json(line.bytes);
            let text = String::from_utf8_lossy(line.bytes);
            if json {
                return Some(Decoded::Malformed { torn });
            }
            return Some(match envelope::open(&text) {
                Some(opened) => Decoded::Wrapped(Box::new(opened.into_owned())),
                None => raw(text),
            });
        };
        let text = without_marks(text);
        let json = looks_like_json(text.as_bytes());
        if json && let Some(message) = self.message(text) {
            return Some(Decoded::Message { message, glued: None });
        }
        if let Some(opened) = envelope::open(text) {
            return Some(Decoded::Wrapped(Box::new(opened)));
        }
        if json && serde_json::from_str::<IgnoredAny>(text).is_ok() {
            return self.non_message_json(text);
        }
        if json && self.has_not_numbers(text) {
            return None;
        }
        if let Some(decoded) = self.message_after_text(text, json) {
            return Some(decoded);
        }
        if json {
            return Some(Decoded::Malformed { torn });
        }
        match self.first(|adapter| adapter.decode_text(text)) {
            Some(message) => Some(Decoded::Message { message, glued: None }),
            None => Some(raw(Cow::Borrowed(text))),
        }
    }

    /// True if a text is one message and nothing else.
    #[must_use]
    pub fn is_message(&self, text: &str) -> bool {
        self.message(text).is_some()
    }

    /// Returns the time of a decoded line, without a line's parts before it.
    #[must_use]
    pub fn time(&self, decoded: &Decoded) -> Option<Millis> {
        match decoded {
            Decoded::Message { message, .. } => message.at,
            Decoded::Wrapped(opened) => {
                let line = Line::whole(opened.text.as_bytes(), LineEnd::Newline);
                let mut scratch = String::new();
                match self.decode(&line, &mut scratch) {
                    Decoded::Message { mut message, .. } => {
                        opened.set_time(&mut message);
                        message.at
                    }
                    _ => opened.clock.map(|clock| clock.at),
                }
            }
            Decoded::Raw(_) | Decoded::Unknown { .. } | Decoded::Malformed { .. } => None,
        }
    }

    /// Decodes a line that is one message and nothing else.
    fn message<'a>(&self, text: &'a str) -> Option<Message<'a>> {
        self.first(|adapter| adapter.decode(text))
    }

    /// True if a line is a message of a protocol that allows values such as `NaN`, and has one.
    fn has_not_numbers(&self, text: &str) -> bool {
        may_have_not_numbers(text)
            && repair_json(text).is_some_and(|repaired| {
                let message = self.message(&repaired.text);
                message.and_then(|message| message.dialect).is_some_and(|dialect| dialect.traits().has_not_numbers)
            })
    }

    /// Classifies one valid JSON value that is not a message; `None` if a repair makes it one.
    fn non_message_json<'a>(&self, text: &'a str) -> Option<Decoded<'a>> {
        // Valid JSON that serde_json refuses: an unpaired surrogate, a number beyond `f64`, a
        // duplicate key. Engines write such lines especially when they fail.
        if repair_json(text).is_some_and(|repaired| self.message(&repaired.text).is_some()) {
            return None;
        }
        let shape = serde_json::from_str::<Entries<Shape>>(text).ok().and_then(|entries| entries.0).unwrap_or_default();
        let text_of = |name: &str| shape.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.text.clone());
        match text_of("type") {
            Some(kind) if shape.iter().any(|(key, value)| key.eq_ignore_ascii_case(&kind) && value.object) => {
                Some(Decoded::Unknown { kind })
            }
            _ => {
                let level =
                    shape.iter().find(|(key, _)| key == "level").map_or(Level::Info, |(_, value)| value.level());
                let main = text_of("msg").or_else(|| text_of("message")).or_else(|| text_of("event"));
                let error = shape
                    .iter()
                    .find(|(key, _)| key == "err" || key == "error")
                    .and_then(|(_, value)| value.inner.clone());
                let text = match (main, error) {
                    (Some(main), Some(error)) => Cow::Owned(format!("{main}: {error}")),
                    (Some(main), None) => main,
                    (None, error) => error.unwrap_or(Cow::Borrowed(text)),
                };
                let owner =
                    self.adapters().find(|(_, adapter)| adapter.owns_log_object(&|name| text_of(name).is_some()));
                let of = owner.map(|(protocol, _)| Dialect::of(protocol));
                Some(Decoded::Raw(RawLine { level, text, of }))
            }
        }
    }

    /// Decodes a message that starts later in the line, such as `Listening...{"type":...`, or a
    /// torn line followed by the next one. An object at a place where the JSON before it expects a
    /// value is part of its data, not a message.
    fn message_after_text<'a>(&self, text: &'a str, json: bool) -> Option<Decoded<'a>> {
        // Envelopes usually start with their type, so these offsets are tried first, from the end
        // of the line, because a complete message ends the line.
        let typed = text.rmatch_indices("{\"type\":").take(MAX_STARTS_TRIED);
        let any = text.match_indices("{\"").take(MAX_STARTS_TRIED);
        for at in typed.chain(any).map(|(at, _)| at).filter(|at| *at > 0) {
            let (glue, rest) = text.split_at_checked(at)?;
            if let Some(message) = self.message(rest) {
                let mut before = Validator::default();
                before.push(glue.as_bytes());
                if json && before.expects_value() {
                    return None;
                }
                return Some(Decoded::Message { message, glued: Some(Cow::Borrowed(glue)) });
            }
        }
        None
    }

    /// Classifies a line over the limit by its head.
    fn decode_huge<'a>(&self, line: &Line<'a>, valid: bool, torn: bool) -> Decoded<'a> {
        let head = match std::str::from_utf8(line.bytes) {
            Ok(head) => Cow::Borrowed(head),
            Err(error) => match line.bytes.get(..error.valid_up_to()).map(std::str::from_utf8) {
                Some(Ok(head)) if error.error_len().is_none() => Cow::Borrowed(head),
                _ => String::from_utf8_lossy(line.bytes),
            },
        };
        if !looks_like_json(line.bytes) {
            return raw(Cow::Owned(format!("{}… ({} bytes)", head.chars().take(200).collect::<String>(), line.length)));
        }
        let Cow::Borrowed(head) = head else { return Decoded::Malformed { torn } };
        if !valid {
            return Decoded::Malformed { torn };
        }
        let head = read_head(head, &|kind| self.has_type(kind));
        let message = self.first(|adapter| adapter.decode_head(&head, line.length));
        match (message, head.kind) {
            (Some(message), _) => Decoded::Message { message, glued: None },
            (None, Some(kind)) if head.payload.is_some() || self.has_type(&kind) => Decoded::Unknown { kind },
            _ => raw(Cow::Owned(format!("(JSON without an envelope, {} bytes)", line.length))),
        }
    }
}

/// Removes a byte order mark and a carriage return.
fn without_marks(text: &str) -> &str {
    let text = text.strip_suffix('\r').unwrap_or(text);
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn raw(text: Cow<str>) -> Decoded {
    Decoded::Raw(RawLine { level: text_level(&text).unwrap_or_default(), text, of: None })
}

/// True if the line starts like a JSON object or an array of texts or containers. Text such as
/// `[source] retry` does not.
fn looks_like_json(line: &[u8]) -> bool {
    match line.trim_ascii_start() {
        [b'{', ..] => true,
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [b'{' | b'"' | b'[' | b']', ..]),
        _ => false,
    }
}

/// Value of a field, as far as lines that are not messages need it.
#[derive(Debug, Default, Clone)]
struct Shape<'a> {
    object: bool,
    text: Option<Cow<'a, str>>,
    number: Option<u64>,
    /// `message` of an object.
    inner: Option<Cow<'a, str>>,
}

impl Shape<'_> {
    /// Reads a level: a name, or a number of pino (30 info, 40 warn, 50 error, 60 fatal).
    fn level(&self) -> Level {
        match (&self.text, self.number) {
            (Some(word), _) => Level::from(&**word),
            (None, Some(50..)) => Level::Error,
            (None, Some(40..50)) => Level::Warn,
            (None, Some(20..30)) => Level::Debug,
            (None, Some(..20)) => Level::Trace,
            _ => Level::Info,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Shape<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Shape<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape<'de>, A::Error> {
                let mut inner = None;
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if key.0.as_deref() == Some("message") {
                        inner = map.next_value::<Text<'de>>()?.0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Shape { object: true, inner, ..Shape::default() })
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Shape<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Shape::default())
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Shape<'de>, E> {
                Ok(Shape { text: Some(Cow::Borrowed(text)), ..Shape::default() })
            }
            fn visit_str<E>(self, text: &str) -> Result<Shape<'de>, E> {
                Ok(Shape { text: Some(Cow::Owned(text.to_owned())), ..Shape::default() })
            }
            fn visit_u64<E>(self, number: u64) -> Result<Shape<'de>, E> {
                Ok(Shape { number: Some(number), ..Shape::default() })
            }
            fn visit_i64<E>(self, _: i64) -> Result<Shape<'de>, E> {
                Ok(Shape::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Shape<'de>, E> {
                Ok(Shape::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Shape<'de>, E> {
                Ok(Shape::default())
            }
            fn visit_unit<E>(self) -> Result<Shape<'de>, E> {
                Ok(Shape::default())
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Kind;
    use super::super::scan::lines::{LINE_LIMIT, Splitter};
    use super::*;

    fn decode(text: &str) -> Decoded<'_> {
        let line = Line { bytes: text.as_bytes(), length: text.len() as u64, end: LineEnd::Newline, huge: None };
        Decoder::default().decode(&line, Box::leak(Box::default()))
    }

    #[test]
    fn valid_lines_that_serde_json_refuses_are_repaired() {
        for payload in [
            r#""stream":"a","data":{"x":1},"note":"\ud83d""#,
            r#""stream":"b","stream":"a""#,
            r#""stream":"a","emitted_at":1e999"#,
        ] {
            let line = format!(r#"{{"type":"record","record":{{{payload}}}}}"#);
            assert_eq!(stream_of(&decode(&line)).as_deref(), Some("a"), "{line}");
        }
        let error =
            r#"{"type":"trace","trace":{"trace_type":"error","error":{"message":"cut \ud83d off \ud83d\ude00"}}}"#;
        let Decoded::Message { message: Message { kind: Kind::Failure(failure), .. }, .. } = decode(error) else {
            panic!()
        };
        assert_eq!(failure.message, "cut \u{fffd} off \u{1f600}");
    }

    #[test]
    fn data_of_a_torn_line_is_not_decoded_as_a_message() {
        let forged = r#"{"type":"record","record":{"stream":"a","data":{"type":"eof","eof":{"reason":"complete"}}"#;
        assert!(matches!(decode(forged), Decoded::Malformed { .. }));
    }

    fn stream_of(decoded: &Decoded) -> Option<String> {
        match decoded {
            Decoded::Message { message: Message { kind: Kind::Record(record), .. }, .. } => {
                Some(record.stream.name.to_string())
            }
            _ => None,
        }
    }

    #[test]
    fn every_class_of_line_is_recognized() {
        let record = r#"{"record":{"data":{"a":[1,{"b":null}]},"emitted_at":"2026-11-20T08:00:00Z","stream":"a"},"type":"record"}"#;
        assert_eq!(stream_of(&decode(record)).as_deref(), Some("a"));
        assert!(matches!(decode(""), Decoded::Raw(_)));
        assert!(matches!(decode("text"), Decoded::Raw(_)));
        assert!(matches!(decode("[source-stripe] retry attempt=1/5"), Decoded::Raw(_)));
        assert!(matches!(decode("42"), Decoded::Raw(_)));
        assert!(matches!(decode(r#"[{"a":1}]"#), Decoded::Raw(_)));
        let pino = decode(r#"{"level":50,"time":1,"msg":"no"}"#);
        assert_eq!(pino, Decoded::Raw(RawLine { level: Level::Error, text: "no".into(), of: None }));
        assert!(matches!(decode(r#"{"type":"log","msg":"a dlt line"}"#), Decoded::Raw(_)));
        assert!(matches!(decode(r#"{"type":"novel","novel":{}}"#), Decoded::Unknown { kind } if kind == "novel"));
        assert!(matches!(decode(r#"{"type":"trace","trace":{"trace_type":"novel"}}"#), Decoded::Unknown { .. }));
        assert!(matches!(decode(r#"{"type":"record","record":{"stream":"a""#), Decoded::Malformed { torn: false }));
        assert!(matches!(decode("{oops}"), Decoded::Malformed { .. }));
    }

    #[test]
    fn text_before_a_message_is_separated() {
        let line = r#"Listening on {"port":1} {"type":"record","record":{"stream":"a"}}"#;
        assert_eq!(stream_of(&decode(line)).as_deref(), Some("a"));
        let torn = r#"{"type":"record","record":{"stre{"type":"record","record":{"stream":"b"}}"#;
        assert_eq!(stream_of(&decode(torn)).as_deref(), Some("b"));
        assert!(matches!(decode(r#"see {"type":"object","properties":{}} there"#), Decoded::Raw(_)));
    }

    #[test]
    fn a_selected_generation_does_not_accept_kinds_of_others() {
        let decoder = Decoder::new(ProtocolSelection::from_name("stripe-trace").unwrap());
        let text = r#"{"type":"stream_status","stream_status":{"stream":"a","status":"start"}}"#;
        let line = Line { bytes: text.as_bytes(), length: 0, end: LineEnd::Newline, huge: None };
        assert!(
            matches!(decoder.decode(&line, &mut String::new()), Decoded::Unknown { kind } if kind == "stream_status")
        );
        assert!(ProtocolSelection::names().iter().all(|name| ProtocolSelection::from_name(name).is_some()));
    }

    #[test]
    fn fields_of_the_wrong_kind_are_absent_and_not_fatal() {
        let odd = r#"{"type":"progress","_ts":17,"progress":{"elapsed_ms":"x","streams":{"a":{"status":[],"record_count":-1},"b":7}}}"#;
        let Decoded::Message { message, .. } = decode(odd) else { panic!("not understood") };
        let Kind::Progress(report) = message.kind else { panic!("no progress") };
        assert_eq!(report.streams.len(), 1);
        assert_eq!(report.elapsed.running, None);
    }

    #[test]
    fn a_line_over_the_limit_is_decoded_from_its_head() {
        for (head, tail, is) in [
            (r#"{"type":"record","record":{"stream":"a","data":""#, r#""}}"#, "record"),
            (r#"{"type":"log","log":{"level":"error","message":""#, r#""}}"#, "log"),
            (r#"{"type":"novel","novel":{"x":""#, r#""}}"#, "unknown"),
            (r#"{"x":""#, r#""}"#, "raw"),
            (r#"{"type":"record","record":{"stream":"a","data":""#, r#""}"#, "malformed"),
            ("plain ", "", "raw"),
        ] {
            let mut text = head.as_bytes().to_vec();
            text.resize(LINE_LIMIT + 10, b'x');
            text.extend_from_slice(tail.as_bytes());
            text.push(b'\n');
            let mut splitter = Splitter::default();
            let mut seen = "";
            splitter.push(&text, |line| {
                seen = match Decoder::default().decode(&line, &mut String::new()) {
                    Decoded::Message { message: Message { kind: Kind::Record(record), .. }, .. }
                        if record.stream.name == "a" =>
                    {
                        "record"
                    }
                    Decoded::Message { message: Message { kind: Kind::Log(log), .. }, .. }
                        if log.level == Level::Error =>
                    {
                        "log"
                    }
                    Decoded::Unknown { .. } => "unknown",
                    Decoded::Wrapped(_) => "wrapped",
                    Decoded::Raw(_) => "raw",
                    Decoded::Malformed { .. } => "malformed",
                    Decoded::Message { .. } => "another message",
                };
            });
            assert_eq!(seen, is, "{head}");
        }
    }
}
