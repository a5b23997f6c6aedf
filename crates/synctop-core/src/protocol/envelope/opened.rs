//! Line without its envelopes and prefixes.

use crate::protocol::adapter::Message;
use crate::protocol::time::Millis;
use std::borrow::Cow;

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
