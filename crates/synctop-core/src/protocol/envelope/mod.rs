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
mod opened;
mod prefix;

pub use opened::{Clock, Opened, Output};

use super::clean;
use std::borrow::Cow;

/// Maximum number of layers around a line.
const MAX_LAYERS: usize = 4;

/// Sequence that ends a color (SGR 0, ECMA-48).
const RESET: &str = "\u{1b}[0m";

/// Opens the envelopes and prefixes of a line; `None` if it has none that is known.
#[must_use]
pub fn open(line: &str) -> Option<Opened<'_>> {
    // Docker compose colors the names of its services. The text behind them stays as it is.
    if line.starts_with('\u{1b}')
        && let Some((name, text)) = line.split_once('|')
    {
        let text = text.strip_prefix(RESET).unwrap_or(text);
        return open(&format!("{}|{text}", clean::line(name))).map(Opened::into_owned);
    }
    let mut opened = layer(line)?;
    for _ in 1..MAX_LAYERS {
        // The next layer may be cut off: it is opened once the line is whole.
        if opened.continues {
            break;
        }
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
