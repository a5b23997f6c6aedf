//! Envelopes and prefixes that log collectors, schedulers and container platforms put around a
//! line. They are opened before detection, so that an adapter sees the line as its program wrote
//! it, with a clock and the output that it came from.
//!
//! ```text
//! text -> open() -> Opened { text, clock, output, continues }
//!           |- prefix.rs  one table: kubectl, CRI, CloudWatch, GitHub Actions, Airflow, ...
//!           '- json.rs    docker json-file, journald, Fluent Bit, GCP, Datadog, ...
//! ```
//!
//! Layers may be nested, such as a CRI line in Fluent Bit's JSON.

mod json;
mod prefix;

use super::adapter::Message;
use super::time::Millis;
use std::borrow::Cow;

/// Maximum number of layers around a line.
const MAX_LAYERS: usize = 4;

/// Output of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Time that a prefix or an envelope has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The instant; without a time zone, as if it were UTC.
    pub at: Millis,
    /// True if the text has a time zone. Otherwise the time may be local.
    pub is_zoned: bool,
}

/// Line without its envelopes and prefixes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Opened<'a> {
    /// The line as its program wrote it, without a line end.
    pub text: Cow<'a, str>,
    /// Time of the innermost layer with a time zone, otherwise of the innermost one with a time.
    pub clock: Option<Clock>,
    /// Output that the program wrote the line to, if a layer has it.
    pub output: Option<Output>,
    /// True if the next line of the same output continues this one: containerd and Docker split
    /// long lines.
    pub continues: bool,
    /// True if any layer is a JSON envelope.
    pub is_enveloped: bool,
}

impl Opened<'_> {
    /// Copies the text.
    #[must_use]
    pub fn into_owned(self) -> Opened<'static> {
        Opened { text: self.text.into_owned().into(), ..self }
    }

    /// Sets the time of the message in this line: that of the engine's own stamp, otherwise the
    /// clock, otherwise the message's own time. A clock without a time zone comes last.
    pub fn set_time(&self, message: &mut Message) {
        if !message.is_stamped {
            let zoned = self.clock.filter(|clock| clock.is_zoned).map(|clock| clock.at);
            message.at = zoned.or(message.at).or(self.clock.map(|clock| clock.at));
        }
    }
}

/// Opens the envelopes and prefixes of a line; `None` if it has none that is known.
#[must_use]
pub fn open(line: &str) -> Option<Opened<'_>> {
    let mut opened = layer(line)?;
    for _ in 1..MAX_LAYERS {
        let inner = match &opened.text {
            Cow::Borrowed(text) => layer(text),
            Cow::Owned(text) => layer(text).map(|inner| Opened { text: inner.text.into_owned().into(), ..inner }),
        };
        let Some(inner) = inner else { break };
        let is_better = |clock: &Clock| clock.is_zoned || !opened.clock.is_some_and(|outer| outer.is_zoned);
        opened = Opened {
            clock: inner.clock.filter(is_better).or(opened.clock),
            output: inner.output.or(opened.output),
            continues: inner.continues || opened.continues,
            is_enveloped: inner.is_enveloped || opened.is_enveloped,
            text: inner.text,
        };
    }
    Some(opened)
}

/// Opens the outermost layer.
fn layer(line: &str) -> Option<Opened<'_>> {
    if line.starts_with('{') { json::open(line) } else { prefix::open(line) }
}
