//! Classification of a line: a message, raw text, an unknown envelope, or malformed.

use super::lenient::{Entries, Text};
use super::message::{Checkpoint, Dialect, Kind, Level, Log, Message, Name, Record};
use super::scan::lines::{Line, LineEnd};
use super::scan::repair::mend;
use super::scan::validate::Validator;
use super::stripe::{self, Envelope, Generation, KINDS};
use super::{airbyte, singer};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Protocol selection of a decoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reading {
    /// Detected line by line; the first message decides the protocol of the feed.
    #[default]
    Auto,
    /// One protocol only: messages of the others are unknown.
    Only(Dialect),
    /// Stripe's engine, one generation only: kinds of the others are unknown.
    Stripe(Generation),
}

impl Reading {
    /// Names for `--dialect`.
    pub const NAMES: [&'static str; 8] =
        ["auto", "airbyte", "singer", "meltano", "stripe", "stripe-trace", "stripe-progress", "stripe-start-end"];

    /// By one of [`Self::NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => Self::Auto,
            "airbyte" => Self::Only(Dialect::Airbyte),
            "singer" => Self::Only(Dialect::Singer),
            "meltano" => Self::Only(Dialect::Meltano),
            "stripe" => Self::Only(Dialect::Stripe),
            "stripe-trace" => Self::Stripe(Generation::Trace),
            "stripe-progress" => Self::Stripe(Generation::Progress),
            "stripe-start-end" => Self::Stripe(Generation::StartEnd),
            _ => return None,
        })
    }

    /// True if lines of this protocol are decoded.
    fn reads(self, dialect: Dialect) -> bool {
        match self {
            Self::Auto => true,
            Self::Only(only) => only.goes_with(dialect),
            Self::Stripe(_) => dialect == Dialect::Stripe,
        }
    }

    /// True if a kind is one of Stripe's that is decoded.
    fn stripe(self, kind: &str) -> bool {
        KINDS.contains(&kind)
            && match self {
                Self::Auto | Self::Only(Dialect::Stripe) => true,
                Self::Only(_) => false,
                Self::Stripe(generation) => generation.has(kind),
            }
    }
}

/// A line that is no message.
#[derive(Debug, Clone, PartialEq)]
pub struct RawLine<'a> {
    pub level: Level,
    pub text: Cow<'a, str>,
    /// In a feed of this protocol it is one of its log lines; by itself it may be anybody's.
    pub of: Option<Dialect>,
}

/// Each line is exactly one of these.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a box for every line costs more than the moves")]
pub enum Decoded<'a> {
    Message {
        message: Message<'a>,
        /// Text that stood in front of the JSON on the same line.
        glued: Option<Cow<'a, str>>,
    },
    /// Text, or JSON without an envelope.
    Raw(RawLine<'a>),
    /// An envelope of a kind that this version does not know.
    Unknown { kind: Cow<'a, str> },
    /// Looks like JSON and does not parse. `torn`: the input ended in the middle of it.
    Malformed { torn: bool },
}

/// Reads lines of one input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decoder {
    reading: Reading,
}

/// Number of places in a line tried as the start of a message behind glued text.
const GLUE_TRIES: usize = 64;

impl Decoder {
    #[must_use]
    pub fn new(reading: Reading) -> Self {
        Self { reading }
    }

    /// Classifies one line. `scratch` holds a repaired line.
    #[must_use]
    pub fn decode<'a>(&self, line: &Line<'a>, scratch: &'a mut String) -> Decoded<'a> {
        if let Some(decoded) = self.decode_in_place(line) {
            return decoded;
        }
        *scratch = std::str::from_utf8(line.bytes).ok().and_then(mend).unwrap_or_default();
        match self.message(scratch) {
            Some(message) => Decoded::Message { message, glued: None },
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

    /// Decodes every line of `bytes`; a rest behind the last newline is the last line of the input.
    /// `None` stands for a line that needs a repair.
    pub fn each<'a>(&self, bytes: &'a [u8], mut each: impl FnMut(Line<'a>, Option<Decoded<'a>>)) {
        // UTF-8 is checked once for all lines; where one of them is none, each is looked at by
        // itself.
        let whole = simdutf8::basic::from_utf8(bytes).ok();
        let mut begin = 0;
        let mut one = |begin: usize, ends: usize, end: LineEnd| {
            let line = Line::whole(bytes.get(begin..ends).unwrap_or_default(), end);
            let text = match whole {
                _ if line.huge.is_some() => None,
                Some(text) => text.get(begin..ends),
                None => simdutf8::basic::from_utf8(line.bytes).ok(),
            };
            let decoded = match text.and_then(|text| self.fast(text)) {
                Some(message) => Some(Decoded::Message { message, glued: None }),
                None => self.decode_slowly(&line),
            };
            each(line, decoded);
        };
        for newline in memchr::memchr_iter(b'\n', bytes) {
            one(begin, newline, LineEnd::Newline);
            begin = newline + 1;
        }
        if begin < bytes.len() {
            one(begin, bytes.len(), LineEnd::Input);
        }
    }

    /// Fast path for usual lines; `None` for any other.
    #[must_use]
    pub fn fast<'a>(&self, text: &'a str) -> Option<Message<'a>> {
        match self.reading {
            // Types in capitals are not Stripe's.
            Reading::Auto => match text.as_bytes().get(9)? {
                b'A'..=b'Z' => airbyte::fast(text).or_else(|| singer::fast(text)),
                _ => stripe::fast(text, None),
            },
            Reading::Only(Dialect::Airbyte) => airbyte::fast(text),
            Reading::Only(Dialect::Singer | Dialect::Meltano) => singer::fast(text),
            Reading::Only(Dialect::Stripe) => stripe::fast(text, None),
            Reading::Stripe(generation) => stripe::fast(text, Some(generation)),
        }
    }

    /// [`Self::decode_in_place`] without the fast path: the reference that the fast path must
    /// match.
    #[must_use]
    pub fn decode_slowly<'a>(&self, line: &Line<'a>) -> Option<Decoded<'a>> {
        let torn = line.end == LineEnd::Input;
        if let Some(valid) = line.huge {
            return Some(self.huge(line, valid, torn));
        }
        let Ok(text) = simdutf8::basic::from_utf8(line.bytes) else {
            let json = looks_like_json(line.bytes);
            let text = String::from_utf8_lossy(line.bytes);
            return Some(if json { Decoded::Malformed { torn } } else { raw(text) });
        };
        let text = text.strip_suffix('\r').unwrap_or(text);
        let json = looks_like_json(text.as_bytes());
        if json && let Some(message) = self.message(text) {
            return Some(Decoded::Message { message, glued: None });
        }
        if json && serde_json::from_str::<IgnoredAny>(text).is_ok() {
            return self.whole(text);
        }
        if let Some(decoded) = self.behind_glue(text, json) {
            return Some(decoded);
        }
        if json {
            return Some(Decoded::Malformed { torn });
        }
        match singer::metric(text).filter(|_| self.reading.reads(Dialect::Singer)) {
            Some(message) => Some(Decoded::Message { message, glued: None }),
            None => Some(raw(Cow::Borrowed(text))),
        }
    }

    /// A line that is one message.
    fn message<'a>(&self, text: &'a str) -> Option<Message<'a>> {
        let reading = self.reading;
        // Types in capitals are not Stripe's.
        let capital = text.strip_prefix("{\"type\":").map(str::trim_start).and_then(|rest| rest.as_bytes().get(1));
        if capital.is_some_and(u8::is_ascii_uppercase) {
            return self.in_capitals(text);
        }
        let envelope = serde_json::from_str::<Envelope>(text).ok()?;
        match envelope.kind.0.as_deref() {
            // A stream at the top is Singer's, whatever the case of the type.
            Some(kind) if reading.stripe(kind) && envelope.stream.0.is_none() => {
                let state = kind.eq_ignore_ascii_case("state");
                stripe::message(envelope).or_else(|| if state { self.in_capitals(text) } else { None })
            }
            Some(kind) if singer::has(kind) || airbyte::has(kind) => self.in_capitals(text),
            // Meltano's lines may have a type of their own (`discovery`).
            Some(_) if reading.reads(Dialect::Meltano) => singer::meltano(text),
            None if reading.reads(Dialect::Singer) => {
                singer::message(text).or_else(|| singer::json_log(text)).or_else(|| singer::meltano(text))
            }
            _ => None,
        }
    }

    /// Singer first: a stream at the top level distinguishes it from Airbyte.
    fn in_capitals<'a>(&self, text: &'a str) -> Option<Message<'a>> {
        let singer = || singer::message(text).filter(|_| self.reading.reads(Dialect::Singer));
        let airbyte = || airbyte::message(text).filter(|_| self.reading.reads(Dialect::Airbyte));
        singer().or_else(airbyte)
    }

    /// A line that is one valid JSON value; `None` for a message that has to be mended.
    fn whole<'a>(&self, text: &'a str) -> Option<Decoded<'a>> {
        // Valid, and yet not read: half an emoji, a number beyond all bounds, a key twice. Engines
        // write such lines exactly when something goes wrong.
        if mend(text).is_some_and(|mended| self.message(&mended).is_some()) {
            return None;
        }
        let shape = serde_json::from_str::<Entries<Shape>>(text).ok().and_then(|entries| entries.0).unwrap_or_default();
        let word = |name: &str| shape.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.text.clone());
        match word("type") {
            Some(kind) if shape.iter().any(|(key, value)| key.eq_ignore_ascii_case(&kind) && value.object) => {
                Some(Decoded::Unknown { kind })
            }
            _ => {
                let level =
                    shape.iter().find(|(key, _)| key == "level").map_or(Level::Info, |(_, value)| value.level());
                let said = word("msg").or_else(|| word("message")).or_else(|| word("event"));
                let error = shape
                    .iter()
                    .find(|(key, _)| key == "err" || key == "error")
                    .and_then(|(_, value)| value.inner.clone());
                let text = match (said, error) {
                    (Some(said), Some(error)) => Cow::Owned(format!("{said}: {error}")),
                    (Some(said), None) => said,
                    (None, error) => error.unwrap_or(Cow::Borrowed(text)),
                };
                let structured = ["event", "level", "timestamp"].iter().all(|name| word(name).is_some());
                Some(Decoded::Raw(RawLine { level, text, of: structured.then_some(Dialect::Meltano) }))
            }
        }
    }

    /// A message that begins later in the line: `Listening...{"type":...`, or a torn line and the
    /// next one in one. In a line that is itself JSON as far as it goes, an object where a value
    /// may stand is part of its data.
    fn behind_glue<'a>(&self, text: &'a str, json: bool) -> Option<Decoded<'a>> {
        // An envelope mostly begins with its type: those places first, and the last ones of them,
        // because a message that is whole ends the line.
        let typed = text.rmatch_indices("{\"type\":").take(GLUE_TRIES);
        let any = text.match_indices("{\"").take(GLUE_TRIES);
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

    fn huge<'a>(&self, line: &Line<'a>, valid: bool, torn: bool) -> Decoded<'a> {
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
        let head = stripe::read_head(head);
        let message = self.message_of_head(&head, line.length);
        match (message, head.kind) {
            (Some(message), _) => Decoded::Message { message, glued: None },
            (None, Some(kind)) if head.payload.is_some() || self.reading.stripe(&kind) => Decoded::Unknown { kind },
            _ => raw(Cow::Owned(format!("(JSON without an envelope, {} bytes)", line.length))),
        }
    }

    fn message_of_head<'a>(&self, head: &stripe::Head<'a>, length: u64) -> Option<Message<'a>> {
        let kind = head.kind.as_ref().or(head.payload.as_ref())?;
        if self.reading.stripe(kind) && head.top.is_none() {
            return stripe::message_of_head(head, length);
        }
        let dialect = if head.top.is_some() { Dialect::Singer } else { Dialect::Airbyte };
        let message = |kind| Message { at: head.at, from: None, dialect: Some(dialect), firm: true, kind };
        let stream = head.top.as_ref().or(head.stream.as_ref()).cloned();
        let known = if head.top.is_some() { singer::has(kind) } else { airbyte::has(kind) };
        if !known || !self.reading.reads(dialect) {
            return None;
        }
        let kind = match (kind.to_ascii_uppercase().as_str(), stream) {
            ("RECORD", Some(stream)) => {
                Kind::Record(Record { stream: Name::plain(stream), measure: None, partial: true })
            }
            ("STATE", _) => Kind::Checkpoint(Checkpoint::default()),
            // The answer to a command that is no sync, whatever is in it.
            ("CATALOG" | "SPEC", _) => Kind::Answer,
            ("LOG", _) => {
                let level = Level::from(head.level.as_deref().unwrap_or_default());
                let message = format!("(a log line of {length} bytes)").into();
                Kind::Log(Box::new(Log { level, message, ..Log::default() }))
            }
            _ => Kind::Note("read from its head"),
        };
        Some(message(kind))
    }
}

fn raw(text: Cow<str>) -> Decoded {
    Decoded::Raw(RawLine { level: singer::level_of(&text).unwrap_or_default(), text, of: None })
}

/// A line that means to be a JSON object or an array of values (text such as `[source] retry` does
/// not).
fn looks_like_json(line: &[u8]) -> bool {
    match line.trim_ascii_start() {
        [b'{', ..] => true,
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [b'{' | b'"' | b'[' | b']', ..]),
        _ => false,
    }
}

/// Kind of value in a field, for lines that are no message.
#[derive(Debug, Default, Clone)]
struct Shape<'a> {
    object: bool,
    text: Option<Cow<'a, str>>,
    number: Option<u64>,
    /// The `message` in an object.
    inner: Option<Cow<'a, str>>,
}

impl Shape<'_> {
    /// Words, or pino's numbers: 30 info, 40 warn, 50 error, 60 fatal.
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
    fn odd_but_valid_lines_are_mended_and_read() {
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
    fn data_of_a_torn_line_is_no_message() {
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
    fn every_class_of_line() {
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
    fn glued_text_is_cut_off_and_the_message_kept() {
        let line = r#"Listening on {"port":1} {"type":"record","record":{"stream":"a"}}"#;
        assert_eq!(stream_of(&decode(line)).as_deref(), Some("a"));
        let torn = r#"{"type":"record","record":{"stre{"type":"record","record":{"stream":"b"}}"#;
        assert_eq!(stream_of(&decode(torn)).as_deref(), Some("b"));
        assert!(matches!(decode(r#"see {"type":"object","properties":{}} there"#), Decoded::Raw(_)));
    }

    #[test]
    fn a_forced_generation_does_not_know_the_others_kinds() {
        let decoder = Decoder::new(Reading::named("stripe-trace").unwrap());
        let text = r#"{"type":"stream_status","stream_status":{"stream":"a","status":"start"}}"#;
        let line = Line { bytes: text.as_bytes(), length: 0, end: LineEnd::Newline, huge: None };
        assert!(
            matches!(decoder.decode(&line, &mut String::new()), Decoded::Unknown { kind } if kind == "stream_status")
        );
        assert!(Reading::NAMES.iter().all(|name| Reading::named(name).is_some()));
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
    fn a_line_over_the_limit_is_read_from_its_head() {
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
                    Decoded::Raw(_) => "raw",
                    Decoded::Malformed { .. } => "malformed",
                    Decoded::Message { .. } => "another message",
                };
            });
            assert_eq!(seen, is, "{head}");
        }
    }
}
